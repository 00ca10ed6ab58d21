//! What is durable of a partition's producers and transactions.
//!
//! Owns: the second, later copy of producer state that durable batches alone have built, the transactions that were
//! aborted, Kafka's transaction index files (34 bytes per aborted transaction, big-endian: version 0 (16 bits),
//! producer id, first offset, last offset, last stable offset).
//! Does not own: checking appends (they look at the state of everything that was given out, in `partition`).
//! Invariants: it is what a replay of the durable batches gives, so that a checkpoint may store it as it is; the files
//! are derived from it and never evidence, so they are not synced, and made right again at a start.

use base::Offset;
use storage::OpenMode;
use storage::disk::read_file;

use super::partition::PartitionState;
use super::producers::{Ended, Producers};
use crate::log::AbortedTransaction;

/// Kafka's version of an entry.
const VERSION: i16 = 0;
pub(crate) const ENTRY_BYTES: usize = 34;
const EXTENSION: &str = "txnindex";

/// Durable state of one partition.
#[derive(Debug, Default)]
pub(crate) struct Settled {
    pub producers: Producers,
    pub aborted: Aborted,
}

/// Aborted transactions that still have records in the log, by offset of their markers. There are at most as many as
/// the log has markers.
#[derive(Debug, Default)]
pub(crate) struct Aborted(Vec<AbortedTransaction>);

impl Aborted {
    pub(crate) fn note(&mut self, ended: &Ended) {
        if !ended.committed {
            self.0.push(AbortedTransaction {
                producer_id: ended.producer_id,
                first_offset: ended.first,
                last_offset: ended.last,
                stable: ended.stable,
            });
        }
    }

    /// Those with an offset in `[from, end)`, by first offset.
    pub(crate) fn overlapping(&self, from: Offset, end: Offset) -> Vec<AbortedTransaction> {
        let begin = self.0.partition_point(|aborted| aborted.last_offset < from);
        let mut found = Vec::new();
        for aborted in &self.0[begin..] {
            if aborted.first_offset < end {
                found.push(*aborted);
            }
            // Whatever ended after this one had begun at or beyond its stable mark.
            if aborted.stable >= end {
                break;
            }
        }
        found.sort_unstable_by_key(|aborted| (aborted.first_offset, aborted.producer_id));
        found
    }

    /// Forgets those that lie wholly before `log_start`.
    pub(crate) fn forget_before(&mut self, log_start: Offset) {
        let gone = self.0.partition_point(|aborted| aborted.last_offset < log_start);
        self.0.drain(..gone);
    }

    /// Forgets those with these markers: no records of theirs are left.
    pub(crate) fn forget(&mut self, markers: &[Offset]) {
        if !markers.is_empty() {
            self.0.retain(|aborted| !markers.contains(&aborted.last_offset));
        }
    }

    pub(crate) fn all(&self) -> &[AbortedTransaction] {
        &self.0
    }

    pub(crate) fn restore(&mut self, all: Vec<AbortedTransaction>) {
        self.0 = all;
    }
}

fn entry(aborted: &AbortedTransaction) -> [u8; ENTRY_BYTES] {
    let mut bytes = [0; ENTRY_BYTES];
    bytes[..2].copy_from_slice(&VERSION.to_be_bytes());
    let fields = [aborted.producer_id, aborted.first_offset, aborted.last_offset, aborted.stable];
    for (slot, field) in bytes[2..].chunks_exact_mut(8).zip(fields) {
        slot.copy_from_slice(&field.to_be_bytes());
    }
    bytes
}

impl PartitionState {
    /// Notes a batch that is durable now; tells the transaction that it ends.
    pub(crate) fn settle(
        &self,
        facts: &crate::batch::check::Facts,
        now_ms: i64,
        producers_max: usize,
    ) -> Option<Ended> {
        if facts.producer_id < 0 {
            return None;
        }
        let mut settled = self.settled.lock();
        let ended = settled.producers.note(facts, now_ms, producers_max)?;
        settled.aborted.note(&ended);
        Some(ended)
    }

