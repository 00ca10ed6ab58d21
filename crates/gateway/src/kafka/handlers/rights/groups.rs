//! Rights of requests about consumer groups, and where coordinators are.

use std::future::Future;
use std::sync::Arc;

use ::access::{Operation, Resource, ResourceKind};
use kafka_protocol::ResponseError as Code;
use kafka_protocol::messages as m;
use kafka_protocol::messages::GroupId;

use super::super::super::Broker;
use super::super::super::errors::NONE;
use super::super::super::session::Caller;
use super::super::{NOT_ASKED, groups, text};
use super::refuse::{self, Refuse};
use super::split;

const GROUP_REFUSED: i16 = Code::GroupAuthorizationFailed.code();
const TOPIC_REFUSED: i16 = Code::TopicAuthorizationFailed.code();
/// An offset that there is not.
const NO_OFFSET: i64 = -1;
/// First OffsetFetch with a code of its own, and first one for several groups.
const OWN_CODE_SINCE: i16 = 2;
const SEVERAL_GROUPS_SINCE: i16 = 8;
/// FindCoordinator's kinds of keys.
const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;

fn may(caller: &Caller, operation: Operation, group: &str) -> bool {
    caller.may(operation, Resource::group(group))
}

fn may_topic(caller: &Caller, operation: Operation, topic: &str) -> bool {
    caller.may(operation, Resource::topic(topic))
}

/// SyncGroup, Heartbeat, LeaveGroup: Read on the group.
pub(in super::super) async fn as_member<R, F>(
    caller: Caller,
    group: GroupId,
    request: R,
    work: impl FnOnce(R) -> F,
) -> R::Answer
where
    R: Refuse,
    F: Future<Output = R::Answer>,
{
    if may(&caller, Operation::Read, &group) {
        work(request).await
    } else {
        request.refuse(Code::GroupAuthorizationFailed)
    }
}

/// JoinGroup: Read on the group.
pub(in super::super) async fn join<F>(
    caller: Caller,
    version: i16,
    request: m::JoinGroupRequest,
    work: impl FnOnce(m::JoinGroupRequest) -> F,
) -> m::JoinGroupResponse
where
    F: Future<Output = m::JoinGroupResponse>,
{
    if may(&caller, Operation::Read, &request.group_id) {
        return work(request).await;
    }
    // The protocol may be left out since version 7.
    m::JoinGroupResponse::default()
        .with_error_code(GROUP_REFUSED)
        .with_protocol_name((version < 7).then(Default::default))
}

/// ConsumerGroupHeartbeat: Read on the group, Describe on the topics that it subscribes to by name.
pub(in super::super) async fn consumer_heartbeat<F>(
    caller: Caller,
    request: m::ConsumerGroupHeartbeatRequest,
    work: impl FnOnce(m::ConsumerGroupHeartbeatRequest) -> F,
) -> m::ConsumerGroupHeartbeatResponse
where
    F: Future<Output = m::ConsumerGroupHeartbeatResponse>,
{
    if !may(&caller, Operation::Read, &request.group_id) {
        return request.refuse(Code::GroupAuthorizationFailed);
    }
    let topics = request.subscribed_topic_names.as_deref().unwrap_or_default();
    if topics.iter().any(|topic| !may_topic(&caller, Operation::Describe, topic)) {
        return request.refuse(Code::TopicAuthorizationFailed);
    }
    work(request).await
}

/// OffsetCommit: Read on the group and on the topic.
pub(in super::super) async fn commit_offsets(
    caller: Caller,
    broker: Arc<Broker>,
    version: i16,
    mut request: m::OffsetCommitRequest,
) -> m::OffsetCommitResponse {
    if !may(&caller, Operation::Read, &request.group_id) {
        return request.refuse(Code::GroupAuthorizationFailed);
    }
    let refused = split(&mut request.topics, |t| may_topic(&caller, Operation::Read, &t.name));
    // Whoever may store nothing is not asked who they are in the group.
    let mut answer = match request.topics.is_empty() && !refused.is_empty() {
        true => m::OffsetCommitResponse::default(),
        false => groups::commit_offsets(broker, version, request).await,
    };
    let refused = refused.into_iter().map(|topic| refuse::committed(topic, Code::TopicAuthorizationFailed));
    answer.topics.extend(refused);
    answer
}

