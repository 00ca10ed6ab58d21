//! The shape walker: looks over a request before the codec may touch it.
//!
//! The codec allocates room for as many elements as a length on the wire announces, so four bytes can ask for
//! hundreds of gigabytes and abort the process. The walker steps over the same bytes by a table of the served
//! requests and refuses every length that the remaining bytes cannot hold.
//!
//! Owns: the walk, its limits, the table of shapes (`table`).
//! Does not own: the meaning of any field; UTF-8 and null checks (the codec does these without allocating).
//! Invariants: never allocates, never panics, takes time linear in the bytes; what it accepts, the codec
//! reads within the same bytes.

pub(super) mod table;

/// Most array elements of one request, all arrays together: Kafka 4.4 refuses larger arrays, and an element costs
/// the codec up to thirty times its bytes.
const ELEMENTS_MAX: usize = 1_000_000;
/// Most tagged fields in one place, as in Kafka 4.4.
const TAGS_MAX: u32 = 10_000;

/// What a field is made of.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// So many bytes.
    Fixed(u8),
    /// A string, null or not.
    Text,
    /// Bytes, null or not.
    Bytes,
    /// A count and so many of the inner kind.
    Array(&'static Kind),
    /// Fields, and tagged fields in flexible versions.
    Struct(&'static [Field]),
    /// A byte that tells null (below 0) or there (1), and the fields.
    Nullable(&'static [Field]),
}

/// A field of a request or struct.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field {
    pub(super) kind: Kind,
    /// First version that has it.
    pub(super) since: i16,
    /// Last version that has it.
    pub(super) until: i16,
    /// Set for a tagged field.
    pub(super) tag: Option<u32>,
}

impl Field {
    /// Whether `version` has this field.
    pub(super) fn is_in(&self, version: i16) -> bool {
        (self.since..=self.until).contains(&version)
    }
}

/// Why a request was refused before it was decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ShapeError {
    #[error("a length of {length} at byte {at}, where {remain} bytes remain")]
    Length { length: i64, at: usize, remain: usize },
    #[error("more than {ELEMENTS_MAX} array elements")]
    Elements,
    #[error("{0} tagged fields in one place, {TAGS_MAX} are taken")]
    Tags(u32),
    #[error("tagged field {tag} has {announced} bytes but holds {held}")]
    TagSize { tag: u32, announced: usize, held: usize },
    #[error("a variable-length number of more than 5 bytes at byte {0}")]
    VarInt(usize),
}

/// Checks that `body` begins with a request of this shape and version; gives its length.
///
/// Bytes behind it are no error: librdkafka's Metadata request for all topics has three of them since version 9, and
/// Kafka does not look at them.
pub(super) fn check(shape: &[Field], version: i16, flexible: bool, body: &[u8]) -> Result<usize, ShapeError> {
    let mut walk = Walk { bytes: body, at: 0, version, flexible, elements: 0 };
    walk.fields(shape)?;
    Ok(walk.at)
}

/// Length of the tagged fields at the start of `bytes`, for a request header.
pub(super) fn tagged_fields_len(bytes: &[u8]) -> Result<usize, ShapeError> {
    let mut walk = Walk { bytes, at: 0, version: 0, flexible: true, elements: 0 };
    walk.tags(&[])?;
    Ok(walk.at)
}

struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
    version: i16,
    flexible: bool,
    elements: usize,
}

impl<'a> Walk<'a> {
    fn remain(&self) -> usize {
        self.bytes.len() - self.at
    }

    fn skip(&mut self, length: i64) -> Result<&'a [u8], ShapeError> {
        let remain = self.remain();
        match usize::try_from(length) {
            Ok(n) if n <= remain => {
                let skipped = &self.bytes[self.at..self.at + n];
                self.at += n;
                Ok(skipped)
            }
            _ => Err(ShapeError::Length { length, at: self.at, remain }),
        }
    }

    fn varint(&mut self) -> Result<u32, ShapeError> {
        let start = self.at;
        let mut value = 0u64;
        for shift in [0, 7, 14, 21, 28] {
            let byte = self.skip(1)?[0];
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return u32::try_from(value).map_err(|_| ShapeError::VarInt(start));
            }
        }
        Err(ShapeError::VarInt(start))
    }

    fn int(&mut self, width: i64) -> Result<i64, ShapeError> {
        let bytes = self.skip(width)?;
        let negative = bytes[0] & 0x80 != 0;
        Ok(bytes.iter().fold(if negative { -1 } else { 0 }, |value, b| (value << 8) | i64::from(*b)))
    }

    /// A length: in flexible versions one more than it as a varint, else an integer of `width` bytes; -1 is null.
    fn length(&mut self, width: i64) -> Result<i64, ShapeError> {
        if self.flexible { Ok(i64::from(self.varint()?) - 1) } else { self.int(width) }
    }

    fn fields(&mut self, fields: &[Field]) -> Result<(), ShapeError> {
        for field in fields {
            if field.tag.is_none() && field.is_in(self.version) {
                self.kind(field.kind)?;
            }
        }
        if self.flexible { self.tags(fields) } else { Ok(()) }
    }

    // The recursion is as deep as the table, not as deep as the input.
    fn kind(&mut self, kind: Kind) -> Result<(), ShapeError> {
        match kind {
            Kind::Fixed(width) => self.skip(i64::from(width)).map(drop),
            Kind::Text => self.nullable(2),
            Kind::Bytes => self.nullable(4),
            Kind::Struct(fields) => self.fields(fields),
            Kind::Nullable(fields) => match self.int(1)? {
                1 => self.fields(fields),
                // The codec takes everything else for null.
                _ => Ok(()),
            },
            Kind::Array(element) => self.array(*element),
        }
    }

    fn nullable(&mut self, width: i64) -> Result<(), ShapeError> {
        match self.length(width)? {
            -1 => Ok(()),
            length => self.skip(length).map(drop),
        }
    }

    fn array(&mut self, element: Kind) -> Result<(), ShapeError> {
        let at = self.at;
        let length = self.length(4)?;
        if length == -1 {
            return Ok(());
        }
        // Every element of every shape takes at least one byte.
        let remain = self.remain();
        let count = usize::try_from(length).ok().filter(|n| *n <= remain);
        let count = count.ok_or(ShapeError::Length { length, at, remain })?;
        self.elements += count;
        if self.elements > ELEMENTS_MAX {
            return Err(ShapeError::Elements);
        }
        (0..count).try_for_each(|_| self.kind(element))
    }

    fn tags(&mut self, fields: &[Field]) -> Result<(), ShapeError> {
        let count = self.varint()?;
        if count > TAGS_MAX {
            return Err(ShapeError::Tags(count));
        }
        for _ in 0..count {
            let tag = self.varint()?;
            let announced = self.varint()?;
            let known = fields.iter().find(|f| f.tag == Some(tag) && f.is_in(self.version));
            match known {
                None => self.skip(i64::from(announced)).map(drop)?,
                Some(field) => {
                    let (start, announced) = (self.at, announced as usize);
                    self.kind(field.kind)?;
                    let held = self.at - start;
                    if held != announced {
                        return Err(ShapeError::TagSize { tag, announced, held });
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
