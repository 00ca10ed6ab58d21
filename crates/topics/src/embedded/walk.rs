//! Walking over the batches of a segment file.
//!
//! Owns: reading in pieces, checking every batch that is handed out.
//! Does not own: where to begin.
//! Invariants: a batch is handed out only when its CRC is right and its base offset is the next one, or a later one
//! where compaction may have been; anything else is damage, with file and position.

use std::path::PathBuf;
use std::sync::Arc;

use base::Offset;
use bytes::Bytes;
use storage::DiskFile;

use crate::batch::{BatchView, HEADER_BYTES, size_of_first};
use crate::error::ReadError;

/// Reads a segment forward.
#[derive(Debug)]
pub(crate) struct Walk {
    file: Arc<dyn DiskFile>,
    path: PathBuf,
    /// End of the segment, bytes.
    len: u64,
    /// Where the next batch begins.
    position: u64,
    /// Base offset that the next batch must have.
    expected: Option<Offset>,
    /// Offsets may be missing between batches.
    gaps: bool,
    piece_bytes: usize,
    /// The piece that was read last, and how far it has been walked.
    piece: Bytes,
    at: usize,
}

impl Walk {
    /// Begins at `position`, where a batch with the base offset `expected` lies when that is known.
    pub(crate) fn new(
        file: Arc<dyn DiskFile>,
        path: PathBuf,
        len: u64,
        position: u64,
        expected: Option<Offset>,
        piece_bytes: usize,
    ) -> Self {
        Self { file, path, len, position, expected, gaps: false, piece_bytes, piece: Bytes::new(), at: 0 }
    }

    /// Takes missing offsets for compacted ones: right for closed segments.
    pub(crate) fn with_gaps(mut self, gaps: bool) -> Self {
        self.gaps = gaps;
        self
    }

    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// The last `length` bytes that were walked, all of the piece that was read last; shares them.
    pub(crate) fn walked(&self, length: usize) -> Bytes {
        self.piece.slice(self.at.saturating_sub(length)..self.at)
    }

    pub(crate) fn damaged(&self, reason: impl Into<String>) -> ReadError {
        ReadError::Damaged {
            file: self.path.display().to_string(),
            position: self.position,
            reason: reason.into(),
        }
    }

    fn left(&self) -> usize {
        self.piece.len() - self.at
    }

    fn load(&mut self, at_least: usize) -> Result<(), ReadError> {
        let left = usize::try_from(self.len.saturating_sub(self.position)).unwrap_or(usize::MAX);
        let mut bytes = vec![0; at_least.max(self.piece_bytes).min(left)];
        let got = self.file.read_at(self.position, &mut bytes)?;
        bytes.truncate(got);
        self.piece = bytes.into();
        self.at = 0;
        if self.piece.len() < at_least {
            return Err(
                self.damaged(format!("{at_least} bytes are expected, the file has {}", self.piece.len()))
            );
        }
        Ok(())
    }

    /// The next batch, or none at the end. With `stay`, none also when another piece would have to be read.
    pub(crate) fn next(&mut self, stay: bool) -> Result<Option<BatchView>, ReadError> {
        if self.position >= self.len {
            return Ok(None);
        }
        if self.left() < HEADER_BYTES {
            if stay {
                return Ok(None);
            }
            self.load(HEADER_BYTES)?;
        }
        let Some(size) = size_of_first(&self.piece[self.at..]) else {
            return Err(self.damaged("there is no batch header"));
        };
        if self.position + size as u64 > self.len {
            return Err(self.damaged(format!("a batch of {size} bytes goes beyond the end of the segment")));
        }
        if self.left() < size {
            if stay {
                return Ok(None);
            }
            self.load(size)?;
        }
        let batch = BatchView::split_first(&mut self.piece.slice(self.at..))
            .map_err(|e| self.damaged(e.to_string()))?;
        if !batch.crc_is_right() {
            return Err(self.damaged("the CRC does not fit the bytes"));
        }
        let base = batch.base_offset();
        if self.expected.is_some_and(|expected| base < expected || (base > expected && !self.gaps)) {
            return Err(self.damaged(format!(
                "the batch begins at offset {base}, expected {}",
                self.expected.unwrap_or_default()
            )));
        }
        self.expected = Some(batch.last_offset().saturating_add(1));
        self.position += size as u64;
        self.at += size;
        Ok(Some(batch))
    }
}
