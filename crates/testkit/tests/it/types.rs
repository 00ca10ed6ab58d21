//! Every row of the type mapping (docs/formats.md) and of the grammar of modes: produced with confluent-kafka's own
//! serializers, committed, and read by engines that nobody here wrote: the same columns, types and values.

mod avro;
mod json;
mod modes;
mod protobuf;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use testkit::outside::{python, spark};

use crate::world::{World, long};

/// Key or value of a case's records.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Side {
    /// `none`, `avro`, `json` or `protobuf`.
    format: &'static str,
    schema: &'static str,
    references: &'static [(&'static str, &'static str)],
    /// The message's full name, of Protobuf.
    message: &'static str,
    /// Instead of `<topic>-key` and `<topic>-value`.
    subject: &'static str,
    /// Where the schema's id goes: `prefix`, `header`, or `none`.
    framing: &'static str,
}

impl Side {
    const BYTES: Self =
        Self { format: "none", schema: "", references: &[], message: "", subject: "", framing: "none" };

    fn json(&self) -> Value {
        json!({
            "format": self.format, "schema": self.schema, "references": self.references,
            "message": self.message, "subject": self.subject, "framing": self.framing,
        })
    }
}

/// What a producer sends and what every reader must find.
#[derive(Debug)]
pub(crate) struct Case {
    topic: String,
    mode: &'static str,
    key: Side,
    value: Side,
    records: Vec<Value>,
    /// Name and Iceberg type of every column behind `redpanda`, in order; all of them are optional.
    columns: Vec<(String, String)>,
    /// Members of `redpanda` that are not the usual ones, with their types.
    metadata: Vec<(&'static str, &'static str)>,
    /// Of every record: its columns' values, and members of `redpanda` that are looked at.
    rows: Vec<(Value, Value)>,
}

impl Case {
    fn new(topic: &str, value: Side) -> Self {
        Self {
            topic: topic.to_owned(),
            mode: "value_schema_id_prefix",
            key: Side::BYTES,
            value,
            records: Vec::new(),
            columns: Vec::new(),
            metadata: Vec::new(),
            rows: Vec::new(),
        }
    }

    fn column(mut self, name: &str, kind: &str) -> Self {
        self.columns.push((name.to_owned(), kind.to_owned()));
        self
    }

    /// A record with nothing but a value.
    fn row(self, value: Value, columns: Value) -> Self {
        self.record(json!(null), value, json!([]), columns, json!({}))
    }

    fn record(mut self, key: Value, value: Value, headers: Value, columns: Value, metadata: Value) -> Self {
        self.records.push(json!({"key": key, "value": value, "headers": headers}));
        self.rows.push((columns, metadata));
        self
    }

    fn request(&self) -> Value {
        json!({
            "topic": self.topic, "key": self.key.json(), "value": self.value.json(), "records": self.records,
            "config": {"redpanda.iceberg.mode": self.mode, "redpanda.iceberg.target.lag.ms": "1000"},
        })
    }

    /// The type of the column `redpanda`.
    fn metadata_type(&self) -> String {
        let mut members = vec![
            ("partition", "int"),
            ("timestamp", "timestamptz"),
            ("offset", "long"),
            ("headers", "list<struct<key: string, value: binary>>"),
            ("key", "binary"),
            ("timestamp_type", "int"),
        ];
        for (name, kind) in &self.metadata {
            match members.iter_mut().find(|(usual, _)| usual == name) {
                Some(member) => member.1 = kind,
                None => members.push((name, kind)),
            }
        }
        let members: Vec<_> = members.into_iter().map(|(name, kind)| format!("{name}: {kind}")).collect();
        format!("struct<{}>", members.join(", "))
    }

    /// What differs from what an engine found.
    fn compare(&self, engine: &str, found: &Value) -> Result<()> {
        let expected =
            [("redpanda".to_owned(), self.metadata_type())].into_iter().chain(self.columns.clone());
        let expected: Vec<Value> =
            expected.map(|(name, kind)| json!([name, as_engine_sees(engine, &kind)])).collect();
        ensure!(found["columns"] == json!(expected), "columns {}\nnot {}", found["columns"], json!(expected));
        let rows = found["rows"].as_array().context("rows")?;
        ensure!(rows.len() == self.rows.len(), "{} rows, not {}", rows.len(), self.rows.len());
        for (offset, (row, (columns, metadata))) in rows.iter().zip(&self.rows).enumerate() {
            let row = row.as_array().context("row")?;
            ensure!(row[0]["offset"] == offset, "offset {} at {offset}", row[0]["offset"]);
            for (index, value) in columns.as_array().context("columns")?.iter().enumerate() {
                let (name, kind) = &self.columns[index];
                let found = &match row[index + 1].as_str() {
                    // Some print a UUID as text, some its bytes.
                    Some(text) if kind == "uuid" => json!(text.replace('-', "")),
                    _ => row[index + 1].clone(),
                };
                let empty = value.is_null() && found == &json!([]) && loses_nulls(engine, kind);
                ensure!(found == value || empty, "row {offset}: {name} is {found}\nnot {value}");
            }
            ensure!(row.len() == self.columns.len() + 1, "row {offset} has {} columns", row.len());
            for (member, value) in metadata.as_object().context("metadata")? {
                ensure!(
                    row[0][member] == *value,
                    "row {offset}: {member} is {}\nnot {value}",
                    row[0][member]
                );
            }
        }
        Ok(())
    }
}

