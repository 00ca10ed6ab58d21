//! Errors of SQL, each with its SQLSTATE.
//!
//! Owns: [`SqlError`], and the one place that maps the engine's errors to PostgreSQL's codes and words.
//! Does not own: the wire form of an error.
//! Invariants: every failed statement has a five-character SQLSTATE; a defect of ours is XX000, never a code that
//! blames the statement.

use arrow::error::ArrowError;
use base::{ErrorKind, Fault};
use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;
use datafusion::sql::sqlparser::parser::ParserError;

/// A statement that failed.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct SqlError {
    pub kind: ErrorKind,
    /// Five characters, as PostgreSQL gives them: 42P01, 42703, 42601, 22012, 57014, 53200, 0A000, XX000 …
    pub sqlstate: &'static str,
    pub message: String,
    /// What to try next.
    pub hint: Option<String>,
}

impl Fault for SqlError {
    fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl SqlError {
    /// An error of a SQLSTATE; its kind follows from the code's class.
    pub fn new(sqlstate: &'static str, message: impl Into<String>) -> Self {
        Self { kind: kind_of(sqlstate), sqlstate, message: message.into(), hint: None }
    }
    /// The same error with a hint.
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
    pub(crate) fn syntax(message: impl Into<String>) -> Self {
        Self::new("42601", message)
    }
    pub(crate) fn unsupported(message: impl Into<String>) -> Self {
        Self::new("0A000", message)
    }
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new("XX000", message)
    }
    pub(crate) fn canceled(reason: &str) -> Self {
        Self::new("57014", format!("canceling statement due to {reason}"))
    }
}

/// What the caller should do, by the class (first two characters) of the code.
fn kind_of(sqlstate: &str) -> ErrorKind {
    match (sqlstate, &sqlstate[..2]) {
        ("42P01" | "3F000" | "3D000", _) => ErrorKind::NotFound,
        ("XX001" | "XX002", _) => ErrorKind::Corrupt,
        (_, "53" | "55" | "57" | "58") => ErrorKind::Unavailable,
        (_, "40") => ErrorKind::Conflict,
        (_, "XX") => ErrorKind::Internal,
        _ => ErrorKind::Invalid,
    }
}

impl From<ParserError> for SqlError {
    fn from(error: ParserError) -> Self {
        match error {
            ParserError::TokenizerError(text) => Self::syntax(format!("syntax error: {text}")),
            ParserError::ParserError(text) => Self::syntax(format!("syntax error: {text}")),
            ParserError::RecursionLimitExceeded => {
                Self::new("54001", "statement too complex: expressions are nested too deeply")
            }
        }
    }
}

impl From<tables::CatalogError> for SqlError {
    fn from(error: tables::CatalogError) -> Self {
        let code = match error.kind() {
            ErrorKind::NotFound => "42P01",
            ErrorKind::Corrupt => "XX001",
            ErrorKind::Unavailable => "58030",
            _ => "XX000",
        };
        Self::new(code, base::fault::chain(&error))
    }
}

impl From<crate::rows::RowsError> for SqlError {
    fn from(error: crate::rows::RowsError) -> Self {
        use crate::rows::RowsError;
        let code = match &error {
            RowsError::NotReady(_) => "55000",
            RowsError::Read(_) => "58030",
            RowsError::Misconfigured(_) => "55000",
            RowsError::Damaged { .. } => "XX001",
        };
        Self::new(code, base::fault::chain(&error))
    }
}

impl From<SqlError> for DataFusionError {
    fn from(error: SqlError) -> Self {
        Self::External(Box::new(error))
    }
}

impl From<DataFusionError> for SqlError {
    fn from(error: DataFusionError) -> Self {
        match error {
            DataFusionError::External(inner) => match inner.downcast::<SqlError>() {
                Ok(own) => *own,
                Err(other) => Self::internal(other.to_string()),
            },
            DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => (*inner).into(),
            DataFusionError::Collection(mut errors) if !errors.is_empty() => errors.swap_remove(0).into(),
            DataFusionError::Collection(_) => Self::internal("the statement failed"),
            DataFusionError::Shared(inner) => shared(&inner),
            DataFusionError::ArrowError(inner, _) => (*inner).into(),
            DataFusionError::SQL(inner, _) => (*inner).into(),
            DataFusionError::SchemaError(inner, _) => schema(*inner),
            DataFusionError::Plan(text) => plan(&text),
            DataFusionError::NotImplemented(text) => Self::unsupported(text),
            DataFusionError::ResourcesExhausted(text) => Self::new("53200", "out of memory").with_hint(
                format!("raise sql.memory, or select fewer rows or columns ({})", first_line(&text)),
            ),
            DataFusionError::Configuration(text) => Self::new("22023", text),
            DataFusionError::Execution(text) => execution(&text),
            DataFusionError::ParquetError(inner) => parquet(&inner.to_string()),
            DataFusionError::ObjectStore(inner) => Self::new("58030", inner.to_string()),
            DataFusionError::IoError(inner) => Self::new("58030", inner.to_string()),
            DataFusionError::ExecutionJoin(inner) if inner.is_cancelled() => Self::canceled("user request"),
            DataFusionError::ExecutionJoin(inner) => Self::internal(inner.to_string()),
            DataFusionError::Internal(text)
            | DataFusionError::Substrait(text)
            | DataFusionError::Ffi(text) => Self::internal(first_line(&text)),
        }
    }
}

