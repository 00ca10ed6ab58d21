//! Files below a table's directory that no snapshot has.
//!
//! Owns: finding and deleting them; the files that wait for their deletion.
//! Does not own: which files a table refers to (`reachable`), who is about to commit what (`leases`).
//! Invariants: a file is deleted when it was seen unreferenced twice, [`super::Limits::grace_ms`] apart, and nobody has
//! leased it; one that this program did not write also has to be [`super::Limits::foreign_orphan_ms`] old, for its
//! writer may still want to commit it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use parking_lot::Mutex;
use storage::Listed;

use crate::catalog::{CatalogError, Table, TableIdent, Tables};
use crate::manifests::OWN_MARK;

/// Files whose first sight is remembered; the others are seen for the first time again.
const SEEN_MAX: usize = 200_000;

/// What is remembered of files on their way out. In memory only: what a restart forgets is found again as orphans.
#[derive(Debug, Default)]
pub struct Marks(Mutex<HashMap<TableIdent, TableMarks>>);

#[derive(Debug, Default)]
struct TableMarks {
    /// By the time they may go.
    doomed: BTreeMap<String, i64>,
    /// When they were seen unreferenced first.
    seen: HashMap<String, i64>,
}

impl Marks {
    pub(crate) fn doom(&self, ident: &TableIdent, files: Vec<String>, due_ms: i64, most: usize) {
        let mut marks = self.0.lock();
        let doomed = &mut marks.entry(ident.clone()).or_default().doomed;
        let room = most.saturating_sub(doomed.len());
        doomed.extend(files.into_iter().take(room).map(|file| (file, due_ms)));
    }

    pub(crate) fn due(&self, ident: &TableIdent, now: i64) -> Vec<String> {
        let marks = self.0.lock();
        let Some(marks) = marks.get(ident) else { return Vec::new() };
        marks.doomed.iter().filter(|(_, due)| **due <= now).map(|(file, _)| file.clone()).collect()
    }

    pub(crate) fn spare(&self, ident: &TableIdent, file: &str) {
        if let Some(marks) = self.0.lock().get_mut(ident) {
            marks.doomed.remove(file);
        }
    }

    /// Files of a table that wait for their deletion.
    pub(crate) fn waiting(&self, ident: &TableIdent) -> usize {
        self.0.lock().get(ident).map_or(0, |marks| marks.doomed.len())
    }

    pub(crate) fn forget(&self, ident: &TableIdent) {
        self.0.lock().remove(ident);
    }

    /// Files that are doomed already.
    fn doomed(&self, ident: &TableIdent) -> BTreeSet<String> {
        let marks = self.0.lock();
        marks.get(ident).map(|marks| marks.doomed.keys().cloned().collect()).unwrap_or_default()
    }

    /// When each of `files` was seen unreferenced first; others are forgotten.
    fn see(&self, ident: &TableIdent, files: &[Listed], now: i64) -> HashMap<String, i64> {
        let mut marks = self.0.lock();
        let seen = &mut marks.entry(ident.clone()).or_default().seen;
        let old = std::mem::take(seen);
        let first = |file: &Listed| (file.location.clone(), old.get(&file.location).copied().unwrap_or(now));
        *seen = files.iter().take(SEEN_MAX).map(first).collect();
        seen.clone()
    }
}

