//! Disk space that is set aside, so that a full disk stops appends and nothing else.
//!
//! Owns: the reserve file, and the disk on which a write that finds no space is tried again once the reserve is given
//! up: what was accepted before the disk was full still becomes durable, and the next start has room to work in.
//! Does not own: refusing new work when space runs out (the log's guard does), tables' files (they may not have it).
//! Invariants: a write is tried again only after "no space", never after a failed sync; the reserve is given up as a
//! whole.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::disk::{Disk, DiskFile, Entry, OpenMode, SharedDisk};

/// The reserve of a data directory.
#[derive(Debug)]
pub struct Reserve {
    disk: SharedDisk,
    path: PathBuf,
    held: AtomicBool,
    given_up: AtomicBool,
}

impl Reserve {
    /// The reserve in the file `path`, there or not.
    pub fn find(disk: SharedDisk, path: PathBuf) -> Self {
        let held = AtomicBool::new(disk.exists(&path));
        Self { disk, path, held, given_up: AtomicBool::new(false) }
    }

    /// Gives the reserve up when less than its size is free: call it before anything is written at a start.
    pub fn give_up_if_needed(&self) {
        let size = self.disk.open(&self.path, OpenMode::Read).and_then(|file| file.len()).unwrap_or(0);
        if self.free_bytes().is_ok_and(|free| free < size) {
            self.give_up();
        }
    }

    /// Gives the space back to the disk; whether there was any.
    pub fn give_up(&self) -> bool {
        if !self.held.swap(false, Ordering::SeqCst) {
            return false;
        }
        self.given_up.store(true, Ordering::SeqCst);
        match self.disk.remove_file(&self.path) {
            Ok(()) => {
                tracing::error!(
                    reserve = %self.path.display(),
                    "the disk is full: the reserve is given up so that the log can go on; free space"
                );
                true
            }
            Err(error) => {
                tracing::error!(%error, reserve = %self.path.display(), "the reserve cannot be given up");
                false
            }
        }
    }

    /// Whether it was given up and not set aside again.
    pub fn is_given_up(&self) -> bool {
        self.given_up.load(Ordering::SeqCst)
    }

    /// Free bytes around the reserve, which itself may not be there.
    fn free_bytes(&self) -> io::Result<u64> {
        self.disk.free_bytes(self.path.parent().unwrap_or(&self.path))
    }

    /// Sets `bytes` aside if there is no reserve and `beyond` bytes stay free; whether there is one now.
    pub fn keep(&self, bytes: u64, beyond: u64) -> io::Result<bool> {
        if self.held.load(Ordering::SeqCst) {
            return Ok(true);
        }
        let needed = bytes.saturating_add(beyond);
        if bytes == 0 || self.free_bytes()? < needed {
            return Ok(false);
        }
        let file = self.disk.open(&self.path, OpenMode::Create)?;
        if let Err(error) = file.allocate(bytes) {
            self.disk.remove_file(&self.path)?;
            return Err(error);
        }
        self.held.store(true, Ordering::SeqCst);
        self.given_up.store(false, Ordering::SeqCst);
        Ok(true)
    }
}

/// A disk whose writers may have the reserve.
#[derive(Debug)]
pub(crate) struct ReservedDisk {
    disk: SharedDisk,
    reserve: Arc<Reserve>,
}

#[derive(Debug)]
struct ReservedFile {
    file: Arc<dyn DiskFile>,
    reserve: Arc<Reserve>,
}

impl Reserve {
    fn attempt<T>(&self, work: impl Fn() -> io::Result<T>) -> io::Result<T> {
        match work() {
            Err(error) if is_full(&error) && self.give_up() => work(),
            outcome => outcome,
        }
    }
}

/// Whether there was no space.
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

impl ReservedDisk {
    pub(crate) fn new(disk: SharedDisk, reserve: Arc<Reserve>) -> Self {
        Self { disk, reserve }
    }
}