impl From<ArrowError> for SqlError {
    fn from(error: ArrowError) -> Self {
        match error {
            ArrowError::DivideByZero => Self::new("22012", "division by zero"),
            ArrowError::ArithmeticOverflow(text) => Self::new("22003", format!("value out of range: {text}")),
            ArrowError::CastError(text) | ArrowError::ParseError(text) => bad_text(&text),
            ArrowError::ExternalError(inner) => match inner.downcast::<DataFusionError>() {
                Ok(own) => (*own).into(),
                Err(other) => Self::internal(other.to_string()),
            },
            ArrowError::MemoryError(_) => Self::new("53200", "out of memory"),
            ArrowError::IoError(text, _) => Self::new("58030", text),
            ArrowError::ParquetError(text) => parquet(&text),
            ArrowError::InvalidArgumentError(text) => Self::new("22023", text),
            ArrowError::NotYetImplemented(text) => Self::unsupported(text),
            other => Self::internal(other.to_string()),
        }
    }
}

/// An error that several consumers share cannot be taken apart by value.
fn shared(error: &DataFusionError) -> SqlError {
    match error {
        DataFusionError::Shared(inner) => shared(inner),
        DataFusionError::Context(_, inner) => shared(inner),
        DataFusionError::External(inner) => match inner.downcast_ref::<SqlError>() {
            Some(own) => own.clone(),
            None => SqlError::internal(inner.to_string()),
        },
        DataFusionError::ArrowError(inner, _) => match &**inner {
            ArrowError::DivideByZero => ArrowError::DivideByZero.into(),
            ArrowError::ArithmeticOverflow(t) => ArrowError::ArithmeticOverflow(t.clone()).into(),
            ArrowError::CastError(t) | ArrowError::ParseError(t) => bad_text(t),
            ArrowError::ExternalError(e) => match e.downcast_ref::<DataFusionError>() {
                Some(own) => shared(own),
                None => SqlError::internal(e.to_string()),
            },
            other => SqlError::internal(other.to_string()),
        },
        DataFusionError::ResourcesExhausted(text) => DataFusionError::ResourcesExhausted(text.clone()).into(),
        DataFusionError::Execution(text) => execution(text),
        DataFusionError::ObjectStore(e) => SqlError::new("58030", e.to_string()),
        DataFusionError::ParquetError(e) => parquet(&e.to_string()),
        other => SqlError::internal(first_line(&other.to_string())),
    }
}

fn parquet(text: &str) -> SqlError {
    SqlError::new("XX001", format!("cannot read a data file: {}", first_line(text)))
}

fn schema(error: SchemaError) -> SqlError {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => {
            let name = match &field.relation {
                Some(relation) => format!("{}.{}", relation.table(), field.name),
                None => format!("\"{}\"", field.name),
            };
            let error = SqlError::new("42703", format!("column {name} does not exist"));
            let names = valid_fields.iter().map(|c| c.name.as_str());
            match nearest(&field.name, names) {
                Some(near) => {
                    error.with_hint(format!("Perhaps you meant to reference the column \"{near}\"."))
                }
                None => error,
            }
        }
        SchemaError::AmbiguousReference { field } => {
            SqlError::new("42702", format!("column reference \"{}\" is ambiguous", field.name))
        }
        SchemaError::DuplicateUnqualifiedField { name } => {
            SqlError::new("42701", format!("column \"{name}\" specified more than once"))
        }
        SchemaError::DuplicateQualifiedField { qualifier, name } => {
            let table = qualifier.table();
            SqlError::new("42712", format!("table name \"{table}\" specified more than once"))
                .with_hint(format!("both have a column \"{name}\": give one of them an alias"))
        }
    }
}

