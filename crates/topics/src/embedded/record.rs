//! What one write-ahead record says.
//!
//! Owns: the bytes of a record: batches of several partitions and the step of a named writer.
//! Does not own: framing and checksums (storage/wal).
//! Invariants: decoding trusts no length, although the frame's checksum was right.
//!
//! Little-endian: version (1), flags (1: a writer), [writer: length (2), name, epoch (8), has a value (1),
//! length (4), value], number of batches (4), per batch: topic id (16), partition (4), length (4); then the batches.

use base::{PartitionId, TopicId};
use bytes::{Buf, Bytes};

use super::queue::{Record, WriterStep};
use crate::batch::BatchView;
use crate::log::WriterId;

const VERSION: u8 = 1;
const HAS_WRITER: u8 = 1;

/// Longest name of a writer, bytes.
pub(crate) const WRITER_NAME_BYTES_MAX: usize = 1024;

/// The record as parts to be written one after the other; the bodies of batches are shared, not copied.
pub(crate) fn encode(record: &Record) -> Vec<Bytes> {
    let mut head = vec![VERSION, u8::from(record.writer.is_some())];
    let mut parts = Vec::with_capacity(2 + 2 * record.batches.len());
    let mut value = None;
    if let Some(step) = &record.writer {
        head.extend_from_slice(&(step.id.0.len() as u16).to_le_bytes());
        head.extend_from_slice(step.id.0.as_bytes());
        head.extend_from_slice(&step.epoch.to_le_bytes());
        head.push(u8::from(step.value.is_some()));
        head.extend_from_slice(&(step.value.as_ref().map_or(0, Bytes::len) as u32).to_le_bytes());
        value = step.value.clone().filter(|v| !v.is_empty());
    }
    if let Some(value) = value {
        parts.push(std::mem::take(&mut head).into());
        parts.push(value);
    }
    head.extend_from_slice(&(record.batches.len() as u32).to_le_bytes());
    for placed in &record.batches {
        head.extend_from_slice(placed.partition.topic.0.as_bytes());
        head.extend_from_slice(&placed.partition.index.to_le_bytes());
        head.extend_from_slice(&(placed.batch.size() as u32).to_le_bytes());
    }
    for placed in &record.batches {
        head.extend_from_slice(placed.batch.header());
        parts.push(std::mem::take(&mut head).into());
        parts.push(placed.batch.body().clone());
    }
    if !head.is_empty() {
        parts.push(head.into());
    }
    parts
}

/// A record that was read back.
#[derive(Debug)]
pub(crate) struct Decoded {
    pub writer: Option<WriterStep>,
    pub batches: Vec<(TopicId, PartitionId, BatchView)>,
}

/// Reads a record; the error tells what is wrong.
pub(crate) fn decode(mut bytes: Bytes) -> Result<Decoded, String> {
    let short = |_| "the record is cut short".to_owned();
    match bytes.try_get_u8().map_err(short)? {
        VERSION => {}
        other => return Err(format!("the record has version {other}, this program knows {VERSION}")),
    }
    let flags = bytes.try_get_u8().map_err(short)?;
    let writer = if flags & HAS_WRITER == 0 { None } else { Some(decode_writer(&mut bytes)?) };
    let count = bytes.try_get_u32_le().map_err(short)? as usize;
    let mut places = Vec::with_capacity(count.min(bytes.len() / 24));
    for _ in 0..count {
        let topic = TopicId(uuid::Uuid::from_bytes(bytes.try_get_u128().map_err(short)?.to_be_bytes()));
        let partition = bytes.try_get_i32_le().map_err(short)?;
        let length = bytes.try_get_u32_le().map_err(short)? as usize;
        places.push((topic, partition, length));
    }
    let mut batches = Vec::with_capacity(places.len());
    for (topic, partition, length) in places {
        let mut one = take(&mut bytes, length)?;
        let batch = BatchView::split_first(&mut one).map_err(|e| e.to_string())?;
        if !one.is_empty() || !batch.crc_is_right() {
            return Err("a batch of the record is broken".into());
        }
        batches.push((topic, partition, batch));
    }
    Ok(Decoded { writer, batches })
}

fn decode_writer(bytes: &mut Bytes) -> Result<WriterStep, String> {
    let short = |_| "the record is cut short".to_owned();
    let length = usize::from(bytes.try_get_u16_le().map_err(short)?);
    let name = take(bytes, length)?;
    let name = std::str::from_utf8(&name).map_err(|_| "the writer's name is not UTF-8")?;
    let epoch = bytes.try_get_i64_le().map_err(short)?;
    let has_value = bytes.try_get_u8().map_err(short)? != 0;
    let length = bytes.try_get_u32_le().map_err(short)? as usize;
    // The value is copied: a slice would keep the whole write-ahead file in memory.
    let value = Bytes::copy_from_slice(&take(bytes, length)?);
    Ok(WriterStep { id: WriterId::new(name), epoch, value: has_value.then_some(value) })
}

fn take(bytes: &mut Bytes, length: usize) -> Result<Bytes, String> {
    if length > bytes.len() { Err("the record is cut short".into()) } else { Ok(bytes.split_to(length)) }
}
