//! Producers of one partition: idempotent and transactional.
//!
//! Owns: epochs and sequences, the batches a duplicate is recognised by, which transactions are open since where.
//! Does not own: producer ids (the control store counts them), who may open a transaction (`transactions`).
//! Invariants: follows Kafka's ProducerAppendInfo and ProducerStateManager; the state is a function of the batches,
//! whether they were appended or replayed; a producer with an open transaction is never forgotten.

use std::collections::{BTreeMap, HashMap, VecDeque};

use base::Offset;
use serde::{Deserialize, Serialize};

use crate::batch::add_sequence;
use crate::batch::check::Facts;
use crate::error::AppendError;
use crate::log::ProducerInfo;

/// A retry of one of so many last batches is a duplicate, as in Kafka.
const DUPLICATES_KNOWN: usize = 5;

/// A batch of a producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Written {
    pub first_sequence: i32,
    pub last_sequence: i32,
    pub base_offset: Offset,
    pub last_offset: Offset,
    pub log_append_time_ms: Option<i64>,
}

/// What is known of one producer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Producer {
    pub epoch: i16,
    /// When it last wrote, by this machine's clock, ms.
    pub seen_ms: i64,
    /// Of its last marker; -1 when there was none.
    #[serde(default = "no_epoch")]
    pub coordinator_epoch: i32,
    /// First offset of its open transaction.
    #[serde(default)]
    pub open: Option<Offset>,
    /// Of the present epoch, oldest first.
    pub batches: VecDeque<Written>,
}

fn no_epoch() -> i32 {
    -1
}

/// What a batch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    New,
    Duplicate(Written),
}

/// A transaction that a marker ended in this partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ended {
    pub producer_id: i64,
    pub first: Offset,
    /// Offset of the marker.
    pub last: Offset,
    pub committed: bool,
    /// First offset that belongs to a transaction that is still open; else what follows the marker.
    pub stable: Offset,
}

/// The producers of one partition by id.
#[derive(Debug, Default)]
pub(crate) struct Producers {
    by_id: HashMap<i64, Producer>,
    /// Open transactions by first offset.
    open: BTreeMap<Offset, i64>,
}

impl Producers {
    pub(crate) fn check(&self, facts: &Facts) -> Result<Verdict, AppendError> {
        if facts.producer_id < 0 {
            return Ok(Verdict::New);
        }
        // State that is gone (expired, or never there) cannot tell a gap: Kafka takes the batch, and so do we.
        let Some(producer) = self.by_id.get(&facts.producer_id) else { return Ok(Verdict::New) };
        if facts.producer_epoch < producer.epoch {
            return Err(AppendError::ProducerFenced {
                producer_id: facts.producer_id,
                current: producer.epoch,
                got: facts.producer_epoch,
            });
        }
        // The coordinator of groups writes for a producer without sequences.
        if facts.base_sequence >= 0
            && let Some(twin) = producer.check_sequence(facts)?
        {
            return Ok(Verdict::Duplicate(twin));
        }
        if producer.open.is_some() && !facts.transactional {
            return Err(AppendError::InvalidTransactionState(format!(
                "producer {} has an open transaction in this partition and sends a batch that is not part of one",
                facts.producer_id
            )));
        }
        Ok(Verdict::New)
    }

