//! Transactions on the wire: codes by version, what fetches of both isolation levels get, what tools are told.

use kafka_protocol::messages as m;
use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::describe_producers_request::TopicRequest;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::write_txn_markers_request::{WritableTxnMarker, WritableTxnMarkerTopic};

use super::*;

const READ_COMMITTED: i8 = 1;

fn id(of: &str) -> m::TransactionalId {
    m::TransactionalId(text(of))
}

/// A producer with a transactional id.
#[derive(Clone)]
struct Producer {
    name: String,
    id: i64,
    epoch: i16,
}

impl Producer {
    async fn init(client: &mut Client, name: &str) -> Self {
        let response = init(client, 4, name, 60_000, (-1, -1)).await;
        assert_eq!(response.error_code, 0, "{name}");
        Self { name: name.into(), id: response.producer_id.0, epoch: response.producer_epoch }
    }

    async fn add(&self, client: &mut Client, v: i16, partitions: &[i32]) -> Vec<i16> {
        let topic =
            AddPartitionsToTxnTopic::default().with_name(name("t")).with_partitions(partitions.into());
        let request = m::AddPartitionsToTxnRequest::default()
            .with_v3_and_below_transactional_id(id(&self.name))
            .with_v3_and_below_producer_id(self.id.into())
            .with_v3_and_below_producer_epoch(self.epoch)
            .with_v3_and_below_topics(vec![topic]);
        let response: m::AddPartitionsToTxnResponse = client.call(Api::AddPartitionsToTxn, v, &request).await;
        let results = &response.results_by_topic_v3_and_below[0].results_by_partition;
        results.iter().map(|r| r.partition_error_code).collect()
    }

    async fn end(&self, client: &mut Client, v: i16, committed: bool) -> i16 {
        let request = m::EndTxnRequest::default()
            .with_transactional_id(id(&self.name))
            .with_producer_id(self.id.into())
            .with_producer_epoch(self.epoch)
            .with_committed(committed);
        client.call::<m::EndTxnResponse>(Api::EndTxn, v, &request).await.error_code
    }

    async fn send(&self, client: &mut Client, v: i16, partition: i32, sequence: i32) -> (i16, i64) {
        let batch = builder(1).producer(self.id, self.epoch, sequence).transactional().build().unwrap();
        let request = produce_request("t", partition, batch, -1).with_transactional_id(Some(id(&self.name)));
        let response: ProduceResponse = client.call(Api::Produce, v, &request).await;
        let partition = &response.responses[0].partition_responses[0];
        (partition.error_code, partition.base_offset)
    }
}

async fn init(
    client: &mut Client,
    v: i16,
    name: &str,
    timeout_ms: i32,
    known: (i64, i16),
) -> m::InitProducerIdResponse {
    let request = m::InitProducerIdRequest::default()
        .with_transactional_id(Some(id(name)))
        .with_transaction_timeout_ms(timeout_ms)
        .with_producer_id(known.0.into())
        .with_producer_epoch(known.1);
    client.call(Api::InitProducerId, v, &request).await
}

fn fetch_request(isolation: i8, max_wait_ms: i32) -> m::FetchRequest {
    let partition = FetchPartition::default().with_partition(0).with_partition_max_bytes(1 << 20);
    let topic = FetchTopic::default().with_topic(name("t")).with_partitions(vec![partition]);
    m::FetchRequest::default()
        .with_replica_id((-1).into())
        .with_max_wait_ms(max_wait_ms)
        .with_min_bytes(1)
        .with_max_bytes(1 << 20)
        .with_isolation_level(isolation)
        .with_topics(vec![topic])
}

async fn fetch(client: &mut Client, isolation: i8) -> m::fetch_response::PartitionData {
    let mut response: m::FetchResponse = client.call(Api::Fetch, 12, &fetch_request(isolation, 0)).await;
    response.responses.remove(0).partitions.remove(0)
}

async fn latest(client: &mut Client, isolation: i8, timestamp: i64) -> i64 {
    let partition = ListOffsetsPartition::default().with_timestamp(timestamp);
    let topic = ListOffsetsTopic::default().with_name(name("t")).with_partitions(vec![partition]);
    let request = m::ListOffsetsRequest::default()
        .with_replica_id((-1).into())
        .with_isolation_level(isolation)
        .with_topics(vec![topic]);
    let response: m::ListOffsetsResponse = client.call(Api::ListOffsets, 7, &request).await;
    response.topics[0].partitions[0].offset
}

