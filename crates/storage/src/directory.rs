//! The data directory: one process at a time, one format, one identity.
//!
//! Owns: the lock, the format version, the log id, the disk with its reserve of space.
//! Does not own: what lies in the directory.
//! Invariants: two processes never hold the same directory; a directory of a newer or foreign format is refused
//! before anything in it changes.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base::{ErrorKind, Fault, LogId};
use serde::{Deserialize, Serialize};

use crate::disk::{Disk, SharedDisk, read_file, write_file_atomically};
use crate::layout;
use crate::reserve::{Reserve, ReservedDisk};

/// Version of the directory's format that this program reads and writes.
pub const FORMAT_VERSION: u32 = 1;

/// A data directory that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    #[error("{path} is in use by another process; stop it, or choose another --data-dir")]
    InUse { path: String },
    #[error(
        "{path} has format {found}, this program knows up to {FORMAT_VERSION}: use the newer frazil that wrote it"
    )]
    Newer { path: String, found: u32 },
    #[error("{path} is not empty and is no frazil data directory; choose an empty or new directory")]
    Foreign { path: String },
    #[error("{path} does not parse; restore it from a copy")]
    Damaged { path: String, source: serde_json::Error },
    #[error("cannot use the data directory {path}")]
    Io { path: String, source: io::Error },
}

impl Fault for DirectoryError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::InUse { .. } => ErrorKind::Conflict,
            Self::Newer { .. } | Self::Foreign { .. } => ErrorKind::Invalid,
            Self::Damaged { .. } => ErrorKind::Corrupt,
            Self::Io { .. } => ErrorKind::Unavailable,
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Format {
    format: u32,
    log_id: LogId,
}

/// An open data directory. Clones share the lock.
#[derive(Debug, Clone)]
pub struct DataDirectory {
    disk: SharedDisk,
    reserve: Arc<Reserve>,
    path: PathBuf,
    log_id: LogId,
    _lock: Option<Arc<File>>,
}

impl DataDirectory {
    /// Opens `path` on the machine's disk, making it when missing, and locks it.
    pub fn open(disk: SharedDisk, path: &Path) -> Result<Self, DirectoryError> {
        let fail = |source| DirectoryError::Io { path: path.display().to_string(), source };
        let path = std::path::absolute(path).map_err(fail)?;
        disk.create_dir_all(&path).map_err(fail)?;
        Self::refuse_foreign(&disk, &path)?;
        let lock = File::create(layout::lock_file(&path)).map_err(fail)?;
        match lock.try_lock() {
            Ok(()) => Self::open_unlocked(disk, path, Some(Arc::new(lock))),
            Err(TryLockError::WouldBlock) => Err(DirectoryError::InUse { path: path.display().to_string() }),
            Err(TryLockError::Error(e)) => Err(fail(e)),
        }
    }

    /// Opens `path` on a simulated disk, which no other process can see.
    pub fn open_simulated(disk: SharedDisk, path: &Path) -> Result<Self, DirectoryError> {
        disk.create_dir_all(path)
            .map_err(|source| DirectoryError::Io { path: path.display().to_string(), source })?;
        Self::open_unlocked(disk, path.to_owned(), None)
    }

    fn refuse_foreign(disk: &SharedDisk, path: &Path) -> Result<(), DirectoryError> {
        let shown = path.display().to_string();
        let entries =
            disk.read_dir(path).map_err(|source| DirectoryError::Io { path: shown.clone(), source })?;
        // A crash between the lock file and the format file leaves the lock, or a temporary format file.
        let ours = entries.iter().all(|e| e.name == "lock" || e.name.starts_with("frazil.json"));
        if disk.exists(&layout::format_file(path)) || ours {
            Ok(())
        } else {
            Err(DirectoryError::Foreign { path: shown })
        }
    }

    fn open_unlocked(
        disk: SharedDisk,
        path: PathBuf,
        lock: Option<Arc<File>>,
    ) -> Result<Self, DirectoryError> {
        let file = layout::format_file(&path);
        let fail = |source| DirectoryError::Io { path: file.display().to_string(), source };
        let reserve = Arc::new(Reserve::find(Arc::clone(&disk), layout::reserve_file(&path)));
        reserve.give_up_if_needed();
        let disk: SharedDisk = Arc::new(ReservedDisk::new(disk, Arc::clone(&reserve)));
        let format = if disk.exists(&file) {
            let bytes = read_file(&*disk, &file).map_err(fail)?;
            serde_json::from_slice::<Format>(&bytes)
                .map_err(|source| DirectoryError::Damaged { path: file.display().to_string(), source })?
        } else {
            let format = Format { format: FORMAT_VERSION, log_id: LogId::random() };
            let bytes = serde_json::to_vec_pretty(&format).map_err(|e| fail(io::Error::other(e)))?;
            write_file_atomically(&*disk, &file, &bytes).map_err(fail)?;
            // The directory itself may be as new, and an earlier start may have been killed before it synced the name.
            sync_parent(&*disk, &path).map_err(fail)?;
            format
        };
        if format.format > FORMAT_VERSION {
            return Err(DirectoryError::Newer { path: path.display().to_string(), found: format.format });
        }
        Ok(Self { disk, reserve, path, log_id: format.log_id, _lock: lock })
    }

    /// The disk for log and control store: what finds no space there gets the reserve.
    pub fn disk(&self) -> &SharedDisk {
        &self.disk
    }

    /// The space that is set aside.
    pub fn reserve(&self) -> &Arc<Reserve> {
        &self.reserve
    }

    /// Absolute.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Made with the directory, the same for ever.
    pub fn log_id(&self) -> LogId {
        self.log_id
    }
}

fn sync_parent(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    match path.parent().map_or(Ok(()), |parent| disk.sync_dir(parent)) {
        // A directory that is somebody else's was there before us.
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        outcome => outcome,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::disk::RealDisk;

    /// A directory that is removed with its guard.
    pub(crate) struct Temporary(PathBuf);

    impl Temporary {
        pub(crate) fn path(&self) -> &Path {
            &self.0
        }
    }

    impl Drop for Temporary {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    pub(crate) fn temporary() -> Temporary {
        let path = std::env::temp_dir().join(format!("frazil-storage-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir_all(&path).expect("temporary directory");
        Temporary(path)
    }

    #[test]
    fn one_process_one_identity() {
        let dir = temporary();
        let disk: SharedDisk = Arc::new(RealDisk);
        let first = DataDirectory::open(Arc::clone(&disk), dir.path()).expect("first");
        assert!(matches!(
            DataDirectory::open(Arc::clone(&disk), dir.path()),
            Err(DirectoryError::InUse { .. })
        ));
        let id = first.log_id();
        drop(first);
        assert_eq!(DataDirectory::open(disk, dir.path()).expect("again").log_id(), id);
    }

    #[test]
    fn foreign_and_newer_directories_stay_untouched() {
        let disk: SharedDisk = Arc::new(RealDisk);
        let foreign = temporary();
        std::fs::write(foreign.path().join("thesis.txt"), "x").expect("write");
        assert!(matches!(
            DataDirectory::open(Arc::clone(&disk), foreign.path()),
            Err(DirectoryError::Foreign { .. })
        ));
        assert_eq!(std::fs::read_dir(foreign.path()).expect("list").count(), 1);
        let newer = temporary();
        let text = format!(r#"{{"format": 99, "log_id": "{}"}}"#, LogId::random());
        std::fs::write(layout::format_file(newer.path()), text).expect("write");
        assert!(matches!(
            DataDirectory::open(disk, newer.path()),
            Err(DirectoryError::Newer { found: 99, .. })
        ));
    }
}
