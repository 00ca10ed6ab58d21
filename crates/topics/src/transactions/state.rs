//! The state machine of one transactional id: what a request makes of its state.
//!
//! Owns: which requests are taken in which state, epochs and their end, repeated requests.
//! Does not own: time, storage, markers.
//! Invariants: pure; follows Kafka's TransactionMetadata (`prepare…`) and TransactionCoordinator (`handle…`). What is
//! refused leaves the state as it is; what was answered once is answered the same again.

use std::collections::BTreeSet;

use super::{NO_EPOCH, NO_PRODUCER_ID, Transaction, TransactionState};
use crate::log::TopicPartition;

use TransactionState::*;

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Another producer id has the transactional id.
    ProducerIdMapping,
    Fenced,
    /// The state does not allow it: why.
    State(&'static str),
    /// The transaction is just ending.
    Concurrent,
}

/// What InitProducerId comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Init {
    /// Store this; its producer id and epoch are the answer.
    Store(Transaction),
    /// The answer was lost: the present id and epoch are it.
    Repeat,
    /// Abort the ongoing transaction first, under this epoch, which nobody is ever given.
    Abort(i16),
    /// The epochs have run out: a new producer id is needed.
    Rotate,
}

/// What adding partitions or ending comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    Store(Transaction),
    /// It is so already.
    Done,
}

/// The last epoch is never given out: it is left for fencing.
fn is_exhausted(epoch: i16) -> bool {
    epoch >= i16::MAX - 1
}

impl Transaction {
    /// A transactional id that nobody has had.
    pub(crate) fn new(producer_id: i64, timeout_ms: i32, now_ms: i64) -> Self {
        Self {
            producer_id,
            producer_epoch: 0,
            previous_producer_id: NO_PRODUCER_ID,
            previous_epoch: NO_EPOCH,
            timeout_ms,
            state: Empty,
            partitions: BTreeSet::new(),
            start_ms: -1,
            updated_ms: now_ms,
        }
    }

    /// InitProducerId; `known` is what a producer that recovers says it has (KIP-360).
    pub(crate) fn init(
        &self,
        known: Option<(i64, i16)>,
        timeout_ms: i32,
        now_ms: i64,
    ) -> Result<Init, Refused> {
        if let Some((id, epoch)) = known {
            let is_previous = id == self.previous_producer_id && is_exhausted(epoch);
            if id != self.producer_id && !is_previous {
                return Err(Refused::Fenced);
            }
        }
        match self.state {
            PrepareCommit | PrepareAbort | PrepareEpochFence => Err(Refused::Concurrent),
            Dead => Err(Refused::State("it is being removed")),
            Ongoing => {
                // Who is fenced already must not end the transaction of who fenced it.
                let is_other = |(id, epoch)| (id, epoch) != (self.producer_id, self.producer_epoch);
                if known.is_some_and(is_other) {
                    return Err(Refused::Fenced);
                }
                Ok(Init::Abort(self.fencing_epoch()))
            }
            Empty | CompleteCommit | CompleteAbort => {
                let fits = known.is_none_or(|(_, epoch)| epoch == self.producer_epoch);
                if is_exhausted(self.producer_epoch) && fits {
                    return Ok(Init::Rotate);
                }
                let previous_epoch = match known {
                    None => NO_EPOCH,
                    Some((id, epoch)) if (id, epoch) == (self.producer_id, self.producer_epoch) => epoch,
                    Some((_, epoch)) if epoch == self.previous_epoch && epoch != NO_EPOCH => {
                        return Ok(Init::Repeat);
                    }
                    Some(_) => return Err(Refused::Fenced),
                };
                let producer_epoch = self.producer_epoch + 1;
                Ok(Init::Store(Self { producer_epoch, previous_epoch, timeout_ms, ..self.emptied(now_ms) }))
            }
        }
    }

    /// After [`Init::Rotate`]: the same transactional id with a new producer id.
    pub(crate) fn rotated(
        &self,
        producer_id: i64,
        known: Option<(i64, i16)>,
        timeout_ms: i32,
        now_ms: i64,
    ) -> Self {
        Self {
            producer_id,
            producer_epoch: 0,
            previous_producer_id: self.producer_id,
            previous_epoch: known.map_or(NO_EPOCH, |_| self.producer_epoch),
            timeout_ms,
            ..self.emptied(now_ms)
        }
    }