    /// Notes a batch that was given its offsets. Knows at most `limit` producers and those with an open transaction;
    /// the quietest go first. Tells the transaction that the batch ends.
    pub(crate) fn note(&mut self, facts: &Facts, now_ms: i64, limit: usize) -> Option<Ended> {
        if facts.producer_id < 0 {
            return None;
        }
        if self.by_id.len() >= limit.max(1) && !self.by_id.contains_key(&facts.producer_id) {
            self.forget_quietest(limit.max(1) / 10 + 1);
        }
        let producer = self.by_id.entry(facts.producer_id).or_insert_with(|| Producer {
            epoch: facts.producer_epoch,
            seen_ms: now_ms,
            coordinator_epoch: no_epoch(),
            open: None,
            batches: VecDeque::new(),
        });
        if producer.epoch != facts.producer_epoch {
            producer.epoch = facts.producer_epoch;
            producer.batches.clear();
        }
        producer.seen_ms = now_ms;
        if let Some(marker) = facts.marker {
            producer.coordinator_epoch = marker.coordinator_epoch;
            let first = producer.open.take()?;
            self.open.remove(&first);
            let stable = self.first_open().unwrap_or(facts.last_offset + 1);
            return Some(Ended {
                producer_id: facts.producer_id,
                first,
                last: facts.last_offset,
                committed: marker.committed,
                stable,
            });
        }
        if facts.transactional && producer.open.is_none() {
            producer.open = Some(facts.base_offset);
            self.open.insert(facts.base_offset, facts.producer_id);
        }
        if facts.base_sequence >= 0 {
            producer.note_written(facts);
        }
        None
    }

    /// First offset of the oldest open transaction.
    pub(crate) fn first_open(&self) -> Option<Offset> {
        self.open.keys().next().copied()
    }

    /// Open transactions: producer, epoch.
    pub(crate) fn open(&self) -> Vec<(i64, i16)> {
        let epoch_of = |id: &i64| self.by_id.get(id).map(|p| (*id, p.epoch));
        self.open.values().filter_map(epoch_of).collect()
    }

    fn forget_quietest(&mut self, count: usize) {
        let idle = self.by_id.iter().filter(|(_, p)| p.open.is_none());
        let mut by_age: Vec<(i64, i64)> = idle.map(|(id, p)| (p.seen_ms, *id)).collect();
        by_age.sort_unstable();
        for (_, id) in by_age.into_iter().take(count) {
            self.by_id.remove(&id);
        }
    }

    /// Forgets producers that wrote nothing since `ms`.
    pub(crate) fn expire(&mut self, ms: i64) {
        self.by_id.retain(|_, producer| producer.seen_ms >= ms || producer.open.is_some());
    }

    /// All that is known, by id.
    pub(crate) fn known(&self) -> Vec<(i64, Producer)> {
        let mut known: Vec<_> = self.by_id.iter().map(|(id, producer)| (*id, producer.clone())).collect();
        known.sort_unstable_by_key(|(id, _)| *id);
        known
    }

    /// Epoch and last batch of every producer; none when its epoch has none.
    pub(crate) fn last_batches(&self) -> HashMap<i64, (i16, Option<Offset>)> {
        let last = |(id, producer): (&i64, &Producer)| {
            (*id, (producer.epoch, producer.batches.back().map(|batch| batch.last_offset)))
        };
        self.by_id.iter().map(last).collect()
    }

    pub(crate) fn restore(&mut self, known: Vec<(i64, Producer)>) {
        self.by_id = known.into_iter().collect();
        self.open = self.by_id.iter().filter_map(|(id, p)| Some((p.open?, *id))).collect();
    }

    /// For DescribeProducers, by id.
    pub(crate) fn infos(&self) -> Vec<ProducerInfo> {
        let mut infos: Vec<_> = self.by_id.iter().map(|(id, producer)| producer.info(*id)).collect();
        infos.sort_unstable_by_key(|info| info.producer_id);
        infos
    }

    pub(crate) fn get(&self, id: i64) -> Option<ProducerInfo> {
        self.by_id.get(&id).map(|producer| producer.info(id))
    }
}

impl Producer {
    fn info(&self, producer_id: i64) -> ProducerInfo {
        ProducerInfo {
            producer_id,
            epoch: self.epoch,
            last_sequence: self.batches.back().map_or(-1, |b| b.last_sequence),
            seen_ms: self.seen_ms,
            coordinator_epoch: self.coordinator_epoch,
            open_since: self.open,
        }
    }

