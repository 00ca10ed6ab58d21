//! What a handle on a partition offers.
//!
//! Owns: the public face of a partition.
//! Does not own: the partition.

use std::sync::atomic::Ordering;

use base::{Offset, PartitionId};
use tokio::sync::watch;

use super::Partition;
use crate::error::ReadError;
use crate::log::{Marks, ProducerInfo, ReadBatches};
use crate::topic::TopicInfo;

impl Partition {
    /// The topic as it was when the handle was made.
    pub fn topic(&self) -> &TopicInfo {
        &self.info
    }
    /// Index in the topic.
    pub fn index(&self) -> PartitionId {
        self.state.index
    }
    /// All marks now. For several partitions at once take a [`Topics::cut`].
    pub fn marks(&self) -> Marks {
        self.state.marks()
    }
    /// Producers with state here, by id.
    pub fn producers(&self) -> Vec<ProducerInfo> {
        self.state.appending.lock().producers.infos()
    }
    /// The stable mark that a [`Topics::cut`] taken now would have. At most the partition's own stable mark: it waits
    /// for the parts that atomic appends and transactions have in other partitions.
    pub fn cut_mark(&self) -> Offset {
        self.state.cut_mark().min(self.state.marks().stable)
    }
    /// Follows the durable mark: changes when something becomes readable, and whenever another mark moves.
    pub fn watch_durable(&self) -> watch::Receiver<Offset> {
        self.state.watch_durable()
    }
    /// Whole batches from the one that holds `from` on, of which each begins before offset `end` (cap it at a mark):
    /// at least one batch, then as many as fit in `max_bytes`. Never reads beyond `durable`. Checks every CRC.
    pub fn read(&self, from: Offset, end: Offset, max_bytes: usize) -> Result<ReadBatches, ReadError> {
        self.state.read(from, end, max_bytes)
    }
    /// First record whose timestamp is at least `timestamp_ms`: (offset, timestamp).
    pub fn offset_for_timestamp(&self, timestamp_ms: i64) -> Result<Option<(Offset, i64)>, ReadError> {
        self.state.offset_for_timestamp(timestamp_ms)
    }
    /// The record with the largest timestamp: (offset, timestamp).
    pub fn max_timestamp(&self) -> Result<Option<(Offset, i64)>, ReadError> {
        self.state.max_timestamp()
    }
    /// For KIP-320: the largest epoch ≤ `epoch` and the offset where it ended.
    pub fn end_of_epoch(&self, epoch: i32) -> Option<(i32, Offset)> {
        let durable = self.state.durable();
        self.state.appending.lock().epochs.end_of(epoch, durable)
    }
    /// xxh3-64 of the record batch (verbatim bytes without base offset and leader epoch) that holds `offset`:
    /// tells one log from another copy of it. None when the offset is not in the log (any more).
    pub fn batch_hash(&self, offset: Offset) -> Result<Option<u64>, ReadError> {
        self.state.batch_hash(offset)
    }
    /// Bytes that retention would have removed already and keeps for the topic's tables.
    pub fn held_bytes(&self) -> u64 {
        self.state.held.load(Ordering::Relaxed)
    }
    /// Bytes on disk.
    pub fn size_bytes(&self) -> u64 {
        self.state.size_bytes()
    }
}
