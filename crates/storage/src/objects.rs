//! Objects: the files of tables, on a local disk or in an object store.
//!
//! Owns: the mapping between locations (`file:///…`, what table metadata names) and objects, and the confinement of
//! locations to the warehouse.
//! Does not own: what the objects hold; how a local disk keeps them ([`local`]).
//! Invariants: an object is durable, name and contents, when its put returns; a put never shows half an object.

mod local;

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;

use base::{ErrorKind, Fault};
use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions};

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

impl ObjectError {
    fn of(location: &str, source: object_store::Error) -> Self {
        let location = location.to_owned();
        match source {
            object_store::Error::NotFound { .. } => Self::NotFound { location },
            object_store::Error::AlreadyExists { .. } => Self::Exists { location },
            source => Self::Store { location, source },
        }
    }
}

/// One object of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    pub location: String,
    /// Bytes.
    pub size: u64,
    /// When it came, in milliseconds since 1970 by the store's clock; 0 where nobody knows.
    pub modified_ms: i64,
}

const SCHEME: &str = "file://";
/// Files that are synced in one go.
const SYNCED_AT_ONCE: usize = 1_000;

/// A location in the form that everything here has. Java's programs write `file:/x` where it says `file:///x`.
pub fn canonical(location: &str) -> Cow<'_, str> {
    match location.strip_prefix("file:/") {
        Some(path) if !path.starts_with('/') => Cow::Owned(format!("{SCHEME}/{path}")),
        _ => Cow::Borrowed(location),
    }
}

/// The objects below one root. Clones share it. Locations are absolute URIs, as Iceberg metadata names them.
#[derive(Debug, Clone)]
pub struct Objects {
    root: Arc<str>,
    store: Arc<dyn ObjectStore>,
    local: local::LocalStore,
}

impl Objects {
    /// Objects as files below the absolute directory `root`; locations are `file://<root>/…`.
    pub fn local(disk: SharedDisk, root: PathBuf) -> Self {
        let uri = format!("{SCHEME}{}", root.display());
        let local = local::LocalStore::new(disk, root);
        Self { root: uri.into(), store: Arc::new(local.clone()), local }
    }

    /// Location of the root, without a slash at the end: `file:///data/warehouse`.
    pub fn root(&self) -> &str {
        &self.root
    }

    /// The store for libraries that want one; its paths are what [`Objects::path`] returns. It refuses paths
    /// outside the root too.
    pub fn store(&self) -> Arc<dyn ObjectStore> {
        Arc::clone(&self.store)
    }

    /// Path in [`Objects::store`] of a location: the absolute path without its first slash. Refuses locations
    /// outside the root, `.` and `..`.
    pub fn path(&self, location: &str) -> Result<Path, ObjectError> {
        let outside = || ObjectError::Outside { location: location.to_owned(), root: self.root.to_string() };
        let location = canonical(location);
        let below = location.strip_prefix(&*self.root).ok_or_else(outside)?;
        if !below.is_empty() && !below.starts_with('/') {
            return Err(outside());
        }
        let absolute = location.strip_prefix(SCHEME).ok_or_else(outside)?;
        Path::parse(absolute).map_err(|_| outside())
    }

    /// Writes a new object; durable on return; `Exists` when it is there already.
    pub async fn put_new(&self, location: &str, bytes: Bytes) -> Result<(), ObjectError> {
        let path = self.path(location)?;
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        self.store.put_opts(&path, bytes.into(), options).await.map_err(|e| ObjectError::of(location, e))?;
        Ok(())
    }

    /// Begins an object in `directory` (a location) that gets its name when all its bytes are there. One that is dropped
    /// before that is swept some day.
    pub async fn begin(&self, directory: &str) -> Result<Growing, ObjectError> {
        let path = self.path(directory)?;
        let inner = self.local.grow(&path).await.map_err(|e| ObjectError::of(directory, e))?;
        Ok(Growing { objects: self.clone(), inner })
    }

