//! The opening of a connection: encryption requests, cancel requests, startup parameters.
//!
//! Owns: what is refused before a session exists; the parameters that PostgreSQL reports at the start.
//! Does not own: authentication (loopback connections are trusted; the node refuses to listen elsewhere without it).
//! Invariants: the whole opening is over within `first_byte_timeout`.

use std::collections::BTreeMap;

use pgwire::messages::startup::{
    Authentication, BackendKeyData, NegotiateProtocolVersion, ParameterStatus, SecretKey,
};
use queries::{Session, SessionSettings};

use super::cancel::{BackendKey, Backends};
use super::connection::Writer;
use super::errors::{End, Failure};
use super::frame::FrameReader;
use super::message::{Opening, opening};

/// The version that drivers parse: the PostgreSQL whose dialect and catalog are followed, then who we are.
const SERVER_VERSION: &str = concat!("15.0 (Frazil ", env!("CARGO_PKG_VERSION"), ")");
/// Requests before the startup packet: TLS, GSS, and one for good measure.
const REQUESTS_MAX: usize = 4;
/// Startup parameters that drivers send by habit and that are always as we report them.
const FIXED: [&str; 7] = [
    "client_encoding",
    "datestyle",
    "extra_float_digits",
    "intervalstyle",
    "standard_conforming_strings",
    "timezone",
    "replication",
];

/// Who has connected.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) settings: SessionSettings,
    /// Settings of the session that came with the startup packet, in order.
    pub(super) assignments: Vec<(String, String)>,
    minor: u16,
    unknown_options: Vec<String>,
}

/// Speaks until the startup packet. None: it was a cancel request, which has been dealt with.
pub(super) async fn greet<R: tokio::io::AsyncRead + Unpin>(
    reader: &mut FrameReader<R>,
    writer: &mut Writer,
    backends: &Backends,
) -> Result<Option<Client>, End> {
    for _ in 0..REQUESTS_MAX {
        match opening(reader.startup_packet().await?)? {
            // Refused in one byte: the client goes on in plain text, or not.
            Opening::Tls | Opening::Gss => {
                writer.out.extend_from_slice(b"N");
                writer.flush().await?;
            }
            Opening::Cancel { process, secret } => {
                let found = backends.cancel(process, secret);
                tracing::debug!(process, found, "cancel request");
                return Ok(None);
            }
            Opening::Startup { minor, parameters } => return client(minor, parameters).map(Some),
        }
    }
    Err(End::Violation("too many encryption requests".into()))
}

fn client(minor: u16, mut parameters: BTreeMap<String, String>) -> Result<Client, End> {
    let refused = |sqlstate, message: String| End::Refused(Failure::new(sqlstate, message));
    let user = parameters
        .remove("user")
        .filter(|user| !user.is_empty())
        .ok_or_else(|| refused("28000", "no PostgreSQL user name specified in startup packet".into()))?;
    let database =
        parameters.remove("database").filter(|name| !name.is_empty()).unwrap_or_else(|| user.clone());
    let application_name = parameters.remove("application_name").unwrap_or_default();
    if parameters
        .get("replication")
        .is_some_and(|mode| !matches!(mode.as_str(), "false" | "off" | "no" | "0"))
    {
        return Err(refused("0A000", "replication connections are not supported".into()));
    }
    if let Some(encoding) = parameters.get("client_encoding")
        && !is_utf8(encoding)
    {
        return Err(refused("0A000", format!("client_encoding {encoding} is not supported: use UTF8")));
    }
    let unknown_options = parameters.keys().filter(|name| name.starts_with("_pq_.")).cloned().collect();
    let mut assignments = Vec::new();
    if let Some(options) = parameters.remove("options") {
        assignments = parse_options(&options).map_err(|message| refused("22023", message))?;
    }
    let named = parameters.into_iter().filter(|(name, _)| !name.starts_with("_pq_."));
    assignments.extend(named);
    assignments.retain(|(name, _)| !FIXED.contains(&name.to_ascii_lowercase().as_str()));
    let settings = SessionSettings { user, database, application_name };
    Ok(Client { settings, assignments, minor, unknown_options })
}

fn is_utf8(encoding: &str) -> bool {
    let word: String = encoding.chars().filter(char::is_ascii_alphanumeric).collect();
    matches!(word.to_ascii_lowercase().as_str(), "utf8" | "unicode" | "auto" | "sqlascii")
}

