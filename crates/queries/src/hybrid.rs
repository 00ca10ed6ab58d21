//! The hot+cold table: files of one snapshot, and the log from where that snapshot ends.
//!
//! Owns: a pinned table as the engine reads it.
//! Does not own: which snapshot and which offsets (`read_view`); decoding (`rows`).
//! Invariants: every row is read exactly once: the boundary is the progress that lies in the snapshot itself; row
//! counts are exact only where nothing has to be decoded to know them.

mod by_field_id;
pub(crate) mod chunks;
pub(crate) mod cold;
pub(crate) mod conform;
pub(crate) mod tail;

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::datasource::TableType;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::union::UnionExec;

use crate::engine::Shared;
use crate::error::SqlError;
use crate::read_view::PinnedTable;

/// A pinned table.
pub(crate) struct HybridTable {
    shared: Arc<Shared>,
    table: Arc<PinnedTable>,
}

impl HybridTable {
    pub(crate) fn new(shared: Arc<Shared>, table: Arc<PinnedTable>) -> Self {
        Self { shared, table }
    }
}

impl fmt::Debug for HybridTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HybridTable({:?})", self.table.ident)
    }
}

#[async_trait]
impl TableProvider for HybridTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.table.columns)
    }
    fn table_type(&self) -> TableType {
        TableType::Base
    }
    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        // Rows are filtered above. The planner hands the filter down to the file source by itself, which skips files
        // and row groups by their bounds.
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }
    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let files = self.table.scan(&self.shared).await?;
        let mut inputs = Vec::with_capacity(2);
        if !files.files.is_empty() {
            inputs.push(cold::plan(&self.shared, &self.table, &files, state, projection, limit)?);
        }
        if let Some(tail) = self.table.tail(&self.shared)? {
            inputs.push(tail::plan(&self.shared, &self.table, tail, projection, limit)?);
        }
        match inputs.len() {
            0 => {
                let schema = match projection {
                    Some(indices) => Arc::new(self.table.columns.project(indices)?),
                    None => Arc::clone(&self.table.columns),
                };
                Ok(Arc::new(EmptyExec::new(schema)))
            }
            1 => Ok(inputs.swap_remove(0)),
            _ => UnionExec::try_new(inputs),
        }
    }
}

/// How a table was read, in one line for `EXPLAIN`.
pub(crate) async fn describe(shared: &Shared, table: &PinnedTable) -> Result<String, SqlError> {
    let files = table.scan(shared).await?;
    let name = &table.ident.name;
    let tail = match table.tail(shared)? {
        Some(tail) => {
            let partitions = tail.ranges.len();
            format!("{} offsets over {partitions} partition{}", tail.offsets(), plural(partitions))
        }
        None => "0 offsets".into(),
    };
    let cold = match files.snapshot_id {
        Some(id) => {
            let rows: u64 = files.files.iter().map(|f| f.rows).sum();
            let count = files.files.len();
            format!("snapshot {id} ({count} file{}, {rows} rows)", plural(count))
        }
        None => "no snapshot".into(),
    };
    let note = table.note(shared)?.map(|n| format!("; the log is left out: {n}")).unwrap_or_default();
    Ok(format!("tail: {name} {tail}; {cold}{note}"))
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}
