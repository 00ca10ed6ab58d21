//! `frazil table replay-dlq`: dead letters that fit by now become rows of their table, exactly once.
//!
//! Owns: the order of the steps, what is refused, the report; finishing what a stop has interrupted.
//! Does not own: decoding (queries/rows), the commits and their marker (tables/replay), reading dead letters (`round`).
//! Invariants: rows come into the table together with a marker that names them; then they leave the dead-letter table;
//! then the marker is closed. Whoever finds an open marker finishes that first, so each record is in one of the two
//! tables in the end, whatever stops in between. Topics do not change while a marker is open in a running node, and a
//! task of another life of the topic does not begin: a dead letter that leaves is the one that was meant.

mod round;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use base::{Offset, PartitionId};
use queries::mode::IcebergTopic;
use queries::rows::places;
use serde::Serialize;
use tables::maintenance::Rows;
use tables::{CatalogError, CommitError, Progress, Replay, ScanFile, SourceId, Table, TableIdent};
use topics::TopicInfo;
use uuid::Uuid;

use crate::commands::CommandError;
use crate::duties::Duties;
use crate::materialize::{Trouble, prepare, source, switches};
use crate::verify::dead_letters_found;
use round::{Round, Tried};

/// Snapshots of both tables that one replay made bear its id.
const REPLAY_ID: &str = "frazil.replay-id";
/// Rounds that end without a row, because others replay at the same time or new schemas come, before giving up.
const IN_VAIN_MAX: u32 = 10;

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct How {
    pub(crate) dry_run: bool,
    /// Most records that become rows.
    pub(crate) limit: Option<u64>,
}

/// What a replay has done, or would do.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ReplayReport {
    pub table: String,
    pub dry_run: bool,
    /// The last snapshot of the table that it made.
    pub snapshot_id: Option<i64>,
    pub replayed: u64,
    /// Dead letters that were tried and still are none but that.
    pub still_bad: u64,
    pub partitions: Vec<PartitionReplay>,
    /// Why the others do not fit today, by code.
    pub reasons: Vec<Reason>,
    /// Whether the limit was reached: there may be more.
    pub limit_reached: bool,
    /// An earlier replay had been interrupted, and was finished first.
    pub finished_earlier: bool,
}

/// Dead letters of one partition.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct PartitionReplay {
    pub partition: PartitionId,
    pub replayed: u64,
    pub still_bad: u64,
}

/// One reason why dead letters do not fit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reason {
    pub code: String,
    pub records: u64,
    /// What is said of the first one.
    pub example: String,
}

/// Replays the dead letters of `table`, which is a topic's.
pub(crate) async fn replay(
    duties: &Duties,
    table: &TableIdent,
    how: How,
) -> Result<ReplayReport, CommandError> {
    let found = queries::mode::topic_of(&duties.deps.topics, &duties.deps.tables, table);
    let Some((info, settings)) = found else {
        return Err(CommandError::NotFound(format!(
            "no topic is made into table {table}: only a topic's dead letters can be replayed"
        )));
    };
    let mut report =
        ReplayReport { table: table.to_string(), dry_run: how.dry_run, ..ReplayReport::default() };
    if !how.dry_run {
        report.finished_earlier = finish(duties, table).await?;
    }
    let (mut total, mut in_vain) = (BTreeMap::<PartitionId, u64>::new(), 0);
    loop {
        let left = how.limit.map_or(u64::MAX, |limit| limit - report.replayed);
        let prepared = prepare(duties, &info).await.map_err(|t| t.answer(info.name.as_str()))?;
        let dead = dead_letter_table(duties, &settings).await?;
        check(duties, &info, &prepared.table, &dead).await?;
        let round = Round::new(duties, &info, &prepared.rows, &prepared.table, &dead, left)?;
        let tried = round.run(!how.dry_run).await?;
        if !tried.unseen.is_empty() {
            again(&mut in_vain, table)?;
            // Columns that only records ask for come with the log's records, never from here.
            let noted = switches::note(duties, &info, &tried.unseen, &BTreeMap::new()).await;
            noted.map_err(|t| t.answer(info.name.as_str()))?;
            continue;
        }
        if !how.dry_run && tried.taken() > 0 {
            match commit(duties, &info, &prepared.table, &tried).await {
                Ok(snapshot_id) => report.snapshot_id = Some(snapshot_id),
                Err(CommandError::Commit(CommitError::RequirementFailed(_))) => {
                    again(&mut in_vain, table)?;
                    continue;
                }
                Err(error) => return Err(error),
            }
            in_vain = 0;
        }
        for (partition, offsets) in &tried.offsets {
            *total.entry(*partition).or_default() += offsets.len() as u64;
        }
        report.replayed += tried.taken();
        report.limit_reached = !how.dry_run && how.limit.is_some_and(|limit| report.replayed >= limit);
        // A round that had to stop before it had seen all is followed by another one.
        if tried.complete || how.dry_run || report.limit_reached {
            report.fill(&total, &tried);
            return Ok(report);
        }
    }
}

