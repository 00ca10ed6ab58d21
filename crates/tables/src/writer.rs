//! Rows to staged Parquet files.
//!
//! Owns: matching rows to the table's columns, splitting them by partition, open files and their limits, names of
//! data files.
//! Does not own: committing; where bytes lie (`storage::Objects`).
//! Invariants: a staged file is durable; its partition and bounds hold for every row in it; no partition value can
//! lead out of the table's directory.

mod align;
mod bounds;
mod encode;
mod options;
mod split;

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use base::{ErrorKind, Fault};
use iceberg::spec::{DataFile, PartitionSpecRef, Struct};
use storage::Growing;
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64;

use crate::catalog::{Table, Tables};
use crate::commit::snapshot::schema_for;
use crate::failpoints::Step;
use crate::leases::Lease;
use crate::manifests::OWN_MARK;
pub(crate) use align::{Matching, align};
use encode::{Encoding, OpenFile};
use options::FileOptions;
use split::Splitter;

/// Files that are durable but belong to no snapshot yet.
#[derive(Debug, Clone, Default)]
pub struct StagedFiles {
    pub(crate) files: Vec<DataFile>,
    /// The table they were staged for; none when there are no files.
    pub(crate) table: Option<Uuid>,
    pub(crate) spec_id: i32,
    pub(crate) lease: Option<Arc<Lease>>,
}

impl StagedFiles {
    /// Nobody knows whether they were committed.
    pub(crate) fn keep(&self) {
        if let Some(lease) = &self.lease {
            lease.keep();
        }
    }

    /// Rows in all files.
    pub fn rows(&self) -> u64 {
        self.files.iter().map(DataFile::record_count).sum()
    }
    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(DataFile::file_size_in_bytes).sum()
    }
    /// Files.
    pub fn len(&self) -> usize {
        self.files.len()
    }
    /// Whether there is nothing to add.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }
}

