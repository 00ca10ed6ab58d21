//! kafka-python's integration tests.
//!
//! Owns: how pytest is called, reading what its reporting plugin wrote.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};

use super::expected::{Expectations, Verdict};
use super::{Bench, Outcome, bootstrap};
use crate::outside::tool;

/// The newest version that the suite has tests for.
const KAFKA_VERSION: &str = "4.2.0";

/// The kept list: what is not named should pass.
pub fn list() -> Result<Expectations> {
    super::kept("kafka-python.txt")
}

/// Runs the tests whose names hold one of `ids`, all when none is given.
pub fn run(bench: &Bench, ids: &[String]) -> Result<Vec<Outcome>> {
    let sources = tool("FRAZIL_KAFKA_PYTHON")?;
    let dir = bench.fresh("kafka-python")?;
    let node = bench.node("kafka-python-node", "num.partitions: 4, group.min.session.timeout.ms: 1000")?;
    let outcomes = dir.join("outcomes");
    let log = std::fs::File::create(dir.join("pytest.log"))?;
    let plugins = Path::new(env!("CARGO_MANIFEST_DIR")).join("python");
    let mut command = Command::new(tool("FRAZIL_KAFKA_PYTHON_BIN")?);
    command.args(["-m", "pytest", "test/integration", "-p", "report_outcomes", "-p", "no:cacheprovider"]);
    if !ids.is_empty() {
        command.args(["-k", &ids.join(" or ")]);
    }
    command.current_dir(&sources).env("PYTHONPATH", format!("{}:{}", sources.display(), plugins.display()));
    command.env("PYTHONDONTWRITEBYTECODE", "1").env("FRAZIL_OUTCOMES", &outcomes);
    command.env("KAFKA_URI", format!("kafka://{}", bootstrap(&node))).env("KAFKA_VERSION", KAFKA_VERSION);
    // It wants the directory of an installation, in which it looks for nothing when the broker is given.
    command.env("KAFKA_ROOT", &dir).env_remove("LD_LIBRARY_PATH");
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    let status = command.status().context("pytest")?;
    let text = std::fs::read_to_string(&outcomes).with_context(|| {
        let printed = std::fs::read_to_string(dir.join("pytest.log")).unwrap_or_default();
        format!("pytest ended with {status} and reported nothing: {}", super::tail(&printed, 5))
    })?;
    Ok(read_outcomes(&text))
}

/// Lines of the plugin; a test that passed and failed to clean up has failed.
fn read_outcomes(text: &str) -> Vec<Outcome> {
    let mut outcomes: Vec<Outcome> = Vec::new();
    for line in text.lines() {
        let cells: Vec<&str> = line.split('\t').collect();
        let [word, name, seconds, why] = cells[..] else { continue };
        let verdict = match word {
            "passed" => Verdict::Pass,
            "skipped" => Verdict::Skip,
            _ => Verdict::Fail,
        };
        let took = Duration::from_secs_f64(seconds.parse().unwrap_or_default());
        let outcome = Outcome { id: name.to_owned(), verdict, detail: why.to_owned(), took };
        match outcomes.iter_mut().find(|o| o.id == name) {
            Some(before) if verdict == Verdict::Fail => *before = outcome,
            Some(_) => {}
            None => outcomes.push(outcome),
        }
    }
    outcomes
}
