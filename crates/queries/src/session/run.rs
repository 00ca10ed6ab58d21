//! Planning and running one statement on the compute runtime.
//!
//! Owns: admission, planning, the stream of rows with its timeout and cancellation.
//! Does not own: transactions, parameters, what names stand for (`names`).
//! Invariants: a dropped answer stops its work; rows that end without an error are all rows.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::execution::TaskContext;
use datafusion::execution::context::{SQLOptions, SessionState};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::sql::parser::Statement as EngineStatement;
use datafusion::sql::sqlparser::ast::Statement;
use futures::StreamExt;
use tables::TableIdent;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::explain::{self, Options};
use super::fairness;
use super::result::Shape;
use super::settings::SharedSettings;
use super::{Answer, Value};
use crate::engine::Shared;
use crate::error::SqlError;
use crate::pg_catalog::rewrite;
use crate::read_view::{Freshness, ReadView};
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
        let plan = fairness::give_way(state.create_physical_plan(&plan).await?)?;
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
        let compute = self.shared.deps.compute.clone();
        let feed = Feed { context: self, deadline, permit: Some(permit), sender };
        let task = compute.spawn(async move {
            let sender = feed.sender.clone();
            if let Err(error) = feed.run(planned).await {
                if let Some(failed) = failed {
                    failed.store(true, Ordering::Release);
                }
                // Nobody listens any more: then nobody needs to know.
                let _ = sender.send(Err(error)).await;
            }
        });
        let task = AbortOnDropHandle::new(task);
        let rows = futures::stream::unfold((receiver, Some(task)), |(mut receiver, task)| async move {
            if let Some(item) = receiver.recv().await {
                return Some((item, (receiver, task)));
            }
            // The end of the rows is only their end when the task did not die.
            match task?.await {
                Ok(()) => None,
                Err(died) => Some((Err(SqlError::internal(died.to_string())), (receiver, None))),
            }
        });
        Ok(Answer::Rows { columns, rows: Box::pin(rows) })
    }

    /// Waits for a place among the running statements, no longer than the statement may take.
    async fn admitted(&self) -> Result<OwnedSemaphorePermit, SqlError> {
        match self.timeout {
            Some(limit) => tokio::time::timeout(limit, self.admit())
                .await
                .unwrap_or_else(|_| Err(SqlError::canceled("statement timeout"))),
            None => self.admit().await,
        }
    }

    async fn admit(&self) -> Result<OwnedSemaphorePermit, SqlError> {
        let admission = Arc::clone(&self.shared.admission);
        admission.acquire_owned().await.map_err(|_| SqlError::new("57P01", "the node is stopping"))
    }
}

/// Rows on their way to the client.
struct Feed {
    context: Context,
    deadline: Option<Instant>,
    /// Given back while the client takes its time: who does not compute needs no place.
    permit: Option<OwnedSemaphorePermit>,
    sender: mpsc::Sender<Result<RecordBatch, SqlError>>,
}

impl Feed {
    /// Sends a plan's rows until they end, the deadline passes, or nobody listens.
    async fn run(mut self, planned: Planned) -> Result<(), SqlError> {
        let mut rows = execute_stream(planned.plan, planned.task)?;
        while let Some(batch) = in_time(self.deadline, rows.next()).await? {
            let batch = planned.shape.apply(batch?)?;
            if batch.num_rows() > 0 && !self.send(batch).await? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// False when nobody listens any more.
    async fn send(&mut self, batch: RecordBatch) -> Result<bool, SqlError> {
        match self.sender.try_send(Ok(batch)) {
            Ok(()) => Ok(true),
            Err(mpsc::error::TrySendError::Closed(_)) => Ok(false),
            Err(mpsc::error::TrySendError::Full(item)) => {
                self.permit = None;
                let sent = in_time(self.deadline, self.sender.send(item)).await?.is_ok();
                if sent {
                    self.permit = Some(in_time(self.deadline, self.context.admit()).await??);
                }
                Ok(sent)
            }
        }
    }
}

async fn in_time<T>(deadline: Option<Instant>, work: impl Future<Output = T>) -> Result<T, SqlError> {
    match deadline {
        Some(deadline) => {
            tokio::time::timeout_at(deadline, work).await.map_err(|_| SqlError::canceled("statement timeout"))
        }
        None => Ok(work.await),
    }
}
