//! The records of a batch, as views into its decompressed bytes.
//!
//! Owns: the walk over records and headers, without an allocation per record.
//! Does not own: decompression.
//! Invariants: a yielded record lies whole inside its batch; its offset lies inside the batch's range.

use bytes::Bytes;

use super::{BatchError, BatchView, HEADER_BYTES};

/// The records of one batch. Owns their bytes; [`Records::iter`] lends views.
#[derive(Debug, Clone)]
pub struct Records {
    plain: Bytes,
    base_offset: i64,
    last_offset_delta: i32,
    base_timestamp_ms: i64,
    log_append_time_ms: Option<i64>,
    count: i32,
    control: bool,
}

/// One record. Times are milliseconds since 1970 UTC.
#[derive(Debug, Clone, Copy)]
pub struct RecordView<'a> {
    pub offset: i64,
    pub timestamp_ms: i64,
    /// 0: the client's time (CreateTime), 1: the broker's (LogAppendTime).
    pub timestamp_type: i32,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: Headers<'a>,
}

impl Records {
    pub(crate) fn new(batch: &BatchView, limit: usize) -> Result<Self, BatchError> {
        let packed = batch.bytes().slice(HEADER_BYTES.min(batch.size())..);
        let plain = batch.compression()?.decompress(packed, limit)?;
        Ok(Self {
            plain,
            base_offset: batch.base_offset(),
            last_offset_delta: batch.last_offset_delta(),
            base_timestamp_ms: batch.base_timestamp_ms(),
            log_append_time_ms: (batch.timestamp_type() == 1).then(|| batch.max_timestamp_ms()),
            count: batch.count(),
            control: batch.is_control(),
        })
    }

    /// Whether these are markers of transactions: not for users.
    pub fn is_control(&self) -> bool {
        self.control
    }

    /// Views of the records in offset order. After an error there is nothing more.
    pub fn iter(&self) -> RecordIter<'_> {
        RecordIter { records: self, rest: &self.plain, left: self.count.max(0), last_delta: -1 }
    }

    /// Bytes of all records, decompressed.
    pub fn plain_bytes(&self) -> usize {
        self.plain.len()
    }
}

impl<'a> IntoIterator for &'a Records {
    type Item = Result<RecordView<'a>, BatchError>;
    type IntoIter = RecordIter<'a>;
    fn into_iter(self) -> RecordIter<'a> {
        self.iter()
    }
}

/// Walks over records.
#[derive(Debug, Clone)]
pub struct RecordIter<'a> {
    records: &'a Records,
    rest: &'a [u8],
    left: i32,
    last_delta: i32,
}

impl<'a> Iterator for RecordIter<'a> {
    type Item = Result<RecordView<'a>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            if self.rest.is_empty() {
                return None;
            }
            self.rest = &[];
            return Some(Err(BatchError::corrupt("bytes are left after the last record")));
        }
        self.left -= 1;
        let record = self.read();
        if record.is_err() {
            self.left = 0;
            self.rest = &[];
        }
        Some(record)
    }
}

impl<'a> RecordIter<'a> {
    fn read(&mut self) -> Result<RecordView<'a>, BatchError> {
        let size = length(varint(&mut self.rest)?)?;
        let mut body = take(&mut self.rest, size)?;
        let body = &mut body;
        take(body, 1)?;
        let timestamp_delta = varlong(body)?;
        let delta = varint(body)?;
        if delta <= self.last_delta || delta > self.records.last_offset_delta {
            return Err(BatchError::corrupt(format!("offset delta {delta} is out of order or range")));
        }
        self.last_delta = delta;
        let key = nullable(body)?;
        let value = nullable(body)?;
        let headers = Headers::check(body)?;
        let (timestamp_ms, timestamp_type) = match self.records.log_append_time_ms {
            Some(time) => (time, 1),
            None => (self.records.base_timestamp_ms.wrapping_add(timestamp_delta), 0),
        };
        let offset = self.records.base_offset.wrapping_add(i64::from(delta));
        Ok(RecordView { offset, timestamp_ms, timestamp_type, key, value, headers })
    }
}

