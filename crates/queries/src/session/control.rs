//! Statements that steer the session: `SET`, `SHOW`, `BEGIN` …, and the refusal of those that would write.
//!
//! Owns: their effect and their command tags.
//! Does not own: what the settings mean.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::sql::sqlparser::ast::{
    ContextModifier, DiscardObject, Expr, Ident, ObjectName, Reset, Set, SetExpr, Statement, TransactionMode,
    UnaryOperator, Value as Literal,
};
use futures::stream;

use super::{Answer, Session, Transaction, TransactionState};
use crate::error::SqlError;

/// Whether a statement reads tables, so that it is planned and run.
pub(crate) fn reads(statement: &Statement) -> bool {
    match statement {
        Statement::Query(query) => !writes(&query.body),
        Statement::Explain { statement, .. } => reads(statement),
        _ => false,
    }
}

fn writes(body: &SetExpr) -> bool {
    match body {
        SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => true,
        SetExpr::Query(query) => writes(&query.body),
        SetExpr::Select(select) => select.into.is_some(),
        _ => false,
    }
}

/// Result columns of a statement that is not planned: `Some(None)` when it has none. None: it must be planned.
pub(super) fn columns(statement: &Statement) -> Option<Option<SchemaRef>> {
    match statement {
        Statement::ShowVariable { variable } => Some(Some(show_columns(&words(variable)))),
        Statement::Explain { .. } => Some(Some(super::explain::columns())),
        other => (!reads(other)).then_some(None),
    }
}

fn words(variable: &[Ident]) -> String {
    let name = variable.iter().map(|i| i.value.to_lowercase()).collect::<Vec<_>>();
    // `SHOW a.b` is one name, `SHOW TIME ZONE` several words.
    let multiword = matches!(name.first().map(String::as_str), Some("time" | "transaction" | "session"));
    name.join(if multiword { " " } else { "." })
}

fn show_columns(name: &str) -> SchemaRef {
    let text = |n: &str| Field::new(n, DataType::Utf8, true);
    Arc::new(Schema::new(match name {
        "all" => vec![text("name"), text("setting"), text("description")],
        "time zone" => vec![text("TimeZone")],
        "transaction isolation level" => vec![text("transaction_isolation")],
        other => vec![text(other)],
    }))
}

fn done(tag: &str) -> Result<Answer, SqlError> {
    Ok(Answer::Done { tag: tag.into() })
}

impl Session {
    /// Runs a statement that is not planned.
    pub(super) fn control(&mut self, statement: &Statement, text: &str) -> Result<Answer, SqlError> {
        match statement {
            Statement::Set(set) => self.set_statement(set),
            Statement::ShowVariable { variable } => self.show(&words(variable)),
            Statement::Reset(reset) => {
                match &reset.reset {
                    Reset::ALL => self.settings.lock().reset_all(),
                    Reset::ConfigurationParameter(name) => {
                        self.settings.lock().set(&dotted(name), None, false)?;
                    }
                }
                done("RESET")
            }
            Statement::StartTransaction { modes, .. } => self.begin(modes),
            Statement::Commit { .. } => self.end(true),
            Statement::Rollback { savepoint: None, .. } => self.end(false),
            Statement::Rollback { savepoint: Some(name), .. } => self.rollback_to(name),
            Statement::Savepoint { name } => {
                let name = folded(name);
                self.open_transaction("SAVEPOINT")?.savepoints.push(name);
                done("SAVEPOINT")
            }
            Statement::ReleaseSavepoint { name } => {
                let at = self.savepoint(name, "RELEASE SAVEPOINT")?;
                self.open_transaction("RELEASE SAVEPOINT")?.savepoints.truncate(at);
                done("RELEASE")
            }
            Statement::Discard { object_type: DiscardObject::ALL } => {
                if self.transaction.is_some() {
                    return Err(SqlError::new("25001", "DISCARD ALL cannot run inside a transaction block"));
                }
                self.settings.lock().reset_all();
                self.described.clear();
                done("DISCARD ALL")
            }
            Statement::Discard { object_type } => done(&format!("DISCARD {object_type}")),
            // Prepared statements are the door's: by the time this runs it has forgotten them.
            Statement::Deallocate { name, .. } if name.value.eq_ignore_ascii_case("all") => {
                self.described.clear();
                done("DEALLOCATE ALL")
            }
            Statement::Deallocate { .. } => done("DEALLOCATE"),
            other => Err(refused(other, text)),
        }
    }

