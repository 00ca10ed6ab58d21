//! Statements that share their threads: a plan gives way after a time slice.
//!
//! Owns: the operator that yields, and where it stands in a plan.
//! Does not own: timeouts and cancellation, which act where a plan gives way.
//! Invariants: no rows, order or errors change; joins and sources never keep a thread for longer than a slice and
//! the making of one batch.
//!
//! The engine's operators yield when their source is asked, but a join makes millions of batches of one that it was
//! given: on a few threads, a few such statements would stop everything else, and could not be stopped themselves.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::Stream;

/// How long a stream may answer without a pause.
const SLICE: Duration = Duration::from_millis(10);

/// The plan with a pause behind each source and each operator that makes many batches of one.
pub(super) fn give_way(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let pausing = plan.transform_up(|node| {
        if node.children().len() == 1 && node.name() != "UnnestExec" {
            return Ok(Transformed::no(node));
        }
        Ok(Transformed::yes(Arc::new(PauseExec { input: node }) as Arc<dyn ExecutionPlan>))
    })?;
    Ok(pausing.data)
}

#[derive(Debug)]
struct PauseExec {
    input: Arc<dyn ExecutionPlan>,
}

impl DisplayAs for PauseExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PauseExec")
    }
}

impl ExecutionPlan for PauseExec {
    fn name(&self) -> &str {
        "PauseExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match (children.pop(), children.pop()) {
            (Some(input), None) => Ok(Arc::new(Self { input })),
            _ => Err(DataFusionError::Internal("a pause has one input".into())),
        }
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let input = self.input.execute(partition, context)?;
        Ok(Box::pin(Pausing { input, since: None }))
    }
}

struct Pausing {
    input: SendableRecordBatchStream,
    /// When the first batch after the last pause was asked for.
    since: Option<Instant>,
}

impl Stream for Pausing {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let since = *self.since.get_or_insert_with(Instant::now);
        if since.elapsed() >= SLICE {
            self.since = None;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let item = self.input.as_mut().poll_next(context);
        if item.is_pending() {
            self.since = None;
        }
        item
    }
}

impl RecordBatchStream for Pausing {
    fn schema(&self) -> SchemaRef {
        self.input.schema()
    }
}
