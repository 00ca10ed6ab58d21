//! The embedded log: local segments behind a write-ahead log.
//!
//! Owns: opening and closing, the public face of topics and partitions; its children own the parts: `append` gives
//! offsets out, `queue` carries work to the `writer` thread, `record` is what the write-ahead log holds, `segments`,
//! `index`, `walk` and `read` are the files of a partition, `producers` is idempotence and open transactions, `settled`
//! their durable state, `cuts` what several partitions show together, `transactions` the coordinator, `checkpoint` and
//! `recovery` are restarts, `admin` is topics, `groups` are consumer groups, `space` guards the disk, `upkeep` is when
//! old records go, `retention` which and `log_start` how; `handle` is what a [`Partition`] offers; `compaction` keeps the last record of each key.
//! Does not own: bytes on the wire, payloads.
//! Invariants: what is acknowledged is durable; what is readable is durable; threads end with the last [`Topics`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak, mpsc};
use std::thread::{self, JoinHandle};

use base::{LogId, Offset, PartitionId, SharedClock, Supervisor, TaskKind, TopicId};
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{OnceCell, oneshot, watch};

use crate::error::*;
use crate::log::*;
use crate::settings::Settings;
use crate::topic::*;
use crate::transactions::{Transaction, TransactionInfo, TransactionalProducer};

mod admin;
mod append;
mod checkpoint;
mod compaction;
mod cuts;
mod files;
mod groups;
mod handle;
mod index;
mod log_start;
mod partition;
mod producers;
mod queue;
mod read;
mod record;
mod recovery;
mod retention;
mod segments;
mod settled;
mod shared;
mod space;
mod transactions;
mod upkeep;
mod walk;
mod writer;

pub use compaction::Compacted;
pub use groups::Groups;
use partition::PartitionState;
pub use retention::Removed;
use shared::Shared;
pub use upkeep::Upkeep;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use {
    checkpoint::Checkpoint, index::Index, index::times_of, record::decode as decode_record, walk::Walk,
};
#[cfg(feature = "sabotage")]
pub(crate) use {producers::Producers, queue::Ack};

/// Checkpoints that may wait for the disk before the log writer waits for them.
const CHECKPOINTS_WAITING: usize = 1;

/// The log of one data directory. Clones share it; dropping the last one without [`Topics::close`] ends its threads
/// at once, as a crash would.
#[derive(Debug, Clone)]
pub struct Topics {
    running: Arc<Running>,
}

/// A handle on one partition. Clones share it; it outlives the topic, whose deletion it reports as `UnknownPartition`.
#[derive(Debug, Clone)]
pub struct Partition {
    info: Arc<TopicInfo>,
    state: Arc<PartitionState>,
}

/// What the log stands on.
#[derive(Debug, Clone)]
pub struct Deps {
    pub directory: storage::DataDirectory,
    pub control: storage::Control,
    pub clock: SharedClock,
}

/// The threads of an open log.
#[derive(Debug)]
struct Running {
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
    closed: OnceCell<Result<(), String>>,
    ended: watch::Sender<bool>,
}

/// Without a writer nobody must wait for the queue, however the writer ended.
struct StopsQueue(Arc<Shared>);

impl Drop for StopsQueue {
    fn drop(&mut self) {
        self.0.queue.stop();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.ended.send_replace(true);
        self.shared.ending.store(true, Ordering::Release);
        self.shared.queue.stop();
        drop(self.shared.upkeep.lock());
        if let Some(writer) = self.writer.lock().take() {
            // A panic of the thread has been reported where it happened.
            let _ = writer.join();
        }
    }
}

impl Running {
    fn start(shared: Shared, wal: storage::wal::Wal) -> Result<Self, std::io::Error> {
        let shared = Arc::new(shared);
        let (sender, pending) = mpsc::sync_channel(CHECKPOINTS_WAITING);
        let for_checkpoints = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("log-checkpoint".into())
            .spawn(move || checkpoint::run(&for_checkpoints, &pending))?;
        let checkpoints = writer::Checkpoints { sender, thread };
        let for_writer = Arc::clone(&shared);
        let writer = thread::Builder::new().name("log-writer".into()).spawn(move || {
            let _ends = StopsQueue(Arc::clone(&for_writer));
            writer::run(&for_writer, wal, checkpoints);
        })?;
        Ok(Self {
            shared,
            writer: Mutex::new(Some(writer)),
            closed: OnceCell::new(),
            ended: watch::Sender::new(false),
        })
    }

