//! A write-ahead file, first to last byte, through recovery.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(init: frazil_fuzz::write_seeds(frazil_fuzz::files("wal")), |data: &[u8]| {
    frazil_fuzz::recover_wal(data);
});
