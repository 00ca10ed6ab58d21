//! A walk through changes of a schema while records keep coming: the table never stops, and every reader sees every row.

mod avro;
mod json;
mod protobuf;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use testkit::outside::{Companion, python};
use testkit::process::{ProcessNode, http};

use crate::world::World;

/// How long a record may wait for its commit, in milliseconds.
const COMMIT_INTERVAL_MS: i64 = 1000;
/// Records per second.
const RATE: &str = "300";

/// One schema, and what the records look like; `$n` stands for a record's number.
struct Step {
    what: &'static str,
    schema: String,
    value: Value,
}

/// A topic whose schema goes through steps.
struct Walk {
    topic: &'static str,
    format: &'static str,
    steps: Vec<Step>,
    /// The one step whose records cannot become rows.
    parked: usize,
    /// What the table comes to.
    columns: &'static [(&'static str, &'static str)],
    /// Further expressions of SQL's select: `<column>_text` stands for a column that JSON's numbers would round.
    texts: &'static str,
    /// The row of record `n` of a step, as the readers print it.
    row: fn(step: usize, n: i64) -> Value,
}

impl Walk {
    fn request(&self, index: usize) -> String {
        let step = &self.steps[index];
        let side = json!({
            "format": self.format, "schema": step.schema, "references": [], "message": "Case", "subject": "",
            "framing": "prefix",
        });
        json!({"step": index, "side": side, "value": step.value}).to_string()
    }

    /// Rows as SQL shows them, in the form of the readers; `freshness` is the setting.
    fn rows(&self, world: &World, freshness: &str) -> Result<Vec<Value>> {
        let select = format!("SELECT *{} FROM \"{}\" ORDER BY (redpanda).offset", self.texts, self.topic);
        let set = format!("SET frazil.freshness = '{freshness}'");
        let text = world.frazil(&["sql", "-o", "ndjson", "-c", &set, "-c", &select])?;
        text.lines()
            .filter(|line| line.starts_with('{'))
            .map(|line| Ok(serde_json::from_str(line)?))
            .collect()
    }

    /// Compares rows that SQL shows with what was produced; columns come as the schema of the moment has them.
    fn check_sql(&self, rows: &[Value]) -> Result<()> {
        for row in rows {
            let (n, step) = (row["n"].as_i64().context("n")?, row["step"].as_u64().context("step")?);
            ensure!(row["redpanda"]["offset"] == n, "record {n} lies at {}", row["redpanda"]["offset"]);
            let expected = (self.row)(step as usize, n);
            for ((column, kind), expected) in self.columns.iter().zip(expected.as_array().context("row")?) {
                // Before it is renamed it has its old name.
                let value = row.get(format!("{column}_text")).or_else(|| row.get(column));
                let value = value.or_else(|| row.get("name").filter(|_| *column == "title"));
                let found = as_readers_print(kind, value.unwrap_or(&Value::Null));
                // A member of a struct that the table does not have yet is null like a column that it lacks.
                ensure!(
                    found == *expected || without_nulls(&found) == without_nulls(expected),
                    "record {n} of step {step}: {column} is {found}, not {expected}"
                );
            }
        }
        Ok(())
    }
}

/// SQL's JSON in the form of the other readers.
fn as_readers_print(kind: &str, value: &Value) -> Value {
    match value.as_f64() {
        Some(number) if matches!(kind, "float" | "double") => json!(format!("{:016x}", number.to_bits())),
        // Arrays come in PostgreSQL's own form.
        _ => match value.as_str() {
            Some(text) if kind.starts_with("list") => {
                let members = text.trim_matches(['{', '}']).split(',').filter(|member| !member.is_empty());
                members.map(|member| member.parse::<i64>().map_or(Value::Null, |n| json!(n))).collect()
            }
            _ => value.clone(),
        },
    }
}

fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            members.iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k.clone(), without_nulls(v))).collect()
        }
        other => other.clone(),
    }
}

fn number(world: &World, freshness: &str, sql: &str) -> Result<i64> {
    let set = format!("SET frazil.freshness = '{freshness}'");
    let text = world.frazil(&["sql", "-o", "csv", "-c", &set, "-c", sql])?;
    text.lines().last().unwrap_or_default().parse().with_context(|| format!("{sql}: {text}"))
}

