//! One Parquet file, encoded in memory.
//!
//! Owns: writer properties (zstd, dictionaries only where they pay, row groups), the footer's way to `bounds`.
//! Does not own: when a file is full (`writer`).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, SchemaRef, TimestampMicrosecondType};
use bytes::Bytes;
use iceberg::spec::{DataFile, Struct};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::Encoding as ParquetEncoding;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::properties::{WriterProperties, WriterPropertiesBuilder};
use parquet::schema::types::ColumnPath;
use xxhash_rust::xxh3::Xxh3;

use super::WriteError;
use super::bounds::{self, NanCounts};
use super::options::FileOptions;
use crate::columns::uuids;
use crate::settings::Settings;

/// Rows looked at to see whether a dictionary pays.
const SAMPLE_ROWS: usize = 4096;
/// Fewer bytes of finished row groups wait for more.
const READY_BYTES_MIN: usize = 1 << 20;
/// Steps by which a column climbs in a sample: fewer may be a day that stays.
const CLIMB_MIN: usize = 8;
/// Fewer values say nothing.
const SAMPLE_MIN: usize = 64;

/// How the files of one writer are encoded.
#[derive(Debug)]
pub(super) struct Encoding(WriterProperties);

impl Encoding {
    /// Looks at the first rows: a dictionary of values that hardly repeat costs time and saves nothing.
    pub(super) fn choose(
        rows: &RecordBatch,
        settings: &Settings,
        options: &FileOptions,
    ) -> Result<Self, WriteError> {
        let mut builder = WriterProperties::builder()
            .set_created_by(concat!("frazil ", env!("CARGO_PKG_VERSION")).to_owned())
            .set_compression(options.compression)
            .set_max_row_group_row_count(Some(settings.row_group_rows.max(1)));
        for (field, column) in rows.schema_ref().fields().iter().zip(rows.columns()) {
            builder = column_encoding(builder, Vec::new(), field, column);
        }
        for bloom in &options.blooms {
            let path = ColumnPath::from(bloom.path.clone());
            builder = builder
                .set_column_bloom_filter_enabled(path.clone(), true)
                .set_column_bloom_filter_fpp(path.clone(), bloom.fpp)
                .set_column_bloom_filter_ndv(path, bloom.values);
        }
        Ok(Self(builder.build()))
    }
}

fn column_encoding(
    mut builder: WriterPropertiesBuilder,
    mut path: Vec<String>,
    field: &Field,
    column: &ArrayRef,
) -> WriterPropertiesBuilder {
    path.push(field.name().clone());
    if let DataType::Struct(fields) = field.data_type() {
        for (field, column) in fields.iter().zip(column.as_struct().columns()) {
            builder = column_encoding(builder, path.clone(), field, column);
        }
        return builder;
    }
    let sample = column.slice(0, column.len().min(SAMPLE_ROWS));
    match dictionary_is_waste(&sample) {
        None | Some(false) => builder,
        Some(true) => {
            let path = ColumnPath::from(path);
            let builder = builder.set_column_dictionary_enabled(path.clone(), false);
            match field.data_type() {
                // Offsets and times climb in small steps.
                DataType::Int64 | DataType::Timestamp(_, _) => {
                    builder.set_column_encoding(path, ParquetEncoding::DELTA_BINARY_PACKED)
                }
                _ => builder,
            }
        }
    }
}

/// Whether a dictionary would not pay, for types where it matters: more than half of the values are there only once,
/// or they climb, and a dictionary would climb with them.
fn dictionary_is_waste(sample: &ArrayRef) -> Option<bool> {
    let (values, distinct) = match sample.data_type() {
        DataType::Utf8 => {
            let values: Vec<&str> = sample.as_string::<i32>().iter().flatten().collect();
            (values.len(), values.into_iter().collect::<HashSet<_>>().len())
        }
        DataType::LargeBinary => {
            let values: Vec<&[u8]> = sample.as_binary::<i64>().iter().flatten().collect();
            (values.len(), values.into_iter().collect::<HashSet<_>>().len())
        }
        DataType::Int64 => numbers(sample.as_primitive::<Int64Type>().iter().flatten().collect()),
        DataType::Timestamp(_, _) => {
            let values = sample.as_primitive_opt::<TimestampMicrosecondType>()?;
            numbers(values.iter().flatten().collect())
        }
        _ => return None,
    };
    (values >= SAMPLE_MIN).then_some(distinct * 2 > values)
}

