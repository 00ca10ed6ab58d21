//! An object store on a local disk that means it: a finished put survives a power cut.
//!
//! Owns: `object_store::ObjectStore` over the disk seam, confined to one root. (The library's own local store syncs
//! neither files nor directories.)
//! Does not own: locations.
//! Invariants: an object appears by rename after its bytes are synced, and its directory is synced before the put
//! returns; temporary names begin with `.tmp-` and are never listed.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::io;
use std::ops::Range;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::DateTime;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt};
use object_store::path::Path;
use object_store::{
    Attributes, CopyMode, CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult,
    MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions,
    PutPayload, PutResult, Result, UploadPart,
};
use parking_lot::Mutex;
use uuid::Uuid;

use crate::disk::{DiskFile, OpenMode, SharedDisk, read_exact_at, sync_names};

const STORE: &str = "local";
const TEMPORARY: &str = ".tmp-";
const KNOWN_MAX: usize = 10_000;

/// Files below one directory as objects. A path is the file's absolute path without its first slash.
#[derive(Debug, Clone)]
pub(super) struct LocalStore {
    disk: SharedDisk,
    root: PathBuf,
    /// Directories that were seen to be durable by this process, bounded by [`KNOWN_MAX`].
    known: Arc<Mutex<HashSet<PathBuf>>>,
}

impl LocalStore {
    pub(super) fn new(disk: SharedDisk, root: PathBuf) -> Self {
        Self { disk, root, known: Arc::default() }
    }

    fn file_path(&self, location: &Path) -> Result<PathBuf> {
        let path = FilePath::new("/").join(location.as_ref());
        if path.starts_with(&self.root) && location.parts().all(|p| p.as_ref() != "..") {
            return Ok(path);
        }
        let reason = format!("outside of {}", self.root.display());
        Err(Error::PermissionDenied { path: location.to_string(), source: reason.into() })
    }

    /// Makes `dir`, with a durable name.
    fn make_dir(&self, dir: &FilePath) -> io::Result<()> {
        self.disk.create_dir_all(dir)?;
        if self.known.lock().contains(dir) {
            return Ok(());
        }
        let above = self.root.parent().unwrap_or(&self.root);
        sync_names(&*self.disk, above, dir)?;
        let mut known = self.known.lock();
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        known.insert(dir.to_owned());
        Ok(())
    }

    /// Makes `bytes` the durable contents of `path`.
    fn publish(&self, path: &FilePath, payload: &PutPayload, mode: &PutMode) -> io::Result<()> {
        let dir = path.parent().ok_or_else(|| io::Error::other("an object needs a directory"))?;
        if matches!(mode, PutMode::Create) && self.disk.exists(path) {
            return Err(io::Error::from(io::ErrorKind::AlreadyExists));
        }
        self.make_dir(dir)?;
        let temporary = dir.join(format!("{TEMPORARY}{}", Uuid::new_v4()));
        let file = self.disk.open(&temporary, OpenMode::CreateNew)?;
        let slices: Vec<_> = payload.iter().map(|bytes| io::IoSlice::new(bytes)).collect();
        file.write_vectored_at(0, &slices)?;
        appear(&self.disk, &*file, &temporary, path)
    }

    /// Syncs files that another program has written, and their names; the error says which one failed.
    pub(super) async fn sync(&self, paths: Vec<Path>) -> std::result::Result<(), (usize, Error)> {
        let files: Vec<PathBuf> = paths
            .iter()
            .enumerate()
            .map(|(at, path)| self.file_path(path).map_err(|e| (at, e)))
            .collect::<std::result::Result<_, _>>()?;
        let store = self.clone();
        let synced = tokio::task::spawn_blocking(move || {
            let mut directories = BTreeMap::new();
            for (at, file) in files.iter().enumerate() {
                let synced = store.disk.open(file, OpenMode::Read).and_then(|open| open.sync_data());
                synced.map_err(|e| (at, failed(file, e)))?;
                directories.extend(file.parent().map(|dir| (dir.to_owned(), at)));
            }
            for (dir, at) in directories {
                store
                    .make_dir(&dir)
                    .and_then(|()| store.disk.sync_dir(&dir))
                    .map_err(|e| (at, failed(&dir, e)))?;
            }
            Ok(())
        });
        synced.await.unwrap_or_else(|source| Err((0, Error::Generic { store: STORE, source: source.into() })))
    }

