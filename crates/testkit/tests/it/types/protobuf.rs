//! Protobuf: each row of the mapping, presence, oneofs, enums, imports, which message.

use serde_json::{Value, json};

use super::{Case, Side, f};

fn side(schema: String, message: &'static str) -> Side {
    Side { format: "protobuf", schema: schema.leak(), message, framing: "prefix", ..Side::BYTES }
}

/// A message with `v` of a type and an optional `o` of the same one: what is left out of `v` has its default.
fn of_type(kind: &str, iceberg: &str, default: Value, values: Vec<(Value, Value)>) -> Case {
    let schema =
        format!("syntax = \"proto3\";\nmessage Case {{\n  {kind} v = 1;\n  optional {kind} o = 2;\n}}\n");
    let mut case =
        Case::new(&format!("proto-{kind}"), side(schema, "Case")).column("v", iceberg).column("o", iceberg);
    for (sent, found) in values {
        case = case.row(json!({"v": sent, "o": sent}), json!([found, found]));
    }
    case.row(json!({}), json!([default, null]))
}

fn same<const N: usize>(values: [Value; N]) -> Vec<(Value, Value)> {
    values.into_iter().map(|value| (value.clone(), value)).collect()
}

fn scalars() -> Vec<Case> {
    let integer = |kind: &str, iceberg: &str, min: i64, max: i64| {
        of_type(kind, iceberg, json!(0), same([json!(min), json!(max), json!(0), json!(1)]))
    };
    let mut cases = vec![of_type("bool", "boolean", json!(false), same([json!(true), json!(false)]))];
    for kind in ["int32", "sint32", "sfixed32"] {
        cases.push(integer(kind, "int", i64::from(i32::MIN), i64::from(i32::MAX)));
    }
    for kind in ["int64", "sint64", "sfixed64"] {
        cases.push(integer(kind, "long", i64::MIN, i64::MAX));
    }
    for kind in ["uint32", "fixed32"] {
        cases.push(integer(kind, "long", 0, i64::from(u32::MAX)));
    }
    for kind in ["uint64", "fixed64"] {
        let text = |value: u64| (json!(value), json!(value.to_string()));
        cases.push(of_type(kind, "string", json!("0"), vec![text(0), text(u64::MAX), text(1)]));
    }
    for (kind, most) in [("float", f64::from(f32::MAX)), ("double", f64::MAX)] {
        let mut values = vec![
            (json!("NaN"), f(f64::NAN)),
            (json!("Infinity"), f(f64::INFINITY)),
            (json!("-Infinity"), f(f64::NEG_INFINITY)),
        ];
        // The least double and the largest float go through text; 1.5 is exact in both.
        values.extend([1.5, -1.5, most, -most].map(|value| (json!(value), f(value))));
        cases.push(of_type(kind, kind, f(0.0), values));
    }
    cases.push(of_type(
        "string",
        "string",
        json!(""),
        same([json!(""), json!("Zürich 株 🦀"), json!("x".repeat(5000))]),
    ));
    // Base64 in Protobuf's JSON.
    cases.push(of_type(
        "bytes",
        "binary",
        json!(""),
        vec![(json!("AP8="), json!("00ff")), (json!(""), json!(""))],
    ));
    cases
}

