//! Whole nodes of this crate, in this process.

mod configuration;
mod demonstration;
mod lifecycle;
mod users;

use std::path::{Path, PathBuf};

use frazil::{Node, NodeSettings, Ports};

/// A directory that is removed with its guard.
struct Temporary(PathBuf);

impl Temporary {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("frazil-it-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir_all(&path).expect("temporary directory");
        Self(path)
    }

    fn path(&self) -> &Path {
        &self.0
    }

    fn data(&self) -> PathBuf {
        self.0.join("data")
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn settings(data_dir: &Path) -> NodeSettings {
    NodeSettings { ports: Ports::any(), ..NodeSettings::new(data_dir) }
}

async fn start(data_dir: &Path) -> Node {
    Node::start(settings(data_dir)).await.expect("node starts")
}
