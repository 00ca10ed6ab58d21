//! Dead letters read again: rows of a dead-letter table become records, and perhaps rows of the table.
//!
//! Owns: the way back from the dead-letter table's columns to records; decoding them with the newest schemas.
//! Does not own: which dead letters are tried, what becomes of them (pipelines).
//! Invariants: a record that becomes a row has the partition, offset, time, headers and key that it had; nothing is read
//! from the log.

use std::hash::{DefaultHasher, Hash, Hasher};

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, RecordBatch, StructArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int32Type, Int64Type, TimestampMicrosecondType};
use base::{Offset, PartitionId};
use topics::batch::{BatchBuilder, BatchView, RecordView};

use super::layout::{Unseen, reject};
use super::part::{Era, Misfit};
use super::{RejectedRecord, TopicRows, metadata};

/// Bytes of records that are decoded at once.
const CHUNK_BYTES: usize = 16 << 20;

/// Dead letters of one partition that were tried again.
#[derive(Debug)]
pub struct Retried {
    pub partition: PartitionId,
    /// Those that are rows now, in the columns of [`TopicRows::columns`].
    pub rows: Option<RecordBatch>,
    /// Their offsets, in the order of the rows.
    pub offsets: Vec<Offset>,
    /// Those that are still none, with the reason of today.
    pub rejected: Vec<RejectedRecord>,
}

/// What a batch of dead letters became.
#[derive(Debug, Default)]
pub struct RetriedBatch {
    pub partitions: Vec<Retried>,
    /// Schemas that must be stored before any of them is decoded; then there are no `partitions`.
    pub unseen: Unseen,
}

/// The columns of a batch of dead letters.
struct Letters<'a> {
    partitions: &'a [i32],
    offsets: &'a [i64],
    timestamps: &'a arrow::array::TimestampMicrosecondArray,
    timestamp_types: &'a arrow::array::Int32Array,
    headers: &'a arrow::array::ListArray,
    header_names: ArrayRef,
    header_values: BinaryArray,
    keys: BinaryArray,
    values: BinaryArray,
}

impl TopicRows {
    /// Tries those rows of a dead-letter table again that `wanted` names by partition and offset: each with the newest
    /// schema of the topic, or the one it names. CPU-bound. The error says what about the columns is not as expected.
    pub fn retry(
        &self,
        letters: &RecordBatch,
        wanted: &dyn Fn(PartitionId, Offset) -> bool,
    ) -> Result<RetriedBatch, String> {
        let rows = wanted_rows(letters, wanted)?;
        let columns = Letters::of(letters)?;
        let mut retried = RetriedBatch::default();
        let mut rest = rows.as_slice();
        while let Some(first) = rest.first() {
            let partition = columns.partitions[*first];
            let (mut builder, mut taken) = (BatchBuilder::new(), 0);
            for row in rest {
                if columns.partitions[*row] != partition || builder.plain_bytes() >= CHUNK_BYTES {
                    break;
                }
                columns.push(*row, &mut builder);
                taken += 1;
            }
            let (chunk, others) = rest.split_at(taken);
            rest = others;
            let mut bytes = builder.build().map_err(|e| e.to_string())?;
            let batch = BatchView::split_first(&mut bytes).map_err(|e| e.to_string())?;
            let records = batch.records(i32::MAX as usize).map_err(|e| e.to_string())?;
            let mut views: Vec<RecordView<'_>> = Vec::with_capacity(taken);
            for (record, row) in (&records).into_iter().zip(chunk) {
                let mut record = record.map_err(|e| e.to_string())?;
                columns.restore(*row, &mut record);
                self.0.layout.unseen(&record, &mut retried.unseen);
                views.push(record);
            }
            if retried.unseen.is_empty() {
                self.retry_partition(partition, &views, &mut retried.partitions)?;
            }
        }
        if !retried.unseen.is_empty() {
            retried.partitions.clear();
        }
        Ok(retried)
    }

