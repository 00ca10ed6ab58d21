use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Float64Type, Int64Type, TimeUnit, TimestampMicrosecondType};
use serde_json::{Value, json};

use super::*;
use crate::encode_rows;
use crate::registry::RegisteredSchema;

mod differential;

/// Numbers that look random and are the same in every run.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % limit.max(1)
    }
}

pub(super) fn decoder(schema: &Value) -> Result<Decoder, SetupError> {
    let schema = RegisteredSchema {
        id: 7,
        schema_type: SchemaType::Json,
        schema: schema.to_string(),
        references: Vec::new(),
    };
    Decoder::new(&ResolvedSchema::alone(schema), &DecodeOptions::default())
}

fn object(properties: Value) -> Value {
    json!({"type": "object", "properties": properties})
}

/// Rows of a batch as JSON text.
pub(super) fn rows(decoded: &Decoded) -> Vec<String> {
    let rows = encode_rows(&decoded.batch).expect("rows of a decoder can be encoded");
    rows.iter().map(|row| String::from_utf8_lossy(row).into_owned()).collect()
}

fn utc() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()))
}

#[test]
fn types_map() {
    let text = json!({"type": "string"});
    for (schema, expected) in [
        (json!({"type": "integer"}), DataType::Int64),
        (json!({"type": "number"}), DataType::Float64),
        (json!({"type": ["integer", "number"]}), DataType::Float64),
        (json!({"type": "boolean"}), DataType::Boolean),
        (text.clone(), DataType::Utf8),
        (json!({"type": "string", "format": "uuid"}), DataType::Utf8),
        (json!({"type": "string", "format": "date-time"}), utc()),
        (json!({"type": "string", "format": "date"}), DataType::Date32),
        (json!({"type": "string", "format": "time"}), DataType::Time64(TimeUnit::Microsecond)),
        (json!({"type": ["string", "null"], "format": "date-time"}), utc()),
        (json!({"oneOf": [{"type": "null"}, {"type": "integer"}]}), DataType::Int64),
        (json!({"anyOf": [{"type": "number"}, {"type": "null"}], "default": null}), DataType::Float64),
        (json!({"allOf": [{"$ref": "#/$defs/text"}]}), DataType::Utf8),
        (json!({"$ref": "#/$defs/a%20%7e1b"}), DataType::Boolean),
        (json!({"enum": ["BUY", "SELL", null]}), DataType::Utf8),
        (json!({"const": 1}), DataType::Int64),
        (
            json!({"properties": {"x": {"type": "integer"}}}),
            DataType::Struct(vec![arrow::datatypes::Field::new("x", DataType::Int64, true)].into()),
        ),
        (
            json!({"type": "array", "items": {"type": "string"}}),
            DataType::List(arrow::datatypes::Field::new("element", DataType::Utf8, true).into()),
        ),
    ] {
        let mut document = object(json!({"a": schema}));
        document["$defs"] = json!({"text": text, "a /b": {"type": "boolean"}});
        let decoder = decoder(&document).expect("supported");
        assert_eq!(decoder.columns().field(0).data_type(), &expected, "{document}");
        assert!(decoder.columns().field(0).is_nullable());
    }
    let map = object(json!({"m": {"type": "object", "additionalProperties": {"type": "number"}}}));
    let map = decoder(&map).expect("supported");
    assert_eq!(
        map.columns().field(0).data_type().to_string(),
        "Map(\"key_value\": non-null Struct(\"key\": non-null Utf8, \"value\": Float64), unsorted)"
    );
}

