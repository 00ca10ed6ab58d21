//! Objects: the files of tables, on a local disk or in an object store.
//!
//! Owns: the `object_store` implementation over the disk seam, and the mapping between locations
//! (`file:///…`, what table metadata names) and objects.
//! Does not own: what the objects hold.
//! Invariants: an object is durable, name and contents, when its put returns; a put never shows half an object.

use std::path::PathBuf;
use std::sync::Arc;

use base::{ErrorKind, Fault};
use bytes::Bytes;
use object_store::ObjectStore;

use crate::disk::SharedDisk;

/// An object could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    #[error("{location} lies outside the warehouse {root}")]
    Outside { location: String, root: String },
    #[error("{location} does not exist")]
    NotFound { location: String },
    #[error("{location} exists already")]
    Exists { location: String },
    #[error("cannot access {location}")]
    Store { location: String, source: object_store::Error },
}

impl Fault for ObjectError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Outside { .. } => ErrorKind::Invalid,
            Self::NotFound { .. } => ErrorKind::NotFound,
            Self::Exists { .. } => ErrorKind::Conflict,
            Self::Store { .. } => ErrorKind::Unavailable,
        }
    }
}

/// The objects below one root. Clones share it. Locations are absolute URIs, as Iceberg metadata names them.
#[derive(Debug, Clone)]
pub struct Objects {}

impl Objects {
    /// Objects as files below the absolute directory `root`; locations are `file://<root>/…`.
    pub fn local(_disk: SharedDisk, _root: PathBuf) -> Self {
        unimplemented!()
    }
    /// Location of the root, without a slash at the end: `file:///data/warehouse`.
    pub fn root(&self) -> &str {
        unimplemented!()
    }
    /// The store for libraries that want one; its paths are what [`Objects::path`] returns.
    pub fn store(&self) -> Arc<dyn ObjectStore> {
        unimplemented!()
    }
    /// Path in [`Objects::store`] of a location. Refuses locations outside the root and `..`.
    pub fn path(&self, _location: &str) -> Result<object_store::path::Path, ObjectError> {
        unimplemented!()
    }
    /// Writes a new object; durable on return; `Exists` when it is there already.
    pub async fn put_new(&self, _location: &str, _bytes: Bytes) -> Result<(), ObjectError> {
        unimplemented!()
    }
    pub async fn get(&self, _location: &str) -> Result<Bytes, ObjectError> {
        unimplemented!()
    }
    /// Size in bytes, or none when there is no such object.
    pub async fn size(&self, _location: &str) -> Result<Option<u64>, ObjectError> {
        unimplemented!()
    }
    /// Missing objects are fine.
    pub async fn delete(&self, _location: &str) -> Result<(), ObjectError> {
        unimplemented!()
    }
    /// Locations and sizes below `prefix` (a location).
    pub async fn list(&self, _prefix: &str) -> Result<Vec<(String, u64)>, ObjectError> {
        unimplemented!()
    }
}