    async fn close(&self) -> Result<(), String> {
        self.shared.ending.store(true, Ordering::Release);
        let shared = Arc::clone(&self.shared);
        // Nothing touches the directory once it is closed.
        let _ = tokio::task::spawn_blocking(move || drop(shared.upkeep.lock())).await;
        let (done, closed) = oneshot::channel();
        self.shared.queue.close("the log is closed");
        {
            let mut queue = self.shared.queue.lock();
            if queue.is_stopped() {
                return Err("the log writer has ended".into());
            }
            queue.push(queue::Work::Close { done }, 0);
        }
        let outcome = match closed.await {
            Ok(outcome) => outcome.map_err(|e| e.to_string()),
            Err(_) => Err("the log writer has ended".into()),
        };
        self.shared.queue.stop();
        outcome
    }
}

/// Closes the log when the supervisor stops its phase. Holds no [`Topics`], so that dropping them still ends the log.
fn close_with(supervisor: &Supervisor, running: &Arc<Running>) {
    let weak: Weak<Running> = Arc::downgrade(running);
    let mut ended = running.ended.subscribe();
    supervisor.spawn(TaskKind::LogUpkeep, "close the log", |shutdown| async move {
        tokio::select! {
            () = shutdown.requested() => {}
            _ = ended.wait_for(|ended| *ended) => return Ok(()),
        }
        match weak.upgrade() {
            Some(running) => Ok(running.closed.get_or_init(|| running.close()).await.clone()?),
            None => Ok(()),
        }
    });
}

impl Topics {
    /// Recovers the log of `deps.directory` and starts its writer. Blocking.
    pub fn open(settings: Settings, deps: Deps, supervisor: &Supervisor) -> Result<Self, OpenError> {
        let (shared, wal) = recovery::recover(settings, deps)?;
        groups::load(&shared)?;
        let running = Running::start(shared, wal)
            .map_err(|source| OpenError::Io { context: "starting the log's threads".into(), source })?;
        let running = Arc::new(running);
        transactions::load(&running.shared)?;
        admin::load_node_config(&running.shared)?;
        close_with(supervisor, &running);
        let swept = Arc::downgrade(&running.shared);
        supervisor.spawn(TaskKind::LogUpkeep, "end late transactions", |shutdown| async move {
            transactions::sweep(swept, shutdown).await;
            Ok(())
        });
        upkeep::start(supervisor, &running);
        groups::keep_time(supervisor, &running);
        Ok(Self { running })
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.running.shared
    }

    /// What it was opened with.
    pub fn settings(&self) -> &Settings {
        &self.shared().settings
    }
    /// Identity of the log: that of its data directory.
    pub fn log_id(&self) -> LogId {
        self.shared().directory.log_id()
    }
    /// Where the log lies.
    pub fn data_dir(&self) -> &std::path::Path {
        self.shared().directory.path()
    }
    /// Bytes that may still be written there; none when the disk cannot tell.
    pub fn free_bytes(&self) -> Option<u64> {
        self.shared().directory.disk().free_bytes(self.data_dir()).ok()
    }
    /// Grows by one at every unclean start; the leader epoch of everything appended since.
    pub fn leader_epoch(&self) -> i32 {
        self.shared().leader_epoch
    }
    /// Stops taking appends, syncs, and leaves a clean-shutdown mark. Idempotent.
    pub async fn close(&self) -> Result<(), std::io::Error> {
        let outcome = self.running.closed.get_or_init(|| self.running.close()).await;
        outcome.clone().map_err(std::io::Error::other)
    }
    /// Set once an I/O error took the log offline.
    pub fn offline(&self) -> Option<String> {
        self.shared().offline()
    }
    /// Why appends are refused as long as nobody frees disk space.
    pub fn full(&self) -> Option<String> {
        self.shared().space.alarm()
    }
    /// What an operator should look at, although the log goes on.
    pub fn alarms(&self) -> Vec<String> {
        let shared = self.shared();
        shared.alarms.iter().cloned().chain(shared.space.alarm()).collect()
    }

