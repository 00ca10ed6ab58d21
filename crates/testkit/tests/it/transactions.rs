//! Transactions of a client that nobody here wrote.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use testkit::outside::python;
use testkit::random::Random;

use crate::world::{World, long};

const SCHEMA: &str = r#"{"$schema":"http://json-schema.org/draft-07/schema#","type":"object",
    "properties":{"n":{"type":"integer"}},"required":["n"]}"#;

#[test]
fn aborted_records_are_rows_nowhere() -> Result<()> {
    let world = World::new("transactions")?;
    let node = world.start()?;
    world.create_table_topic("tx", 2, 50)?;
    node.register_schema("tx-value", SCHEMA)?;
    let (kafka, postgres) = (world.ports.kafka().to_string(), world.ports.postgres().to_string());
    let args = ["mix", "--kafka-port", &kafka, "--postgres-port", &postgres, "--topic", "tx"];
    let committed = python("transactions.py", &args, "")?;
    node.wait_until_committed("tx", Duration::from_secs(60))?;
    node.verify("tx")?;
    let rows = |freshness: &str| {
        world.frazil(&[
            "sql",
            "-o",
            "csv",
            "-c",
            &format!("SET frazil.freshness = '{freshness}'; SELECT n FROM tx ORDER BY n"),
        ])
    };
    let found = rows("committed")?;
    ensure!(found.lines().skip(1).eq(committed.lines()), "in the table: {found}");
    let args = ["read", "--kafka-port", &kafka, "--topic", "tx", "--count", "42"];
    let mut read: Vec<u64> = Vec::new();
    for line in python("transactions.py", &args, "")?.lines() {
        let value: serde_json::Value = serde_json::from_str(line)?;
        read.push(value["n"].as_u64().unwrap_or_default());
    }
    read.sort_unstable();
    ensure!(read.iter().map(u64::to_string).eq(committed.lines().map(str::to_owned)), "in the log: {read:?}");
    // And after a start from what the disk holds.
    node.kill()?;
    let node = world.start()?;
    let found = rows("latest")?;
    ensure!(found.lines().skip(1).eq(committed.lines()), "after a kill: {found}");
    node.stop()
}

/// The copier, in a process of its own, so that it can be killed.
struct Copier(Child);

impl Copier {
    fn start(world: &World) -> Result<Self> {
        let python = std::env::var_os("FRAZIL_PYTHON").context("run the tests with `cargo xtask test`")?;
        let child = Command::new(python)
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/python/transactions.py"))
            .args(["copy", "--kafka-port", &world.ports.kafka().to_string(), "--from", "in", "--to", "out"])
            .env_remove("LD_LIBRARY_PATH")
            .stdin(Stdio::null())
            .stderr(std::fs::OpenOptions::new().create(true).append(true).open(world.path("copier.log"))?)
            .spawn()?;
        Ok(Self(child))
    }

    fn kill(mut self) -> Result<()> {
        self.0.kill()?;
        self.0.wait()?;
        Ok(())
    }
}

impl Drop for Copier {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn values(world: &World, topic: &str, count: usize) -> Result<Vec<String>> {
    let (port, count) = (world.ports.kafka().to_string(), count.to_string());
    let text =
        python("transactions.py", &["read", "--kafka-port", &port, "--topic", topic, "--count", &count], "")?;
    let mut values: Vec<_> = text.lines().map(str::to_owned).collect();
    values.sort_unstable();
    Ok(values)
}

#[test]
fn a_copy_has_each_record_once_whoever_is_killed() -> Result<()> {
    let (kills, seed) = (if long() { 60 } else { 10 }, 17);
    let world = World::new("copy")?;
    let mut random = Random(seed);
    let mut node = world.start()?;
    for topic in ["in", "out"] {
        world.frazil(&["topic", "create", topic, "-p", "2"])?;
    }
    let mut copier = Copier::start(&world)?;
    let mut sent = 0;
    for kill in 0..kills {
        let lines: String = (sent..sent + 200).map(|n| format!("{{\"n\":{n}}}\n")).collect();
        sent += 200;
        let port = world.ports.kafka().to_string();
        python("produce.py", &["--kafka-port", &port, "--topic", "in"], &lines)?;
        std::thread::sleep(Duration::from_millis(random.below(1_500)));
        if kill % 2 == 0 {
            node.kill()?;
            node = world.start()?;
        } else {
            copier.kill()?;
            copier = Copier::start(&world)?;
        }
    }
    let expected = values(&world, "in", sent)?;
    ensure!(expected.len() == sent, "seed {seed}: {} of {sent} were sent", expected.len());
    let copied = values(&world, "out", sent)?;
    let log = std::fs::read_to_string(world.path("copier.log")).unwrap_or_default();
    ensure!(copied == expected, "seed {seed}: {} copies of {sent} records; {log}", copied.len());
    copier.kill()?;
    node.stop()
}
