//! Confluent's wire format: which schema a value was written with.
//!
//! Owns: the prefix of values, and the same bytes as the value of the headers `__value_schema_id` and
//! `__key_schema_id` (newer serializers); Protobuf's message indexes.
//! Does not own: what an id or GUID stands for (registry).
//! Invariants: nothing is read beyond the value; the number of message indexes is bounded before it is believed.
//! Source: Confluent's "wire format" page and `SchemaId` in its clients: magic 0 and four bytes of id, or magic 1 and
//! sixteen bytes of GUID; for Protobuf then a count and as many indexes, zigzag varints, with `0` short for `[0]`.

use base::SchemaId;
use uuid::Uuid;

/// Name of the header with the id or GUID of the value's schema.
pub const VALUE_HEADER: &str = "__value_schema_id";
/// Name of the header with the id or GUID of the key's schema.
pub const KEY_HEADER: &str = "__key_schema_id";

/// Most indexes of one value: one for each level of nested messages.
const INDEXES_MAX: usize = 64;

/// What names a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SchemaName {
    Id(SchemaId),
    Guid(Uuid),
}

/// A value, or a header, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Framed<'a> {
    pub schema: SchemaName,
    /// What follows: the payload; for Protobuf (see [`message_indexes`]) its message indexes first. Behind a header's
    /// id nothing but those may follow.
    pub rest: &'a [u8],
}

/// A value that is not in the wire format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    #[error("the value is empty: it has no schema id")]
    Empty,
    #[error(
        "the value begins with byte {0:#04x} instead of the magic byte 0x00 of a schema id (or 0x01 of a GUID)"
    )]
    NoMagic(u8),
    #[error("the value ends within its schema id")]
    CutShort,
    #[error("the value's message indexes do not parse")]
    Indexes,
}

/// Splits a value, or the value of a header, into the schema's name and the rest.
pub fn split(value: &[u8]) -> Result<Framed<'_>, WireError> {
    let (magic, rest) = value.split_first().ok_or(WireError::Empty)?;
    match magic {
        0 => {
            let (id, rest) = rest.split_first_chunk().ok_or(WireError::CutShort)?;
            Ok(Framed { schema: SchemaName::Id(SchemaId::from_be_bytes(*id)), rest })
        }
        1 => {
            let (guid, rest) = rest.split_first_chunk().ok_or(WireError::CutShort)?;
            Ok(Framed { schema: SchemaName::Guid(Uuid::from_bytes(*guid)), rest })
        }
        other => Err(WireError::NoMagic(*other)),
    }
}

/// Splits Protobuf's message indexes from what follows them. The first index counts the file's messages, each further
/// one those within the message before.
pub fn message_indexes(rest: &[u8]) -> Result<(Vec<u32>, &[u8]), WireError> {
    let (count, mut rest) = zigzag(rest)?;
    let count = usize::try_from(count).map_err(|_| WireError::Indexes)?;
    if count == 0 {
        return Ok((vec![0], rest));
    }
    if count > INDEXES_MAX {
        return Err(WireError::Indexes);
    }
    let mut indexes = Vec::with_capacity(count);
    for _ in 0..count {
        let (index, after) = zigzag(rest)?;
        indexes.push(u32::try_from(index).map_err(|_| WireError::Indexes)?);
        rest = after;
    }
    Ok((indexes, rest))
}

/// A zigzag varint of at most 32 bits.
fn zigzag(bytes: &[u8]) -> Result<(i64, &[u8]), WireError> {
    let mut value = 0_u64;
    for (position, byte) in bytes.iter().take(5).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * position);
        if byte & 0x80 == 0 {
            return Ok(((value >> 1) as i64 ^ -((value & 1) as i64), &bytes[position + 1..]));
        }
    }
    Err(WireError::Indexes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_guids_are_told_apart() {
        assert_eq!(split(b"\0\0\0\x01\x02{}"), Ok(Framed { schema: SchemaName::Id(258), rest: b"{}" }));
        let guid = Uuid::from_u128(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff);
        let mut header = vec![1];
        header.extend_from_slice(guid.as_bytes());
        assert_eq!(split(&header), Ok(Framed { schema: SchemaName::Guid(guid), rest: b"" }));
        assert_eq!(split(&header[..16]), Err(WireError::CutShort));
        assert_eq!(split(b"\0\0\0\0"), Err(WireError::CutShort));
        assert_eq!(split(b""), Err(WireError::Empty));
        assert_eq!(split(b"{}"), Err(WireError::NoMagic(b'{')));
    }

    #[test]
    fn message_indexes_are_read() {
        let long = [[0x7e].as_slice(), &[0; 80]].concat();
        for (bytes, expected) in [
            (b"\0rest".as_slice(), Ok((vec![0], b"rest".as_slice()))),
            (b"\x02\x00", Ok((vec![0], b""))),
            (b"\x04\x02\x04x", Ok((vec![1, 2], b"x"))),
            (b"\x02\x80\x02y", Ok((vec![128], b"y"))),
            (b"", Err(WireError::Indexes)),
            (b"\x02", Err(WireError::Indexes)),
            (b"\x02\x01", Err(WireError::Indexes)),
            (b"\x01", Err(WireError::Indexes)),
            (b"\xff\xff\xff\xff\x0f\x00", Err(WireError::Indexes)),
            (b"\xff\xff\xff\xff\xff\x01", Err(WireError::Indexes)),
            (long.as_slice(), Ok((vec![0; 63], &[0; 17]))),
        ] {
            assert_eq!(message_indexes(bytes), expected, "{bytes:?}");
        }
    }
}
