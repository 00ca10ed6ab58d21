//! Requests of guests about tables: create, stage, commit (one table or several), register, rename, drop.
//!
//! Owns: the order of checks of a guest's request; making metadata from nothing.
//! Does not own: the rules (`protection`, `locations`), the conditional move (`conditional`).
//! Invariants: nothing of a guest moves a pointer except through `publish`; several tables change together or not at all;
//! a requirement that does not hold is `RequirementFailed` and nothing else.

use std::collections::{BTreeSet, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};

use iceberg::spec::{
    FormatVersion, Schema, SortOrder, TableMetadata, TableMetadataBuilder, UnboundPartitionSpec,
};
use iceberg::{TableRequirement, TableUpdate};
use storage::layout::CATALOG;

use super::conditional::{ATTEMPTS, Next, check_requirements, overtaken};
use super::locations::canonical;
use super::once::{Noted, Once};
use super::pointers::{self, Pointer, table_key};
use super::protection::{check_properties, check_removable, is_own};
use super::rest::{CreateTable, RegisterTable};
use super::uploads::Uploads;
use super::{CatalogError, Table, TableIdent, Tables, names};
use crate::commit::CommitError;

/// Most tables that change together.
const CHANGES_MAX: usize = 1_000;
/// Largest metadata file that is registered, bytes.
const METADATA_BYTES_MAX: u64 = 64 << 20;
/// Says the format of a new table; it is no property of the table that is made.
const FORMAT_VERSION: &str = "format-version";

/// What is to change in one table.
#[derive(Debug, Clone)]
pub struct TableChange {
    pub ident: TableIdent,
    pub requirements: Vec<TableRequirement>,
    pub updates: Vec<TableUpdate>,
}

impl TableChange {
    /// Whether it makes the table.
    pub fn creates(&self) -> bool {
        self.requirements.contains(&TableRequirement::NotExist)
    }

    /// Whether it changes what rows the table has, or says which ones it has.
    pub fn brings_data(&self) -> bool {
        let describes = |update: &TableUpdate| {
            matches!(
                update,
                TableUpdate::AddSchema { .. }
                    | TableUpdate::SetCurrentSchema { .. }
                    | TableUpdate::AddSpec { .. }
                    | TableUpdate::SetDefaultSpec { .. }
                    | TableUpdate::AddSortOrder { .. }
                    | TableUpdate::SetDefaultSortOrder { .. }
                    | TableUpdate::SetProperties { .. }
                    | TableUpdate::RemoveProperties { .. }
                    | TableUpdate::UpgradeFormatVersion { .. }
            )
        };
        !self.updates.iter().all(describes)
    }
}

fn invalid(message: String) -> CommitError {
    CommitError::Invalid(message)
}

/// Runs the library on a stranger's values: what it takes for granted becomes an error.
pub(super) fn guarded<T>(work: impl FnOnce() -> Result<T, CommitError>) -> Result<T, CommitError> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(invalid("the request does not fit together: see the server's log".into())))
}

impl Tables {
    /// Makes a table as a guest wants it.
    pub async fn create_as_asked(
        &self,
        ident: &TableIdent,
        asked: CreateTable,
        once: &Once,
    ) -> Result<Table, CommitError> {
        let metadata = self.metadata_as_asked(ident, asked).await?;
        self.make_directories(metadata.location()).await?;
        let made = self.publish(vec![Next::first(ident.clone(), metadata)], once).await?;
        let exists = || CatalogError::TableExists(ident.to_string()).into();
        made.and_then(|mut made| made.pop()).ok_or_else(exists)
    }

    /// What a table would be; it is made by a commit that requires that there is none. It has no metadata file yet.
    pub async fn stage_as_asked(&self, ident: &TableIdent, asked: CreateTable) -> Result<Table, CommitError> {
        let metadata = self.metadata_as_asked(ident, asked).await?;
        self.make_directories(metadata.location()).await?;
        Ok(Table { ident: ident.clone(), metadata: metadata.into(), metadata_location: "".into() })
    }

    /// Some engines write files of a new table into directories that they do not make.
    async fn make_directories(&self, location: &str) -> Result<(), CatalogError> {
        for name in ["data", "metadata"] {
            self.objects().make_directory(&format!("{location}/{name}")).await?;
        }
        Ok(())
    }

