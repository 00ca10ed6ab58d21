//! `cargo xtask conformance`: suites that others wrote for Kafka and Iceberg, against a node that it starts.
//!
//! Owns: which suites there are, what each needs before it can run.
//! Does not own: running them and judging the results (testkit's program `conformance`).

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{setup, tests};

/// What `--help` prints.
pub(crate) const HELP: &str = "\
usage: cargo xtask conformance [SUITE [ID…]]

  librdkafka     librdkafka's own test-runner; IDs are its numbers, for example 0103
  rdkafka        the tests of the crate rdkafka; IDs are parts of names
  kafka-python   kafka-python's integration tests; IDs are parts of names
  java           Kafka's command-line tools; IDs are the checks' names
  rck            Apache Iceberg's REST Compatibility Kit; IDs are parts of method names. It has tables below /tmp
  schemathesis   requests made up from the registry's description; IDs are beginnings of paths

Without SUITE all of them run. Each starts a node of its own from the debug build, prints a table, and compares every
result with the kept list in crates/testkit/conformance: the command fails when one differs, for better or worse.
What is fetched and built lies in target/conformance, with the logs of the last run in target/conformance/run.
It needs, beside what the tests need, npm, a JDK and maven; missing ones are installed when it runs as root.
";

const SUITES: &[&str] = &["librdkafka", "rdkafka", "kafka-python", "java", "rck", "schemathesis"];

/// Runs one suite or all.
pub(crate) fn run(suite_and_ids: &[&str]) -> Result<()> {
    let (suites, ids) = match suite_and_ids {
        [] => (SUITES, &[][..]),
        [suite, ids @ ..] => {
            let chosen = SUITES.iter().position(|s| s == suite);
            let at =
                chosen.with_context(|| format!("no suite `{suite}`: there are {}", SUITES.join(", ")))?;
            (&SUITES[at..=at], ids)
        }
    };
    tests::step("build", tests::build)?;
    let mut different = Vec::new();
    for suite in suites {
        if !tests::step(suite, || run_suite(suite, ids))? {
            different.push(*suite);
        }
    }
    if different.is_empty() {
        return Ok(());
    }
    bail!("results differ from the lists in crates/testkit/conformance: {}", different.join(", "))
}

/// Whether everything came out as listed.
fn run_suite(suite: &str, ids: &[&str]) -> Result<bool> {
    let target = setup::target_dir();
    let mut command = Command::new(target.join("debug/conformance"));
    command.arg(target.join("debug/frazil")).arg(target.join("conformance/run")).arg(suite).args(ids);
    set_up(suite, &mut command)?;
    tests::as_from_a_shell(&mut command);
    let status = command.status().context("cannot start the program conformance")?;
    // 1 is the program's word for differences as well as for errors, which it has printed.
    Ok(status.success())
}

/// Fetches and builds what a suite needs, and says by variables where it is.
fn set_up(suite: &str, command: &mut Command) -> Result<()> {
    match suite {
        "librdkafka" => {
            command.env("FRAZIL_LIBRDKAFKA", setup::librdkafka::test_runner()?);
            // Some of its tests call Kafka's tools.
            set_kafka_path(command, &setup::kafka_tools::kafka_path()?);
        }
        "rdkafka" => {
            command.env("FRAZIL_RDKAFKA_CRATE", setup::rdkafka_crate::sources()?);
        }
        "kafka-python" => {
            let suite = setup::python_suite::kafka_python()?;
            command.env("FRAZIL_KAFKA_PYTHON", suite.sources).env("FRAZIL_KAFKA_PYTHON_BIN", suite.python);
        }
        "rck" => {
            command.env("FRAZIL_ICEBERG_KIT", setup::iceberg_kit::jars()?);
        }
        "java" => set_kafka_path(command, &setup::kafka_tools::kafka_path()?),
        "schemathesis" => {
            command.env("FRAZIL_SCHEMATHESIS", setup::schemathesis::program()?);
        }
        other => bail!("no suite `{other}`"),
    }
    Ok(())
}

fn set_kafka_path(command: &mut Command, path: &Path) {
    command.env("FRAZIL_KAFKA_PATH", path);
}
