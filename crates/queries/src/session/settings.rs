//! What `SET`, `SHOW` and `RESET` know.
//!
//! Owns: the settings of a session: PostgreSQL's, of which only some have an effect, and our own `frazil.*`.
//! Does not own: acting on them (the statement runner reads them).
//! Invariants: a name that neither PostgreSQL nor we know is refused; a value that makes no sense is refused; what a
//! transaction set is undone when it rolls back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::timezone::Tz;
use parking_lot::Mutex;

use crate::error::{SqlError, nearest};
use crate::pg_catalog::SERVER_VERSION;
use crate::pg_catalog::snapshot::split_name;
use crate::read_view::Freshness;

/// Settings that functions and the session share.
pub(crate) type SharedSettings = Arc<Mutex<Settings>>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Bool,
    Integer,
    /// Milliseconds; 0 is none.
    Duration,
    TimeZone,
    SearchPath,
    Freshness,
    /// Only UTF-8 is spoken here.
    Encoding,
    ReadOnly,
}

/// Name, default, kind.
const KNOWN: &[(&str, &str, Kind)] = &[
    ("application_name", "", Kind::Text),
    ("bytea_output", "hex", Kind::Text),
    ("check_function_bodies", "on", Kind::Bool),
    ("client_encoding", "UTF8", Kind::Encoding),
    ("client_min_messages", "notice", Kind::Text),
    ("constraint_exclusion", "partition", Kind::Text),
    ("cursor_tuple_fraction", "0.1", Kind::Text),
    ("datestyle", "ISO, MDY", Kind::Text),
    ("default_table_access_method", "heap", Kind::Text),
    ("default_tablespace", "", Kind::Text),
    ("default_text_search_config", "pg_catalog.simple", Kind::Text),
    ("default_transaction_deferrable", "off", Kind::Bool),
    ("default_transaction_isolation", "repeatable read", Kind::Text),
    ("default_transaction_read_only", "on", Kind::Bool),
    ("effective_cache_size", "4GB", Kind::Text),
    ("enable_bitmapscan", "on", Kind::Bool),
    ("enable_hashjoin", "on", Kind::Bool),
    ("enable_indexscan", "on", Kind::Bool),
    ("enable_mergejoin", "on", Kind::Bool),
    ("enable_nestloop", "on", Kind::Bool),
    ("enable_seqscan", "on", Kind::Bool),
    ("escape_string_warning", "on", Kind::Bool),
    ("extra_float_digits", "1", Kind::Integer),
    ("frazil.freshness", "latest", Kind::Freshness),
    ("from_collapse_limit", "8", Kind::Integer),
    ("geqo", "on", Kind::Bool),
    ("idle_in_transaction_session_timeout", "0", Kind::Duration),
    ("idle_session_timeout", "0", Kind::Duration),
    ("in_hot_standby", "off", Kind::ReadOnly),
    ("integer_datetimes", "on", Kind::ReadOnly),
    ("intervalstyle", "postgres", Kind::Text),
    ("is_superuser", "off", Kind::ReadOnly),
    ("jit", "off", Kind::Bool),
    ("join_collapse_limit", "8", Kind::Integer),
    ("lc_collate", "C.UTF-8", Kind::ReadOnly),
    ("lc_ctype", "C.UTF-8", Kind::ReadOnly),
    ("lc_messages", "C.UTF-8", Kind::Text),
    ("lc_monetary", "C.UTF-8", Kind::Text),
    ("lc_numeric", "C.UTF-8", Kind::Text),
    ("lc_time", "C.UTF-8", Kind::Text),
    ("lock_timeout", "0", Kind::Duration),
    ("log_min_duration_statement", "-1", Kind::Integer),
    ("log_min_messages", "warning", Kind::Text),
    ("log_statement", "none", Kind::Text),
    ("maintenance_work_mem", "64MB", Kind::Text),
    ("max_identifier_length", "63", Kind::ReadOnly),
    ("max_index_keys", "32", Kind::ReadOnly),
    ("max_parallel_workers_per_gather", "2", Kind::Integer),
    ("password_encryption", "scram-sha-256", Kind::Text),
    ("plan_cache_mode", "auto", Kind::Text),
    ("quote_all_identifiers", "off", Kind::Bool),
    ("random_page_cost", "4", Kind::Text),
    ("role", "none", Kind::Text),
    ("row_security", "on", Kind::Bool),
    ("search_path", "\"$user\", public", Kind::SearchPath),
    ("server_encoding", "UTF8", Kind::ReadOnly),
    ("server_version", SERVER_VERSION, Kind::ReadOnly),
    ("server_version_num", "150000", Kind::ReadOnly),
    ("session_authorization", "", Kind::ReadOnly),
    ("session_replication_role", "origin", Kind::Text),
    ("ssl", "off", Kind::ReadOnly),
    ("ssl_renegotiation_limit", "0", Kind::Integer),
    ("standard_conforming_strings", "on", Kind::Bool),
    ("statement_timeout", "0", Kind::Duration),
    ("synchronize_seqscans", "on", Kind::Bool),
    ("synchronous_commit", "on", Kind::Text),
    ("temp_buffers", "8MB", Kind::Text),
    ("timezone", "UTC", Kind::TimeZone),
    ("tcp_keepalives_idle", "0", Kind::Integer),
    ("tcp_keepalives_interval", "0", Kind::Integer),
    ("transaction_deferrable", "off", Kind::Bool),
    ("transaction_isolation", "repeatable read", Kind::Text),
    ("transaction_read_only", "on", Kind::Bool),
    ("vacuum_cost_delay", "0", Kind::Text),
    ("wal_level", "replica", Kind::ReadOnly),
    ("work_mem", "4MB", Kind::Text),
    ("xmloption", "content", Kind::Text),
];

