use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, DictionaryArray, DurationSecondArray,
    FixedSizeBinaryArray, Float32Array, Float64Array, Int16Array, Int64Array, Int64Builder, LargeStringArray,
    ListArray, MapBuilder, StringArray, StringBuilder, StringViewArray, StructArray, Time32SecondArray,
    TimestampMicrosecondArray, TimestampMillisecondArray, TimestampNanosecondArray, UInt64Array,
};
use arrow::datatypes::{Int32Type, Int64Type, TimeUnit};

use super::*;
use crate::{DecodeOptions, Decoder, RegisteredSchema, ResolvedSchema, SchemaType};

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, a)| (n, a, true))).expect("batch")
}

fn encoded(columns: Vec<(&str, ArrayRef)>) -> Vec<String> {
    let rows = encode_rows(&batch(columns)).expect("encodes");
    rows.iter().map(|r| String::from_utf8(r.to_vec()).expect("UTF-8")).collect()
}

#[test]
fn every_type_has_one_form() {
    let price = Decimal128Array::from(vec![-12_340, 5]).with_precision_and_scale(10, 2).expect("decimal");
    let item = StructArray::from(vec![(
        Arc::new(Field::new("x", DataType::Int64, true)),
        Arc::new(Int64Array::from(vec![Some(1), None])) as ArrayRef,
    )]);
    let mut map = MapBuilder::new(None, StringBuilder::new(), Int64Builder::new());
    map.keys().append_value("k\"");
    map.values().append_value(1);
    map.keys().append_value("n");
    map.values().append_null();
    map.append(true).expect("map");
    map.append(false).expect("map");
    let cases: Vec<(ArrayRef, [&str; 2])> = vec![
        (Arc::new(BooleanArray::from(vec![Some(true), None])), [r#"{"c":true}"#, "{}"]),
        (Arc::new(Int16Array::from(vec![-1, 2])), [r#"{"c":-1}"#, r#"{"c":2}"#]),
        (Arc::new(UInt64Array::from(vec![u64::MAX, 0])), [r#"{"c":18446744073709551615}"#, r#"{"c":0}"#]),
        (Arc::new(Float32Array::from(vec![0.1, 1.0])), [r#"{"c":0.1}"#, r#"{"c":1.0}"#]),
        (Arc::new(Float64Array::from(vec![1e300, -0.5])), [r#"{"c":1e+300}"#, r#"{"c":-0.5}"#]),
        (Arc::new(price), [r#"{"c":-123.40}"#, r#"{"c":0.05}"#]),
        (
            Arc::new(StringArray::from(vec!["ü\"\\\n\u{1}/", ""])),
            [r#"{"c":"ü\"\\\n\u0001/"}"#, r#"{"c":""}"#],
        ),
        (Arc::new(StringViewArray::from(vec!["a", "b"])), [r#"{"c":"a"}"#, r#"{"c":"b"}"#]),
        (Arc::new(LargeStringArray::from(vec!["a", "b"])), [r#"{"c":"a"}"#, r#"{"c":"b"}"#]),
        (Arc::new(BinaryArray::from(vec![&b"f"[..], b"fooba"])), [r#"{"c":"Zg=="}"#, r#"{"c":"Zm9vYmE="}"#]),
        (
            Arc::new(FixedSizeBinaryArray::try_from(vec![b"foo", b"\xff\xfe\xfd"]).expect("fixed")),
            [r#"{"c":"Zm9v"}"#, r#"{"c":"//79"}"#],
        ),
        (Arc::new(Date32Array::from(vec![0, -1])), [r#"{"c":"1970-01-01"}"#, r#"{"c":"1969-12-31"}"#]),
        (
            Arc::new(Time32SecondArray::from(vec![0, 3661])),
            [r#"{"c":"00:00:00.000000Z"}"#, r#"{"c":"01:01:01.000000Z"}"#],
        ),
        (
            Arc::new(TimestampMicrosecondArray::from(vec![1, -1]).with_timezone("+00:00")),
            [r#"{"c":"1970-01-01T00:00:00.000001Z"}"#, r#"{"c":"1969-12-31T23:59:59.999999Z"}"#],
        ),
        (
            Arc::new(TimestampMillisecondArray::from(vec![1, 2])),
            [r#"{"c":"1970-01-01T00:00:00.001000Z"}"#, r#"{"c":"1970-01-01T00:00:00.002000Z"}"#],
        ),
        (
            Arc::new(TimestampNanosecondArray::from(vec![1_999, 2_000])),
            [r#"{"c":"1970-01-01T00:00:00.000001Z"}"#, r#"{"c":"1970-01-01T00:00:00.000002Z"}"#],
        ),
        (
            Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(vec![
                Some(vec![Some(1), None]),
                None,
            ])),
            [r#"{"c":[1,null]}"#, "{}"],
        ),
        (Arc::new(item), [r#"{"c":{"x":1}}"#, r#"{"c":{}}"#]),
        (Arc::new(map.finish()), [r#"{"c":{"k\"":1,"n":null}}"#, "{}"]),
        (
            Arc::new(vec![Some("a"), None].into_iter().collect::<DictionaryArray<Int32Type>>()),
            [r#"{"c":"a"}"#, "{}"],
        ),
    ];
    for (array, expected) in cases {
        let shown = array.data_type().clone();
        assert_eq!(encoded(vec![("c", array.clone())]), expected, "{shown}");
        // A slice starts elsewhere in the same buffers.
        assert_eq!(encoded(vec![("c", array.slice(1, 1))]), expected[1..], "{shown} sliced");
    }
}

#[test]
fn what_json_cannot_hold_is_refused_by_name() {
    let refused = |array: ArrayRef| encode_rows(&batch(vec![("c", array)])).expect_err("refused").to_string();
    assert!(refused(Arc::new(DurationSecondArray::from(vec![1]))).contains("column c has type Duration"));
    let nan = refused(Arc::new(Float64Array::from(vec![1.0, f64::NAN])));
    assert_eq!(nan, "column c holds NaN in row 1, which JSON has no form for: filter or replace it");
    assert!(refused(Arc::new(Float64Array::from(vec![f64::INFINITY]))).contains("inf"));
    assert!(refused(Arc::new(Date32Array::from(vec![i32::MAX]))).contains("days from 1970"));
    let schema = Schema::new(vec![Field::new("d", DataType::Duration(TimeUnit::Second), true)]);
    assert!(json_schema_of(&schema, "t").expect_err("refused").to_string().contains("column d"));
}

#[test]
fn columns_survive_the_way_through_json() {
    let schema = r#"{"type":"object","properties":{
        "b":{"type":"boolean"},"i":{"type":"integer"},"n":{"type":"number"},"s":{"type":"string"},
        "ts":{"type":"string","format":"date-time"},"d":{"type":"string","format":"date"},
        "t":{"type":"string","format":"time"},
        "o":{"type":"object","properties":{"x":{"type":"integer"}}},
        "l":{"type":"array","items":{"type":["number","null"]}},
        "m":{"type":"object","additionalProperties":{"type":["string","null"]}}}}"#;
    let decoder = |schema: &str| {
        let schema = RegisteredSchema {
            id: 1,
            schema_type: SchemaType::Json,
            schema: schema.into(),
            references: Vec::new(),
        };
        Decoder::new(&ResolvedSchema::alone(schema), &DecodeOptions::default()).expect("supported")
    };
    let first = decoder(schema);
    let values = [
        &br#"{"b":true,"i":-5,"n":0.1,"s":"x","ts":"2024-05-01T00:00:00Z","d":"2024-05-01","t":"01:02:03Z","o":{"x":1},"l":[1.5,null],"m":{"k":"v","n":null}}"#[..],
        b"{}",
    ]
    .map(Some);
    let decoded = first.decode(&values);
    assert!(decoded.rejected.is_empty(), "{:?}", decoded.rejected);
    let described = json_schema_of(first.columns(), "again").expect("described");
    let second = decoder(&described);
    assert_eq!(second.columns(), first.columns());
    let text = encode_rows(&decoded.batch).expect("encoded");
    let values: Vec<_> = text.iter().map(|t| Some(&t[..])).collect();
    let again = second.decode(&values);
    assert!(again.rejected.is_empty(), "{:?}", again.rejected);
    assert_eq!(again.batch, decoded.batch);
    assert_eq!(encode_rows(&again.batch).expect("encoded"), text, "the same rows give the same bytes");
}

#[test]
fn schemas_say_what_is_required() {
    let schema = Schema::new(vec![
        Field::new("symbol", DataType::Utf8, false),
        Field::new("avg", DataType::Decimal128(12, 2), true),
    ]);
    assert_eq!(
        json_schema_of(&schema, "t").expect("described"),
        r#"{"$schema":"http://json-schema.org/draft-07/schema#","title":"t","type":"object","properties":{"symbol":{"type":"string"},"avg":{"type":["number","null"]}},"required":["symbol"]}"#
    );
}
