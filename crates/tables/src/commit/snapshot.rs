//! The snapshot a commit makes.
//!
//! Owns: its manifests (small ones merged, so that metadata stays bounded), its summary with totals as Java writes
//! them, the updates and requirements of the commit.
//! Does not own: whether to commit (`decide`).
//! Invariants: every live file of the parent is live in the child; every file that the snapshot names is durable
//! before the updates are returned.

use std::collections::{BTreeMap, HashMap, HashSet};

use iceberg::spec::{
    DataFile, FormatVersion, MAIN_BRANCH, ManifestContentType, ManifestFile, Operation, Snapshot,
    SnapshotReference, SnapshotRetention, Struct, Summary,
};
use iceberg::{TableRequirement, TableUpdate};
use uuid::Uuid;

use crate::catalog::{CatalogError, Table, Tables};
use crate::commit::CommitError;
use crate::manifests::{self, EncodedManifest};
use crate::progress::{self, COMMIT_ID_KEY, Carried, PROGRESS_KEY, Progress};

/// What is to be committed, whatever the base.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) snapshot_id: i64,
    pub(super) commit_id: String,
    /// Durable manifest of the added files.
    pub(super) added: Option<ManifestFile>,
    pub(super) counts: Counts,
    /// Further keys of the summary.
    pub(super) summary: BTreeMap<String, String>,
}

/// What the added files amount to.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Counts {
    files: u64,
    records: u64,
    bytes: u64,
    partitions: usize,
}

impl Counts {
    pub(super) fn of(files: &[DataFile]) -> Self {
        let partitions: HashSet<&Struct> = files.iter().map(DataFile::partition).collect();
        Self {
            files: files.len() as u64,
            records: files.iter().map(DataFile::record_count).sum(),
            bytes: files.iter().map(DataFile::file_size_in_bytes).sum(),
            partitions: partitions.len(),
        }
    }
}

/// A commit that is ready to be made on one base.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) sequence: i64,
    pub(super) requirements: Vec<TableRequirement>,
    pub(super) updates: Vec<TableUpdate>,
    /// Files of this attempt alone: garbage after a definite rejection.
    pub(super) files: Vec<String>,
}

impl Change {
    pub(super) fn new(counts: Counts, summary: BTreeMap<String, String>) -> Self {
        // Iceberg's snapshot ids are positive.
        let id = (Uuid::new_v4().as_u128() as i64) & i64::MAX;
        Self { snapshot_id: id.max(1), commit_id: Uuid::new_v4().to_string(), added: None, counts, summary }
    }
}

impl Tables {
    /// Stores the manifest of staged files; it serves every attempt of the commit.
    pub(super) async fn stage_manifest(
        &self,
        table: &Table,
        files: &[DataFile],
        spec_id: i32,
        snapshot_id: i64,
    ) -> Result<ManifestFile, CommitError> {
        let metadata = &table.metadata;
        let spec = metadata.partition_spec_by_id(spec_id).ok_or_else(|| {
            CommitError::Invalid(format!("table {} has no partition spec {spec_id}", table.ident))
        })?;
        let location = format!("{}/metadata/{}-m0.avro", metadata.location(), Uuid::new_v4());
        let schema = metadata.current_schema();
        let encoded = manifests::encode_added(files, &location, snapshot_id, schema, spec).await?;
        Ok(self.store(encoded).await?)
    }

    async fn store(&self, encoded: EncodedManifest) -> Result<ManifestFile, CatalogError> {
        self.objects().put_new(&encoded.file.manifest_path, encoded.bytes).await?;
        Ok(encoded.file)
    }

