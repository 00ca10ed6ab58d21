//! The Postgres door (5433): PostgreSQL's wire protocol 3.0 over the SQL engine.
//!
//! Owns: connections, startup, the simple and the extended protocol, values in text and binary format, cancel requests.
//! Does not own: SQL (`queries::Session`), commands (`pipelines::Commands`).
//! Invariants: results are streamed, never collected; no message panics or allocates by an announced length alone; what
//! is no PostgreSQL closes its connection and nothing else. A quiet session stays open, as in PostgreSQL.

mod binary;
mod cancel;
mod connection;
mod errors;
mod extended;
mod frame;
mod message;
mod parameters;
mod portal;
mod rows;
mod startup;
mod text;
mod types;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base::{Shutdown, TaskKind};
use bytes::BytesMut;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use self::cancel::Backends;
use self::connection::{Connection, Writer};
use self::errors::{End, Failure};
use self::frame::{FrameReader, ReadLimits};

/// Pause after a failed accept (no file descriptors, for example), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves the door on `listener` until shutdown. Returns at once: the work runs under `deps.supervisor`.
pub fn serve(
    listener: TcpListener,
    _listen: crate::Listen,
    limits: crate::admission::Limits,
    deps: crate::Deps,
) {
    let supervisor = deps.supervisor.clone();
    supervisor.spawn(TaskKind::Listener, "pgwire", move |shutdown| async move {
        let places = Arc::new(Semaphore::new(limits.connections_max));
        let door = Door {
            backends: Arc::default(),
            read_limits: ReadLimits::new(&limits),
            startup_timeout: limits.first_byte_timeout,
            deps,
        };
        accept(listener, &places, &door, &shutdown).await;
        Ok(())
    });
}

/// What every connection needs.
#[derive(Debug, Clone)]
struct Door {
    backends: Arc<Backends>,
    read_limits: ReadLimits,
    startup_timeout: Duration,
    deps: crate::Deps,
}

async fn accept(listener: TcpListener, places: &Arc<Semaphore>, door: &Door, shutdown: &Shutdown) {
    loop {
        let accepted = tokio::select! {
            () = shutdown.requested() => return,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(connection) => connection,
            Err(error) => {
                tracing::warn!(door = "pgwire", %error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(places).try_acquire_owned() else {
            tracing::warn!(door = "pgwire", %peer, "too many connections");
            turn_away(&stream);
            continue;
        };
        let door = door.clone();
        let supervisor = door.deps.supervisor.clone();
        supervisor.spawn(TaskKind::Connection, format!("pgwire {peer}"), move |shutdown| async move {
            let end = door.serve(stream, shutdown).await;
            report(peer, &end);
            drop(place);
            Ok(())
        });
    }
}

/// Tells a client that there is no place for it, if its socket takes the message at once.
fn turn_away(stream: &TcpStream) {
    let full = End::Refused(Failure::new("53300", "sorry, too many clients already"));
    let mut out = BytesMut::new();
    if let Some(response) = full.response()
        && pgwire::messages::Message::encode(&response, &mut out).is_ok()
    {
        let _ = stream.try_write(&out);
    }
}

fn report(peer: SocketAddr, end: &End) {
    let reason = base::fault::chain(end);
    if end.noteworthy() {
        tracing::warn!(door = "pgwire", %peer, %reason, "connection closed");
    } else {
        tracing::debug!(door = "pgwire", %peer, %reason, "connection closed");
    }
}

impl Door {
    async fn serve(&self, stream: TcpStream, shutdown: Shutdown) -> End {
        // Answers are sent when they are complete: waiting to fill packets would only delay them.
        let _ = stream.set_nodelay(true);
        let (read, write) = stream.into_split();
        let mut reader = FrameReader::new(read, self.read_limits.clone());
        let mut writer = Writer { socket: write, out: BytesMut::new() };
        let limit = self.startup_timeout;
        let greeting = tokio::select! {
            () = shutdown.requested() => Err(End::Stopping),
            greeting = tokio::time::timeout(limit, startup::greet(&mut reader, &mut writer, &self.backends)) => {
                greeting.unwrap_or(Err(End::TooSlow { what: "the startup", limit }))
            }
        };
        let client = match greeting {
            Ok(Some(client)) => client,
            Ok(None) => return End::Closed,
            Err(end) => return farewell(&mut writer, end).await,
        };
        let mut session = self.deps.engine.session(client.settings.clone());
        if let Err(end) = startup::assign(&mut session, &client).await {
            return farewell(&mut writer, end).await;
        }
        let key = self.backends.enter();
        if let Err(end) = startup::welcome(&mut writer, &client, &key) {
            return end;
        }
        let commands = self.deps.commands.clone();
        let mut connection = Connection::new(reader, writer, session, commands, key, shutdown);
        if let Err(end) = connection.ready().await {
            return end;
        }
        connection.run().await
    }
}

/// Tells the client why it is not let in. Strangers (TLS, HTTP, garbage) would not understand and get nothing.
async fn farewell(writer: &mut Writer, end: End) -> End {
    if let (End::Refused(_) | End::Stopping, Some(response)) = (&end, end.response()) {
        let _ = writer.put(&response);
        let _ = tokio::time::timeout(Duration::from_secs(1), writer.flush()).await;
    }
    end
}