/// Waits until records of a step are committed, as rows or as dead letters.
fn until_committed(world: &World, node: &ProcessNode, walk: &Walk, step: usize) -> Result<()> {
    let begun = Instant::now();
    let (table, at) = (walk.topic, format!("WHERE step = {step}"));
    loop {
        let parked = node.table_status(table)?["dead_letters"].as_i64().unwrap_or_default();
        let there = match step == walk.parked {
            true => parked > 0,
            // Of some schemas the table learns with the first record.
            false => number(world, "committed", &format!("SELECT count(*) FROM \"{table}\" {at}"))
                .is_ok_and(|n| n > 0),
        };
        if there {
            return Ok(());
        }
        if begun.elapsed() > Duration::from_secs(60) {
            bail!(
                "no record of step {step} is committed: {}; {}",
                node.table_status(table)?,
                node.log_tail()
            );
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// (number, step) by offset, as the producer was told.
fn acknowledged(text: &str) -> Result<BTreeMap<i64, (i64, usize)>> {
    let parse = |line: &str| -> Result<(i64, (i64, usize))> {
        let words: Vec<i64> = line.split(' ').map(str::parse).collect::<Result<_, _>>()?;
        let [n, step, offset] = words[..] else { bail!("{line}") };
        Ok((offset, (n, step as usize)))
    };
    text.lines().map(parse).collect()
}

/// The longest time between two snapshots, in milliseconds, and how many there are.
fn longest_pause(world: &World, table: &str) -> Result<(i64, usize)> {
    let port = world.ports.catalog().to_string();
    let text = python("judge.py", &["times", "--topic", table, "--catalog-port", &port], "")?;
    let times: Vec<i64> = text.lines().map(|line| Ok(line.parse()?)).collect::<Result<_>>()?;
    Ok((times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default(), times.len()))
}

/// What an outside reader finds is what was acknowledged.
fn check_reader(world: &World, engine: &str, walk: &Walk, sent: &BTreeMap<i64, (i64, usize)>) -> Result<()> {
    let port = world.ports.catalog().to_string();
    let text = python("typed_read.py", &[engine, &port], &json!([walk.topic]).to_string())?;
    let found: Value = serde_json::from_str(&text)?;
    let columns: Vec<_> = walk.columns.iter().map(|(name, kind)| json!([name, kind])).collect();
    let all = found["columns"].as_array().context("columns")?;
    ensure!(all[1..] == columns, "{engine} finds the columns {}\nnot {}", json!(all[1..]), json!(columns));
    let rows = found["rows"].as_array().context("rows")?;
    let expected: Vec<_> = sent.iter().filter(|(_, (_, step))| *step != walk.parked).collect();
    ensure!(rows.len() == expected.len(), "{engine} finds {} rows, not {}", rows.len(), expected.len());
    for (row, (offset, (n, step))) in rows.iter().zip(expected) {
        let row = row.as_array().context("row")?;
        ensure!(row[0]["offset"] == *offset, "{engine}: offset {}, not {offset}", row[0]["offset"]);
        let expected = (walk.row)(*step, *n);
        ensure!(json!(row[1..]) == expected, "{engine}: {}\nnot {expected}", json!(row[1..]));
    }
    Ok(())
}

fn run(walk: &Walk) -> Result<()> {
    let world = World::new(&format!("evolution-{}", walk.format))?;
    let node = world.start()?;
    let lag = format!("redpanda.iceberg.target.lag.ms={COMMIT_INTERVAL_MS}");
    let mode = "redpanda.iceberg.mode=value_schema_id_prefix";
    world.frazil(&["topic", "create", walk.topic, "-p", "1", "-c", mode, "-c", &lag])?;
    // One of the steps is nothing that a registry should let through.
    let level = r#"{"compatibility":"NONE"}"#;
    let (status, answer) = http(world.ports.registry(), "PUT", "/config", level)?;
    ensure!(status == 200, "{status} {answer}");
    let (kafka, registry) = (world.ports.kafka().to_string(), world.ports.registry().to_string());
    let mut producer = Companion::start("evolve.py", &[&kafka, &registry, walk.topic, RATE])?;
    let mut seen = 0;
    for (index, step) in walk.steps.iter().enumerate() {
        producer.say(&walk.request(index))?;
        let answer = producer.hear()?;
        ensure!(answer == format!("step {index}"), "{answer}");
        until_committed(&world, &node, walk, index).with_context(|| step.what)?;
        // Hot and cold together, while more comes.
        let rows = walk.rows(&world, "latest")?;
        walk.check_sql(&rows).with_context(|| format!("after step {index}, {}", step.what))?;
        let numbers: Vec<_> = rows.iter().filter_map(|row| row["n"].as_i64()).collect();
        ensure!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "rows repeat after {}", step.what);
        let gapless = numbers.last().is_none_or(|last| *last == numbers.len() as i64 - 1);
        ensure!(gapless || index >= walk.parked, "rows are missing after {}", step.what);
        ensure!(rows.len() > seen || index == walk.parked, "no progress after {}", step.what);
        seen = rows.len();
        println!("{}: {seen} rows after step {index}, {}", walk.topic, step.what);
    }
    let sent = acknowledged(&producer.finish()?)?;
    ensure!(sent.iter().all(|(offset, (n, _))| offset == n), "offsets are not numbers");
    let hot = walk.rows(&world, "latest")?;
    let parked = sent.values().filter(|(_, step)| *step == walk.parked).count();
    ensure!(hot.len() == sent.len() - parked, "{} rows of {} - {parked}", hot.len(), sent.len());
    node.wait_until_committed(walk.topic, Duration::from_secs(60))?;
    let cold = walk.rows(&world, "committed")?;
    ensure!(hot == cold, "what was hot differs from what is cold");
    walk.check_sql(&cold)?;
    for engine in ["pyiceberg", "duckdb"] {
        check_reader(&world, engine, walk, &sent)?;
    }
    let status = node.table_status(walk.topic)?;
    ensure!(status["dead_letters"] == parked, "{parked} records were parked: {status}");
    let difference = status["message"].as_str().unwrap_or_default();
    println!("{}: status says {difference:?}", walk.topic);
    node.verify(walk.topic)?;
    let (pause, snapshots) = longest_pause(&world, walk.topic)?;
    println!(
        "{}: {} records, {parked} parked, {snapshots} snapshots, longest time between two: {pause} ms of an interval of \
         {COMMIT_INTERVAL_MS} ms",
        walk.topic,
        sent.len()
    );
    node.stop()
}

#[test]
fn avro_schemas_change_under_way() -> Result<()> {
    run(&avro::walk())
}

#[test]
fn json_schemas_change_under_way() -> Result<()> {
    run(&json::walk())
}

#[test]
fn protobuf_schemas_change_under_way() -> Result<()> {
    run(&protobuf::walk())
}
