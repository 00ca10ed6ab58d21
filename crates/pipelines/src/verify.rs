//! `frazil table verify`: accounts for every offset.
//!
//! Owns: comparing a table's account with its rows, its dead letters, its files and its log.
//! Does not own: the account itself (tables/progress), repairing.
//! Invariants: changes nothing; commits that are made meanwhile do not disturb it.

mod against_log;
mod coverage;
mod report;

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{Array, Int32Array, Int64Array, RecordBatch};
use base::{Offset, PartitionId, TopicId};
use futures::StreamExt;
use queries::mode::DEAD_LETTER_SUFFIX;
use queries::{Answer, SessionSettings};
use tables::{CatalogError, Progress, Recorded, Replay, Table, TableIdent};

use crate::commands::CommandError;
use crate::duties::Duties;
use crate::materialize::source;
use coverage::{Coverage, too_deep};
use report::{PartitionAccount, some};

pub use report::VerifyReport;

/// Attempts to see a table that has had several lives between two of its commits.
const ATTEMPTS: u32 = 5;

/// Rows of one table, as far as they are below what its account speaks of.
#[derive(Debug, Default)]
struct Found {
    coverage: Coverage,
    rows: u64,
    foreign: u64,
    /// Rows that came after the account was read.
    newer: u64,
    /// Dead letters that are rows by now and have not left yet.
    leaving: u64,
}

/// Verifies a table and its dead letters. The error is a table that cannot be looked at; what is wrong with it is in the report.
pub(crate) async fn verify(duties: &Duties, ident: &TableIdent) -> Result<VerifyReport, CommandError> {
    for _ in 0..ATTEMPTS {
        if let Some(report) = attempt(duties, ident).await? {
            return Ok(report);
        }
    }
    Err(CommandError::Unavailable(format!(
        "table {ident} has had several histories and changed {ATTEMPTS} times while it was read: try again, or stop its producers"
    )))
}

/// None when rows came meanwhile that cannot be told from those of an earlier life.
async fn attempt(duties: &Duties, ident: &TableIdent) -> Result<Option<VerifyReport>, CommandError> {
    let tables = &duties.deps.tables;
    let table = tables.load(ident).await?;
    let mut report = VerifyReport::new(ident.to_string(), table.current_snapshot_id());
    let progress = match table.progress() {
        Ok(progress) => progress,
        Err(error) => {
            report.find(error.to_string());
            return Ok(Some(report));
        }
    };
    let replays = match table.replays() {
        Ok(replays) => replays,
        Err(error) => {
            report.find(error.to_string());
            return Ok(Some(report));
        }
    };
    let listed = check_files(duties, &table, &mut report).await?;
    if !report.ok {
        report.notes.push("rows and log were not looked at: files come first".to_owned());
        return Ok(Some(report));
    }
    let limits = limits(&progress);
    let rows = find_rows(duties, ident, &limits, None).await?;
    let dead_ident = dead_letters_of(ident);
    let dead = match tables.load(&dead_ident).await {
        Ok(_) => find_rows(duties, &dead_ident, &limits, replays.open.as_ref()).await?,
        Err(CatalogError::NoSuchTable(_)) => Found::default(),
        Err(error) => return Err(error.into()),
    };
    let lives: BTreeSet<_> = progress.keys().map(|source| source.topic).collect();
    let forked = progress.values().any(|recorded| recorded.account.fates.forked > 0);
    let now = tables.load(ident).await?;
    let moved = now.replays()?.generation != replays.generation;
    if moved || (lives.len() > 1 || forked) && now.current_snapshot_id() != table.current_snapshot_id() {
        return Ok(None);
    }
    if let Some(open) = &replays.open {
        report.notes.push(format!(
            "a replay of {} dead letters is under way or was interrupted: {} of them have yet to leave {dead_ident}; the \
             next start or `frazil table replay-dlq {}` finishes it",
            open.rows(),
            dead.leaving,
            ident.name
        ));
    }
    check_counts(&table, listed, &rows, &mut report);
    check_account(&progress, &rows, &dead, &mut report);
    check_log(duties, &progress, rows, dead, &mut report).await?;
    Ok(Some(report))
}

/// The table of a table's dead letters.
pub(crate) fn dead_letters_of(table: &TableIdent) -> TableIdent {
    TableIdent { name: format!("{}{DEAD_LETTER_SUFFIX}", table.name), ..table.clone() }
}

/// Dead letters as far as the account of their table speaks of them.
pub(crate) async fn dead_letters_found(
    duties: &Duties,
    ident: &TableIdent,
    progress: &Progress,
    leaving: Option<&Replay>,
) -> Result<DeadLetters, CommandError> {
    Ok(DeadLetters(find_rows(duties, ident, &limits(progress), leaving).await?.coverage))
}

/// Which dead letters there are.
pub(crate) struct DeadLetters(Coverage);

impl DeadLetters {
    /// How many there are of a partition, and which of them lie twice or outside of `[from, to)`.
    pub(crate) fn beside(&self, partition: PartitionId, owed: (Offset, Offset)) -> (u64, Option<String>) {
        let wrong = too_deep(self.0.runs(partition), &[owed]);
        (self.0.count(partition), (!wrong.is_empty()).then(|| some(&wrong)))
    }
}

