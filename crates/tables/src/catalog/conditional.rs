//! The one commit path: requirements, updates, a conditional move of the pointer.
//!
//! Owns: which updates are allowed at all; the outcome of a commit (made, certainly not made, unknown).
//! Invariants: the pointer moves in one transaction that compares it with the metadata that was checked; nothing is
//! deleted unless the outcome is certain.

use std::sync::Arc;

use iceberg::spec::{MetadataLog, TableMetadata, TableMetadataBuildResult};
use iceberg::{TableRequirement, TableUpdate};
use storage::ControlTx;

use super::locations::canonical;
use super::metadata_files::next_location;
use super::once::{Noted, Once};
use super::pointers::{self, Pointer};
use super::{CatalogError, Table, TableIdent, Tables};
use crate::commit::CommitError;
use crate::failpoints::Step;
use crate::maintenance::refs::refs_of;

/// Attempts of one commit when others move the pointer first but its requirements still hold.
pub(super) const ATTEMPTS: u32 = 10;

impl From<storage::ControlError> for CommitError {
    fn from(error: storage::ControlError) -> Self {
        Self::Catalog(error.into())
    }
}

impl Tables {
    /// The one commit path: checks the requirements against the current metadata and applies the updates to it.
    /// Writes the metadata file (durable), then moves the pointer if nobody else has. `RequirementFailed` and
    /// `Invalid` mean that nothing was made; after another error the outcome is unknown.
    pub async fn commit(
        &self,
        ident: &TableIdent,
        requirements: Vec<TableRequirement>,
        updates: Vec<TableUpdate>,
    ) -> Result<Table, CommitError> {
        for _ in 0..ATTEMPTS {
            let current = self.load(ident).await?;
            check_requirements(Some(&current.metadata), &requirements)?;
            updates.iter().try_for_each(|update| self.check_update(&current.metadata, update))?;
            let built = self.apply(&current, updates.clone())?;
            if built.changes.is_empty() {
                return Ok(current);
            }
            let next = Next::after(&current, built);
            if let Some(mut made) = self.publish(vec![next], &Once::default()).await? {
                return made.pop().ok_or_else(|| CommitError::Invalid("nothing was committed".into()));
            }
        }
        Err(overtaken(ident))
    }

    pub(super) fn apply(
        &self,
        current: &Table,
        updates: Vec<TableUpdate>,
    ) -> Result<TableMetadataBuildResult, CommitError> {
        let invalid = |e: iceberg::Error| CommitError::Invalid(e.message().to_owned());
        let location = Some(current.metadata_location.to_string());
        let mut builder = TableMetadata::clone(&current.metadata).into_builder(location);
        for update in updates {
            builder = update.apply(builder).map_err(invalid)?;
        }
        let mut built = builder.build().map_err(invalid)?;
        check_refs(&current.metadata, &built)?;
        let adds = |update: &TableUpdate| matches!(update, TableUpdate::AddSnapshot { .. });
        if !built.changes.is_empty() && !built.changes.iter().any(adds) {
            built.metadata = self.on_our_clock(built.metadata, Some(&current.metadata))?;
        }
        Ok(built)
    }

    /// The library takes the machine's time for changes that bring no snapshot; a catalog has one clock.
    pub(super) fn on_our_clock(
        &self,
        metadata: TableMetadata,
        before: Option<&TableMetadata>,
    ) -> Result<TableMetadata, CatalogError> {
        let format = |e: serde_json::Error| CatalogError::Format(format!("new metadata: {e}"));
        // The clock may have been set back: time must not run backwards within a table.
        let now = self.now_ms().max(before.map_or(0, TableMetadata::last_updated_ms));
        let moved = metadata.history().len() > before.map_or(0, |b| b.history().len());
        let mut json = serde_json::to_value(&metadata).map_err(format)?;
        json["last-updated-ms"] = now.into();
        if moved && let Some(entry) = json["snapshot-log"].as_array_mut().and_then(|log| log.last_mut()) {
            entry["timestamp-ms"] = now.into();
        }
        serde_json::from_value(json).map_err(format)
    }

