//! CreateTopics, DeleteTopics, CreatePartitions.
//!
//! Owns: what Kafka's admin requests say beyond the topic itself: replicas, assignments, validate-only, duplicates.
//! Does not own: creating and deleting (pipelines' commands).
//! Invariants: each topic of a request succeeds or fails alone.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use ::topics::{ConfigSource, NewTopic, TopicError, TopicInfo};
use base::TopicId;
use kafka_protocol::ResponseError as Code;
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreateTopicsRequest, CreateTopicsResponse,
    DeleteTopicsRequest, DeleteTopicsResponse,
};
use pipelines::CommandError;

use super::super::{Broker, NODE_ID, errors};
use super::configs::source_code;
use super::text;

/// Code and message of what was refused.
type Refusal = (Code, String);

fn refusal(error: &CommandError) -> Refusal {
    (errors::command(error), base::fault::chain(error))
}

pub(super) async fn create(
    broker: Arc<Broker>,
    version: i16,
    request: CreateTopicsRequest,
) -> CreateTopicsResponse {
    let mut seen: HashMap<String, usize> = HashMap::new();
    for topic in &request.topics {
        *seen.entry(topic.name.to_string()).or_default() += 1;
    }
    let mut results = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let twice = seen.get(topic.name.as_str()).is_some_and(|n| *n > 1);
        let outcome = if twice {
            Err((Code::InvalidRequest, format!("topic {} is in the request twice", topic.name.as_str())))
        } else {
            create_one(&broker, &topic, request.validate_only).await
        };
        results.push(created(topic, version, outcome));
    }
    CreateTopicsResponse::default().with_topics(results)
}

/// None: it would have been created.
async fn create_one(
    broker: &Broker,
    topic: &CreatableTopic,
    validate_only: bool,
) -> Result<Option<Arc<TopicInfo>>, Refusal> {
    let new = new_topic(topic, broker.topics.settings().replication_factor_max)?;
    if validate_only {
        broker.commands.validate_topic(&new).map_err(|e| refusal(&e))?;
        return Ok(None);
    }
    broker.commands.create_topic(new).await.map(Some).map_err(|e| refusal(&e))
}

fn new_topic(topic: &CreatableTopic, factor_max: i16) -> Result<NewTopic, Refusal> {
    let factor = topic.replication_factor;
    if factor != -1 && !(1..=factor_max).contains(&factor) {
        let error = TopicError::ReplicationFactor(topic.replication_factor);
        return Err((errors::topic(&error), error.to_string()));
    }
    let partitions = match (topic.num_partitions, topic.assignments.len()) {
        (-1, 0) => None,
        (count, 0) => Some(count),
        (-1, _) => Some(assigned(topic)?),
        _ => {
            let message = "give a number of partitions or an assignment, not both".to_owned();
            return Err((Code::InvalidRequest, message));
        }
    };
    let mut config = BTreeMap::new();
    for property in &topic.configs {
        let Some(value) = &property.value else {
            return Err((Code::InvalidConfig, format!("property {} has no value", property.name)));
        };
        config.insert(property.name.to_string(), value.to_string());
    }
    Ok(NewTopic { name: topic.name.to_string(), partitions, config })
}

/// Checks a replica assignment by hand, for which there is one possibility.
fn assigned(topic: &CreatableTopic) -> Result<i32, Refusal> {
    let indexes: HashSet<i32> = topic.assignments.iter().map(|a| a.partition_index).collect();
    let count = topic.assignments.len() as i32;
    let in_order = indexes.len() == topic.assignments.len() && indexes.iter().all(|i| (0..count).contains(i));
    let here = topic.assignments.iter().all(|a| a.broker_ids == [NODE_ID]);
    if in_order && here {
        return Ok(count);
    }
    let message =
        format!("assign partitions from 0 without gaps, each to broker {NODE_ID}: there is no other");
    Err((Code::InvalidReplicaAssignment, message))
}

fn created(
    topic: CreatableTopic,
    version: i16,
    outcome: Result<Option<Arc<TopicInfo>>, Refusal>,
) -> CreatableTopicResult {
    let result = CreatableTopicResult::default().with_name(topic.name);
    match outcome {
        Ok(Some(info)) => {
            let configs = info.config.entries().map(|(key, value, source)| {
                CreatableTopicConfigs::default()
                    .with_name(key.name.into())
                    .with_value(Some(text(queries::mode::shown(key.name, value))))
                    .with_config_source(source_code(source))
            });
            // The answer tells about the topic since version 5 (KIP-525).
            let configs = (version >= 5).then(|| configs.collect());
            result
                .with_topic_id(info.id.0)
                .with_num_partitions(info.partitions)
                .with_replication_factor(1)
                .with_configs(configs)
        }
        Ok(None) => {
            let configs = topic.configs.into_iter().map(|property| {
                CreatableTopicConfigs::default()
                    .with_name(property.name)
                    .with_value(property.value)
                    .with_config_source(source_code(ConfigSource::Topic))
            });
            result
                .with_num_partitions(topic.num_partitions)
                .with_replication_factor(1)
                .with_configs((version >= 5).then(|| configs.collect()))
        }
        Err((code, message)) => result.with_error_code(code.code()).with_error_message(Some(text(message))),
    }
}