/// The settings of one session.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    defaults: BTreeMap<String, String>,
    /// What differs from the defaults.
    values: BTreeMap<String, String>,
    /// State before the transaction, and the values that `SET LOCAL` hides until its end.
    before: Option<BTreeMap<String, String>>,
    local: BTreeMap<String, Option<String>>,
}

impl Settings {
    pub(crate) fn new(application_name: &str, user: &str, statement_timeout: Option<Duration>) -> Self {
        let mut defaults: BTreeMap<String, String> =
            KNOWN.iter().map(|(name, value, _)| ((*name).to_string(), (*value).to_string())).collect();
        defaults.insert("application_name".into(), application_name.into());
        defaults.insert("session_authorization".into(), user.into());
        let timeout = statement_timeout.map_or(0, |t| t.as_millis());
        defaults.insert("statement_timeout".into(), timeout.to_string());
        Self { defaults, values: BTreeMap::new(), before: None, local: BTreeMap::new() }
    }

    fn raw(&self, name: &str) -> Option<&str> {
        self.values.get(name).or_else(|| self.defaults.get(name)).map(String::as_str)
    }

    /// The value as `SHOW` prints it.
    pub(crate) fn show(&self, name: &str) -> Result<String, SqlError> {
        let name = canonical(name);
        let value = self.raw(&name).ok_or_else(|| unknown(&name))?;
        let duration = KNOWN.iter().any(|(n, _, kind)| *n == name && *kind == Kind::Duration);
        Ok(match value.parse::<u64>() {
            Ok(ms) if duration && ms > 0 => show_duration(ms),
            _ => value.to_string(),
        })
    }

    /// Every setting and its value, in order of name.
    pub(crate) fn all(&self) -> BTreeMap<String, String> {
        let mut all = self.defaults.clone();
        all.extend(self.values.clone());
        all
    }

