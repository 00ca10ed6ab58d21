//! The guard of free space.
//!
//! Owns: when appends are refused because the disk fills up, so that tables can still catch up.
//! Does not own: freeing space.

use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use storage::SharedDisk;

use crate::error::AppendError;

/// The disk is asked once per so many appended bytes.
const CHECK_EVERY_BYTES: i64 = 4 << 20;

#[derive(Debug)]
pub(crate) struct SpaceGuard {
    disk: SharedDisk,
    path: PathBuf,
    reserve: u64,
    free: AtomicU64,
    until_check: AtomicI64,
}

impl SpaceGuard {
    pub(crate) fn new(disk: SharedDisk, path: PathBuf, reserve: u64) -> Self {
        Self { disk, path, reserve, free: AtomicU64::new(u64::MAX), until_check: AtomicI64::new(0) }
    }

    /// Whether appends are refused at present.
    pub(crate) fn is_short(&self) -> bool {
        self.would_be_short(0)
    }

    /// Whether appends would be refused after so many bytes were written.
    pub(crate) fn would_be_short(&self, bytes: u64) -> bool {
        self.disk.free_bytes(&self.path).is_ok_and(|free| free.saturating_sub(bytes) <= self.reserve)
    }

    /// Whether `size` more bytes may be appended. `waiting` tells the bytes that are admitted but not written yet: the
    /// disk will hold them twice, in the write-ahead log and in a segment.
    pub(crate) fn admit(&self, size: usize, waiting: impl FnOnce() -> u64) -> Result<(), AppendError> {
        if self.until_check.fetch_sub(size as i64, Ordering::Relaxed) <= size as i64 {
            // A disk that cannot tell its free space is not full; a write will say more.
            let free = self
                .disk
                .free_bytes(&self.path)
                .unwrap_or(u64::MAX)
                .saturating_sub(waiting().saturating_mul(2));
            self.free.store(free, Ordering::Relaxed);
            let refused = free <= self.reserve;
            self.until_check.store(if refused { 0 } else { CHECK_EVERY_BYTES }, Ordering::Relaxed);
        }
        match self.free.load(Ordering::Relaxed) {
            free if free <= self.reserve => Err(AppendError::DiskFull { free, reserve: self.reserve }),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use storage::simulated::SimulatedDisk;

    use super::*;

    #[test]
    fn what_waits_for_the_disk_counts_twice() {
        let disk = SimulatedDisk::new();
        disk.set_free_bytes(2_000);
        let guard = || SpaceGuard::new(Arc::new(disk.clone()), "/".into(), 1_000);
        assert!(guard().admit(10, || 0).is_ok());
        assert!(guard().admit(10, || 499).is_ok());
        assert!(matches!(guard().admit(10, || 500), Err(AppendError::DiskFull { free: 1_000, .. })));
    }
}
