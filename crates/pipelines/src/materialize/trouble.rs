//! Why a materializing task cannot go on as it was.
//!
//! Owns: what each fault of the layers below means for the task.

use base::fault::chain;
use base::{ErrorKind, Fault};
use queries::RowsError;
use tables::{CatalogError, CommitError, WriteError};
use topics::ReadError;

use crate::commands::CommandError;
use crate::materialize::link::State;

#[derive(Debug)]
pub(crate) enum Trouble {
    /// The topic is deleted, or no table any more.
    Gone,
    /// Something has to happen first; the text says what.
    Waiting(String),
    /// Only an operator can say what is right.
    Stopped(State, String),
    /// Another committer was faster: look where the table stands now.
    Overtaken(String),
    /// The table stands elsewhere than it did: look again, once.
    Gap(String),
    /// It may work later.
    Failed(String),
    /// The catalog or its store did not answer: what was staged is still good.
    Unclear(String),
}

impl Trouble {
    pub(crate) fn failed(error: &(dyn std::error::Error + 'static)) -> Self {
        Self::Failed(chain(error))
    }

    /// What was staged is not used again.
    pub(crate) fn settled(self) -> Self {
        match self {
            Self::Unclear(text) => Self::Failed(text),
            other => other,
        }
    }

    /// What somebody who asked for a commit is told.
    pub(crate) fn answer(&self, table: &str) -> CommandError {
        match self {
            Self::Gone => CommandError::NotFound(format!("there is no table {table} any more")),
            Self::Waiting(text) | Self::Stopped(_, text) => CommandError::Conflict(text.clone()),
            Self::Overtaken(text) | Self::Gap(text) | Self::Failed(text) | Self::Unclear(text) => {
                CommandError::Unavailable(format!("table {table}: {text}"))
            }
        }
    }
}

impl From<CommitError> for Trouble {
    fn from(error: CommitError) -> Self {
        let (text, kind) = (chain(&error), error.kind());
        match error {
            CommitError::Fenced { .. } => Self::Overtaken(text),
            CommitError::Gap { .. } => Self::Gap(text),
            CommitError::Diverged { .. } => Self::Stopped(State::Diverged, text),
            CommitError::RolledBack { .. } => Self::Stopped(State::RolledBack, text),
            _ if kind == ErrorKind::Unavailable => Self::Unclear(text),
            _ => Self::Failed(text),
        }
    }
}

impl From<RowsError> for Trouble {
    fn from(error: RowsError) -> Self {
        match error {
            RowsError::NotReady(text) => Self::Waiting(text),
            RowsError::Misconfigured(text) => Self::Stopped(State::Paused, text),
            // Retention was faster: what is gone is skipped at the next look.
            RowsError::Read(ReadError::OutOfRange { .. }) => Self::Overtaken(chain(&error)),
            other => Self::failed(&other),
        }
    }
}

macro_rules! failed {
    ($($error:ty),+) => {
        $(impl From<$error> for Trouble {
            fn from(error: $error) -> Self {
                Self::failed(&error)
            }
        })+
    };
}
failed!(CatalogError, WriteError, CommandError, topics::AppendError, ReadError, tokio::task::JoinError);
