//! librdkafka's own test-runner, one process per test number.
//!
//! Owns: in which scenario a number runs, reading the runner's summary.
//! Invariants: parts of a number that need no broker are left out, so they cannot make it pass; numbers that did not
//! come out as listed while others ran beside them are run once more alone, and the table says so.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::Instant;

use anyhow::{Context, Result};

use super::expected::{Expectations, Verdict};
use super::{Bench, Outcome, bootstrap};
use crate::outside::tool;
use crate::process::ProcessNode;

/// The broker version that tests are chosen by: our minimums are those of Kafka 4.
const KAFKA_VERSION: &str = "4.1.0";
/// Numbers that are left out whole in quick mode.
const NOT_QUICK: &[&str] = &["0082"];
/// Numbers that say that they do not apply to Kafka 4, and the version for which they do.
const OLDER: &[(&str, &str)] = &[("0092", "3.9.0")];
/// One number may take so long, seconds.
const LIMIT: &str = "300";
/// Numbers that start Java programs, each of them several times as long as the number allows for.
const SLOW: &[&str] = &["0109", "0115", "0119"];
/// By what their own limits are multiplied, in the words of the runner's configuration.
const SLOW_LIMITS: &str = "test.timeout.multiplier=4\n";
/// Numbers that run at the same time; they mostly wait.
const AT_ONCE: usize = 4;
/// Numbers with parts that want a cluster without automatic topic creation, and whether that is all they have.
const WITHOUT_AUTO_CREATION: &[(&str, bool)] = &[("0045", false), ("0107", true), ("0111", true)];
/// Numbers that the runner leaves out unless it is asked for known issues.
const KNOWN_ISSUES: &[&str] = &["0028", "0047"];

/// The kept list, which also says which numbers there are.
pub fn list() -> Result<Expectations> {
    super::kept("librdkafka.txt")
}

/// The nodes, one per scenario.
struct Nodes {
    default: ProcessNode,
    without_auto_creation: ProcessNode,
}

/// Runs the numbers, all of the list when none is given.
pub fn run(bench: &Bench, ids: &[String]) -> Result<Vec<Outcome>> {
    let list = list()?;
    let ids: Vec<String> =
        if ids.is_empty() { list.named().map(str::to_owned).collect() } else { ids.to_vec() };
    let runner = Runner {
        sources: tool("FRAZIL_LIBRDKAFKA")?,
        kafka_path: std::env::var_os("FRAZIL_KAFKA_PATH").map(PathBuf::from),
        logs: bench.fresh("librdkafka")?,
        nodes: Nodes {
            default: bench.node("librdkafka-node", "num.partitions: 4, replication.factor.max: 3")?,
            without_auto_creation: bench.node(
                "librdkafka-node-without-auto-creation",
                "num.partitions: 4, replication.factor.max: 3, auto.create.topics.enable: false",
            )?,
        },
    };
    let mut outcomes = runner.run_beside_each_other(&ids)?;
    for outcome in &mut outcomes {
        if outcome.verdict == list.of(&outcome.id) {
            continue;
        }
        let mut again = runner.run(&outcome.id)?;
        again.detail = format!("{} (alone; before, beside others: {})", again.detail, outcome.verdict);
        *outcome = again;
    }
    Ok(outcomes)
}

struct Runner {
    sources: PathBuf,
    /// Kafka's own tools, which some numbers call.
    kafka_path: Option<PathBuf>,
    logs: PathBuf,
    nodes: Nodes,
}

impl Runner {
    fn run_beside_each_other(&self, ids: &[String]) -> Result<Vec<Outcome>> {
        let waiting = Mutex::new(ids.iter());
        let next = || waiting.lock().expect("nobody panics with it").next();
        let done = Mutex::new(Vec::with_capacity(ids.len()));
        std::thread::scope(|scope| {
            for _ in 0..AT_ONCE.min(ids.len()) {
                scope.spawn(|| {
                    while let Some(id) = next() {
                        let outcome = self.run(id);
                        if let Ok(outcome) = &outcome {
                            eprintln!("librdkafka {id}: {}", outcome.verdict);
                        }
                        done.lock().expect("nobody panics with it").push(outcome);
                    }
                });
            }
        });
        let outcomes: Result<Vec<Outcome>> =
            done.into_inner().expect("nobody panicked").into_iter().collect();
        let mut outcomes = outcomes?;
        outcomes.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(outcomes)
    }

    /// A number in all scenarios that it has parts for.
    fn run(&self, id: &str) -> Result<Outcome> {
        let begun = Instant::now();
        let without = WITHOUT_AUTO_CREATION.iter().find(|(number, _)| *number == id);
        let mut text = String::new();
        if without.is_none_or(|(_, only)| !only) {
            text.push_str(&self.run_in(id, "default", &self.nodes.default)?);
        }
        if without.is_some() {
            text.push_str(&self.run_in(id, "noautocreate", &self.nodes.without_auto_creation)?);
        }
        let (verdict, detail) = read_summary(&text);
        Ok(Outcome { id: id.to_owned(), verdict, detail, took: begun.elapsed() })
    }