    fn emptied(&self, now_ms: i64) -> Self {
        Self { state: Empty, partitions: BTreeSet::new(), start_ms: -1, updated_ms: now_ms, ..self.clone() }
    }

    /// The epoch under which an ongoing transaction is aborted against its producer's will.
    pub(crate) fn fencing_epoch(&self) -> i16 {
        self.producer_epoch.saturating_add(1)
    }

    fn check_producer(&self, producer_id: i64, epoch: i16) -> Result<(), Refused> {
        if producer_id != self.producer_id {
            Err(Refused::ProducerIdMapping)
        } else if epoch != self.producer_epoch {
            Err(Refused::Fenced)
        } else {
            Ok(())
        }
    }

    /// AddPartitionsToTxn and AddOffsetsToTxn.
    pub(crate) fn add(
        &self,
        producer: (i64, i16),
        more: &BTreeSet<TopicPartition>,
        now_ms: i64,
    ) -> Result<Step, Refused> {
        self.check_producer(producer.0, producer.1)?;
        match self.state {
            PrepareCommit | PrepareAbort => Err(Refused::Concurrent),
            Dead | PrepareEpochFence => Err(Refused::State("it takes no partitions")),
            Ongoing if more.is_subset(&self.partitions) => Ok(Step::Done),
            Ongoing => Ok(Step::Store(Self {
                partitions: self.partitions.union(more).cloned().collect(),
                updated_ms: now_ms,
                ..self.clone()
            })),
            Empty | CompleteCommit | CompleteAbort => Ok(Step::Store(Self {
                state: Ongoing,
                partitions: more.clone(),
                start_ms: now_ms,
                updated_ms: now_ms,
                ..self.clone()
            })),
        }
    }

    /// Whether a batch of this producer may go to `partition` now.
    pub(crate) fn verify(&self, producer: (i64, i16), partition: &TopicPartition) -> Result<(), Refused> {
        self.check_producer(producer.0, producer.1)?;
        match self.state {
            Ongoing if self.partitions.contains(partition) => Ok(()),
            Ongoing => Err(Refused::State("the partition was not added to the transaction")),
            _ => Err(Refused::State("no transaction is ongoing")),
        }
    }

    /// EndTxn. The markers go to the partitions of the state before.
    pub(crate) fn end(&self, producer: (i64, i16), committed: bool, now_ms: i64) -> Result<Step, Refused> {
        self.check_producer(producer.0, producer.1)?;
        match (self.state, committed) {
            (Ongoing, _) => Ok(Step::Store(self.ended(self.producer_epoch, committed, now_ms))),
            (CompleteCommit, true) | (CompleteAbort, false) => Ok(Step::Done),
            (PrepareCommit, true) | (PrepareAbort, false) => Err(Refused::Concurrent),
            (CompleteCommit | PrepareCommit, false) => Err(Refused::State("it was committed")),
            (CompleteAbort | PrepareAbort, true) => Err(Refused::State("it was aborted")),
            (Empty, _) => Err(Refused::State("no transaction was begun")),
            (Dead | PrepareEpochFence, _) => Err(Refused::State("it is fenced")),
        }
    }

    /// The state once the transaction has ended under `epoch`.
    pub(crate) fn ended(&self, epoch: i16, committed: bool, now_ms: i64) -> Self {
        let previous_epoch = if epoch == self.producer_epoch { self.previous_epoch } else { NO_EPOCH };
        Self {
            state: if committed { CompleteCommit } else { CompleteAbort },
            producer_epoch: epoch,
            previous_epoch,
            partitions: BTreeSet::new(),
            updated_ms: now_ms,
            ..self.clone()
        }
    }

    /// Whether its ongoing transaction has lasted longer than it may.
    pub(crate) fn is_timed_out(&self, now_ms: i64) -> bool {
        self.state == Ongoing && now_ms.saturating_sub(self.start_ms) > i64::from(self.timeout_ms)
    }

    /// Whether nobody has used it since `ms`.
    pub(crate) fn is_idle_since(&self, ms: i64) -> bool {
        matches!(self.state, Empty | CompleteCommit | CompleteAbort) && self.updated_ms < ms
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
