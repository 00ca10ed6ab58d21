//! The primitives of Avro's binary encoding.
//!
//! Owns: a position in a value; integers, lengths and bytes at it.
//! Does not own: what they mean.
//! Invariants: never reads beyond the value; a length is held against the bytes that remain before it is used.

use super::super::refused::{Fit, malformed};
use super::super::varint::{self, NoVarint};

/// A position in a value.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Bytes that have not been read.
    pub(super) fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    #[cold]
    fn ends_within<T>(&self, what: &str) -> Fit<T> {
        Err(malformed(format!("the value ends at byte {} within {what}", self.bytes.len())))
    }

    /// A zigzag varint of 64 bits.
    #[inline]
    pub(super) fn long(&mut self) -> Fit<i64> {
        match varint::read(self.bytes.get(self.at..).unwrap_or_default()) {
            Ok((value, length)) => {
                self.at += length;
                Ok(unzigzag(value))
            }
            Err(NoVarint::Cut) => self.ends_within("a number"),
            Err(NoVarint::TooLong) => {
                Err(malformed(format!("the number at byte {} is longer than 64 bits", self.at)))
            }
        }
    }

    /// A zigzag varint of 32 bits.
    #[inline]
    pub(super) fn int(&mut self) -> Fit<i32> {
        let at = self.at;
        let value = self.long()?;
        i32::try_from(value)
            .map_err(|_| malformed(format!("the int {value} at byte {at} has more than 32 bits")))
    }

    #[inline]
    pub(super) fn boolean(&mut self) -> Fit<bool> {
        let at = self.at;
        match self.bytes(1, "a boolean")? {
            [0] => Ok(false),
            [1] => Ok(true),
            other => Err(malformed(format!("the boolean at byte {at} is {:#04x}", other[0]))),
        }
    }

    /// The next `count` bytes.
    #[inline]
    pub(super) fn bytes(&mut self, count: usize, what: &str) -> Fit<&'a [u8]> {
        match self.bytes.get(self.at..).and_then(|rest| rest.get(..count)) {
            Some(bytes) => {
                self.at += count;
                Ok(bytes)
            }
            None => self.ends_within(what),
        }
    }

    /// The next bytes as an array, for numbers of fixed width.
    #[inline]
    pub(super) fn array<const N: usize>(&mut self, what: &str) -> Fit<[u8; N]> {
        match self.bytes.get(self.at..).and_then(|rest| rest.first_chunk()) {
            Some(bytes) => {
                self.at += N;
                Ok(*bytes)
            }
            None => self.ends_within(what),
        }
    }

    /// A length and as many bytes.
    #[inline]
    pub(super) fn sized(&mut self, what: &str) -> Fit<&'a [u8]> {
        let at = self.at;
        let length = self.long()?;
        match usize::try_from(length) {
            Ok(length) if length <= self.left() => self.bytes(length, what),
            _ => Err(malformed(format!(
                "{what} at byte {at} says that it has {length} bytes, but {} are left",
                self.left()
            ))),
        }
    }

    /// The head of a block of a list or map: how many items it has (none: it was the last) and, when the writer said
    /// so, how many bytes.
    pub(super) fn block(&mut self) -> Fit<Option<(u64, Option<usize>)>> {
        let at = self.at;
        match self.long()? {
            0 => Ok(None),
            count if count > 0 => Ok(Some((count.unsigned_abs(), None))),
            count => {
                let bytes = self.long()?;
                match usize::try_from(bytes) {
                    Ok(bytes) if bytes <= self.left() => Ok(Some((count.unsigned_abs(), Some(bytes)))),
                    _ => Err(malformed(format!(
                        "the block at byte {at} says that it has {bytes} bytes, but {} are left",
                        self.left()
                    ))),
                }
            }
        }
    }
}

#[inline]
fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}
