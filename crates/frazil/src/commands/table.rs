//! `frazil table`: over Iceberg REST, as any engine would; upkeep over the admin door.

use std::io::{self, Write};

use anyhow::Context;
use serde_json::Value;

use crate::cli::TableCommand;
use crate::output::json::{cell, items, text};
use crate::output::{self, Cell, Column, Format};
use crate::remote::Remote;
use crate::remote::http::Http;

pub(super) async fn run(command: TableCommand, remote: &Remote) -> anyhow::Result<()> {
    let http = Http::new(remote)?;
    match command {
        TableCommand::List(args) => list(&http, args.output).await,
        TableCommand::Describe { table, output } => {
            let loaded = load(&http, &table).await?;
            // A table may be no topic's, and the catalog may belong to a node that is not asked.
            let status = http.status().await.unwrap_or_default();
            describe(&loaded, standing(&status, &table), output.output)
        }
        TableCommand::Snapshots { table, output } => {
            let loaded = load(&http, &table).await?;
            snapshots(&loaded, output.output)
        }
        TableCommand::Commit { table } => {
            match http.commit(&table).await? {
                Some(snapshot) => println!("{table}: snapshot {snapshot}"),
                None => println!("{table}: nothing to commit yet"),
            }
            Ok(())
        }
        TableCommand::Verify { table, output } => verify(&http.verify(&table).await?, output.output),
        TableCommand::Upkeep(command) => super::upkeep::run(command, &http).await,
        TableCommand::Resume(args) => {
            let mode = if args.skip { "skip" } else { "replay" };
            http.resume(&args.table, mode).await?;
            println!("{}: goes on ({mode})", args.table);
            Ok(())
        }
    }
}

/// `name` is looked up in every namespace, `namespace.name` in its own; a dot may also belong to the name.
async fn load(http: &Http, table: &str) -> anyhow::Result<Value> {
    let known = http.tables().await?;
    let found: Vec<&(String, String)> = known
        .iter()
        .filter(|(namespace, name)| name == table || format!("{namespace}.{name}") == table)
        .collect();
    match found.as_slice() {
        [(namespace, name)] => http.table(namespace, name).await,
        [] => {
            let status = http.status().await.unwrap_or_default();
            let waits: Vec<String> = standing(&status, table)
                .into_iter()
                .map(|row| row.into_iter().flatten().collect::<Vec<_>>().join(" "))
                .collect();
            if !waits.is_empty() {
                anyhow::bail!("there is no table {table} yet: {}", waits.join(", "));
            }
            anyhow::bail!("there is no table {table}; `frazil table list` shows what there is")
        }
        several => {
            let names: Vec<String> = several.iter().map(|(ns, name)| format!("{ns}.{name}")).collect();
            anyhow::bail!("{table} could be any of {}: name the namespace", names.join(", "))
        }
    }
}

async fn list(http: &Http, format: Format) -> anyhow::Result<()> {
    let mut rows = Vec::new();
    for (namespace, name) in http.tables().await? {
        let loaded = http.table(&namespace, &name).await?;
        let metadata = &loaded["metadata"];
        let snapshot = current_snapshot(metadata);
        rows.push(vec![
            Some(namespace),
            Some(name),
            snapshot.and_then(|s| summary(s, "total-records")).or(Some("0".into())),
            snapshot.and_then(|s| summary(s, "total-data-files")).or(Some("0".into())),
            cell(&metadata["current-snapshot-id"]).filter(|id| id != "-1"),
            cell(&metadata["location"]),
        ]);
    }
    let columns = vec![
        Column::text("namespace"),
        Column::text("table"),
        Column::number("records"),
        Column::number("files"),
        Column::number("snapshot"),
        Column::text("location"),
    ];
    Ok(output::print(format, columns, rows)?)
}

