//! The write-ahead log: records of bytes that become durable in groups.
//!
//! Owns: framing, checksums, files and their order, the torn tail.
//! Does not own: what a record means (topics writes atomic appends into it).
//! Invariants: a record is returned by recovery whole or not at all; records keep their order; the end of the log is
//! never told by a zero field alone; a file that is not the last ends with a seal.
//!
//! A frame is 32 bytes of header, little-endian, and the record: length (4), CRC-32C over everything else (4),
//! number of the file (8), position of the frame in the file (8), position up to which the file was known to be
//! durable when the frame was written (8). File and position tell old or misdirected bytes. The last field tells a
//! torn tail from damage: any part of an unsynced group may survive a power cut, so a bad frame with good ones after
//! it is legal as long as none of those was written after the bad one had been synced. A frame without a record is
//! the seal of its file. A file that is not needed any more becomes the spare that the next one is written over:
//! its old frames name another file, and overwriting spares the file system the journal commit of a growing file. For
//! the same reason a file that has no spare to overwrite grows in steps, by zeros behind the last frame.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use crate::disk::{Disk, DiskFile, OpenMode, SharedDisk, read_file};

const FRAME_BYTES: usize = 32;
const EXTENSION: &str = ".wal";
/// A file that must grow doubles, by no less and no more bytes than these.
const STEP_BYTES_MIN: u64 = 16 << 10;
const STEP_BYTES_MAX: u64 = 8 << 20;
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
/// A released file that waits to be written over.
const SPARE: &str = "spare";

/// A recovered record.
#[derive(Debug, Clone)]
pub struct WalRecord {
    /// Number of the file it lies in.
    pub file: u64,
    /// Where its frame begins in the file.
    pub position: u64,
    pub bytes: Bytes,
}

/// The write-ahead log, owned by the one thread that writes the log.
#[derive(Debug)]
pub struct Wal {
    disk: SharedDisk,
    dir: PathBuf,
    file_bytes: u64,
    number: u64,
    file: Arc<dyn DiskFile>,
    /// End of what is written.
    position: u64,
    /// End of what is durable.
    synced: u64,
    /// Length of the file: up to here, bytes are written over.
    len: u64,
    /// Frames that wait for [`Wal::write`], with their records.
    queued: Vec<([u8; FRAME_BYTES], Vec<Bytes>)>,
    queued_bytes: u64,
}

/// The write-ahead log cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum WalError {
    #[error("damaged write-ahead file {file} at byte {position}: {reason}")]
    Damaged { file: String, position: u64, reason: String },
    #[error("cannot read the write-ahead log")]
    Io(#[from] io::Error),
}

/// A write-ahead log that was found and checked, before anything in it was changed.
#[derive(Debug)]
pub struct RecoveredWal {
    disk: SharedDisk,
    dir: PathBuf,
    /// Number and valid end of every file that is still needed, in order.
    files: Vec<(u64, u64)>,
    last_is_sealed: bool,
    first: u64,
}

/// Name of a write-ahead file.
pub fn file_name(number: u64) -> String {
    format!("{number:020}{EXTENSION}")
}

/// Removes files up to and including number `upto`, or keeps one as the spare: everything in them is durable elsewhere.
pub fn release(disk: &dyn Disk, dir: &Path, upto: u64) -> io::Result<()> {
    let spare = dir.join(SPARE);
    let mut changed = false;
    for number in numbers(disk, dir)?.into_iter().filter(|n| *n <= upto) {
        let path = dir.join(file_name(number));
        if disk.exists(&spare) {
            disk.remove_file(&path)?
        } else {
            disk.rename(&path, &spare)?
        }
        changed = true;
    }
    if changed { disk.sync_dir(dir) } else { Ok(()) }
}

fn numbers(disk: &dyn Disk, dir: &Path) -> io::Result<Vec<u64>> {
    let mut found: Vec<u64> = disk
        .read_dir(dir)?
        .iter()
        .filter_map(|entry| entry.name.strip_suffix(EXTENSION)?.parse().ok())
        .collect();
    found.sort_unstable();
    Ok(found)
}

fn damaged(path: &Path, position: u64, reason: impl Into<String>) -> WalError {
    WalError::Damaged { file: path.display().to_string(), position, reason: reason.into() }
}