fn messages() -> Vec<Case> {
    let case =
        |topic: &str, text: &str| Case::new(topic, side(format!("syntax = \"proto3\";\n{text}"), "Case"));
    vec![
        case(
            "proto-timestamp",
            "import \"google/protobuf/timestamp.proto\";\nmessage Case { google.protobuf.Timestamp at = 1; }",
        )
        .column("at", "timestamptz")
        .row(json!({"at": "0001-01-01T00:00:00Z"}), json!([-62_135_596_800_000_000_i64]))
        .row(json!({"at": "1969-12-31T23:59:59.999999999Z"}), json!([-1]))
        .row(json!({"at": "9999-12-31T23:59:59.999999999Z"}), json!([253_402_300_799_999_999_i64]))
        .row(json!({}), json!([null])),
        case(
            "proto-enum",
            "enum Suit { NONE = 0; SPADES = 1; NEGATIVE = -1; }\nmessage Case { Suit v = 1; optional Suit o = 2; }",
        )
        .column("v", "string")
        .column("o", "string")
        .row(json!({"v": "SPADES", "o": "NEGATIVE"}), json!(["SPADES", "NEGATIVE"]))
        .row(json!({}), json!(["NONE", null]))
        .row(json!({"v": 77, "o": 0}), json!(["77", "NONE"])),
        case(
            "proto-message",
            "message Pair { int32 a = 1; optional string b = 2; }\nmessage Case { Pair v = 1; repeated Pair more = 2; }",
        )
        .column("v", "struct<a: int, b: string>")
        .column("more", "list<struct<a: int, b: string>>")
        .row(json!({"v": {"a": 1, "b": ""}, "more": [{}, {"b": "x"}]}), json!([{"a": 1, "b": ""}, [{"a": 0, "b": null}, {"a": 0, "b": "x"}]]))
        .row(json!({}), json!([null, []])),
        case("proto-repeated", "message Case { repeated sint64 v = 1; repeated string s = 2; repeated double d = 3 [packed = false]; }")
            .column("v", "list<long>")
            .column("s", "list<string>")
            .column("d", "list<double>")
            .row(json!({"v": [i64::MIN, 0, i64::MAX], "s": ["", "株"], "d": [1.5, "NaN"]}), json!([[i64::MIN, 0, i64::MAX], ["", "株"], [f(1.5), f(f64::NAN)]]))
            .row(json!({}), json!([[], [], []])),
        case(
            "proto-map",
            "message Leaf { bool on = 1; }\nmessage Case { map<string, Leaf> m = 1; map<int32, string> i = 2; map<bool, bytes> b = 3; }",
        )
        .column("m", "map<string, struct<on: boolean>>")
        .column("i", "map<int, string>")
        .column("b", "map<boolean, binary>")
        .row(
            json!({"m": {"z": {"on": true}, "": {}}, "i": {"-2147483648": "x", "7": ""}, "b": {"true": "/w=="}}),
            json!([[["", {"on": false}], ["z", {"on": true}]], [[i32::MIN, "x"], [7, ""]], [[true, "ff"]]]),
        )
        .row(json!({}), json!([[], [], []])),
        case("proto-oneof", "message Leaf { int32 a = 1; }\nmessage Case { oneof which { int64 n = 1; string s = 2; Leaf l = 3; } int32 after = 4; }")
            .column("n", "long")
            .column("s", "string")
            .column("l", "struct<a: int>")
            .column("after", "int")
            .row(json!({"n": 0, "after": 5}), json!([0, null, null, 5]))
            .row(json!({"s": ""}), json!([null, "", null, 0]))
            .row(json!({"l": {}}), json!([null, null, {"a": 0}, 0]))
            .row(json!({}), json!([null, null, null, 0])),
        case("proto-wrapper", "import \"google/protobuf/wrappers.proto\";\nmessage Case { google.protobuf.Int64Value v = 1; }")
            .column("v", "struct<value: long>")
            .row(json!({"v": 5}), json!([{"value": 5}]))
            .row(json!({"v": 0}), json!([{"value": 0}]))
            .row(json!({}), json!([null])),
    ]
}

fn files() -> Vec<Case> {
    vec![
        // The id is followed by the message's place in the file.
        Case::new(
            "proto-second-message",
            side(
                "syntax = \"proto3\";\npackage shop;\nmessage Other { string x = 1; }\n\
                 message Order { message Line { int32 n = 1; } repeated Line lines = 1; }\n"
                    .to_owned(),
                "shop.Order.Line",
            ),
        )
        .column("n", "int")
        .row(json!({"n": 3}), json!([3])),
        Case::new(
            "proto-imports",
            Side {
                references: &[
                    ("money.proto", "syntax = \"proto3\";\npackage shop;\nimport \"currency.proto\";\nmessage Money { int64 cents = 1; Currency currency = 2; }\n"),
                    ("currency.proto", "syntax = \"proto3\";\npackage shop;\nenum Currency { CHF = 0; EUR = 1; }\n"),
                ],
                ..side(
                    "syntax = \"proto3\";\npackage shop;\nimport \"money.proto\";\nmessage Order { Money price = 1; }\n".to_owned(),
                    "shop.Order",
                )
            },
        )
        .column("price", "struct<cents: long, currency: string>")
        .row(json!({"price": {"cents": -1, "currency": "EUR"}}), json!([{"cents": -1, "currency": "EUR"}])),
        Case::new(
            "proto-2",
            side(
                "syntax = \"proto2\";\nmessage Case { required int32 r = 1; optional string o = 2 [default = \"d\"]; repeated int32 many = 3; }\n"
                    .to_owned(),
                "Case",
            ),
        )
        .column("r", "int")
        .column("o", "string")
        .column("many", "list<int>")
        .row(json!({"r": 0}), json!([0, null, []]))
        .row(json!({"r": 1, "o": "x", "many": [1, 2]}), json!([1, "x", [1, 2]])),
    ]
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = scalars();
    cases.extend(messages());
    cases.extend(files());
    cases
}
