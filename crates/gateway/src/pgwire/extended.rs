//! The extended protocol: Parse, Bind, Describe, Execute, Close.
//!
//! Owns: prepared statements and portals of a connection, and their limits.
//! Does not own: Flush, Sync and skipping after errors (`connection`).
//! Invariants: a result keeps to the columns that its statement was described with; a portal's rows are described from
//! the running statement itself, so that types which only the values decide are right.

use arrow::datatypes::DataType;
use pgwire::messages::data::{NoData, ParameterDescription, RowDescription};
use pgwire::messages::extendedquery::{BindComplete, CloseComplete, ParseComplete, PortalSuspended};
use pgwire::messages::response::EmptyQueryResponse;
use queries::Session;
use tokio_util::sync::CancellationToken;

use super::connection::{Connection, Progress, interruptible};
use super::errors::{Failure, Halt};
use super::message::{Bind, Target};
use super::parameters;
use super::portal::{Opened, Portal, Prepared, State, check_supported};
use super::types::{Column, parameter_oid, parameter_type};

/// Prepared statements of one connection.
const STATEMENTS_MAX: usize = 4096;
/// Portals of one connection: each may hold a running query.
const PORTALS_MAX: usize = 64;
/// OID of `unknown`, which is a literal whose type nobody has said.
const UNKNOWN: u32 = 705;

impl Connection {
    pub(super) async fn parse(&mut self, name: String, query: &str, types: Vec<u32>) -> Result<(), Halt> {
        if !name.is_empty() && self.statements.contains_key(&name) {
            return Err(Failure::new("42P05", format!("prepared statement \"{name}\" already exists")).into());
        }
        if self.statements.len() >= STATEMENTS_MAX && !self.statements.contains_key(&name) {
            let message = format!("a connection holds at most {STATEMENTS_MAX} prepared statements");
            return Err(Failure::new("53400", message).with_hint("close some of them").into());
        }
        let mut parts = Session::split(query)?;
        if parts.len() > 1 {
            let message = "cannot insert multiple commands into a prepared statement";
            return Err(Failure::new("42601", message).into());
        }
        let prepared = match parts.pop() {
            None => Prepared { text: String::new(), parameters: types, columns: None, announced: false },
            Some(text) => self.prepare(text, types).await?,
        };
        self.statements.insert(name, prepared);
        Ok(self.writer.put(&ParseComplete::new())?)
    }

    async fn prepare(&mut self, text: String, types: Vec<u32>) -> Result<Prepared, Halt> {
        check_supported(&text)?;
        let token = self.key.begin();
        let declared: Vec<Option<DataType>> = types.iter().map(|oid| parameter_type(*oid)).collect();
        let describing = self.session.describe_with(&text, &declared);
        let described = interruptible(&token, &self.shutdown, &mut self.reader, describing).await??;
        // A type that the client names counts; where it names none, the inferred one does.
        let count = types.len().max(described.parameters.len());
        let parameters = (0..count).map(|at| match types.get(at) {
            Some(oid) if *oid != 0 && *oid != UNKNOWN => *oid,
            _ => parameter_oid(described.parameters.get(at).unwrap_or(&DataType::Utf8)),
        });
        let columns = described
            .columns
            .map(|schema| schema.fields().iter().map(|field| Column::of(field)).collect::<Vec<_>>());
        Ok(Prepared { parameters: parameters.collect(), text, columns, announced: false })
    }

    pub(super) fn bind(&mut self, bind: Bind) -> Result<(), Halt> {
        let statement = self.statement(&bind.statement)?.clone();
        if bind.parameters.len() != statement.parameters.len() {
            let message = format!(
                "bind message supplies {} parameters, but prepared statement \"{}\" requires {}",
                bind.parameters.len(),
                bind.statement,
                statement.parameters.len()
            );
            return Err(Failure::new("08P01", message).into());
        }
        if !bind.portal.is_empty() && self.portals.contains_key(&bind.portal) {
            let message = format!("portal \"{}\" already exists", bind.portal);
            return Err(Failure::new("42P03", message).into());
        }
        if self.portals.len() >= PORTALS_MAX && !self.portals.contains_key(&bind.portal) {
            let message = format!("a connection holds at most {PORTALS_MAX} portals");
            return Err(Failure::new("53400", message).with_hint("close some of them").into());
        }
        let mut values = Vec::with_capacity(bind.parameters.len());
        for (at, (bytes, oid)) in bind.parameters.iter().zip(&statement.parameters).enumerate() {
            let binary = match bind.parameter_formats.as_slice() {
                [] => false,
                [all] => *all == 1,
                each => each.get(at).is_some_and(|code| *code == 1),
            };
            values.push(parameters::value(at + 1, *oid, binary, bytes.as_deref())?);
        }
        self.portals.insert(bind.portal, Portal::new(statement, values, bind.result_formats));
        Ok(self.writer.put(&BindComplete::new())?)
    }

