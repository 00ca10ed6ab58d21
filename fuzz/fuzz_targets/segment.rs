//! A segment file, walked from the front and from any place.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(init: frazil_fuzz::write_seeds(frazil_fuzz::files("log")), |data: &[u8]| {
    topics::fuzzing::segment(&frazil_fuzz::with_right_checksums(data));
});