/// How to look for orphans.
#[derive(Debug, Clone, Default)]
pub struct Orphans {
    /// Only says what is there.
    pub dry_run: bool,
    /// Age in milliseconds from which files of others go; the setting when none, and never less than the grace period.
    pub older_than_ms: Option<i64>,
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OrphansFound {
    /// Deleted, or, in a dry run, old enough to be.
    pub removed: Vec<String>,
    pub removed_bytes: u64,
    /// Unreferenced, but somebody may still want them.
    pub waiting: Vec<String>,
    pub waiting_bytes: u64,
}

impl Tables {
    /// Deletes what no snapshot has and nobody can want any more.
    pub async fn remove_orphans(
        &self,
        ident: &TableIdent,
        how: &Orphans,
    ) -> Result<OrphansFound, CatalogError> {
        let location = format!("{}/", self.load(ident).await?.metadata.location());
        let listed = self.objects().list_aged(location.trim_end_matches('/')).await?;
        // In this order: what is committed between two of these steps is seen by the later one.
        let leased = self.leases().below(&location);
        let doomed = self.marks().doomed(ident);
        let table = self.load(ident).await?;
        let referenced = self.referenced(&table, &BTreeSet::new()).await?;
        let unwanted = |file: &Listed| {
            !referenced.has(&file.location)
                && !leased.contains(&file.location)
                && !doomed.contains(&file.location)
        };
        let orphans: Vec<Listed> = listed.into_iter().filter(unwanted).collect();
        let now = self.now_ms();
        let seen = self.marks().see(ident, &orphans, now);
        let mut found = OrphansFound::default();
        for file in orphans {
            let first_seen = seen.get(&file.location).copied().unwrap_or(now);
            if !self.may_go(&file, first_seen, now, how, &table) {
                found.waiting_bytes += file.size;
                found.waiting.push(file.location);
                continue;
            }
            if !how.dry_run {
                self.objects().delete(&file.location).await?;
            }
            found.removed_bytes += file.size;
            found.removed.push(file.location);
        }
        if !how.dry_run {
            let before = now.saturating_sub(self.settings().maintenance.foreign_orphan_ms);
            let swept = self.objects().sweep(location.trim_end_matches('/'), before).await?;
            if swept > 0 {
                tracing::info!(table = %ident, files = swept, "half-written files removed");
            }
        }
        found.removed.sort();
        found.waiting.sort();
        Ok(found)
    }

    fn may_go(&self, file: &Listed, first_seen: i64, now: i64, how: &Orphans, table: &Table) -> bool {
        let limits = &self.settings().maintenance;
        if now.saturating_sub(first_seen) < limits.grace_ms {
            return false;
        }
        let age = how.older_than_ms.unwrap_or(limits.foreign_orphan_ms).max(limits.grace_ms);
        is_ours(&file.location, table.metadata.location()) || now.saturating_sub(file.modified_ms) >= age
    }

    /// Files of a table that wait for their deletion.
    pub fn doomed(&self, ident: &TableIdent) -> usize {
        self.marks().waiting(ident)
    }
}

/// Whether this program wrote the file: metadata files of this catalog are its own, the rest bears its mark.
fn is_ours(location: &str, table: &str) -> bool {
    let Some(below) = location.strip_prefix(table) else { return false };
    let name = below.rsplit('/').next().unwrap_or(below);
    let marked = |extension: &str| name.strip_suffix(extension).is_some_and(|stem| stem.ends_with(OWN_MARK));
    marked(".parquet")
        || marked(".avro")
        || (below.starts_with("/metadata/") && name.ends_with(".metadata.json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_files_are_told_from_others() {
        let ours = |file: &str| is_ours(&format!("file:///w/t{file}"), "file:///w/t");
        assert!(ours("/data/symbol=x/0193-frazil.parquet") && ours("/metadata/1-m0-frazil.avro"));
        assert!(ours("/metadata/00001-x.metadata.json"));
        assert!(
            !ours("/data/00000-0-x.parquet")
                && !ours("/metadata/snap-1-2-x.avro")
                && !ours("/x.metadata.json")
        );
        assert!(!is_ours("file:///w/u/data/0-frazil.parquet", "file:///w/t"));
    }

    #[test]
    fn sights_are_remembered_as_long_as_they_last() {
        let marks = Marks::default();
        let ident = TableIdent { namespace: vec!["n".into()], name: "t".into() };
        let file = |name: &str| Listed { location: name.into(), size: 1, modified_ms: 0 };
        marks.see(&ident, &[file("a"), file("b")], 10);
        assert_eq!(
            marks.see(&ident, &[file("b"), file("c")], 20),
            HashMap::from([("b".into(), 10), ("c".into(), 20)])
        );
        assert_eq!(marks.see(&ident, &[file("a")], 30), HashMap::from([("a".into(), 30)]));
        marks.doom(&ident, vec!["x".into(), "y".into(), "z".into()], 50, 2);
        assert_eq!(
            (marks.due(&ident, 49).len(), marks.due(&ident, 50).len(), marks.waiting(&ident)),
            (0, 2, 2)
        );
        marks.spare(&ident, "x");
        assert_eq!(marks.due(&ident, 50), ["y"]);
    }
}