    /// Creates a topic; durable on return. Blocks for about an fsync.
    pub fn create(&self, topic: NewTopic) -> Result<Arc<TopicInfo>, TopicError> {
        admin::create(self.shared(), &topic)
    }
    /// Checks what `create` would, without creating.
    pub fn validate(&self, topic: &NewTopic) -> Result<(), TopicError> {
        admin::validate(self.shared(), topic).map(|_| ())
    }
    /// Deletes a topic with all its records; durable on return. Blocks for about an fsync.
    pub fn delete(&self, name: &str) -> Result<TopicId, TopicError> {
        admin::delete(self.shared(), name)
    }
    /// Gives a topic more partitions, `total` in all; durable on return.
    pub fn add_partitions(&self, name: &str, total: i32) -> Result<Arc<TopicInfo>, TopicError> {
        admin::add_partitions(self.shared(), name, total)
    }
    /// Sets (`Some`) and resets (`None`) properties.
    pub fn alter_config(
        &self,
        name: &str,
        changes: &[(String, Option<String>)],
    ) -> Result<Arc<TopicInfo>, TopicError> {
        admin::alter_config(self.shared(), name, changes)
    }
    /// Properties that were set on the node, for topics that say nothing else.
    pub fn node_config(&self) -> TopicConfig {
        self.shared().node_config.read().clone()
    }
    /// Sets (`Some`) and resets (`None`) properties of the node, of those in [`ConfigKey::for_node`]; durable on return.
    pub fn alter_node_config(&self, changes: &[(String, Option<String>)]) -> Result<(), TopicError> {
        admin::alter_node_config(self.shared(), changes)
    }
    /// All topics by name.
    pub fn list(&self) -> Vec<Arc<TopicInfo>> {
        self.shared().topics.read().by_name.values().map(|t| Arc::clone(&t.info)).collect()
    }
    /// The topic of that name.
    pub fn topic(&self, name: &str) -> Option<Arc<TopicInfo>> {
        self.shared().topic(name).map(|t| Arc::clone(&t.info))
    }
    /// The topic in that life.
    pub fn topic_by_id(&self, id: TopicId) -> Option<Arc<TopicInfo>> {
        let topics = self.shared().topics.read();
        topics.by_name.get(topics.by_id.get(&id)?).map(|t| Arc::clone(&t.info))
    }
    /// Changes whenever a topic is created, deleted or altered.
    pub fn watch_topics(&self) -> watch::Receiver<u64> {
        self.shared().topics_changed.subscribe()
    }

    /// A handle on a partition, if it exists.
    pub fn partition(&self, topic: &str, partition: PartitionId) -> Option<Partition> {
        let topic = self.shared().topic(topic)?;
        let state = Arc::clone(topic.partition(partition)?);
        Some(Partition { info: Arc::clone(&topic.info), state })
    }

    /// Takes one v2 batch: checks it, gives it its offsets (in call order) and queues it. The result resolves once
    /// it is durable. The payload is shared, never copied.
    pub fn append(
        &self,
        topic: &str,
        partition: PartitionId,
        batch: Bytes,
    ) -> Result<PendingAppend, AppendError> {
        append::append(self.shared(), topic, partition, &batch, Terms::default())
    }

    /// As [`Self::append`], for a client that gives a transactional id: a batch that is transactional must belong to
    /// the open transaction of that id, to which its partition was added.
    pub fn append_transactional(
        &self,
        topic: &str,
        partition: PartitionId,
        batch: Bytes,
        transactional_id: &str,
    ) -> Result<PendingAppend, AppendError> {
        let terms = Terms { transactional_id: Some(transactional_id.into()), ..Terms::default() };
        append::append(self.shared(), topic, partition, &batch, terms)
    }

    /// Like [`Topics::append`], on other terms.
    pub fn append_on(
        &self,
        terms: Terms,
        topic: &str,
        partition: PartitionId,
        batch: Bytes,
    ) -> Result<PendingAppend, AppendError> {
        append::append(self.shared(), topic, partition, &batch, terms)
    }

    /// Resolves once a batch of `bytes` would not be refused as `Busy`: doors await it before they append, so that a
    /// slow disk slows producers down instead of failing them.
    pub async fn room(&self, bytes: usize) {
        self.shared().queue.room(bytes as u64).await;
    }

    /// Takes over the name of a writer: its epoch from now on. Older epochs are fenced. Durable on return.
    pub async fn claim_writer(&self, writer: &WriterId) -> Result<Progress, AppendError> {
        append::claim_writer(self.shared(), writer).await
    }
    /// The last stored progress of a writer.
    pub fn progress(&self, writer: &WriterId) -> Option<Progress> {
        self.shared().writers.lock().progress(writer)
    }
    /// Stores batches and progress as one; resolves once durable and visible.
    pub async fn append_atomically(
        &self,
        append: AtomicAppend,
    ) -> Result<Vec<(TopicPartition, Appended)>, AppendError> {
        append::append_atomically(self.shared(), append).await
    }

