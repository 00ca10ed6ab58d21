//! The range fence, seen from the table: without it the checker finds doubled rows. A process of its own, because the
//! planted fault holds for the whole process.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::Ordering;

use anyhow::{Context, Result, ensure};
use storage::simulated::SimulatedDisk;
use testkit::checker::check_snapshot;
use testkit::simulate::{Parts, batch_of};

/// Two owners of the same table, as after a failed take-over, both commit what they find.
async fn two_owners(runtime: &tokio::runtime::Runtime) -> Result<Result<(), String>> {
    let disk = SimulatedDisk::new();
    let parts = Parts::open(&disk, runtime).await?;
    let config = BTreeMap::from([("redpanda.iceberg.mode".to_owned(), "key_value".to_owned())]);
    parts.commands.create_topic(topics::NewTopic { name: "t".into(), partitions: Some(1), config }).await?;
    let ident = parts.tables.ident("t");
    let table = parts.tables.load(&ident).await?;
    parts.topics.append("t", 0, batch_of(0..10)?)?.await?;
    parts.commands.commit_now("t").await?;
    // The second owner read the table before the first one committed: same rows, same range.
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
    let all = parts.snapshots("t", &mut HashMap::new()).await?;
    let last = all.last().context("a snapshot")?;
    let verdict = check_snapshot(last, &BTreeMap::from([(0, 10)]), &BTreeSet::new()).map(|_| ());
    let report = parts.commands.verify_table("t").await?;
    ensure!(report.ok == verdict.is_ok(), "verify says {:?}, the checker {verdict:?}", report.findings);
    parts.abandon().await;
    Ok(verdict)
}

#[test]
fn a_second_owner_is_fenced_and_the_checker_sees_when_not() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let fenced = runtime.block_on(two_owners(&runtime))?;
    ensure!(fenced.is_ok(), "{fenced:?}");
    tables::sabotage::RANGE_FENCE_OFF.store(true, Ordering::SeqCst);
    let open = runtime.block_on(two_owners(&runtime))?;
    ensure!(open.is_err(), "the checker does not see the doubled rows");
    Ok(())
}
