//! Prepared statements and portals: a statement with its values, and its rows as far as they have been sent.
//!
//! Owns: command tags, the row limit of Execute, where a suspended result goes on.
//! Does not own: sockets (`connection`), the statement's meaning (`queries::Session`).
//! Invariants: at most one batch of a result is held; dropping a portal cancels its statement.

use queries::{Answer, RowStream, Value};

use super::errors::Failure;
use super::rows::{Format, Rows};
use super::types::Column;

/// A parsed statement.
#[derive(Debug, Clone)]
pub(super) struct Prepared {
    pub(super) text: String,
    /// OIDs of the parameters.
    pub(super) parameters: Vec<u32>,
    /// None: it gives no rows.
    pub(super) columns: Option<Vec<Column>>,
    /// The client knows the columns: results keep to them.
    pub(super) announced: bool,
}

/// A bound statement.
pub(super) struct Portal {
    pub(super) statement: Prepared,
    pub(super) values: Vec<Value>,
    formats: Vec<i16>,
    pub(super) state: State,
}

/// How far a portal is.
pub(super) enum State {
    Bound,
    Streaming(Streaming),
    /// Nothing more will come: a statement that ran, or rows that have all been sent.
    Finished,
}

/// A result on its way.
pub(super) struct Streaming {
    pub(super) columns: Vec<Column>,
    pub(super) formats: Vec<Format>,
    pub(super) rows: RowStream,
    /// The batch being sent, and its next row.
    pub(super) current: Option<(Rows, usize)>,
    pub(super) tag: &'static str,
    /// Rows sent so far by the present Execute.
    pub(super) sent: u64,
}

/// What an opened statement is.
pub(super) enum Opened {
    Rows(Box<Streaming>),
    Done { tag: String },
    Command(queries::Command),
    Empty,
}

impl Portal {
    pub(super) fn new(statement: Prepared, values: Vec<Value>, formats: Vec<i16>) -> Self {
        Self { statement, values, formats, state: State::Bound }
    }

    /// Takes the engine's answer.
    pub(super) fn open(&self, answer: Answer) -> Result<Opened, Failure> {
        let announced = self.statement.columns.as_ref().filter(|_| self.statement.announced);
        opened(&self.statement.text, answer, announced, &self.formats)
    }
}

/// Turns an answer into what is sent; `announced` columns bind the result.
pub(super) fn opened(
    statement: &str,
    answer: Answer,
    announced: Option<&Vec<Column>>,
    formats: &[i16],
) -> Result<Opened, Failure> {
    let (schema, rows) = match answer {
        Answer::Rows { columns, rows } => (columns, rows),
        Answer::Done { tag } => return Ok(Opened::Done { tag }),
        Answer::Command(command) => return Ok(Opened::Command(command)),
        Answer::Empty => return Ok(Opened::Empty),
    };
    let actual: Vec<Column> = schema.fields().iter().map(|field| Column::of(field)).collect();
    let columns = match announced {
        None => actual,
        Some(columns) if columns.len() == actual.len() => columns.clone(),
        Some(_) => {
            return Err(Failure::unsupported("cached plan must not change result type")
                .with_hint("prepare the statement again"));
        }
    };
    if columns.len() > COLUMNS_MAX {
        let message = format!("a result has at most {COLUMNS_MAX} columns, this one {}", columns.len());
        return Err(Failure::new("54011", message));
    }
    let formats = Format::of_codes(formats, columns.len())?;
    let tag = rows_tag(statement);
    Ok(Opened::Rows(Box::new(Streaming { columns, formats, rows, current: None, tag, sent: 0 })))
}

/// As in PostgreSQL (`MaxTupleAttributeNumber`).
const COLUMNS_MAX: usize = 1664;

/// The command tag of a statement that gives rows, without the count.
fn rows_tag(statement: &str) -> &'static str {
    match first_word(statement).as_str() {
        "SHOW" => "SHOW",
        "EXPLAIN" => "EXPLAIN",
        "FETCH" => "FETCH",
        _ => "SELECT",
    }
}

impl Streaming {
    /// `SELECT 3`; SHOW and EXPLAIN carry no count.
    pub(super) fn command_tag(&self) -> String {
        match self.tag {
            "SELECT" | "FETCH" => format!("{} {}", self.tag, self.sent),
            other => other.to_owned(),
        }
    }
}

/// The first word of a statement in capitals, comments skipped.
pub(super) fn first_word(statement: &str) -> String {
    let mut rest = statement.trim_start_matches(|c: char| c.is_whitespace() || c == '(');
    loop {
        if let Some(comment) = rest.strip_prefix("--") {
            rest = comment.split_once('\n').map_or("", |(_, after)| after);
        } else if let Some(comment) = rest.strip_prefix("/*") {
            rest = after_block_comment(comment);
        } else {
            break;
        }
        rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == '(');
    }
    rest.chars().take_while(|c| c.is_ascii_alphabetic() || *c == '_').collect::<String>().to_ascii_uppercase()
}

/// What follows a block comment, which may hold others.
fn after_block_comment(mut rest: &str) -> &str {
    let mut depth = 1;
    while depth > 0 {
        let Some(at) = rest.find("*/") else { return "" };
        depth -= 1;
        depth += rest[..at].matches("/*").count();
        rest = &rest[at + 2..];
    }
    rest
}

/// Refuses what this door does not do yet, by name.
pub(super) fn check_supported(statement: &str) -> Result<(), Failure> {
    match first_word(statement).as_str() {
        "COPY" => Err(Failure::unsupported("COPY is not supported yet").with_hint("use SELECT")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_words() {
        for (statement, word) in [
            ("select 1", "SELECT"),
            ("  -- COPY\n /* a /* b */ c */ ( Show x", "SHOW"),
            ("", ""),
            ("/* open", ""),
            ("copy t from stdin", "COPY"),
        ] {
            assert_eq!(first_word(statement), word, "{statement}");
        }
        assert_eq!(check_supported("COPY t TO STDOUT").unwrap_err().sqlstate, "0A000");
        assert!(check_supported("SELECT 'COPY'").is_ok());
    }
}
