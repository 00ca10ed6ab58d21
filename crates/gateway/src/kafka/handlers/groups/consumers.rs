//! ConsumerGroupHeartbeat and ConsumerGroupDescribe (KIP-848).
//!
//! Owns: what the versions of these requests and responses differ in.
//! Does not own: groups (topics).

use std::sync::Arc;

use ::topics::groups::{
    Client, ConsumerGroupDescription, ConsumerHeartbeat, ConsumerMemberDescription, GroupError,
    NamedPartitions,
};
use base::TopicId;
use kafka_protocol::messages::consumer_group_describe_response::{
    self as describe_response, DescribedGroup, Member,
};
use kafka_protocol::messages::consumer_group_heartbeat_response::{self as heartbeat_response, Assignment};
use kafka_protocol::messages::{
    ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, ConsumerGroupHeartbeatRequest,
    ConsumerGroupHeartbeatResponse, TopicName,
};

use super::{Broker, Code, NOT_ASKED, errors, is_inner, owned, owned_if_any, text};

/// First ConsumerGroupHeartbeat whose members make their ids themselves (KIP-1082).
const ID_REQUIRED_SINCE: i16 = 1;
/// First ConsumerGroupDescribe that tells which protocol a member speaks.
const MEMBER_TYPE_SINCE: i16 = 1;
const UNKNOWN_TYPE: i8 = -1;
const CONSUMER_TYPE: i8 = 1;

pub(in super::super) async fn consumer_heartbeat(
    broker: Arc<Broker>,
    client: Client,
    version: i16,
    request: ConsumerGroupHeartbeatRequest,
) -> ConsumerGroupHeartbeatResponse {
    let topics = request.subscribed_topic_names.map(|names| names.into_iter().map(|n| owned(n.0)).collect());
    let partitions = request.topic_partitions;
    let heartbeat = ConsumerHeartbeat {
        group: owned(request.group_id.0),
        member: owned(request.member_id),
        epoch: request.member_epoch,
        instance: owned_if_any(request.instance_id),
        rack: owned_if_any(request.rack_id),
        client,
        rebalance_timeout_ms: request.rebalance_timeout_ms,
        topics,
        regex: owned_if_any(request.subscribed_topic_regex),
        assignor: owned_if_any(request.server_assignor),
        owned: partitions.map(|own| own.into_iter().map(|t| (TopicId(t.topic_id), t.partitions)).collect()),
        id_required: version >= ID_REQUIRED_SINCE,
    };
    let outcome = if is_inner(&broker, &heartbeat.group) {
        Err(GroupError::GroupIdNotFound(heartbeat.group))
    } else {
        broker.topics.groups().consumer_heartbeat(heartbeat).await
    };
    let followed = match outcome {
        Ok(followed) => followed,
        Err(error) => {
            return ConsumerGroupHeartbeatResponse::default()
                .with_error_code(errors::group(&error).code())
                .with_error_message(Some(text(&error)));
        }
    };
    let assignment = followed.assignment.map(|topics| {
        let topics = topics.into_iter().map(|(topic, partitions)| {
            heartbeat_response::TopicPartitions::default().with_topic_id(topic.0).with_partitions(partitions)
        });
        Assignment::default().with_topic_partitions(topics.collect())
    });
    ConsumerGroupHeartbeatResponse::default()
        .with_member_id(Some(text(followed.member)))
        .with_member_epoch(followed.epoch)
        .with_heartbeat_interval_ms(followed.heartbeat_interval_ms)
        .with_assignment(assignment)
}

pub(in super::super) async fn describe_consumers(
    broker: Arc<Broker>,
    version: i16,
    request: ConsumerGroupDescribeRequest,
) -> ConsumerGroupDescribeResponse {
    let groups = request.group_ids.into_iter().map(|id| {
        let group = match broker.topics.groups().describe_consumer_group(&id) {
            Some(found) => described(found, version),
            None => DescribedGroup::default()
                .with_error_code(Code::GroupIdNotFound.code())
                .with_error_message(Some(text(format_args!("there is no consumer group {}", id.as_str())))),
        };
        group.with_group_id(id).with_authorized_operations(NOT_ASKED)
    });
    ConsumerGroupDescribeResponse::default().with_groups(groups.collect())
}

fn described(group: ConsumerGroupDescription, version: i16) -> DescribedGroup {
    let members = group.members.into_iter().map(|member| described_member(member, version));
    DescribedGroup::default()
        .with_group_state(group.state.into())
        .with_group_epoch(group.epoch)
        .with_assignment_epoch(group.assignment_epoch)
        .with_assignor_name(group.assignor.into())
        .with_members(members.collect())
}

fn described_member(member: ConsumerMemberDescription, version: i16) -> Member {
    let names = member.topics.into_iter().map(|name| TopicName(text(name)));
    Member::default()
        .with_member_id(text(member.member))
        .with_instance_id(member.instance.map(text))
        .with_rack_id(member.rack.map(text))
        .with_member_epoch(member.epoch)
        .with_client_id(text(member.client.id))
        .with_client_host(text(member.client.host))
        .with_subscribed_topic_names(names.collect())
        .with_subscribed_topic_regex(member.regex.map(text))
        .with_assignment(assignment(member.assignment))
        .with_target_assignment(assignment(member.target))
        .with_member_type(if version >= MEMBER_TYPE_SINCE { CONSUMER_TYPE } else { UNKNOWN_TYPE })
}

fn assignment(topics: NamedPartitions) -> describe_response::Assignment {
    let topics = topics.into_iter().map(|(id, name, partitions)| {
        describe_response::TopicPartitions::default()
            .with_topic_id(id.0)
            .with_topic_name(TopicName(text(name)))
            .with_partitions(partitions)
    });
    describe_response::Assignment::default().with_topic_partitions(topics.collect())
}
