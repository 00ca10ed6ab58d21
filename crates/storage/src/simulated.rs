//! A disk in memory that forgets what was not synced, fills up, and fails on demand.
//!
//! Owns: the difference between what a program sees and what survives a power cut, chosen by a seed: any subset of
//! the unsynced writes of each file (each possibly torn), any subset of the unsynced names of each directory, in
//! order; histories, from which the disk of any moment can be made; its size; planted faults.
//! Does not own: the programs that are tested with it.
//! Invariants: what `sync_data` and `sync_dir` covered always survives; a rename is never half done.

mod state;

use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::disk::{Disk, DiskFile, Entry, OpenMode};
use state::{Change, Node, Random, State, split};

/// A simulated disk. Clones are the same disk.
#[derive(Debug, Clone, Default)]
pub struct SimulatedDisk(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    state: State,
    /// Changes so far.
    operations: u64,
    /// Calls so far, of which some only look.
    calls: u64,
    /// From this change on everything fails.
    cut_at: Option<u64>,
    fault: Option<Fault>,
    /// Bytes of files that there is room for.
    capacity: Option<u64>,
    /// What `free_bytes` answers whatever is there.
    free_bytes: Option<u64>,
    syncs: u64,
    /// Syncs of files answer without doing anything.
    lying: bool,
    history: Option<History>,
}

/// A call that fails.
#[derive(Debug, Clone, Copy)]
struct Fault {
    at: u64,
    kind: io::ErrorKind,
    /// Everything after it fails too.
    stays: bool,
}

/// The changes of a disk since [`SimulatedDisk::record`].
#[derive(Debug, Clone)]
pub struct History {
    state: State,
    changes: Vec<Change>,
    /// How many of them `state` has.
    at: usize,
}

impl History {
    /// Number of changes.
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// Whether nothing was changed.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Goes on to the moment after `changes` changes; there is no way back.
    pub fn advance_to(&mut self, changes: usize) {
        while self.at < changes.min(self.changes.len()) {
            // It was carried out once on the same state.
            let _ = self.state.apply(&self.changes[self.at]);
            self.at += 1;
        }
    }

    /// What is left of this moment's disk after a power cut, as a disk that works.
    pub fn after_power_cut(&self, seed: u64) -> SimulatedDisk {
        SimulatedDisk::holding(self.state.after_power_cut(&mut Random::new(seed)))
    }
}

impl SimulatedDisk {
    /// An empty disk with a root directory.
    pub fn new() -> Self {
        Self::holding(State::empty())
    }

    fn holding(state: State) -> Self {
        Self(Arc::new(Mutex::new(Inner { state, ..Inner::default() })))
    }

    /// Lets `operations` more changes through; everything after them fails, as when the power is gone.
    pub fn cut_power_after(&self, operations: u64) {
        let mut inner = self.0.lock();
        inner.cut_at = Some(inner.operations + operations);
    }

    /// Lets `calls` more calls through, then one fails with `kind`; with `stays` all after it do, too.
    pub fn fail_after(&self, calls: u64, kind: io::ErrorKind, stays: bool) {
        let mut inner = self.0.lock();
        inner.fault = Some(Fault { at: inner.calls + calls, kind, stays });
    }

    /// Whether the planted fault was met.
    pub fn has_failed(&self) -> bool {
        let inner = self.0.lock();
        inner.fault.is_some_and(|fault| inner.calls > fault.at)
    }

    /// Changes made so far: writes, syncs, creations, renames, removals.
    pub fn operations(&self) -> u64 {
        self.0.lock().operations
    }

    /// Calls so far, changes and looks.
    pub fn calls(&self) -> u64 {
        self.0.lock().calls
    }

    /// Calls of `sync_data` so far.
    pub fn syncs(&self) -> u64 {
        self.0.lock().syncs
    }

    /// What `free_bytes` answers from now on.
    pub fn set_free_bytes(&self, bytes: u64) {
        self.0.lock().free_bytes = Some(bytes);
    }

    /// Leaves room for so many bytes more than there are now; what grows a file beyond it fails.
    pub fn leave_room_for(&self, bytes: u64) {
        let mut inner = self.0.lock();
        inner.capacity = Some(inner.state.used_bytes() + bytes);
    }

    /// From now on `sync_data` does nothing and says it did: a planted fault that every checker must find.
    pub fn lie(&self) {
        self.0.lock().lying = true;
    }

    /// Keeps every change from now on.
    pub fn record(&self) {
        let mut inner = self.0.lock();
        inner.history = Some(History { state: inner.state.clone(), changes: Vec::new(), at: 0 });
    }

    /// Changes that were kept so far.
    pub fn recorded(&self) -> usize {
        self.0.lock().history.as_ref().map_or(0, History::len)
    }

    /// The history since [`SimulatedDisk::record`], which ends it; empty when none was kept.
    pub fn history(&self) -> History {
        let mut inner = self.0.lock();
        let none = History { state: inner.state.clone(), changes: Vec::new(), at: 0 };
        inner.history.take().unwrap_or(none)
    }

    /// What is left after a power cut now, as a new disk that works again. The seed chooses what of the unsynced
    /// bytes and names survives.
    pub fn after_power_cut(&self, seed: u64) -> Self {
        Self::holding(self.0.lock().state.after_power_cut(&mut Random::new(seed)))
    }

    /// The disk as the next process finds it after a kill: nothing is lost, and what was not synced still is not.
    pub fn after_kill(&self) -> Self {
        Self::holding(self.0.lock().state.clone())
    }
}

