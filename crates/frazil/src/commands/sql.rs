//! `frazil sql`: statements over the Postgres wire.

use std::io::{self, BufRead, BufWriter, IsTerminal, Read, Stdout, Write};
use std::time::Instant;

use crate::cli::SqlArgs;
use crate::output::{Cell, Column, Format, Printer, Style};
use crate::remote::Remote;
use crate::remote::sql::{Sink, Sql};

/// Longest script, bytes.
const SCRIPT_BYTES_MAX: u64 = 64 << 20;

pub(super) async fn run(args: SqlArgs, remote: &Remote) -> anyhow::Result<()> {
    let sql = Sql::connect(remote).await?;
    let format = args.output.output;
    if let Some(file) = &args.file {
        return script(&sql, &read_file(file)?, format).await;
    }
    let given: Vec<&String> = args.statements.iter().chain(&args.command).collect();
    if !given.is_empty() {
        for text in given {
            script(&sql, text, format).await?;
        }
        return Ok(());
    }
    if io::stdin().is_terminal() {
        return interactive(&sql, format).await;
    }
    let mut text = String::new();
    io::stdin().lock().take(SCRIPT_BYTES_MAX).read_to_string(&mut text)?;
    script(&sql, &text, format).await
}

fn read_file(file: &std::path::Path) -> anyhow::Result<String> {
    let fail = |e: io::Error| anyhow::anyhow!("cannot read {}: {e}", file.display());
    let mut text = String::new();
    std::fs::File::open(file)
        .map_err(fail)?
        .take(SCRIPT_BYTES_MAX)
        .read_to_string(&mut text)
        .map_err(fail)?;
    Ok(text)
}

/// Runs every statement of a text; stops at the first that fails.
async fn script(sql: &Sql, text: &str, format: Format) -> anyhow::Result<()> {
    for statement in queries::Session::split(text)? {
        statement_to_stdout(sql, &statement, format).await?;
    }
    Ok(())
}

async fn statement_to_stdout(sql: &Sql, statement: &str, format: Format) -> anyhow::Result<()> {
    let started = Instant::now();
    let mut sink = StdoutSink { format, printer: None };
    sql.run(statement, &mut sink).await?;
    if let Some(printer) = sink.printer {
        let rows = printer.finish()?;
        if format == Format::Table && io::stdout().is_terminal() {
            let noun = if rows == 1 { "row" } else { "rows" };
            eprintln!("({rows} {noun}, {} ms)", started.elapsed().as_millis());
        }
    }
    Ok(())
}

/// Statements from a terminal, each up to its `;`.
async fn interactive(sql: &Sql, format: Format) -> anyhow::Result<()> {
    eprintln!("frazil sql: end statements with `;`, leave with \\q");
    let mut text = String::new();
    loop {
        eprint!("{}", if text.is_empty() { "frazil=> " } else { "frazil-> " });
        io::stderr().flush()?;
        let line = tokio::task::spawn_blocking(|| {
            let mut line = String::new();
            io::stdin().lock().read_line(&mut line).map(|n| (n > 0).then_some(line))
        })
        .await??;
        let Some(line) = line else { return Ok(()) };
        match line.trim() {
            "\\q" | "quit" | "exit" if text.is_empty() => return Ok(()),
            "" if text.is_empty() => continue,
            _ => text.push_str(&line),
        }
        if text.trim_end().ends_with(';') {
            if let Err(error) = script(sql, &std::mem::take(&mut text), format).await {
                eprintln!("error: {error:#}");
            }
        }
    }
}

struct StdoutSink {
    format: Format,
    printer: Option<Printer<BufWriter<Stdout>>>,
}

impl Sink for StdoutSink {
    fn columns(&mut self, columns: Vec<Column>) -> anyhow::Result<()> {
        if !columns.is_empty() {
            let out = BufWriter::new(io::stdout());
            self.printer = Some(Printer::new(out, self.format, Style::of_stdout(), columns)?);
        }
        Ok(())
    }

    fn row(&mut self, cells: Vec<Cell>) -> anyhow::Result<()> {
        if let Some(printer) = &mut self.printer {
            printer.row(cells)?;
        }
        Ok(())
    }
}
