//! Power cuts on the simulated disk: log, control store, catalog and table files together.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use storage::simulated::SimulatedDisk;
use testkit::checker::{Sent, check_log, check_snapshot};
use testkit::random::Random;
use testkit::simulate::{Parts, batch_of};

use crate::world::long;

const PARTITIONS: i32 = 2;
const CUTS_PER_CHAIN: u64 = 10;
const COMMIT_WAIT: Duration = Duration::from_millis(200);
/// Chains at once: each waits for its own background work now and then.
const LANES: u64 = 4;

/// What is known from outside, over all lives of one disk.
#[derive(Default)]
struct Known {
    sent: Vec<Sent>,
    next_number: u64,
    /// Highest durable mark that was seen, per partition.
    seen: BTreeMap<i32, i64>,
    files: HashMap<String, Vec<(i32, i64)>>,
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?)
}

/// Writes until the power goes.
async fn work(parts: &Parts, known: &mut Known, random: &mut Random) -> Result<()> {
    loop {
        let partition = random.below(PARTITIONS as u64) as i32;
        let count = 1 + random.below(20);
        let first = known.next_number;
        known.next_number += count;
        let batch = batch_of(first..first + count)?;
        let Ok(pending) = parts.topics.append("t", partition, batch) else { return Ok(()) };
        let Ok(appended) = pending.await else { return Ok(()) };
        for index in 0..count {
            let offset = Some(appended.base_offset + index as i64);
            known.sent.push(Sent { number: first + index, partition, offset });
        }
        let durable = parts.topics.partition("t", partition).context("partition")?.marks().durable;
        known.seen.insert(partition, durable);
        if random.below(3) == 0 {
            // Once the power is gone the commit looks up its outcome for a while; nobody needs to wait for that.
            let commit = parts.commands.commit_now("t");
            if !matches!(tokio::time::timeout(COMMIT_WAIT, commit).await, Ok(Ok(_))) {
                return Ok(());
            }
        }
    }
}

/// Everything that was acknowledged or seen is there, and every snapshot is a cut of the log.
async fn check(parts: &Parts, known: &mut Known) -> Result<()> {
    let read = parts.read_numbers("t")?;
    check_log(&known.sent, &read).map_err(anyhow::Error::msg)?;
    let mut end = BTreeMap::new();
    for record in &read {
        let last = end.entry(record.partition).or_insert(0);
        *last = record.offset + 1;
    }
    for (partition, seen) in &known.seen {
        ensure!(
            end.get(partition).unwrap_or(&0) >= seen,
            "partition {partition}: durable {seen} was seen, then lost"
        );
    }
    for (index, pairs) in parts.snapshots("t", &mut known.files).await?.iter().enumerate() {
        check_snapshot(pairs, &end, &BTreeSet::new())
            .map_err(|fault| anyhow::anyhow!("snapshot {index}: {fault}"))?;
    }
    parts.commands.commit_now("t").await?;
    let rows = parts.snapshots("t", &mut known.files).await?.last().map_or(0, Vec::len);
    ensure!(rows == read.len(), "{rows} rows of {} records after recovery", read.len());
    Ok(())
}

/// One disk through several power cuts.
fn chain(seed: u64, lying: bool) -> Result<()> {
    let mut random = Random(seed);
    let mut known = Known::default();
    let mut disk = SimulatedDisk::new();
    for cut in 0..=CUTS_PER_CHAIN {
        let runtime = runtime()?;
        let outcome = runtime.block_on(async {
            let parts = Parts::open(&disk, &runtime).await?;
            if cut == 0 {
                let config = BTreeMap::from([("redpanda.iceberg.mode".to_owned(), "key_value".to_owned())]);
                let topic = topics::NewTopic { name: "t".into(), partitions: Some(PARTITIONS), config };
                parts.commands.create_topic(topic).await?;
            } else {
                check(&parts, &mut known).await?;
            }
            if cut == CUTS_PER_CHAIN {
                let report = parts.commands.verify_table("t").await?;
                ensure!(report.ok, "verify: {:?}", report.findings);
            }
            if lying {
                disk.lie();
            }
            disk.cut_power_after(1 + random.below(90));
            work(&parts, &mut known, &mut random).await?;
            parts.abandon().await;
            Ok::<_, anyhow::Error>(())
        });
        runtime.shutdown_timeout(Duration::from_secs(5));
        outcome.with_context(|| format!("seed {seed}, cut {cut}"))?;
        disk = disk.after_power_cut(random.next_u64());
    }
    Ok(())
}

#[test]
fn no_power_cut_takes_back_what_was_acknowledged() -> Result<()> {
    let chains = if long() { 2_000 } else { 100 };
    std::thread::scope(|scope| {
        let lanes: Vec<_> = (0..LANES)
            .map(|lane| {
                scope.spawn(move || {
                    (lane..chains).step_by(LANES as usize).try_for_each(|seed| chain(seed, false))
                })
            })
            .collect();
        lanes.into_iter().try_for_each(|lane| lane.join().map_err(|_| anyhow::anyhow!("a chain panicked"))?)
    })
}

#[test]
fn a_disk_that_lies_about_syncs_is_found() {
    let found = (0..5).any(|seed| chain(seed, true).is_err());
    assert!(found, "acknowledged records were lost and nobody saw it");
}
