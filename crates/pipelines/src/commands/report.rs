//! The node's status.
//!
//! Owns: gathering it.
//! Does not own: its form (`status`).

use std::collections::BTreeMap;
use std::sync::Arc;

use queries::mode::{DEAD_LETTER_SUFFIX, IcebergTopic};
use tables::{CatalogError, Table, TableIdent};
use topics::TopicInfo;

use crate::commands::CommandError;
use crate::duties::Duties;
use crate::materialize::{BACKFILL, DROPPED, Link, SKIPPED, State, offsets_in};
use crate::status::{NodeStatus, PartitionStatus, PipelineStatus, TableStatus, TopicStatus};

pub(crate) async fn status(duties: &Duties) -> NodeStatus {
    let deps = &duties.deps;
    let mut infos = deps.topics.list();
    infos.sort_by(|a, b| a.name.cmp(&b.name));
    let topics = infos.iter().map(|info| topic_status(duties, info)).collect();
    let mut tables = Vec::new();
    for info in &infos {
        if let Some(link) = duties.table_link(info.id) {
            tables.push(table_status(duties, info, &link).await);
        }
    }
    NodeStatus {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        log_id: deps.topics.log_id().to_string(),
        uptime_ms: (deps.clock.now_ms() - duties.started_ms).max(0),
        offline: deps.topics.offline(),
        alarms: deps.topics.alarms(),
        topics,
        tables,
        pipelines: pipeline_status(duties),
        upkeep: duties.upkeep.status(duties),
    }
}

fn topic_status(duties: &Duties, info: &TopicInfo) -> TopicStatus {
    let partition = |index| {
        let partition = duties.deps.topics.partition(info.name.as_str(), index)?;
        let marks = partition.marks();
        Some(PartitionStatus {
            partition: index,
            log_start: marks.log_start,
            materialized: marks.materialized,
            stable: marks.stable,
            durable: marks.durable,
            appended: marks.appended,
            size_bytes: partition.size_bytes(),
            held_bytes: partition.held_bytes(),
        })
    };
    TopicStatus {
        name: info.name.to_string(),
        id: info.id.to_string(),
        partitions: (0..info.partitions).filter_map(partition).collect(),
    }
}

async fn table_status(duties: &Duties, info: &TopicInfo, link: &Arc<Link>) -> TableStatus {
    let view = link.view.lock().clone();
    let name = info.name.as_str();
    let (ident, dead) = idents(duties, info);
    let (table, mut problem) = load(duties, &ident).await;
    let (dead, dead_problem) = load(duties, &dead).await;
    problem = problem.or(dead_problem);
    let snapshots = table.as_ref().map(Table::snapshots).unwrap_or_default();
    let number = |summary: &std::collections::HashMap<String, String>| -> u64 {
        summary.get(DROPPED).and_then(|text| text.parse().ok()).unwrap_or(0)
    };
    let skipped_by = |s: &tables::SnapshotInfo| s.summary.get(SKIPPED).map_or(0, |text| offsets_in(text));
    let skipped: u64 = snapshots.iter().map(skipped_by).sum();
    let lost: u64 = snapshots.iter().filter(|s| !s.summary.contains_key(BACKFILL)).map(skipped_by).sum();
    if lost > 0 {
        problem = problem.or_else(|| Some(skipped_message(name, lost)));
    }
    if !view.differences.is_empty() {
        problem = problem.or_else(|| Some(differences_message(name, &view.differences)));
    }
    TableStatus {
        topic: name.to_owned(),
        table: shown(duties, &ident),
        state: view.state.as_str().to_owned(),
        message: view.message.or(problem),
        snapshot_id: table.as_ref().and_then(Table::current_snapshot_id),
        snapshots: snapshots.len(),
        records: table.as_ref().map_or(0, Table::total_records),
        lag: lag(duties, info, &view.next),
        dead_letters: dead.as_ref().map_or(0, Table::total_records),
        skipped,
        dropped: snapshots.iter().map(|snapshot| number(&snapshot.summary)).sum(),
        last_commit_ms: view.last_commit_ms,
    }
}

/// The tables of a topic; of one whose properties cannot be read, those it would have by default.
fn idents(duties: &Duties, info: &TopicInfo) -> (TableIdent, TableIdent) {
    let tables = &duties.deps.tables;
    match IcebergTopic::of(info) {
        Ok(Some(settings)) => (settings.table(tables), settings.dead_letter_table(tables)),
        _ => {
            let name = info.name.as_str();
            (tables.ident(name), tables.ident(&format!("{name}{DEAD_LETTER_SUFFIX}")))
        }
    }
}

