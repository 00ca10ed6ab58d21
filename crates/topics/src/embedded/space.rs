//! The guard of free space.
//!
//! Owns: when appends are refused because the disk fills up, so that tables can still catch up; when the reserve of
//! the data directory is set aside again.
//! Does not own: freeing space, giving the reserve up (storage does).

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use storage::{DataDirectory, Reserve, SharedDisk};

use crate::error::AppendError;

/// The disk is asked once per so many appended bytes.
const CHECK_EVERY_BYTES: i64 = 4 << 20;

#[derive(Debug)]
pub(crate) struct SpaceGuard {
    disk: SharedDisk,
    path: PathBuf,
    /// Free bytes below which appends are refused.
    reserve_bytes: u64,
    /// Bytes that are set aside for the next start.
    recovery_bytes: u64,
    set_aside: Arc<Reserve>,
    free: AtomicU64,
    until_check: AtomicI64,
}

impl SpaceGuard {
    pub(crate) fn new(directory: &DataDirectory, reserve_bytes: u64, recovery_bytes: u64) -> Self {
        Self {
            disk: Arc::clone(directory.disk()),
            path: directory.path().to_owned(),
            reserve_bytes,
            recovery_bytes,
            set_aside: Arc::clone(directory.reserve()),
            free: AtomicU64::new(u64::MAX),
            until_check: AtomicI64::new(0),
        }
    }

    /// Whether appends are refused at present.
    pub(crate) fn is_short(&self) -> bool {
        self.would_be_short(0)
    }

    /// Whether appends would be refused after so many bytes were written.
    pub(crate) fn would_be_short(&self, bytes: u64) -> bool {
        self.disk.free_bytes(&self.path).is_ok_and(|free| free.saturating_sub(bytes) <= self.reserve_bytes)
    }

    /// Whether `size` more bytes may be appended. `waiting` tells the bytes that are admitted but not written yet: the
    /// disk will hold them twice, in the write-ahead log and in a segment.
    pub(crate) fn admit(&self, size: usize, waiting: impl FnOnce() -> u64) -> Result<(), AppendError> {
        let due = self.until_check.fetch_sub(size as i64, Ordering::Relaxed) <= size as i64;
        if due || self.set_aside.is_given_up() {
            self.look(waiting());
        }
        match self.free.load(Ordering::Relaxed) {
            free if free <= self.reserve_bytes => {
                Err(AppendError::DiskFull { free, reserve: self.reserve_bytes })
            }
            _ => Ok(()),
        }
    }

    fn look(&self, waiting: u64) {
        // A disk that cannot tell its free space is not full; a write will say more.
        let free = self.disk.free_bytes(&self.path).unwrap_or(u64::MAX);
        let free = free.saturating_sub(waiting.saturating_mul(2));
        self.free.store(free, Ordering::Relaxed);
        let refused = free <= self.reserve_bytes;
        self.until_check.store(if refused { 0 } else { CHECK_EVERY_BYTES }, Ordering::Relaxed);
    }

    /// Looks at the disk although nothing is appended, and sets the reserve aside when there is none and room for it.
    pub(crate) fn refresh(&self, waiting: u64) {
        self.look(waiting);
        // Not at once when space comes back: appends would only be refused again.
        match self.set_aside.keep(self.recovery_bytes, self.reserve_bytes.saturating_mul(2)) {
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "cannot set disk space aside"),
        }
    }

    /// Why appends are refused.
    pub(crate) fn alarm(&self) -> Option<String> {
        let free = self.free.load(Ordering::Relaxed);
        let reserve = self.reserve_bytes;
        (free <= reserve).then(|| AppendError::DiskFull { free, reserve }.to_string())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use storage::simulated::SimulatedDisk;

    use super::*;

    #[test]
    fn what_waits_for_the_disk_counts_twice() {
        let disk = SimulatedDisk::new();
        let directory =
            DataDirectory::open_simulated(Arc::new(disk.clone()), Path::new("/d")).expect("directory");
        disk.set_free_bytes(2_000);
        let guard = || SpaceGuard::new(&directory, 1_000, 0);
        assert!(guard().admit(10, || 0).is_ok());
        assert!(guard().admit(10, || 499).is_ok());
        let full = guard();
        assert!(matches!(full.admit(10, || 500), Err(AppendError::DiskFull { free: 1_000, .. })));
        assert!(full.alarm().is_some_and(|text| text.contains("disk is full")));
        full.refresh(0);
        assert_eq!(full.alarm(), None);
    }
}
