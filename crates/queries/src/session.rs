//! One SQL session: settings, prepared statements are the door's.
//!
//! Owns: parsing, planning, `SET`/`SHOW`, transactions as Postgres clients expect them (BEGIN pins one ReadView).
//! Does not own: wire types.
//! Invariants: statements of a transaction see one ReadView; after an error a transaction takes nothing but its end.

mod control;
mod explain;
mod fairness;
mod names;
mod result;
mod run;
pub(crate) mod settings;

use std::collections::{BTreeMap, HashMap};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef};
use base::{Offset, PartitionId};
use datafusion::sql::sqlparser::ast::Statement;
use futures::Stream;
use parking_lot::Mutex;

use crate::engine::Shared;
use crate::error::SqlError;
use crate::read_view::ReadView;
use crate::statement::{self, Prepared};

pub(crate) use control::reads;

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
    /// µs since 1970-01-01, in no time zone.
    Timestamp(i64),
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

/// What a statement read of one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputRead {
    /// As SQL names it, without the default schema.
    pub table: String,
    pub snapshot_id: Option<i64>,
    /// Up to where (exclusive) each partition of the table's topic was seen; empty for a table without topic.
    pub offsets: Vec<(PartitionId, Offset)>,
}

#[derive(Debug, Default)]
struct Transaction {
    /// Pinned by the first statement that reads.
    view: Option<Arc<ReadView>>,
    savepoints: Vec<String>,
}

/// Described statements whose parameter types are remembered.
const DESCRIBED_MAX: usize = 256;

/// One client's session. Statements run one at a time.
#[derive(Debug)]
pub struct Session {
    shared: Arc<Shared>,
    user: Arc<str>,
    database: Arc<str>,
    backend_pid: i32,
    settings: settings::SharedSettings,
    transaction: Option<Transaction>,
    /// The open transaction has met an error, perhaps while its rows were streaming.
    failed: Arc<AtomicBool>,
    /// Types of parameters by statement text.
    described: HashMap<String, BTreeMap<usize, DataType>>,
    inputs: Vec<InputRead>,
}

impl Session {
    pub(crate) fn new(shared: Arc<Shared>, settings: SessionSettings, backend_pid: i32) -> Self {
        let own = settings::Settings::new(
            &settings.application_name,
            &settings.user,
            shared.settings.statement_timeout,
        );
        Self {
            shared,
            user: settings.user.into(),
            database: settings.database.into(),
            backend_pid,
            settings: Arc::new(Mutex::new(own)),
            transaction: None,
            failed: Arc::new(AtomicBool::new(false)),
            described: HashMap::new(),
            inputs: Vec::new(),
        }
    }

    /// Splits a simple-query text into its statements.
    pub fn split(text: &str) -> Result<Vec<String>, SqlError> {
        statement::split(text)
    }

    /// What the last executed statement read: the view that its rows are computed from.
    pub fn inputs_read(&self) -> &[InputRead] {
        &self.inputs
    }

    /// A setting's value as `SHOW` prints it.
    pub fn setting(&self, name: &str) -> Option<String> {
        self.settings.lock().show(name).ok()
    }

