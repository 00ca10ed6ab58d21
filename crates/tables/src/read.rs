//! The rows of one data file.
//!
//! Owns: opening a file that a manifest lists: its bytes are those that were written, its columns have field ids.
//! Does not own: which files there are (`scan`), what is done with their rows.
//! Invariants: memory holds one file and one batch; a file that cannot be read is told with its reason.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use parquet::arrow::PARQUET_FIELD_ID_META_KEY;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use crate::catalog::{CatalogError, Table, Tables};
use crate::writer::{Matching, align, is_intact};

/// Rows read at once.
pub(crate) const BATCH_ROWS: usize = 8 << 10;

/// Rows of a data file in the table's present columns, batch by batch. CPU-bound: use it on the compute runtime.
pub struct FileRows {
    reader: ParquetRecordBatchReader,
    schema: SchemaRef,
    location: String,
}

impl std::fmt::Debug for FileRows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileRows").field("location", &self.location).finish_non_exhaustive()
    }
}

impl Iterator for FileRows {
    type Item = Result<RecordBatch, CatalogError>;

    fn next(&mut self) -> Option<Self::Item> {
        let unreadable = |e: &dyn std::fmt::Display| CatalogError::Format(format!("{}: {e}", self.location));
        let batch = self.reader.next()?.map_err(|e| unreadable(&e));
        Some(batch.and_then(|batch| align(&batch, &self.schema, Matching::ById).map_err(|e| unreadable(&e))))
    }
}

impl Tables {
    /// Reads a data file of the table.
    pub async fn rows_of(&self, table: &Table, location: &str) -> Result<FileRows, CatalogError> {
        let schema = table.arrow_schema()?;
        let unreadable = |why: String| CatalogError::Format(format!("{location}: {why}"));
        let opened = self.open_data_file(location).await?.map_err(unreadable)?;
        let reader = opened.build().map_err(|e| unreadable(e.to_string()))?;
        Ok(FileRows { reader, schema, location: location.to_owned() })
    }

    /// Opens a data file; the inner error says what is wrong with it.
    pub(crate) async fn open_data_file(
        &self,
        location: &str,
    ) -> Result<Result<ParquetRecordBatchReaderBuilder<Bytes>, String>, storage::ObjectError> {
        let bytes = self.objects().get(location).await?;
        if is_intact(location, &bytes) == Some(false) {
            return Ok(Err("its bytes are not those that were written: restore it from a copy".into()));
        }
        let builder = match ParquetRecordBatchReaderBuilder::try_new(bytes) {
            Ok(builder) => builder.with_batch_size(BATCH_ROWS),
            Err(e) => return Ok(Err(e.to_string())),
        };
        if builder.schema().fields().iter().any(|f| !f.metadata().contains_key(PARQUET_FIELD_ID_META_KEY)) {
            return Ok(Err("its columns have no field ids".into()));
        }
        Ok(Ok(builder))
    }
}