    /// Writes the manifest list of `change` on top of `table` and says how to commit it. `progress` none leaves the
    /// recorded progress as it is.
    pub(super) async fn prepare(
        &self,
        table: &Table,
        change: &Change,
        progress: Option<&Progress>,
    ) -> Result<Prepared, CommitError> {
        let metadata = &table.metadata;
        if metadata.format_version() != FormatVersion::V2 {
            let why = format!(
                "table {} has format {}: appends are made to format 2",
                table.ident,
                metadata.format_version()
            );
            return Err(CommitError::Invalid(why));
        }
        let parent = metadata.current_snapshot();
        let sequence = metadata.next_sequence_number();
        let mut files = Vec::new();
        let mut list: Vec<ManifestFile> = change.added.iter().cloned().collect();
        if let Some(parent) = parent {
            let old = manifests::list(self.objects(), parent, metadata.format_version()).await?;
            list.extend(self.merge_small(table, old, change.snapshot_id, &mut files).await?);
        }
        let list_location =
            format!("{}/metadata/snap-{}-{}.avro", metadata.location(), change.snapshot_id, Uuid::new_v4());
        let parent_id = parent.map(|p| p.snapshot_id());
        let bytes = manifests::encode_list(list, change.snapshot_id, parent_id, sequence).await?;
        self.objects().put_new(&list_location, bytes).await.map_err(CatalogError::from)?;
        files.push(list_location.clone());
        let snapshot = Snapshot::builder()
            .with_snapshot_id(change.snapshot_id)
            .with_parent_snapshot_id(parent_id)
            .with_sequence_number(sequence)
            // The clock may have been set back: time must not run backwards within a table.
            .with_timestamp_ms(self.now_ms().max(metadata.last_updated_ms()))
            .with_manifest_list(list_location)
            .with_schema_id(metadata.current_schema_id())
            .with_summary(summary(parent.map(|p| p.summary()), change, progress))
            .build();
        let requirements = vec![
            TableRequirement::UuidMatch { uuid: metadata.uuid() },
            TableRequirement::RefSnapshotIdMatch { r#ref: MAIN_BRANCH.into(), snapshot_id: parent_id },
        ];
        let reference =
            SnapshotReference::new(change.snapshot_id, SnapshotRetention::branch(None, None, None));
        let mut updates = vec![
            TableUpdate::AddSnapshot { snapshot },
            TableUpdate::SetSnapshotRef { ref_name: MAIN_BRANCH.into(), reference },
        ];
        if let Some(progress) = progress {
            let carried = Carried { sequence, progress: progress.clone() };
            let property = (PROGRESS_KEY.to_owned(), progress::encode_carried(&carried));
            updates.push(TableUpdate::SetProperties { updates: HashMap::from([property]) });
        }
        Ok(Prepared { sequence, requirements, updates, files })
    }

    /// Merges small data manifests when there are many, in their order; what is written is added to `files`.
    async fn merge_small(
        &self,
        table: &Table,
        old: Vec<ManifestFile>,
        snapshot_id: i64,
        files: &mut Vec<String>,
    ) -> Result<Vec<ManifestFile>, CommitError> {
        let settings = self.settings();
        let small = |m: &ManifestFile| {
            m.content == ManifestContentType::Data
                && u64::try_from(m.manifest_length).is_ok_and(|len| len < settings.manifest_target_bytes)
                && table.metadata.partition_spec_by_id(m.partition_spec_id).is_some()
        };
        if old.iter().filter(|m| small(m)).count() < settings.manifests_to_merge.max(2) {
            return Ok(old);
        }
        let (small, mut kept): (Vec<_>, Vec<_>) = old.into_iter().partition(small);
        let mut bins: BTreeMap<i32, Vec<Vec<ManifestFile>>> = BTreeMap::new();
        for manifest in small {
            let spec = bins.entry(manifest.partition_spec_id).or_default();
            let length = |bin: &Vec<ManifestFile>| bin.iter().map(|m| m.manifest_length as u64).sum::<u64>();
            match spec.last_mut() {
                Some(bin) if length(bin) < settings.manifest_target_bytes => bin.push(manifest),
                _ => spec.push(vec![manifest]),
            }
        }
        for (spec_id, bin) in bins.into_iter().flat_map(|(id, bins)| bins.into_iter().map(move |b| (id, b))) {
            match bin.len() {
                1 => kept.extend(bin),
                _ => kept.extend(self.merge(table, spec_id, bin, snapshot_id, files).await?),
            }
        }
        Ok(kept)
    }

    /// One manifest in place of several; none when nothing in them is alive.
    async fn merge(
        &self,
        table: &Table,
        spec_id: i32,
        bin: Vec<ManifestFile>,
        snapshot_id: i64,
        files: &mut Vec<String>,
    ) -> Result<Option<ManifestFile>, CommitError> {
        let metadata = &table.metadata;
        let Some(spec) = metadata.partition_spec_by_id(spec_id) else {
            return Err(CommitError::Invalid(format!("table {} has no spec {spec_id}", table.ident)));
        };
        let mut entries = Vec::new();
        for manifest in bin {
            entries.extend(self.manifest(manifest).await?.iter().cloned());
        }
        if entries.is_empty() {
            return Ok(None);
        }
        let location = format!("{}/metadata/{}-merged.avro", metadata.location(), Uuid::new_v4());
        let schema = metadata.current_schema();
        let encoded = manifests::encode_existing(&entries, &location, snapshot_id, schema, spec).await?;
        let stored = self.store(encoded).await?;
        files.push(location);
        Ok(Some(stored))
    }
}

/// The summary, with the keys of Java's `SnapshotSummary`; ours win over what the caller adds.
fn summary(parent: Option<&Summary>, change: &Change, progress: Option<&Progress>) -> Summary {
    let mut keys: HashMap<String, String> = change.summary.clone().into_iter().collect();
    let Counts { files, records, bytes, partitions } = change.counts;
    if files > 0 {
        keys.insert("added-data-files".into(), files.to_string());
        keys.insert("added-records".into(), records.to_string());
        keys.insert("added-files-size".into(), bytes.to_string());
        keys.insert("changed-partition-count".into(), partitions.to_string());
    }
    let totals = [
        ("total-data-files", files),
        ("total-records", records),
        ("total-files-size", bytes),
        ("total-delete-files", 0),
        ("total-position-deletes", 0),
        ("total-equality-deletes", 0),
    ];
    for (key, added) in totals {
        // A parent that does not know its total leaves ours unknown, as in Java.
        let before = match parent {
            None => Some(0),
            Some(parent) => parent.additional_properties.get(key).and_then(|v| v.parse::<u64>().ok()),
        };
        if let Some(total) = before.and_then(|before| before.checked_add(added)) {
            keys.insert(key.into(), total.to_string());
        }
    }
    keys.insert(COMMIT_ID_KEY.into(), change.commit_id.clone());
    keys.remove(PROGRESS_KEY);
    if let Some(progress) = progress {
        keys.insert(PROGRESS_KEY.into(), progress::encode(progress));
    }
    Summary { operation: Operation::Append, additional_properties: keys }
}