    /// Updates that the library would apply and that would hurt: they are refused.
    pub(super) fn check_update(
        &self,
        current: &TableMetadata,
        update: &TableUpdate,
    ) -> Result<(), CommitError> {
        let outside = |e: storage::ObjectError| CommitError::Invalid(e.to_string());
        match update {
            TableUpdate::SetLocation { location } if canonical(location) != current.location() => {
                Err(CommitError::Invalid(format!(
                    "the table lies at {} and cannot be moved to {location}",
                    current.location()
                )))
            }
            TableUpdate::AssignUuid { uuid } if *uuid != current.uuid() => {
                Err(CommitError::Invalid(format!("the table has uuid {} and keeps it", current.uuid())))
            }
            TableUpdate::AddSnapshot { snapshot } => {
                self.objects().path(snapshot.manifest_list()).map(|_| ()).map_err(outside)
            }
            _ => Ok(()),
        }
    }

    /// Moves all pointers or none; none of them when somebody else has moved one.
    pub(super) async fn publish(
        &self,
        nexts: Vec<Next>,
        once: &Once,
    ) -> Result<Option<Vec<Table>>, CommitError> {
        let lease = self.lease();
        for next in &nexts {
            lease.add(&next.location);
            self.write_metadata(&next.location, &next.metadata).await?;
        }
        self.step(Step::BeforePointer).await.map_err(CatalogError::from)?;
        if self.is_overtaken() {
            let names: Vec<String> = nexts.iter().map(|next| next.ident.to_string()).collect();
            return Err(CommitError::RequirementFailed(format!("{} has changed", names.join(", "))));
        }
        let moves: Vec<_> = nexts.iter().map(Next::pointers).collect();
        let made: Vec<_> = nexts.iter().map(|next| (next.ident.clone(), next.location.clone())).collect();
        let (once, now) = (once.clone(), self.now_ms());
        let moved = self
            .transact(move |tx| {
                for (ident, old, new) in &moves {
                    if !may_move(tx, ident, old.as_deref())? {
                        return Ok(false);
                    }
                    pointers::put(tx, ident, new)?;
                }
                once.note(tx, now, Noted::Made(made))?;
                Ok::<_, CommitError>(true)
            })
            .await;
        match moved {
            Err(e @ CommitError::Catalog(CatalogError::Control(_))) => {
                lease.keep();
                return Err(e);
            }
            Ok(true) => {}
            definite => {
                for next in &nexts {
                    let _ = self.objects().delete(&next.location).await;
                }
                return definite.map(|_| None);
            }
        }
        for next in &nexts {
            self.remember_metadata(&next.location, &next.metadata);
        }
        self.changed();
        self.step(Step::AfterPointer).await.map_err(CatalogError::from)?;
        let mut tables = Vec::with_capacity(nexts.len());
        for next in nexts {
            self.remove_expired(&next.metadata, &next.expired).await;
            let metadata_location = next.location.into();
            tables.push(Table { ident: next.ident, metadata: next.metadata, metadata_location });
        }
        Ok(Some(tables))
    }

    /// Removes metadata files that fell out of the log, where the table asks for it.
    async fn remove_expired(&self, metadata: &TableMetadata, expired: &[MetadataLog]) {
        const WANTED: &str = "write.metadata.delete-after-commit.enabled";
        if metadata.properties().get(WANTED).is_none_or(|v| v != "true") {
            return;
        }
        let own = format!("{}/metadata/", metadata.location());
        for log in expired.iter().filter(|log| log.metadata_file.starts_with(&own)) {
            if let Err(error) = self.objects().delete(&log.metadata_file).await {
                tracing::warn!(file = %log.metadata_file, %error, "an old metadata file stays");
            }
        }
    }
}

/// The next version of a table, checked and not yet there.
pub(super) struct Next {
    ident: TableIdent,
    /// The version that it was made from; none for a new table.
    before: Option<Arc<str>>,
    metadata: Arc<TableMetadata>,
    location: String,
    expired: Vec<MetadataLog>,
}

impl Next {
    pub(super) fn after(current: &Table, built: TableMetadataBuildResult) -> Self {
        let before = Arc::clone(&current.metadata_location);
        let location = next_location(built.metadata.location(), built.metadata.properties(), Some(&before));
        Self {
            ident: current.ident.clone(),
            before: Some(before),
            metadata: Arc::new(built.metadata),
            location,
            expired: built.expired_metadata_logs,
        }
    }

    pub(super) fn first(ident: TableIdent, metadata: TableMetadata) -> Self {
        let location = next_location(metadata.location(), metadata.properties(), None);
        Self { ident, before: None, metadata: Arc::new(metadata), location, expired: Vec::new() }
    }