    /// Sets a value; none is its default.
    pub(crate) fn set(&mut self, name: &str, value: Option<&str>, local: bool) -> Result<(), SqlError> {
        let name = canonical(name);
        let value = match value {
            Some(value) => Some(self.checked(&name, value)?),
            None => {
                self.raw(&name).ok_or_else(|| unknown(&name))?;
                None
            }
        };
        if local {
            if self.before.is_none() {
                // PostgreSQL warns and does nothing.
                return Ok(());
            }
            let hidden = self.values.get(&name).cloned();
            self.local.entry(name.clone()).or_insert(hidden);
        } else {
            self.local.remove(&name);
        }
        match value {
            Some(value) => self.values.insert(name, value),
            None => self.values.remove(&name),
        };
        Ok(())
    }

    fn checked(&self, name: &str, value: &str) -> Result<String, SqlError> {
        let Some((_, _, kind)) = KNOWN.iter().find(|(n, ..)| *n == name) else {
            // Names with a dot are free for applications, but ours are ours.
            return if name.contains('.') && !name.starts_with("frazil.") {
                Ok(value.into())
            } else {
                Err(unknown(name))
            };
        };
        let invalid =
            || SqlError::new("22023", format!("invalid value for parameter \"{name}\": \"{value}\""));
        match kind {
            Kind::Text | Kind::SearchPath => Ok(value.into()),
            Kind::Bool => match value.to_lowercase().as_str() {
                "on" | "true" | "yes" | "1" | "t" | "y" => Ok("on".into()),
                // Strings are always read the standard way here.
                "off" | "false" | "no" | "0" | "f" | "n" if name != "standard_conforming_strings" => {
                    Ok("off".into())
                }
                _ => Err(invalid()),
            },
            Kind::Integer => value.trim().parse::<i64>().map(|v| v.to_string()).map_err(|_| invalid()),
            Kind::Duration => match base::units::parse_duration(value) {
                Ok(duration) => Ok(duration.as_millis().to_string()),
                Err(_) => Err(invalid()),
            },
            Kind::TimeZone => {
                match value.to_lowercase().as_str() {
                    "default" | "local" | "utc" | "gmt" | "z" | "zulu" | "etc/utc" | "0" => Ok("UTC".into()),
                    _ if value.parse::<Tz>().is_ok() => Ok(value.into()),
                    _ => Err(invalid()
                        .with_hint("write a name such as Europe/Berlin, or an offset such as +02:00")),
                }
            }
            Kind::Encoding => match value.to_lowercase().replace(['-', '_'], "").as_str() {
                "utf8" | "unicode" => Ok("UTF8".into()),
                _ => Err(SqlError::new(
                    "0A000",
                    format!("conversion between {value} and UTF8 is not supported"),
                )),
            },
            Kind::Freshness => match Freshness::parse(value) {
                Some(freshness) => Ok(freshness.as_str().into()),
                None => Err(invalid().with_hint("use latest, available or committed")),
            },
            Kind::ReadOnly => Err(SqlError::new("55P02", format!("parameter \"{name}\" cannot be changed"))),
        }
    }

    pub(crate) fn reset_all(&mut self) {
        self.values.clear();
        self.local.clear();
    }

    pub(crate) fn begin(&mut self) {
        self.before = Some(self.values.clone());
        self.local.clear();
    }

    pub(crate) fn end(&mut self, committed: bool) {
        let before = self.before.take();
        let local = std::mem::take(&mut self.local);
        if !committed {
            self.values = before.unwrap_or_default();
            return;
        }
        for (name, hidden) in local {
            match hidden {
                Some(value) => self.values.insert(name, value),
                None => self.values.remove(&name),
            };
        }
    }

    pub(crate) fn freshness(&self) -> Freshness {
        self.raw("frazil.freshness").and_then(Freshness::parse).unwrap_or_default()
    }

    pub(crate) fn time_zone(&self) -> String {
        self.raw("timezone").unwrap_or("UTC").to_string()
    }

    pub(crate) fn statement_timeout(&self) -> Option<Duration> {
        match self.raw("statement_timeout").and_then(|v| v.parse().ok()) {
            None | Some(0) => None,
            Some(ms) => Some(Duration::from_millis(ms)),
        }
    }

