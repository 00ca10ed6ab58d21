//! Kafka's record batches of version 2, as bytes.
//!
//! Owns: the 61-byte header, the checks a batch must pass before it is stored, the in-place patch of what the log
//! decides (base offset, leader epoch, time), records and their codecs with bounds, building a batch.
//! Does not own: what keys and values mean; where a batch is stored.
//! Invariants: no count or length of a batch is trusted: every one is compared with the bytes that are there before
//! anything is allocated; decompression never grows beyond the given limit; nothing here panics on any bytes.
//!
//! Layout: <https://kafka.apache.org/documentation/#recordbatch> (all big-endian).

use bytes::Bytes;

pub mod builder;
pub mod check;
mod codec;
mod marker;
pub mod records;
pub(crate) mod rewrite;

pub use builder::BatchBuilder;
pub use codec::Compression;
pub use marker::Marker;
pub use records::{HeaderIter, Headers, RecordIter, RecordView, Records};

/// Bytes before the records.
pub const HEADER_BYTES: usize = 61;
/// Bytes before what `batchLength` counts.
pub(crate) const LENGTH_PREFIX_BYTES: usize = 12;
/// Where the bytes begin that the CRC covers.
pub(crate) const CRC_COVERS_FROM: usize = 21;

pub(crate) const TIMESTAMP_TYPE_BIT: i16 = 1 << 3;
pub(crate) const TRANSACTIONAL_BIT: i16 = 1 << 4;
pub(crate) const CONTROL_BIT: i16 = 1 << 5;
/// The base timestamp is when tombstones (or a marker) of the batch go (KIP-534).
pub(crate) const DELETE_HORIZON_BIT: i16 = 1 << 6;

/// Bytes that are no usable batch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    #[error("corrupt batch: {0}")]
    Corrupt(String),
    #[error("magic byte {0} where 2 is expected")]
    Magic(i8),
    #[error("the records are larger than {0} bytes once decompressed")]
    TooLarge(usize),
    #[error("unknown compression codec {0}")]
    UnknownCodec(u8),
}

impl BatchError {
    pub(crate) fn corrupt(reason: impl Into<String>) -> Self {
        Self::Corrupt(reason.into())
    }
}

/// One v2 batch: its exact bytes, of which the header has been looked at. Cloning shares the bytes.
#[derive(Debug, Clone)]
pub struct BatchView {
    bytes: Bytes,
}

fn be<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    if let Some(found) = bytes.get(at..at + N) {
        out.copy_from_slice(found);
    }
    out
}

/// Whole size of the batch that starts with `bytes`, as its header tells; none when `bytes` is shorter than a
/// length field, or the length is no length of a v2 batch.
pub(crate) fn size_of_first(bytes: &[u8]) -> Option<usize> {
    if bytes.len() < LENGTH_PREFIX_BYTES {
        return None;
    }
    let length = usize::try_from(i32::from_be_bytes(be(bytes, 8))).ok()?;
    let size = LENGTH_PREFIX_BYTES.checked_add(length)?;
    (size >= HEADER_BYTES).then_some(size)
}

impl BatchView {
    /// Takes the first batch of `bytes`; the rest is left in `bytes`. Looks at length and magic only.
    pub fn split_first(bytes: &mut Bytes) -> Result<Self, BatchError> {
        let size = size_of_first(bytes)
            .ok_or_else(|| BatchError::corrupt(format!("{} bytes hold no batch header", bytes.len())))?;
        if size > bytes.len() {
            return Err(BatchError::corrupt(format!(
                "the batch says {size} bytes, {} are there",
                bytes.len()
            )));
        }
        let view = Self { bytes: bytes.split_to(size) };
        match view.magic() {
            2 => Ok(view),
            other => Err(BatchError::Magic(other)),
        }
    }

