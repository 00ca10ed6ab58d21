//! Files of a snapshot.
//!
//! Owns: the way from a snapshot over its manifests to live data files with their bounds.
//! Does not own: reading the files (queries).
//! Invariants: a scan lists every live row exactly once, or fails; it never shows rows that another engine deleted.

use std::collections::HashMap;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use iceberg::spec::{DataFileFormat, Datum, ManifestContentType, ManifestFile, Snapshot, TableMetadata};

use crate::catalog::{CatalogError, Table, Tables};
use crate::manifests::{self, LiveEntry};

/// Manifests read at once.
const READS_AT_ONCE: usize = 8;

/// A data file to read.
#[derive(Debug, Clone)]
pub struct ScanFile {
    /// Location, as in the manifest.
    pub location: String,
    pub size_bytes: u64,
    pub rows: u64,
    /// Column statistics by field id: lower and upper bound in Iceberg's binary form, nulls.
    pub lower_bounds: HashMap<i32, Vec<u8>>,
    pub upper_bounds: HashMap<i32, Vec<u8>>,
    pub null_counts: HashMap<i32, u64>,
}

/// All live data files of one snapshot.
#[derive(Debug, Clone, Default)]
pub struct Scan {
    pub snapshot_id: Option<i64>,
    pub files: Vec<ScanFile>,
}

impl Tables {
    /// Files of a snapshot (current when none). Fails when another engine has written delete files.
    pub async fn scan(&self, table: &Table, snapshot_id: Option<i64>) -> Result<Scan, CatalogError> {
        let metadata = &table.metadata;
        let snapshot = match snapshot_id {
            None => metadata.current_snapshot(),
            Some(id) => Some(metadata.snapshot_by_id(id).ok_or_else(|| {
                CatalogError::Invalid(format!(
                    "table {} has no snapshot {id}; it may have expired",
                    table.ident
                ))
            })?),
        };
        let Some(snapshot) = snapshot else { return Ok(Scan::default()) };
        let list = self.manifest_list(metadata, snapshot).await?;
        let (data, deletes): (Vec<_>, Vec<_>) =
            list.iter().cloned().partition(|m| m.content == ManifestContentType::Data);
        refuse_deletes(table, &deletes)?;
        let lists: Vec<Arc<Vec<LiveEntry>>> = futures::stream::iter(data.into_iter().filter(may_be_alive))
            .map(|manifest| self.manifest(manifest))
            .buffered(READS_AT_ONCE)
            .try_collect()
            .await?;
        let files: Result<_, _> = lists.iter().flat_map(|list| list.iter()).map(scan_file).collect();
        Ok(Scan { snapshot_id: Some(snapshot.snapshot_id()), files: files? })
    }

    /// The manifests of a snapshot, from the cache when they are there.
    pub(crate) async fn manifest_list(
        &self,
        metadata: &TableMetadata,
        snapshot: &Snapshot,
    ) -> Result<Arc<Vec<ManifestFile>>, CatalogError> {
        if let Some(list) = self.list_cache().get(snapshot.manifest_list()) {
            return Ok(list);
        }
        let list = Arc::new(manifests::list(self.objects(), snapshot, metadata.format_version()).await?);
        self.list_cache().put(snapshot.manifest_list().to_owned(), Arc::clone(&list));
        Ok(list)
    }

    /// The live files of a manifest, from the cache when it is there.
    pub(crate) async fn manifest(&self, manifest: ManifestFile) -> Result<Arc<Vec<LiveEntry>>, CatalogError> {
        if let Some(entries) = self.manifest_cache().get(&manifest.manifest_path) {
            return Ok(entries);
        }
        let entries = Arc::new(manifests::entries(self.objects(), &manifest).await?);
        self.manifest_cache().put(manifest.manifest_path, Arc::clone(&entries));
        Ok(entries)
    }
}

/// A manifest whose entries are all deleted lists nothing; unknown counts must be looked at.
pub(crate) fn may_be_alive(manifest: &ManifestFile) -> bool {
    manifest.has_added_files() || manifest.has_existing_files()
}

fn refuse_deletes(table: &Table, deletes: &[ManifestFile]) -> Result<(), CatalogError> {
    let live: u64 = deletes
        .iter()
        .filter(|m| may_be_alive(m))
        .map(|m| u64::from(m.added_files_count.unwrap_or(1)) + u64::from(m.existing_files_count.unwrap_or(0)))
        .sum();
    if live == 0 {
        return Ok(());
    }
    Err(CatalogError::Invalid(format!(
        "table {} has {live} delete files, written by another engine: position deletes come with a later version; \
         read it with that engine, or rewrite its data files there (Spark: `CALL system.rewrite_data_files`)",
        table.ident
    )))
}

pub(crate) fn scan_file(entry: &LiveEntry) -> Result<ScanFile, CatalogError> {
    let file = &entry.file;
    if file.file_format() != DataFileFormat::Parquet {
        let (path, format) = (file.file_path(), file.file_format());
        return Err(CatalogError::Invalid(format!("{path} is {format:?}: only Parquet files are read")));
    }
    Ok(ScanFile {
        location: file.file_path().to_owned(),
        size_bytes: file.file_size_in_bytes(),
        rows: file.record_count(),
        lower_bounds: binary(file.lower_bounds())?,
        upper_bounds: binary(file.upper_bounds())?,
        null_counts: file.null_value_counts().clone(),
    })
}

fn binary(bounds: &HashMap<i32, Datum>) -> Result<HashMap<i32, Vec<u8>>, CatalogError> {
    let bytes = |(id, datum): (&i32, &Datum)| datum.to_bytes().map(|b| (*id, b.into_vec()));
    bounds.iter().map(bytes).collect::<Result<_, _>>().map_err(|e| manifests::format("bounds", &e))
}

#[cfg(test)]
#[path = "scan_tests.rs"]
pub(crate) mod tests;
