//! Views: names with SQL in the words of several engines.
//!
//! Owns: their metadata files and pointers; requests about them.
//! Does not own: what the SQL means.
//! Invariants: as for tables: a conditional move of the pointer, metadata durable before it; a view and a table never
//! have the same name.

use std::collections::HashMap;
use std::sync::Arc;

use iceberg::ViewUpdate;
use iceberg::spec::{ViewFormatVersion, ViewMetadata, ViewMetadataBuilder};
use storage::layout::CATALOG;

use super::conditional::{ATTEMPTS, overtaken};
use super::guests::guarded;
use super::locations::canonical;
use super::metadata_files::next_location;
use super::once::{Noted, Once};
use super::pointers::{self, Pointer, view_key};
use super::protection::check_properties;
use super::rest::{CreateView, ViewRequirement};
use super::{CatalogError, TableIdent, Tables, names};
use crate::commit::CommitError;

/// One version of a view: what a load returned.
#[derive(Debug, Clone)]
pub struct View {
    pub ident: TableIdent,
    pub metadata: Arc<ViewMetadata>,
    pub metadata_location: Arc<str>,
}

/// What is to change in a view.
#[derive(Debug, Clone)]
pub struct ViewChange {
    pub requirements: Vec<ViewRequirement>,
    pub updates: Vec<ViewUpdate>,
}

fn invalid(e: &iceberg::Error) -> CommitError {
    CommitError::Invalid(e.message().to_owned())
}

impl View {
    /// The metadata as Iceberg writes it, versions in order.
    pub fn metadata_json(&self) -> Result<String, CatalogError> {
        let format = |e: serde_json::Error| CatalogError::Format(format!("{}: {e}", self.metadata_location));
        let mut json = serde_json::to_value(&*self.metadata).map_err(format)?;
        if let Some(versions) = json.get_mut("versions").and_then(serde_json::Value::as_array_mut) {
            versions.sort_by_key(|version| version["version-id"].as_i64());
        }
        serde_json::to_string(&json).map_err(format)
    }
}

impl Tables {
    /// Makes a view.
    pub async fn create_view(
        &self,
        ident: &TableIdent,
        asked: CreateView,
        once: &Once,
    ) -> Result<View, CommitError> {
        names::check_ident(ident)?;
        let name = ident.clone();
        self.transact_read(move |tables| {
            tables.namespace_properties(&name.namespace)?;
            match (tables.view_pointer(&name), tables.pointer(&name)) {
                (Ok(_), _) => Err(CatalogError::ViewExists(name.to_string())),
                (_, Ok(_)) => Err(CatalogError::NameTaken("Table", name.to_string())),
                _ => Ok(()),
            }
        })
        .await?;
        let location = match &asked.location {
            None => self.free_location(ident).await?,
            Some(asked) => match self.wished_location(ident, asked)? {
                None => self.free_location(ident).await?,
                Some(location) => {
                    self.check_unshared(ident, &location).await?;
                    location
                }
            },
        };
        let properties = asked.properties.unwrap_or_default();
        let properties = self.view_properties(&location, properties)?;
        let metadata = guarded(|| {
            ViewMetadataBuilder::new(
                location,
                asked.schema,
                asked.view_version,
                ViewFormatVersion::V1,
                properties,
            )
            .and_then(ViewMetadataBuilder::build)
            .map_err(|e| invalid(&e))
        })?
        .metadata;
        let made = self.publish_view(ident, None, metadata, once).await?;
        made.ok_or_else(|| CatalogError::ViewExists(ident.to_string()).into())
    }

    /// The properties that a view may have; wishes for places elsewhere may be passed over.
    fn view_properties(
        &self,
        base: &str,
        mut properties: HashMap<String, String>,
    ) -> Result<HashMap<String, String>, CatalogError> {
        check_properties(&properties)?;
        if self.settings().override_locations {
            properties.retain(|key, value| self.check_location_properties(base, [(&*key, &*value)]).is_ok());
        }
        self.check_location_properties(base, &properties)?;
        Ok(properties)
    }

