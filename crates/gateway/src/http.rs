//! The HTTP doors: registry (8081), Iceberg REST catalog (8181), admin (8080).
//!
//! Owns: routes, bodies and error shapes of the three doors; the accept loop with its limits.
//! Does not own: what a request does (`schemas`, `tables` and `pipelines::Commands` do); any state between requests.
//! Invariants: a head or body that is too slow, too large or no HTTP closes its connection and nothing else; a
//! loopback listener answers only to names of this machine; every error has the shape that the door's clients expect.

mod admin;
mod catalog;
mod errors;
mod guard;
mod metrics;
mod registry;
mod server;

use axum::Router;

/// Which HTTP door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    Registry,
    Catalog,
    Admin,
}

impl Door {
    /// The door's name in logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Registry => "registry",
            Self::Catalog => "catalog",
            Self::Admin => "admin",
        }
    }
}

/// Serves the door on `listener` until shutdown. Returns at once: the work runs under `deps.supervisor`.
pub fn serve(
    door: Door,
    listener: tokio::net::TcpListener,
    listen: crate::Listen,
    limits: crate::admission::Limits,
    deps: crate::Deps,
) {
    let supervisor = deps.supervisor.clone();
    let router = guard::guarded(door, router(door, deps), &listen, &limits);
    server::start(door, listener, limits, supervisor, router);
}

/// The door's routes without the guards of a listener.
fn router(door: Door, deps: crate::Deps) -> Router {
    match door {
        Door::Registry => registry::router(deps),
        Door::Catalog => catalog::router(deps),
        Door::Admin => admin::router(deps),
    }
}

/// Runs store access away from the async threads.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, tokio::task::JoinError> {
    tokio::task::spawn_blocking(work).await
}
