//! What every test here needs: a directory, a node, the program's own command line.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use testkit::process::{Ports, ProcessNode};

pub(crate) const TESTNODE: &str = env!("CARGO_BIN_EXE_testnode");

/// A data directory that goes away with its test, and a port range.
pub(crate) struct World {
    root: PathBuf,
    pub(crate) ports: Ports,
}

impl World {
    pub(crate) fn new(name: &str) -> Result<Self> {
        let root = std::env::temp_dir().join(format!("frazil-{name}-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir_all(&root)?;
        Ok(Self { root, ports: Ports::free()? })
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.root.join("data")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    pub(crate) fn start(&self) -> Result<ProcessNode> {
        ProcessNode::start(Path::new(TESTNODE), &self.data_dir(), self.ports, &[])
    }

    /// Runs a command of the program against the node; its output.
    pub(crate) fn frazil(&self, args: &[&str]) -> Result<String> {
        let output = Command::new(TESTNODE)
            .args(args)
            .args(["--port-offset", &self.ports.offset.to_string()])
            .output()
            .context("testnode")?;
        if !output.status.success() {
            bail!("frazil {args:?}: {} {}", output.status, String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Creates a topic that is a table and follows its subject's latest schema.
    pub(crate) fn create_table_topic(&self, name: &str, partitions: u32, lag_ms: u32) -> Result<()> {
        self.frazil(&[
            "topic",
            "create",
            name,
            "-p",
            &partitions.to_string(),
            "-c",
            "redpanda.iceberg.mode=value_schema_latest",
            "-c",
            &format!("redpanda.iceberg.target.lag.ms={lag_ms}"),
        ])?;
        Ok(())
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.root);
        }
    }
}

/// Whether the long campaigns were asked for.
pub(crate) fn long() -> bool {
    std::env::var_os("FRAZIL_LONG").is_some()
}