    /// Adds an aborted transaction to the index file of the segment that holds its marker. Without the entry only
    /// tools that read the file miss something, until the next start.
    pub(crate) fn index_aborted(&self, ended: &Ended) {
        if ended.committed || self.is_deleted() {
            return;
        }
        let base = {
            let segments = self.segments.lock();
            let number = segments.list.partition_point(|s| s.base <= ended.last).checked_sub(1);
            number.map(|number| segments.list[number].base)
        };
        let Some(base) = base else { return };
        let mut one = Aborted::default();
        one.note(ended);
        let append = || -> std::io::Result<()> {
            let file = self.files.disk().open(&self.segment_file(base, EXTENSION), OpenMode::Create)?;
            let len = file.len()?;
            one.0.iter().try_for_each(|aborted| file.write_at(len, &entry(aborted)))
        };
        if let Err(error) = append() {
            tracing::warn!(topic = %self.name, partition = self.index, %error, "cannot write a transaction index");
        }
    }

    /// Makes the transaction index files of segments that begin before `end` say what is known: after a start, and after
    /// closed ones were rewritten.
    pub(crate) fn restore_txn_indexes(&self, end: Offset) {
        let bases: Vec<Offset> = self.segments.lock().list.iter().map(|s| s.base).collect();
        let aborted = self.settled.lock().aborted.0.clone();
        for (number, base) in bases.iter().enumerate().filter(|(_, base)| **base < end) {
            let end = bases.get(number + 1).copied().unwrap_or(Offset::MAX);
            let from = aborted.partition_point(|a| a.last_offset < *base);
            let until = aborted.partition_point(|a| a.last_offset < end);
            let wanted: Vec<u8> = aborted[from..until].iter().flat_map(entry).collect();
            if let Err(error) = self.put_txn_index(*base, &wanted) {
                tracing::warn!(topic = %self.name, partition = self.index, %error, "cannot write a transaction index");
            }
        }
    }

    fn put_txn_index(&self, base: Offset, wanted: &[u8]) -> std::io::Result<()> {
        let (disk, path) = (&**self.files.disk(), self.segment_file(base, EXTENSION));
        if !disk.exists(&path) {
            if wanted.is_empty() {
                return Ok(());
            }
        } else if read_file(disk, &path)? == wanted {
            return Ok(());
        }
        let file = disk.open(&path, OpenMode::Create)?;
        file.set_len(wanted.len() as u64)?;
        file.write_at(0, wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn aborted(list: &[(i64, Offset, Offset, Offset)]) -> Aborted {
        let mut all = Aborted::default();
        for (producer_id, first, last, stable) in list.iter().copied() {
            all.note(&Ended { producer_id, first, last, committed: false, stable });
        }
        all
    }

    fn ids(found: &[AbortedTransaction]) -> Vec<i64> {
        found.iter().map(|a| a.producer_id).collect()
    }

    #[test]
    fn overlaps_come_by_first_offset() {
        // Transaction 1 from 10 to 40 has 2 (20 to 30) and the end of 3 (5 to 35) inside; 4 comes later.
        let mut all = aborted(&[(2, 20, 30, 5), (3, 5, 35, 10), (1, 10, 40, 41), (4, 50, 60, 61)]);
        assert_eq!(ids(&all.overlapping(0, 100)), [3, 1, 2, 4]);
        assert_eq!(ids(&all.overlapping(0, 20)), [3, 1]);
        assert_eq!(ids(&all.overlapping(31, 45)), [3, 1]);
        assert_eq!(ids(&all.overlapping(36, 50)), [1]);
        assert_eq!(ids(&all.overlapping(41, 50)), [0i64; 0]);
        assert_eq!(ids(&all.overlapping(60, 61)), [4]);
        all.note(&Ended { producer_id: 9, first: 70, last: 80, committed: true, stable: 81 });
        all.forget_before(41);
        assert_eq!(ids(all.all()), [4]);
    }

    #[test]
    fn entries_are_those_of_kafka() {
        let all = aborted(&[(0x0102, 3, 4, 5)]);
        let mut expected = vec![0, 0];
        for field in [0x0102u64, 3, 4, 5] {
            expected.extend(field.to_be_bytes());
        }
        assert_eq!(entry(&all.all()[0]).to_vec(), expected);
    }
}