    /// Makes a directory with a durable name.
    pub(super) async fn directory(&self, path: &Path) -> Result<()> {
        let dir = self.file_path(path)?;
        let store = self.clone();
        self.blocking(move |_| store.make_dir(&dir).map_err(|e| failed(&dir, e))).await
    }

    /// Removes temporary files below `prefix` that were last written before `before_ms`; returns how many.
    pub(super) async fn sweep(&self, prefix: &Path, before_ms: i64) -> Result<usize> {
        let dir = self.file_path(prefix)?;
        self.blocking(move |disk| {
            let mut old = Vec::new();
            leftovers(disk, &dir, before_ms, &mut old).map_err(|e| failed(&dir, e))?;
            for path in &old {
                disk.remove_file(path).map_err(|e| failed(path, e))?;
            }
            Ok(old.len())
        })
        .await
    }

    /// A new file in `dir` that is no object yet.
    async fn temporary(&self, dir: PathBuf) -> Result<(Arc<dyn DiskFile>, PathBuf)> {
        let store = self.clone();
        self.blocking(move |disk| {
            let path = dir.join(format!("{TEMPORARY}{}", Uuid::new_v4()));
            let file = store.make_dir(&dir).and_then(|()| disk.open(&path, OpenMode::CreateNew));
            file.map(|file| (file, path)).map_err(|e| failed(&dir, e))
        })
        .await
    }

    /// Runs blocking work off the async threads.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&SharedDisk) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let disk = Arc::clone(&self.disk);
        tokio::task::spawn_blocking(move || work(&disk))
            .await
            .map_err(|source| Error::Generic { store: STORE, source: source.into() })?
    }
}

impl fmt::Display for LocalStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "local({})", self.root.display())
    }
}

fn failed(path: &FilePath, error: io::Error) -> Error {
    let path = path.display().to_string();
    match error.kind() {
        io::ErrorKind::NotFound => Error::NotFound { path, source: error.into() },
        io::ErrorKind::AlreadyExists => Error::AlreadyExists { path, source: error.into() },
        _ => Error::Generic { store: STORE, source: format!("{path}: {error}").into() },
    }
}

fn meta_of(location: Path, size: u64) -> ObjectMeta {
    // Objects never change once they are there, so a fixed time and the name identify the contents. Only a listing
    // tells when they came.
    ObjectMeta { location, last_modified: DateTime::UNIX_EPOCH, size, e_tag: None, version: None }
}

fn walk(disk: &SharedDisk, dir: &FilePath, found: &mut Vec<ObjectMeta>) -> io::Result<()> {
    let entries = match disk.read_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    for entry in entries {
        let path = dir.join(&entry.name);
        if entry.is_dir {
            walk(disk, &path, found)?;
        } else if !entry.name.starts_with(TEMPORARY)
            && let Ok(location) = Path::parse(path.to_string_lossy())
        {
            let last_modified = DateTime::from_timestamp_millis(entry.modified_ms).unwrap_or_default();
            found.push(ObjectMeta { last_modified, ..meta_of(location, entry.len) });
        }
    }
    Ok(())
}

fn leftovers(disk: &SharedDisk, dir: &FilePath, before_ms: i64, found: &mut Vec<PathBuf>) -> io::Result<()> {
    let entries = match disk.read_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    for entry in entries {
        let path = dir.join(&entry.name);
        if entry.is_dir {
            leftovers(disk, &path, before_ms, found)?;
        } else if entry.name.starts_with(TEMPORARY) && entry.modified_ms < before_ms {
            found.push(path);
        }
    }
    Ok(())
}

