//! The Kafka door.
//!
//! Owns: accepting connections on the Kafka port, what this node calls itself towards Kafka clients.
//! Does not own: who may do what (access), records (topics), topics that are tables (pipelines), limits shared with other doors (admission).
//! Invariants: every connection is a supervised task of its own, so that nothing one client sends can reach another.

mod connection;
mod errors;
mod frame;
mod handlers;
mod reply;
mod session;
mod shape;
mod versions;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base::tasks::TaskHandle;
use base::{Shutdown, Supervisor, TaskKind};
use kafka_protocol::protocol::StrBytes;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::admission::{Admission, Limits, ResponseBudget};

/// The node id that clients see. There is one node.
const NODE_ID: i32 = 0;
/// Pause after a failed accept, which mostly means that the process is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Passwords that are hashed at the same time.
const HASHING_AT_ONCE: usize = 2;

/// Whether clients have to say who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Authentication {
    /// Everybody is `User:ANONYMOUS`.
    #[default]
    None,
    /// By SASL, with PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512.
    Sasl {
        /// How long a session lasts before it has to be renewed (`connections.max.reauth.ms`, KIP-368).
        session: Option<Duration>,
    },
}

/// What requests are answered from.
#[derive(Debug)]
struct Broker {
    topics: topics::Topics,
    registry: schemas::Registry,
    commands: pipelines::Commands,
    /// Host and port that clients are told to connect to.
    host: StrBytes,
    port: i32,
    cluster_id: StrBytes,
    access: ::access::Access,
    authentication: Authentication,
    /// Turns in hashing passwords.
    hashing: Semaphore,
    request_bytes_max: usize,
    unsynced: ProduceGate,
    responses: ResponseBudget,
}

impl Broker {
    /// What Kafka calls the way that clients speak to this door.
    fn protocol(&self) -> &'static str {
        match self.authentication {
            Authentication::None => "PLAINTEXT",
            Authentication::Sasl { .. } => "SASL_PLAINTEXT",
        }
    }
}

/// Holds producers back before the log's queue of unsynced bytes is full, so that they wait instead of failing.
#[derive(Debug)]
struct ProduceGate {
    bytes: Arc<Semaphore>,
    max: u32,
}

impl ProduceGate {
    fn new(unsynced_bytes_max: u64) -> Self {
        // The rest of the queue is for the door's other socket (IPv4 or IPv6) and for the writers inside the process.
        let max = u32::try_from(unsynced_bytes_max / 8 * 3).unwrap_or(u32::MAX).max(1);
        Self { bytes: Arc::new(Semaphore::new(max as usize)), max }
    }

    /// Waits for room for `bytes` of records.
    async fn enter(&self, bytes: usize) -> OwnedSemaphorePermit {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX).min(self.max);
        let permit = Arc::clone(&self.bytes).acquire_many_owned(bytes).await;
        permit.expect("this semaphore is never closed")
    }
}

/// Serves the door on `listener` until shutdown; the handle stops it alone.
pub fn serve(listener: TcpListener, listen: crate::Listen, limits: Limits, deps: crate::Deps) -> TaskHandle {
    let supervisor = deps.supervisor.clone();
    let broker = Arc::new(Broker {
        host: StrBytes::from_string(listen.advertised_host.clone()),
        port: listen.addr.port().into(),
        cluster_id: StrBytes::from_string(deps.topics.log_id().to_string()),
        access: deps.access,
        authentication: deps.authentication,
        hashing: Semaphore::new(HASHING_AT_ONCE),
        request_bytes_max: limits.request_bytes_max,
        unsynced: ProduceGate::new(deps.topics.settings().unsynced_bytes_max),
        topics: deps.topics,
        registry: deps.registry,
        commands: deps.commands,
        responses: deps.responses,
    });
    let connections = supervisor.clone();
    supervisor.spawn(TaskKind::Listener, format!("kafka {}", listen.addr), move |shutdown| async move {
        let door = Door { listener, broker, admission: Admission::new(limits), supervisor: connections };
        door.accept_until(shutdown).await;
        Ok(())
    })
}

struct Door {
    listener: TcpListener,
    broker: Arc<Broker>,
    admission: Admission,
    supervisor: Supervisor,
}

impl Door {
    async fn accept_until(self, shutdown: Shutdown) {
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = shutdown.requested() => return,
            };
            match accepted {
                Ok((stream, peer)) => self.admit(stream, peer),
                Err(error) => {
                    tracing::warn!(%error, "kafka cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn admit(&self, stream: TcpStream, peer: SocketAddr) {
        let Some(permit) = self.admission.try_connect() else {
            let max = self.admission.limits().connections_max;
            tracing::warn!(%peer, reason = %format_args!("{max} connections are open already"), "kafka connection refused");
            return;
        };
        let (broker, admission) = (Arc::clone(&self.broker), self.admission.clone());
        let name = format!("kafka {peer}");
        self.supervisor.spawn(TaskKind::Connection, name, move |shutdown| async move {
            let _permit = permit;
            connection::serve(stream, peer, broker, admission, shutdown).await;
            Ok(())
        });
    }
}

#[cfg(test)]
mod tests;
