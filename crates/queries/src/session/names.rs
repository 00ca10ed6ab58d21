//! What the names in a statement stand for.
//!
//! Owns: resolving names to pinned tables and catalog relations, and the planner's state for one statement.
//! Does not own: planning and running (`run`).
//! Invariants: no state of one statement is seen by another.

use std::sync::Arc;

use datafusion::catalog::{
    CatalogProvider, CatalogProviderList, MemTable, MemoryCatalogProvider, MemoryCatalogProviderList,
    MemorySchemaProvider, SchemaProvider, TableProvider,
};
use datafusion::execution::FunctionRegistry;
use datafusion::execution::context::SessionState;
use datafusion::sql::TableReference;
use tables::TableIdent;

use super::InputRead;
use super::run::Context;
use crate::engine::shown_name;
use crate::error::{SqlError, nearest};
use crate::hybrid::HybridTable;
use crate::pg_catalog::functions::{self, Facts};
use crate::pg_catalog::snapshot::{CatalogSnapshot, NewRelation};
use crate::pg_catalog::{relations, rows};
use crate::read_view::{PinnedTable, ReadView, all_idents};
use crate::statement::Prepared;

/// What a name in a statement stands for.
enum Resolved {
    /// A relation of a system schema.
    Catalog(&'static str, String),
    /// A table in one of these places, the first that exists.
    Table(Vec<TableIdent>),
}

impl Context {
    fn resolve(&self, reference: &TableReference) -> Result<Resolved, SqlError> {
        if let Some(catalog) = reference.catalog()
            && catalog != &*self.database
        {
            return Err(SqlError::unsupported(format!(
                "cross-database references are not implemented: {reference}"
            ))
            .with_hint(format!("this database is called {}", self.database)));
        }
        let table = reference.table();
        let ident = |schema: &str| TableIdent {
            namespace: schema.split('.').map(str::to_string).collect(),
            name: table.into(),
        };
        Ok(match reference.schema() {
            Some("pg_catalog") => Resolved::Catalog("pg_catalog", table.into()),
            Some("information_schema") => Resolved::Catalog("information_schema", table.into()),
            Some("public") => Resolved::Table(vec![self.shared.deps.tables.ident(table)]),
            Some(schema) => Resolved::Table(vec![ident(schema)]),
            None if relations::find("pg_catalog", table).is_some() => {
                Resolved::Catalog("pg_catalog", table.into())
            }
            None => Resolved::Table(self.search_path.iter().map(|s| ident(s)).collect()),
        })
    }

    /// Places of all tables that a statement may read. Nothing need be at any of them.
    pub(super) fn named(&self, relations: &[TableReference]) -> Result<Vec<TableIdent>, SqlError> {
        let mut idents = Vec::new();
        for reference in relations {
            if let Resolved::Table(places) = self.resolve(reference)? {
                idents.extend(places);
            }
        }
        idents.sort();
        idents.dedup();
        Ok(idents)
    }

    /// The pinned tables that a statement reads.
    pub(super) fn tables_of(
        &self,
        relations: &[TableReference],
        view: &ReadView,
    ) -> Result<Vec<Arc<PinnedTable>>, SqlError> {
        let mut tables = Vec::new();
        for reference in relations {
            if let Resolved::Table(places) = self.resolve(reference)?
                && let Some(table) = places.iter().find_map(|i| view.tables.get(i))
                && !tables.iter().any(|t| Arc::ptr_eq(t, table))
            {
                tables.push(Arc::clone(table));
            }
        }
        Ok(tables)
    }

    pub(super) fn inputs_of(
        &self,
        relations: &[TableReference],
        view: &ReadView,
    ) -> Result<Vec<InputRead>, SqlError> {
        let read = |t: &Arc<PinnedTable>| InputRead {
            table: shown_name(&self.shared, &t.ident),
            snapshot_id: t.table.as_ref().and_then(tables::Table::current_snapshot_id),
            offsets: t.marks(),
        };
        Ok(self.tables_of(relations, view)?.iter().map(read).collect())
    }

    fn missing(&self, reference: &TableReference) -> SqlError {
        let error = SqlError::new("42P01", format!("relation \"{reference}\" does not exist"));
        let name = reference.table();
        if self.shared.deps.topics.topic(name).is_some() {
            return error.with_hint(format!(
                "topic {name} is no table: set its property redpanda.iceberg.mode to value_schema_latest or key_value"
            ));
        }
        let names: Vec<String> = all_idents(&self.shared)
            .unwrap_or_default()
            .iter()
            .map(|i| shown_name(&self.shared, i))
            .collect();
        match nearest(name, names.iter().map(String::as_str)) {
            Some(near) => error.with_hint(format!("Perhaps you meant \"{near}\".")),
            None => error,
        }
    }

