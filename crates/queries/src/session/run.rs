//! Planning and running one statement on the compute runtime.
//!
//! Owns: resolving names to pinned tables and catalog relations, the planner's state for one statement, the stream
//! of rows with its timeout and cancellation.
//! Does not own: transactions, parameters.
//! Invariants: no state of one statement is seen by another; a dropped answer stops its work.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::catalog::{
    CatalogProvider, CatalogProviderList, MemTable, MemoryCatalogProvider, MemoryCatalogProviderList,
    MemorySchemaProvider, SchemaProvider, TableProvider,
};
use datafusion::execution::FunctionRegistry;
use datafusion::execution::TaskContext;
use datafusion::execution::context::{SQLOptions, SessionState};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::sql::TableReference;
use datafusion::sql::parser::Statement as EngineStatement;
use datafusion::sql::sqlparser::ast::Statement;
use futures::StreamExt;
use tables::TableIdent;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::explain::{self, Options};
use super::result::Shape;
use super::settings::SharedSettings;
use super::{Answer, InputRead, Value};
use crate::engine::{Shared, shown_name};
use crate::error::{SqlError, nearest};
use crate::hybrid::HybridTable;
use crate::pg_catalog::functions::{self, Facts};
use crate::pg_catalog::snapshot::{CatalogSnapshot, NewRelation};
use crate::pg_catalog::{relations, rewrite, rows};
use crate::read_view::{Freshness, PinnedTable, ReadView, all_idents};
use crate::statement::{self, Prepared, parameters};

/// Batches computed ahead of the client.
const BATCHES_AHEAD: usize = 2;

/// What a statement needs to know of its session.
#[derive(Clone)]
pub(super) struct Context {
    pub shared: Arc<Shared>,
    pub user: Arc<str>,
    pub database: Arc<str>,
    pub backend_pid: i32,
    pub settings: SharedSettings,
    pub freshness: Freshness,
    pub time_zone: String,
    pub timeout: Option<Duration>,
    /// Schemas, as namespaces are called.
    pub search_path: Vec<String>,
}

/// A statement ready to run.
pub(super) struct Planned {
    pub plan: Arc<dyn ExecutionPlan>,
    pub task: Arc<TaskContext>,
    pub shape: Shape,
}

/// What a name in a statement stands for.
enum Resolved {
    /// A relation of a system schema.
    Catalog(&'static str, String),
    /// A table in one of these places, the first that exists.
    Table(Vec<TableIdent>),
}

impl Context {
    /// Pins the named tables, or all.
    pub(super) async fn pin(&self, names: Option<Vec<TableIdent>>) -> Result<Arc<ReadView>, SqlError> {
        let context = self.clone();
        self.on_compute(async move {
            let view = match names {
                Some(names) => ReadView::pin(&context.shared, names, context.freshness).await?,
                None => ReadView::pin_all(&context.shared, context.freshness).await?,
            };
            Ok(Arc::new(view))
        })
        .await
    }

    /// Runs work on the compute runtime; dropping the future stops it.
    async fn on_compute<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, SqlError>> + Send + 'static,
    ) -> Result<T, SqlError> {
        let limit = self.timeout;
        let work = async move {
            match limit {
                Some(limit) => tokio::time::timeout(limit, work)
                    .await
                    .unwrap_or_else(|_| Err(SqlError::canceled("statement timeout"))),
                None => work.await,
            }
        };
        let task = AbortOnDropHandle::new(self.shared.deps.compute.spawn(work));
        task.await.unwrap_or_else(|e| {
            Err(if e.is_cancelled() {
                SqlError::canceled("user request")
            } else {
                SqlError::internal(e.to_string())
            })
        })
    }

