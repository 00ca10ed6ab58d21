//! Rights of requests about topics and properties.

use std::sync::Arc;

use ::access::{Operation, Resource};
use base::TopicId;
use kafka_protocol::ResponseError as Code;
use kafka_protocol::messages as m;
use kafka_protocol::messages::metadata_response::MetadataResponseTopic;
use kafka_protocol::protocol::StrBytes;

use super::super::super::Broker;
use super::super::super::errors::NONE;
use super::super::super::session::Caller;
use super::super::{NOT_ASKED, cluster, configs, metadata, text, topic_partitions, topics};
use super::{cluster_operations, split};

const REFUSED: i16 = Code::TopicAuthorizationFailed.code();

fn reason() -> Option<StrBytes> {
    Some(text(Code::TopicAuthorizationFailed))
}

/// Metadata: Describe on the topic, and Create on the cluster or the topic for one that it makes.
pub(in super::super) async fn metadata(
    caller: Caller,
    broker: Arc<Broker>,
    version: i16,
    mut request: m::MetadataRequest,
) -> m::MetadataResponse {
    let may = |operation, topic: &str| caller.may(operation, Resource::topic(topic));
    let (operations, of_cluster) =
        (request.include_topic_authorized_operations, request.include_cluster_authorized_operations);
    let makes = request.allow_auto_topic_creation && broker.topics.settings().auto_create_topics;
    let makes_any = makes && caller.may(Operation::Create, Resource::CLUSTER);
    let is_all = request.topics.as_ref().is_none_or(|topics| version == 0 && topics.is_empty());
    let refused = match &mut request.topics {
        Some(wanted) if !is_all => split(wanted, |topic| match &topic.name {
            Some(name) => {
                let there = broker.topics.topic(name).is_some();
                may(Operation::Describe, name)
                    && (there || !makes || makes_any || may(Operation::Create, name))
            }
            None => {
                let found = broker.topics.topic_by_id(TopicId(topic.topic_id));
                found.is_none_or(|info| may(Operation::Describe, info.name.as_str()))
            }
        }),
        _ => Vec::new(),
    };
    // In version 0 a list that has become empty would mean all topics.
    let version = if refused.is_empty() { version } else { version.max(1) };
    let mut answer = metadata::describe(broker, version, request).await;
    if is_all {
        answer.topics.retain(|topic| topic.name.as_ref().is_none_or(|name| may(Operation::Describe, name)));
    }
    for topic in answer.topics.iter_mut().filter(|topic| operations && topic.error_code == NONE) {
        let name = topic.name.as_deref().map_or("", |name| name);
        topic.topic_authorized_operations = caller.operations(Resource::topic(name));
    }
    answer.topics.extend(refused.into_iter().map(|topic| {
        MetadataResponseTopic::default()
            .with_error_code(REFUSED)
            .with_name(topic.name)
            .with_topic_id(topic.topic_id)
            .with_topic_authorized_operations(NOT_ASKED)
    }));
    answer.with_cluster_authorized_operations(cluster_operations(&caller, of_cluster))
}

/// DescribeCluster: nothing, but Describe for the operations.
pub(in super::super) async fn describe_cluster(
    caller: Caller,
    broker: Arc<Broker>,
    request: m::DescribeClusterRequest,
) -> m::DescribeClusterResponse {
    let asked = request.include_cluster_authorized_operations;
    let answer = cluster::describe(broker, request).await;
    answer.with_cluster_authorized_operations(cluster_operations(&caller, asked))
}

