//! `frazil table compact` and its like: what the node has done, for people or as it is.

use std::io::{self, Write};

use serde_json::Value;

use crate::cli::UpkeepCommand;
use crate::output::json::{cell, items, text};
use crate::output::{self, Cell, Column, Format};
use crate::remote::http::Http;

pub(super) async fn run(command: UpkeepCommand, http: &Http) -> anyhow::Result<()> {
    let (table, action, output) = command.action();
    let action = serde_json::to_value(action)?;
    let answer = http.maintain(&table, &action).await?;
    let mut out = io::stdout();
    match output.output {
        Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(&answer)?)?,
        Format::Ndjson => writeln!(out, "{answer}")?,
        format => print(&table, &text(&action["action"]), &answer, format)?,
    }
    Ok(())
}

fn print(table: &str, action: &str, answer: &Value, format: Format) -> anyhow::Result<()> {
    if action == "drop_ref" {
        writeln!(io::stdout(), "{table}: dropped")?;
        return Ok(());
    }
    if action == "list_refs" || action == "create_ref" {
        let columns = vec![
            Column::text("name"),
            Column::text("kind"),
            Column::number("snapshot"),
            Column::number("max age ms"),
        ];
        let row = |r: &Value| ["name", "kind", "snapshot_id", "max_age_ms"].map(|key| cell(&r[key])).to_vec();
        return Ok(output::print(format, columns, items(&answer["refs"]).iter().map(row).collect())?);
    }
    if action == "replay_dlq" {
        return replayed(answer, format);
    }
    let columns = vec![Column::text(action), Column::text(table)];
    Ok(output::print(format, columns, figures(answer))?)
}

/// What became of the dead letters, by partition, and why the others are left.
fn replayed(answer: &Value, format: Format) -> anyhow::Result<()> {
    let would = if answer["dry_run"] == Value::Bool(true) { "would fit" } else { "replayed" };
    let columns = vec![Column::number("partition"), Column::number(would), Column::number("still bad")];
    let row = |p: &Value| ["partition", "replayed", "still_bad"].map(|key| cell(&p[key])).to_vec();
    output::print(format, columns, items(&answer["partitions"]).iter().map(row).collect())?;
    let mut out = io::stdout();
    for reason in items(&answer["reasons"]) {
        writeln!(
            out,
            "still bad: {} {}, for example: {}",
            reason["records"],
            text(&reason["code"]),
            text(&reason["example"])
        )?;
    }
    if answer["finished_earlier"] == Value::Bool(true) {
        writeln!(out, "an interrupted replay was finished first")?;
    }
    if answer["limit_reached"] == Value::Bool(true) {
        writeln!(out, "the limit was reached: there may be more")?;
    }
    let (table, replayed, left) = (text(&answer["table"]), &answer["replayed"], &answer["still_bad"]);
    eprintln!(
        "{table}: {replayed} dead letters {}, {left} do not",
        match would {
            "replayed" => "are rows now",
            _ => "would be rows",
        }
    );
    Ok(())
}

/// One row per figure; lists by their length, or one row each where they say something.
fn figures(answer: &Value) -> Vec<Vec<Cell>> {
    let mut rows = Vec::new();
    for (key, value) in
        answer.as_object().into_iter().flatten().filter(|(key, value)| *key != "table" && !value.is_null())
    {
        let name = key.replace('_', " ");
        match value {
            Value::Array(lines) if matches!(key.as_str(), "snapshots") => {
                rows.push(vec![Some(name), Some(lines.len().to_string())]);
            }
            Value::Array(lines) => {
                rows.extend(lines.iter().map(|line| vec![Some(name.clone()), Some(text(line))]));
            }
            Value::Number(n) if key.ends_with("bytes") || key.starts_with("bytes") => {
                rows.push(vec![Some(name), n.as_u64().map(base::units::show_bytes)]);
            }
            value => rows.push(vec![Some(name), cell(value)]),
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn figures_are_readable() {
        let answer = json!({
            "table": "public.t", "dry_run": true, "files_before": 18, "bytes_before": 2048,
            "snapshots": [1, 2, 3], "left_alone": ["2 files: no ids"], "snapshot_id": null,
        });
        let rows = figures(&answer);
        let shown = |key: &str| rows.iter().find(|r| r[0].as_deref() == Some(key)).and_then(|r| r[1].clone());
        assert_eq!(shown("files before").as_deref(), Some("18"));
        assert_eq!(shown("bytes before").as_deref(), Some("2.0 KiB"));
        assert_eq!(shown("snapshots").as_deref(), Some("3"));
        assert_eq!(shown("left alone").as_deref(), Some("2 files: no ids"));
        assert!(shown("table").is_none() && shown("snapshot id").is_none());
    }
}
