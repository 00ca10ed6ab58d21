//! Start to ready on an empty directory, and memory when idle.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::{Bench, Place, median, row};

const RUNS: usize = 7;

/// Measures and prints.
pub fn run(bench: &Bench) -> Result<()> {
    let mut times = Vec::new();
    let mut resident = Vec::new();
    for _ in 0..RUNS {
        let place = Place::new()?;
        let begun = Instant::now();
        let node = place.start(bench)?;
        times.push(begun.elapsed());
        std::thread::sleep(Duration::from_secs(1));
        resident.push(node.resident_bytes()?);
        node.stop()?;
    }
    resident.sort();
    row("start to ready, empty directory (median of 7)", &format!("{} ms", median(&mut times).as_millis()));
    row("memory when idle (median RSS)", &format!("{} MiB", resident[RUNS / 2] >> 20));
    Ok(())
}
