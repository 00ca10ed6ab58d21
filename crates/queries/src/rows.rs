//! A topic read as table rows: topics reader → schemas decode → Arrow.
//!
//! Owns: the one decoding that both the table writer (pipelines/materialize) and hot reads use, so that hot and cold
//! cannot disagree; the `redpanda` column; which schema holds at which offset.
//! Does not own: writing the schema switches (pipelines/commands does, before a schema is used).
//! Invariants: a function of (records, schema switches): the same range gives the same rows at any time.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use base::{Offset, PartitionId, SchemaId, TopicId};
use schemas::decode::protobuf_message;
use schemas::{DecodeOptions, Decoder, ResolvedSchema};
use serde::{Deserialize, Serialize};
use tables::Fates;

use crate::mode::{IcebergMode, IcebergTopic, Section, Side};

mod dead_letters;
mod framing;
mod inferred;
mod layout;
mod metadata;
mod mix;
mod part;
mod range;
mod union;
mod widen;

pub use dead_letters::{Retried, RetriedBatch, fingerprint, fingerprints, places};
pub use inferred::{Grown, InferredShape};
use layout::Layout;
pub use layout::Unseen;
use part::Part;
use range::NewFields;

/// What the rows of a topic depend on besides its records. Stored as the progress of writer `schemas/<topic id>` in
/// the log, before it is used.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemaSwitches {
    /// Schemas of values that follow a subject, in the order of their switches; the last one at or below an offset
    /// holds. The first has all starts at 0.
    pub switches: Vec<SchemaSwitch>,
    /// The same for keys.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub key_switches: Vec<SchemaSwitch>,
    /// Schemas of values that bear their schema's id, in the order in which they were met: it decides which type a
    /// column has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub value_schemas: Vec<RecordSchema>,
    /// The same for keys.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub key_schemas: Vec<RecordSchema>,
    /// Columns of values without a schema.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inferred: Option<InferredShape>,
    /// Where the table begins that is to have nothing from before (`frazil.table.backfill=false`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub begin: Option<BTreeMap<PartitionId, Offset>>,
}

impl SchemaSwitches {
    /// Switches of one side.
    pub fn of(&self, side: Side) -> &Vec<SchemaSwitch> {
        match side {
            Side::Key => &self.key_switches,
            Side::Value => &self.switches,
        }
    }

    /// Switches of one side.
    pub fn of_mut(&mut self, side: Side) -> &mut Vec<SchemaSwitch> {
        match side {
            Side::Key => &mut self.key_switches,
            Side::Value => &mut self.switches,
        }
    }

    /// Offsets of a partition at which another schema may hold than before, in any order.
    pub fn starts(&self, partition: PartitionId) -> impl Iterator<Item = Offset> {
        let switches = self.switches.iter().chain(&self.key_switches);
        let switches = switches.filter_map(move |switch| switch.starts.get(&partition).copied());
        switches.chain(self.inferred.iter().flat_map(move |inferred| inferred.starts(partition)))
    }

    /// Schemas that one side's records name.
    pub fn named(&self, side: Side) -> &Vec<RecordSchema> {
        match side {
            Side::Key => &self.key_schemas,
            Side::Value => &self.value_schemas,
        }
    }

    /// Schemas that one side's records name.
    pub fn named_mut(&mut self, side: Side) -> &mut Vec<RecordSchema> {
        match side {
            Side::Key => &mut self.key_schemas,
            Side::Value => &mut self.value_schemas,
        }
    }
}

/// What a record says of its schema.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RecordSchema {
    pub id: SchemaId,
    /// Which message of a Protobuf schema: see `schemas::wire`. Empty for other schemas.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub indexes: Vec<u32>,
}

impl RecordSchema {
    /// The schema of records that name nothing else: of Protobuf, the first message.
    pub fn of(schema: &schemas::RegisteredSchema) -> Self {
        let indexes = if schema.schema_type == schemas::SchemaType::Protobuf { vec![0] } else { Vec::new() };
        Self { id: schema.id, indexes }
    }
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
    /// See `schemas::RejectCode::as_str`; besides these `no_schema_id`, `unknown_schema_id`, `unsupported_schema`.
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
    /// Schemas that the record at `next` and those after it bear, or columns that they need, and that must be stored
    /// before decoding goes on.
    pub unseen: Unseen,
}

