use std::collections::HashSet;

use arrow::datatypes::{DataType, Field, Fields};

use super::evolve::evolved;
use super::*;

fn schema(fields: Vec<Field>) -> ArrowSchema {
    ArrowSchema::new(fields)
}

fn sample() -> ArrowSchema {
    schema(vec![
        Field::new("id", DataType::Int32, false),
        Field::new(
            "redpanda",
            DataType::Struct(Fields::from(vec![
                Field::new("offset", DataType::Int64, false),
                Field::new(
                    "timestamp",
                    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
                    false,
                ),
            ])),
            true,
        ),
        Field::new("tags", DataType::List(Arc::new(Field::new("item", DataType::Utf8, true))), true),
        Field::new("price", DataType::Float32, true),
    ])
}

fn id_of(field: &Field) -> i32 {
    field.metadata()["PARQUET:field_id"].parse().expect("id")
}

#[test]
fn ids_go_level_by_level() {
    let table = arrow_schema(&iceberg_schema(&sample()).expect("iceberg")).expect("arrow");
    let ids: Vec<i32> = table.fields().iter().map(|f| id_of(f)).collect();
    assert_eq!(ids, [1, 2, 3, 4]);
    let DataType::Struct(nested) = table.field(1).data_type() else { panic!("struct") };
    assert_eq!(nested.iter().map(|f| id_of(f)).collect::<Vec<_>>(), [5, 6]);
    assert_eq!(nested[1].data_type(), &DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into())));
}

#[test]
fn unfit_columns_are_refused_by_name() {
    for (field, word) in [
        (Field::new("t", DataType::Timestamp(TimeUnit::Nanosecond, None), true), "column t"),
        (Field::new("u", DataType::UInt64, true), "UInt64"),
        (Field::new("s", DataType::Struct(Fields::empty()), true), "column s"),
        (Field::new("a\nb", DataType::Int32, true), "control"),
    ] {
        let error = iceberg_schema(&schema(vec![field])).expect_err(word).to_string();
        assert!(error.contains(word), "{error}");
    }
}

#[test]
fn columns_are_added_and_widened() {
    let current = iceberg_schema(&sample()).expect("iceberg");
    let last = current.highest_field_id();
    assert!(evolved(&current, last, &sample()).expect("same").is_none());
    let wanted = schema(vec![
        Field::new("id", DataType::Int64, false),
        Field::new(
            "redpanda",
            DataType::Struct(Fields::from(vec![
                Field::new("offset", DataType::Int64, false),
                Field::new(
                    "timestamp",
                    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
                    false,
                ),
                Field::new("key", DataType::Utf8, false),
            ])),
            true,
        ),
        Field::new("note", DataType::Utf8, false),
        Field::new("price", DataType::Float64, true),
    ]);
    // An id that was given to a dropped column is not given again.
    let new = evolved(&current, last + 10, &wanted).expect("evolved").expect("changed");
    let arrow = arrow_schema(&new).expect("arrow");
    let names: Vec<&str> = arrow.fields().iter().map(|f| f.name().as_str()).collect();
    assert_eq!(names, ["id", "redpanda", "tags", "price", "note"]);
    assert_eq!(arrow.field(0).data_type(), &DataType::Int64);
    assert_eq!(arrow.field(3).data_type(), &DataType::Float64);
    assert!(arrow.field(4).is_nullable());
    let ids: HashSet<i32> = new.field_id_to_fields().keys().copied().collect();
    assert_eq!(ids.len(), current.field_id_to_fields().len() + 2);
    assert_eq!(new.field_id_by_name("redpanda.key"), Some(last + 11));
    assert_eq!(new.field_id_by_name("note"), Some(last + 12));
    assert_eq!(new.field_id_by_name("id"), current.field_id_by_name("id"));
    // Rows of the old, narrower shape still fit the evolved table.
    let narrow = schema(vec![Field::new("id", DataType::Int32, false)]);
    assert!(evolved(&new, last + 12, &narrow).expect("narrow rows").is_none());
}

#[test]
fn other_changes_are_refused_by_name() {
    let current = iceberg_schema(&sample()).expect("iceberg");
    for (field, word) in [
        (Field::new("id", DataType::Utf8, false), "column id"),
        (Field::new("id", DataType::Int32, true), "column id"),
        (Field::new("price", DataType::Int32, true), "column price"),
        (Field::new("tags", DataType::Utf8, true), "column tags"),
    ] {
        let mut fields = vec![Field::new("id", DataType::Int32, false)];
        fields.retain(|f| f.name() != field.name());
        fields.push(field);
        let error = evolved(&current, 20, &schema(fields)).expect_err(word).to_string();
        assert!(error.contains(word), "{error}");
    }
    let missing = schema(vec![Field::new("price", DataType::Float32, true)]);
    assert!(evolved(&current, 20, &missing).expect_err("required").to_string().contains("column id"));
}