/// `-c name=value --name=value`, blanks escaped by a backslash, as PostgreSQL reads `options`.
fn parse_options(options: &str) -> Result<Vec<(String, String)>, String> {
    let mut words = vec![String::new()];
    let mut escaped = false;
    for c in options.chars() {
        match (escaped, c) {
            (false, '\\') => escaped = true,
            (false, c) if c.is_whitespace() => words.push(String::new()),
            (_, c) => {
                escaped = false;
                if let Some(word) = words.last_mut() {
                    word.push(c);
                }
            }
        }
    }
    let mut assignments = Vec::new();
    let mut words = words.into_iter().filter(|word| !word.is_empty());
    while let Some(word) = words.next() {
        let assignment = if word == "-c" {
            words.next()
        } else {
            word.strip_prefix("--").or_else(|| word.strip_prefix("-c")).map(str::to_owned)
        };
        match assignment.as_deref().and_then(|text| text.split_once('=')) {
            Some((name, value)) => assignments.push((name.replace('-', "_"), value.to_owned())),
            None => return Err(format!("options: `{word}` is not of the form -c name=value")),
        }
    }
    Ok(assignments)
}

/// Applies the settings of the startup packet, as `SET` would.
pub(super) async fn assign(session: &mut Session, client: &Client) -> Result<(), End> {
    for (name, value) in &client.assignments {
        if !name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.')) {
            let message = format!("unrecognized configuration parameter \"{name}\"");
            return Err(End::Refused(Failure::new("42704", message)));
        }
        let statement = format!("SET {name} = '{}'", value.replace('\'', "''"));
        session.execute(&statement, &[]).await.map_err(|error| End::Refused(error.into()))?;
    }
    Ok(())
}

/// Says that the client is in: everything up to the first ReadyForQuery.
pub(super) fn welcome(writer: &mut Writer, client: &Client, key: &BackendKey) -> Result<(), End> {
    if client.minor > 0 || !client.unknown_options.is_empty() {
        // Version 3.0 is spoken whatever newer minor version was asked for.
        writer.put(&NegotiateProtocolVersion::new(0, client.unknown_options.clone()))?;
    }
    writer.put(&Authentication::Ok)?;
    let settings = &client.settings;
    let application_name: String = settings
        .application_name
        .chars()
        .map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' })
        .collect();
    for (name, value) in [
        ("application_name", application_name.as_str()),
        ("client_encoding", "UTF8"),
        ("DateStyle", "ISO, MDY"),
        ("default_transaction_read_only", "on"),
        ("in_hot_standby", "off"),
        ("integer_datetimes", "on"),
        ("IntervalStyle", "postgres"),
        ("is_superuser", "off"),
        ("server_encoding", "UTF8"),
        ("server_version", SERVER_VERSION),
        ("session_authorization", settings.user.as_str()),
        ("standard_conforming_strings", "on"),
        ("TimeZone", "UTC"),
    ] {
        writer.put(&ParameterStatus::new(name.into(), value.into()))?;
    }
    writer.put(&BackendKeyData::new(key.process, SecretKey::I32(key.secret)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options() {
        let found = parse_options(r"-c search_path=a,\ b --frazil.freshness=committed -cx=1").unwrap();
        let wanted = [("search_path", "a, b"), ("frazil.freshness", "committed"), ("x", "1")];
        assert_eq!(found, wanted.map(|(name, value)| (name.to_owned(), value.to_owned())));
        for bad in ["-d", "-c", "-c x", "x=1"] {
            assert!(parse_options(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn startup_parameters() {
        let parameters = |pairs: &[(&str, &str)]| {
            pairs
                .iter()
                .map(|(name, value)| (name.to_string(), value.to_string()))
                .collect::<BTreeMap<_, _>>()
        };
        let jdbc = [
            ("user", "me"),
            ("client_encoding", "UTF8"),
            ("TimeZone", "Europe/Berlin"),
            ("DateStyle", "ISO"),
        ];
        let found = client(0, parameters(&jdbc)).unwrap();
        assert_eq!(found.settings.database, "me");
        assert!(found.assignments.is_empty(), "{:?}", found.assignments);
        for bad in [
            &[][..],
            &[("user", "")],
            &[("user", "u"), ("replication", "database")],
            &[("user", "u"), ("client_encoding", "LATIN1")],
        ] {
            assert!(matches!(client(0, parameters(bad)), Err(End::Refused(_))), "{bad:?}");
        }
    }
}
