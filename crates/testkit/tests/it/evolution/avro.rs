//! Every change that a table takes, one that it cannot take, and back.

use serde_json::{Value, json};

use super::{Step, Walk};

/// Name, type and value of every field.
type Fields = Vec<(&'static str, Value, Value)>;

fn decimal(precision: u32) -> Value {
    json!({"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": 2})
}

fn nest(fields: Value) -> Value {
    json!({"type": "record", "name": "Nest", "fields": fields})
}

fn first() -> Fields {
    vec![
        ("n", json!("long"), json!("$n")),
        ("step", json!("int"), json!(null)),
        ("a", json!("int"), json!("$n")),
        ("f", json!("float"), json!(1.5)),
        ("d", decimal(9), json!({"$decimal": "1234567.89"})),
        ("items", json!({"type": "array", "items": "int"}), json!(["$n", 7])),
        ("nest", nest(json!([{"name": "x", "type": "int"}])), json!({"x": "$n"})),
        ("name", json!("string"), json!("name-$n")),
        ("gone", json!("string"), json!("g")),
    ]
}

fn set(fields: &mut Fields, name: &str, kind: Value, value: Value) {
    for field in fields.iter_mut().filter(|field| field.0 == name) {
        (field.1, field.2) = (kind.clone(), value.clone());
    }
}

const OPTIONAL: usize = 1;
const DEFAULT: usize = 2;
const DOUBLE: usize = 4;
const RENAMED: usize = 6;
const DROPPED: usize = 7;
const NESTED: usize = 8;
const ELEMENT: usize = 9;
const PRECISION: usize = 10;
const PARKED: usize = 12;

fn change(fields: &mut Fields, step: usize) -> &'static str {
    match step {
        0 => "the first schema",
        OPTIONAL => {
            fields.push(("o", json!(["null", "string"]), json!("o-$n")));
            "an optional field added"
        }
        DEFAULT => {
            fields.push(("dflt", json!("string"), json!("d-$n")));
            "a field with a default added"
        }
        3 => {
            set(fields, "a", json!("long"), json!("$n"));
            "int to long"
        }
        DOUBLE => {
            set(fields, "f", json!("double"), json!(0.1));
            "float to double"
        }
        5 => {
            fields.reverse();
            "fields reordered"
        }
        RENAMED => {
            for field in fields.iter_mut().filter(|field| field.0 == "name") {
                field.0 = "title";
            }
            "a field renamed by alias"
        }
        DROPPED => {
            fields.retain(|field| field.0 != "gone");
            "a field dropped"
        }
        NESTED => {
            let members = json!([{"name": "x", "type": "int"}, {"name": "y", "type": ["null", "string"]}]);
            set(fields, "nest", nest(members), json!({"x": "$n", "y": "y-$n"}));
            "a field added in a struct"
        }
        ELEMENT => {
            set(fields, "items", json!({"type": "array", "items": "long"}), json!(["$n", 5_000_000_000_i64]));
            "elements of a list from int to long"
        }
        PRECISION => {
            set(fields, "d", decimal(18), json!({"$decimal": "9999999999999999.99"}));
            "a decimal of more digits"
        }
        11 => {
            set(fields, "o", json!("string"), json!("o-$n"));
            "optional to required"
        }
        PARKED => {
            set(fields, "a", json!("string"), json!("x-$n"));
            "long to string, which no table takes"
        }
        _ => {
            set(fields, "a", json!("long"), json!("$n"));
            "back to what fits"
        }
    }
}

fn schema(fields: &Fields) -> String {
    let fields: Vec<_> = fields
        .iter()
        .map(|(name, kind, _)| {
            let mut field = json!({"name": name, "type": kind});
            match *name {
                "title" => field["aliases"] = json!(["name"]),
                "dflt" => field["default"] = json!("none"),
                _ => {}
            }
            field
        })
        .collect();
    json!({"type": "record", "name": "Case", "fields": fields}).to_string()
}

fn row(step: usize, n: i64) -> Value {
    let from = |first: usize, value: Value| if step >= first { value } else { Value::Null };
    let bits = |value: f64| format!("{:016x}", value.to_bits());
    json!([
        n,
        step,
        n,
        bits(if step >= DOUBLE { 0.1 } else { 1.5 }),
        if step >= PRECISION { "9999999999999999.99" } else { "1234567.89" },
        [n, if step >= ELEMENT { 5_000_000_000_i64 } else { 7 }],
        {"x": n, "y": from(NESTED, json!(format!("y-{n}")))},
        format!("name-{n}"),
        if step >= DROPPED { Value::Null } else { json!("g") },
        from(OPTIONAL, json!(format!("o-{n}"))),
        from(DEFAULT, json!(format!("d-{n}"))),
    ])
}

pub(super) fn walk() -> Walk {
    let mut fields = first();
    let steps = (0..=PARKED + 1).map(|step| {
        let what = change(&mut fields, step);
        let value = fields.iter().map(|(name, _, value)| ((*name).to_owned(), value.clone()));
        let mut value: Value = value.collect::<serde_json::Map<_, _>>().into();
        value["step"] = json!(step);
        Step { what, schema: schema(&fields), value }
    });
    Walk {
        topic: "avro",
        format: "avro",
        steps: steps.collect(),
        parked: PARKED,
        columns: &[
            ("n", "long"),
            ("step", "int"),
            ("a", "long"),
            ("f", "double"),
            ("d", "decimal(18, 2)"),
            ("items", "list<long>"),
            ("nest", "struct<x: int, y: string>"),
            ("title", "string"),
            ("gone", "string"),
            ("o", "string"),
            ("dflt", "string"),
        ],
        texts: ", d::text AS d_text",
        row,
    }
}