    /// The current version.
    pub async fn load_view(&self, ident: &TableIdent) -> Result<View, CatalogError> {
        let name = ident.clone();
        let location = self.transact_read(move |tables| tables.view_pointer(&name)).await?.metadata_location;
        let bytes = self.objects().get(&location).await?;
        let metadata: ViewMetadata =
            serde_json::from_slice(&bytes).map_err(|e| CatalogError::Format(format!("{location}: {e}")))?;
        Ok(View { ident: ident.clone(), metadata: metadata.into(), metadata_location: location.into() })
    }

    /// Applies updates to a view.
    pub async fn replace_view(
        &self,
        ident: &TableIdent,
        change: &ViewChange,
        once: &Once,
    ) -> Result<View, CommitError> {
        for _ in 0..ATTEMPTS {
            let current = self.load_view(ident).await?;
            for ViewRequirement::UuidMatch { uuid } in &change.requirements {
                if *uuid != current.metadata.uuid() {
                    let why =
                        format!("view UUID does not match: expected {} != {uuid}", current.metadata.uuid());
                    return Err(CommitError::RequirementFailed(why));
                }
            }
            let built = self.apply_to_view(&current, change)?;
            let Some(metadata) = built else { return Ok(current) };
            if let Some(view) = self.publish_view(ident, Some(&current), metadata, once).await? {
                return Ok(view);
            }
        }
        Err(overtaken(ident))
    }

    fn apply_to_view(
        &self,
        current: &View,
        change: &ViewChange,
    ) -> Result<Option<ViewMetadata>, CommitError> {
        let base = current.metadata.location();
        let mut updates = Vec::with_capacity(change.updates.len());
        for update in change.updates.clone() {
            updates.push(match update {
                ViewUpdate::SetProperties { updates } => {
                    ViewUpdate::SetProperties { updates: self.view_properties(base, updates)? }
                }
                ViewUpdate::SetLocation { location } if canonical(&location) != base => {
                    match self.wished_location(&current.ident, &location)? {
                        None => continue,
                        Some(wished) => self.check_within(base, "location", &wished)?,
                    }
                    ViewUpdate::SetLocation { location }
                }
                ViewUpdate::AssignUuid { uuid } if uuid != current.metadata.uuid() => {
                    let why = format!("the view has uuid {} and keeps it", current.metadata.uuid());
                    return Err(CommitError::Invalid(why));
                }
                other => other,
            });
        }
        guarded(|| {
            let mut builder = ViewMetadata::clone(&current.metadata).into_builder();
            for update in updates {
                builder = apply(builder, update).map_err(|e| invalid(&e))?;
            }
            let built = builder.build().map_err(|e| invalid(&e))?;
            Ok((!built.changes.is_empty()).then_some(built.metadata))
        })
    }

    /// None when the view is not what it was any more.
    async fn publish_view(
        &self,
        ident: &TableIdent,
        before: Option<&View>,
        metadata: ViewMetadata,
        once: &Once,
    ) -> Result<Option<View>, CommitError> {
        let old = before.map(|view| Arc::clone(&view.metadata_location));
        let location = next_location(metadata.location(), metadata.properties(), old.as_deref());
        let bytes =
            serde_json::to_vec(&metadata).map_err(|e| CatalogError::Format(format!("{location}: {e}")))?;
        self.objects().put_new(&location, bytes.into()).await.map_err(CatalogError::from)?;
        let pointer = Pointer::new(metadata.uuid(), location.clone(), metadata.location());
        let noted = Noted::Made(vec![(ident.clone(), location.clone())]);
        let (name, once, now) = (ident.clone(), once.clone(), self.now_ms());
        let moved = self
            .transact::<_, CatalogError>(move |tx| {
                let key = view_key(&name);
                match (&old, pointers::get_at(tx, &key)?) {
                    (Some(old), Some(found)) if found.metadata_location == **old => {}
                    (Some(_), None) => return Err(CatalogError::NoSuchView(name.to_string())),
                    (None, None) => match pointers::check_free(tx, &name) {
                        Err(CatalogError::TableExists(name)) => {
                            return Err(CatalogError::NameTaken("Table", name));
                        }
                        other => other?,
                    },
                    _ => return Ok(false),
                }
                once.note(tx, now, noted)?;
                tx.put_json(CATALOG, &key, &pointer)?;
                Ok(true)
            })
            .await;
        match moved {
            Ok(true) => {
                self.changed();
                let metadata_location = location.into();
                Ok(Some(View { ident: ident.clone(), metadata: metadata.into(), metadata_location }))
            }
            // Whether the view is there is not known: its file stays.
            Err(e @ CatalogError::Control(_)) => Err(e.into()),
            definite => {
                let _ = self.objects().delete(&location).await;
                Ok(definite.map(|_| None)?)
            }
        }
    }

