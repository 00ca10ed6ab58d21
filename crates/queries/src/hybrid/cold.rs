//! Reading the data files of a snapshot.
//!
//! Owns: files of a scan as a Parquet source, with their row counts and bounds.
//! Does not own: which files (tables says), reading Parquet (the engine does).

use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef, TimeUnit};
use datafusion::catalog::Session;
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, ScalarValue, Statistics};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::CachedParquetFileReaderFactory;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::physical_expr_adapter::PhysicalExprAdapterFactory;
use datafusion::physical_plan::ExecutionPlan;
use tables::{Scan, ScanFile, Table};

use super::by_field_id::ByFieldId;
use crate::engine::{Shared, WAREHOUSE_URL};
use crate::read_view::PinnedTable;

pub(crate) fn plan(
    shared: &Shared,
    table: &PinnedTable,
    scan: &Scan,
    state: &dyn Session,
    projection: Option<&Vec<usize>>,
    limit: Option<usize>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let columns = &table.columns;
    let ids = table.table.as_ref().map(field_ids).unwrap_or_default();
    let mut files = Vec::with_capacity(scan.files.len());
    for file in &scan.files {
        files.push(partitioned(shared, file, columns, &ids)?);
    }
    let store = shared.deps.tables.objects().store();
    let cache = state.runtime_env().cache_manager.get_file_metadata_cache();
    let source = ParquetSource::new(Arc::clone(columns))
        .with_parquet_file_reader_factory(Arc::new(CachedParquetFileReaderFactory::new(store, cache)));
    let rows: u64 = scan.files.iter().map(|f| f.rows).sum();
    let bytes: u64 = scan.files.iter().map(|f| f.size_bytes).sum();
    let statistics = Statistics {
        num_rows: Precision::Exact(rows as usize),
        total_byte_size: Precision::Inexact(bytes as usize),
        column_statistics: vec![ColumnStatistics::new_unknown(); columns.fields().len()],
    };
    let url = ObjectStoreUrl::parse(WAREHOUSE_URL)?;
    let groups = FileGroup::new(files).split_files(state.config().target_partitions());
    // Files that were written before a column was renamed call it otherwise.
    let adapter: Option<Arc<dyn PhysicalExprAdapterFactory>> = match &table.table {
        Some(table) => Some(Arc::new(ByFieldId { table: table.arrow_schema().map_err(external)? })),
        None => None,
    };
    let config = FileScanConfigBuilder::new(url, Arc::new(source))
        .with_expr_adapter(adapter)
        .with_file_groups(groups)
        .with_statistics(statistics)
        .with_projection_indices(projection.cloned())?
        .with_limit(limit)
        .build();
    Ok(DataSourceExec::from_data_source(config))
}

fn external(error: tables::CatalogError) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// Field id of each column, in order; none where it has none.
fn field_ids(table: &Table) -> Vec<Option<i32>> {
    let Ok(schema) = table.arrow_schema() else { return Vec::new() };
    let id =
        |f: &arrow::datatypes::FieldRef| f.metadata().get("PARQUET:field_id").and_then(|v| v.parse().ok());
    schema.fields().iter().map(id).collect()
}

fn partitioned(
    shared: &Shared,
    file: &ScanFile,
    columns: &SchemaRef,
    ids: &[Option<i32>],
) -> Result<PartitionedFile> {
    let path = shared
        .deps
        .tables
        .objects()
        .path(&file.location)
        .map_err(|e| DataFusionError::External(Box::new(e)))?;
    let column = |(index, field): (usize, &arrow::datatypes::FieldRef)| {
        let mut statistics = ColumnStatistics::new_unknown();
        if let Some(Some(id)) = ids.get(index) {
            let bound = |bytes: Option<&Vec<u8>>| bytes.and_then(|b| bound_of(field.data_type(), b));
            // These serve skipping only, for which a bound may lie outside of the values.
            if let Some(value) = bound(file.lower_bounds.get(id)) {
                statistics.min_value = Precision::Exact(value);
            }
            if let Some(value) = bound(file.upper_bounds.get(id)) {
                statistics.max_value = Precision::Exact(value);
            }
            if let Some(nulls) = file.null_counts.get(id) {
                statistics.null_count = Precision::Exact(*nulls as usize);
            }
        }
        statistics
    };
    let statistics = Statistics {
        num_rows: Precision::Exact(file.rows as usize),
        total_byte_size: Precision::Inexact(file.size_bytes as usize),
        column_statistics: columns.fields().iter().enumerate().map(column).collect(),
    };
    let mut partitioned = PartitionedFile::new(path.to_string(), file.size_bytes);
    // `new` would parse, and so encode, the path a second time.
    partitioned.object_meta.location = path;
    Ok(partitioned.with_statistics(Arc::new(statistics)))
}

/// A bound in Iceberg's binary form (spec, appendix D) as a value of the column's type; floats are left out
/// because of NaN.
fn bound_of(data_type: &DataType, bytes: &[u8]) -> Option<ScalarValue> {
    let i32_of = || bytes.try_into().ok().map(i32::from_le_bytes);
    // A column that was widened to 64 bits may have narrower bounds.
    let i64_of = || match bytes.len() {
        4 => i32_of().map(i64::from),
        _ => bytes.try_into().ok().map(i64::from_le_bytes),
    };
    match data_type {
        DataType::Boolean => bytes.first().map(|b| ScalarValue::Boolean(Some(*b != 0))),
        DataType::Int32 => i32_of().map(|v| ScalarValue::Int32(Some(v))),
        DataType::Int64 => i64_of().map(|v| ScalarValue::Int64(Some(v))),
        DataType::Date32 => i32_of().map(|v| ScalarValue::Date32(Some(v))),
        DataType::Time64(TimeUnit::Microsecond) => i64_of().map(|v| ScalarValue::Time64Microsecond(Some(v))),
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            i64_of().map(|v| ScalarValue::TimestampMicrosecond(Some(v), zone.clone()))
        }
        DataType::Utf8 => std::str::from_utf8(bytes).ok().map(|s| ScalarValue::Utf8(Some(s.into()))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_little_endian_values() {
        assert_eq!(bound_of(&DataType::Int64, &7i64.to_le_bytes()), Some(ScalarValue::Int64(Some(7))));
        assert_eq!(bound_of(&DataType::Int64, &7i32.to_le_bytes()), Some(ScalarValue::Int64(Some(7))));
        assert_eq!(bound_of(&DataType::Int32, &[1, 2]), None, "torn bounds are no bounds");
        assert_eq!(bound_of(&DataType::Float64, &1f64.to_le_bytes()), None);
        assert_eq!(bound_of(&DataType::Utf8, b"ab"), Some(ScalarValue::Utf8(Some("ab".into()))));
        assert_eq!(bound_of(&DataType::Utf8, &[0xff]), None);
    }
}
