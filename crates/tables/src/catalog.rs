//! The embedded catalog: namespaces, table pointers, one commit path.
//!
//! Owns: `CATALOG` space of the control store, metadata files, requirement checks.
//! Does not own: HTTP (gateway/http/catalog).
//! Invariants: the pointer of a table moves only from the metadata that a commit was checked against; metadata files
//! are durable before the pointer moves.

mod conditional;
mod courtesy;
mod guests;
mod loaded;
mod locations;
mod metadata_files;
mod names;
mod namespaces;
mod once;
mod pointers;
mod protection;
mod requests;
pub mod rest;
mod uploads;
mod views;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use arrow::datatypes::SchemaRef;
use base::{ErrorKind, Fault, SharedClock};
use iceberg::spec::{ManifestFile, TableMetadata};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::cache::Cache;
use crate::leases::{Lease, Leases};
use crate::maintenance::Marks;
use crate::manifests::LiveEntry;
use crate::settings::Settings;
use crate::turns::{Turn, Turns};
use courtesy::Courtesy;
use metadata_files::MetadataCache;

pub use guests::TableChange;
pub use namespaces::NamespaceChange;
pub use once::{Noted, Once};
pub use views::{View, ViewChange};

/// Name of a table: namespace levels and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TableIdent {
    pub namespace: Vec<String>,
    pub name: String,
}

impl fmt::Display for TableIdent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.namespace.join("."), self.name)
    }
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
    #[error("Namespace is not empty: {0}")]
    NamespaceNotEmpty(String),
    #[error("View does not exist: {0}")]
    NoSuchView(String),
    #[error("View already exists: {0}")]
    ViewExists(String),
    /// A table and a view cannot have the same name; what there is, and the name.
    #[error("{0} with same name already exists: {1}")]
    NameTaken(&'static str, String),
    #[error("Cannot rename {0} to {1}. {2} already exists")]
    RenameTaken(String, String, &'static str),
    #[error("{0}")]
    Invalid(String),
    /// A request that contradicts itself.
    #[error("{0}")]
    Unprocessable(String),
    /// Possible, but not for a guest of the catalog.
    #[error("{0}")]
    Forbidden(String),
    /// The request was carried out before: what came of it is noted.
    #[error("this request was carried out before")]
    Replayed,
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
            Self::NoSuchNamespace(_) | Self::NoSuchTable(_) | Self::NoSuchView(_) => ErrorKind::NotFound,
            Self::TableExists(_)
            | Self::NamespaceExists(_)
            | Self::NamespaceNotEmpty(_)
            | Self::ViewExists(_)
            | Self::NameTaken(..)
            | Self::RenameTaken(..)
            | Self::Replayed => ErrorKind::Conflict,
            Self::Invalid(_) | Self::Unprocessable(_) | Self::Forbidden(_) => ErrorKind::Invalid,
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
pub struct Tables(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    settings: Settings,
    deps: Deps,
    metadata: MetadataCache,
    manifests: Cache<LiveEntry>,
    lists: Cache<ManifestFile>,
    leases: Leases,
    turns: Turns,
    marks: Marks,
    courtesy: Courtesy,
    /// When notes of finished requests were last looked through, milliseconds since 1970.
    notes_pruned_ms: AtomicI64,
    changes: watch::Sender<u64>,
    #[cfg(any(test, feature = "sabotage"))]
    faults: crate::failpoints::Faults,
}

impl Tables {
    /// Opens the catalog, making the default namespace when missing.
    pub fn open(settings: Settings, deps: Deps) -> Result<Self, CatalogError> {
        let tables = Self(Arc::new(Inner {
            metadata: MetadataCache::new(settings.metadata_cache_max),
            manifests: Cache::new(settings.manifest_cache_files_max),
            lists: Cache::new(settings.list_cache_manifests_max),
            leases: Leases::default(),
            turns: Turns::default(),
            marks: Marks::default(),
            courtesy: Courtesy::default(),
            notes_pruned_ms: AtomicI64::new(0),
            settings,
            deps,
            changes: watch::Sender::new(0),
            #[cfg(any(test, feature = "sabotage"))]
            faults: Default::default(),
        }));
        let namespace = vec![tables.settings().default_namespace.clone()];
        match tables.create_namespace(&namespace, BTreeMap::new()) {
            Ok(()) | Err(CatalogError::NamespaceExists(_)) => Ok(tables),
            Err(e) => Err(e),
        }
    }

    #[cfg(any(test, feature = "sabotage"))]
    pub(crate) fn planned_faults(&self) -> &crate::failpoints::Faults {
        &self.0.faults
    }

    /// Limits and defaults.
    pub fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// Where the tables' files lie.
    pub fn objects(&self) -> &storage::Objects {
        &self.0.deps.objects
    }

    /// `name` in the default namespace.
    pub fn ident(&self, name: &str) -> TableIdent {
        TableIdent { namespace: vec![self.settings().default_namespace.clone()], name: name.to_owned() }
    }

    /// Changes with every commit, creation and drop.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    pub(crate) fn now_ms(&self) -> i64 {
        self.0.deps.clock.now_ms()
    }

    pub(crate) fn manifest_cache(&self) -> &Cache<LiveEntry> {
        &self.0.manifests
    }

    pub(crate) fn list_cache(&self) -> &Cache<ManifestFile> {
        &self.0.lists
    }

    /// Waits until an attempt to commit to a table meets no other one of this process.
    pub(crate) async fn turn(&self, ident: &TableIdent) -> Turn {
        self.0.turns.next(ident).await
    }

    pub(crate) fn lease(&self) -> Lease {
        self.0.leases.lease()
    }

    pub(crate) fn leases(&self) -> &Leases {
        &self.0.leases
    }

    pub(crate) fn marks(&self) -> &Marks {
        &self.0.marks
    }

    fn changed(&self) {
        self.0.changes.send_modify(|version| *version += 1);
    }

    /// Runs a write of the control store where it may block.
    async fn transact<T: Send + 'static, E>(
        &self,
        work: impl FnOnce(&mut storage::ControlTx) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        E: From<storage::ControlError> + From<CatalogError> + Send + 'static,
    {
        let control = self.0.deps.control.clone();
        let done = tokio::task::spawn_blocking(move || control.transact(work)).await;
        done.unwrap_or_else(|e| {
            let source = std::io::Error::other(e);
            Err(storage::ControlError::Open { path: "catalog".into(), source }.into())
        })
    }
}

#[cfg(test)]
#[path = "catalog/tests.rs"]
mod tests;

#[cfg(test)]
#[path = "catalog/guest_tests.rs"]
mod guest_tests;
