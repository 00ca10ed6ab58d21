//! Benchmarks of a whole node as a process.
//!
//! Owns: the scenarios and their printing. Does not own: targets (docs/benchmarks.md).

pub mod broker;
pub mod materialize;
pub mod peers;
pub mod produce;
pub mod start;
pub mod visible;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;

use crate::process::{Ports, ProcessNode};

/// What is measured.
#[derive(Debug)]
pub struct Bench {
    /// The release binary.
    pub program: PathBuf,
    pub trades: u64,
}

/// A directory that goes away, and ports.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) root: PathBuf,
    pub(crate) ports: Ports,
}

impl Place {
    fn new() -> Result<Self> {
        let root = std::env::temp_dir().join(format!("frazil-bench-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir_all(&root)?;
        Ok(Self { root, ports: Ports::free()? })
    }

    fn start(&self, bench: &Bench) -> Result<ProcessNode> {
        ProcessNode::start(&bench.program, &self.root.join("data"), self.ports, &[])
    }

    fn kafka(&self) -> String {
        format!("127.0.0.1:{}", self.ports.kafka())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.root);
    }
}

fn row(what: &str, figure: &str) {
    println!("| {what} | {figure} |");
}

fn median(values: &mut [Duration]) -> Duration {
    percentile(values, 0.5)
}

fn percentile(values: &mut [Duration], share: f64) -> Duration {
    values.sort();
    let index = ((values.len() as f64 - 1.0) * share).round() as usize;
    values.get(index).copied().unwrap_or_default()
}
