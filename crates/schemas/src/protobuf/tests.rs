use std::sync::Arc;

use super::*;
use crate::registry::{ReferencedSchema, RegisteredSchema, SchemaType};

fn registered(id: i32, schema: &str) -> Arc<RegisteredSchema> {
    let schema = schema.to_owned();
    Arc::new(RegisteredSchema { id, schema_type: SchemaType::Protobuf, schema, references: Vec::new() })
}

fn refused(text: &str) -> String {
    compile(&ResolvedSchema::alone(registered(1, text))).expect_err("refused")
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    for (text, words) in [
        ("syntax = \"proto3\";\nmessage M { int32 a = ; }", "schema.proto:2"),
        ("syntax = \"proto3\"; message M { Unknown a = 1; }", "Unknown"),
        ("syntax = \"proto3\"; message M { int32 a = 1; int32 b = 1; }", "1"),
        ("syntax = \"proto3\"; import \"other.proto\"; message M {}", "other.proto"),
        ("syntax = \"proto3\"; import \"/etc/passwd\"; message M {}", "schema.proto:1:27"),
        ("syntax = \"proto3\"; import \"schema.proto\"; message M {}", "schema.proto"),
        ("abcd", "no file descriptor"),
        ("abc", "neither a .proto file nor base64"),
        (&"option a = {".repeat(200), "nested deeper"),
        (&format!("syntax = \"proto3\"; {}{}", "message M {".repeat(60), "}".repeat(60)), "recursion"),
    ] {
        let message = refused(text);
        assert!(message.contains(words), "{words}: {message}");
    }
}

#[test]
fn imports_are_references_or_googles() {
    let money = "syntax = \"proto3\"; package shop; message Money { int64 cents = 1; }";
    let order = "syntax = \"proto3\"; package shop; import \"shop/money.proto\";
        import \"google/protobuf/timestamp.proto\"; import \"google/protobuf/wrappers.proto\";
        message Order { Money price = 1; google.protobuf.Timestamp at = 2; google.protobuf.StringValue note = 3;
            message Line { map<string, int32> tags = 1; message Deep {} } message Second {} }
        message Other {}";
    let reference = ReferencedSchema { name: "shop/money.proto".into(), schema: registered(1, money) };
    let resolved = ResolvedSchema { schema: registered(2, order), references: vec![reference] };
    let compiled = compile(&resolved).expect("compiled");
    assert_eq!(compiled.message(None).expect("first").full_name(), "shop.Order");
    assert_eq!(compiled.message(Some("shop.Money")).expect("imported").full_name(), "shop.Money");
    let refused = compiled.message(Some("shop.None")).expect_err("none");
    assert!(refused.contains("no message shop.None; the file has shop.Order, shop.Other"), "{refused}");
    for (indexes, name) in [
        (&[0][..], Some("shop.Order")),
        (&[1], Some("shop.Other")),
        (&[0, 0], Some("shop.Order.Line")),
        (&[0, 0, 0], Some("shop.Order.Line.Deep")),
        (&[0, 1], Some("shop.Order.Second")),
        (&[2], None),
        (&[0, 2], None),
        (&[], None),
    ] {
        let found = compiled.message_at(indexes).ok().map(|m| m.full_name().to_owned());
        assert_eq!(found.as_deref(), name, "{indexes:?}");
    }
}

#[test]
fn clients_may_send_descriptors() {
    let text = "syntax = \"proto3\"; package p; message M { string a = 1; }";
    let descriptor = compile(&ResolvedSchema::alone(registered(1, text))).expect("compiled");
    let bytes = descriptor.file.encode_to_vec();
    let base64 = base64::engine::general_purpose::STANDARD.encode(bytes);
    let again = compile(&ResolvedSchema::alone(registered(2, &base64))).expect("compiled");
    assert_eq!(again.message(None).expect("first").full_name(), "p.M");
}

#[test]
fn comments_and_spaces_do_not_count() {
    let a = "syntax = \"proto3\"; message M { string a = 1; }";
    let b = "syntax = \"proto3\";\n// a comment\nmessage M {\n  string a = 1; // another\n}\n";
    let c = "syntax = \"proto3\"; message M { string a = 2; }";
    assert_eq!(normalized(a).expect("a"), normalized(b).expect("b"));
    assert_ne!(normalized(a).expect("a"), normalized(c).expect("c"));
}
