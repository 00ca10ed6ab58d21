//! Schemathesis: requests made up from a door's own description, and what the answers should be.
//!
//! Owns: how it is called, which checks count, reading its report.
//! Does not own: the descriptions, which the doors serve.
//! Invariants: an operation passes when no answer to it was a 5xx or one that its description does not have. The same
//! requests are made each time.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::expected::{Expectations, Verdict};
use super::{Bench, Outcome};
use crate::outside::tool;

/// Requests of each kind to each operation.
const EXAMPLES: &str = "50";
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,response_headers_conformance";

/// The kept list: what is not named should pass.
pub fn list() -> Result<Expectations> {
    super::kept("schemathesis.txt")
}

#[derive(Debug, Deserialize)]
struct Report {
    complete: bool,
    operations: Counts,
    test_cases: Cases,
    failures: Vec<Failure>,
    errors: Vec<serde_json::Value>,
    valid_rates: std::collections::BTreeMap<String, serde_json::Value>,
}

#[derive(Debug, Deserialize)]
struct Counts {
    total: usize,
    tested: usize,
}

#[derive(Debug, Deserialize)]
struct Cases {
    generated: usize,
}

#[derive(Debug, Deserialize)]
struct Failure {
    title: String,
    operations: Vec<String>,
}

/// Asks the schema registry; with `ids` only operations whose path begins with one of them.
pub fn run(bench: &Bench, ids: &[String]) -> Result<Vec<Outcome>> {
    let begun = Instant::now();
    let dir = bench.fresh("schemathesis")?;
    let node = bench.node("schemathesis-node", "num.partitions: 1")?;
    let address = format!("http://127.0.0.1:{}", node.ports.registry());
    let (status, text) = crate::process::http(node.ports.registry(), "GET", "/openapi.json", "")?;
    ensure!(status == 200, "GET /openapi.json: {status} {text}");
    let (document, report) = (dir.join("openapi.json"), dir.join("report.json"));
    std::fs::write(&document, text)?;
    let log = std::fs::File::create(dir.join("schemathesis.log"))?;
    let mut command = Command::new(tool("FRAZIL_SCHEMATHESIS")?);
    command.arg("run").arg(&document).args(["--url", &address, "-n", EXAMPLES, "--checks", CHECKS]);
    command.args([
        "--phases",
        "examples,coverage,fuzzing",
        "--generation-deterministic",
        "--continue-on-failure",
    ]);
    command.args(["--no-color", "--report", "json", "--report-json-path"]).arg(&report);
    for id in ids {
        command.args(["--include-path-regex", &format!("^{}", id.trim_start_matches('^'))]);
    }
    command.current_dir(&dir).env_remove("LD_LIBRARY_PATH");
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    let status = command.status().context("schemathesis")?;
    let printed = || std::fs::read_to_string(dir.join("schemathesis.log")).unwrap_or_default();
    let text = std::fs::read_to_string(&report).with_context(|| {
        format!("schemathesis ended with {status} and reported nothing: {}", super::tail(&printed(), 5))
    })?;
    let report: Report = serde_json::from_str(&text).context("its report")?;
    ensure!(report.complete && report.errors.is_empty(), "it broke off: {}", super::tail(&printed(), 10));
    ensure!(
        !ids.is_empty() || report.operations.tested == report.operations.total,
        "operations were left out"
    );
    println!("{} requests to {} operations", report.test_cases.generated, report.operations.tested);
    Ok(outcomes(&report, begun.elapsed()))
}

/// One for each operation that was asked. An id has no blanks.
fn outcomes(report: &Report, took: Duration) -> Vec<Outcome> {
    let named = report.failures.iter().flat_map(|failure| &failure.operations);
    let mut operations: Vec<&String> = report.valid_rates.keys().chain(named).collect();
    operations.sort_unstable();
    operations.dedup();
    let share = took / u32::try_from(operations.len().max(1)).unwrap_or(1);
    let outcome = |operation: &String| {
        let wrong = report.failures.iter().filter(|failure| failure.operations.contains(operation));
        let detail = wrong.map(|failure| failure.title.as_str()).collect::<Vec<_>>().join(", ");
        let verdict = if detail.is_empty() { Verdict::Pass } else { Verdict::Fail };
        Outcome { id: format!("registry:{}", operation.replace(' ', ":")), verdict, detail, took: share }
    };
    operations.into_iter().map(outcome).collect()
}