/// Per partition the end of what the account speaks of, over all lives.
fn limits(progress: &Progress) -> BTreeMap<PartitionId, Offset> {
    let mut limits = BTreeMap::new();
    for (source, recorded) in progress {
        let limit = limits.entry(source.partition).or_insert(0);
        // What was committed before the table was moved back may lie beyond its present end.
        let forked = i64::try_from(recorded.account.fates.forked).unwrap_or(i64::MAX);
        *limit = recorded.position.next.saturating_add(forked).max(*limit);
    }
    limits
}

/// Partition and offset of every committed row.
async fn find_rows(
    duties: &Duties,
    ident: &TableIdent,
    limits: &BTreeMap<PartitionId, Offset>,
    leaving: Option<&Replay>,
) -> Result<Found, CommandError> {
    let failed = |error: queries::SqlError| CommandError::Unavailable(format!("reading {ident}: {error}"));
    let mut session = duties.deps.engine.session(SessionSettings {
        user: "frazil".into(),
        database: "frazil".into(),
        application_name: format!("verify/{ident}"),
    });
    session.execute("SET frazil.freshness = 'committed'", &[]).await.map_err(failed)?;
    let quoted: Vec<String> = ident
        .namespace
        .iter()
        .chain([&ident.name])
        .map(|part| format!("\"{}\"", part.replace('"', "\"\"")))
        .collect();
    let sql =
        format!("SELECT (redpanda).\"partition\" AS p, (redpanda).\"offset\" AS o FROM {}", quoted.join("."));
    let mut found = Found::default();
    let Answer::Rows { rows: mut batches, .. } = session.execute(&sql, &[]).await.map_err(failed)? else {
        return Err(CommandError::Internal(format!("`{sql}` gave no rows")));
    };
    while let Some(batch) = batches.next().await {
        let batch = batch.map_err(failed)?;
        if !found.take(&batch, limits, leaving)? {
            return Err(CommandError::Unavailable(format!(
                "the rows of {ident} lie in too many pieces to be accounted for: compact the table first"
            )));
        }
    }
    found.coverage.settle();
    Ok(found)
}

impl Found {
    fn take(
        &mut self,
        batch: &RecordBatch,
        limits: &BTreeMap<PartitionId, Offset>,
        leaving: Option<&Replay>,
    ) -> Result<bool, CommandError> {
        let columns = (
            batch.column(0).as_any().downcast_ref::<Int32Array>(),
            batch.column(1).as_any().downcast_ref::<Int64Array>(),
        );
        let (Some(partitions), Some(offsets)) = columns else {
            return Err(CommandError::Internal("partition and offset have other types than expected".into()));
        };
        self.rows += batch.num_rows() as u64;
        let mut fits = true;
        for row in 0..batch.num_rows() {
            if partitions.is_null(row) || offsets.is_null(row) {
                self.foreign += 1;
                continue;
            }
            let (partition, offset) = (partitions.value(row), offsets.value(row));
            if leaving.is_some_and(|replay| replay.contains(partition, offset)) {
                self.leaving += 1;
            } else if limits.get(&partition).is_none_or(|limit| offset < *limit) {
                fits &= self.coverage.add(partition, offset);
            } else {
                self.newer += 1;
            }
        }
        Ok(fits)
    }
}

/// Every live file is there as it was written. Gives the rows that the manifests list.
async fn check_files(duties: &Duties, table: &Table, report: &mut VerifyReport) -> Result<u64, CommandError> {
    let scan = duties.deps.tables.scan(table, None).await?;
    report.files = scan.files.len();
    let mut paths = BTreeSet::new();
    for file in &scan.files {
        let location = &file.location;
        if !paths.insert(location) {
            report.find(format!("{location} is listed twice"));
        }
        match duties.deps.tables.objects().get(location).await {
            Ok(bytes) if bytes.len() as u64 != file.size_bytes => {
                let size = bytes.len();
                report.find(format!("{location} has {size} bytes, the manifest says {}", file.size_bytes));
            }
            Ok(bytes) if tables::writer::is_intact(location, &bytes) == Some(false) => {
                report.find(format!("{location} is damaged: its bytes are not those that were written"));
            }
            Ok(_) => {}
            Err(error) => report.find(error.to_string()),
        }
    }
    Ok(scan.files.iter().map(|file| file.rows).sum())
}

/// The files hold as many rows as manifests and summary say.
fn check_counts(table: &Table, listed: u64, rows: &Found, report: &mut VerifyReport) {
    report.rows = rows.rows - rows.newer;
    report.foreign_rows = rows.foreign;
    if rows.newer == 0 && listed != rows.rows {
        report.find(format!("the manifests list {listed} rows, the files hold {}", rows.rows));
    }
    if listed != table.total_records() {
        report.find(format!(
            "the manifests list {listed} rows, the snapshot's summary says {}",
            table.total_records()
        ));
    }
}

