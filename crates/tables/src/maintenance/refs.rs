//! Branches and tags, and moving main back.
//!
//! Owns: references to snapshots: listing, making, dropping; rollback.
//! Does not own: how long they are kept (`retention`).
//! Invariants: main is moved only by commits and by rollback; a rollback leaves the table's recorded progress as it is,
//! so that the task that feeds the table stops and asks (`RolledBack`) instead of going on with a gap.

use std::collections::BTreeMap;

use iceberg::spec::{MAIN_BRANCH, SnapshotReference, SnapshotRetention, TableMetadata};
use iceberg::{TableRequirement, TableUpdate};

use crate::catalog::{CatalogError, Table, TableIdent, Tables};
use crate::commit::CommitError;

/// Most branches and tags of one table: each keeps its snapshot.
const REFS_MAX: usize = 1_000;
/// Most bytes of a name.
const NAME_MAX: usize = 255;

/// Whether a reference moves with commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefKind {
    Branch,
    Tag,
}

/// A branch or tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefInfo {
    pub name: String,
    pub kind: RefKind,
    pub snapshot_id: i64,
    /// It is dropped when its snapshot is older; none keeps it for ever.
    pub max_age_ms: Option<i64>,
}

/// A branch or tag to be made.
#[derive(Debug, Clone)]
pub struct NewRef {
    pub name: String,
    pub kind: RefKind,
    /// Main's head when none.
    pub snapshot_id: Option<i64>,
    pub max_age_ms: Option<i64>,
    /// Moves one of the same kind that is there.
    pub replace: bool,
}

/// Where a table is moved back to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RollbackTo {
    Snapshot(i64),
    /// The snapshot that was main's head at this time, in milliseconds since 1970.
    Timestamp(i64),
    /// The snapshot of a branch or tag.
    Ref(String),
}

/// All references, main included. (The library keeps them to itself; the metadata's JSON has them.)
pub(crate) fn refs_of(metadata: &TableMetadata) -> Result<BTreeMap<String, SnapshotReference>, CatalogError> {
    let format = |e: serde_json::Error| CatalogError::Format(format!("references of the table: {e}"));
    let mut json = serde_json::to_value(metadata).map_err(format)?;
    match json["refs"].take() {
        serde_json::Value::Null => Ok(BTreeMap::new()),
        refs => serde_json::from_value(refs).map_err(format),
    }
}

