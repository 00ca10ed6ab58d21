//! The tokens of JSON.
//!
//! Owns: white space, strings and their escapes, passing over values, saying what was found.
//! Does not own: what a token means.
//! Invariants: the bytes are valid UTF-8 (the caller has checked); strict RFC 8259, nothing beyond it.

use std::borrow::Cow;

use super::super::number::Number;
use super::super::refused::{Refused, mismatch, too_large};
use super::super::{RejectCode, VALUE_DEPTH_MAX};

/// A position in a record.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// A string of the record, checked.
#[derive(Debug, Clone, Copy)]
pub(super) struct JsonString<'a> {
    /// With quotes.
    quoted: &'a [u8],
    escaped: bool,
}

impl<'a> JsonString<'a> {
    fn inner(&self) -> &'a [u8] {
        &self.quoted[1..self.quoted.len() - 1]
    }

    /// As written, with its quotes.
    pub(super) fn quoted(&self) -> &'a [u8] {
        self.quoted
    }

    /// As written, unless there are escapes in it.
    pub(super) fn literal(&self) -> Option<&'a [u8]> {
        (!self.escaped).then_some(self.quoted)
    }

    /// The string itself, in `room` if it must be unescaped.
    #[inline]
    pub(super) fn text<'r>(&self, room: &'r mut Vec<u8>) -> &'r [u8]
    where
        'a: 'r,
    {
        if !self.escaped {
            return self.inner();
        }
        room.clear();
        unescape(self.inner(), room);
        room
    }

    #[inline]
    pub(super) fn append_to(&self, out: &mut Vec<u8>) {
        if self.escaped { unescape(self.inner(), out) } else { out.extend_from_slice(self.inner()) }
    }
}

impl<'a> Scanner<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    #[inline]
    pub(super) fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    #[inline]
    fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// Passes white space.
    #[inline]
    pub(super) fn space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    /// Passes `expected` if it comes next.
    #[inline]
    pub(super) fn take(&mut self, expected: &[u8]) -> bool {
        let found = self.rest().starts_with(expected);
        if found {
            self.at += expected.len();
        }
        found
    }

    /// Passes a string that is written as `quoted`, without escapes, if it comes next.
    #[inline]
    pub(super) fn take_string(&mut self, quoted: &[u8]) -> Option<JsonString<'a>> {
        let start = self.at;
        self.take(quoted).then(|| JsonString { quoted: &self.bytes[start..self.at], escaped: false })
    }

    #[inline]
    pub(super) fn literal(&mut self, word: &[u8]) -> Result<(), Box<Refused>> {
        if self.take(word) { Ok(()) } else { Err(self.malformed("a value")) }
    }

    /// Passes the colon after a member's name.
    #[inline]
    pub(super) fn colon(&mut self) -> Result<(), Box<Refused>> {
        self.space();
        if self.peek() != Some(b':') {
            return Err(self.malformed("`:`"));
        }
        self.at += 1;
        self.space();
        Ok(())
    }

    /// Passes the opening bracket; true if something is within.
    #[inline]
    pub(super) fn open(&mut self, close: u8, depth: usize) -> Result<bool, Box<Refused>> {
        if depth > VALUE_DEPTH_MAX {
            return Err(too_large(format!("the value is nested deeper than {VALUE_DEPTH_MAX} levels")));
        }
        self.at += 1;
        self.space();
        let empty = self.peek() == Some(close);
        self.at += usize::from(empty);
        Ok(!empty)
    }

    /// Passes the comma, or the closing bracket: then there is no more.
    #[inline]
    pub(super) fn more(&mut self, close: u8) -> Result<bool, Box<Refused>> {
        self.space();
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                Ok(true)
            }
            Some(byte) if byte == close => {
                self.at += 1;
                Ok(false)
            }
            _ => Err(self.malformed(if close == b'}' { "`,` or `}`" } else { "`,` or `]`" })),
        }
    }

    /// Checks that nothing but white space is left.
    pub(super) fn end(&mut self) -> Result<(), Box<Refused>> {
        self.space();
        if self.at == self.bytes.len() { Ok(()) } else { Err(self.malformed("the end of the value")) }
    }

    /// The number that comes next; none if something else does.
    #[inline]
    pub(super) fn number(&mut self) -> Option<Result<Number<'a>, Box<Refused>>> {
        if !matches!(self.peek(), Some(b'-' | b'0'..=b'9')) {
            return None;
        }
        Some(match Number::read(self.rest()) {
            Ok(number) => {
                self.at += number.len();
                Ok(number)
            }
            Err(position) => {
                self.at += position;
                Err(self.malformed("a digit"))
            }
        })
    }

    /// The string that comes next.
    #[inline]
    pub(super) fn string(&mut self, what: &str) -> Result<JsonString<'a>, Box<Refused>> {
        let start = self.at;
        if self.peek() != Some(b'"') {
            return Err(self.malformed(what));
        }
        self.at += 1;
        let mut escaped = false;
        loop {
            self.at += plain_length(self.rest());
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(JsonString { quoted: &self.bytes[start..self.at], escaped });
                }
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                _ => return Err(self.malformed("the end of a string")),
            }
        }
    }

    /// Passes an escape, checking it.
    fn escape(&mut self) -> Result<(), Box<Refused>> {
        match self.bytes.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 2,
            Some(b'u') => {
                let Some(unit) = hex4(self.bytes, self.at + 2) else {
                    return Err(self.malformed("four hex digits"));
                };
                let low = || {
                    let is_escape = self.bytes.get(self.at + 6..self.at + 8) == Some(b"\\u");
                    hex4(self.bytes, self.at + 8).filter(|low| is_escape && (0xdc00..0xe000).contains(low))
                };
                self.at += match unit {
                    0xd800..0xdc00 if low().is_some() => 12,
                    0xd800..0xe000 => return Err(self.malformed("a pair of surrogates")),
                    _ => 6,
                };
            }
            _ => {
                self.at += 1;
                return Err(self.malformed("an escape"));
            }
        }
        Ok(())
    }

    /// Passes any value, at its first byte, checking its form.
    pub(super) fn skip(&mut self, depth: usize) -> Result<(), Box<Refused>> {
        match self.peek() {
            Some(b'"') => self.string("a value").map(|_| ()),
            Some(b'{') => {
                let mut more = self.open(b'}', depth + 1)?;
                while more {
                    self.space();
                    self.string("a member's name")?;
                    self.colon()?;
                    self.skip(depth + 1)?;
                    more = self.more(b'}')?;
                }
                Ok(())
            }
            Some(b'[') => {
                let mut more = self.open(b']', depth + 1)?;
                while more {
                    self.space();
                    self.skip(depth + 1)?;
                    more = self.more(b']')?;
                }
                Ok(())
            }
            Some(b't') => self.literal(b"true"),
            Some(b'f') => self.literal(b"false"),
            Some(b'n') => self.literal(b"null"),
            _ => match self.number() {
                Some(number) => number.map(|_| ()),
                None => Err(self.malformed("a value")),
            },
        }
    }

    /// Passes any value, at its first byte, and says how it is written.
    pub(super) fn raw(&mut self, depth: usize) -> Result<&'a [u8], Box<Refused>> {
        let start = self.at;
        self.skip(depth)?;
        Ok(&self.bytes[start..self.at])
    }

    /// The refusal of a value that is not what the schema wants; of bytes that are no value at all, that.
    #[cold]
    pub(super) fn other_than(&mut self, wanted: &str) -> Box<Refused> {
        let start = self.at;
        let kind = match self.peek() {
            Some(b'"') => "string ",
            Some(b'{') => "object ",
            Some(b'[') => "array ",
            Some(b'-' | b'0'..=b'9') => "number ",
            _ => "",
        };
        match self.skip(0) {
            Err(refused) => refused,
            Ok(()) => {
                mismatch(format!("expected {wanted}, found {kind}{}", shown(&self.bytes[start..self.at])))
            }
        }
    }

    #[cold]
    pub(super) fn malformed(&self, expected: &str) -> Box<Refused> {
        let found = match self.rest().first() {
            None => Cow::from("its end"),
            Some(byte @ 0x21..=0x7e) => Cow::from(format!("`{}`", char::from(*byte))),
            Some(byte) => Cow::from(format!("byte 0x{byte:02x}")),
        };
        let message = format!("not JSON at byte {}: expected {expected}, found {found}", self.at);
        Refused::new(RejectCode::Malformed, message)
    }
}

