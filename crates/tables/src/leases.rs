//! Files that somebody is about to commit.
//!
//! Owns: the list of locations that this process has written, or is writing, and whose commit has no outcome yet.
//! Does not own: deleting files (`maintenance/orphans` asks here first).
//! Invariants: a location is leased before its bytes are written; it stays leased until its commit was made, certainly
//! failed or was given up; after an unknown outcome it stays leased as long as this process lives.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

/// All leases of a catalog. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Leases(Arc<Mutex<HashSet<String>>>);

impl Leases {
    pub(crate) fn lease(&self) -> Lease {
        Lease { leases: self.clone(), held: Mutex::default(), for_good: AtomicBool::new(false) }
    }

    /// The leased locations below `prefix`.
    pub(crate) fn below(&self, prefix: &str) -> HashSet<String> {
        self.0.lock().iter().filter(|location| location.starts_with(prefix)).cloned().collect()
    }
}

/// The files of one commit; they are free when it is dropped.
#[derive(Debug)]
pub(crate) struct Lease {
    leases: Leases,
    held: Mutex<Vec<String>>,
    for_good: AtomicBool,
}

impl Lease {
    pub(crate) fn add(&self, location: &str) {
        self.leases.0.lock().insert(location.to_owned());
        self.held.lock().push(location.to_owned());
    }

    /// The outcome is unknown: nothing is free before this process ends.
    pub(crate) fn keep(&self) {
        self.for_good.store(true, Ordering::Relaxed);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.for_good.load(Ordering::Relaxed) {
            return;
        }
        let mut leased = self.leases.0.lock();
        for location in self.held.get_mut() {
            leased.remove(location);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_outcome_keeps_its_files() {
        let leases = Leases::default();
        let (done, unknown) = (leases.lease(), leases.lease());
        done.add("w/t/a");
        unknown.add("w/t/b");
        unknown.keep();
        assert_eq!(leases.below("w/t/").len(), 2);
        assert!(leases.below("w/u/").is_empty());
        drop((done, unknown));
        assert_eq!(leases.below("w/t/"), HashSet::from(["w/t/b".to_owned()]));
    }
}
