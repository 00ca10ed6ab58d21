//! The readers of bytes that nobody vouches for, as the fuzz targets call them.
//!
//! Owns: nothing. Compiled for `/fuzz` and, so that it does not rot, for the unit tests, where what was found is kept.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use storage::simulated::SimulatedDisk;
use storage::{Disk, OpenMode};

use crate::batch::check::{Origin, Rules, check};
use crate::batch::{BatchError, Batches};
use crate::embedded::{Checkpoint, Index, Walk, decode_record, times_of};

const DECOMPRESSED_BYTES_MAX: usize = 1 << 20;

/// A batch as a client sends it; what is accepted reads back whole as it is stored.
pub fn record_batch(bytes: &Bytes) {
    let mut rules = Rules {
        message_bytes_max: 1 << 20,
        decompressed_bytes_max: DECOMPRESSED_BYTES_MAX,
        key_required: false,
        log_append_time: false,
        before_max_ms: i64::MAX,
        after_max_ms: i64::MAX,
    };
    for log_append_time in [false, true] {
        rules.log_append_time = log_append_time;
        if let Ok(mut checked) = check("t", bytes, &rules, 1_000, Origin::Client) {
            checked.place(7, 1);
            let stored = Bytes::from([&checked.header()[..], checked.body()].concat());
            let read = read_back(&stored).expect("what is accepted reads back");
            assert_eq!((1, checked.facts().last_offset - 6), read);
        }
    }
    let _ = read_back(bytes);
}

/// Reads batches with all that is in them; their number and that of their records.
fn read_back(bytes: &Bytes) -> Result<(usize, i64), BatchError> {
    let (mut batches, mut count) = (0, 0);
    for batch in Batches::new(bytes) {
        let batch = batch?;
        let _ = (batch.content_hash(), batch.last_offset());
        if !batch.crc_is_right() {
            return Err(BatchError::corrupt("the CRC is wrong"));
        }
        let records = batch.records(DECOMPRESSED_BYTES_MAX)?;
        for record in &records {
            let record = record?;
            assert_eq!(record.headers.iter().count(), record.headers.len());
            count += 1;
        }
        batches += 1;
    }
    Ok((batches, count))
}

/// One record of the write-ahead log.
pub fn wal_record(bytes: Bytes) {
    let _ = decode_record(bytes);
}

/// A segment: every batch that a walk hands out lies in the file, whichever piece size is read.
pub fn segment(bytes: &[u8]) {
    let disk = SimulatedDisk::new();
    let path = Path::new("/segment.log");
    let Ok(file) = disk.open(path, OpenMode::Create) else { return };
    if file.write_at(0, bytes).is_err() {
        return;
    }
    let mut ends = Vec::new();
    for piece in [1, 100, 1 << 20] {
        for (position, expected) in [(0, Some(0)), (0, None), (bytes.len() as u64 / 2, None)] {
            let len = bytes.len() as u64;
            let mut walk = Walk::new(Arc::clone(&file), path.to_owned(), len, position, expected, piece);
            let mut count = 0;
            while let Ok(Some(batch)) = walk.next(false) {
                assert!(walk.position() <= len);
                assert_eq!(walk.walked(batch.size()), *batch.bytes());
                count += 1;
            }
            ends.push((position, expected, count));
        }
    }
    let (first, others) = ends.split_at(3);
    assert!(others.chunks(3).all(|again| again == first), "the piece size changes what is found");
}

/// The index files of a segment.
pub fn index(offsets: &[u8], times: &[u8]) {
    for len in [u64::MAX, 1_000] {
        if let Some(index) = Index::parse(offsets, times, len) {
            let (o, t) = (index.offset_bytes(0), index.time_bytes(0));
            assert!(offsets.starts_with(&o));
            assert!(Index::parse(&o, &t, len).is_some(), "what was written reads back");
            for relative in [0, 1, 1_000, u32::MAX] {
                assert!(index.floor(relative).is_none_or(|(offset, _)| offset <= relative));
            }
        }
    }
    let _ = times_of(times);
}

/// The checkpoint file.
pub fn checkpoint(bytes: &[u8]) {
    let disk = SimulatedDisk::new();
    let path = Path::new("/checkpoint.json");
    let written = disk.open(path, OpenMode::Create).and_then(|file| file.write_at(0, bytes));
    if written.is_ok()
        && let Ok(Ok(Some(found))) = Checkpoint::load(&disk, path)
    {
        for writer in found.writers.values() {
            let _ = writer.bytes();
        }
    }
}
