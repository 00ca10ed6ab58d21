//! The snapshot a commit makes.
//!
//! Owns: its manifest list, its summary with totals as Java writes them, the updates and requirements of the commit.
//! Does not own: whether to commit (`decide`); how manifests are laid out (`layout`).
//! Invariants: every live file of the parent is live in the child, or was named as removed and was found; every file
//! that the snapshot names is durable before the updates are returned.

use std::collections::{BTreeMap, HashMap, HashSet};

use iceberg::spec::{
    DataFile, FormatVersion, MAIN_BRANCH, ManifestFile, Operation, PartitionSpec, SchemaRef, Snapshot,
    SnapshotReference, SnapshotRetention, Struct, Summary, TableMetadata,
};
use iceberg::{TableRequirement, TableUpdate};
use uuid::Uuid;

use crate::catalog::{CatalogError, Table, Tables};
use crate::commit::CommitError;
use crate::commit::layout::Layout;
use crate::failpoints::Step;
use crate::leases::Lease;
use crate::manifests::{self, EncodedManifest, OWN_MARK};
use crate::progress::{self, COMMIT_ID_KEY, Carried, PROGRESS_KEY, Progress};
use crate::replay::{REPLAY_KEY, Replay, Replays};

/// What is to be committed, whatever the base.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) snapshot_id: i64,
    pub(crate) commit_id: String,
    pub(crate) operation: Operation,
    /// Durable manifests of the added files.
    pub(crate) added: Vec<ManifestFile>,
    pub(crate) counts: Counts,
    /// Paths of data files that are live in the base and not in this snapshot.
    pub(crate) removed: HashSet<String>,
    pub(crate) removed_counts: Counts,
    pub(crate) layout: Layout,
    /// Number and marker of a move of rows that comes with it.
    pub(crate) replay: Option<(u64, Replay)>,
    /// Further keys of the summary.
    pub(crate) summary: BTreeMap<String, String>,
    /// The files of this change and its attempts.
    pub(crate) lease: Lease,
}

/// What the added files amount to.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Counts {
    pub(crate) files: u64,
    pub(crate) records: u64,
    pub(crate) bytes: u64,
    pub(crate) partitions: usize,
}

impl Counts {
    pub(crate) fn of<'a>(files: impl IntoIterator<Item = &'a DataFile>) -> Self {
        let (mut counts, mut partitions) = (Self::default(), HashSet::<&Struct>::new());
        for file in files {
            counts.files += 1;
            counts.records += file.record_count();
            counts.bytes += file.file_size_in_bytes();
            partitions.insert(file.partition());
        }
        counts.partitions = partitions.len();
        counts
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
    pub(crate) fn new(operation: Operation, summary: BTreeMap<String, String>, lease: Lease) -> Self {
        // Iceberg's snapshot ids are positive.
        let id = (Uuid::new_v4().as_u128() as i64) & i64::MAX;
        Self {
            snapshot_id: id.max(1),
            commit_id: Uuid::new_v4().to_string(),
            operation,
            added: Vec::new(),
            counts: Counts::default(),
            removed: HashSet::new(),
            removed_counts: Counts::default(),
            layout: Layout::MergeSmall,
            replay: None,
            summary,
            lease,
        }
    }
}

/// Columns that manifests of `spec` are written with: the current ones, or the newest that still have the spec's
/// source columns.
pub(crate) fn schema_for<'a>(metadata: &'a TableMetadata, spec: &PartitionSpec) -> &'a SchemaRef {
    let fits = |schema: &SchemaRef| spec.fields().iter().all(|f| schema.field_by_id(f.source_id).is_some());
    let current = metadata.current_schema();
    if fits(current) {
        return current;
    }
    metadata.schemas_iter().filter(|s| fits(s)).max_by_key(|s| s.schema_id()).unwrap_or(current)
}

impl Tables {
    /// Stores the manifest of staged files; it serves every attempt of the commit.
    pub(crate) async fn stage_manifest(
        &self,
        table: &Table,
        files: &[DataFile],
        spec_id: i32,
        change: &Change,
    ) -> Result<ManifestFile, CommitError> {
        let metadata = &table.metadata;
        let spec = metadata.partition_spec_by_id(spec_id).ok_or_else(|| {
            CommitError::Invalid(format!("table {} has no partition spec {spec_id}", table.ident))
        })?;
        let location = new_manifest(metadata, "m0");
        let schema = schema_for(metadata, spec);
        let encoded = manifests::encode_added(files, &location, change.snapshot_id, schema, spec).await?;
        Ok(self.store(encoded, &change.lease).await?)
    }

