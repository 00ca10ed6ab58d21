//! kill -9 at random moments while producing and committing.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use testkit::checker::{Read, check_log, check_snapshot};
use testkit::outside::python;
use testkit::process::ProcessNode;
use testkit::random::Random;

use crate::storm::{SCHEMA, Storm};
use crate::world::{TESTNODE, World, long};

const PARTITIONS: u32 = 3;

fn read_log(world: &World) -> Result<Vec<Read>> {
    let text = python(
        "judge.py",
        &["raw", "--topic", "storm", "--kafka-port", &world.ports.kafka().to_string()],
        "",
    )?;
    text.lines()
        .map(|line| {
            let row: serde_json::Value = serde_json::from_str(line)?;
            let value: serde_json::Value = serde_json::from_str(row["value"].as_str().context("value")?)?;
            let number = match &value["n"] {
                serde_json::Value::String(text) => text.parse()?,
                number => number.as_u64().context("n")?,
            };
            let partition = row["partition"].as_i64().context("partition")? as i32;
            Ok(Read { number, partition, offset: row["offset"].as_i64().context("offset")? })
        })
        .collect()
}

/// The pairs of every snapshot of a table, oldest first.
fn snapshots(world: &World, table: &str) -> Result<Vec<Vec<(i32, i64)>>> {
    let port = world.ports.catalog().to_string();
    let text = python("judge.py", &["snapshots", "--topic", table, "--catalog-port", &port], "")?;
    text.lines()
        .map(|line| {
            let snapshot: serde_json::Value = serde_json::from_str(line)?;
            Ok(serde_json::from_value(snapshot["pairs"].clone())?)
        })
        .collect()
}

/// Kills the node `kills` times under load; returns what the checkers say.
fn campaign(name: &str, seed: u64, kills: u32, sabotage: Option<&str>) -> Result<Result<(), String>> {
    let world = World::new(name)?;
    if let Some(sabotage) = sabotage {
        // The only user of this variable in the process is the next start.
        return with_sabotage(&world, seed, kills, sabotage);
    }
    run(&world, seed, kills, &|| world.start())
}

fn with_sabotage(world: &World, seed: u64, kills: u32, sabotage: &str) -> Result<Result<(), String>> {
    let script = world.path("sabotaged");
    std::fs::write(&script, format!("#!/bin/sh\nFRAZIL_SABOTAGE={sabotage} exec {TESTNODE} \"$@\"\n"))?;
    Command::new("chmod").arg("+x").arg(&script).status()?;
    run(world, seed, kills, &|| ProcessNode::start(&script, &world.data_dir(), world.ports, &[]))
}

fn run(
    world: &World,
    seed: u64,
    kills: u32,
    start: &dyn Fn() -> Result<ProcessNode>,
) -> Result<Result<(), String>> {
    let mut random = Random(seed);
    let mut node = start()?;
    world.create_table_topic("storm", PARTITIONS, 150)?;
    node.register_schema("storm-value", SCHEMA)?;
    let storm = Storm::start(world, "storm", PARTITIONS, 1500, 50)?;
    for kill in 0..kills {
        if kill % 3 == 0 {
            // However slow the machine is: commits are among what is killed.
            if let Err(error) = wait_for_commit(&node) {
                // A log that lost what its table has stops the table: that is a finding.
                return Ok(Err(error.to_string()));
            }
        }
        std::thread::sleep(Duration::from_millis(100 + random.below(900)));
        node.kill()?;
        std::thread::sleep(Duration::from_millis(random.below(100)));
        node = start()?;
    }
    std::thread::sleep(Duration::from_millis(300));
    let sent = match storm.finish() {
        Ok(sent) => sent,
        // A log that lost what it acknowledged makes an idempotent producer stop.
        Err(error) => return Ok(Err(error.to_string())),
    };
    ensure!(sent.len() as u32 > kills * 20, "only {} records were acknowledged", sent.len());
    let read = read_log(world)?;
    if let Err(fault) = check_log(&sent, &read) {
        return Ok(Err(fault));
    }
    node.wait_until_committed("storm", Duration::from_secs(60))?;
    node.verify("storm")?;
    Ok(check_tables(world, &read)?)
}

/// Waits until the table has one snapshot more.
fn wait_for_commit(node: &ProcessNode) -> Result<()> {
    let snapshots =
        || Ok::<_, anyhow::Error>(node.table_status("storm")?["snapshots"].as_u64().unwrap_or_default());
    let before = snapshots()?;
    let begun = Instant::now();
    while snapshots()? <= before {
        let state = node.table_status("storm")?["state"].clone();
        ensure!(state != "diverged", "the table has what the log lost");
        ensure!(begun.elapsed() < Duration::from_secs(60), "no commit in 60 s: {}", node.log_tail());
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

fn check_tables(world: &World, read: &[Read]) -> Result<Result<(), String>> {
    let mut end: BTreeMap<i32, i64> = BTreeMap::new();
    for record in read {
        let last = end.entry(record.partition).or_insert(0);
        *last = (*last).max(record.offset + 1);
    }
    let dead: Vec<(i32, i64)> = snapshots(world, "storm~dlq")?.pop().unwrap_or_default();
    let elsewhere: BTreeSet<_> = dead.iter().copied().collect();
    if elsewhere.len() != dead.len() {
        return Ok(Err(format!("{} dead letters are doubled", dead.len() - elsewhere.len())));
    }
    let all = snapshots(world, "storm")?;
    ensure!(all.len() > 3, "only {} snapshots", all.len());
    for (index, pairs) in all.iter().enumerate() {
        if let Err(fault) = check_snapshot(pairs, &end, &elsewhere) {
            return Ok(Err(format!("snapshot {index}: {fault}")));
        }
    }
    let rows = all.last().map_or(0, Vec::len);
    if rows + elsewhere.len() != read.len() {
        return Ok(Err(format!(
            "{rows} rows and {} dead letters of {} records",
            elsewhere.len(),
            read.len()
        )));
    }
    Ok(Ok(()))
}

#[test]
fn nothing_acknowledged_is_lost_doubled_or_reordered() -> Result<()> {
    let kills = if long() { 200 } else { 30 };
    let seed = 42;
    campaign("kill", seed, kills, None)?.map_err(|fault| anyhow::anyhow!("seed {seed}: {fault}"))
}

#[test]
fn an_acknowledgement_before_the_write_is_found() -> Result<()> {
    let found = campaign("sabotage", 7, 6, Some("ack-before-write"))?;
    ensure!(found.is_err(), "the checkers did not see that acknowledged records were lost");
    Ok(())
}
