//! JSON Schema: each row of the mapping, what makes a type optional, every draft, references.

use serde_json::{Value, json};

use super::{Case, Side, f};

fn side(schema: Value) -> Side {
    Side { format: "json", schema: schema.to_string().leak(), framing: "prefix", ..Side::BYTES }
}

/// An object with the property `v` of one type.
fn of_type(name: &str, kind: Value, iceberg: &str, values: Vec<(Value, Value)>) -> Case {
    let schema = json!({"type": "object", "properties": {"v": kind}});
    let mut case = Case::new(&format!("json-{name}"), side(schema)).column("v", iceberg);
    for (sent, found) in values {
        case = case.row(json!({"v": sent}), json!([found]));
    }
    // What is left out is null.
    case.row(json!({}), json!([null]))
}

fn same<const N: usize>(values: [Value; N]) -> Vec<(Value, Value)> {
    values.into_iter().map(|value| (value.clone(), value)).collect()
}

fn scalars() -> Vec<Case> {
    let number = |value: f64| (json!(value), f(value));
    let text = |format: &str| json!({"type": "string", "format": format});
    vec![
        of_type("boolean", json!({"type": "boolean"}), "boolean", same([json!(true), json!(false)])),
        of_type(
            "integer",
            json!({"type": "integer"}),
            "long",
            same([json!(i64::MIN), json!(-1), json!(0), json!(i64::MAX)]),
        ),
        of_type(
            "number",
            json!({"type": "number"}),
            "double",
            vec![
                number(0.1),
                number(-f64::MAX),
                number(5e-324),
                (json!(3), f(3.0)),
                (json!(i64::MAX), f(i64::MAX as f64)),
            ],
        ),
        of_type(
            "string",
            json!({"type": "string", "maxLength": 10_000}),
            "string",
            same([json!(""), json!("Zürich 株 🦀 \" \\ \u{0}"), json!("x".repeat(5000))]),
        ),
        of_type(
            "enum",
            json!({"type": "string", "enum": ["BUY", "SELL"]}),
            "string",
            same([json!("BUY"), json!("SELL")]),
        ),
        of_type(
            "date",
            text("date"),
            "date",
            vec![
                (json!("0001-01-01"), json!(-719_162)),
                (json!("1969-12-31"), json!(-1)),
                (json!("2024-02-29"), json!(19_782)),
                (json!("9999-12-31"), json!(2_932_896)),
            ],
        ),
        of_type(
            "time",
            text("time"),
            "time",
            vec![
                (json!("00:00:00Z"), json!(0)),
                (json!("23:59:59.999999Z"), json!(86_399_999_999_i64)),
                (json!("09:30:00.5Z"), json!(34_200_500_000_i64)),
            ],
        ),
        of_type(
            "date-time",
            text("date-time"),
            "timestamptz",
            vec![
                (json!("0001-01-01T00:00:00Z"), json!(-62_135_596_800_000_000_i64)),
                (json!("1969-12-31T23:59:59.999999Z"), json!(-1)),
                (json!("1970-01-01T01:00:00+01:00"), json!(0)),
                (json!("2026-01-01T00:00:00.123456789-05:30"), json!(1_767_245_400_123_456_i64)),
                (json!("9999-12-31T23:59:59.999999Z"), json!(253_402_300_799_999_999_i64)),
            ],
        ),
    ]
}

