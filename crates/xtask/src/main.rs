//! Development tasks: `cargo xtask test`, `conformance`, `tidy`, `bench`, `fuzz`.
//!
//! Owns: what "the tests" are, in which order, and the set-up they need.
//! Does not own: the tests themselves.

mod conformance;
mod fuzz;
mod setup;
mod tests;
mod tidy;

use std::process::ExitCode;

use tests::Bench;

const USAGE: &str = "\
usage: cargo xtask <task>

  test [--long]   tidy, build, all tests, with real outside clients; --long adds the campaigns
  conformance [SUITE [ID…]]
                  suites that others wrote, against a node: librdkafka, rdkafka, kafka-python, java, rck,
                  schemathesis; all without SUITE
  bench [ROWS]    builds for release and prints the figures of docs/benchmarks.md
  bench broker    the log beside Apache Kafka: the same loads by the same clients
  fuzz [--minutes N] [TARGET...]
                  runs the fuzz targets in /fuzz one after another, each for N minutes (10)
  tidy            the architecture as a test: layers, owners, budgets, documents
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["test"] => tests::run(false),
        ["test", "--long"] => tests::run(true),
        ["conformance", "--help"] => {
            print!("{}", conformance::HELP);
            return ExitCode::SUCCESS;
        }
        ["conformance", suite_and_ids @ ..] => conformance::run(suite_and_ids),
        ["bench"] => tests::bench(Bench::Node { rows: "1000000" }),
        ["bench", "broker"] => tests::bench(Bench::Broker),
        ["bench", rows] => tests::bench(Bench::Node { rows }),
        ["fuzz", "--minutes", minutes, targets @ ..] => fuzz::run(minutes, targets),
        ["fuzz", targets @ ..] => fuzz::run("10", targets),
        ["tidy"] => tidy::run(),
        _ => {
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
