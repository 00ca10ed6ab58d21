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
async fn a_schema_that_does_not_fit_parks_its_records_and_the_table_goes_on() {
    let dir = TempDir::new();
    let node = Node::start(dir.path()).await;
    node.schema("t", &[("id", "integer")]).await;
    node.table("t", 1, &[]).await;
    node.produce_ids("t", 0, 0..2).await;
    node.schema("t", &[("id", "string")]).await;
    node.produce("t", 0, &[r#"{"id":"two"}"#]).await;
    node.commit("t").await;
    assert_eq!(node.rows("t").await, [(0, 0, 0), (0, 1, 1)]);
    assert_eq!(node.dead_letters("t").await, [(0, 2)]);
    let status = node.status("t").await;
    assert_eq!(status.state, "running");
    let message = status.message.expect("the difference");
    assert!(
        message.contains("schema 2: column id is long in the table and string in the schema"),
        "{message}"
    );
    node.schema("t", &[("id", "integer"), ("more", "integer")]).await;
    node.produce("t", 0, &[r#"{"id":3,"more":4}"#]).await;
    node.commit("t").await;
    assert_eq!(node.rows("t").await.last(), Some(&(0, 3, 3)));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_of_which_no_columns_can_be_made_pauses_a_table_that_has_no_other() {
    let dir = TempDir::new();
    let node = Node::start(dir.path()).await;
    node.table("t", 1, &[]).await;
    let unusable = r#"{"type":"array","items":{"type":"integer"}}"#;
    let new = schemas::NewSchema {
        schema_type: schemas::SchemaType::Json,
        schema: unusable.into(),
        references: Vec::new(),
    };
    node.commands.register_schema("t-value", new).await.expect("the registry takes it");
    node.produce_ids("t", 0, 0..2).await;
    let status = node.until_state("t", "paused").await;
    assert!(status.message.expect("message").contains("schema 1"));
    node.schema("t", &[("id", "integer")]).await;
    node.commit("t").await;
    assert_eq!(node.rows("t").await.len(), 2, "nothing was read with the schema before");
    node.stop().await;
}

/// A value with its schema's id in front.
fn framed(id: i32, json: &str) -> Vec<u8> {
    [&[0][..], &id.to_be_bytes(), json.as_bytes()].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn schemas_are_found_by_the_ids_of_records() {
    let dir = TempDir::new();
    let node = Node::start(dir.path()).await;
    node.table("t", 2, &[("redpanda.iceberg.mode", "value_schema_id_prefix")]).await;
    node.produce_bytes("t", 0, &[b"{}"]).await;
    let status = node.until_state("t", "waiting").await;
    let message = status.message.expect("message");
    assert!(message.contains("value_schema_latest for values without an id"), "{message}");
    assert!(node.tables.load(&node.tables.ident("t")).await.is_err(), "nothing is rejected meanwhile");

    // Under another subject than the topic's: only its records tell.
    node.schema("other", &[("id", "integer")]).await;
    node.produce_bytes("t", 0, &[&framed(1, r#"{"id":1}"#)]).await;
    node.until_state("t", "running").await;
    node.commit("t").await;
    assert_eq!(node.rows("t").await, [(0, 1, 1)]);
    assert_eq!(node.dead_letters("t").await, [(0, 0)]);

    // Both at once, one of them twice, in two partitions.
    node.schema("other", &[("id", "integer"), ("a", "integer")]).await;
    node.schema("another", &[("id", "integer"), ("b", "integer")]).await;
    let records =
        [framed(2, r#"{"id":2,"a":20}"#), framed(3, r#"{"id":3,"b":30}"#), framed(1, r#"{"id":4}"#)];
    node.produce_bytes("t", 0, &records.each_ref().map(Vec::as_slice)).await;
    node.produce_bytes("t", 1, &[&records[1], &records[0]]).await;
    node.commit("t").await;
    let rows =
        node.committed("SELECT id, a, b FROM t ORDER BY redpanda['partition'], redpanda['offset']").await;
    let (two, three) = ([Some(2), Some(20), None], [Some(3), None, Some(30)]);
    assert_eq!(rows, [[Some(1), None, None], two, three, [Some(4), None, None], three, two]);

    // Under the topic's own subject: known before the first record comes.
    node.schema("t", &[("id", "integer"), ("c", "integer")]).await;
    let columns = node.committed("SELECT c FROM t").await;
    assert_eq!(columns.len(), 6, "the column is there");
    node.kill().await;
    let node = Node::start(dir.path()).await;
    node.produce_bytes("t", 1, &[&framed(4, r#"{"id":5,"c":50}"#)]).await;
    node.commit("t").await;
    assert_eq!(node.committed("SELECT id, c FROM t WHERE c IS NOT NULL").await, [[Some(5), Some(50)]]);
    node.stop().await;
}

/// Whole numbers as Avro writes a record of them.
fn avro(numbers: &[i64]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for number in numbers {
        let mut zigzag = ((number << 1) ^ (number >> 63)) as u64;
        while zigzag > 0x7f {
            bytes.push(zigzag as u8 | 0x80);
            zigzag >>= 7;
        }
        bytes.push(zigzag as u8);
    }
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_widen_and_are_renamed_and_old_files_are_read_as_new_ones() {
    let dir = TempDir::new();
    let node = Node::start(dir.path()).await;
    let register = async |fields: &str| {
        let schema = format!(r#"{{"type":"record","name":"T","fields":[{fields}]}}"#);
        let new =
            schemas::NewSchema { schema_type: schemas::SchemaType::Avro, schema, references: Vec::new() };
        node.commands.register_schema("t-value", new).await.expect("register");
    };
    let nested = |name: &str, aliases: &str| {
        format!(
            r#"{{"name":"o","type":{{"type":"record","name":"O","fields":[{{"name":"{name}","type":"int"{aliases}}}]}}}}"#
        )
    };
    register(&format!(r#"{{"name":"a","type":"int"}},{}"#, nested("x", ""))).await;
    node.table("t", 1, &[]).await;
    node.produce_bytes("t", 0, &[&avro(&[1, 10])]).await;
    node.commit("t").await;
    let o = nested("y", r#","aliases":["x"]"#);
    register(&format!(r#"{o},{{"name":"b","type":"long","aliases":["a"]}}"#)).await;
    node.produce_bytes("t", 0, &[&avro(&[20, 1 << 40])]).await;
    let sql = "SELECT b, o['y'] FROM t ORDER BY redpanda['offset']";
    let rows = [[Some(1), Some(10)], [Some(1 << 40), Some(20)]];
    assert_eq!(node.all_rows(sql).await, rows, "from an old file and from the log");
    node.commit("t").await;
    assert_eq!(node.committed(sql).await, rows, "from an old file and from a new one");
    assert_eq!(
        node.committed("SELECT o['y'] FROM t WHERE b = 1").await,
        [[Some(10)]],
        "filters see the same"
    );
    let table = node.tables.load(&node.tables.ident("t")).await.expect("load");
    let columns = table.arrow_schema().expect("columns");
    let names: Vec<&str> = columns.fields().iter().map(|f| f.name().as_str()).collect();
    assert_eq!(names, ["redpanda", "b", "o"], "the same columns");
    // The old name again is another column.
    register(&format!(r#"{o},{{"name":"b","type":"long"}},{{"name":"a","type":"int"}}"#)).await;
    node.produce_bytes("t", 0, &[&avro(&[30, 3, 4])]).await;
    node.commit("t").await;
    let both = node.committed("SELECT a, b FROM t ORDER BY redpanda['offset']").await;
    assert_eq!(both, [[None, Some(1)], [None, Some(1 << 40)], [Some(4), Some(3)]]);
    assert_eq!(node.status("t").await.message, None);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_that_can_be_no_columns_stops_nothing() {
    for name in ["", "a\nb", "o.x"] {
        let dir = TempDir::new();
        let node = Node::start(dir.path()).await;
        node.schema("t", &[("id", "integer")]).await;
        node.table("t", 1, &[]).await;
        node.produce("t", 0, &[r#"{"id":0}"#]).await;
        node.commit("t").await;
        let schema = serde_json::json!({"type": "object", "properties": {
            "id": {"type": "integer"},
            "o": {"type": "object", "properties": {"x": {"type": "string"}}},
            (name): {"type": "string"},
        }});
        let new = schemas::NewSchema {
            schema_type: schemas::SchemaType::Json,
            schema: schema.to_string(),
            references: Vec::new(),
        };
        node.commands.register_schema("t-value", new).await.expect("register");
        node.produce("t", 0, &[r#"{"id":1}"#]).await;
        node.commit("t").await;
        assert_eq!(node.dead_letters("t").await, [(0, 1)], "{name:?}");
        node.schema("t", &[("id", "integer"), ("more", "integer")]).await;
        node.produce("t", 0, &[r#"{"id":2}"#]).await;
        node.commit("t").await;
        assert_eq!(node.rows("t").await, [(0, 0, 0), (0, 2, 2)], "{name:?}");
        node.stop().await;
    }
}
