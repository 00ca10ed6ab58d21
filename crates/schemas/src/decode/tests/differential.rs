//! Mutated records: the decoder and a plain reading by serde_json must agree on every one.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::json;

use super::*;
use crate::calendar;

/// A JSON value with all members, doubled ones too.
#[derive(Debug, Clone)]
enum Tree {
    Null,
    Boolean(bool),
    Integer(i64),
    Double(f64),
    Text(String),
    Array(Vec<Tree>),
    Object(Vec<(String, Tree)>),
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Tree;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("JSON")
            }
            fn visit_unit<E: Error>(self) -> Result<Tree, E> {
                Ok(Tree::Null)
            }
            fn visit_bool<E: Error>(self, v: bool) -> Result<Tree, E> {
                Ok(Tree::Boolean(v))
            }
            fn visit_i64<E: Error>(self, v: i64) -> Result<Tree, E> {
                Ok(Tree::Integer(v))
            }
            fn visit_u64<E: Error>(self, v: u64) -> Result<Tree, E> {
                Ok(i64::try_from(v).map_or(Tree::Double(v as f64), Tree::Integer))
            }
            fn visit_f64<E: Error>(self, v: f64) -> Result<Tree, E> {
                Ok(Tree::Double(v))
            }
            fn visit_str<E: Error>(self, v: &str) -> Result<Tree, E> {
                Ok(Tree::Text(v.to_owned()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Tree, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    items.push(item);
                }
                Ok(Tree::Array(items))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tree, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Tree::Object(members))
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

fn schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "id": {"type": "string"},
            "qty": {"type": "integer"},
            "px": {"type": "number"},
            "ok": {"type": "boolean"},
            "ts": {"type": "string", "format": "date-time"},
            "note": {"type": ["string", "null"]},
            "tags": {"type": "array", "items": {"type": "string"}},
            "in": {"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]},
        },
        "required": ["id", "qty", "note"],
    })
}

/// The row by a plain reading, as the encoder would write it; none if it is no row.
fn plainly(tree: &Tree) -> Option<String> {
    let Tree::Object(members) = tree else { return None };
    let mut out = serde_json::Map::new();
    for (name, required, nullable) in [
        ("id", true, false),
        ("qty", true, false),
        ("px", false, false),
        ("ok", false, false),
        ("ts", false, false),
        ("note", true, true),
        ("tags", false, false),
        ("in", false, false),
    ] {
        let mut last = None;
        for (_, value) in members.iter().filter(|(n, _)| n == name) {
            last = Some(match value {
                Tree::Null if nullable || !required => Value::Null,
                value => field(name, value)?,
            });
        }
        match last {
            None if required => return None,
            None | Some(Value::Null) => {}
            Some(value) => {
                out.insert(name.into(), value);
            }
        }
    }
    Some(Value::Object(out).to_string())
}

fn whole(value: &Tree) -> Option<i64> {
    match value {
        Tree::Integer(v) => Some(*v),
        Tree::Double(v) if v.fract() == 0.0 && v.abs() < 9.2e18 => Some(*v as i64),
        _ => None,
    }
}

fn field(name: &str, value: &Tree) -> Option<Value> {
    match (name, value) {
        ("id" | "note", Tree::Text(text)) => Some(json!(text)),
        ("qty", value) => whole(value).map(|v| json!(v)),
        ("px", Tree::Integer(v)) => Some(json!(*v as f64)),
        ("px", Tree::Double(v)) => Some(json!(v)),
        ("ok", Tree::Boolean(v)) => Some(json!(v)),
        ("ts", Tree::Text(text)) => {
            let parsed = chrono::DateTime::parse_from_rfc3339(text).ok()?;
            // chrono takes leap seconds and a space between date and time; the decoder does not.
            if text.as_bytes().get(10)? == &b' ' || text.as_bytes().get(17..19)? == b"60" {
                return None;
            }
            let mut out = Vec::new();
            calendar::write_timestamp(&mut out, parsed.timestamp_micros()).then_some(())?;
            Some(json!(String::from_utf8(out).ok()?))
        }
        ("tags", Tree::Array(items)) => {
            let texts: Option<Vec<Value>> = items
                .iter()
                .map(|item| if let Tree::Text(text) = item { Some(json!(text)) } else { None })
                .collect();
            texts.map(Value::Array)
        }
        ("in", Tree::Object(members)) => {
            let mut last = None;
            for (_, value) in members.iter().filter(|(n, _)| n == "x") {
                last = Some(whole(value)?);
            }
            last.map(|x| json!({"x": x}))
        }
        _ => None,
    }
}

