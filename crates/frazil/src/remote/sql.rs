//! SQL over the Postgres wire.
//!
//! Each statement is prepared first, for the types of its columns, and then run by the simple protocol: its text form is
//! exact for every type.

use anyhow::Context;
use futures::{StreamExt, pin_mut};
use tokio_postgres::types::Type;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use super::{CONNECT_LIMIT, Remote, Unreachable, innermost};
use crate::output::{Cell, Column, Kind};

/// A session on the node.
pub struct Sql {
    client: Client,
}

impl std::fmt::Debug for Sql {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sql")
    }
}

/// What a statement answers: its columns (none when it has no rows), then its rows.
pub trait Sink {
    fn columns(&mut self, columns: Vec<Column>) -> anyhow::Result<()>;
    fn row(&mut self, cells: Vec<Cell>) -> anyhow::Result<()>;
}

/// A whole answer in memory, for small ones.
#[derive(Debug, Default)]
pub struct Table {
    pub columns: Vec<Column>,
    pub rows: Vec<Vec<Cell>>,
}

impl Sink for Table {
    fn columns(&mut self, columns: Vec<Column>) -> anyhow::Result<()> {
        self.columns = columns;
        Ok(())
    }

    fn row(&mut self, cells: Vec<Cell>) -> anyhow::Result<()> {
        self.rows.push(cells);
        Ok(())
    }
}

impl Sql {
    /// Opens a session.
    pub async fn connect(remote: &Remote) -> anyhow::Result<Self> {
        let mut config: tokio_postgres::Config =
            remote.postgres.parse().with_context(|| format!("`{}` is no Postgres URL", remote.postgres))?;
        config.connect_timeout(CONNECT_LIMIT).application_name("frazil sql");
        let (client, connection) =
            config.connect(NoTls).await.map_err(|error| match error.as_db_error() {
                Some(_) => readable(error),
                None => {
                    Unreachable { what: "SQL", address: remote.postgres.clone(), reason: innermost(&error) }
                        .into()
                }
            })?;
        // Ends with the client; an error shows in the statement that was waiting.
        let supervisor = base::Supervisor::new(tokio::runtime::Handle::current());
        supervisor.spawn(base::TaskKind::Connection, "sql client", |_| async {
            let _ = connection.await;
            Ok(())
        });
        Ok(Self { client })
    }

    /// Runs one statement and hands its rows over as they come.
    pub async fn run(&self, statement: &str, sink: &mut dyn Sink) -> anyhow::Result<()> {
        let prepared = self.client.prepare(statement).await.map_err(readable)?;
        let columns: Vec<Column> = prepared
            .columns()
            .iter()
            .map(|c| Column { name: c.name().to_owned(), kind: kind_of(c.type_()) })
            .collect();
        let width = columns.len();
        sink.columns(columns)?;
        let messages = self.client.simple_query_raw(statement).await.map_err(readable)?;
        pin_mut!(messages);
        while let Some(message) = messages.next().await {
            if let SimpleQueryMessage::Row(row) = message.map_err(readable)? {
                let cell = |n| row.try_get(n).map(|c| c.map(str::to_owned));
                sink.row((0..width).map(cell).collect::<Result<_, _>>()?)?;
            }
        }
        Ok(())
    }

    /// Runs one statement with a small answer.
    pub async fn table(&self, statement: &str) -> anyhow::Result<Table> {
        let mut table = Table::default();
        self.run(statement, &mut table).await?;
        Ok(table)
    }

    /// Runs a statement whose answer is one number.
    pub async fn number(&self, statement: &str) -> anyhow::Result<u64> {
        let table = self.table(statement).await?;
        let cell = table.rows.first().and_then(|row| row.first()).and_then(Option::as_deref);
        cell.and_then(|text| text.parse().ok())
            .with_context(|| format!("`{statement}` did not answer with a number but {cell:?}"))
    }
}

fn kind_of(data_type: &Type) -> Kind {
    match *data_type {
        Type::INT2 | Type::INT4 | Type::INT8 | Type::OID | Type::FLOAT4 | Type::FLOAT8 | Type::NUMERIC => {
            Kind::Number
        }
        Type::BOOL => Kind::Bool,
        Type::JSON | Type::JSONB => Kind::Json,
        _ => Kind::Text,
    }
}

/// An error of the server as psql shows it.
fn readable(error: tokio_postgres::Error) -> anyhow::Error {
    let Some(db) = error.as_db_error() else { return error.into() };
    let mut text = format!("{}: {}", db.code().code(), db.message());
    for (label, more) in [("detail", db.detail()), ("hint", db.hint())] {
        if let Some(more) = more {
            text.push_str(&format!("\n{label}: {more}"));
        }
    }
    anyhow::anyhow!(text)
}
