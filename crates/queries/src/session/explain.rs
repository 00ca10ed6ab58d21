//! `EXPLAIN`.
//!
//! Owns: its text: the physical plan, then a line per table that says what came from the log and what from where.
//! Does not own: the plan.

use std::sync::Arc;

use arrow::array::{RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::physical_plan::display::DisplayableExecutionPlan;
use datafusion::physical_plan::execute_stream;
use futures::{StreamExt, stream};

use super::Answer;
use super::run::{Context, Planned};
use crate::error::SqlError;
use crate::hybrid;
use crate::read_view::PinnedTable;

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Options {
    /// Run the statement, and show what it took.
    pub analyze: bool,
    pub verbose: bool,
}

pub(super) fn columns() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("QUERY PLAN", DataType::Utf8, false)]))
}

/// The answer of `EXPLAIN` over a planned statement.
pub(super) async fn answer(
    context: &Context,
    planned: Planned,
    tables: &[Arc<PinnedTable>],
    options: Options,
) -> Result<Answer, SqlError> {
    let mut lines = Vec::new();
    if options.analyze {
        let mut rows = execute_stream(Arc::clone(&planned.plan), Arc::clone(&planned.task))?;
        let mut count = 0;
        while let Some(batch) = rows.next().await {
            count += batch?.num_rows();
        }
        lines.extend(text(&DisplayableExecutionPlan::with_metrics(planned.plan.as_ref()), options));
        lines.push(format!("rows: {count}"));
    } else {
        lines.extend(text(&DisplayableExecutionPlan::new(planned.plan.as_ref()), options));
    }
    for table in tables {
        lines.push(hybrid::describe(&context.shared, table).await?);
    }
    let columns = columns();
    let batch = RecordBatch::try_new(Arc::clone(&columns), vec![Arc::new(StringArray::from(lines))])?;
    Ok(Answer::Rows { columns, rows: Box::pin(stream::iter([Ok(batch)])) })
}

fn text(plan: &DisplayableExecutionPlan<'_>, options: Options) -> Vec<String> {
    plan.indent(options.verbose).to_string().lines().map(str::to_string).collect()
}
