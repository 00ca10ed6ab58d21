//! One record of the write-ahead log.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: frazil_fuzz::write_seeds(frazil_fuzz::wal_records()), |data: &[u8]| {
    topics::fuzzing::wal_record(Bytes::copy_from_slice(data));
});
