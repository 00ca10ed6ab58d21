//! Topics of JSON without a schema.

use crate::node::{Node, TempDir};

const INFER: (&str, &str) = ("redpanda.iceberg.mode", "value:mode=json_infer");
const PLACE: &str = "redpanda['partition'], redpanda['offset']";

/// The same over the log and over the table: first without, then with a commit between.
async fn everywhere(node: &Node, columns: &str) -> Vec<String> {
    let sql = format!("SELECT {PLACE}, {columns} FROM t ORDER BY 1, 2");
    let hot = node.shown(&sql, "latest").await;
    node.commit("t").await;
    let cold = node.shown(&sql, "committed").await;
    assert_eq!(hot, cold, "{columns}");
    assert_eq!(node.shown(&sql, "latest").await, cold, "{columns}");
    cold
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_come_with_the_records_and_log_and_table_agree() {
    let dir = TempDir::new();
    let node = Node::start(dir.path()).await;
    node.table("t", 2, &[INFER]).await;
    node.produce("t", 0, &[r#"{"id":1,"tags":[]}"#, r#"{"id":2,"o":{"x":1}}"#]).await;
    // The first columns come without waiting for the target lag.
    node.until_caught_up("t").await;
    assert_eq!(everywhere(&node, "id, o").await, ["0 0 1 ", "0 1 2 {x: 1}"]);

    // New fields and other types, in both partitions, with and without a restart before their commit.
    node.produce("t", 1, &[r#"{"id":3,"price":10}"#, r#"{"id":"four"}"#, "no JSON"]).await;
    // Of two partitions in one commit either may be first.
    node.commit("t").await;
    node.produce("t", 0, &[r#"{"id":5,"price":1.5,"tags":["a"]}"#, r#"{"o":{"x":2,"y":true}}"#]).await;
    let rows = everywhere(&node, "id, o['x']").await;
    assert_eq!(rows, ["0 0 1 ", "0 1 2 1", "0 2 5 ", "0 3  2", "1 0 3 ", "1 1  "]);
    assert_eq!(node.dead_letters("t").await, [(1, 2)]);
    let columns = "id, id_json, price, price_json, tags, o['y']";
    let all = everywhere(&node, columns).await;
    assert_eq!(all[0], "0 0 1     ", "the empty array came before its column");
    assert_eq!(all[5], "1 1  \"four\"    ");
    assert!(all[2].contains("[a]") && all[3].ends_with("true"), "{all:?}");
    let numbers = "coalesce(CAST(price AS double), CAST(price_json AS double))";
    assert_eq!(node.shown(&format!("SELECT sum({numbers}) FROM t"), "latest").await, ["11.5"]);

    node.produce("t", 0, &[r#"{"late":{"a":[1]},"tags":[]}"#]).await;
    node.kill().await;
    let node = Node::start(dir.path()).await;
    let after = everywhere(&node, columns).await;
    assert_eq!(after[..4], all[..4], "what was read stays as it was");
    assert!(after[4].contains("[]"), "{after:?}");
    node.produce("t", 1, &[r#"{"late":{"a":[]}}"#]).await;
    assert_eq!(everywhere(&node, "late").await[4..], ["0 4 {a: [1]}", "1 0 ", "1 1 ", "1 3 {a: []}"]);
    assert_eq!(node.status("t").await.message, None);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_becomes_columns_in_few_steps() {
    let dir = TempDir::new();
    let node = Node::start(dir.path()).await;
    let new = topics::NewTopic { name: "t".into(), partitions: Some(1), config: Default::default() };
    node.commands.create_topic(new).await.expect("create");
    for field in 0..50 {
        node.produce("t", 0, &[format!(r#"{{"f{field}":{field}}}"#)]).await;
    }
    let lag = ("redpanda.iceberg.target.lag.ms", "3600000");
    let set = [INFER, lag].map(|(name, value)| (name.to_owned(), Some(value.to_owned())));
    node.commands.alter_topic("t", &set).await.expect("alter");
    node.commit("t").await;
    assert_eq!(node.shown("SELECT count(f0), sum(f49) FROM t", "committed").await, ["1 49"]);
    let table = node.tables.load(&node.tables.ident("t")).await.expect("load");
    assert_eq!(table.snapshots().len(), 1, "all fields of a read come at once");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_waits_for_the_column_that_it_is_partitioned_by() {
    let dir = TempDir::new();
    let node = Node::start(dir.path()).await;
    node.table("t", 1, &[INFER, ("redpanda.iceberg.partition.spec", "(bucket(4, city))")]).await;
    let status = node.until_state("t", "waiting").await;
    assert!(status.message.expect("message").contains("city"));
    node.produce("t", 0, &[r#"{"id":1}"#]).await;
    node.produce("t", 0, &[r#"{"id":2,"city":"Bern"}"#]).await;
    node.until_caught_up("t").await;
    assert_eq!(everywhere(&node, "id, city").await, ["0 0 1 ", "0 1 2 Bern"]);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nested_values_wait_for_their_first_field() {
    let dir = TempDir::new();
    let node = Node::start(dir.path()).await;
    node.table("t", 1, &[("redpanda.iceberg.mode", "value:mode=json_infer,layout=nested")]).await;
    node.produce("t", 0, &["{}"]).await;
    node.commit("t").await;
    node.produce("t", 0, &[r#"{"redpanda":1}"#]).await;
    node.commit("t").await;
    node.produce("t", 0, &[r#"{"redpanda":2,"_extra":{}}"#]).await;
    assert_eq!(everywhere(&node, "value['redpanda']").await, ["0 0 ", "0 1 1", "0 2 2"]);
    node.stop().await;
}
