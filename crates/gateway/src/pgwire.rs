//! The pgwire door.

/// Serves the door on `listener` until shutdown.
pub fn serve(
    _listener: tokio::net::TcpListener,
    _listen: crate::Listen,
    _limits: crate::admission::Limits,
    _deps: crate::Deps,
) {
    unimplemented!()
}
