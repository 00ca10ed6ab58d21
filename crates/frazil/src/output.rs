//! Rows on standard output, for people and for programs.
//!
//! Owns: the four forms (table, json, ndjson, csv), alignment, colours, escaping.
//! Does not own: where rows come from.
//! Invariants: without a terminal nothing is cut, coloured or framed; numbers stay numbers in JSON, digit for digit;
//! control characters never reach the terminal from a table.

pub(crate) mod json;
mod text;

use std::io::{self, IsTerminal, Write};

use clap::ValueEnum;

/// How rows are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// Aligned columns, for people.
    #[default]
    Table,
    /// One JSON array of objects.
    Json,
    /// One JSON object per line.
    Ndjson,
    /// RFC 4180, with a header.
    Csv,
}

/// What the cells of a column are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Text,
    Number,
    /// `t` or `f`, `true` or `false`.
    Bool,
    /// JSON already.
    Json,
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    pub kind: Kind,
}

impl Column {
    pub fn text(name: &str) -> Self {
        Self { name: name.to_owned(), kind: Kind::Text }
    }
    pub fn number(name: &str) -> Self {
        Self { name: name.to_owned(), kind: Kind::Number }
    }
}

/// A cell; none is NULL.
pub type Cell = Option<String>;

/// How a terminal wants its tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Style {
    /// Frame with lines and shorten very long cells.
    pub terminal: bool,
    pub colours: bool,
}

impl Style {
    /// Of standard output.
    pub fn of_stdout() -> Self {
        let terminal = io::stdout().is_terminal();
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
        let forced = std::env::var_os("CLICOLOR_FORCE").is_some_and(|v| v != "0");
        Self { terminal, colours: (terminal && !no_colour) || forced }
    }
}

/// Prints rows as they come; only a table waits for the last one.
#[derive(Debug)]
pub struct Printer<W: Write> {
    out: W,
    format: Format,
    style: Style,
    columns: Vec<Column>,
    waiting: Vec<Vec<Cell>>,
    rows: u64,
}

impl<W: Write> Printer<W> {
    /// Begins to print rows of `columns`.
    pub fn new(out: W, format: Format, style: Style, columns: Vec<Column>) -> io::Result<Self> {
        let mut printer = Self { out, format, style, columns, waiting: Vec::new(), rows: 0 };
        match format {
            Format::Csv => {
                let names: Vec<Cell> = printer.columns.iter().map(|c| Some(c.name.clone())).collect();
                text::csv_line(&mut printer.out, &names)?;
            }
            Format::Json => printer.out.write_all(b"[")?,
            Format::Table | Format::Ndjson => {}
        }
        Ok(printer)
    }

    /// Prints a row, or keeps it for the table.
    pub fn row(&mut self, cells: Vec<Cell>) -> io::Result<()> {
        match self.format {
            Format::Table => self.waiting.push(cells),
            Format::Csv => text::csv_line(&mut self.out, &cells)?,
            Format::Ndjson => {
                text::json_object(&mut self.out, &self.columns, &cells)?;
                self.out.write_all(b"\n")?;
            }
            Format::Json => {
                self.out.write_all(if self.rows == 0 { b"\n  " } else { b",\n  " })?;
                text::json_object(&mut self.out, &self.columns, &cells)?;
            }
        }
        self.rows += 1;
        Ok(())
    }

    /// Prints what is left and returns the number of rows.
    pub fn finish(mut self) -> io::Result<u64> {
        match self.format {
            Format::Table => text::table(&mut self.out, self.style, &self.columns, &self.waiting)?,
            Format::Json => self.out.write_all(if self.rows == 0 { b"]\n" } else { b"\n]\n" })?,
            Format::Ndjson | Format::Csv => {}
        }
        self.out.flush()?;
        Ok(self.rows)
    }
}

/// Prints all rows to standard output.
pub fn print(format: Format, columns: Vec<Column>, rows: Vec<Vec<Cell>>) -> io::Result<()> {
    let mut printer =
        Printer::new(io::BufWriter::new(io::stdout().lock()), format, Style::of_stdout(), columns)?;
    rows.into_iter().try_for_each(|row| printer.row(row))?;
    printer.finish().map(|_| ())
}

/// `1234567` as `1,234,567`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(format: Format, style: Style) -> String {
        let columns = vec![
            Column::text("symbol"),
            Column::number("count"),
            Column { name: "ok".into(), kind: Kind::Bool },
            Column { name: "extra".into(), kind: Kind::Json },
        ];
        let cell = |s: &str| Some(s.to_owned());
        let mut out = Vec::new();
        let mut printer = Printer::new(&mut out, format, style, columns).expect("begin");
        printer.row(vec![cell("AAPL"), cell("12.50"), cell("t"), cell(r#"{"a":1}"#)]).expect("row");
        printer.row(vec![cell("a,\"b\"\n\u{1b}[31m"), cell("NaN"), None, None]).expect("row");
        assert_eq!(printer.finish().expect("finish"), 2);
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn json_keeps_numbers_and_types() {
        let text = printed(Format::Json, Style::default());
        let rows: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(rows[0].to_string(), r#"{"symbol":"AAPL","count":12.5,"ok":true,"extra":{"a":1}}"#);
        assert!(text.contains("12.50"), "digits are kept: {text}");
        assert_eq!(rows[1]["count"], "NaN", "what JSON cannot say as a number is a string");
        assert!(rows[1]["ok"].is_null());
        assert_eq!(printed(Format::Ndjson, Style::default()).lines().count(), 2);
    }

    #[test]
    fn empty_results_are_well_formed() {
        for (format, want) in [(Format::Json, "[]\n"), (Format::Ndjson, ""), (Format::Csv, "a\n")] {
            let mut out = Vec::new();
            let printer =
                Printer::new(&mut out, format, Style::default(), vec![Column::text("a")]).expect("begin");
            printer.finish().expect("finish");
            assert_eq!(String::from_utf8(out).expect("UTF-8"), want);
        }
    }

    #[test]
    fn csv_quotes_what_needs_it() {
        let text = printed(Format::Csv, Style::default());
        assert!(text.starts_with("symbol,count,ok,extra\nAAPL,12.50,t,\"{\"\"a\"\":1}\"\n"), "{text}");
        assert!(text.contains("\"a,\"\"b\"\"\n"), "{text}");
    }

    #[test]
    fn tables_align_and_disarm() {
        let text = printed(Format::Table, Style::default());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 4, "{text}");
        assert!(!text.contains('\u{1b}') && !text.contains('│'), "{text}");
        let end = |line: &str, cell: &str| line.find(cell).map(|at| at + cell.len());
        assert_eq!(end(lines[2], "12.50"), end(lines[0], "count"), "numbers are right-aligned:\n{text}");
        assert!(lines.iter().all(|l| l.trim_end() == *l), "no blanks at line ends");
        let framed = printed(Format::Table, Style { terminal: true, colours: true });
        assert!(framed.contains('│') && framed.contains("\u{1b}[1m"), "{framed}");
    }

    #[test]
    fn thousands() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(50_000), "50,000");
        assert_eq!(grouped(1_234_567), "1,234,567");
    }
}
