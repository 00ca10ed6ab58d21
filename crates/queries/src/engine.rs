//! The engine: what all sessions share.
//!
//! Owns: memory and admission of statements, the planner's configuration, decoded tails, names of tables.
//! Does not own: sessions; the runtimes (they are handed in).
//! Invariants: planning, decoding and execution run on the compute runtime; at most `concurrency` statements run at
//! once; all of them together stay within `memory_bytes` plus `tail_bytes`.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use base::SharedClock;
use datafusion::config::Dialect;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::context::SessionState;
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::SessionConfig;
use tables::TableIdent;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use crate::error::SqlError;
use crate::hybrid::chunks::TailChunks;
use crate::read_view::all_idents;
use crate::session::{Session, SessionSettings};

/// Under which the warehouse's objects are known to the planner.
pub(crate) const WAREHOUSE_URL: &str = "warehouse://tables/";

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

/// What the sessions of an engine share.
pub(crate) struct Shared {
    pub settings: Settings,
    pub deps: Deps,
    pub admission: Arc<Semaphore>,
    pub chunks: TailChunks,
    /// Configured planner without any table; statements start from a copy.
    pub planner: SessionState,
    sessions: AtomicI32,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shared")
    }
}

/// SQL over everything. Clones share it.
#[derive(Debug, Clone)]
pub struct Engine {
    shared: Arc<Shared>,
}

impl Engine {
    /// An engine over the log, the registry and the tables of one node.
    pub fn new(settings: Settings, deps: Deps) -> Self {
        let planner = planner(&settings, &deps);
        let shared = Shared {
            admission: Arc::new(Semaphore::new(settings.concurrency.max(1))),
            chunks: TailChunks::new(settings.tail_bytes),
            planner,
            sessions: AtomicI32::new(0),
            settings,
            deps,
        };
        Self { shared: Arc::new(shared) }
    }

    /// A session with default settings.
    pub fn session(&self, settings: SessionSettings) -> Session {
        let number = self.shared.sessions.fetch_add(1, Ordering::Relaxed) & i32::MAX;
        Session::new(Arc::clone(&self.shared), settings, number.max(1))
    }

    /// Names of all tables as SQL takes them: those of the default namespace alone, others with their schema.
    pub fn table_names(&self) -> Result<Vec<String>, SqlError> {
        Ok(all_idents(&self.shared)?.iter().map(|ident| shown_name(&self.shared, ident)).collect())
    }

    /// Bytes of decoded log that are kept for the next statements.
    pub fn tail_bytes(&self) -> usize {
        self.shared.chunks.bytes()
    }
}

/// A table's name without the default namespace.
pub(crate) fn shown_name(shared: &Shared, ident: &TableIdent) -> String {
    if shared.deps.tables.ident(&ident.name) == *ident {
        ident.name.clone()
    } else {
        format!("{}.{}", ident.namespace.join("."), ident.name)
    }
}

fn planner(settings: &Settings, deps: &Deps) -> SessionState {
    let pool = FairSpillPool::new(usize::try_from(settings.memory_bytes).unwrap_or(usize::MAX));
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(pool))
        .build_arc()
        .expect("nothing but the temporary directory is configured, and that is made on first use");
    if let Ok(url) = WAREHOUSE_URL.parse() {
        runtime.register_object_store(&url, deps.tables.objects().store());
    }
    let mut config = SessionConfig::new()
        .with_target_partitions(settings.target_partitions.max(1))
        .with_information_schema(false)
        .with_create_default_catalog_and_schema(false);
    let options = config.options_mut();
    options.sql_parser.dialect = Dialect::PostgreSQL;
    options.sql_parser.map_string_types_to_utf8view = false;
    SessionStateBuilder::new().with_config(config).with_runtime_env(runtime).with_default_features().build()
}
