//! Outside suites against a node (called by `cargo xtask conformance`, which fetches and builds them).
//!
//! usage: conformance FRAZIL_BINARY DIRECTORY SUITE [ids…]

use std::process::ExitCode;

use anyhow::{Context, Result};
use testkit::conformance::{self, Bench};

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<bool> {
    let mut args = std::env::args().skip(1);
    let mut next = || args.next().context("usage: conformance FRAZIL_BINARY DIRECTORY SUITE [ids…]");
    let (program, dir, suite) = (next()?, next()?, next()?);
    let bench = Bench { program: program.into(), dir: dir.into() };
    let ids: Vec<String> = args.collect();
    conformance::run(&suite, &bench, &ids)
}
