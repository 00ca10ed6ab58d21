//! What a statement sees: one cut of the log, and per table one snapshot.
//!
//! Owns: pinning tables and the ranges of the log that belong to each beyond its snapshot.
//! Does not own: reading them (`hybrid`).
//! Invariants: table versions are loaded before the cut is taken, so no table's snapshot lies beyond the cut; decoders
//! are made after it, so they know every schema that is in use below it; nothing of a view changes later.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use base::{Offset, PartitionId};
use tables::columns::EXTENSION_NAME;
use tables::{CatalogError, Position, Progress, Scan, SourceId, Table, TableIdent};
use tokio::sync::OnceCell;
use topics::{Cut, TopicInfo};

use crate::engine::Shared;
use crate::error::SqlError;
use crate::mode::{self, DEAD_LETTER_SUFFIX, IcebergTopic, InvalidRecords};
use crate::rows::{RowsError, TopicRows};

/// How much of the log a statement sees (`SET frazil.freshness`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Freshness {
    /// Everything stable when the statement starts.
    #[default]
    Latest,
    /// The same without ever waiting. Rows are decoded on demand, so there is nothing to wait for today.
    Available,
    /// Iceberg only.
    Committed,
}

impl Freshness {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text.to_lowercase().as_str() {
            "latest" => Some(Self::Latest),
            "available" => Some(Self::Available),
            "committed" => Some(Self::Committed),
            _ => None,
        }
    }
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Latest => "latest",
            Self::Available => "available",
            Self::Committed => "committed",
        }
    }
}

/// Which records of a topic a table holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum TailKind {
    Rows,
    /// Those that are no rows.
    DeadLetters,
}

/// Offsets `[from, end)` of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TailRange {
    pub partition: PartitionId,
    pub from: Offset,
    pub end: Offset,
}

/// The part of a table that is still in the log.
#[derive(Debug, Clone)]
pub(crate) struct Tail {
    pub rows: TopicRows,
    pub kind: TailKind,
    /// Without empty ones, by partition.
    pub ranges: Vec<TailRange>,
}

impl Tail {
    pub(crate) fn offsets(&self) -> i64 {
        self.ranges.iter().map(|r| r.end - r.from).sum()
    }
}

/// One table of a view.
#[derive(Debug)]
pub(crate) struct PinnedTable {
    pub ident: TableIdent,
    /// None before the table's first creation.
    pub table: Option<Table>,
    /// Columns as SQL sees them: without field ids.
    pub columns: SchemaRef,
    /// Why the table cannot be read at all.
    pub problem: Option<SqlError>,
    source: Option<Source>,
    cut: Cut,
    tail: OnceLock<Result<TailState, SqlError>>,
    scan: OnceCell<Arc<Scan>>,
}

/// The topic behind a table.
#[derive(Debug)]
struct Source {
    topic: Arc<TopicInfo>,
    kind: TailKind,
    /// Where table and, for dead letters, main table stand; the error says why the log is left out.
    progress: Result<Progress, String>,
    freshness: Freshness,
}

#[derive(Debug, Default)]
struct TailState {
    tail: Option<Tail>,
    note: Option<String>,
}

impl PinnedTable {
    /// The snapshot's files; looked up once per view.
    pub(crate) async fn scan(&self, shared: &Shared) -> Result<Arc<Scan>, SqlError> {
        let scan = self.scan.get_or_try_init(|| async {
            match &self.table {
                Some(table) => {
                    let found = shared.deps.tables.scan(table, table.current_snapshot_id()).await?;
                    Ok::<_, SqlError>(Arc::new(found))
                }
                None => Ok(Arc::new(Scan::default())),
            }
        });
        scan.await.cloned()
    }

    /// The part of the table that is in the log; made when it is first asked for.
    pub(crate) fn tail(&self, shared: &Shared) -> Result<Option<&Tail>, SqlError> {
        self.tail_state(shared).map(|s| s.tail.as_ref())
    }

    /// Why the log is not part of this table, where one would expect it.
    pub(crate) fn note(&self, shared: &Shared) -> Result<Option<&str>, SqlError> {
        self.tail_state(shared).map(|s| s.note.as_deref())
    }

    fn tail_state(&self, shared: &Shared) -> Result<&TailState, SqlError> {
        self.tail.get_or_init(|| self.make_tail(shared)).as_ref().map_err(Clone::clone)
    }