/// TxnOffsetCommit: Write on the transactional id, Read on the group and on the topic.
pub(in super::super) async fn commit_in_transaction(
    caller: Caller,
    broker: Arc<Broker>,
    mut request: m::TxnOffsetCommitRequest,
) -> m::TxnOffsetCommitResponse {
    if !caller.may(Operation::Write, Resource::transactional_id(&request.transactional_id)) {
        return request.refuse(Code::TransactionalIdAuthorizationFailed);
    }
    if !may(&caller, Operation::Read, &request.group_id) {
        return request.refuse(Code::GroupAuthorizationFailed);
    }
    let refused = split(&mut request.topics, |t| may_topic(&caller, Operation::Read, &t.name));
    let mut answer = match request.topics.is_empty() && !refused.is_empty() {
        true => m::TxnOffsetCommitResponse::default(),
        false => groups::commit_in_transaction(broker, request).await,
    };
    answer.topics.extend(
        refused
            .into_iter()
            .map(|topic| refuse::committed_in_transaction(topic, Code::TopicAuthorizationFailed)),
    );
    answer
}

/// OffsetFetch: Describe on the group and on the topic; without names, the topics that may be described.
pub(in super::super) async fn fetch_offsets(
    caller: Caller,
    broker: Arc<Broker>,
    version: i16,
    request: m::OffsetFetchRequest,
) -> m::OffsetFetchResponse {
    if version < SEVERAL_GROUPS_SINCE {
        fetch_of_one(caller, broker, version, request).await
    } else {
        fetch_of_several(caller, broker, version, request).await
    }
}

async fn fetch_of_one(
    caller: Caller,
    broker: Arc<Broker>,
    version: i16,
    mut request: m::OffsetFetchRequest,
) -> m::OffsetFetchResponse {
    use m::offset_fetch_response::{
        OffsetFetchResponsePartition as Partition, OffsetFetchResponseTopic as Topic,
    };
    let describes = |topic: &str| may_topic(&caller, Operation::Describe, topic);
    let refused = |topic: m::offset_fetch_request::OffsetFetchRequestTopic, code: i16| {
        let partitions = topic.partition_indexes.iter().map(|index| {
            Partition::default()
                .with_partition_index(*index)
                .with_committed_offset(NO_OFFSET)
                .with_metadata(Some(Default::default()))
                .with_error_code(code)
        });
        let partitions = partitions.collect();
        Topic::default().with_name(topic.name).with_partitions(partitions)
    };
    if !may(&caller, Operation::Describe, &request.group_id) {
        let answer = m::OffsetFetchResponse::default();
        if version >= OWN_CODE_SINCE {
            return answer.with_error_code(GROUP_REFUSED);
        }
        let topics =
            request.topics.unwrap_or_default().into_iter().map(|topic| refused(topic, GROUP_REFUSED));
        return answer.with_topics(topics.collect());
    }
    let all = request.topics.is_none();
    let taken = request.topics.as_mut().map_or_else(Vec::new, |t| split(t, |topic| describes(&topic.name)));
    let mut answer = groups::fetch_offsets(broker, version, request).await;
    if all {
        answer.topics.retain(|topic| describes(&topic.name));
    }
    answer.topics.extend(taken.into_iter().map(|topic| refused(topic, TOPIC_REFUSED)));
    answer
}

