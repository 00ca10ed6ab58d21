//! Requests about tables: create, load, drop.

use std::collections::HashMap;
use std::sync::Arc;

use iceberg::spec::{FormatVersion, SortOrder, TableMetadataBuilder};
use storage::layout::CATALOG;

use super::metadata_files::next_location;
use super::once::{Noted, Once};
use super::pointers::{self, Pointer, table_key};
use super::{CatalogError, NewTable, Table, TableIdent, Tables, names};
use crate::columns::iceberg_schema;
use crate::maintenance::PARTITION_BY;
use crate::partitioning;
use crate::progress::PROGRESS_KEY;

impl Tables {
    /// Makes a table of format 2. Its first metadata is durable before its name appears.
    pub async fn create(&self, ident: &TableIdent, table: NewTable) -> Result<Table, CatalogError> {
        names::check_ident(ident)?;
        self.namespace_properties(&ident.namespace)?;
        if self.pointer(ident).is_ok() {
            return Err(CatalogError::TableExists(ident.to_string()));
        }
        let location = self.free_location(ident).await?;
        let metadata = Arc::new(self.on_our_clock(self.first_metadata(ident, table, &location)?, None)?);
        let metadata_location = next_location(&location, metadata.properties(), None);
        self.write_metadata(&metadata_location, &metadata).await?;
        let pointer = Pointer::new(metadata.uuid(), metadata_location.clone(), &location);
        let name = ident.clone();
        let made = self
            .transact(move |tx| {
                pointers::check_free(tx, &name)?;
                Ok(pointers::put(tx, &name, &pointer)?)
            })
            .await;
        if let Err(
            e @ (CatalogError::TableExists(_)
            | CatalogError::NameTaken(..)
            | CatalogError::NoSuchNamespace(_)),
        ) = made
        {
            // The table was certainly not made: its file belongs to nobody.
            let _ = self.objects().delete(&metadata_location).await;
            return Err(e);
        }
        made?;
        self.remember_metadata(&metadata_location, &metadata);
        self.changed();
        Ok(Table { ident: ident.clone(), metadata, metadata_location: metadata_location.into() })
    }

    fn first_metadata(
        &self,
        ident: &TableIdent,
        table: NewTable,
        location: &str,
    ) -> Result<iceberg::spec::TableMetadata, CatalogError> {
        let schema = iceberg_schema(&table.schema)?;
        let spec = partitioning::parse(&table.partition_by, &schema)?;
        if table.properties.contains_key(PROGRESS_KEY) {
            return Err(CatalogError::Invalid(format!("property {PROGRESS_KEY} is set by commits only")));
        }
        let mut properties = HashMap::from([
            (
                "write.metadata.previous-versions-max".into(),
                self.settings().metadata_previous_max.to_string(),
            ),
            ("write.metadata.delete-after-commit.enabled".into(), "true".into()),
            ("write.parquet.compression-codec".into(), "zstd".into()),
            (PARTITION_BY.into(), table.partition_by.clone()),
        ]);
        properties.extend(table.properties);
        let built = TableMetadataBuilder::new(
            schema,
            spec,
            SortOrder::unsorted_order(),
            location.to_owned(),
            FormatVersion::V2,
            properties,
        )
        .and_then(TableMetadataBuilder::build);
        built
            .map(|b| b.metadata)
            .map_err(|e| CatalogError::Invalid(format!("table {ident} cannot be made: {}", e.message())))
    }

    /// The current version; metadata is cached in memory by location.
    pub async fn load(&self, ident: &TableIdent) -> Result<Table, CatalogError> {
        let mut pointer = self.pointer(ident)?;
        loop {
            match self.read_metadata(&pointer.metadata_location).await {
                Ok(metadata) => {
                    let metadata_location = pointer.metadata_location.into();
                    return Ok(Table { ident: ident.clone(), metadata, metadata_location });
                }
                Err(e) => {
                    // Old metadata files are removed: between pointer and file others may have committed on.
                    let again = self.pointer(ident)?;
                    if again == pointer {
                        return Err(e);
                    }
                    pointer = again;
                }
            }
        }
    }

    /// The version whose metadata lies at `location`; the current one when that has gone.
    pub async fn load_version(&self, ident: &TableIdent, location: &str) -> Result<Table, CatalogError> {
        match self.read_metadata(location).await {
            Ok(metadata) => Ok(Table { ident: ident.clone(), metadata, metadata_location: location.into() }),
            Err(_) => self.load(ident).await,
        }
    }

    /// The location of a table's metadata: it changes with every commit. Cheaper than [`Tables::load`].
    pub fn version(&self, ident: &TableIdent) -> Result<String, CatalogError> {
        Ok(self.pointer(ident)?.metadata_location)
    }

    /// Forgets the table; its files stay unless `purge`.
    pub async fn drop(&self, ident: &TableIdent, purge: bool) -> Result<(), CatalogError> {
        self.drop_once(ident, purge, &Once::default()).await
    }

    /// The same as a request that is carried out once.
    pub(super) async fn drop_once(
        &self,
        ident: &TableIdent,
        purge: bool,
        once: &Once,
    ) -> Result<(), CatalogError> {
        let location =
            if purge { Some(self.load(ident).await?.metadata.location().to_owned()) } else { None };
        let (name, once, now) = (ident.clone(), once.clone(), self.now_ms());
        self.transact(move |tx| {
            if !tx.delete(CATALOG, &table_key(&name))? {
                return Err(CatalogError::NoSuchTable(name.to_string()));
            }
            once.note(tx, now, Noted::Done)
        })
        .await?;
        self.0.courtesy.forget(ident);
        self.changed();
        if let Some(location) = location {
            for (file, _) in self.objects().list(&location).await? {
                self.objects().delete(&file).await?;
            }
        }
        Ok(())
    }
}
