//! Every listening protocol.
//!
//! Owns: sockets, wire formats, limits per connection, the mapping from kinds of error to protocol codes (one
//! exhaustive file per door).
//! Does not own: any state beyond a connection.
//! Invariants: doors do not import each other; a length from the wire is checked against the bytes that remain before
//! anything is allocated; bad input closes its connection and touches nothing else.

pub mod admission;
pub mod http;
pub mod kafka;
pub mod pgwire;

use std::net::SocketAddr;

/// What doors stand on.
#[derive(Debug, Clone)]
pub struct Deps {
    pub access: access::Access,
    /// Of the Kafka door; the others have none yet and listen on loopback only.
    pub authentication: kafka::Authentication,
    pub topics: topics::Topics,
    pub registry: schemas::Registry,
    pub tables: tables::Tables,
    pub engine: queries::Engine,
    pub commands: pipelines::Commands,
    pub supervisor: base::Supervisor,
    pub clock: base::SharedClock,
    /// Bytes of responses of all doors together.
    pub responses: admission::ResponseBudget,
}

/// Where a door listens, and what clients are told.
#[derive(Debug, Clone)]
pub struct Listen {
    /// Already bound, so that port conflicts show before anything starts.
    pub addr: SocketAddr,
    /// Host that clients are told to use (Kafka's `advertised.listeners`).
    pub advertised_host: String,
}
