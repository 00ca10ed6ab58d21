//! A configuration put into effect, and put into effect again.

use frazil::config::Config;
use frazil::remote::Remote;
use frazil::remote::http::Http;
use frazil::{Node, NodeSettings};
use topics::cluster::ProduceRecord;

use crate::{Temporary, settings};

const SCHEMA: &str =
    r#"{"type": "object", "properties": {"symbol": {"type": "string"}, "qty": {"type": "integer"}}}"#;

fn config(place: &Temporary, partitions: u32, lag: &str) -> Config {
    let text = format!(
        "version: 1
topics:
  trades:
    partitions: {partitions}
    schema: {{ value: trade.json }}
    iceberg: {{ mode: value_schema_latest, target_lag: {lag} }}
pipelines:
  volumes:
    sql: SELECT symbol, sum(qty) AS volume FROM trades GROUP BY symbol
    trigger: {{ on_commit: [trades] }}
    into: {{ topic: volumes, key: [symbol], mode: upsert, partitions: 1 }}
"
    );
    std::fs::write(place.path().join("frazil.yaml"), text).expect("write");
    std::fs::write(place.path().join("trade.json"), SCHEMA).expect("write");
    Config::load(&place.path().join("frazil.yaml")).expect("valid")
}

async fn start(place: &Temporary, config: Config) -> Node {
    Node::start(NodeSettings { config, ..settings(&place.data()) }).await.expect("node starts")
}

#[tokio::test]
async fn what_is_declared_exists_and_changes_are_made() {
    let place = Temporary::new();
    let node = start(&place, config(&place, 2, "30s")).await;
    let remote = Remote::of(node.endpoints());
    let client = remote.kafka().await.expect("kafka");
    let trades = client.describe("trades").await.expect("trades");
    assert_eq!(trades.partitions.len(), 2);
    let lag = |d: &topics::cluster::TopicDescription| {
        d.config.iter().find(|c| c.name == "redpanda.iceberg.target.lag.ms").and_then(|c| c.value.clone())
    };
    assert_eq!(lag(&trades).as_deref(), Some("30000"));
    let pipelines = Http::new(&remote).expect("client").pipelines().await.expect("pipelines");
    assert_eq!(pipelines["pipelines"][0]["name"], "volumes");

    let producer = client.producer(Default::default()).expect("producer");
    let record = ProduceRecord { value: Some(r#"{"symbol":"A","qty":7}"#.into()), ..Default::default() };
    producer.send("trades", vec![record]).await.expect("send");
    producer.flush().await.expect("acknowledged");
    node.stop().await.expect("stops");

    let node = start(&place, config(&place, 3, "5s")).await;
    let client = Remote::of(node.endpoints()).kafka().await.expect("kafka");
    let trades = client.describe("trades").await.expect("trades");
    assert_eq!(trades.partitions.len(), 3);
    assert_eq!(trades.partitions.iter().map(|p| p.end - p.start).sum::<i64>(), 1, "the record is kept");
    assert_eq!(lag(&trades).as_deref(), Some("5000"));
    node.stop().await.expect("stops");

    let fewer = config(&place, 1, "5s");
    let error =
        Node::start(NodeSettings { config: fewer, ..settings(&place.data()) }).await.expect_err("fewer");
    let text = format!("{error:#}");
    assert!(text.contains("frazil.yaml:3: topics.trades: partitions: 1 declared"), "{text}");
}
