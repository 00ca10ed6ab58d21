//! Appending: batches of clients, atomic appends, named writers, producer ids.
//!
//! Owns: the checks before a batch gets its offsets, giving offsets out, queueing.
//! Does not own: making it durable (the log writer does), which transactions are open (`transactions`).
//! Invariants: what is refused leaves no trace; offsets are given out in call order; a duplicate is answered only once
//! the batch it repeats is durable; a batch of a transaction gets its offsets while the transaction cannot end.

use std::sync::Arc;

use bytes::Bytes;
use storage::{ControlError, layout};

use super::Topics;
use super::partition::{Appending, PartitionState};
use super::producers::Verdict;
use super::queue::{Ack, Acknowledged, Placed, QueueGuard, Record, Work, WriterStep};
use super::record::WRITER_NAME_BYTES_MAX;
use super::shared::{Shared, TopicState};
use crate::batch::BatchView;
use crate::batch::check::{CheckedBatch, Origin, check};
use crate::error::AppendError;
use crate::log::{Appended, AtomicAppend, PendingAppend, Progress, Terms, TopicPartition, WriterId};

/// Room that work without bytes takes in the queue.
const BARRIER_BYTES: u64 = 64;
/// Producer ids are taken from the control store in blocks of so many.
const PRODUCER_IDS: i64 = 1_000;
const PRODUCER_IDS_KEY: &str = "producer-ids/next";

/// A batch that passed the checks, with the partition it is for.
pub(crate) struct Candidate {
    state: Arc<TopicState>,
    partition: Arc<PartitionState>,
    batch: CheckedBatch,
}

/// Who appends a batch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sender<'a> {
    pub origin: Origin,
    /// Whose transaction the batch belongs to when it is transactional.
    pub transactional_id: Option<&'a str>,
}

impl Shared {
    pub(crate) fn refuse_offline(&self) -> Result<(), AppendError> {
        self.offline().map_or(Ok(()), |reason| Err(AppendError::Offline(reason)))
    }

    fn candidate(
        &self,
        topic: &str,
        partition: i32,
        batch: &Bytes,
        origin: Origin,
    ) -> Result<Candidate, AppendError> {
        let (state, partition) = self.topic_and_partition(topic, partition)?;
        if origin == Origin::Client && state.info.is_internal() {
            return Err(AppendError::InternalTopic(topic.to_owned()));
        }
        let batch = check(topic, batch, &state.rules, self.clock.now_ms(), origin)?;
        self.space.admit(batch.size(), || self.queue.waiting_bytes())?;
        Ok(Candidate { state, partition, batch })
    }

    /// A batch that this process has made itself. It is taken when the disk is nearly full: markers and states are
    /// small, and without them nothing that waits for them could be freed.
    pub(crate) fn own_candidate(
        &self,
        topic: &str,
        partition: i32,
        batch: &Bytes,
    ) -> Result<Candidate, AppendError> {
        let (state, partition) = self.topic_and_partition(topic, partition)?;
        let mut batch = CheckedBatch::stored(&BatchView::split_first(&mut batch.clone())?);
        if state.rules.log_append_time {
            batch.stamp_append_time(self.clock.now_ms());
        }
        Ok(Candidate { state, partition, batch })
    }

    /// Gives a batch its offsets. The caller holds the queue, so that offsets and queue have the same order.
    fn place(&self, candidate: Candidate, appending: &mut Appending) -> (Placed, Appended) {
        let Candidate { state, partition, mut batch } = candidate;
        batch.place(appending.next, self.leader_epoch);
        let facts = batch.facts();
        partition.note_appended(appending, &facts, self.clock.now_ms(), self.settings.producers_max);
        let appended = Appended {
            base_offset: facts.base_offset,
            last_offset: facts.last_offset,
            log_append_time_ms: state.rules.log_append_time.then_some(facts.max_timestamp_ms),
            log_start: partition.log_start(),
            duplicate: false,
        };
        (Placed { partition, batch, facts }, appended)
    }
}

fn push_record(queue: &mut QueueGuard<'_>, record: Record, size: u64, terms: Terms) -> Acknowledged {
    let (ack, acknowledged) = Ack::new(terms);
    queue.push(Work::Record { record, ack }, size);
    acknowledged
}

pub(crate) async fn settle(acknowledged: Acknowledged) -> Result<(), AppendError> {
    acknowledged.await.unwrap_or_else(|_| Err(AppendError::Offline("the log was closed".into())))
}

fn unknown(topic: &str, partition: i32) -> AppendError {
    AppendError::UnknownPartition { topic: topic.to_owned(), partition }
}

