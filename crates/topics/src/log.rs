//! The words of the log port: what the code above the log sees, whichever side is behind it.
//!
//! Owns: marks, cuts, progress, pending appends.
//! Does not own: how they are stored (`embedded`) or fetched from a cluster (`cluster`).

use std::any::Any;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use base::{Offset, PartitionId, TopicId, TopicName};
use bytes::Bytes;

use crate::batch::BatchView;
use crate::error::AppendError;

/// One partition of one topic, by name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    pub topic: TopicName,
    pub partition: PartitionId,
}

/// The marks of a partition, each the next offset beyond what it covers:
/// `log_start ≤ materialized ≤ stable ≤ durable ≤ appended`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Marks {
    /// First offset that is still kept.
    pub log_start: Offset,
    /// Below it, everything is in the topic's tables (equals `stable` when there are none).
    pub materialized: Offset,
    /// Below it, no transaction is open: what tables and `read_committed` consumers may see.
    pub stable: Offset,
    /// Below it, everything survives a power cut. This is Kafka's high watermark.
    pub durable: Offset,
    /// Next offset to be given out.
    pub appended: Offset,
}

/// What an append was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Offset of the first record.
    pub base_offset: Offset,
    /// Offset of the last record.
    pub last_offset: Offset,
    /// Set when the topic stamps records itself (`message.timestamp.type=LogAppendTime`), ms.
    pub log_append_time_ms: Option<i64>,
    /// Log start at that moment.
    pub log_start: Offset,
    /// The batch had been written before; this is where.
    pub duplicate: bool,
}

/// What an append waits for before it resolves: Kafka's `acks`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Until {
    /// The batch survives the end of this process, not a power cut (`acks=1`). It is not readable yet.
    Written,
    /// The batch survives a power cut and is readable (`acks=all`).
    #[default]
    Durable,
}

/// Something that is kept until a batch is durable, then dropped: a share in a limit on unsynced bytes.
pub type Hold = Option<Arc<dyn Any + Send + Sync>>;

/// On which terms a batch is taken.
#[derive(Debug, Clone, Default)]
pub struct Terms {
    pub until: Until,
    /// Of a client whose request bears one: a batch that is transactional must belong to its open transaction.
    pub transactional_id: Option<Arc<str>>,
    /// Dropped once the batch is durable or lost, whether anybody waits for the append or not.
    pub hold: Hold,
}

/// An append that has its offset and waits for its terms to be met. Dropping it does not undo it.
pub struct PendingAppend(pub(crate) Pin<Box<dyn Future<Output = Result<Appended, AppendError>> + Send>>);

impl Future for PendingAppend {
    type Output = Result<Appended, AppendError>;
    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<Appended, AppendError>> {
        self.0.as_mut().poll(cx)
    }
}

impl std::fmt::Debug for PendingAppend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PendingAppend")
    }
}

/// Name of a writer of atomic appends, for example `pipeline/vwap_1m`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WriterId(pub Arc<str>);

impl WriterId {
    /// A writer called `name`.
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }
}

/// A writer's progress as it is stored: opaque to the log.
pub type ProgressValue = Bytes;

/// What is known of a named writer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Epoch of the last writer that claimed the name.
    pub epoch: i64,
    /// The value of its last atomic append; none when it has only been claimed.
    pub value: Option<ProgressValue>,
}

/// Batches for several partitions plus one progress value: visible at once, or never.
///
/// A batch is a complete Kafka v2 batch (build it with [`crate::batch::BatchBuilder`]); a partition may occur once.
/// With no batches at all it only stores the progress.
#[derive(Debug)]
pub struct AtomicAppend {
    pub writer: WriterId,
    /// Must be the epoch that `claim_writer` returned last.
    pub epoch: i64,
    pub batches: Vec<(TopicPartition, Bytes)>,
    pub progress: ProgressValue,
}

/// One vector of stable marks that never splits an atomic append, nor a transaction.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cut(pub Arc<BTreeMap<(TopicId, PartitionId), Offset>>);

impl Cut {
    /// The stable mark of a partition at the moment of the cut; 0 for one that it does not know.
    pub fn stable(&self, topic: TopicId, partition: PartitionId) -> Offset {
        self.0.get(&(topic, partition)).copied().unwrap_or(0)
    }
}

/// Whole batches read from a partition, in offset order. The first may begin before the asked offset.
#[derive(Debug, Clone, Default)]
pub struct ReadBatches {
    /// Concatenated v2 batches.
    pub bytes: Bytes,
    /// Offset to go on from: one past the last record of the last batch; the asked offset when there are none.
    pub next: Offset,
    /// The partition's marks when it was read.
    pub marks: Marks,
    /// Transactions that were aborted and have records here, by first offset. Readers of committed records skip these.
    pub aborted: Vec<AbortedTransaction>,
}

impl ReadBatches {
    /// Whether the records of `batch`, one of these, belong to a transaction that was aborted.
    pub fn is_aborted(&self, batch: &BatchView) -> bool {
        batch.is_transactional()
            && !batch.is_control()
            && self.aborted.iter().any(|aborted| {
                aborted.producer_id == batch.producer_id()
                    && (aborted.first_offset..=aborted.last_offset).contains(&batch.base_offset())
            })
    }
}

/// A transaction that was aborted, as one partition saw it (an entry of Kafka's transaction index).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AbortedTransaction {
    pub producer_id: i64,
    /// Offset of its first record.
    pub first_offset: Offset,
    /// Offset of its marker.
    pub last_offset: Offset,
    /// The partition's stable mark once the marker was written: whatever ends later begins at or beyond it.
    pub stable: Offset,
}

/// A producer with state in a partition, for DescribeProducers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerInfo {
    pub producer_id: i64,
    pub epoch: i16,
    /// Sequence of its last record; -1 when it wrote none in this epoch.
    pub last_sequence: i32,
    /// When it last wrote, by the node's clock, ms.
    pub seen_ms: i64,
    /// Epoch of the coordinator that last ended a transaction of it; -1: none did.
    pub coordinator_epoch: i32,
    /// First offset of its open transaction.
    pub open_since: Option<Offset>,
}

/// A consumer of a topic that is part of this process, as lag tools see it: a group with stored offsets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consumed {
    /// Group name, for example `frazil.materialize.trades`.
    pub group: String,
    /// Next offset to read, per partition of the topics it reads.
    pub offsets: BTreeMap<TopicPartition, Offset>,
}