async fn fetch_of_several(
    caller: Caller,
    broker: Arc<Broker>,
    version: i16,
    mut request: m::OffsetFetchRequest,
) -> m::OffsetFetchResponse {
    use m::offset_fetch_response::{
        OffsetFetchResponseGroup as Group, OffsetFetchResponsePartitions as Partition,
        OffsetFetchResponseTopics as Topic,
    };
    let describes = |topic: &str| may_topic(&caller, Operation::Describe, topic);
    let refused = split(&mut request.groups, |g| may(&caller, Operation::Describe, &g.group_id));
    // By group: none for those that ask for all topics, else what was taken out.
    let taken: Vec<_> = request
        .groups
        .iter_mut()
        .map(|group| group.topics.as_mut().map(|topics| split(topics, |topic| describes(&topic.name))))
        .collect();
    let mut answer = groups::fetch_offsets(broker, version, request).await;
    for (group, taken) in answer.groups.iter_mut().zip(taken) {
        let Some(taken) = taken else {
            group.topics.retain(|topic| describes(&topic.name));
            continue;
        };
        if group.error_code != NONE {
            continue;
        }
        group.topics.extend(taken.into_iter().map(|topic| {
            let partitions = topic.partition_indexes.iter().map(|index| {
                Partition::default()
                    .with_partition_index(*index)
                    .with_committed_offset(NO_OFFSET)
                    .with_metadata(Some(Default::default()))
                    .with_error_code(TOPIC_REFUSED)
            });
            let partitions = partitions.collect();
            Topic::default().with_name(topic.name).with_partitions(partitions)
        }));
    }
    let refused = refused.into_iter();
    answer
        .groups
        .extend(refused.map(|g| Group::default().with_group_id(g.group_id).with_error_code(GROUP_REFUSED)));
    answer
}

/// OffsetDelete: Delete on the group, Read on the topic.
pub(in super::super) async fn delete_offsets(
    caller: Caller,
    broker: Arc<Broker>,
    mut request: m::OffsetDeleteRequest,
) -> m::OffsetDeleteResponse {
    use m::offset_delete_response::{
        OffsetDeleteResponsePartition as Partition, OffsetDeleteResponseTopic as Topic,
    };
    if !may(&caller, Operation::Delete, &request.group_id) {
        return request.refuse(Code::GroupAuthorizationFailed);
    }
    let refused = split(&mut request.topics, |t| may_topic(&caller, Operation::Read, &t.name));
    let mut answer = groups::delete_offsets(broker, request).await;
    if answer.error_code != NONE {
        return answer;
    }
    answer.topics.extend(refused.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| {
            Partition::default()
                .with_partition_index(partition.partition_index)
                .with_error_code(TOPIC_REFUSED)
        });
        let partitions = partitions.collect();
        Topic::default().with_name(topic.name).with_partitions(partitions)
    }));
    answer
}

/// ListGroups: Describe on the cluster for all, else on each group.
pub(in super::super) async fn list(
    caller: Caller,
    broker: Arc<Broker>,
    request: m::ListGroupsRequest,
) -> m::ListGroupsResponse {
    let mut answer = groups::list(broker, request).await;
    if !caller.may(Operation::Describe, Resource::CLUSTER) {
        answer.groups.retain(|group| may(&caller, Operation::Describe, &group.group_id));
    }
    answer
}

/// DescribeGroups: Describe on the group.
pub(in super::super) async fn describe<F>(
    caller: Caller,
    mut request: m::DescribeGroupsRequest,
    work: impl FnOnce(m::DescribeGroupsRequest) -> F,
) -> m::DescribeGroupsResponse
where
    F: Future<Output = m::DescribeGroupsResponse>,
{
    use m::describe_groups_response::DescribedGroup;
    let asked = request.include_authorized_operations;
    let refused = split(&mut request.groups, |group| may(&caller, Operation::Describe, group));
    let mut answer = work(request).await;
    for group in &mut answer.groups {
        group.authorized_operations = operations(&caller, asked && group.error_code == NONE, &group.group_id);
    }
    answer.groups.extend(refused.into_iter().map(|id| {
        DescribedGroup::default()
            .with_group_id(id)
            .with_error_code(GROUP_REFUSED)
            .with_authorized_operations(NOT_ASKED)
    }));
    answer
}

