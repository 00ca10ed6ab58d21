//! The restrictions on values that the decoder checks itself, because they are common and cheap: ranges of numbers,
//! enumerated strings, lengths of strings.
//!
//! Owns: reading them from a schema and holding values against them.
//! Does not own: all other restricting keywords (the `jsonschema` validator checks those).
//! Invariants: a keyword is either wholly checked here and counted in `keywords`, or not at all.

use std::fmt::Display;

use serde_json::{Map, Value};

/// A range of numbers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Numbers<T> {
    /// Least value, and whether it is itself excluded.
    least: Option<(T, bool)>,
    /// Greatest value, and whether it is itself excluded.
    greatest: Option<(T, bool)>,
    /// How many keywords are covered.
    pub(super) keywords: usize,
}

/// A number that a bound can be given in.
pub(super) trait Bound: Copy + PartialOrd + Display {
    /// None when the type cannot hold the number exactly.
    fn of(number: &Value) -> Option<Self>;
}

impl Bound for i64 {
    fn of(number: &Value) -> Option<Self> {
        number.as_i64()
    }
}

impl Bound for f64 {
    fn of(number: &Value) -> Option<Self> {
        match number.as_i64() {
            Some(whole) => (whole.unsigned_abs() <= 1 << 53).then_some(whole as f64),
            None => number.as_f64().filter(|_| !number.is_u64()),
        }
    }
}

impl<T: Bound> Numbers<T> {
    pub(super) fn of(schema: &Map<String, Value>) -> Self {
        let mut numbers = Self { least: None, greatest: None, keywords: 0 };
        let draft_04 = ["exclusiveMinimum", "exclusiveMaximum"]
            .iter()
            .any(|keyword| schema.get(*keyword).is_some_and(Value::is_boolean));
        if draft_04 {
            return numbers;
        }
        for (keyword, is_least, excluded) in [
            ("minimum", true, false),
            ("maximum", false, false),
            ("exclusiveMinimum", true, true),
            ("exclusiveMaximum", false, true),
        ] {
            let side = if is_least { &mut numbers.least } else { &mut numbers.greatest };
            if let (None, Some(bound)) = (&side, schema.get(keyword).and_then(T::of)) {
                *side = Some((bound, excluded));
                numbers.keywords += 1;
            }
        }
        numbers
    }

    /// Says what is wrong with a number.
    pub(super) fn check(&self, value: T) -> Result<(), String> {
        if let Some((least, excluded)) = self.least
            && (value < least || (excluded && value == least))
        {
            return Err(format!("{value} is not {} {least}", if excluded { "above" } else { "at least" }));
        }
        if let Some((greatest, excluded)) = self.greatest
            && (value > greatest || (excluded && value == greatest))
        {
            return Err(format!("{value} is not {} {greatest}", if excluded { "below" } else { "at most" }));
        }
        Ok(())
    }
}

/// Strings that are allowed.
#[derive(Debug, Clone, Default)]
pub(super) struct Texts {
    allowed: Option<Vec<Box<[u8]>>>,
    /// In Unicode characters.
    shortest: Option<u64>,
    longest: Option<u64>,
    /// The type allows null but the enumeration does not.
    pub(super) refuse_null: bool,
    /// How many keywords are covered.
    pub(super) keywords: usize,
}

impl Texts {
    pub(super) fn of(schema: &Map<String, Value>, nullable: bool) -> Self {
        let mut texts = Self::default();
        let listed = schema.get("enum").and_then(Value::as_array).map(Vec::as_slice);
        let listed = listed.or_else(|| schema.get("const").map(std::slice::from_ref));
        if let Some(values) = listed
            && values.iter().all(|v| v.is_string() || v.is_null())
        {
            let allowed = values.iter().filter_map(Value::as_str).map(|s| s.as_bytes().into());
            texts.allowed = Some(allowed.collect());
            texts.refuse_null = nullable && !values.iter().any(Value::is_null);
            texts.keywords += 1;
        }
        texts.shortest = schema.get("minLength").and_then(Value::as_u64);
        texts.longest = schema.get("maxLength").and_then(Value::as_u64);
        texts.keywords += usize::from(texts.shortest.is_some()) + usize::from(texts.longest.is_some());
        texts
    }

    /// Says what is wrong with a string, which is valid UTF-8.
    pub(super) fn check(&self, text: &[u8]) -> Result<(), String> {
        if let Some(allowed) = &self.allowed
            && !allowed.iter().any(|a| &**a == text)
        {
            let shown: Vec<_> = allowed.iter().take(8).map(|a| String::from_utf8_lossy(a)).collect();
            let more = if allowed.len() > shown.len() { ", …" } else { "" };
            return Err(format!("it is none of {}{more}", shown.join(", ")));
        }
        if self.shortest.is_none() && self.longest.is_none() {
            return Ok(());
        }
        // Every byte that does not continue a character starts one.
        let length = text.iter().filter(|b| (**b & 0xc0) != 0x80).count() as u64;
        if let Some(shortest) = self.shortest.filter(|s| length < *s) {
            return Err(format!("it has {length} characters, fewer than {shortest}"));
        }
        if let Some(longest) = self.longest.filter(|l| length > *l) {
            return Err(format!("it has {length} characters, more than {longest}"));
        }
        Ok(())
    }
}
