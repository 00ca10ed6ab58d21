//! Going on after table and log told different stories: an operator has said how.
//!
//! Owns: which progress is accepted.
//! Does not own: storing it (tables).

use std::collections::HashMap;

use base::TopicId;
use queries::mode::IcebergTopic;
use tables::commit::LogJudgement;
use tables::progress::PROGRESS_KEY;
use tables::{Account, CatalogError, Fates, Position, Progress, Recorded, SnapshotInfo, SourceId, Table};
use topics::{Partition, TopicInfo};

use crate::commands::CommandError;
use crate::duties::Duties;
use crate::materialize::standing::{Positions, judge, positions_of, source};

/// Accepts the present state of a topic's table, and of its dead-letter table when that one disagrees too.
///
/// `skip`: go on from the log's stable end. Otherwise: from the newest place that both the table's present history and
/// the log know, per partition; from the log's start when there is none.
pub(crate) async fn resume(duties: &Duties, info: &TopicInfo, skip: bool) -> Result<(), CommandError> {
    let tables = &duties.deps.tables;
    let mut partitions = Vec::new();
    for index in 0..info.partitions {
        let partition = duties.deps.topics.partition(info.name.as_str(), index);
        partitions.push(
            partition.ok_or_else(|| {
                CommandError::NotFound(format!("topic {} has just been deleted", info.name))
            })?,
        );
    }
    let settings = IcebergTopic::of(info).map_err(CommandError::Invalid)?;
    let settings =
        settings.ok_or_else(|| CommandError::NotFound(format!("topic {} is no table", info.name)))?;
    let table = tables.load(&settings.table(tables)).await?;
    let dead = match tables.load(&settings.dead_letter_table(tables)).await {
        Ok(dead) => Some(dead).filter(|dead| disagrees(duties, info.id, &partitions, dead).unwrap_or(true)),
        Err(CatalogError::NoSuchTable(_) | CatalogError::NoSuchNamespace(_)) => None,
        Err(error) => return Err(error.into()),
    };
    if let Some(dead) = dead.as_ref().filter(|_| !skip)
        && !disagrees(duties, info.id, &partitions, &table)?
    {
        // The table has passed those offsets, and nobody reads them for the dead letters alone.
        return Err(CommandError::Conflict(format!(
            "only the dead letters of {} were moved back: what came after lies before the table's own place and is not read \
             again; move {} forward to the snapshot that was its head, or take --skip to go on without them",
            table.ident, dead.ident
        )));
    }
    accept(duties, info.id, &partitions, &table, skip).await?;
    match dead {
        Some(dead) => accept(duties, info.id, &partitions, &dead, skip).await,
        None => Ok(()),
    }
}

fn disagrees(
    duties: &Duties,
    topic: TopicId,
    partitions: &[Partition],
    table: &Table,
) -> Result<bool, CommandError> {
    let Ok(progress) = table.progress() else { return Ok(true) };
    let positions = positions_of(duties, topic, &progress);
    Ok(judge(duties, topic, partitions, &positions)? != LogJudgement::Ok)
}

async fn accept(
    duties: &Duties,
    topic: TopicId,
    partitions: &[Partition],
    table: &Table,
    skip: bool,
) -> Result<(), CommandError> {
    let history = history(table);
    let mut progress = history.first().cloned().unwrap_or_default();
    for partition in partitions {
        let id = source(duties, topic, partition.index());
        let position =
            if skip { Some(end_of(partition)?) } else { newest_shared(duties, topic, &history, partition)? };
        match position {
            Some(position) => progress.insert(id, moved(progress.get(&id), position)),
            None => progress.remove(&id),
        };
    }
    tracing::warn!(table = %table.ident.name, skip, "the table's progress is set by an operator");
    duties.deps.tables.accept_progress(&table.ident, progress).await?;
    Ok(())
}

/// The account goes on: offsets that are left out are skipped, those that come again are forked.
fn moved(before: Option<&Recorded>, position: Position) -> Recorded {
    let Some(before) = before else { return Recorded::from_here(position) };
    let distance = position.next.abs_diff(before.position.next);
    let step = match position.next > before.position.next {
        true => Fates { skipped: distance, ..Fates::default() },
        false => Fates { forked: distance, ..Fates::default() },
    };
    Recorded { position, account: Account { fates: before.account.fates.and(step), ..before.account } }
}

/// What the present main branch carries, newest first.
fn history(table: &Table) -> Vec<Progress> {
    let snapshots: HashMap<i64, SnapshotInfo> = table.snapshots().into_iter().map(|s| (s.id, s)).collect();
    let mut at = table.current_snapshot_id();
    let (mut history, mut oldest) = (Vec::new(), i64::MAX);
    // A parent chain cannot be longer than the list of snapshots.
    for _ in 0..snapshots.len() {
        let Some(snapshot) = at.and_then(|id| snapshots.get(&id)) else { break };
        let carried = snapshot.summary.get(PROGRESS_KEY);
        history.extend(carried.and_then(|text| tables::progress::decode(text).ok()));
        oldest = snapshot.sequence;
        at = snapshot.parent;
    }
    if at.is_some() {
        beyond_the_gap(snapshots.into_values(), oldest, &mut history);
    }
    history
}

/// Expiry thins the chain of parents out: what is left beyond a gap, older than `oldest`, was on main too, or was moved
/// back from. A place that main has not gone beyond since is not taken: main may lack what lies before it.
fn beyond_the_gap(snapshots: impl Iterator<Item = SnapshotInfo>, oldest: i64, history: &mut Vec<Progress>) {
    let mut older: Vec<SnapshotInfo> = snapshots.filter(|s| s.sequence < oldest).collect();
    older.sort_by_key(|s| std::cmp::Reverse(s.sequence));
    for snapshot in older {
        let carried = snapshot.summary.get(PROGRESS_KEY);
        let Some(progress) = carried.and_then(|text| tables::progress::decode(text).ok()) else { continue };
        let passed = |(id, recorded): (&SourceId, &Recorded)| {
            let later = history.last().map(|later| later.get(id).map(|r| r.position.next));
            later.is_none_or(|next| next.is_some_and(|next| recorded.position.next <= next))
        };
        if progress.iter().all(passed) {
            history.push(progress);
        }
    }
}

fn newest_shared(
    duties: &Duties,
    topic: TopicId,
    history: &[Progress],
    partition: &Partition,
) -> Result<Option<Position>, CommandError> {
    let id = source(duties, topic, partition.index());
    for Recorded { position, .. } in history.iter().filter_map(|progress| progress.get(&id)) {
        let alone = Positions::from([(partition.index(), *position)]);
        if judge(duties, topic, std::slice::from_ref(partition), &alone)? == LogJudgement::Ok {
            return Ok(Some(*position));
        }
    }
    Ok(None)
}

fn end_of(partition: &Partition) -> Result<Position, CommandError> {
    // The end as cuts see it: a table never stands beyond one.
    let end = partition.cut_mark();
    let hash = if end > partition.marks().log_start { partition.batch_hash(end - 1)? } else { None };
    Ok(Position { next: end, hash: hash.unwrap_or(0) })
}