fn operations(caller: &Caller, asked: bool, group: &str) -> i32 {
    if asked { caller.operations(Resource::group(group)) } else { NOT_ASKED }
}

/// ConsumerGroupDescribe: Describe on the group, and on every topic of its members.
pub(in super::super) async fn describe_consumers(
    caller: Caller,
    broker: Arc<Broker>,
    version: i16,
    mut request: m::ConsumerGroupDescribeRequest,
) -> m::ConsumerGroupDescribeResponse {
    use m::consumer_group_describe_response::{Assignment, DescribedGroup, Member};
    let asked = request.include_authorized_operations;
    let refused = split(&mut request.group_ids, |group| may(&caller, Operation::Describe, group));
    let mut answer = groups::describe_consumers(broker, version, request).await;
    let describes = |topic: &str| may_topic(&caller, Operation::Describe, topic);
    let shown = |assigned: &Assignment| assigned.topic_partitions.iter().all(|t| describes(&t.topic_name));
    let all_shown = |member: &Member| {
        member.subscribed_topic_names.iter().all(|topic| describes(topic))
            && shown(&member.assignment)
            && shown(&member.target_assignment)
    };
    for group in &mut answer.groups {
        if group.members.iter().all(all_shown) {
            group.authorized_operations =
                operations(&caller, asked && group.error_code == NONE, &group.group_id);
            continue;
        }
        let message = "the group uses topics that the client is not authorized to describe";
        *group = DescribedGroup::default()
            .with_group_id(group.group_id.clone())
            .with_error_code(TOPIC_REFUSED)
            .with_error_message(Some(text(message)))
            .with_authorized_operations(NOT_ASKED);
    }
    answer.groups.extend(refused.into_iter().map(|id| {
        DescribedGroup::default()
            .with_group_id(id)
            .with_error_code(GROUP_REFUSED)
            .with_error_message(None)
            .with_authorized_operations(NOT_ASKED)
    }));
    answer
}

/// DeleteGroups: Delete on the group.
pub(in super::super) async fn delete(
    caller: Caller,
    broker: Arc<Broker>,
    mut request: m::DeleteGroupsRequest,
) -> m::DeleteGroupsResponse {
    use m::delete_groups_response::DeletableGroupResult;
    let refused = split(&mut request.groups_names, |group| may(&caller, Operation::Delete, group));
    let mut answer = groups::delete(broker, request).await;
    let refused = refused.into_iter();
    answer.results.extend(
        refused.map(|id| DeletableGroupResult::default().with_group_id(id).with_error_code(GROUP_REFUSED)),
    );
    answer
}

/// FindCoordinator: Describe on the group or the transactional id.
pub(in super::super) async fn find_coordinator(
    caller: Caller,
    broker: Arc<Broker>,
    version: i16,
    mut request: m::FindCoordinatorRequest,
) -> m::FindCoordinatorResponse {
    use m::find_coordinator_response::Coordinator;
    let (kind, code) = match request.key_type {
        GROUP => (ResourceKind::Group, Code::GroupAuthorizationFailed),
        TRANSACTION => (ResourceKind::TransactionalId, Code::TransactionalIdAuthorizationFailed),
        _ => return groups::find_coordinator(broker, version, request).await,
    };
    let describes = |name: &str| caller.may(Operation::Describe, Resource { kind, name });
    if version >= 4 {
        let keys = &mut request.coordinator_keys;
        let refused = split(keys, |key| describes(key));
        let mut answer = groups::find_coordinator(broker, version, request).await;
        answer.coordinators.extend(refused.into_iter().map(|key| {
            Coordinator::default()
                .with_key(key)
                .with_node_id((-1).into())
                .with_port(-1)
                .with_error_code(code.code())
                .with_error_message(Some(text(code)))
        }));
        return answer;
    }
    if describes(&request.key) {
        return groups::find_coordinator(broker, version, request).await;
    }
    m::FindCoordinatorResponse::default()
        .with_node_id((-1).into())
        .with_port(-1)
        .with_error_code(code.code())
        .with_error_message(Some(text(code)))
}
