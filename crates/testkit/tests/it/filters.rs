//! Rows that fit a filter are found, whatever lets a reader skip files: bounds of long and odd values, partition values, NaN,
//! columns that have the names of metadata. The defects of iceberg-rust and of others that this would show are named
//! with the values.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use testkit::outside::python;

use crate::world::World;

/// What the tables are partitioned by; values of `s` become names of directories.
const SPECS: [&str; 5] = [
    "()",
    "(day(seen), bucket(4, s))",
    "(s)",
    "(truncate(2, s), hour(seen))",
    "(month(seen), truncate(10, pos))",
];

/// Longer than the 64 bytes at which statistics are cut off: bounds from some row groups alone lost rows.
fn long() -> String {
    "x".repeat(70)
}

/// No text of the same length is above it: there is no upper bound to round up to.
fn highest() -> String {
    "\u{10FFFF}".repeat(70)
}

/// Unescaped in a path, this left the table's directory.
const ESCAPE: &str = "/../../../../ESCAPED";

/// Text, float, microseconds since 1970 of every record; its number is its id.
fn records() -> Vec<(Value, Value, i64)> {
    let day = 86_400_000_000_i64;
    vec![
        // Before 1970, days and hours round down.
        (json!("a"), json!(1.5), -1),
        (json!("b"), json!(-1.5), 0),
        (json!(long()), json!(null), day),
        (json!(long()), json!(1048576.5), day * 40),
        (json!(format!("{}y", &long()[1..])), json!(2.5), day * 41),
        (json!(highest()), json!(2.5), -day * 400),
        (json!(null), json!(2.5), day),
        (json!(ESCAPE), json!(2.5), day),
        // A NaN in bounds makes them useless.
        (json!("nan"), json!({"$float": "NaN"}), day * 2),
        (json!("Zürich"), json!(2.5), -62_135_596_800_000_000),
        (json!("zz"), json!(2.5), 253_402_300_799_999_999),
        (json!(""), json!(2.5), day * 3),
        (json!("a=b%2F&c d#?"), json!(2.5), day * 3),
    ]
}

/// A filter in the words of SQL and of PyIceberg (none: it cannot say that), and the ids that fit.
fn filters() -> Vec<(String, Option<String>, Vec<i64>)> {
    let text =
        |value: &str, ids: &[i64]| (format!("s = '{value}'"), Some(format!("s == '{value}'")), ids.to_vec());
    let same = |filter: &str, ids: &[i64]| (filter.to_owned(), Some(filter.to_owned()), ids.to_vec());
    let at = |operator: &str, time: &str, ids: &[i64]| {
        let sql = format!("seen {operator} timestamptz '{time}'");
        (sql, Some(format!("seen {operator} '{time}'")), ids.to_vec())
    };
    let above = format!("{}y", &long()[1..]);
    vec![
        text(&long(), &[2, 3]),
        text(&highest(), &[5]),
        text(ESCAPE, &[7]),
        text("", &[11]),
        text("a=b%2F&c d#?", &[12]),
        text("Zürich", &[9]),
        same("s LIKE 'xxx%'", &[2, 3, 4]),
        same(&format!("s >= '{above}'"), &[4, 5, 10]),
        same(&format!("s < '{above}' AND s > 'nan'"), &[2, 3]),
        same("s IS NULL", &[6]),
        same("s IS NOT NULL AND f IS NULL", &[2]),
        same("f < 0", &[1]),
        same("f = 1.5", &[0]),
        same("f = 1048576.5", &[3]),
        at("<", "1970-01-01T00:00:00+00:00", &[0, 5, 9]),
        at("=", "1969-12-31T23:59:59.999999+00:00", &[0]),
        at(">", "9999-01-01T00:00:00+00:00", &[10]),
        at("<=", "0001-01-01T00:00:00+00:00", &[9]),
        // Metadata columns of Iceberg's delete files bear these names.
        same("pos = 7", &[7]),
        same("file_path = 'f8'", &[8]),
        same("pos >= 10 AND pos < 12", &[10, 11]),
        same("id IN (1, 5, 12)", &[1, 5, 12]),
        // A cast of a column says nothing about its bounds.
        ("CAST(pos AS varchar) = '9'".to_owned(), None, vec![9]),
        ("CAST(pos AS varchar) > '8'".to_owned(), None, vec![9]),
    ]
}