    pub(super) async fn describe(&mut self, target: Target) -> Result<(), Halt> {
        match target {
            Target::Statement(name) => {
                let statement = self.statements.get_mut(&name).ok_or_else(|| no_statement(&name))?;
                statement.announced = true;
                self.writer.put(&ParameterDescription::new(statement.parameters.clone()))?;
                match &statement.columns {
                    None => Ok(self.writer.put(&NoData::new())?),
                    Some(columns) => {
                        let fields = columns.iter().map(|column| column.description(0)).collect();
                        Ok(self.writer.put(&RowDescription::new(fields))?)
                    }
                }
            }
            Target::Portal(name) => self.describe_portal(name).await,
        }
    }

    /// A portal that gives rows is started here, so that it is described by what it really sends.
    async fn describe_portal(&mut self, name: String) -> Result<(), Halt> {
        let mut portal = self.portals.remove(&name).ok_or_else(|| no_portal(&name))?;
        if matches!(portal.state, State::Bound) && portal.statement.columns.is_some() {
            let token = self.key.begin();
            match self.open(&mut portal, &token).await? {
                Opened::Rows(streaming) => portal.state = State::Streaming(*streaming),
                Opened::Done { .. } | Opened::Command(_) | Opened::Empty => {
                    let message = "the statement was described with rows but gives none";
                    return Err(Failure::new("XX000", message).into());
                }
            }
        }
        match &portal.state {
            State::Streaming(streaming) => self.announce(streaming)?,
            State::Bound | State::Finished => self.writer.put(&NoData::new())?,
        }
        self.portals.insert(name, portal);
        Ok(())
    }

    pub(super) async fn execute(&mut self, name: &str, rows_max: usize) -> Result<(), Halt> {
        // Out of the map while it runs: an error drops it, and with it what still runs.
        let mut portal = self.portals.remove(name).ok_or_else(|| no_portal(name))?;
        let token = self.key.begin();
        if matches!(portal.state, State::Bound) {
            portal.state = match self.open(&mut portal, &token).await? {
                Opened::Rows(streaming) => State::Streaming(*streaming),
                Opened::Done { tag } => {
                    self.complete(tag)?;
                    State::Finished
                }
                Opened::Command(command) => {
                    self.command(command, &token).await?;
                    State::Finished
                }
                Opened::Empty => {
                    self.writer.put(&EmptyQueryResponse::new())?;
                    State::Finished
                }
            };
        } else if let State::Finished = portal.state {
            let message = format!("portal \"{name}\" cannot be run anymore");
            return Err(Failure::new("55000", message).into());
        }
        if let State::Streaming(streaming) = &mut portal.state {
            match self.stream(streaming, rows_max, &token).await? {
                Progress::Suspended => self.writer.put(&PortalSuspended::new())?,
                Progress::Complete => {
                    let tag = streaming.command_tag();
                    portal.state = State::Finished;
                    self.complete(tag)?;
                }
            }
        }
        self.portals.insert(name.to_owned(), portal);
        Ok(())
    }

    async fn open(&mut self, portal: &mut Portal, token: &CancellationToken) -> Result<Opened, Halt> {
        if portal.statement.text.is_empty() {
            return Ok(Opened::Empty);
        }
        let running = self.session.execute(&portal.statement.text, &portal.values);
        let answer = interruptible(token, &self.shutdown, &mut self.reader, running).await??;
        Ok(portal.open(answer)?)
    }

    pub(super) fn close(&mut self, target: &Target) -> Result<(), Halt> {
        // Closing what does not exist is no error.
        match target {
            Target::Statement(name) => drop(self.statements.remove(name)),
            Target::Portal(name) => drop(self.portals.remove(name)),
        }
        Ok(self.writer.put(&CloseComplete::new())?)
    }

    fn statement(&self, name: &str) -> Result<&Prepared, Failure> {
        self.statements.get(name).ok_or_else(|| no_statement(name))
    }
}

fn no_statement(name: &str) -> Failure {
    match name {
        "" => Failure::new("26000", "unnamed prepared statement does not exist"),
        name => Failure::new("26000", format!("prepared statement \"{name}\" does not exist")),
    }
}

fn no_portal(name: &str) -> Failure {
    Failure::new("34000", format!("portal \"{name}\" does not exist"))
}
