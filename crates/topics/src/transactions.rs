//! Transactions: what a transactional id is, and how its state changes.
//!
//! Owns: the words of transactions, the state machine (`state`), the records that keep it (`records`).
//! Does not own: storing states and writing markers (`embedded/transactions`), which offsets are stable (`embedded`).
//! Invariants: follows Kafka's TransactionCoordinator and TransactionMetadata without KIP-890's second part
//! (`transaction.version` 1): an epoch belongs to a producer until it is initialised anew.

use std::collections::BTreeSet;

use crate::log::TopicPartition;

pub(crate) mod records;
pub(crate) mod state;

/// No producer id.
pub(crate) const NO_PRODUCER_ID: i64 = -1;
/// No epoch: nobody has been given one yet.
pub(crate) const NO_EPOCH: i16 = -1;

/// States of a transactional id, with Kafka's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TransactionState {
    /// No transaction yet, in this epoch.
    Empty,
    Ongoing,
    /// Decided, markers are missing. This log writes decision and markers as one, and never stores this.
    PrepareCommit,
    /// Decided, markers are missing. This log writes decision and markers as one, and never stores this.
    PrepareAbort,
    CompleteCommit,
    CompleteAbort,
    Dead,
    PrepareEpochFence,
}

impl TransactionState {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 8] = [
        Self::Empty,
        Self::Ongoing,
        Self::PrepareCommit,
        Self::PrepareAbort,
        Self::CompleteCommit,
        Self::CompleteAbort,
        Self::Dead,
        Self::PrepareEpochFence,
    ];

    /// Kafka's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Ongoing => "Ongoing",
            Self::PrepareCommit => "PrepareCommit",
            Self::PrepareAbort => "PrepareAbort",
            Self::CompleteCommit => "CompleteCommit",
            Self::CompleteAbort => "CompleteAbort",
            Self::Dead => "Dead",
            Self::PrepareEpochFence => "PrepareEpochFence",
        }
    }

    /// The state of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// A producer as it names itself in a request about its transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransactionalProducer<'a> {
    pub transactional_id: &'a str,
    pub producer_id: i64,
    pub producer_epoch: i16,
}

/// What is known of a transactional id. Times are ms since 1970 UTC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    pub producer_id: i64,
    pub producer_epoch: i16,
    /// The producer id before the present one, when epochs ran out; -1: none.
    pub previous_producer_id: i64,
    /// Epoch before the present one, when the producer asked for the present one itself (KIP-360); -1: none.
    pub(crate) previous_epoch: i16,
    /// An ongoing transaction is aborted so long after its start, ms.
    pub timeout_ms: i32,
    pub state: TransactionState,
    pub partitions: BTreeSet<TopicPartition>,
    /// When the first partition was added; -1: no transaction is ongoing.
    pub start_ms: i64,
    pub updated_ms: i64,
}

/// A transactional id, for ListTransactions and DescribeTransactions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionInfo {
    pub transactional_id: String,
    pub transaction: Transaction,
}
