//! Parameters of clients, text and binary, to values of the engine.
//!
//! Owns: reading the formats by type OID.
//! Does not own: which type a parameter has (the client says, or the engine infers).
//! Invariants: no panic on any bytes; what cannot be read is refused with the parameter's number.

use chrono::{DateTime, NaiveDate, NaiveDateTime};
use queries::Value;

use super::binary::{EPOCH_DAYS, EPOCH_MICROS, numeric_text};
use super::errors::Failure;
use super::text;

mod oid {
    pub(super) const BOOL: u32 = 16;
    pub(super) const BYTEA: u32 = 17;
    pub(super) const INT8: u32 = 20;
    pub(super) const INT2: u32 = 21;
    pub(super) const INT4: u32 = 23;
    pub(super) const OID: u32 = 26;
    pub(super) const FLOAT4: u32 = 700;
    pub(super) const FLOAT8: u32 = 701;
    pub(super) const DATE: u32 = 1082;
    pub(super) const TIME: u32 = 1083;
    pub(super) const TIMESTAMP: u32 = 1114;
    pub(super) const TIMESTAMPTZ: u32 = 1184;
    pub(super) const INTERVAL: u32 = 1186;
    pub(super) const NUMERIC: u32 = 1700;
    pub(super) const UUID: u32 = 2950;
    pub(super) const JSONB: u32 = 3802;
    /// text, varchar, bpchar, char, name, json, unknown: their binary form is their text.
    pub(super) const TEXTS: [u32; 7] = [25, 1043, 1042, 18, 19, 114, 705];
}

/// Reads parameter `number` (from 1) of type `oid`.
pub(super) fn value(number: usize, oid: u32, binary: bool, bytes: Option<&[u8]>) -> Result<Value, Failure> {
    match (bytes, binary) {
        (None, _) => Ok(Value::Null),
        (Some(bytes), true) => from_binary(number, oid, bytes),
        (Some(bytes), false) => {
            let text = std::str::from_utf8(bytes).map_err(|_| not_utf8())?;
            from_text(oid, text)
        }
    }
}

fn not_utf8() -> Failure {
    Failure::new("22021", "invalid byte sequence for encoding \"UTF8\"")
}

fn from_text(oid: u32, text: &str) -> Result<Value, Failure> {
    let trimmed = text.trim();
    match oid {
        oid::BOOL => boolean(trimmed).map(Value::Bool).ok_or_else(|| bad_syntax("boolean", text)),
        oid::INT2 => integer::<i16>("smallint", text),
        oid::INT4 => integer::<i32>("integer", text),
        oid::INT8 => integer::<i64>("bigint", text),
        oid::OID => integer::<u32>("oid", text),
        oid::FLOAT4 | oid::FLOAT8 => {
            trimmed.parse().map(Value::Float).map_err(|_| bad_syntax("double precision", text))
        }
        oid::BYTEA => bytea(text).map(Value::Bytes).ok_or_else(|| bad_syntax("bytea", text)),
        oid::DATE => Ok(date(trimmed).map_or_else(|| Value::Text(text.into()), Value::Date)),
        // As in PostgreSQL, an offset means nothing to a type without time zone.
        oid::TIMESTAMP => {
            Ok(timestamp(trimmed)
                .map_or_else(|| Value::Text(text.into()), |(local, _)| Value::Timestamp(local)))
        }
        oid::TIMESTAMPTZ => Ok(match timestamp(trimmed) {
            Some((local, Some(offset))) => Value::TimestampTz(local - offset),
            // Without an offset it is a time of the session's zone, which the engine knows.
            _ => Value::Text(text.into()),
        }),
        // Everything else is given to the engine as it was written: it knows what it is compared with.
        _ => Ok(Value::Text(text.into())),
    }
}

fn integer<T: std::str::FromStr + TryInto<i64>>(name: &str, text: &str) -> Result<Value, Failure> {
    let trimmed = text.trim();
    let plain = trimmed.strip_prefix('+').unwrap_or(trimmed);
    if let Some(value) = plain.parse::<T>().ok().and_then(|value| value.try_into().ok()) {
        return Ok(Value::Int(value));
    }
    if plain.parse::<i128>().is_ok() {
        return Err(Failure::new("22003", format!("value \"{text}\" is out of range for type {name}")));
    }
    Err(bad_syntax(name, text))
}

fn bad_syntax(name: &str, text: &str) -> Failure {
    Failure::new("22P02", format!("invalid input syntax for type {name}: \"{text}\""))
}

fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "t" | "true" | "y" | "yes" | "on" | "1" => Some(true),
        "f" | "false" | "n" | "no" | "off" | "0" => Some(false),
        _ => None,
    }
}

