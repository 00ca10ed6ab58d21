//! One connection after its startup: the message loop, the simple protocol, streaming.
//!
//! Owns: the order of messages and answers, the state ReadyForQuery reports, interruption of running statements.
//! Does not own: the extended protocol's bookkeeping (`extended`), values on the wire (`rows`).
//! Invariants: while a statement runs, a cancel request, the client's hanging up and the node's stop each end it; rows
//! leave as they are computed, and the socket's pace is the statement's pace; after an error in the extended protocol
//! nothing is done until Sync.

use std::collections::HashMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;

use arrow::array::RecordBatch;
use base::Shutdown;
use bytes::BytesMut;
use futures::{FutureExt, StreamExt};
use pgwire::messages::data::RowDescription;
use pgwire::messages::response::{CommandComplete, EmptyQueryResponse, ReadyForQuery, TransactionStatus};
use pipelines::Commands;
use queries::session::TransactionState;
use queries::{RowStream, Session};
use tokio::io::AsyncWriteExt;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio_util::sync::CancellationToken;

use super::cancel::BackendKey;
use super::errors::{End, Failure, Halt};
use super::frame::FrameReader;
use super::message::{self, Message};
use super::portal::{Opened, Portal, Prepared, Streaming, check_supported, opened};
use super::rows::Rows;

/// Rows are sent on once this many bytes of them wait.
const FLUSH_BYTES: usize = 64 << 10;

/// Whether a result is complete after an Execute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    Complete,
    Suspended,
}

/// A connection whose client is known.
pub(super) struct Connection {
    pub(super) reader: FrameReader<OwnedReadHalf>,
    pub(super) writer: Writer,
    pub(super) session: Session,
    pub(super) commands: Commands,
    pub(super) key: BackendKey,
    pub(super) shutdown: Shutdown,
    pub(super) statements: HashMap<String, Prepared>,
    pub(super) portals: HashMap<String, Portal>,
    /// After an error in the extended protocol.
    skip_to_sync: bool,
}

/// The sending half.
pub(super) struct Writer {
    pub(super) socket: OwnedWriteHalf,
    pub(super) out: BytesMut,
}

impl Writer {
    /// Queues a message.
    pub(super) fn put(&mut self, message: &impl pgwire::messages::Message) -> Result<(), End> {
        message.encode(&mut self.out).map_err(|e| End::Violation(format!("an answer cannot be written: {e}")))
    }

    /// Sends what is queued. Interruptible: what was not sent stays queued.
    pub(super) async fn flush(&mut self) -> Result<(), End> {
        while !self.out.is_empty() {
            if self.socket.write_buf(&mut self.out).await? == 0 {
                return Err(End::Closed);
            }
        }
        Ok(())
    }
}

/// Runs `work` unless the statement is cancelled, the client hangs up or the node stops first.
pub(super) async fn interruptible<T>(
    token: &CancellationToken,
    shutdown: &Shutdown,
    reader: &mut FrameReader<OwnedReadHalf>,
    work: impl Future<Output = T>,
) -> Result<T, Halt> {
    tokio::select! {
        biased;
        () = token.cancelled() => Err(Failure::canceled().into()),
        () = shutdown.requested() => Err(End::Stopping.into()),
        done = work => Ok(done),
        end = reader.hung_up() => Err(end.into()),
    }
}

impl Connection {
    pub(super) fn new(
        reader: FrameReader<OwnedReadHalf>,
        writer: Writer,
        session: Session,
        commands: Commands,
        key: BackendKey,
        shutdown: Shutdown,
    ) -> Self {
        Self {
            reader,
            writer,
            session,
            commands,
            key,
            shutdown,
            statements: HashMap::new(),
            portals: HashMap::new(),
            skip_to_sync: false,
        }
    }

    /// Serves messages until the connection ends; tells the client why when it can.
    pub(super) async fn run(&mut self) -> End {
        // The state after a panic is not to be trusted: the client is told, and this connection ends.
        let end = match AssertUnwindSafe(self.serve()).catch_unwind().await {
            Ok(Ok(never)) => match never {},
            Ok(Err(end)) => end,
            Err(_) => {
                self.portals.clear();
                End::Defect
            }
        };
        if let Some(response) = end.response() {
            // The client may be gone or not reading: this is a courtesy.
            let _ = self.writer.put(&response);
            let limit = std::time::Duration::from_secs(1);
            let _ = tokio::time::timeout(limit, self.writer.flush()).await;
        }
        end
    }

    async fn serve(&mut self) -> Result<std::convert::Infallible, End> {
        loop {
            let frame = tokio::select! {
                biased;
                frame = self.reader.message() => frame?,
                () = self.shutdown.requested() => return Err(End::Stopping),
            };
            let outcome = match message::decode(frame.tag, frame.body.clone()) {
                Ok(Message::Terminate) => return Err(End::Closed),
                // What cannot be read is skipped like everything else: there is one error per Sync.
                Ok(_) | Err(Halt::Failed(_)) if self.skip_to_sync && frame.tag != b'S' => Ok(()),
                Ok(message) => self.handle(message).await,
                Err(halt) => Err(halt),
            };
            self.key.end();
            match outcome {
                Ok(()) => {}
                Err(Halt::Ended(end)) => return Err(end),
                Err(Halt::Failed(failure)) => self.failed(frame.tag, &failure).await?,
            }
        }
    }