/// Asks what `versions` does not know how to ask.
pub(super) async fn ask(client: &mut Client, api: Api, v: i16) {
    let producer = Producer::init(client, &format!("v{v}")).await;
    assert_eq!(producer.add(client, if api == Api::AddPartitionsToTxn { v } else { 3 }, &[0]).await, [0]);
    match api {
        Api::AddPartitionsToTxn => {}
        Api::AddOffsetsToTxn => {
            let request = m::AddOffsetsToTxnRequest::default()
                .with_transactional_id(id(&producer.name))
                .with_producer_id(producer.id.into())
                .with_producer_epoch(producer.epoch)
                .with_group_id(m::GroupId(text("g")));
            let response: m::AddOffsetsToTxnResponse = client.call(api, v, &request).await;
            assert_eq!(response.error_code, 0, "version {v}");
        }
        Api::EndTxn => assert_eq!(producer.end(client, v, false).await, 0, "version {v}"),
        Api::WriteTxnMarkers => {
            assert_eq!(producer.send(client, 11, 0, 0).await.0, 0);
            let topic =
                WritableTxnMarkerTopic::default().with_name(name("t")).with_partition_indexes(vec![0, 99]);
            let marker = WritableTxnMarker::default()
                .with_producer_id(producer.id.into())
                .with_producer_epoch(producer.epoch)
                .with_topics(vec![topic]);
            let request = m::WriteTxnMarkersRequest::default().with_markers(vec![marker]);
            let response: m::WriteTxnMarkersResponse = client.call(api, v, &request).await;
            let codes: Vec<i16> =
                response.markers[0].topics[0].partitions.iter().map(|p| p.error_code).collect();
            assert_eq!(codes, [0, 3]);
            assert_eq!(producer.end(client, 4, true).await, 90, "its producer is fenced");
        }
        Api::DescribeProducers => {
            let topic = TopicRequest::default().with_name(name("t")).with_partition_indexes(vec![0, 99]);
            let request = m::DescribeProducersRequest::default().with_topics(vec![topic]);
            let response: m::DescribeProducersResponse = client.call(api, v, &request).await;
            let codes: Vec<i16> = response.topics[0].partitions.iter().map(|p| p.error_code).collect();
            assert_eq!(codes, [0, 3]);
        }
        Api::DescribeTransactions => {
            let ids = vec![id(&producer.name), id("nobody")];
            let request = m::DescribeTransactionsRequest::default().with_transactional_ids(ids);
            let response: m::DescribeTransactionsResponse = client.call(api, v, &request).await;
            let [known, unknown] = &response.transaction_states[..] else { panic!("two answers") };
            assert_eq!((known.error_code, known.transaction_state.as_str()), (0, "Ongoing"));
            assert_eq!((known.producer_id.0, known.topics[0].partitions.len()), (producer.id, 1));
            assert_eq!(unknown.error_code, 105);
        }
        Api::ListTransactions => {
            let listed = |response: &m::ListTransactionsResponse| {
                response.transaction_states.iter().any(|t| t.transactional_id.as_str() == producer.name)
            };
            let all = m::ListTransactionsRequest::default();
            let response: m::ListTransactionsResponse = client.call(api, v, &all).await;
            assert!(listed(&response), "version {v}");
            let others = all.with_state_filters(vec![text("Empty"), text("Nonsense")]);
            let response: m::ListTransactionsResponse = client.call(api, v, &others).await;
            assert!(!listed(&response) && response.unknown_state_filters == [text("Nonsense")]);
            if v >= 1 {
                let long = m::ListTransactionsRequest::default().with_duration_filter(3_600_000);
                let response: m::ListTransactionsResponse = client.call(api, v, &long).await;
                assert!(!listed(&response), "it has not run for an hour");
            }
        }
        other => panic!("{other:?} is asked elsewhere"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn isolation_decides_what_a_fetch_gets() {
    let node = Node::with_topic("t", 2).await;
    let mut client = node.client().await;
    let aborts = Producer::init(&mut client, "aborts").await;
    let commits = Producer::init(&mut client, "commits").await;
    assert_eq!(aborts.add(&mut client, 3, &[0]).await, [0]);
    assert_eq!(commits.add(&mut client, 0, &[0, 1]).await, [0, 0]);
    assert_eq!(commits.send(&mut client, 11, 0, 0).await, (0, 0));
    assert_eq!(aborts.send(&mut client, 3, 0, 0).await, (0, 1));
    let open = fetch(&mut client, READ_COMMITTED).await;
    assert_eq!((open.last_stable_offset, open.high_watermark), (0, 2));
    assert!(open.records.is_none_or(|r| r.is_empty()));
    assert_eq!((latest(&mut client, READ_COMMITTED, -1).await, latest(&mut client, 0, -1).await), (0, 2));
    assert_eq!(latest(&mut client, READ_COMMITTED, 0).await, -1, "by time, too");
    assert_eq!(latest(&mut client, 0, 0).await, 0);
    // A waiting fetch of committed records is woken by the end of the oldest transaction.
    let mut waiting = node.client().await;
    let correlation = waiting.send(Api::Fetch, 12, &fetch_request(READ_COMMITTED, 60_000)).await;
    assert_eq!(aborts.end(&mut client, 1, false).await, 0);
    assert!(timeout(Duration::from_millis(200), waiting.stream.readable()).await.is_err());
    assert_eq!(commits.end(&mut client, 4, true).await, 0);
    let woken: m::FetchResponse = waiting.receive(Api::Fetch, 12, correlation).await;
    assert_eq!(woken.responses[0].partitions[0].last_stable_offset, 4);
    let both = fetch(&mut client, READ_COMMITTED).await;
    assert_eq!((both.last_stable_offset, both.high_watermark), (4, 4));
    let aborted = both.aborted_transactions.expect("asked for");
    assert_eq!(aborted.len(), 1);
    assert_eq!((aborted[0].producer_id.0, aborted[0].first_offset), (aborts.id, 1));
    assert!(fetch(&mut client, 0).await.aborted_transactions.is_none());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_of_transactions_have_kafkas_codes() {
    let node = Node::with_topic("t", 2).await;
    let mut client = node.client().await;
    for (timeout, code) in [(0, 50), (-1, 50), (3_600_001, 50), (3_600_000, 0)] {
        assert_eq!(init(&mut client, 5, "x", timeout, (-1, -1)).await.error_code, code, "{timeout}");
    }
    assert_eq!(init(&mut client, 5, "", 1, (-1, -1)).await.error_code, 42);
    assert_eq!(init(&mut client, 5, "x", 1, (7, -1)).await.error_code, 42, "an id without an epoch");
    let zombie = Producer::init(&mut client, "one").await;
    assert_eq!(zombie.send(&mut client, 11, 0, 0).await.0, 120);
    assert_eq!(zombie.send(&mut client, 10, 0, 0).await.0, 48);
    assert_eq!(zombie.add(&mut client, 3, &[0, 9]).await, [55, 3], "all or nothing");
    assert_eq!(zombie.end(&mut client, 4, true).await, 48, "nothing was begun");
    let heir = Producer::init(&mut client, "one").await;
    assert_eq!(zombie.add(&mut client, 3, &[0]).await, [90]);
    assert_eq!(zombie.add(&mut client, 1, &[0]).await, [47], "older clients know no fencing");
    assert_eq!((zombie.end(&mut client, 2, true).await, zombie.end(&mut client, 1, true).await), (90, 47));
    assert_eq!(init(&mut client, 4, "one", 60_000, (zombie.id, zombie.epoch)).await.error_code, 90);
    assert_eq!(init(&mut client, 3, "one", 60_000, (zombie.id, zombie.epoch)).await.error_code, 47);
    assert_eq!(heir.add(&mut client, 3, &[0]).await, [0]);
    assert_eq!(zombie.send(&mut client, 11, 0, 0).await.0, 47);
    let stranger = Producer { id: heir.id + 500, ..heir.clone() };
    assert_eq!(stranger.add(&mut client, 3, &[0]).await, [49]);
    assert_eq!(stranger.send(&mut client, 11, 0, 0).await.0, 49);
    assert_eq!(heir.send(&mut client, 11, 0, 0).await, (0, 0));
    assert_eq!((heir.end(&mut client, 4, true).await, heir.end(&mut client, 4, true).await), (0, 0));
    assert_eq!(heir.end(&mut client, 4, false).await, 48);
    let state = m::MetadataRequest::default().with_topics(None);
    let response: m::MetadataResponse = client.call(Api::Metadata, 12, &state).await;
    let internal: Vec<_> = response.topics.iter().filter(|t| t.is_internal).collect();
    assert_eq!(internal[0].name.as_ref().map(|n| n.as_str()), Some("__transaction_state"));
    assert_eq!(client.produce("__transaction_state", 0, batch(1)).await.0, 17);
    node.stop().await;
}
