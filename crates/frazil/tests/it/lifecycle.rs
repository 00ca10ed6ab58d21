//! Starting, stopping, starting again.

use frazil::remote::Remote;
use frazil::remote::http::Http;
use frazil::{Listeners, Node, NodeSettings, Ports};

use crate::{Temporary, settings, start};

#[tokio::test]
async fn a_node_stops_and_starts_again_on_the_same_directory() {
    let place = Temporary::new();
    for round in 0..2 {
        let node = start(&place.data()).await;
        let http = Http::new(&Remote::of(node.endpoints())).expect("client");
        let status = http.status().await.expect("status");
        assert!(status["offline"].is_null(), "round {round}: {status}");
        node.stop().await.expect("stops");
    }
}

#[tokio::test]
async fn one_directory_has_one_node() {
    let place = Temporary::new();
    let node = start(&place.data()).await;
    let error = Node::start(settings(&place.data())).await.expect_err("in use");
    assert!(error.to_string().contains("in use by another process"), "{error:#}");
    node.stop().await.expect("stops");
}

#[tokio::test]
async fn a_foreign_directory_is_refused_and_untouched() {
    let place = Temporary::new();
    std::fs::write(place.path().join("thesis.txt"), "x").expect("write");
    let error = Node::start(settings(place.path())).await.expect_err("foreign");
    assert!(error.to_string().contains("no frazil data directory"), "{error:#}");
    assert_eq!(std::fs::read_dir(place.path()).expect("list").count(), 1);
}

#[tokio::test]
async fn a_taken_port_touches_nothing() {
    let place = Temporary::new();
    let settings = settings(&place.data());
    let other = Listeners::bind(settings.host, Ports::any()).expect("bind");
    let ports = Ports { kafka: other.endpoints().kafka.port(), ..Ports::any() };
    let error = Node::start(NodeSettings { ports, ..settings }).await.expect_err("taken");
    assert!(error.to_string().contains("--port-offset"), "{error:#}");
    assert!(!place.data().exists());
}

#[tokio::test]
async fn a_path_through_a_parent_takes_tables() {
    let place = Temporary::new();
    std::fs::create_dir(place.path().join("beside")).expect("directory");
    let node = start(&place.path().join("beside/../data")).await;
    let client = Remote::of(node.endpoints()).kafka().await.expect("kafka");
    let config = [("redpanda.iceberg.mode".to_owned(), "key_value".to_owned())].into();
    let topic = topics::NewTopic { name: "trades".into(), partitions: Some(1), config };
    client.create_topic(&topic, -1, false).await.expect("topic");
    let http = Http::new(&Remote::of(node.endpoints())).expect("client");
    let tables = http.tables().await.expect("tables");
    assert_eq!(tables, [("public".to_owned(), "trades".to_owned())], "its place is inside the warehouse");
    node.stop().await.expect("stops");
}