/// Rows that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum RowsError {
    /// The topic is no table, or not yet: what is missing.
    #[error("{0}")]
    NotReady(String),
    /// With these properties and schemas no record could ever be a row: what is wrong.
    #[error("{0}")]
    Misconfigured(String),
    #[error(transparent)]
    Read(#[from] topics::ReadError),
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
    /// Where the table begins, unless it has begun already.
    begin: BTreeMap<PartitionId, Offset>,
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
        let settings = settings_of(&topic)?;
        let switches = switches_of(topics, &topic)?;
        let layout = layout(registry, &topic, &settings.mode, &switches)?;
        let mut hasher = DefaultHasher::new();
        settings.mode.hash(&mut hasher);
        layout.hash(&mut hasher);
        let identity = hasher.finish();
        let begin = switches.begin.filter(|_| !settings.backfill).unwrap_or_default();
        Ok(Self(Arc::new(Inner { topics: topics.clone(), topic, settings, layout, begin, identity })))
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
    /// order, then those that only older schemas have. A column has the type it had first, widened as far as Iceberg
    /// allows: what other schemas bring is turned to it, and a record whose value does not fit is rejected. A field
    /// named `redpanda` lies in the `redpanda` struct as `data`. Fields bear the names they had before
    /// (`tables::columns::FORMER_NAMES`).
    pub fn columns(&self) -> &SchemaRef {
        &self.0.layout.columns
    }

    /// First offset that becomes a row, as long as the table has nothing of the partition.
    pub fn begin(&self, partition: PartitionId) -> Offset {
        self.0.begin.get(&partition).copied().unwrap_or(0)
    }

    /// Whether values have fields and none is known.
    pub fn has_no_fields(&self) -> bool {
        self.0.layout.has_no_fields()
    }

    /// The columns of a topic, with what would be stored for it.
    pub fn columns_of(
        registry: &schemas::Registry,
        topic: &topics::TopicInfo,
        stored: &SchemaSwitches,
    ) -> Result<SchemaRef, RowsError> {
        let settings = settings_of(topic)?;
        Ok(layout(registry, topic, &settings.mode, stored)?.columns)
    }

    /// What keeps fields of some schemas out of the table: records that have them are rejected.
    pub fn differences(&self) -> Vec<String> {
        self.0.layout.differences().cloned().collect()
    }

    /// Columns of `<topic>~dlq`: `redpanda` struct, `value` binary, `error` struct<code, message, schema_id>.
    pub fn dead_letter_columns() -> SchemaRef {
        metadata::dead_letter_columns()
    }

    /// Rejected records as rows of the dead-letter table.
    pub fn dead_letter_rows(rejected: &[RejectedRecord]) -> RecordBatch {
        metadata::dead_letter_rows(rejected)
    }

    /// Decodes `[from, end)` of a partition, at most about `max_bytes` of log at once. CPU-bound and blocking. Stops
    /// before a record whose schema, or a column of which, is not stored yet, and names it.
    pub fn decode(
        &self,
        partition: PartitionId,
        from: Offset,
        end: Offset,
        max_bytes: usize,
    ) -> Result<DecodedRows, RowsError> {
        self.decode_with(partition, from..end, max_bytes, NewFields::Stop)
    }

    /// The same, but does not stop for columns that are not stored: they are left out, as the table does not have them.
    pub(crate) fn decode_known(
        &self,
        partition: PartitionId,
        from: Offset,
        end: Offset,
        max_bytes: usize,
    ) -> Result<DecodedRows, RowsError> {
        self.decode_with(partition, from..end, max_bytes, NewFields::Hide)
    }

    fn decode_with(
        &self,
        partition: PartitionId,
        range: Range<Offset>,
        max_bytes: usize,
        new_fields: NewFields,
    ) -> Result<DecodedRows, RowsError> {
        let Inner { topics, topic, layout, .. } = &*self.0;
        let unknown = || topics::ReadError::UnknownPartition { topic: topic.name.to_string(), partition };
        let handle = topics.partition(topic.name.as_str(), partition).ok_or_else(unknown)?;
        // The name may have been given to another topic since.
        if handle.topic().id != topic.id {
            return Err(unknown().into());
        }
        if range.is_empty() {
            return Ok(DecodedRows::empty(partition, range.start));
        }
        let read = handle.read(range.start, range.end, max_bytes)?;
        let limit = topics.settings().decompressed_bytes_max;
        range::decode(layout, (topic.name.as_str(), partition), range, &read, limit, new_fields)
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
            unseen: Unseen::default(),
        }
    }
}

