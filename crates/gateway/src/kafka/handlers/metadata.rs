//! Metadata: who leads what. Everything is led by this node.
//!
//! Owns: null and empty topic lists, topic ids (KIP-516), creating topics on first use.
//! Does not own: what a topic is created with (the broker's defaults, in topics), the fields with authorized operations
//! (`rights`).

use std::sync::Arc;

use ::topics::{NewTopic, TopicInfo};
use base::{TopicId, TopicName};
use kafka_protocol::ResponseError as Code;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{MetadataRequest, MetadataResponse};

use super::super::{Broker, NODE_ID, errors};
use super::{NOT_ASKED, text};

/// Most topics that one request may bring into being by naming them.
const CREATED_MAX: usize = 1_000;

pub(super) async fn describe(
    broker: Arc<Broker>,
    version: i16,
    request: MetadataRequest,
) -> MetadataResponse {
    // Version 0 cannot say null: there an empty list means all topics, later it means none.
    let wanted = request.topics.filter(|topics| version > 0 || !topics.is_empty());
    let topics = match wanted {
        None => broker.topics.list().iter().map(|topic| known(&broker, topic)).collect(),
        Some(wanted) => {
            // Both sides must want it: the node's setting and the client's `allow.auto.create.topics` (KIP-361).
            let both = request.allow_auto_topic_creation && broker.topics.settings().auto_create_topics;
            let mut may_create = if both { CREATED_MAX } else { 0 };
            let mut topics = Vec::new();
            for topic in wanted {
                topics.push(one(&broker, topic, &mut may_create).await);
            }
            topics
        }
    };
    let node = MetadataResponseBroker::default()
        .with_node_id(NODE_ID.into())
        .with_host(broker.host.clone())
        .with_port(broker.port);
    MetadataResponse::default()
        .with_brokers(vec![node])
        .with_cluster_id(Some(broker.cluster_id.clone()))
        .with_controller_id(NODE_ID.into())
        .with_topics(topics)
        .with_cluster_authorized_operations(NOT_ASKED)
}

async fn one(broker: &Broker, wanted: MetadataRequestTopic, may_create: &mut usize) -> MetadataResponseTopic {
    let refused = |code: Code| {
        MetadataResponseTopic::default()
            .with_error_code(code.code())
            .with_topic_authorized_operations(NOT_ASKED)
            .with_topic_id(wanted.topic_id)
    };
    let Some(name) = &wanted.name else {
        return match broker.topics.topic_by_id(TopicId(wanted.topic_id)) {
            Some(topic) => known(broker, &topic),
            None if wanted.topic_id.is_nil() => {
                refused(Code::InvalidTopicException).with_name(Some(Default::default()))
            }
            None => refused(Code::UnknownTopicId).with_name(None),
        };
    };
    let refused = |code: Code| refused(code).with_name(Some(name.clone()));
    if let Some(topic) = broker.topics.topic(name) {
        return known(broker, &topic);
    }
    if TopicName::new(name).is_err() {
        return refused(Code::InvalidTopicException);
    }
    if *may_create == 0 {
        return refused(Code::UnknownTopicOrPartition);
    }
    *may_create -= 1;
    let new = NewTopic { name: name.to_string(), ..NewTopic::default() };
    match broker.commands.create_topic(new).await {
        Ok(topic) => known(broker, &topic),
        // Somebody else was quicker, or it cannot be made.
        Err(error) => match broker.topics.topic(name) {
            Some(topic) => known(broker, &topic),
            None => {
                tracing::warn!(topic = %name.as_str(), error = %base::fault::chain(&error), "cannot create a topic on first use");
                refused(errors::command(&error))
            }
        },
    }
}

fn known(broker: &Broker, topic: &TopicInfo) -> MetadataResponseTopic {
    let epoch = broker.topics.leader_epoch();
    let partitions = (0..topic.partitions).map(|index| {
        MetadataResponsePartition::default()
            .with_partition_index(index)
            .with_leader_id(NODE_ID.into())
            .with_leader_epoch(epoch)
            .with_replica_nodes(vec![NODE_ID.into()])
            .with_isr_nodes(vec![NODE_ID.into()])
    });
    MetadataResponseTopic::default()
        .with_name(Some(text(&topic.name).into()))
        .with_topic_id(topic.id.0)
        .with_is_internal(topic.is_internal())
        .with_partitions(partitions.collect())
        .with_topic_authorized_operations(NOT_ASKED)
}
