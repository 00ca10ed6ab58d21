//! Builds one v2 batch from records.
//!
//! Owns: the encoding of records and header.
//! Does not own: how many records make a good batch (the caller watches [`BatchBuilder::plain_bytes`]).

use bytes::Bytes;

use super::{BatchError, CONTROL_BIT, Compression, HEADER_BYTES, TRANSACTIONAL_BIT};

/// Builds one batch; offsets begin at 0 and are assigned by the append.
#[derive(Debug, Clone)]
pub struct BatchBuilder {
    compression: Compression,
    /// Attribute bits besides the codec.
    flags: i16,
    producer: (i64, i16, i32),
    /// Room for the header, then the records.
    bytes: Vec<u8>,
    count: i32,
    base_timestamp_ms: i64,
    max_timestamp_ms: i64,
}

impl Default for BatchBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl BatchBuilder {
    /// An empty, uncompressed batch of no producer.
    pub fn new() -> Self {
        Self {
            compression: Compression::None,
            flags: 0,
            producer: (-1, -1, -1),
            bytes: vec![0; HEADER_BYTES],
            count: 0,
            base_timestamp_ms: 0,
            max_timestamp_ms: i64::MIN,
        }
    }

    /// Compresses the records.
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    /// Makes it a batch of an idempotent producer.
    pub fn producer(mut self, id: i64, epoch: i16, base_sequence: i32) -> Self {
        self.producer = (id, epoch, base_sequence);
        self
    }

    /// Makes it part of the producer's open transaction.
    pub fn transactional(mut self) -> Self {
        self.flags |= TRANSACTIONAL_BIT;
        self
    }

    /// Makes its record one for readers of the log, not for users.
    pub(crate) fn control(mut self) -> Self {
        self.flags |= CONTROL_BIT;
        self
    }

    /// Adds a record.
    pub fn push(
        &mut self,
        timestamp_ms: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&[u8], Option<&[u8]>)],
    ) {
        if self.count == 0 {
            self.base_timestamp_ms = timestamp_ms;
        }
        self.max_timestamp_ms = self.max_timestamp_ms.max(timestamp_ms);
        let timestamp_delta = timestamp_ms.wrapping_sub(self.base_timestamp_ms);
        let mut size = 1
            + varint_size(timestamp_delta)
            + varint_size(i64::from(self.count))
            + nullable_size(key)
            + nullable_size(value)
            + varint_size(headers.len() as i64);
        for (key, value) in headers {
            size += nullable_size(Some(key)) + nullable_size(*value);
        }
        self.bytes.reserve(size + 5);
        let out = &mut self.bytes;
        put_varint(out, size as i64);
        out.push(0);
        put_varint(out, timestamp_delta);
        put_varint(out, i64::from(self.count));
        put_nullable(out, key);
        put_nullable(out, value);
        put_varint(out, headers.len() as i64);
        for (key, value) in headers {
            put_nullable(out, Some(key));
            put_nullable(out, *value);
        }
        self.count += 1;
    }

    /// Records so far.
    pub fn len(&self) -> usize {
        self.count as usize
    }
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
    /// Size so far, before compression, header included.
    pub fn plain_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The batch. Fails when it is empty, or larger than a batch can say (2 GiB).
    pub fn build(mut self) -> Result<Bytes, BatchError> {
        if self.count == 0 {
            return Err(BatchError::corrupt("a batch needs a record"));
        }
        if self.compression != Compression::None {
            let packed = self
                .compression
                .compress(&self.bytes[HEADER_BYTES..])
                .map_err(|e| BatchError::corrupt(format!("cannot compress: {e}")))?;
            self.bytes.truncate(HEADER_BYTES);
            self.bytes.extend_from_slice(&packed);
        }
        let length = i32::try_from(self.bytes.len() - super::LENGTH_PREFIX_BYTES)
            .map_err(|_| BatchError::TooLarge(i32::MAX as usize))?;
        let (producer_id, producer_epoch, base_sequence) = self.producer;
        let mut header = Vec::with_capacity(HEADER_BYTES);
        header.extend_from_slice(&0i64.to_be_bytes());
        header.extend_from_slice(&length.to_be_bytes());
        header.extend_from_slice(&(-1i32).to_be_bytes());
        header.push(2);
        header.extend_from_slice(&[0; 4]);
        header.extend_from_slice(&(self.compression.bits() | self.flags).to_be_bytes());
        header.extend_from_slice(&(self.count - 1).to_be_bytes());
        header.extend_from_slice(&self.base_timestamp_ms.to_be_bytes());
        header.extend_from_slice(&self.max_timestamp_ms.to_be_bytes());
        header.extend_from_slice(&producer_id.to_be_bytes());
        header.extend_from_slice(&producer_epoch.to_be_bytes());
        header.extend_from_slice(&base_sequence.to_be_bytes());
        header.extend_from_slice(&self.count.to_be_bytes());
        self.bytes[..HEADER_BYTES].copy_from_slice(&header);
        let crc = crc32c::crc32c(&self.bytes[super::CRC_COVERS_FROM..]);
        self.bytes[17..21].copy_from_slice(&crc.to_be_bytes());
        Ok(self.bytes.into())
    }
}

pub(super) fn put_varint(out: &mut Vec<u8>, value: i64) {
    let mut left = zigzag(value);
    while left >= 0x80 {
        out.push((left as u8) | 0x80);
        left >>= 7;
    }
    out.push(left as u8);
}

pub(super) fn put_nullable(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        None => put_varint(out, -1),
        Some(bytes) => {
            put_varint(out, bytes.len() as i64);
            out.extend_from_slice(bytes);
        }
    }
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

pub(super) fn varint_size(value: i64) -> usize {
    (64 - (zigzag(value) | 1).leading_zeros() as usize).div_ceil(7)
}

pub(super) fn nullable_size(bytes: Option<&[u8]>) -> usize {
    bytes.map_or(1, |b| varint_size(b.len() as i64) + b.len())
}
