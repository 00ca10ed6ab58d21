//! The ports of a node: bound all together, before anything else.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener};

use anyhow::Context;
use gateway::Listen;

use crate::config::ListenBlock;

/// A port per door; 0 takes any free one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    pub kafka: u16,
    pub registry: u16,
    pub catalog: u16,
    pub admin: u16,
    pub postgres: u16,
}

impl Default for Ports {
    /// The ports that clients of each protocol expect; Postgres' own is left to a real Postgres.
    fn default() -> Self {
        Self { kafka: 9092, registry: 8081, catalog: 8181, admin: 8080, postgres: 5433 }
    }
}

impl Ports {
    /// Any free ports.
    pub fn any() -> Self {
        Self { kafka: 0, registry: 0, catalog: 0, admin: 0, postgres: 0 }
    }

    /// All ports shifted; none when one would leave the range.
    pub fn shifted(self, offset: u16) -> Option<Self> {
        Some(Self {
            kafka: self.kafka.checked_add(offset)?,
            registry: self.registry.checked_add(offset)?,
            catalog: self.catalog.checked_add(offset)?,
            admin: self.admin.checked_add(offset)?,
            postgres: self.postgres.checked_add(offset)?,
        })
    }

    /// With the ports of a configuration in place of the defaults.
    pub fn configured(self, listen: &ListenBlock) -> Self {
        Self {
            kafka: listen.kafka.unwrap_or(self.kafka),
            registry: listen.schema_registry.unwrap_or(self.registry),
            catalog: listen.catalog.unwrap_or(self.catalog),
            admin: listen.http.unwrap_or(self.admin),
            postgres: listen.postgres.unwrap_or(self.postgres),
        }
    }
}

/// Where the doors listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoints {
    pub kafka: SocketAddr,
    pub registry: SocketAddr,
    pub catalog: SocketAddr,
    pub admin: SocketAddr,
    pub postgres: SocketAddr,
}

impl Endpoints {
    /// What people type, with what answers there.
    pub fn list(&self) -> [(&'static str, String); 5] {
        [
            ("Kafka", self.kafka.to_string()),
            ("Schema registry", format!("http://{}", self.registry)),
            ("Iceberg REST catalog", format!("http://{}", self.catalog)),
            ("SQL (Postgres wire)", format!("postgres://frazil@{}/frazil", self.postgres)),
            ("Status and metrics", format!("http://{}", self.admin)),
        ]
    }
}

/// A port that somebody else has.
#[derive(Debug, thiserror::Error)]
#[error(
    "port {port} ({door}) on {host} is taken; see by whom with `ss -ltnp 'sport = :{port}'` or `lsof -i :{port}`, or \
     move all ports with --port-offset N"
)]
pub struct PortTaken {
    pub host: IpAddr,
    pub port: u16,
    pub door: &'static str,
    #[source]
    source: io::Error,
}

/// Bound sockets, not yet accepting.
#[derive(Debug)]
pub struct Listeners {
    endpoints: Endpoints,
    kafka: Vec<TcpListener>,
    registry: Vec<TcpListener>,
    catalog: Vec<TcpListener>,
    admin: Vec<TcpListener>,
    postgres: Vec<TcpListener>,
}

/// Sockets of one door, on the runtime.
pub(super) type Sockets = Vec<(tokio::net::TcpListener, Listen)>;

/// All doors' sockets.
pub(super) struct Doors {
    pub(super) kafka: Sockets,
    pub(super) registry: Sockets,
    pub(super) catalog: Sockets,
    pub(super) admin: Sockets,
    pub(super) postgres: Sockets,
}

impl Listeners {
    /// Binds every port, or none.
    pub fn bind(host: IpAddr, ports: Ports) -> anyhow::Result<Self> {
        Self::bind_kafka_on(host, host, ports)
    }

