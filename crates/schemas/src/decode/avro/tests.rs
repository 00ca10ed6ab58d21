use std::sync::Arc;

use apache_avro::types::Value as Avro;
use apache_avro::{Decimal, Schema, to_avro_datum};
use arrow::array::{Array, AsArray};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Field, Float32Type, Int32Type, Int64Type, Time64MicrosecondType,
    TimeUnit, TimestampMicrosecondType,
};
use serde_json::{Value, json};

use crate::registry::{ReferencedSchema, RegisteredSchema, ResolvedSchema, SchemaType};
use crate::{AVRO_ALIASES_KEY, DecodeOptions, Decoded, Decoder, RejectCode, SetupError};

mod differential;

fn registered(id: i32, schema: &Value) -> Arc<RegisteredSchema> {
    let schema = schema.to_string();
    Arc::new(RegisteredSchema { id, schema_type: SchemaType::Avro, schema, references: Vec::new() })
}

fn decoder(schema: &Value) -> Result<Decoder, SetupError> {
    let resolved = ResolvedSchema::alone(registered(7, schema));
    crate::avro::check(&resolved).expect("valid Avro");
    Decoder::new(&resolved, &DecodeOptions::default())
}

fn record(fields: Value) -> Value {
    json!({"type": "record", "name": "r", "namespace": "n", "fields": fields})
}

fn one(field_type: Value) -> Value {
    record(json!([{"name": "a", "type": field_type}]))
}

fn utc() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()))
}

fn encoded(schema: &Value, fields: Vec<(&str, Avro)>) -> Vec<u8> {
    let schema = Schema::parse_str(&schema.to_string()).expect("Avro");
    let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    to_avro_datum(&schema, Avro::Record(fields)).expect("encoded")
}

