//! The write-ahead log: records of bytes that become durable in groups.
//!
//! Owns: framing, checksums, files and their order, the torn tail.
//! Does not own: what a record means (topics writes atomic appends into it).
//! Invariants: a record is returned by recovery whole or not at all; records keep their order; a bad frame with
//! valid frames after it is damage, not a torn tail; the end of the log is never told by a zero field alone.

use std::io::{self, IoSlice};
use std::path::Path;

use crate::disk::SharedDisk;

/// A recovered record.
#[derive(Debug, Clone)]
pub struct WalRecord {
    /// Number of the file it lies in.
    pub file: u64,
    pub bytes: Vec<u8>,
}

/// The write-ahead log, owned by the one thread that writes the log.
#[derive(Debug)]
pub struct Wal {}

/// The write-ahead log cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum WalError {
    #[error("damaged write-ahead file {file} at byte {position}: {reason}")]
    Damaged { file: String, position: u64, reason: String },
    #[error("cannot read the write-ahead log")]
    Io(#[from] io::Error),
}

impl Wal {
    /// Opens the log in `dir`, handing every record that was written, oldest first, to `replay`; starts a new file.
    pub fn open(
        _disk: &SharedDisk,
        _dir: &Path,
        _file_bytes: u64,
        _replay: &mut dyn FnMut(WalRecord) -> Result<(), WalError>,
    ) -> Result<Self, WalError> {
        unimplemented!()
    }
    /// Writes one record made of `parts` without syncing it.
    pub fn write(&mut self, _parts: &[IoSlice<'_>]) -> io::Result<()> {
        unimplemented!()
    }
    /// Makes everything written durable: one fdatasync.
    pub fn sync(&mut self) -> io::Result<()> {
        unimplemented!()
    }
    /// Number of the file that is written now; grows when one is full.
    pub fn current_file(&self) -> u64 {
        unimplemented!()
    }
    /// Closes the current file (synced) and begins the next, durably named.
    pub fn roll(&mut self) -> io::Result<()> {
        unimplemented!()
    }
    /// Whether the current file has reached its size.
    pub fn is_full(&self) -> bool {
        unimplemented!()
    }
    /// Removes files up to and including number `file`: everything in them is durable elsewhere.
    pub fn release(&mut self, _file: u64) -> io::Result<()> {
        unimplemented!()
    }
}