/// DescribeTopicPartitions: Describe on the topic.
pub(in super::super) async fn describe_partitions(
    caller: Caller,
    broker: Arc<Broker>,
    mut request: m::DescribeTopicPartitionsRequest,
) -> m::DescribeTopicPartitionsResponse {
    use m::describe_topic_partitions_request::TopicRequest;
    use m::describe_topic_partitions_response::DescribeTopicPartitionsResponseTopic as Topic;
    let may = |topic: &str| caller.may(Operation::Describe, Resource::topic(topic));
    if request.topics.is_empty() {
        // Asked for by name, so that neither a page's size nor its cursor tells of what may not be seen.
        let all = broker.topics.list();
        let seen = all.iter().filter(|topic| may(topic.name.as_str()));
        request.topics = seen
            .map(|topic| TopicRequest::default().with_name(topic_partitions::name_of(topic.name.as_str())))
            .collect();
    }
    let mut refused = split(&mut request.topics, |topic| may(&topic.name));
    if let Some(cursor) = &request.cursor {
        // They were told of on the first page.
        refused.retain(|topic| topic.name >= cursor.topic_name);
    }
    // What is left may be nothing, which would mean all.
    let mut answer = match request.topics.is_empty() {
        true => m::DescribeTopicPartitionsResponse::default().with_next_cursor(None),
        false => topic_partitions::describe(broker, request).await,
    };
    for topic in answer.topics.iter_mut().filter(|topic| topic.error_code == NONE) {
        let name = topic.name.as_deref().map_or("", |name| name);
        topic.topic_authorized_operations = caller.operations(Resource::topic(name));
    }
    answer.topics.extend(refused.into_iter().map(|topic| {
        Topic::default()
            .with_error_code(REFUSED)
            .with_name(Some(topic.name))
            .with_topic_authorized_operations(NOT_ASKED)
    }));
    answer
}

/// CreateTopics: Create on the cluster or the topic; its properties are shown to those who may describe them.
pub(in super::super) async fn create(
    caller: Caller,
    broker: Arc<Broker>,
    version: i16,
    mut request: m::CreateTopicsRequest,
) -> m::CreateTopicsResponse {
    use m::create_topics_response::CreatableTopicResult;
    let may = |operation, topic: &str| caller.may(operation, Resource::topic(topic));
    let any = caller.may(Operation::Create, Resource::CLUSTER);
    let refused = split(&mut request.topics, |topic| any || may(Operation::Create, &topic.name));
    let mut answer = topics::create(broker, version, request).await;
    for topic in answer.topics.iter_mut().filter(|t| version >= 5 && t.error_code == NONE) {
        if !may(Operation::DescribeConfigs, &topic.name) {
            topic.topic_config_error_code = REFUSED;
            (topic.num_partitions, topic.replication_factor) = (-1, -1);
            topic.configs = Some(Vec::new());
        }
    }
    answer.topics.extend(refused.into_iter().map(|topic| {
        CreatableTopicResult::default()
            .with_name(topic.name)
            .with_error_code(REFUSED)
            .with_error_message(reason())
    }));
    answer
}

/// DeleteTopics: Delete on the topic, and Describe to learn that it is not there.
pub(in super::super) async fn delete(
    caller: Caller,
    broker: Arc<Broker>,
    version: i16,
    mut request: m::DeleteTopicsRequest,
) -> m::DeleteTopicsResponse {
    use m::delete_topics_response::DeletableTopicResult;
    let may = |name: &str| caller.may(Operation::Delete, Resource::topic(name));
    let by_name = split(&mut request.topic_names, |name| may(name));
    let mut refused = split(&mut request.topics, |topic| match &topic.name {
        Some(name) => may(name),
        None => broker.topics.topic_by_id(TopicId(topic.topic_id)).is_none_or(|info| may(info.name.as_str())),
    });
    refused.extend(
        by_name
            .into_iter()
            .map(|name| m::delete_topics_request::DeleteTopicState::default().with_name(Some(name))),
    );
    let mut answer = topics::delete(broker, version, request).await;
    answer.responses.extend(refused.into_iter().map(|topic| {
        DeletableTopicResult::default()
            .with_name(topic.name)
            .with_topic_id(topic.topic_id)
            .with_error_code(REFUSED)
            .with_error_message(reason().filter(|_| version >= 5))
    }));
    answer
}