/// What the node says of a table that is made of a topic, as rows.
fn standing(status: &Value, table: &str) -> Vec<Vec<Cell>> {
    let called = |name: &str| name == table || table.ends_with(&format!(".{name}"));
    let found = items(&status["tables"]).iter().find(|t| t["table"].as_str().is_some_and(called));
    let Some(found) = found else { return Vec::new() };
    let row = |name: &str| vec![Some(name.to_owned()), cell(&found[name])];
    ["topic", "state", "message"].map(row).into_iter().filter(|row| row[1].is_some()).collect()
}

fn describe(loaded: &Value, standing: Vec<Vec<Cell>>, format: Format) -> anyhow::Result<()> {
    let metadata = &loaded["metadata"];
    if matches!(format, Format::Json | Format::Ndjson) {
        return Ok(writeln!(io::stdout(), "{metadata}")?);
    }
    let current = &metadata["current-schema-id"];
    let schema = items(&metadata["schemas"])
        .iter()
        .find(|s| s["schema-id"] == *current)
        .context("the table's metadata has no current schema")?;
    let rows = items(&schema["fields"])
        .iter()
        .map(|f| {
            let required = f["required"].as_bool().unwrap_or(false);
            vec![cell(&f["id"]), cell(&f["name"]), Some(type_name(&f["type"])), Some(required.to_string())]
        })
        .collect();
    let columns =
        vec![Column::number("id"), Column::text("column"), Column::text("type"), Column::text("required")];
    output::print(format, columns, rows)?;
    writeln!(io::stdout())?;
    let spec = &metadata["default-spec-id"];
    let partitioning = items(&metadata["partition-specs"])
        .iter()
        .find(|s| s["spec-id"] == *spec)
        .map(|s| {
            let fields: Vec<String> = items(&s["fields"])
                .iter()
                .map(|f| format!("{} ({})", text(&f["name"]), text(&f["transform"])))
                .collect();
            if fields.is_empty() { "none".to_owned() } else { fields.join(", ") }
        })
        .unwrap_or_default();
    let snapshot = current_snapshot(metadata);
    let mut rows: Vec<Vec<Cell>> = [
        ("format version", cell(&metadata["format-version"])),
        ("partitioned by", Some(partitioning)),
        ("records", snapshot.and_then(|s| summary(s, "total-records"))),
        ("current snapshot", cell(&metadata["current-snapshot-id"])),
        ("snapshots", Some(items(&metadata["snapshots"]).len().to_string())),
        ("location", cell(&metadata["location"])),
        ("metadata", cell(&loaded["metadata-location"])),
    ]
    .into_iter()
    .map(|(name, value)| vec![Some(name.to_owned()), value])
    .collect();
    rows.extend(standing);
    // Progress and replays are for the committer, and long; JSON has them.
    let hidden = ["frazil.progress", "frazil.replay"];
    let properties = metadata["properties"].as_object().into_iter().flatten();
    for (name, value) in properties.filter(|(name, _)| !hidden.contains(&name.as_str())) {
        rows.push(vec![Some(name.clone()), cell(value)]);
    }
    Ok(output::print(format, vec![Column::text("property"), Column::text("value")], rows)?)
}

/// Prints the account; an error when something is wrong with it.
fn verify(report: &Value, format: Format) -> anyhow::Result<()> {
    const FATES: [&str; 7] =
        ["rows", "dead_letters", "dropped", "control", "aborted", "compacted", "skipped"];
    if matches!(format, Format::Json | Format::Ndjson) {
        writeln!(io::stdout(), "{report}")?;
    } else {
        let rows = items(&report["partitions"])
            .iter()
            .map(|p| {
                let mut row =
                    vec![cell(&p["topic_id"]), cell(&p["partition"]), cell(&p["first"]), cell(&p["next"])];
                row.extend(FATES.iter().map(|fate| cell(&p[*fate])));
                row
            })
            .collect();
        let mut columns = vec![Column::text("topic id")];
        columns.extend(["partition", "first", "next"].map(Column::number));
        columns.extend(FATES.map(Column::number));
        output::print(format, columns, rows)?;
        for note in items(&report["notes"]) {
            writeln!(io::stdout(), "note: {}", text(note))?;
        }
        for finding in items(&report["findings"]) {
            writeln!(io::stdout(), "wrong: {}", text(finding))?;
        }
    }
    let findings = items(&report["findings"]).len() as u64 + report["more_findings"].as_u64().unwrap_or(0);
    let (table, files, rows) = (text(&report["table"]), &report["files"], &report["rows"]);
    if report["ok"] != Value::Bool(true) {
        anyhow::bail!("{table}: {findings} things are wrong");
    }
    eprintln!(
        "{table}: every offset is accounted for; {rows} rows in {files} files are as the manifests say"
    );
    Ok(())
}