/// Header and checksum of a frame.
fn frame(parts: &[Bytes], file: u64, position: u64, synced: u64) -> io::Result<[u8; FRAME_BYTES]> {
    let length: usize = parts.iter().map(Bytes::len).sum();
    let length = u32::try_from(length).map_err(|_| io::Error::other("a log record exceeds 4 GiB"))?;
    let mut head = [0; FRAME_BYTES];
    head[..4].copy_from_slice(&length.to_le_bytes());
    head[8..16].copy_from_slice(&file.to_le_bytes());
    head[16..24].copy_from_slice(&position.to_le_bytes());
    head[24..].copy_from_slice(&synced.to_le_bytes());
    let mut crc = crc32c::crc32c_append(crc32c::crc32c(&head[..4]), &head[8..]);
    for part in parts {
        crc = crc32c::crc32c_append(crc, part);
    }
    head[4..8].copy_from_slice(&crc.to_le_bytes());
    Ok(head)
}

/// A frame that passed all checks.
struct Frame {
    length: usize,
    synced: u64,
}

fn number_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk::<N>().copied()
}

/// The frame at `at`, if it is whole, right, and written for this place.
fn frame_at(bytes: &[u8], at: usize, file: u64) -> Option<Frame> {
    let belongs = u64::from_le_bytes(number_at(bytes, at + 8)?) == file
        && u64::from_le_bytes(number_at(bytes, at + 16)?) == at as u64;
    if !belongs {
        return None;
    }
    let length = usize::try_from(u32::from_le_bytes(number_at(bytes, at)?)).ok()?;
    let crc = u32::from_le_bytes(number_at(bytes, at + 4)?);
    let synced = u64::from_le_bytes(number_at(bytes, at + 24)?);
    let covered = bytes.get(at + 8..(at + FRAME_BYTES).checked_add(length)?)?;
    let actual = crc32c::crc32c_append(crc32c::crc32c(&bytes[at..at + 4]), covered);
    (actual == crc).then_some(Frame { length, synced })
}

/// Calls `each` with every record of a file; returns the end of the last good frame and whether it is a seal.
fn scan<E>(
    bytes: &Bytes,
    file: u64,
    each: &mut dyn FnMut(u64, Bytes) -> Result<(), E>,
) -> Result<(usize, bool), E> {
    let mut at = 0;
    while let Some(frame) = frame_at(bytes, at, file) {
        let start = at + FRAME_BYTES;
        let position = at as u64;
        at = start + frame.length;
        if frame.length == 0 {
            return Ok((at, true));
        }
        each(position, bytes.slice(start..at))?;
    }
    Ok((at, false))
}

/// Whether a good frame behind `end` was written after the bytes at `end` had been synced.
fn was_synced_beyond(bytes: &[u8], end: usize, file: u64) -> bool {
    (end + 1..bytes.len().saturating_sub(FRAME_BYTES - 1))
        .any(|at| frame_at(bytes, at, file).is_some_and(|frame| frame.synced > end as u64))
}

impl Wal {
    /// Finds and checks the log in `dir` from file number `first` on, which the last checkpoint names; 0 when there
    /// has never been one. Changes nothing but releasing files below `first`, whose release was interrupted.
    pub fn recover(disk: &SharedDisk, dir: &Path, first: u64) -> Result<RecoveredWal, WalError> {
        disk.create_dir_all(dir)?;
        if first > 0 {
            release(&**disk, dir, first - 1)?;
        }
        let found = numbers(&**disk, dir)?;
        let mut files = Vec::with_capacity(found.len());
        let mut last_is_sealed = false;
        for (i, number) in found.iter().enumerate() {
            let expected = first.max(1) + i as u64;
            if *number != expected {
                return Err(damaged(&dir.join(file_name(expected)), 0, "the file is missing"));
            }
            let path = dir.join(file_name(*number));
            let bytes = Bytes::from(read_file(&**disk, &path)?);
            let (end, sealed) = scan::<WalError>(&bytes, *number, &mut |_, _| Ok(()))?;
            let last = i + 1 == found.len();
            if !sealed && (!last || was_synced_beyond(&bytes, end, *number)) {
                return Err(damaged(&path, end as u64, "a frame is broken that was synced once"));
            }
            files.push((*number, end as u64));
            last_is_sealed = sealed;
        }
        if files.is_empty() && first > 0 {
            return Err(damaged(&dir.join(file_name(first)), 0, "the file is missing"));
        }
        Ok(RecoveredWal { disk: Arc::clone(disk), dir: dir.to_owned(), files, last_is_sealed, first })
    }

    /// Queues one record made of `parts`, not empty; nothing is written before [`Wal::write`].
    pub fn queue(&mut self, parts: Vec<Bytes>) -> io::Result<()> {
        let length: usize = parts.iter().map(Bytes::len).sum();
        if length == 0 {
            return Err(io::Error::other("an empty record would read as the seal of its file"));
        }
        let head = frame(&parts, self.number, self.position + self.queued_bytes, self.synced)?;
        self.queued_bytes += (FRAME_BYTES + length) as u64;
        self.queued.push((head, parts));
        Ok(())
    }

