//! JSON without a schema, on a real log.

use arrow::array::{Array, AsArray};
use arrow::datatypes::Int64Type;

use super::log_tests::Node;
use super::*;

const MODE: &str = "value:mode=json_infer";

async fn store(node: &Node, topic: &topics::TopicInfo, inferred: &InferredShape) {
    let stored = SchemaSwitches { inferred: Some(inferred.clone()), ..SchemaSwitches::default() };
    node.store(topic.id, stored).await;
}

fn numbers(decoded: &DecodedRows, column: &str) -> Vec<Option<i64>> {
    let numbers = |batch: &RecordBatch| {
        let column = batch.column_by_name(column)?.as_primitive::<Int64Type>();
        Some(column.iter().collect::<Vec<_>>())
    };
    decoded.batches.iter().filter_map(numbers).flatten().collect()
}

#[tokio::test]
async fn decoding_stops_before_fields_without_a_column() {
    let node = Node::new();
    let topic = node.create(MODE);
    node.produce(&[r#"{"a":1}"#, "[]", r#"{"a":2,"l":[]}"#]).await;
    node.produce(&[r#"{"a":3,"b":4}"#, r#"{"l":[5]}"#, r#"{"l":[]}"#]).await;

    let rows = node.rows(&topic).expect("ready");
    assert!(rows.has_no_fields());
    let decoded = rows.decode(0, 0, 3, 1 << 20).expect("decodes");
    assert_eq!((decoded.next, decoded.fates.total()), (0, 0));
    let grown = decoded.unseen.grown.expect("columns");
    let mut inferred = InferredShape::default();
    assert!(inferred.take(&grown, &BTreeMap::new()));
    assert!(!inferred.take(&grown, &BTreeMap::new()), "only once");
    store(&node, &topic, &inferred).await;

    let rows = node.rows(&topic).expect("ready");
    let decoded = rows.decode(0, 0, 6, 1 << 20).expect("decodes");
    assert_eq!((decoded.next, decoded.fates.rows, decoded.rejected.len()), (3, 2, 1));
    assert_eq!(decoded.fates.total(), 2, "what is rejected is counted by others");
    assert_eq!(numbers(&decoded, "a"), [Some(1), Some(2)]);
    let known = rows.decode_known(0, 0, 6, 1 << 20).expect("decodes");
    assert_eq!((known.next, known.unseen.is_empty()), (6, true));
    assert_eq!(numbers(&known, "a"), [Some(1), Some(2), Some(3), None, None], "the others are left out");

    let grown = decoded.unseen.grown.expect("columns of all that was read");
    assert!(inferred.take(&grown, &[(0, 3)].into()));
    store(&node, &topic, &inferred).await;
    let before = rows.identity();
    let rows = node.rows(&topic).expect("ready");
    assert_ne!(rows.identity(), before, "what is kept of the rows before is of no use");
    let decoded = rows.decode(0, 0, 6, 1 << 20).expect("decodes");
    assert!(decoded.next == 6 && decoded.unseen.is_empty());
    assert_eq!(numbers(&decoded, "b"), [None, None, Some(4), None, None]);
    let lists: Vec<bool> = decoded
        .batches
        .iter()
        .flat_map(|batch| {
            let lists = batch.column_by_name("l").expect("l").clone();
            (0..lists.len()).map(move |row| lists.is_null(row)).collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(lists, [true, true, true, false, false], "an offset is read as it was in its era");
}

#[tokio::test]
async fn a_shape_is_closed_before_its_eras_are_too_many() {
    let node = Node::new();
    let topic = node.create(MODE);
    node.produce(&[r#"{"a":1}"#]).await;
    let inferred = InferredShape { eras: vec![BTreeMap::new(); 999], ..InferredShape::default() };
    store(&node, &topic, &inferred).await;
    let decoded = node.rows(&topic).expect("ready").decode(0, 0, 1, 1 << 20).expect("decodes");
    let grown = decoded.unseen.grown.expect("columns");
    assert!(grown.shape.is_full());
    let mut inferred = inferred;
    assert!(inferred.take(&grown, &BTreeMap::new()));
    store(&node, &topic, &inferred).await;
    node.produce(&[r#"{"b":1}"#]).await;
    let rows = node.rows(&topic).expect("ready");
    let decoded = rows.decode(0, 0, 2, 1 << 20).expect("decodes");
    assert_eq!((decoded.next, numbers(&decoded, "a")), (2, vec![Some(1), None]));
    let extra = decoded.batches[0].column_by_name("_extra").expect("_extra").clone();
    assert_eq!(extra.as_string::<i32>().value(1), r#"{"b":1}"#);
    assert!(rows.differences()[0].contains("_extra"), "{:?}", rows.differences());
}
