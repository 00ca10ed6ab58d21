//! Many tables in one node: memory stays within bounds.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use testkit::process::ProcessNode;

use crate::limits::{Raw, batch};
use crate::world::{World, long};

/// Waits until every table has everything.
fn until_committed(node: &ProcessNode, tables: usize) -> Result<()> {
    let begun = Instant::now();
    loop {
        let status = node.status()?;
        let all = status["tables"].as_array().map(Vec::as_slice).unwrap_or_default();
        let done =
            all.iter().filter(|t| t["lag"] == 0 && t["state"] == "running" && t["snapshots"] != 0).count();
        if done == tables {
            return Ok(());
        }
        ensure!(begun.elapsed() < Duration::from_secs(300), "{done} of {tables} tables: {}", node.log_tail());
        std::thread::sleep(Duration::from_millis(500));
    }
}

#[test]
fn memory_is_bounded_with_many_tables() -> Result<()> {
    let tables: usize = if long() { 1_000 } else { 100 };
    let world = World::new("many-tables")?;
    let node = world.start()?;
    let mib = |node: &ProcessNode| Ok::<_, anyhow::Error>(node.resident_bytes()? >> 20);
    println!("empty: {} MiB", mib(&node)?);
    let names: Vec<String> = (0..tables).map(|n| format!("t{n}")).collect();
    let mut create = vec!["topic", "create", "-p", "1", "-c", "redpanda.iceberg.mode=key_value"];
    create.extend(["-c", "redpanda.iceberg.target.lag.ms=1000"]);
    let begun = Instant::now();
    for some in names.chunks(100) {
        let args: Vec<&str> = create.iter().copied().chain(some.iter().map(String::as_str)).collect();
        world.frazil(&args)?;
    }
    println!("{tables} topics with tables: {:?}, {} MiB", begun.elapsed(), mib(&node)?);
    let mut client = Raw::connect(&world)?;
    let records = batch(10_000)?;
    let mut most = 0;
    for round in 1..=3 {
        let begun = Instant::now();
        for name in &names {
            ensure!(client.produce(name, 0, &records)? == 0, "{name} takes no record");
        }
        until_committed(&node, tables)?;
        most = most.max(mib(&node)?);
        println!("round {round} of records committed: {:?}, {} MiB", begun.elapsed(), mib(&node)?);
    }
    let count = world.frazil(&["sql", "-o", "csv", "-c", "SELECT count(*) FROM t0"])?;
    ensure!(count.trim().ends_with('3'), "{count}");
    ensure!(most < 300, "{most} MiB with {tables} tables");
    node.kill()?;
    let begun = Instant::now();
    let node = world.start()?;
    println!("after kill -9: ready after {:?}, {} MiB", begun.elapsed(), mib(&node)?);
    until_committed(&node, tables)?;
    println!("and all tables: {:?}, {} MiB", begun.elapsed(), mib(&node)?);
    for name in [&names[0], &names[tables / 2], &names[tables - 1]] {
        node.verify(name)?;
    }
    node.stop()
}