#[test]
fn types_map() {
    let nullable = |name: &str, t: DataType| Field::new(name, t, true);
    let logical = |t: &str, name: &str| json!({"type": t, "logicalType": name});
    let fixed =
        |size: u32, name: &str| json!({"type": "fixed", "name": "f", "size": size, "logicalType": name});
    let micros = TimeUnit::Microsecond;
    for (schema, expected) in [
        (json!("boolean"), DataType::Boolean),
        (json!("int"), DataType::Int32),
        (json!({"type": "long"}), DataType::Int64),
        (json!("float"), DataType::Float32),
        (json!("double"), DataType::Float64),
        (json!("bytes"), DataType::Binary),
        (json!("string"), DataType::Utf8),
        (json!({"type": "enum", "name": "e", "symbols": ["A"]}), DataType::Utf8),
        (fixed(5, ""), DataType::FixedSizeBinary(5)),
        (fixed(16, "uuid"), DataType::FixedSizeBinary(16)),
        (fixed(15, "uuid"), DataType::FixedSizeBinary(15)),
        (logical("string", "uuid"), DataType::FixedSizeBinary(16)),
        (logical("int", "date"), DataType::Date32),
        (logical("int", "time-millis"), DataType::Time64(micros)),
        (logical("long", "time-micros"), DataType::Time64(micros)),
        (logical("long", "timestamp-millis"), utc()),
        (logical("long", "timestamp-micros"), utc()),
        (logical("long", "timestamp-nanos"), utc()),
        (logical("long", "local-timestamp-millis"), DataType::Timestamp(micros, None)),
        (logical("long", "local-timestamp-micros"), DataType::Timestamp(micros, None)),
        (logical("long", "local-timestamp-nanos"), DataType::Timestamp(micros, None)),
        (logical("long", "date"), DataType::Int64),
        (logical("string", "unheard-of"), DataType::Utf8),
        (
            json!({"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 10}),
            DataType::Decimal128(38, 10),
        ),
        (
            json!({"type": "fixed", "name": "d", "size": 16, "logicalType": "decimal", "precision": 38}),
            DataType::Decimal128(38, 0),
        ),
        (
            json!({"type": "fixed", "name": "d", "size": 2, "logicalType": "decimal", "precision": 5}),
            DataType::FixedSizeBinary(2),
        ),
        (json!({"type": "bytes", "logicalType": "decimal", "precision": 2, "scale": 3}), DataType::Binary),
        (json!(["null", "long"]), DataType::Int64),
        (json!(["string", "null"]), DataType::Utf8),
        (json!(["int"]), DataType::Int32),
        (
            json!(["null", "long", "string", {"type": "record", "name": "x.Inner", "fields": [
                {"name": "q", "type": "int"}]}]),
            DataType::Struct(
                vec![
                    nullable("long", DataType::Int64),
                    nullable("string", DataType::Utf8),
                    nullable("Inner", DataType::Struct(vec![nullable("q", DataType::Int32)].into())),
                ]
                .into(),
            ),
        ),
        (
            json!([{"type": "enum", "name": "x.E", "symbols": ["A"]}, {"type": "enum", "name": "y.E", "symbols": ["B"]}]),
            DataType::Struct(vec![nullable("x_E", DataType::Utf8), nullable("y_E", DataType::Utf8)].into()),
        ),
        (
            json!({"type": "array", "items": {"type": "array", "items": ["null", "int"]}}),
            DataType::List(Arc::new(nullable(
                "element",
                DataType::List(Arc::new(nullable("element", DataType::Int32))),
            ))),
        ),
    ] {
        let decoder = decoder(&one(schema.clone())).expect("supported");
        let column = decoder.columns().field(0);
        assert_eq!(column.data_type(), &expected, "{schema}");
        assert!(column.is_nullable());
        let is_uuid = column.metadata().get("ARROW:extension:name").is_some_and(|n| n == "arrow.uuid");
        assert_eq!(is_uuid, expected == DataType::FixedSizeBinary(16), "{schema}");
    }
    let map = decoder(&one(json!({"type": "map", "values": "double"}))).expect("supported");
    assert_eq!(
        map.columns().field(0).data_type().to_string(),
        "Map(\"key_value\": non-null Struct(\"key\": non-null Utf8, \"value\": Float64), unsorted)"
    );
}

#[test]
fn what_has_no_columns_is_passed_over_or_refused_by_path() {
    let schema = record(json!([
        {"name": "n", "type": "null"},
        {"name": "d", "type": {"type": "fixed", "name": "dur", "size": 12, "logicalType": "duration"}},
        {"name": "l", "type": {"type": "array", "items": "null"}},
        {"name": "m", "type": {"type": "map", "values": ["null", "dur"]}},
        {"name": "e", "type": {"type": "record", "name": "empty", "fields": []}},
        {"name": "a", "type": "int"},
    ]));
    let compiled = decoder(&schema).expect("supported");
    assert_eq!(compiled.columns().fields().len(), 1);
    let mut value = vec![1_u8; 12];
    // An array of very many nulls, a map of one duration in a sized block, one of a null.
    value.extend_from_slice(b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01\0");
    value.extend_from_slice(&[1, 30, 2, b'k', 2]);
    value.extend_from_slice(&[0; 12]);
    value.extend_from_slice(&[2, 2, b'l', 0, 0]);
    value.push(84);
    let decoded = compiled.decode(&[Some(&value)]);
    assert_eq!(decoded.rejected, []);
    assert_eq!(decoded.batch.column(0).as_primitive::<Int32Type>().value(0), 42);
    let tree = json!({"type": "record", "name": "Tree", "fields": [
        {"name": "left", "type": ["null", "n.Tree"]}], "namespace": "n"});
    for (schema, path, word) in [
        (json!("string"), "$", "must be a record"),
        (json!({"type": "array", "items": "int"}), "$", "must be a record"),
        (record(json!([{"name": "n", "type": "null"}])), "$", "must be a record"),
        (tree, "$.left", "n.Tree contains itself"),
        (one(json!({"type": "bytes", "logicalType": "decimal", "precision": 39})), "$.a", "39 digits"),
    ] {
        let SetupError::Unsupported { id, path: found, reason } = decoder(&schema).expect_err(word);
        assert_eq!((id, found.as_str()), (7, path), "{schema}: {reason}");
        assert!(reason.contains(word), "{schema}: {reason}");
    }
}

#[test]
fn types_are_found_in_references() {
    let money = json!({"type": "record", "name": "Money", "namespace": "shop", "fields": [
        {"name": "amount", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}},
        {"name": "currency", "type": {"type": "enum", "name": "Currency", "symbols": ["EUR", "USD"]}}]});
    let order = json!({"type": "record", "name": "Order", "namespace": "shop", "fields": [
        {"name": "price", "type": "Money"}, {"name": "paid", "type": ["null", "shop.Currency"]}]});
    let resolved = ResolvedSchema {
        schema: registered(2, &order),
        references: vec![ReferencedSchema { name: "shop.Money".into(), schema: registered(1, &money) }],
    };
    crate::avro::check(&resolved).expect("valid");
    let decoder = Decoder::new(&resolved, &DecodeOptions::default()).expect("supported");
    // 12.34 EUR, paid in USD
    let decoded = decoder.decode(&[Some(&[4, 0x04, 0xd2, 0, 2, 2])]);
    assert_eq!(decoded.rejected, []);
    let price = decoded.batch.column(0).as_struct();
    assert_eq!(price.column(0).as_primitive::<Decimal128Type>().value_as_string(0), "12.34");
    assert_eq!(price.column(1).as_string::<i32>().value(0), "EUR");
    assert_eq!(decoded.batch.column(1).as_string::<i32>().value(0), "USD");
    let alone = ResolvedSchema::alone(registered(2, &order));
    let refused = crate::avro::check(&alone).expect_err("no Money");
    assert!(refused.contains("Money"), "{refused}");
    let refused = Decoder::new(&alone, &DecodeOptions::default()).expect_err("no Money").to_string();
    assert!(refused.contains("$.price: type Money is not defined"), "{refused}");
}

#[test]
fn aliases_are_told() {
    let schema =
        record(json!([{"name": "a", "type": "int", "aliases": ["b", "c"]}, {"name": "x", "type": "int"}]));
    let decoder = decoder(&schema).expect("supported");
    assert_eq!(
        decoder.columns().field(0).metadata().get(AVRO_ALIASES_KEY).map(String::as_str),
        Some(r#"["b","c"]"#)
    );
    assert!(decoder.columns().field(1).metadata().is_empty());
}

/// The one column of one value.
fn column(schema: &Value, value: Avro) -> Decoded {
    let schema = one(schema.clone());
    let bytes = encoded(&schema, vec![("a", value)]);
    decoder(&schema).expect("supported").decode(&[Some(&bytes)])
}

#[test]
fn logical_types_have_their_values() {
    let logical = |t: &str, name: &str| json!({"type": t, "logicalType": name});
    let ts = |schema: Value, value: Avro| {
        column(&schema, value).batch.column(0).as_primitive::<TimestampMicrosecondType>().value(0)
    };
    assert_eq!(ts(logical("long", "timestamp-millis"), Avro::TimestampMillis(-5)), -5_000);
    assert_eq!(ts(logical("long", "timestamp-micros"), Avro::TimestampMicros(-5)), -5);
    assert_eq!(ts(logical("long", "timestamp-nanos"), Avro::TimestampNanos(-1)), -1);
    assert_eq!(ts(logical("long", "local-timestamp-millis"), Avro::LocalTimestampMillis(7)), 7_000);
    assert_eq!(ts(logical("long", "local-timestamp-nanos"), Avro::LocalTimestampNanos(1_999)), 1);
    let time = |schema: Value, value: Avro| {
        column(&schema, value).batch.column(0).as_primitive::<Time64MicrosecondType>().value(0)
    };
    assert_eq!(time(logical("int", "time-millis"), Avro::TimeMillis(86_399_999)), 86_399_999_000);
    assert_eq!(time(logical("long", "time-micros"), Avro::TimeMicros(1)), 1);
    let date = column(&logical("int", "date"), Avro::Date(-1));
    assert_eq!(date.batch.column(0).as_primitive::<Date32Type>().value(0), -1);
    let uuid = uuid::Uuid::from_u128(0x550e_8400_e29b_41d4_a716_4466_5544_0000);
    let text = column(&logical("string", "uuid"), Avro::Uuid(uuid));
    assert_eq!(text.batch.column(0).as_fixed_size_binary().value(0), uuid.as_bytes());
    let decimal = json!({"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 3});
    for (bytes, expected) in [
        (vec![0x04, 0xd2], "1.234"),
        (vec![0xff], "-0.001"),
        ([vec![0xff; 20], vec![0x80]].concat(), "-0.128"),
        (
            99_999_999_999_999_999_999_999_999_999_999_999_999_i128.to_be_bytes().to_vec(),
            "99999999999999999999999999999999999.999",
        ),
    ] {
        let decoded = column(&decimal, Avro::Decimal(Decimal::from(&bytes)));
        let values = decoded.batch.column(0).as_primitive::<Decimal128Type>();
        assert_eq!(values.value_as_string(0), expected, "{bytes:?}: {:?}", decoded.rejected);
    }
    let empty = decoder(&one(decimal.clone())).expect("supported").decode(&[Some(b"\0")]);
    assert_eq!(empty.batch.column(0).as_primitive::<Decimal128Type>().value(0), 0);
    for (schema, value, words) in [
        (decimal.clone(), Avro::Decimal(Decimal::from(10_i128.pow(38).to_be_bytes())), "38 digits"),
        (
            decimal,
            Avro::Decimal(Decimal::from([0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])),
            "38 digits",
        ),
        (logical("int", "time-millis"), Avro::TimeMillis(86_400_000), "no time of one day"),
        (logical("long", "timestamp-millis"), Avro::TimestampMillis(i64::MAX), "beyond 64 bits"),
    ] {
        let decoded = column(&schema, value);
        assert_eq!(decoded.rejected[0].code, RejectCode::SchemaMismatch);
        let message = &decoded.rejected[0].message;
        assert!(message.starts_with("field `a`: ") && message.contains(words), "{message}");
    }
    let schema = one(logical("string", "uuid"));
    let decoded = decoder(&schema).expect("supported").decode(&[Some(b"\x06abc")]);
    assert_eq!(decoded.rejected[0].message, "field `a`: expected a UUID, found \"abc\"");
}

#[test]
fn unions_have_one_value() {
    let schema = one(
        json!(["string", "null", "long", {"type": "fixed", "name": "d", "size": 12, "logicalType": "duration"}]),
    );
    let decoder = decoder(&schema).expect("supported");
    let mut duration = vec![6];
    duration.extend_from_slice(&[9; 12]);
    let values: [&[u8]; 5] = [b"\0\x04hi", b"\x02", b"\x04\x0a", &duration, b"\x08"];
    let decoded = decoder.decode(&values.map(Some));
    assert_eq!(decoded.rejected.len(), 1);
    assert_eq!(decoded.rejected[0].message, "the union's index 4 is not one of its 4 types");
    let union = decoded.batch.column(0).as_struct();
    assert_eq!(union.column_names(), ["string", "long"]);
    let (texts, longs) = (union.column(0).as_string::<i32>(), union.column(1).as_primitive::<Int64Type>());
    assert_eq!(texts.iter().collect::<Vec<_>>(), [Some("hi"), None, None, None]);
    assert_eq!(longs.iter().collect::<Vec<_>>(), [None, None, Some(5), None]);
    assert_eq!((0..4).map(|i| union.is_null(i)).collect::<Vec<_>>(), [false, true, false, false]);
}

#[test]
fn blocks_of_lists_and_maps_are_joined() {
    let schema = record(json!([
        {"name": "l", "type": {"type": "array", "items": "int"}},
        {"name": "m", "type": {"type": "map", "values": "string"}},
    ]));
    let decoder = decoder(&schema).expect("supported");
    // A list of two blocks, the second with its length; a map in which a key comes twice.
    let value = b"\x04\x02\x04\x01\x02\x06\0\x04\x02k\x02a\x02l\x02b\x02\x02k\x02c\0";
    let decoded = decoder.decode(&[Some(value), Some(b"\0\0")]);
    assert_eq!(decoded.rejected, []);
    let lists = decoded.batch.column(0).as_list::<i32>();
    assert_eq!(lists.value(0).as_primitive::<Int32Type>().values(), &[1, 2, 3]);
    assert_eq!(lists.value(1).len(), 0);
    let entries = decoded.batch.column(1).as_map().value(0);
    let pairs: Vec<_> =
        entries.column(0).as_string::<i32>().iter().zip(entries.column(1).as_string::<i32>()).collect();
    assert_eq!(pairs, [(Some("l"), Some("b")), (Some("k"), Some("c"))], "the last one counts");
}

#[test]
fn one_bad_value_rejects_itself_alone() {
    let schema = record(json!([
        {"name": "s", "type": "string"},
        {"name": "f", "type": "float"},
        {"name": "b", "type": "boolean"},
        {"name": "e", "type": {"type": "enum", "name": "e", "symbols": ["A", "B"]}},
        {"name": "l", "type": {"type": "array", "items": "int"}},
    ]));
    let decoder = decoder(&schema).expect("supported");
    let good = b"\x04hi\0\0\x80\x3f\x01\x02\x02\x06\0";
    let wide = b"\x04hi\0\0\x80\x3f\x01\x02\x02\xfe\xff\xff\xff\xff\x01\0";
    let bad: Vec<(Option<&[u8]>, &str, &str)> = vec![
        (None, "null_value", "no value"),
        (Some(b""), "malformed", "ends at byte 0 within a number"),
        (Some(b"\x7e"), "malformed", "a string at byte 0 says that it has 63 bytes, but 0 are left"),
        (Some(b"\x01"), "malformed", "-1 bytes"),
        (Some(b"\x04\xff\xfe"), "malformed", "a string is no UTF-8 at its byte 0"),
        (Some(b"\x04hi\0\0\x80"), "malformed", "within a float"),
        (Some(b"\x04hi\0\0\x80\x3f\x02"), "malformed", "the boolean at byte 7 is 0x02"),
        (Some(b"\x04hi\0\0\x80\x3f\x01\x04"), "malformed", "index 2 is not one of its 2 symbols"),
        (Some(b"\x04hi\0\0\x80\x3f\x01\x02\x7e"), "malformed", "a block of 63 items"),
        (Some(wide), "malformed", "more than 32 bits"),
        (Some(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f"), "malformed", "longer than 64 bits"),
        (Some(b"\x04hi\0\0\x80\x3f\x01\x02\x02\x06\0X"), "malformed", "1 bytes follow"),
    ];
    let mut values: Vec<Option<&[u8]>> = Vec::new();
    for (value, ..) in &bad {
        values.extend([Some(good.as_slice()), *value]);
    }
    let decoded = decoder.decode(&values);
    assert_eq!(decoded.batch.num_rows(), bad.len());
    assert_eq!(decoded.rejected.len(), bad.len());
    for (index, ((_, code, words), rejected)) in bad.iter().zip(&decoded.rejected).enumerate() {
        assert_eq!(
            (rejected.row, rejected.code.as_str()),
            (2 * index + 1, *code),
            "{words}: {}",
            rejected.message
        );
        assert!(rejected.message.contains(words), "{words}: {}", rejected.message);
        assert_eq!(decoded.batch.column(0).as_string::<i32>().value(index), "hi");
        assert_eq!(decoded.batch.column(1).as_primitive::<Float32Type>().value(index), 1.0);
        assert_eq!(decoded.batch.column(3).as_string::<i32>().value(index), "B");
    }
}

#[test]
fn a_short_value_cannot_fill_the_memory() {
    let fields: Vec<Value> = (0..900).map(|i| json!({"name": format!("f{i}"), "type": "int"})).collect();
    let wide = json!({"type": "record", "name": "wide", "fields": fields});
    let schema = one(json!({"type": "array", "items": ["null", wide]}));
    let decoder = decoder(&schema).expect("supported");
    let mut value = vec![0x80, 0x80, 0x7a];
    value.extend(std::iter::repeat_n(0, 1_000_001));
    let decoded = decoder.decode(&[Some(&value), Some(b"\x04\0\0\0")]);
    assert_eq!(decoded.rejected[0].code, RejectCode::TooLarge, "{:?}", decoded.rejected);
    assert_eq!(decoded.batch.num_rows(), 1);
}

#[test]
fn texts_that_mean_the_same_are_the_same() {
    let normalized = |text: &str| crate::avro::normalized(&crate::avro::parse(text).expect("JSON"));
    let a = normalized(
        r#"{"type":"record","name":"r","fields":[{"name":"x","type":"int","default":{"b":1,"a":2}}]}"#,
    );
    let b = normalized(
        r#"{ "fields": [{"type":{"type":"int"},"default":{"b":1,"a":2},"name":"x"}], "name":"r", "type":"record"}"#,
    );
    assert_eq!(a.to_string(), b.to_string());
    let other = normalized(r#"{"type":"record","name":"r","fields":[{"name":"x","type":"long"}]}"#);
    assert_ne!(a.to_string(), other.to_string());
}

#[test]
fn a_value_that_is_no_record_is_one_column() {
    let named = |schema: &Value| {
        let options = DecodeOptions { bare_name: Some("key".into()), ..DecodeOptions::default() };
        Decoder::new(&ResolvedSchema::alone(registered(7, schema)), &options)
    };
    let written = |schema: &Value, value: Avro| {
        to_avro_datum(&Schema::parse_str(&schema.to_string()).expect("Avro"), value).expect("encoded")
    };
    for (schema, value, expected) in [
        (json!("string"), Avro::String("k".into()), DataType::Utf8),
        (json!({"type": "long"}), Avro::Long(-3), DataType::Int64),
        (json!({"type": "int", "logicalType": "date"}), Avro::Date(1), DataType::Date32),
        (json!(["null", "int"]), Avro::Union(1, Box::new(Avro::Int(5))), DataType::Int32),
    ] {
        let decoder = named(&schema).expect("a decoder");
        let bytes = written(&schema, value);
        let decoded = decoder.decode(&[Some(&bytes), Some(b"\x02\x01\x02\x03")]);
        assert!(decoder.is_bare() && decoded.batch.column(0).is_valid(0), "{schema}");
        assert_eq!(decoded.batch.schema().field(0).name(), "key");
        assert_eq!(decoded.batch.column(0).data_type(), &expected);
        assert_eq!(decoded.rejected[0].row, 1, "the whole of the bytes is the value");
    }
    let uuid = named(&json!({"type": "string", "logicalType": "uuid"})).expect("a decoder");
    assert_eq!(uuid.columns().field(0).extension_type_name(), Some("arrow.uuid"));
    assert!(named(&json!("null")).is_err() && decoder(&json!("string")).is_err());
    assert!(!named(&one(json!("int"))).expect("a decoder").is_bare());
}