/// Resolves once everything that was queued before is durable.
pub(crate) fn barrier(shared: &Shared) -> Result<Acknowledged, AppendError> {
    let (ack, acknowledged) = Ack::new(Terms::default());
    let mut queue = shared.queue.lock();
    queue.admit(BARRIER_BYTES)?;
    queue.push(Work::Barrier { ack }, BARRIER_BYTES);
    Ok(acknowledged)
}

/// See [`Topics::append_on`].
pub(crate) fn append(
    shared: &Shared,
    topic: &str,
    partition: i32,
    batch: &Bytes,
    terms: Terms,
) -> Result<PendingAppend, AppendError> {
    let transactional_id = terms.transactional_id.clone();
    let sender = Sender { origin: Origin::Client, transactional_id: transactional_id.as_deref() };
    append_placed(shared, topic, partition, batch, sender, terms).map(|(_, pending)| pending)
}

/// As [`append`], and tells at once which offsets the batch will have.
pub(crate) fn append_placed(
    shared: &Shared,
    topic: &str,
    partition: i32,
    batch: &Bytes,
    sender: Sender<'_>,
    terms: Terms,
) -> Result<(Appended, PendingAppend), AppendError> {
    shared.refuse_offline()?;
    let candidate = shared.candidate(topic, partition, batch, sender.origin)?;
    let partition = Arc::clone(&candidate.partition);
    let size = candidate.batch.size() as u64;
    let (acknowledged, appended) = {
        let facts = candidate.batch.facts();
        // Held until the batch has its place: the transaction's marker must not come between.
        let _open = if facts.transactional {
            let transactions = shared.transactions.lock();
            transactions.verify(sender.transactional_id, &facts, &partition)?;
            Some(transactions)
        } else {
            None
        };
        let mut appending = partition.appending.lock();
        let verdict = appending.producers.check(&facts)?;
        let mut queue = shared.queue.lock();
        queue.admit(size)?;
        if partition.is_deleted() {
            return Err(unknown(topic, partition.index));
        }
        match verdict {
            Verdict::New => {
                let (placed, appended) = shared.place(candidate, &mut appending);
                let record = Record { batches: vec![placed], writer: None };
                (push_record(&mut queue, record, size, terms), appended)
            }
            Verdict::Duplicate(twin) => {
                // The queue keeps its order: when this barrier is passed, the first copy is durable.
                let (ack, acknowledged) = Ack::new(terms);
                queue.push(Work::Barrier { ack }, BARRIER_BYTES);
                let appended = Appended {
                    base_offset: twin.base_offset,
                    last_offset: twin.last_offset,
                    log_append_time_ms: twin.log_append_time_ms,
                    log_start: partition.log_start(),
                    duplicate: true,
                };
                (acknowledged, appended)
            }
        }
    };
    let pending = PendingAppend(Box::pin(async move {
        settle(acknowledged).await?;
        if partition.is_deleted() {
            return Err(unknown(partition.name.as_str(), partition.index));
        }
        Ok(appended)
    }));
    Ok((appended, pending))
}

/// See [`Topics::append_atomically`].
pub(crate) async fn append_atomically(
    shared: &Shared,
    append: AtomicAppend,
) -> Result<Vec<(TopicPartition, Appended)>, AppendError> {
    // Pipelines wait for room rather than fail; whoever is faster may still take it: then the answer is `Busy`.
    let bytes: usize = append.batches.iter().map(|(_, batch)| batch.len()).sum();
    shared.queue.room((bytes + append.progress.len()) as u64 + BARRIER_BYTES).await;
    let (acknowledged, appended) = queue_atomically(shared, append)?;
    settle(acknowledged).await?;
    Ok(appended)
}

pub(crate) type Queued = (Acknowledged, Vec<(TopicPartition, Appended)>);

fn queue_atomically(shared: &Shared, append: AtomicAppend) -> Result<Queued, AppendError> {
    shared.refuse_offline()?;
    let AtomicAppend { writer, epoch, batches, progress } = append;
    if progress.len() > shared.settings.progress_bytes_max {
        return Err(AppendError::InvalidRecord(format!(
            "a progress value of {} bytes is larger than {}",
            progress.len(),
            shared.settings.progress_bytes_max
        )));
    }
    let mut candidates = Vec::with_capacity(batches.len());
    for (at, batch) in &batches {
        let candidate = shared.candidate(at.topic.as_str(), at.partition, batch, Origin::Client)?;
        if candidate.batch.facts().producer_id >= 0 {
            return Err(AppendError::InvalidRecord(
                "a batch of an atomic append bears no producer id".into(),
            ));
        }
        candidates.push(candidate);
    }
    let size = progress.len() as u64 + BARRIER_BYTES;
    let writers = shared.writers.lock();
    let current = writers.claimed(&writer);
    if epoch != current || epoch <= 0 {
        return Err(AppendError::WriterFenced { writer: writer.0.to_string(), current, got: epoch });
    }
    let step = WriterStep { id: writer, epoch, value: Some(progress) };
    push_together(shared, candidates, Some(step), size)
}

