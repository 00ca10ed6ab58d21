//! A topic that lives again, a log that is older than its table: nothing is skipped or doubled in silence.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use testkit::outside::kcat;
use testkit::process::ProcessNode;

use crate::world::World;

fn produce(world: &World, topic: &str, from: u32, to: u32) -> Result<()> {
    let lines: String = (from..to).map(|n| format!("{n}\n")).collect();
    kcat(
        &["-b", &format!("127.0.0.1:{}", world.ports.kafka()), "-t", topic, "-P", "-X", "acks=all"],
        &lines,
    )?;
    Ok(())
}

fn create(world: &World, topic: &str, delete_with_topic: bool) -> Result<()> {
    let delete = format!("redpanda.iceberg.delete={delete_with_topic}");
    world.frazil(&[
        "topic",
        "create",
        topic,
        "-p",
        "1",
        "-c",
        "redpanda.iceberg.mode=key_value",
        "-c",
        &delete,
    ])?;
    Ok(())
}

fn values(world: &World, topic: &str) -> Result<Vec<String>> {
    let sql = format!(
        "SELECT encode(value, 'hex') AS v FROM \"{topic}\" ORDER BY (redpanda).timestamp, (redpanda).offset"
    );
    let text = world.frazil(&["sql", "-o", "csv", "-c", &sql])?;
    let unhex = |line: &str| -> Result<String> {
        let digit = |at: usize| u8::from_str_radix(line.get(at..at + 2).context("hex")?, 16).context("hex");
        Ok(String::from_utf8((0..line.len()).step_by(2).map(digit).collect::<Result<_>>()?)?)
    };
    text.lines().skip(1).map(unhex).collect()
}

fn numbers(from: u32, to: u32) -> Vec<String> {
    (from..to).map(|n| n.to_string()).collect()
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let _ = std::fs::remove_dir_all(to);
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status()?;
    ensure!(status.success(), "cp {} {}", from.display(), to.display());
    Ok(())
}

fn wait_for_state(node: &ProcessNode, topic: &str, state: &str) -> Result<serde_json::Value> {
    let begun = Instant::now();
    loop {
        let table = node.table_status(topic)?;
        if table["state"] == state {
            return Ok(table);
        }
        if begun.elapsed() > Duration::from_secs(20) {
            bail!("{topic} is not {state}: {table}; {}", node.log_tail());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_topic_created_again_starts_anew_and_keeps_its_table() -> Result<()> {
    let world = World::new("again")?;
    let node = world.start()?;
    create(&world, "t", false)?;
    produce(&world, "t", 0, 10)?;
    // The table stays: what is stable is committed before the topic goes.
    world.frazil(&["topic", "delete", "t"])?;
    ensure!(
        values(&world, "t")? == numbers(0, 10),
        "the table lost rows with its topic: {:?}",
        values(&world, "t")?
    );
    create(&world, "t", false)?;
    produce(&world, "t", 10, 15)?;
    ensure!(values(&world, "t")? == numbers(0, 15), "hot after re-creation: {:?}", values(&world, "t")?);
    node.wait_until_committed("t", Duration::from_secs(30))?;
    node.verify("t")?;
    ensure!(values(&world, "t")? == numbers(0, 15), "cold after re-creation: {:?}", values(&world, "t")?);
    node.kill()?;
    let node = world.start()?;
    ensure!(values(&world, "t")? == numbers(0, 15), "after restart");
    node.stop()
}

#[test]
fn a_topic_that_takes_its_table_with_it_leaves_nothing() -> Result<()> {
    let world = World::new("gone")?;
    let node = world.start()?;
    create(&world, "t", true)?;
    produce(&world, "t", 0, 10)?;
    node.wait_until_committed("t", Duration::from_secs(30))?;
    world.frazil(&["topic", "delete", "t"])?;
    ensure!(values(&world, "t").is_err(), "the table is still there");
    create(&world, "t", true)?;
    produce(&world, "t", 20, 25)?;
    node.wait_until_committed("t", Duration::from_secs(30))?;
    ensure!(values(&world, "t")? == numbers(20, 25), "{:?}", values(&world, "t")?);
    node.stop()
}

#[test]
fn an_older_log_is_told_and_resumed_on_command() -> Result<()> {
    let world = World::new("older")?;
    let node = world.start()?;
    create(&world, "t", true)?;
    produce(&world, "t", 0, 10)?;
    node.wait_until_committed("t", Duration::from_secs(30))?;
    node.stop()?;
    let log = world.data_dir().join("log");
    copy(&log, &world.path("older-log"))?;
    let node = world.start()?;
    produce(&world, "t", 10, 20)?;
    node.wait_until_committed("t", Duration::from_secs(30))?;
    node.stop()?;
    copy(&world.path("older-log"), &log)?;

    let node = world.start()?;
    let table = wait_for_state(&node, "t", "diverged")?;
    let message = table["message"].as_str().context("message")?;
    ensure!(message.contains("frazil table resume t"), "the status does not say what to type: {message}");
    ensure!(values(&world, "t")? == numbers(0, 20), "what is committed is not served");
    // New records take offsets that the table has seen with other contents: they wait.
    produce(&world, "t", 100, 105)?;
    std::thread::sleep(Duration::from_millis(300));
    ensure!(node.table_status("t")?["state"] == "diverged", "went on by itself");

    world.frazil(&["table", "resume", "t", "--replay"])?;
    wait_for_state(&node, "t", "running")?;
    node.wait_until_committed("t", Duration::from_secs(30))?;
    node.verify("t")?;
    let found = values(&world, "t")?;
    for number in numbers(100, 105) {
        ensure!(found.contains(&number), "{number} is missing after resume: {found:?}");
    }
    node.stop()
}