const SEEDS: &[&str] = &[
    r#"{"id":"b2c3","qty":17,"px":12.75,"ok":true,"ts":"2024-05-01T12:34:56.789012Z","note":null,"tags":["a","b"],"in":{"x":3}}"#,
    r#"{"id": "ü\u00e9\ud83d\ude00", "note": "x\n", "qty": 3.0, "px": -1e-3, "in": {"y": [1, {"z": null}], "x": -4}}"#,
    r#"{"note":null,"id":"","qty":0,"ts":"1999-12-31T23:59:59+01:30","tags":[],"extra":{"a":[true,false,{}]},"px":5}"#,
];

const PIECES: &[&str] = &[
    "\"",
    "\\",
    ",",
    ":",
    "{",
    "}",
    "[",
    "]",
    "null",
    "true",
    "0",
    "-",
    "1e5",
    ".5",
    "12",
    "\\u0041",
    "\\ud800",
    " ",
    "\n",
    "\t",
    "\u{1}",
    "ü",
    "\"id\":",
    "\"qty\":1,",
    "\"x\":2,",
    "\"note\":null,",
    "99999999999",
    "E+2",
];

fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    let at = random.below(bytes.len());
    match random.below(6) {
        0 => bytes[at] = random.below(256) as u8,
        1 => bytes[at] = b" \"\\{}[]:,0123456789eE+-.tfn"[random.below(27)],
        2 => {
            bytes.remove(at);
        }
        3 => {
            let piece = PIECES[random.below(PIECES.len())];
            bytes.splice(at..at, piece.bytes());
        }
        4 => {
            let end = (at + 1 + random.below(12)).min(bytes.len());
            let copied = bytes[at..end].to_vec();
            let to = random.below(bytes.len());
            bytes.splice(to..to, copied);
        }
        _ => {
            let end = (at + 1 + random.below(6)).min(bytes.len());
            bytes.drain(at..end);
        }
    }
    if bytes.is_empty() {
        bytes.push(b'{');
    }
}

#[test]
fn mutated_records_read_as_serde_json_reads_them() {
    let decoder = decoder(&schema()).expect("supported");
    let mut random = Random(0x5eed);
    let (mut accepted, mut refused) = (0, 0);
    for round in 0..500 {
        let mut records: Vec<Vec<u8>> = Vec::new();
        for index in 0..60 {
            let mut bytes = SEEDS[(round + index) % SEEDS.len()].as_bytes().to_vec();
            for _ in 0..random.below(4) {
                mutate(&mut bytes, &mut random);
            }
            if bytes[0] != 0 {
                records.push(bytes);
            }
        }
        let values: Vec<_> = records.iter().map(|r| Some(r.as_slice())).collect();
        let decoded = decoder.decode(&values);
        let rejected: std::collections::HashMap<_, _> = decoded.rejected.iter().map(|r| (r.row, r)).collect();
        let mut got = rows(&decoded).into_iter();
        for (row, record) in records.iter().enumerate() {
            let expected = serde_json::from_slice::<Tree>(record).ok().as_ref().and_then(plainly);
            let found = if rejected.contains_key(&row) { None } else { got.next() };
            let why = rejected.get(&row).map(|r| r.message.as_str());
            let text = String::from_utf8_lossy(record);
            if expected.is_none()
                && found.is_some()
                && serde_json::from_slice::<Tree>(record)
                    .is_err_and(|e| e.to_string().contains("out of range"))
            {
                // A number that no double holds, in a member that is passed over.
                continue;
            }
            let expected = expected.map(|row| serde_json::from_str::<Value>(&row).expect("JSON"));
            let found = found.map(|row| serde_json::from_str::<Value>(&row).expect("JSON"));
            assert_eq!(found, expected, "{text}: {why:?}");
            if found.is_some() { accepted += 1 } else { refused += 1 }
        }
        assert_eq!(got.next(), None);
    }
    assert!(accepted > 5_000 && refused > 5_000, "{accepted} accepted, {refused} refused");
}