    async fn handle(&mut self, message: Message) -> Result<(), Halt> {
        match message {
            Message::Query(text) => {
                self.simple(&text).await?;
                Ok(self.ready().await?)
            }
            Message::Parse { name, query, types } => self.parse(name, &query, types).await,
            Message::Bind(bind) => self.bind(bind),
            Message::Describe(target) => self.describe(target).await,
            Message::Execute { portal, rows_max } => self.execute(&portal, rows_max).await,
            Message::Close(target) => self.close(&target),
            Message::Flush => Ok(self.writer.flush().await?),
            Message::Sync => {
                self.skip_to_sync = false;
                // The implicit transaction of the messages since the last Sync ends here, and its portals with it.
                if self.session.transaction() == TransactionState::Idle {
                    self.portals.clear();
                }
                Ok(self.ready().await?)
            }
            Message::CopyLeftover => Ok(()),
            Message::FunctionCall => Err(Failure::unsupported("the function call protocol is not supported")
                .with_hint("use SELECT")
                .into()),
            Message::Terminate => Err(End::Closed.into()),
        }
    }

    async fn failed(&mut self, tag: u8, failure: &Failure) -> Result<(), End> {
        tracing::debug!(sqlstate = failure.sqlstate, message = %failure.message, "statement failed");
        self.writer.put(&failure.response())?;
        match tag {
            // The simple protocol and function calls have no Sync to wait for.
            b'Q' | b'F' => self.ready().await,
            b'S' => {
                self.skip_to_sync = false;
                self.ready().await
            }
            _ => {
                self.skip_to_sync = true;
                self.writer.flush().await
            }
        }
    }

    pub(super) async fn ready(&mut self) -> Result<(), End> {
        let status = match self.session.transaction() {
            TransactionState::Idle => TransactionStatus::Idle,
            TransactionState::Open => TransactionStatus::Transaction,
            TransactionState::Failed => TransactionStatus::Error,
        };
        self.writer.put(&ReadyForQuery::new(status))?;
        self.writer.flush().await
    }

    async fn simple(&mut self, text: &str) -> Result<(), Halt> {
        self.statements.remove("");
        self.portals.remove("");
        let statements = Session::split(text)?;
        if statements.is_empty() {
            self.writer.put(&EmptyQueryResponse::new())?;
        }
        for statement in &statements {
            check_supported(statement)?;
            let token = self.key.begin();
            let running = self.session.execute(statement, &[]);
            let answer = interruptible(&token, &self.shutdown, &mut self.reader, running).await??;
            match opened(statement, answer, None, &[])? {
                Opened::Rows(mut streaming) => {
                    self.announce(&streaming)?;
                    self.stream(&mut streaming, usize::MAX, &token).await?;
                    self.complete(streaming.command_tag())?;
                }
                Opened::Done { tag } => self.complete(tag)?,
                Opened::Command(command) => self.command(command, &token).await?,
                Opened::Empty => self.writer.put(&EmptyQueryResponse::new())?,
            }
        }
        Ok(())
    }

    pub(super) async fn command(
        &mut self,
        command: queries::Command,
        token: &CancellationToken,
    ) -> Result<(), Halt> {
        let running = self.commands.execute(command);
        let done = interruptible(token, &self.shutdown, &mut self.reader, running).await?;
        let tag = done.map_err(Failure::from)?;
        self.complete(tag)
    }

    pub(super) fn complete(&mut self, tag: String) -> Result<(), Halt> {
        Ok(self.writer.put(&CommandComplete::new(tag))?)
    }

    pub(super) fn announce(&mut self, streaming: &Streaming) -> Result<(), Halt> {
        let formats = streaming.formats.iter().map(|format| format.code());
        let fields = streaming.columns.iter().zip(formats).map(|(column, format)| column.description(format));
        Ok(self.writer.put(&RowDescription::new(fields.collect()))?)
    }

    /// Sends at most `rows_max` rows, as they come.
    pub(super) async fn stream(
        &mut self,
        result: &mut Streaming,
        rows_max: usize,
        token: &CancellationToken,
    ) -> Result<Progress, Halt> {
        result.sent = 0;
        let mut left = rows_max;
        loop {
            if let Some((rows, next)) = &mut result.current {
                let end = rows.count().min(next.saturating_add(left));
                let begin = *next;
                while *next < end {
                    rows.write(*next, &mut self.writer.out)?;
                    *next += 1;
                    if self.writer.out.len() >= FLUSH_BYTES {
                        let sending = self.writer.flush();
                        interruptible(token, &self.shutdown, &mut self.reader, sending).await??;
                    }
                }
                left -= end - begin;
                result.sent += (end - begin) as u64;
                if end < rows.count() {
                    return Ok(Progress::Suspended);
                }
                result.current = None;
            }
            // As in PostgreSQL, a result whose last row has just been sent is still suspended: the next Execute finds
            // its end.
            if left == 0 {
                return Ok(Progress::Suspended);
            }
            match self.next_batch(&mut result.rows, token).await? {
                None => return Ok(Progress::Complete),
                Some(batch) => {
                    result.current = Some((Rows::new(&batch, &result.columns, &result.formats)?, 0));
                }
            }
        }
    }

    /// The next batch. What is queued goes out before a wait that may be long.
    async fn next_batch(
        &mut self,
        rows: &mut RowStream,
        token: &CancellationToken,
    ) -> Result<Option<RecordBatch>, Halt> {
        let batch = match futures::future::poll_immediate(rows.next()).await {
            Some(ready) => {
                // A result that is always ready must not keep cancel requests from being seen.
                if token.is_cancelled() {
                    return Err(Failure::canceled().into());
                }
                ready
            }
            None => {
                let sending = self.writer.flush();
                interruptible(token, &self.shutdown, &mut self.reader, sending).await??;
                interruptible(token, &self.shutdown, &mut self.reader, rows.next()).await?
            }
        };
        Ok(batch.transpose()?)
    }
}