fn snapshots(loaded: &Value, format: Format) -> anyhow::Result<()> {
    let mut snapshots: Vec<&Value> = items(&loaded["metadata"]["snapshots"]).iter().collect();
    // Metadata files have them in any order.
    snapshots.sort_by_key(|s| s["sequence-number"].as_i64());
    let rows = snapshots
        .into_iter()
        .map(|s| {
            let time = s["timestamp-ms"].as_i64().map(time_text);
            vec![
                cell(&s["snapshot-id"]),
                cell(&s["parent-snapshot-id"]),
                time,
                summary(s, "operation"),
                summary(s, "added-records"),
                summary(s, "total-records"),
                summary(s, "added-data-files"),
            ]
        })
        .collect();
    let columns = vec![
        Column::number("snapshot"),
        Column::number("parent"),
        Column::text("time"),
        Column::text("operation"),
        Column::number("added"),
        Column::number("total"),
        Column::number("files added"),
    ];
    Ok(output::print(format, columns, rows)?)
}

pub(super) fn time_text(ms: i64) -> String {
    chrono::DateTime::from_timestamp_millis(ms)
        .map_or_else(|| ms.to_string(), |t| t.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string())
}

fn current_snapshot(metadata: &Value) -> Option<&Value> {
    let id = metadata["current-snapshot-id"].as_i64()?;
    items(&metadata["snapshots"]).iter().find(|s| s["snapshot-id"].as_i64() == Some(id))
}

fn summary(snapshot: &Value, key: &str) -> Cell {
    cell(&snapshot["summary"][key])
}

/// Iceberg's types as people write them.
fn type_name(data_type: &Value) -> String {
    match data_type["type"].as_str() {
        Some("struct") => {
            let fields: Vec<String> = items(&data_type["fields"])
                .iter()
                .map(|f| format!("{}: {}", text(&f["name"]), type_name(&f["type"])))
                .collect();
            format!("struct<{}>", fields.join(", "))
        }
        Some("list") => format!("list<{}>", type_name(&data_type["element"])),
        Some("map") => {
            format!("map<{}, {}>", type_name(&data_type["key"]), type_name(&data_type["value"]))
        }
        _ => text(data_type),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_the_node_says_of_a_table_is_shown() {
        let status = json!({"tables": [
            {"topic": "a", "table": "lake.t", "state": "running", "message": null},
            {"topic": "b", "table": "t", "state": "paused", "message": "column id"},
        ]});
        let shown = |table: &str| -> Vec<String> {
            standing(&status, table).into_iter().filter_map(|row| row[1].clone()).collect()
        };
        assert_eq!(shown("t"), ["b", "paused", "column id"]);
        assert_eq!(shown("lake.t"), ["a", "running"]);
        assert!(shown("other").is_empty() && standing(&json!({}), "t").is_empty());
    }

    #[test]
    fn nested_types_are_readable() {
        let data_type = json!({"type": "struct", "fields": [
            {"id": 2, "name": "partition", "type": "int"},
            {"id": 3, "name": "headers", "type": {"type": "list", "element-id": 4, "element":
                {"type": "struct", "fields": [{"name": "key", "type": "string"}, {"name": "value", "type": "binary"}]}}},
        ]});
        assert_eq!(
            type_name(&data_type),
            "struct<partition: int, headers: list<struct<key: string, value: binary>>>"
        );
        assert_eq!(time_text(1_700_000_000_123), "2023-11-14T22:13:20.123Z");
    }
}
