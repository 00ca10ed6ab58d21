//! Batches of the log as rows.
//!
//! Owns: walking the batches of a read, cutting them into chunks between two switches, stopping before a schema, or
//! columns of JSON, that are not stored yet.
//! Does not own: reading the log, decoding values.
//! Invariants: every offset in `[from, next)` is a row, a rejected record, or belongs to no record of a user.

use std::ops::Range;

use base::{Offset, PartitionId};
use tables::Fates;
use topics::ReadBatches;
use topics::batch::{BatchError, Batches, RecordView, Records};

use super::layout::{Layout, Unseen};
use super::part::Era;
use super::{DecodedRows, RowsError};

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

/// What becomes of a JSON record that has fields without a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NewFields {
    /// Decoding stops before it and says which columns it needs.
    Stop,
    /// They are left out.
    Hide,
}

/// Decodes what was read of `range`. `limit` is the largest decompressed size of one batch, in bytes.
pub(super) fn decode(
    layout: &Layout,
    (topic, partition): (&str, PartitionId),
    mut range: Range<Offset>,
    read: &ReadBatches,
    limit: usize,
    new_fields: NewFields,
) -> Result<DecodedRows, RowsError> {
    let damaged = |(offset, error): (Offset, BatchError)| RowsError::Damaged {
        topic: topic.to_owned(),
        partition,
        offset,
        reason: error.to_string(),
    };
    let mut unpacked = unpack(&range, read, limit).map_err(damaged)?;
    let (stop, unseen) = unseen(layout, &range, &unpacked.records);
    if let Some(stop) = stop {
        range.end = stop;
        unpacked = unpack(&range, read, limit).map_err(damaged)?;
    }
    let (mut out, unfit) = rows(layout, partition, &range, &unpacked, new_fields).map_err(damaged)?;
    if let Some(unfit) = unfit.filter(|_| new_fields == NewFields::Stop) {
        let records = unpacked.records.iter().flatten().map_while(Result::ok);
        let grown = layout.grown(records.filter(|r| (unfit..range.end).contains(&r.offset)));
        let stops = grown.is_some();
        if stops {
            range.end = unfit;
            unpacked = unpack(&range, read, limit).map_err(damaged)?;
        }
        // A shape that did not grow has room: there is nothing to wait for.
        (out, _) = rows(layout, partition, &range, &unpacked, NewFields::Hide).map_err(damaged)?;
        out.unseen.grown = grown;
    }
    out.bytes_read = read.bytes.len();
    out.unseen.keys = unseen.keys;
    out.unseen.values = unseen.values;
    Ok(out)
}

/// Decodes the records of a range, and says which is the first one that has fields without a column; if that is to
/// stop it, what comes after is left out.
fn rows(
    layout: &Layout,
    partition: PartitionId,
    range: &Range<Offset>,
    unpacked: &Unpacked,
    new_fields: NewFields,
) -> Result<(DecodedRows, Option<Offset>), (Offset, BatchError)> {
    let mut out = DecodedRows::empty(partition, range.start);
    out.next = unpacked.next;
    out.fates = unpacked.fates;
    out.last_hash = unpacked.last_hash;
    let (mut chunk, mut unfit): (Vec<RecordView<'_>>, _) = (Vec::new(), None);
    let mut switch = layout.next_switch(partition, range.start);
    for record in unpacked.records.iter().flatten() {
        let record = record.map_err(|error| (chunk.last().map_or(range.start, |r| r.offset), error))?;
        if !range.contains(&record.offset) {
            continue;
        }
        let switched = switch.is_some_and(|start| record.offset >= start);
        if switched || chunk.len() == ROWS_MAX {
            unfit = unfit.or(finish(layout, &mut chunk, &mut out));
            if unfit.is_some() && new_fields == NewFields::Stop {
                return Ok((out, unfit));
            }
        }
        if switched {
            switch = layout.next_switch(partition, record.offset);
        }
        chunk.push(record);
    }
    unfit = unfit.or(finish(layout, &mut chunk, &mut out));
    // What neither was passed over as a whole nor is a record has been compacted away.
    let found = out.fates.rows + out.rejected.len() as u64 + out.fates.control + out.fates.aborted;
    out.fates.compacted = (out.next - out.from).max(0).unsigned_abs().saturating_sub(found);
    Ok((out, unfit))
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

/// Where decoding has to stop, because a record there bears a schema that is not stored; and all such schemas of the
/// read. Records that do not parse are named when they are decoded.
fn unseen(layout: &Layout, range: &Range<Offset>, records: &[Records]) -> (Option<Offset>, Unseen) {
    let (mut stop, mut unseen) = (None, Unseen::default());
    if !layout.is_named() {
        return (stop, unseen);
    }
    for record in records.iter().flatten().map_while(Result::ok) {
        if range.contains(&record.offset) && layout.unseen(&record, &mut unseen) {
            stop = stop.or(Some(record.offset));
        }
    }
    (stop, unseen)
}

/// Decodes the records of a chunk, which lie between two switches, and empties it. The first one that has fields
/// without a column.
fn finish(layout: &Layout, chunk: &mut Vec<RecordView<'_>>, out: &mut DecodedRows) -> Option<Offset> {
    if chunk.is_empty() {
        return None;
    }
    let mut rows = layout.rows(out.partition, chunk, Era::OfOffset);
    out.fates.rows += rows.batch.as_ref().map_or(0, |batch| batch.num_rows() as u64);
    out.batches.extend(rows.batch);
    out.rejected.append(&mut rows.rejected);
    chunk.clear();
    rows.unfit
}
