use super::*;
use crate::registry::RegisteredSchema;

fn schema(text: &str) -> ResolvedSchema {
    let text = match text.contains("syntax") {
        true => text.to_owned(),
        false => format!("syntax = \"proto3\"; {text}"),
    };
    let schema =
        RegisteredSchema { id: 1, schema_type: SchemaType::Protobuf, schema: text, references: Vec::new() };
    let schema = ResolvedSchema::alone(schema);
    crate::validity::check(&schema).expect("valid");
    schema
}

fn check(cases: &[(&str, &str, &[&str])]) {
    for (new, old, expected) in cases {
        let kinds = |new: &str, old: &str| -> Vec<&str> {
            let found = differences(Compatibility::Backward, &schema(new), &schema(old));
            found.into_iter().map(|d| d.kind).collect()
        };
        assert_eq!(kinds(new, old), *expected, "new {new} old {old}");
        assert_eq!(kinds(new, new), [""; 0], "{new} reads itself");
    }
}

#[test]
fn fields_come_and_go_by_number() {
    check(&[
        ("message M { string a = 1; int32 b = 2; }", "message M { string a = 1; }", &[]),
        ("message M { string a = 1; }", "message M { string a = 1; int32 b = 2; }", &[]),
        ("message M { string renamed = 1; }", "message M { string a = 1; }", &[]),
        ("message M { bytes a = 1; }", "message M { string a = 1; }", &[]),
        ("message M { int64 a = 1; }", "message M { int32 a = 1; }", &[]),
        ("enum E { Z = 0; } message M { E a = 1; }", "message M { int32 a = 1; }", &[]),
        ("message M { int32 a = 1; }", "message M { string a = 1; }", &["FIELD_SCALAR_KIND_CHANGED"]),
        ("message M { sint32 a = 1; }", "message M { int32 a = 1; }", &["FIELD_SCALAR_KIND_CHANGED"]),
        ("message M { fixed32 a = 1; }", "message M { float a = 1; }", &["FIELD_SCALAR_KIND_CHANGED"]),
        (
            "message M { repeated int32 a = 1; }",
            "message M { int32 a = 1; }",
            &["FIELD_NUMERIC_LABEL_CHANGED"],
        ),
        ("message M { repeated string a = 1; }", "message M { string a = 1; }", &[]),
        ("message M { optional string a = 1; }", "message M { string a = 1; }", &[]),
        ("message M { map<string, int32> a = 1; }", "message M { string a = 1; }", &["FIELD_KIND_CHANGED"]),
        (
            "message M { map<string, string> a = 1; }",
            "message M { map<string, int32> a = 1; }",
            &["FIELD_SCALAR_KIND_CHANGED"],
        ),
        ("message M { string b = 2; }", "message M { reserved 2; string a = 1; }", &["RESERVED_NUMBER_USED"]),
        ("package b; message M { }", "package a; message M { }", &["PACKAGE_CHANGED"]),
        ("message N { }", "message M { }", &["MESSAGE_REMOVED"]),
        ("message N { } message M { }", "message M { }", &[]),
    ]);
}

#[test]
fn messages_within_messages() {
    let nested = |kind: &str| format!("message M {{ message I {{ {kind} x = 1; }} I a = 1; }}");
    check(&[
        (&nested("int64"), &nested("int32"), &[]),
        (&nested("string"), &nested("int32"), &["FIELD_SCALAR_KIND_CHANGED"]),
        (
            "message M { J a = 1; } message I { int32 x = 1; } message J { int32 x = 1; }",
            "message M { I a = 1; } message I { int32 x = 1; }",
            &["FIELD_NAMED_TYPE_CHANGED"],
        ),
        ("message M { M next = 1; int64 v = 2; }", "message M { M next = 1; int32 v = 2; }", &[]),
    ]);
}

#[test]
fn oneofs_take_one_field() {
    check(&[
        ("message M { oneof o { string a = 1; } }", "message M { string a = 1; }", &[]),
        (
            "message M { oneof o { string a = 1; string b = 2; } }",
            "message M { string a = 1; string b = 2; }",
            &["MULTIPLE_FIELDS_MOVED_TO_ONEOF"],
        ),
        (
            "message M { oneof o { string a = 1; string b = 2; } }",
            "message M { oneof o { string a = 1; } string b = 2; }",
            &["FIELD_MOVED_TO_EXISTING_ONEOF"],
        ),
        (
            "message M { oneof o { string a = 1; } }",
            "message M { oneof o { string a = 1; string b = 2; } }",
            &["ONEOF_FIELD_REMOVED"],
        ),
        (
            "message M { oneof o { string a = 1; string b = 2; } }",
            "message M { oneof o { string a = 1; } }",
            &[],
        ),
        (
            "message M { oneof p { int32 a = 1; } }",
            "message M { oneof o { string a = 1; } }",
            &["FIELD_SCALAR_KIND_CHANGED"],
        ),
    ]);
}

#[test]
fn required_fields_stay() {
    let with = |field: &str| format!("syntax = \"proto2\"; message M {{ optional int32 a = 1; {field} }}");
    check(&[
        (&with("required int32 b = 2;"), &with(""), &["REQUIRED_FIELD_ADDED"]),
        (&with(""), &with("required int32 b = 2;"), &["REQUIRED_FIELD_REMOVED"]),
        (&with("required int32 b = 2;"), &with("optional int32 b = 2;"), &["REQUIRED_FIELD_ADDED"]),
        (&with("optional int32 b = 2;"), &with("required int32 b = 2;"), &[]),
    ]);
}
