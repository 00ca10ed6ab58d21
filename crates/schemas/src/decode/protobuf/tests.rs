use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType};

use crate::registry::{RegisteredSchema, ResolvedSchema, SchemaType};
use crate::{DecodeOptions, Decoded, Decoder, RejectCode, SetupError};

mod differential;

fn resolved(text: &str) -> ResolvedSchema {
    ResolvedSchema::alone(Arc::new(RegisteredSchema {
        id: 7,
        schema_type: SchemaType::Protobuf,
        schema: format!("syntax = \"proto3\"; import \"google/protobuf/timestamp.proto\"; {text}"),
        references: Vec::new(),
    }))
}

fn decoder(text: &str) -> Result<Decoder, SetupError> {
    Decoder::new(&resolved(text), &DecodeOptions::default())
}

fn decode(text: &str, value: &[u8]) -> Decoded {
    decoder(text).expect("supported").decode(&[Some(value)])
}

/// Rows as JSON text.
fn rows(decoded: &Decoded) -> Vec<String> {
    let rows = crate::encode_rows(&decoded.batch).expect("rows of a decoder can be encoded");
    rows.iter().map(|row| String::from_utf8_lossy(row).into_owned()).collect()
}

#[test]
fn types_map() {
    let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()));
    for (field, expected) in [
        ("bool a = 1;", DataType::Boolean),
        ("float a = 1;", DataType::Float32),
        ("double a = 1;", DataType::Float64),
        ("string a = 1;", DataType::Utf8),
        ("bytes a = 1;", DataType::Binary),
        ("int32 a = 1;", DataType::Int32),
        ("sint32 a = 1;", DataType::Int32),
        ("sfixed32 a = 1;", DataType::Int32),
        ("int64 a = 1;", DataType::Int64),
        ("sint64 a = 1;", DataType::Int64),
        ("sfixed64 a = 1;", DataType::Int64),
        ("uint32 a = 1;", DataType::Int64),
        ("fixed32 a = 1;", DataType::Int64),
        ("uint64 a = 1;", DataType::Utf8),
        ("fixed64 a = 1;", DataType::Utf8),
        ("E a = 1; enum E { Z = 0; }", DataType::Utf8),
        ("google.protobuf.Timestamp a = 1;", utc),
    ] {
        let decoder = decoder(&format!("message M {{ {field} }}")).expect("supported");
        assert_eq!(decoder.columns().field(0).data_type(), &expected, "{field}");
        assert!(decoder.columns().field(0).is_nullable());
    }
    let nested = "message M { map<int32, N> m = 9; repeated N l = 1; message N { string x = 1; Empty gone = 2; } message Empty {} }";
    let decoder = decoder(nested).expect("supported");
    assert_eq!(
        decoder.columns().field(0).data_type().to_string(),
        "Map(\"key_value\": non-null Struct(\"key\": non-null Int32, \"value\": Struct(\"x\": Utf8, metadata: \
         {\"protobuf.field\": \"M.N#1\"})), unsorted)"
    );
    assert_eq!(decoder.columns().field(0).name(), "m", "in the order of the file");
    assert_eq!(
        decoder.columns().field(1).data_type().to_string(),
        "List(Struct(\"x\": Utf8, metadata: {\"protobuf.field\": \"M.N#1\"}), field: 'element')"
    );
}

#[test]
fn what_has_no_columns_is_refused_by_path() {
    for (text, path, word) in [
        ("message M { }", "$", "no fields"),
        ("message M { N n = 1; } message N { repeated M m = 1; }", "$.n.m[]", "message M contains itself"),
        ("message M { int32 = 1; }", "$", "schema.proto"),
    ] {
        let SetupError::Unsupported { id, path: found, reason } = decoder(text).expect_err(word);
        assert_eq!((id, found.as_str()), (7, path), "{text}: {reason}");
        assert!(reason.contains(word), "{text}: {reason}");
    }
    let group = "syntax = \"proto2\"; message M { optional group G = 1 { optional int32 x = 1; } }";
    let schema = RegisteredSchema { schema: group.into(), ..RegisteredSchema::clone(&resolved("").schema) };
    let refused =
        Decoder::new(&ResolvedSchema::alone(schema), &DecodeOptions::default()).expect_err("a group");
    assert!(refused.to_string().contains("groups"), "{refused}");
}

#[test]
fn a_message_is_chosen_by_name() {
    let text = "package p; message A { int32 a = 1; } message B { message C { int32 c = 1; } C c = 1; }";
    let named = |name: &str| {
        let options = DecodeOptions { protobuf_name: Some(name.into()), ..DecodeOptions::default() };
        Decoder::new(&resolved(text), &options).map(|d| d.columns().field(0).name().clone())
    };
    assert_eq!(named("p.A").expect("A"), "a");
    assert_eq!(named("p.B.C").expect("C"), "c");
    assert!(named("B").expect_err("no package").to_string().contains("the file has p.A, p.B"));
    let by_index = crate::protobuf_message(&resolved(text), &[1, 0]).expect("found");
    assert_eq!(by_index, "p.B.C");
}