fn settings_of(topic: &topics::TopicInfo) -> Result<IcebergTopic, RowsError> {
    let name = &topic.name;
    let settings =
        IcebergTopic::of(topic).map_err(|reason| RowsError::NotReady(format!("topic {name}: {reason}")))?;
    settings.ok_or_else(|| {
        RowsError::NotReady(format!(
            "topic {name} is no table: set redpanda.iceberg.mode, for example to key_value or value_schema_latest"
        ))
    })
}

fn layout(
    registry: &schemas::Registry,
    topic: &topics::TopicInfo,
    mode: &IcebergMode,
    stored: &SchemaSwitches,
) -> Result<Layout, RowsError> {
    let part = |side| part(registry, topic, mode, stored, side);
    Ok(Layout::new(part(Side::Key)?, part(Side::Value)?, mode.layout, mode.headers))
}

/// How one side of a topic's records becomes columns.
fn part(
    registry: &schemas::Registry,
    topic: &topics::TopicInfo,
    mode: &IcebergMode,
    switches: &SchemaSwitches,
    side: Side,
) -> Result<Part, RowsError> {
    let name = &topic.name;
    let misconfigured = |reason| {
        RowsError::Misconfigured(format!(
            "topic {name}: none of its {} schemas can become columns: {reason}; register one that can",
            side.as_str()
        ))
    };
    let section = mode.section(side);
    match section {
        Section::Binary => Ok(Part::bytes(side)),
        Section::String => Ok(Part::text(side)),
        Section::SchemaLatest(_) => {
            let subject = mode.subject(side, name.as_str()).unwrap_or_default();
            let switches = switches.of(side);
            if switches.is_empty() {
                return Err(RowsError::NotReady(format!(
                    "topic {name} has no {} schema yet: register one under subject {subject}",
                    side.as_str()
                )));
            }
            let eras =
                switches.iter().map(|s| (s.clone(), compile(registry, s.schema_id, section, side))).collect();
            Part::eras(side, eras).map_err(misconfigured)
        }
        Section::SchemaIdPrefix => {
            let named =
                switches.named(side).iter().map(|n| (n.clone(), compile_named(registry, n, side))).collect();
            Part::named(side, named, registry.clone()).map_err(misconfigured)
        }
        Section::JsonInfer => Ok(Part::inferred(switches.inferred.clone().unwrap_or_default())),
    }
}

/// Compiles a schema as a mode says; the error says why no columns can be made of it.
pub fn compile(
    registry: &schemas::Registry,
    id: SchemaId,
    section: &Section,
    side: Side,
) -> Result<Decoder, String> {
    let protobuf_name = match section {
        Section::SchemaLatest(latest) => latest.protobuf_name.clone(),
        _ => None,
    };
    let schema = registry.resolve(id).map_err(|error| error.to_string())?;
    decoder(&schema, &options(protobuf_name, side))
}

/// A schema whose columns no table could have is as unusable as one that gives none: its records are dead letters, and the
/// table goes on.
fn decoder(schema: &ResolvedSchema, options: &DecodeOptions) -> Result<Decoder, String> {
    let decoder = Decoder::new(schema, options).map_err(|error| error.to_string())?;
    tables::columns::iceberg_schema(decoder.columns()).map_err(|error| error.to_string())?;
    Ok(decoder)
}

/// A key may be a single value, whose column is `redpanda.key` itself.
fn options(protobuf_name: Option<String>, side: Side) -> DecodeOptions {
    DecodeOptions { protobuf_name, bare_name: (side == Side::Key).then(|| metadata::KEY.to_owned()) }
}

fn compile_named(registry: &schemas::Registry, named: &RecordSchema, side: Side) -> Result<Decoder, String> {
    let schema = registry.resolve(named.id).map_err(|error| error.to_string())?;
    let protobuf_name = match named.indexes.is_empty() {
        true => None,
        false => Some(protobuf_message(&schema, &named.indexes).map_err(|error| error.to_string())?),
    };
    decoder(&schema, &options(protobuf_name, side))
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

#[cfg(test)]
mod mode_tests;

#[cfg(test)]
mod inferred_tests;