pub(super) async fn delete(
    broker: Arc<Broker>,
    version: i16,
    request: DeleteTopicsRequest,
) -> DeleteTopicsResponse {
    let mut wanted = request.topics;
    let named = request.topic_names.into_iter();
    wanted.extend(named.map(|name| DeleteTopicState::default().with_name(Some(name))));
    let mut results = Vec::with_capacity(wanted.len());
    for topic in wanted {
        results.push(delete_one(&broker, version, topic).await);
    }
    DeleteTopicsResponse::default().with_responses(results)
}

async fn delete_one(broker: &Broker, version: i16, topic: DeleteTopicState) -> DeletableTopicResult {
    let result = DeletableTopicResult::default().with_topic_id(topic.topic_id);
    let refused = |result: DeletableTopicResult, (code, message): Refusal| {
        // The message came with version 5.
        let message = (version >= 5).then(|| text(message));
        result.with_error_code(code.code()).with_error_message(message)
    };
    let name = match (topic.name, topic.topic_id.is_nil()) {
        (Some(name), true) => name.to_string(),
        (Some(name), false) => {
            let message = "give a name or an id, not both".to_owned();
            return refused(result.with_name(Some(name)), (Code::InvalidRequest, message));
        }
        (None, _) => match broker.topics.topic_by_id(TopicId(topic.topic_id)) {
            Some(info) => info.name.to_string(),
            None => {
                let message = format!("there is no topic with id {}", topic.topic_id);
                return refused(result.with_name(None), (Code::UnknownTopicId, message));
            }
        },
    };
    let result = result.with_name(Some(text(&name).into()));
    match broker.commands.delete_topic(&name).await {
        // The id in the answer came with version 6.
        Ok(id) => result.with_topic_id(if version >= 6 { id.0 } else { topic.topic_id }),
        Err(error) => refused(result, refusal(&error)),
    }
}

pub(super) async fn add_partitions(
    broker: Arc<Broker>,
    request: CreatePartitionsRequest,
) -> CreatePartitionsResponse {
    let mut results = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let outcome = add_to(&broker, &topic, request.validate_only).await;
        let result = CreatePartitionsTopicResult::default().with_name(topic.name);
        results.push(match outcome {
            Ok(()) => result,
            Err((code, message)) => {
                result.with_error_code(code.code()).with_error_message(Some(text(message)))
            }
        });
    }
    CreatePartitionsResponse::default().with_results(results)
}

async fn add_to(broker: &Broker, topic: &CreatePartitionsTopic, validate_only: bool) -> Result<(), Refusal> {
    let name = topic.name.as_str();
    let refused = |error: TopicError| (errors::topic(&error), error.to_string());
    let have = broker.topics.topic(name).ok_or_else(|| refused(TopicError::NotFound(name.to_owned())))?;
    let assignments = topic.assignments.as_deref().unwrap_or_default();
    if assignments.iter().any(|a| a.broker_ids != [NODE_ID]) {
        let message = format!("assign new partitions to broker {NODE_ID}: there is no other");
        return Err((Code::InvalidReplicaAssignment, message));
    }
    let added = i64::from(topic.count) - i64::from(have.partitions);
    if added > 0 && !assignments.is_empty() && assignments.len() as i64 != added {
        let message = format!("{added} partitions are to be added, and {} are assigned", assignments.len());
        return Err((Code::InvalidReplicaAssignment, message));
    }
    if validate_only {
        let max = broker.topics.settings().partitions_max;
        if topic.count <= have.partitions {
            let topic_name = name.to_owned();
            let (have, want) = (have.partitions, topic.count);
            return Err(refused(TopicError::PartitionsOnlyGrow { topic: topic_name, have, want }));
        }
        if topic.count > max {
            return Err(refused(TopicError::PartitionCount(topic.count, max)));
        }
        return Ok(());
    }
    let added = broker.commands.add_partitions(name, topic.count).await;
    added.map(drop).map_err(|e| refusal(&e))
}
