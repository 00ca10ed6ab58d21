//! The engine: what all sessions share.

use std::time::Duration;

use base::SharedClock;
use tokio::runtime::Handle;

use crate::session::{Session, SessionSettings};

/// Limits of queries. Sizes are bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Memory of all running statements together.
    pub memory_bytes: u64,
    /// Decoded tail kept for all tables together.
    pub tail_bytes: u64,
    /// Longest SQL text.
    pub statement_bytes_max: usize,
    /// Longest wait for `freshness = latest`.
    pub freshness_wait_max: Duration,
    pub statement_timeout: Option<Duration>,
    /// Statements that run at once; further ones wait.
    pub concurrency: usize,
    pub target_partitions: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            memory_bytes: 1 << 30,
            tail_bytes: 256 << 20,
            statement_bytes_max: 1 << 20,
            freshness_wait_max: Duration::from_secs(30),
            statement_timeout: None,
            concurrency: 16,
            target_partitions: 2,
        }
    }
}

/// What queries stand on.
#[derive(Debug, Clone)]
pub struct Deps {
    pub topics: topics::Topics,
    pub registry: schemas::Registry,
    pub tables: tables::Tables,
    pub clock: SharedClock,
    /// The compute runtime: planning, decoding, DataFusion.
    pub compute: Handle,
}

/// SQL over everything. Clones share it.
#[derive(Debug, Clone)]
pub struct Engine {}

impl Engine {
    pub fn new(_settings: Settings, _deps: Deps) -> Self {
        unimplemented!()
    }
    pub fn session(&self, _settings: SessionSettings) -> Session {
        unimplemented!()
    }
}