    fn pointers(&self) -> (TableIdent, Option<Arc<str>>, Pointer) {
        let new = Pointer::new(self.metadata.uuid(), self.location.clone(), self.metadata.location());
        (self.ident.clone(), self.before.clone(), new)
    }
}

/// Whether the table still is what the commit was checked against.
fn may_move(tx: &ControlTx, ident: &TableIdent, old: Option<&str>) -> Result<bool, CommitError> {
    match (old, pointers::get(tx, ident)?) {
        (Some(old), Some(pointer)) => Ok(pointer.metadata_location == old),
        (Some(_), None) => Err(CommitError::Catalog(CatalogError::NoSuchTable(ident.to_string()))),
        // The requirement was that there is no such table; somebody has made it meanwhile.
        (None, Some(_)) => Ok(false),
        (None, None) => Ok(pointers::check_free(tx, ident).map(|()| true)?),
    }
}

pub(super) fn check_requirements(
    current: Option<&TableMetadata>,
    requirements: &[TableRequirement],
) -> Result<(), CommitError> {
    requirements.iter().try_for_each(|requirement| {
        requirement
            .check(current)
            .map_err(|e| CommitError::RequirementFailed(failed_requirement(current, requirement, &e)))
    })
}

pub(super) fn overtaken(ident: &TableIdent) -> CommitError {
    let why = format!("table {ident} changed {ATTEMPTS} times while this commit was made; try again");
    CommitError::RequirementFailed(why)
}

/// The library drops branches and tags silently with their snapshots.
pub(super) fn check_refs(
    before: &TableMetadata,
    built: &TableMetadataBuildResult,
) -> Result<(), CommitError> {
    for update in &built.changes {
        let TableUpdate::RemoveSnapshots { snapshot_ids } = update else { continue };
        let told = |name: &str| {
            let about = |u: &TableUpdate| {
                matches!(u, TableUpdate::RemoveSnapshotRef { ref_name } | TableUpdate::SetSnapshotRef { ref_name, .. }
                    if ref_name == name)
            };
            built.changes.iter().any(about)
        };
        for (name, snapshot_id) in refs_of(before)?.into_iter().map(|(name, r)| (name, r.snapshot_id)) {
            if snapshot_ids.contains(&snapshot_id) && !told(&name) {
                return Err(CommitError::Invalid(format!(
                    "snapshot {snapshot_id} cannot be removed: `{name}` refers to it; drop that first"
                )));
            }
        }
    }
    Ok(())
}

/// What does not hold, in the words of Java's UpdateRequirement, which clients look for.
fn failed_requirement(
    current: Option<&TableMetadata>,
    requirement: &TableRequirement,
    error: &iceberg::Error,
) -> String {
    use TableRequirement as R;
    let Some(found) = current else { return "table does not exist".to_owned() };
    let changed =
        |what: &str, expected: i64, found: i64| format!("{what} changed: expected id {expected} != {found}");
    match requirement {
        R::NotExist => "table already exists".to_owned(),
        R::UuidMatch { uuid } => format!("UUID does not match: expected {} != {uuid}", found.uuid()),
        R::RefSnapshotIdMatch { r#ref, snapshot_id } => {
            match (snapshot_id, found.snapshot_for_ref(r#ref).map(|s| s.snapshot_id())) {
                (None, _) => format!("branch {} was created concurrently", r#ref),
                (Some(expected), Some(has)) => changed(&format!("branch {}", r#ref), *expected, has),
                (Some(expected), None) => format!("branch or tag {} is missing, expected {expected}", r#ref),
            }
        }
        R::LastAssignedFieldIdMatch { last_assigned_field_id: expected } => {
            changed("last assigned field id", (*expected).into(), found.last_column_id().into())
        }
        R::CurrentSchemaIdMatch { current_schema_id: expected } => {
            changed("current schema", (*expected).into(), found.current_schema_id().into())
        }
        R::LastAssignedPartitionIdMatch { last_assigned_partition_id: expected } => {
            format!("last assigned partition id changed: it is not {expected}: {}", error.message())
        }
        R::DefaultSpecIdMatch { default_spec_id: expected } => {
            changed("default partition spec", (*expected).into(), found.default_partition_spec_id().into())
        }
        R::DefaultSortOrderIdMatch { default_sort_order_id: expected } => {
            changed("default sort order", *expected, found.default_sort_order_id())
        }
    }
}
