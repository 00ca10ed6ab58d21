//! The embedded catalog: namespaces, table pointers, one commit path.
//!
//! Owns: `CATALOG` space of the control store, metadata files, requirement checks.
//! Does not own: HTTP (gateway/http/catalog).
//! Invariants: the pointer of a table moves only from the metadata that a commit was checked against; metadata files
//! are durable before the pointer moves.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use base::{ErrorKind, Fault, SharedClock};
use iceberg::spec::TableMetadata;
use iceberg::{TableRequirement, TableUpdate};
use tokio::sync::watch;
use uuid::Uuid;

use crate::commit::{CommitError, CommitOutcome};
use crate::progress::{Advance, Progress};
use crate::scan::Scan;
use crate::settings::Settings;
use crate::writer::{StagedFiles, TableWriter, WriteError};

/// Name of a table: namespace levels and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableIdent {
    pub namespace: Vec<String>,
    pub name: String,
}

/// A table to be created.
#[derive(Debug, Clone)]
pub struct NewTable {
    /// Columns without field ids; ids are given in order, nested ones after their parents' level.
    pub schema: SchemaRef,
    /// Iceberg transforms in Redpanda's words: `()` none, `(symbol)`, `(hour(redpanda.timestamp), bucket(16, id))`.
    pub partition_by: String,
    pub properties: BTreeMap<String, String>,
}

/// A snapshot, as people list it.
#[derive(Debug, Clone)]
pub struct SnapshotInfo {
    pub id: i64,
    pub parent: Option<i64>,
    pub sequence: i64,
    pub timestamp_ms: i64,
    pub operation: String,
    pub summary: HashMap<String, String>,
}

/// One version of a table: what a load returned. Cheap to clone; never changes.
#[derive(Debug, Clone)]
pub struct Table {
    pub ident: TableIdent,
    pub metadata: Arc<TableMetadata>,
    pub metadata_location: Arc<str>,
}

/// A catalog request that cannot be met.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    #[error("Namespace does not exist: {0}")]
    NoSuchNamespace(String),
    #[error("Table does not exist: {0}")]
    NoSuchTable(String),
    #[error("Table already exists: {0}")]
    TableExists(String),
    #[error("Namespace already exists: {0}")]
    NamespaceExists(String),
    #[error("{0}")]
    Invalid(String),
    #[error("cannot store or load table files")]
    Objects(#[from] storage::ObjectError),
    #[error("the catalog's store failed")]
    Control(#[from] storage::ControlError),
    #[error("table files do not parse: {0}")]
    Format(String),
}

impl Fault for CatalogError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NoSuchNamespace(_) | Self::NoSuchTable(_) => ErrorKind::NotFound,
            Self::TableExists(_) | Self::NamespaceExists(_) => ErrorKind::Conflict,
            Self::Invalid(_) => ErrorKind::Invalid,
            Self::Objects(e) => e.kind(),
            Self::Control(e) => e.kind(),
            Self::Format(_) => ErrorKind::Corrupt,
        }
    }
}

/// What tables stand on.
#[derive(Debug, Clone)]
pub struct Deps {
    pub objects: storage::Objects,
    pub control: storage::Control,
    pub clock: SharedClock,
}

/// All tables of the embedded catalog. Clones share it.
#[derive(Debug, Clone)]
pub struct Tables {}

