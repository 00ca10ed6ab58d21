//! A catalog whose store takes nothing while producers go on: memory stays bounded, nothing is lost, the table catches
//! up. Figures are printed; only memory and rows are asserted. With FRAZIL_LONG five minutes of 20 MB/s.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use testkit::process::ProcessNode;
use topics::batch::BatchBuilder;

use crate::limits::Raw;
use crate::world::{World, long};

const MIB: u64 = 1 << 20;
const TOPIC: &str = "stalled";
/// One batch; records of about 1 KB.
const RECORDS: usize = 1_000;
/// Tail and open writers have budgets of 256 MiB each; the rest is the node itself, unoptimised.
const RESIDENT_MAX: u64 = 768;

/// What is produced: bytes of some variety, so that files are not nothing.
fn batch(number: u64) -> Result<bytes::Bytes> {
    let mut batch = BatchBuilder::new();
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for _ in 0..RECORDS {
        let mut value = Vec::with_capacity(1_024);
        while value.len() < 1_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            value.extend(format!("{:08x}-trade-of-the-day;", state >> 32).bytes());
        }
        batch.push(1_700_000_000_000, None, Some(&value), &[]);
    }
    Ok(batch.build()?)
}

/// The table's metadata lies in the way of itself: every write fails until it is put back.
struct Stall {
    directory: PathBuf,
    away: PathBuf,
}

impl Stall {
    fn begin(location: &str) -> Result<Self> {
        let directory =
            PathBuf::from(location.strip_prefix("file://").context("a local table")?).join("metadata");
        let away = directory.with_file_name("metadata-away");
        std::fs::rename(&directory, &away)?;
        std::fs::write(&directory, b"in the way")?;
        Ok(Self { directory, away })
    }

    fn end(self) -> Result<()> {
        std::fs::remove_file(&self.directory)?;
        Ok(std::fs::rename(&self.away, &self.directory)?)
    }
}

fn location(world: &World) -> Result<String> {
    let path = format!("/v1/namespaces/public/tables/{TOPIC}");
    let (status, body) = testkit::process::http(world.ports.catalog(), "GET", &path, "")?;
    ensure!(status == 200, "{status}: {body}");
    let loaded: serde_json::Value = serde_json::from_str(&body)?;
    Ok(loaded["metadata"]["location"].as_str().context("a location")?.to_owned())
}

/// Produces `rate` batches a second for `lasting`; gives how many, and the largest memory seen in MiB.
fn produce(world: &World, node: &ProcessNode, rate: u64, lasting: Duration) -> Result<(u64, u64)> {
    let batches: Vec<_> = (0..8).map(batch).collect::<Result<_>>()?;
    let mut producer = Raw::connect(world)?;
    let (began, mut sent, mut most, mut shown) = (Instant::now(), 0, 0, 0);
    while began.elapsed() < lasting {
        let code = producer.produce(TOPIC, 0, &batches[sent as usize % batches.len()])?;
        ensure!(code == 0, "error {code}");
        sent += 1;
        let resident = node.resident_bytes()? / MIB;
        most = most.max(resident);
        if began.elapsed().as_secs() >= shown + 10 {
            shown = began.elapsed().as_secs();
            println!("{shown} s: {sent} MB produced, {resident} MiB resident");
        }
        let due = Duration::from_millis(sent * 1_000 / rate);
        std::thread::sleep(due.saturating_sub(began.elapsed()));
    }
    Ok((sent, most))
}

#[test]
fn a_stalled_catalog_costs_no_memory_and_no_record() -> Result<()> {
    let (rate, seconds) = if long() { (20, 300) } else { (4, 5) };
    let world = World::new("stalled")?;
    let node = world.start()?;
    let (mode, lag) = ("redpanda.iceberg.mode=key_value", "redpanda.iceberg.target.lag.ms=1000");
    world.frazil(&["topic", "create", TOPIC, "-c", mode, "-c", lag])?;
    ensure!(Raw::connect(&world)?.produce(TOPIC, 0, &batch(0)?)? == 0, "the first batch");
    node.wait_until_committed(TOPIC, Duration::from_secs(60))?;
    let stall = Stall::begin(&location(&world)?)?;
    let (sent, most) = produce(&world, &node, rate, Duration::from_secs(seconds))?;
    let status = node.table_status(TOPIC)?;
    println!("{sent} MB at {rate} MB/s while the catalog stalled: at most {most} MiB resident; {status}");
    ensure!(status["records"].as_u64() == Some(RECORDS as u64), "nothing was committed: {status}");
    ensure!(most < RESIDENT_MAX, "{most} MiB resident");
    stall.end()?;
    let began = Instant::now();
    node.wait_until_committed(TOPIC, Duration::from_secs(3_600))?;
    let after = node.resident_bytes()? / MIB;
    println!("caught up after {:.1} s, {after} MiB resident", began.elapsed().as_secs_f64());
    let records = node.table_status(TOPIC)?["records"].as_u64();
    ensure!(records == Some((sent + 1) * RECORDS as u64), "{records:?} of {}", (sent + 1) * RECORDS as u64);
    node.verify(TOPIC)?;
    node.stop()
}