fn again(in_vain: &mut u32, table: &TableIdent) -> Result<(), CommandError> {
    *in_vain += 1;
    if *in_vain < IN_VAIN_MAX {
        return Ok(());
    }
    Err(CommandError::Unavailable(format!("table {table} changed {IN_VAIN_MAX} times meanwhile: try again")))
}

impl ReplayReport {
    fn fill(&mut self, total: &BTreeMap<PartitionId, u64>, last: &Tried) {
        let partitions: BTreeSet<PartitionId> = total.keys().chain(last.bad.keys()).copied().collect();
        let row = |partition: PartitionId| PartitionReplay {
            partition,
            replayed: total.get(&partition).copied().unwrap_or(0),
            still_bad: last.bad.get(&partition).copied().unwrap_or(0),
        };
        self.partitions = partitions.into_iter().map(row).collect();
        self.still_bad = last.bad.values().sum();
        let reason = |(code, (records, example)): (&&str, &(u64, String))| Reason {
            code: (*code).to_owned(),
            records: *records,
            example: example.clone(),
        };
        self.reasons = last.reasons.iter().map(reason).collect();
    }
}

async fn dead_letter_table(duties: &Duties, settings: &IcebergTopic) -> Result<Table, CommandError> {
    let ident = settings.dead_letter_table(&duties.deps.tables);
    match duties.deps.tables.load(&ident).await {
        Err(CatalogError::NoSuchTable(_) | CatalogError::NoSuchNamespace(_)) => {
            Err(CommandError::NotFound(format!(
                "there is no table {ident}: no record was rejected so far (or it was dropped, or \
                 redpanda.iceberg.invalid.record.action is `drop`)"
            )))
        }
        other => Ok(other?),
    }
}

/// Refuses what could move a record to the wrong place, or twice.
async fn check(duties: &Duties, info: &TopicInfo, table: &Table, dead: &Table) -> Result<(), CommandError> {
    let (progress, dead_progress) = (table.progress()?, dead.progress()?);
    let refuse = |why: String| {
        Err(CommandError::Conflict(format!("the dead letters of {} are not replayed: {why}", table.ident)))
    };
    let ours = |id: &SourceId| source(duties, info.id, id.partition) == *id;
    if other_lives(&progress, ours) || other_lives(&dead_progress, ours) {
        return refuse(format!(
            "topic {} has had several lives with dead letters, and an offset does not tell which one it is of; read \
             them from {} and produce them again",
            info.name, dead.ident
        ));
    }
    let own: Vec<_> = progress.iter().filter(|(id, _)| ours(id)).collect();
    if own.iter().any(|(_, recorded)| recorded.account.fates.forked > 0) {
        return refuse("its log was moved back once, so that two records may have the same offset".into());
    }
    let leaving = table.replays()?.open;
    let found = dead_letters_found(duties, &dead.ident, &progress, leaving.as_ref()).await?;
    for (id, recorded) in own {
        let (first, next) = (recorded.account.first, recorded.position.next);
        let owed = recorded.account.fates.dead_letters;
        let (count, wrong) = found.beside(id.partition, (first, next));
        if count != owed || wrong.is_some() {
            let wrong = wrong.map_or_else(String::new, |wrong| format!(" ({wrong} should not be there)"));
            return refuse(format!(
                "table {} holds {count} of partition {}{wrong}, the account says {owed}: somebody else has changed it; \
                 `frazil table verify {}` shows both",
                dead.ident, id.partition, table.ident.name
            ));
        }
    }
    Ok(())
}

/// Whether dead letters may be those of another life of the topic.
fn other_lives(progress: &Progress, ours: impl Fn(&SourceId) -> bool) -> bool {
    progress.iter().any(|(id, recorded)| !ours(id) && recorded.account.fates.dead_letters > 0)
}