/// The headers of a record, in order; keys may repeat and need not be UTF-8.
#[derive(Debug, Clone, Copy)]
pub struct Headers<'a> {
    count: usize,
    bytes: &'a [u8],
}

impl<'a> Headers<'a> {
    fn check(body: &mut &'a [u8]) -> Result<Self, BatchError> {
        let count = length(varint(body)?)?;
        let headers = Self { count, bytes: body };
        for _ in 0..count {
            let size = length(varint(body)?)?;
            take(body, size)?;
            nullable(body)?;
        }
        if body.is_empty() {
            Ok(headers)
        } else {
            Err(BatchError::corrupt("bytes are left after the last header of a record"))
        }
    }

    pub fn len(&self) -> usize {
        self.count
    }
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
    pub fn iter(&self) -> HeaderIter<'a> {
        HeaderIter { left: self.count, rest: self.bytes }
    }
}

impl<'a> IntoIterator for Headers<'a> {
    type Item = (&'a [u8], Option<&'a [u8]>);
    type IntoIter = HeaderIter<'a>;
    fn into_iter(self) -> HeaderIter<'a> {
        self.iter()
    }
}

/// Walks over headers: (key, value).
#[derive(Debug, Clone)]
pub struct HeaderIter<'a> {
    left: usize,
    rest: &'a [u8],
}

impl<'a> Iterator for HeaderIter<'a> {
    type Item = (&'a [u8], Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        // All of this was checked when the record was read.
        let size = length(varint(&mut self.rest).ok()?).ok()?;
        let key = take(&mut self.rest, size).ok()?;
        Some((key, nullable(&mut self.rest).ok()?))
    }
}

/// Key and value of the first of uncompressed records.
pub(super) fn first_record(mut records: &[u8]) -> Result<(Option<&[u8]>, Option<&[u8]>), BatchError> {
    let size = length(varint(&mut records)?)?;
    let mut body = take(&mut records, size)?;
    take(&mut body, 1)?;
    varlong(&mut body)?;
    varint(&mut body)?;
    Ok((nullable(&mut body)?, nullable(&mut body)?))
}

fn take<'a>(bytes: &mut &'a [u8], size: usize) -> Result<&'a [u8], BatchError> {
    match bytes.split_at_checked(size) {
        Some((head, tail)) => {
            *bytes = tail;
            Ok(head)
        }
        None => Err(BatchError::corrupt(format!("{size} bytes are announced, {} are left", bytes.len()))),
    }
}

fn length(value: i32) -> Result<usize, BatchError> {
    usize::try_from(value).map_err(|_| BatchError::corrupt(format!("negative length {value}")))
}

fn nullable<'a>(bytes: &mut &'a [u8]) -> Result<Option<&'a [u8]>, BatchError> {
    match varint(bytes)? {
        -1 => Ok(None),
        size => Ok(Some(take(bytes, length(size)?)?)),
    }
}

fn unsigned(bytes: &mut &[u8], bytes_max: usize) -> Result<u64, BatchError> {
    let mut value = 0u64;
    for (i, byte) in bytes.iter().take(bytes_max).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * i).min(63);
        if byte & 0x80 == 0 {
            *bytes = &bytes[i + 1..];
            return Ok(value);
        }
    }
    Err(BatchError::corrupt("a varint has no end"))
}

fn varint(bytes: &mut &[u8]) -> Result<i32, BatchError> {
    // One byte is by far the most frequent.
    if let Some((&first, tail)) = bytes.split_first()
        && first < 0x80
    {
        *bytes = tail;
        return Ok(i32::from(first >> 1) ^ -i32::from(first & 1));
    }
    let value = unsigned(bytes, 5)?;
    let value = u32::try_from(value).map_err(|_| BatchError::corrupt("a varint is larger than 32 bits"))?;
    Ok(((value >> 1) as i32) ^ -((value & 1) as i32))
}

fn varlong(bytes: &mut &[u8]) -> Result<i64, BatchError> {
    let value = unsigned(bytes, 10)?;
    Ok(((value >> 1) as i64) ^ -((value & 1) as i64))
}