    /// What the runner printed.
    fn run_in(&self, id: &str, scenario: &str, node: &ProcessNode) -> Result<String> {
        let name = format!("{id}-{scenario}");
        let conf = self.logs.join(format!("{name}.conf"));
        let brokers = bootstrap(node);
        let slower = if SLOW.contains(&id) { SLOW_LIMITS } else { "" };
        std::fs::write(&conf, format!("bootstrap.servers={brokers}\n{slower}"))?;
        let log = self.logs.join(format!("{name}.log"));
        let file = std::fs::File::create(&log)?;
        let mut command = Command::new("timeout");
        command.args(["--kill-after=5", LIMIT, "./test-runner", "-p1", "-E", "-L", "-s", scenario]);
        if !NOT_QUICK.contains(&id) {
            command.arg("-Q");
        }
        if KNOWN_ISSUES.contains(&id) {
            command.arg("-k");
        }
        command.current_dir(self.sources.join("tests")).env("TESTS", id);
        command.env("RDKAFKA_TEST_CONF", &conf).env("BROKERS", &brokers);
        let older = OLDER.iter().find(|(number, _)| *number == id);
        command.env("TEST_KAFKA_VERSION", older.map_or(KAFKA_VERSION, |(_, version)| version));
        command.env("LD_LIBRARY_PATH", library_path(&self.sources));
        // On CI it would leave out what it takes for unreliable there.
        command.env_remove("CI");
        match &self.kafka_path {
            Some(path) => command.env("KAFKA_PATH", path),
            None => command.env_remove("KAFKA_PATH"),
        };
        let status = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .status()
            .context("timeout ./test-runner")?;
        let printed = std::fs::read(&log)?;
        let mut text = String::from_utf8_lossy(&printed).into_owned();
        if matches!(status.code(), Some(124 | 137)) {
            text.push_str(&format!("\n| {id}_timeout | FAILED | {LIMIT}s | no end after {LIMIT} s\n"));
        } else if status.code().is_none() {
            text.push_str(&format!("\n| {id}_crash | FAILED | 0s | the runner ended with {status}\n"));
        }
        Ok(text)
    }
}

fn library_path(sources: &Path) -> String {
    format!("{}:{}", sources.join("src").display(), sources.join("src-cpp").display())
}

/// The verdict on a number from all that the runner printed about it.
fn read_summary(text: &str) -> (Verdict, String) {
    let mut passed = 0;
    let mut failed = Vec::new();
    let mut skipped = Vec::new();
    for line in text.lines().map(without_colours).filter(|line| line.starts_with('|')) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, name, state, _, detail, ..] = cells[..] else { continue };
        if name == "<MAIN>" {
            continue;
        }
        match state {
            "PASSED" => passed += 1,
            // Parts without a broker, and of another scenario.
            "SKIPPED" if detail.is_empty() || detail.starts_with("Filtered due to") => {}
            "SKIPPED" => skipped.push(format!("{name}: {detail}")),
            _ => failed.push(format!("{name}: {state} {detail}")),
        }
    }
    let parts_passed = text.lines().filter(|l| l.contains(": PASS (")).count();
    let parts_skipped: Vec<&str> =
        text.lines().filter_map(|l| Some(l.split_once(": SKIP: ")?.1.trim_end_matches([']', ' ']))).collect();
    if !failed.is_empty() {
        (Verdict::Fail, failed.join("; "))
    } else if !skipped.is_empty() {
        (Verdict::Skip, skipped.join("; "))
    } else if passed == 0 {
        (Verdict::Fail, format!("no summary: {}", super::tail(text, 2)))
    } else if parts_passed == 0 && !parts_skipped.is_empty() {
        (Verdict::Skip, format!("all parts: {}", parts_skipped.join("; ")))
    } else if parts_skipped.is_empty() {
        (Verdict::Pass, String::new())
    } else {
        (Verdict::Pass, format!("but for {} parts: {}", parts_skipped.len(), parts_skipped.join("; ")))
    }
}

fn without_colours(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find('\u{1b}') {
        text.push_str(&rest[..at]);
        rest = rest[at..].split_once('m').map_or("", |(_, rest)| rest);
    }
    text.push_str(rest);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "|\u{1b}[32m <MAIN>        |     PASSED |   1.000s \u{1b}[0m|\n";

    #[test]
    fn summaries_are_read() {
        let row = |name: &str, state: &str, detail: &str| {
            format!(
                "|\u{1b}[32m {name}     |     {state} |   1.000s \u{1b}[0m|\u{1b}[31m {detail}\u{1b}[0m\n"
            )
        };
        let local = row("0103_transactions_local", "SKIPPED", "Filtered due to negative test flags");
        for (rows, expected) in [
            (row("0001_multiobj", "PASSED", ""), Verdict::Pass),
            (row("0103_transactions", "PASSED", "") + &local, Verdict::Pass),
            (row("0103_transactions", "FAILED", "test.c:1: no") + &local, Verdict::Fail),
            (row("0092_mixed_msgver", "SKIPPED", "MsgVersion 1 was removed"), Verdict::Skip),
            (row("0103_transactions", "RUNNING", ""), Verdict::Fail),
            (local, Verdict::Fail),
            (row("0135_x", "PASSED", "") + "[ do_test:1: SKIP: no user ]\n", Verdict::Skip),
            (
                row("0103_x", "PASSED", "") + "[ do_test:1: SKIP: no user ]\n[ do_test:2: PASS (1.00s) ]\n",
                Verdict::Pass,
            ),
        ] {
            assert_eq!(read_summary(&format!("{HEAD}{rows}")).0, expected, "{rows}");
        }
        assert_eq!(read_summary("Aborted").0, Verdict::Fail);
    }
}
