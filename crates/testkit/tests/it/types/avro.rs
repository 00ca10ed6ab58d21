//! Avro: one case for each row of the mapping, with the ends of its range; unions, names and references.

use serde_json::{Value, json};

use super::{Case, Side, f};

fn side(schema: String) -> Side {
    // Leaked: cases live as long as the test.
    Side { format: "avro", schema: schema.leak(), framing: "prefix", ..Side::BYTES }
}

/// Two fields of one type: `v`, and `o` that is null in every other record.
fn of_type(name: &str, kind: Value, iceberg: &str, values: Vec<(Value, Value)>) -> Case {
    // A named type is defined once.
    let again = kind.get("name").unwrap_or(&kind).clone();
    let schema = json!({"type": "record", "name": "Case", "fields": [
        {"name": "v", "type": kind},
        {"name": "o", "type": ["null", again], "default": null},
    ]});
    let mut case = Case::new(&format!("avro-{name}"), side(schema.to_string()))
        .column("v", iceberg)
        .column("o", iceberg);
    for (index, (sent, found)) in values.into_iter().enumerate() {
        let null = index % 2 == 1;
        let (o, o_found) = if null { (json!(null), json!(null)) } else { (sent.clone(), found.clone()) };
        case = case.row(json!({"v": sent, "o": o}), json!([found, o_found]));
    }
    case
}

/// Values that are found as they were sent.
fn same<const N: usize>(values: [Value; N]) -> Vec<(Value, Value)> {
    values.into_iter().map(|value| (value.clone(), value)).collect()
}

fn primitives() -> Vec<Case> {
    let bytes = |digits: &str| (json!({ "$bytes": digits }), json!(digits));
    let floats = |max: f64, least: f64| {
        let mut values = vec![(json!({"$float": "NaN"}), f(f64::NAN)), (json!({"$float": "-0.0"}), f(-0.0))];
        for value in [0.0, 1.5, -1.5, max, -max, least] {
            values.push((json!(value), f(value)));
        }
        for text in ["inf", "-inf"] {
            values.push((json!({ "$float": text }), f(text.parse().unwrap_or_default())));
        }
        values
    };
    vec![
        of_type("boolean", json!("boolean"), "boolean", same([json!(true), json!(false), json!(true)])),
        of_type("int", json!("int"), "int", same([json!(i32::MIN), json!(-1), json!(0), json!(i32::MAX)])),
        of_type("long", json!("long"), "long", same([json!(i64::MIN), json!(-1), json!(i64::MAX), json!(0)])),
        of_type("float", json!("float"), "float", floats(f64::from(f32::MAX), f64::from(f32::MIN_POSITIVE))),
        of_type("double", json!("double"), "double", floats(f64::MAX, 5e-324)),
        of_type(
            "string",
            json!("string"),
            "string",
            same([json!(""), json!("Zürich 株 🦀 \u{0}\n"), json!("x".repeat(5000))]),
        ),
        of_type(
            "enum",
            json!({"type": "enum", "name": "Suit", "symbols": ["SPADES", "HEARTS"]}),
            "string",
            same([json!("SPADES"), json!("HEARTS")]),
        ),
        of_type("bytes", json!("bytes"), "binary", vec![bytes(""), bytes("00ff"), bytes(&"ab".repeat(300))]),
        of_type(
            "fixed",
            json!({"type": "fixed", "name": "Four", "size": 4}),
            "fixed[4]",
            vec![bytes("00000000"), bytes("deadbeef")],
        ),
    ]
}