    async fn metadata_as_asked(
        &self,
        ident: &TableIdent,
        asked: CreateTable,
    ) -> Result<TableMetadata, CommitError> {
        names::check_ident(ident)?;
        let name = ident.clone();
        self.check_free_now(name).await?;
        let mut properties = asked.properties.unwrap_or_default();
        let version = format_version(properties.remove(FORMAT_VERSION).as_deref())?;
        check_properties(&properties)?;
        let location = self.location_for(ident, asked.location.as_deref()).await?;
        self.check_location_properties(&location, &properties)?;
        let spec = asked.partition_spec.unwrap_or_default();
        let order = asked.write_order.unwrap_or_else(SortOrder::unsorted_order);
        let metadata = guarded(|| {
            new_metadata(asked.schema, spec, order, location, version)?
                .set_properties(properties)
                .and_then(TableMetadataBuilder::build)
                .map(|built| built.metadata)
                .map_err(|e| invalid(format!("table {ident} cannot be made: {}", e.message())))
        })?;
        Ok(self.on_our_clock(metadata, None)?)
    }

    async fn check_free_now(&self, ident: TableIdent) -> Result<(), CatalogError> {
        let tables = self.clone();
        let looked = tokio::task::spawn_blocking(move || {
            tables.namespace_properties(&ident.namespace)?;
            if tables.pointer(&ident).is_ok() {
                return Err(CatalogError::TableExists(ident.to_string()));
            }
            if tables.view_pointer(&ident).is_ok() {
                return Err(CatalogError::NameTaken("View", ident.to_string()));
            }
            Ok(())
        });
        looked.await.map_err(|e| CatalogError::Format(e.to_string()))?
    }

    /// Where a guest's new table goes.
    async fn location_for(&self, ident: &TableIdent, asked: Option<&str>) -> Result<String, CatalogError> {
        match asked {
            None => self.free_location(ident).await,
            Some(asked) => match self.wished_location(ident, asked)? {
                None => self.free_location(ident).await,
                Some(location) => {
                    self.check_unshared(ident, &location).await?;
                    Ok(location)
                }
            },
        }
    }

    /// The updates of a table that is there, as far as they do not wish it to places that are passed over; and the
    /// directory that they leave it in.
    async fn settled(
        &self,
        current: &Table,
        updates: &[TableUpdate],
    ) -> Result<(Vec<TableUpdate>, String), CommitError> {
        let (mut kept, mut place) =
            (Vec::with_capacity(updates.len()), current.metadata.location().to_owned());
        for update in updates {
            match update {
                TableUpdate::SetLocation { location } if canonical(location) == place => {}
                TableUpdate::SetLocation { location } => {
                    check_removable(current, "moved")?;
                    if let Some(wished) = self.wished_location(&current.ident, location)? {
                        self.check_unshared(&current.ident, &wished).await?;
                        kept.push(TableUpdate::SetLocation { location: wished.clone() });
                        place = wished;
                    }
                }
                other => {
                    self.check_update(&current.metadata, other)?;
                    kept.push(other.clone());
                }
            }
        }
        Ok((kept, place))
    }

    /// Changes tables, all or none. The tables come back in the order of the changes.
    pub async fn commit_of_guest(
        &self,
        changes: Vec<TableChange>,
        once: &Once,
    ) -> Result<Vec<Table>, CommitError> {
        let names: BTreeSet<&TableIdent> = changes.iter().map(|change| &change.ident).collect();
        if names.len() < changes.len() || changes.len() > CHANGES_MAX {
            let why = format!("a transaction changes each table once, and {CHANGES_MAX} tables at most");
            return Err(invalid(why));
        }
        for _ in 0..ATTEMPTS {
            let (mut nexts, mut same) = (Vec::new(), HashMap::new());
            for change in &changes {
                match self.next_of_guest(change).await {
                    Ok(Ok(next)) => nexts.push(next),
                    Ok(Err(unchanged)) => drop(same.insert(change.ident.clone(), unchanged)),
                    Err(e @ CommitError::RequirementFailed(_)) => {
                        self.0.courtesy.refused(&change.ident);
                        return Err(e);
                    }
                    Err(e) => return Err(e),
                }
            }
            let made = if nexts.is_empty() { Some(Vec::new()) } else { self.publish(nexts, once).await? };
            if let Some(made) = made {
                changes.iter().for_each(|change| self.0.courtesy.served(&change.ident));
                same.extend(made.into_iter().map(|table| (table.ident.clone(), table)));
                return Ok(changes.iter().filter_map(|change| same.remove(&change.ident)).collect());
            }
        }
        let first = changes.first().map(|change| &change.ident);
        Err(first.map_or_else(|| invalid("there is nothing to change".into()), overtaken))
    }

