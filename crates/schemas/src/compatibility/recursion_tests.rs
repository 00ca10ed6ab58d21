//! Whatever the schemas are, a comparison ends, and a schema reads what it wrote.

use super::*;
use crate::registry::RegisteredSchema;

fn schema(schema_type: SchemaType, text: String) -> Option<ResolvedSchema> {
    let schema = RegisteredSchema { id: 1, schema_type, schema: text, references: Vec::new() };
    let schema = ResolvedSchema::alone(schema);
    crate::validity::check(&schema).is_ok().then_some(schema)
}

/// Runs on a stack as small as those of the threads that answer requests.
fn compared(new: ResolvedSchema, old: ResolvedSchema) -> Vec<Difference> {
    let run = move || differences(Compatibility::FullTransitive, &new, &old);
    let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(run).expect("a thread");
    thread.join().expect("no panic")
}

#[test]
fn long_chains_of_names_end() {
    let avro = |last: &str| {
        let record = |i: usize| match i {
            0 => format!(r#"{{"type":"record","name":"r0","fields":[{{"name":"f","type":"{last}"}}]}}"#),
            i => format!(
                r#"{{"type":"record","name":"r{i}","fields":[{{"name":"f","type":"r{}"}},{{"name":"g","type":["null","r{}"],"default":null}}]}}"#,
                i - 1,
                i - 1
            ),
        };
        let all: Vec<String> = (0..300).map(record).collect();
        schema(SchemaType::Avro, format!("[{}]", all.join(","))).expect("valid")
    };
    assert_eq!(compared(avro("long"), avro("long")), []);
    assert!(!compared(avro("long"), avro("string")).is_empty());
    let json = |last: &str| {
        let definition = |i: usize| match i {
            0 => format!(r#""d0":{{"type":"{last}"}}"#),
            i => format!(
                r##""d{i}":{{"type":"object","properties":{{"p":{{"$ref":"#/definitions/d{}"}}}}}}"##,
                i - 1
            ),
        };
        let all: Vec<String> = (0..300).map(definition).collect();
        let text = format!(r##"{{"definitions":{{{}}},"$ref":"#/definitions/d299"}}"##, all.join(","));
        ResolvedSchema::alone(RegisteredSchema {
            id: 1,
            schema_type: SchemaType::Json,
            schema: text,
            references: Vec::new(),
        })
    };
    let found = compared(json("string"), json("string"));
    assert!(found.iter().all(|d| d.kind == "COMPARISON_TOO_LARGE"), "too deep is said: {found:?}");
    let messages: Vec<String> =
        (1..300).map(|i| format!("message M{i} {{ M{} next = 1; }}", i - 1)).collect();
    let proto = |last: &str| {
        let text = format!("syntax = \"proto3\"; message M0 {{ {last} v = 1; }} {}", messages.join(" "));
        schema(SchemaType::Protobuf, text).expect("valid")
    };
    assert_eq!(compared(proto("int32"), proto("int64")), []);
    assert_eq!(compared(proto("int32"), proto("string")).len(), 2);
}

#[test]
fn circles_end() {
    let a = r#"{"type":"record","name":"t","fields":[{"name":"l","type":["null","t"]},{"name":"r","type":["null","t"]},{"name":"v","type":"int"}]}"#;
    let of = |text: &str| schema(SchemaType::Avro, text.into()).expect("valid");
    assert_eq!(compared(of(a), of(a)), []);
    assert!(!compared(of(a), of(&a.replace("\"int\"", "\"string\""))).is_empty());
    for text in [
        r##"{"$ref":"#"}"##,
        r##"{"anyOf":[{"$ref":"#"},{"type":"string"}]}"##,
        r##"{"not":{"$ref":"#"}}"##,
        r##"{"definitions":{"a":{"$ref":"#/definitions/b"},"b":{"$ref":"#/definitions/a"}},"allOf":[{"$ref":"#/definitions/a"}]}"##,
        r##"{"type":"object","properties":{"l":{"$ref":"#"},"r":{"oneOf":[{"$ref":"#"},{"type":"null"}]}}}"##,
    ] {
        // Valid or not: the answer must come.
        let make = || {
            ResolvedSchema::alone(RegisteredSchema {
                id: 1,
                schema_type: SchemaType::Json,
                schema: text.into(),
                references: Vec::new(),
            })
        };
        let _ = compared(make(), make());
    }
}

/// Small pseudo-random numbers: the same seed gives the same schemas.
struct Random(u64);

impl Random {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most
    }

    fn json(&mut self, depth: u64) -> String {
        if depth == 0 {
            let leaves = [
                r#"{"type":"string"}"#,
                r#"{"type":"integer","minimum":3}"#,
                "true",
                "false",
                "{}",
                r#"{"enum":["a",1,null]}"#,
                r##"{"$ref":"#"}"##,
                r##"{"$ref":"#/definitions/d"}"##,
                r#"{"maxLength":4}"#,
            ];
            return leaves[self.below(leaves.len() as u64) as usize].into();
        }
        let (a, b) = (self.json(depth - 1), self.json(depth - 1));
        match self.below(8) {
            0 => format!(r#"{{"anyOf":[{a},{b}]}}"#),
            1 => format!(r#"{{"oneOf":[{a},{b}]}}"#),
            2 => format!(r#"{{"allOf":[{a},{b}]}}"#),
            3 => format!(r#"{{"not":{a}}}"#),
            4 => format!(r#"{{"type":"object","properties":{{"x":{a}}},"additionalProperties":{b}}}"#),
            5 => format!(
                r#"{{"properties":{{"x":{a},"y":{b}}},"required":["x"],"patternProperties":{{"^y":{a}}}}}"#
            ),
            6 => format!(r#"{{"type":["array","null"],"items":[{a}],"additionalItems":{b}}}"#),
            _ => format!(r#"{{"type":"array","items":{a},"contains":{b}}}"#),
        }
    }

    fn avro(&mut self, depth: u64, names: &mut u64) -> String {
        if depth == 0 {
            let leaves = [
                "\"int\"",
                "\"long\"",
                "\"string\"",
                "\"null\"",
                "\"n0\"",
                r#"{"type":"bytes","logicalType":"decimal","precision":4}"#,
            ];
            return leaves[self.below(leaves.len() as u64) as usize].into();
        }
        match self.below(4) {
            0 => format!(r#"{{"type":"array","items":{}}}"#, self.avro(depth - 1, names)),
            1 => format!(r#"{{"type":"map","values":{}}}"#, self.avro(depth - 1, names)),
            2 => format!(r#"["null",{}]"#, self.avro(0, names)),
            _ => {
                let name = *names;
                *names += 1;
                let (a, b) = (self.avro(depth - 1, names), self.avro(depth - 1, names));
                format!(
                    r#"{{"type":"record","name":"n{name}","fields":[{{"name":"a","type":{a}}},{{"name":"b","type":["null",{{"type":"array","items":{b}}}],"default":null}}]}}"#
                )
            }
        }
    }
}

#[test]
fn any_schema_reads_itself_and_any_pair_is_answered() {
    let rounds = if std::env::var_os("FRAZIL_LONG").is_some() { 20_000 } else { 60 };
    let mut random = Random(7);
    let (mut json_before, mut avro_before) = (None, None);
    for round in 0..rounds {
        let text = random.json(1 + round % 4);
        let text = format!(r#"{{"definitions":{{"d":{}}},"allOf":[{text}]}}"#, random.json(1));
        if let Some(made) = schema(SchemaType::Json, text.clone()) {
            let own = compared(made.clone(), made.clone());
            assert!(
                own.iter().all(|d| d.kind == "COMPARISON_TOO_LARGE"),
                "{text} does not read itself: {own:?}"
            );
            if let Some(before) = json_before.replace(made.clone()) {
                let _ = compared(made, before);
            }
        }
        let text = format!(
            r#"{{"type":"record","name":"n0","fields":[{{"name":"x","type":{}}}]}}"#,
            random.avro(1 + round % 4, &mut 1)
        );
        if let Some(made) = schema(SchemaType::Avro, text.clone()) {
            assert_eq!(compared(made.clone(), made.clone()), [], "{text}");
            if let Some(before) = avro_before.replace(made.clone()) {
                let _ = compared(made, before);
            }
        }
    }
}
