//! Kafka's own command-line tools, each asked for something whose answer is known.
//!
//! Owns: how the tools are called, the list of checks. Does not own: the checks themselves.
//! Invariants: a check makes its own topics and groups, so that one that fails leaves the others alone.

mod groups;
mod records;
mod segments;
mod topics;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};

use super::expected::{Expectations, Verdict};
use super::{Bench, Outcome, bootstrap};
use crate::outside::tool;
use crate::process::ProcessNode;

/// One call of a tool may take so long, seconds.
const LIMIT: &str = "120";

/// What a check says when all is well: the facts it saw.
type Facts = Result<String>;
type Check = (&'static str, fn(&Tools<'_>) -> Facts);

const CHECKS: &[Check] = &[
    ("kafka-broker-api-versions", topics::api_versions),
    ("kafka-cluster", topics::cluster),
    ("kafka-topics", topics::life_of_a_topic),
    ("kafka-configs-topics", topics::topic_properties),
    ("kafka-configs-brokers", topics::broker_properties),
    ("kafka-log-dirs", topics::log_dirs),
    ("kafka-console", records::console),
    ("kafka-console-codecs", records::codecs),
    ("kafka-get-offsets", records::offsets),
    ("kafka-delete-records", records::delete_records),
    ("kafka-verifiable", records::verifiable),
    ("kafka-transactions", records::transactions),
    ("kafka-consumer-groups", groups::life_of_a_group),
    ("kafka-consumer-groups-members", groups::members),
    ("kafka-groups", groups::list),
    ("kafka-dump-log", segments::dump),
];

/// The kept list: what is not named should pass.
pub fn list() -> Result<Expectations> {
    super::kept("java.txt")
}

/// Runs the checks of these names, all when none is given.
pub fn run(bench: &Bench, ids: &[String]) -> Result<Vec<Outcome>> {
    if let Some(unknown) = ids.iter().find(|id| !CHECKS.iter().any(|(name, _)| name == id)) {
        bail!(
            "no check `{unknown}`: {}",
            CHECKS.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
        );
    }
    let tools = Tools {
        bench,
        kafka_path: tool("FRAZIL_KAFKA_PATH")?,
        node: bench.node("java-node", "num.partitions: 1")?,
        dir: bench.fresh("java")?,
    };
    let mut outcomes = Vec::new();
    for (name, check) in CHECKS {
        if !ids.is_empty() && !ids.iter().any(|id| id == name) {
            continue;
        }
        let begun = Instant::now();
        let (verdict, detail) = match check(&tools) {
            Ok(facts) => (Verdict::Pass, facts),
            Err(error) => (Verdict::Fail, format!("{error:#}").replace('\n', " / ")),
        };
        eprintln!("java {name}: {verdict}");
        outcomes.push(Outcome { id: (*name).to_owned(), verdict, detail, took: begun.elapsed() });
    }
    Ok(outcomes)
}

/// The tools, and the node that they are pointed at.
pub(crate) struct Tools<'a> {
    bench: &'a Bench,
    kafka_path: PathBuf,
    node: ProcessNode,
    dir: PathBuf,
}

/// What a tool printed.
#[derive(Debug)]
pub(crate) struct Printed {
    ok: bool,
    out: String,
    err: String,
}

impl Printed {
    /// Fails unless the output holds `what`.
    fn has(&self, what: &str) -> Result<&Self> {
        ensure!(self.out.contains(what), "`{what}` is missing in: {}", super::tail(&self.out, 12));
        Ok(self)
    }

    /// The lines that hold `what`.
    fn lines_with<'a>(&'a self, what: &'a str) -> impl Iterator<Item = &'a str> {
        self.out.lines().filter(move |line| line.contains(what))
    }
}

impl Tools<'_> {
    /// The tools, pointed at a node of their own.
    fn on_another_node(&self, name: &str) -> Result<Self> {
        let node = self.bench.node(name, "num.partitions: 1")?;
        Ok(Self { bench: self.bench, kafka_path: self.kafka_path.clone(), node, dir: self.dir.clone() })
    }

    /// Runs `bin/<name>.sh` against the node; it must succeed.
    fn run(&self, name: &str, args: &[&str]) -> Result<Printed> {
        self.run_with(name, args, "")
    }

    fn run_with(&self, name: &str, args: &[&str], input: &str) -> Result<Printed> {
        let printed = self.try_run(name, args, input)?;
        if !printed.ok {
            bail!("{name} {} failed: {}", args.join(" "), super::tail(&(printed.err + &printed.out), 6));
        }
        Ok(printed)
    }

    fn try_run(&self, name: &str, args: &[&str], input: &str) -> Result<Printed> {
        self.call(name, &[&["--bootstrap-server", &bootstrap(&self.node)], args].concat(), input)
    }

    /// Runs a tool that is told no server.
    fn call(&self, name: &str, args: &[&str], input: &str) -> Result<Printed> {
        let script = self.kafka_path.join("bin").join(format!("{name}.sh"));
        let mut command = Command::new("timeout");
        command.args(["--kill-after=5", LIMIT]).arg(script).args(args).env_remove("LD_LIBRARY_PATH");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().context("timeout")?;
        let mut stdin = child.stdin.take().context("stdin is piped")?;
        let input = input.to_owned();
        let feeding = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
        let output = child.wait_with_output()?;
        // A tool that reads nothing closes its input early.
        let _ = feeding.join();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let err = text(&output.stderr);
        let err = err.lines().filter(|line| !line.starts_with("SLF4J")).collect::<Vec<_>>().join("\n");
        Ok(Printed { ok: output.status.success(), out: text(&output.stdout), err })
    }

    fn create(&self, topic: &str, args: &[&str]) -> Result<()> {
        let args = [&["--create", "--topic", topic], args].concat();
        self.run("kafka-topics", &args)?.has(&format!("Created topic {topic}."))?;
        Ok(())
    }

    /// Produces lines, `key:value`.
    fn produce(&self, topic: &str, lines: &str, args: &[&str]) -> Result<()> {
        let keyed = ["--topic", topic, "--property", "parse.key=true", "--property", "key.separator=:"];
        self.run_with("kafka-console-producer", &[&keyed, args].concat(), lines).map(drop)
    }

    /// Consumes so many records from the beginning; prints them as `offset key value` would stand in the topic.
    fn consume(&self, topic: &str, count: usize, args: &[&str]) -> Result<Printed> {
        let count = count.to_string();
        let fixed = [
            "--topic",
            topic,
            "--from-beginning",
            "--max-messages",
            &count,
            "--timeout-ms",
            "60000",
            "--property",
            "print.key=true",
            "--property",
            "print.offset=true",
        ];
        self.run("kafka-console-consumer", &[&fixed, args].concat())
    }

    fn file(&self, name: &str, text: &str) -> Result<String> {
        let path: &Path = &self.dir.join(name);
        std::fs::write(path, text)?;
        Ok(path.display().to_string())
    }
}
