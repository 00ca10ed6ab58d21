//! A topic read as table rows: topics reader → schemas decode → Arrow.
//!
//! Owns: the one decoding that both the table writer (pipelines/materialize) and hot reads use, so that hot and cold
//! cannot disagree; the `redpanda` column; which schema holds at which offset.
//! Does not own: writing the schema switches (pipelines/commands does, before a schema is used).
//! Invariants: a function of (records, schema switches): the same range gives the same rows at any time.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use base::{Offset, PartitionId, SchemaId, TopicId};
use serde::{Deserialize, Serialize};
use tables::Fates;

use crate::mode::{IcebergMode, IcebergTopic};

mod layout;
mod metadata;
mod range;
mod widen;

use layout::{Layout, Values};

/// From which offset of each partition which schema holds. Stored as the progress of writer
/// `schemas/<topic id>` in the log, before the schema is used.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemaSwitches {
    /// In the order they were made; the last one at or below an offset holds. The first has all starts at 0.
    pub switches: Vec<SchemaSwitch>,
}

/// One switch of schema.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
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
    /// In offset order.
    pub rejected: Vec<RejectedRecord>,
    /// Everything in `[from, next)` is accounted for.
    pub from: Offset,
    pub next: Offset,
    /// What became of the offsets in `[from, next)`, as far as it is known here: rejected records have no fate yet.
    pub fates: Fates,
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

/// A topic as rows, with the schemas known when it was made. Make a new one after a switch. Clones share it.
#[derive(Debug, Clone)]
pub struct TopicRows(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    topics: topics::Topics,
    topic: Arc<topics::TopicInfo>,
    settings: IcebergTopic,
    layout: Layout,
    /// Hash of what the rows of a record depend on besides the record.
    identity: u64,
}

impl TopicRows {
    /// Name of the log writer whose progress is the topic's `SchemaSwitches` (JSON).
    pub fn switches_writer(topic: TopicId) -> topics::WriterId {
        topics::WriterId::new(&format!("schemas/{topic}"))
    }

    /// Compiles the topic's mode and schemas.
    pub fn new(
        topics: &topics::Topics,
        registry: &schemas::Registry,
        topic: Arc<topics::TopicInfo>,
    ) -> Result<Self, RowsError> {
        let name = &topic.name;
        let settings = IcebergTopic::of(&topic)
            .map_err(|reason| RowsError::NotReady(format!("topic {name}: {reason}")))?
            .ok_or_else(|| {
                RowsError::NotReady(format!(
                    "topic {name} is no table: set redpanda.iceberg.mode to key_value or value_schema_latest"
                ))
            })?;
        let values = match &settings.mode {
            IcebergMode::KeyValue => Values::Bytes,
            IcebergMode::ValueSchemaLatest { subject } => {
                let switches = switches_of(topics, &topic)?;
                if switches.switches.is_empty() {
                    return Err(RowsError::NotReady(format!(
                        "topic {name} has no schema yet: register a JSON schema under subject {subject}"
                    )));
                }
                Values::decoded(name.as_str(), &switches, |id| {
                    registry
                        .resolve(id)
                        .map_err(|error| RowsError::NotReady(format!("topic {name}: {error}")))
                })?
            }
        };
        let layout = Layout::new(values);
        let mut hasher = DefaultHasher::new();
        layout.hash(&mut hasher);
        let identity = hasher.finish();
        Ok(Self(Arc::new(Inner { topics: topics.clone(), topic, settings, layout, identity })))
    }

    /// Equal as long as the same records give the same rows.
    pub(crate) fn identity(&self) -> u64 {
        self.0.identity
    }

    pub fn topic(&self) -> &topics::TopicInfo {
        &self.0.topic
    }

    pub fn settings(&self) -> &IcebergTopic {
        &self.0.settings
    }

    /// Columns of the table: `redpanda` struct first, then the value's columns: those of the newest schema in its
    /// order, then those that only older schemas have. A column keeps the type it had first: what later schemas
    /// bring is turned to it, and a record whose value does not fit is rejected. A field named `redpanda` lies in
    /// the `redpanda` struct as `data`.
    pub fn columns(&self) -> &SchemaRef {
        &self.0.layout.columns
    }

    /// Columns of `<topic>~dlq`: `redpanda` struct, `value` binary, `error` struct<code, message, schema_id>.
    pub fn dead_letter_columns() -> SchemaRef {
        metadata::dead_letter_columns()
    }

    /// Rejected records as rows of the dead-letter table.
    pub fn dead_letter_rows(rejected: &[RejectedRecord]) -> RecordBatch {
        metadata::dead_letter_rows(rejected)
    }

    /// Decodes `[from, end)` of a partition, at most about `max_bytes` of log at once. CPU-bound and blocking.
    pub fn decode(
        &self,
        partition: PartitionId,
        from: Offset,
        end: Offset,
        max_bytes: usize,
    ) -> Result<DecodedRows, RowsError> {
        let Inner { topics, topic, layout, .. } = &*self.0;
        let unknown = || topics::ReadError::UnknownPartition { topic: topic.name.to_string(), partition };
        let handle = topics.partition(topic.name.as_str(), partition).ok_or_else(unknown)?;
        // The name may have been given to another topic since.
        if handle.topic().id != topic.id {
            return Err(unknown().into());
        }
        if from >= end {
            return Ok(DecodedRows::empty(partition, from));
        }
        let read = handle.read(from, end, max_bytes)?;
        let limit = topics.settings().decompressed_bytes_max;
        range::decode(layout, topic.name.as_str(), partition, from..end, &read, limit)
    }
}

impl DecodedRows {
    fn empty(partition: PartitionId, from: Offset) -> Self {
        Self {
            partition,
            batches: Vec::new(),
            rejected: Vec::new(),
            from,
            next: from,
            fates: Fates::default(),
            last_hash: 0,
            bytes_read: 0,
        }
    }
}

fn switches_of(topics: &topics::Topics, topic: &topics::TopicInfo) -> Result<SchemaSwitches, RowsError> {
    let progress = topics.progress(&TopicRows::switches_writer(topic.id));
    let Some(value) = progress.and_then(|p| p.value) else { return Ok(SchemaSwitches::default()) };
    serde_json::from_slice(&value).map_err(|error| {
        RowsError::NotReady(format!("the schema switches of topic {} do not parse: {error}", topic.name))
    })
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod log_tests;