    /// The next version of a table, or the present one when nothing changes.
    async fn next_of_guest(&self, change: &TableChange) -> Result<Result<Next, Table>, CommitError> {
        let current = match self.load(&change.ident).await {
            Ok(table) => Some(table),
            Err(CatalogError::NoSuchTable(_)) if change.creates() => None,
            Err(e) => return Err(e.into()),
        };
        let metadata = current.as_ref().map(|table| &*table.metadata);
        check_requirements(metadata, &change.requirements)?;
        let Some(current) = &current else { return self.first_of_guest(change).await.map(Ok) };
        let (updates, base) = self.settled(current, &change.updates).await?;
        self.check_guest(metadata, &base, &updates)?;
        let built = guarded(|| self.apply(current, updates.clone()))?;
        if built.changes.is_empty() {
            return Ok(Err(current.clone()));
        }
        let uploads = Uploads {
            base: &base,
            version: built.metadata.format_version(),
            strict: is_own(&current.metadata),
            current: metadata,
        };
        self.secure_uploads(&uploads, &updates).await?;
        Ok(Ok(Next::after(current, built)))
    }

    /// A table that is made by a commit (`assert-create`).
    async fn first_of_guest(&self, change: &TableChange) -> Result<Next, CommitError> {
        let (ident, updates) = (&change.ident, &change.updates);
        names::check_ident(ident)?;
        self.check_free_now(ident.clone()).await?;
        let asked = updates.iter().find_map(|u| match u {
            TableUpdate::SetLocation { location } => Some(location.as_str()),
            _ => None,
        });
        let location = self.location_for(ident, asked).await?;
        self.check_guest(None, &location, updates)?;
        let built = guarded(|| from_updates(ident, location.clone(), updates))?;
        let version = built.format_version();
        let uploads = Uploads { base: &location, version, strict: false, current: None };
        self.secure_uploads(&uploads, updates).await?;
        let brings = updates.iter().any(|u| matches!(u, TableUpdate::AddSnapshot { .. }));
        let metadata = if brings { built } else { self.on_our_clock(built, None)? };
        Ok(Next::first(ident.clone(), metadata))
    }

    /// Gives a name to metadata that lies in the table's place already.
    pub async fn register(
        &self,
        ident: &TableIdent,
        asked: &RegisterTable,
        once: &Once,
    ) -> Result<Table, CommitError> {
        names::check_ident(ident)?;
        let metadata_location = self.requested_location(ident, &asked.metadata_location)?;
        let metadata = self.read_registered(ident, &metadata_location).await?;
        let base = metadata.location().to_owned();
        let uploads =
            Uploads { base: &base, version: metadata.format_version(), strict: false, current: None };
        let adds: Vec<TableUpdate> = metadata
            .snapshots()
            .map(|snapshot| TableUpdate::AddSnapshot { snapshot: snapshot.as_ref().clone() })
            .collect();
        self.secure_uploads(&uploads, &adds).await?;
        self.objects()
            .make_durable(std::slice::from_ref(&metadata_location))
            .await
            .map_err(CatalogError::from)?;
        if asked.overwrite
            && let Ok(before) = self.load(ident).await
        {
            check_removable(&before, "replaced")?;
        }
        let pointer = Pointer::new(metadata.uuid(), metadata_location.clone(), &base);
        let (name, overwrite, once, now) = (ident.clone(), asked.overwrite, once.clone(), self.now_ms());
        let noted = Noted::Made(vec![(name.clone(), metadata_location.clone())]);
        self.transact::<_, CatalogError>(move |tx| {
            match pointers::check_free(tx, &name) {
                Err(CatalogError::TableExists(_)) if overwrite => {}
                other => other?,
            }
            once.note(tx, now, noted)?;
            Ok(pointers::put(tx, &name, &pointer)?)
        })
        .await?;
        self.changed();
        Ok(Table {
            ident: ident.clone(),
            metadata: metadata.into(),
            metadata_location: metadata_location.into(),
        })
    }

    async fn read_registered(
        &self,
        ident: &TableIdent,
        location: &str,
    ) -> Result<TableMetadata, CommitError> {
        let missing = || invalid(format!("metadata file {location} does not exist"));
        match self.objects().size(location).await.map_err(CatalogError::from)? {
            None => return Err(missing()),
            Some(size) if size > METADATA_BYTES_MAX => {
                let why = format!("{location} has {size} bytes, more than {METADATA_BYTES_MAX}");
                return Err(invalid(why));
            }
            Some(_) => {}
        }
        let bytes = self.objects().get(location).await.map_err(CatalogError::from)?;
        let metadata: TableMetadata = guarded(|| {
            serde_json::from_slice(&bytes)
                .map_err(|e| invalid(format!("{location} is no table metadata: {e}")))
        })?;
        let base = self.requested_location(ident, metadata.location())?;
        if base != metadata.location() {
            return Err(invalid(format!("{location}: write the location as {base}")));
        }
        self.check_within(&base, "metadata file", location)?;
        self.check_unshared(ident, &base).await?;
        self.check_location_properties(&base, metadata.properties())?;
        for snapshot in metadata.snapshots() {
            self.check_within(&base, "manifest list", snapshot.manifest_list())?;
        }
        Ok(metadata)
    }

