//! Every section of a mode, on a real log.

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Int64Type};

use super::log_tests::{Node, Record};
use super::*;

const QTY: &str = r#"{"type":"object","properties":{"qty":{"type":"integer"}}}"#;
const NAMED: &str = r#"{"type":"object","properties":{"name":{"type":"string"},"qty":{"type":"integer"}}}"#;
const TEXT: &str = r#"{"type":"object","properties":{"qty":{"type":"string"}}}"#;

/// A payload with its schema's id in front.
fn framed(id: SchemaId, json: &str) -> Vec<u8> {
    [&[0][..], &id.to_be_bytes(), json.as_bytes()].concat()
}

fn values(ids: &[SchemaId]) -> SchemaSwitches {
    SchemaSwitches { value_schemas: named(ids), ..SchemaSwitches::default() }
}

fn named(ids: &[SchemaId]) -> Vec<RecordSchema> {
    ids.iter().map(|id| RecordSchema { id: *id, indexes: Vec::new() }).collect()
}

fn value(bytes: &[u8]) -> Record<'_> {
    (None, Some(bytes), &[])
}

fn names(rows: &TopicRows) -> Vec<String> {
    rows.columns().fields().iter().map(|f| f.name().clone()).collect()
}

fn member(batch: &RecordBatch, name: &str) -> arrow::array::ArrayRef {
    batch.column(0).as_struct().column_by_name(name).expect(name).clone()
}

