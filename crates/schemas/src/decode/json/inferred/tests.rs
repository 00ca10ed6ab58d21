use std::collections::BTreeMap;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Fields, Float64Type, Int64Type};
use serde_json::{Map, Value, json};

use super::*;
use crate::decode::tests::Random;

/// A topic's life: records with the era in which each was read.
#[derive(Default)]
struct Life {
    shape: Shape,
    eras: Era,
    read: Vec<(Era, Vec<u8>)>,
}

impl Life {
    /// Reads a batch as a topic does: up to the first record that has no place, grow by the rest, go on.
    fn take(&mut self, batch: &[&[u8]]) {
        let mut rest = batch;
        loop {
            let inferred = Inferred::new(&self.shape);
            let era = self.eras;
            let values: Vec<_> = rest.iter().map(|value| Some(*value)).collect();
            let rows = inferred.decode(era, &values);
            let fit = rows.unfit.unwrap_or(rest.len());
            self.read.extend(rest[..fit].iter().map(|value| (era, value.to_vec())));
            rest = &rest[fit..];
            if rest.is_empty() {
                return;
            }
            let before = self.shape.clone();
            for record in rest {
                self.shape.grow(self.eras + 1, record);
            }
            assert!(self.shape != before, "{:?} never fits", String::from_utf8_lossy(rest[0]));
            // What is stored is what is used.
            let stored = serde_json::to_vec(&self.shape).expect("stored");
            self.shape = serde_json::from_slice(&stored).expect("read again");
            self.eras += 1;
        }
    }

    fn of(records: &[&str]) -> Self {
        let mut life = Self::default();
        records.iter().for_each(|record| life.take(&[record.as_bytes()]));
        life
    }

    /// All records, each read as it was in its era.
    fn rows(&self) -> Vec<Value> {
        let inferred = Inferred::new(&self.shape);
        let read = |(era, record): &(Era, Vec<u8>)| {
            let rows = inferred.decode(*era, &[Some(record)]);
            assert!(rows.unfit.is_none() && rows.decoded.rejected.is_empty(), "{record:?}");
            Value::Object(row(&rows.decoded.batch))
        };
        self.read.iter().map(read).collect()
    }

    fn types(&self) -> Vec<String> {
        let columns = Inferred::new(&self.shape);
        columns.columns().fields().iter().map(|f| format!("{} {}", f.name(), f.data_type())).collect()
    }
}

/// The first row, without nulls.
fn row(batch: &RecordBatch) -> Map<String, Value> {
    let schema = batch.schema();
    let columns = schema.fields().iter().zip(batch.columns());
    columns.filter_map(|(field, column)| Some((field.name().clone(), cell(column.as_ref(), 0)?))).collect()
}

fn cell(column: &dyn Array, row: usize) -> Option<Value> {
    if column.is_null(row) {
        return None;
    }
    Some(match column.data_type() {
        DataType::Boolean => column.as_boolean().value(row).into(),
        DataType::Int64 => column.as_primitive::<Int64Type>().value(row).into(),
        DataType::Float64 => column.as_primitive::<Float64Type>().value(row).into(),
        DataType::Utf8 => column.as_string::<i32>().value(row).into(),
        DataType::Struct(fields) => {
            let columns = fields.iter().zip(column.as_struct().columns());
            let members = columns.filter_map(|(f, c)| Some((f.name().clone(), cell(c.as_ref(), row)?)));
            Value::Object(members.collect())
        }
        DataType::List(_) => {
            let items = column.as_list::<i32>().value(row);
            (0..items.len()).map(|item| cell(items.as_ref(), item).unwrap_or(Value::Null)).collect()
        }
        other => panic!("{other}"),
    })
}

