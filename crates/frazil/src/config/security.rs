//! Who may use the Kafka door: the part of `server.kafka` about users.
//!
//! Names that Kafka has are Kafka's.

use std::fmt;
use std::time::Duration;

use anyhow::Context;
use gateway::kafka::Authentication;

use super::problem::Place;
use super::reader::Block;
use super::tree::Value;

/// Authentication, super users and the first users.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SecurityBlock {
    pub authentication: Authentication,
    /// `super.users`, as `User:name`.
    pub super_users: Vec<String>,
    /// `allow.everyone.if.no.acl.found`; none: as long as nobody has to say who they are.
    pub open_by_default: Option<bool>,
    /// `users`: names and passwords.
    pub users: Vec<(String, Password)>,
    /// `advertised.host.name`: where clients are told to connect.
    pub advertised_host: Option<String>,
    /// `server.catalog.authentication: oauth2`.
    pub catalog_tokens: bool,
    /// `server.catalog.root.secret`.
    pub root_secret: Option<Password>,
    session: Option<Duration>,
}

/// A password on its way from the file to the store.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password")
    }
}

pub(super) const KEYS: &[&str] = &[
    "authentication",
    "super.users",
    "allow.everyone.if.no.acl.found",
    "connections.max.reauth.ms",
    "users",
    "advertised.host.name",
];

impl SecurityBlock {
    /// The settings of the authorizer.
    pub fn access(&self) -> access::Settings {
        let open = self.open_by_default.unwrap_or(self.authentication == Authentication::None);
        access::Settings {
            super_users: self.super_users.clone(),
            open_by_default: open,
            catalog_tokens: self.catalog_tokens,
        }
    }

    /// Makes the users that are declared, or gives them the declared passwords.
    pub fn provide(&self, access: &access::Access) -> anyhow::Result<()> {
        for (user, password) in &self.users {
            let changed = access
                .provide_user(user, &password.0)
                .with_context(|| format!("server.kafka.users.{user}"))?;
            if changed {
                tracing::info!(%user, "the user has the password of the configuration");
            }
        }
        Ok(())
    }

    /// Makes the catalog's first principal where there is none. Its secret, when it is made up, is printed this once.
    pub fn bootstrap(&self, access: &access::Access, now_ms: i64) -> anyhow::Result<()> {
        if !self.catalog_tokens {
            return Ok(());
        }
        let secret = self.root_secret.as_ref().map(|secret| secret.0.as_str());
        let made_up = access.bootstrap_root(secret, now_ms).context("server.catalog.root.secret")?;
        if let Some(root) = made_up {
            println!("root credential of the catalog, shown this once: {}:{}", root.client_id, root.secret);
        }
        Ok(())
    }
}

/// Reads `server.catalog`.
pub(super) fn read_catalog(mut block: Block<'_>, security: &mut SecurityBlock) {
    let tokens = block.parsed("authentication", |text| match text {
        "none" => Ok(false),
        "oauth2" => Ok(true),
        _ => Err(format!("`{text}`: write none or oauth2")),
    });
    security.catalog_tokens = tokens.unwrap_or(security.catalog_tokens);
    let secret = block.parsed("root.secret", |text| match text.is_empty() {
        true => Err("is empty".to_owned()),
        false => Ok(Password(text.to_owned())),
    });
    security.root_secret = secret.or(security.root_secret.take());
    block.close(&["authentication", "root.secret"], &[]);
}

/// Reads the keys of `server.kafka` that are about users.
pub(super) fn read(block: &mut Block<'_>, security: &mut SecurityBlock) {
    let sasl = block.parsed("authentication", |text| match text {
        "none" => Ok(false),
        "sasl" => Ok(true),
        _ => Err(format!("`{text}`: write none or sasl")),
    });
    if let Some(host) = block.text("advertised.host.name").filter(|host| !host.is_empty()) {
        security.advertised_host = Some(host);
    }
    let session = block.number("connections.max.reauth.ms", 0);
    if let Some(ms) = session {
        security.session = (ms > 0).then(|| Duration::from_millis(ms.unsigned_abs().into()));
    }
    let before = matches!(security.authentication, Authentication::Sasl { .. });
    if sasl.unwrap_or(before) {
        security.authentication = Authentication::Sasl { session: security.session };
    } else {
        security.authentication = Authentication::None;
    }
    let place = block.place_of("super.users").map(|(place, _)| place);
    for list in block.texts("super.users").unwrap_or_default() {
        // Kafka writes them in one line.
        for user in list.split(';').map(str::trim).filter(|user| !user.is_empty()) {
            if user.starts_with("User:") {
                security.super_users.push(user.to_owned());
            } else if let Some(place) = &place {
                block.problem_at(place, "super.users", format!("`{user}`: write User:{user}"));
            }
        }
    }
    if let Some(open) = block.boolean("allow.everyone.if.no.acl.found") {
        security.open_by_default = Some(open);
    }
    for (user, place, node) in block.entries("users") {
        match node.value {
            Value::Scalar(password) if !password.is_empty() => {
                security.users.push((user, Password(password)));
            }
            Value::Scalar(_) => user_problem(block, &place, &user, "the password is empty"),
            _ => user_problem(block, &place, &user, "must be a password, for example ${KAFKA_PASSWORD}"),
        }
    }
}

fn user_problem(block: &mut Block<'_>, place: &Place, user: &str, reason: &str) {
    block.problem_at(place, &format!("users.{user}"), reason);
}