    /// The same with the Kafka door on another address, for which the configuration has made sure of authentication.
    pub(super) fn bind_kafka_on(kafka: IpAddr, host: IpAddr, ports: Ports) -> anyhow::Result<Self> {
        crate::config::refuse_beyond_loopback(host).map_err(anyhow::Error::msg)?;
        let kafka = bind(kafka, ports.kafka, "Kafka")?;
        let registry = bind(host, ports.registry, "schema registry")?;
        let catalog = bind(host, ports.catalog, "Iceberg REST catalog")?;
        let admin = bind(host, ports.admin, "status and metrics")?;
        let postgres = bind(host, ports.postgres, "SQL on the Postgres wire")?;
        let address =
            |sockets: &[TcpListener]| sockets.first().context("no socket").and_then(|s| Ok(s.local_addr()?));
        Ok(Self {
            endpoints: Endpoints {
                kafka: address(&kafka)?,
                registry: address(&registry)?,
                catalog: address(&catalog)?,
                admin: address(&admin)?,
                postgres: address(&postgres)?,
            },
            kafka,
            registry,
            catalog,
            admin,
            postgres,
        })
    }

    /// Where they listen.
    pub fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    /// Hands the sockets to the runtime that this is called on.
    pub(super) fn open(self, kafka_host: Option<String>) -> anyhow::Result<Doors> {
        let kafka_host = kafka_host.unwrap_or_else(|| self.endpoints.kafka.ip().to_string());
        let host = self.endpoints.admin.ip().to_string();
        let open = |sockets: Vec<TcpListener>, host: &str| -> anyhow::Result<Sockets> {
            sockets
                .into_iter()
                .map(|socket| {
                    let addr = socket.local_addr()?;
                    let listener = tokio::net::TcpListener::from_std(socket)?;
                    Ok((listener, Listen { addr, advertised_host: host.to_owned() }))
                })
                .collect()
        };
        Ok(Doors {
            kafka: open(self.kafka, &kafka_host)?,
            registry: open(self.registry, &host)?,
            catalog: open(self.catalog, &host)?,
            admin: open(self.admin, &host)?,
            postgres: open(self.postgres, &host)?,
        })
    }
}

/// Binds `host`, and the same port of `::1` where this machine has it: clients that are told `localhost` try it first.
fn bind(host: IpAddr, port: u16, door: &'static str) -> anyhow::Result<Vec<TcpListener>> {
    let first = bind_one(host, port, door)?;
    let port_bound = first.local_addr()?.port();
    let mut sockets = vec![first];
    // Beyond this machine nobody is told `localhost`.
    if host.is_ipv4() && host.is_loopback() {
        match bind_one(IpAddr::V6(Ipv6Addr::LOCALHOST), port_bound, door) {
            Ok(second) => sockets.push(second),
            // Somebody else behind `localhost` would get our clients. Of a port that nobody chose it is no matter.
            Err(error) if port != 0 && error.is::<PortTaken>() => return Err(error),
            Err(error) => tracing::debug!(door, %error, "not listening on ::1"),
        }
    }
    Ok(sockets)
}

fn bind_one(host: IpAddr, port: u16, door: &'static str) -> anyhow::Result<TcpListener> {
    let socket = TcpListener::bind(SocketAddr::new(host, port)).map_err(|source| {
        if source.kind() == io::ErrorKind::AddrInUse {
            anyhow::Error::new(PortTaken { host, port, door, source })
        } else {
            anyhow::Error::new(source).context(format!("cannot listen on {host} port {port} ({door})"))
        }
    })?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn a_taken_port_is_named_with_the_way_out() {
        let taken = TcpListener::bind((HERE, 0)).expect("bind");
        let port = taken.local_addr().expect("address").port();
        let error = Listeners::bind(HERE, Ports { admin: port, ..Ports::any() }).expect_err("taken");
        assert!(error.is::<PortTaken>());
        let text = error.to_string();
        assert!(text.contains(&port.to_string()) && text.contains("--port-offset"), "{text}");
    }

    #[test]
    fn other_machines_are_refused() {
        let all = "0.0.0.0".parse().expect("address");
        let error = Listeners::bind(all, Ports::any()).expect_err("refused").to_string();
        assert!(error.contains("server.auth"), "{error}");
    }

    #[test]
    fn ports_shift_within_their_range() {
        let ports = Ports::default().shifted(10_000).expect("in range");
        assert_eq!((ports.kafka, ports.postgres), (19_092, 15_433));
        assert_eq!(Ports::default().shifted(60_000), None);
    }
}
