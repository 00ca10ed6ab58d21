//! The checkpoint file; its checksum is made right, or nothing behind it would ever be looked at.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(init: frazil_fuzz::write_seeds(frazil_fuzz::files("checkpoint")), |data: &[u8]| {
    let body = match data.iter().position(|b| *b == b'\n') {
        Some(line) => &data[line + 1..],
        None => data,
    };
    let seal = format!("{{\"crc32c\":{}}}\n", crc32c::crc32c(body));
    topics::fuzzing::checkpoint(&[seal.as_bytes(), body].concat());
    topics::fuzzing::checkpoint(data);
});