/// `\x00ff`, or the escape form (`a\000\\`).
fn bytea(text: &str) -> Option<Vec<u8>> {
    let Some(hex) = text.strip_prefix("\\x") else { return escaped_bytea(text.as_bytes()) };
    let digits =
        hex.bytes().map(|b| char::from(b).to_digit(16).map(|d| d as u8)).collect::<Option<Vec<u8>>>()?;
    (digits.len() % 2 == 0).then(|| digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

fn escaped_bytea(mut text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    loop {
        match text {
            [] => return Some(bytes),
            [b'\\', b'\\', rest @ ..] => {
                bytes.push(b'\\');
                text = rest;
            }
            [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', rest @ ..] => {
                bytes.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                text = rest;
            }
            [b'\\', ..] => return None,
            [byte, rest @ ..] => {
                bytes.push(*byte);
                text = rest;
            }
        }
    }
}

fn date(text: &str) -> Option<i32> {
    let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
    Some(date.signed_duration_since(NaiveDate::default()).num_days() as i32)
}

/// Local µs since 1970-01-01 and, where the text has one, the offset from UTC in µs.
fn timestamp(text: &str) -> Option<(i64, Option<i64>)> {
    for form in ["%Y-%m-%d %H:%M:%S%.f%#z", "%Y-%m-%dT%H:%M:%S%.f%#z"] {
        if let Ok(time) = DateTime::parse_from_str(text, form) {
            let offset = i64::from(time.offset().local_minus_utc()) * 1_000_000;
            return Some((time.naive_local().and_utc().timestamp_micros(), Some(offset)));
        }
    }
    for form in ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M"] {
        if let Ok(time) = NaiveDateTime::parse_from_str(text, form) {
            return Some((time.and_utc().timestamp_micros(), None));
        }
    }
    date(text).map(|days| (i64::from(days) * 86_400_000_000, None))
}

fn from_binary(number: usize, oid: u32, bytes: &[u8]) -> Result<Value, Failure> {
    if oid::TEXTS.contains(&oid) || oid == 0 {
        let text = std::str::from_utf8(bytes).map_err(|_| not_utf8())?;
        return Ok(Value::Text(text.into()));
    }
    let broken = || Failure::new("22P03", format!("incorrect binary data format in bind parameter {number}"));
    match oid {
        oid::BOOL => fixed::<1>(bytes).map(|[b]| Value::Bool(b != 0)).ok_or_else(broken),
        oid::INT2 => fixed(bytes).map(|b| Value::Int(i16::from_be_bytes(b).into())).ok_or_else(broken),
        oid::INT4 => fixed(bytes).map(|b| Value::Int(i32::from_be_bytes(b).into())).ok_or_else(broken),
        oid::OID => fixed(bytes).map(|b| Value::Int(u32::from_be_bytes(b).into())).ok_or_else(broken),
        oid::INT8 => fixed(bytes).map(|b| Value::Int(i64::from_be_bytes(b))).ok_or_else(broken),
        oid::FLOAT4 => fixed(bytes).map(|b| Value::Float(f32::from_be_bytes(b).into())).ok_or_else(broken),
        oid::FLOAT8 => fixed(bytes).map(|b| Value::Float(f64::from_be_bytes(b))).ok_or_else(broken),
        oid::BYTEA => Ok(Value::Bytes(bytes.into())),
        oid::DATE => fixed(bytes)
            .map(|b| Value::Date(i32::from_be_bytes(b).saturating_add(EPOCH_DAYS)))
            .ok_or_else(broken),
        oid::TIMESTAMP => fixed(bytes).map(|b| Value::Timestamp(since_1970(b))).ok_or_else(broken),
        oid::TIMESTAMPTZ => fixed(bytes).map(|b| Value::TimestampTz(since_1970(b))).ok_or_else(broken),
        oid::TIME => {
            fixed(bytes).map(|b| written(|out| text::time(i64::from_be_bytes(b), out))).ok_or_else(broken)
        }
        oid::INTERVAL => interval(bytes).ok_or_else(broken),
        oid::NUMERIC => numeric_text(bytes).map(Value::Text).ok_or_else(broken),
        oid::UUID => fixed(bytes).map(|b| written(|out| text::uuid(b, out))).ok_or_else(broken),
        oid::JSONB => match bytes {
            [1, json @ ..] => {
                std::str::from_utf8(json).map(|j| Value::Text(j.into())).map_err(|_| not_utf8())
            }
            _ => Err(broken()),
        },
        other => Err(Failure::unsupported(format!("parameter {number} has type {other} in binary format"))
            .with_hint("send it as text")),
    }
}

fn since_1970(since_2000: [u8; 8]) -> i64 {
    i64::from_be_bytes(since_2000).saturating_add(EPOCH_MICROS)
}

fn fixed<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    bytes.try_into().ok()
}

