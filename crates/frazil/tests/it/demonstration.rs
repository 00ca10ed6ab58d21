//! The demonstration passes, and its result depends on the seed alone.

use frazil::demo::{Settings, run};
use frazil::progress::Progress;
use frazil::remote::Remote;

use crate::{Temporary, start};

type Published = Vec<(Option<bytes::Bytes>, Option<bytes::Bytes>)>;

async fn published(settings: Settings) -> Published {
    let place = Temporary::new();
    let node = start(&place.data()).await;
    let report = run(&Remote::of(node.endpoints()), settings, &Progress::quiet()).await.expect("demo passes");
    node.stop().await.expect("node stops");
    report.published
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_seed_gives_the_same_analytics() {
    let first = published(Settings { rows: 3_000, seed: 42 }).await;
    let second = published(Settings { rows: 3_000, seed: 42 }).await;
    assert_eq!(first.len(), 8);
    assert_eq!(first, second, "byte for byte");
    let symbols: Vec<_> = first
        .iter()
        .map(|(_, value)| {
            let value = value.as_deref().expect("a value");
            let row: serde_json::Value = serde_json::from_slice(value).expect("JSON");
            row["symbol"].as_str().expect("symbol").to_owned()
        })
        .collect();
    assert!(symbols.is_sorted(), "{symbols:?}");
    let other = published(Settings { rows: 3_000, seed: 43 }).await;
    assert_ne!(first, other);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_compression_goes_in_and_comes_out() {
    use topics::cluster::{Compression, ProduceRecord, ProducerSettings, StartAt};

    let place = Temporary::new();
    let node = start(&place.data()).await;
    let client = Remote::of(node.endpoints()).kafka().await.expect("kafka");
    let all = [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4];
    for compression in all {
        let topic = format!("t-{}", compression.as_str());
        let new = topics::NewTopic { name: topic.clone(), ..Default::default() };
        client.create_topic(&new, -1, false).await.expect("created");
        let producer =
            client.producer(ProducerSettings { compression, ..Default::default() }).expect("producer");
        // Long and alike, so that no client leaves it uncompressed.
        let values: Vec<String> = (0..500).map(|n| format!("value {n} {}", "again ".repeat(20))).collect();
        let records = values
            .iter()
            .map(|v| ProduceRecord { value: Some(v.clone().into()), ..Default::default() })
            .collect();
        producer.send(&topic, records).await.expect("sent");
        producer.flush().await.expect("acknowledged");
        let consumer = client.consumer(&topic, &[], StartAt::Start).await.expect("consumer");
        let mut read = Vec::new();
        while read.len() < values.len() {
            let some = consumer.next(1_000, std::time::Duration::from_secs(10)).await.expect("records");
            assert!(!some.is_empty(), "{topic} stops after {}", read.len());
            read.extend(some.into_iter().filter_map(|r| r.value));
        }
        assert_eq!(read, values, "{topic}");
    }
    node.stop().await.expect("stops");
}