    /// Sets a setting, as a client's startup options do.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), SqlError> {
        self.settings.lock().set(name, Some(value), false)
    }

    pub async fn describe(&mut self, statement: &str) -> Result<Description, SqlError> {
        self.describe_with(statement, &[]).await
    }

    /// Describes a statement some of whose parameters have types that the client declared.
    pub async fn describe_with(
        &mut self,
        statement: &str,
        declared: &[Option<DataType>],
    ) -> Result<Description, SqlError> {
        let prepared = match self.prepare(statement).await {
            Ok(Some(prepared)) => prepared,
            Ok(None) => return Ok(Description { parameters: Vec::new(), columns: None }),
            Err(error) => return self.note_error(Err(error)),
        };
        self.check_transaction(&prepared.statement)?;
        let result = self.describe_prepared(statement, prepared, declared).await;
        self.note_error(result)
    }

    async fn describe_prepared(
        &mut self,
        text: &str,
        prepared: Arc<Prepared>,
        declared: &[Option<DataType>],
    ) -> Result<Description, SqlError> {
        let count = prepared.mentioned.count;
        let mut types = prepared.mentioned.hints.clone();
        if let Some(columns) = control::columns(&prepared.statement) {
            return Ok(Description { parameters: vec![DataType::Utf8; count], columns });
        }
        let view = self.view(&prepared).await?;
        let context = self.context();
        if count > 0 {
            for (number, found) in context.infer(&prepared, &view).await {
                types.entry(number).or_insert(found);
            }
        }
        for (index, data_type) in declared.iter().enumerate() {
            if let Some(data_type) = data_type {
                types.insert(index + 1, data_type.clone());
            }
        }
        self.remember(text, &types);
        let parameters = (1..=count).map(|n| types.get(&n).cloned().unwrap_or(DataType::Utf8)).collect();
        let columns = context.columns(prepared, types, view).await?;
        Ok(Description { parameters, columns: Some(columns) })
    }

    fn remember(&mut self, text: &str, types: &BTreeMap<usize, DataType>) {
        if self.described.len() >= DESCRIBED_MAX {
            self.described.clear();
        }
        self.described.insert(text.to_string(), types.clone());
    }

    /// Runs one statement. Dropping the returned stream cancels it.
    pub async fn execute(&mut self, statement: &str, parameters: &[Value]) -> Result<Answer, SqlError> {
        let prepared = match self.prepare(statement).await {
            Ok(Some(prepared)) => prepared,
            Ok(None) => return Ok(Answer::Empty),
            Err(error) => return self.note_error(Err(error)),
        };
        self.check_transaction(&prepared.statement)?;
        let result = self.execute_prepared(statement, prepared, parameters).await;
        self.note_error(result)
    }

    async fn execute_prepared(
        &mut self,
        text: &str,
        prepared: Arc<Prepared>,
        values: &[Value],
    ) -> Result<Answer, SqlError> {
        self.inputs.clear();
        if !reads(&prepared.statement) {
            return self.control(&prepared.statement, text);
        }
        let mentioned = &prepared.mentioned;
        if mentioned.count > values.len() {
            return Err(SqlError::new(
                "08P01",
                format!(
                    "bind message supplies {} parameters, but the statement requires {}",
                    values.len(),
                    mentioned.count
                ),
            ));
        }
        let view = self.view(&prepared).await?;
        let untyped = |(index, value): (usize, &Value)| {
            matches!(value, Value::Text(_) | Value::Null) && !mentioned.hints.contains_key(&(index + 1))
        };
        let types = match self.described.get(text) {
            Some(types) => types.clone(),
            None if mentioned.count > 0 && values.iter().enumerate().any(untyped) => {
                let mut types = mentioned.hints.clone();
                for (number, found) in self.context().infer(&prepared, &view).await {
                    types.entry(number).or_insert(found);
                }
                self.remember(text, &types);
                types
            }
            None => mentioned.hints.clone(),
        };
        let context = self.context();
        self.inputs = context.inputs_of(&prepared.relations, &view)?;
        let open = self.transaction.is_some().then(|| Arc::clone(&self.failed));
        context.run(prepared, values.to_vec(), types, view, open).await
    }

    fn check_length(&self, text: &str) -> Result<(), SqlError> {
        let limit = self.shared.settings.statement_bytes_max;
        if text.len() <= limit {
            return Ok(());
        }
        Err(SqlError::new(
            "54000",
            format!("a statement of {} bytes is longer than the limit of {limit}", text.len()),
        ))
    }

    async fn prepare(&self, text: &str) -> Result<Option<Arc<Prepared>>, SqlError> {
        self.check_length(text)?;
        Ok(statement::prepare(text).await?.map(Arc::new))
    }

    fn context(&self) -> run::Context {
        let settings = self.settings.lock();
        let default_namespace = &self.shared.deps.tables.settings().default_namespace;
        run::Context {
            shared: Arc::clone(&self.shared),
            user: Arc::clone(&self.user),
            database: Arc::clone(&self.database),
            backend_pid: self.backend_pid,
            settings: Arc::clone(&self.settings),
            freshness: settings.freshness(),
            time_zone: settings.time_zone(),
            timeout: settings.statement_timeout(),
            search_path: settings.search_path(&self.user, default_namespace),
        }
    }

    /// The transaction's view, or one for this statement.
    async fn view(&mut self, prepared: &Prepared) -> Result<Arc<ReadView>, SqlError> {
        let context = self.context();
        let Some(transaction) = &mut self.transaction else {
            let named = context.named(&prepared.relations)?;
            return context.pin(if prepared.catalog { None } else { Some(named) }).await;
        };
        match &transaction.view {
            Some(view) => Ok(Arc::clone(view)),
            None => {
                let view = context.pin(None).await?;
                transaction.view = Some(Arc::clone(&view));
                Ok(view)
            }
        }
    }

    pub fn transaction(&self) -> TransactionState {
        match &self.transaction {
            None => TransactionState::Idle,
            Some(_) if self.failed.load(Ordering::Acquire) => TransactionState::Failed,
            Some(_) => TransactionState::Open,
        }
    }

    /// Marks the open transaction as failed: the door met an error of its own (encoding, cancellation).
    pub fn fail_transaction(&mut self) {
        if self.transaction.is_some() {
            self.failed.store(true, Ordering::Release);
        }
    }

    fn note_error<T>(&mut self, result: Result<T, SqlError>) -> Result<T, SqlError> {
        if result.is_err() {
            self.fail_transaction();
        }
        result
    }

    fn check_transaction(&self, parsed: &Statement) -> Result<(), SqlError> {
        let ends = matches!(parsed, Statement::Commit { .. } | Statement::Rollback { .. });
        if self.transaction() == TransactionState::Failed && !ends {
            return Err(SqlError::new(
                "25P02",
                "current transaction is aborted, commands ignored until end of transaction block",
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
