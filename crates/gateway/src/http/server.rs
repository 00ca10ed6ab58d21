//! The accept loop of the HTTP doors.
//!
//! Owns: connection count, timeouts of heads, graceful end.
//! Does not own: routes; limits of bodies (`guard`).
//! Invariants: at most `connections_max` connections; a connection that sends no complete head in time is closed,
//! also between two requests; a failed accept never ends the loop.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use base::{Shutdown, Supervisor, TaskKind};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::Door;
use crate::admission::Limits;

/// Largest request head, bytes.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// Most header lines of a request.
const HEADERS_MAX: usize = 100;
/// Pause after a failed accept (no file descriptors, for example), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Starts accepting.
pub(super) fn start(
    door: Door,
    listener: TcpListener,
    limits: Limits,
    supervisor: Supervisor,
    router: Router,
) {
    let connections = supervisor.clone();
    supervisor.spawn(TaskKind::Listener, format!("http {}", door.name()), move |shutdown| async move {
        accept(door, listener, limits, connections, router, shutdown).await;
        Ok(())
    });
}

async fn accept(
    door: Door,
    listener: TcpListener,
    limits: Limits,
    supervisor: Supervisor,
    router: Router,
    shutdown: Shutdown,
) {
    let places = Arc::new(Semaphore::new(limits.connections_max));
    loop {
        let accepted = tokio::select! {
            () = shutdown.requested() => return,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(connection) => connection,
            Err(error) => {
                tracing::warn!(door = door.name(), %error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            tracing::warn!(door = door.name(), %peer, max = limits.connections_max, "too many connections");
            continue;
        };
        let (router, head_timeout) = (router.clone(), limits.first_byte_timeout);
        supervisor.spawn(TaskKind::Connection, format!("http {} {peer}", door.name()), move |shutdown| async move {
            if let Err(error) = serve(stream, router, head_timeout, shutdown).await {
                tracing::debug!(door = door.name(), %peer, error = %base::fault::chain(&error), "connection closed");
            }
            drop(place);
            Ok(())
        });
    }
}

async fn serve(
    stream: TcpStream,
    router: Router,
    head_timeout: Duration,
    shutdown: Shutdown,
) -> Result<(), hyper::Error> {
    // Responses are small: waiting to fill packets would only delay them.
    let _ = stream.set_nodelay(true);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head_timeout)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    tokio::pin!(connection);
    tokio::select! {
        outcome = connection.as_mut() => return outcome,
        () = shutdown.requested() => connection.as_mut().graceful_shutdown(),
    }
    connection.await
}
