//! One SQL session: settings, prepared statements are the door's.
//!
//! Owns: parsing, planning, `SET`/`SHOW`, transactions as Postgres clients expect them (BEGIN pins one ReadView).
//! Does not own: wire types.

use std::pin::Pin;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef};
use futures::Stream;

use crate::error::SqlError;

/// Rows as they are computed.
pub type RowStream = Pin<Box<dyn Stream<Item = Result<RecordBatch, SqlError>> + Send>>;

/// Who asks.
#[derive(Debug, Clone)]
pub struct SessionSettings {
    pub user: String,
    /// Shown as `current_database()`.
    pub database: String,
    pub application_name: String,
}

/// A parameter value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    Bytes(Vec<u8>),
    /// µs since 1970-01-01 UTC.
    TimestampTz(i64),
    /// Days since 1970-01-01.
    Date(i32),
}

/// What a statement takes and gives, before it runs.
#[derive(Debug, Clone)]
pub struct Description {
    /// Types of `$1`, `$2` …; text where unknown.
    pub parameters: Vec<DataType>,
    /// None: no rows (SET, BEGIN …).
    pub columns: Option<SchemaRef>,
}

/// A statement that changes something: executed by `pipelines::Commands`.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {}

/// What a statement answered.
pub enum Answer {
    Rows {
        columns: SchemaRef,
        rows: RowStream,
    },
    /// Done here: Postgres' command tag, for example `SET`, `BEGIN`.
    Done {
        tag: String,
    },
    /// To be executed by the caller.
    Command(Command),
    /// No statement in the text.
    Empty,
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Rows { columns, .. } => write!(f, "Rows({columns:?})"),
            Self::Done { tag } => write!(f, "Done({tag})"),
            Self::Command(c) => write!(f, "Command({c:?})"),
            Self::Empty => f.write_str("Empty"),
        }
    }
}

/// State of the session's transaction, as ReadyForQuery reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransactionState {
    Idle,
    Open,
    Failed,
}

/// One client's session. Statements run one at a time.
#[derive(Debug)]
pub struct Session {}

impl Session {
    /// Splits a simple-query text into its statements.
    pub fn split(_text: &str) -> Result<Vec<String>, SqlError> {
        unimplemented!()
    }
    pub async fn describe(&mut self, _statement: &str) -> Result<Description, SqlError> {
        unimplemented!()
    }
    /// Runs one statement. Dropping the returned stream cancels it.
    pub async fn execute(&mut self, _statement: &str, _parameters: &[Value]) -> Result<Answer, SqlError> {
        unimplemented!()
    }
    pub fn transaction(&self) -> TransactionState {
        unimplemented!()
    }
}
