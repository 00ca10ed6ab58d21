//! The primitives of Protobuf's wire format.
//!
//! Owns: a position in a message; tags, numbers and lengths at it; passing over fields.
//! Does not own: what they mean.
//! Invariants: never reads beyond the message; a length is held against the bytes that remain before it is used; groups
//! are passed over to a bounded depth.

use super::super::VALUE_DEPTH_MAX;
use super::super::refused::{Fit, malformed, too_large};
use super::super::varint::{self, NoVarint};

/// How a field's value is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wire {
    Varint,
    Eight,
    Sized,
    GroupStart,
    GroupEnd,
    Four,
}

/// A position in a message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    #[cold]
    fn ends_within<T>(&self, what: &str) -> Fit<T> {
        Err(malformed(format!("the message ends at its byte {} within {what}", self.bytes.len())))
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// Number and layout of the next field; none at the end.
    #[inline]
    pub(super) fn tag(&mut self) -> Fit<Option<(u32, Wire)>> {
        if self.is_at_end() {
            return Ok(None);
        }
        let at = self.at;
        let tag = self.varint()?;
        let number = u32::try_from(tag).map_or(0, |tag| tag >> 3);
        let wire = match tag & 7 {
            0 => Wire::Varint,
            1 => Wire::Eight,
            2 => Wire::Sized,
            3 => Wire::GroupStart,
            4 => Wire::GroupEnd,
            5 => Wire::Four,
            other => {
                return Err(malformed(format!("the tag at byte {at} has the unknown wire type {other}")));
            }
        };
        if number == 0 {
            return Err(malformed(format!("the tag at byte {at} has no field number")));
        }
        Ok(Some((number, wire)))
    }

    #[inline]
    pub(super) fn varint(&mut self) -> Fit<u64> {
        match varint::read(self.bytes.get(self.at..).unwrap_or_default()) {
            Ok((value, length)) => {
                self.at += length;
                Ok(value)
            }
            Err(NoVarint::Cut) => self.ends_within("a number"),
            Err(NoVarint::TooLong) => {
                Err(malformed(format!("the number at byte {} is longer than 64 bits", self.at)))
            }
        }
    }

    /// The next bytes as an array, for numbers of fixed width.
    #[inline]
    pub(super) fn array<const N: usize>(&mut self) -> Fit<[u8; N]> {
        match self.bytes.get(self.at..).and_then(|rest| rest.first_chunk()) {
            Some(bytes) => {
                self.at += N;
                Ok(*bytes)
            }
            None => self.ends_within("a number"),
        }
    }

    /// A length and as many bytes.
    #[inline]
    pub(super) fn sized(&mut self) -> Fit<&'a [u8]> {
        let at = self.at;
        let length = self.varint()?;
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        match usize::try_from(length).ok().and_then(|length| rest.get(..length)) {
            Some(bytes) => {
                self.at += bytes.len();
                Ok(bytes)
            }
            None => Err(malformed(format!(
                "the length at byte {at} says {length} bytes, but {} are left",
                rest.len()
            ))),
        }
    }

    /// Passes over the value of a field.
    pub(super) fn skip(&mut self, number: u32, wire: Wire) -> Fit {
        match wire {
            Wire::Varint => drop(self.varint()?),
            Wire::Eight => drop(self.array::<8>()?),
            Wire::Sized => drop(self.sized()?),
            Wire::Four => drop(self.array::<4>()?),
            Wire::GroupEnd => return Err(malformed(format!("a group {number} ends that did not begin"))),
            Wire::GroupStart => return self.skip_group(number),
        }
        Ok(())
    }

    fn skip_group(&mut self, number: u32) -> Fit {
        let mut open = vec![number];
        while let Some(innermost) = open.last().copied() {
            let Some((number, wire)) = self.tag()? else { return self.ends_within("a group") };
            match wire {
                Wire::GroupStart if open.len() >= VALUE_DEPTH_MAX => {
                    return Err(too_large(format!("groups are nested deeper than {VALUE_DEPTH_MAX} levels")));
                }
                Wire::GroupStart => open.push(number),
                Wire::GroupEnd if number == innermost => drop(open.pop()),
                wire => self.skip(number, wire)?,
            }
        }
        Ok(())
    }
}
