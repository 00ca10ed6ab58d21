//! The changes that Protobuf can express.

use serde_json::{Value, json};

use super::{Step, Walk};

const ADDED: usize = 1;
const DOUBLE: usize = 3;
const NESTED: usize = 5;
const DROPPED: usize = 6;
const ELEMENT: usize = 7;
const PARKED: usize = 8;

fn step(step: usize) -> Step {
    let mut value =
        json!({"n": "$n", "step": step, "a": "$n", "f": 1.5, "items": ["$n"], "nest": {"x": "$n"}});
    let a = match step {
        PARKED => "string",
        0 | 1 => "int32",
        _ => "int64",
    };
    let f = if step >= DOUBLE { "double" } else { "float" };
    let items = if step >= ELEMENT { "int64" } else { "int32" };
    let mut lines = vec![
        "int64 n = 1;".to_owned(),
        "int32 step = 2;".to_owned(),
        format!("{a} a = 3;"),
        format!("{f} f = 4;"),
        format!("repeated {items} items = 5;"),
        "Nest nest = 6;".to_owned(),
    ];
    if step < DROPPED {
        lines.push("string gone = 7;".to_owned());
        value["gone"] = json!("g");
    }
    if step >= ADDED {
        lines.push("optional string o = 8;".to_owned());
        value["o"] = json!("o-$n");
    }
    if step >= 4 {
        lines.reverse();
    }
    if step >= DOUBLE {
        value["f"] = json!(0.1);
    }
    if step >= NESTED {
        value["nest"]["y"] = json!("y-$n");
    }
    if step >= ELEMENT {
        value["items"] = json!(["$n", 5_000_000_000_i64]);
    }
    if step == PARKED {
        value["a"] = json!("x-$n");
    }
    let y = if step >= NESTED { "optional string y = 2;" } else { "" };
    let what = [
        "the first schema",
        "an optional field added",
        "int32 to int64",
        "float to double",
        "fields reordered",
        "a field added in a message",
        "a field dropped",
        "elements of a list from int32 to int64",
        "int64 to string, which no table takes",
        "back to what fits",
    ][step];
    let schema = format!(
        "syntax = \"proto3\";\nmessage Case {{ {} }}\nmessage Nest {{ int32 x = 1; {y} }}\n",
        lines.join(" ")
    );
    Step { what, schema, value }
}

fn row(step: usize, n: i64) -> Value {
    let f: f64 = if step >= DOUBLE { 0.1 } else { 1.5 };
    let items = if step >= ELEMENT { json!([n, 5_000_000_000_i64]) } else { json!([n]) };
    let y = if step >= NESTED { json!(format!("y-{n}")) } else { Value::Null };
    let gone = if step < DROPPED { json!("g") } else { Value::Null };
    let o = if step >= ADDED { json!(format!("o-{n}")) } else { Value::Null };
    json!([n, step, n, format!("{:016x}", f.to_bits()), items, {"x": n, "y": y}, gone, o])
}

pub(super) fn walk() -> Walk {
    Walk {
        topic: "protobuf",
        format: "protobuf",
        steps: (0..=PARKED + 1).map(step).collect(),
        parked: PARKED,
        columns: &[
            ("n", "long"),
            ("step", "int"),
            ("a", "long"),
            ("f", "double"),
            ("items", "list<long>"),
            ("nest", "struct<x: int, y: string>"),
            ("gone", "string"),
            ("o", "string"),
        ],
        texts: "",
        row,
    }
}