    fn set_statement(&mut self, set: &Set) -> Result<Answer, SqlError> {
        let mut settings = self.settings.lock();
        match set {
            Set::SingleAssignment { scope, hivevar: false, variable, values } => {
                let local = matches!(scope, Some(ContextModifier::Local));
                let value = setting_text(values)?;
                settings.set(&dotted(variable), value.as_deref(), local)?;
            }
            Set::SetTimeZone { local, value } => {
                let value = setting_text(std::slice::from_ref(value))?;
                settings.set("timezone", value.as_deref(), *local)?;
            }
            Set::SetNames { charset_name, .. } => {
                settings.set("client_encoding", Some(&charset_name.value), false)?;
            }
            Set::SetNamesDefault {} => settings.set("client_encoding", None, false)?,
            Set::SetTransaction { modes, snapshot: None, session } => {
                for mode in modes {
                    if let TransactionMode::IsolationLevel(level) = mode {
                        let name =
                            if *session { "default_transaction_isolation" } else { "transaction_isolation" };
                        settings.set(name, Some(&level.to_string().to_lowercase()), !session)?;
                    }
                }
            }
            Set::SetRole { role_name: None, .. } => {}
            _ => return Err(SqlError::unsupported("this form of SET is not supported")),
        }
        done("SET")
    }

    fn show(&self, name: &str) -> Result<Answer, SqlError> {
        let columns = show_columns(name);
        let settings = self.settings.lock();
        let arrays: Vec<ArrayRef> = if name == "all" {
            let all = settings.all();
            let blank = vec![""; all.len()];
            vec![
                Arc::new(StringArray::from_iter_values(all.keys())),
                Arc::new(StringArray::from_iter_values(all.values())),
                Arc::new(StringArray::from(blank)),
            ]
        } else {
            vec![Arc::new(StringArray::from(vec![settings.show(name)?]))]
        };
        let batch = RecordBatch::try_new(Arc::clone(&columns), arrays)?;
        Ok(Answer::Rows { columns, rows: Box::pin(stream::iter([Ok(batch)])) })
    }

    fn begin(&mut self, modes: &[TransactionMode]) -> Result<Answer, SqlError> {
        if self.transaction.is_some() {
            // PostgreSQL warns and goes on.
            return done("BEGIN");
        }
        self.failed.store(false, Ordering::Release);
        self.transaction = Some(Transaction::default());
        let mut settings = self.settings.lock();
        settings.begin();
        for mode in modes {
            if let TransactionMode::IsolationLevel(level) = mode {
                settings.set("transaction_isolation", Some(&level.to_string().to_lowercase()), true)?;
            }
        }
        done("BEGIN")
    }

    fn end(&mut self, commit: bool) -> Result<Answer, SqlError> {
        let failed = self.transaction() == TransactionState::Failed;
        let committed = commit && !failed;
        if self.transaction.take().is_some() {
            self.settings.lock().end(committed);
        }
        // Streams of the transaction may still be about: they must not fail the next one.
        self.failed = Arc::default();
        done(if commit && failed || !commit { "ROLLBACK" } else { "COMMIT" })
    }

    fn rollback_to(&mut self, name: &Ident) -> Result<Answer, SqlError> {
        let at = self.savepoint(name, "ROLLBACK TO SAVEPOINT")?;
        self.open_transaction("ROLLBACK TO SAVEPOINT")?.savepoints.truncate(at + 1);
        self.failed = Arc::default();
        done("ROLLBACK")
    }

