//! The benchmarks: figures and ratios to a peer in the same run, printed, never asserted.
//!
//! usage: bench FRAZIL_BINARY [trades]    (called by `cargo xtask bench`)

use std::path::PathBuf;

use anyhow::{Context, Result};
use testkit::bench::{self, Bench};

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let program: PathBuf = args.next().context("usage: bench FRAZIL_BINARY [trades]")?.into();
    let trades = args.next().map_or(Ok(1_000_000), |text| text.parse())?;
    let bench = Bench { program, trades };
    println!("| what | figure |");
    println!("|---|---|");
    bench::start::run(&bench)?;
    bench::produce::run(&bench)?;
    bench::visible::run(&bench)?;
    bench::materialize::run(&bench)
}