fn decimals() -> Vec<Case> {
    let all_nines = "9".repeat(38);
    let number = |text: &str| (json!({ "$decimal": text }), json!(text));
    let decimal = |name: &str, precision: u32, scale: u32, fixed: Option<u32>, values: &[&str]| {
        let mut kind =
            json!({"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale});
        if let Some(size) = fixed {
            kind["type"] = json!("fixed");
            kind["size"] = json!(size);
            kind["name"] = json!("Fixed");
        }
        let iceberg = format!("decimal({precision}, {scale})");
        of_type(name, kind, &iceberg, values.iter().map(|value| number(value)).collect())
    };
    let small = ["0.00", "1234567.89", "-9999999.99", "-0.01"];
    vec![
        decimal("decimal-bytes", 9, 2, None, &small),
        decimal("decimal-fixed", 9, 2, Some(4), &small),
        decimal("decimal-18", 18, 18, None, &["0.999999999999999999", "-0.000000000000000001"]),
        decimal("decimal-38", 38, 0, None, &["0", &all_nines, &format!("-{all_nines}")]),
        decimal(
            "decimal-38-fixed",
            38,
            10,
            Some(16),
            &[
                "9999999999999999999999999999.9999999999",
                "-9999999999999999999999999999.9999999999",
                "0.0000000001",
            ],
        ),
    ]
}

/// Ends of the years 1 and 9999, in days and microseconds since 1970.
const DAYS: [i64; 2] = [-719_162, 2_932_896];
const MICROS: [i64; 2] = [-62_135_596_800_000_000, 253_402_300_799_999_999];

fn times() -> Vec<Case> {
    let logical = |base: &str, name: &str| json!({"type": base, "logicalType": name});
    let uuid = "00112233-4455-6677-8899-aabbccddeeff";
    let uuid_digits = uuid.replace('-', "");
    let mut cases = vec![
        of_type(
            "uuid-string",
            logical("string", "uuid"),
            UUID,
            vec![(json!(uuid), json!(uuid_digits)), (json!(uuid.to_uppercase()), json!(uuid_digits))],
        ),
        of_type(
            "uuid-fixed",
            json!({"type": "fixed", "name": "Id", "size": 16, "logicalType": "uuid"}),
            UUID,
            vec![(json!({"$bytes": uuid_digits}), json!(uuid_digits)); 2],
        ),
        of_type("date", logical("int", "date"), "date", same([json!(DAYS[0]), json!(-1), json!(DAYS[1])])),
        of_type(
            "time-millis",
            logical("int", "time-millis"),
            "time",
            vec![(json!(0), json!(0)), (json!(86_399_999), json!(86_399_999_000_i64))],
        ),
        of_type(
            "time-micros",
            logical("long", "time-micros"),
            "time",
            same([json!(0), json!(86_399_999_999_i64), json!(1)]),
        ),
    ];
    for (prefix, iceberg) in [("timestamp", "timestamptz"), ("local-timestamp", "timestamp")] {
        let millis = [MICROS[0] / 1000, -1, 0, MICROS[1] / 1000];
        let micros = [MICROS[0], -1, 1, MICROS[1]];
        let nanos = [i64::MIN, -1, -1000, 1_999, i64::MAX];
        let sent = |values: &[i64], found: &dyn Fn(i64) -> i64| {
            values.iter().map(|value| (json!(value), json!(found(*value)))).collect::<Vec<_>>()
        };
        let name = |unit: &str| format!("{prefix}-{unit}");
        let case = |unit: &str, values| of_type(&name(unit), logical("long", &name(unit)), iceberg, values);
        cases.push(case("millis", sent(&millis, &|ms| ms * 1000)));
        cases.push(case("micros", sent(&micros, &|us| us)));
        // Cut off towards the past.
        cases.push(case("nanos", sent(&nanos, &|ns| ns.div_euclid(1000))));
    }
    cases
}

/// Iceberg's type of UUIDs.
const UUID: &str = "uuid";

fn nested() -> Vec<Case> {
    let pair = json!({"type": "record", "name": "Pair", "fields": [
        {"name": "a", "type": "int"}, {"name": "b", "type": ["null", "string"], "default": null}]});
    let deep = json!({"type": "array", "items": {"type": "map", "values": {"type": "array", "items": ["null", "long"]}}});
    vec![
        of_type(
            "record",
            pair,
            "struct<a: int, b: string>",
            same([json!({"a": 1, "b": "x"}), json!({"a": -1, "b": null}), json!({"a": 0, "b": ""})]),
        ),
        of_type(
            "array",
            json!({"type": "array", "items": "string"}),
            "list<string>",
            same([json!([]), json!(["a", ""]), json!(["株"])]),
        ),
        of_type(
            "map",
            json!({"type": "map", "values": "double"}),
            "map<string, double>",
            vec![
                (json!({}), json!([])),
                (json!({"b": 1.0, "a": 2.0}), json!([["a", f(2.0)], ["b", f(1.0)]])),
                (json!({"": -1.0}), json!([["", f(-1.0)]])),
            ],
        ),
        of_type(
            "deep",
            deep,
            "list<map<string, list<long>>>",
            vec![
                (json!([]), json!([])),
                (json!([{}, {"k": [1, null, i64::MIN]}]), json!([[], [["k", [1, null, i64::MIN]]]])),
                (json!([{"e": []}]), json!([[["e", []]]])),
            ],
        ),
    ]
}

fn unions() -> Vec<Case> {
    let fields =
        |fields: Value| side(json!({"type": "record", "name": "Case", "fields": fields}).to_string());
    vec![
        // Null in either order is an optional type; null alone and durations make no columns.
        Case::new(
            "avro-optional",
            fields(json!([
                {"name": "first", "type": ["null", "int"]},
                {"name": "last", "type": ["int", "null"]},
                {"name": "only", "type": ["int"]},
                {"name": "nothing", "type": "null"},
                {"name": "span", "type": {"type": "fixed", "name": "Span", "size": 12, "logicalType": "duration"}},
            ])),
        )
        .column("first", "int")
        .column("last", "int")
        .column("only", "int")
        .row(
            json!({"first": 1, "last": 2, "only": 3, "nothing": null, "span": {"$bytes": "00".repeat(12)}}),
            json!([1, 2, 3]),
        )
        .row(
            json!({"first": null, "last": null, "only": 0, "nothing": null, "span": {"$bytes": "01".repeat(12)}}),
            json!([null, null, 0]),
        ),
        Case::new(
            "avro-union",
            fields(json!([{"name": "u", "type": ["null", "long", "string",
                {"type": "record", "name": "Point", "namespace": "geo", "fields": [{"name": "x", "type": "double"}]},
                {"type": "array", "items": "int"}]}])),
        )
        .column("u", "struct<long: long, string: string, Point: struct<x: double>, array: list<int>>")
        .row(json!({"u": null}), json!([null]))
        .row(json!({"u": {"$branch": ["long", -5]}}), json!([{"long": -5, "string": null, "Point": null, "array": null}]))
        .row(json!({"u": "s"}), json!([{"long": null, "string": "s", "Point": null, "array": null}]))
        .row(
            json!({"u": {"$branch": ["geo.Point", {"x": 2.5}]}}),
            json!([{"long": null, "string": null, "Point": {"x": f(2.5)}, "array": null}]),
        )
        .row(json!({"u": []}), json!([{"long": null, "string": null, "Point": null, "array": []}])),
        // A type of a reference, used twice; names with and without their namespace.
        Case::new(
            "avro-references",
            Side {
                references: &[(
                    "shop.Money",
                    r#"{"type":"record","name":"Money","namespace":"shop","fields":[
                        {"name":"amount","type":{"type":"bytes","logicalType":"decimal","precision":10,"scale":2}},
                        {"name":"currency","type":{"type":"enum","name":"Currency","symbols":["CHF","EUR"]}}]}"#,
                )],
                ..side(
                    json!({"type": "record", "name": "Order", "namespace": "shop", "fields": [
                        {"name": "price", "type": "shop.Money"},
                        {"name": "lines", "type": {"type": "array", "items": "Money"}},
                        {"name": "paid_in", "type": ["null", "Currency"]},
                    ]})
                    .to_string(),
                )
            },
        )
        .column("price", "struct<amount: decimal(10, 2), currency: string>")
        .column("lines", "list<struct<amount: decimal(10, 2), currency: string>>")
        .column("paid_in", "string")
        .row(
            json!({"price": {"amount": {"$decimal": "12.50"}, "currency": "CHF"},
                "lines": [{"amount": {"$decimal": "-0.01"}, "currency": "EUR"}], "paid_in": "EUR"}),
            json!([{"amount": "12.50", "currency": "CHF"}, [{"amount": "-0.01", "currency": "EUR"}], "EUR"]),
        ),
        // Names that SQL or paths would stumble over.
        Case::new("avro-names", fields(json!([{"name": "Select", "type": "int"}, {"name": "_a1", "type": "string"}])))
            .column("Select", "int")
            .column("_a1", "string")
            .row(json!({"Select": 1, "_a1": "/../x"}), json!([1, "/../x"])),
    ]
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = primitives();
    for more in [decimals(), times(), nested(), unions()] {
        cases.extend(more);
    }
    cases
}
