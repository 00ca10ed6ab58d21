//! Batches of the log as rows.
//!
//! Owns: walking the batches of a read, cutting them into chunks of one schema, what is rejected.
//! Does not own: reading the log, decoding values.
//! Invariants: every offset in `[from, next)` is a row, a rejected record, or belongs to no record of a user.

use std::ops::Range;

use base::{Offset, PartitionId};
use tables::Fates;
use topics::ReadBatches;
use topics::batch::{BatchError, Batches, RecordView, Records};

use super::layout::{Layout, Misfit};
use super::metadata::Metadata;
use super::{DecodedRows, RejectedRecord, RowsError};

/// Most rows of one Arrow batch.
const ROWS_MAX: usize = 16_384;
/// Decompressed bytes after which no further batch is looked at in one call.
const PLAIN_BYTES_MAX: usize = 128 << 20;

/// The records of a read that lie in a range.
struct Unpacked {
    records: Vec<Records>,
    next: Offset,
    last_hash: u64,
    /// Offsets without a record for users.
    fates: Fates,
}

/// Decodes what was read of `range`. `limit` is the largest decompressed size of one batch, in bytes.
pub(super) fn decode(
    layout: &Layout,
    topic: &str,
    partition: PartitionId,
    range: Range<Offset>,
    read: &ReadBatches,
    limit: usize,
) -> Result<DecodedRows, RowsError> {
    let damaged = |(offset, error): (Offset, BatchError)| RowsError::Damaged {
        topic: topic.to_owned(),
        partition,
        offset,
        reason: error.to_string(),
    };
    let unpacked = unpack(&range, read, limit).map_err(damaged)?;
    let mut out = DecodedRows::empty(partition, range.start);
    out.next = unpacked.next;
    out.fates = unpacked.fates;
    out.last_hash = unpacked.last_hash;
    out.bytes_read = read.bytes.len();
    let mut chunk: Vec<RecordView<'_>> = Vec::new();
    let mut switch = layout.next_switch(partition, range.start);
    for record in unpacked.records.iter().flatten() {
        let record =
            record.map_err(|error| damaged((chunk.last().map_or(range.start, |r| r.offset), error)))?;
        if !range.contains(&record.offset) {
            continue;
        }
        let switched = switch.is_some_and(|start| record.offset >= start);
        if switched || chunk.len() == ROWS_MAX {
            finish(layout, &mut chunk, &mut out);
        }
        if switched {
            switch = layout.next_switch(partition, record.offset);
        }
        chunk.push(record);
    }
    finish(layout, &mut chunk, &mut out);
    // What neither was passed over as a whole nor is a record has been compacted away.
    let found = out.fates.rows + out.rejected.len() as u64 + out.fates.control + out.fates.aborted;
    out.fates.compacted = (out.next - out.from).max(0).unsigned_abs().saturating_sub(found);
    Ok(out)
}

fn unpack(range: &Range<Offset>, read: &ReadBatches, limit: usize) -> Result<Unpacked, (Offset, BatchError)> {
    // Offsets between batches that hold nothing (after compaction) are passed with what the read reached.
    let mut unpacked = Unpacked {
        records: Vec::new(),
        next: read.next.clamp(range.start, range.end),
        last_hash: 0,
        fates: Fates::default(),
    };
    let mut plain_bytes = 0;
    let mut position = range.start;
    for batch in Batches::new(&read.bytes) {
        let batch = batch.map_err(|error| (position, error))?;
        let after = batch.last_offset().saturating_add(1);
        if after <= range.start {
            continue;
        }
        if batch.base_offset() >= range.end {
            break;
        }
        if plain_bytes >= PLAIN_BYTES_MAX {
            unpacked.next = position;
            break;
        }
        unpacked.last_hash = batch.content_hash();
        let passed = (after.min(range.end) - batch.base_offset().max(range.start)).max(0).unsigned_abs();
        position = after.min(range.end);
        if batch.is_control() {
            unpacked.fates.control += passed;
            continue;
        }
        if read.is_aborted(&batch) {
            unpacked.fates.aborted += passed;
            continue;
        }
        let records = batch.records(limit).map_err(|error| (batch.base_offset(), error))?;
        plain_bytes += records.plain_bytes();
        unpacked.records.push(records);
    }
    Ok(unpacked)
}

/// Decodes the records of a chunk, which all have one schema, and empties it.
fn finish(layout: &Layout, chunk: &mut Vec<RecordView<'_>>, out: &mut DecodedRows) {
    let Some(first) = chunk.first() else { return };
    let values: Vec<Option<&[u8]>> = chunk.iter().map(|record| record.value).collect();
    let fitted = layout.fit(out.partition, first.offset, &values);
    let mut metadata = Metadata::new(out.partition, chunk.len() - fitted.misfits.len().min(chunk.len()));
    let mut misfits = fitted.misfits.into_iter().peekable();
    let mut kept = 0;
    for (row, record) in chunk.drain(..).enumerate() {
        match misfits.next_if(|misfit| misfit.row == row) {
            Some(misfit) => out.rejected.push(rejected(out.partition, &record, misfit, fitted.schema_id)),
            None => {
                kept += 1;
                let headers = record.headers.iter();
                metadata.push(record.offset, record.timestamp_ms, record.timestamp_type, record.key, headers);
            }
        }
    }
    if kept > 0 {
        out.fates.rows += kept;
        out.batches.push(layout.batch(metadata.finish(), fitted.columns));
    }
}

fn rejected(
    partition: PartitionId,
    record: &RecordView<'_>,
    misfit: Misfit,
    schema_id: Option<base::SchemaId>,
) -> RejectedRecord {
    RejectedRecord {
        partition,
        offset: record.offset,
        timestamp_ms: record.timestamp_ms,
        timestamp_type: record.timestamp_type,
        key: record.key.map(<[u8]>::to_vec),
        value: record.value.map(<[u8]>::to_vec),
        headers: record
            .headers
            .iter()
            .map(|(key, value)| (key.to_vec(), value.map(<[u8]>::to_vec)))
            .collect(),
        code: misfit.code,
        message: misfit.message,
        schema_id,
    }
}