/// Whether a data file has the bytes that were written; none for files without a checksum in their name, which others
/// wrote. Parquet's own pages have none.
pub fn is_intact(location: &str, bytes: &[u8]) -> Option<bool> {
    let (_, checksum) = location.strip_suffix(".parquet")?.strip_suffix(OWN_MARK)?.rsplit_once('-')?;
    let checksum = u64::from_str_radix(checksum, 16).ok().filter(|_| checksum.len() == 16)?;
    Some(checksum == xxh3_64(bytes))
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

impl From<parquet::errors::ParquetError> for WriteError {
    fn from(error: parquet::errors::ParquetError) -> Self {
        Self::Parquet(error.to_string())
    }
}

impl From<arrow::error::ArrowError> for WriteError {
    fn from(error: arrow::error::ArrowError) -> Self {
        Self::Parquet(error.to_string())
    }
}

impl From<iceberg::Error> for WriteError {
    fn from(error: iceberg::Error) -> Self {
        Self::Parquet(error.to_string())
    }
}

/// About how large a table's data files become.
pub(crate) fn target_bytes(metadata: &iceberg::spec::TableMetadata, settings: &crate::Settings) -> u64 {
    FileOptions::of(metadata, settings).target_bytes
}

fn directory(table: &str, splitter: Option<&Splitter>, partition: &Struct) -> String {
    let below = splitter.map(|splitter| splitter.directory(partition)).unwrap_or_default();
    format!("{table}/data/{below}").trim_end_matches('/').to_owned()
}

/// Rows that are encoded before sizes are looked at again.
const SLICE_ROWS: usize = 64 << 10;

/// Stages rows of one table as Parquet files; dropping it leaves orphans at worst.
#[derive(Debug)]
pub struct TableWriter {
    tables: Tables,
    table: Uuid,
    location: String,
    schema: SchemaRef,
    spec: PartitionSpecRef,
    splitter: Option<Splitter>,
    /// Rows are of this partition, whatever the spec says: they were when they were written first.
    fixed: Option<Struct>,
    options: Arc<FileOptions>,
    lease: Lease,
    /// Chosen by the first rows; the same for all files.
    encoding: Option<Arc<Encoding>>,
    open: HashMap<Struct, Slot>,
    /// Counts writes: the least recently used file leaves first.
    tick: u64,
    written: StagedFiles,
}

#[derive(Debug)]
struct Slot {
    file: OpenFile,
    /// Where its first row groups went already.
    begun: Option<Growing>,
    used: u64,
}

impl Tables {
    /// Begins staging rows for a table.
    pub fn writer(&self, table: &Table) -> Result<TableWriter, WriteError> {
        let spec = Arc::clone(table.metadata.default_partition_spec());
        self.writer_of(table, spec, None)
    }

    /// Begins staging rows that all belong to one partition of one spec, which need not be the current one.
    pub(crate) fn partition_writer(
        &self,
        table: &Table,
        spec: PartitionSpecRef,
        partition: Struct,
    ) -> Result<TableWriter, WriteError> {
        self.writer_of(table, spec, Some(partition))
    }

    fn writer_of(
        &self,
        table: &Table,
        spec: PartitionSpecRef,
        fixed: Option<Struct>,
    ) -> Result<TableWriter, WriteError> {
        let metadata = &table.metadata;
        let schema = table.arrow_schema().map_err(|e| WriteError::Parquet(e.to_string()))?;
        // A spec of void fields alone is called unpartitioned too, but its partition values still have those fields.
        let splitter = match spec.fields().is_empty() {
            true => None,
            false => Some(Splitter::new(&spec, schema_for(metadata, &spec))?),
        };
        let lease = self.lease();
        Ok(TableWriter {
            tables: self.clone(),
            table: metadata.uuid(),
            location: metadata.location().to_owned(),
            schema,
            written: StagedFiles {
                table: Some(metadata.uuid()),
                spec_id: spec.spec_id(),
                ..StagedFiles::default()
            },
            spec,
            splitter,
            fixed,
            options: Arc::new(FileOptions::of(metadata, self.settings())),
            lease,
            encoding: None,
            open: HashMap::new(),
            tick: 0,
        })
    }
}

impl TableWriter {
    /// Columns are matched by name; missing nullable ones become null. CPU-bound: run it on the compute runtime.
    pub async fn write(&mut self, batch: &RecordBatch) -> Result<(), WriteError> {
        self.write_matching(batch, Matching::ByName).await
    }

    pub(crate) async fn write_matching(
        &mut self,
        batch: &RecordBatch,
        matching: Matching,
    ) -> Result<(), WriteError> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let batch = align(batch, &self.schema, matching)?;
        let parts = match (&self.fixed, &self.splitter) {
            (Some(partition), _) => vec![(partition.clone(), batch)],
            (None, None) => vec![(Struct::empty(), batch)],
            (None, Some(splitter)) => splitter.split(&batch)?,
        };
        for (partition, rows) in parts {
            let mut start = 0;
            while start < rows.num_rows() {
                let len = SLICE_ROWS.min(rows.num_rows() - start);
                self.write_part(&partition, &rows.slice(start, len)).await?;
                start += len;
            }
        }
        Ok(())
    }

    async fn write_part(&mut self, partition: &Struct, rows: &RecordBatch) -> Result<(), WriteError> {
        let tables = self.tables.clone();
        let settings = tables.settings();
        if !self.open.contains_key(partition) {
            while self.open.len() >= settings.open_files_max.max(1) {
                self.close_one(|slot| std::cmp::Reverse(slot.used)).await?;
            }
            let encoding = match &self.encoding {
                Some(encoding) => Arc::clone(encoding),
                None => {
                    self.encoding.insert(Arc::new(Encoding::choose(rows, settings, &self.options)?)).clone()
                }
            };
            let file = OpenFile::new(Arc::clone(&self.schema), &encoding)?;
            self.open.insert(partition.clone(), Slot { file, begun: None, used: 0 });
        }
        self.tick += 1;
        let Some(slot) = self.open.get_mut(partition) else { return Ok(()) };
        slot.used = self.tick;
        slot.file.write(rows)?;
        if let Some(bytes) = slot.file.take_ready() {
            let begun = match &mut slot.begun {
                Some(begun) => begun,
                None => {
                    let directory = directory(&self.location, self.splitter.as_ref(), partition);
                    slot.begun.insert(tables.objects().begin(&directory).await?)
                }
            };
            begun.append(bytes).await?;
        }
        if slot.file.encoded_bytes() >= self.options.target_bytes {
            self.close(&partition.clone()).await?;
        }
        // Files of many partitions together may not take more memory than two whole ones.
        while self.open.len() > 1 && self.open_bytes() > self.options.target_bytes.saturating_mul(2) {
            self.close_one(|slot| slot.file.encoded_bytes()).await?;
        }
        Ok(())
    }

    async fn close_one<K: Ord>(&mut self, rank: impl Fn(&Slot) -> K) -> Result<(), WriteError> {
        let chosen = self.open.iter().max_by_key(|(_, slot)| rank(slot)).map(|(key, _)| key.clone());
        match chosen {
            Some(partition) => self.close(&partition).await,
            None => Ok(()),
        }
    }

    async fn close(&mut self, partition: &Struct) -> Result<(), WriteError> {
        let Some(slot) = self.open.remove(partition) else { return Ok(()) };
        let finished = slot.file.finish()?;
        let directory = directory(&self.location, self.splitter.as_ref(), partition);
        let location = format!("{directory}/{}-{:016x}{OWN_MARK}.parquet", Uuid::now_v7(), finished.checksum);
        self.lease.add(&location);
        self.tables.step(Step::BeforeDataFile).await?;
        let rest = finished.rest.clone();
        match slot.begun {
            None => self.tables.objects().put_new(&location, rest).await?,
            Some(mut begun) => {
                begun.append(rest).await?;
                begun.finish(&location).await?;
            }
        }
        self.tables.step(Step::AfterDataFile).await?;
        let file = finished.data_file(location, partition.clone(), self.spec.spec_id())?;
        self.written.files.push(file);
        Ok(())
    }

    fn open_bytes(&self) -> u64 {
        self.open.values().map(|slot| slot.file.encoded_bytes()).sum()
    }

    /// Estimated encoded bytes so far.
    pub fn buffered_bytes(&self) -> u64 {
        self.written.bytes() + self.open_bytes()
    }

    /// Rows so far, staged or not.
    pub fn rows(&self) -> u64 {
        self.written.rows() + self.open.values().map(|slot| slot.file.rows()).sum::<u64>()
    }

    /// Files so far, staged or not.
    pub fn files(&self) -> usize {
        self.written.len() + self.open.len()
    }

    /// Id of the table that the rows belong to.
    pub fn table(&self) -> Uuid {
        self.table
    }

    /// Closes all files; they are durable on return.
    pub async fn finish(mut self) -> Result<StagedFiles, WriteError> {
        // Oldest first, so that files are staged in an order that does not depend on hashing.
        self.roll().await?;
        self.written.lease = Some(Arc::new(self.lease));
        Ok(self.written)
    }

    /// Closes the open files; more rows go into new ones.
    pub(crate) async fn roll(&mut self) -> Result<(), WriteError> {
        while !self.open.is_empty() {
            self.close_one(|slot| std::cmp::Reverse(slot.used)).await?;
        }
        Ok(())
    }

    /// Rows in the table's columns.
    pub(crate) fn aligned(&self, batch: &RecordBatch, matching: Matching) -> Result<RecordBatch, WriteError> {
        align(batch, &self.schema, matching)
    }

    /// What was written so far and will not be committed.
    pub(crate) fn abandon(self) -> StagedFiles {
        self.written
    }

    /// The columns that rows are brought to.
    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }
}

#[cfg(test)]
#[path = "writer/tests.rs"]
mod tests;
