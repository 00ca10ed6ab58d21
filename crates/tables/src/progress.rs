//! How far a table has come in its sources.
//!
//! Owns: the form of progress in snapshot summaries and table properties; nothing else reads or writes it.
//! Does not own: what a source is (to tables it is an id with numbered records).
//! Invariants: per source `next` only grows along a table's main branch.

use std::collections::BTreeMap;

use uuid::Uuid;

/// One partition of one life of one topic of one log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceId {
    pub log: Uuid,
    pub topic: Uuid,
    pub partition: i32,
}

/// A place in a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Next offset to read.
    pub next: i64,
    /// Hash of the batch that holds offset `next - 1`; 0 when nothing was read.
    pub hash: u64,
}

/// Progress in all sources.
pub type Progress = BTreeMap<SourceId, Position>;

/// One step in one source: everything in `[from, to.next)` is accounted for by the commit that carries it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Advance {
    pub source: SourceId,
    /// Must equal the recorded `next`, or the first offset of the source when nothing is recorded.
    pub from: i64,
    pub to: Position,
}