/// The account adds up, and rows and dead letters are those it speaks of.
fn check_account(progress: &Progress, rows: &Found, dead: &Found, report: &mut VerifyReport) {
    report.dead_letter_rows = dead.rows - dead.newer - dead.leaving;
    if progress.is_empty() && rows.rows > 0 {
        report.notes.push("nothing is recorded of any topic: the rows are another engine's".to_owned());
        return;
    }
    for (source, recorded) in progress {
        if !recorded.adds_up() {
            report.find(format!(
                "{source}: [{}, {}) does not add up: {:?}",
                recorded.account.first, recorded.position.next, recorded.account.fates
            ));
        }
    }
    let mut partitions: BTreeSet<PartitionId> = progress.keys().map(|source| source.partition).collect();
    partitions.extend(rows.coverage.partitions().chain(dead.coverage.partitions()));
    for partition in partitions {
        let lives: Vec<&Recorded> =
            progress.iter().filter(|(s, _)| s.partition == partition).map(|(_, r)| r).collect();
        let owed = |of: fn(&Recorded) -> u64| lives.iter().map(|r| of(r)).sum::<u64>();
        let pairs = [
            ("rows", &rows.coverage, owed(|r| r.account.fates.rows)),
            ("dead letters", &dead.coverage, owed(|r| r.account.fates.dead_letters)),
        ];
        let forked = owed(|r| r.account.fates.forked);
        for (what, coverage, expected) in pairs {
            let found = coverage.count(partition);
            if found != expected {
                report.find(format!("partition {partition}: {found} {what}, the account says {expected}"));
            }
            let allowed: Vec<_> = lives.iter().map(|r| (r.account.first, r.position.next)).collect();
            let deep = too_deep(coverage.runs(partition), &allowed);
            if !deep.is_empty() && forked == 0 {
                let ranges = some(&deep);
                report.find(format!("partition {partition}: {what} that should not be there: {ranges}"));
            }
        }
    }
}

/// Lives that the log still has are compared with it, record by record.
async fn check_log(
    duties: &Duties,
    progress: &Progress,
    rows: Found,
    dead: Found,
    report: &mut VerifyReport,
) -> Result<(), CommandError> {
    let (rows, dead) = (std::sync::Arc::new(rows), std::sync::Arc::new(dead));
    let limit = duties.deps.topics.settings().decompressed_bytes_max;
    for (id, recorded) in progress {
        let mut account = PartitionAccount {
            topic_id: id.topic.to_string(),
            partition: id.partition,
            first: recorded.account.first,
            next: recorded.position.next,
            fates: recorded.account.fates.into(),
            compared: None,
        };
        let topic = duties.deps.topics.topic_by_id(TopicId(id.topic));
        let partition = topic
            .filter(|topic| source(duties, topic.id, id.partition) == *id)
            .and_then(|topic| duties.deps.topics.partition(topic.name.as_str(), id.partition));
        if let Some(partition) = partition {
            let (rows, dead, recorded) =
                (std::sync::Arc::clone(&rows), std::sync::Arc::clone(&dead), *recorded);
            let index = id.partition;
            let compared = duties.deps.compute.spawn_blocking(move || {
                let (rows, dead) = (rows.coverage.runs(index), dead.coverage.runs(index));
                against_log::compare(&partition, &recorded, rows, dead, limit)
            });
            let lives = progress.keys().filter(|s| s.partition == id.partition).count();
            match compared.await.map_err(|e| CommandError::Internal(e.to_string()))? {
                Ok(compared) => {
                    account.compared = (compared.to > compared.from).then_some((compared.from, compared.to));
                    judge(id.partition, &recorded, &compared, lives, report);
                }
                Err(error) => report.find(format!("partition {}: the log: {error}", id.partition)),
            }
        }
        report.partitions.push(account);
    }
    Ok(())
}

fn judge(
    partition: PartitionId,
    recorded: &Recorded,
    compared: &against_log::Compared,
    lives: usize,
    report: &mut VerifyReport,
) {
    let fates = &recorded.account.fates;
    let without_row = fates.dropped + fates.skipped;
    let whole = compared.from == recorded.account.first && compared.to == recorded.position.next;
    // Part of what was dropped may lie before what the log still has.
    if compared.missing_count > without_row {
        report.find(format!(
            "partition {partition}: {} records of the log are neither rows nor dead letters, the account knows of {without_row}: {}",
            compared.missing_count,
            some(&compared.missing)
        ));
    }
    if lives > 1 {
        report.notes.push(format!(
            "partition {partition} has had {lives} lives: whose row an offset is cannot be told, only how many there are"
        ));
    } else if !compared.excess.is_empty() && fates.forked == 0 {
        report.find(format!(
            "partition {partition}: rows where the log has no record for users, or twice: {}",
            some(&compared.excess)
        ));
    }
    if !whole {
        report.notes.push(format!(
            "partition {partition}: the log has [{}, {}) of [{}, {}); the rest is in the account only",
            compared.from, compared.to, recorded.account.first, recorded.position.next
        ));
    }
}
