//! Where a table and its topic stand, checked against one another.
//!
//! Owns: reading progress of table and dead-letter table, judging it against the log, planning ranges.
//! Does not own: waiting and committing.

use std::collections::BTreeMap;
use std::sync::Arc;

use base::{Offset, PartitionId, TopicId};
use bytes::Bytes;
use queries::mode::InvalidRecords;
use queries::{SchemaSwitches, TopicRows};
use tables::commit::{LogFacts, LogJudgement, judge_log};
use tables::{CatalogError, Position, Progress, Recorded, SourceId, Table, TableIdent};
use tokio::sync::watch;
use topics::{Cut, Partition, ReadError, TopicInfo};

use crate::duties::Duties;
use crate::materialize::link::State;
use crate::materialize::prepare::{Prepared, prepare};
use crate::materialize::range::{PartitionFacts, Range};
use crate::materialize::switches;
use crate::materialize::trouble::Trouble;

/// Positions in the present life of a topic.
pub(crate) type Positions = BTreeMap<PartitionId, Position>;

/// A table that may be continued.
#[derive(Debug)]
pub(crate) struct Standing {
    pub(crate) info: Arc<TopicInfo>,
    stored: Option<Bytes>,
    switches: SchemaSwitches,
    pub(crate) rows: TopicRows,
    pub(crate) ident: TableIdent,
    pub(crate) table: Table,
    pub(crate) dead_ident: TableIdent,
    pub(crate) partitions: Vec<Partition>,
    pub(crate) readable: Vec<watch::Receiver<Offset>>,
    pub(crate) positions: Positions,
    /// First offsets of partitions that nothing is recorded of.
    pub(crate) begun: BTreeMap<PartitionId, Offset>,
    /// Progress of the dead-letter table.
    pub(crate) dead: Positions,
}

/// The id of a partition in progress.
pub(crate) fn source(duties: &Duties, topic: TopicId, partition: PartitionId) -> SourceId {
    SourceId { log: duties.deps.topics.log_id().0, topic: topic.0, partition }
}

/// The part of a progress that is about this life of the topic.
pub(crate) fn positions_of(duties: &Duties, topic: TopicId, progress: &Progress) -> Positions {
    let log = duties.deps.topics.log_id().0;
    let ours = progress.iter().filter(|(source, _)| source.log == log && source.topic == topic.0);
    ours.map(|(source, recorded)| (source.partition, recorded.position)).collect()
}

impl Standing {
    /// Makes the topic ready, loads progress and judges it.
    pub(crate) async fn look(duties: &Duties, topic: TopicId) -> Result<Self, Trouble> {
        let info = duties.deps.topics.topic_by_id(topic).ok_or(Trouble::Gone)?;
        let Prepared { stored, switches, rows, table } = prepare(duties, &info).await?;
        crate::replay::finish_before(duties, &info, &table).await?;
        let tables = &duties.deps.tables;
        let settings = rows.settings();
        let (ident, dead_ident) = (settings.table(tables), settings.dead_letter_table(tables));
        let mut partitions = Vec::new();
        for index in 0..info.partitions {
            partitions.push(duties.deps.topics.partition(info.name.as_str(), index).ok_or(Trouble::Gone)?);
        }
        let positions = positions_of(duties, topic, &table.progress()?);
        let dead = match tables.load(&dead_ident).await {
            Ok(dead) => positions_of(duties, topic, &dead.progress()?),
            Err(CatalogError::NoSuchTable(_) | CatalogError::NoSuchNamespace(_)) => Positions::new(),
            Err(error) => return Err(error.into()),
        };
        for (name, positions) in [(&ident.name, &positions), (&dead_ident.name, &dead)] {
            if let LogJudgement::Diverged { source, why } = judge(duties, topic, &partitions, positions)? {
                let why = format!("partition {}: {why}", source.partition);
                return Err(diverged(info.name.as_str(), name, &why));
            }
        }
        let readable = partitions.iter().map(Partition::watch_durable).collect();
        Ok(Self {
            info,
            stored,
            switches,
            rows,
            ident,
            table,
            dead_ident,
            partitions,
            readable,
            positions,
            begun: BTreeMap::new(),
            dead,
        })
    }

