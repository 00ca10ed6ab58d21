//! Which files a table's metadata refers to.
//!
//! Owns: the way from metadata over manifest lists and manifests to data files, statistics and older metadata.
//! Does not own: deleting what is not referred to (`expiry`, `orphans`).
//! Invariants: what cannot be read ends the search with an error: nothing is ever judged by half a picture. Locations
//! are kept as hashes: two that collide keep a file too long, never too short.

use std::collections::{BTreeSet, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use iceberg::spec::{ManifestFile, SnapshotRef};

use crate::catalog::{CatalogError, Table, Tables};

/// Files that must stay.
#[derive(Debug, Default)]
pub(crate) struct Referenced(HashSet<u64>);

impl Referenced {
    fn add(&mut self, location: &str) -> bool {
        self.0.insert(hash(location))
    }

    pub(crate) fn has(&self, location: &str) -> bool {
        self.0.contains(&hash(location))
    }
}

fn hash(location: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    // Guests write locations in other forms, and what is listed has ours.
    storage::objects::canonical(location).hash(&mut hasher);
    hasher.finish()
}

impl Tables {
    /// Everything that `table` refers to, apart from what only the snapshots `without` refer to.
    pub(crate) async fn referenced(
        &self,
        table: &Table,
        without: &BTreeSet<i64>,
    ) -> Result<Referenced, CatalogError> {
        let mut referenced = Referenced::default();
        let metadata = &table.metadata;
        referenced.add(&table.metadata_location);
        for log in metadata.metadata_log() {
            referenced.add(&log.metadata_file);
        }
        for statistics in metadata.statistics_iter().filter(|s| !without.contains(&s.snapshot_id)) {
            referenced.add(&statistics.statistics_path);
        }
        for statistics in metadata.partition_statistics_iter().filter(|s| !without.contains(&s.snapshot_id)) {
            referenced.add(&statistics.statistics_path);
        }
        for snapshot in metadata.snapshots().filter(|s| !without.contains(&s.snapshot_id())) {
            referenced.add(snapshot.manifest_list());
            for manifest in self.manifest_list(metadata, snapshot).await?.iter() {
                if !referenced.add(&manifest.manifest_path) {
                    continue;
                }
                for entry in self.manifest(manifest.clone()).await?.iter() {
                    referenced.add(entry.file.file_path());
                }
            }
        }
        Ok(referenced)
    }

    /// Files that the snapshots `expired` refer to and that are not in `referenced`.
    pub(crate) async fn only_in(
        &self,
        table: &Table,
        expired: &BTreeSet<i64>,
        referenced: &Referenced,
    ) -> Result<Vec<String>, CatalogError> {
        let metadata = &table.metadata;
        let mut found = BTreeSet::new();
        let mut add = |location: &str| {
            if !referenced.has(location) {
                found.insert(location.to_owned());
            }
        };
        for statistics in metadata.statistics_iter().filter(|s| expired.contains(&s.snapshot_id)) {
            add(&statistics.statistics_path);
        }
        for statistics in metadata.partition_statistics_iter().filter(|s| expired.contains(&s.snapshot_id)) {
            add(&statistics.statistics_path);
        }
        let mut seen = HashSet::new();
        let expired = |s: &&SnapshotRef| expired.contains(&s.snapshot_id());
        for snapshot in metadata.snapshots().filter(expired) {
            add(snapshot.manifest_list());
            let list = self.manifest_list(metadata, snapshot).await?;
            let unseen =
                |m: &&ManifestFile| !referenced.has(&m.manifest_path) && seen.insert(hash(&m.manifest_path));
            let manifests: Vec<ManifestFile> = list.iter().filter(unseen).cloned().collect();
            for manifest in manifests {
                add(&manifest.manifest_path);
                for entry in self.manifest(manifest).await?.iter() {
                    add(entry.file.file_path());
                }
            }
        }
        Ok(found.into_iter().collect())
    }
}