    /// Runs planning on the compute runtime's clock and reactor, but on a stack of its own: the planner recurses over
    /// expressions, and a pool's stacks are too small for the deepest that are let in. Dropping the future stops it.
    async fn on_deep_stack<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, SqlError>> + Send + 'static,
    ) -> Result<T, SqlError> {
        let (mut sender, receiver) = oneshot::channel();
        let handle = self.shared.deps.compute.clone();
        let plan = move || {
            let done = handle.block_on(async {
                tokio::select! {
                    result = work => Some(result),
                    () = sender.closed() => None,
                }
            });
            if let Some(result) = done {
                let _ = sender.send(result);
            }
        };
        std::thread::Builder::new()
            .name("planner".into())
            .stack_size(statement::DEEP_STACK_BYTES)
            .spawn(plan)
            .map_err(statement::no_thread)?;
        let planned =
            async { receiver.await.unwrap_or_else(|_| Err(SqlError::internal("the planner panicked"))) };
        match self.timeout {
            Some(limit) => tokio::time::timeout(limit, planned)
                .await
                .unwrap_or_else(|_| Err(SqlError::canceled("statement timeout"))),
            None => planned.await,
        }
    }

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

    /// Places of all tables that a statement may read.
    pub(super) fn named(&self, relations: &[TableReference]) -> Result<Vec<TableIdent>, SqlError> {
        let mut idents = Vec::new();
        for reference in relations {
            if let Resolved::Table(places) = self.resolve(reference)? {
                // Of several places only those that exist matter; of one, its absence is an error later on.
                idents.extend(places);
            }
        }
        let existing = all_idents(&self.shared)?;
        idents.retain(|i| existing.binary_search(i).is_ok() || is_dead_letters(i, &existing));
        idents.sort();
        idents.dedup();
        Ok(idents)
    }

    /// The pinned tables that a statement reads.
    fn tables_of(
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
    fn planner(&self, prepared: &Prepared, view: &ReadView) -> Result<SessionState, SqlError> {
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

    /// Plans a tree of a prepared statement (itself, or what `EXPLAIN` is about), with parameters put in place.
    async fn logical(
        &self,
        mut tree: Statement,
        prepared: &Prepared,
        view: &ReadView,
    ) -> Result<(SessionState, LogicalPlan), SqlError> {
        let state = self.planner(prepared, view)?;
        rewrite::rewrite(&mut tree, prepared.catalog);
        let plan = state.statement_to_plan(EngineStatement::Statement(Box::new(tree))).await?;
        SQLOptions::new()
            .with_allow_ddl(false)
            .with_allow_dml(false)
            .with_allow_statements(false)
            .verify_plan(&plan)
            .map_err(|_| {
                SqlError::unsupported("the statement is not supported").with_hint("only queries run here")
            })?;
        Ok((state, plan))
    }

    /// Parameter types that the statement's operators tell, by number from 1. What cannot be told is left out.
    pub(super) async fn infer(
        &self,
        prepared: &Arc<Prepared>,
        view: &Arc<ReadView>,
    ) -> BTreeMap<usize, DataType> {
        let (context, prepared, view) = (self.clone(), Arc::clone(prepared), Arc::clone(view));
        let work = async move {
            let (_, plan) = context.logical(prepared.statement.clone(), &prepared, &view).await?;
            let mut types = BTreeMap::new();
            for (name, found) in plan.get_parameter_types()? {
                let number = name.strip_prefix('$').and_then(|n| n.parse().ok());
                if let (Some(number), Some(found)) = (number, found) {
                    types.insert(number, found);
                }
            }
            Ok(types)
        };
        let Ok(_permit) = self.admitted().await else { return BTreeMap::new() };
        // A statement may be plannable only once its parameters have values: then they are text.
        self.on_deep_stack(work).await.unwrap_or_default()
    }

    /// Result columns of a statement whose parameters have these types.
    pub(super) async fn columns(
        &self,
        prepared: Arc<Prepared>,
        types: BTreeMap<usize, DataType>,
        view: Arc<ReadView>,
    ) -> Result<SchemaRef, SqlError> {
        let context = self.clone();
        let _permit = self.admitted().await?;
        self.on_deep_stack(async move {
            let names = statement::output_names(&prepared.statement);
            let mut tree = prepared.statement.clone();
            parameters::bind_nulls(&mut tree, &types)?;
            let (state, plan) = context.logical(tree, &prepared, &view).await?;
            // Types settle when the analyzer has run.
            let plan = state.optimize(&plan)?;
            Ok(Shape::new(plan.schema().as_arrow(), names).columns)
        })
        .await
    }

    async fn planned(
        &self,
        tree: Statement,
        prepared: &Prepared,
        view: &ReadView,
    ) -> Result<Planned, SqlError> {
        let names = statement::output_names(&tree);
        let (state, plan) = self.logical(tree, prepared, view).await?;
        let plan = state.create_physical_plan(&plan).await?;
        Ok(Planned { shape: Shape::new(&plan.schema(), names), task: state.task_ctx(), plan })
    }

    /// Plans and starts a statement. `failed` is set when its rows end in an error.
    pub(super) async fn run(
        self,
        prepared: Arc<Prepared>,
        values: Vec<Value>,
        types: BTreeMap<usize, DataType>,
        view: Arc<ReadView>,
        failed: Option<Arc<AtomicBool>>,
    ) -> Result<Answer, SqlError> {
        let started = Instant::now();
        let context = self.clone();
        let permit = self.admitted().await?;
        if let Statement::Explain { analyze, verbose, .. } = &prepared.statement {
            let options = Options { analyze: *analyze, verbose: *verbose };
            let work = async move {
                let Statement::Explain { statement, .. } = &prepared.statement else {
                    return Err(SqlError::internal("EXPLAIN lost its statement"));
                };
                let mut tree = statement.as_ref().clone();
                parameters::bind(&mut tree, &values, &types)?;
                let planned = context.planned(tree, &prepared, &view).await?;
                let tables = context.tables_of(&prepared.relations, &view)?;
                explain::answer(&context, planned, &tables, options).await
            };
            return self.on_deep_stack(work).await;
        }
        let work = async move {
            let mut tree = prepared.statement.clone();
            parameters::bind(&mut tree, &values, &types)?;
            context.planned(tree, &prepared, &view).await
        };
        let planned = self.on_deep_stack(work).await?;
        let (sender, receiver) = mpsc::channel::<Result<RecordBatch, SqlError>>(BATCHES_AHEAD);
        let columns = Arc::clone(&planned.shape.columns);
        let deadline = self.timeout.map(|t| started + t);
        let task = self.shared.deps.compute.spawn(async move {
            let _permit = permit;
            if let Err(error) = feed(planned, deadline, &sender).await {
                if let Some(failed) = failed {
                    failed.store(true, Ordering::Release);
                }
                // Nobody listens any more: then nobody needs to know.
                let _ = sender.send(Err(error)).await;
            }
        });
        let task = AbortOnDropHandle::new(task);
        let rows = futures::stream::unfold((receiver, task), |(mut receiver, task)| async move {
            receiver.recv().await.map(|item| (item, (receiver, task)))
        });
        Ok(Answer::Rows { columns, rows: Box::pin(rows) })
    }

    /// Waits for a place among the running statements, no longer than the statement may take.
    async fn admitted(&self) -> Result<tokio::sync::OwnedSemaphorePermit, SqlError> {
        match self.timeout {
            Some(limit) => tokio::time::timeout(limit, self.admit())
                .await
                .unwrap_or_else(|_| Err(SqlError::canceled("statement timeout"))),
            None => self.admit().await,
        }
    }

    async fn admit(&self) -> Result<tokio::sync::OwnedSemaphorePermit, SqlError> {
        let admission = Arc::clone(&self.shared.admission);
        admission.acquire_owned().await.map_err(|_| SqlError::new("57P01", "the node is stopping"))
    }
}

/// Sends a plan's rows until they end, the deadline passes, or nobody listens.
async fn feed(
    planned: Planned,
    deadline: Option<Instant>,
    sender: &mpsc::Sender<Result<RecordBatch, SqlError>>,
) -> Result<(), SqlError> {
    let mut rows = execute_stream(planned.plan, planned.task)?;
    loop {
        let next = match deadline {
            Some(deadline) => tokio::time::timeout_at(deadline, rows.next())
                .await
                .map_err(|_| SqlError::canceled("statement timeout"))?,
            None => rows.next().await,
        };
        let Some(batch) = next else { return Ok(()) };
        let batch = planned.shape.apply(batch?)?;
        if batch.num_rows() > 0 && sender.send(Ok(batch)).await.is_err() {
            return Ok(());
        }
    }
}

fn is_dead_letters(ident: &TableIdent, existing: &[TableIdent]) -> bool {
    let Some(main) = ident.name.strip_suffix("~dlq") else { return false };
    existing.binary_search(&TableIdent { namespace: ident.namespace.clone(), name: main.into() }).is_ok()
}

/// Bytes of data files, as the current snapshot's summary counts them.
fn data_bytes(table: &tables::Table) -> u64 {
    let current = table.current_snapshot_id();
    let snapshot = table.snapshots().into_iter().rev().find(|s| Some(s.id) == current);
    snapshot.and_then(|s| s.summary.get("total-files-size")?.parse().ok()).unwrap_or(0)
}