/// Planning errors carry only text: recognise those that PostgreSQL has a code for.
fn plan(text: &str) -> SqlError {
    let line = first_line(text);
    if let Some(rest) = line.strip_prefix("Invalid function '") {
        let name = rest.split('\'').next().unwrap_or(rest);
        return SqlError::new("42883", format!("function {name} does not exist"))
            .with_hint("No function matches the given name and argument types.");
    }
    if line.contains("must be in GROUP BY") || line.contains("must appear in the GROUP BY") {
        return SqlError::new("42803", line);
    }
    if line.contains("coerce") || line.contains("No function matches") || line.contains("comparison operator")
    {
        return SqlError::new("42883", line).with_hint(
            "No operator or function matches the given types: you might need to add explicit type casts.",
        );
    }
    if let Some(field) = line.strip_prefix("No field named ") {
        return SqlError::new("42703", format!("column {} does not exist", field.trim_end_matches('.')));
    }
    if line.starts_with("table '") || line.contains("Table not found") {
        return SqlError::new("42P01", line);
    }
    if line.contains("unique expression names") {
        return SqlError::new("42701", line);
    }
    SqlError::new("42601", line)
}

fn execution(text: &str) -> SqlError {
    let line = first_line(text);
    let lower = line.to_lowercase();
    if lower.contains("divide by zero") || lower.contains("division by zero") {
        return SqlError::new("22012", "division by zero");
    }
    if lower.contains("overflow") || lower.contains("out of range") {
        return SqlError::new("22003", line);
    }
    if lower.contains("error parsing") || lower.contains("cannot cast") {
        return bad_text(&line);
    }
    if lower.contains("regular expression") || lower.contains("regex parse") {
        return SqlError::new("2201B", line);
    }
    SqlError::new("22000", line)
}

/// `Cannot cast string 'x' to value of Int64 type` in PostgreSQL's words.
fn bad_text(text: &str) -> SqlError {
    let line = first_line(text);
    if let Some(rest) = line.strip_prefix("Cannot cast string '")
        && let Some((value, tail)) = rest.rsplit_once("' to value of ")
    {
        let name = match tail.split_whitespace().next().unwrap_or("") {
            "Int8" | "Int16" | "UInt8" => "smallint",
            "Int32" | "UInt16" => "integer",
            "Int64" | "UInt32" | "UInt64" => "bigint",
            "Float32" => "real",
            "Float64" => "double precision",
            "Boolean" => "boolean",
            "Date32" | "Date64" => "date",
            t if t.starts_with("Decimal") => "numeric",
            t if t.starts_with("Timestamp") => "timestamp",
            t if t.starts_with("Time") => "time",
            t if t.starts_with("Interval") => "interval",
            t => return SqlError::new("22P02", format!("invalid input syntax for type {t}: \"{value}\"")),
        };
        return SqlError::new("22P02", format!("invalid input syntax for type {name}: \"{value}\""));
    }
    let lower = line.to_lowercase();
    if lower.contains("out of range") || lower.contains("too large") || lower.contains("can't cast value") {
        return SqlError::new("22003", line);
    }
    SqlError::new(if lower.contains("timestamp") || lower.contains("date") { "22007" } else { "22P02" }, line)
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().trim().to_string()
}

/// The name closest to `wanted`, when it is close enough to be a slip.
pub(crate) fn nearest<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (wanted.chars().count() / 3).max(1);
    names.map(|n| (distance(wanted, n), n)).filter(|(d, _)| *d <= limit).min().map(|(_, n)| n)
}

/// Edit distance (Levenshtein) without case.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) =
        (a.to_lowercase().chars().collect(), b.to_lowercase().chars().collect());
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let above = row[j + 1];
            row[j + 1] = (diagonal + usize::from(ca != cb)).min(above + 1).min(row[j] + 1);
            diagonal = above;
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_name_is_a_slip_not_a_guess() {
        let names = ["trades", "orders", "trade_analytics"];
        assert_eq!(nearest("trade", names.into_iter()), Some("trades"));
        assert_eq!(nearest("ordres", names.into_iter()), Some("orders"));
        assert_eq!(nearest("weather", names.into_iter()), None);
    }

    #[test]
    fn engine_errors_have_the_codes_of_postgres() {
        let zero: SqlError = DataFusionError::ArrowError(Box::new(ArrowError::DivideByZero), None).into();
        assert_eq!((zero.sqlstate, zero.message.as_str()), ("22012", "division by zero"));
        let bad: SqlError =
            ArrowError::CastError("Cannot cast string 'x' to value of Int64 type".into()).into();
        assert_eq!(bad.sqlstate, "22P02");
        assert_eq!(bad.message, "invalid input syntax for type bigint: \"x\"");
        let memory: SqlError = DataFusionError::ResourcesExhausted("x".into()).into();
        assert_eq!((memory.sqlstate, memory.kind), ("53200", ErrorKind::Unavailable));
        let own = DataFusionError::Shared(std::sync::Arc::new(SqlError::canceled("user request").into()));
        assert_eq!(SqlError::from(own).sqlstate, "57014");
    }
}