/// Gives batches of several partitions their offsets and queues them as one record. `extra` is what the record takes
/// besides them, bytes.
pub(crate) fn push_together(
    shared: &Shared,
    mut candidates: Vec<Candidate>,
    writer: Option<WriterStep>,
    extra: u64,
) -> Result<Queued, AppendError> {
    // One order of locks for all: two atomic appends over the same partitions must not wait for one another.
    candidates.sort_by_key(|c| (c.partition.topic, c.partition.index));
    let twice = |w: &[Candidate]| Arc::ptr_eq(&w[0].partition, &w[1].partition);
    if let Some(pair) = candidates.windows(2).find(|w| twice(w)) {
        return Err(AppendError::InvalidRecord(format!(
            "{}-{} occurs twice in an atomic append",
            pair[0].partition.name, pair[0].partition.index
        )));
    }
    let size = candidates.iter().map(|c| c.batch.size() as u64).sum::<u64>() + extra;
    let partitions: Vec<Arc<PartitionState>> = candidates.iter().map(|c| Arc::clone(&c.partition)).collect();
    let mut locks: Vec<_> = partitions.iter().map(|p| p.appending.lock()).collect();
    let mut queue = shared.queue.lock();
    queue.admit(size)?;
    if let Some(gone) = partitions.iter().find(|p| p.is_deleted()) {
        return Err(unknown(gone.name.as_str(), gone.index));
    }
    let mut appended = Vec::with_capacity(candidates.len());
    let mut placed = Vec::with_capacity(candidates.len());
    for (candidate, appending) in candidates.into_iter().zip(&mut locks) {
        let at =
            TopicPartition { topic: candidate.partition.name.clone(), partition: candidate.partition.index };
        let (batch, result) = shared.place(candidate, appending);
        placed.push(batch);
        appended.push((at, result));
    }
    let record = Record { batches: placed, writer };
    Ok((push_record(&mut queue, record, size, Terms::default()), appended))
}

/// See [`Topics::claim_writer`].
pub(crate) async fn claim_writer(shared: &Shared, id: &WriterId) -> Result<Progress, AppendError> {
    if id.0.is_empty() || id.0.len() > WRITER_NAME_BYTES_MAX {
        return Err(AppendError::InvalidRecord(format!(
            "a writer's name has 1 to {WRITER_NAME_BYTES_MAX} bytes"
        )));
    }
    let (acknowledged, epoch) = {
        shared.refuse_offline()?;
        let mut writers = shared.writers.lock();
        let mut queue = shared.queue.lock();
        queue.admit(BARRIER_BYTES)?;
        let epoch = writers.claimed(id) + 1;
        writers.claim(id, epoch);
        let step = WriterStep { id: id.clone(), epoch, value: None };
        let record = Record { batches: Vec::new(), writer: Some(step) };
        (push_record(&mut queue, record, BARRIER_BYTES, Terms::default()), epoch)
    };
    settle(acknowledged).await?;
    // Everything that older epochs had queued is durable now, so the value is the last there will be of them.
    let value = shared.writers.lock().progress(id).and_then(|p| p.value);
    Ok(Progress { epoch, value })
}

/// See [`Topics::init_producer`].
pub(crate) async fn init_producer(topics: &Topics) -> Result<(i64, i16), AppendError> {
    let shared = Arc::clone(topics.shared());
    let task = tokio::task::spawn_blocking(move || {
        shared.refuse_offline()?;
        let mut block = shared.producer_ids.lock();
        if block.0 >= block.1 {
            let taken = shared.control.transact::<i64, ControlError>(|tx| {
                let next: i64 = tx.get_json(layout::TOPICS, PRODUCER_IDS_KEY)?.unwrap_or(0);
                tx.put_json(layout::TOPICS, PRODUCER_IDS_KEY, &(next + PRODUCER_IDS))?;
                Ok(next)
            });
            let next = taken.map_err(|e| AppendError::Offline(base::fault::chain(&e)))?;
            *block = (next, next + PRODUCER_IDS);
        }
        let id = block.0;
        block.0 += 1;
        Ok((id, 0))
    });
    task.await.unwrap_or_else(|e| Err(AppendError::Offline(e.to_string())))
}
