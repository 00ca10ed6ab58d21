//! The exactly-once commit.
//!
//! Owns: facts → decision (pure, [`decide`]), the snapshot a commit makes, and the loop around it.
//! Does not own: staging; the catalog's conditional write.
//! Invariants: any reply that is not a definite rejection is looked up again, by offsets; files are deleted only
//! after a definite rejection.

pub mod decide;
pub mod facts;

pub(crate) mod append;
pub(crate) mod layout;
pub(crate) mod replace;
mod replay;
pub(crate) mod snapshot;

use base::{ErrorKind, Fault};

use crate::catalog::{CatalogError, Table};
use crate::progress::{Progress, SourceId};

pub use decide::{Decision, LogFacts, LogJudgement, Proposal, decide, judge_log};

/// What became of an append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommitOutcome {
    /// A new snapshot holds the files.
    Committed { snapshot_id: i64, sequence: i64 },
    /// The same range had been committed before: the staged files are not needed.
    AlreadyDone { snapshot_id: i64 },
}

/// An append or commit that was not made.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Somebody else has committed part of the range: our files must not be added.
    #[error("fenced: {source_id} is at {recorded}, this commit covers [{from}, {to})")]
    Fenced { source_id: SourceId, recorded: i64, from: i64, to: i64 },
    /// The range does not begin where the table stands.
    #[error("gap: {source_id} is at {recorded}, this commit begins at {from}")]
    Gap { source_id: SourceId, recorded: i64, from: i64 },
    /// The log is not the one that the table was made from.
    #[error("diverged: {source_id}: {why}")]
    Diverged { source_id: SourceId, why: String },
    /// Nearest carrier and table property disagree: somebody moved the table back.
    #[error(
        "the table was rolled back: {} says {carrier}, the table had reached {property}; it serves what is committed; type `frazil table resume {table} --skip` or `--replay`",
        .snapshot_id.map_or_else(|| "its empty main".to_owned(), |id| format!("snapshot {id}"))
    )]
    RolledBack { table: String, snapshot_id: Option<i64>, carrier: String, property: String },
    /// The requirements do not hold any more.
    #[error("Requirement failed: {0}")]
    RequirementFailed(String),
    /// The update makes no sense for this table.
    #[error("{0}")]
    Invalid(String),
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// Gave up after several attempts; nothing is known to be lost, look again.
    #[error("the outcome of the commit is unknown after {attempts} attempts")]
    Unknown {
        attempts: u32,
        #[source]
        source: Box<CatalogError>,
    },
}

impl Fault for CommitError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Fenced { .. } => ErrorKind::Fenced,
            Self::Gap { .. } | Self::RolledBack { .. } | Self::RequirementFailed(_) => ErrorKind::Conflict,
            Self::Diverged { .. } => ErrorKind::Conflict,
            Self::Invalid(_) => ErrorKind::Invalid,
            Self::Catalog(e) => e.kind(),
            Self::Unknown { .. } => ErrorKind::Unavailable,
        }
    }
}

/// Progress of a table, or `RolledBack` with its name.
pub(crate) fn recorded_progress(table: &Table, facts: &facts::Facts) -> Result<Progress, CommitError> {
    decide::recorded(facts).map_err(|decision| refusal(table, facts, decision))
}

/// The error of a decision that is no go.
fn refusal(table: &Table, facts: &facts::Facts, decision: Decision) -> CommitError {
    match decision {
        Decision::Fenced { source, recorded, from, to } => {
            CommitError::Fenced { source_id: source, recorded, from, to }
        }
        Decision::Gap { source, recorded, from } => CommitError::Gap { source_id: source, recorded, from },
        Decision::Diverged { source, why } => CommitError::Diverged { source_id: source, why },
        Decision::RolledBack { carrier, property } => CommitError::RolledBack {
            table: table.ident.to_string(),
            snapshot_id: facts.head,
            carrier,
            property,
        },
        Decision::Commit | Decision::AlreadyDone | Decision::Rebase => {
            CommitError::Invalid(format!("{decision:?} is no refusal"))
        }
    }
}

#[cfg(test)]
#[path = "commit/tests.rs"]
mod tests;

#[cfg(test)]
#[path = "commit/crash_tests.rs"]
mod crash_tests;
