//! The transaction coordinator.
//!
//! Owns: all transactional ids and their states, in memory and in `__transaction_state`; writing markers.
//! Does not own: what a state allows (`crate::transactions::state`), what a marker changes (`settled`).
//! Invariants: a state and the markers that it means are one write-ahead record, so that a transaction ends in all its
//! partitions or in none; a state changes in memory when its record has its place in the queue, under the same lock
//! under which batches are verified, and is answered once it is durable; what is refused leaves no trace.

use std::collections::{BTreeSet, HashMap, HashSet};

use base::TopicName;

use super::Topics;
use super::append::{self, Candidate};
use super::partition::PartitionState;
use super::queue::Acknowledged;
use super::shared::Shared;
use crate::batch::check::Facts;
use crate::batch::{BatchBuilder, Marker};
use crate::error::{AppendError, TransactionError};
use crate::log::TopicPartition;
use crate::topic::{CONSUMER_OFFSETS, TRANSACTION_STATE, is_internal};
use crate::transactions::state::{Init, Refused, Step};
use crate::transactions::{Transaction, TransactionInfo, TransactionState, TransactionalProducer, records};

mod load;
mod markers;
mod sweep;

pub(crate) use load::load;
pub(crate) use markers::write as write_marker;
#[cfg(test)]
pub(crate) use sweep::once as sweep_once;
pub(crate) use sweep::run as sweep;

/// Partition of the internal topics that everything goes to: there is one node, and no need to share work.
const PARTITION: i32 = 0;
/// What a record of markers and a state takes besides its batches, bytes.
const RECORD_BYTES: u64 = 64;
/// Room that is waited for before a state is stored, bytes.
const ROOM_BYTES: usize = 64 << 10;

/// All transactional ids.
#[derive(Debug, Default)]
pub(crate) struct Coordinator {
    ids: HashMap<String, Transaction>,
    /// Producers whose last transaction had offsets and has an end that is queued, not durable yet: what they stored
    /// waits for that end, and must not be mixed with what their next transaction stores.
    ending_offsets: HashSet<i64>,
}

/// A transaction that is to end: its markers.
#[derive(Debug, Clone, Copy)]
struct Ending<'a> {
    partitions: &'a BTreeSet<TopicPartition>,
    committed: bool,
}

impl Coordinator {
    fn known(&self, producer: TransactionalProducer<'_>) -> Result<&Transaction, TransactionError> {
        self.ids.get(producer.transactional_id).ok_or_else(|| TransactionError::ProducerIdMapping {
            transactional_id: producer.transactional_id.to_owned(),
            producer_id: producer.producer_id,
        })
    }

    /// Whether a batch may go to `partition` now: its producer has added it to its open transaction.
    pub(crate) fn verify(
        &self,
        transactional_id: Option<&str>,
        facts: &Facts,
        partition: &PartitionState,
    ) -> Result<(), AppendError> {
        let Some(id) = transactional_id else {
            return Err(AppendError::InvalidTransactionState(
                "a transactional batch is sent without a transactional id".into(),
            ));
        };
        let mapping = || AppendError::ProducerIdMapping {
            transactional_id: id.to_owned(),
            producer_id: facts.producer_id,
        };
        let transaction = self.ids.get(id).ok_or_else(mapping)?;
        let at = TopicPartition { topic: partition.name.clone(), partition: partition.index };
        let producer = (facts.producer_id, facts.producer_epoch);
        transaction.verify(producer, &at).map_err(|refused| match refused {
            Refused::ProducerIdMapping => mapping(),
            Refused::Fenced => AppendError::ProducerFenced {
                producer_id: facts.producer_id,
                current: transaction.producer_epoch,
                got: facts.producer_epoch,
            },
            Refused::Concurrent => {
                AppendError::InvalidTransactionState(format!("a transaction of {id} is just ending"))
            }
            Refused::State(why) => AppendError::InvalidTransactionState(format!(
                "transactional id {id} is {}: {why}",
                transaction.state.name()
            )),
        })
    }

