//! One connection: requests in, responses out in the same order.
//!
//! Owns: reading frames under limits and timeouts, the bounded line of answers that are being worked on, writing.
//! Does not own: accepting (the door), what a request means (`handlers`).
//! Invariants: requests are dispatched in the order they came, so appends get their offsets in that order; answers
//! leave in the same order; beyond its limits a connection is not read; every end has a reason, and it is logged.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base::Shutdown;
use bytes::{Buf, BytesMut};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::Broker;
use super::frame::{self, FrameError};
use super::handlers::{self, Answer};
use super::reply::{Reply, ReplyError};
use super::session::Session;
use crate::admission::{Admission, ByteBudget, BytePermit};

/// Requests of one connection that may wait for their answers.
const PIPELINE_DEPTH: usize = 64;
/// Bytes of a request that are admitted at a time, so that a large one that never arrives holds next to nothing.
const ADMISSION_STEP: usize = 256 << 10;
/// How long a connection that is being closed may still write the answers it owes.
const DRAIN: Duration = Duration::from_secs(1);

/// Why a connection ended.
#[derive(Debug)]
pub(super) enum Close {
    /// The client closed it between two requests.
    Client,
    /// The client closed it within a request.
    Truncated {
        got: usize,
    },
    Io(std::io::Error),
    Shutdown,
    /// Nothing was sent after connecting.
    Silent(Duration),
    Idle(Duration),
    /// A request was begun and not completed.
    SlowRequest {
        got: usize,
        of: usize,
        limit: Duration,
    },
    /// An answer was not taken.
    SlowReader(Duration),
    Frame(FrameError),
    /// The codec refused what had the right shape.
    Decode(String),
    Reply(ReplyError),
    /// Who is there was not said, or not proven.
    Unauthenticated(String),
    /// Produce with acks=0 has no other way to hear of an error.
    Unacknowledged(String),
    /// A defect of this program.
    Internal(String),
}

impl fmt::Display for Close {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client => f.write_str("closed by the client"),
            Self::Truncated { got } => write!(f, "closed by the client {got} bytes into a request"),
            Self::Io(e) => write!(f, "connection lost: {e}"),
            Self::Shutdown => f.write_str("the node is stopping"),
            Self::Silent(limit) => write!(
                f,
                "nothing was sent for {limit:?} by a client that has just connected or not said who it is"
            ),
            Self::Idle(limit) => write!(f, "idle for {limit:?}"),
            Self::SlowRequest { got, of, limit } => {
                write!(f, "a request of {of} bytes was not complete after {limit:?}: {got} had come")
            }
            Self::SlowReader(limit) => write!(f, "an answer was not taken for {limit:?}"),
            Self::Frame(e) => e.fmt(f),
            Self::Decode(e) => write!(f, "a request that does not decode: {e}"),
            Self::Reply(e) => e.fmt(f),
            Self::Unauthenticated(e) => write!(f, "not authenticated: {e}"),
            Self::Unacknowledged(e) => write!(f, "an append with acks=0 failed: {e}"),
            Self::Internal(e) => write!(f, "internal error: {e}"),
        }
    }
}

impl Close {
    /// Whether the client did something that somebody should look at.
    fn is_alarming(&self) -> bool {
        !matches!(self, Self::Client | Self::Io(_) | Self::Shutdown | Self::Idle(_))
    }
}

impl From<FrameError> for Close {
    fn from(error: FrameError) -> Self {
        Self::Frame(error)
    }
}

impl From<ReplyError> for Close {
    fn from(error: ReplyError) -> Self {
        Self::Reply(error)
    }
}

/// An answer in line, with the bytes that its request holds.
struct InLine {
    answer: Answer,
    _permit: BytePermit,
}

/// Serves `stream` until it ends; logs why it did.
pub(super) async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    broker: Arc<Broker>,
    admission: Admission,
    shutdown: Shutdown,
) {
    // Answers are small and awaited: Nagle's algorithm would only hold them back.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%peer, %error, "cannot set TCP_NODELAY");
    }
    tracing::debug!(%peer, "kafka connection opened");
    let (read, write) = stream.into_split();
    let (line, waiting) = mpsc::channel(PIPELINE_DEPTH);
    let progress = admission.limits().request_timeout;
    let reader = Reader {
        stream: BufReader::with_capacity(4096, read),
        budget: admission.byte_budget(),
        admission,
        line,
        session: Session::new(Arc::clone(&broker), peer),
        broker,
        peer,
    };
    let writing = write_answers(waiting, write, progress);
    let reading = reader.run(shutdown);
    tokio::pin!(reading, writing);
    let close = tokio::select! {
        close = &mut reading => {
            // What was asked properly before is still answered, if that is quick.
            let _drained = timeout(DRAIN, &mut writing).await;
            close
        }
        close = &mut writing => close,
    };
    if close.is_alarming() {
        tracing::warn!(%peer, reason = %close, "kafka connection closed");
    } else {
        // Every command-line client ends so: no news for an operator.
        tracing::debug!(%peer, reason = %close, "kafka connection closed");
    }
}

