//! The exactly-once commit.
//!
//! Owns: facts → decision (pure, [`decide`]), and the loop around it.
//! Does not own: staging; the catalog's conditional write.

use base::{ErrorKind, Fault};

use crate::catalog::CatalogError;
use crate::progress::SourceId;

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
    #[error("fenced: {source_id:?} is at {recorded}, this commit covers [{from}, {to})")]
    Fenced { source_id: SourceId, recorded: i64, from: i64, to: i64 },
    /// The range does not begin where the table stands.
    #[error("gap: {source_id:?} is at {recorded}, this commit begins at {from}")]
    Gap { source_id: SourceId, recorded: i64, from: i64 },
    /// Nearest carrier and table property disagree: somebody moved the table back.
    #[error(
        "the table was rolled back: snapshot {snapshot_id:?} says {carrier}, the table had reached {property}; it serves what is committed; type `frazil table resume {table} --skip` or `--replay`"
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
            Self::Invalid(_) => ErrorKind::Invalid,
            Self::Catalog(e) => e.kind(),
            Self::Unknown { .. } => ErrorKind::Unavailable,
        }
    }
}
