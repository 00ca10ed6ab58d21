//! Errors of SQL, each with its SQLSTATE.

use base::{ErrorKind, Fault};

/// A statement that failed.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct SqlError {
    pub kind: ErrorKind,
    /// Five characters, as PostgreSQL gives them: 42P01, 42703, 42601, 22012, 57014, 53200, 0A000, XX000 …
    pub sqlstate: &'static str,
    pub message: String,
    /// What to try next.
    pub hint: Option<String>,
}

impl Fault for SqlError {
    fn kind(&self) -> ErrorKind {
        self.kind
    }
}