fn nested() -> Vec<Case> {
    let inner = json!({"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "string"}}});
    vec![
        of_type(
            "object",
            inner.clone(),
            "struct<a: long, b: string>",
            vec![
                (json!({"a": 1, "b": "x"}), json!({"a": 1, "b": "x"})),
                (json!({}), json!({"a": null, "b": null})),
                (json!({"b": ""}), json!({"a": null, "b": ""})),
            ],
        ),
        of_type(
            "array",
            json!({"type": "array", "items": inner}),
            "list<struct<a: long, b: string>>",
            vec![
                (json!([]), json!([])),
                (json!([{"a": 1}, {}]), json!([{"a": 1, "b": null}, {"a": null, "b": null}])),
            ],
        ),
        of_type(
            "map",
            json!({"type": "object", "additionalProperties": {"type": "array", "items": {"type": "integer"}}}),
            "map<string, list<long>>",
            vec![
                (json!({}), json!([])),
                (json!({"z": [], "a": [1, -1]}), json!([["a", [1, -1]], ["z", []]])),
            ],
        ),
        of_type("null-in-list", json!({"type": ["integer", "null"]}), "long", same([json!(5), json!(null)])),
        of_type(
            "null-in-one-of",
            json!({"oneOf": [{"type": "null"}, {"type": "string"}]}),
            "string",
            same([json!("x"), json!(null)]),
        ),
        of_type(
            "null-in-any-of",
            json!({"anyOf": [{"type": "array", "items": {"type": "boolean"}}, {"type": "null"}]}),
            "list<boolean>",
            same([json!([true]), json!(null), json!([])]),
        ),
    ]
}

fn drafts() -> Vec<Case> {
    let drafts = [
        ("4", "http://json-schema.org/draft-04/schema#"),
        ("6", "http://json-schema.org/draft-06/schema#"),
        ("7", "http://json-schema.org/draft-07/schema#"),
        ("2019", "https://json-schema.org/draft/2019-09/schema"),
        ("2020", "https://json-schema.org/draft/2020-12/schema"),
    ];
    let of_draft = |(name, uri): (&str, &str)| {
        let defs = if name.starts_with("20") { "$defs" } else { "definitions" };
        let schema = json!({
            "$schema": uri, "type": "object", "title": "Case",
            defs: {"id": {"type": "integer", "minimum": 0}},
            "properties": {"id": {"$ref": format!("#/{defs}/id")}, "name": {"type": "string"}},
            "required": ["id"],
        });
        Case::new(&format!("json-draft-{name}"), side(schema))
            .column("id", "long")
            .column("name", "string")
            .row(json!({"id": 1, "name": "a"}), json!([1, "a"]))
            .row(json!({"id": 0}), json!([0, null]))
    };
    drafts.into_iter().map(of_draft).collect()
}

fn composed() -> Vec<Case> {
    vec![
        Case::new(
            "json-all-of",
            side(json!({"allOf": [
                {"type": "object", "properties": {"a": {"type": "integer"}}},
                {"type": "object", "properties": {"b": {"type": "string"}}, "required": ["b"]},
            ]})),
        )
        .column("a", "long")
        .column("b", "string")
        .row(json!({"a": 1, "b": "x"}), json!([1, "x"]))
        .row(json!({"b": "y"}), json!([null, "y"])),
        Case::new(
            "json-references",
            Side {
                references: &[(
                    "money.json",
                    r#"{"type":"object","properties":{"amount":{"type":"number"},"currency":{"type":"string"}}}"#,
                )],
                ..side(json!({"type": "object", "properties": {
                    "price": {"$ref": "money.json"},
                    "more": {"type": "array", "items": {"$ref": "money.json"}},
                }}))
            },
        )
        .column("price", "struct<amount: double, currency: string>")
        .column("more", "list<struct<amount: double, currency: string>>")
        .row(
            json!({"price": {"amount": 1.25, "currency": "CHF"}, "more": []}),
            json!([{"amount": f(1.25), "currency": "CHF"}, []]),
        ),
        Case::new(
            "json-names",
            side(json!({"type": "object", "properties": {
                "with space": {"type": "integer"}, "a.b": {"type": "integer"}, "Ünïcode/株": {"type": "string"},
            }})),
        )
        .column("with space", "long")
        .column("a.b", "long")
        .column("Ünïcode/株", "string")
        .row(json!({"with space": 1, "a.b": 2, "Ünïcode/株": "x"}), json!([1, 2, "x"])),
    ]
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = scalars();
    for more in [nested(), drafts(), composed()] {
        cases.extend(more);
    }
    cases
}