/// The beginning of a piece of the record.
fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut shown: String = text.chars().take(40).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}

/// How many bytes come before the first quote, backslash or control character.
#[inline]
fn plain_length(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const HIGHS: u64 = ONES << 7;
    let mut at = 0;
    while let Some(chunk) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let word = u64::from_le_bytes(*chunk);
        // Eight bytes at once: a byte's high bit gets set where the byte (below 128) is zero after the xor, or below
        // 0x20. A borrow can set it wrongly above a true hit only, and the lowest hit is the one that is used.
        let zero = |v: u64| v.wrapping_sub(ONES) & !v & HIGHS;
        let quote = zero(word ^ (ONES * u64::from(b'"')));
        let backslash = zero(word ^ (ONES * u64::from(b'\\')));
        let control = word.wrapping_sub(ONES * 0x20) & !word & HIGHS;
        let hits = quote | backslash | control;
        if hits != 0 {
            return at + (hits.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    let tail = bytes.get(at..).unwrap_or_default();
    at + tail.iter().position(|b| matches!(b, b'"' | b'\\' | 0..0x20)).unwrap_or(tail.len())
}

fn hex4(bytes: &[u8], at: usize) -> Option<u32> {
    let digits = bytes.get(at..at + 4)?;
    digits.iter().try_fold(0, |value, byte| Some(value * 16 + char::from(*byte).to_digit(16)?))
}

/// Appends a checked string without its escapes.
fn unescape(text: &[u8], out: &mut Vec<u8>) {
    let mut at = 0;
    while at < text.len() {
        let plain = text[at..].iter().position(|b| *b == b'\\').unwrap_or(text.len() - at);
        out.extend_from_slice(&text[at..at + plain]);
        at += plain;
        let Some(escape) = text.get(at + 1) else { return };
        at += 2;
        let plain = match escape {
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let mut code = hex4(text, at).unwrap_or(0);
                at += 4;
                if (0xd800..0xdc00).contains(&code) {
                    let low = hex4(text, at + 2).unwrap_or(0xdc00);
                    code = 0x10000 + ((code - 0xd800) << 10) + low.wrapping_sub(0xdc00);
                    at += 6;
                }
                let character = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
                out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                continue;
            }
            other => *other,
        };
        out.push(plain);
    }
}
