//! The index files of a segment: the first byte says where the one ends and the other begins.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(
    init: frazil_fuzz::write_seeds(
        [frazil_fuzz::files("index"), frazil_fuzz::files("timeindex")].concat()
    ),
    |data: &[u8]| {
        if let Some((at, rest)) = data.split_first() {
            let (offsets, times) = rest.split_at(usize::from(*at).min(rest.len()));
            topics::fuzzing::index(offsets, times);
            topics::fuzzing::index(times, offsets);
        }
    }
);