    /// The batch's bytes, header included.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }
    /// Size in bytes, header included.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }
    pub fn base_offset(&self) -> i64 {
        i64::from_be_bytes(be(&self.bytes, 0))
    }
    pub fn leader_epoch(&self) -> i32 {
        i32::from_be_bytes(be(&self.bytes, 12))
    }
    pub fn magic(&self) -> i8 {
        i8::from_be_bytes(be(&self.bytes, 16))
    }
    pub fn crc(&self) -> u32 {
        u32::from_be_bytes(be(&self.bytes, 17))
    }
    pub fn attributes(&self) -> i16 {
        i16::from_be_bytes(be(&self.bytes, 21))
    }
    pub fn last_offset_delta(&self) -> i32 {
        i32::from_be_bytes(be(&self.bytes, 23))
    }
    pub fn base_timestamp_ms(&self) -> i64 {
        i64::from_be_bytes(be(&self.bytes, 27))
    }
    pub fn max_timestamp_ms(&self) -> i64 {
        i64::from_be_bytes(be(&self.bytes, 35))
    }
    pub fn producer_id(&self) -> i64 {
        i64::from_be_bytes(be(&self.bytes, 43))
    }
    pub fn producer_epoch(&self) -> i16 {
        i16::from_be_bytes(be(&self.bytes, 51))
    }
    pub fn base_sequence(&self) -> i32 {
        i32::from_be_bytes(be(&self.bytes, 53))
    }
    /// Number of records as the header tells; not to be trusted for allocation.
    pub fn count(&self) -> i32 {
        i32::from_be_bytes(be(&self.bytes, 57))
    }
    /// Offset of the last record.
    pub fn last_offset(&self) -> i64 {
        self.base_offset().saturating_add(i64::from(self.last_offset_delta()))
    }
    /// Markers of transactions: not for users.
    pub fn is_control(&self) -> bool {
        self.attributes() & CONTROL_BIT != 0
    }
    /// Part of a transaction: its records, or its marker.
    pub fn is_transactional(&self) -> bool {
        self.attributes() & TRANSACTIONAL_BIT != 0
    }
    /// When tombstones (or the marker) of the batch may go, ms; none before compaction has met it.
    pub(crate) fn delete_horizon_ms(&self) -> Option<i64> {
        (self.attributes() & DELETE_HORIZON_BIT != 0).then(|| self.base_timestamp_ms())
    }
    /// 0: the client's time (CreateTime), 1: the broker's (LogAppendTime).
    pub fn timestamp_type(&self) -> i32 {
        i32::from(self.attributes() & TIMESTAMP_TYPE_BIT != 0)
    }
    /// How the records are compressed.
    pub fn compression(&self) -> Result<Compression, BatchError> {
        Compression::of_attributes(self.attributes())
    }
    /// Whether compaction has rewritten the batch: records are missing, or it bears a delete horizon. Batches are
    /// stored with all their records, so it had other bytes once.
    pub fn is_compacted(&self) -> bool {
        i64::from(self.count()) != i64::from(self.last_offset_delta()) + 1
            || self.attributes() & DELETE_HORIZON_BIT != 0
    }
    /// Whether the CRC-32C fits the bytes it covers.
    pub fn crc_is_right(&self) -> bool {
        self.bytes.get(CRC_COVERS_FROM..).is_some_and(|covered| crc32c::crc32c(covered) == self.crc())
    }
    /// xxh3-64 of the batch without the two fields that the log assigns (base offset, leader epoch); 0, which stands for
    /// nothing known, when compaction has rewritten it.
    pub fn content_hash(&self) -> u64 {
        if self.is_compacted() {
            return 0;
        }
        let mut hasher = xxhash_rust::xxh3::Xxh3::new();
        hasher.update(self.bytes.get(8..12).unwrap_or_default());
        hasher.update(self.bytes.get(16..).unwrap_or_default());
        hasher.digest()
    }
    /// The records, decompressed to at most `limit` bytes.
    pub fn records(&self, limit: usize) -> Result<Records, BatchError> {
        Records::new(self, limit)
    }
}

/// `sequence + delta` as producers count: wraps from `i32::MAX` to 0.
pub(crate) fn add_sequence(sequence: i32, delta: i32) -> i32 {
    let sum = i64::from(sequence) + i64::from(delta);
    (sum % (i64::from(i32::MAX) + 1)) as i32
}

/// The batches in concatenated bytes, as a read returns them.
#[derive(Debug, Clone)]
pub struct Batches {
    rest: Bytes,
}

impl Batches {
    /// Walks over `bytes`; after an error there is nothing more.
    pub fn new(bytes: &Bytes) -> Self {
        Self { rest: bytes.clone() }
    }
}

impl Iterator for Batches {
    type Item = Result<BatchView, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let batch = BatchView::split_first(&mut self.rest);
        if batch.is_err() {
            self.rest.clear();
        }
        Some(batch)
    }
}

#[cfg(test)]
#[path = "batch/tests.rs"]
mod tests;