    /// Gives a table another name; its files stay where they are.
    pub async fn rename(&self, from: &TableIdent, to: &TableIdent, once: &Once) -> Result<(), CatalogError> {
        names::check_ident(to)?;
        check_removable(&self.load(from).await?, "renamed")?;
        let (from, to, once, now) = (from.clone(), to.clone(), once.clone(), self.now_ms());
        self.transact(move |tx| {
            let found = pointers::get(tx, &from)?;
            let pointer = found.ok_or_else(|| CatalogError::NoSuchTable(from.to_string()))?;
            pointers::check_target(tx, &from, &to)?;
            pointers::put(tx, &to, &pointer)?;
            tx.delete(CATALOG, &table_key(&from))?;
            once.note(tx, now, Noted::Done)
        })
        .await?;
        self.changed();
        Ok(())
    }

    /// Forgets a table that guests may take away; its files stay unless `purge`.
    pub async fn drop_of_guest(
        &self,
        ident: &TableIdent,
        purge: bool,
        once: &Once,
    ) -> Result<(), CatalogError> {
        match self.load(ident).await {
            Ok(table) => check_removable(&table, "dropped")?,
            // A table whose metadata is gone can at least be forgotten.
            Err(CatalogError::Objects(storage::ObjectError::NotFound { .. }) | CatalogError::Format(_))
                if !purge => {}
            Err(e) => return Err(e),
        }
        self.drop_once(ident, purge, once).await
    }
}

fn format_version(asked: Option<&str>) -> Result<FormatVersion, CommitError> {
    match asked {
        None | Some("2") => Ok(FormatVersion::V2),
        Some("1") => Ok(FormatVersion::V1),
        Some("3") => Ok(FormatVersion::V3),
        Some(other) => Err(invalid(format!("format-version `{other}`: tables have format 1, 2 or 3"))),
    }
}

fn new_metadata(
    schema: Schema,
    spec: UnboundPartitionSpec,
    order: SortOrder,
    location: String,
    version: FormatVersion,
) -> Result<TableMetadataBuilder, CommitError> {
    TableMetadataBuilder::new(schema, spec, order, location, version, HashMap::new())
        .map_err(|e| invalid(e.message().to_owned()))
}

/// Metadata that consists of updates alone. The first of each kind makes the table, as the client got them when it
/// staged it; all of them are applied then, and those that are there already change nothing.
fn from_updates(
    ident: &TableIdent,
    location: String,
    updates: &[TableUpdate],
) -> Result<TableMetadata, CommitError> {
    let fail = |e: iceberg::Error| invalid(format!("table {ident} cannot be made: {}", e.message()));
    let schema = updates.iter().find_map(|u| match u {
        TableUpdate::AddSchema { schema } => Some(schema.clone()),
        _ => None,
    });
    let schema = schema.ok_or_else(|| invalid(format!("table {ident} cannot be made without a schema")))?;
    let spec = updates.iter().find_map(|u| match u {
        TableUpdate::AddSpec { spec } => Some(spec.clone()),
        _ => None,
    });
    let order = updates.iter().find_map(|u| match u {
        TableUpdate::AddSortOrder { sort_order } => Some(sort_order.clone()),
        _ => None,
    });
    let version = updates.iter().find_map(|u| match u {
        TableUpdate::UpgradeFormatVersion { format_version } => Some(*format_version),
        _ => None,
    });
    let mut builder = new_metadata(
        schema.clone(),
        spec.unwrap_or_default(),
        order.unwrap_or_else(SortOrder::unsorted_order),
        location,
        version.unwrap_or(FormatVersion::V2),
    )?;
    for update in updates {
        builder = match update {
            // Where it lies was decided before.
            TableUpdate::SetLocation { .. } => builder,
            other => other.clone().apply(builder).map_err(fail)?,
        };
    }
    let metadata = builder.build().map_err(fail)?.metadata;
    if !metadata.schemas_iter().any(|kept| kept.as_struct() == schema.as_struct()) {
        return Err(invalid(format!(
            "table {ident}: the first schema has other field ids than a new table gets: create it with stage-create first"
        )));
    }
    Ok(metadata)
}
