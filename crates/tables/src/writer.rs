//! Rows to staged Parquet files.

use arrow::array::RecordBatch;
use base::{ErrorKind, Fault};

/// Files that are durable but belong to no snapshot yet.
#[derive(Debug, Clone, Default)]
pub struct StagedFiles {
    pub(crate) files: Vec<iceberg::spec::DataFile>,
}

impl StagedFiles {
    pub fn rows(&self) -> u64 {
        self.files.iter().map(iceberg::spec::DataFile::record_count).sum()
    }
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(iceberg::spec::DataFile::file_size_in_bytes).sum()
    }
    pub fn len(&self) -> usize {
        self.files.len()
    }
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }
}

/// Rows that could not be staged.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    #[error("column {column}: the table has {table}, the rows have {rows}")]
    SchemaMismatch { column: String, table: String, rows: String },
    #[error("cannot write Parquet: {0}")]
    Parquet(String),
    #[error(transparent)]
    Objects(#[from] storage::ObjectError),
}

impl Fault for WriteError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::SchemaMismatch { .. } => ErrorKind::Conflict,
            Self::Parquet(_) => ErrorKind::Internal,
            Self::Objects(e) => e.kind(),
        }
    }
}

/// Stages rows of one table as Parquet files; dropping it leaves orphans at worst.
#[derive(Debug)]
pub struct TableWriter {}

impl TableWriter {
    /// Columns are matched by name; missing nullable ones become null. CPU-bound: run it on the compute runtime.
    pub async fn write(&mut self, _batch: &RecordBatch) -> Result<(), WriteError> {
        unimplemented!()
    }
    /// Estimated encoded bytes so far.
    pub fn buffered_bytes(&self) -> u64 {
        unimplemented!()
    }
    pub async fn finish(self) -> Result<StagedFiles, WriteError> {
        unimplemented!()
    }
}