    /// Writes everything queued, in one vectored write: it survives the end of this process, not that of the machine.
    /// After an error the log must not be used any more.
    pub fn write(&mut self) -> io::Result<()> {
        if self.queued.is_empty() {
            return Ok(());
        }
        let end = self.position + self.queued_bytes;
        // Not beyond the size of a file, but for the seal.
        let step = match end > self.len {
            true => end.clamp(STEP_BYTES_MIN, STEP_BYTES_MAX).min(self.file_bytes.saturating_sub(end)),
            false => 0,
        };
        let slices: Vec<IoSlice<'_>> = self
            .queued
            .iter()
            .flat_map(|(head, parts)| std::iter::once(&head[..]).chain(parts.iter().map(|part| &part[..])))
            .chain(zeros(step))
            .map(IoSlice::new)
            .collect();
        self.file.write_vectored_at(self.position, &slices)?;
        self.len = self.len.max(end + step);
        self.position = end;
        self.queued.clear();
        self.queued_bytes = 0;
        Ok(())
    }

    /// Writes what is queued and makes everything written durable with one fdatasync. After an error the log must not
    /// be used any more.
    pub fn sync(&mut self) -> io::Result<()> {
        self.write()?;
        if self.synced < self.position {
            self.file.sync_data()?;
            self.synced = self.position;
        }
        Ok(())
    }

    /// Number of the file that is written now; grows when one is full.
    pub fn current_file(&self) -> u64 {
        self.number
    }

    /// Whether the current file has reached its size.
    pub fn is_full(&self) -> bool {
        self.position >= self.file_bytes
    }

    /// Seals the current file (synced) and begins the next, durably named.
    pub fn roll(&mut self) -> io::Result<()> {
        self.sync()?;
        let seal = frame(&[], self.number, self.position, self.position)?;
        self.file.write_at(self.position, &seal)?;
        self.file.sync_data()?;
        self.number += 1;
        self.file = create(&self.disk, &self.dir, self.number)?;
        self.len = self.file.len()?;
        self.position = 0;
        self.synced = 0;
        Ok(())
    }
}

/// So many zero bytes.
fn zeros<'a>(bytes: u64) -> impl Iterator<Item = &'a [u8]> {
    let piece = ZEROS.len() as u64;
    (0..bytes.div_ceil(piece)).map(move |i| &ZEROS[..piece.min(bytes - i * piece) as usize])
}

/// Begins a file, over the spare when there is one; its name is durable on return.
fn create(disk: &SharedDisk, dir: &Path, number: u64) -> io::Result<Arc<dyn DiskFile>> {
    let (path, spare) = (dir.join(file_name(number)), dir.join(SPARE));
    let mode = if disk.exists(&spare) {
        disk.rename(&spare, &path)?;
        OpenMode::ReadWrite
    } else {
        OpenMode::CreateNew
    };
    let file = disk.open(&path, mode)?;
    disk.sync_dir(dir)?;
    Ok(file)
}

impl RecoveredWal {
    /// Whether there has never been a write-ahead file.
    pub fn is_new(&self) -> bool {
        self.files.is_empty()
    }

    /// Hands out every record, oldest first.
    pub fn replay<E: From<WalError>>(
        &self,
        each: &mut dyn FnMut(WalRecord) -> Result<(), E>,
    ) -> Result<(), E> {
        for (number, _) in &self.files {
            let path = self.dir.join(file_name(*number));
            let bytes = Bytes::from(read_file(&*self.disk, &path).map_err(WalError::from)?);
            scan(&bytes, *number, &mut |position, bytes| each(WalRecord { file: *number, position, bytes }))?;
        }
        Ok(())
    }

    /// Cuts the torn tail off, makes what was replayed durable, and begins a new file.
    pub fn start(self, file_bytes: u64) -> io::Result<Wal> {
        let mut next = self.first.max(1);
        if let Some((number, end)) = self.files.last() {
            let file = self.disk.open(&self.dir.join(file_name(*number)), OpenMode::ReadWrite)?;
            file.set_len(*end)?;
            if !self.last_is_sealed {
                file.write_at(*end, &frame(&[], *number, *end, *end)?)?;
            }
            file.sync_data()?;
            next = number + 1;
        }
        let file = create(&self.disk, &self.dir, next)?;
        Ok(Wal {
            len: file.len()?,
            file,
            disk: self.disk,
            dir: self.dir,
            file_bytes,
            number: next,
            position: 0,
            synced: 0,
            queued: Vec::new(),
            queued_bytes: 0,
        })
    }
}

#[cfg(test)]
#[path = "wal/tests.rs"]
mod tests;
