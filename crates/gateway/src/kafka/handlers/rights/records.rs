//! Rights of requests about records and their offsets.

use std::sync::Arc;

use ::access::{Operation, Resource};
use kafka_protocol::ResponseError as Code;
use kafka_protocol::messages as m;

use super::super::super::Broker;
use super::super::super::session::Caller;
use super::super::{offsets, records, transactions};
use super::split;

const REFUSED: i16 = Code::TopicAuthorizationFailed.code();
/// An offset or time that there is not.
const NONE: i64 = -1;

/// ListOffsets: Describe on the topic.
pub(in super::super) async fn list_offsets(
    caller: Caller,
    broker: Arc<Broker>,
    version: i16,
    mut request: m::ListOffsetsRequest,
) -> m::ListOffsetsResponse {
    use m::list_offsets_response::{
        ListOffsetsPartitionResponse as Partition, ListOffsetsTopicResponse as Topic,
    };
    let refused = split(&mut request.topics, |t| caller.may(Operation::Describe, Resource::topic(&t.name)));
    let mut answer = offsets::list(broker, version, request).await;
    answer.topics.extend(refused.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| {
            Partition::default()
                .with_partition_index(partition.partition_index)
                .with_error_code(REFUSED)
                .with_timestamp(NONE)
                .with_offset(NONE)
        });
        let partitions = partitions.collect();
        Topic::default().with_name(topic.name).with_partitions(partitions)
    }));
    answer
}

/// OffsetForLeaderEpoch: Describe on the topic.
pub(in super::super) async fn for_leader_epoch(
    caller: Caller,
    broker: Arc<Broker>,
    mut request: m::OffsetForLeaderEpochRequest,
) -> m::OffsetForLeaderEpochResponse {
    use m::offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult};
    let refused = split(&mut request.topics, |t| caller.may(Operation::Describe, Resource::topic(&t.topic)));
    let mut answer = offsets::for_leader_epoch(broker, request).await;
    answer.topics.extend(refused.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| {
            EpochEndOffset::default()
                .with_partition(partition.partition)
                .with_error_code(REFUSED)
                .with_leader_epoch(-1)
                .with_end_offset(NONE)
        });
        let partitions = partitions.collect();
        OffsetForLeaderTopicResult::default().with_topic(topic.topic).with_partitions(partitions)
    }));
    answer
}

/// DeleteRecords: Delete on the topic.
pub(in super::super) async fn delete(
    caller: Caller,
    broker: Arc<Broker>,
    mut request: m::DeleteRecordsRequest,
) -> m::DeleteRecordsResponse {
    use m::delete_records_response::{
        DeleteRecordsPartitionResult as Partition, DeleteRecordsTopicResult as Topic,
    };
    let refused = split(&mut request.topics, |t| caller.may(Operation::Delete, Resource::topic(&t.name)));
    let mut answer = records::delete(broker, request).await;
    answer.topics.extend(refused.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| {
            Partition::default()
                .with_partition_index(partition.partition_index)
                .with_low_watermark(NONE)
                .with_error_code(REFUSED)
        });
        let partitions = partitions.collect();
        Topic::default().with_name(topic.name).with_partitions(partitions)
    }));
    answer
}

/// DescribeProducers: Read on the topic.
pub(in super::super) async fn describe_producers(
    caller: Caller,
    broker: Arc<Broker>,
    mut request: m::DescribeProducersRequest,
) -> m::DescribeProducersResponse {
    use m::describe_producers_response::{PartitionResponse, TopicResponse};
    let refused = split(&mut request.topics, |t| caller.may(Operation::Read, Resource::topic(&t.name)));
    let mut answer = transactions::describe_producers(broker, request).await;
    answer.topics.extend(refused.into_iter().map(|topic| {
        let partitions = topic.partition_indexes.iter().map(|index| {
            PartitionResponse::default()
                .with_partition_index(*index)
                .with_error_code(REFUSED)
                .with_error_message(None)
        });
        let partitions = partitions.collect();
        TopicResponse::default().with_name(topic.name).with_partitions(partitions)
    }));
    answer
}
