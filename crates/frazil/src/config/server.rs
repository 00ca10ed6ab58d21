//! The blocks `server` and `observability`.

use std::net::{IpAddr, Ipv4Addr};

use super::reader::Block;

/// Ports of the doors; none keeps the default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListenBlock {
    pub kafka: Option<u16>,
    pub schema_registry: Option<u16>,
    pub catalog: Option<u16>,
    pub http: Option<u16>,
    pub postgres: Option<u16>,
}

pub(super) const DOORS: &[&str] = &["kafka", "schema_registry", "catalog", "http", "postgres"];

pub(super) fn read(mut block: Block<'_>, listen: &mut ListenBlock) {
    if let Some(mut doors) = block.block("listen") {
        for (name, slot) in [
            ("kafka", &mut listen.kafka),
            ("schema_registry", &mut listen.schema_registry),
            ("catalog", &mut listen.catalog),
            ("http", &mut listen.http),
            ("postgres", &mut listen.postgres),
        ] {
            if let Some(port) = doors.parsed(name, parse_listen) {
                *slot = Some(port);
            }
        }
        doors.close(DOORS, &["flight_sql", "s3"]);
    }
    block.close(&["listen"], &["auth", "tls", "limits"]);
}

pub(super) fn read_observability(mut block: Block<'_>, log_level: &mut Option<String>) {
    if let Some(mut logs) = block.block("logs") {
        if let Some(level) =
            logs.parsed("level", |text| crate::telemetry::check_level(text).map(|()| text.to_owned()))
        {
            *log_level = Some(level);
        }
        logs.parsed("format", |text| match text {
            "text" => Ok(()),
            _ => Err(format!("`{text}` is not available yet in this version: write text")),
        });
        logs.close(&["level", "format"], &[]);
    }
    block.close(&["logs"], &["metrics", "otlp", "openlineage"]);
}

/// `9092`, `127.0.0.1:9092`, `localhost:9092` or `[::1]:9092`; other addresses are refused.
fn parse_listen(text: &str) -> Result<u16, String> {
    let (host, port) = text.rsplit_once(':').unwrap_or(("", text));
    let port = port
        .parse::<u16>()
        .map_err(|_| format!("`{text}` is no address: write for example 127.0.0.1:9092"))?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let address = match host {
        "" | "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
        host => host.parse().map_err(|_| format!("`{host}` is no IP address"))?,
    };
    refuse_beyond_loopback(address).map(|()| port)
}

/// Doors have no authentication yet, so only this machine may reach them.
pub(crate) fn refuse_beyond_loopback(address: IpAddr) -> Result<(), String> {
    if address.is_loopback() {
        return Ok(());
    }
    Err(format!(
        "listening on {address} would let anybody on the network in: that will need `server.auth`, which is not \
         available yet; listen on 127.0.0.1 and use an SSH tunnel or a proxy that authenticates"
    ))
}
