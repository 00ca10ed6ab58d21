//! DeleteRecords: partitions that begin later.
//!
//! Owns: the special offset -1, the request's timeout.
//! Does not own: what is deleted, and that tables have it first (pipelines' commands).
//! Invariants: each partition succeeds or fails alone; what is answered as gone is durably gone.

use std::sync::Arc;
use std::time::Duration;

use base::{Offset, PartitionId};
use kafka_protocol::ResponseError as Code;
use kafka_protocol::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsTopicResult,
};
use kafka_protocol::messages::{DeleteRecordsRequest, DeleteRecordsResponse};

use super::super::{Broker, errors};

/// Stands for the high watermark (DeleteRecordsRequest.HIGH_WATERMARK).
const HIGH_WATERMARK: Offset = -1;
/// The low watermark of a partition whose records were not deleted.
const NO_LOW_WATERMARK: Offset = -1;

pub(super) async fn delete(broker: Arc<Broker>, request: DeleteRecordsRequest) -> DeleteRecordsResponse {
    let limit = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0));
    let until = tokio::time::Instant::now() + limit;
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for wanted in topic.partitions {
            let deleting = delete_before(&broker, topic.name.as_str(), wanted.partition_index, wanted.offset);
            // What was begun goes on.
            let outcome =
                tokio::time::timeout_at(until, deleting).await.unwrap_or(Err(Code::RequestTimedOut));
            let (code, low_watermark) = match outcome {
                Ok(log_start) => (errors::NONE, log_start),
                Err(code) => (code.code(), NO_LOW_WATERMARK),
            };
            partitions.push(
                DeleteRecordsPartitionResult::default()
                    .with_partition_index(wanted.partition_index)
                    .with_low_watermark(low_watermark)
                    .with_error_code(code),
            );
        }
        topics.push(DeleteRecordsTopicResult::default().with_name(topic.name).with_partitions(partitions));
    }
    DeleteRecordsResponse::default().with_topics(topics)
}

async fn delete_before(
    broker: &Broker,
    topic: &str,
    partition: PartitionId,
    offset: Offset,
) -> Result<Offset, Code> {
    let before = (offset != HIGH_WATERMARK).then_some(offset);
    broker.commands.delete_records(topic, partition, before).await.map_err(|error| {
        // The answer has no room for words.
        tracing::warn!(topic, partition, offset, error = %base::fault::chain(&error), "records are not deleted");
        errors::command(&error)
    })
}
