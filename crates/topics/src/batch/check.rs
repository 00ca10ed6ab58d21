//! What a batch must be before it is stored, and the patch of what the log decides.
//!
//! Owns: the checks of Kafka's LogValidator, header and records, and the patched header.
//! Does not own: offsets and producer state.
//! Invariants: a [`CheckedBatch`] has a right CRC, sane counts, and records that can be read within the limit.

use bytes::Bytes;

use super::{
    BatchError, BatchView, CONTROL_BIT, CRC_COVERS_FROM, DELETE_HORIZON_BIT, HEADER_BYTES, Marker,
    TIMESTAMP_TYPE_BIT, TRANSACTIONAL_BIT, add_sequence, be,
};
use crate::error::AppendError;

/// What a topic takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    pub message_bytes_max: usize,
    pub decompressed_bytes_max: usize,
    /// A compacted topic takes no record without a key.
    pub key_required: bool,
    /// The log stamps the records itself.
    pub log_append_time: bool,
    /// Client times further back than this are refused, ms.
    pub before_max_ms: i64,
    /// Client times further ahead than this are refused, ms.
    pub after_max_ms: i64,
}

/// Who made a batch (Kafka's AppendOrigin).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A client: its batches bear sequences.
    Client,
    /// This process, on behalf of a producer: its batches in internal topics bear none.
    Coordinator,
}

/// A batch that passed: its header, to be patched, and the rest of its bytes, shared with what was received.
#[derive(Debug)]
pub(crate) struct CheckedBatch {
    header: [u8; HEADER_BYTES],
    body: Bytes,
}

impl From<BatchError> for AppendError {
    fn from(error: BatchError) -> Self {
        match error {
            BatchError::Magic(magic) => Self::UnsupportedMagic(magic),
            BatchError::Corrupt(reason) => Self::CorruptBatch(reason),
            other => Self::CorruptBatch(other.to_string()),
        }
    }
}

/// Checks one batch: exactly one, whole, CRC right, readable.
pub(crate) fn check(
    topic: &str,
    batch: &Bytes,
    rules: &Rules,
    now_ms: i64,
    origin: Origin,
) -> Result<CheckedBatch, AppendError> {
    let corrupt = |reason: String| Err(AppendError::CorruptBatch(reason));
    // Old messages have another layout up to the magic byte, which lies at the same place in all of them.
    match batch.get(16).map(|b| *b as i8) {
        Some(2) | None => {}
        Some(magic) => return Err(AppendError::UnsupportedMagic(magic)),
    }
    let mut rest = batch.clone();
    let view = BatchView::split_first(&mut rest)?;
    if !rest.is_empty() {
        return corrupt(format!("{} bytes follow the batch: one batch per partition is taken", rest.len()));
    }
    if view.size() > rules.message_bytes_max {
        return Err(AppendError::TooLarge {
            topic: topic.to_owned(),
            size: view.size(),
            max: rules.message_bytes_max,
        });
    }
    if !view.crc_is_right() {
        return corrupt("the CRC does not fit the bytes".into());
    }
    check_header(&view, origin)?;
    let max_timestamp_ms = check_records(&view, rules, now_ms)?;
    let mut checked = CheckedBatch { header: header_of(&view), body: view.bytes().slice(HEADER_BYTES..) };
    if rules.log_append_time {
        checked.stamp(now_ms, true);
    } else if max_timestamp_ms != view.max_timestamp_ms() || view.timestamp_type() == 1 {
        checked.stamp(max_timestamp_ms, false);
    }
    Ok(checked)
}

fn check_header(view: &BatchView, origin: Origin) -> Result<(), AppendError> {
    let corrupt = |reason: String| Err(AppendError::CorruptBatch(reason));
    if view.attributes() & CONTROL_BIT != 0 {
        return corrupt("clients may not write control batches".into());
    }
    if view.is_transactional() && view.producer_id() < 0 {
        return corrupt("a transactional batch bears no producer id".into());
    }
    if view.attributes() & DELETE_HORIZON_BIT != 0 {
        return corrupt("clients may not set a delete horizon".into());
    }
    let (count, last) = (view.count(), view.last_offset_delta());
    if count <= 0 || last < 0 || i64::from(count) != i64::from(last) + 1 {
        return corrupt(format!("{count} records and last offset delta {last} do not fit"));
    }
    view.compression()?;
    let (id, epoch, sequence) = (view.producer_id(), view.producer_epoch(), view.base_sequence());
    let unsequenced = sequence < 0 && origin == Origin::Client;
    if id < -1 || (id >= 0 && (epoch < 0 || unsequenced)) || (id == -1 && sequence >= 0) {
        return corrupt(format!("producer {id}, epoch {epoch} and sequence {sequence} do not fit"));
    }
    Ok(())
}

