//! `frazil status`: the node's own account, for people or as it is.

use std::io::{self, Write};

use serde_json::Value;

use crate::output::json::{cell, items, text};
use crate::output::{self, Cell, Column, Format};
use crate::remote::Remote;
use crate::remote::http::Http;

pub(super) async fn run(format: Format, remote: &Remote) -> anyhow::Result<()> {
    let status = Http::new(remote)?.status().await?;
    let mut out = io::stdout();
    match format {
        Format::Json => return Ok(writeln!(out, "{}", serde_json::to_string_pretty(&status)?)?),
        Format::Ndjson => return Ok(writeln!(out, "{status}")?),
        Format::Table | Format::Csv => {}
    }
    if format == Format::Table {
        let up = status["uptime_ms"].as_i64().unwrap_or(0) / 1_000;
        writeln!(out, "frazil {}, up {up} s, log {}", text(&status["version"]), text(&status["log_id"]))?;
        if let Some(reason) = status["offline"].as_str() {
            writeln!(out, "OFFLINE: {reason}")?;
        }
        for alarm in items(&status["alarms"]) {
            writeln!(out, "ALARM: {}", text(alarm))?;
        }
    }
    for (title, (columns, rows)) in [
        ("topics", topics(&status)),
        ("tables", tables(&status)),
        ("upkeep", upkeep(&status)),
        ("pipelines", pipelines(&status)),
    ] {
        if rows.is_empty() {
            continue;
        }
        if format == Format::Table {
            writeln!(out, "\n{title}")?;
        }
        output::print(format, columns, rows)?;
    }
    Ok(())
}

type Rows = (Vec<Column>, Vec<Vec<Cell>>);

fn topics(status: &Value) -> Rows {
    let columns = vec![
        Column::text("topic"),
        Column::number("partitions"),
        Column::number("records"),
        Column::number("unsynced"),
        Column::number("bytes"),
    ];
    let rows = items(&status["topics"])
        .iter()
        .map(|topic| {
            let partitions = items(&topic["partitions"]);
            let sum = |f: &dyn Fn(&Value) -> i64| Some(partitions.iter().map(f).sum::<i64>().to_string());
            let number = |p: &Value, key: &str| p[key].as_i64().unwrap_or(0);
            vec![
                cell(&topic["name"]),
                Some(partitions.len().to_string()),
                sum(&|p| number(p, "stable") - number(p, "log_start")),
                sum(&|p| number(p, "appended") - number(p, "durable")),
                sum(&|p| number(p, "size_bytes")),
            ]
        })
        .collect();
    (columns, rows)
}

fn tables(status: &Value) -> Rows {
    let columns = vec![
        Column::text("table"),
        Column::text("topic"),
        Column::text("state"),
        Column::number("records"),
        Column::number("lag"),
        Column::number("dead letters"),
        Column::number("dropped"),
        Column::number("skipped"),
        Column::number("snapshots"),
        Column::text("last commit"),
        Column::text("message"),
    ];
    let rows = items(&status["tables"])
        .iter()
        .map(|table| {
            let mut row: Vec<Cell> = [
                "table",
                "topic",
                "state",
                "records",
                "lag",
                "dead_letters",
                "dropped",
                "skipped",
                "snapshots",
            ]
            .iter()
            .map(|key| cell(&table[*key]))
            .collect();
            row.push(table["last_commit_ms"].as_i64().map(super::table::time_text));
            row.push(cell(&table["message"]));
            row
        })
        .collect();
    (columns, rows)
}

/// Tables that maintenance has done something to since the node has started.
fn upkeep(status: &Value) -> Rows {
    const FIGURES: [&str; 5] =
        ["files_compacted", "snapshots_expired", "files_deleted", "files_waiting", "orphans_removed"];
    let mut columns = vec![Column::text("table")];
    columns.extend(FIGURES.iter().map(|figure| Column::number(&figure.replace('_', " "))));
    columns.extend([Column::text("left alone"), Column::text("message")]);
    let rows = items(&status["upkeep"]["tables"])
        .iter()
        .map(|table| {
            let mut row = vec![cell(&table["table"])];
            row.extend(FIGURES.iter().map(|figure| cell(&table[*figure])));
            row.extend([cell(&table["left_alone"]), cell(&table["message"])]);
            row
        })
        .collect();
    (columns, rows)
}

pub(super) fn pipelines(status: &Value) -> Rows {
    let columns = vec![
        Column::text("pipeline"),
        Column::text("state"),
        Column::number("runs"),
        Column::text("last run"),
        Column::number("rows"),
        Column::text("message"),
    ];
    let rows = items(&status["pipelines"])
        .iter()
        .map(|pipeline| {
            vec![
                cell(&pipeline["name"]),
                cell(&pipeline["state"]),
                cell(&pipeline["runs"]),
                pipeline["last_run_ms"].as_i64().map(super::table::time_text),
                cell(&pipeline["last_rows"]),
                cell(&pipeline["message"]),
            ]
        })
        .collect();
    (columns, rows)
}