    fn open_transaction(&mut self, what: &str) -> Result<&mut Transaction, SqlError> {
        self.transaction
            .as_mut()
            .ok_or_else(|| SqlError::new("25P01", format!("{what} can only be used in transaction blocks")))
    }

    /// Index of the innermost savepoint of a name.
    fn savepoint(&mut self, name: &Ident, what: &str) -> Result<usize, SqlError> {
        let name = folded(name);
        let transaction = self.open_transaction(what)?;
        let found = transaction.savepoints.iter().rposition(|s| *s == name);
        found.ok_or_else(|| SqlError::new("3B001", format!("savepoint \"{name}\" does not exist")))
    }
}

fn folded(ident: &Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() }
}

fn dotted(name: &ObjectName) -> String {
    let parts = name.0.iter().filter_map(|p| p.as_ident()).map(|i| i.value.clone());
    parts.collect::<Vec<_>>().join(".")
}

/// The values of `SET x = a, b` as text; none for `DEFAULT`.
fn setting_text(values: &[Expr]) -> Result<Option<String>, SqlError> {
    let mut parts = Vec::with_capacity(values.len());
    for value in values {
        parts.push(match value {
            Expr::Identifier(ident)
                if ident.quote_style.is_none() && ident.value.eq_ignore_ascii_case("default") =>
            {
                return Ok(None);
            }
            Expr::Identifier(ident) if ident.quote_style.is_some() && values.len() > 1 => {
                format!("\"{}\"", ident.value)
            }
            Expr::Identifier(ident) => ident.value.clone(),
            Expr::CompoundIdentifier(idents) => {
                idents.iter().map(|i| i.value.as_str()).collect::<Vec<_>>().join(".")
            }
            Expr::Value(value) => match &value.value {
                Literal::SingleQuotedString(text) | Literal::EscapedStringLiteral(text) => text.clone(),
                Literal::Number(number, _) => number.clone(),
                Literal::Boolean(flag) => flag.to_string(),
                other => return Err(SqlError::syntax(format!("syntax error at or near \"{other}\""))),
            },
            Expr::UnaryOp { op, expr } => match (op, expr.as_ref()) {
                (UnaryOperator::Minus, Expr::Value(value)) => format!("-{value}"),
                (UnaryOperator::Plus, Expr::Value(value)) => value.to_string(),
                _ => return Err(SqlError::syntax("a setting takes a name, a text or a number")),
            },
            _ => return Err(SqlError::syntax("a setting takes a name, a text or a number")),
        });
    }
    Ok(Some(parts.join(", ")))
}

/// Why a statement is not taken, and what to do in its place.
fn refused(statement: &Statement, text: &str) -> SqlError {
    let word = text.split_whitespace().find(|w| !w.starts_with("--")).unwrap_or_default().to_uppercase();
    let hint = match statement {
        Statement::Insert(_) | Statement::Copy { .. } | Statement::Merge(_) => {
            "tables are written through their topics: produce to the topic with any Kafka client"
        }
        Statement::Update(_) | Statement::Delete(_) | Statement::Truncate(_) => {
            "append tables keep every record of their topic; write the tables' files with an Iceberg engine, or keep fewer columns with a query"
        }
        Statement::CreateTable(_) | Statement::AlterTable { .. } | Statement::Drop { .. } => {
            "a topic with redpanda.iceberg.mode=value_schema_latest is a table; create and delete the topic"
        }
        Statement::CreateView(_) => "publish the query as a pipeline, and read its topic's table",
        Statement::Declare { .. } | Statement::Fetch { .. } | Statement::Close { .. } => {
            "use the extended protocol with a row limit in place of a cursor"
        }
        _ => {
            "SELECT, EXPLAIN, SHOW, SET, RESET, BEGIN, COMMIT, ROLLBACK, SAVEPOINT and DISCARD are served here"
        }
    };
    SqlError::unsupported(format!("{word} is not supported")).with_hint(hint)
}