    /// Schemas in which names are looked up, `"$user"` resolved, `public` standing for the default namespace.
    pub(crate) fn search_path(&self, user: &str, default_namespace: &str) -> Vec<String> {
        let text = self.raw("search_path").unwrap_or_default();
        let mut path = Vec::new();
        for entry in text.split(',') {
            let name = split_name(entry).concat();
            let name = match name.as_str() {
                "" => continue,
                "$user" => user.to_string(),
                "public" => default_namespace.to_string(),
                _ => name,
            };
            if !path.contains(&name) && name != "pg_catalog" {
                path.push(name);
            }
        }
        path
    }
}

fn canonical(name: &str) -> String {
    match name.to_lowercase().as_str() {
        "time zone" => "timezone".into(),
        "transaction isolation level" => "transaction_isolation".into(),
        "session authorization" => "session_authorization".into(),
        "names" => "client_encoding".into(),
        other => other.into(),
    }
}

fn unknown(name: &str) -> SqlError {
    let error = SqlError::new("42704", format!("unrecognized configuration parameter \"{name}\""));
    match nearest(name, KNOWN.iter().map(|(n, ..)| *n)) {
        Some(near) => error.with_hint(format!("Perhaps you meant \"{near}\".")),
        None => error,
    }
}

/// Milliseconds in the largest unit that is exact.
fn show_duration(ms: u64) -> String {
    for (unit, size) in [("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1_000)] {
        if ms.is_multiple_of(size) {
            return format!("{}{unit}", ms / size);
        }
    }
    format!("{ms}ms")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings::new("test", "me", None)
    }

    #[test]
    fn known_names_are_taken_and_unknown_ones_refused() {
        let mut s = settings();
        s.set("TimeZone", Some("+02:00"), false).unwrap();
        assert_eq!(s.show("time zone").unwrap(), "+02:00");
        s.set("statement_timeout", Some("90s"), false).unwrap();
        assert_eq!(s.show("statement_timeout").unwrap(), "90s");
        assert_eq!(s.statement_timeout(), Some(Duration::from_secs(90)));
        s.set("extra_float_digits", Some("3"), false).unwrap();
        s.set("myapp.tenant", Some("7"), false).unwrap();
        let unknown = s.set("frazil.freshnes", Some("latest"), false).unwrap_err();
        assert_eq!(unknown.sqlstate, "42704");
        assert!(unknown.hint.unwrap().contains("frazil.freshness"));
        assert_eq!(s.set("frazil.freshness", Some("soon"), false).unwrap_err().sqlstate, "22023");
        assert_eq!(s.set("timezone", Some("Mars"), false).unwrap_err().sqlstate, "22023");
        assert_eq!(s.set("server_version", Some("1"), false).unwrap_err().sqlstate, "55P02");
        assert_eq!(s.set("client_encoding", Some("LATIN1"), false).unwrap_err().sqlstate, "0A000");
        assert_eq!(s.set("standard_conforming_strings", Some("off"), false).unwrap_err().sqlstate, "22023");
        s.reset_all();
        assert_eq!(s.show("timezone").unwrap(), "UTC");
    }

    #[test]
    fn a_rolled_back_transaction_undoes_its_settings() {
        let mut s = settings();
        s.begin();
        s.set("frazil.freshness", Some("committed"), false).unwrap();
        s.end(false);
        assert_eq!(s.freshness(), Freshness::Latest);
        s.begin();
        s.set("frazil.freshness", Some("committed"), false).unwrap();
        s.set("search_path", Some("raw, \"A b\""), true).unwrap();
        assert_eq!(s.search_path("me", "public"), ["raw", "A b"]);
        s.end(true);
        assert_eq!(s.freshness(), Freshness::Committed);
        assert_eq!(s.search_path("me", "lake"), ["me", "lake"]);
    }
}
