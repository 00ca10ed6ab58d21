//! OffsetFetch for the groups that inner consumers look like.
//!
//! Owns: its two layouts, one group until version 7 and several since (KIP-709).

use std::collections::BTreeMap;
use std::sync::Arc;

use ::topics::{Consumed, TopicPartition};
use base::{Offset, TopicName as ValidName};
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use kafka_protocol::messages::{OffsetFetchRequest, OffsetFetchResponse, TopicName};

use super::super::super::Broker;
use super::text;

/// Offset of a partition for which none is stored.
const NONE_STORED: Offset = -1;

/// Topics with partitions, as requests name them.
type Wanted = Vec<(TopicName, Vec<i32>)>;

pub(in super::super) async fn fetch_offsets(
    broker: Arc<Broker>,
    version: i16,
    request: OffsetFetchRequest,
) -> OffsetFetchResponse {
    let consumers = broker.topics.consumers();
    if version < 8 {
        let wanted =
            request.topics.map(|topics| topics.into_iter().map(|t| (t.name, t.partition_indexes)).collect());
        let topics = stored(&consumers, &request.group_id, wanted).into_iter().map(|(name, offsets)| {
            let partitions = offsets.into_iter().map(|(index, offset)| {
                OffsetFetchResponsePartition::default()
                    .with_partition_index(index)
                    .with_committed_offset(offset)
                    .with_metadata(Some(Default::default()))
            });
            OffsetFetchResponseTopic::default().with_name(name).with_partitions(partitions.collect())
        });
        return OffsetFetchResponse::default().with_topics(topics.collect());
    }
    let groups = request.groups.into_iter().map(|group| {
        let wanted =
            group.topics.map(|topics| topics.into_iter().map(|t| (t.name, t.partition_indexes)).collect());
        let topics = stored(&consumers, &group.group_id, wanted).into_iter().map(|(name, offsets)| {
            let partitions = offsets.into_iter().map(|(index, offset)| {
                OffsetFetchResponsePartitions::default()
                    .with_partition_index(index)
                    .with_committed_offset(offset)
                    .with_metadata(Some(Default::default()))
            });
            OffsetFetchResponseTopics::default().with_name(name).with_partitions(partitions.collect())
        });
        OffsetFetchResponseGroup::default().with_topics(topics.collect()).with_group_id(group.group_id)
    });
    OffsetFetchResponse::default().with_groups(groups.collect())
}

/// The offsets of a group for the wanted partitions, or all it has when none are named.
fn stored(
    consumers: &[Consumed],
    group: &str,
    wanted: Option<Wanted>,
) -> Vec<(TopicName, Vec<(i32, Offset)>)> {
    let consumed = consumers.iter().find(|consumed| consumed.group == group);
    let Some(wanted) = wanted else {
        let mut topics: BTreeMap<&str, Vec<(i32, Offset)>> = BTreeMap::new();
        for (at, offset) in consumed.iter().flat_map(|c| &c.offsets) {
            topics.entry(at.topic.as_str()).or_default().push((at.partition, *offset));
        }
        return topics.into_iter().map(|(name, offsets)| (TopicName(text(name)), offsets)).collect();
    };
    let offset_of = |topic: &str, partition: i32| -> Option<Offset> {
        let topic = ValidName::new(topic).ok()?;
        consumed?.offsets.get(&TopicPartition { topic, partition }).copied()
    };
    let found = wanted.into_iter().map(|(name, partitions)| {
        let offsets =
            partitions.into_iter().map(|p| (p, offset_of(&name, p).unwrap_or(NONE_STORED))).collect();
        (name, offsets)
    });
    found.collect()
}