/// Fails when a commit in between has moved the reference.
pub(crate) fn unmoved(name: &str, snapshot_id: Option<i64>) -> TableRequirement {
    TableRequirement::RefSnapshotIdMatch { r#ref: name.to_owned(), snapshot_id }
}

impl Table {
    /// Branches and tags by name, main included.
    pub fn refs(&self) -> Result<Vec<RefInfo>, CatalogError> {
        let info = |(name, reference): (String, SnapshotReference)| {
            let (kind, max_age_ms) = match reference.retention {
                SnapshotRetention::Branch { max_ref_age_ms, .. } => (RefKind::Branch, max_ref_age_ms),
                SnapshotRetention::Tag { max_ref_age_ms } => (RefKind::Tag, max_ref_age_ms),
            };
            RefInfo { name, kind, snapshot_id: reference.snapshot_id, max_age_ms }
        };
        Ok(refs_of(&self.metadata)?.into_iter().map(info).collect())
    }
}

impl Tables {
    /// Makes a branch or tag; returns its snapshot.
    pub async fn create_ref(&self, ident: &TableIdent, new: NewRef) -> Result<RefInfo, CommitError> {
        check_name(&new.name)?;
        let table = self.load(ident).await?;
        let refs = refs_of(&table.metadata)?;
        let Some(snapshot_id) = new.snapshot_id.or(table.current_snapshot_id()) else {
            return Err(CommitError::Invalid(format!("table {ident} has no snapshot yet")));
        };
        known(&table, snapshot_id)?;
        let old = refs.get(&new.name);
        if let Some(old) = old {
            let branch = matches!(old.retention, SnapshotRetention::Branch { .. });
            if !new.replace || branch != (new.kind == RefKind::Branch) {
                let kind = if branch { "branch" } else { "tag" };
                return Err(CommitError::Invalid(format!(
                    "table {ident} has a {kind} `{}` already",
                    new.name
                )));
            }
        } else if refs.len() >= REFS_MAX {
            return Err(CommitError::Invalid(format!(
                "table {ident} has {REFS_MAX} branches and tags, which is the limit: drop some"
            )));
        }
        if new.max_age_ms.is_some_and(|age| age <= 0) {
            return Err(CommitError::Invalid("a maximum age must be positive".into()));
        }
        let retention = match new.kind {
            RefKind::Branch => SnapshotRetention::branch(None, None, new.max_age_ms),
            RefKind::Tag => SnapshotRetention::Tag { max_ref_age_ms: new.max_age_ms },
        };
        let requirements = vec![same_table(&table), unmoved(&new.name, old.map(|o| o.snapshot_id))];
        let reference = SnapshotReference::new(snapshot_id, retention);
        let update = TableUpdate::SetSnapshotRef { ref_name: new.name.clone(), reference };
        self.commit(ident, requirements, vec![update]).await?;
        Ok(RefInfo { name: new.name, kind: new.kind, snapshot_id, max_age_ms: new.max_age_ms })
    }

    /// Drops a branch or tag; its snapshots expire with the others.
    pub async fn drop_ref(&self, ident: &TableIdent, name: &str, kind: RefKind) -> Result<(), CommitError> {
        check_name(name)?;
        let table = self.load(ident).await?;
        let word = if kind == RefKind::Branch { "branch" } else { "tag" };
        let found = refs_of(&table.metadata)?.remove(name);
        let is_branch = |r: &SnapshotReference| matches!(r.retention, SnapshotRetention::Branch { .. });
        let Some(old) = found.filter(|r| is_branch(r) == (kind == RefKind::Branch)) else {
            return Err(CommitError::Invalid(format!("table {ident} has no {word} `{name}`")));
        };
        let requirements = vec![same_table(&table), unmoved(name, Some(old.snapshot_id))];
        let update = TableUpdate::RemoveSnapshotRef { ref_name: name.to_owned() };
        self.commit(ident, requirements, vec![update]).await.map(drop)
    }

    /// Moves main to an earlier snapshot and returns it. Its rows are what the table has then; a task that feeds the
    /// table stops until it is told how to go on.
    pub async fn rollback(&self, ident: &TableIdent, to: &RollbackTo) -> Result<i64, CommitError> {
        let table = self.load(ident).await?;
        let target = rollback_target(&table, to)?;
        if table.current_snapshot_id() == Some(target) {
            return Ok(target);
        }
        let refs = refs_of(&table.metadata)?;
        // The branch keeps what it was told about its own snapshots.
        let retention = refs.get(MAIN_BRANCH).map(|main| main.retention.clone());
        let retention = retention.unwrap_or_else(|| SnapshotRetention::branch(None, None, None));
        let requirements = vec![same_table(&table), unmoved(MAIN_BRANCH, table.current_snapshot_id())];
        let reference = SnapshotReference::new(target, retention);
        let update = TableUpdate::SetSnapshotRef { ref_name: MAIN_BRANCH.to_owned(), reference };
        self.commit(ident, requirements, vec![update]).await?;
        tracing::warn!(table = %ident, snapshot = target, "the table was rolled back");
        Ok(target)
    }
}

pub(crate) fn same_table(table: &Table) -> TableRequirement {
    TableRequirement::UuidMatch { uuid: table.uuid() }
}

/// The snapshot that a rollback would make main's head.
pub fn rollback_target(table: &Table, to: &RollbackTo) -> Result<i64, CommitError> {
    let target = named_target(table, to)?;
    let replays = table.replays()?;
    let sequence = table.metadata.snapshot_by_id(target).map_or(0, |s| s.sequence_number());
    if sequence < replays.sequence {
        return Err(CommitError::Invalid(format!(
            "table {} cannot be rolled back to snapshot {target}: since then dead letters became its rows, which lie nowhere \
             else; roll back to a snapshot after that (`frazil table snapshots {}` lists them)",
            table.ident, table.ident.name
        )));
    }
    Ok(target)
}

fn named_target(table: &Table, to: &RollbackTo) -> Result<i64, CommitError> {
    let ident = &table.ident;
    match to {
        RollbackTo::Snapshot(id) => known(table, *id).map(|()| *id),
        RollbackTo::Ref(name) => {
            let found = table.metadata.snapshot_for_ref(name).map(|s| s.snapshot_id());
            found.ok_or_else(|| CommitError::Invalid(format!("table {ident} has no branch or tag `{name}`")))
        }
        RollbackTo::Timestamp(ms) => {
            // The log of main's heads reaches back to the first gap that expiry has made; before that, snapshots are
            // found by their own time.
            let log = table.metadata.history().iter().rev().find(|entry| entry.timestamp_ms <= *ms);
            let by_time = || {
                let old = table.metadata.snapshots().filter(|s| s.timestamp_ms() <= *ms);
                old.max_by_key(|s| (s.timestamp_ms(), s.sequence_number())).map(|s| s.snapshot_id())
            };
            log.map(|entry| entry.snapshot_id).or_else(by_time).ok_or_else(|| {
                CommitError::Invalid(format!("table {ident} has no snapshot as old as {ms} ms since 1970"))
            })
        }
    }
}

fn known(table: &Table, snapshot_id: i64) -> Result<(), CommitError> {
    match table.metadata.snapshot_by_id(snapshot_id) {
        Some(_) => Ok(()),
        None => Err(CommitError::Invalid(format!(
            "table {} has no snapshot {snapshot_id}; it may have expired (`frazil table snapshots {}` lists them)",
            table.ident, table.ident.name
        ))),
    }
}

fn check_name(name: &str) -> Result<(), CommitError> {
    let refuse = |why: &str| Err(CommitError::Invalid(format!("branch or tag {name:?}: {why}")));
    if name == MAIN_BRANCH {
        return refuse("main is moved by commits and by rollback only");
    }
    if name.is_empty() || name.len() > NAME_MAX {
        return refuse("a name has 1 to 255 bytes");
    }
    if name.chars().any(char::is_control) {
        return refuse("a name has no control characters");
    }
    Ok(())
}