    /// The earlier batch of which this one is a copy; an error when its sequence does not follow.
    fn check_sequence(&self, facts: &Facts) -> Result<Option<Written>, AppendError> {
        let same_epoch = facts.producer_epoch == self.epoch;
        let twin = self
            .batches
            .iter()
            .rev()
            .filter(|_| same_epoch)
            .find(|b| (b.first_sequence, b.last_sequence) == (facts.base_sequence, facts.last_sequence));
        if let Some(twin) = twin {
            return Ok(Some(*twin));
        }
        // An epoch begins at 0; so does one that a marker began before its producer wrote.
        let last = self.batches.back().filter(|_| same_epoch);
        let expected = last.map_or(0, |last| add_sequence(last.last_sequence, 1));
        if facts.base_sequence == expected {
            Ok(None)
        } else {
            Err(AppendError::OutOfOrderSequence {
                producer_id: facts.producer_id,
                expected,
                got: facts.base_sequence,
            })
        }
    }

    fn note_written(&mut self, facts: &Facts) {
        if self.batches.len() == DUPLICATES_KNOWN {
            self.batches.pop_front();
        }
        self.batches.push_back(Written {
            first_sequence: facts.base_sequence,
            last_sequence: facts.last_sequence,
            base_offset: facts.base_offset,
            last_offset: facts.last_offset,
            log_append_time_ms: facts.log_append_time.then_some(facts.max_timestamp_ms),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Marker;

    fn facts(epoch: i16, sequence: i32, count: i32, base_offset: Offset) -> Facts {
        Facts {
            base_offset,
            last_offset: base_offset + i64::from(count) - 1,
            leader_epoch: 0,
            max_timestamp_ms: 0,
            log_append_time: false,
            producer_id: 9,
            producer_epoch: epoch,
            base_sequence: sequence,
            last_sequence: add_sequence(sequence, count - 1),
            transactional: false,
            marker: None,
        }
    }

    fn transactional(producer_id: i64, epoch: i16, sequence: i32, base_offset: Offset) -> Facts {
        Facts { producer_id, transactional: true, ..facts(epoch, sequence, 1, base_offset) }
    }

    fn marker(producer_id: i64, epoch: i16, committed: bool, offset: Offset) -> Facts {
        let marker = Some(Marker { committed, coordinator_epoch: 3 });
        Facts { marker, ..transactional(producer_id, epoch, -1, offset) }
    }

    #[test]
    fn five_duplicates_then_out_of_order() {
        let mut producers = Producers::default();
        for i in 0..7 {
            let f = facts(0, i, 1, i64::from(i) * 10);
            assert_eq!(producers.check(&f).ok(), Some(Verdict::New));
            producers.note(&f, 0, 10);
        }
        for i in 2..7 {
            let Ok(Verdict::Duplicate(twin)) = producers.check(&facts(0, i, 1, -1)) else {
                panic!("{i} is a duplicate")
            };
            assert_eq!(twin.base_offset, i64::from(i) * 10);
        }
        for old in [0, 1, 8] {
            assert!(matches!(
                producers.check(&facts(0, old, 1, -1)),
                Err(AppendError::OutOfOrderSequence { expected: 7, .. })
            ));
        }
    }

    #[test]
    fn epochs_fence_and_restart_sequences() {
        let mut producers = Producers::default();
        // State that is gone: any sequence is taken.
        assert_eq!(producers.check(&facts(3, 77, 1, 0)).ok(), Some(Verdict::New));
        producers.note(&facts(3, 77, 1, 0), 0, 10);
        assert!(matches!(
            producers.check(&facts(2, 78, 1, 1)),
            Err(AppendError::ProducerFenced { current: 3, got: 2, .. })
        ));
        assert!(matches!(
            producers.check(&facts(4, 78, 1, 1)),
            Err(AppendError::OutOfOrderSequence { expected: 0, .. })
        ));
        assert_eq!(producers.check(&facts(4, 0, 1, 1)).ok(), Some(Verdict::New));
    }

    #[test]
    fn sequences_wrap_inside_and_between_batches() {
        let mut producers = Producers::default();
        producers.note(&facts(0, i32::MAX - 1, 4, 0), 0, 10);
        assert_eq!(producers.check(&facts(0, 2, 1, 4)).ok(), Some(Verdict::New));
        assert!(matches!(producers.check(&facts(0, i32::MAX - 1, 4, 4)), Ok(Verdict::Duplicate(_))));
        producers.note(&facts(0, 2, i32::MAX - 1, 4), 0, 10);
        assert_eq!(producers.check(&facts(0, 0, 1, 9)).ok(), Some(Verdict::New));
        assert!(producers.check(&facts(0, 1, 1, 9)).is_err());
    }

    #[test]
    fn what_is_known_restores_and_expires() {
        let mut producers = Producers::default();
        for i in 0..4 {
            producers.note(&facts(0, i, 1, i64::from(i)), 5, 10);
        }
        producers.note(&transactional(10, 0, 0, 4), 5, 10);
        let mut restored = Producers::default();
        restored.restore(producers.known());
        assert_eq!((restored.known(), restored.first_open()), (producers.known(), Some(4)));
        assert!(matches!(restored.check(&facts(0, 3, 1, 0)), Ok(Verdict::Duplicate(_))));
        assert_eq!(restored.check(&facts(0, 4, 1, 0)).ok(), Some(Verdict::New));
        restored.expire(6);
        assert_eq!(restored.check(&facts(0, 99, 1, 0)).ok(), Some(Verdict::New));
        assert_eq!(restored.open(), [(10, 0)], "an open transaction is never forgotten");
    }

    #[test]
    fn transactions_open_with_a_batch_and_end_with_a_marker() {
        let mut producers = Producers::default();
        assert_eq!(producers.note(&transactional(1, 0, 0, 10), 0, 10), None);
        assert_eq!(producers.note(&transactional(2, 0, 0, 11), 0, 10), None);
        assert_eq!(producers.note(&transactional(1, 0, 1, 12), 0, 10), None);
        assert_eq!(producers.first_open(), Some(10));
        let ended = producers.note(&marker(1, 0, true, 13), 0, 10);
        let expected = Ended { producer_id: 1, first: 10, last: 13, committed: true, stable: 11 };
        assert_eq!(ended, Some(expected));
        // A second marker ends nothing.
        assert_eq!(producers.note(&marker(1, 0, false, 14), 0, 10), None);
        let ended = producers.note(&marker(2, 1, false, 15), 0, 10);
        let expected = Ended { producer_id: 2, first: 11, last: 15, committed: false, stable: 16 };
        assert_eq!(ended, Some(expected));
        assert_eq!(producers.first_open(), None);
        // The marker's epoch fences, and the new epoch begins at 0.
        let late = producers.check(&transactional(2, 0, 1, 16));
        assert!(matches!(late, Err(AppendError::ProducerFenced { current: 1, .. })));
        assert!(producers.check(&transactional(2, 1, 1, 16)).is_err());
        assert_eq!(producers.check(&transactional(2, 1, 0, 16)).ok(), Some(Verdict::New));
        assert_eq!(producers.infos()[1].coordinator_epoch, 3);
    }

    #[test]
    fn an_open_transaction_takes_no_plain_batch() {
        let mut producers = Producers::default();
        producers.note(&transactional(9, 0, 0, 0), 0, 10);
        assert!(matches!(producers.check(&facts(0, 1, 1, 1)), Err(AppendError::InvalidTransactionState(_))));
        assert_eq!(producers.check(&transactional(9, 0, 1, 1)).ok(), Some(Verdict::New));
        // Batches of the coordinator have no sequence, and none is expected of them.
        assert_eq!(producers.check(&transactional(9, 0, -1, 1)).ok(), Some(Verdict::New));
    }
}