    /// Queues the state of `id`, with the markers of the transaction that it ends, and takes it over.
    fn store(
        &mut self,
        shared: &Shared,
        id: &str,
        next: Transaction,
        ending: Option<Ending<'_>>,
    ) -> Result<Acknowledged, AppendError> {
        let now_ms = shared.clock.now_ms();
        let mut candidates = vec![state_batch(shared, id, Some(&next), now_ms)?];
        if let Some(ending) = ending {
            let producer = (next.producer_id, next.producer_epoch);
            for at in ending.partitions {
                candidates.extend(marker(shared, at, producer, ending.committed, now_ms)?);
            }
        }
        let (acknowledged, _) = append::push_together(shared, candidates, None, RECORD_BYTES)?;
        if ending.is_some_and(|e| e.partitions.iter().any(|at| at.topic.as_str() == CONSUMER_OFFSETS)) {
            self.ending_offsets.insert(next.producer_id);
        }
        self.ids.insert(id.to_owned(), next);
        Ok(acknowledged)
    }

    fn forget(&mut self, shared: &Shared, id: &str) -> Result<(), AppendError> {
        let tombstone = state_batch(shared, id, None, shared.clock.now_ms())?;
        append::push_together(shared, vec![tombstone], None, RECORD_BYTES)?;
        self.ids.remove(id);
        Ok(())
    }

    /// Ends the ongoing transaction of `id` as aborted, under an epoch that its producer does not have.
    fn abort_fenced(&mut self, shared: &Shared, id: &str) -> Result<Option<Acknowledged>, AppendError> {
        let Some(now) = self.ids.get(id).filter(|t| t.state == TransactionState::Ongoing).cloned() else {
            return Ok(None);
        };
        let next = now.ended(now.fencing_epoch(), false, shared.clock.now_ms());
        let ending = Ending { partitions: &now.partitions, committed: false };
        self.store(shared, id, next, Some(ending)).map(Some)
    }
}

/// The record of a state; without one, the tombstone that forgets the id.
fn state_batch(
    shared: &Shared,
    id: &str,
    state: Option<&Transaction>,
    now_ms: i64,
) -> Result<Candidate, AppendError> {
    let mut builder = BatchBuilder::new();
    builder.push(now_ms, Some(&records::key(id)), state.map(records::value).as_deref(), &[]);
    shared.own_candidate(TRANSACTION_STATE, PARTITION, &builder.build()?)
}

/// The marker for one partition; none when the partition is gone.
fn marker(
    shared: &Shared,
    at: &TopicPartition,
    (producer_id, epoch): (i64, i16),
    committed: bool,
    now_ms: i64,
) -> Result<Option<Candidate>, AppendError> {
    let marker = Marker { committed, coordinator_epoch: shared.leader_epoch };
    let batch = marker.batch(producer_id, epoch, now_ms)?;
    match shared.own_candidate(at.topic.as_str(), at.partition, &batch) {
        Err(AppendError::UnknownPartition { .. }) => Ok(None),
        candidate => candidate.map(Some),
    }
}

fn refused(refused: Refused, who: TransactionalProducer<'_>, now: &Transaction) -> TransactionError {
    let transactional_id = who.transactional_id.to_owned();
    match refused {
        Refused::ProducerIdMapping => {
            TransactionError::ProducerIdMapping { transactional_id, producer_id: who.producer_id }
        }
        Refused::Fenced => TransactionError::Fenced {
            transactional_id,
            producer_id: who.producer_id,
            current: now.producer_epoch,
            got: who.producer_epoch,
        },
        Refused::State(reason) => {
            TransactionError::InvalidState { transactional_id, state: now.state.name(), reason }
        }
        Refused::Concurrent => TransactionError::Concurrent(transactional_id),
    }
}

/// Makes the topic of the states when it is not there yet.
async fn ensure_topic(topics: &Topics, name: &'static str) -> Result<(), TransactionError> {
    if topics.shared().topic(name).is_some() {
        return Ok(());
    }
    let shared = std::sync::Arc::clone(topics.shared());
    let made = tokio::task::spawn_blocking(move || super::admin::ensure_internal(&shared, name, 1)).await;
    made.map_err(|e| AppendError::Offline(e.to_string()))?.map_err(TransactionError::Topic).map(|_| ())
}

/// What has to be done before InitProducerId can be answered.
enum Next {
    Answer(Acknowledged, (i64, i16)),
    Aborted(Acknowledged, (i64, i16)),
    NeedsProducerId,
}

