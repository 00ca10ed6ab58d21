//! Columns of schemas in the log and in the table.

use schemas::SchemaType;

use crate::node::{Node, TempDir};

async fn register(node: &Node, subject: &str, schema_type: SchemaType, schema: &str) {
    let new = schemas::NewSchema { schema_type, schema: schema.into(), references: Vec::new() };
    node.commands.register_schema(subject, new).await.expect("register");
}

#[tokio::test(flavor = "multi_thread")]
async fn uuids_are_uuids_in_log_and_table() {
    let dir = TempDir::new();
    let node = Node::start(dir.path()).await;
    let uuid = r#"{"type":"string","logicalType":"uuid"}"#;
    let schema = format!(
        r#"{{"type":"record","name":"T","fields":[{{"name":"u","type":{uuid}}},{{"name":"l","type":{{"type":"array","items":{uuid}}}}}]}}"#
    );
    register(&node, "t-value", SchemaType::Avro, &schema).await;
    node.table("t", 1, &[]).await;
    let text = "00112233-4455-6677-8899-aabbccddeeff";
    let value = [&[72][..], text.as_bytes(), &[2, 72], text.as_bytes(), &[0]].concat();
    node.produce_bytes("t", 0, &[&value]).await;
    let sql = "SELECT u, l FROM t";
    let hot = node.batches(sql, "latest").await;
    node.commit("t").await;
    let cold = node.batches(sql, "committed").await;
    assert_eq!(hot, cold);
    assert_eq!(node.shown(sql, "committed").await[0], format!("{0} [{0}]", text.replace('-', "")));
    let schema = cold[0].schema();
    assert_eq!(schema.field(0).extension_type_name(), Some("arrow.uuid"));
    let table = node.tables.load(&node.tables.ident("t")).await.expect("load");
    let json = table.metadata_json().expect("metadata");
    assert!(json.contains(r#""type":"uuid""#) && json.contains(r#""element":"uuid""#), "{json}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_of_protobuf_keeps_its_column_when_it_is_renamed() {
    let dir = TempDir::new();
    let node = Node::start(dir.path()).await;
    let proto = |fields: &str| format!("syntax = \"proto3\"; message T {{ {fields} }}");
    register(&node, "t-value", SchemaType::Protobuf, &proto("int32 a = 1;")).await;
    node.table("t", 1, &[]).await;
    node.produce_bytes("t", 0, &[&[8, 5]]).await;
    node.commit("t").await;
    register(&node, "t-value", SchemaType::Protobuf, &proto("int64 b = 1; int32 a = 2;")).await;
    node.produce_bytes("t", 0, &[&[8, 6, 16, 7]]).await;
    let sql = "SELECT a, b FROM t ORDER BY redpanda['offset']";
    // The name is there still: it is another column, and so is its new owner.
    let kept = [[Some(5), None], [Some(7), Some(6)]];
    assert_eq!(node.all_rows(sql).await, kept);
    register(&node, "t-value", SchemaType::Protobuf, &proto("int64 c = 1; int32 a = 2;")).await;
    node.produce_bytes("t", 0, &[&[8, 9, 16, 10]]).await;
    let sql = "SELECT a, c FROM t ORDER BY redpanda['offset']";
    let rows = [[Some(5), None], [Some(7), Some(6)], [Some(10), Some(9)]];
    assert_eq!(node.all_rows(sql).await, rows);
    node.commit("t").await;
    assert_eq!(node.committed(sql).await, rows);
    let table = node.tables.load(&node.tables.ident("t")).await.expect("load");
    assert_eq!(table.arrow_schema().expect("columns").fields().len(), 3);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_may_be_single_values() {
    let dir = TempDir::new();
    let node = Node::start(dir.path()).await;
    register(&node, "t-key", SchemaType::Avro, r#""long""#).await;
    let mode = ("redpanda.iceberg.mode", "key:mode=schema_latest;value:mode=string");
    node.table("t", 1, &[mode]).await;
    let mut batch = topics::batch::BatchBuilder::new();
    batch.push(0, Some(&[14]), Some(b"seven"), &[]);
    batch.push(0, None, Some(b"none"), &[]);
    batch.push(0, Some(b"x y"), Some(b"no long"), &[]);
    let batch = batch.build().expect("batch");
    node.topics.append("t", 0, batch).expect("append").await.expect("durable");
    let sql = "SELECT redpanda['key'] FROM t ORDER BY redpanda['offset']";
    let keys = [[Some(7)], [None]];
    assert_eq!(node.all_rows(sql).await, keys);
    node.commit("t").await;
    assert_eq!(node.committed(sql).await, keys);
    assert_eq!(node.dead_letters("t").await, [(0, 2)]);
    node.stop().await;
}