/// The bits of a float's double, as the readers print them.
fn f(value: f64) -> Value {
    if value.is_nan() { json!("NaN") } else { json!(format!("{:016x}", value.to_bits())) }
}

/// What engines have other words for: DuckDB and Spark have no fixed-length bytes, Spark has no UUIDs.
fn as_engine_sees(engine: &str, kind: &str) -> String {
    let mut kind = kind.to_owned();
    if engine != "pyiceberg" {
        while let Some(at) = kind.find("fixed[") {
            let end = at + kind[at..].find(']').unwrap_or_default();
            kind.replace_range(at..=end, "binary");
        }
    }
    if engine == "spark" {
        kind = kind.replace("uuid", "string");
    }
    kind
}

/// PyIceberg 0.12 builds lists and maps of structs anew from offsets alone (its own comment names arrow#38809): what was
/// null comes out empty.
fn loses_nulls(engine: &str, kind: &str) -> bool {
    engine == "pyiceberg" && (kind.starts_with("list<struct") || kind.starts_with("map<string, struct"))
}

/// Spark has no type for a time of day and says so of the whole table.
fn is_beyond_spark(case: &Case) -> bool {
    case.columns.iter().any(|(_, kind)| kind == "time")
}

fn read(world: &World, engine: &str, topics: &[&str]) -> Result<BTreeMap<String, Value>> {
    let port = world.ports.catalog().to_string();
    let args = [engine, &port];
    let topics = json!(topics).to_string();
    let text = match engine {
        "spark" => spark("typed_read.py", &args, &topics)?,
        _ => python("typed_read.py", &args, &topics)?,
    };
    let mut found = BTreeMap::new();
    for line in text.lines() {
        let table: Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
        found.insert(table["table"].as_str().context("table")?.to_owned(), table);
    }
    Ok(found)
}

#[test]
fn every_type_and_mode_is_the_same_for_every_engine() -> Result<()> {
    let mut cases = avro::cases();
    cases.extend(json::cases());
    cases.extend(protobuf::cases());
    cases.extend(modes::cases());
    let world = World::new("types")?;
    let node = world.start()?;
    let ports = [world.ports.kafka().to_string(), world.ports.registry().to_string()];
    let requests: Vec<_> = cases.iter().map(Case::request).collect();
    python("typed_produce.py", &[&ports[0], &ports[1]], &json!(requests).to_string())?;
    let mut wrong = Vec::new();
    for case in &cases {
        if let Err(error) = node.wait_until_committed(&case.topic, Duration::from_secs(60)) {
            wrong.push(error.to_string());
            continue;
        }
        let status = node.table_status(&case.topic)?;
        if status["dead_letters"] != 0 {
            let why = format!(r#"SELECT (redpanda).offset, (error).message FROM "{}~dlq""#, case.topic);
            wrong.push(format!("{}: {}", case.topic, world.frazil(&["sql", "-c", &why])?));
        }
    }
    let engines: &[_] = if long() { &["pyiceberg", "duckdb", "spark"] } else { &["pyiceberg", "duckdb"] };
    for engine in engines {
        let topics: Vec<_> = cases.iter().map(|case| case.topic.as_str()).collect();
        let found = read(&world, engine, &topics)?;
        let mut seen = 0;
        for case in &cases {
            let table = found.get(&case.topic).with_context(|| format!("{engine} has no {}", case.topic))?;
            if let Some(error) = table["error"].as_str() {
                let known = *engine == "spark" && is_beyond_spark(case);
                ensure!(known, "{engine}, {}: {error}", case.topic);
            } else if let Err(error) = case.compare(engine, table) {
                wrong.push(format!("{engine}, {}: {error}", case.topic));
            } else {
                seen += 1;
            }
        }
        println!("{engine}: {seen} of {} tables as expected", cases.len());
    }
    ensure!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));
    node.stop()
}
