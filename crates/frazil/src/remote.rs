//! A running node, as its clients see it.
//!
//! Owns: where the doors are, requests over HTTP, the sentence for a node that does not answer.
//! Does not own: what commands print.
//! Invariants: nothing here knows the inside of a node.

pub mod http;
pub mod sql;

use std::time::Duration;

use tokio::net::TcpStream;
use topics::cluster::{ClusterClient, ClusterError, ClusterSettings, Login};

use crate::cli::Global;
use crate::node::{Endpoints, Ports};

/// How long a connection may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// Nobody answers.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot reach {what} at {address}: {reason}; is a node running there? start one with `frazil up`, or name it with \
     --host and --port-offset"
)]
pub struct Unreachable {
    pub what: &'static str,
    pub address: String,
    pub reason: String,
}

fn login_hint(error: ClusterError) -> anyhow::Error {
    match &error {
        ClusterError::NotLetIn { user: None, .. } => {
            anyhow::anyhow!("{error}; set FRAZIL_KAFKA_USER and FRAZIL_KAFKA_PASSWORD")
        }
        ClusterError::NotLetIn { .. } => {
            anyhow::anyhow!("{error}; look at FRAZIL_KAFKA_USER and FRAZIL_KAFKA_PASSWORD")
        }
        _ => error.into(),
    }
}

/// What lies at the bottom of an error: `Connection refused`, without the layers that passed it on.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

/// Where the doors of a node are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remote {
    /// `host:port`.
    pub kafka: String,
    /// `http://host:port`.
    pub registry: String,
    pub catalog: String,
    pub admin: String,
    /// A connection string of libpq's form.
    pub postgres: String,
    /// Who the commands are for Kafka.
    pub login: Option<Login>,
}

impl Remote {
    /// From the flags; FRAZIL_KAFKA_USER and FRAZIL_KAFKA_PASSWORD log in to Kafka; FRAZIL_KAFKA, FRAZIL_REGISTRY_URL, FRAZIL_CATALOG_URL, FRAZIL_ADMIN_URL and
    /// FRAZIL_POSTGRES_URL name single doors.
    pub fn from_flags(global: &Global) -> anyhow::Result<Self> {
        let ports = Ports::default()
            .shifted(global.port_offset)
            .ok_or_else(|| crate::commands::port_offset_too_large(global.port_offset))?;
        let host = match global.host.contains(':') && !global.host.starts_with('[') {
            true => format!("[{}]", global.host),
            false => global.host.clone(),
        };
        let or = |variable: &str, otherwise: String| std::env::var(variable).unwrap_or(otherwise);
        let url = |port: u16| format!("http://{host}:{port}");
        Ok(Self {
            kafka: or("FRAZIL_KAFKA", format!("{host}:{}", ports.kafka)),
            registry: or("FRAZIL_REGISTRY_URL", url(ports.registry)),
            catalog: or("FRAZIL_CATALOG_URL", url(ports.catalog)),
            admin: or("FRAZIL_ADMIN_URL", url(ports.admin)),
            postgres: or(
                "FRAZIL_POSTGRES_URL",
                format!("postgres://frazil@{host}:{}/frazil", ports.postgres),
            ),
            login: std::env::var("FRAZIL_KAFKA_USER").ok().filter(|user| !user.is_empty()).map(|user| {
                Login { user, password: std::env::var("FRAZIL_KAFKA_PASSWORD").unwrap_or_default() }
            }),
        })
    }

    /// A node of this process.
    pub fn of(endpoints: &Endpoints) -> Self {
        Self {
            kafka: endpoints.kafka.to_string(),
            registry: format!("http://{}", endpoints.registry),
            catalog: format!("http://{}", endpoints.catalog),
            admin: format!("http://{}", endpoints.admin),
            postgres: format!("postgres://frazil@{}/frazil", endpoints.postgres),
            login: None,
        }
    }

    /// A Kafka client, after a look whether anybody answers: librdkafka alone would try for long.
    pub async fn kafka(&self) -> anyhow::Result<ClusterClient> {
        let mut reason = "no address".to_owned();
        for address in self.kafka.split(',') {
            match tokio::time::timeout(CONNECT_LIMIT, TcpStream::connect(address.trim())).await {
                Ok(Ok(_)) => {
                    let settings =
                        ClusterSettings { login: self.login.clone(), ..ClusterSettings::default() };
                    let client = ClusterClient::with_settings(&self.kafka, settings);
                    client.greet(CONNECT_LIMIT).await.map_err(login_hint)?;
                    return Ok(client);
                }
                Ok(Err(error)) => reason = error.to_string(),
                Err(_) => reason = "no answer in time".to_owned(),
            }
        }
        Err(Unreachable { what: "Kafka", address: self.kafka.clone(), reason }.into())
    }
}