#[test]
fn what_has_no_columns_is_refused_by_path() {
    for (schema, path, word) in [
        (json!({"type": "string"}), "$", "must be an object"),
        (json!({"type": "object"}), "$", "`properties`"),
        (json!({"type": "object", "additionalProperties": {"type": "string"}}), "$", "must be an object"),
        (object(json!({"a": {}})), "$.a", "`type`"),
        (object(json!({"a": true})), "$.a", "`type`"),
        (object(json!({"a": {"type": ["string", "integer"]}})), "$.a", "one type"),
        (object(json!({"a": {"type": "null"}})), "$.a", "`type`"),
        (object(json!({"a": {"type": "array"}})), "$.a", "`items`"),
        (object(json!({"a": {"type": "array", "items": [{"type": "string"}]}})), "$.a", "tuples"),
        (object(json!({"a": {"type": "array", "items": object(json!({"b": {}}))}})), "$.a[].b", "`type`"),
        (object(json!({"a": {"anyOf": [{"type": "string"}, {"type": "integer"}]}})), "$.a", "anyOf"),
        (object(json!({"a": {"allOf": [{"type": "string"}, {"type": "integer"}]}})), "$.a", "takes no value"),
        (object(json!({"a": {"allOf": [{"oneOf": []}, {"oneOf": [1]}]}})), "$.a", "more than one `oneOf`"),
        (object(json!({"a": {"$ref": "#anchor"}})), "$.a", "anchors"),
        (object(json!({"a": {"oneOf": [{"type": ["string", "null"]}, {"type": "null"}]}})), "$.a", "twice"),
        (object(json!({"a": {"type": "string", "anyOf": [{"type": "string"}]}})), "$.a", "beside"),
        (object(json!({"a": {"type": "integer", "not": {"const": 1}}})), "$.a", "`not`"),
        (object(json!({"a": {"$ref": "http://x/y"}})), "$.a", "not among the schema's references"),
        (object(json!({"a": {"$ref": "#/none"}})), "$.a", "no such place"),
        (object(json!({"a": {"$ref": "#"}})), "$.a.a", "recursive"),
        (json!({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}), "$", "recursive"),
        (
            json!({"type": "object", "properties": {"a": {"type": "integer"}}, "patternProperties": {}}),
            "$",
            "patternProperties",
        ),
    ] {
        let SetupError::Unsupported { id, path: found, reason } = decoder(&schema).expect_err(path);
        assert_eq!((id, found.as_str()), (7, path), "{schema}: {reason}");
        assert!(reason.contains(word), "{schema}: {reason}");
    }
}

#[test]
fn schemas_that_explode_are_refused() {
    let mut definitions = serde_json::Map::new();
    for level in 0..30 {
        let next = json!({"$ref": format!("#/$defs/d{}", level + 1)});
        definitions.insert(format!("d{level}"), object(json!({"l": next, "r": next})));
    }
    definitions.insert("d30".into(), json!({"type": "string"}));
    let schema = json!({"$ref": "#/$defs/d0", "$defs": definitions});
    let refused = decoder(&schema).expect_err("too many columns").to_string();
    assert!(refused.contains("more than") || refused.contains("deeper"), "{refused}");
}

/// Properties, value, and the row or the rejection (code, part of the message).
type Case = (Value, &'static str, Result<&'static str, (&'static str, &'static str)>);

fn check(cases: Vec<Case>, wrap: impl Fn(Value) -> Value) {
    for (properties, value, expected) in cases {
        let decoder = decoder(&wrap(properties.clone())).expect("supported");
        let good = decoder.decode(&[Some(value.as_bytes())]);
        match expected {
            Ok(row) => {
                assert_eq!(good.rejected, [], "{properties} {value}");
                assert_eq!(rows(&good), [row], "{properties} {value}");
            }
            Err((code, words)) => {
                assert_eq!(good.batch.num_rows(), 0, "{properties} {value}");
                assert_eq!(good.rejected[0].code.as_str(), code, "{value}: {}", good.rejected[0].message);
                assert!(good.rejected[0].message.contains(words), "{value}: {}", good.rejected[0].message);
            }
        }
    }
}

