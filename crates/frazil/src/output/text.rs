//! The forms themselves.

use std::io::{self, Write};

use super::{Cell, Column, Kind, Style};

/// Longest cell on a terminal, in characters.
const CELL_CHARS_MAX: usize = 80;

pub(super) fn csv_line(out: &mut impl Write, cells: &[Cell]) -> io::Result<()> {
    for (n, cell) in cells.iter().enumerate() {
        if n > 0 {
            out.write_all(b",")?;
        }
        let Some(text) = cell else { continue };
        // An empty string is quoted, so that it differs from NULL.
        if text.is_empty() || text.contains([',', '"', '\n', '\r']) {
            write!(out, "\"{}\"", text.replace('"', "\"\""))?;
        } else {
            out.write_all(text.as_bytes())?;
        }
    }
    out.write_all(b"\n")
}

pub(super) fn json_object(out: &mut impl Write, columns: &[Column], cells: &[Cell]) -> io::Result<()> {
    out.write_all(b"{")?;
    for (n, (column, cell)) in columns.iter().zip(cells).enumerate() {
        if n > 0 {
            out.write_all(b",")?;
        }
        write!(out, "{}:", json_string(&column.name))?;
        json_cell(out, column.kind, cell.as_deref())?;
    }
    out.write_all(b"}")
}

fn json_cell(out: &mut impl Write, kind: Kind, cell: Option<&str>) -> io::Result<()> {
    match (kind, cell) {
        (_, None) => out.write_all(b"null"),
        (Kind::Number, Some(text)) if is_json_number(text) => out.write_all(text.as_bytes()),
        (Kind::Bool, Some("t" | "true")) => out.write_all(b"true"),
        (Kind::Bool, Some("f" | "false")) => out.write_all(b"false"),
        (Kind::Json, Some(text)) if serde_json::from_str::<serde_json::Value>(text).is_ok() => {
            out.write_all(text.as_bytes())
        }
        (_, Some(text)) => out.write_all(json_string(text).as_bytes()),
    }
}

fn json_string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Whether the text is a number by JSON's grammar; printed as it is then, so that no digit changes.
fn is_json_number(text: &str) -> bool {
    let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    digits(whole)
        && (whole == "0" || !whole.starts_with('0'))
        && fraction.is_none_or(digits)
        && exponent.is_none_or(|e| digits(e.strip_prefix(['+', '-']).unwrap_or(e)))
}

pub(super) fn table(
    out: &mut impl Write,
    style: Style,
    columns: &[Column],
    rows: &[Vec<Cell>],
) -> io::Result<()> {
    if columns.is_empty() {
        return Ok(());
    }
    let shown: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| shown_cell(cell.as_deref(), style)).collect()).collect();
    let widths: Vec<usize> = columns
        .iter()
        .enumerate()
        .map(|(n, column)| {
            let cells = shown.iter().filter_map(|row| row.get(n)).map(|cell| width(cell));
            cells.max().unwrap_or(0).max(width(&column.name))
        })
        .collect();
    let (bar, dash, cross) = if style.terminal { (" │ ", "─", "─┼─") } else { ("  ", "-", "  ") };
    let header: Vec<String> = columns.iter().map(|c| c.name.clone()).collect();
    let header = line(columns, &widths, &header, bar);
    if style.colours {
        writeln!(out, "\x1b[1m{header}\x1b[0m")?;
    } else {
        writeln!(out, "{header}")?;
    }
    let rule: Vec<String> = widths.iter().map(|w| dash.repeat(*w)).collect();
    writeln!(out, "{}", rule.join(cross))?;
    for row in &shown {
        writeln!(out, "{}", line(columns, &widths, row, bar))?;
    }
    Ok(())
}

fn line(columns: &[Column], widths: &[usize], cells: &[String], bar: &str) -> String {
    let padded: Vec<String> = columns
        .iter()
        .zip(widths)
        .zip(cells)
        .map(|((column, wide), cell)| {
            let blanks = " ".repeat(wide.saturating_sub(width(cell)));
            match column.kind {
                Kind::Number => format!("{blanks}{cell}"),
                _ => format!("{cell}{blanks}"),
            }
        })
        .collect();
    padded.join(bar).trim_end().to_owned()
}

fn shown_cell(cell: Option<&str>, style: Style) -> String {
    let text: String = cell
        .unwrap_or("")
        .chars()
        .flat_map(|c| {
            let escaped = if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
            escaped.chars().collect::<Vec<_>>()
        })
        .collect();
    if style.terminal && width(&text) > CELL_CHARS_MAX {
        let mut cut: String = text.chars().take(CELL_CHARS_MAX - 1).collect();
        cut.push('…');
        return cut;
    }
    text
}

fn width(text: &str) -> usize {
    text.chars().count()
}
