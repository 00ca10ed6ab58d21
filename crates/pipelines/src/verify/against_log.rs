//! The table beside its log, offset by offset, as far as the log still reaches back.
//!
//! Owns: what each offset of the log should have become.
//! Does not own: the account (tables), which offsets were found (`coverage`).
//! Invariants: reads only what is durable; memory is bounded by one read.

use base::Offset;
use tables::Recorded;
use topics::Partition;
use topics::batch::{BatchError, BatchView, Batches};

use super::coverage::Cursor;

/// Bytes of log per read.
const READ_BYTES: usize = 8 << 20;

/// What a comparison found.
#[derive(Debug, Default)]
pub(super) struct Compared {
    pub from: Offset,
    pub to: Offset,
    /// Records that are nowhere.
    pub missing: Vec<(Offset, Offset)>,
    pub missing_count: u64,
    /// Rows where the log has no record for users.
    pub excess: Vec<(Offset, Offset)>,
}

/// Why a comparison ended early.
#[derive(Debug, thiserror::Error)]
pub(super) enum CompareError {
    #[error(transparent)]
    Read(#[from] topics::ReadError),
    #[error("the batch at offset {offset} is damaged: {reason}")]
    Damaged { offset: Offset, reason: BatchError },
}

/// Compares `[first, next)` with the log. Blocking.
pub(super) fn compare(
    partition: &Partition,
    recorded: &Recorded,
    rows: &[(Offset, Offset)],
    dead_letters: &[(Offset, Offset)],
    decompressed_bytes_max: usize,
) -> Result<Compared, CompareError> {
    let to = recorded.position.next.min(partition.marks().durable);
    let from = recorded.account.first.max(partition.marks().log_start).min(to);
    let mut walk = Walk {
        rows: Cursor::new(rows),
        dead_letters: Cursor::new(dead_letters),
        compared: Compared { from, to, ..Compared::default() },
    };
    let mut at = from;
    while at < to {
        let read = match partition.read(at, to, READ_BYTES) {
            Ok(read) => read,
            // Retention was faster: what went is in the account only.
            Err(topics::ReadError::OutOfRange { .. }) if partition.marks().log_start > at => {
                at = partition.marks().log_start;
                walk.compared.from = at;
                walk.compared.missing.clear();
                walk.compared.missing_count = 0;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        for batch in Batches::new(&read.bytes) {
            let batch = batch.map_err(|reason| CompareError::Damaged { offset: at, reason })?;
            let hidden = batch.is_control() || read.is_aborted(&batch);
            walk.batch(&batch, hidden, at..to, decompressed_bytes_max)
                .map_err(|reason| CompareError::Damaged { offset: batch.base_offset(), reason })?;
        }
        if read.next <= at {
            break;
        }
        at = read.next;
    }
    Ok(walk.compared)
}

struct Walk<'a> {
    rows: Cursor<'a>,
    dead_letters: Cursor<'a>,
    compared: Compared,
}

impl Walk<'_> {
    fn batch(
        &mut self,
        batch: &BatchView,
        hidden: bool,
        range: std::ops::Range<Offset>,
        limit: usize,
    ) -> Result<(), BatchError> {
        if hidden {
            for offset in batch.base_offset().max(range.start)..(batch.last_offset() + 1).min(range.end) {
                if self.rows.holds(offset) || self.dead_letters.holds(offset) {
                    add(&mut self.compared.excess, offset);
                }
            }
            return Ok(());
        }
        let records = batch.records(limit)?;
        for record in &records {
            let offset = record?.offset;
            if !range.contains(&offset) {
                continue;
            }
            // Both cursors move along.
            let (row, dead) = (self.rows.holds(offset), self.dead_letters.holds(offset));
            match (row, dead) {
                (false, false) => {
                    add(&mut self.compared.missing, offset);
                    self.compared.missing_count += 1;
                }
                (true, true) => add(&mut self.compared.excess, offset),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Ranges that are kept to be shown.
const RANGES_MAX: usize = 1_000;

fn add(ranges: &mut Vec<(Offset, Offset)>, offset: Offset) {
    let listed = ranges.len();
    match ranges.last_mut() {
        Some((_, end)) if *end == offset => *end += 1,
        _ if listed < RANGES_MAX => ranges.push((offset, offset + 1)),
        _ => {}
    }
}