/// The reading half.
struct Reader<R> {
    stream: BufReader<R>,
    admission: Admission,
    budget: ByteBudget,
    line: mpsc::Sender<InLine>,
    session: Session,
    broker: Arc<Broker>,
    peer: SocketAddr,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    async fn run(mut self, shutdown: Shutdown) -> Close {
        tokio::select! {
            close = self.read_requests() => close,
            () = shutdown.requested() => Close::Shutdown,
        }
    }

    async fn read_requests(&mut self) -> Close {
        let mut first = true;
        loop {
            if let Err(close) = self.read_request(first).await {
                return close;
            }
            first = false;
        }
    }

    async fn read_request(&mut self, first: bool) -> Result<(), Close> {
        self.await_byte(first).await?;
        let limits = self.admission.limits();
        let (limit, max) = (limits.request_timeout, self.session.frame_bytes_max());
        let mut prefix = [0; 4];
        match timeout(limit, self.stream.read_exact(&mut prefix)).await {
            Err(_) => return Err(Close::SlowRequest { got: 0, of: 4, limit }),
            Ok(Err(e)) if e.kind() == std::io::ErrorKind::UnexpectedEof => {
                return Err(Close::Truncated { got: 0 });
            }
            Ok(result) => result.map_err(Close::Io)?,
        };
        let length = match self.session.takes_bare_token() {
            true => frame::token_length(prefix, max)?,
            false => frame::length(prefix, max)?,
        };
        // Waiting here is what holds a client back, so it is not part of the request's time.
        let mut permit = self.budget.take(length.min(ADMISSION_STEP)).await;
        let mut body = BytesMut::with_capacity(length.min(ADMISSION_STEP));
        match timeout(limit, self.read_body(length, &mut body, &mut permit)).await {
            Err(_) => return Err(Close::SlowRequest { got: body.len(), of: length, limit }),
            Ok(result) => result?,
        }
        let answer = handlers::dispatch(&mut self.session, &self.broker, self.peer, body.freeze()).await?;
        let queued = self.line.send(InLine { answer, _permit: permit }).await;
        queued.map_err(|_| Close::Internal("nobody writes the answers".to_owned()))?;
        self.session.failure().map_or(Ok(()), Err)
    }

    /// Waits until the next request begins.
    async fn await_byte(&mut self, first: bool) -> Result<(), Close> {
        let limits = self.admission.limits();
        // Whoever has not said who they are may not hold a connection for long either.
        let first = first || !self.session.is_known();
        let limit = if first { limits.first_byte_timeout } else { limits.idle_timeout };
        loop {
            match timeout(limit, self.stream.fill_buf()).await {
                Ok(Ok([])) => return Err(Close::Client),
                Ok(Ok(_)) => return Ok(()),
                Ok(Err(e)) => return Err(Close::Io(e)),
                Err(_) if first => return Err(Close::Silent(limit)),
                // Whoever waits for an answer is not idle.
                Err(_) if !self.budget.is_idle() => {}
                Err(_) => return Err(Close::Idle(limit)),
            }
        }
    }

    async fn read_body(
        &mut self,
        length: usize,
        body: &mut BytesMut,
        permit: &mut BytePermit,
    ) -> Result<(), Close> {
        let mut admitted = length.min(ADMISSION_STEP);
        while body.len() < length {
            if body.len() == admitted {
                let step = (length - admitted).min(ADMISSION_STEP);
                permit.merge(self.budget.take(step).await);
                admitted += step;
                // The client has shown that it means it: make room for the rest at once.
                body.reserve(length - body.len());
            }
            let want = (admitted - body.len()) as u64;
            let got = (&mut self.stream).take(want).read_buf(body).await.map_err(Close::Io)?;
            if got == 0 {
                return Err(Close::Truncated { got: body.len() });
            }
        }
        Ok(())
    }
}

/// Awaits the answers in line one after the other and writes them.
async fn write_answers<W: AsyncWrite + Unpin>(
    mut waiting: mpsc::Receiver<InLine>,
    mut stream: W,
    progress: Duration,
) -> Close {
    while let Some(InLine { answer, _permit }) = waiting.recv().await {
        let written = match answer.await {
            Ok(None) => Ok(()),
            Ok(Some(reply)) => write_reply(&mut stream, reply, progress).await,
            Err(close) => Err(close),
        };
        if let Err(close) = written {
            return close;
        }
    }
    Close::Client
}

async fn write_reply<W: AsyncWrite + Unpin>(
    stream: &mut W,
    mut reply: Reply,
    progress: Duration,
) -> Result<(), Close> {
    while reply.has_remaining() {
        match timeout(progress, stream.write_buf(&mut reply)).await {
            Err(_) => return Err(Close::SlowReader(progress)),
            Ok(Err(e)) => return Err(Close::Io(e)),
            Ok(Ok(0)) => return Err(Close::Io(std::io::ErrorKind::WriteZero.into())),
            Ok(Ok(_)) => {}
        }
    }
    Ok(())
}