#[test]
fn columns_are_renamed_and_keep_their_ids() {
    let renamed = |field: Field, former: &[&str]| {
        let text = serde_json::json!(former).to_string();
        field.with_metadata([(FORMER_NAMES.to_owned(), text)].into())
    };
    let structs = |fields: Vec<Field>| DataType::Struct(Fields::from(fields));
    let list = |fields: Vec<Field>| DataType::List(Arc::new(Field::new("element", structs(fields), true)));
    let current = schema(vec![
        Field::new("a", DataType::Int64, true),
        Field::new("o", structs(vec![Field::new("x", DataType::Int32, true)]), true),
        Field::new("l", list(vec![Field::new("y", DataType::Int32, true)]), true),
    ]);
    let current = iceberg_schema(&current).expect("iceberg");
    let wanted = schema(vec![
        // Given anew: not the column that was called so.
        Field::new("a", DataType::Utf8, true),
        renamed(Field::new("b", DataType::Int64, true), &["a"]),
        Field::new("o", structs(vec![renamed(Field::new("x2", DataType::Int64, true), &["x1", "x"])]), true),
        Field::new("l", list(vec![renamed(Field::new("y2", DataType::Int32, true), &["y"])]), true),
    ]);
    let new = evolved(&current, current.highest_field_id(), &wanted).expect("evolved").expect("changed");
    for (was, is) in [("a", "b"), ("o.x", "o.x2"), ("l.element.y", "l.element.y2")] {
        assert_eq!(new.field_id_by_name(is), current.field_id_by_name(was), "{was} became {is}");
    }
    assert_eq!(new.field_id_by_name("a"), Some(current.highest_field_id() + 1));
    assert!(evolved(&new, new.highest_field_id(), &wanted).expect("again").is_none());
}

fn uuid(name: &str) -> Field {
    let mark = [("ARROW:extension:name".to_owned(), "arrow.uuid".to_owned())];
    Field::new(name, DataType::FixedSizeBinary(16), true).with_metadata(mark.into())
}

/// UUIDs at every place where a column can be.
pub(crate) fn uuids() -> ArrowSchema {
    let map = |key: Field, value: Field| {
        let pair = Fields::from(vec![key.with_nullable(false), value]);
        DataType::Map(Arc::new(Field::new("key_value", DataType::Struct(pair), false)), false)
    };
    schema(vec![
        uuid("id"),
        Field::new("bytes", DataType::FixedSizeBinary(16), true),
        Field::new(
            "o",
            DataType::Struct(vec![uuid("id"), Field::new("n", DataType::Int32, true)].into()),
            true,
        ),
        Field::new("l", DataType::List(Arc::new(uuid("element"))), true),
        Field::new("m", map(Field::new("key", DataType::Utf8, false), uuid("value")), true),
    ])
}

#[test]
fn times_without_a_zone_stay_so() {
    let time = |zone: Option<&str>| {
        let zone = zone.map(Into::into);
        schema(vec![Field::new("t", DataType::Timestamp(TimeUnit::Microsecond, zone), true)])
    };
    let current = iceberg_schema(&time(None)).expect("iceberg");
    assert!(evolved(&current, 1, &time(Some("+00:00"))).expect("taken").is_none());
    let zoned = iceberg_schema(&time(Some("+00:00"))).expect("iceberg");
    assert!(evolved(&zoned, 1, &time(None)).is_err(), "a local time is no instant");
}

#[test]
fn uuids_have_their_own_type() {
    let made = iceberg_schema(&uuids()).expect("iceberg");
    let type_at =
        |schema: &Schema, path: &str| schema.field_by_name(path).expect(path).field_type.to_string();
    for path in ["id", "o.id", "l.element", "m.value"] {
        assert_eq!(type_at(&made, path), "uuid", "{path}");
    }
    assert_eq!(type_at(&made, "bytes"), "fixed(16)");
    let back = arrow_schema(&made).expect("arrow");
    assert_eq!(schema_by_ids(&back).expect("iceberg"), made);
    assert!(evolved(&made, made.highest_field_id(), &uuids()).expect("same").is_none());
    // A table from before has the same bytes and keeps its type; the other way round bytes are no UUIDs.
    let plain = schema(vec![Field::new("id", DataType::FixedSizeBinary(16), true)]);
    let before = iceberg_schema(&plain).expect("iceberg");
    assert!(evolved(&before, 1, &schema(vec![uuid("id")])).expect("taken").is_none());
    let refused = evolved(&made, made.highest_field_id(), &plain).expect_err("bytes").to_string();
    assert!(refused.contains("column id: uuid cannot become fixed(16)"), "{refused}");
}
