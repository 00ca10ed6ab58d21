//! The HTTP doors: registry (8081), Iceberg REST catalog (8181), admin (8080: health, metrics, status, pipelines, SQL).

/// Which HTTP door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    Registry,
    Catalog,
    Admin,
}

/// Serves the door on `listener` until shutdown.
pub fn serve(
    _door: Door,
    _listener: tokio::net::TcpListener,
    _listen: crate::Listen,
    _limits: crate::admission::Limits,
    _deps: crate::Deps,
) {
    unimplemented!()
}
