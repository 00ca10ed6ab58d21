//! The benchmarks: figures and ratios to a peer in the same run, printed, never asserted.
//!
//! usage: bench FRAZIL_BINARY [trades]             a node alone, with DuckDB as peer
//!        bench FRAZIL_BINARY broker KAFKA_JARS    the log beside Apache Kafka
//!
//! Called by `cargo xtask bench`.

use std::path::PathBuf;

use anyhow::{Context, Result};
use testkit::bench::{self, Bench};

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let program: PathBuf = args.next().context("usage: bench FRAZIL_BINARY [trades]")?.into();
    let what = args.next();
    if what.as_deref() == Some("broker") {
        let jars: PathBuf = args.next().context("the directory with Kafka's jars")?.into();
        return bench::broker::run(&program, &jars);
    }
    let trades = what.map_or(Ok(1_000_000), |text| text.parse())?;
    let bench = Bench { program, trades };
    println!("| what | figure |");
    println!("|---|---|");
    bench::start::run(&bench)?;
    bench::produce::run(&bench)?;
    bench::visible::run(&bench)?;
    bench::materialize::run(&bench)
}