    fn make_tail(&self, shared: &Shared) -> Result<TailState, SqlError> {
        let Some(source) = self.source.as_ref().filter(|s| s.freshness != Freshness::Committed) else {
            return Ok(TailState::default());
        };
        let note = |note| Ok(TailState { tail: None, note: Some(note) });
        let progress = match &source.progress {
            Ok(progress) => progress,
            Err(reason) => return note(reason.clone()),
        };
        let topic = Arc::clone(&source.topic);
        let rows = match TopicRows::new(&shared.deps.topics, &shared.deps.registry, topic) {
            Ok(rows) => rows,
            Err(RowsError::NotReady(reason) | RowsError::Misconfigured(reason)) => return note(reason),
            Err(error) => return Err(error.into()),
        };
        let (ranges, reason) = ranges(shared, &self.cut, &rows, progress);
        let tail = (!ranges.is_empty()).then_some(Tail { rows, kind: source.kind, ranges });
        Ok(TailState { tail, note: reason })
    }

    /// Stable marks of the topic's partitions at the cut; none for a table without topic.
    pub(crate) fn marks(&self) -> Vec<(PartitionId, Offset)> {
        let Some(source) = &self.source else { return Vec::new() };
        (0..source.topic.partitions).map(|p| (p, self.cut.stable(source.topic.id, p))).collect()
    }

    /// Identity of the table, or of its topic as long as there is no table.
    pub(crate) fn id(&self) -> u128 {
        match (&self.table, &self.source) {
            (Some(table), _) => table.uuid().as_u128(),
            (None, Some(source)) => source.topic.id.0.as_u128(),
            (None, None) => 0,
        }
    }
}

/// One moment of all tables.
#[derive(Debug)]
pub(crate) struct ReadView {
    pub tables: BTreeMap<TableIdent, Arc<PinnedTable>>,
}

impl ReadView {
    /// Pins the tables that are called so, where they exist.
    pub(crate) async fn pin(
        shared: &Shared,
        idents: Vec<TableIdent>,
        freshness: Freshness,
    ) -> Result<Self, SqlError> {
        let mut loaded = Vec::with_capacity(idents.len());
        for ident in idents {
            // Where the dead letters stand depends on the main table too. It is loaded first: all dead letters below
            // its progress were committed before it, so whatever comes between the two loads is seen.
            let main = match main_of(shared, &ident) {
                Some(main) => load(shared, &main).await?,
                None => None,
            };
            let table = load(shared, &ident).await?;
            loaded.push((ident, table, main));
        }
        let cut = shared.deps.topics.cut();
        let mut pinned = BTreeMap::new();
        for (ident, table, main) in loaded {
            if let Some(table) = pin_one(shared, &cut, &ident, table, main, freshness)? {
                pinned.insert(ident, Arc::new(table));
            }
        }
        Ok(Self { tables: pinned })
    }

    /// Pins everything there is.
    pub(crate) async fn pin_all(shared: &Shared, freshness: Freshness) -> Result<Self, SqlError> {
        Self::pin(shared, all_idents(shared)?, freshness).await
    }
}

/// Every table, and every topic that is one without having been committed.
pub(crate) fn all_idents(shared: &Shared) -> Result<Vec<TableIdent>, SqlError> {
    let mut idents = Vec::new();
    for namespace in shared.deps.tables.namespaces()? {
        idents.extend(shared.deps.tables.tables(&namespace)?);
    }
    for topic in shared.deps.topics.list() {
        if let Ok(Some(settings)) = IcebergTopic::of(&topic) {
            idents.push(settings.table(&shared.deps.tables));
        }
    }
    idents.sort();
    idents.dedup();
    Ok(idents)
}