#[async_trait]
impl ObjectStore for LocalStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        if matches!(opts.mode, PutMode::Update(_)) {
            return Err(Error::NotImplemented {
                operation: "conditional update".into(),
                implementer: self.to_string(),
            });
        }
        let path = self.file_path(location)?;
        let store = self.clone();
        self.blocking(move |_| store.publish(&path, &payload, &opts.mode).map_err(|e| failed(&path, e)))
            .await?;
        Ok(PutResult { e_tag: None, version: None })
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        _opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let path = self.file_path(location)?;
        let (file, temporary) =
            self.temporary(path.parent().map(FilePath::to_owned).unwrap_or_default()).await?;
        Ok(Box::new(Upload { store: self.clone(), file, temporary, path, end: Mutex::new(0) }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let path = self.file_path(location)?;
        let name = location.clone();
        self.blocking(move |disk| {
            let file = disk.open(&path, OpenMode::Read).map_err(|e| failed(&path, e))?;
            let size = file.len().map_err(|e| failed(&path, e))?;
            let meta = meta_of(name, size);
            options.check_preconditions(&meta)?;
            let range = match &options.range {
                Some(range) => range.as_range(size).map_err(|e| Error::Generic {
                    store: STORE,
                    source: format!("{}: {e}", path.display()).into(),
                })?,
                None => 0..size,
            };
            let bytes = if options.head { Bytes::new() } else { read_range(&*file, &range, &path)? };
            let payload = GetResultPayload::Stream(stream::once(async move { Ok(bytes) }).boxed());
            Ok(GetResult { payload, meta, range, attributes: Attributes::default() })
        })
        .await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let path = self.file_path(location)?;
        let ranges = ranges.to_vec();
        self.blocking(move |disk| {
            let file = disk.open(&path, OpenMode::Read).map_err(|e| failed(&path, e))?;
            ranges.iter().map(|range| read_range(&*file, range, &path)).collect()
        })
        .await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        locations
            .then(move |location| {
                let store = store.clone();
                async move {
                    let location = location?;
                    let path = store.file_path(&location)?;
                    store.blocking(move |disk| disk.remove_file(&path).map_err(|e| failed(&path, e))).await?;
                    Ok(location)
                }
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let store = self.clone();
        let dir = prefix.map_or_else(|| Ok(self.root.clone()), |p| self.file_path(p));
        async move {
            let dir = dir?;
            let found = store
                .blocking(move |disk| {
                    let mut found = Vec::new();
                    walk(disk, &dir, &mut found).map_err(|e| failed(&dir, e))?;
                    Ok(found)
                })
                .await?;
            Ok::<_, Error>(stream::iter(found.into_iter().map(Ok)))
        }
        .into_stream()
        .map(|outcome| match outcome {
            Ok(found) => found.boxed(),
            Err(e) => stream::once(async move { Err(e) }).boxed(),
        })
        .flatten()
        .boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let dir = prefix.map_or_else(|| Ok(self.root.clone()), |p| self.file_path(p))?;
        self.blocking(move |disk| {
            let mut result = ListResult { common_prefixes: Vec::new(), objects: Vec::new() };
            let entries = match disk.read_dir(&dir) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(result),
                other => other.map_err(|e| failed(&dir, e))?,
            };
            for entry in entries.into_iter().filter(|e| !e.name.starts_with(TEMPORARY)) {
                let Ok(location) = Path::parse(dir.join(&entry.name).to_string_lossy()) else { continue };
                if entry.is_dir {
                    result.common_prefixes.push(location);
                } else {
                    result.objects.push(meta_of(location, entry.len));
                }
            }
            Ok(result)
        })
        .await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let bytes = self.get(from).await?.bytes().await?;
        let mode = match options.mode {
            CopyMode::Create => PutMode::Create,
            CopyMode::Overwrite => PutMode::Overwrite,
        };
        self.put_opts(to, bytes.into(), PutOptions { mode, ..PutOptions::default() }).await?;
        Ok(())
    }
}

fn read_range(file: &dyn DiskFile, range: &Range<u64>, path: &FilePath) -> Result<Bytes> {
    let len = usize::try_from(range.end.saturating_sub(range.start))
        .map_err(|e| failed(path, io::Error::other(e)))?;
    read_exact_at(file, range.start, len).map(Bytes::from).map_err(|e| failed(path, e))
}

/// An object in the making whose name comes last. Parts are written while the caller makes the next one.
#[derive(Debug)]
pub(super) struct Growing {
    store: LocalStore,
    file: Arc<dyn DiskFile>,
    temporary: PathBuf,
    end: u64,
    writing: Option<tokio::task::JoinHandle<io::Result<()>>>,
}

impl LocalStore {
    /// Begins an object in a directory.
    pub(super) async fn grow(&self, directory: &Path) -> Result<Growing> {
        let (file, temporary) = self.temporary(self.file_path(directory)?).await?;
        Ok(Growing { store: self.clone(), file, temporary, end: 0, writing: None })
    }
}

impl Growing {
    /// Waits until the part before is written, and begins to write this one.
    pub(super) async fn append(&mut self, bytes: Bytes) -> Result<()> {
        self.settle().await?;
        let (file, offset) = (Arc::clone(&self.file), self.end);
        self.end += bytes.len() as u64;
        self.writing = Some(tokio::task::spawn_blocking(move || file.write_at(offset, &bytes)));
        Ok(())
    }

    /// Gives the object its name, in the directory that it was begun in; durable on return.
    pub(super) async fn finish(mut self, location: &Path) -> Result<()> {
        self.settle().await?;
        let path = self.store.file_path(location)?;
        let Self { store, file, temporary, .. } = self;
        store
            .blocking(move |disk| {
                if disk.exists(&path) {
                    return Err(failed(&path, io::ErrorKind::AlreadyExists.into()));
                }
                appear(disk, &*file, &temporary, &path).map_err(|e| failed(&path, e))
            })
            .await
    }

    async fn settle(&mut self) -> Result<()> {
        let Some(writing) = self.writing.take() else { return Ok(()) };
        let written =
            writing.await.map_err(|source| Error::Generic { store: STORE, source: source.into() })?;
        written.map_err(|e| failed(&self.temporary, e))
    }
}

/// Makes a written file the durable contents of `path`.
fn appear(disk: &SharedDisk, file: &dyn DiskFile, temporary: &FilePath, path: &FilePath) -> io::Result<()> {
    file.sync_data()?;
    disk.rename(temporary, path)?;
    disk.sync_dir(path.parent().unwrap_or(FilePath::new("/")))
}

/// An object that arrives in parts; it exists once `complete` returned.
#[derive(Debug)]
struct Upload {
    store: LocalStore,
    file: Arc<dyn DiskFile>,
    temporary: PathBuf,
    path: PathBuf,
    end: Mutex<u64>,
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let offset = {
            let mut end = self.end.lock();
            let offset = *end;
            *end += data.content_length() as u64;
            offset
        };
        let (store, file, path) = (self.store.clone(), Arc::clone(&self.file), self.path.clone());
        async move {
            store
                .blocking(move |_| {
                    let slices: Vec<_> = data.iter().map(|bytes| io::IoSlice::new(bytes)).collect();
                    file.write_vectored_at(offset, &slices).map_err(|e| failed(&path, e))
                })
                .await
        }
        .boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let (file, temporary, path) = (Arc::clone(&self.file), self.temporary.clone(), self.path.clone());
        self.store
            .blocking(move |disk| appear(disk, &*file, &temporary, &path).map_err(|e| failed(&path, e)))
            .await?;
        Ok(PutResult { e_tag: None, version: None })
    }

    async fn abort(&mut self) -> Result<()> {
        let temporary = self.temporary.clone();
        self.store.blocking(move |disk| disk.remove_file(&temporary).map_err(|e| failed(&temporary, e))).await
    }
}
