//! Numbers of seven bits to a byte, as Avro and Protobuf write them.
//!
//! Owns: reading one of up to 64 bits.
//! Does not own: what it means; what a reader says when there is none.
//! Invariants: at most ten bytes are looked at, and none beyond the slice.

/// Why there is no number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoVarint {
    /// The bytes end before it does.
    Cut,
    /// It has more than 64 bits.
    TooLong,
}

/// The number at the start of `bytes`, and how many bytes it has.
#[inline]
pub(super) fn read(bytes: &[u8]) -> Result<(u64, usize), NoVarint> {
    match bytes.first() {
        Some(byte) if *byte < 0x80 => Ok((u64::from(*byte), 1)),
        _ => read_many(bytes),
    }
}

fn read_many(bytes: &[u8]) -> Result<(u64, usize), NoVarint> {
    let mut value = 0_u64;
    for (position, byte) in bytes.iter().take(10).enumerate() {
        if position == 9 && *byte > 1 {
            break;
        }
        value |= u64::from(byte & 0x7f) << (7 * position);
        if *byte < 0x80 {
            return Ok((value, position + 1));
        }
    }
    Err(if bytes.len() < 10 { NoVarint::Cut } else { NoVarint::TooLong })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_at_most_64_bits() {
        assert_eq!(read(&[0x05, 0xff]), Ok((5, 1)));
        assert_eq!(read(&[0xac, 0x02]), Ok((300, 2)));
        let most = [&[0xff; 9][..], &[1]].concat();
        assert_eq!(read(&most), Ok((u64::MAX, 10)));
        let beyond = [&[0xff; 9][..], &[2]].concat();
        assert_eq!(read(&beyond), Err(NoVarint::TooLong));
        assert_eq!(read(&[0x80; 20]), Err(NoVarint::TooLong));
        assert_eq!(read(&[0x80; 9]), Err(NoVarint::Cut));
        assert_eq!(read(&[]), Err(NoVarint::Cut));
    }
}
