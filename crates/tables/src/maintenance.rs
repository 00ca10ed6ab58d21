//! Upkeep of tables: compaction, snapshot expiry, manifests, orphans, branches and tags, rollback, partition specs.
//!
//! Owns: what is done to a table that adds no rows, and when a file of a table may be deleted.
//! Does not own: when it is done (`pipelines/upkeep`); the commit path (`catalog`, `commit`).
//! Invariants: the rows of main are the same before and after (rollback apart); every change is one conditional commit,
//! so a stop at any moment leaves at worst orphans; a file is deleted only when no snapshot, no lease and no reader of
//! the last [`Limits::grace_ms`] can want it.

pub mod compaction;
pub mod expiry;
mod manifests;
pub mod orphans;
pub(crate) mod pack;
mod partition_spec;
pub(crate) mod reachable;
pub mod refs;
pub mod removal;
pub(crate) mod retention;
pub(crate) mod sort;

#[cfg(test)]
mod compaction_tests;
#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod day_tests;
#[cfg(test)]
mod expiry_tests;

use base::{ErrorKind, Fault};

use crate::catalog::CatalogError;
use crate::commit::CommitError;
use crate::writer::WriteError;

pub use compaction::{Compact, Compacted};
pub use expiry::{Expire, Expired};
pub use manifests::RewrittenManifests;
pub use orphans::{Marks, Orphans, OrphansFound};
pub(crate) use partition_spec::PARTITION_BY;
pub use refs::{NewRef, RefInfo, RefKind, RollbackTo};
pub use removal::{Removed, Rows};

/// What maintenance may do at once, and what it keeps. Sizes are bytes, times milliseconds.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// Files that one compaction takes at most.
    pub files_max: usize,
    /// Bytes that one compaction takes at most.
    pub bytes_max: u64,
    /// Small files of one size class in an open partition that are worth a compaction.
    pub files_min: usize,
    /// A partition is closed when it has got no file for so long.
    pub closed_after_ms: i64,
    /// Decoded rows that are sorted at once.
    pub sort_bytes: usize,
    /// Nothing that was visible is deleted earlier than this after it left the table: readers may still be at it.
    pub grace_ms: i64,
    /// Files of others that no snapshot has are deleted at this age.
    pub foreign_orphan_ms: i64,
    /// Every snapshot of this age and below is kept, up to `recent_max`.
    pub keep_all_ms: i64,
    pub recent_max: usize,
    /// One snapshot per ten minutes is kept up to this age,
    pub keep_ten_minutely_ms: i64,
    /// one per hour up to this one, and one per day after.
    pub keep_hourly_ms: i64,
    /// Files that wait for their deletion; beyond this they are found again as orphans.
    pub doomed_max: usize,
    /// Manifests of one snapshot that are worth a rewrite.
    pub manifests_max: usize,
}

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

impl Default for Limits {
    fn default() -> Self {
        Self {
            files_max: 1_000,
            bytes_max: 1 << 30,
            files_min: 8,
            closed_after_ms: 10 * MINUTE,
            sort_bytes: 128 << 20,
            grace_ms: HOUR,
            foreign_orphan_ms: 3 * DAY,
            keep_all_ms: HOUR,
            recent_max: 2_000,
            keep_ten_minutely_ms: DAY,
            keep_hourly_ms: 7 * DAY,
            doomed_max: 200_000,
            manifests_max: 100,
        }
    }
}

/// Maintenance that was not done. Nothing is half done: the table is as it was, with orphans at worst.
#[derive(Debug, thiserror::Error)]
pub enum MaintenanceError {
    #[error(transparent)]
    Commit(#[from] CommitError),
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error("{0}")]
    Invalid(String),
}

impl Fault for MaintenanceError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Commit(e) => e.kind(),
            Self::Write(e) => e.kind(),
            Self::Invalid(_) => ErrorKind::Invalid,
        }
    }
}

impl From<CatalogError> for MaintenanceError {
    fn from(error: CatalogError) -> Self {
        Self::Commit(error.into())
    }
}

impl From<storage::ObjectError> for MaintenanceError {
    fn from(error: storage::ObjectError) -> Self {
        CatalogError::from(error).into()
    }
}

/// A table property that is `true` or `false`; anything else is `otherwise`.
pub(crate) fn switch(table: &crate::Table, key: &str, otherwise: bool) -> bool {
    match table.metadata.properties().get(key).map(|v| v.trim().to_ascii_lowercase()).as_deref() {
        Some("true") => true,
        Some("false") => false,
        _ => otherwise,
    }
}

/// Table properties that switch the automatic upkeep off, and whether it is on for a table.
pub mod switches {
    use super::switch;
    use crate::Table;

    pub const COMPACTION: &str = "frazil.table.compaction.enabled";
    pub const EXPIRY: &str = "frazil.table.expiry.enabled";
    pub const MANIFESTS: &str = "frazil.table.manifest-rewrite.enabled";
    pub const ORPHANS: &str = "frazil.table.orphan-removal.enabled";

    pub fn compaction(table: &Table) -> bool {
        switch(table, COMPACTION, true)
    }
    /// Iceberg's `gc.enabled=false` says that files may belong to other tables too: nothing is expired or deleted.
    pub fn expiry(table: &Table) -> bool {
        switch(table, EXPIRY, true) && switch(table, "gc.enabled", true)
    }
    pub fn manifests(table: &Table) -> bool {
        switch(table, MANIFESTS, true)
    }
    pub fn orphans(table: &Table) -> bool {
        switch(table, ORPHANS, true) && switch(table, "gc.enabled", true)
    }
}
