//! A disk in memory that forgets what was not synced.
//!
//! Owns: the difference between what a program sees and what survives a power cut, chosen by a seed: any subset of
//! the unsynced writes of each file (each possibly torn at a sector), any subset of the unsynced names of each
//! directory, in order.
//! Does not own: the programs that are tested with it.
//! Invariants: what `sync_data` and `sync_dir` covered always survives; a rename is never half done.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::disk::{Disk, DiskFile, Entry, OpenMode};

const SECTOR: usize = 512;

/// A simulated disk. Clones are the same disk.
#[derive(Debug, Clone, Default)]
pub struct SimulatedDisk(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    dirs: BTreeMap<PathBuf, Dir>,
    files: BTreeMap<u64, Contents>,
    next_file: u64,
    /// Operations that change something, so far.
    operations: u64,
    /// From this operation on everything fails.
    cut_at: Option<u64>,
    free_bytes: Option<u64>,
    syncs: u64,
    /// Syncs of files answer without doing anything.
    lying: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Node {
    File(u64),
    Dir,
}

#[derive(Debug, Default)]
struct Dir {
    now: BTreeMap<String, Node>,
    durable: BTreeMap<String, Node>,
    /// Changes since the last sync, in order.
    pending: Vec<Change>,
}

#[derive(Debug, Clone)]
enum Change {
    Add(String, Node),
    Remove(String),
    Rename(String, String),
}

#[derive(Debug, Default)]
struct Contents {
    now: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Write>,
}

#[derive(Debug)]
enum Write {
    Bytes(u64, Vec<u8>),
    Len(u64),
}

impl SimulatedDisk {
    /// An empty disk with a root directory.
    pub fn new() -> Self {
        let disk = Self::default();
        disk.0.lock().dirs.insert(PathBuf::from("/"), Dir::default());
        disk
    }

    /// Lets `operations` more changes through; everything after them fails, as when the power is gone.
    pub fn cut_power_after(&self, operations: u64) {
        let mut state = self.0.lock();
        state.cut_at = Some(state.operations + operations);
    }

    /// Changes made so far: writes, syncs, creations, renames, removals.
    pub fn operations(&self) -> u64 {
        self.0.lock().operations
    }

    /// Calls of `sync_data` so far.
    pub fn syncs(&self) -> u64 {
        self.0.lock().syncs
    }

    /// What `free_bytes` answers from now on.
    pub fn set_free_bytes(&self, bytes: u64) {
        self.0.lock().free_bytes = Some(bytes);
    }

    /// From now on `sync_data` does nothing and says it did: a planted fault that every checker must find.
    pub fn lie(&self) {
        self.0.lock().lying = true;
    }

    /// What is left after a power cut now, as a new disk that works again. The seed chooses what of the unsynced
    /// bytes and names survives.
    pub fn after_power_cut(&self, seed: u64) -> Self {
        let state = self.0.lock();
        let mut random = Random(seed ^ 0x9e37_79b9_7f4a_7c15);
        let files = state
            .files
            .iter()
            .map(|(id, contents)| {
                let kept = contents.after_power_cut(&mut random);
                (*id, Contents { now: kept.clone(), durable: kept, pending: Vec::new() })
            })
            .collect();
        let dirs = state
            .dirs
            .iter()
            .map(|(path, dir)| {
                let kept = dir.after_power_cut(&mut random);
                (path.clone(), Dir { now: kept.clone(), durable: kept, pending: Vec::new() })
            })
            .collect();
        let next = State { dirs, files, next_file: state.next_file, ..State::default() };
        let disk = Self(Arc::new(Mutex::new(next)));
        disk.0.lock().forget_unreachable();
        disk
    }
}

impl Contents {
    fn after_power_cut(&self, random: &mut Random) -> Vec<u8> {
        let mut kept = self.durable.clone();
        for write in &self.pending {
            match write {
                _ if random.below(3) == 0 => {}
                Write::Len(len) => kept.resize(*len as usize, 0),
                Write::Bytes(offset, bytes) => {
                    let torn = random.below(4) == 0;
                    for (index, sector) in bytes.chunks(SECTOR).enumerate() {
                        if !torn || random.below(2) == 0 {
                            put(&mut kept, *offset + (index * SECTOR) as u64, sector);
                        }
                    }
                }
            }
        }
        kept
    }
}

impl Dir {
    fn after_power_cut(&self, random: &mut Random) -> BTreeMap<String, Node> {
        let mut kept = self.durable.clone();
        for change in &self.pending {
            if random.below(2) == 0 {
                apply(&mut kept, change);
            }
        }
        kept
    }

    fn change(&mut self, change: Change) {
        apply(&mut self.now, &change);
        self.pending.push(change);
    }
}

fn apply(names: &mut BTreeMap<String, Node>, change: &Change) {
    match change {
        Change::Add(name, node) => {
            names.insert(name.clone(), *node);
        }
        Change::Remove(name) => {
            names.remove(name);
        }
        Change::Rename(from, to) => {
            if let Some(node) = names.remove(from) {
                names.insert(to.clone(), node);
            }
        }
    }
}

fn put(contents: &mut Vec<u8>, offset: u64, bytes: &[u8]) {
    let offset = offset as usize;
    let end = offset + bytes.len();
    if contents.len() < end {
        contents.resize(end, 0);
    }
    contents[offset..end].copy_from_slice(bytes);
}

impl State {
    fn step(&mut self) -> io::Result<()> {
        if self.cut_at.is_some_and(|at| self.operations >= at) {
            return Err(io::Error::other("the power is gone"));
        }
        self.operations += 1;
        Ok(())
    }

    fn dir_of(&mut self, path: &Path) -> io::Result<(&mut Dir, String)> {
        let parent = path.parent().ok_or_else(|| io::Error::other("the root has no name"))?;
        let name =
            path.file_name().ok_or_else(|| io::Error::other("no name"))?.to_string_lossy().into_owned();
        let dir = self.dirs.get_mut(parent).ok_or(io::ErrorKind::NotFound)?;
        Ok((dir, name))
    }

    fn node(&self, path: &Path) -> Option<Node> {
        if path == Path::new("/") {
            return Some(Node::Dir);
        }
        let name = path.file_name()?.to_string_lossy();
        self.dirs.get(path.parent()?)?.now.get(&*name).copied()
    }

    fn file(&mut self, id: u64) -> io::Result<&mut Contents> {
        self.files.get_mut(&id).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// A directory whose name did not survive takes everything below with it.
    fn forget_unreachable(&mut self) {
        loop {
            let lost: Vec<_> =
                self.dirs.keys().filter(|path| self.node(path) != Some(Node::Dir)).cloned().collect();
            if lost.is_empty() {
                return;
            }
            for path in lost {
                self.dirs.remove(&path);
            }
        }
    }
}

impl Disk for SimulatedDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.0.lock();
        let id = match (state.node(path), mode) {
            (Some(Node::Dir), _) => return Err(io::ErrorKind::IsADirectory.into()),
            (Some(Node::File(_)), OpenMode::CreateNew) => return Err(io::ErrorKind::AlreadyExists.into()),
            (Some(Node::File(id)), _) => id,
            (None, OpenMode::Read | OpenMode::ReadWrite) => return Err(io::ErrorKind::NotFound.into()),
            (None, OpenMode::Create | OpenMode::CreateNew) => {
                state.step()?;
                let id = state.next_file;
                let (dir, name) = state.dir_of(path)?;
                dir.change(Change::Add(name, Node::File(id)));
                state.next_file += 1;
                state.files.insert(id, Contents::default());
                id
            }
        };
        Ok(Arc::new(SimulatedFile { disk: self.clone(), id }))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        if self.0.lock().node(path) == Some(Node::Dir) {
            return Ok(());
        }
        let Some(parent) = path.parent() else { return Ok(()) };
        self.create_dir_all(parent)?;
        let mut state = self.0.lock();
        state.step()?;
        let (dir, name) = state.dir_of(path)?;
        if !dir.now.contains_key(&name) {
            dir.change(Change::Add(name, Node::Dir));
            state.dirs.insert(path.to_owned(), Dir::default());
        }
        drop(state);
        self.sync_dir(parent)
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<Entry>> {
        let state = self.0.lock();
        let dir = state.dirs.get(path).ok_or(io::ErrorKind::NotFound)?;
        let entry = |(name, node): (&String, &Node)| {
            let len = match node {
                Node::File(id) => state.files.get(id).map_or(0, |f| f.now.len() as u64),
                Node::Dir => 0,
            };
            Entry { name: name.clone(), is_dir: *node == Node::Dir, len }
        };
        Ok(dir.now.iter().map(entry).collect())
    }

    fn exists(&self, path: &Path) -> bool {
        self.0.lock().node(path).is_some()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        if from.parent() != to.parent() {
            return Err(io::Error::other("the simulated disk renames within a directory only"));
        }
        if state.node(from).is_none() {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.step()?;
        let to_name =
            to.file_name().ok_or_else(|| io::Error::other("no name"))?.to_string_lossy().into_owned();
        let (dir, from_name) = state.dir_of(from)?;
        dir.change(Change::Rename(from_name, to_name));
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        if !matches!(state.node(path), Some(Node::File(_))) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.step()?;
        let (dir, name) = state.dir_of(path)?;
        dir.change(Change::Remove(name));
        Ok(())
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        if state.node(path) != Some(Node::Dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.step()?;
        let (dir, name) = state.dir_of(path)?;
        dir.change(Change::Remove(name));
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        state.step()?;
        let dir = state.dirs.get_mut(path).ok_or(io::ErrorKind::NotFound)?;
        dir.durable = dir.now.clone();
        dir.pending.clear();
        Ok(())
    }

    fn free_bytes(&self, _path: &Path) -> io::Result<u64> {
        Ok(self.0.lock().free_bytes.unwrap_or(1 << 40))
    }
}

#[derive(Debug)]
struct SimulatedFile {
    disk: SimulatedDisk,
    id: u64,
}

impl DiskFile for SimulatedFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let mut state = self.disk.0.lock();
        let contents = &state.file(self.id)?.now;
        let start = usize::try_from(offset).map_err(io::Error::other)?.min(contents.len());
        let len = buf.len().min(contents.len() - start);
        buf[..len].copy_from_slice(&contents[start..start + len]);
        Ok(len)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.disk.0.lock();
        state.step()?;
        let file = state.file(self.id)?;
        put(&mut file.now, offset, bytes);
        file.pending.push(Write::Bytes(offset, bytes.to_vec()));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.disk.0.lock();
        state.step()?;
        state.syncs += 1;
        if state.lying {
            return Ok(());
        }
        let file = state.file(self.id)?;
        // Applying what is pending is cheaper than copying a large file whole.
        for write in std::mem::take(&mut file.pending) {
            match write {
                Write::Bytes(offset, bytes) => put(&mut file.durable, offset, &bytes),
                Write::Len(len) => file.durable.resize(len as usize, 0),
            }
        }
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.0.lock().file(self.id)?.now.len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.disk.0.lock();
        state.step()?;
        let file = state.file(self.id)?;
        file.now.resize(usize::try_from(len).map_err(io::Error::other)?, 0);
        file.pending.push(Write::Len(len));
        Ok(())
    }
}

/// A small generator (SplitMix64), so that a seed is all a failure needs to be seen again.
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{SharedDisk, read_file, write_file_atomically};

    #[test]
    fn synced_survives_and_unsynced_may_not() {
        let (mut lost, mut kept) = (0, 0);
        for seed in 0..100 {
            let disk = SimulatedDisk::new();
            disk.create_dir_all(Path::new("/d")).expect("dir");
            let file = disk.open(Path::new("/d/f"), OpenMode::Create).expect("open");
            file.write_at(0, b"synced").expect("write");
            file.sync_data().expect("sync");
            disk.sync_dir(Path::new("/d")).expect("sync dir");
            file.write_at(6, b" unsynced").expect("write");
            let bytes = read_file(&disk.after_power_cut(seed), Path::new("/d/f")).expect("there");
            assert!(bytes.starts_with(b"synced"), "seed {seed}");
            if bytes == b"synced unsynced" { kept += 1 } else { lost += 1 }
        }
        assert!(lost > 10 && kept > 10, "{lost} lost, {kept} kept");
    }

    #[test]
    fn an_atomic_write_is_old_or_new_at_every_cut() {
        for seed in 0..300 {
            let disk = SimulatedDisk::new();
            let path = Path::new("/f");
            write_file_atomically(&disk, path, b"old").expect("old");
            disk.cut_power_after(seed % 7);
            let done = write_file_atomically(&disk, path, b"newer").is_ok();
            let bytes = read_file(&disk.after_power_cut(seed), path).expect("there");
            assert!(bytes == b"newer" || (!done && bytes == b"old"), "seed {seed}: {bytes:?}");
        }
    }

    #[test]
    fn the_control_store_survives_every_cut() {
        use crate::control::{Control, ControlError};
        use crate::layout::TOPICS;
        for seed in 0..200 {
            let disk = SimulatedDisk::new();
            disk.cut_power_after(seed * 2);
            let shared: SharedDisk = Arc::new(disk.clone());
            let mut acknowledged = 0;
            if let Ok(control) = Control::open(&shared, Path::new("/control.redb")) {
                for n in 0..8_u32 {
                    let done = control.transact::<_, ControlError>(|tx| tx.put_json(TOPICS, "n", &n));
                    if done.is_err() {
                        break;
                    }
                    acknowledged = n;
                }
            }
            let after: SharedDisk = Arc::new(disk.after_power_cut(seed));
            let control = Control::open(&after, Path::new("/control.redb")).expect("opens after a cut");
            let found = control.get_json::<u32>(TOPICS, "n").expect("reads").unwrap_or(0);
            assert!(found >= acknowledged, "seed {seed}: {found} < {acknowledged}");
        }
    }
}