impl Inner {
    fn call(&mut self) -> io::Result<()> {
        self.calls += 1;
        let now = self.calls;
        match self.fault {
            Some(f) if now == f.at + 1 || (f.stays && now > f.at) => {
                Err(io::Error::new(f.kind, "a planted fault"))
            }
            _ => Ok(()),
        }
    }

    fn look(&mut self) -> io::Result<&State> {
        self.call()?;
        Ok(&self.state)
    }

    fn change(&mut self, change: Change) -> io::Result<()> {
        self.call()?;
        if self.cut_at.is_some_and(|at| self.operations >= at) {
            return Err(io::Error::other("the power is gone"));
        }
        let growth = self.state.growth(&change);
        if growth > 0
            && let Some(capacity) = self.capacity
            && self.state.used_bytes().saturating_add(growth) > capacity
        {
            return Err(io::Error::new(io::ErrorKind::StorageFull, "the simulated disk is full"));
        }
        self.operations += 1;
        if matches!(change, Change::Sync(_)) {
            self.syncs += 1;
            if self.lying {
                return Ok(());
            }
        }
        self.state.apply(&change)?;
        if let Some(history) = &mut self.history {
            history.changes.push(change);
        }
        Ok(())
    }
}

impl Disk for SimulatedDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let mut inner = self.0.lock();
        let id = match (inner.state.node(path), mode) {
            (Some(Node::Dir), _) => return Err(io::ErrorKind::IsADirectory.into()),
            (Some(Node::File(_)), OpenMode::CreateNew) => return Err(io::ErrorKind::AlreadyExists.into()),
            (Some(Node::File(id)), _) => {
                inner.call()?;
                id
            }
            (None, OpenMode::Read | OpenMode::ReadWrite) => return Err(io::ErrorKind::NotFound.into()),
            (None, OpenMode::Create | OpenMode::CreateNew) => {
                let (parent, _) = split(path)?;
                if inner.state.node(parent) != Some(Node::Dir) {
                    return Err(io::ErrorKind::NotFound.into());
                }
                let id = inner.state.next_file();
                inner.change(Change::Create { path: path.to_owned(), id })?;
                id
            }
        };
        Ok(Arc::new(SimulatedFile { disk: self.clone(), id }))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        if self.0.lock().state.node(path) == Some(Node::Dir) {
            return Ok(());
        }
        let Some(parent) = path.parent() else { return Ok(()) };
        self.create_dir_all(parent)?;
        self.0.lock().change(Change::MakeDir(path.to_owned()))?;
        self.sync_dir(parent)
    }

    fn create_dirs(&self, parent: &Path, names: &[String]) -> io::Result<()> {
        self.create_dir_all(parent)?;
        for path in names.iter().map(|name| parent.join(name)) {
            let mut inner = self.0.lock();
            if inner.state.node(&path) != Some(Node::Dir) {
                inner.change(Change::MakeDir(path))?;
            }
        }
        self.sync_dir(parent)
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<Entry>> {
        let mut inner = self.0.lock();
        let state = inner.look()?;
        let dir = state.dirs.get(path).ok_or(io::ErrorKind::NotFound)?;
        let entry = |(name, node): (&String, &Node)| {
            let len = match node {
                Node::File(id) => state.file(*id).map_or(0, |f| f.now.len() as u64),
                Node::Dir => 0,
            };
            Entry { name: name.clone(), is_dir: *node == Node::Dir, len, modified_ms: 0 }
        };
        Ok(dir.now.iter().map(entry).collect())
    }

    fn exists(&self, path: &Path) -> bool {
        self.0.lock().state.node(path).is_some()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut inner = self.0.lock();
        if from.parent() != to.parent() {
            return Err(io::Error::other("the simulated disk renames within a directory only"));
        }
        if inner.state.node(from).is_none() {
            return Err(io::ErrorKind::NotFound.into());
        }
        inner.change(Change::Rename(from.to_owned(), to.to_owned()))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut inner = self.0.lock();
        if !matches!(inner.state.node(path), Some(Node::File(_))) {
            return Err(io::ErrorKind::NotFound.into());
        }
        inner.change(Change::Remove(path.to_owned()))
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut inner = self.0.lock();
        if inner.state.node(path) != Some(Node::Dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        inner.change(Change::Remove(path.to_owned()))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.0.lock().change(Change::SyncDir(path.to_owned()))
    }

    fn free_bytes(&self, _path: &Path) -> io::Result<u64> {
        let inner = self.0.lock();
        let left = inner.capacity.map(|capacity| capacity.saturating_sub(inner.state.used_bytes()));
        Ok(inner.free_bytes.or(left).unwrap_or(1 << 40))
    }
}

#[derive(Debug)]
struct SimulatedFile {
    disk: SimulatedDisk,
    id: u64,
}

impl DiskFile for SimulatedFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let mut inner = self.disk.0.lock();
        let contents = &inner.look()?.file(self.id)?.now;
        let start = usize::try_from(offset).map_err(io::Error::other)?.min(contents.len());
        let len = buf.len().min(contents.len() - start);
        buf[..len].copy_from_slice(&contents[start..start + len]);
        Ok(len)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let bytes = Bytes::copy_from_slice(bytes);
        self.disk.0.lock().change(Change::Write { id: self.id, offset, bytes })
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.0.lock().change(Change::Sync(self.id))
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.0.lock().look()?.file(self.id)?.now.len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk.0.lock().change(Change::SetLen { id: self.id, len })
    }
}

#[cfg(test)]
#[path = "simulated/tests.rs"]
mod tests;
