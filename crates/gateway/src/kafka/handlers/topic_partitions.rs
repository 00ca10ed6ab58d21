//! DescribeTopicPartitions (KIP-966): topics page by page.
//!
//! Owns: the order of pages, the cursor.
//! Does not own: what a topic is (topics).

use std::collections::BTreeSet;
use std::sync::Arc;

use ::topics::TopicInfo;
use base::{PartitionId, TopicName};
use kafka_protocol::ResponseError as Code;
use kafka_protocol::messages as m;
use kafka_protocol::messages::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};
use kafka_protocol::messages::{DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse};

use super::super::{Broker, NODE_ID};
use super::{NOT_ASKED, text};

/// Most partitions of one page (Kafka's max.request.partition.size.limit).
const PAGE_MAX: usize = 2_000;

pub(super) fn name_of(topic: &str) -> m::TopicName {
    m::TopicName(text(topic))
}

pub(super) async fn describe(
    broker: Arc<Broker>,
    request: DescribeTopicPartitionsRequest,
) -> DescribeTopicPartitionsResponse {
    // In order of names, each once: a page ends where the next begins.
    let mut names: BTreeSet<String> = request.topics.iter().map(|t| t.name.to_string()).collect();
    let all = names.is_empty();
    if all {
        names.extend(broker.topics.list().iter().map(|t| t.name.to_string()));
    }
    let (from, mut first) = match &request.cursor {
        Some(cursor) => (cursor.topic_name.to_string(), cursor.partition_index.max(0)),
        None => (String::new(), 0),
    };
    let mut left = usize::try_from(request.response_partition_limit).unwrap_or(0).clamp(1, PAGE_MAX);
    let mut topics = Vec::new();
    for name in names.range(from.clone()..) {
        if *name != from {
            first = 0;
        }
        let Some(info) = broker.topics.topic(name) else {
            // A topic that went between two pages is no error of someone who asks for all.
            if !all {
                topics.push(refused(name));
            }
            continue;
        };
        if left == 0 {
            return page(topics, Some((name, 0)));
        }
        let wanted = usize::try_from(info.partitions.saturating_sub(first)).unwrap_or(0);
        let taken = wanted.min(left);
        left -= taken;
        let end = first + taken as PartitionId;
        topics.push(described(&broker, &info, first..end));
        if taken < wanted {
            return page(topics, Some((name, end)));
        }
    }
    page(topics, None)
}

fn page(
    topics: Vec<DescribeTopicPartitionsResponseTopic>,
    next: Option<(&String, PartitionId)>,
) -> DescribeTopicPartitionsResponse {
    let cursor = next.map(|(topic, partition)| {
        Cursor::default().with_topic_name(name_of(topic)).with_partition_index(partition)
    });
    DescribeTopicPartitionsResponse::default().with_topics(topics).with_next_cursor(cursor)
}

fn refused(name: &str) -> DescribeTopicPartitionsResponseTopic {
    let valid = TopicName::new(name).is_ok();
    let code = if valid { Code::UnknownTopicOrPartition } else { Code::InvalidTopicException };
    DescribeTopicPartitionsResponseTopic::default()
        .with_error_code(code.code())
        .with_name(Some(name_of(name)))
        .with_topic_authorized_operations(NOT_ASKED)
}

fn described(
    broker: &Broker,
    info: &TopicInfo,
    indexes: std::ops::Range<PartitionId>,
) -> DescribeTopicPartitionsResponseTopic {
    let epoch = broker.topics.leader_epoch();
    let here = || vec![NODE_ID.into()];
    let partitions = indexes.map(|index| {
        DescribeTopicPartitionsResponsePartition::default()
            .with_partition_index(index)
            .with_leader_id(NODE_ID.into())
            .with_leader_epoch(epoch)
            .with_replica_nodes(here())
            .with_isr_nodes(here())
            .with_eligible_leader_replicas(Some(Vec::new()))
            .with_last_known_elr(Some(Vec::new()))
    });
    DescribeTopicPartitionsResponseTopic::default()
        .with_name(Some(name_of(info.name.as_str())))
        .with_topic_id(info.id.0)
        .with_is_internal(info.is_internal())
        .with_partitions(partitions.collect())
        .with_topic_authorized_operations(NOT_ASKED)
}