    /// Forgets a view and removes its directory.
    pub async fn drop_view(&self, ident: &TableIdent, once: &Once) -> Result<(), CatalogError> {
        let (name, once, now) = (ident.clone(), once.clone(), self.now_ms());
        let gone = self
            .transact(move |tx| {
                let found = pointers::get_at(tx, &view_key(&name))?;
                let pointer = found.ok_or_else(|| CatalogError::NoSuchView(name.to_string()))?;
                tx.delete(CATALOG, &view_key(&name))?;
                once.note(tx, now, Noted::Done)?;
                Ok::<_, CatalogError>(pointer)
            })
            .await?;
        self.changed();
        for (file, _) in self.objects().list(gone.location()).await? {
            self.objects().delete(&file).await?;
        }
        Ok(())
    }

    /// Gives a view another name.
    pub async fn rename_view(
        &self,
        from: &TableIdent,
        to: &TableIdent,
        once: &Once,
    ) -> Result<(), CatalogError> {
        names::check_ident(to)?;
        let (from, to, once, now) = (from.clone(), to.clone(), once.clone(), self.now_ms());
        self.transact(move |tx| {
            let found = pointers::get_at(tx, &view_key(&from))?;
            let pointer = found.ok_or_else(|| CatalogError::NoSuchView(from.to_string()))?;
            pointers::check_target(tx, &from, &to)?;
            tx.put_json(CATALOG, &view_key(&to), &pointer)?;
            tx.delete(CATALOG, &view_key(&from))?;
            once.note(tx, now, Noted::Done)
        })
        .await?;
        self.changed();
        Ok(())
    }

    async fn transact_read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Tables) -> Result<T, CatalogError> + Send + 'static,
    ) -> Result<T, CatalogError> {
        let tables = self.clone();
        let done = tokio::task::spawn_blocking(move || work(&tables)).await;
        done.unwrap_or_else(|e| Err(CatalogError::Format(e.to_string())))
    }
}

fn apply(builder: ViewMetadataBuilder, update: ViewUpdate) -> iceberg::Result<ViewMetadataBuilder> {
    match update {
        ViewUpdate::AssignUuid { uuid } => Ok(builder.assign_uuid(uuid)),
        ViewUpdate::UpgradeFormatVersion { format_version } => builder.upgrade_format_version(format_version),
        ViewUpdate::AddSchema { schema, .. } => Ok(builder.add_schema(schema)),
        ViewUpdate::SetLocation { location } => Ok(builder.set_location(location)),
        ViewUpdate::SetProperties { updates } => builder.set_properties(updates),
        ViewUpdate::RemoveProperties { removals } => Ok(builder.remove_properties(&removals)),
        ViewUpdate::AddViewVersion { view_version } => builder.add_version(view_version),
        ViewUpdate::SetCurrentViewVersion { view_version_id } => {
            builder.set_current_version_id(view_version_id)
        }
    }
}
