//! `redpanda.iceberg.*` topic properties as a typed value.
//!
//! Owns: the grammar of `redpanda.iceberg.mode` as far as it is served: `disabled`, `key_value`,
//! `value_schema_latest[:subject=S]`; other modes are refused by name.
//! Does not own: storing properties (topics does).

use std::time::Duration;

/// What becomes of records that do not fit (`redpanda.iceberg.invalid.record.action`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum InvalidRecords {
    /// They go to the table `<topic>~dlq`.
    #[default]
    DeadLetter,
    Drop,
}

/// How a topic is a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IcebergMode {
    /// Value column of bytes.
    KeyValue,
    /// One column per field of the latest schema of `subject`.
    ValueSchemaLatest { subject: String },
}

/// All Iceberg properties of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IcebergTopic {
    pub mode: IcebergMode,
    /// `redpanda.iceberg.target.lag.ms`, default 10 s.
    pub target_lag: Duration,
    pub invalid_records: InvalidRecords,
    /// `redpanda.iceberg.partition.spec`, default `()`.
    pub partition_by: String,
    /// `redpanda.iceberg.delete`, default true: drop the table with the topic.
    pub delete_with_topic: bool,
}

impl IcebergTopic {
    /// Reads a topic's properties; none when the topic is no table. The error names property, value and cure.
    pub fn of(_topic: &topics::TopicInfo) -> Result<Option<Self>, String> {
        unimplemented!()
    }
}
