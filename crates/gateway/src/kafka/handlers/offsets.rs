//! ListOffsets and OffsetForLeaderEpoch: positions by time and by leader epoch.
//!
//! Owns: the special timestamps (KIP-79, KIP-734, KIP-405), checking leader epochs (KIP-320).
//! Does not own: time and epoch indexes (topics).

use std::sync::Arc;

use ::topics::{Partition, ReadError};
use base::Offset;
use kafka_protocol::ResponseError as Code;
use kafka_protocol::messages::list_offsets_request::ListOffsetsPartition;
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::offset_for_leader_epoch_request::OffsetForLeaderPartition;
use kafka_protocol::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderTopicResult,
};
use kafka_protocol::messages::{
    ListOffsetsRequest, ListOffsetsResponse, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
};

use super::super::{Broker, errors};

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
/// All segments are local, so the earliest local one is the earliest.
const EARLIEST_LOCAL: i64 = -4;
/// Nothing is tiered.
const LATEST_TIERED: i64 = -5;
const READ_COMMITTED: i8 = 1;
const UNKNOWN: i64 = -1;
const NO_EPOCH: i32 = -1;

/// An answer for one partition: timestamp, offset, leader epoch.
type Found = (i64, Offset, i32);

/// Refuses a client that knows another leader epoch than the present one.
pub(super) fn check_epoch(broker: &Broker, known_to_client: i32) -> Result<(), Code> {
    let current = broker.topics.leader_epoch();
    match known_to_client {
        NO_EPOCH => Ok(()),
        older if older < current => Err(Code::FencedLeaderEpoch),
        newer if newer > current => Err(Code::UnknownLeaderEpoch),
        _ => Ok(()),
    }
}

pub(super) async fn list(
    broker: Arc<Broker>,
    version: i16,
    request: ListOffsetsRequest,
) -> ListOffsetsResponse {
    let read_committed = request.isolation_level == READ_COMMITTED;
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for wanted in &topic.partitions {
            let found = find(&broker, &topic.name, wanted, read_committed).await;
            partitions.push(listed(wanted.partition_index, version, found));
        }
        topics.push(ListOffsetsTopicResponse::default().with_name(topic.name).with_partitions(partitions));
    }
    ListOffsetsResponse::default().with_topics(topics)
}

fn listed(index: i32, version: i16, found: Result<Found, Code>) -> ListOffsetsPartitionResponse {
    let response = ListOffsetsPartitionResponse::default().with_partition_index(index);
    match found {
        // Leader epochs came with version 4.
        Ok((timestamp, offset, epoch)) => response
            .with_timestamp(timestamp)
            .with_offset(offset)
            .with_leader_epoch(if version >= 4 { epoch } else { NO_EPOCH }),
        Err(code) => response.with_error_code(code.code()).with_timestamp(UNKNOWN).with_offset(UNKNOWN),
    }
}

async fn find(
    broker: &Broker,
    topic: &str,
    wanted: &ListOffsetsPartition,
    read_committed: bool,
) -> Result<Found, Code> {
    let partition =
        broker.topics.partition(topic, wanted.partition_index).ok_or(Code::UnknownTopicOrPartition)?;
    check_epoch(broker, wanted.current_leader_epoch)?;
    let marks = partition.marks();
    let end = if read_committed { marks.stable } else { marks.durable };
    // What lies beyond the asking reader's end is not there for it.
    let visible = |(timestamp, offset, epoch): Found| {
        if offset < end { (timestamp, offset, epoch) } else { (UNKNOWN, UNKNOWN, NO_EPOCH) }
    };
    match wanted.timestamp {
        LATEST => Ok((UNKNOWN, end, broker.topics.leader_epoch())),
        EARLIEST | EARLIEST_LOCAL => Ok((UNKNOWN, marks.log_start, NO_EPOCH)),
        LATEST_TIERED => Ok((UNKNOWN, UNKNOWN, NO_EPOCH)),
        MAX_TIMESTAMP => by_time(partition, Partition::max_timestamp).await.map(visible),
        timestamp if timestamp >= 0 => {
            by_time(partition, move |p| p.offset_for_timestamp(timestamp)).await.map(visible)
        }
        _ => Err(Code::InvalidRequest),
    }
}

async fn by_time(
    partition: Partition,
    search: impl FnOnce(&Partition) -> Result<Option<(Offset, i64)>, ReadError> + Send + 'static,
) -> Result<Found, Code> {
    let searched = super::off_thread(move || search(&partition)).await;
    match searched.map_err(|_| Code::UnknownServerError)? {
        Ok(Some((offset, timestamp))) => Ok((timestamp, offset, NO_EPOCH)),
        Ok(None) => Ok((UNKNOWN, UNKNOWN, NO_EPOCH)),
        Err(error) => {
            tracing::warn!(error = %base::fault::chain(&error), "cannot look up an offset by time");
            Err(errors::read(&error))
        }
    }
}

pub(super) async fn for_leader_epoch(
    broker: Arc<Broker>,
    request: OffsetForLeaderEpochRequest,
) -> OffsetForLeaderEpochResponse {
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|p| end_of_epoch(&broker, &topic.topic, p)).collect();
        OffsetForLeaderTopicResult::default().with_topic(topic.topic).with_partitions(partitions)
    });
    OffsetForLeaderEpochResponse::default().with_topics(topics.collect())
}

fn end_of_epoch(broker: &Broker, topic: &str, wanted: &OffsetForLeaderPartition) -> EpochEndOffset {
    let found = match broker.topics.partition(topic, wanted.partition) {
        None => Err(Code::UnknownTopicOrPartition),
        Some(partition) => check_epoch(broker, wanted.current_leader_epoch)
            .map(|()| partition.end_of_epoch(wanted.leader_epoch)),
    };
    let response = EpochEndOffset::default().with_partition(wanted.partition);
    match found {
        Ok(Some((epoch, end))) => response.with_leader_epoch(epoch).with_end_offset(end),
        Ok(None) => response.with_leader_epoch(NO_EPOCH).with_end_offset(UNKNOWN),
        Err(code) => {
            response.with_error_code(code.code()).with_leader_epoch(NO_EPOCH).with_end_offset(UNKNOWN)
        }
    }
}
