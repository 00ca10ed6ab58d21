//! Idempotent producers of one partition.
//!
//! Owns: epochs and sequences, the batches a duplicate is recognised by.
//! Does not own: producer ids (the control store counts them).
//! Invariants: follows Kafka's ProducerAppendInfo.checkSequence; state is the same whether it was built by appends or
//! by replaying the batches.

use std::collections::{HashMap, VecDeque};

use base::Offset;
use serde::{Deserialize, Serialize};

use crate::batch::add_sequence;
use crate::batch::check::Facts;
use crate::error::AppendError;

/// A retry of one of so many last batches is a duplicate, as in Kafka.
const DUPLICATES_KNOWN: usize = 5;
/// So many are kept: when the newest are not durable yet, a checkpoint still has the ones before them.
const BATCHES_KEPT: usize = 2 * DUPLICATES_KNOWN;

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
    /// Oldest first.
    pub batches: VecDeque<Written>,
}

/// What a batch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    New,
    Duplicate(Written),
}

/// The producers of one partition by id.
#[derive(Debug, Default)]
pub(crate) struct Producers(HashMap<i64, Producer>);

impl Producers {
    pub(crate) fn check(&self, facts: &Facts) -> Result<Verdict, AppendError> {
        if facts.producer_id < 0 {
            return Ok(Verdict::New);
        }
        // State that is gone (expired, or never there) cannot tell a gap: Kafka takes the batch, and so do we.
        let Some(producer) = self.0.get(&facts.producer_id) else { return Ok(Verdict::New) };
        if facts.producer_epoch < producer.epoch {
            return Err(AppendError::ProducerFenced {
                producer_id: facts.producer_id,
                current: producer.epoch,
                got: facts.producer_epoch,
            });
        }
        let newer = facts.producer_epoch > producer.epoch;
        let Some(last) = producer.batches.back() else { return Ok(Verdict::New) };
        if !newer {
            let known = producer.batches.iter().rev().take(DUPLICATES_KNOWN);
            let twin = known
                .into_iter()
                .find(|b| (b.first_sequence, b.last_sequence) == (facts.base_sequence, facts.last_sequence));
            if let Some(twin) = twin {
                return Ok(Verdict::Duplicate(*twin));
            }
        }
        let expected = if newer { 0 } else { add_sequence(last.last_sequence, 1) };
        if facts.base_sequence == expected {
            Ok(Verdict::New)
        } else {
            Err(AppendError::OutOfOrderSequence {
                producer_id: facts.producer_id,
                expected,
                got: facts.base_sequence,
            })
        }
    }

    /// Notes a batch that was given its offsets. Knows at most `limit` producers; the quietest go first.
    pub(crate) fn note(&mut self, facts: &Facts, now_ms: i64, limit: usize) {
        if facts.producer_id < 0 {
            return;
        }
        if self.0.len() >= limit.max(1) && !self.0.contains_key(&facts.producer_id) {
            self.forget_quietest(limit.max(1) / 10 + 1);
        }
        let producer = self.0.entry(facts.producer_id).or_insert_with(|| Producer {
            epoch: facts.producer_epoch,
            seen_ms: now_ms,
            batches: VecDeque::new(),
        });
        if producer.epoch != facts.producer_epoch {
            producer.epoch = facts.producer_epoch;
            producer.batches.clear();
        }
        producer.seen_ms = now_ms;
        if producer.batches.len() == BATCHES_KEPT {
            producer.batches.pop_front();
        }
        producer.batches.push_back(Written {
            first_sequence: facts.base_sequence,
            last_sequence: facts.last_sequence,
            base_offset: facts.base_offset,
            last_offset: facts.last_offset,
            log_append_time_ms: facts.log_append_time.then_some(facts.max_timestamp_ms),
        });
    }

    fn forget_quietest(&mut self, count: usize) {
        let mut by_age: Vec<(i64, i64)> = self.0.iter().map(|(id, p)| (p.seen_ms, *id)).collect();
        by_age.sort_unstable();
        for (_, id) in by_age.into_iter().take(count) {
            self.0.remove(&id);
        }
    }

    /// Forgets producers that wrote nothing since `ms`.
    pub(crate) fn expire(&mut self, ms: i64) {
        self.0.retain(|_, producer| producer.seen_ms >= ms);
    }

    /// The state as of `durable`: a batch beyond it may be lost in a crash, and its retry must not count as duplicate.
    pub(crate) fn as_of(&self, durable: Offset) -> Vec<(i64, Producer)> {
        let mut known: Vec<(i64, Producer)> = self
            .0
            .iter()
            .filter_map(|(id, producer)| {
                let mut producer = producer.clone();
                producer.batches.retain(|b| b.last_offset < durable);
                (!producer.batches.is_empty()).then_some((*id, producer))
            })
            .collect();
        known.sort_unstable_by_key(|(id, _)| *id);
        known
    }

    pub(crate) fn restore(&mut self, known: Vec<(i64, Producer)>) {
        self.0 = known.into_iter().collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        }
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
    fn a_checkpoint_knows_only_what_is_durable() {
        let mut producers = Producers::default();
        for i in 0..8 {
            producers.note(&facts(0, i, 1, i64::from(i)), 5, 10);
        }
        let known = producers.as_of(4);
        let mut restored = Producers::default();
        restored.restore(known);
        assert!(matches!(restored.check(&facts(0, 3, 1, 0)), Ok(Verdict::Duplicate(_))));
        assert_eq!(restored.check(&facts(0, 4, 1, 0)).ok(), Some(Verdict::New));
        restored.expire(6);
        assert_eq!(restored.check(&facts(0, 99, 1, 0)).ok(), Some(Verdict::New));
    }
}