    pub(super) async fn store(
        &self,
        encoded: EncodedManifest,
        lease: &Lease,
    ) -> Result<ManifestFile, CatalogError> {
        lease.add(&encoded.file.manifest_path);
        self.objects().put_new(&encoded.file.manifest_path, encoded.bytes).await?;
        self.step(Step::AfterManifest).await?;
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
        let mut list = change.added.clone();
        if let Some(parent) = parent {
            let old = self.manifest_list(metadata, parent).await?;
            list.extend(self.lay_out(table, &old, change, &mut files).await?);
        } else if !change.removed.is_empty() {
            return Err(CommitError::RequirementFailed("the files to replace are gone".into()));
        }
        let list_location = format!(
            "{}/metadata/snap-{}-{}{OWN_MARK}.avro",
            metadata.location(),
            change.snapshot_id,
            Uuid::new_v4()
        );
        change.lease.add(&list_location);
        let parent_id = parent.map(|p| p.snapshot_id());
        let bytes = manifests::encode_list(list, change.snapshot_id, parent_id, sequence).await?;
        self.objects().put_new(&list_location, bytes).await.map_err(CatalogError::from)?;
        self.step(Step::AfterManifestList).await.map_err(CatalogError::from)?;
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
        if let Some((generation, replay)) = &change.replay {
            let replays = Replays { generation: *generation, sequence, open: Some(replay.clone()) };
            let property = (REPLAY_KEY.to_owned(), replays.encode());
            updates.push(TableUpdate::SetProperties { updates: HashMap::from([property]) });
        }
        Ok(Prepared { sequence, requirements, updates, files })
    }
}

/// Where a new manifest goes.
pub(super) fn new_manifest(metadata: &TableMetadata, kind: &str) -> String {
    format!("{}/metadata/{}-{kind}{OWN_MARK}.avro", metadata.location(), Uuid::new_v4())
}

/// The summary, with the keys of Java's `SnapshotSummary`; ours win over what the caller adds.
fn summary(parent: Option<&Summary>, change: &Change, progress: Option<&Progress>) -> Summary {
    let mut keys: HashMap<String, String> = change.summary.clone().into_iter().collect();
    let (added, removed) = (change.counts, change.removed_counts);
    let mut put = |key: &str, value: u64| keys.insert(key.into(), value.to_string());
    if added.files > 0 {
        put("added-data-files", added.files);
        put("added-records", added.records);
        put("added-files-size", added.bytes);
    }
    if removed.files > 0 {
        put("deleted-data-files", removed.files);
        put("deleted-records", removed.records);
        put("removed-files-size", removed.bytes);
    }
    if added.files + removed.files > 0 {
        put("changed-partition-count", added.partitions.max(removed.partitions) as u64);
    }
    let totals = [
        ("total-data-files", added.files, removed.files),
        ("total-records", added.records, removed.records),
        ("total-files-size", added.bytes, removed.bytes),
        ("total-delete-files", 0, 0),
        ("total-position-deletes", 0, 0),
        ("total-equality-deletes", 0, 0),
    ];
    for (key, added, removed) in totals {
        // A parent that does not know its total leaves ours unknown, as in Java.
        let before = match parent {
            None => Some(0),
            Some(parent) => parent.additional_properties.get(key).and_then(|v| v.parse::<u64>().ok()),
        };
        let total = before.and_then(|before| before.checked_add(added)).and_then(|t| t.checked_sub(removed));
        if let Some(total) = total {
            keys.insert(key.into(), total.to_string());
        }
    }
    keys.insert(COMMIT_ID_KEY.into(), change.commit_id.clone());
    keys.remove(PROGRESS_KEY);
    if let Some(progress) = progress {
        keys.insert(PROGRESS_KEY.into(), progress::encode(progress));
    }
    Summary { operation: change.operation.clone(), additional_properties: keys }
}
