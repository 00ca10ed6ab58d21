//! The disk seam: every byte of log, control state and tables passes here.
//!
//! Owns: the operations on files and directories that a real disk and a simulated one both have.
//! Does not own: what is written.
//! Invariants: nothing is durable before `sync_data` (file contents and length) and `sync_dir` (names) returned;
//! an error of either is never retried by callers.

use std::fmt::Debug;
use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// How to open a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenMode {
    /// Existing file, reading only.
    Read,
    /// Existing file.
    ReadWrite,
    /// Made when missing.
    Create,
    /// Must not exist.
    CreateNew,
}

/// One name in a directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    pub name: String,
    pub is_dir: bool,
    /// Bytes; 0 for a directory.
    pub len: u64,
    /// When the contents last changed, in milliseconds since 1970; 0 where nobody knows.
    pub modified_ms: i64,
}

/// A disk. Blocking; paths are absolute.
pub trait Disk: Send + Sync + Debug {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>>;
    /// Makes a directory and its missing parents, and syncs the directories that got a new name.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Makes directories of these names in `parent`, which is made when it is missing, and syncs it: once, where the disk
    /// can. A name that is a directory already stays what it is.
    fn create_dirs(&self, parent: &Path, names: &[String]) -> io::Result<()> {
        names.iter().try_for_each(|name| self.create_dir_all(&parent.join(name)))
    }
    /// Sorted by name.
    fn read_dir(&self, path: &Path) -> io::Result<Vec<Entry>>;
    fn exists(&self, path: &Path) -> bool;
    /// Replaces `to` when it exists. Not durable before both directories are synced.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    fn remove_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a directory durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Bytes that may still be written below `path`.
    fn free_bytes(&self, path: &Path) -> io::Result<u64>;
}

/// An open file. Positional, so that clones can be used at once.
#[expect(clippy::len_without_is_empty, reason = "nobody asks: files are empty only when they are new")]
pub trait DiskFile: Send + Sync + Debug {
    /// Reads up to `buf.len()` bytes; fewer only at the end of the file.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize>;
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Writes the slices one after the other from `offset`.
    fn write_vectored_at(&self, offset: u64, slices: &[IoSlice<'_>]) -> io::Result<()> {
        let mut at = offset;
        for slice in slices {
            self.write_at(at, slice)?;
            at += slice.len() as u64;
        }
        Ok(())
    }
    /// Makes the file `len` bytes long, with room on the disk for each of them: writing there later needs no free
    /// space.
    fn allocate(&self, len: u64) -> io::Result<()>;
    /// Makes contents and length durable.
    fn sync_data(&self) -> io::Result<()>;
    fn len(&self) -> io::Result<u64>;
    fn set_len(&self, len: u64) -> io::Result<()>;
}

/// A disk that is handed around.
pub type SharedDisk = Arc<dyn Disk>;

/// Reads exactly `len` bytes at `offset`.
pub fn read_exact_at(file: &dyn DiskFile, offset: u64, len: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; len];
    let got = file.read_at(offset, &mut bytes)?;
    if got < len {
        return Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            format!("{got} of {len} bytes at {offset}"),
        ));
    }
    Ok(bytes)
}

/// Reads a whole file.
pub fn read_file(disk: &dyn Disk, path: &Path) -> io::Result<Vec<u8>> {
    let file = disk.open(path, OpenMode::Read)?;
    let len = usize::try_from(file.len()?).map_err(io::Error::other)?;
    read_exact_at(&*file, 0, len)
}

/// Replaces a file whole: a reader, or a restart, sees the old bytes or the new ones. Durable on return.
pub fn write_file_atomically(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let dir = path.parent().ok_or_else(|| io::Error::other("a file needs a directory"))?;
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    let temporary = Path::new(&temporary);
    let file = disk.open(temporary, OpenMode::Create)?;
    file.set_len(0)?;
    file.write_at(0, bytes)?;
    file.sync_data()?;
    disk.rename(temporary, path)?;
    disk.sync_dir(dir)
}

/// Makes the names from `root` down to `dir` durable: a directory that exists may have been made by a process that
/// was killed before it synced the name.
pub fn sync_names(disk: &dyn Disk, root: &Path, dir: &Path) -> io::Result<()> {
    let Ok(below) = dir.strip_prefix(root) else { return Ok(()) };
    let mut parent = root.to_owned();
    for name in below {
        disk.sync_dir(&parent)?;
        parent.push(name);
    }
    Ok(())
}

fn since_1970_ms(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX))
}

/// Makes a directory if there is none; its name is not durable yet.
fn make_dir(path: &Path) -> io::Result<()> {
    match fs::create_dir(path) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(e),
        _ => Ok(()),
    }
}

/// The disk of the machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealDisk;

#[derive(Debug)]
struct RealFile(File);

impl Disk for RealDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        options.read(true);
        match mode {
            OpenMode::Read => &mut options,
            OpenMode::ReadWrite => options.write(true),
            OpenMode::Create => options.write(true).create(true),
            OpenMode::CreateNew => options.write(true).create_new(true),
        };
        Ok(Arc::new(RealFile(options.open(path)?)))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        if path.is_dir() {
            return Ok(());
        }
        if let Some(parent) = path.parent() {
            self.create_dir_all(parent)?;
            make_dir(path)?;
            self.sync_dir(parent)?;
        }
        Ok(())
    }

    fn create_dirs(&self, parent: &Path, names: &[String]) -> io::Result<()> {
        self.create_dir_all(parent)?;
        names.iter().try_for_each(|name| make_dir(&parent.join(name)))?;
        self.sync_dir(parent)
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            // A file may vanish between the listing and the look at it.
            let Ok(meta) = entry.metadata() else { continue };
            let len = if meta.is_dir() { 0 } else { meta.len() };
            entries.push(Entry {
                name: entry.file_name().to_string_lossy().into(),
                is_dir: meta.is_dir(),
                len,
                modified_ms: meta.modified().map_or(0, since_1970_ms),
            });
        }
        entries.sort();
        Ok(entries)
    }

    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir_all(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(path)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

impl DiskFile for RealFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        while done < buf.len() {
            match self.0.read_at(&mut buf[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(done)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn write_vectored_at(&self, offset: u64, slices: &[IoSlice<'_>]) -> io::Result<()> {
        const SLICES_MAX: usize = 1024;
        let mut at = offset;
        for group in slices.chunks(SLICES_MAX) {
            let total: usize = group.iter().map(|s| s.len()).sum();
            let written = rustix::io::pwritev(&self.0, group, at)?;
            if written < total {
                // A short write is rare: finish it slice by slice.
                let mut skip = written;
                let mut position = at;
                for slice in group {
                    if skip < slice.len() {
                        self.0.write_all_at(&slice[skip..], position + skip as u64)?;
                    }
                    skip = skip.saturating_sub(slice.len());
                    position += slice.len() as u64;
                }
            }
            at += total as u64;
        }
        Ok(())
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        use rustix::io::Errno;
        match rustix::fs::fallocate(&self.0, rustix::fs::FallocateFlags::empty(), 0, len) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {
                const PIECE: u64 = 1 << 20;
                let zeros = vec![0; PIECE.min(len) as usize];
                (0..len).step_by(PIECE as usize).try_for_each(|at| {
                    let size = PIECE.min(len - at) as usize;
                    self.write_at(at, &zeros[..size])
                })
            }
            other => Ok(other?),
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
}
