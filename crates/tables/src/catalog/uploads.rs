//! Files that guests wrote and now want to commit.
//!
//! Owns: finding all files that a guest's snapshot adds, holding them to the table's directory, making them durable.
//! Does not own: the commit.
//! Invariants: before a pointer moves to metadata that names a guest's file in the warehouse, that file and its name are
//! durable; a table that this program feeds never refers to a file outside of its directory.

use std::collections::{BTreeSet, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use iceberg::TableUpdate;
use iceberg::spec::{
    FormatVersion, Manifest, ManifestContentType, ManifestFile, ManifestList, ManifestStatus, Snapshot,
    TableMetadata,
};

use super::locations::is_within;
use super::{CatalogError, Tables};
use crate::commit::CommitError;

/// Most files that one commit of a guest may add.
const FILES_MAX: usize = 200_000;

/// The table whose commit is looked at.
pub(super) struct Uploads<'a> {
    pub(super) base: &'a str,
    pub(super) version: FormatVersion,
    /// Every file must be there and lie in the table's directory. Tables that guests made for themselves may refer to
    /// files outside the warehouse, which this program never reads.
    pub(super) strict: bool,
    /// What the table was before; the manifests that it had need no second look.
    pub(super) current: Option<&'a TableMetadata>,
}

fn invalid(message: String) -> CommitError {
    CommitError::Invalid(message)
}

impl Tables {
    /// Makes durable what the updates refer to.
    pub(super) async fn secure_uploads(
        &self,
        table: &Uploads<'_>,
        updates: &[TableUpdate],
    ) -> Result<(), CommitError> {
        let mut files = BTreeSet::new();
        for update in updates {
            match update {
                TableUpdate::AddSnapshot { snapshot } => self.uploads_of(table, snapshot, &mut files).await?,
                TableUpdate::SetStatistics { statistics } => {
                    files.insert(statistics.statistics_path.clone());
                }
                TableUpdate::SetPartitionStatistics { partition_statistics } => {
                    files.insert(partition_statistics.statistics_path.clone());
                }
                _ => {}
            }
        }
        let files: Vec<String> = files.into_iter().collect();
        match self.objects().make_durable(&files).await {
            Ok(()) => Ok(()),
            Err(storage::ObjectError::NotFound { location }) => {
                Err(invalid(format!("{location} does not exist: upload files before they are committed")))
            }
            Err(e) => Err(CatalogError::from(e).into()),
        }
    }

    /// The manifest list of a snapshot, the manifests that came with it and the files that those add.
    async fn uploads_of(
        &self,
        table: &Uploads<'_>,
        snapshot: &Snapshot,
        files: &mut BTreeSet<String>,
    ) -> Result<(), CommitError> {
        let list = snapshot.manifest_list();
        files.insert(list.to_owned());
        let version = table.version;
        let manifests: Vec<ManifestFile> = self
            .read_upload(list, move |bytes| {
                ManifestList::parse_with_version(bytes, version)
                    .map(|l| l.consume_entries().into_iter().collect())
            })
            .await?;
        let known = self.known_manifests(table, snapshot).await?;
        for manifest in manifests.iter().filter(|manifest| !known.contains(&manifest.manifest_path)) {
            let path = &manifest.manifest_path;
            if table.strict || is_within(self.objects().root(), path) {
                self.check_within(table.base, "manifest", path)?;
            }
            if table.strict && manifest.content == ManifestContentType::Deletes {
                let why = "this table is written from its topic, and its queries do not read delete files: delete rows by \
                           rewriting their files (copy-on-write)";
                return Err(CatalogError::Forbidden(why.into()).into());
            }
            if !is_within(table.base, path) {
                continue;
            }
            files.insert(path.clone());
            let added: Vec<String> = self
                .read_upload(path, |bytes| {
                    let parsed = Manifest::parse_avro(bytes)?;
                    let added = parsed.entries().iter().filter(|e| e.status() == ManifestStatus::Added);
                    Ok(added.map(|e| e.file_path().to_owned()).collect())
                })
                .await?;
            for file in added {
                self.check_file(table, &file)?;
                if is_within(table.base, &file) {
                    files.insert(file);
                }
            }
            if files.len() > FILES_MAX {
                return Err(invalid(format!("one commit adds at most {FILES_MAX} files")));
            }
        }
        Ok(())
    }

    /// The manifests of the snapshot that this one was made from.
    async fn known_manifests(
        &self,
        table: &Uploads<'_>,
        snapshot: &Snapshot,
    ) -> Result<HashSet<String>, CommitError> {
        let parent =
            |current: &TableMetadata| current.snapshot_by_id(snapshot.parent_snapshot_id()?).cloned();
        let Some((current, parent)) = table.current.and_then(|current| Some((current, parent(current)?)))
        else {
            return Ok(HashSet::new());
        };
        let list = self.manifest_list(current, &parent).await?;
        Ok(list.iter().map(|manifest| manifest.manifest_path.clone()).collect())
    }

    /// Names of files may have any characters, since partition values are in them.
    fn check_file(&self, table: &Uploads<'_>, file: &str) -> Result<(), CommitError> {
        let inside = self.objects().path(file).is_ok();
        if inside && is_within(table.base, file) {
            return Ok(());
        }
        let near = inside || file.starts_with(self.objects().root());
        if table.strict || near {
            let why = format!("data file {file} lies outside the table's directory {}", table.base);
            return Err(CatalogError::Forbidden(why).into());
        }
        Ok(())
    }

    async fn read_upload<T>(
        &self,
        location: &str,
        parse: impl FnOnce(&[u8]) -> iceberg::Result<T>,
    ) -> Result<T, CommitError> {
        let bytes = match self.objects().get(location).await {
            Ok(bytes) => bytes,
            Err(storage::ObjectError::NotFound { location }) => {
                let why = format!("{location} does not exist: upload files before they are committed");
                return Err(invalid(why));
            }
            Err(e) => return Err(CatalogError::from(e).into()),
        };
        // The bytes are a stranger's, and the library was not written for that.
        match catch_unwind(AssertUnwindSafe(|| parse(&bytes))) {
            Ok(Ok(parsed)) => Ok(parsed),
            Ok(Err(e)) => Err(invalid(format!("{location} does not parse: {e}"))),
            Err(_) => Err(invalid(format!("{location} does not parse"))),
        }
    }
}
