use super::*;

fn field(name: &str, data_type: DataType) -> Field {
    Field::new(name, data_type, true)
}

fn alias(field: Field, names: &[&str]) -> Field {
    let text = serde_json::json!(names).to_string();
    field.with_metadata(HashMap::from([(schemas::AVRO_ALIASES_KEY.to_owned(), text)]))
}

/// Name and type of each column, and the differences of the last schema.
fn union(schemas: &[Vec<Field>]) -> (Vec<(String, DataType)>, Vec<String>) {
    let mut union = Union::default();
    let mut last = Added::default();
    for schema in schemas {
        last = union.add(&Fields::from(schema.clone()));
    }
    let columns = union.targets();
    let shown = columns.iter().map(|t| (t.field.name().clone(), t.field.data_type().clone())).collect();
    (shown, last.differences)
}

#[test]
fn types_widen_as_iceberg_allows_and_no_further() {
    use DataType::{Binary, Boolean, Date32, Decimal128, Float32, Float64, Int32, Int64, Utf8};
    let timestamp = || DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, None);
    for (older, newer, expected) in [
        (Int32, Int64, Some(Int64)),
        (Int64, Int32, Some(Int64)),
        (Float32, Float64, Some(Float64)),
        (Decimal128(9, 2), Decimal128(18, 2), Some(Decimal128(18, 2))),
        (Decimal128(18, 2), Decimal128(9, 2), Some(Decimal128(18, 2))),
        (Decimal128(9, 2), Decimal128(9, 3), None),
        (Int64, Float64, None),
        (Int32, Float32, None),
        (Date32, timestamp(), None),
        (Boolean, Int32, None),
        (Utf8, Binary, None),
    ] {
        let (columns, differences) =
            union(&[vec![field("a", older.clone())], vec![field("a", newer.clone())]]);
        assert_eq!(columns[0].1, expected.clone().unwrap_or(older.clone()), "{older} then {newer}");
        assert_eq!(differences.len(), usize::from(expected.is_none()), "{older} then {newer}");
        if let Some(difference) = differences.first() {
            assert!(difference.contains("column a") && difference.contains(&shown(&newer)), "{difference}");
        }
    }
}

#[test]
fn newer_schemas_add_and_reorder_and_never_drop() {
    let older = vec![
        field("gone", DataType::Utf8),
        field("same", DataType::Int64),
        field("o", DataType::Struct(vec![field("x", DataType::Int32)].into())),
        field("l", DataType::List(Arc::new(field("element", DataType::Int32)))),
    ];
    let newer = vec![
        field("o", DataType::Struct(vec![field("y", DataType::Utf8), field("x", DataType::Int64)].into())),
        field("new", DataType::Boolean),
        field("same", DataType::Utf8),
        field("l", DataType::List(Arc::new(field("element", DataType::Int64)))),
    ];
    let (columns, differences) = union(&[older, newer]);
    let expected = [
        ("o", DataType::Struct(vec![field("y", DataType::Utf8), field("x", DataType::Int64)].into())),
        ("new", DataType::Boolean),
        ("same", DataType::Int64),
        ("l", DataType::List(Arc::new(field("element", DataType::Int64)))),
        ("gone", DataType::Utf8),
    ];
    assert_eq!(columns, expected.map(|(name, data_type)| (name.to_owned(), data_type)));
    assert_eq!(differences, ["column same is long in the table and string in the schema"]);
}

