//! The manifests of a new snapshot, made of those of its parent.
//!
//! Owns: leaving removed files out, merging small manifests so that metadata stays bounded, clustering them by
//! partition.
//! Does not own: which files are removed (`maintenance`); encoding (`manifests`).
//! Invariants: every live file of the parent is live in the result, except those that are removed; each of these was
//! found exactly once, or nothing is made.

use std::collections::BTreeMap;

use iceberg::spec::{ManifestContentType, ManifestFile, PartitionSpecRef};

use crate::catalog::{Table, Tables};
use crate::commit::CommitError;
use crate::commit::snapshot::{Change, new_manifest, schema_for};
use crate::manifests::{self, LiveEntry};
use crate::scan::may_be_alive;

/// How the parent's manifests are laid out anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// Small ones are merged when there are many, in their order.
    MergeSmall,
    /// All data manifests are written anew, sorted by partition.
    Cluster,
}

impl Tables {
    /// The manifests of `old` for the snapshot of `change`; what is written is added to `files`.
    pub(super) async fn lay_out(
        &self,
        table: &Table,
        old: &[ManifestFile],
        change: &Change,
        files: &mut Vec<String>,
    ) -> Result<Vec<ManifestFile>, CommitError> {
        // What was only deleted in the parent was recorded there, once.
        let alive: Vec<ManifestFile> = old.iter().filter(|m| may_be_alive(m)).cloned().collect();
        let (mut rewritten, kept) = self.leave_out(table, alive, change, files).await?;
        rewritten.extend(match change.layout {
            Layout::MergeSmall => self.merge_small(table, kept, change, files).await?,
            Layout::Cluster => self.cluster(table, kept, change, files).await?,
        });
        Ok(rewritten)
    }

    /// Manifests without the removed files, which they record as deleted; and those that had none of them.
    async fn leave_out(
        &self,
        table: &Table,
        old: Vec<ManifestFile>,
        change: &Change,
        files: &mut Vec<String>,
    ) -> Result<(Vec<ManifestFile>, Vec<ManifestFile>), CommitError> {
        if change.removed.is_empty() {
            return Ok((Vec::new(), old));
        }
        let (mut rewritten, mut kept, mut found) = (Vec::new(), Vec::new(), 0);
        for manifest in old {
            if manifest.content != ManifestContentType::Data {
                kept.push(manifest);
                continue;
            }
            let entries = self.manifest(manifest.clone()).await?;
            let gone = |e: &&LiveEntry| change.removed.contains(e.file.file_path());
            let (gone, stay): (Vec<_>, Vec<_>) = entries.iter().partition(gone);
            if gone.is_empty() {
                kept.push(manifest);
                continue;
            }
            found += gone.len();
            let spec = spec_of(table, manifest.partition_spec_id)?;
            let location = new_manifest(&table.metadata, "replaced");
            let schema = schema_for(&table.metadata, &spec);
            let encoded =
                manifests::encode_rewritten(&stay, &gone, &location, change.snapshot_id, schema, &spec)
                    .await?;
            rewritten.push(self.store(encoded, &change.lease).await?);
            files.push(location);
        }
        #[cfg(feature = "sabotage")]
        if crate::sabotage::REVALIDATION_OFF.load(std::sync::atomic::Ordering::Relaxed) {
            return Ok((rewritten, kept));
        }
        if found != change.removed.len() {
            let why = format!(
                "{found} of {} files to replace are live in table {}",
                change.removed.len(),
                table.ident
            );
            return Err(CommitError::RequirementFailed(why));
        }
        Ok((rewritten, kept))
    }

    async fn merge_small(
        &self,
        table: &Table,
        old: Vec<ManifestFile>,
        change: &Change,
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
            if bin.len() == 1 {
                kept.extend(bin);
                continue;
            }
            let mut entries = Vec::new();
            for manifest in bin {
                entries.extend(self.manifest(manifest).await?.iter().cloned());
            }
            kept.extend(self.existing(table, spec_id, &entries, "merged", change, files).await?);
        }
        Ok(kept)
    }

    /// Manifests of about the target size, each of one stretch of partitions.
    async fn cluster(
        &self,
        table: &Table,
        old: Vec<ManifestFile>,
        change: &Change,
        files: &mut Vec<String>,
    ) -> Result<Vec<ManifestFile>, CommitError> {
        let data = |m: &ManifestFile| m.content == ManifestContentType::Data;
        let (data, mut kept): (Vec<_>, Vec<_>) = old.into_iter().partition(data);
        let bytes: u64 = data.iter().map(|m| m.manifest_length.max(0) as u64).sum();
        let mut by_spec: BTreeMap<i32, Vec<LiveEntry>> = BTreeMap::new();
        for manifest in data {
            let spec_id = manifest.partition_spec_id;
            let entries = self.manifest(manifest).await?;
            by_spec.entry(spec_id).or_default().extend(entries.iter().cloned());
        }
        let count: usize = by_spec.values().map(Vec::len).sum();
        let manifests = bytes.div_ceil(self.settings().manifest_target_bytes.max(1)).max(1);
        let each = count.div_ceil(manifests as usize).max(1);
        for (spec_id, mut entries) in by_spec {
            // Any order that keeps a partition together does; this one also keeps neighbours together.
            entries.sort_by_cached_key(|e| (partition_key(&e.file), e.sequence));
            for stretch in entries.chunks(each) {
                kept.extend(self.existing(table, spec_id, stretch, "clustered", change, files).await?);
            }
        }
        Ok(kept)
    }

    /// One manifest of files that earlier snapshots added; none of no files.
    async fn existing(
        &self,
        table: &Table,
        spec_id: i32,
        entries: &[LiveEntry],
        kind: &str,
        change: &Change,
        files: &mut Vec<String>,
    ) -> Result<Option<ManifestFile>, CommitError> {
        if entries.is_empty() {
            return Ok(None);
        }
        let spec = spec_of(table, spec_id)?;
        let location = new_manifest(&table.metadata, kind);
        let schema = schema_for(&table.metadata, &spec);
        let encoded =
            manifests::encode_existing(entries, &location, change.snapshot_id, schema, &spec).await?;
        let stored = self.store(encoded, &change.lease).await?;
        files.push(location);
        Ok(Some(stored))
    }
}

/// A text that sorts as partition values do, as far as that is easy.
fn partition_key(file: &iceberg::spec::DataFile) -> String {
    use iceberg::spec::PrimitiveLiteral::{Int, Long};
    let mut key = String::new();
    for value in file.partition().iter() {
        match value.and_then(iceberg::spec::Literal::as_primitive_literal) {
            None => key.push_str("null/"),
            Some(Int(v)) => key.push_str(&format!("{:020}/", i128::from(v) - i128::from(i64::MIN))),
            Some(Long(v)) => key.push_str(&format!("{:020}/", i128::from(v) - i128::from(i64::MIN))),
            Some(other) => key.push_str(&format!("{other:?}/")),
        }
    }
    key
}

fn spec_of(table: &Table, id: i32) -> Result<PartitionSpecRef, CommitError> {
    let missing = || CommitError::Invalid(format!("table {} has no partition spec {id}", table.ident));
    table.metadata.partition_spec_by_id(id).cloned().ok_or_else(missing)
}
