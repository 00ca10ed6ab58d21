//! The kafka door.

/// Serves the door on `listener` until shutdown; the handle stops it alone.
pub fn serve(
    _listener: tokio::net::TcpListener,
    _listen: crate::Listen,
    _limits: crate::admission::Limits,
    _deps: crate::Deps,
) -> base::tasks::TaskHandle {
    unimplemented!()
}
