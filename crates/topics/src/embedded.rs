//! The embedded log: local segments behind a write-ahead log.

use std::collections::BTreeMap;
use std::sync::Arc;

use base::{LogId, Offset, PartitionId, SharedClock, Supervisor, TopicId};
use bytes::Bytes;
use tokio::sync::watch;

use crate::error::*;
use crate::log::*;
use crate::settings::Settings;
use crate::topic::*;

/// The log of one data directory. Clones share it.
#[derive(Debug, Clone)]
pub struct Topics {}

/// A handle on one partition. Clones share it; it outlives the topic, whose deletion it reports as `UnknownPartition`.
#[derive(Debug, Clone)]
pub struct Partition {}

/// What the log stands on.
#[derive(Debug, Clone)]
pub struct Deps {
    pub directory: storage::DataDirectory,
    pub control: storage::Control,
    pub clock: SharedClock,
}

impl Topics {
    /// Recovers the log of `deps.directory` and starts its writer.
    pub fn open(_settings: Settings, _deps: Deps, _supervisor: &Supervisor) -> Result<Self, OpenError> {
        unimplemented!()
    }
    pub fn settings(&self) -> &Settings {
        unimplemented!()
    }
    pub fn log_id(&self) -> LogId {
        unimplemented!()
    }
    /// Grows by one at every unclean start; the leader epoch of everything appended since.
    pub fn leader_epoch(&self) -> i32 {
        unimplemented!()
    }
    /// Stops taking appends, syncs, and leaves a clean-shutdown mark. Idempotent.
    pub async fn close(&self) -> Result<(), std::io::Error> {
        unimplemented!()
    }
    /// Set once an I/O error took the log offline.
    pub fn offline(&self) -> Option<String> {
        unimplemented!()
    }

    pub fn create(&self, _topic: NewTopic) -> Result<Arc<TopicInfo>, TopicError> {
        unimplemented!()
    }
    /// Checks what `create` would, without creating.
    pub fn validate(&self, _topic: &NewTopic) -> Result<(), TopicError> {
        unimplemented!()
    }
    pub fn delete(&self, _name: &str) -> Result<TopicId, TopicError> {
        unimplemented!()
    }
    pub fn add_partitions(&self, _name: &str, _total: i32) -> Result<Arc<TopicInfo>, TopicError> {
        unimplemented!()
    }
    /// Sets (`Some`) and resets (`None`) properties.
    pub fn alter_config(
        &self,
        _name: &str,
        _changes: &[(String, Option<String>)],
    ) -> Result<Arc<TopicInfo>, TopicError> {
        unimplemented!()
    }
    pub fn list(&self) -> Vec<Arc<TopicInfo>> {
        unimplemented!()
    }
    pub fn topic(&self, _name: &str) -> Option<Arc<TopicInfo>> {
        unimplemented!()
    }
    pub fn topic_by_id(&self, _id: TopicId) -> Option<Arc<TopicInfo>> {
        unimplemented!()
    }
    /// Changes whenever a topic is created, deleted or altered.
    pub fn watch_topics(&self) -> watch::Receiver<u64> {
        unimplemented!()
    }

    pub fn partition(&self, _topic: &str, _partition: PartitionId) -> Option<Partition> {
        unimplemented!()
    }

    /// Takes one v2 batch: checks it, gives it its offsets (in call order) and queues it. The result resolves once
    /// it is durable. `batch` is patched in place when it is the only owner of its bytes.
    pub fn append(
        &self,
        _topic: &str,
        _partition: PartitionId,
        _batch: Bytes,
    ) -> Result<PendingAppend, AppendError> {
        unimplemented!()
    }

    /// Takes over the name of a writer: its epoch from now on. Older epochs are fenced. Durable on return.
    pub async fn claim_writer(&self, _writer: &WriterId) -> Result<Progress, AppendError> {
        unimplemented!()
    }
    /// The last stored progress of a writer.
    pub fn progress(&self, _writer: &WriterId) -> Option<Progress> {
        unimplemented!()
    }
    /// Stores batches and progress as one; resolves once durable and visible.
    pub async fn append_atomically(
        &self,
        _append: AtomicAppend,
    ) -> Result<Vec<(TopicPartition, Appended)>, AppendError> {
        unimplemented!()
    }

    /// One vector of stable marks of all topics.
    pub fn cut(&self) -> Cut {
        unimplemented!()
    }

    /// A new producer id with epoch 0, durable before it is returned. (Transactional ids come with transactions.)
    pub async fn init_producer(&self) -> Result<(i64, i16), AppendError> {
        unimplemented!()
    }

    /// Reports how far an inner consumer has come in a topic: the `materialized` mark, and a group for lag tools.
    pub fn note_consumed(&self, _group: &str, _topic: &str, _partition: PartitionId, _next: Offset) {
        unimplemented!()
    }
    /// Forgets an inner consumer.
    pub fn forget_consumer(&self, _group: &str) {
        unimplemented!()
    }
    /// Inner consumers.
    pub fn consumers(&self) -> Vec<Consumed> {
        unimplemented!()
    }
}

impl Partition {
    pub fn topic(&self) -> &TopicInfo {
        unimplemented!()
    }
    pub fn index(&self) -> PartitionId {
        unimplemented!()
    }
    pub fn marks(&self) -> Marks {
        unimplemented!()
    }
    /// Follows the durable mark: changes when something becomes readable (stable moves with it until transactions).
    pub fn watch_durable(&self) -> watch::Receiver<Offset> {
        unimplemented!()
    }
    /// Whole batches from the one that holds `from`, up to but not including offset `end` (cap it at a mark), at
    /// least one batch, then as many as fit in `max_bytes`. Never reads beyond `durable`.
    pub fn read(&self, _from: Offset, _end: Offset, _max_bytes: usize) -> Result<ReadBatches, ReadError> {
        unimplemented!()
    }
    /// First record whose timestamp is at least `timestamp_ms`: (offset, timestamp).
    pub fn offset_for_timestamp(&self, _timestamp_ms: i64) -> Result<Option<(Offset, i64)>, ReadError> {
        unimplemented!()
    }
    /// The record with the largest timestamp: (offset, timestamp).
    pub fn max_timestamp(&self) -> Result<Option<(Offset, i64)>, ReadError> {
        unimplemented!()
    }
    /// For KIP-320: the largest epoch ≤ `epoch` and the offset where it ended.
    pub fn end_of_epoch(&self, _epoch: i32) -> Option<(i32, Offset)> {
        unimplemented!()
    }
    /// xxh3-64 of the record batch (verbatim bytes without base offset and leader epoch) that holds `offset`:
    /// tells one log from another copy of it. None when the offset is not in the log (any more).
    pub fn batch_hash(&self, _offset: Offset) -> Result<Option<u64>, ReadError> {
        unimplemented!()
    }
    /// Bytes on disk.
    pub fn size_bytes(&self) -> u64 {
        unimplemented!()
    }
}

#[allow(dead_code)]
type Unused = BTreeMap<(), ()>;
