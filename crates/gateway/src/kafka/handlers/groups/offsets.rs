//! OffsetCommit, TxnOffsetCommit, OffsetFetch and OffsetDelete.
//!
//! Owns: what the versions of these requests and responses differ in; OffsetFetch's two layouts, one group until
//! version 7 and several since (KIP-709).
//! Does not own: stored offsets (topics).

use std::collections::BTreeMap;
use std::sync::Arc;

use ::topics::groups::{
    CommitOffsets, CommitOutcome, FetchedOffset, FetchedOffsets, GroupError, Identity, OffsetToStore,
};
use ::topics::{Consumed, TopicPartition, TransactionalProducer};
use base::TopicName as ValidName;
use kafka_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use kafka_protocol::messages::offset_delete_response::{
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use kafka_protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use kafka_protocol::messages::{
    OffsetCommitRequest, OffsetCommitResponse, OffsetDeleteRequest, OffsetDeleteResponse, OffsetFetchRequest,
    OffsetFetchResponse, TopicName, TxnOffsetCommitRequest, TxnOffsetCommitResponse,
};
use kafka_protocol::protocol::StrBytes;

use super::{Broker, Code, errors, is_inner, owned, owned_if_any, text};

/// First OffsetCommit and OffsetFetch with member epochs, that tell a missing group from a wrong one (KIP-848).
const MEMBER_EPOCHS_SINCE: i16 = 9;
/// First OffsetFetch for several groups.
const SEVERAL_GROUPS_SINCE: i16 = 8;

/// Topics with partitions, as requests name them.
type Wanted = Vec<(String, Vec<i32>)>;

fn topic(name: String) -> TopicName {
    TopicName(text(name))
}

pub(in super::super) async fn commit_offsets(
    broker: Arc<Broker>,
    version: i16,
    request: OffsetCommitRequest,
) -> OffsetCommitResponse {
    let topics: Vec<(String, Vec<OffsetToStore>)> = request
        .topics
        .into_iter()
        .map(|topic| {
            let offsets = topic.partitions.into_iter().map(|p| {
                to_store(
                    p.partition_index,
                    p.committed_offset,
                    p.committed_leader_epoch,
                    p.committed_metadata,
                )
            });
            (owned(topic.name.0), offsets.collect())
        })
        .collect();
    let commit = CommitOffsets {
        group: owned(request.group_id.0),
        identity: Identity {
            member: owned(request.member_id),
            instance: owned_if_any(request.group_instance_id),
            generation: request.generation_id_or_member_epoch,
        },
        knows_epochs: version >= MEMBER_EPOCHS_SINCE,
        retention_ms: Some(request.retention_time_ms).filter(|ms| *ms >= 0),
        topics,
    };
    let outcome = store(&broker, commit, None, |error| {
        let old = version < MEMBER_EPOCHS_SINCE && matches!(error, GroupError::GroupIdNotFound(_));
        if old { GroupError::IllegalGeneration } else { error }
    })
    .await;
    let topics = outcome.into_iter().map(|(name, partitions)| {
        let partitions = partitions.into_iter().map(|(partition, outcome)| {
            OffsetCommitResponsePartition::default()
                .with_partition_index(partition)
                .with_error_code(errors::group_code(&outcome))
        });
        OffsetCommitResponseTopic::default().with_name(topic(name)).with_partitions(partitions.collect())
    });
    OffsetCommitResponse::default().with_topics(topics.collect())
}

/// TxnOffsetCommit. Until version 2 it does not say who the member is.
pub(in super::super) async fn commit_in_transaction(
    broker: Arc<Broker>,
    request: TxnOffsetCommitRequest,
) -> TxnOffsetCommitResponse {
    let topics: Vec<(String, Vec<OffsetToStore>)> = request
        .topics
        .into_iter()
        .map(|topic| {
            let offsets = topic.partitions.into_iter().map(|p| {
                to_store(
                    p.partition_index,
                    p.committed_offset,
                    p.committed_leader_epoch,
                    p.committed_metadata,
                )
            });
            (owned(topic.name.0), offsets.collect())
        })
        .collect();
    let commit = CommitOffsets {
        group: owned(request.group_id.0),
        identity: Identity {
            member: owned(request.member_id),
            instance: owned_if_any(request.group_instance_id),
            generation: request.generation_id,
        },
        knows_epochs: true,
        retention_ms: None,
        topics,
    };
    let producer = TransactionalProducer {
        transactional_id: &request.transactional_id,
        producer_id: request.producer_id.0,
        producer_epoch: request.producer_epoch,
    };
    let outcome = store(&broker, commit, Some(producer), |error| {
        // The request knows neither member epochs nor groups that are not there.
        let foreign = matches!(error, GroupError::GroupIdNotFound(_) | GroupError::StaleMemberEpoch);
        if foreign { GroupError::IllegalGeneration } else { error }
    })
    .await;
    let topics = outcome.into_iter().map(|(name, partitions)| {
        let partitions = partitions.into_iter().map(|(partition, outcome)| {
            TxnOffsetCommitResponsePartition::default()
                .with_partition_index(partition)
                .with_error_code(errors::group_code(&outcome))
        });
        TxnOffsetCommitResponseTopic::default().with_name(topic(name)).with_partitions(partitions.collect())
    });
    TxnOffsetCommitResponse::default().with_topics(topics.collect())
}

fn to_store(partition: i32, offset: i64, leader_epoch: i32, metadata: Option<StrBytes>) -> OffsetToStore {
    OffsetToStore { partition, offset, leader_epoch, metadata: metadata.map(owned).unwrap_or_default() }
}

/// Stores offsets, as part of a transaction if there is a `producer`. What is wrong with all of it is the error of every
/// partition, in the words that the request knows.
async fn store(
    broker: &Broker,
    commit: CommitOffsets,
    producer: Option<TransactionalProducer<'_>>,
    in_its_words: impl FnOnce(GroupError) -> GroupError,
) -> CommitOutcome {
    let asked = asked(&commit.topics);
    let groups = broker.topics.groups();
    let outcome = match producer {
        // The consumer inside is a member of it, and nobody else is.
        _ if is_inner(broker, &commit.group) => Err(GroupError::UnknownMemberId),
        Some(producer) => groups.commit_in_transaction(producer, commit).await,
        None => groups.commit(commit).await,
    };
    outcome.unwrap_or_else(|error| everywhere(asked, &in_its_words(error)))
}

fn asked(topics: &[(String, Vec<OffsetToStore>)]) -> Wanted {
    let partitions = |offsets: &[OffsetToStore]| offsets.iter().map(|o| o.partition).collect();
    topics.iter().map(|(topic, offsets)| (topic.clone(), partitions(offsets))).collect()
}

/// The same error for every partition that was asked about.
fn everywhere(asked: Wanted, error: &GroupError) -> CommitOutcome {
    let topics = asked.into_iter().map(|(topic, partitions)| {
        let outcomes = partitions.into_iter().map(|partition| (partition, Err(error.clone())));
        (topic, outcomes.collect())
    });
    topics.collect()
}

pub(in super::super) async fn fetch_offsets(
    broker: Arc<Broker>,
    version: i16,
    request: OffsetFetchRequest,
) -> OffsetFetchResponse {
    let consumers = broker.topics.consumers();
    let find =
        |group: &str, wanted: Option<Wanted>| match consumers.iter().find(|consumed| consumed.group == group)
        {
            Some(consumed) => of_inner(consumed, wanted),
            None => broker.topics.groups().fetch(group, wanted, request.require_stable),
        };
    if version < SEVERAL_GROUPS_SINCE {
        let wanted = request
            .topics
            .map(|topics| topics.into_iter().map(|t| (owned(t.name.0), t.partition_indexes)).collect());
        let topics = find(&request.group_id, wanted).into_iter().map(|(name, offsets)| {
            let partitions = offsets.into_iter().map(|found| {
                OffsetFetchResponsePartition::default()
                    .with_partition_index(found.partition)
                    .with_committed_offset(found.offset)
                    .with_committed_leader_epoch(found.leader_epoch)
                    .with_metadata(Some(text(&found.metadata)))
                    .with_error_code(code(&found))
            });
            OffsetFetchResponseTopic::default().with_name(topic(name)).with_partitions(partitions.collect())
        });
        return OffsetFetchResponse::default().with_topics(topics.collect());
    }
    let groups = request.groups.into_iter().map(|group| {
        let wanted = group
            .topics
            .map(|topics| topics.into_iter().map(|t| (owned(t.name.0), t.partition_indexes)).collect());
        let who = (group.member_id.as_deref(), group.member_epoch);
        let found = match consumers.iter().find(|consumed| consumed.group == group.group_id.as_str()) {
            Some(consumed) => Ok(of_inner(consumed, wanted)),
            None => broker.topics.groups().fetch_as(who, &group.group_id, wanted, request.require_stable),
        };
        let answer = OffsetFetchResponseGroup::default().with_group_id(group.group_id);
        match found {
            Ok(found) => answer.with_topics(several(found)),
            Err(error) => answer.with_error_code(errors::group(&error).code()),
        }
    });
    OffsetFetchResponse::default().with_groups(groups.collect())
}

fn several(found: FetchedOffsets) -> Vec<OffsetFetchResponseTopics> {
    let topics = found.into_iter().map(|(name, offsets)| {
        let partitions = offsets.into_iter().map(|found| {
            OffsetFetchResponsePartitions::default()
                .with_partition_index(found.partition)
                .with_committed_offset(found.offset)
                .with_committed_leader_epoch(found.leader_epoch)
                .with_metadata(Some(text(&found.metadata)))
                .with_error_code(code(&found))
        });
        OffsetFetchResponseTopics::default().with_name(topic(name)).with_partitions(partitions.collect())
    });
    topics.collect()
}

fn code(found: &FetchedOffset) -> i16 {
    found.error.as_ref().map_or(errors::NONE, |error| errors::group(error).code())
}

/// The offsets of an inner consumer for the wanted partitions, or all it has when none are named.
fn of_inner(consumed: &Consumed, wanted: Option<Wanted>) -> FetchedOffsets {
    let wanted = wanted.unwrap_or_else(|| {
        let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
        for at in consumed.offsets.keys() {
            topics.entry(at.topic.as_str()).or_default().push(at.partition);
        }
        topics.into_iter().map(|(topic, partitions)| (topic.to_owned(), partitions)).collect()
    });
    let offset_of = |topic: &str, partition: i32| {
        let topic = ValidName::new(topic).ok()?;
        consumed.offsets.get(&TopicPartition { topic, partition }).copied()
    };
    let topics = wanted.into_iter().map(|(topic, partitions)| {
        let offsets = partitions.into_iter().map(|partition| FetchedOffset {
            partition,
            offset: offset_of(&topic, partition).unwrap_or(-1),
            leader_epoch: -1,
            metadata: String::new(),
            error: None,
        });
        let offsets = offsets.collect();
        (topic, offsets)
    });
    topics.collect()
}

pub(in super::super) async fn delete_offsets(
    broker: Arc<Broker>,
    request: OffsetDeleteRequest,
) -> OffsetDeleteResponse {
    let group = request.group_id;
    if is_inner(&broker, &group) {
        return OffsetDeleteResponse::default().with_error_code(Code::NonEmptyGroup.code());
    }
    let topics = request.topics.into_iter();
    let topics: Wanted = topics
        .map(|t| (owned(t.name.0), t.partitions.into_iter().map(|p| p.partition_index).collect()))
        .collect();
    let outcome = match broker.topics.groups().delete_offsets(&group, topics).await {
        Ok(outcome) => outcome,
        Err(error) => return OffsetDeleteResponse::default().with_error_code(errors::group(&error).code()),
    };
    let topics = outcome.into_iter().map(|(name, partitions)| {
        let partitions = partitions.into_iter().map(|(partition, outcome)| {
            OffsetDeleteResponsePartition::default()
                .with_partition_index(partition)
                .with_error_code(errors::group_code(&outcome))
        });
        OffsetDeleteResponseTopic::default().with_name(topic(name)).with_partitions(partitions.collect())
    });
    OffsetDeleteResponse::default().with_topics(topics.collect())
}