    /// Records of one partition. Those that have fields without a column are left: columns come with the log's records.
    fn retry_partition(
        &self,
        partition: PartitionId,
        views: &[RecordView<'_>],
        retried: &mut Vec<Retried>,
    ) -> Result<(), String> {
        let found = self.0.layout.rows(partition, views, Era::Newest);
        match views {
            [record] if found.unfit.is_some() => {
                let misfit = Misfit {
                    row: 0,
                    code: schemas::RejectCode::SchemaMismatch.as_str(),
                    message: "it has fields that the table has no columns for yet".to_owned(),
                    schema_id: None,
                };
                let rejected = vec![reject(partition, record, misfit)];
                retried.push(Retried { partition, rows: None, offsets: Vec::new(), rejected });
                return Ok(());
            }
            _ if found.unfit.is_some() => {
                let (first, second) = views.split_at(views.len() / 2);
                self.retry_partition(partition, first, retried)?;
                return self.retry_partition(partition, second, retried);
            }
            _ => {}
        }
        let offsets = match &found.batch {
            Some(rows) => offsets_of(rows)?,
            None => Vec::new(),
        };
        retried.push(Retried { partition, rows: found.batch, offsets, rejected: found.rejected });
        Ok(())
    }
}

/// Rows with partition and offset that are wanted. Others wrote those without: they are left alone.
fn wanted_rows(
    letters: &RecordBatch,
    wanted: &dyn Fn(PartitionId, Offset) -> bool,
) -> Result<Vec<usize>, String> {
    let places = places(letters)?;
    let fits = |(_, place): &(usize, Option<(PartitionId, Offset)>)| place.is_some_and(|(p, o)| wanted(p, o));
    Ok(places.into_iter().enumerate().filter(fits).map(|(row, _)| row).collect())
}

/// Partition and offset of each row of a topic's table or its dead letters, as far as they have them.
pub fn places(rows: &RecordBatch) -> Result<Vec<Option<(PartitionId, Offset)>>, String> {
    let record = column(rows)?;
    let (partitions, offsets) = (member(record, "partition")?, member(record, "offset")?);
    let partitions = partitions.as_primitive_opt::<Int32Type>().ok_or_else(|| wrong("partition"))?;
    let offsets = offsets.as_primitive_opt::<Int64Type>().ok_or_else(|| wrong("offset"))?;
    let place = |row| {
        let known = record.is_valid(row) && partitions.is_valid(row) && offsets.is_valid(row);
        known.then(|| (partitions.value(row), offsets.value(row)))
    };
    Ok((0..rows.num_rows()).map(place).collect())
}

fn offsets_of(rows: &RecordBatch) -> Result<Vec<Offset>, String> {
    Ok(places(rows)?.into_iter().flatten().map(|(_, offset)| offset).collect())
}

/// Tells records of one offset apart: time, key and value. Only for this process.
pub fn fingerprint(record: &RecordView<'_>) -> u64 {
    // As the column has it.
    let time = metadata::TIMESTAMPS_MS.contains(&record.timestamp_ms).then_some(record.timestamp_ms);
    let mut hasher = DefaultHasher::new();
    (time, record.key, record.value).hash(&mut hasher);
    hasher.finish()
}

/// [`fingerprint`] of the record that each dead letter was.
pub fn fingerprints(letters: &RecordBatch) -> Result<Vec<u64>, String> {
    let columns = Letters::of(letters)?;
    let print = |row| {
        let time = columns.timestamps.is_valid(row).then(|| columns.timestamps.value(row).div_euclid(1000));
        let mut hasher = DefaultHasher::new();
        (time, some(&columns.keys, row), some(&columns.values, row)).hash(&mut hasher);
        hasher.finish()
    };
    Ok((0..letters.num_rows()).map(print).collect())
}

fn column(rows: &RecordBatch) -> Result<&StructArray, String> {
    let column = rows.column_by_name(metadata::COLUMN).and_then(|column| column.as_struct_opt());
    column.ok_or_else(|| format!("there is no struct column {}", metadata::COLUMN))
}

fn member<'a>(record: &'a StructArray, name: &str) -> Result<&'a ArrayRef, String> {
    record.column_by_name(name).ok_or_else(|| format!("{}.{name} is missing", metadata::COLUMN))
}

fn wrong(name: &str) -> String {
    format!("{}.{name} has another type than expected", metadata::COLUMN)
}

fn binary(array: &ArrayRef, name: &str) -> Result<BinaryArray, String> {
    let plain = cast(array, &DataType::Binary).map_err(|e| format!("{name}: {e}"))?;
    Ok(plain.as_binary::<i32>().clone())
}

impl<'a> Letters<'a> {
    fn of(letters: &'a RecordBatch) -> Result<Self, String> {
        let record = column(letters)?;
        let int = |name| member(record, name)?.as_primitive_opt::<Int32Type>().ok_or_else(|| wrong(name));
        let offsets = member(record, "offset")?.as_primitive_opt::<Int64Type>();
        let timestamps = member(record, "timestamp")?.as_primitive_opt::<TimestampMicrosecondType>();
        let headers = member(record, "headers")?.as_list_opt::<i32>().ok_or_else(|| wrong("headers"))?;
        let header = headers.values().as_struct_opt().ok_or_else(|| wrong("headers"))?;
        let part = |name| header.column_by_name(name).ok_or_else(|| wrong("headers"));
        let names = part("key")?;
        if names.as_string_opt::<i32>().is_none() {
            return Err(wrong("headers"));
        }
        let value = letters.column_by_name(metadata::VALUE);
        let value = value.ok_or_else(|| format!("there is no column {}", metadata::VALUE))?;
        Ok(Self {
            partitions: int("partition")?.values(),
            offsets: offsets.ok_or_else(|| wrong("offset"))?.values(),
            timestamps: timestamps.ok_or_else(|| wrong("timestamp"))?,
            timestamp_types: int("timestamp_type")?,
            headers,
            header_names: names.clone(),
            header_values: binary(part("value")?, "headers")?,
            keys: binary(member(record, metadata::KEY)?, metadata::KEY)?,
            values: binary(value, metadata::VALUE)?,
        })
    }

    fn push(&self, row: usize, builder: &mut BatchBuilder) {
        let range = match self.headers.is_valid(row) {
            true => {
                self.headers.value_offsets()[row] as usize..self.headers.value_offsets()[row + 1] as usize
            }
            false => 0..0,
        };
        let names = self.header_names.as_string::<i32>();
        let header = |at: usize| {
            let name = if names.is_valid(at) { names.value(at) } else { "" };
            (name.as_bytes(), some(&self.header_values, at))
        };
        let headers: Vec<_> = range.map(header).collect();
        builder.push(0, some(&self.keys, row), some(&self.values, row), &headers);
    }

    /// What a batch would give the record anew.
    fn restore(&self, row: usize, record: &mut RecordView<'_>) {
        record.offset = self.offsets[row];
        // A time that had no form stays without.
        let time = self.timestamps.is_valid(row).then(|| self.timestamps.value(row).div_euclid(1000));
        record.timestamp_ms = time.unwrap_or(i64::MIN);
        record.timestamp_type =
            if self.timestamp_types.is_valid(row) { self.timestamp_types.value(row) } else { 0 };
    }
}

fn some(array: &BinaryArray, row: usize) -> Option<&[u8]> {
    array.is_valid(row).then(|| array.value(row))
}
