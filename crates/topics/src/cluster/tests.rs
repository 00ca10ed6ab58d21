//! The client against the broker that librdkafka brings along for tests; against our own door it is tested with whole
//! nodes.

use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;

use super::*;

fn cluster(partitions: i32) -> (MockCluster<'static, DefaultProducerContext>, ClusterClient) {
    let mock = MockCluster::new(1).expect("broker");
    mock.create_topic("t", partitions, 1).expect("topic");
    let client = ClusterClient::new(mock.bootstrap_servers());
    (mock, client)
}

fn record(n: usize) -> ProduceRecord {
    ProduceRecord {
        partition: Some((n % 3) as PartitionId),
        key: n.is_multiple_of(2).then(|| format!("k{n}").into()),
        value: (!n.is_multiple_of(5)).then(|| format!("v{n}").into()),
        headers: vec![("h".into(), Some("1".into())), ("none".into(), None)],
        timestamp_ms: Some(1_700_000_000_000 + n as i64),
    }
}

async fn produce(client: &ClusterClient, count: usize) -> Delivered {
    // A queue much smaller than the input, so that it fills.
    let settings = ProducerSettings { queue_records: 100, ..ProducerSettings::default() };
    let producer = client.producer(settings).expect("producer");
    producer.send("t", (0..count).map(record).collect()).await.expect("send");
    producer.flush().await.expect("flush")
}

async fn read(consumer: &Consumer) -> Vec<ConsumedRecord> {
    let mut all = Vec::new();
    for _ in 0..200 {
        all.extend(consumer.next(50, Duration::from_millis(200)).await.expect("next"));
        if consumer.past_opening_end() {
            break;
        }
    }
    all
}

#[tokio::test]
async fn what_goes_in_comes_out() {
    let (_mock, client) = cluster(3);
    let delivered = produce(&client, 1_000).await;
    assert_eq!((delivered.acknowledged, delivered.failed), (1_000, 0));
    assert_eq!(delivered.last_offsets, BTreeMap::from([(0, 333), (1, 332), (2, 332)]));
    let mut read_back = read(&client.consumer("t", &[], StartAt::Start).await.expect("consumer")).await;
    read_back.sort_by_key(|r| (r.offset, r.partition));
    assert_eq!(read_back.len(), 1_000);
    for (n, got) in read_back.iter().enumerate() {
        let sent = record(n);
        assert_eq!((got.partition, got.offset), ((n % 3) as PartitionId, (n / 3) as Offset));
        assert_eq!((&got.key, &got.value, &got.headers), (&sent.key, &sent.value, &sent.headers));
        assert_eq!(got.timestamp_ms, sent.timestamp_ms);
    }
    let last = client.consumer("t", &[1], StartAt::BeforeEnd(2)).await.expect("consumer");
    let offsets: Vec<Offset> = read(&last).await.iter().map(|r| r.offset).collect();
    assert_eq!(offsets, [331, 332]);
    let none = client.consumer("t", &[], StartAt::End).await.expect("consumer");
    assert!(none.at_end() && none.past_opening_end());
}

#[tokio::test]
async fn topics_are_listed_and_missing_ones_are_not_made() {
    let (_mock, client) = cluster(2);
    let topics = client.topics().await.expect("topics");
    assert_eq!(topics, [ClusterTopic { name: "t".into(), partitions: 2 }]);
    let missing = client.consumer("missing", &[], StartAt::Start).await.expect_err("missing");
    assert_eq!(missing, ClusterError::UnknownTopic("missing".into()));
    let beyond = client.consumer("t", &[7], StartAt::Start).await.expect_err("partition");
    assert_eq!(beyond, ClusterError::UnknownPartition { topic: "t".into(), partition: 7 });
    assert_eq!(client.topics().await.expect("topics").len(), 1);
}

#[tokio::test]
async fn nobody_there_is_said_so() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = listener.local_addr().expect("address").to_string();
    drop(listener);
    let settings = ClusterSettings { request_timeout: Duration::from_millis(500), ..Default::default() };
    let client = ClusterClient::with_settings(address, settings);
    let error = client.topics().await.expect_err("nobody");
    assert!(matches!(error, ClusterError::Unreachable { .. }), "{error}");
    assert_eq!(base::Fault::kind(&error), base::ErrorKind::Unavailable);
}
