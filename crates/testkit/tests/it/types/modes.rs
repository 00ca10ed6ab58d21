//! The grammar of modes: what becomes of key, value and headers.

use serde_json::json;

use super::{Case, Side};

const AVRO: Side = Side {
    format: "avro",
    schema: r#"{"type":"record","name":"R","fields":[{"name":"id","type":"long"},{"name":"name","type":["null","string"]}]}"#,
    framing: "prefix",
    ..Side::BYTES
};
const KEY: Side = Side {
    format: "avro",
    schema: r#"{"type":"record","name":"K","fields":[{"name":"region","type":"string"},{"name":"n","type":"int"}]}"#,
    framing: "prefix",
    ..Side::BYTES
};
const JSON: Side = Side {
    format: "json",
    schema: r#"{"title":"R","type":"object","properties":{"id":{"type":"integer"},"name":{"type":"string"}}}"#,
    framing: "prefix",
    ..Side::BYTES
};
const PROTOBUF: Side = Side {
    format: "protobuf",
    schema: "syntax = \"proto3\";\npackage p;\nmessage A { int32 a = 1; }\nmessage R { int64 id = 1; optional string name = 2; }\n",
    message: "p.R",
    framing: "prefix",
    ..Side::BYTES
};

const KEY_STRUCT: (&str, &str) = ("key", "struct<region: string, n: int>");
const TEXT_HEADERS: (&str, &str) = ("headers", "list<struct<key: string, value: string>>");

fn case(topic: &str, mode: &'static str, key: Side, value: Side) -> Case {
    Case { mode, key, ..Case::new(topic, value) }
}

/// Columns and rows of a value with the fields `id` and `name`.
fn fields(case: Case) -> Case {
    case.column("id", "long")
        .column("name", "string")
        .row(json!({"id": 1, "name": "a"}), json!([1, "a"]))
        .row(json!({"id": i64::MIN, "name": "株"}), json!([i64::MIN, "株"]))
}

fn plain() -> Vec<Case> {
    let bytes = json!({"$bytes": "00ff"});
    let headers = json!([["h", "text"], ["h", {"$bytes": "ff"}], ["e", ""]]);
    let found =
        json!([{"key": "h", "value": "74657874"}, {"key": "h", "value": "ff"}, {"key": "e", "value": ""}]);
    let as_text =
        json!([{"key": "h", "value": "text"}, {"key": "h", "value": "\u{fffd}"}, {"key": "e", "value": ""}]);
    let binary = |topic, mode| case(topic, mode, Side::BYTES, Side::BYTES).column("value", "binary");
    let mut traced = binary("mode-header-text", "value:mode=binary;headers:value_type=string");
    traced.metadata = vec![TEXT_HEADERS];
    let mut texts = case("mode-texts", "key:mode=string;value:mode=string", Side::BYTES, Side::BYTES);
    texts.metadata = vec![("key", "string")];
    vec![
        binary("mode-key-value", "key_value")
            .record(
                json!("k"),
                bytes.clone(),
                headers.clone(),
                json!(["00ff"]),
                json!({"key": "6b", "headers": found}),
            )
            .record(json!(null), json!(null), json!([]), json!([null]), json!({"key": null, "headers": []}))
            .record(json!(""), json!(""), json!([]), json!([""]), json!({"key": ""})),
        binary(
            "mode-sections-of-defaults",
            "key:mode=binary;value:mode=binary,layout=flat;headers:value_type=binary",
        )
        .record(json!("k"), bytes.clone(), json!([]), json!(["00ff"]), json!({"key": "6b"})),
        traced.record(json!(null), bytes, headers, json!(["00ff"]), json!({"headers": as_text})),
        texts
            .column("value", "string")
            .record(json!("株"), json!("Zürich"), json!([]), json!(["Zürich"]), json!({"key": "株"}))
            .record(json!(null), json!(""), json!([]), json!([""]), json!({"key": null})),
    ]
}

