//! Open segment files.
//!
//! Owns: a bounded number of open handles, so that ten thousand partitions do not exhaust file descriptors.
//! Does not own: what is in the files.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use storage::{DiskFile, OpenMode, SharedDisk};

/// The disk, and the files of it that are open. Handles that are dropped from here stay valid for who holds them.
#[derive(Debug)]
pub(crate) struct Files {
    disk: SharedDisk,
    open_max: usize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    files: HashMap<PathBuf, (Arc<dyn DiskFile>, u64)>,
    clock: u64,
}

impl Files {
    pub(crate) fn new(disk: SharedDisk, open_max: usize) -> Self {
        Self { disk, open_max: open_max.max(1), open: Mutex::default() }
    }

    pub(crate) fn disk(&self) -> &SharedDisk {
        &self.disk
    }

    /// An existing file.
    pub(crate) fn get(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.get_as(path, OpenMode::ReadWrite)
    }

    /// A file that is made when missing.
    pub(crate) fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.get_as(path, OpenMode::Create)
    }

    fn get_as(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        {
            let mut open = self.open.lock();
            open.clock += 1;
            let now = open.clock;
            if let Some((file, used)) = open.files.get_mut(path) {
                *used = now;
                return Ok(Arc::clone(file));
            }
        }
        let file = self.disk.open(path, mode)?;
        let mut open = self.open.lock();
        if open.files.len() >= self.open_max {
            // A quarter at once, so that the search for the oldest is paid rarely.
            let mut ages: Vec<u64> = open.files.values().map(|(_, used)| *used).collect();
            ages.sort_unstable();
            let limit = ages[ages.len() / 4];
            open.files.retain(|_, (_, used)| *used > limit);
        }
        let now = open.clock;
        open.files.insert(path.to_owned(), (Arc::clone(&file), now));
        Ok(file)
    }

    /// Forgets the files below a directory that goes away.
    pub(crate) fn forget(&self, dir: &Path) {
        self.open.lock().files.retain(|path, _| !path.starts_with(dir));
    }
}