/// See [`Topics::init_transactional_producer`].
pub(crate) async fn init(
    topics: &Topics,
    id: &str,
    timeout_ms: i32,
    mut known: Option<(i64, i16)>,
) -> Result<(i64, i16), TransactionError> {
    let shared = topics.shared();
    check_init(shared, id, timeout_ms)?;
    ensure_topic(topics, TRANSACTION_STATE).await?;
    let mut spare = None;
    loop {
        shared.queue.room(ROOM_BYTES as u64).await;
        match begin(shared, id, timeout_ms, known, spare)? {
            Next::Answer(acknowledged, answer) => {
                append::settle(acknowledged).await?;
                return Ok(answer);
            }
            Next::Aborted(acknowledged, fenced) => {
                append::settle(acknowledged).await?;
                // Whoever named the right epoch has been fenced by this very request: it goes on behind the fence.
                known = known.map(|_| fenced);
            }
            Next::NeedsProducerId => spare = Some(topics.init_producer().await?.0),
        }
    }
}

fn check_init(shared: &Shared, id: &str, timeout_ms: i32) -> Result<(), TransactionError> {
    let bytes_max = shared.settings.transactional_id_bytes_max;
    if id.is_empty() || id.len() > bytes_max {
        let message = format!("a transactional id has 1 to {bytes_max} bytes");
        return Err(TransactionError::InvalidRequest(message));
    }
    let max = i64::try_from(shared.settings.transaction_timeout_max.as_millis()).unwrap_or(i64::MAX);
    if timeout_ms <= 0 || i64::from(timeout_ms) > max {
        return Err(TransactionError::InvalidTimeout { got: timeout_ms, max });
    }
    Ok(())
}

/// One look at the id; `spare` is a producer id that nobody has.
fn begin(
    shared: &Shared,
    id: &str,
    timeout_ms: i32,
    known: Option<(i64, i16)>,
    spare: Option<i64>,
) -> Result<Next, TransactionError> {
    shared.refuse_offline()?;
    let now_ms = shared.clock.now_ms();
    let mut coordinator = shared.transactions.lock();
    let next = match coordinator.ids.get(id) {
        None => {
            if coordinator.ids.len() >= shared.settings.transactional_ids_max {
                return Err(TransactionError::TooMany(format!(
                    "{} transactional ids are known already: end unused producers or wait for their ids to expire",
                    coordinator.ids.len()
                )));
            }
            let Some(producer_id) = spare else { return Ok(Next::NeedsProducerId) };
            Transaction::new(producer_id, timeout_ms, now_ms)
        }
        Some(now) => {
            let (producer_id, producer_epoch) = known.unwrap_or((now.producer_id, now.producer_epoch));
            let who = TransactionalProducer { transactional_id: id, producer_id, producer_epoch };
            match now.init(known, timeout_ms, now_ms).map_err(|e| refused(e, who, now))? {
                Init::Store(next) => next,
                Init::Repeat => {
                    let answer = (now.producer_id, now.producer_epoch);
                    return Ok(Next::Answer(append::barrier(shared)?, answer));
                }
                Init::Rotate => match spare {
                    Some(spare) => now.rotated(spare, known, timeout_ms, now_ms),
                    None => return Ok(Next::NeedsProducerId),
                },
                Init::Abort(epoch) => {
                    let fenced = (now.producer_id, epoch);
                    return match coordinator.abort_fenced(shared, id)? {
                        Some(acknowledged) => Ok(Next::Aborted(acknowledged, fenced)),
                        None => Err(TransactionError::Concurrent(id.to_owned())),
                    };
                }
            }
        }
    };
    let answer = (next.producer_id, next.producer_epoch);
    Ok(Next::Answer(coordinator.store(shared, id, next, None)?, answer))
}

/// See [`Topics::add_partitions_to_transaction`].
pub(crate) async fn add_partitions(
    topics: &Topics,
    who: TransactionalProducer<'_>,
    partitions: &BTreeSet<TopicPartition>,
) -> Result<(), TransactionError> {
    for at in partitions {
        if is_internal(at.topic.as_str()) {
            let message = format!("topic {} is internal: no client writes to it", at.topic);
            return Err(TransactionError::InvalidRequest(message));
        }
        topics.shared().topic_and_partition(at.topic.as_str(), at.partition).map_err(|_| {
            TransactionError::UnknownPartition { topic: at.topic.to_string(), partition: at.partition }
        })?;
    }
    add(topics.shared(), who, partitions).await
}

