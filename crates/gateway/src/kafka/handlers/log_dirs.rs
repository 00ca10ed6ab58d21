//! DescribeLogDirs and AlterReplicaLogDirs: the one directory that holds the log.
//!
//! Owns: sizes of partitions as tools ask for them; that a replica has nowhere else to go.
//! Does not own: the directory (topics).

use std::collections::HashMap;
use std::sync::Arc;

use base::PartitionId;
use kafka_protocol::ResponseError as Code;
use kafka_protocol::messages::alter_replica_log_dirs_response::{
    AlterReplicaLogDirPartitionResult, AlterReplicaLogDirTopicResult,
};
use kafka_protocol::messages::describe_log_dirs_request::DescribableLogDirTopic;
use kafka_protocol::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use kafka_protocol::messages::{
    AlterReplicaLogDirsRequest, AlterReplicaLogDirsResponse, DescribeLogDirsRequest, DescribeLogDirsResponse,
};

use super::super::{Broker, errors};
use super::text;

/// DescribeLogDirsResponse.UNKNOWN_VOLUME_BYTES.
const UNKNOWN_BYTES: i64 = -1;

fn path(broker: &Broker) -> String {
    broker.topics.data_dir().display().to_string()
}

pub(super) async fn describe(
    broker: Arc<Broker>,
    request: DescribeLogDirsRequest,
) -> DescribeLogDirsResponse {
    let asked = request.topics.map(|topics| by_name(&topics));
    let topics = broker.topics.list().into_iter().filter_map(|info| {
        let wanted = match &asked {
            None => None,
            Some(asked) => Some(asked.get(info.name.as_str())?),
        };
        let indexes = (0..info.partitions).filter(|index| wanted.is_none_or(|w| w.contains(index)));
        let partitions: Vec<_> =
            indexes.filter_map(|index| described(&broker, info.name.as_str(), index)).collect();
        let name = kafka_protocol::messages::TopicName(text(&info.name));
        (!partitions.is_empty())
            .then(|| DescribeLogDirsTopic::default().with_name(name).with_partitions(partitions))
    });
    let offline = broker.topics.offline().is_some();
    let free = broker.topics.free_bytes().and_then(|bytes| i64::try_from(bytes).ok());
    let result = DescribeLogDirsResult::default()
        .with_error_code(if offline { Code::KafkaStorageError.code() } else { errors::NONE })
        .with_log_dir(text(path(&broker)))
        .with_topics(topics.collect())
        .with_total_bytes(UNKNOWN_BYTES)
        .with_usable_bytes(free.unwrap_or(UNKNOWN_BYTES));
    DescribeLogDirsResponse::default().with_results(vec![result])
}

fn by_name(topics: &[DescribableLogDirTopic]) -> HashMap<String, Vec<PartitionId>> {
    let mut asked: HashMap<String, Vec<PartitionId>> = HashMap::new();
    for topic in topics {
        asked.entry(topic.topic.to_string()).or_default().extend(&topic.partitions);
    }
    asked
}

fn described(broker: &Broker, topic: &str, index: PartitionId) -> Option<DescribeLogDirsPartition> {
    let size = broker.topics.partition(topic, index)?.size_bytes();
    let size = i64::try_from(size).unwrap_or(i64::MAX);
    Some(DescribeLogDirsPartition::default().with_partition_index(index).with_partition_size(size))
}

/// A replica that is told to move to where it lies has done so.
pub(super) async fn alter(
    broker: Arc<Broker>,
    request: AlterReplicaLogDirsRequest,
) -> AlterReplicaLogDirsResponse {
    let here = path(&broker);
    let mut results = Vec::new();
    for dir in request.dirs {
        let known = dir.path.as_str() == here;
        for topic in dir.topics {
            let partitions = topic.partitions.iter().map(|index| {
                let code = match (known, broker.topics.partition(topic.name.as_str(), *index)) {
                    (false, _) => Code::LogDirNotFound.code(),
                    (true, None) => Code::UnknownTopicOrPartition.code(),
                    (true, Some(_)) => errors::NONE,
                };
                AlterReplicaLogDirPartitionResult::default()
                    .with_partition_index(*index)
                    .with_error_code(code)
            });
            let partitions = partitions.collect();
            results.push(
                AlterReplicaLogDirTopicResult::default()
                    .with_topic_name(topic.name)
                    .with_partitions(partitions),
            );
        }
    }
    AlterReplicaLogDirsResponse::default().with_results(results)
}
