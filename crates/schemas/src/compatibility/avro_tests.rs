use std::sync::Arc;

use super::*;
use crate::registry::{ReferencedSchema, RegisteredSchema};

fn schema(text: &str) -> ResolvedSchema {
    let schema = RegisteredSchema {
        id: 1,
        schema_type: SchemaType::Avro,
        schema: text.into(),
        references: Vec::new(),
    };
    ResolvedSchema::alone(schema)
}

fn record(fields: &str) -> String {
    format!(r#"{{"type":"record","name":"r","namespace":"shop","fields":[{fields}]}}"#)
}

/// The kinds of what keeps the first from reading the second.
fn backward(new: &str, old: &str) -> Vec<&'static str> {
    let (new, old) = (schema(new), schema(old));
    for one in [&new, &old] {
        crate::validity::check(one).expect("valid");
    }
    differences(Compatibility::Backward, &new, &old).into_iter().map(|d| d.kind).collect()
}

#[test]
fn fields_come_with_defaults_and_go_freely() {
    let one = record(r#"{"name":"a","type":"string"}"#);
    let two = record(r#"{"name":"a","type":"string"},{"name":"b","type":"long"}"#);
    let with_default = record(r#"{"name":"a","type":"string"},{"name":"b","type":"long","default":0}"#);
    assert_eq!(backward(&one, &two), [""; 0]);
    assert_eq!(backward(&with_default, &one), [""; 0]);
    assert_eq!(backward(&two, &one), ["READER_FIELD_MISSING_DEFAULT_VALUE"]);
    let renamed = record(r#"{"name":"c","type":"string","aliases":["a"]}"#);
    assert_eq!(backward(&renamed, &one), [""; 0]);
    let (new, old) = (schema(&two), schema(&one));
    let found = differences(Compatibility::Full, &new, &old);
    assert_eq!(
        found[0].to_string(),
        "{errorType:'READER_FIELD_MISSING_DEFAULT_VALUE', description:'The field 'b' at path '/fields/1' in the new \
         schema has no default value and is missing in the old schema'}"
    );
    assert_eq!(found.len(), 1);
    assert_eq!(differences(Compatibility::Forward, &new, &old), []);
    assert_eq!(differences(Compatibility::None, &new, &schema("\"int\"")), []);
    let found = differences(Compatibility::ForwardTransitive, &old, &new);
    assert!(found[0].description.contains("in the old schema has no default value"), "{found:?}");
}

#[test]
fn numbers_are_promoted_and_never_narrowed() {
    for (read, written) in [
        ("long", "int"),
        ("float", "int"),
        ("double", "int"),
        ("float", "long"),
        ("double", "long"),
        ("double", "float"),
        ("string", "bytes"),
        ("bytes", "string"),
    ] {
        assert_eq!(backward(&format!("\"{read}\""), &format!("\"{written}\"")), [""; 0], "{read} {written}");
    }
    for (read, written) in
        [("int", "long"), ("long", "float"), ("float", "double"), ("string", "int"), ("boolean", "int")]
    {
        assert_eq!(backward(&format!("\"{read}\""), &format!("\"{written}\"")), ["TYPE_MISMATCH"]);
    }
}

#[test]
fn unions_must_take_whatever_was_written() {
    for (read, written, expected) in [
        (r#"["null","string"]"#, r#""string""#, &[][..]),
        (r#""string""#, r#"["null","string"]"#, &["TYPE_MISMATCH"]),
        (r#""string""#, r#"["string"]"#, &[]),
        (r#"["null","long"]"#, r#"["null","int"]"#, &[]),
        (r#"["null"]"#, r#"["null","int"]"#, &["MISSING_UNION_BRANCH"]),
        (r#"["int","string","null"]"#, r#"["string","int"]"#, &[]),
        (r#"["null","long"]"#, r#""string""#, &["MISSING_UNION_BRANCH"]),
    ] {
        assert_eq!(backward(read, written), expected, "{read} {written}");
    }
}

#[test]
fn names_symbols_and_sizes_count() {
    let symbols = |name: &str, symbols: &str, more: &str| {
        format!(r#"{{"type":"enum","name":"{name}","symbols":[{symbols}]{more}}}"#)
    };
    let (ab, a) = (symbols("e", r#""A","B""#, ""), symbols("e", r#""A""#, ""));
    assert_eq!(backward(&ab, &a), [""; 0]);
    assert_eq!(backward(&a, &ab), ["MISSING_ENUM_SYMBOLS"]);
    assert_eq!(backward(&symbols("e", r#""A""#, r#","default":"A""#), &ab), [""; 0]);
    assert_eq!(backward(&symbols("f", r#""A""#, ""), &a), ["NAME_MISMATCH"]);
    assert_eq!(backward(&symbols("f", r#""A""#, r#","aliases":["e"]"#), &a), [""; 0]);
    assert_eq!(backward(&symbols("ns.e", r#""A""#, ""), &a), [""; 0], "unqualified names count");
    let fixed = |size: u32| format!(r#"{{"type":"fixed","name":"f","size":{size}}}"#);
    assert_eq!(backward(&fixed(4), &fixed(4)), [""; 0]);
    assert_eq!(backward(&fixed(4), &fixed(5)), ["FIXED_SIZE_MISMATCH"]);
    let array = |items: &str| format!(r#"{{"type":"array","items":"{items}"}}"#);
    let map = |values: &str| format!(r#"{{"type":"map","values":"{values}"}}"#);
    assert_eq!(backward(&array("long"), &array("int")), [""; 0]);
    assert_eq!(backward(&array("int"), &array("long")), ["TYPE_MISMATCH"]);
    assert_eq!(backward(&map("int"), &map("long")), ["TYPE_MISMATCH"]);
    assert_eq!(backward(&map("int"), &array("int")), ["TYPE_MISMATCH"]);
}

#[test]
fn units_do_not_change_silently() {
    let decimal =
        |scale: u32| format!(r#"{{"type":"bytes","logicalType":"decimal","precision":10,"scale":{scale}}}"#);
    assert_eq!(backward(&decimal(2), &decimal(2)), [""; 0]);
    assert_eq!(backward(&decimal(2), &decimal(3)), ["TYPE_MISMATCH"]);
    let time = |logical: &str| format!(r#"{{"type":"long","logicalType":"{logical}"}}"#);
    assert_eq!(backward(&time("timestamp-micros"), &time("timestamp-millis")), ["TYPE_MISMATCH"]);
    assert_eq!(backward(r#""long""#, &time("timestamp-millis")), [""; 0]);
}

#[test]
fn types_are_found_by_name_in_either_schema() {
    let inner = r#"{"type":"record","name":"in","fields":[{"name":"x","type":"int"}]}"#;
    let twice = record(&format!(r#"{{"name":"a","type":{inner}}},{{"name":"b","type":"in"}}"#));
    let wider = twice.replace(r#""type":"int""#, r#""type":"long""#);
    assert_eq!(backward(&wider, &twice), [""; 0]);
    assert_eq!(backward(&twice, &wider), ["TYPE_MISMATCH", "TYPE_MISMATCH"]);
    let other = RegisteredSchema {
        id: 2,
        schema_type: SchemaType::Avro,
        schema: r#"{"type":"record","name":"shop.in","fields":[{"name":"x","type":"long"}]}"#.into(),
        references: Vec::new(),
    };
    let referring = ResolvedSchema {
        references: vec![ReferencedSchema { name: "shop.in".into(), schema: Arc::new(other) }],
        ..schema(&record(r#"{"name":"a","type":"shop.in"},{"name":"b","type":"shop.in"}"#))
    };
    crate::validity::check(&referring).expect("valid");
    assert_eq!(differences(Compatibility::Backward, &referring, &schema(&twice)), []);
    assert_eq!(differences(Compatibility::Forward, &referring, &schema(&twice)).len(), 2);
}

#[test]
fn other_formats_never_follow() {
    let json =
        RegisteredSchema { schema_type: SchemaType::Json, ..RegisteredSchema::clone(&schema("true").schema) };
    let found = differences(Compatibility::Backward, &ResolvedSchema::alone(json), &schema("\"int\""));
    assert_eq!(found[0].kind, "TYPE_CHANGED");
}
