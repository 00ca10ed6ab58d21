//! Records in and out: order, acks, long polls, whole batches, limits, idempotence.

use ::topics::batch::Batches;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::{
    FetchRequest, FetchResponse, InitProducerIdRequest, InitProducerIdResponse, ListOffsetsRequest,
    ListOffsetsResponse, MetadataRequest, MetadataResponse,
};

use super::*;

pub(super) fn fetch_request(topic: &str, partition: i32, from: i64, wait_ms: i32) -> FetchRequest {
    let partition = FetchPartition::default()
        .with_partition(partition)
        .with_fetch_offset(from)
        .with_partition_max_bytes(1 << 20);
    let topic = FetchTopic::default().with_topic(name(topic)).with_partitions(vec![partition]);
    FetchRequest::default()
        .with_replica_id((-1).into())
        .with_max_wait_ms(wait_ms)
        .with_min_bytes(1)
        .with_max_bytes(50 << 20)
        .with_topics(vec![topic])
}

async fn fetch(client: &mut Client, request: &FetchRequest) -> PartitionData {
    let mut response: FetchResponse = client.call(Api::Fetch, 12, request).await;
    response.responses.remove(0).partitions.remove(0)
}

/// (base offset, last offset) of every batch.
fn offsets(data: &PartitionData) -> Vec<(i64, i64)> {
    let bytes = data.records.clone().unwrap_or_default();
    Batches::new(&bytes).map(|b| b.unwrap()).map(|b| (b.base_offset(), b.last_offset())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn pipelined_requests_are_answered_in_order_and_offsets_follow_it() {
    let node = Node::with_topic("t", 1).await;
    let mut client = node.client().await;
    let all = MetadataRequest::default().with_topics(None);
    let mut sent = Vec::new();
    for count in 1..=20 {
        sent.push((true, client.send(Api::Produce, 9, &produce_request("t", 0, batch(count), -1)).await));
        sent.push((false, client.send(Api::Metadata, 12, &all).await));
    }
    let mut expected = 0;
    for (count, pair) in (1..=20).zip(sent.chunks(2)) {
        let response: ProduceResponse = client.receive(Api::Produce, 9, pair[0].1).await;
        let partition = &response.responses[0].partition_responses[0];
        assert_eq!((partition.error_code, partition.base_offset), (0, expected));
        expected += count;
        client.receive::<MetadataResponse>(Api::Metadata, 12, pair[1].1).await;
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acks_0_is_not_answered_and_its_errors_close_the_connection() {
    let node = Node::with_topic("t", 1).await;
    let mut client = node.client().await;
    client.send(Api::Produce, 9, &produce_request("t", 0, batch(2), 0)).await;
    // The next answer is the one of the next request.
    assert_eq!(client.produce("t", 0, batch(1)).await, (0, 2));
    client.send(Api::Produce, 9, &produce_request("missing", 0, batch(1), 0)).await;
    assert_eq!(client.closed().await, 0);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn produce_errors_name_their_partition() {
    let node = Node::with_topic("t", 1).await;
    let mut client = node.client().await;
    let mut corrupt = batch(1).to_vec();
    *corrupt.last_mut().unwrap() ^= 1;
    assert_eq!(client.produce("t", 0, corrupt.into()).await.0, 2);
    assert_eq!(client.produce("t", 7, batch(1)).await.0, 3);
    assert_eq!(client.produce("missing", 0, batch(1)).await.0, 3);
    assert_eq!(client.produce("t", 0, Bytes::new()).await.0, 87);
    let acks: ProduceResponse = client.call(Api::Produce, 9, &produce_request("t", 0, batch(1), 2)).await;
    assert_eq!(acks.responses[0].partition_responses[0].error_code, 21);
    let transactional = builder(1).producer(5, 0, 0).transactional().build().unwrap();
    assert_eq!(client.produce("t", 0, transactional).await.0, 53);
    // None of them left a trace.
    assert_eq!(client.produce("t", 0, batch(1)).await, (0, 0));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_fetch_is_woken_by_an_append() {
    let node = Node::with_topic("t", 1).await;
    let (mut consumer, mut producer) = (node.client().await, node.client().await);
    let correlation = consumer.send(Api::Fetch, 12, &fetch_request("t", 0, 0, 60_000)).await;
    assert!(timeout(Duration::from_millis(200), consumer.stream.readable()).await.is_err());
    assert_eq!(producer.produce("t", 0, batch(3)).await, (0, 0));
    let response: FetchResponse = consumer.receive(Api::Fetch, 12, correlation).await;
    let data = &response.responses[0].partitions[0];
    assert_eq!((offsets(data), data.high_watermark), (vec![(0, 2)], 3));
    // And by the end of its patience, with nothing.
    let empty = fetch(&mut consumer, &fetch_request("t", 0, 3, 50)).await;
    assert_eq!((empty.error_code, empty.high_watermark, offsets(&empty)), (0, 3, vec![]));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn min_bytes_gathers_over_several_appends() {
    let node = Node::with_topic("t", 1).await;
    let (mut consumer, mut producer) = (node.client().await, node.client().await);
    let size = batch(5).len() as i32;
    let request = fetch_request("t", 0, 0, 60_000).with_min_bytes(3 * size);
    let correlation = consumer.send(Api::Fetch, 12, &request).await;
    for base in [0, 5, 10] {
        assert_eq!(producer.produce("t", 0, batch(5)).await, (0, base));
    }
    let response: FetchResponse = consumer.receive(Api::Fetch, 12, correlation).await;
    assert_eq!(offsets(&response.responses[0].partitions[0]), vec![(0, 4), (5, 9), (10, 14)]);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_from_within_a_batch_returns_the_whole_batch() {
    let node = Node::with_topic("t", 1).await;
    let mut client = node.client().await;
    for base in [0, 10] {
        assert_eq!(client.produce("t", 0, batch(10)).await, (0, base));
    }
    let data = fetch(&mut client, &fetch_request("t", 0, 7, 0)).await;
    assert_eq!(offsets(&data), vec![(0, 9), (10, 19)]);
    for (from, error) in [(20, 0), (21, 1), (-1, 1)] {
        let data = fetch(&mut client, &fetch_request("t", 0, from, 0)).await;
        assert_eq!((data.error_code, offsets(&data)), (error, vec![]), "from {from}");
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_hold_except_for_the_first_batch() {
    let node = Node::with_topic("t", 2).await;
    let mut client = node.client().await;
    for partition in [0, 1, 0, 1] {
        client.produce("t", partition, batch(100)).await;
    }
    let partition = |p| FetchPartition::default().with_partition(p).with_partition_max_bytes(1 << 20);
    let topic = FetchTopic::default().with_topic(name("t")).with_partitions(vec![partition(0), partition(1)]);
    let request = |max_bytes| {
        let request = fetch_request("t", 0, 0, 0).with_topics(vec![topic.clone()]);
        request.with_max_bytes(max_bytes)
    };
    let size = batch(100).len() as i32;
    // One byte is less than any batch; two batches and a bit are two batches of the first partition.
    for (max_bytes, batches) in [(1, [1, 0]), (2 * size + 1, [2, 0]), (3 * size, [2, 1]), (9 * size, [2, 2])]
    {
        let response: FetchResponse = client.call(Api::Fetch, 12, &request(max_bytes)).await;
        let got = [0, 1].map(|p| offsets(&response.responses[0].partitions[p]).len());
        assert_eq!(got, batches, "max_bytes {max_bytes}");
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn retried_batches_get_their_first_offset_again() {
    let node = Node::with_topic("t", 1).await;
    let mut client = node.client().await;
    let none = InitProducerIdRequest::default().with_transactional_id(None);
    let producer: InitProducerIdResponse = client.call(Api::InitProducerId, 4, &none).await;
    let of =
        |sequence| builder(2).producer(producer.producer_id.0, producer.producer_epoch, sequence).build();
    for (sequence, expected) in [(0, (0, 0)), (2, (0, 2)), (0, (0, 0)), (2, (0, 2)), (4, (0, 4))] {
        let got = client.produce("t", 0, of(sequence).unwrap()).await;
        assert_eq!(got, expected, "sequence {sequence}");
    }
    assert_eq!(client.produce("t", 0, of(10).unwrap()).await.0, 45);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn offsets_by_time_and_epoch() {
    let node = Node::with_topic("t", 1).await;
    let mut client = node.client().await;
    assert_eq!(client.produce("t", 0, batch(10)).await, (0, 0));
    let epoch = node.topics.leader_epoch();
    for (timestamp, current_epoch, expected) in [
        (-1, -1, (0, 10)),
        (-2, -1, (0, 0)),
        (-3, -1, (0, 9)),
        (1_700_000_000_004, epoch, (0, 4)),
        (1_900_000_000_000, -1, (0, -1)),
        (-1, epoch + 1, (75, -1)),
        (-1, epoch - 1, (if epoch > 0 { 74 } else { 0 }, if epoch > 0 { -1 } else { 10 })),
    ] {
        let partition = ListOffsetsPartition::default()
            .with_timestamp(timestamp)
            .with_current_leader_epoch(current_epoch);
        let topic = ListOffsetsTopic::default().with_name(name("t")).with_partitions(vec![partition]);
        let request = ListOffsetsRequest::default().with_replica_id((-1).into()).with_topics(vec![topic]);
        let response: ListOffsetsResponse = client.call(Api::ListOffsets, 7, &request).await;
        let got = &response.topics[0].partitions[0];
        assert_eq!((got.error_code, got.offset), expected, "timestamp {timestamp} epoch {current_epoch}");
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn topic_ids_tell_a_topic_from_its_successor() {
    let node = Node::with_topic("t", 1).await;
    let mut client = node.client().await;
    client.produce("t", 0, batch(1)).await;
    let old = node.topics.topic("t").unwrap().id;
    let by_id = |id: base::TopicId| {
        let mut request = fetch_request("t", 0, 0, 0);
        request.topics[0] = FetchTopic::default()
            .with_topic_id(id.0)
            .with_partitions(vec![FetchPartition::default().with_partition_max_bytes(1 << 20)]);
        request
    };
    let response: FetchResponse = client.call(Api::Fetch, 17, &by_id(old)).await;
    assert_eq!(offsets(&response.responses[0].partitions[0]), vec![(0, 0)]);
    node.commands.delete_topic("t").await.unwrap();
    node.create("t", 1).await;
    let response: FetchResponse = client.call(Api::Fetch, 17, &by_id(old)).await;
    assert_eq!(response.responses[0].partitions[0].error_code, 100);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_a_topic_ends_a_waiting_fetch() {
    let node = Node::with_topic("t", 1).await;
    let mut client = node.client().await;
    let correlation = client.send(Api::Fetch, 12, &fetch_request("t", 0, 0, 60_000)).await;
    assert!(timeout(Duration::from_millis(100), client.stream.readable()).await.is_err());
    node.commands.delete_topic("t").await.unwrap();
    let response: FetchResponse = client.receive(Api::Fetch, 12, correlation).await;
    assert_eq!(response.responses[0].partitions[0].error_code, 3);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_not_kept() {
    let node = Node::with_topic("t", 1).await;
    let mut client = node.client().await;
    let opening = fetch_request("t", 0, 0, 0).with_session_id(0).with_session_epoch(0);
    let response: FetchResponse = client.call(Api::Fetch, 12, &opening).await;
    assert_eq!((response.error_code, response.session_id), (0, 0));
    let response: FetchResponse = client.call(Api::Fetch, 12, &opening.with_session_id(77)).await;
    assert_eq!((response.error_code, response.responses.len()), (70, 0));
    node.stop().await;
}
