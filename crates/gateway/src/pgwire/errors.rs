//! Errors of the Postgres door: what a client is told, and why a connection ends.
//!
//! Owns: SQLSTATEs of the errors that arise here, the map from other crates' errors, the ErrorResponse.
//! Does not own: SQLSTATEs of SQL itself (`queries::SqlError` brings its own).
//! Invariants: the maps are exhaustive; no text on the wire holds a NUL byte.

use base::{ErrorKind, Fault};
use pgwire::messages::response::ErrorResponse;
use pipelines::CommandError;
use queries::SqlError;

/// A statement or message that failed; the connection goes on.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub(super) struct Failure {
    pub(super) sqlstate: &'static str,
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

/// Why a connection ends.
#[derive(Debug, thiserror::Error)]
pub(super) enum End {
    /// The client said goodbye or hung up.
    #[error("closed by the client")]
    Closed,
    #[error("the node is stopping")]
    Stopping,
    /// Bytes that are not the protocol. The client is told, if it speaks the protocol at all.
    #[error("protocol violation: {0}")]
    Violation(String),
    #[error("{what} took longer than {limit:?}")]
    TooSlow { what: &'static str, limit: std::time::Duration },
    #[error("refused: {}", .0.message)]
    Refused(Failure),
    /// A defect of ours, already logged with its place.
    #[error("a statement panicked")]
    Defect,
    #[error("the socket failed")]
    Io(#[from] std::io::Error),
}

/// What stops the handling of a message.
#[derive(Debug)]
pub(super) enum Halt {
    Failed(Failure),
    Ended(End),
}

impl Failure {
    pub(super) fn new(sqlstate: &'static str, message: impl Into<String>) -> Self {
        Self { sqlstate, message: message.into(), hint: None }
    }

    pub(super) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(super) fn unsupported(message: impl Into<String>) -> Self {
        Self::new("0A000", message)
    }

    pub(super) fn canceled() -> Self {
        Self::new("57014", "canceling statement due to user request")
    }

    /// An error that a statement caused: the connection goes on.
    pub(super) fn response(&self) -> ErrorResponse {
        self.with_severity("ERROR")
    }

    fn with_severity(&self, severity: &str) -> ErrorResponse {
        let clean = |text: &str| text.replace('\0', "\u{fffd}");
        let mut fields = vec![
            (b'S', severity.to_owned()),
            (b'V', severity.to_owned()),
            (b'C', self.sqlstate.to_owned()),
            (b'M', clean(&self.message)),
        ];
        fields.extend(self.hint.as_deref().map(|hint| (b'H', clean(hint))));
        ErrorResponse::new(fields)
    }
}

impl End {
    /// What the client is told before the connection closes; none when nobody would read it.
    pub(super) fn response(&self) -> Option<ErrorResponse> {
        let failure = match self {
            Self::Closed | Self::Io(_) => return None,
            Self::Stopping => Failure::new("57P01", "terminating connection because the node is stopping"),
            Self::Violation(reason) => Failure::new("08P01", format!("protocol violation: {reason}")),
            Self::TooSlow { .. } => Failure::new("08006", self.to_string()),
            Self::Defect => Failure::new("XX000", "internal error: this is a defect; the log has more"),
            Self::Refused(failure) => failure.clone(),
        };
        Some(failure.with_severity("FATAL"))
    }

    /// Whether an operator wants to know.
    pub(super) fn noteworthy(&self) -> bool {
        match self {
            Self::Closed | Self::Stopping | Self::Io(_) => false,
            Self::Violation(_) | Self::TooSlow { .. } | Self::Defect | Self::Refused(_) => true,
        }
    }
}

impl From<SqlError> for Failure {
    fn from(error: SqlError) -> Self {
        Self { sqlstate: error.sqlstate, message: error.message, hint: error.hint }
    }
}

impl From<CommandError> for Failure {
    fn from(error: CommandError) -> Self {
        let sqlstate = match error.kind() {
            ErrorKind::Invalid => "22023",
            ErrorKind::NotFound => "42704",
            ErrorKind::Conflict => "42710",
            ErrorKind::Fenced => "55000",
            ErrorKind::Unavailable => "57P03",
            ErrorKind::Corrupt => "XX001",
            ErrorKind::Internal => "XX000",
        };
        Self::new(sqlstate, base::fault::chain(&error))
    }
}

/// Rows that cannot be put into their announced type.
impl From<arrow::error::ArrowError> for Failure {
    fn from(error: arrow::error::ArrowError) -> Self {
        Self::new("22000", error.to_string())
    }
}

impl From<Failure> for Halt {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<SqlError> for Halt {
    fn from(error: SqlError) -> Self {
        Self::Failed(error.into())
    }
}

impl From<End> for Halt {
    fn from(end: End) -> Self {
        Self::Ended(end)
    }
}

impl From<std::io::Error> for Halt {
    fn from(error: std::io::Error) -> Self {
        Self::Ended(End::Io(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_nul_reaches_the_wire() {
        let response = Failure::new("42601", "a\0b").with_hint("c\0d").response();
        assert!(response.fields.iter().all(|(_, text)| !text.contains('\0')), "{response:?}");
        assert_eq!(response.fields[2], (b'C', "42601".to_owned()));
    }
}
