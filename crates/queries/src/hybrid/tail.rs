//! Reading the log as rows.
//!
//! Owns: the plan node that streams a table's tail, partition by partition, chunk by chunk.
//! Does not own: chunks and decoding.
//! Invariants: decoding never runs on the threads that poll streams; a dropped stream stops after its chunk.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, Statistics};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::physical_expr::EquivalenceProperties;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType, SchedulingType};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties, SendableRecordBatchStream,
};
use futures::{StreamExt, TryStreamExt, stream};

use super::conform::conform;
use crate::engine::Shared;
use crate::error::SqlError;
use crate::read_view::{PinnedTable, Tail, TailRange};

pub(crate) fn plan(
    shared: &Arc<Shared>,
    table: &PinnedTable,
    tail: &Tail,
    projection: Option<&Vec<usize>>,
    limit: Option<usize>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let columns = match projection {
        Some(indices) => Arc::new(table.columns.project(indices)?),
        None => Arc::clone(&table.columns),
    };
    let count = shared.settings.target_partitions.clamp(1, tail.ranges.len().max(1));
    let mut groups = vec![Vec::new(); count];
    for (index, range) in tail.ranges.iter().enumerate() {
        groups[index % count].push(*range);
    }
    let properties = PlanProperties::new(
        EquivalenceProperties::new(Arc::clone(&columns)),
        Partitioning::UnknownPartitioning(count),
        EmissionType::Incremental,
        Boundedness::Bounded,
    )
    .with_scheduling_type(SchedulingType::Cooperative);
    Ok(Arc::new(TailExec {
        shared: Arc::clone(shared),
        name: table.ident.name.clone(),
        tail: tail.clone(),
        columns,
        groups,
        limit,
        properties: Arc::new(properties),
        metrics: ExecutionPlanMetricsSet::new(),
    }))
}

/// The tail of one table; one output partition for some of the log's partitions.
#[derive(Debug)]
struct TailExec {
    shared: Arc<Shared>,
    name: String,
    tail: Tail,
    /// Projected.
    columns: SchemaRef,
    groups: Vec<Vec<TailRange>>,
    limit: Option<usize>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl DisplayAs for TailExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let partitions = self.tail.ranges.len();
        write!(f, "TailExec: {} {} offsets over {partitions} partitions", self.name, self.tail.offsets())
    }
}

impl ExecutionPlan for TailExec {
    fn name(&self) -> &str {
        "TailExec"
    }
    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }
    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }
    fn with_new_children(self: Arc<Self>, _: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }
    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
    fn execute(&self, partition: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let metrics = BaselineMetrics::new(&self.metrics, partition);
        let ranges = self.groups.get(partition).cloned().unwrap_or_default();
        let reading = Reading {
            shared: Arc::clone(&self.shared),
            tail: self.tail.clone(),
            columns: Arc::clone(&self.columns),
            ranges: ranges.into_iter(),
            current: None,
            left: self.limit.unwrap_or(usize::MAX),
        };
        let batches = stream::try_unfold(reading, Reading::next)
            .map_ok(|batches| stream::iter(batches.into_iter().map(Ok)))
            .try_flatten()
            .inspect(move |batch| {
                if let Ok(batch) = batch {
                    metrics.record_output(batch.num_rows());
                }
            });
        Ok(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.columns), batches)))
    }
    fn partition_statistics(&self, partition: Option<usize>) -> Result<Arc<Statistics>> {
        let ranges = match partition {
            Some(index) => self.groups.get(index).map(Vec::as_slice).unwrap_or_default(),
            None => &self.tail.ranges,
        };
        let tail = &self.tail;
        let count =
            |r: &TailRange| self.shared.chunks.row_count(&tail.rows, tail.kind, r.partition, r.from, r.end);
        let known: Option<usize> = ranges.iter().map(count).sum();
        let offsets: i64 = ranges.iter().map(|r| r.end - r.from).sum();
        Ok(Arc::new(Statistics {
            // An offset may be a row, a dead letter or nothing: the count is a guess until all are decoded.
            num_rows: known.map_or(Precision::Inexact(offsets as usize), Precision::Exact),
            total_byte_size: Precision::Absent,
            column_statistics: vec![ColumnStatistics::new_unknown(); self.columns.fields().len()],
        }))
    }
}

/// State of one output partition.
struct Reading {
    shared: Arc<Shared>,
    tail: Tail,
    columns: SchemaRef,
    ranges: std::vec::IntoIter<TailRange>,
    current: Option<TailRange>,
    left: usize,
}

impl Reading {
    /// The next chunk's batches, and what is left to read.
    async fn next(mut self) -> Result<Option<(Vec<RecordBatch>, Self)>> {
        if self.left == 0 {
            return Ok(None);
        }
        let Some(range) = self.current.take().or_else(|| self.ranges.next()) else { return Ok(None) };
        let (shared, tail, columns) =
            (Arc::clone(&self.shared), self.tail.clone(), Arc::clone(&self.columns));
        let work = tokio::task::spawn_blocking(move || {
            let read = shared.chunks.read(&tail.rows, tail.kind, range.partition, range.from, range.end)?;
            let batches: Result<Vec<RecordBatch>, SqlError> =
                read.batches.iter().map(|b| conform(b, &columns)).collect();
            Ok::<_, SqlError>((batches?, read.next))
        });
        let (mut batches, next) = work.await.map_err(|e| DataFusionError::ExecutionJoin(Box::new(e)))??;
        if next < range.end {
            self.current = Some(TailRange { from: next, ..range });
        }
        for batch in &mut batches {
            if batch.num_rows() > self.left {
                *batch = batch.slice(0, self.left);
            }
            self.left -= batch.num_rows();
        }
        batches.retain(|b| b.num_rows() > 0);
        Ok(Some((batches, self)))
    }
}