#[test]
fn a_renamed_column_stays_the_same_column() {
    let mut union = Union::default();
    let first = union.add(&vec![field("a", DataType::Int64), field("z", DataType::Int64)].into());
    let second = union.add(&vec![alias(field("b", DataType::Int64), &["a"])].into());
    let targets = union.targets();
    let names: Vec<&str> = targets.iter().map(|t| t.field.name().as_str()).collect();
    assert_eq!(names, ["b", "z"]);
    assert_eq!(targets[0].field.metadata()[FORMER_NAMES], r#"["a"]"#);
    assert_eq!((first.places[&targets[0].id], second.places[&targets[0].id]), (0, 0));
    assert!(!second.places.contains_key(&targets[1].id));
    // An older schema again: the column keeps its newer name.
    let again = union.add(&vec![field("z", DataType::Int64), field("a", DataType::Int64)].into());
    assert_eq!(again.places[&targets[0].id], 1);
    let names: Vec<String> = union.targets().iter().map(|t| t.field.name().clone()).collect();
    assert_eq!(names, ["z", "b"]);
    // Both at once: `a` is a new column.
    let both = union.add(&vec![field("a", DataType::Utf8), field("b", DataType::Int64)].into());
    assert_eq!(both.places[&targets[0].id], 1);
    assert_eq!(union.targets().len(), 3);
    assert!(both.differences.is_empty());
}

#[test]
fn a_newer_schema_may_be_met_before_an_older_one() {
    let mut union = Union::default();
    union.add(&vec![alias(field("b", DataType::Int64), &["a"])].into());
    let older = union.add(&vec![field("a", DataType::Int64)].into());
    let targets = union.targets();
    assert_eq!(targets.len(), 1);
    assert_eq!((targets[0].field.name().as_str(), older.places[&targets[0].id]), ("b", 0));
}

#[test]
fn columns_are_optional_at_every_level_but_keys_of_maps() {
    let inner = Fields::from(vec![Field::new("x", DataType::Int32, false)]);
    let pair = Fields::from(vec![
        Field::new("key", DataType::Utf8, false),
        Field::new("value", DataType::Struct(inner), false),
    ]);
    let map = DataType::Map(Arc::new(Field::new("entries", DataType::Struct(pair), false)), false);
    let mut union = Union::default();
    union.add(&vec![Field::new("m", map, false)].into());
    let target = &union.targets()[0];
    assert!(target.field.is_nullable());
    let DataType::Map(entries, _) = target.field.data_type() else { panic!("a map") };
    let DataType::Struct(pair) = entries.data_type() else { panic!("entries") };
    assert!(!entries.is_nullable() && !pair[0].is_nullable() && pair[1].is_nullable());
    assert!(target.parts[1].parts[0].field.is_nullable());
}

fn numbered(name: &str, data_type: DataType, number: &str) -> Field {
    let key = schemas::PROTOBUF_FIELD_KEY.to_owned();
    field(name, data_type).with_metadata(HashMap::from([(key, number.to_owned())]))
}

#[test]
fn a_field_of_protobuf_is_known_by_its_number() {
    let inner = |name: &str| DataType::Struct(vec![numbered(name, DataType::Int32, "I#1")].into());
    let mut union = Union::default();
    union.add(&vec![numbered("a", DataType::Int32, "M#1"), numbered("o", inner("x"), "M#2")].into());
    let newer = [numbered("b", DataType::Int64, "M#1"), numbered("o", inner("y"), "M#2")];
    let added = union.add(&newer.to_vec().into());
    assert!(added.differences.is_empty());
    let columns = union.targets();
    assert_eq!(columns.len(), 2);
    assert_eq!(columns[0].field.metadata()[FORMER_NAMES], r#"["a"]"#);
    assert_eq!(columns[0].field.data_type(), &DataType::Int64);
    assert_eq!(columns[1].parts[0].field.metadata()[FORMER_NAMES], r#"["x"]"#);
    // Another message, a name that is still there, a type that does not fit: other columns.
    union.add(&vec![numbered("c", DataType::Int64, "N#1")].into());
    union.add(&vec![numbered("b", DataType::Int64, "M#3"), numbered("d", DataType::Int64, "M#1")].into());
    union.add(&vec![numbered("e", DataType::Utf8, "M#2")].into());
    let names: Vec<String> = union.targets().iter().map(|t| t.field.name().clone()).collect();
    assert_eq!(names, ["e", "b", "d", "c", "o"]);
}

#[test]
fn uuids_stay_uuids() {
    let mark = HashMap::from([(EXTENSION_NAME.to_owned(), "arrow.uuid".to_owned())]);
    let uuid = |name: &str| field(name, DataType::FixedSizeBinary(16)).with_metadata(mark.clone());
    let mut union = Union::default();
    union.add(&vec![uuid("u"), field("l", DataType::List(Arc::new(uuid("element"))))].into());
    union.add(&vec![field("u", DataType::FixedSizeBinary(16))].into());
    let targets = union.targets();
    assert_eq!(targets[0].field.extension_type_name(), Some("arrow.uuid"));
    assert_eq!(targets[1].parts[0].field.extension_type_name(), Some("arrow.uuid"));
}
