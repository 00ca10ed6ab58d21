//! A producer of numbered records, in a process of its own: it outlives the node.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, bail};
use testkit::checker::Sent;

use crate::world::World;

pub(crate) const SCHEMA: &str = r#"{"$schema":"http://json-schema.org/draft-07/schema#","type":"object",
    "properties":{"n":{"type":"integer"},"pad":{"type":"string"}},"required":["n"]}"#;

/// What `storm.py` does, and what it was told.
pub(crate) struct Storm {
    child: Child,
    output: std::thread::JoinHandle<Result<Vec<Sent>>>,
    acknowledged: Arc<AtomicU64>,
}

impl Storm {
    /// `rate` records a second; every `bad_every`th does not fit the schema, none with 0.
    pub(crate) fn start(
        world: &World,
        topic: &str,
        partitions: u32,
        rate: u32,
        bad_every: u32,
    ) -> Result<Self> {
        let python = std::env::var_os("FRAZIL_PYTHON").context("run the tests with `cargo xtask test`")?;
        let mut child = Command::new(python)
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/python/storm.py"))
            .args(["--kafka-port", &world.ports.kafka().to_string(), "--topic", topic])
            .env_remove("LD_LIBRARY_PATH")
            .args(["--partitions", &partitions.to_string(), "--rate", &rate.to_string()])
            .args(["--bad-every", &bad_every.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let stdout = child.stdout.take().context("piped")?;
        let acknowledged = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&acknowledged);
        let read = move |line: std::io::Result<String>| {
            counted.fetch_add(1, Ordering::SeqCst);
            parse(&line?)
        };
        let output = std::thread::spawn(move || BufReader::new(stdout).lines().map(read).collect());
        Ok(Self { child, output, acknowledged })
    }

    /// How many records are known to be acknowledged: at least so many are.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::SeqCst)
    }

    pub(crate) fn finish(mut self) -> Result<Vec<Sent>> {
        drop(self.child.stdin.take());
        let mut errors = String::new();
        std::io::Read::read_to_string(&mut self.child.stderr.take().context("piped")?, &mut errors)?;
        let status = self.child.wait()?;
        let sent = self.output.join().map_err(|_| anyhow::anyhow!("reader"))??;
        if !status.success() {
            bail!("the producer gave up: {errors}");
        }
        Ok(sent)
    }
}

fn parse(line: &str) -> Result<Sent> {
    let mut words = line.split(' ');
    let mut next = || words.next().context("three words");
    Ok(Sent { number: next()?.parse()?, partition: next()?.parse()?, offset: Some(next()?.parse()?) })
}