/// Rows in, letters out, marker closed. Topics do not change meanwhile.
async fn commit(
    duties: &Duties,
    info: &Arc<TopicInfo>,
    table: &Table,
    tried: &Tried,
) -> Result<i64, CommandError> {
    let _changes = duties.changes.lock().await;
    let _replaying = duties.replaying.lock().await;
    if duties.deps.topics.topic_by_id(info.id).is_none() {
        return Err(CommandError::NotFound(format!("topic {} was deleted meanwhile", info.name)));
    }
    let id = source(duties, info.id, 0);
    let offsets =
        tried.offsets.iter().map(|(p, offsets)| (*p, tables::Offsets::of(offsets.clone()))).collect();
    let replay = Replay { id: Uuid::new_v4(), log: id.log, topic: id.topic, offsets };
    let (ident, seen) = (&table.ident, table.replays()?.generation);
    let tables = &duties.deps.tables;
    let snapshot_id = tables.append_replayed(ident, tried.staged.clone(), seen, &replay).await?;
    tracing::info!(table = %ident, records = replay.rows(), "dead letters have become rows");
    clean(duties, ident, &replay).await?;
    tables.close_replay(ident, seen + 1).await?;
    Ok(snapshot_id)
}

/// Takes what has become rows out of the dead-letter table.
async fn clean(duties: &Duties, table: &TableIdent, replay: &Replay) -> Result<(), CommandError> {
    let ident = crate::verify::dead_letters_of(table);
    let summary = BTreeMap::from([(REPLAY_ID.to_owned(), replay.id.to_string())]);
    let dead = match duties.deps.tables.load(&ident).await {
        Ok(dead) => dead,
        // Whoever dropped it has taken them all out.
        Err(CatalogError::NoSuchTable(_)) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let ours = |id: &SourceId| (id.log, id.topic) == (replay.log, replay.topic);
    if other_lives(&dead.progress()?, ours) {
        return Err(CommandError::Conflict(format!(
            "table {ident} has dead letters of another life of the topic by now: an offset does not tell them from \
             those of replay {} that are still to leave it",
            replay.id
        )));
    }
    let leaving = Leaving { replay, offset_id: round::offset_id(&dead)? };
    let removed = duties.deps.tables.remove_rows(&ident, &leaving, &summary).await?;
    tracing::debug!(table = %ident, rows = removed.rows, files = removed.files, "dead letters have left");
    Ok(())
}

/// Finishes a replay that was interrupted; whether there was one.
pub(crate) async fn finish(duties: &Duties, table: &TableIdent) -> Result<bool, CommandError> {
    let _replaying = duties.replaying.lock().await;
    let replays = duties.deps.tables.load(table).await?.replays()?;
    let Some(open) = &replays.open else { return Ok(false) };
    tracing::info!(%table, records = open.rows(), "finishing an interrupted replay of dead letters");
    clean(duties, table, open).await?;
    duties.deps.tables.close_replay(table, replays.generation).await?;
    Ok(true)
}

/// Before a topic's task goes on: what was interrupted is finished. When it cannot be, only another life of the topic
/// must wait for it: its dead letters could be taken for the old ones.
pub(crate) async fn finish_before(duties: &Duties, info: &TopicInfo, table: &Table) -> Result<(), Trouble> {
    let Some(open) = table.replays()?.open else { return Ok(()) };
    match finish(duties, &table.ident).await {
        Ok(_) => Ok(()),
        Err(error) if open.topic == info.id.0 => {
            let reason = base::fault::chain(&error);
            tracing::warn!(table = %table.ident, %reason, "an interrupted replay of dead letters is not finished");
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

/// Dead letters that are rows by now.
struct Leaving<'a> {
    replay: &'a Replay,
    /// Field id of `redpanda.offset`.
    offset_id: Option<i32>,
}

impl Rows for Leaving<'_> {
    fn may_be_in(&self, file: &ScanFile) -> bool {
        let bound = |bounds: &std::collections::HashMap<i32, Vec<u8>>| {
            let bytes = self.offset_id.and_then(|id| bounds.get(&id))?;
            Some(Offset::from_le_bytes(bytes.as_slice().try_into().ok()?))
        };
        let (Some(least), Some(most)) = (bound(&file.lower_bounds), bound(&file.upper_bounds)) else {
            return true;
        };
        self.replay.offsets.values().any(|offsets| offsets.any_within(least, most))
    }

    fn stay(&self, batch: &RecordBatch) -> Result<BooleanArray, String> {
        let stays =
            |place: Option<(PartitionId, Offset)>| !place.is_some_and(|(p, o)| self.replay.contains(p, o));
        Ok(places(batch)?.into_iter().map(|place| Some(stays(place))).collect())
    }
}