#[test]
fn presence_is_kept() {
    let text = "message M { int32 a = 1; optional int32 b = 2; string s = 3; E e = 4; uint64 u = 5; N n = 6;
        google.protobuf.Timestamp t = 7; oneof o { int32 x = 8; string y = 9; N z = 10; } repeated int32 r = 11;
        enum E { ZERO = 0; ONE = 1; } message N { int32 i = 1; } }";
    assert_eq!(rows(&decode(text, b"")), [r#"{"a":0,"s":"","e":"ZERO","u":"0","r":[]}"#]);
    let set = b"\x08\x01\x10\x00\x1a\x01s\x20\x01\x28\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x32\x00\x3a\x04\x08\x01\x10\x00";
    let row = r#"{"a":1,"b":0,"s":"s","e":"ONE","u":"18446744073709551615","n":{"i":0},"t":"1970-01-01T00:00:01.000000Z","r":[]}"#;
    assert_eq!(rows(&decode(text, set)), [row]);
    // The last member of a oneof counts, messages that come again are merged, unknown enum numbers are shown.
    for (value, part) in [
        (&b"\x40\x05\x4a\x01y"[..], r#""y":"y""#),
        (b"\x4a\x01y\x52\x02\x08\x07", r#""z":{"i":7}"#),
        (b"\x52\x02\x08\x07\x40\x05", r#""x":5"#),
        (b"\x52\x02\x08\x07\x40\x05\x52\x00", r#""z":{"i":0}"#),
        (b"\x32\x02\x08\x07\x32\x00", r#""n":{"i":7}"#),
        (b"\x32\x02\x08\x07\x32\x02\x08\x08", r#""n":{"i":8}"#),
        (b"\x20\x7b", r#""e":"123""#),
        (b"\x08\x01\x08\x02", r#""a":2"#),
        (b"\x58\x01\x5a\x02\x02\x03\x58\x04", r#""r":[1,2,3,4]"#),
        (b"\xf2\x07\x01x\x9b\x06\x08\x01\x9c\x06\x08\x09", r#""a":9"#),
    ] {
        let decoded = decode(text, value);
        assert_eq!(decoded.rejected, [], "{part}");
        assert!(rows(&decoded)[0].contains(part), "{part}: {:?}", rows(&decoded));
    }
    let both = rows(&decode(text, b"\x40\x05\x4a\x01y"));
    assert!(!both[0].contains("\"x\""), "{both:?}");
}

#[test]
fn numbers_have_their_values() {
    let text =
        "message M { sint32 a = 1; sint64 b = 2; sfixed32 c = 3; sfixed64 d = 4; uint32 e = 5; fixed32 f = 6;
        fixed64 g = 7; int32 h = 8; int64 i = 9; bool j = 10; }";
    let value =
        b"\x08\x01\x10\x03\x1d\xff\xff\xff\xff\x21\xfe\xff\xff\xff\xff\xff\xff\xff\x28\xff\xff\xff\xff\x0f\
        \x35\xff\xff\xff\xff\x39\xff\xff\xff\xff\xff\xff\xff\xff\x40\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\
        \x48\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x50\x02";
    let row = r#"{"a":-1,"b":-2,"c":-1,"d":-2,"e":4294967295,"f":4294967295,"g":"18446744073709551615","h":-1,"i":-1,"j":true}"#;
    assert_eq!(rows(&decode(text, value)), [row]);
}

#[test]
fn maps_keep_the_last_of_equal_keys() {
    let text = "message M { map<string, N> m = 1; map<int32, string> n = 2; message N { int32 i = 1; } }";
    // k→{1}, l→{} (no value), k→{2}; a default key.
    let value = b"\x0a\x07\x0a\x01k\x12\x02\x08\x01\x0a\x03\x0a\x01l\x12\x03\x12\x01z\x0a\x07\x0a\x01k\x12\x02\x08\x02";
    let decoded = decode(text, value);
    assert_eq!(decoded.rejected, []);
    let entries = decoded.batch.column(0).as_map().value(0);
    let values = entries.column(1).as_struct().column(0).as_primitive::<Int32Type>();
    let keys: Vec<_> = entries.column(0).as_string::<i32>().iter().flatten().collect();
    assert_eq!((keys, values.values().to_vec()), (vec!["l", "k"], vec![0, 2]));
    let entries = decoded.batch.column(1).as_map().value(0);
    assert_eq!(entries.column(0).as_primitive::<Int32Type>().values(), &[0]);
    assert_eq!(entries.column(1).as_string::<i32>().value(0), "z");
}

#[test]
fn one_bad_value_rejects_itself_alone() {
    let text = "message M { string s = 1; int32 i = 2; repeated N n = 3; google.protobuf.Timestamp t = 4;
        repeated fixed32 f = 5; message N { int64 x = 1; } }";
    let good: &[u8] = b"\x0a\x02hi\x10\x05\x1a\x02\x08\x01";
    let bad: Vec<(Option<&[u8]>, &str, &str)> = vec![
        (None, "null_value", "no value"),
        (Some(b"\x0a\x05hi"), "malformed", "the length at byte 1 says 5 bytes, but 2 are left"),
        (Some(b"\x0a"), "malformed", "ends at its byte 1 within a number"),
        (Some(b"\x0a\x02\xff\xfe"), "malformed", "no UTF-8 at its byte 0"),
        (Some(b"\x0a\x02hi\x12\x01x"), "schema_mismatch", "field `i`: has wire type Sized instead of Varint"),
        (Some(b"\x1a\x00\x1a\x03\x0a\x01x"), "schema_mismatch", "field `n[1].x`: has wire type"),
        (Some(b"\x00\x01"), "malformed", "no field number"),
        (Some(b"\x0f"), "malformed", "unknown wire type 7"),
        (Some(b"\x0c"), "schema_mismatch", "wire type GroupEnd"),
        (Some(b"\x7c"), "malformed", "a group 15 ends that did not begin"),
        (Some(b"\x7b\x7b\x7c"), "malformed", "within a group"),
        (Some(&[0x7b; 100]), "too_large", "nested deeper"),
        (Some(b"\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f"), "malformed", "longer than 64 bits"),
        (Some(b"\x22\x0a\x08\xff\xff\xff\xff\xff\xff\xff\xff\x7f"), "schema_mismatch", "no timestamp"),
        (Some(b"\x22\x0b\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), "schema_mismatch", "-1 ns"),
        (Some(b"\x2a\x05\0\0\0\0\0"), "malformed", "within a number"),
    ];
    let decoder = decoder(text).expect("supported");
    let mut values: Vec<Option<&[u8]>> = Vec::new();
    for (value, ..) in &bad {
        values.extend([Some(good), *value]);
    }
    let decoded = decoder.decode(&values);
    assert_eq!(decoded.rejected.len(), bad.len(), "{:?}", decoded.rejected);
    for (index, ((_, code, words), rejected)) in bad.iter().zip(&decoded.rejected).enumerate() {
        assert_eq!(
            (rejected.row, rejected.code.as_str()),
            (2 * index + 1, *code),
            "{words}: {}",
            rejected.message
        );
        assert!(rejected.message.contains(words), "{words}: {}", rejected.message);
        assert_eq!(decoded.batch.column(0).as_string::<i32>().value(index), "hi");
        let items = decoded.batch.column(2).as_list::<i32>().value(index);
        assert_eq!(items.as_struct().column(0).as_primitive::<Int64Type>().values(), &[1]);
        assert!(decoded.batch.column(3).as_primitive::<TimestampMicrosecondType>().is_null(index));
    }
}

#[test]
fn required_fields_must_be_there() {
    let text = "syntax = \"proto2\"; message M { required int32 a = 1; optional int32 b = 2 [default = 5]; }";
    let schema = RegisteredSchema { schema: text.into(), ..RegisteredSchema::clone(&resolved("").schema) };
    let decoder = Decoder::new(&ResolvedSchema::alone(schema), &DecodeOptions::default()).expect("supported");
    let decoded = decoder.decode(&[Some(b"\x10\x01"), Some(b"\x08\x01")]);
    assert_eq!(decoded.rejected[0].message, "field `a`: is missing, but required");
    assert_eq!(rows(&decoded), [r#"{"a":1}"#]);
}

#[test]
fn a_short_value_cannot_fill_the_memory() {
    let fields: String = (1..900).map(|i| format!("int32 f{i} = {i}; ")).collect();
    let decoder =
        decoder(&format!("message M {{ repeated W w = 1; }} message W {{ {fields} }}")).expect("supported");
    let decoded = decoder.decode(&[Some(&b"\x0a\x00".repeat(100_000)), Some(b"\x0a\x00\x0a\x00")]);
    assert_eq!(decoded.rejected[0].code, RejectCode::TooLarge, "{:?}", decoded.rejected);
    assert_eq!(decoded.batch.num_rows(), 1);
}

#[test]
fn maps_of_maps_with_doubled_keys_end() {
    let depth = 28;
    let messages: String =
        (0..depth).map(|i| format!("message M{i} {{ map<bool, M{}> m = 1; }} ", i + 1)).collect();
    let text = format!("{messages} message M{depth} {{ map<bool, bool> m = 1; }}");
    let decoder = decoder(&text).expect("supported");
    // Each map has its key twice, and the last entry holds the next map: the innermost would be read 2^28 times.
    let mut value = b"\x0a\x00\x0a\x02\x10\x01".to_vec();
    for _ in 0..depth {
        let mut entry = vec![0x12];
        length(value.len(), &mut entry);
        entry.extend_from_slice(&value);
        value = vec![0x0a, 0, 0x0a];
        length(entry.len(), &mut value);
        value.extend_from_slice(&entry);
    }
    let decoded = decoder.decode(&[Some(&value), Some(b"\x0a\x00\x0a\x00")]);
    assert_eq!(decoded.rejected[0].code, RejectCode::TooLarge, "{:?}", decoded.rejected);
    assert_eq!(decoded.batch.num_rows(), 1);
}

fn length(mut value: usize, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
