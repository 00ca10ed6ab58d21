//! Storing offsets and fetching them: OffsetCommit, TxnOffsetCommit and OffsetFetch.
//!
//! Owns: which offsets of a request can be stored, their records.
//! Does not own: who may store (`crate::groups::classic`), which offset counts (`crate::groups::offsets`).
//! Invariants: a request's offsets are one batch, so all of them are stored or none.

use super::*;
use crate::groups::offsets::Stored;
use crate::groups::records::OffsetValue;

/// A partition's offset as it will be stored.
struct Entry {
    topic: String,
    partition: i32,
    value: OffsetValue,
}

impl Entry {
    fn record(&self, group: &str) -> KeyValue {
        let (topic, partition) = (self.topic.clone(), self.partition);
        (Key::Offset { group: group.to_owned(), topic, partition }.encode(), Some(self.value.encode()))
    }
}

fn fetched(partition: i32, value: Option<&OffsetValue>) -> FetchedOffset {
    match value {
        Some(value) => FetchedOffset {
            partition,
            offset: value.offset,
            leader_epoch: value.leader_epoch,
            metadata: value.metadata.clone(),
            error: None,
        },
        None => {
            FetchedOffset { partition, offset: -1, leader_epoch: -1, metadata: String::new(), error: None }
        }
    }
}

impl Groups {
    /// Stores offsets; resolves once they are durable. A group that does not exist is made for a consumer that assigns
    /// its partitions itself, and is not found for a member.
    pub async fn commit(&self, request: CommitOffsets) -> Result<CommitOutcome, GroupError> {
        self.commit_as(None, request).await
    }

    /// Stores offsets as part of a producer's open transaction, to which its group has been added: they count once it
    /// is committed. Resolves once they are durable.
    pub async fn commit_in_transaction(
        &self,
        producer: TransactionalProducer<'_>,
        request: CommitOffsets,
    ) -> Result<CommitOutcome, GroupError> {
        self.commit_as(Some(producer), request).await
    }

    async fn commit_as(
        &self,
        producer: Option<TransactionalProducer<'_>>,
        request: CommitOffsets,
    ) -> Result<CommitOutcome, GroupError> {
        let bytes: usize =
            request.topics.iter().map(|(topic, offsets)| topic.len() + 100 * offsets.len()).sum();
        self.ready().await?;
        self.topics.room(bytes).await;
        let (mut outcome, gate) = self.queue_commit(producer, request)?;
        if let Some(gate) = gate
            && let Err(error) = gate.await
        {
            refuse_stored(&mut outcome, &error);
        }
        Ok(outcome)
    }

    fn queue_commit(
        &self,
        producer: Option<TransactionalProducer<'_>>,
        request: CommitOffsets,
    ) -> Result<Answer<CommitOutcome>, GroupError> {
        let shared = self.shared();
        let name = request.group.clone();
        if name.len() > i16::MAX as usize {
            return Err(GroupError::InvalidGroupId);
        }
        let mut state = shared.groups.state.lock();
        let who = &request.identity;
        let group = state.get_or_create(shared, &name, who.generation < 0)?;
        let step = Step::new(shared.group_now(), self.settings());
        let valid = group.machine.validate_commit(&request, producer.is_some());
        let outcome = match valid {
            Err(error) => Err(error),
            Ok(()) => {
                if who.generation >= 0
                    && let Some(classic) = group.machine.classic()
                {
                    classic.note_alive(&step, &who.member);
                }
                Ok(put(shared, &name, group, step.now, producer, request))
            }
        };
        let transactional = producer.filter(|p| group.offsets.has_pending_of(p.producer_id));
        state.settle(shared, &name, step);
        if let (Some(producer), Some((name, _))) = (transactional, state.groups.get_key_value(name.as_str()))
        {
            let name = Arc::clone(name);
            state.transactions.entry(producer.producer_id).or_default().insert(name);
        }
        outcome
    }

    /// Stored offsets: of the wanted partitions, or of all that have one when none are named. With `require_stable`, a
    /// partition of which a transaction is about to store an offset has an error instead (KIP-447).
    pub fn fetch(
        &self,
        group: &str,
        wanted: Option<Vec<(String, Vec<i32>)>>,
        require_stable: bool,
    ) -> FetchedOffsets {
        let shared = self.shared();
        fetch(&shared.groups.state.lock(), shared.groups_durable(), group, wanted, require_stable)
    }

    /// As [`Groups::fetch`], for who calls itself a member in an epoch of a consumer group (KIP-848).
    pub fn fetch_as(
        &self,
        (member, epoch): (Option<&str>, i32),
        group: &str,
        wanted: Option<Vec<(String, Vec<i32>)>>,
        require_stable: bool,
    ) -> Result<FetchedOffsets, GroupError> {
        let shared = self.shared();
        let durable = shared.groups_durable();
        let state = shared.groups.state.lock();
        if let Some(known) = state.groups.get(group) {
            known.machine.validate_fetch(member, epoch)?;
        }
        Ok(fetch(&state, durable, group, wanted, require_stable))
    }
}