#[tokio::test]
async fn a_record_has_the_schema_whose_id_it_bears() {
    let node = Node::new();
    let topic = node.create("value_schema_id_prefix");
    let (one, two) = (node.register_as("a", QTY), node.register_as("b", NAMED));
    node.store(topic.id, values(&[one, two])).await;
    let records = [
        framed(one, r#"{"qty":0,"name":"of no account"}"#),
        framed(two, r#"{"qty":1,"name":"n"}"#),
        framed(one, r#"{"qty":2}"#),
        br#"{"qty":3}"#.to_vec(),
        framed(99, r#"{"qty":4}"#),
        framed(two, r#"{"qty":"5"}"#),
        vec![0, 0, 0],
        framed(two, r#"{"qty":7}"#),
    ];
    node.append(&records.iter().map(|r| value(r)).collect::<Vec<_>>()).await;
    node.append(&[(None, None, &[])]).await;
    let rows = node.rows(&topic).expect("ready");
    assert_eq!(names(&rows), ["redpanda", "name", "qty"]);
    let decoded = rows.decode(0, 0, 9, 1 << 20).expect("decodes");
    assert!(decoded.unseen.is_empty() && decoded.next == 9);
    let batch = &decoded.batches[0];
    assert_eq!(batch.column(2).as_primitive::<Int64Type>().values(), &[0, 1, 2, 7]);
    let known: Vec<Option<&str>> = batch.column(1).as_string::<i32>().iter().collect();
    assert_eq!(known, [None, Some("n"), None, None], "each by its own schema");
    assert_eq!(member(batch, "offset").as_primitive::<Int64Type>().values(), &[0, 1, 2, 7]);
    let rejected: Vec<_> = decoded.rejected.iter().map(|r| (r.offset, r.code, r.schema_id)).collect();
    assert_eq!(
        rejected,
        [
            (3, "no_schema_id", None),
            (4, "unknown_schema_id", Some(99)),
            (5, "schema_mismatch", Some(two)),
            (6, "no_schema_id", None),
            (8, "null_value", None),
        ]
    );
}

#[tokio::test]
async fn decoding_stops_before_a_schema_that_is_not_stored() {
    let node = Node::new();
    let topic = node.create("value_schema_id_prefix");
    let (one, two, three) =
        (node.register_as("a", QTY), node.register_as("b", NAMED), node.register_as("c", TEXT));
    let records: Vec<_> = [one, 99, two, one, three, two].iter().map(|id| framed(*id, "{}")).collect();
    node.append(&records.iter().map(|r| value(r)).collect::<Vec<_>>()).await;

    let decoded = node.rows(&topic).expect("ready").decode(0, 0, 6, 1 << 20).expect("decodes");
    assert_eq!((decoded.next, decoded.batches.len(), decoded.rejected.len()), (0, 0, 0));
    assert_eq!(decoded.unseen.values, named(&[one, two, three]), "in the order in which they were met");

    node.store(topic.id, values(&[one])).await;
    let rows = node.rows(&topic).expect("ready");
    let decoded = rows.decode(0, 0, 6, 1 << 20).expect("decodes");
    assert_eq!((decoded.next, decoded.unseen.values), (2, named(&[two, three])));
    assert_eq!(decoded.batches[0].num_rows(), 1);
    assert_eq!(decoded.rejected[0].code, "unknown_schema_id");
    let partition = node.topics.partition("trades", 0).expect("partition");
    assert_eq!(partition.batch_hash(1).expect("read"), Some(decoded.last_hash));
}

#[tokio::test]
async fn what_a_column_cannot_take_is_rejected_and_told() {
    let node = Node::new();
    let topic = node.create("value_schema_id_prefix");
    let (one, text) = (node.register_as("a", QTY), node.register_as("b", TEXT));
    node.store(topic.id, values(&[one, text])).await;
    let records = [framed(text, r#"{"qty":"x"}"#), framed(text, "{}"), framed(one, r#"{"qty":2}"#)];
    node.append(&records.iter().map(|r| value(r)).collect::<Vec<_>>()).await;
    let rows = node.rows(&topic).expect("ready");
    assert_eq!(
        rows.differences(),
        [format!("schema {text}: column qty is long in the table and string in the schema")]
    );
    let decoded = rows.decode(0, 0, 3, 1 << 20).expect("decodes");
    let quantities: Vec<_> = decoded.batches[0].column(1).as_primitive::<Int64Type>().iter().collect();
    assert_eq!(quantities, [None, Some(2)]);
    assert_eq!((decoded.rejected[0].offset, decoded.rejected[0].code), (0, "schema_mismatch"));
}

#[tokio::test]
async fn ids_may_lie_in_headers() {
    let node = Node::new();
    let topic = node.create("key:mode=schema_id_prefix;value:mode=schema_id_prefix");
    let (one, two) = (node.register_as("a", QTY), node.register_as("b", NAMED));
    let stored = SchemaSwitches { key_schemas: named(&[one, two]), ..values(&[one, two]) };
    node.store(topic.id, stored).await;
    let id = |id: SchemaId| [&[0][..], &id.to_be_bytes()].concat();
    let (of_one, of_two) = (id(one), id(two));
    let headers: &[(&[u8], Option<&[u8]>)] =
        &[(b"__key_schema_id", Some(&of_one)), (b"__value_schema_id", Some(&of_two))];
    let wrong: &[(&[u8], Option<&[u8]>)] = &[(b"__value_schema_id", Some(b"x"))];
    let framed = framed(two, "{}");
    node.append(&[
        (Some(br#"{"qty":1}"#), Some(br#"{"qty":2,"name":"n"}"#), headers),
        (None, Some(&framed), wrong),
    ])
    .await;
    let decoded = node.rows(&topic).expect("ready").decode(0, 0, 2, 1 << 20).expect("decodes");
    let batch = &decoded.batches[0];
    assert_eq!(batch.column_by_name("name").expect("name").as_string::<i32>().value(0), "n");
    let key = member(batch, "key");
    assert_eq!(key.as_struct().column_by_name("qty").expect("qty").as_primitive::<Int64Type>().value(0), 1);
    assert_eq!((decoded.rejected[0].offset, decoded.rejected[0].code), (1, "no_schema_id"));
    assert!(
        decoded.rejected[0].message.contains("header __value_schema_id"),
        "{}",
        decoded.rejected[0].message
    );
}

#[tokio::test]
async fn keys_are_structs_whose_fields_are_optional() {
    let node = Node::new();
    let topic = node.create("key:mode=schema_latest;value:mode=string;headers:value_type=string");
    let required = r#"{"type":"object","properties":{"id":{"type":"integer"}},"required":["id"]}"#;
    let id = node.register_as("trades-key", required);
    let since = SchemaSwitch { schema_id: id, starts: BTreeMap::new() };
    node.store(topic.id, SchemaSwitches { key_switches: vec![since], ..SchemaSwitches::default() }).await;
    let headers: &[(&[u8], Option<&[u8]>)] = &[(b"h", Some(b"v\xff")), (b"n", None)];
    node.append(&[
        (Some(br#"{"id":7}"#), Some(b"a"), headers),
        (Some(b"no JSON"), Some(b"b"), &[]),
        (None, None, &[]),
        (Some(br#"{"id":8}"#), Some(b"\xff"), &[]),
    ])
    .await;
    let rows = node.rows(&topic).expect("ready");
    assert_eq!(names(&rows), ["redpanda", "value"]);
    let decoded = rows.decode(0, 0, 4, 1 << 20).expect("decodes");
    let batch = &decoded.batches[0];
    assert_eq!(batch.schema(), *rows.columns());
    let key = member(batch, "key");
    let DataType::Struct(fields) = key.data_type() else { panic!("a struct") };
    assert!(fields.iter().all(|f| f.is_nullable()));
    assert_eq!(key.as_struct().column(0).as_primitive::<Int64Type>().value(0), 7);
    assert!(key.is_valid(0) && key.is_null(1), "a record without a key");
    let values: Vec<_> = batch.column(1).as_string::<i32>().iter().collect();
    assert_eq!(values, [Some("a"), None]);
    let headers = member(batch, "headers");
    let first = headers.as_list::<i32>().value(0);
    let texts: Vec<_> = first.as_struct().column(1).as_string::<i32>().iter().collect();
    assert_eq!(texts, [Some("v\u{fffd}"), None]);
    let rejected: Vec<_> = decoded.rejected.iter().map(|r| (r.offset, r.code)).collect();
    assert_eq!(rejected, [(1, "malformed"), (3, "malformed")]);
    assert!(decoded.rejected[0].message.starts_with("key: "), "{}", decoded.rejected[0].message);
    assert!(decoded.rejected[1].message.contains("no UTF-8"), "{}", decoded.rejected[1].message);
}

#[tokio::test]
async fn a_value_may_lie_in_one_column() {
    let node = Node::new();
    let topic = node.create("value:mode=schema_latest,layout=nested");
    let schema = r#"{"type":"object","properties":{"redpanda":{"type":"string"},"qty":{"type":"integer"}}}"#;
    let schema_id = node.register_as("trades-value", schema);
    let since = SchemaSwitch { schema_id, starts: BTreeMap::new() };
    node.store(topic.id, SchemaSwitches { switches: vec![since], ..SchemaSwitches::default() }).await;
    node.append(&[value(br#"{"redpanda":"r","qty":1}"#)]).await;
    let rows = node.rows(&topic).expect("ready");
    assert_eq!(names(&rows), ["redpanda", "value"]);
    let batch = rows.decode(0, 0, 1, 1 << 20).expect("decodes").batches.remove(0);
    let whole = batch.column(1).as_struct();
    assert_eq!(whole.column_by_name("redpanda").expect("stays").as_string::<i32>().value(0), "r");
    assert!(batch.column(0).as_struct().column_by_name("data").is_none());
}

#[tokio::test]
async fn a_schema_that_cannot_become_columns_pauses_or_rejects() {
    let node = Node::new();
    let topic = node.create("value_schema_latest");
    let unusable = node.register_as("trades-value", r#"{"type":"array","items":{"type":"integer"}}"#);
    let usable = node.register_as("trades-value", QTY);
    let since = |schema_id, start| SchemaSwitch { schema_id, starts: [(0, start)].into() };
    let store = |switches| SchemaSwitches { switches, ..SchemaSwitches::default() };
    node.store(topic.id, store(vec![since(unusable, 0)])).await;
    let error = node.rows(&topic).expect_err("no columns");
    assert!(matches!(error, RowsError::Misconfigured(_)) && error.to_string().contains("trades"), "{error}");
    node.store(topic.id, store(vec![since(usable, 0), since(unusable, 1)])).await;
    node.append(&[value(br#"{"qty":1}"#), value(b"[1]")]).await;
    let decoded = node.rows(&topic).expect("ready").decode(0, 0, 2, 1 << 20).expect("decodes");
    assert_eq!(decoded.batches[0].num_rows(), 1);
    let rejected: Vec<_> = decoded.rejected.iter().map(|r| (r.offset, r.code, r.schema_id)).collect();
    assert_eq!(rejected, [(1, "unsupported_schema", Some(unusable))]);
}

#[tokio::test]
async fn a_key_may_be_a_single_value() {
    let node = Node::new();
    let topic = node.create("key:mode=schema_id_prefix;value:mode=string");
    let (number, fields) = (node.register_as("a", r#"{"type":"integer"}"#), node.register_as("b", QTY));
    let stored = |ids: &[SchemaId]| SchemaSwitches { key_schemas: named(ids), ..SchemaSwitches::default() };
    node.store(topic.id, stored(&[number, fields])).await;
    let (one, two) = (framed(number, "7"), framed(fields, r#"{"qty":8}"#));
    let value: Option<&[u8]> = Some(b"v");
    node.append(&[(Some(&one), value, &[]), (None, value, &[]), (Some(&two), value, &[])]).await;
    let rows = node.rows(&topic).expect("ready");
    assert!(rows.differences()[0].contains("it has fields"), "{:?}", rows.differences());
    let decoded = rows.decode(0, 0, 3, 1 << 20).expect("decodes");
    let keys = member(&decoded.batches[0], "key");
    let keys: Vec<_> = keys.as_primitive::<Int64Type>().iter().collect();
    assert_eq!(keys, [Some(7), None]);
    assert_eq!((decoded.rejected[0].offset, decoded.rejected[0].code), (2, "unsupported_schema"));

    // The other way round the key is a struct.
    node.store(topic.id, stored(&[fields, number])).await;
    let decoded = node.rows(&topic).expect("ready").decode(0, 0, 3, 1 << 20).expect("decodes");
    let keys = member(&decoded.batches[0], "key");
    assert!(keys.is_null(0), "a record without a key");
    assert_eq!(keys.as_struct().column(0).as_primitive::<Int64Type>().value(1), 8);
    assert_eq!(decoded.rejected[0].offset, 0);
}
