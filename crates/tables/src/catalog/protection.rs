//! What guests may not do to tables that this program feeds.
//!
//! Owns: which tables those are; the updates that would take their progress away, lock this program out of them or
//! point outside of them.
//! Does not own: what any commit may not do (`conditional`).
//! Invariants: no guest's commit removes, forges or hides recorded progress, or leaves a table that this program can no
//! longer commit to.

use iceberg::TableUpdate;
use iceberg::spec::{FormatVersion, MAIN_BRANCH, NestedFieldRef, Schema, Snapshot, TableMetadata, Type};

use super::{CatalogError, Table, Tables};
use crate::commit::CommitError;
use crate::commit::facts::ancestors;
use crate::maintenance::sort::SORT_ORDER;
use crate::maintenance::{PARTITION_BY, switches};
use crate::progress::PROGRESS_KEY;

/// Properties and summary entries that belong to this program.
const OURS: &str = "frazil.";
/// The one that guests may set: `false` lets them drop, rename and empty the table.
pub(super) const PROTECTED: &str = "frazil.protected";
/// How far a guest's clock may be ahead, milliseconds.
const AHEAD_MS_MAX: i64 = 60_000;
/// Largest id of a column that is taken: from the far end of the numbers there is no going on.
const COLUMN_ID_MAX: i32 = 1_000_000_000;
/// Most properties that a table has, and most bytes of one.
const PROPERTIES_MAX: usize = 1_000;
const PROPERTY_BYTES_MAX: usize = 64 << 10;

fn forbidden(message: String) -> CommitError {
    CommitError::Catalog(CatalogError::Forbidden(message))
}

/// Whether this program feeds the table, or has fed it.
pub(super) fn is_own(metadata: &TableMetadata) -> bool {
    metadata.properties().contains_key(PARTITION_BY)
        || metadata.properties().contains_key(PROGRESS_KEY)
        || carrier(metadata).is_some()
}

fn is_protected(metadata: &TableMetadata) -> bool {
    is_own(metadata) && metadata.properties().get(PROTECTED).is_none_or(|value| value != "false")
}

fn carrier(metadata: &TableMetadata) -> Option<i64> {
    let mut chain = ancestors(metadata);
    chain.find(|s| s.summary().additional_properties.contains_key(PROGRESS_KEY)).map(|s| s.snapshot_id())
}

/// Refuses to take a protected table away.
pub(super) fn check_removable(table: &Table, what: &str) -> Result<(), CatalogError> {
    if !is_protected(&table.metadata) {
        return Ok(());
    }
    let ident = &table.ident;
    Err(CatalogError::Forbidden(format!(
        "table {ident} is written from its topic and cannot be {what} here: change the topic, or set the table's property {PROTECTED} to false first"
    )))
}

pub(super) fn check_properties<'a>(
    properties: impl IntoIterator<Item = (&'a String, &'a String)>,
) -> Result<(), CatalogError> {
    for (at, (key, value)) in properties.into_iter().enumerate() {
        if at >= PROPERTIES_MAX || key.len() + value.len() > PROPERTY_BYTES_MAX {
            let why = format!("at most {PROPERTIES_MAX} properties of {PROPERTY_BYTES_MAX} bytes are taken");
            return Err(CatalogError::Invalid(why));
        }
        check_key(key)?;
    }
    Ok(())
}

/// Properties of this program that are a matter of taste: whoever may change the table may set them, from any engine.
const WISHES: [&str; 6] =
    [PROTECTED, switches::COMPACTION, switches::EXPIRY, switches::MANIFESTS, switches::ORPHANS, SORT_ORDER];

fn check_key(key: &str) -> Result<(), CatalogError> {
    if key.starts_with(OURS) && !WISHES.contains(&key) {
        let why = format!("property {key} belongs to frazil and cannot be changed through the catalog");
        return Err(CatalogError::Forbidden(why));
    }
    Ok(())
}

impl Tables {
    /// Refuses what only this program may do. `current` is none for a table that the updates make.
    pub(super) fn check_guest(
        &self,
        current: Option<&TableMetadata>,
        base: &str,
        updates: &[TableUpdate],
    ) -> Result<(), CommitError> {
        let own = current.is_some_and(is_own);
        let adds = updates.iter().filter(|u| matches!(u, TableUpdate::AddSnapshot { .. })).count();
        let newest = current.map_or(0, TableMetadata::last_sequence_number).saturating_add(adds as i64);
        for update in updates {
            self.check_update_of_guest(base, newest, update)?;
            if let Some(current) = current.filter(|_| own) {
                check_on_own(current, updates, update)?;
            }
        }
        Ok(())
    }