/// What is stored, below `durable`.
fn fetch(
    state: &State,
    durable: Offset,
    group: &str,
    wanted: Option<Vec<(String, Vec<i32>)>>,
    require_stable: bool,
) -> FetchedOffsets {
    let offsets = state.groups.get(group).map(|group| &group.offsets);
    let one = |topic: &str, partition: i32| {
        let unstable = require_stable && offsets.is_some_and(|o| o.is_unstable(topic, partition));
        let value = offsets.and_then(|o| o.get(topic, partition, durable));
        if unstable {
            let error = Some(GroupError::UnstableOffsetCommit);
            FetchedOffset { error, ..fetched(partition, None) }
        } else {
            fetched(partition, value)
        }
    };
    let Some(wanted) = wanted else {
        let mut all: BTreeMap<String, Vec<FetchedOffset>> = BTreeMap::new();
        for (topic, partition) in offsets.map(GroupOffsets::partitions).unwrap_or_default() {
            let found = one(&topic, partition);
            if found.offset >= 0 || found.error.is_some() {
                all.entry(topic).or_default().push(found);
            }
        }
        return all.into_iter().collect();
    };
    let topics = wanted.into_iter().map(|(topic, partitions)| {
        let found = partitions.into_iter().map(|partition| one(&topic, partition)).collect();
        (topic, found)
    });
    topics.collect()
}

/// Whether this offset can be stored.
fn check(shared: &Shared, group: &Group, topic: &str, offset: &OffsetToStore) -> Result<(), GroupError> {
    let settings = &shared.settings.groups;
    if shared.topic_and_partition(topic, offset.partition).is_err() {
        return Err(GroupError::UnknownTopicOrPartition);
    }
    let (got, max) = (offset.metadata.len(), settings.offset_metadata_bytes_max.min(i16::MAX as usize));
    if got > max {
        return Err(GroupError::OffsetMetadataTooLarge { got, max });
    }
    let max = settings.offsets_per_group_max;
    if group.offsets.len() >= max && !group.offsets.contains(topic, offset.partition) {
        return Err(GroupError::InvalidCommitOffsetSize(format!("a group stores at most {max} offsets")));
    }
    Ok(())
}

/// Looks at each offset of a request: the outcomes, and what will be stored.
fn entries(shared: &Shared, group: &Group, now: Now, request: CommitOffsets) -> (CommitOutcome, Vec<Entry>) {
    let mut entries = Vec::new();
    let expire_ms = request.retention_ms.filter(|ms| *ms >= 0).map(|ms| now.wall.saturating_add(ms));
    let outcome = request.topics.into_iter().map(|(topic, offsets)| {
        let partitions = offsets.into_iter().map(|offset| {
            let checked = check(shared, group, &topic, &offset);
            let OffsetToStore { partition, offset, leader_epoch, metadata } = offset;
            if checked.is_ok() {
                let value = OffsetValue { offset, leader_epoch, metadata, commit_ms: now.wall, expire_ms };
                entries.push(Entry { topic: topic.clone(), partition, value });
            }
            (partition, checked)
        });
        let partitions = partitions.collect();
        (topic, partitions)
    });
    let outcome = outcome.collect();
    (outcome, entries)
}

/// Puts what can be stored into the log and into the group.
fn put(
    shared: &Shared,
    name: &str,
    group: &mut Group,
    now: Now,
    producer: Option<TransactionalProducer<'_>>,
    request: CommitOffsets,
) -> Answer<CommitOutcome> {
    let (mut outcome, entries) = entries(shared, group, now, request);
    if entries.is_empty() {
        return (outcome, None);
    }
    let records: Vec<KeyValue> = entries.iter().map(|entry| entry.record(name)).collect();
    let appended = match producer {
        Some(producer) => shared.append_transactional(producer, &records, now),
        None => shared.append_group_records(&records, now),
    };
    match appended {
        Ok((base, gate)) => {
            let durable = shared.groups_durable();
            for (at, entry) in (base..).zip(entries) {
                let stored = Stored { at, value: entry.value };
                let place = (entry.topic, entry.partition);
                match producer {
                    Some(producer) => group.offsets.put_pending(producer.producer_id, place, stored),
                    None => group.offsets.put(place, stored, durable),
                }
            }
            (outcome, Some(gate))
        }
        Err(error) => {
            refuse_stored(&mut outcome, &refusal(&error));
            (outcome, None)
        }
    }
}

fn refusal(error: &AppendError) -> GroupError {
    match error {
        AppendError::TooLarge { .. } => GroupError::InvalidCommitOffsetSize(error.to_string()),
        AppendError::ProducerFenced { .. } => GroupError::ProducerFenced(error.to_string()),
        AppendError::ProducerIdMapping { .. } => GroupError::InvalidProducerIdMapping(error.to_string()),
        AppendError::InvalidTransactionState(_) => GroupError::InvalidTxnState(error.to_string()),
        other => unavailable(other),
    }
}

/// What would have been stored is not.
fn refuse_stored(outcome: &mut CommitOutcome, error: &GroupError) {
    for (_, result) in outcome.iter_mut().flat_map(|(_, partitions)| partitions) {
        if result.is_ok() {
            *result = Err(error.clone());
        }
    }
}
