//! A topic read as table rows: topics reader → schemas decode → Arrow.
//!
//! Owns: the one decoding that both the table writer (pipelines/materialize) and hot reads use, so that hot and cold
//! cannot disagree; the `redpanda` column; which schema holds at which offset.
//! Does not own: writing the schema switches (pipelines/commands does, before a schema is used).
//! Invariants: a function of (records, schema switches): the same range gives the same rows at any time.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use base::{Offset, PartitionId, SchemaId, TopicId};
use serde::{Deserialize, Serialize};

use crate::mode::IcebergTopic;

/// From which offset of each partition which schema holds. Stored as the progress of writer
/// `schemas/<topic id>` in the log, before the schema is used.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemaSwitches {
    /// In the order they were made; the last one at or below an offset holds. The first has all starts at 0.
    pub switches: Vec<SchemaSwitch>,
}

/// One switch of schema.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemaSwitch {
    pub schema_id: SchemaId,
    /// First offset per partition; a partition that is missing (added later) starts at 0.
    pub starts: BTreeMap<PartitionId, Offset>,
}

/// A record that is no row.
#[derive(Debug, Clone)]
pub struct RejectedRecord {
    pub partition: PartitionId,
    pub offset: Offset,
    pub timestamp_ms: i64,
    pub timestamp_type: i32,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    /// See `schemas::RejectCode::as_str`.
    pub code: &'static str,
    pub message: String,
    pub schema_id: Option<SchemaId>,
}

/// A decoded range of one partition.
#[derive(Debug, Clone)]
pub struct DecodedRows {
    pub partition: PartitionId,
    /// Rows in offset order, in the columns of [`TopicRows::columns`].
    pub batches: Vec<RecordBatch>,
    pub rejected: Vec<RejectedRecord>,
    /// Everything in `[from, next)` is accounted for.
    pub from: Offset,
    pub next: Offset,
    /// `topics::Partition::batch_hash` of the batch that holds `next - 1`; 0 when the range is empty.
    pub last_hash: u64,
    /// Bytes read from the log.
    pub bytes_read: usize,
}

/// Rows that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum RowsError {
    /// The topic is no table, or not yet: what is missing.
    #[error("{0}")]
    NotReady(String),
    #[error(transparent)]
    Read(#[from] topics::ReadError),
    #[error(transparent)]
    Setup(#[from] schemas::SetupError),
    #[error("damaged batch at offset {offset} of {topic}-{partition}: {reason}")]
    Damaged { topic: String, partition: PartitionId, offset: Offset, reason: String },
}

/// A topic as rows, with the schemas known when it was made. Make a new one after a switch.
#[derive(Debug, Clone)]
pub struct TopicRows {}

impl TopicRows {
    /// Name of the log writer whose progress is the topic's `SchemaSwitches` (JSON).
    pub fn switches_writer(_topic: TopicId) -> topics::WriterId {
        unimplemented!()
    }
    /// Compiles the topic's mode and schemas.
    pub fn new(
        _topics: &topics::Topics,
        _registry: &schemas::Registry,
        _topic: Arc<topics::TopicInfo>,
    ) -> Result<Self, RowsError> {
        unimplemented!()
    }
    pub fn topic(&self) -> &topics::TopicInfo {
        unimplemented!()
    }
    pub fn settings(&self) -> &IcebergTopic {
        unimplemented!()
    }
    /// Columns of the table: `redpanda` struct first, then the value's columns under the newest schema.
    pub fn columns(&self) -> &SchemaRef {
        unimplemented!()
    }
    /// Columns of `<topic>~dlq`: `redpanda` struct, `value` binary, `error` struct<code, message, schema_id>.
    pub fn dead_letter_columns() -> SchemaRef {
        unimplemented!()
    }
    /// Rejected records as rows of the dead-letter table.
    pub fn dead_letter_rows(_rejected: &[RejectedRecord]) -> RecordBatch {
        unimplemented!()
    }
    /// Decodes `[from, end)` of a partition, at most about `max_bytes` of log at once. CPU-bound and blocking.
    pub fn decode(
        &self,
        _partition: PartitionId,
        _from: Offset,
        _end: Offset,
        _max_bytes: usize,
    ) -> Result<DecodedRows, RowsError> {
        unimplemented!()
    }
}
