//! The rdkafka crate's own tests.
//!
//! Owns: how cargo is called for them, reading what the test programs printed.

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::expected::{Expectations, Verdict};
use super::{Bench, Outcome, bootstrap};
use crate::outside::tool;
use crate::process::Ports;

/// What its tests compare with before they use something newer.
const KAFKA_VERSION: &str = "3.9.0";

/// The kept list: what is not named should pass.
pub fn list() -> Result<Expectations> {
    super::kept("rdkafka.txt")
}

/// Runs the tests whose names hold one of `ids`, all when none is given.
pub fn run(bench: &Bench, ids: &[String]) -> Result<Vec<Outcome>> {
    let sources = tool("FRAZIL_RDKAFKA_CRATE")?;
    let dir = bench.fresh("rdkafka")?;
    // As its docker-compose.yaml sets Kafka up; some of the tests know no other port.
    let node = bench.node_at(Ports::standard()?, "rdkafka-node", "num.partitions: 3")?;
    let log = dir.join("cargo-test.log");
    let file = std::fs::File::create(&log)?;
    let mut command = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()));
    command.args(["test", "--locked", "--lib", "--tests", "--no-fail-fast"]).current_dir(&sources);
    command.arg("--target-dir").arg(sources.with_file_name("target"));
    command.arg("--").args(ids);
    command.env("KAFKA_HOST", bootstrap(&node)).env("KAFKA_VERSION", KAFKA_VERSION);
    // It builds its own librdkafka.
    command.env_remove("LD_LIBRARY_PATH").env_remove("RUSTFLAGS");
    command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
    let status = command.status().context("cannot start cargo")?;
    let text = std::fs::read_to_string(&log)?;
    let outcomes = read_outcomes(&text);
    if outcomes.is_empty() {
        bail!("cargo test ended with {status} and no test: {}", super::tail(&text, 5));
    }
    Ok(outcomes)
}

/// `Running tests/x.rs`, then `test name ... ok`; what a test prints may stand between name and result.
fn read_outcomes(text: &str) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    let mut program = "";
    for line in text.lines().map(str::trim) {
        if let Some(rest) = line.strip_prefix("Running ") {
            let path = rest.trim_start_matches("unittests ").split(' ').next().unwrap_or_default();
            program = path.rsplit('/').next().unwrap_or_default().trim_end_matches(".rs");
        }
        let Some((name, result)) = line.strip_prefix("test ").and_then(|rest| rest.rsplit_once(" ... "))
        else {
            continue;
        };
        let verdict = match result {
            "ok" => Verdict::Pass,
            "FAILED" => Verdict::Fail,
            _ => Verdict::Skip,
        };
        let (id, detail) = (format!("{program}::{name}"), why(text, name));
        outcomes.push(Outcome { id, verdict, detail, took: Duration::ZERO });
    }
    outcomes
}

/// What a test that failed said last.
fn why(text: &str, name: &str) -> String {
    let Some((_, rest)) = text.split_once(&format!("---- {name} stdout ----")) else { return String::new() };
    let own = rest.split("\n---- ").next().unwrap_or_default();
    own.lines()
        .skip_while(|line| !line.contains("panicked at"))
        .take(3)
        .map(str::trim)
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_read() {
        let text = "     Running tests/test_admin.rs (target/debug/deps/test_admin-1)\n\nrunning 2 tests\n\
                    test one ... ok\ntest two ... FAILED\n\nfailures:\n\n---- two stdout ----\nnoise\n\
                    thread 'two' panicked at tests/test_admin.rs:1:\nit broke\n\n\
                    test result: FAILED. 1 passed\n";
        let outcomes = read_outcomes(text);
        let seen: Vec<_> = outcomes.iter().map(|o| (o.id.as_str(), o.verdict)).collect();
        assert_eq!(seen, [("test_admin::one", Verdict::Pass), ("test_admin::two", Verdict::Fail)]);
        assert!(outcomes[1].detail.contains("it broke"));
    }
}