/// CreatePartitions: Alter on the topic.
pub(in super::super) async fn add_partitions(
    caller: Caller,
    broker: Arc<Broker>,
    mut request: m::CreatePartitionsRequest,
) -> m::CreatePartitionsResponse {
    use m::create_partitions_response::CreatePartitionsTopicResult;
    let refused = split(&mut request.topics, |t| caller.may(Operation::Alter, Resource::topic(&t.name)));
    let mut answer = topics::add_partitions(broker, request).await;
    answer.results.extend(refused.into_iter().map(|topic| {
        CreatePartitionsTopicResult::default()
            .with_name(topic.name)
            .with_error_code(REFUSED)
            .with_error_message(reason())
    }));
    answer
}

/// Whose properties: a resource and the code for those who have no right to it. Other kinds have no properties here,
/// and the handler says so.
fn owner(kind: i8, name: &str) -> Option<(Resource<'_>, Code)> {
    match kind {
        2 => Some((Resource::topic(name), Code::TopicAuthorizationFailed)),
        32 => Some((Resource::group(name), Code::GroupAuthorizationFailed)),
        4 | 8 | 16 => Some((Resource::CLUSTER, Code::ClusterAuthorizationFailed)),
        _ => None,
    }
}

fn refusal(caller: &Caller, operation: Operation, kind: i8, name: &str) -> Option<Code> {
    let (resource, code) = owner(kind, name)?;
    (!caller.may(operation, resource)).then_some(code)
}

/// DescribeConfigs: DescribeConfigs on the topic, the group or, for brokers, the cluster.
pub(in super::super) async fn describe_configs(
    caller: Caller,
    broker: Arc<Broker>,
    version: i16,
    mut request: m::DescribeConfigsRequest,
) -> m::DescribeConfigsResponse {
    use m::describe_configs_response::DescribeConfigsResult;
    let of = |kind, name: &str| refusal(&caller, Operation::DescribeConfigs, kind, name);
    let refused = split(&mut request.resources, |r| of(r.resource_type, &r.resource_name).is_none());
    let mut answer = configs::describe(broker, version, request).await;
    answer.results.extend(refused.into_iter().filter_map(|resource| {
        let code = of(resource.resource_type, &resource.resource_name)?;
        let result = DescribeConfigsResult::default()
            .with_error_code(code.code())
            .with_error_message(Some(text(code)));
        Some(result.with_resource_type(resource.resource_type).with_resource_name(resource.resource_name))
    }));
    answer
}

/// AlterConfigs: AlterConfigs on the same.
pub(in super::super) async fn replace_configs(
    caller: Caller,
    broker: Arc<Broker>,
    mut request: m::AlterConfigsRequest,
) -> m::AlterConfigsResponse {
    use m::alter_configs_response::AlterConfigsResourceResponse;
    let of = |kind, name: &str| refusal(&caller, Operation::AlterConfigs, kind, name);
    let refused = split(&mut request.resources, |r| of(r.resource_type, &r.resource_name).is_none());
    let mut answer = configs::replace(broker, request).await;
    answer.responses.extend(refused.into_iter().filter_map(|resource| {
        let code = of(resource.resource_type, &resource.resource_name)?;
        let result = AlterConfigsResourceResponse::default();
        let result = result.with_error_code(code.code()).with_error_message(Some(text(code)));
        Some(result.with_resource_type(resource.resource_type).with_resource_name(resource.resource_name))
    }));
    answer
}

/// IncrementalAlterConfigs: AlterConfigs on the same.
pub(in super::super) async fn alter_configs(
    caller: Caller,
    broker: Arc<Broker>,
    mut request: m::IncrementalAlterConfigsRequest,
) -> m::IncrementalAlterConfigsResponse {
    use m::incremental_alter_configs_response::AlterConfigsResourceResponse;
    let of = |kind, name: &str| refusal(&caller, Operation::AlterConfigs, kind, name);
    let refused = split(&mut request.resources, |r| of(r.resource_type, &r.resource_name).is_none());
    let mut answer = configs::alter(broker, request).await;
    answer.responses.extend(refused.into_iter().filter_map(|resource| {
        let code = of(resource.resource_type, &resource.resource_name)?;
        let result = AlterConfigsResourceResponse::default();
        let result = result.with_error_code(code.code()).with_error_message(Some(text(code)));
        Some(result.with_resource_type(resource.resource_type).with_resource_name(resource.resource_name))
    }));
    answer
}
