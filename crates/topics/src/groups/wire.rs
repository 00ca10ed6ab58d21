//! Kafka's primitive types, as the records of groups are made of them.
//!
//! Owns: reading with every length checked, writing.
//! Does not own: which fields a record has (`records`).
//! Invariants: reading never panics and allocates no more than the bytes that are there.

use bytes::Bytes;

/// Reads fields one after the other; `None` once the bytes do not hold what is asked for.
#[derive(Debug, Clone)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.rest.split_at_checked(count)?;
        self.rest = tail;
        Some(head)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    pub(crate) fn i8(&mut self) -> Option<i8> {
        self.array().map(i8::from_be_bytes)
    }
    pub(crate) fn uuid(&mut self) -> Option<uuid::Uuid> {
        self.array().map(uuid::Uuid::from_bytes)
    }
    pub(crate) fn i16(&mut self) -> Option<i16> {
        self.array().map(i16::from_be_bytes)
    }
    pub(crate) fn i32(&mut self) -> Option<i32> {
        self.array().map(i32::from_be_bytes)
    }
    pub(crate) fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_be_bytes)
    }

    fn text(bytes: &[u8]) -> Option<String> {
        std::str::from_utf8(bytes).ok().map(str::to_owned)
    }

    /// A string with a length of two bytes; the inner `None` is null.
    pub(crate) fn nullable_string(&mut self) -> Option<Option<String>> {
        match self.i16()? {
            -1 => Some(None),
            length => Self::text(self.take(usize::try_from(length).ok()?)?).map(Some),
        }
    }

    /// A string that must not be null.
    pub(crate) fn string(&mut self) -> Option<String> {
        self.nullable_string()?
    }

    /// Bytes with a length of four bytes; null is empty.
    pub(crate) fn bytes(&mut self) -> Option<Bytes> {
        match self.i32()? {
            -1 => Some(Bytes::new()),
            length => Some(Bytes::copy_from_slice(self.take(usize::try_from(length).ok()?)?)),
        }
    }

    /// An array with a count of four bytes; null is empty.
    pub(crate) fn list<T>(&mut self, mut element: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let count = self.i32()?;
        let mut out = Vec::new();
        for _ in 0..count.max(0) {
            out.push(element(self)?);
        }
        Some(out)
    }

    fn varint(&mut self) -> Option<u32> {
        let mut value = 0u64;
        for shift in [0, 7, 14, 21, 28] {
            let byte = self.array::<1>()?[0];
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return u32::try_from(value).ok();
            }
        }
        None
    }

    /// A compact string; the inner `None` is null.
    pub(crate) fn compact_nullable_string(&mut self) -> Option<Option<String>> {
        match self.varint()?.checked_sub(1) {
            None => Some(None),
            Some(length) => Self::text(self.take(length as usize)?).map(Some),
        }
    }

    /// A compact string that must not be null.
    pub(crate) fn compact_string(&mut self) -> Option<String> {
        self.compact_nullable_string()?
    }

    /// Compact bytes; null is empty.
    pub(crate) fn compact_bytes(&mut self) -> Option<Bytes> {
        let length = self.varint()?.saturating_sub(1);
        Some(Bytes::copy_from_slice(self.take(length as usize)?))
    }

    /// A compact array; null is empty.
    pub(crate) fn compact_list<T>(
        &mut self,
        mut element: impl FnMut(&mut Self) -> Option<T>,
    ) -> Option<Vec<T>> {
        let count = self.varint()?.saturating_sub(1);
        let mut out = Vec::new();
        for _ in 0..count {
            out.push(element(self)?);
        }
        Some(out)
    }

    /// Steps over tagged fields.
    pub(crate) fn skip_tags(&mut self) -> Option<()> {
        for _ in 0..self.varint()? {
            let _tag = self.varint()?;
            let length = self.varint()?;
            self.take(length as usize)?;
        }
        Some(())
    }
}

/// Writes fields one after the other.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    out: Vec<u8>,
}

impl Writer {
    pub(crate) fn finish(self) -> Vec<u8> {
        self.out
    }
    pub(crate) fn i8(&mut self, value: i8) -> &mut Self {
        self.out.extend_from_slice(&value.to_be_bytes());
        self
    }
    pub(crate) fn uuid(&mut self, value: uuid::Uuid) -> &mut Self {
        self.out.extend_from_slice(value.as_bytes());
        self
    }
    fn varint(&mut self, mut value: usize) -> &mut Self {
        while value >= 0x80 {
            self.out.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.out.push(value as u8);
        self
    }
    /// The count of a compact array.
    pub(crate) fn compact_count(&mut self, count: usize) -> &mut Self {
        self.varint(count + 1)
    }
    pub(crate) fn compact_string(&mut self, text: &str) -> &mut Self {
        self.varint(text.len() + 1);
        self.out.extend_from_slice(text.as_bytes());
        self
    }
    pub(crate) fn compact_nullable_string(&mut self, text: Option<&str>) -> &mut Self {
        match text {
            Some(text) => self.compact_string(text),
            None => self.varint(0),
        }
    }
    /// No tagged fields.
    pub(crate) fn no_tags(&mut self) -> &mut Self {
        self.varint(0)
    }
    pub(crate) fn i16(&mut self, value: i16) -> &mut Self {
        self.out.extend_from_slice(&value.to_be_bytes());
        self
    }
    pub(crate) fn i32(&mut self, value: i32) -> &mut Self {
        self.out.extend_from_slice(&value.to_be_bytes());
        self
    }
    pub(crate) fn i64(&mut self, value: i64) -> &mut Self {
        self.out.extend_from_slice(&value.to_be_bytes());
        self
    }
    /// Strings of the wire have a length of two bytes there too, so none is longer.
    pub(crate) fn string(&mut self, text: &str) -> &mut Self {
        self.i16(text.len() as i16);
        self.out.extend_from_slice(text.as_bytes());
        self
    }
    pub(crate) fn nullable_string(&mut self, text: Option<&str>) -> &mut Self {
        match text {
            Some(text) => self.string(text),
            None => self.i16(-1),
        }
    }
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.i32(bytes.len() as i32);
        self.out.extend_from_slice(bytes);
        self
    }
}