#[test]
fn each_type_has_its_column() {
    let life = Life::of(&[r#"{"b":true,"l":-7,"d":1.0,"t":"2024-01-01T00:00:00Z","o":{"x":[1,null,2]}}"#]);
    assert_eq!(
        life.types(),
        [
            "b Boolean".to_owned(),
            "l Int64".into(),
            "d Float64".into(),
            "t Utf8".into(),
            format!(
                "o {}",
                DataType::Struct(
                    vec![Field::new(
                        "x",
                        DataType::List(Arc::new(Field::new("element", DataType::Int64, true))),
                        true
                    )]
                    .into()
                )
            ),
        ]
    );
    assert_eq!(
        life.rows()[0],
        json!({"b": true, "l": -7, "d": 1.0, "t": "2024-01-01T00:00:00Z", "o": {"x": [1, null, 2]}})
    );
}

#[test]
fn what_is_of_another_type_lies_beside_as_it_was_written() {
    let life = Life::of(&[
        r#"{"a":1}"#,
        r#"{"a":1.5}"#,
        r#"{"a": "x\u0041" }"#,
        r#"{"a":{"b":[ 1 ]}}"#,
        r#"{"a":18446744073709551615}"#,
        r#"{"a":2e0}"#,
        r#"{"a":[]}"#,
    ]);
    assert_eq!(life.types(), ["a Int64", "a_json Utf8"]);
    let rows = life.rows();
    assert_eq!(rows[0], json!({"a": 1}));
    assert_eq!(rows[1], json!({"a_json": "1.5"}));
    assert_eq!(rows[2], json!({"a_json": r#""x\u0041""#}));
    assert_eq!(rows[3], json!({"a_json": r#"{"b":[ 1 ]}"#}));
    assert_eq!(rows[4], json!({"a_json": "18446744073709551615"}));
    assert_eq!(rows[5], json!({"a": 2}), "the same number");
    assert_eq!(rows[6], json!({}), "nothing is in it");
}

#[test]
fn numbers_that_come_together_share_a_double() {
    let mut life = Life::default();
    life.take(&[br#"{"p":10}"#, br#"{"p":10.5}"#, br#"{"p":9007199254740993}"#]);
    assert_eq!(life.types(), ["p Float64", "p_json Utf8"]);
    assert_eq!(
        life.rows(),
        [json!({"p": 10.0}), json!({"p": 10.5}), json!({"p_json": "9007199254740993"})],
        "an integer that no double holds is not rounded"
    );
    life.take(&[br#"{"q":1}"#]);
    life.take(&[br#"{"q":1.5,"p":1e400}"#]);
    assert_eq!(life.rows()[4], json!({"q_json": "1.5", "p_json": "1e400"}), "what was read stays a long");
}

#[test]
fn empty_values_have_no_column_until_something_is_in_them() {
    let mut life = Life::default();
    life.take(&[br#"{"n":null,"l":[],"o":{"x":null,"y":[{}]}}"#]);
    assert!(life.shape.is_empty() && life.eras == 0);
    life.take(&[br#"{"l":[null,1],"o":{"x":1}}"#]);
    life.take(&[br#"{"l":[],"o":{}}"#]);
    assert_eq!(
        life.rows(),
        [json!({}), json!({"l": [null, 1], "o": {"x": 1}}), json!({"l": [], "o": {}})],
        "a record is read as it was in its era"
    );
}

#[test]
fn items_of_arrays_have_one_type() {
    let life = Life::of(&[
        r#"{"l":[{"a":1},{"b":"x"},null,{}]}"#,
        r#"{"l":[{"a":"clash","c":true}]}"#,
        r#"{"l":[1, 2]}"#,
        r#"{"m":[1,"x"]}"#,
        r#"{"m":[2]}"#,
        r#"{"m":[[3]]}"#,
    ]);
    let rows = life.rows();
    assert_eq!(rows[0], json!({"l": [{"a": 1}, {"b": "x"}, null, {}]}));
    assert_eq!(rows[1], json!({"l": [{"a_json": "\"clash\"", "c": true}]}), "the nearest member");
    assert_eq!(rows[2], json!({"l_json": "[1, 2]"}));
    assert_eq!(rows[3], json!({"m_json": r#"[1,"x"]"#}));
    assert_eq!(rows[4], json!({"m_json": "[2]"}), "its first value had no type");
    assert_eq!(rows[5], json!({"m_json": "[[3]]"}));
}

#[test]
fn names_that_cannot_be_columns_are_extra() {
    let long = "x".repeat(INFERRED_NAME_BYTES_MAX + 1);
    let record = format!(
        r#"{{"id":1,"ID":2,"":3,"{long}":4,"http.code":5,"http_code":6,"_extra":7,"Redpanda":8,"redpanda":{{"_Extra":9}}}}"#
    );
    let life = Life::of(&[&record, r#"{"id_json":1}"#, r#"{"id":"x"}"#, r#"{"id_json":null,"a\nb":1}"#]);
    let rows = life.rows();
    let extra = format!(r#"{{"ID":2,"":3,"{long}":4,"http_code":6,"_extra":7,"Redpanda":8}}"#);
    let nested = json!({"_extra": r#"{"_Extra":9}"#});
    assert_eq!(rows[0], json!({"id": 1, "http_code": 5, "redpanda": nested, "_extra": extra}));
    assert_eq!(rows[1], json!({"id_json": 1}));
    assert_eq!(rows[2], json!({"_extra": r#"{"id":"x"}"#}), "the name of the column beside it is taken");
    assert_eq!(rows[3], json!({"a_b": 1}));
}

#[test]
fn the_last_of_doubled_members_counts() {
    let life = Life::of(&[
        r#"{"a":1,"a":2}"#,
        r#"{"a":1,"a":"x"}"#,
        r#"{"a":"x","a":3}"#,
        r#"{"a":"x","a":null}"#,
        r#"{"A":1,"a":4,"A":2}"#,
    ]);
    let rows = life.rows();
    assert_eq!(rows[0], json!({"a": 2}));
    assert_eq!(rows[1], json!({"a_json": "\"x\""}));
    assert_eq!(rows[2], json!({"a": 3}));
    assert_eq!(rows[3], json!({}));
    assert_eq!(rows[4], json!({"a": 4, "_extra": r#"{"A":2}"#}));
}

#[test]
fn columns_have_a_limit_and_nothing_is_lost_beyond_it() {
    let mut life = Life::default();
    let wide = |from: usize| {
        let members: Vec<String> = (from..from + 700).map(|i| format!(r#""m{i}":{i}"#)).collect();
        format!(r#"{{"o":{{{}}},"l":[{{"z":1}}]}}"#, members.join(","))
    };
    life.take(&[wide(0).as_bytes()]);
    assert!(!life.shape.is_full());
    life.take(&[wide(700).as_bytes()]);
    assert!(life.shape.is_full());
    let shape = life.shape.clone();
    life.take(&[br#"{"new":[1],"o":{"m0":"x"},"l":[{"y":2,"z":"w"}]}"#]);
    assert!(life.shape == shape, "it does not grow any more");
    let rows = life.rows();
    let second = rows[1]["o"].as_object().expect("o");
    let extra: Value = serde_json::from_str(second["_extra"].as_str().expect("text")).expect("JSON");
    let in_columns = second.len() - 1;
    assert_eq!(in_columns + extra.as_object().expect("object").len(), 700);
    assert!(700 + in_columns <= INFERRED_COLUMNS_MAX && extra["m1399"] == 1399);
    assert_eq!(
        rows[2],
        json!({"_extra": r#"{"new":[1]}"#, "o": {"_extra": r#"{"m0":"x"}"#}, "l": [{"_extra": r#"{"z":"w","y":2}"#}]})
    );
}

#[test]
fn what_lies_deep_is_text() {
    let deep = |levels: usize| format!("{}1{}", r#"{"a":"#.repeat(levels), "}".repeat(levels));
    let life = Life::of(&[&deep(INFERRED_DEPTH_MAX + 2)]);
    let mut value = &life.rows()[0];
    for _ in 1..INFERRED_DEPTH_MAX {
        value = &value["a"];
    }
    assert_eq!(*value, json!({"a_json": r#"{"a":{"a":1}}"#}));
    let mut shape = Shape::default();
    shape.grow(0, deep(70).as_bytes());
    assert!(shape.is_empty(), "what is no row asks for no column");
    let rows = Inferred::new(&shape).decode(0, &[Some(deep(70).as_bytes())]);
    assert_eq!(rows.decoded.rejected[0].code, crate::RejectCode::TooLarge);
}

#[test]
fn only_objects_are_rows() {
    let values = [&b"[1]"[..], b"{", b"\"x\"", b"{\"a\":1}", b"\0\0\0\0\x07{\"a\":2}", b"\xff"];
    let mut shape = Shape::default();
    values.iter().for_each(|value| shape.grow(0, value));
    let mut given: Vec<Option<&[u8]>> = values.iter().map(|value| Some(*value)).collect();
    given.push(None);
    let rows = Inferred::new(&shape).decode(0, &given);
    assert_eq!(rows.unfit, None);
    assert_eq!(rows.decoded.batch.column(0).as_primitive::<Int64Type>().values(), &[1, 2]);
    let codes: Vec<_> = rows.decoded.rejected.iter().map(|r| (r.row, r.code.as_str())).collect();
    assert_eq!(
        codes,
        [
            (0, "schema_mismatch"),
            (1, "malformed"),
            (2, "schema_mismatch"),
            (5, "malformed"),
            (6, "null_value")
        ]
    );
}

#[test]
fn a_record_without_place_is_a_row_without_it() {
    let life = Life::of(&[r#"{"a":1}"#]);
    let rows = Inferred::new(&life.shape).decode(1, &[Some(br#"{"a":2,"b":3}"#), Some(br#"{"a":"x"}"#)]);
    assert_eq!(rows.unfit, Some(0));
    let a = rows.decoded.batch.column(0).as_primitive::<Int64Type>();
    assert!(a.value(0) == 2 && a.is_null(1));
}

/// A value that looks random.
fn value(random: &mut Random, depth: usize) -> Value {
    match random.below(if depth > 3 { 8 } else { 12 }) {
        0 => Value::Null,
        1 => Value::Bool(random.below(2) == 0),
        2 | 3 => Value::from(random.below(1000) as i64 - 500),
        4 => json!([1.5, -0.25, 1e300, 3.0][random.below(4)]),
        5 => json!([u64::MAX, i64::MAX as u64, (1 << 53) + 1][random.below(3)]),
        6 | 7 => json!(["", "x", "\"\\\n", "2024-01-01", "é"][random.below(5)]),
        8 | 9 => object(random, depth + 1),
        _ => (0..random.below(4)).map(|_| value(random, depth + 1)).collect(),
    }
}

fn object(random: &mut Random, depth: usize) -> Value {
    const NAMES: [&str; 12] =
        ["a", "A", "b", "b_json", "c.d", "c_d", "", "e", "_extra", "redpanda", "Redpanda", "f\u{1}"];
    let names = (0..random.below(5)).map(|_| NAMES[random.below(12)].to_owned()).collect::<Vec<_>>();
    Value::Object(names.into_iter().map(|name| (name, value(random, depth))).collect())
}

/// A value without its nulls and what holds nothing else.
fn plain(value: &Value) -> Option<Value> {
    match value {
        Value::Null => None,
        Value::Object(members) => {
            let members: Map<_, _> =
                members.iter().filter_map(|(name, value)| Some((name.clone(), plain(value)?))).collect();
            (!members.is_empty()).then_some(Value::Object(members))
        }
        Value::Array(items) => {
            let items: Vec<Value> = items.iter().map(|item| plain(item).unwrap_or_default()).collect();
            items.iter().any(|item| !item.is_null()).then_some(Value::Array(items))
        }
        Value::Number(number) => match number.as_i64() {
            Some(_) => Some(value.clone()),
            None => Some(json!(number.as_f64())),
        },
        _ => Some(value.clone()),
    }
}

/// What a row says, by the names that its record had.
fn told(shape: &ObjectShape, row: &Value) -> Value {
    let mut members = Map::new();
    for member in &shape.members {
        if let (Some(value), Some(shape)) = (row.get(&member.column), &member.value) {
            members.insert(member.name.clone(), told_value(&shape.kind, value));
        }
        if let Some(Misfits::Column { name, .. }) = &member.misfits
            && let Some(text) = row.get(name).and_then(Value::as_str)
        {
            let value = serde_json::from_str(text).expect("JSON");
            assert!(members.insert(member.name.clone(), value).is_none(), "in one column only");
        }
    }
    if let Some(text) = row.get(shape::EXTRA).and_then(Value::as_str) {
        let extra: BTreeMap<String, Value> = serde_json::from_str(text).expect("JSON");
        for (name, value) in extra {
            assert!(members.insert(name, value).is_none(), "in one column only");
        }
    }
    Value::Object(members)
}

fn told_value(kind: &shape::Kind, value: &Value) -> Value {
    match (kind, value) {
        (shape::Kind::Object(shape), Value::Object(_)) => told(shape, value),
        (shape::Kind::List(items), Value::Array(values)) => {
            values.iter().map(|value| told_value(items, value)).collect()
        }
        _ => value.clone(),
    }
}

fn numbers_alike(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| numbers_alike(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter().all(|(name, value)| b.get(name).is_some_and(|other| numbers_alike(value, other)))
        }
        _ => a == b,
    }
}

/// Whether every column of one is one of the other.
fn within(narrow: &Fields, wide: &Fields) -> bool {
    narrow.iter().all(|field| {
        let Some((_, known)) = wide.find(field.name()) else { return false };
        within_type(field.data_type(), known.data_type())
    })
}

fn within_type(narrow: &DataType, wide: &DataType) -> bool {
    match (narrow, wide) {
        (DataType::Struct(narrow), DataType::Struct(wide)) => within(narrow, wide),
        (DataType::List(narrow), DataType::List(wide)) => within_type(narrow.data_type(), wide.data_type()),
        (narrow, wide) => narrow == wide,
    }
}

#[test]
fn any_objects_in_any_batches_are_read_again() {
    for seed in 1..=400_u64 {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let records: Vec<Value> = (0..40).map(|_| object(&mut random, 0)).collect();
        let texts: Vec<Vec<u8>> = records.iter().map(|record| record.to_string().into_bytes()).collect();
        let mut life = Life::default();
        let mut rest: Vec<&[u8]> = texts.iter().map(Vec::as_slice).collect();
        while !rest.is_empty() {
            let size = (1 + random.below(9)).min(rest.len());
            let before = Inferred::new(&life.shape);
            life.take(&rest[..size]);
            let after = Inferred::new(&life.shape);
            assert!(within(before.columns().fields(), after.columns().fields()), "seed {seed}");
            rest.drain(..size);
        }
        let lower: Vec<String> = life.shape.root.fields().iter().map(|f| f.name().to_lowercase()).collect();
        assert_eq!(lower.iter().collect::<HashSet<_>>().len(), lower.len(), "names differ: {lower:?}");
        for (record, row) in records.iter().zip(life.rows()) {
            let told = plain(&told(&life.shape.root, &row));
            let meant = plain(record);
            let (told, meant) = (told.unwrap_or_default(), meant.unwrap_or_default());
            assert!(numbers_alike(&told, &meant), "seed {seed}: {record} was read as {row}");
        }
    }
}