impl Disk for ReservedDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.reserve.attempt(|| self.disk.open(path, mode))?;
        Ok(Arc::new(ReservedFile { file, reserve: Arc::clone(&self.reserve) }))
    }
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        // It syncs what it makes: tried again, it would find the directory and trust a name whose sync failed.
        self.disk.create_dir_all(path)
    }
    fn create_dirs(&self, parent: &Path, names: &[String]) -> io::Result<()> {
        self.disk.create_dirs(parent, names)
    }
    fn read_dir(&self, path: &Path) -> io::Result<Vec<Entry>> {
        self.disk.read_dir(path)
    }
    fn exists(&self, path: &Path) -> bool {
        self.disk.exists(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.reserve.attempt(|| self.disk.rename(from, to))
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.disk.remove_file(path)
    }
    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.disk.remove_dir_all(path)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.sync_dir(path)
    }
    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        self.disk.free_bytes(path)
    }
}

impl DiskFile for ReservedFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.file.read_at(offset, buf)
    }
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.reserve.attempt(|| self.file.write_at(offset, bytes))
    }
    fn write_vectored_at(&self, offset: u64, slices: &[io::IoSlice<'_>]) -> io::Result<()> {
        self.reserve.attempt(|| self.file.write_vectored_at(offset, slices))
    }
    fn allocate(&self, len: u64) -> io::Result<()> {
        self.reserve.attempt(|| self.file.allocate(len))
    }
    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.reserve.attempt(|| self.file.set_len(len))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{RealDisk, write_file_atomically};
    use crate::simulated::SimulatedDisk;

    #[test]
    fn what_finds_no_space_gets_the_reserve_once() {
        let disk = SimulatedDisk::new();
        let reserve = Arc::new(Reserve::find(Arc::new(disk.clone()), "/reserve".into()));
        assert!(!reserve.give_up() && !reserve.is_given_up(), "there is none yet");
        assert!(reserve.keep(1_000, 0).expect("keep"));
        let reserved = ReservedDisk::new(Arc::new(disk.clone()), Arc::clone(&reserve));
        disk.leave_room_for(100);
        write_file_atomically(&reserved, Path::new("/a"), &[1; 100]).expect("there is room");
        assert!(!reserve.is_given_up());
        write_file_atomically(&reserved, Path::new("/b"), &[2; 900]).expect("the reserve makes room");
        assert!(reserve.is_given_up());
        let full = write_file_atomically(&reserved, Path::new("/c"), &[3; 900]).expect_err("no more");
        assert!(is_full(&full), "{full}");
        assert!(!reserve.keep(1_000, 0).expect("too little"), "not before there is space");
        disk.leave_room_for(5_000);
        assert!(reserve.keep(1_000, 3_000).expect("keep") && !reserve.is_given_up());
        let again = Reserve::find(Arc::new(disk.clone()), "/reserve".into());
        disk.leave_room_for(999);
        again.give_up_if_needed();
        assert!(again.is_given_up() && !disk.exists(Path::new("/reserve")));
    }

    /// The file is not there when its space is looked for.
    #[test]
    fn a_real_disk_sets_it_aside() {
        let dir = crate::directory::tests::temporary();
        let path = dir.path().join("reserve");
        let reserve = Reserve::find(Arc::new(RealDisk), path.clone());
        reserve.give_up_if_needed();
        assert!(reserve.keep(1 << 20, 0).expect("keep"));
        assert_eq!(std::fs::metadata(&path).expect("there").len(), 1 << 20);
        assert!(reserve.give_up() && !path.exists());
    }

    #[test]
    fn a_failed_sync_is_not_tried_again() {
        let disk = SimulatedDisk::new();
        let reserve = Arc::new(Reserve::find(Arc::new(disk.clone()), "/reserve".into()));
        assert!(reserve.keep(1_000, 0).expect("keep"));
        let reserved = ReservedDisk::new(Arc::new(disk.clone()), Arc::clone(&reserve));
        let file = reserved.open(Path::new("/a"), OpenMode::Create).expect("open");
        file.write_at(0, b"x").expect("write");
        disk.fail_after(0, io::ErrorKind::StorageFull, false);
        assert!(file.sync_data().is_err());
        assert!(!reserve.is_given_up());
    }
}
