//! The one commit path: requirements, updates, a conditional move of the pointer.
//!
//! Owns: which updates are allowed at all; the outcome of a commit (made, certainly not made, unknown).
//! Invariants: the pointer moves in one transaction that compares it with the metadata that was checked; nothing is
//! deleted unless the outcome is certain.

use std::sync::Arc;

use iceberg::spec::{TableMetadata, TableMetadataBuildResult};
use iceberg::{TableRequirement, TableUpdate};

use super::metadata_files::next_location;
use super::pointers::{self, Pointer};
use super::{CatalogError, Table, TableIdent, Tables};
use crate::commit::CommitError;
use crate::failpoints::Step;
use crate::maintenance::refs::refs_of;

/// Attempts of one commit when others move the pointer first but its requirements still hold.
const ATTEMPTS: u32 = 10;

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
            for requirement in &requirements {
                requirement
                    .check(Some(&current.metadata))
                    .map_err(|e| CommitError::RequirementFailed(failed_requirement(&e)))?;
            }
            let built = self.apply(&current, updates.clone())?;
            if built.changes.is_empty() {
                return Ok(current);
            }
            if let Some(table) = self.publish(&current, built).await? {
                return Ok(table);
            }
        }
        let why = format!("table {ident} changed {ATTEMPTS} times while this commit was made; try again");
        Err(CommitError::RequirementFailed(why))
    }

    fn apply(
        &self,
        current: &Table,
        updates: Vec<TableUpdate>,
    ) -> Result<TableMetadataBuildResult, CommitError> {
        let invalid = |e: iceberg::Error| CommitError::Invalid(e.message().to_owned());
        let location = Some(current.metadata_location.to_string());
        let mut builder = TableMetadata::clone(&current.metadata).into_builder(location);
        for update in updates {
            self.check_update(&current.metadata, &update)?;
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
    fn check_update(&self, current: &TableMetadata, update: &TableUpdate) -> Result<(), CommitError> {
        let outside = |e: storage::ObjectError| CommitError::Invalid(e.to_string());
        match update {
            TableUpdate::SetLocation { location } if location.trim_end_matches('/') != current.location() => {
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

    /// None when somebody else has moved the pointer.
    async fn publish(
        &self,
        current: &Table,
        built: TableMetadataBuildResult,
    ) -> Result<Option<Table>, CommitError> {
        let metadata = Arc::new(built.metadata);
        let location = next_location(metadata.location(), Some(&current.metadata_location));
        let lease = self.lease();
        lease.add(&location);
        self.write_metadata(&location, &metadata).await?;
        self.step(Step::BeforePointer).await.map_err(CatalogError::from)?;
        if self.is_overtaken() {
            return Err(CommitError::RequirementFailed(format!("{} has changed", current.ident)));
        }
        let (ident, old) = (current.ident.clone(), Arc::clone(&current.metadata_location));
        let new = Pointer { uuid: metadata.uuid(), metadata_location: location.clone() };
        let moved = self
            .transact(move |tx| {
                let Some(pointer) = pointers::get(tx, &ident)? else {
                    return Err(CommitError::Catalog(CatalogError::NoSuchTable(ident.to_string())));
                };
                if *pointer.metadata_location != *old {
                    return Ok(false);
                }
                pointers::put(tx, &ident, &new)?;
                Ok(true)
            })
            .await;
        let moved = match moved {
            Err(e @ CommitError::Catalog(CatalogError::Control(_))) => {
                lease.keep();
                return Err(e);
            }
            other => other?,
        };
        if !moved {
            let _ = self.objects().delete(&location).await;
            return Ok(None);
        }
        self.remember_metadata(&location, &metadata);
        self.changed();
        self.step(Step::AfterPointer).await.map_err(CatalogError::from)?;
        self.remove_expired(&metadata, &built.expired_metadata_logs).await;
        let ident = current.ident.clone();
        Ok(Some(Table { ident, metadata, metadata_location: location.into() }))
    }

    /// Removes metadata files that fell out of the log, where the table asks for it.
    async fn remove_expired(&self, metadata: &TableMetadata, expired: &[iceberg::spec::MetadataLog]) {
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

/// The library drops branches and tags silently with their snapshots.
fn check_refs(before: &TableMetadata, built: &TableMetadataBuildResult) -> Result<(), CommitError> {
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

/// Iceberg's words begin with "Requirement failed", and so does our error.
fn failed_requirement(error: &iceberg::Error) -> String {
    let message = error.message();
    message.strip_prefix("Requirement failed: ").unwrap_or(message).to_owned()
}
