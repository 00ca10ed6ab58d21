//! A record batch as a client sends it: header, codecs, records.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: frazil_fuzz::write_seeds(frazil_fuzz::batches()), |data: &[u8]| {
    let whole = frazil_fuzz::with_right_checksums(data);
    topics::fuzzing::record_batch(&Bytes::from(whole));
});