fn interval(bytes: &[u8]) -> Option<Value> {
    let micros = i64::from_be_bytes(fixed(bytes.get(..8)?)?);
    let days = i32::from_be_bytes(fixed(bytes.get(8..12)?)?);
    let months = i32::from_be_bytes(fixed(bytes.get(12..)?)?);
    Some(written(|out| text::interval(months, days, micros.saturating_mul(1000), out)))
}

fn written(write: impl FnOnce(&mut bytes::BytesMut)) -> Value {
    let mut out = bytes::BytesMut::new();
    write(&mut out);
    Value::Text(String::from_utf8_lossy(&out).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_of(oid: u32, text: &str) -> Result<Value, &'static str> {
        value(1, oid, false, Some(text.as_bytes())).map_err(|failure| failure.sqlstate)
    }

    fn binary_of(oid: u32, bytes: &[u8]) -> Result<Value, &'static str> {
        value(1, oid, true, Some(bytes)).map_err(|failure| failure.sqlstate)
    }

    #[test]
    fn texts() {
        assert_eq!(text_of(23, " +42 "), Ok(Value::Int(42)));
        assert_eq!(text_of(21, "40000"), Err("22003"));
        assert_eq!(text_of(23, "x"), Err("22P02"));
        assert_eq!(text_of(16, "on"), Ok(Value::Bool(true)));
        assert_eq!(text_of(17, "\\x00fF"), Ok(Value::Bytes(vec![0, 255])));
        assert_eq!(text_of(17, "a\\000\\\\"), Ok(Value::Bytes(vec![b'a', 0, b'\\'])));
        assert_eq!(text_of(17, "\\x0"), Err("22P02"));
        assert_eq!(text_of(1082, "1970-01-02"), Ok(Value::Date(1)));
        assert_eq!(text_of(1184, "1970-01-01 01:00:00.5+01"), Ok(Value::TimestampTz(500_000)));
        assert_eq!(text_of(1184, "1970-01-01T00:00:00+00:00"), Ok(Value::TimestampTz(0)));
        assert_eq!(text_of(1114, "1970-01-01 00:00:01"), Ok(Value::Timestamp(1_000_000)));
        assert_eq!(text_of(1114, "1970-01-01 00:00:01+02"), Ok(Value::Timestamp(1_000_000)));
        let local = "1970-01-01 00:00:01";
        assert_eq!(text_of(1184, local), Ok(Value::Text(local.into())), "the session's zone counts");
        assert_eq!(text_of(1700, "1.50"), Ok(Value::Text("1.50".into())));
        assert_eq!(text_of(0, "x"), Ok(Value::Text("x".into())));
        assert_eq!(value(1, 23, false, None).unwrap(), Value::Null);
        assert_eq!(text_of(701, "NaN").map(|v| matches!(v, Value::Float(f) if f.is_nan())), Ok(true));
    }

    #[test]
    fn binaries() {
        assert_eq!(binary_of(21, &[0xff, 0xff]), Ok(Value::Int(-1)));
        assert_eq!(binary_of(20, &7i64.to_be_bytes()), Ok(Value::Int(7)));
        assert_eq!(binary_of(1082, &0i32.to_be_bytes()), Ok(Value::Date(EPOCH_DAYS)));
        assert_eq!(binary_of(1114, &0i64.to_be_bytes()), Ok(Value::Timestamp(EPOCH_MICROS)));
        assert_eq!(binary_of(1184, &0i64.to_be_bytes()), Ok(Value::TimestampTz(EPOCH_MICROS)));
        assert_eq!(binary_of(3802, b"\x01{}"), Ok(Value::Text("{}".into())));
        let id = "00000000-0000-0000-0000-0000000000ff";
        assert_eq!(binary_of(2950, &255u128.to_be_bytes()), Ok(Value::Text(id.into())));
        assert_eq!(binary_of(1007, &[0; 12]), Err("0A000"));
    }

    #[test]
    fn no_bytes_panic() {
        for oid in (0..4000).chain([u32::MAX]) {
            for length in 0..20 {
                for byte in [0, 1, 0x7f, 0x80, 0xff] {
                    let _ = value(1, oid, true, Some(&vec![byte; length]));
                    let _ = value(1, oid, false, Some(&vec![byte; length]));
                }
            }
        }
    }
}