/// See [`Topics::add_offsets_to_transaction`].
pub(crate) async fn add_offsets(
    topics: &Topics,
    who: TransactionalProducer<'_>,
) -> Result<(), TransactionError> {
    ensure_topic(topics, CONSUMER_OFFSETS).await?;
    let topic = TopicName::new(CONSUMER_OFFSETS).map_err(|e| TransactionError::Topic(e.into()))?;
    add(topics.shared(), who, &[TopicPartition { topic, partition: PARTITION }].into()).await
}

async fn add(
    shared: &Shared,
    who: TransactionalProducer<'_>,
    partitions: &BTreeSet<TopicPartition>,
) -> Result<(), TransactionError> {
    shared.queue.room(ROOM_BYTES as u64).await;
    let acknowledged = {
        shared.refuse_offline()?;
        let mut coordinator = shared.transactions.lock();
        let now = coordinator.known(who)?;
        if coordinator.ending_offsets.contains(&now.producer_id) {
            // Kafka's PrepareCommit and PrepareAbort: the client tries again.
            return Err(TransactionError::Concurrent(who.transactional_id.to_owned()));
        }
        let producer = (who.producer_id, who.producer_epoch);
        let now_ms = shared.clock.now_ms();
        match now.add(producer, partitions, now_ms).map_err(|e| refused(e, who, now))? {
            Step::Done => append::barrier(shared)?,
            Step::Store(next) => {
                let max = shared.settings.transaction_partitions_max;
                if next.partitions.len() > max {
                    let message = format!("a transaction has at most {max} partitions");
                    return Err(TransactionError::TooMany(message));
                }
                coordinator.store(shared, who.transactional_id, next, None)?
            }
        }
    };
    Ok(append::settle(acknowledged).await?)
}

/// See [`Topics::end_transaction`].
pub(crate) async fn end(
    topics: &Topics,
    who: TransactionalProducer<'_>,
    committed: bool,
) -> Result<(), TransactionError> {
    let shared = topics.shared();
    shared.queue.room(ROOM_BYTES as u64).await;
    let acknowledged = {
        shared.refuse_offline()?;
        let mut coordinator = shared.transactions.lock();
        let now = coordinator.known(who)?.clone();
        let producer = (who.producer_id, who.producer_epoch);
        let now_ms = shared.clock.now_ms();
        match now.end(producer, committed, now_ms).map_err(|e| refused(e, who, &now))? {
            // The answer was lost: it is given again once it is true for good.
            Step::Done => append::barrier(shared)?,
            Step::Store(next) => {
                let ending = Ending { partitions: &now.partitions, committed };
                coordinator.store(shared, who.transactional_id, next, Some(ending))?
            }
        }
    };
    Ok(append::settle(acknowledged).await?)
}

/// The marker of a producer's transaction is durable in `__consumer_offsets`, and nobody who waits for it has been told
/// yet. Called on the log writer with no lock held; must not wait.
pub(crate) fn ended_with_offsets(shared: &Shared, producer_id: i64, committed: bool) {
    super::groups::transaction_ended(shared, producer_id, committed);
    shared.transactions.lock().ending_offsets.remove(&producer_id);
}

/// See [`Topics::transactions`].
pub(crate) fn list(shared: &Shared) -> Vec<TransactionInfo> {
    let coordinator = shared.transactions.lock();
    let mut all: Vec<_> = coordinator
        .ids
        .iter()
        .map(|(id, transaction)| TransactionInfo {
            transactional_id: id.clone(),
            transaction: transaction.clone(),
        })
        .collect();
    all.sort_unstable_by(|a, b| a.transactional_id.cmp(&b.transactional_id));
    all
}

/// See [`Topics::transaction`].
pub(crate) fn one(shared: &Shared, id: &str) -> Option<Transaction> {
    shared.transactions.lock().ids.get(id).cloned()
}
