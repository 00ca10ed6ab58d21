//! What a simulated disk holds, and what a power cut leaves of it.
//!
//! Owns: files and names as the program sees them, as they are durable, and what lies between; changes as values.
//! Does not own: locks, faults, paths that callers pass wrongly.
//! Invariants: a change that was applied to the same state gives the same state, so a history can be replayed.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;

const SECTOR: usize = 512;

/// One change, as it is carried out and as it is kept in a history.
#[derive(Debug, Clone)]
pub(super) enum Change {
    Create {
        path: PathBuf,
        id: u64,
    },
    MakeDir(PathBuf),
    Rename(PathBuf, PathBuf),
    /// A file, or a directory with everything in it.
    Remove(PathBuf),
    SyncDir(PathBuf),
    Write {
        id: u64,
        offset: u64,
        bytes: Bytes,
    },
    SetLen {
        id: u64,
        len: u64,
    },
    Sync(u64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Node {
    File(u64),
    Dir,
}

#[derive(Debug, Clone)]
enum Name {
    Add(String, Node),
    Remove(String),
    Rename(String, String),
}

#[derive(Debug, Clone)]
enum Write {
    Bytes(u64, Bytes),
    Len(u64),
}

#[derive(Debug, Clone, Default)]
pub(super) struct Dir {
    pub(super) now: BTreeMap<String, Node>,
    durable: BTreeMap<String, Node>,
    /// Since the last sync, in order.
    pending: Vec<Name>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Contents {
    pub(super) now: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Write>,
}

/// Directories by path, files by number.
#[derive(Debug, Clone, Default)]
pub(super) struct State {
    pub(super) dirs: BTreeMap<PathBuf, Dir>,
    files: BTreeMap<u64, Contents>,
    next_file: u64,
}

/// Parent directory and name of a path.
pub(super) fn split(path: &Path) -> io::Result<(&Path, String)> {
    let parent = path.parent().ok_or_else(|| io::Error::other("the root has no name"))?;
    let name = path.file_name().ok_or_else(|| io::Error::other("no name"))?;
    Ok((parent, name.to_string_lossy().into_owned()))
}

impl State {
    /// A root directory and nothing else.
    pub(super) fn empty() -> Self {
        let mut state = Self::default();
        state.dirs.insert(PathBuf::from("/"), Dir::default());
        state
    }

    pub(super) fn node(&self, path: &Path) -> Option<Node> {
        if path == Path::new("/") {
            return Some(Node::Dir);
        }
        let name = path.file_name()?.to_string_lossy();
        self.dirs.get(path.parent()?)?.now.get(&*name).copied()
    }

    pub(super) fn file(&self, id: u64) -> io::Result<&Contents> {
        self.files.get(&id).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn file_mut(&mut self, id: u64) -> io::Result<&mut Contents> {
        self.files.get_mut(&id).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn dir_mut(&mut self, path: &Path) -> io::Result<&mut Dir> {
        self.dirs.get_mut(path).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Number of the next file that is made.
    pub(super) fn next_file(&self) -> u64 {
        self.next_file
    }

    /// Bytes of all files that have a name.
    pub(super) fn used_bytes(&self) -> u64 {
        let nodes = self.dirs.values().flat_map(|dir| dir.now.values());
        let sizes = nodes.filter_map(|node| match node {
            Node::File(id) => self.files.get(id).map(|f| f.now.len() as u64),
            Node::Dir => None,
        });
        sizes.sum()
    }

    /// Bytes that a change adds.
    pub(super) fn growth(&self, change: &Change) -> u64 {
        let (id, end) = match change {
            Change::Write { id, offset, bytes } => (id, offset + bytes.len() as u64),
            Change::SetLen { id, len } => (id, *len),
            _ => return 0,
        };
        end.saturating_sub(self.files.get(id).map_or(0, |f| f.now.len() as u64))
    }

    pub(super) fn apply(&mut self, change: &Change) -> io::Result<()> {
        match change {
            Change::Create { path, id } => {
                let (parent, name) = split(path)?;
                self.dir_mut(parent)?.change(Name::Add(name, Node::File(*id)));
                self.files.insert(*id, Contents::default());
                self.next_file = self.next_file.max(id + 1);
            }
            Change::MakeDir(path) => {
                let (parent, name) = split(path)?;
                let dir = self.dir_mut(parent)?;
                if !dir.now.contains_key(&name) {
                    dir.change(Name::Add(name, Node::Dir));
                    self.dirs.insert(path.clone(), Dir::default());
                }
            }
            Change::Rename(from, to) => {
                let ((parent, from), (_, to)) = (split(from)?, split(to)?);
                self.dir_mut(parent)?.change(Name::Rename(from, to));
            }
            Change::Remove(path) => {
                let (parent, name) = split(path)?;
                self.dir_mut(parent)?.change(Name::Remove(name));
            }
            Change::SyncDir(path) => self.dir_mut(path)?.sync(),
            Change::Write { id, offset, bytes } => {
                let file = self.file_mut(*id)?;
                put(&mut file.now, *offset, bytes);
                file.pending.push(Write::Bytes(*offset, bytes.clone()));
            }
            Change::SetLen { id, len } => {
                let file = self.file_mut(*id)?;
                file.now.resize(usize::try_from(*len).map_err(io::Error::other)?, 0);
                file.pending.push(Write::Len(*len));
            }
            Change::Sync(id) => self.file_mut(*id)?.sync(),
        }
        Ok(())
    }

    /// What is left after a power cut; everything that is left is durable.
    pub(super) fn after_power_cut(&self, random: &mut Random) -> Self {
        // The two ends of what can happen, and mostly something in between.
        let mood = match random.below(8) {
            0 => Mood::AllLost,
            1 => Mood::AllKept,
            _ => Mood::Any,
        };
        let file = |(id, contents): (&u64, &Contents)| (*id, contents.after_power_cut(mood, random));
        let files = self.files.iter().map(file).collect();
        let dirs =
            self.dirs.iter().map(|(path, dir)| (path.clone(), dir.after_power_cut(mood, random))).collect();
        let mut left = Self { dirs, files, next_file: self.next_file };
        left.forget_unreachable();
        left
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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    AllLost,
    AllKept,
    Any,
}

impl Contents {
    fn sync(&mut self) {
        // Applying what is pending is cheaper than copying a large file whole.
        for write in std::mem::take(&mut self.pending) {
            match write {
                Write::Bytes(offset, bytes) => put(&mut self.durable, offset, &bytes),
                Write::Len(len) => self.durable.resize(len as usize, 0),
            }
        }
    }

    fn after_power_cut(&self, mood: Mood, random: &mut Random) -> Self {
        let mut kept = self.durable.clone();
        for write in &self.pending {
            if mood == Mood::AllLost || (mood == Mood::Any && random.below(3) == 0) {
                continue;
            }
            match write {
                Write::Len(len) => kept.resize(*len as usize, 0),
                Write::Bytes(offset, bytes) => match random.below(8) {
                    _ if mood == Mood::AllKept => put(&mut kept, *offset, bytes),
                    // Some of its sectors, in no order.
                    0 | 1 => {
                        for (index, sector) in bytes.chunks(SECTOR).enumerate() {
                            if random.below(2) == 0 {
                                put(&mut kept, *offset + (index * SECTOR) as u64, sector);
                            }
                        }
                    }
                    // Any of its bytes from one place to another.
                    2 => {
                        let (a, b) = (random.index(bytes.len()), random.index(bytes.len()));
                        let from = a.min(b);
                        put(&mut kept, *offset + from as u64, &bytes[from..a.max(b)]);
                    }
                    _ => put(&mut kept, *offset, bytes),
                },
            }
        }
        Self { now: kept.clone(), durable: kept, pending: Vec::new() }
    }
}

impl Dir {
    fn change(&mut self, change: Name) {
        apply(&mut self.now, &change);
        self.pending.push(change);
    }

    fn sync(&mut self) {
        self.durable = self.now.clone();
        self.pending.clear();
    }

    fn after_power_cut(&self, mood: Mood, random: &mut Random) -> Self {
        let mut kept = self.durable.clone();
        for change in &self.pending {
            if mood == Mood::AllKept || (mood == Mood::Any && random.below(2) == 0) {
                apply(&mut kept, change);
            }
        }
        Self { now: kept.clone(), durable: kept, pending: Vec::new() }
    }
}

fn apply(names: &mut BTreeMap<String, Node>, change: &Name) {
    match change {
        Name::Add(name, node) => {
            names.insert(name.clone(), *node);
        }
        Name::Remove(name) => {
            names.remove(name);
        }
        Name::Rename(from, to) => {
            if let Some(node) = names.remove(from) {
                names.insert(to.clone(), node);
            }
        }
    }
}

fn put(contents: &mut Vec<u8>, offset: u64, bytes: &[u8]) {
    if bytes.is_empty() {
        return;
    }
    let offset = offset as usize;
    let end = offset + bytes.len();
    if contents.len() < end {
        contents.resize(end, 0);
    }
    contents[offset..end].copy_from_slice(bytes);
}

/// A small generator (SplitMix64), so that a seed is all a failure needs to be seen again.
#[derive(Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed ^ 0x9e37_79b9_7f4a_7c15)
    }

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

    fn index(&mut self, len: usize) -> usize {
        self.below(len as u64 + 1) as usize
    }
}