impl Tables {
    /// Opens the catalog, making the default namespace when missing.
    pub fn open(_settings: Settings, _deps: Deps) -> Result<Self, CatalogError> {
        unimplemented!()
    }
    pub fn settings(&self) -> &Settings {
        unimplemented!()
    }
    pub fn objects(&self) -> &storage::Objects {
        unimplemented!()
    }
    /// `name` in the default namespace.
    pub fn ident(&self, _name: &str) -> TableIdent {
        unimplemented!()
    }
    pub fn namespaces(&self) -> Result<Vec<Vec<String>>, CatalogError> {
        unimplemented!()
    }
    pub fn namespace_properties(
        &self,
        _namespace: &[String],
    ) -> Result<BTreeMap<String, String>, CatalogError> {
        unimplemented!()
    }
    pub fn create_namespace(
        &self,
        _namespace: &[String],
        _properties: BTreeMap<String, String>,
    ) -> Result<(), CatalogError> {
        unimplemented!()
    }
    pub fn tables(&self, _namespace: &[String]) -> Result<Vec<TableIdent>, CatalogError> {
        unimplemented!()
    }
    pub async fn create(&self, _ident: &TableIdent, _table: NewTable) -> Result<Table, CatalogError> {
        unimplemented!()
    }
    /// The current version; metadata is cached in memory by location.
    pub async fn load(&self, _ident: &TableIdent) -> Result<Table, CatalogError> {
        unimplemented!()
    }
    /// Forgets the table; its files stay unless `purge`.
    pub async fn drop(&self, _ident: &TableIdent, _purge: bool) -> Result<(), CatalogError> {
        unimplemented!()
    }
    /// The one commit path: checks the requirements against the current metadata and applies the updates to it.
    /// Writes the metadata file (durable), then moves the pointer if nobody else has.
    pub async fn commit(
        &self,
        _ident: &TableIdent,
        _requirements: Vec<TableRequirement>,
        _updates: Vec<TableUpdate>,
    ) -> Result<Table, CommitError> {
        unimplemented!()
    }
    /// Changes with every commit, creation and drop.
    pub fn watch(&self) -> watch::Receiver<u64> {
        unimplemented!()
    }

    /// Begins staging rows for a table.
    pub fn writer(&self, _table: &Table) -> Result<TableWriter, WriteError> {
        unimplemented!()
    }
    /// Appends staged files and moves progress, exactly once: reload, gather facts, `commit::decide`, conditional
    /// write; any reply that is not a definite rejection is looked up again. `staged` may be empty (offsets only).
    /// `summary` adds properties to the snapshot (counts of dead letters, dropped and skipped records).
    pub async fn append(
        &self,
        _ident: &TableIdent,
        _staged: StagedFiles,
        _advances: Vec<Advance>,
        _summary: BTreeMap<String, String>,
    ) -> Result<CommitOutcome, CommitError> {
        unimplemented!()
    }
    /// Adds columns (optional ones, at the end) so that `schema` fits; refuses anything else by name.
    pub async fn evolve(&self, _ident: &TableIdent, _schema: &SchemaRef) -> Result<Table, CommitError> {
        unimplemented!()
    }
    /// Accepts the table's present state as the truth after `RolledBack` or `Diverged`: writes `progress` as property and carrier.
    pub async fn accept_progress(
        &self,
        _ident: &TableIdent,
        _progress: Progress,
    ) -> Result<Table, CommitError> {
        unimplemented!()
    }
}

impl Table {
    pub fn uuid(&self) -> Uuid {
        self.metadata.uuid()
    }
    /// The current columns as Arrow, with `PARQUET:field_id` metadata.
    pub fn arrow_schema(&self) -> Result<SchemaRef, CatalogError> {
        unimplemented!()
    }
    pub fn current_snapshot_id(&self) -> Option<i64> {
        self.metadata.current_snapshot_id()
    }
    /// Oldest first.
    pub fn snapshots(&self) -> Vec<SnapshotInfo> {
        unimplemented!()
    }
    /// Progress as the commit would judge it (nearest carrier on main, property when the chain has expired); the error
    /// says that the table is rolled back, and how.
    pub fn progress(&self) -> Result<Progress, CommitError> {
        unimplemented!()
    }
    /// Rows in the current snapshot, from its summary.
    pub fn total_records(&self) -> u64 {
        unimplemented!()
    }
}

impl Tables {
    /// Files of a snapshot (current when none).
    pub async fn scan(&self, _table: &Table, _snapshot_id: Option<i64>) -> Result<Scan, CatalogError> {
        unimplemented!()
    }
}