async fn load(shared: &Shared, ident: &TableIdent) -> Result<Option<Table>, SqlError> {
    match shared.deps.tables.load(ident).await {
        Ok(table) => Ok(Some(table)),
        Err(CatalogError::NoSuchTable(_) | CatalogError::NoSuchNamespace(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The main table of a dead-letter table of an existing topic.
fn main_of(shared: &Shared, ident: &TableIdent) -> Option<TableIdent> {
    let main = ident.name.strip_suffix(DEAD_LETTER_SUFFIX)?;
    let main = TableIdent { namespace: ident.namespace.clone(), name: main.into() };
    topic_of(shared, &main).map(|_| main)
}

/// The topic that a table is made of.
fn topic_of(shared: &Shared, ident: &TableIdent) -> Option<(Arc<TopicInfo>, IcebergTopic)> {
    mode::topic_of(&shared.deps.topics, &shared.deps.tables, ident)
}

fn pin_one(
    shared: &Shared,
    cut: &Cut,
    ident: &TableIdent,
    table: Option<Table>,
    main: Option<Table>,
    freshness: Freshness,
) -> Result<Option<PinnedTable>, SqlError> {
    let mut kind = TailKind::Rows;
    let mut topic = topic_of(shared, ident);
    if topic.is_none()
        && let Some(main) = main_of(shared, ident)
    {
        kind = TailKind::DeadLetters;
        topic = topic_of(shared, &main).filter(|(_, s)| s.invalid_records == InvalidRecords::DeadLetter);
    }
    if table.is_none() && topic.is_none() {
        return Ok(None);
    }
    let mut problem = None;
    let columns = match (&table, &topic) {
        (Some(table), _) => plain_schema(table.arrow_schema()?.as_ref()),
        (None, Some(_)) if kind == TailKind::DeadLetters => plain_schema(&TopicRows::dead_letter_columns()),
        (None, Some((topic, _))) => {
            match TopicRows::new(&shared.deps.topics, &shared.deps.registry, Arc::clone(topic)) {
                Ok(rows) => plain_schema(rows.columns()),
                Err(error) => {
                    problem = Some(error.into());
                    Arc::new(Schema::empty())
                }
            }
        }
        (None, None) => Arc::new(Schema::empty()),
    };
    let source = topic.map(|(topic, _)| Source {
        topic,
        kind,
        progress: progress_of(table.as_ref(), main.as_ref()),
        freshness,
    });
    Ok(Some(PinnedTable {
        ident: ident.clone(),
        table,
        columns,
        problem,
        source,
        cut: cut.clone(),
        tail: OnceLock::new(),
        scan: OnceCell::new(),
    }))
}

/// Where a table stands. Dead letters are committed before their main table, and only where there are any: so
/// whichever of the two is further tells.
fn progress_of(table: Option<&Table>, main: Option<&Table>) -> Result<Progress, String> {
    let mut progress = Progress::new();
    for table in [table, main].into_iter().flatten() {
        for (source, recorded) in table.progress().map_err(|e| e.to_string())? {
            let known = progress.entry(source).or_insert(recorded);
            if known.position.next < recorded.position.next {
                *known = recorded;
            }
        }
    }
    Ok(progress)
}

/// The ranges between a table's progress and the cut, and why some are left out.
fn ranges(
    shared: &Shared,
    cut: &Cut,
    rows: &TopicRows,
    progress: &Progress,
) -> (Vec<TailRange>, Option<String>) {
    let topic = rows.topic();
    let mut ranges = Vec::new();
    let mut note = None;
    for partition in 0..topic.partitions {
        let Some(handle) = shared.deps.topics.partition(topic.name.as_str(), partition) else { continue };
        if handle.topic().id != topic.id {
            // Deleted and made again since the cut.
            continue;
        }
        let end = cut.stable(topic.id, partition);
        let source = SourceId { log: shared.deps.topics.log_id().0, topic: topic.id.0, partition };
        let start = handle.marks().log_start;
        let from = match progress.get(&source) {
            None => start.max(rows.begin(partition)),
            Some(recorded) => {
                if let Some(reason) = diverged(&handle, &recorded.position, end) {
                    note = Some(format!("partition {partition}: {reason}"));
                    continue;
                }
                recorded.position.next.max(start)
            }
        };
        if from < end {
            ranges.push(TailRange { partition, from, end });
        }
    }
    (ranges, note)
}

/// Why the log cannot be the one that the table was made of.
fn diverged(partition: &topics::Partition, position: &Position, end: Offset) -> Option<String> {
    if position.next > end {
        return Some(format!("the table has read up to offset {}, the log ends at {end}", position.next));
    }
    if position.hash == 0 || position.next == 0 {
        return None;
    }
    match partition.batch_hash(position.next - 1) {
        Ok(Some(hash)) if hash != position.hash => {
            Some(format!("the record at offset {} is not the one that the table has read", position.next - 1))
        }
        _ => None,
    }
}

/// A schema without field ids and other metadata but the names of extension types, nested fields included.
pub(crate) fn plain_schema(schema: &Schema) -> SchemaRef {
    Arc::new(Schema::new(schema.fields().iter().map(plain_field).collect::<Fields>()))
}

fn plain_field(field: &FieldRef) -> FieldRef {
    let plain = Field::new(field.name(), plain_type(field.data_type()), field.is_nullable());
    let extension = field.extension_type_name().map(|name| (EXTENSION_NAME.to_owned(), name.to_owned()));
    Arc::new(plain.with_metadata(extension.into_iter().collect()))
}

fn plain_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(plain_field).collect()),
        DataType::List(field) => DataType::List(plain_field(field)),
        DataType::LargeList(field) => DataType::LargeList(plain_field(field)),
        DataType::Map(field, sorted) => DataType::Map(plain_field(field), *sorted),
        other => other.clone(),
    }
}
