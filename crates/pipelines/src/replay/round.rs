//! One pass over the dead letters: which of them are rows by now.
//!
//! Owns: reading them file by file, staging the rows, counting what still does not fit and why.
//! Does not own: committing; where a record belongs (queries/rows).
//! Invariants: only dead letters that the table's account knows are tried; memory is bounded by one file, one batch and
//! the offsets of one commit.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use base::{Offset, PartitionId};
use queries::rows::{Retried, RetriedBatch};
use queries::{TopicRows, Unseen};
use tables::{Replay, StagedFiles, Table, TableWriter};
use topics::TopicInfo;

use crate::commands::CommandError;
use crate::duties::Duties;
use crate::materialize::source;

/// What one pass found.
#[derive(Debug, Default)]
pub(super) struct Tried {
    pub(super) staged: StagedFiles,
    /// Offsets of the staged rows.
    pub(super) offsets: BTreeMap<PartitionId, Vec<Offset>>,
    pub(super) bad: BTreeMap<PartitionId, u64>,
    /// By code: how many, and what is said of the first.
    pub(super) reasons: BTreeMap<&'static str, (u64, String)>,
    /// Schemas that must be stored first.
    pub(super) unseen: Unseen,
    /// Whether every dead letter was looked at.
    pub(super) complete: bool,
    /// Stretches of neighbouring offsets, at most.
    runs: usize,
}

impl Tried {
    pub(super) fn taken(&self) -> u64 {
        self.offsets.values().map(|offsets| offsets.len() as u64).sum()
    }

    fn take(&mut self, retried: &Retried) {
        let offsets = self.offsets.entry(retried.partition).or_default();
        for offset in &retried.offsets {
            let neighbour = offsets.last().is_some_and(|last| last + 1 == *offset);
            self.runs += usize::from(!neighbour);
            offsets.push(*offset);
        }
    }

    fn reject(&mut self, retried: &Retried) {
        *self.bad.entry(retried.partition).or_default() += retried.rejected.len() as u64;
        for record in &retried.rejected {
            let reason = self.reasons.entry(record.code).or_insert_with(|| (0, record.message.clone()));
            reason.0 += 1;
        }
    }
}

/// What a pass works with.
pub(super) struct Round<'a> {
    duties: &'a Duties,
    rows: &'a TopicRows,
    table: &'a Table,
    dead: &'a Table,
    /// Offsets that the account speaks of.
    known: BTreeMap<PartitionId, std::ops::Range<Offset>>,
    /// They are rows already: an interrupted replay is only looked at.
    leaving: Option<Replay>,
    /// Most rows.
    most: u64,
}

impl<'a> Round<'a> {
    pub(super) fn new(
        duties: &'a Duties,
        info: &TopicInfo,
        rows: &'a TopicRows,
        table: &'a Table,
        dead: &'a Table,
        most: u64,
    ) -> Result<Self, CommandError> {
        let progress = table.progress()?;
        let ours = progress.iter().filter(|(id, _)| source(duties, info.id, id.partition) == **id);
        let known = ours.map(|(id, r)| (id.partition, r.account.first..r.position.next)).collect();
        let leaving = table.replays()?.open;
        Ok(Self { duties, rows, table, dead, known, leaving, most: most.min(duties.settings.replay_records) })
    }

    /// Tries until all were looked at or a limit is reached; `stage`: the rows are written.
    pub(super) async fn run(&self, stage: bool) -> Result<Tried, CommandError> {
        let tables = &self.duties.deps.tables;
        let failed = |e: &tables::WriteError| CommandError::Unavailable(base::fault::chain(e));
        let mut tried = Tried::default();
        let mut writer = None;
        // In a dry run all of them are looked at.
        let full = |tried: &Tried| {
            stage && (tried.taken() >= self.most || tried.runs >= self.duties.settings.replay_runs)
        };
        'files: for file in tables.scan(self.dead, None).await?.files {
            for batch in tables.rows_of(self.dead, &file.location).await? {
                if full(&tried) {
                    break 'files;
                }
                self.step(&batch?, stage.then_some(&mut writer), &mut tried).await?;
                if !tried.unseen.is_empty() {
                    break 'files;
                }
            }
        }
        tried.complete = tried.unseen.is_empty() && !full(&tried);
        if let Some(writer) = writer {
            let writer: TableWriter = writer;
            tried.staged = writer.finish().await.map_err(|e| failed(&e))?;
        }
        Ok(tried)
    }

    async fn step(
        &self,
        letters: &RecordBatch,
        mut writer: Option<&mut Option<TableWriter>>,
        tried: &mut Tried,
    ) -> Result<(), CommandError> {
        let wanted = |p: PartitionId, o: Offset| {
            self.known.get(&p).is_some_and(|known| known.contains(&o))
                && !self.leaving.as_ref().is_some_and(|replay| replay.contains(p, o))
        };
        let RetriedBatch { partitions, unseen } = self.rows.retry(letters, &wanted).map_err(|why| {
            CommandError::Conflict(format!("table {} is not as it was made: {why}", self.dead.ident))
        })?;
        tried.unseen = unseen;
        for mut retried in partitions {
            let left = self.most.saturating_sub(tried.taken()) as usize;
            if writer.is_some() && retried.offsets.len() > left {
                retried.offsets.truncate(left);
                retried.rows = retried.rows.map(|rows| rows.slice(0, left));
            }
            if let (Some(writer), Some(rows)) = (&mut writer, &retried.rows) {
                self.write(writer, rows).await?;
            }
            tried.take(&retried);
            tried.reject(&retried);
        }
        Ok(())
    }

    async fn write(&self, writer: &mut Option<TableWriter>, rows: &RecordBatch) -> Result<(), CommandError> {
        let failed = |e: tables::WriteError| CommandError::Unavailable(base::fault::chain(&e));
        let writer = match writer {
            Some(writer) => writer,
            None => writer.insert(self.duties.deps.tables.writer(self.table).map_err(failed)?),
        };
        writer.write(rows).await.map_err(failed)
    }
}

/// Field id of the offset in a topic's table; none when it has none.
pub(super) fn offset_id(table: &Table) -> Result<Option<i32>, CommandError> {
    let schema = table.arrow_schema()?;
    let Ok(record) = schema.field_with_name("redpanda") else { return Ok(None) };
    let arrow::datatypes::DataType::Struct(members) = record.data_type() else { return Ok(None) };
    let offset = members.iter().find(|member| member.name() == "offset");
    Ok(offset.and_then(|member| member.metadata().get("PARQUET:field_id")?.parse().ok()))
}
