//! Batches of which records were removed.
//!
//! Owns: the bytes of a batch that lost records and kept its place: base offset, last offset delta, leader epoch,
//! producer, epoch and sequence are those of the original, as in Kafka's MemoryRecords.filterTo.
//! Does not own: which records stay.

use bytes::Bytes;

use super::builder::{nullable_size, put_nullable, put_varint, varint_size};
use super::{
    BatchError, BatchView, CONTROL_BIT, CRC_COVERS_FROM, DELETE_HORIZON_BIT, HEADER_BYTES,
    LENGTH_PREFIX_BYTES, RecordView, TIMESTAMP_TYPE_BIT, TRANSACTIONAL_BIT,
};

const NO_TIMESTAMP: i64 = -1;

/// The original with these of its records, which are at least one; with a delete horizon, ms, when it bears one.
pub(crate) fn rebuilt(
    original: &BatchView,
    records: &[RecordView<'_>],
    horizon_ms: Option<i64>,
) -> Result<Bytes, BatchError> {
    let first = records.first().map_or(NO_TIMESTAMP, |r| r.timestamp_ms);
    let base_timestamp_ms = horizon_ms.unwrap_or(first);
    let mut plain = Vec::new();
    for record in records {
        put_record(&mut plain, original.base_offset(), base_timestamp_ms, record);
    }
    let compression = original.compression()?;
    let packed =
        compression.compress(&plain).map_err(|e| BatchError::corrupt(format!("cannot compress: {e}")))?;
    let largest = match original.timestamp_type() {
        1 => original.max_timestamp_ms(),
        _ => records.iter().map(|r| r.timestamp_ms).max().unwrap_or(NO_TIMESTAMP),
    };
    let horizon_bit = if horizon_ms.is_some() { DELETE_HORIZON_BIT } else { 0 };
    let attributes = compression.bits() | lasting_bits(original) | horizon_bit;
    let count = i32::try_from(records.len()).map_err(|_| BatchError::TooLarge(i32::MAX as usize))?;
    assemble(original, attributes, base_timestamp_ms, largest, count, &packed)
}

/// The original without any record, for what its header says.
pub(crate) fn emptied(original: &BatchView) -> Bytes {
    let attributes = lasting_bits(original);
    let largest = i64::from_be_bytes(super::be(original.bytes(), 35));
    // Nothing is too large here.
    assemble(original, attributes, NO_TIMESTAMP, largest, 0, &[]).unwrap_or_default()
}

fn lasting_bits(original: &BatchView) -> i16 {
    original.attributes() & (TIMESTAMP_TYPE_BIT | TRANSACTIONAL_BIT | CONTROL_BIT)
}

fn put_record(out: &mut Vec<u8>, base_offset: i64, base_timestamp_ms: i64, record: &RecordView<'_>) {
    let offset_delta = record.offset.wrapping_sub(base_offset);
    let timestamp_delta = record.timestamp_ms.wrapping_sub(base_timestamp_ms);
    let mut size = 1
        + varint_size(timestamp_delta)
        + varint_size(offset_delta)
        + nullable_size(record.key)
        + nullable_size(record.value)
        + varint_size(record.headers.len() as i64);
    for (key, value) in record.headers {
        size += nullable_size(Some(key)) + nullable_size(value);
    }
    put_varint(out, size as i64);
    out.push(0);
    put_varint(out, timestamp_delta);
    put_varint(out, offset_delta);
    put_nullable(out, record.key);
    put_nullable(out, record.value);
    put_varint(out, record.headers.len() as i64);
    for (key, value) in record.headers {
        put_nullable(out, Some(key));
        put_nullable(out, value);
    }
}

fn assemble(
    original: &BatchView,
    attributes: i16,
    base_timestamp_ms: i64,
    max_timestamp_ms: i64,
    count: i32,
    packed: &[u8],
) -> Result<Bytes, BatchError> {
    let length = i32::try_from(HEADER_BYTES - LENGTH_PREFIX_BYTES + packed.len())
        .map_err(|_| BatchError::TooLarge(i32::MAX as usize))?;
    let mut bytes = Vec::with_capacity(HEADER_BYTES + packed.len());
    bytes.extend_from_slice(&original.base_offset().to_be_bytes());
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(&original.leader_epoch().to_be_bytes());
    bytes.push(2);
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&attributes.to_be_bytes());
    bytes.extend_from_slice(&original.last_offset_delta().to_be_bytes());
    bytes.extend_from_slice(&base_timestamp_ms.to_be_bytes());
    bytes.extend_from_slice(&max_timestamp_ms.to_be_bytes());
    bytes.extend_from_slice(&original.producer_id().to_be_bytes());
    bytes.extend_from_slice(&original.producer_epoch().to_be_bytes());
    bytes.extend_from_slice(&original.base_sequence().to_be_bytes());
    bytes.extend_from_slice(&count.to_be_bytes());
    bytes.extend_from_slice(packed);
    let crc = crc32c::crc32c(&bytes[CRC_COVERS_FROM..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    Ok(bytes.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{BatchBuilder, Compression};

    fn view(mut bytes: Bytes) -> BatchView {
        BatchView::split_first(&mut bytes).expect("batch")
    }

    #[test]
    fn what_stays_keeps_its_place_and_its_content() {
        for codec in
            [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd]
        {
            let mut builder = BatchBuilder::new().compression(codec).producer(7, 3, 11);
            for i in 0..20_i64 {
                let headers: &[(&[u8], Option<&[u8]>)] = &[(b"h", Some(b"v")), (b"h", None)];
                let value = (i % 5 != 0).then_some(&b"value"[..]);
                builder.push(1_000 + (i * 7) % 13, Some(&i.to_be_bytes()), value, headers);
            }
            let original = view(builder.build().expect("build"));
            let records = original.records(1 << 20).expect("records");
            let all: Vec<_> = records.iter().map(|r| r.expect("record")).collect();
            let some: Vec<_> = all.iter().filter(|r| r.offset % 3 == 1).copied().collect();
            for horizon in [None, Some(123_456_789)] {
                let rewritten = view(rebuilt(&original, &some, horizon).expect("rebuild"));
                assert!(rewritten.crc_is_right() && rewritten.is_compacted());
                assert_eq!((rewritten.content_hash(), rewritten.delete_horizon_ms()), (0, horizon));
                assert_eq!((rewritten.base_offset(), rewritten.last_offset()), (0, 19));
                assert_eq!(
                    (rewritten.producer_id(), rewritten.producer_epoch(), rewritten.base_sequence()),
                    (7, 3, 11)
                );
                let records = rewritten.records(1 << 20).expect("records");
                let back: Vec<_> = records.iter().map(|r| r.expect("record")).collect();
                assert_eq!(back.len(), some.len());
                for (a, b) in back.iter().zip(&some) {
                    assert_eq!(
                        (a.offset, a.timestamp_ms, a.key, a.value),
                        (b.offset, b.timestamp_ms, b.key, b.value)
                    );
                    assert!(a.headers.iter().eq(b.headers.iter()));
                }
                let largest = some.iter().map(|r| r.timestamp_ms).max();
                assert_eq!(Some(rewritten.max_timestamp_ms()), largest);
            }
            let empty = view(emptied(&original));
            assert!(empty.crc_is_right() && empty.is_compacted() && empty.size() == HEADER_BYTES);
            assert_eq!((empty.count(), empty.last_offset(), empty.base_sequence()), (0, 19, 11));
            assert_eq!(empty.records(1 << 20).expect("records").iter().count(), 0);
        }
    }
}
