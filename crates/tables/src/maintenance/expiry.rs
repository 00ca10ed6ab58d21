//! Snapshot expiry: metadata first, files later.
//!
//! Owns: the commit that removes snapshots and references, and the deletion of files that nothing refers to any more.
//! Does not own: which snapshots go (`retention`).
//! Invariants: a file is deleted [`super::Limits::grace_ms`] after its snapshot left the table, and only when the
//! table's metadata of that moment does not refer to it; a stop in between leaves orphans.

use std::collections::BTreeSet;

use iceberg::TableUpdate;

use super::refs::{refs_of, same_table, unmoved};
use super::retention::{Goes, History};
use crate::catalog::{CatalogError, Table, TableIdent, Tables};
use crate::commit::CommitError;
use crate::commit::append::{pause, too_busy};

/// Snapshots removed by one commit at most: its metadata and the search for files stay small.
const AT_ONCE: usize = 5_000;

/// What to expire beyond the node's own thinning.
#[derive(Debug, Clone, Default)]
pub struct Expire {
    /// Only says what would go.
    pub dry_run: bool,
    /// Snapshots older than this (milliseconds since 1970) go, whatever the thinning says; heads, tags and the last
    /// progress stay.
    pub older_than_ms: Option<i64>,
    /// So many of main's newest snapshots stay in any case.
    pub retain_last: Option<usize>,
}

/// What was expired.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expired {
    pub snapshots: Vec<i64>,
    /// Branches and tags that were past their maximum age.
    pub refs: Vec<String>,
    /// Files that nothing refers to now; they are deleted after the grace period.
    pub files: usize,
    /// Snapshots that are left.
    pub left: usize,
}

impl Tables {
    /// Removes the snapshots that retention lets go, and dooms the files that only they had.
    pub async fn expire_snapshots(
        &self,
        ident: &TableIdent,
        expire: &Expire,
    ) -> Result<Expired, CommitError> {
        let attempts = self.settings().commit_attempts.max(1);
        for attempt in 0..attempts {
            pause(attempt).await;
            let _turn = if attempt > 0 { Some(self.turn(ident).await) } else { None };
            let table = self.load(ident).await?;
            let refs = refs_of(&table.metadata)?;
            let mut history = History::of(&table.metadata, refs.clone());
            if let Some(older) = expire.older_than_ms {
                history.max_age_ms = Some(self.now_ms().saturating_sub(older).max(0));
            }
            history.keep_min = expire.retain_last.unwrap_or(history.keep_min).max(1);
            let goes = history.thin(self.now_ms(), &self.settings().maintenance);
            let goes = oldest(goes, &history);
            let left = history.snapshots.len() - goes.snapshots.len();
            if goes.snapshots.is_empty() && goes.refs.is_empty() {
                return Ok(Expired { left, ..Expired::default() });
            }
            // What is to be deleted is looked up while the snapshots are still there.
            let files = self.files_of(&table, &goes.snapshots).await?;
            let snapshots: Vec<i64> = goes.snapshots.iter().copied().collect();
            let done = Expired { files: files.len(), refs: goes.refs.clone(), snapshots, left };
            if expire.dry_run {
                return Ok(done);
            }
            // A reference that moves or comes in between may want what goes.
            let mut requirements = vec![same_table(&table)];
            requirements.extend(refs.iter().map(|(name, r)| unmoved(name, Some(r.snapshot_id))));
            match self.commit(ident, requirements, updates(&table, &goes)).await {
                Err(CommitError::RequirementFailed(_)) => {}
                Err(CommitError::Catalog(e)) if !matches!(e, CatalogError::NoSuchTable(_)) => {
                    // Made or not: the next look tells; files that were not doomed are found as orphans.
                    tracing::warn!(table = %ident, error = %e, "expiring snapshots: looking again");
                }
                Err(e) => return Err(e),
                Ok(_) => {
                    let due = self.now_ms().saturating_add(self.settings().maintenance.grace_ms);
                    self.marks().doom(ident, files, due, self.settings().maintenance.doomed_max);
                    return Ok(done);
                }
            }
        }
        Err(too_busy(ident, attempts))
    }

    async fn files_of(&self, table: &Table, snapshots: &BTreeSet<i64>) -> Result<Vec<String>, CatalogError> {
        let referenced = self.referenced(table, snapshots).await?;
        #[cfg(feature = "sabotage")]
        let referenced = match crate::sabotage::SURVIVORS_FORGOTTEN.load(std::sync::atomic::Ordering::Relaxed)
        {
            true => Default::default(),
            false => referenced,
        };
        self.only_in(table, snapshots, &referenced).await
    }

    /// Deletes the doomed files of a table whose time has come; returns how many.
    pub async fn delete_doomed(&self, ident: &TableIdent) -> Result<usize, CatalogError> {
        let due = self.marks().due(ident, self.now_ms());
        if due.is_empty() {
            return Ok(0);
        }
        let table = match self.load(ident).await {
            Ok(table) => table,
            Err(CatalogError::NoSuchTable(_)) => {
                // The files of a dropped table are not ours to judge.
                self.marks().forget(ident);
                return Ok(0);
            }
            Err(e) => return Err(e),
        };
        // A guest may have committed an older file again meanwhile.
        let referenced = self.referenced(&table, &BTreeSet::new()).await?;
        #[cfg(feature = "sabotage")]
        let referenced = match crate::sabotage::SURVIVORS_FORGOTTEN.load(std::sync::atomic::Ordering::Relaxed)
        {
            true => Default::default(),
            false => referenced,
        };
        let own = format!("{}/", table.metadata.location());
        let mut deleted = 0;
        for location in due {
            // Files that a guest has brought from elsewhere stay where they are.
            if location.starts_with(&own) && !referenced.has(&location) {
                self.objects().delete(&location).await?;
                deleted += 1;
            }
            self.marks().spare(ident, &location);
        }
        Ok(deleted)
    }
}

/// The oldest of what goes, when it is very much.
fn oldest(mut goes: Goes, history: &History) -> Goes {
    if goes.snapshots.len() > AT_ONCE {
        let mut by_age: Vec<i64> = goes.snapshots.into_iter().collect();
        by_age.sort_by_key(|id| history.snapshots.get(id).map(|s| s.sequence));
        by_age.truncate(AT_ONCE);
        goes.snapshots = by_age.into_iter().collect();
        // A reference goes before its snapshot does, or with it.
    }
    goes
}

fn updates(table: &Table, goes: &Goes) -> Vec<TableUpdate> {
    let metadata = &table.metadata;
    let mut updates: Vec<TableUpdate> =
        goes.refs.iter().map(|name| TableUpdate::RemoveSnapshotRef { ref_name: name.clone() }).collect();
    for statistics in metadata.statistics_iter().filter(|s| goes.snapshots.contains(&s.snapshot_id)) {
        updates.push(TableUpdate::RemoveStatistics { snapshot_id: statistics.snapshot_id });
    }
    for statistics in metadata.partition_statistics_iter().filter(|s| goes.snapshots.contains(&s.snapshot_id))
    {
        updates.push(TableUpdate::RemovePartitionStatistics { snapshot_id: statistics.snapshot_id });
    }
    if !goes.snapshots.is_empty() {
        let snapshot_ids = goes.snapshots.iter().copied().collect();
        updates.push(TableUpdate::RemoveSnapshots { snapshot_ids });
    }
    updates
}
