//! The test command.
//!
//! Owns: the order of the steps. Does not own: what a test checks.

use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::{fuzz, setup, tidy};

/// Of each target in the long run: enough to see that they are built and find nothing at once.
const FUZZ_MINUTES: &str = "1";

/// Runs everything; `long` adds the campaigns that take more than minutes.
pub(crate) fn run(long: bool) -> Result<()> {
    let begun = Instant::now();
    step("tidy", tidy::run)?;
    let clients = step("outside clients", setup::outside_clients)?;
    let mut spark = None;
    if long {
        step("tools of power cuts", setup::power_cut_tools)?;
        spark = Some(step("Spark", setup::spark::spark)?);
    }
    let spark = spark.as_ref();
    step("build", || cargo(&["build", "--workspace", "--all-targets"], &clients, spark))?;
    step("test", || cargo(&["test", "--workspace", "--no-fail-fast"], &clients, spark))?;
    if long {
        step("fuzz", || fuzz::run(FUZZ_MINUTES, &[]))?;
    }
    eprintln!("all tests passed in {:.1} min", begun.elapsed().as_secs_f64() / 60.0);
    Ok(())
}

/// Prints the figures of docs/benchmarks.md: of a node alone with so many rows, or of the log beside Apache Kafka. The
/// node is built for release; the program that loads it need not be.
pub(crate) fn bench(what: Bench<'_>) -> Result<()> {
    let clients = step("outside clients", setup::outside_clients)?;
    step("build", || cargo(&["build", "--release"], &clients, None).and_then(|()| build()))?;
    let target = setup::target_dir();
    let mut command = Command::new(target.join("debug/bench"));
    command.arg(target.join("release/frazil"));
    command.env("FRAZIL_PYTHON", &clients.python).env("FRAZIL_DUCKDB_EXTENSIONS", &clients.duckdb_extensions);
    match what {
        Bench::Node { rows } => command.arg(rows),
        Bench::Broker => command.arg("broker").arg(setup::kafka_tools::kafka_path()?.join("libs")),
    };
    let status = step("bench", || command.status().context("cannot start the program bench"))?;
    if !status.success() {
        bail!("the benchmark ended with {status}");
    }
    Ok(())
}

/// What is measured.
pub(crate) enum Bench<'a> {
    Node { rows: &'a str },
    Broker,
}

/// Builds what the tests run.
pub(crate) fn build() -> Result<()> {
    let mut command = cargo_command();
    command.args(["build", "--workspace", "--all-targets"]);
    let status = command.status().context("cannot start cargo")?;
    if !status.success() {
        bail!("cargo build ended with {status}");
    }
    Ok(())
}

/// One step with its name and how long it took.
pub(crate) fn step<T>(name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    eprintln!("== {name}");
    let begun = Instant::now();
    let value = work().with_context(|| format!("{name} failed"))?;
    eprintln!("== {name}: {:.1} s", begun.elapsed().as_secs_f64());
    Ok(value)
}

/// Cargo, as a shell would call it.
pub(crate) fn cargo_command() -> Command {
    let mut command = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()));
    as_from_a_shell(&mut command);
    command
}

/// Runs cargo for the tests; with Spark they are the long ones.
fn cargo(args: &[&str], clients: &setup::OutsideClients, spark: Option<&setup::spark::Spark>) -> Result<()> {
    let mut command = cargo_command();
    command.args(args).env("FRAZIL_PYTHON", &clients.python).env("FRAZIL_KCAT", &clients.kcat);
    command.env("FRAZIL_PSQL", &clients.psql).env("FRAZIL_DUCKDB_EXTENSIONS", &clients.duckdb_extensions);
    command.env("FRAZIL_LIBRDKAFKA", &clients.librdkafka);
    if let Some(spark) = spark {
        command.env("FRAZIL_LONG", "1");
        command.env("FRAZIL_SPARK_PYTHON", &spark.python).env("FRAZIL_SPARK_JAR", &spark.jar);
    }
    let status = command.status().context("cannot start cargo")?;
    if !status.success() {
        bail!("cargo {} ended with {status}", args.join(" "));
    }
    Ok(())
}

/// What cargo tells a program it runs would make build scripts run again, and with them most of the dependencies.
pub(crate) fn as_from_a_shell(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let told = name.to_string_lossy().into_owned();
        if told.starts_with("CARGO_PKG_") || told.starts_with("CARGO_MANIFEST_") || told == "CARGO_BIN_NAME" {
            command.env_remove(name);
        }
    }
}