fn latest() -> Vec<Case> {
    let bare = |side: Side| Side { framing: "none", ..side };
    vec![
        fields(case("mode-latest-avro", "value_schema_latest", Side::BYTES, bare(AVRO))),
        fields(case("mode-latest-json", "value_schema_latest", Side::BYTES, bare(JSON))),
        // With an id in front, which JSON may have.
        fields(case("mode-latest-json-framed", "value_schema_latest", Side::BYTES, JSON)),
        fields(case(
            "mode-latest-protobuf",
            "value_schema_latest:protobuf_name=p.R",
            Side::BYTES,
            bare(PROTOBUF),
        )),
        fields(case(
            "mode-latest-subject",
            "value_schema_latest:subject=Order",
            Side::BYTES,
            Side { subject: "Order", ..bare(AVRO) },
        )),
        fields(case(
            "mode-latest-both",
            "value_schema_latest:subject=Proto,protobuf_name=p.R",
            Side::BYTES,
            Side { subject: "Proto", ..bare(PROTOBUF) },
        )),
    ]
}

fn sections() -> Vec<Case> {
    let in_headers = |side: Side| Side { framing: "header", ..side };
    let keyed = |topic, mode, key: Side, value: Side| {
        let mut case = case(topic, mode, key, value);
        case.metadata = vec![KEY_STRUCT];
        case.column("id", "long")
            .column("name", "string")
            .record(
                json!({"region": "eu", "n": 7}),
                json!({"id": 1, "name": "a"}),
                json!([]),
                json!([1, "a"]),
                json!({"key": {"region": "eu", "n": 7}}),
            )
            .record(
                json!(null),
                json!({"id": 2, "name": "b"}),
                json!([]),
                json!([2, "b"]),
                json!({"key": null}),
            )
    };
    let nested = |topic, mode, value: Side| {
        case(topic, mode, Side::BYTES, value)
            .column("value", "struct<id: long, name: string>")
            .row(json!({"id": 1, "name": "a"}), json!([{"id": 1, "name": "a"}]))
    };
    vec![
        keyed("mode-key-by-id", "key:mode=schema_id_prefix;value:mode=schema_id_prefix", KEY, AVRO),
        keyed(
            "mode-key-latest",
            "key:mode=schema_latest,subject=Keys;value:mode=schema_id_prefix",
            Side { subject: "Keys", framing: "none", ..KEY },
            JSON,
        ),
        keyed(
            "mode-ids-in-headers",
            "key:mode=schema_id_prefix;value:mode=schema_id_prefix",
            in_headers(KEY),
            in_headers(PROTOBUF),
        ),
        fields(case("mode-header-avro", "value_schema_id_prefix", Side::BYTES, in_headers(AVRO))),
        fields(case("mode-header-json", "value_schema_id_prefix", Side::BYTES, in_headers(JSON))),
        nested("mode-nested", "value:mode=schema_id_prefix,layout=nested", AVRO),
        nested(
            "mode-nested-latest",
            "value:mode=schema_latest,layout=nested,subject=Nested",
            Side { subject: "Nested", framing: "none", ..JSON },
        ),
    ]
}

/// A field that has the name of the column of metadata.
fn moved() -> Case {
    let side = Side {
        schema: r#"{"type":"record","name":"R","fields":[{"name":"redpanda","type":"string"},{"name":"id","type":"long"}]}"#,
        ..AVRO
    };
    let mut case = case("mode-moved", "value_schema_id_prefix", Side::BYTES, side).column("id", "long");
    case.metadata = vec![("data", "string")];
    case.record(
        json!(null),
        json!({"redpanda": "panda", "id": 1}),
        json!([]),
        json!([1]),
        json!({"data": "panda"}),
    )
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = plain();
    cases.extend(latest());
    cases.extend(sections());
    cases.push(moved());
    cases
}
