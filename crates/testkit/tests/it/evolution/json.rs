//! The changes that JSON Schema can express.

use serde_json::{Value, json};

use super::{Step, Walk};

const ADDED: usize = 1;
const NESTED: usize = 3;
const DROPPED: usize = 4;
const PARKED: usize = 6;

fn step(step: usize) -> Step {
    let mut properties = json!({
        "n": {"type": "integer"}, "step": {"type": "integer"}, "a": {"type": "integer"},
        "nest": {"type": "object", "properties": {"x": {"type": "integer"}}},
    });
    let mut value = json!({"n": "$n", "step": step, "a": "$n", "nest": {"x": "$n"}});
    if step < DROPPED {
        properties["gone"] = json!({"type": "string"});
        value["gone"] = json!("g");
    }
    if step >= ADDED {
        properties["o"] = json!({"type": ["string", "null"]});
        value["o"] = json!("o-$n");
    }
    let mut required = vec!["n"];
    if step >= 2 {
        required.push("a");
    }
    if step >= NESTED {
        properties["nest"]["properties"]["y"] = json!({"type": "array", "items": {"type": "string"}});
        value["nest"]["y"] = json!(["y-$n", ""]);
    }
    if step >= 5 {
        properties["o"] = json!({"oneOf": [{"type": "null"}, {"type": "string", "maxLength": 100}]});
    }
    if step == PARKED {
        properties["a"] = json!({"type": "string"});
        value["a"] = json!("x-$n");
    }
    let what = [
        "the first schema",
        "an optional property added",
        "a property that is required now",
        "a property added in an object",
        "a property dropped",
        "another way to write an optional property",
        "integer to string, which no table takes",
        "back to what fits",
    ][step];
    let schema = json!({"type": "object", "title": "Case", "properties": properties, "required": required});
    Step { what, schema: schema.to_string(), value }
}

fn row(step: usize, n: i64) -> Value {
    let y = if step >= NESTED { json!([format!("y-{n}"), ""]) } else { Value::Null };
    let gone = if step < DROPPED { json!("g") } else { Value::Null };
    let o = if step >= ADDED { json!(format!("o-{n}")) } else { Value::Null };
    json!([n, step, n, {"x": n, "y": y}, gone, o])
}

pub(super) fn walk() -> Walk {
    Walk {
        topic: "json",
        format: "json",
        steps: (0..=PARKED + 1).map(step).collect(),
        parked: PARKED,
        columns: &[
            ("n", "long"),
            ("step", "long"),
            ("a", "long"),
            ("nest", "struct<x: long, y: list<string>>"),
            ("gone", "string"),
            ("o", "string"),
        ],
        texts: "",
        row,
    }
}
