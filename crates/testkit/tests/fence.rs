//! The guards of the commit, seen from the table: without any one of them the checker finds rows doubled or lost. A process
//! of its own, because planted faults hold for the whole process.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, ensure};
use storage::simulated::SimulatedDisk;
use tables::failpoints::{Mishap, Step};
use tables::sabotage::{ANCESTORS_UNSEEN, BLIND_RETRY, RANGE_FENCE_OFF};
use testkit::checker::check_snapshot;
use testkit::simulate::{Parts, batch_of};
use tokio::runtime::Runtime;

/// Whether the table holds the topic's first `end` records once each, and whether `verify` says the same.
async fn verdict(parts: &Parts, end: i64) -> Result<Result<(), String>> {
    let all = parts.snapshots("t", &mut HashMap::new()).await?;
    let last = all.last().context("a snapshot")?;
    let mut verdict = check_snapshot(last, &BTreeMap::from([(0, end)]), &BTreeSet::new()).map(|_| ());
    if verdict.is_ok() && last.len() as i64 != end {
        verdict = Err(format!("{} rows of {end}", last.len()));
    }
    let report = parts.commands.verify_table("t").await?;
    ensure!(report.ok == verdict.is_ok(), "verify says {:?}, the checker {verdict:?}", report.findings);
    Ok(verdict)
}

/// A topic that is a table, with ten records.
async fn ten_records(runtime: &Runtime) -> Result<Parts> {
    let parts = Parts::open(&SimulatedDisk::new(), runtime).await?;
    let config = BTreeMap::from([
        ("redpanda.iceberg.mode".to_owned(), "key_value".to_owned()),
        ("redpanda.iceberg.target.lag.ms".to_owned(), "3600000".to_owned()),
    ]);
    parts.commands.create_topic(topics::NewTopic { name: "t".into(), partitions: Some(1), config }).await?;
    parts.topics.append("t", 0, batch_of(0..10)?)?.await?;
    Ok(parts)
}

/// Two owners of the same table, as after a failed take-over, both commit what they find.
async fn two_owners(runtime: &Runtime) -> Result<Result<(), String>> {
    let parts = ten_records(runtime).await?;
    parts.commands.commit_now("t").await?;
    let ident = parts.tables.ident("t");
    let table = parts.tables.load(&ident).await?;
    // The second owner read the log before the first one committed: same rows, same range.
    let topic = parts.topics.topic("t").context("topic")?;
    let rows = parts.rows("t")?.decode(0, 0, 10, 1 << 20)?;
    let mut writer = parts.tables.writer(&table)?;
    for batch in &rows.batches {
        writer.write(batch).await?;
    }
    let staged = writer.finish().await?;
    let source = tables::SourceId { log: parts.topics.log_id().0, topic: topic.id.0, partition: 0 };
    let to = tables::Position { next: rows.next, hash: rows.last_hash };
    let advance = tables::Advance { source, from: 0, to, fates: rows.fates };
    // Whatever it answers: what counts is what the table holds.
    let _ = parts.tables.append(&ident, staged, vec![advance], BTreeMap::new()).await;
    let found = verdict(&parts, 10).await?;
    parts.abandon().await;
    Ok(found)
}

/// The commit is made and nobody hears of it.
async fn lost_reply(runtime: &Runtime) -> Result<Result<(), String>> {
    let parts = ten_records(runtime).await?;
    parts.tables.faults().add(Step::AfterPointer, Mishap::Unavailable);
    let _ = parts.commands.commit_now("t").await;
    let found = verdict(&parts, 10).await?;
    parts.abandon().await;
    Ok(found)
}

/// The table is moved back, and another engine commits on top of that.
async fn moved_back_and_covered(runtime: &Runtime) -> Result<Result<(), String>> {
    let parts = ten_records(runtime).await?;
    parts.commands.commit_now("t").await?;
    let ident = parts.tables.ident("t");
    let first = parts.tables.load(&ident).await?.current_snapshot_id().context("a snapshot")?;
    parts.topics.append("t", 0, batch_of(10..20)?)?.await?;
    parts.commands.commit_now("t").await?;
    let to = pipelines::RollbackTarget::SnapshotId(first);
    parts.commands.table_action("t", pipelines::TableAction::Rollback { dry_run: false, to }).await?;
    let table = parts.tables.load(&ident).await?;
    let nothing = parts.tables.writer(&table)?.finish().await?;
    // Another engine does not ask for progress.
    RANGE_FENCE_OFF.store(true, Ordering::SeqCst);
    let covered = parts.tables.append(&ident, nothing, Vec::new(), BTreeMap::new()).await;
    RANGE_FENCE_OFF.store(false, Ordering::SeqCst);
    covered?;
    parts.topics.append("t", 0, batch_of(20..30)?)?.await?;
    if parts.commands.commit_now("t").await.is_err() {
        parts.commands.resume_table("t", false).await?;
        parts.commands.commit_now("t").await?;
    }
    let found = verdict(&parts, 30).await?;
    parts.abandon().await;
    Ok(found)
}

/// Runs a scenario with all guards, then without one of them.
fn guarded<F>(name: &str, guard: &AtomicBool, scenario: impl Fn() -> F) -> Result<()>
where
    F: Future<Output = Result<Result<(), String>>>,
{
    let runtime = Runtime::new()?;
    let found = runtime.block_on(scenario()).with_context(|| name.to_owned())?;
    ensure!(found.is_ok(), "{name}: {found:?}");
    guard.store(true, Ordering::SeqCst);
    let found = runtime.block_on(scenario());
    guard.store(false, Ordering::SeqCst);
    println!("{name}, without the guard: {found:?}");
    ensure!(found?.is_err(), "{name}: the checker does not see that a guard is missing");
    Ok(())
}

#[test]
fn the_checker_sees_each_guard_that_is_missing() -> Result<()> {
    let runtime = Runtime::new()?;
    guarded("two owners", &RANGE_FENCE_OFF, || two_owners(&runtime))?;
    guarded("a lost reply", &BLIND_RETRY, || lost_reply(&runtime))?;
    guarded("moved back and covered", &ANCESTORS_UNSEEN, || moved_back_and_covered(&runtime))
}