/// Walks over all records; returns the largest of their timestamps.
fn check_records(view: &BatchView, rules: &Rules, now_ms: i64) -> Result<i64, AppendError> {
    let records = view.records(rules.decompressed_bytes_max)?;
    let create_time = !rules.log_append_time;
    let (mut expected, mut max_timestamp_ms) = (view.base_offset(), i64::MIN);
    let mut keyless = Vec::new();
    for record in &records {
        let record = record?;
        if record.offset != expected {
            return Err(AppendError::InvalidRecord(format!(
                "offset delta {} where {} is expected",
                record.offset.wrapping_sub(view.base_offset()),
                expected.wrapping_sub(view.base_offset())
            )));
        }
        if rules.key_required && record.key.is_none() {
            // The header's count, which fits 32 bits, has been compared with the records.
            keyless.push(expected.wrapping_sub(view.base_offset()) as i32);
        }
        expected = expected.wrapping_add(1);
        // -1 is Kafka's "no timestamp".
        if create_time && record.timestamp_ms != -1 {
            let (back, ahead) =
                (now_ms.saturating_sub(record.timestamp_ms), record.timestamp_ms.saturating_sub(now_ms));
            if back > rules.before_max_ms || ahead > rules.after_max_ms {
                return Err(AppendError::InvalidTimestamp(record.timestamp_ms));
            }
        }
        max_timestamp_ms = max_timestamp_ms.max(record.timestamp_ms);
    }
    // All of them are told: the client fails these and sends the others again (KIP-467).
    if keyless.is_empty() { Ok(max_timestamp_ms) } else { Err(AppendError::KeysMissing(keyless)) }
}

fn header_of(view: &BatchView) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header.copy_from_slice(&view.bytes()[..HEADER_BYTES]);
    header
}

impl CheckedBatch {
    /// A batch that was stored once.
    pub(crate) fn stored(view: &BatchView) -> Self {
        Self { header: header_of(view), body: view.bytes().slice(HEADER_BYTES..) }
    }

    /// Sets the time the header tells, and its CRC.
    fn stamp(&mut self, max_timestamp_ms: i64, log_append_time: bool) {
        let mut attributes = i16::from_be_bytes([self.header[21], self.header[22]]) & !TIMESTAMP_TYPE_BIT;
        if log_append_time {
            attributes |= TIMESTAMP_TYPE_BIT;
        }
        self.header[21..23].copy_from_slice(&attributes.to_be_bytes());
        self.header[35..43].copy_from_slice(&max_timestamp_ms.to_be_bytes());
        let crc = crc32c::crc32c(&self.header[CRC_COVERS_FROM..]);
        let crc = crc32c::crc32c_append(crc, &self.body);
        self.header[17..21].copy_from_slice(&crc.to_be_bytes());
    }

    /// Sets what lies outside the CRC: where the batch stands in the log.
    pub(crate) fn place(&mut self, base_offset: i64, leader_epoch: i32) {
        self.header[..8].copy_from_slice(&base_offset.to_be_bytes());
        self.header[12..16].copy_from_slice(&leader_epoch.to_be_bytes());
    }

    pub(crate) fn header(&self) -> &[u8; HEADER_BYTES] {
        &self.header
    }
    pub(crate) fn body(&self) -> &Bytes {
        &self.body
    }
    pub(crate) fn size(&self) -> usize {
        HEADER_BYTES + self.body.len()
    }
    pub(crate) fn facts(&self) -> Facts {
        Facts::of_parts(&self.header, &self.body)
    }

    /// Stamps the batch with the log's own time.
    pub(crate) fn stamp_append_time(&mut self, now_ms: i64) {
        self.stamp(now_ms, true);
    }
}

/// What the log needs to know of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Facts {
    pub base_offset: i64,
    pub last_offset: i64,
    pub leader_epoch: i32,
    pub max_timestamp_ms: i64,
    pub log_append_time: bool,
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub base_sequence: i32,
    pub last_sequence: i32,
    pub transactional: bool,
    /// Set for a control batch that ends a transaction.
    pub marker: Option<Marker>,
}

impl Facts {
    /// Reads a whole batch; missing bytes count as zeros.
    pub(crate) fn of(batch: &[u8]) -> Self {
        let (header, records) = batch.split_at(batch.len().min(HEADER_BYTES));
        Self::of_parts(header, records)
    }

    fn of_parts(header: &[u8], records: &[u8]) -> Self {
        let attributes = i16::from_be_bytes(be(header, 21));
        let base_offset = i64::from_be_bytes(be(header, 0));
        let last_delta = i32::from_be_bytes(be(header, 23));
        let base_sequence = i32::from_be_bytes(be(header, 53));
        Self {
            base_offset,
            last_offset: base_offset.saturating_add(i64::from(last_delta)),
            leader_epoch: i32::from_be_bytes(be(header, 12)),
            // A batch without records, which compaction leaves of some, bears a time but has none.
            max_timestamp_ms: match i32::from_be_bytes(be(header, 57)) {
                0 => -1,
                _ => i64::from_be_bytes(be(header, 35)),
            },
            log_append_time: attributes & TIMESTAMP_TYPE_BIT != 0,
            producer_id: i64::from_be_bytes(be(header, 43)),
            producer_epoch: i16::from_be_bytes(be(header, 51)),
            base_sequence,
            last_sequence: add_sequence(base_sequence, last_delta),
            transactional: attributes & TRANSACTIONAL_BIT != 0,
            marker: if attributes & CONTROL_BIT != 0 { Marker::of_records(records) } else { None },
        }
    }
}