    /// The planner with exactly what one statement may see.
    pub(super) fn planner(&self, prepared: &Prepared, view: &ReadView) -> Result<SessionState, SqlError> {
        let mut state = self.shared.planner.clone();
        let default_schema = self.shared.deps.tables.settings().default_namespace.clone();
        let options = state.config_mut().options_mut();
        options.catalog.default_catalog = self.database.to_string();
        options.catalog.default_schema.clone_from(&default_schema);
        options.execution.time_zone = Some(self.time_zone.clone());
        state.mark_start_execution();
        let snapshot = Arc::new(self.snapshot(if prepared.catalog { Some(view) } else { None })?);
        let facts = Facts {
            catalog: Arc::clone(&snapshot),
            settings: Arc::clone(&self.settings),
            backend_pid: self.backend_pid,
        };
        for function in functions::all(&facts) {
            state.register_udf(Arc::new(function))?;
        }
        let schemas: MemoryCatalogProvider = MemoryCatalogProvider::new();
        for reference in &prepared.relations {
            let provider = self.provider(reference, view, &snapshot)?;
            let place = reference.clone().resolve(&self.database, &default_schema);
            let schema = match schemas.schema(&place.schema) {
                Some(schema) => schema,
                None => {
                    let schema = Arc::new(MemorySchemaProvider::new());
                    schemas.register_schema(&place.schema, Arc::clone(&schema) as Arc<dyn SchemaProvider>)?;
                    schema
                }
            };
            if !schema.table_exist(&place.table) {
                schema.register_table(place.table.to_string(), provider)?;
            }
        }
        let list = MemoryCatalogProviderList::new();
        list.register_catalog(self.database.to_string(), Arc::new(schemas));
        state.register_catalog_list(Arc::new(list));
        Ok(state)
    }

    fn provider(
        &self,
        reference: &TableReference,
        view: &ReadView,
        snapshot: &CatalogSnapshot,
    ) -> Result<Arc<dyn TableProvider>, SqlError> {
        match self.resolve(reference)? {
            Resolved::Catalog(schema, name) => {
                let relation = relations::find(schema, &name).ok_or_else(|| {
                    SqlError::new("42P01", format!("relation \"{schema}.{name}\" does not exist"))
                })?;
                let settings = self.settings.lock().all();
                let batch = rows::batch(schema, &name, relation, snapshot, &settings)?;
                Ok(Arc::new(MemTable::try_new(batch.schema(), vec![vec![batch]])?))
            }
            Resolved::Table(places) => {
                let found = places.iter().find_map(|i| view.tables.get(i));
                let table = found.ok_or_else(|| self.missing(reference))?;
                if let Some(problem) = &table.problem {
                    return Err(problem.clone());
                }
                Ok(Arc::new(HybridTable::new(Arc::clone(&self.shared), Arc::clone(table))))
            }
        }
    }

    /// What the catalogs show: schemas always, tables when there is a view of all of them.
    fn snapshot(&self, view: Option<&ReadView>) -> Result<CatalogSnapshot, SqlError> {
        let default = &self.shared.deps.tables.settings().default_namespace;
        let shown = |namespace: &[String]| namespace.join(".");
        let mut schemas = vec![default.clone()];
        let mut tables = Vec::new();
        if let Some(view) = view {
            schemas.extend(self.shared.deps.tables.namespaces()?.iter().map(|n| shown(n)));
            for table in view.tables.values().filter(|t| t.problem.is_none()) {
                tables.push(NewRelation {
                    id: table.id(),
                    schema: shown(&table.ident.namespace),
                    name: table.ident.name.clone(),
                    columns: Arc::clone(&table.columns),
                    rows: table.table.as_ref().map(tables::Table::total_records),
                    bytes: table.table.as_ref().map_or(0, data_bytes),
                });
            }
        }
        // A path names schemas that exist; `current_schema()` is the first of them.
        let namespaces = self.shared.deps.tables.namespaces()?;
        let exists = |schema: &String| schema == default || namespaces.iter().any(|n| shown(n) == *schema);
        let path = self.search_path.iter().filter(|s| exists(s)).cloned().collect();
        Ok(CatalogSnapshot::new(&self.database, &self.user, path, schemas, tables))
    }
}

/// Bytes of data files, as the current snapshot's summary counts them.
fn data_bytes(table: &tables::Table) -> u64 {
    let current = table.current_snapshot_id();
    let snapshot = table.snapshots().into_iter().rev().find(|s| Some(s.id) == current);
    snapshot.and_then(|s| s.summary.get("total-files-size")?.parse().ok()).unwrap_or(0)
}
