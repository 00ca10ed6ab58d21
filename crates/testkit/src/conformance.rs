//! Suites that others wrote, run against a node, and the kept lists of what they should come to.
//!
//! Owns: starting the node that a suite needs, running the suite, comparing every result with the kept list.
//! Does not own: fetching and building the suites (the test command does, and says by variables where they are).
//! Invariants: a result that differs from the list fails, in either direction, so that the list is always true; a
//! test that skipped itself has not passed.

pub mod expected;
pub mod iceberg_kit;
pub mod java;
pub mod kafka_python;
pub mod librdkafka;
pub mod rdkafka_crate;
pub mod schemathesis;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::process::{Ports, ProcessNode};
use expected::{Expectations, Verdict};

/// What became of one test.
#[derive(Debug, Clone)]
pub struct Outcome {
    pub id: String,
    pub verdict: Verdict,
    /// Why it failed or was skipped; what is remarkable about a pass.
    pub detail: String,
    pub took: Duration,
}

/// A place for the node's data and what the suites print.
#[derive(Debug)]
pub struct Bench {
    /// The program `frazil`.
    pub program: PathBuf,
    /// What is here is overwritten.
    pub dir: PathBuf,
}

impl Bench {
    /// Starts a node with a fresh data directory; `settings` are lines of the block `server.kafka`.
    pub fn node(&self, name: &str, settings: &str) -> Result<ProcessNode> {
        self.node_at(Ports::free()?, name, settings)
    }

    /// The same, at certain ports.
    pub fn node_at(&self, ports: Ports, name: &str, settings: &str) -> Result<ProcessNode> {
        let root = self.fresh(name)?;
        let file = root.join("frazil.yaml");
        std::fs::write(&file, format!("version: 1\nserver:\n  kafka: {{ {settings} }}\n"))?;
        let file = file.display().to_string();
        ProcessNode::start(&self.program, &root.join("data"), ports, &["-f", &file])
    }

    /// An empty directory.
    pub fn fresh(&self, name: &str) -> Result<PathBuf> {
        let dir = self.dir.join(name);
        if dir.exists() {
            std::fs::remove_dir_all(&dir).with_context(|| dir.display().to_string())?;
        }
        std::fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
        Ok(dir)
    }
}

/// Where clients reach the node.
fn bootstrap(node: &ProcessNode) -> String {
    format!("127.0.0.1:{}", node.ports.kafka())
}

/// Runs a suite and prints its table; whether everything is as the list says.
pub fn run(suite: &str, bench: &Bench, ids: &[String]) -> Result<bool> {
    let begun = Instant::now();
    let (expectations, outcomes) = match suite {
        "librdkafka" => (librdkafka::list()?, librdkafka::run(bench, ids)?),
        "rdkafka" => (rdkafka_crate::list()?, rdkafka_crate::run(bench, ids)?),
        "kafka-python" => (kafka_python::list()?, kafka_python::run(bench, ids)?),
        "java" => (java::list()?, java::run(bench, ids)?),
        "rck" => (iceberg_kit::list()?, iceberg_kit::run(bench, ids)?),
        "schemathesis" => (schemathesis::list()?, schemathesis::run(bench, ids)?),
        other => {
            anyhow::bail!("no suite `{other}`: librdkafka, rdkafka, kafka-python, java, rck, schemathesis")
        }
    };
    // A whole run misses nothing that the list names.
    let differ = judge(suite, &expectations, &outcomes, ids.is_empty());
    println!("{suite}: {:.1} min", begun.elapsed().as_secs_f64() / 60.0);
    Ok(differ == 0)
}

/// Prints the table; how many results differ from the list.
pub fn judge(suite: &str, expectations: &Expectations, outcomes: &[Outcome], whole: bool) -> usize {
    let mut differ = 0;
    println!("| {suite} | result | listed | s | |");
    println!("|---|---|---|--:|---|");
    for outcome in outcomes {
        let listed = expectations.of(&outcome.id);
        let as_listed = listed == outcome.verdict;
        differ += usize::from(!as_listed);
        let mark = if as_listed { "" } else { " **differs**" };
        println!(
            "| {} | {}{mark} | {listed} | {:.1} | {} |",
            outcome.id,
            outcome.verdict,
            outcome.took.as_secs_f64(),
            outcome.detail.replace('|', "/")
        );
    }
    if whole {
        for id in expectations.named().filter(|id| !outcomes.iter().any(|o| o.id == *id)) {
            println!("| {id} | **was not run** | {} | | |", expectations.of(id));
            differ += 1;
        }
    }
    let passed = outcomes.iter().filter(|o| o.verdict == Verdict::Pass).count();
    println!("{suite}: {passed} of {} pass, {differ} differ from {}", outcomes.len(), expectations.file());
    differ
}

/// The last lines of what a program printed, as one line.
fn tail(text: &str, lines: usize) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|l| !l.is_empty()).rev().take(lines).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join(" / ")
}

/// A kept list beside this crate.
fn kept(name: &str) -> Result<Expectations> {
    Expectations::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("conformance").join(name))
}
