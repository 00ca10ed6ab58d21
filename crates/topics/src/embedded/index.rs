//! The sparse indexes of a segment, in Kafka's file formats.
//!
//! Owns: offset index (relative last offset of a batch, its position: 8 bytes) and time index (largest timestamp so
//! far, relative offset of the batch that has it: 12 bytes), big-endian, in memory and as files.
//! Does not own: the segment, and when the files are synced. Indexes are derived: never evidence, always rebuildable.
//! Invariants: entries grow strictly; one offset entry per `interval` bytes of log.

use base::Offset;

use crate::batch::check::Facts;

pub(crate) const OFFSET_ENTRY: usize = 8;
pub(crate) const TIME_ENTRY: usize = 12;

/// Both indexes of one segment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Index {
    /// (last offset of the batch minus base, position of the batch).
    pub offsets: Vec<(u32, u32)>,
    /// (largest timestamp so far, last offset of the batch that has it minus base).
    pub times: Vec<(i64, u32)>,
    since_entry: u64,
    /// Largest timestamp of all batches so far, with the batch's relative last offset.
    pub largest: Option<(i64, u32)>,
    /// Entries that are in the files already.
    pub written: (usize, usize),
}

impl Index {
    /// Notes a batch at `position`.
    pub(crate) fn note(&mut self, base: Offset, position: u64, size: usize, facts: &Facts, interval: u64) {
        let (Ok(relative), Ok(position)) = (u32::try_from(facts.last_offset - base), u32::try_from(position))
        else {
            return;
        };
        if self.largest.is_none_or(|(time, _)| facts.max_timestamp_ms > time) {
            self.largest = Some((facts.max_timestamp_ms, relative));
        }
        let grows = self.offsets.last().is_none_or(|(last, _)| relative > *last);
        if self.since_entry >= interval.max(1) && grows {
            self.offsets.push((relative, position));
            self.note_time();
            self.since_entry = 0;
        }
        self.since_entry += size as u64;
    }

    fn note_time(&mut self) {
        if let Some(largest) = self.largest
            && self.times.last().is_none_or(|(time, _)| largest.0 > *time)
        {
            self.times.push(largest);
        }
    }

    /// The segment is closed: the time index ends with its largest timestamp.
    pub(crate) fn seal(&mut self) {
        self.note_time();
    }

    /// The last entry at or before `relative`.
    pub(crate) fn floor(&self, relative: u32) -> Option<(u32, u32)> {
        let after = self.offsets.partition_point(|(offset, _)| *offset <= relative);
        self.offsets.get(after.checked_sub(1)?).copied()
    }

    /// Bytes of the offset entries from number `from` on.
    pub(crate) fn offset_bytes(&self, from: usize) -> Vec<u8> {
        let entries = self.offsets.get(from..).unwrap_or_default();
        entries.iter().flat_map(|(o, p)| [o.to_be_bytes(), p.to_be_bytes()].concat()).collect()
    }

    /// Bytes of the time entries from number `from` on.
    pub(crate) fn time_bytes(&self, from: usize) -> Vec<u8> {
        let entries = self.times.get(from..).unwrap_or_default();
        entries.iter().flat_map(|(t, o)| [&t.to_be_bytes()[..], &o.to_be_bytes()].concat()).collect()
    }

    /// Reads both files as far as they tell of the first `len` bytes of a segment; none when they are not plausible.
    pub(crate) fn parse(offsets: &[u8], times: &[u8], len: u64) -> Option<Self> {
        let mut index = Self::default();
        for entry in offsets.chunks(OFFSET_ENTRY) {
            let (offset, position) = offset_entry(entry)?;
            if u64::from(position) >= len {
                break;
            }
            if index.offsets.last().is_some_and(|(o, p)| offset <= *o || position <= *p) {
                return None;
            }
            index.offsets.push((offset, position));
        }
        index.times = times_of(times)?;
        // Entries of batches that were cut off go; what they summed up is found again by the walk over the tail.
        let last = index.offsets.last().map_or(0, |(offset, _)| *offset);
        index.times.retain(|(_, offset)| *offset <= last);
        index.largest = index.times.last().copied();
        Some(index)
    }
}

pub(crate) fn offset_entry(bytes: &[u8]) -> Option<(u32, u32)> {
    let (offset, rest) = bytes.split_first_chunk::<4>()?;
    Some((u32::from_be_bytes(*offset), u32::from_be_bytes(*rest.first_chunk::<4>()?)))
}

/// The entries of a time index; none when they are not plausible.
pub(crate) fn times_of(bytes: &[u8]) -> Option<Vec<(i64, u32)>> {
    let mut times: Vec<(i64, u32)> = Vec::with_capacity(bytes.len() / TIME_ENTRY);
    for entry in bytes.chunks(TIME_ENTRY) {
        let (time, rest) = entry.split_first_chunk::<8>()?;
        let (time, offset) = (i64::from_be_bytes(*time), u32::from_be_bytes(*rest.first_chunk::<4>()?));
        if times.last().is_some_and(|(t, o)| time <= *t || offset <= *o) {
            return None;
        }
        times.push((time, offset));
    }
    Some(times)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(last_offset: Offset, max_timestamp_ms: i64) -> Facts {
        let mut facts = Facts::of(&[]);
        facts.last_offset = last_offset;
        facts.max_timestamp_ms = max_timestamp_ms;
        facts
    }

    #[test]
    fn files_read_back_and_nonsense_is_refused() {
        let mut index = Index::default();
        for i in 0..100i64 {
            index.note(1_000, i as u64 * 100, 100, &facts(1_000 + i, (i * 37) % 50), 1_000);
        }
        index.seal();
        assert_eq!(index.offsets.first(), Some(&(10, 1_000)));
        assert_eq!(index.floor(9), None);
        assert_eq!(index.floor(25), Some((20, 2_000)));
        let (offsets, times) = (index.offset_bytes(0), index.time_bytes(0));
        assert_eq!((offsets.len() % 8, times.len() % 12), (0, 0));
        let back = Index::parse(&offsets, &times, u64::MAX).expect("parse");
        assert_eq!((back.offsets.len(), back.times.len()), (index.offsets.len(), index.times.len()));
        assert_eq!(Index::parse(&offsets, &times, 2_500).expect("cut").offsets.len(), 2);
        let zeros = vec![0; offsets.len()];
        assert!(Index::parse(&zeros, &times, u64::MAX).is_none());
        assert!(Index::parse(&offsets, &vec![0; times.len().max(24)], u64::MAX).is_none());
        assert!(Index::parse(&offsets[..offsets.len() - 3], &times, u64::MAX).is_none());
    }
}