/// How many values there are, and how many a dictionary would keep of them in the end.
fn numbers(values: Vec<i64>) -> (usize, usize) {
    let climbs = values.is_sorted();
    let count = values.len();
    let distinct = values.into_iter().collect::<HashSet<_>>().len();
    (count, if climbs && distinct >= CLIMB_MIN { count } else { distinct })
}

/// A Parquet file that takes rows.
pub(super) struct OpenFile {
    schema: SchemaRef,
    writer: ArrowWriter<Vec<u8>>,
    nans: NanCounts,
    rows: u64,
    hash: Xxh3,
    /// Bytes that were taken already.
    taken: u64,
}

impl std::fmt::Debug for OpenFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenFile")
            .field("rows", &self.rows)
            .field("taken", &self.taken)
            .finish_non_exhaustive()
    }
}

impl OpenFile {
    pub(super) fn new(schema: SchemaRef, encoding: &Arc<Encoding>) -> Result<Self, WriteError> {
        let mut options = ArrowWriterOptions::new().with_properties(encoding.0.clone());
        let mut columns = Arc::clone(&schema);
        if let Some((plain, parquet)) = uuids::parquet(&schema)? {
            columns = Arc::new(plain);
            options = options.with_parquet_schema(parquet);
        }
        let writer = ArrowWriter::try_new_with_options(Vec::new(), columns, options)?;
        Ok(Self { schema, writer, nans: HashMap::new(), rows: 0, hash: Xxh3::new(), taken: 0 })
    }

    pub(super) fn write(&mut self, rows: &RecordBatch) -> Result<(), WriteError> {
        self.writer.write(rows)?;
        self.rows += rows.num_rows() as u64;
        for (field, column) in self.schema.fields().iter().zip(rows.columns()) {
            bounds::count_nans(&mut self.nans, field, column);
        }
        Ok(())
    }

    /// Estimate while rows are in progress.
    pub(super) fn encoded_bytes(&self) -> u64 {
        (self.writer.bytes_written() + self.writer.in_progress_size()) as u64
    }

    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// Bytes of finished row groups, once they are worth a write.
    pub(super) fn take_ready(&mut self) -> Option<Bytes> {
        (self.writer.inner_mut().len() >= READY_BYTES_MIN).then(|| self.take())
    }

    fn take(&mut self) -> Bytes {
        let bytes = std::mem::take(self.writer.inner_mut());
        self.hash.update(&bytes);
        self.taken += bytes.len() as u64;
        bytes.into()
    }

    pub(super) fn finish(mut self) -> Result<FinishedFile, WriteError> {
        let footer = self.writer.finish()?;
        let rest = self.take();
        let (size, checksum) = (self.taken, self.hash.digest());
        Ok(FinishedFile { schema: self.schema, rest, size, checksum, footer, nans: self.nans })
    }
}

/// A whole Parquet file, not stored yet.
#[derive(Debug)]
pub(super) struct FinishedFile {
    schema: SchemaRef,
    /// What was not taken before.
    pub(super) rest: Bytes,
    /// Bytes of the whole file.
    size: u64,
    /// Of the whole file.
    pub(super) checksum: u64,
    footer: ParquetMetaData,
    nans: NanCounts,
}

impl FinishedFile {
    pub(super) fn data_file(
        self,
        location: String,
        partition: Struct,
        spec_id: i32,
    ) -> Result<DataFile, WriteError> {
        let mut builder = bounds::metrics(&self.footer, &self.schema, &self.nans)?;
        builder
            .file_path(location)
            .partition(partition)
            .partition_spec_id(spec_id)
            .file_size_in_bytes(self.size);
        builder.build().map_err(|e| WriteError::Parquet(e.to_string()))
    }
}