    /// Whether topic and schema are still what they were when this was made.
    pub(crate) fn holds(&self, duties: &Duties) -> bool {
        let now = duties.deps.topics.topic_by_id(self.info.id);
        now.is_some_and(|now| now.partitions == self.info.partitions && now.config == self.info.config)
            && switches::stored(duties, &self.info) == self.stored
    }

    /// Whether a followed subject has a schema that the topic does not know.
    pub(crate) async fn has_newer_schema(&self, duties: &Duties) -> bool {
        switches::is_behind(duties, &self.info, self.rows.settings(), &self.switches).await
    }

    /// What the next commit covers on the way to `cut`.
    pub(crate) fn ranges(&self, cut: &Cut) -> Vec<Range> {
        let plan = |partition: &Partition| {
            let index = partition.index();
            let facts = PartitionFacts {
                partition: index,
                recorded: self.recorded(index),
                log_start: partition.marks().log_start,
                begin: if self.positions.contains_key(&index) { 0 } else { self.rows.begin(index) },
                stable: cut.stable(self.info.id, index),
            };
            Range::of(facts, self.switches.starts(index))
        };
        self.partitions.iter().filter_map(plan).collect()
    }

    /// Next offset of a partition.
    pub(crate) fn next(&self, partition: &Partition) -> Offset {
        self.recorded(partition.index()).unwrap_or_else(|| partition.marks().log_start)
    }

    /// Next offset of every partition.
    pub(crate) fn stands(&self) -> BTreeMap<PartitionId, Offset> {
        self.partitions.iter().map(|partition| (partition.index(), self.next(partition))).collect()
    }

    /// Whether the first records are still to say which columns there are: nobody waits for that longer than need be.
    pub(crate) fn has_no_columns_yet(&self) -> bool {
        self.rows.has_no_fields() && self.table.current_snapshot_id().is_none()
    }

    fn recorded(&self, index: PartitionId) -> Option<Offset> {
        let recorded = self.positions.get(&index).map(|position| position.next);
        recorded.or_else(|| self.begun.get(&index).copied())
    }

    /// Records that a cut taken now would have and that are not committed.
    pub(crate) fn pending(&self) -> i64 {
        self.partitions.iter().map(|p| (p.cut_mark() - self.next(p)).max(0)).sum()
    }

    pub(crate) fn log_bytes(&self) -> u64 {
        self.partitions.iter().map(Partition::size_bytes).sum()
    }

    pub(crate) fn dead_letters(&self) -> Option<&TableIdent> {
        match self.rows.settings().invalid_records {
            InvalidRecords::DeadLetter => Some(&self.dead_ident),
            InvalidRecords::Drop => None,
        }
    }
}

/// Progress that log and table agree on, or how they do not.
pub(crate) fn judge(
    duties: &Duties,
    topic: TopicId,
    partitions: &[Partition],
    positions: &Positions,
) -> Result<LogJudgement, ReadError> {
    let mut progress = Progress::new();
    let mut facts = Vec::with_capacity(partitions.len());
    for partition in partitions {
        let Some(position) = positions.get(&partition.index()) else { continue };
        let marks = partition.marks();
        let readable = position.next > marks.log_start && position.next <= marks.durable;
        let hash_before = if readable { partition.batch_hash(position.next - 1)? } else { None };
        let source = source(duties, topic, partition.index());
        progress.insert(source, Recorded::from_here(*position));
        facts.push(LogFacts { source, end: marks.durable, log_start: marks.log_start, hash_before });
    }
    Ok(judge_log(&progress, &facts))
}

/// What an operator is told about a table and a log that tell different stories.
pub(crate) fn diverged(topic: &str, table: &str, why: &str) -> Trouble {
    let message = format!(
        "table {table} and topic {topic} have diverged: {why}. The log was probably restored from an older copy. \
         What is committed is still served. Type `frazil table resume {topic} --replay` to go on from the newest \
         place that both know, or `frazil table resume {topic} --skip` to go on from the log's present end"
    );
    Trouble::Stopped(State::Diverged, message)
}
