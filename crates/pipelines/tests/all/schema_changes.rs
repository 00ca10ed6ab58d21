//! Schemas that come late, change, or do not fit.

use crate::node::{Node, TempDir};

#[tokio::test(flavor = "multi_thread")]
async fn a_table_waits_for_its_schema() {
    let dir = TempDir::new();
    let node = Node::start(dir.path()).await;
    node.table("t", 1, &[]).await;
    node.produce_ids("t", 0, 0..10).await;
    let status = node.until_state("t", "waiting").await;
    assert!(status.message.expect("message").contains("subject t-value"));
    let refused = node.commands.commit_now("t").await.expect_err("no schema").to_string();
    assert!(refused.contains("t-value"), "{refused}");
    node.schema("t", &[("id", "integer")]).await;
    assert!(node.tables.load(&node.tables.ident("t")).await.is_ok(), "the table is there at once");
    node.commit("t").await;
    assert_eq!(node.rows("t").await.len(), 10, "records from before the schema are rows");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_is_added_midstream() {
    let dir = TempDir::new();
    let node = Node::start(dir.path()).await;
    node.schema("t", &[("id", "integer")]).await;
    node.table("t", 2, &[]).await;
    node.produce("t", 0, &[r#"{"id":0,"extra":7}"#]).await;
    node.schema("t", &[("id", "integer"), ("extra", "integer")]).await;
    node.produce("t", 0, &[r#"{"id":1,"extra":8}"#]).await;
    node.produce("t", 1, &[r#"{"id":2}"#]).await;
    node.commit("t").await;
    let sql = r#"SELECT redpanda['partition'], redpanda['offset'], id, extra FROM t ORDER BY 1, 2"#;
    let rows = node.committed(sql).await;
    let number = Some;
    assert_eq!(
        rows,
        [
            [number(0), number(0), number(0), None],
            [number(0), number(1), number(1), number(8)],
            [number(1), number(0), number(2), None]
        ],
        "each record is read with the schema that held at its offset"
    );
    node.kill().await;
    let node = Node::start(dir.path()).await;
    node.commit("t").await;
    assert_eq!(node.committed(sql).await, rows);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_column_keeps_its_values() {
    let dir = TempDir::new();
    let node = Node::start(dir.path()).await;
    node.schema("t", &[("id", "integer"), ("old", "integer")]).await;
    node.table("t", 1, &[]).await;
    node.produce("t", 0, &[r#"{"id":0,"old":7}"#]).await;
    node.schema("t", &[("id", "integer")]).await;
    node.produce("t", 0, &[r#"{"id":1,"old":8}"#]).await;
    node.commit("t").await;
    let rows = node.committed("SELECT id, old FROM t ORDER BY 1").await;
    assert_eq!(rows[0], [Some(0), Some(7)]);
    assert_eq!(rows[1], [Some(1), None]);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_that_does_not_fit_is_refused_before_it_is_registered() {
    let dir = TempDir::new();
    let node = Node::start(dir.path()).await;
    node.schema("t", &[("id", "integer")]).await;
    node.table("t", 1, &[]).await;
    let refused = node.try_schema("t", &[("id", "string")]).await.expect_err("another type");
    assert!(refused.contains("id"), "{refused}");
    assert_eq!(node.registry.versions("t-value", true).expect("versions"), [1]);
    node.produce_ids("t", 0, 0..3).await;
    node.commit("t").await;
    assert_eq!(node.rows("t").await.len(), 3);
    node.stop().await;
}