    fn check_update_of_guest(
        &self,
        base: &str,
        newest: i64,
        update: &TableUpdate,
    ) -> Result<(), CommitError> {
        match update {
            TableUpdate::SetProperties { updates } => {
                check_properties(updates)?;
                self.check_location_properties(base, updates)?;
            }
            TableUpdate::RemoveProperties { removals } => {
                removals.iter().try_for_each(|key| check_key(key))?;
            }
            TableUpdate::AddSchema { schema } if schema.highest_field_id() > COLUMN_ID_MAX => {
                let why = format!("column ids go up to {COLUMN_ID_MAX}");
                return Err(CommitError::Invalid(why));
            }
            TableUpdate::AddSnapshot { snapshot } => self.check_snapshot(base, newest, snapshot)?,
            TableUpdate::SetStatistics { statistics } => {
                self.check_within(base, "statistics file", &statistics.statistics_path)?;
            }
            TableUpdate::SetPartitionStatistics { partition_statistics } => {
                self.check_within(base, "statistics file", &partition_statistics.statistics_path)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn check_snapshot(&self, base: &str, newest: i64, snapshot: &Snapshot) -> Result<(), CommitError> {
        self.check_within(base, "manifest list", snapshot.manifest_list())?;
        let id = snapshot.snapshot_id();
        if let Some(key) = snapshot.summary().additional_properties.keys().find(|key| key.starts_with(OURS)) {
            return Err(forbidden(format!("snapshot {id}: {key} in the summary belongs to frazil")));
        }
        if snapshot.sequence_number() > newest {
            let number = snapshot.sequence_number();
            let why = format!("snapshot {id} has sequence number {number}, {newest} comes next");
            return Err(CommitError::Invalid(why));
        }
        if snapshot.timestamp_ms() > self.now_ms().saturating_add(AHEAD_MS_MAX) {
            let why = format!("snapshot {id} is from the future: set the clock of the machine that made it");
            return Err(CommitError::Invalid(why));
        }
        Ok(())
    }
}

/// Whether main would leave its head behind: the snapshot does not come after it, be it there already or one of `updates`.
fn moves_back(current: &TableMetadata, updates: &[TableUpdate], snapshot_id: i64) -> bool {
    let Some(head) = current.current_snapshot_id() else { return false };
    let parent = |id: &i64| {
        let added = updates.iter().find_map(|update| match update {
            TableUpdate::AddSnapshot { snapshot } if snapshot.snapshot_id() == *id => Some(snapshot),
            _ => None,
        });
        added.or_else(|| current.snapshot_by_id(*id).map(AsRef::as_ref))?.parent_snapshot_id()
    };
    // A guest's metadata with a ring of parents must not hold us for ever.
    let most = current.snapshots().len() + updates.len() + 1;
    !std::iter::successors(Some(snapshot_id), parent).take(most).any(|id| id == head)
}

/// Columns come from the topic and are written by it: a guest may add others. One that is gone, or has another name or
/// type, would take values that are there, and those that come, out of sight.
fn check_columns(current: &TableMetadata, new: &Schema) -> Result<(), CommitError> {
    let old = current.current_schema();
    let mut added: Vec<&NestedFieldRef> = new.as_struct().fields().iter().collect();
    while let Some(field) = added.pop() {
        if field.required && old.field_by_id(field.id).is_none() {
            let name = &field.name;
            return Err(forbidden(format!(
                "column {name} is required, and the table's topic would write rows without it: make it optional"
            )));
        }
        if let Type::Struct(inner) = field.field_type.as_ref() {
            added.extend(inner.fields());
        }
    }
    let mut rest: Vec<&NestedFieldRef> = old.as_struct().fields().iter().collect();
    while let Some(field) = rest.pop() {
        let name = old.name_by_field_id(field.id).unwrap_or(&field.name);
        let same_type = |other: &NestedFieldRef| match (field.field_type.as_ref(), other.field_type.as_ref())
        {
            (Type::Primitive(a), Type::Primitive(b)) => a == b,
            (a, b) => std::mem::discriminant(a) == std::mem::discriminant(b),
        };
        let stays = new.field_by_id(field.id).is_some_and(|other| {
            new.name_by_field_id(field.id) == Some(name)
                && same_type(other)
                && (field.required || !other.required)
        });
        if !stays {
            return Err(forbidden(format!(
                "column {name} is written from the table's topic and stays as it is: change the topic's schema (guests may add \
                 columns), or set the table's property {PROTECTED} to false first"
            )));
        }
        match field.field_type.as_ref() {
            Type::Struct(inner) => rest.extend(inner.fields()),
            Type::List(list) => rest.push(&list.element_field),
            Type::Map(map) => rest.extend([&map.key_field, &map.value_field]),
            Type::Primitive(_) => {}
        }
    }
    Ok(())
}

/// What a table that this program feeds must keep.
fn check_on_own(
    current: &TableMetadata,
    updates: &[TableUpdate],
    update: &TableUpdate,
) -> Result<(), CommitError> {
    match update {
        TableUpdate::RemoveSnapshots { snapshot_ids } => match carrier(current) {
            Some(id) if snapshot_ids.contains(&id) => Err(forbidden(format!(
                "snapshot {id} carries the table's progress in its topic and cannot be removed"
            ))),
            _ => Ok(()),
        },
        TableUpdate::SetSnapshotRef { ref_name, reference }
            if ref_name == MAIN_BRANCH
                && is_protected(current)
                && moves_back(current, updates, reference.snapshot_id) =>
        {
            Err(forbidden(format!(
                "the table is written from its topic and is moved back with `frazil table rollback`, which knows what lies \
                 nowhere else; or set its property {PROTECTED} to false first"
            )))
        }
        TableUpdate::RemoveSnapshotRef { ref_name } if ref_name == MAIN_BRANCH && is_protected(current) => {
            Err(forbidden(format!(
                "the table is written from its topic: its rows cannot be taken away by replacing it (property {PROTECTED})"
            )))
        }
        TableUpdate::UpgradeFormatVersion { format_version } if *format_version > FormatVersion::V2 => {
            Err(forbidden("the table is written from its topic in format 2 and stays there".into()))
        }
        TableUpdate::AddSchema { schema, .. } if is_protected(current) => check_columns(current, schema),
        TableUpdate::SetCurrentSchema { schema_id } if is_protected(current) => {
            // -1 is the one that was added with this change, which was looked at.
            current.schema_by_id(*schema_id).map_or(Ok(()), |schema| check_columns(current, schema))
        }
        TableUpdate::AddEncryptionKey { .. } => {
            Err(forbidden("tables that are written from topics are not encrypted".into()))
        }
        _ => Ok(()),
    }
}