#[test]
fn values_are_taken_strictly() {
    let typed = |t: &str| json!({"a": {"type": t}});
    let format = |f: &str| json!({"a": {"type": "string", "format": f}});
    let mismatch = "schema_mismatch";
    check(
        vec![
            (typed("integer"), r#"{"a":12}"#, Ok(r#"{"a":12}"#)),
            (typed("integer"), r#" { "a" : 12.0 } "#, Ok(r#"{"a":12}"#)),
            (
                typed("integer"),
                r#"{"a":"12"}"#,
                Err((mismatch, "field `a`: expected an integer, found string \"12\"")),
            ),
            (typed("integer"), r#"{"a":12.5}"#, Err((mismatch, "expected an integer, found number 12.5"))),
            (typed("integer"), r#"{"a":9223372036854775808}"#, Err((mismatch, "64 bits"))),
            (typed("integer"), r#"{"a":true}"#, Err((mismatch, "found true"))),
            (typed("number"), r#"{"a":1}"#, Ok(r#"{"a":1.0}"#)),
            (typed("number"), r#"{"a":1e400}"#, Err((mismatch, "double"))),
            (typed("number"), r#"{"a":[1]}"#, Err((mismatch, "found array [1]"))),
            (typed("number"), r#"{"a":NaN}"#, Err(("malformed", "byte 5"))),
            (typed("boolean"), r#"{"a":false}"#, Ok(r#"{"a":false}"#)),
            (typed("boolean"), r#"{"a":0}"#, Err((mismatch, "expected a boolean, found number 0"))),
            (typed("boolean"), r#"{"a":truth}"#, Err(("malformed", "a value"))),
            (typed("string"), r#"{"a":1}"#, Err((mismatch, "expected a string"))),
            (typed("string"), r#"{"a":"ü\u00fc\ud83d\ude00\n\"\\\/"}"#, Ok(r#"{"a":"üü😀\n\"\\/"}"#)),
            (typed("string"), r#"{"a":"\ud83d"}"#, Err(("malformed", "surrogates"))),
            (typed("string"), "{\"a\":\"tab\there\"}", Err(("malformed", "0x09"))),
            (typed("string"), r#"{"\u0061":"x"}"#, Ok(r#"{"a":"x"}"#)),
            (typed("string"), r#"{"a":"first","a":"last"}"#, Ok(r#"{"a":"last"}"#)),
            (typed("string"), r#"{"a":"x","a":null}"#, Ok("{}")),
            (typed("string"), r#"{"a":1,"a":"x"}"#, Err((mismatch, "found number 1"))),
            (typed("string"), r#"{"b":{"c":[1,{"d":null}]},"a":"x"}"#, Ok(r#"{"a":"x"}"#)),
            (typed("string"), r#"{"b":[01],"a":"x"}"#, Err(("malformed", ""))),
            (typed("string"), "{}", Ok("{}")),
            (typed("string"), r#"{"a":null}"#, Ok("{}")),
            (typed("string"), "null", Err((mismatch, "expected an object, found null"))),
            (typed("string"), "[]", Err((mismatch, "expected an object, found array []"))),
            (typed("string"), "", Err(("malformed", "its end"))),
            (typed("string"), "\0\0\0\0\x05", Err(("malformed", "its end"))),
            (typed("string"), "\0\0\0", Err(("malformed", "its end"))),
            (typed("string"), "\0\0\0\0\x05{\"a\":\"x\"}", Ok(r#"{"a":"x"}"#)),
            (typed("string"), r#"{"a":"x"}}"#, Err(("malformed", "the end of the value"))),
            (typed("string"), r#"{"a":"x",}"#, Err(("malformed", "a member's name"))),
            (typed("string"), r#"{"a" "x"}"#, Err(("malformed", "`:`"))),
            (typed("string"), r#"{"a":"x"#, Err(("malformed", "the end of a string"))),
            (
                format("date-time"),
                r#"{"a":"2024-05-01T12:00:00.1234567+02:00"}"#,
                Ok(r#"{"a":"2024-05-01T10:00:00.123456Z"}"#),
            ),
            (format("date-time"), r#"{"a":"2024-05-01T12:00:00"}"#, Err((mismatch, "RFC 3339"))),
            (format("date-time"), r#"{"a":1714557600}"#, Err((mismatch, "found number 1714557600"))),
            (format("date"), r#"{"a":"1969-12-31"}"#, Ok(r#"{"a":"1969-12-31"}"#)),
            (format("date"), r#"{"a":"1969-02-29"}"#, Err((mismatch, "a date"))),
            (format("time"), r#"{"a":"23:30:00-01:00"}"#, Ok(r#"{"a":"00:30:00.000000Z"}"#)),
        ],
        object,
    );
}

#[test]
fn required_members_must_be_there() {
    let mismatch = "schema_mismatch";
    check(
        vec![
            (json!({"a": {"type": "string"}}), "{}", Err((mismatch, "field `a`: is missing"))),
            (json!({"a": {"type": "string"}}), r#"{"a":null}"#, Err((mismatch, "found null"))),
            (json!({"a": {"type": ["string", "null"]}}), r#"{"a":null}"#, Ok("{}")),
            (json!({"a": {"type": ["string", "null"]}}), "{}", Err((mismatch, "is missing"))),
            (json!({"a": {"enum": ["x", null]}}), r#"{"a":null}"#, Ok("{}")),
            (json!({"a": {"type": ["string", "null"], "enum": ["x"]}}), r#"{"a":null}"#, Err((mismatch, ""))),
        ],
        |properties| json!({"type": "object", "properties": properties, "required": ["a"]}),
    );
}

#[test]
fn nested_values_fit_or_reject_the_row() {
    let mismatch = "schema_mismatch";
    let inner = json!({"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]});
    let list = json!({"a": {"type": "array", "items": inner}});
    let map = json!({"a": {"type": "object", "additionalProperties": {"type": "integer"}}});
    let many: &str = r#"{"a":{"k0":0,"k1":1,"k2":2,"k3":3,"k1":9,"k4":4,"k5":5,"k6":6,"k7":7,"k0":8}}"#;
    check(
        vec![
            (json!({"a": inner}), r#"{"a":{"x":1}}"#, Ok(r#"{"a":{"x":1}}"#)),
            (json!({"a": inner}), r#"{"a":{"x":1},"a":{"x":2,"y":3}}"#, Ok(r#"{"a":{"x":2}}"#)),
            (json!({"a": inner}), r#"{"a":{}}"#, Err((mismatch, "field `a.x`: is missing"))),
            (list.clone(), r#"{"a":[{"x":1},{"x":2}]}"#, Ok(r#"{"a":[{"x":1},{"x":2}]}"#)),
            (list.clone(), r#"{"a":[]}"#, Ok(r#"{"a":[]}"#)),
            (list.clone(), r#"{"a":[{"x":1},{"x":"y"}]}"#, Err((mismatch, "field `a[1].x`:"))),
            (list.clone(), r#"{"a":[null]}"#, Err((mismatch, "field `a[0]`:"))),
            (list, r#"{"a":[{"x":1}],"a":[{"x":2}]}"#, Ok(r#"{"a":[{"x":2}]}"#)),
            (map.clone(), r#"{"a":{"k":1,"l":2}}"#, Ok(r#"{"a":{"k":1,"l":2}}"#)),
            (map.clone(), r#"{"a":{"k":1,"l":2,"\u006b":3}}"#, Ok(r#"{"a":{"l":2,"k":3}}"#)),
            (map.clone(), many, Ok(r#"{"a":{"k2":2,"k3":3,"k1":9,"k4":4,"k5":5,"k6":6,"k7":7,"k0":8}}"#)),
            (map, r#"{"a":{"k":1.5}}"#, Err((mismatch, "field `a.k`:"))),
        ],
        object,
    );
}

#[test]
fn restrictions_hold() {
    let mismatch = "schema_mismatch";
    let integer = |k: &str, v: Value| json!({"a": {"type": "integer", k: v}});
    let text = |k: &str, v: Value| json!({"a": {"type": "string", k: v}});
    check(
        vec![
            (integer("minimum", json!(1)), r#"{"a":1}"#, Ok(r#"{"a":1}"#)),
            (integer("minimum", json!(1)), r#"{"a":0}"#, Err((mismatch, "field `a`: 0 is not at least 1"))),
            (integer("exclusiveMaximum", json!(5)), r#"{"a":5}"#, Err((mismatch, "5 is not below 5"))),
            (integer("minimum", json!(0.5)), r#"{"a":0}"#, Err((mismatch, "/a"))),
            (integer("multipleOf", json!(5)), r#"{"a":10}"#, Ok(r#"{"a":10}"#)),
            (integer("multipleOf", json!(5)), r#"{"a":11}"#, Err((mismatch, "/a"))),
            (integer("multipleOf", json!(5)), r#"{"a":null}"#, Ok("{}")),
            (integer("enum", json!([1, 2])), r#"{"a":3}"#, Err((mismatch, "/a"))),
            (text("enum", json!(["B", "S"])), r#"{"a":"S"}"#, Ok(r#"{"a":"S"}"#)),
            (text("enum", json!(["B", "S"])), r#"{"a":"X"}"#, Err((mismatch, "none of B, S"))),
            (text("const", json!("B")), r#"{"a":"b"}"#, Err((mismatch, "none of B"))),
            (text("maxLength", json!(2)), r#"{"a":"üü"}"#, Ok(r#"{"a":"üü"}"#)),
            (text("maxLength", json!(2)), r#"{"a":"üüü"}"#, Err((mismatch, "3 characters"))),
            (text("pattern", json!("^[a-z]+$")), r#"{"a":"abc"}"#, Ok(r#"{"a":"abc"}"#)),
            (text("pattern", json!("^[a-z]+$")), r#"{"a":"ABC"}"#, Err((mismatch, "/a"))),
            (
                json!({"a": {"type": "array", "items": {"type": "integer"}, "uniqueItems": true}}),
                r#"{"a":[1,1]}"#,
                Err((mismatch, "/a")),
            ),
            (
                json!({"a": {"type": "object", "properties": {"x": {"type": "integer"}}, "additionalProperties": false}}),
                r#"{"a":{"x":1,"y":2}}"#,
                Err((mismatch, "field `a`: the schema allows no member `y`")),
            ),
            (
                json!({"a": {"type": "object", "properties": {"x": {"type": "integer"}},
                             "additionalProperties": {"type": "string"}}}),
                r#"{"a":{"x":1,"y":2}}"#,
                Err((mismatch, "/a/y")),
            ),
        ],
        object,
    );
    let old = json!({"$schema": "http://json-schema.org/draft-04/schema#", "type": "object", "properties":
        {"a": {"type": "integer", "minimum": 1, "exclusiveMinimum": true}}});
    let old = decoder(&old).expect("draft-04");
    assert_eq!(old.decode(&[Some(br#"{"a":1}"#), Some(br#"{"a":2}"#)]).rejected.len(), 1);
}

#[test]
fn a_rejected_row_leaves_its_neighbours_alone() {
    let schema = object(json!({
        "a": {"type": "string"},
        "l": {"type": "array", "items": {"type": "object", "properties": {"s": {"type": "string"}}}},
        "m": {"type": "object", "additionalProperties": {"type": "array", "items": {"type": "integer"}}},
        "b": {"type": "boolean"},
        "o": {"type": "object", "properties": {"d": {"type": "string", "format": "date"}}},
        "n": {"type": "integer"},
    }));
    let decoder = decoder(&schema).expect("supported");
    let good = |i: usize| {
        format!(
            r#"{{"a":"row {i}","l":[{{"s":"{i}"}},{{}}],"m":{{"k{i}":[{i},2]}},"b":true,"o":{{"d":"2024-01-01"}},"n":{i}}}"#
        )
    };
    let bad = good(1).replace("\"n\":1", "\"n\":\"x\"");
    let cut: Vec<String> = (1..bad.len()).map(|end| bad[..end].to_owned()).collect();
    let mut values = Vec::new();
    let mut expected = Vec::new();
    for (i, broken) in cut.iter().enumerate() {
        expected.push(good(i));
        values.push(Some(broken.as_bytes()));
    }
    let goods = expected.clone();
    let mut mixed = Vec::new();
    for (broken, fine) in values.iter().zip(&goods) {
        mixed.extend([*broken, Some(fine.as_bytes()), None]);
    }
    let decoded = decoder.decode(&mixed);
    assert_eq!(rows(&decoded), expected);
    assert_eq!(decoded.rejected.len(), 2 * goods.len());
    assert!(decoded.rejected.iter().all(|r| r.row % 3 != 1));
    assert_eq!(decoded.rejected[1].code, RejectCode::NullValue);
    decoded.batch.column(0).to_data().validate_full().expect("sound");
}

#[test]
fn order_and_presence_of_members_do_not_matter() {
    let schema = object(json!({"a": {"type": "integer"}, "b": {"type": "number"}, "c": {"type": "string"}}));
    let decoder = decoder(&schema).expect("supported");
    let values: Vec<String> = (0..200)
        .map(|i| match i % 5 {
            0 => format!(r#"{{"a":{i},"b":1.0,"c":"x"}}"#),
            1 => format!(r#"{{"c":"x","a":{i},"b":1.0}}"#),
            2 => format!(r#"{{"zz":[],"b":1.0, "a": {i},"c":"x"}}"#),
            3 => format!(r#"{{"a":{i},"c":"x","b":1e0}}"#),
            _ => format!(r#"{{"b":1,"x":1,"y":"2","a":{i},"c":"\u0078"}}"#),
        })
        .collect();
    let values: Vec<_> = values.iter().map(|v| Some(v.as_bytes())).collect();
    let decoded = decoder.decode(&values);
    assert!(decoded.rejected.is_empty());
    for (i, row) in rows(&decoded).iter().enumerate() {
        assert_eq!(row, &format!(r#"{{"a":{i},"b":1.0,"c":"x"}}"#));
    }
}

#[test]
fn limits_hold() {
    let decoder = decoder(&object(json!({"a": {"type": "integer"}}))).expect("supported");
    let nested = |levels: usize| format!(r#"{{"x":{}{},"a":1}}"#, "[".repeat(levels), "]".repeat(levels));
    let (fits, deep) = (nested(63), nested(64));
    let abyss = format!(r#"{{"x":{}"#, "[".repeat(1 << 20));
    let large = vec![b' '; VALUE_BYTES_MAX + 1];
    let values = [fits.as_bytes(), deep.as_bytes(), abyss.as_bytes(), &large, &[0xff], b"{\"a\":\"\xc3\"}"];
    let decoded = decoder.decode(&values.map(Some));
    let codes: Vec<_> = decoded.rejected.iter().map(|r| (r.row, r.code.as_str())).collect();
    assert_eq!(
        codes,
        [(1, "too_large"), (2, "too_large"), (3, "too_large"), (4, "malformed"), (5, "malformed")]
    );
    assert_eq!(decoder.decode(&[]).batch.num_rows(), 0);
}

#[test]
fn trades_decode() {
    let schema = json!({
        "$schema": "http://json-schema.org/draft-07/schema#", "type": "object",
        "properties": {
            "trade_id": {"type": "string"}, "symbol": {"type": "string"}, "price": {"type": "number"},
            "qty": {"type": "integer"}, "side": {"type": "string", "enum": ["BUY", "SELL"]},
            "ts_event": {"type": "string", "format": "date-time"}, "notes": {"type": ["string", "null"]},
        },
        "required": ["trade_id", "symbol", "price", "qty", "side", "ts_event"],
    });
    let value = br#"{"trade_id": "bdd640fb-0667-4ad1-9c80-317fa3b1799d", "symbol": "BRK.B", "price": 499.95, "qty": 3, "side": "SELL", "ts_event": "2024-05-01T12:00:00.000001Z"}"#;
    let decoded = decoder(&schema).expect("supported").decode(&[Some(value)]);
    assert!(decoded.rejected.is_empty(), "{:?}", decoded.rejected);
    let batch = decoded.batch;
    assert_eq!(batch.column(1).as_string::<i32>().value(0), "BRK.B");
    assert_eq!(batch.column(2).as_primitive::<Float64Type>().value(0), 499.95);
    assert_eq!(batch.column(3).as_primitive::<Int64Type>().value(0), 3);
    assert_eq!(batch.column(5).as_primitive::<TimestampMicrosecondType>().value(0), 1_714_564_800_000_001);
    assert!(batch.column(6).is_null(0));
}

fn referring(document: &Value, references: &[(&str, Value)]) -> ResolvedSchema {
    let registered = |id: i32, schema: &Value| {
        Arc::new(RegisteredSchema {
            id,
            schema_type: SchemaType::Json,
            schema: schema.to_string(),
            references: Vec::new(),
        })
    };
    let named = references.iter().zip(1..).map(|((name, schema), id)| crate::registry::ReferencedSchema {
        name: (*name).to_owned(),
        schema: registered(id, schema),
    });
    ResolvedSchema { schema: registered(7, document), references: named.collect() }
}

#[test]
fn references_lead_into_other_documents() {
    let number = json!({"type": "number", "minimum": 0});
    let money = json!({"$id": "https://x.org/money.json", "definitions": {"code": {"enum": ["EUR", "USD"]}},
        "type": "object", "required": ["amount"],
        "properties": {"amount": {"$ref": "number.json"}, "code": {"$ref": "#/definitions/code"}}});
    for name in ["money.json", "https://x.org/money.json"] {
        let order = json!({"$id": "https://x.org/order.json", "type": "object", "properties": {
            "price": {"$ref": name}, "in": {"$ref": format!("{name}#/definitions/code")},
            "self": {"$ref": "https://x.org/order.json#/definitions/here"}},
            "definitions": {"here": {"type": "boolean"}}});
        let references = [("number.json", number.clone()), (name, money.clone())];
        let resolved = referring(&order, &references);
        crate::check_schema(&resolved).expect("valid");
        let decoder = Decoder::new(&resolved, &DecodeOptions::default()).expect("supported");
        let good = br#"{"price":{"amount":1.5,"code":"EUR"},"in":"USD","self":true}"#;
        let bad = br#"{"price":{"amount":-1}}"#;
        let decoded =
            decoder.decode(&[Some(good), Some(bad), Some(br#"{"price":{}}"#), Some(br#"{"in":"X"}"#)]);
        assert_eq!(rows(&decoded), [String::from_utf8_lossy(good)]);
        let messages: Vec<_> = decoded.rejected.iter().map(|r| r.message.as_str()).collect();
        assert!(messages[0].contains("field `price.amount`: -1 is not at least 0"), "{messages:?}");
        assert!(messages[1].contains("field `price.amount`: is missing"), "{messages:?}");
        assert!(messages[2].contains("none of EUR, USD"), "{messages:?}");
    }
    let there = json!({"type": "object", "properties": {"back": {"$ref": "order.json"}}});
    let resolved = referring(&object(json!({"a": {"$ref": "there.json"}})), &[("there.json", there)]);
    let refused = Decoder::new(&resolved, &DecodeOptions::default()).expect_err("not there").to_string();
    assert!(refused.contains("$.a.back: `$ref` to order.json"), "{refused}");
}

#[test]
fn all_of_is_merged() {
    let mismatch = "schema_mismatch";
    let base = json!({"type": "object", "properties": {"id": {"type": "integer"}, "n": {"type": "number"}}, "required": ["id"]});
    let text = json!({"allOf": [{"type": "string"}, {"minLength": 2}, {"maxLength": 3}]});
    let ranges =
        json!({"allOf": [{"type": "integer", "minimum": 1}, {"type": ["number", "null"], "minimum": 5}]});
    check(
        vec![
            (text.clone(), r#"{"id":1,"a":"abc"}"#, Ok(r#"{"id":1,"a":"abc"}"#)),
            (text.clone(), r#"{"id":1,"a":"a"}"#, Err((mismatch, "fewer than 2"))),
            (text.clone(), r#"{"id":1,"a":"abcd"}"#, Err((mismatch, "more than 3"))),
            (text, r#"{"a":"abc"}"#, Err((mismatch, "field `id`: is missing"))),
            (ranges.clone(), r#"{"id":1,"n":2,"a":5}"#, Ok(r#"{"id":1,"n":2,"a":5}"#)),
            (ranges.clone(), r#"{"id":1,"a":2}"#, Err((mismatch, "/a"))),
            (ranges.clone(), r#"{"id":1,"n":2.5,"a":5}"#, Err((mismatch, "field `n`: expected an integer"))),
            (ranges, r#"{"id":1,"n":2,"a":5,"more":1}"#, Ok(r#"{"id":1,"n":2,"a":5}"#)),
        ],
        |a| {
            json!({"allOf": [base, {"$ref": "#/definitions/more"}],
            "definitions": {"more": {"properties": {"a": a, "n": {"type": "integer"}}}}})
        },
    );
    let closed = json!({"allOf": [{"type": "object", "properties": {"a": {"type": "integer"}}, "additionalProperties": false},
        {"properties": {"b": {"type": "integer"}}}]});
    let decoded =
        decoder(&closed).expect("supported").decode(&[Some(br#"{"a":1}"#), Some(br#"{"a":1,"b":2}"#)]);
    assert_eq!(rows(&decoded), [r#"{"a":1}"#]);
    assert!(decoded.rejected[0].message.contains("'b'"), "{:?}", decoded.rejected);
    let beside = json!({"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object",
        "properties": {"a": {"$ref": "#/$defs/i", "maximum": 5}}, "$defs": {"i": {"type": "integer"}}});
    let decoded = decoder(&beside).expect("supported").decode(&[Some(br#"{"a":5}"#), Some(br#"{"a":6}"#)]);
    assert_eq!(rows(&decoded), [r#"{"a":5}"#]);
    let map = json!({"type": "object", "properties": {"m": {"allOf": [
        {"type": "object", "additionalProperties": {"type": ["integer", "null"]}}, {"maxProperties": 1}]}}});
    let decoded = decoder(&map)
        .expect("supported")
        .decode(&[Some(br#"{"m":{"x":1}}"#), Some(br#"{"m":{"x":1,"y":2}}"#)]);
    assert_eq!(rows(&decoded), [r#"{"m":{"x":1}}"#]);
}

#[test]
fn maps_of_maps_with_doubled_keys_end() {
    let (mut schema, mut value) = (json!({"type": "integer"}), "1".to_owned());
    for _ in 0..27 {
        schema = json!({"type": "object", "additionalProperties": schema});
        value = format!(r#"{{"k":{value},"k":{value}}}"#, value = if value == "1" { "1" } else { "{}" })
            .replacen(r#""k":{}}"#, &format!(r#""k":{value}}}"#), 1);
    }
    let decoder = decoder(&object(json!({"m": schema}))).expect("supported");
    let value = format!(r#"{{"m":{value}}}"#);
    let decoded = decoder.decode(&[Some(value.as_bytes()), Some(br#"{"m":{"k":{},"k":{}}}"#)]);
    assert_eq!(decoded.rejected[0].code, RejectCode::TooLarge, "{:?}", decoded.rejected);
    assert_eq!(decoded.batch.num_rows(), 1);
}

#[test]
fn a_value_that_is_no_object_is_one_column() {
    let bare = |schema: &Value| {
        let schema = RegisteredSchema {
            id: 7,
            schema_type: SchemaType::Json,
            schema: schema.to_string(),
            references: Vec::new(),
        };
        let options = DecodeOptions { bare_name: Some("key".into()), ..DecodeOptions::default() };
        Decoder::new(&ResolvedSchema::alone(schema), &options).expect("a decoder")
    };
    let one = bare(&json!({"type": ["integer", "null"], "maximum": 9}));
    assert!(one.is_bare());
    let decoded = one.decode(&[Some(b" 7 "), Some(b"null"), Some(b"10"), Some(b"\"x\""), Some(b"{}")]);
    assert_eq!(rows(&decoded), [r#"{"key":7}"#, "{}"]);
    assert_eq!(decoded.rejected.len(), 3);
    assert_eq!(decoded.rejected[1].message, "field `key`: expected an integer, found string \"x\"");
    let list = bare(&json!({"type": "array", "items": {"type": "string", "maxLength": 2, "minLength": 1}}));
    let decoded = list.decode(&[Some(br#"["a"]"#), Some(br#"["abc"]"#)]);
    assert_eq!((rows(&decoded), decoded.rejected[0].row), (vec![r#"{"key":["a"]}"#.to_owned()], 1));
    assert!(!bare(&object(json!({"a": {"type": "string"}}))).is_bare());
    assert!(decoder(&json!({"type": "string"})).is_err(), "unless somebody wants it");
}

#[test]
fn a_short_value_cannot_fill_the_memory() {
    let members: serde_json::Map<_, _> =
        (0..1000).map(|i| (format!("m{i}"), json!({"type": "integer"}))).collect();
    let wide = object(Value::Object(members));
    let list = decoder(&object(json!({"l": {"type": "array", "items": wide}}))).expect("a decoder");
    let map = json!({"type": "object", "additionalProperties": wide});
    let map = decoder(&object(json!({"m": map}))).expect("a decoder");
    let items = vec!["{}"; 100_000].join(",");
    let entries: Vec<String> = (0..100_000).map(|i| format!(r#""{i}":{{}}"#)).collect();
    for (decoder, value) in
        [(list, format!(r#"{{"l":[{items}]}}"#)), (map, format!(r#"{{"m":{{{}}}}}"#, entries.join(",")))]
    {
        let decoded = decoder.decode(&[Some(value.as_bytes())]);
        assert_eq!(decoded.rejected[0].code, RejectCode::TooLarge);
    }
}