    /// One vector of stable marks of all topics.
    pub fn cut(&self) -> Cut {
        Cut(Arc::new(self.shared().stable_marks()))
    }

    /// A new producer id with epoch 0, durable before it is returned.
    pub async fn init_producer(&self) -> Result<(i64, i16), AppendError> {
        append::init_producer(self).await
    }
    /// Producer id and epoch for whoever takes over a transactional id: older epochs are fenced, their transaction is
    /// aborted. `known` is what a producer that recovers has (KIP-360). Durable on return.
    pub async fn init_transactional_producer(
        &self,
        transactional_id: &str,
        timeout_ms: i32,
        known: Option<(i64, i16)>,
    ) -> Result<(i64, i16), TransactionError> {
        transactions::init(self, transactional_id, timeout_ms, known).await
    }
    /// Begins a transaction, or widens it: its producer may now write to these partitions. Durable on return.
    pub async fn add_partitions_to_transaction(
        &self,
        producer: TransactionalProducer<'_>,
        partitions: &BTreeSet<TopicPartition>,
    ) -> Result<(), TransactionError> {
        transactions::add_partitions(self, producer, partitions).await
    }
    /// The same for the offsets of consumer groups. Durable on return.
    pub async fn add_offsets_to_transaction(
        &self,
        producer: TransactionalProducer<'_>,
    ) -> Result<(), TransactionError> {
        transactions::add_offsets(self, producer).await
    }
    /// Commits or aborts the open transaction, in all its partitions at once. Durable and visible on return; asked
    /// again with the same outcome it succeeds again.
    pub async fn end_transaction(
        &self,
        producer: TransactionalProducer<'_>,
        committed: bool,
    ) -> Result<(), TransactionError> {
        transactions::end(self, producer, committed).await
    }
    /// Ends what a producer has open in one partition, as an operator asks. A transaction that the coordinator knows is
    /// aborted whole, and its producer is fenced; nothing happens when none is open. Durable on return.
    pub async fn write_marker(
        &self,
        at: &TopicPartition,
        producer: (i64, i16),
        committed: bool,
    ) -> Result<(), TransactionError> {
        transactions::write_marker(self, at, producer, committed).await
    }
    /// The log's clock, ms.
    pub fn now_ms(&self) -> i64 {
        self.shared().clock.now_ms()
    }
    /// All transactional ids, in order.
    pub fn transactions(&self) -> Vec<TransactionInfo> {
        transactions::list(self.shared())
    }
    /// What is known of a transactional id.
    pub fn transaction(&self, transactional_id: &str) -> Option<Transaction> {
        transactions::one(self.shared(), transactional_id)
    }

    /// Removes the records below `before` (none: below the high watermark), as soon as the topic's tables have them;
    /// returns where the partition begins now, durably. Blocks for about an fsync.
    pub fn delete_records(
        &self,
        topic: &str,
        partition: PartitionId,
        before: Option<Offset>,
    ) -> Result<Offset, DeleteRecordsError> {
        log_start::delete_records(self.shared(), topic, partition, before)
    }

    /// Does now what upkeep does from time to time: closes segments that are due, removes what is too old or too
    /// much, compacts what is worth it. Blocking.
    pub fn upkeep(&self) -> Upkeep {
        upkeep::run(self.shared(), true)
    }

    /// Reports how far an inner consumer has come in a topic: the `materialized` mark, and a group for lag tools.
    pub fn note_consumed(&self, group: &str, topic: &str, partition: PartitionId, next: Offset) {
        if let Ok((_, state)) = self.shared().topic_and_partition(topic, partition) {
            state.note_consumed(group, next);
        }
    }
    /// Forgets an inner consumer.
    pub fn forget_consumer(&self, group: &str) {
        for partition in self.shared().partitions() {
            partition.forget_consumer(group);
        }
    }
    /// Inner consumers.
    pub fn consumers(&self) -> Vec<Consumed> {
        let mut groups: BTreeMap<String, BTreeMap<TopicPartition, Offset>> = BTreeMap::new();
        for partition in self.shared().partitions() {
            let at = TopicPartition { topic: partition.name.clone(), partition: partition.index };
            for (group, next) in partition.consumers() {
                groups.entry(group).or_default().insert(at.clone(), next);
            }
        }
        groups.into_iter().map(|(group, offsets)| Consumed { group, offsets }).collect()
    }
}

#[cfg(test)]
mod tests;