    /// Makes durable, names and contents, what another program has written there; `NotFound` names the first that is
    /// missing. A store that acknowledges only what is durable has nothing to do.
    pub async fn make_durable(&self, locations: &[String]) -> Result<(), ObjectError> {
        let paths = locations.iter().map(|location| Ok((location.as_str(), self.path(location)?)));
        for chunk in paths.collect::<Result<Vec<_>, ObjectError>>()?.chunks(SYNCED_AT_ONCE) {
            let of_chunk = chunk.iter().map(|(_, path)| path.clone()).collect();
            if let Err((at, error)) = self.local.sync(of_chunk).await {
                return Err(ObjectError::of(chunk.get(at).map_or(&*self.root, |(l, _)| l), error));
            }
        }
        Ok(())
    }

    /// Makes a directory, where the store has them, for programs that expect one before they write into it.
    pub async fn make_directory(&self, location: &str) -> Result<(), ObjectError> {
        let path = self.path(location)?;
        self.local.directory(&path).await.map_err(|e| ObjectError::of(location, e))
    }

    /// The bytes of an object.
    pub async fn get(&self, location: &str) -> Result<Bytes, ObjectError> {
        let path = self.path(location)?;
        let found = self.store.get(&path).await.map_err(|e| ObjectError::of(location, e))?;
        found.bytes().await.map_err(|e| ObjectError::of(location, e))
    }

    /// Size in bytes, or none when there is no such object.
    pub async fn size(&self, location: &str) -> Result<Option<u64>, ObjectError> {
        let path = self.path(location)?;
        match self.store.head(&path).await {
            Ok(meta) => Ok(Some(meta.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(e) => Err(ObjectError::of(location, e)),
        }
    }

    /// Removes what writers that were killed have left half written below `prefix` before `before_ms` (milliseconds since
    /// 1970); such files are no objects and are never listed. Returns how many there were.
    pub async fn sweep(&self, prefix: &str, before_ms: i64) -> Result<usize, ObjectError> {
        let path = self.path(prefix)?;
        self.local.sweep(&path, before_ms).await.map_err(|e| ObjectError::of(prefix, e))
    }

    /// Removes an object; a missing one is fine.
    pub async fn delete(&self, location: &str) -> Result<(), ObjectError> {
        let path = self.path(location)?;
        match self.store.delete(&path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(e) => Err(ObjectError::of(location, e)),
        }
    }

    /// Locations and sizes of the objects below `prefix` (a location), in no order.
    pub async fn list(&self, prefix: &str) -> Result<Vec<(String, u64)>, ObjectError> {
        Ok(self.list_aged(prefix).await?.into_iter().map(|object| (object.location, object.size)).collect())
    }

    /// The objects below `prefix` (a location) with the times they came, in no order.
    pub async fn list_aged(&self, prefix: &str) -> Result<Vec<Listed>, ObjectError> {
        let path = self.path(prefix)?;
        let found = self.store.list(Some(&path)).map_ok(|meta| Listed {
            location: format!("{SCHEME}/{}", meta.location),
            size: meta.size,
            modified_ms: meta.last_modified.timestamp_millis(),
        });
        found.try_collect().await.map_err(|e| ObjectError::of(prefix, e))
    }
}

/// An object in the making.
#[derive(Debug)]
pub struct Growing {
    objects: Objects,
    inner: local::Growing,
}

impl Growing {
    /// More bytes, which are written while the caller makes the next ones; errors come with the next call.
    pub async fn append(&mut self, bytes: Bytes) -> Result<(), ObjectError> {
        self.inner.append(bytes).await.map_err(|e| ObjectError::of("a new object", e))
    }

    /// Names the object: a location in the directory where it was begun. Durable on return; `Exists` when it is there
    /// already.
    pub async fn finish(self, location: &str) -> Result<(), ObjectError> {
        let path = self.objects.path(location)?;
        self.inner.finish(&path).await.map_err(|e| ObjectError::of(location, e))
    }
}

#[cfg(test)]
#[path = "objects/tests.rs"]
mod tests;