/// A table's name, with its namespace unless that is the default.
fn shown(duties: &Duties, ident: &TableIdent) -> String {
    if duties.deps.tables.ident(&ident.name) == *ident { ident.name.clone() } else { ident.to_string() }
}

fn differences_message(topic: &str, differences: &[String]) -> String {
    format!("{}; records with such values are rejected (topic {topic})", differences.join("; "))
}

fn skipped_message(topic: &str, skipped: u64) -> String {
    format!(
        "alarm: {skipped} records are not in the table, because topic {topic} deleted them before the table had read \
         them; the snapshots' summaries name their offsets. Raise frazil.retention.hold.bytes or the topic's retention"
    )
}

async fn load(duties: &Duties, ident: &TableIdent) -> (Option<Table>, Option<String>) {
    match duties.deps.tables.load(ident).await {
        Ok(table) => (Some(table), None),
        Err(CatalogError::NoSuchTable(_) | CatalogError::NoSuchNamespace(_)) => (None, None),
        Err(error) => (None, Some(base::fault::chain(&error))),
    }
}

fn lag(duties: &Duties, info: &TopicInfo, next: &BTreeMap<i32, i64>) -> i64 {
    let of = |index| {
        let marks = duties.deps.topics.partition(info.name.as_str(), index)?.marks();
        Some((marks.stable - next.get(&index).copied().unwrap_or(marks.log_start)).max(0))
    };
    (0..info.partitions).filter_map(of).sum()
}

fn pipeline_status(duties: &Duties) -> Vec<PipelineStatus> {
    let pipelines = duties.pipelines.lock();
    let show = |(name, duty): (&String, &crate::duties::PipelineDuty)| {
        let view = duty.link.view.lock().clone();
        PipelineStatus {
            name: name.clone(),
            state: view.state.to_owned(),
            runs: view.runs,
            last_run_ms: view.last_run_ms,
            last_rows: view.last_rows,
            message: view.message,
        }
    };
    pipelines.iter().map(show).collect()
}

/// Whether an operator has to decide something about the table.
pub(crate) fn needs_operator(link: &Link) -> bool {
    matches!(link.view.lock().state, State::Diverged | State::RolledBack)
}

/// A table's dead letters are part of its account: whoever names them means the table.
pub(crate) fn without_dead_letters(ident: TableIdent) -> TableIdent {
    match ident.name.strip_suffix(DEAD_LETTER_SUFFIX) {
        Some(main) => TableIdent { name: main.to_owned(), ..ident },
        None => ident,
    }
}

/// The table that an operator names: in the default namespace, or with its namespace in front. Names may have dots.
pub(crate) async fn table_named(duties: &Duties, name: &str) -> Result<TableIdent, CommandError> {
    let tables = &duties.deps.tables;
    let mut candidates = vec![tables.ident(name)];
    let splits = name.match_indices('.').map(|(at, _)| (&name[..at], &name[at + 1..]));
    candidates.extend(splits.map(|(namespace, table)| TableIdent {
        namespace: namespace.split('.').map(str::to_owned).collect(),
        name: table.to_owned(),
    }));
    for ident in candidates {
        match tables.load(&ident).await {
            Ok(_) => return Ok(ident),
            Err(CatalogError::NoSuchTable(_) | CatalogError::NoSuchNamespace(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(no_such_table(duties, name))
}

/// Why there is no such table: a topic may be about to become it.
pub(crate) fn no_such_table(duties: &Duties, name: &str) -> CommandError {
    let plain = name.strip_suffix(DEAD_LETTER_SUFFIX).unwrap_or(name);
    let becomes = |info: &Arc<TopicInfo>| {
        let (ident, _) = idents(duties, info);
        ident.name == plain || ident.to_string() == plain || info.name.as_str() == plain
    };
    let topic = duties.deps.topics.list().into_iter().find(becomes);
    let view =
        topic.and_then(|info| Some((info.name.clone(), duties.table_link(info.id)?.view.lock().clone())));
    match view {
        Some((topic, view)) => CommandError::Conflict(format!(
            "there is no table {name} yet: topic {topic} is {}{}",
            view.state.as_str(),
            view.message.map_or_else(String::new, |message| format!(": {message}"))
        )),
        None => CommandError::NotFound(format!(
            "there is no table {name}; `frazil table list` shows what there is"
        )),
    }
}