/// DuckDB 1.5 rounds days and months before 1970 up when it looks at partitions, and skips the file that has the row.
fn duckdb_can(sql: &str) -> Option<&str> {
    Some(sql).filter(|sql| !sql.contains("= timestamptz '1969-12-31"))
}

fn request(topic: &str, spec: &str) -> Value {
    let nothing = json!({"format": "none", "schema": "", "references": [], "message": "", "subject": "", "framing": "none"});
    let schema = json!({"type": "record", "name": "R", "fields": [
        {"name": "id", "type": "int"},
        {"name": "s", "type": ["null", "string"]},
        {"name": "f", "type": ["null", "double"]},
        {"name": "seen", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "pos", "type": "long"},
        {"name": "file_path", "type": "string"},
    ]});
    let mut value = nothing.clone();
    value["format"] = json!("avro");
    value["framing"] = json!("prefix");
    value["schema"] = json!(schema.to_string());
    let record = |(id, (s, f, at)): (usize, (Value, Value, i64))| {
        let value = json!({"id": id, "s": s, "f": f, "seen": at, "pos": id, "file_path": format!("f{id}")});
        json!({"key": null, "value": value, "headers": []})
    };
    json!({
        "topic": topic, "key": nothing, "value": value,
        "records": records().into_iter().enumerate().map(record).collect::<Vec<_>>(),
        "config": {
            "redpanda.iceberg.mode": "value_schema_id_prefix",
            // Not before it is asked for: first everything is read from the log.
            "redpanda.iceberg.target.lag.ms": "3600000",
            "redpanda.iceberg.partition.spec": spec,
        },
    })
}

fn by_sql(world: &World, topic: &str, filter: &str) -> Result<Vec<i64>> {
    let sql = format!("SELECT id FROM \"{topic}\" WHERE {filter} ORDER BY 1");
    let text = world.frazil(&["sql", "-o", "csv", "-c", &sql])?;
    text.lines().skip(1).map(|line| Ok(line.parse()?)).collect()
}

#[test]
fn every_reader_finds_the_rows_that_fit() -> Result<()> {
    let world = World::new("filters")?;
    let node = world.start()?;
    let topics: Vec<String> = (0..SPECS.len()).map(|index| format!("p{index}")).collect();
    let requests: Vec<_> = topics.iter().zip(SPECS).map(|(topic, spec)| request(topic, spec)).collect();
    let ports = [world.ports.kafka().to_string(), world.ports.registry().to_string()];
    python("typed_produce.py", &[&ports[0], &ports[1]], &json!(requests).to_string())?;
    let filters = filters();
    let check = |when: &str| -> Result<()> {
        for (topic, spec) in topics.iter().zip(SPECS) {
            for (filter, _, ids) in &filters {
                let found = by_sql(&world, topic, filter)?;
                ensure!(found == *ids, "{when}, {spec}: {filter} finds {found:?}, not {ids:?}");
            }
        }
        Ok(())
    };
    check("hot")?;
    for topic in &topics {
        node.wait_until_committed(topic, Duration::from_secs(60))?;
        ensure!(node.table_status(topic)?["dead_letters"] == 0, "{}", node.table_status(topic)?);
    }
    check("cold")?;
    let asked: Vec<_> = filters
        .iter()
        .map(|(sql, other, _)| json!({"duckdb": duckdb_can(sql), "pyiceberg": other}))
        .collect();
    let asked = json!({"tables": topics, "filters": asked}).to_string();
    for engine in ["pyiceberg", "duckdb"] {
        let text = python("filters.py", &[engine, &world.ports.catalog().to_string()], &asked)?;
        for (line, spec) in text.lines().zip(SPECS) {
            let found: Vec<Option<Vec<i64>>> = serde_json::from_str(line)?;
            for ((filter, _, ids), found) in filters.iter().zip(found) {
                let fits = found.as_ref().is_none_or(|found| found == ids);
                ensure!(fits, "{engine}, {spec}: {filter} finds {found:?}, not {ids:?}");
            }
        }
    }
    let outside = world.data_dir().parent().context("parent")?.join("ESCAPED");
    ensure!(!outside.exists(), "a partition value left the table");
    for topic in &topics {
        node.verify(topic)?;
    }
    node.stop()
}
