//! Cells in PostgreSQL's text format (DateStyle ISO, IntervalStyle postgres, bytea_output hex).
//!
//! Owns: the spelling of each type.
//! Does not own: lengths and rows (`rows`).

use std::fmt::Write;

use bytes::{BufMut, BytesMut};

// Writing to a `BytesMut` grows it and cannot fail, so results of `write!` are ignored in this file.

pub(super) fn boolean(value: bool, out: &mut BytesMut) {
    out.put_u8(if value { b't' } else { b'f' });
}

pub(super) fn integer(value: i64, out: &mut BytesMut) {
    let _ = write!(out, "{value}");
}

/// float4: shortest digits that read back, exponents from 1e6 on.
pub(super) fn float4(value: f32, out: &mut BytesMut) {
    match special(f64::from(value)) {
        Some(word) => out.put_slice(word.as_bytes()),
        None => shortest(&format!("{value:e}"), 6, out),
    }
}

/// float8: shortest digits that read back, exponents from 1e15 on.
pub(super) fn float8(value: f64, out: &mut BytesMut) {
    match special(value) {
        Some(word) => out.put_slice(word.as_bytes()),
        None => shortest(&format!("{value:e}"), 15, out),
    }
}

fn special(value: f64) -> Option<&'static str> {
    if value.is_nan() {
        Some("NaN")
    } else if value.is_infinite() {
        Some(if value > 0.0 { "Infinity" } else { "-Infinity" })
    } else {
        None
    }
}

/// Lays out Rust's `d.ddde±x` as PostgreSQL does: plain from 1e-4 up to `exponent_from`, else `1e+20`, `1.5e-07`.
fn shortest(scientific: &str, exponent_from: i32, out: &mut BytesMut) {
    let (sign, unsigned) = scientific.strip_prefix('-').map_or(("", scientific), |rest| ("-", rest));
    let (mantissa, exponent) = unsigned.split_once('e').unwrap_or((unsigned, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    out.put_slice(sign.as_bytes());
    if exponent < -4 || exponent >= exponent_from {
        let direction = if exponent < 0 { '-' } else { '+' };
        let _ = write!(out, "{mantissa}e{direction}{:02}", exponent.abs());
        return;
    }
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    if exponent < 0 {
        let _ = write!(out, "0.{}{digits}", "0".repeat(exponent.unsigned_abs() as usize - 1));
        return;
    }
    let whole = exponent as usize + 1;
    if digits.len() <= whole {
        let _ = write!(out, "{digits}{}", "0".repeat(whole - digits.len()));
    } else {
        let _ = write!(out, "{}.{}", &digits[..whole], &digits[whole..]);
    }
}

pub(super) fn bytea(value: &[u8], out: &mut BytesMut) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.reserve(2 + value.len() * 2);
    out.put_slice(b"\\x");
    for byte in value {
        out.put_u8(HEX[usize::from(byte >> 4)]);
        out.put_u8(HEX[usize::from(byte & 15)]);
    }
}

pub(super) fn uuid(value: [u8; 16], out: &mut BytesMut) {
    let _ = write!(out, "{}", uuid::Uuid::from_bytes(value).as_hyphenated());
}

/// Days since 1970-01-01.
pub(super) fn date(days: i32, out: &mut BytesMut) {
    let before_christ = year_month_day(i64::from(days), out);
    era(before_christ, out);
}

/// µs since midnight.
pub(super) fn time(micros: i64, out: &mut BytesMut) {
    let seconds = micros.div_euclid(1_000_000);
    let _ = write!(out, "{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    fraction(micros.rem_euclid(1_000_000), out);
}

/// µs since 1970-01-01 UTC; with a time zone, in its local time and with its offset in seconds.
pub(super) fn timestamp(micros: i64, offset: Option<i32>, out: &mut BytesMut) {
    const DAY: i128 = 86_400_000_000;
    let local = i128::from(micros) + i128::from(offset.unwrap_or(0)) * 1_000_000;
    let before_christ = year_month_day(local.div_euclid(DAY) as i64, out);
    out.put_u8(b' ');
    time(local.rem_euclid(DAY) as i64, out);
    if let Some(offset) = offset {
        let (sign, seconds) = (if offset < 0 { '-' } else { '+' }, offset.abs());
        let _ = write!(out, "{sign}{:02}", seconds / 3600);
        if seconds % 3600 != 0 {
            let _ = write!(out, ":{:02}", seconds / 60 % 60);
        }
        if seconds % 60 != 0 {
            let _ = write!(out, ":{:02}", seconds % 60);
        }
    }
    era(before_christ, out);
}

pub(super) fn interval(months: i32, days: i32, nanos: i64, out: &mut BytesMut) {
    let start = out.len();
    let units = [(months / 12, "year", "years"), (months % 12, "mon", "mons"), (days, "day", "days")];
    let mut negative_before = false;
    for (count, one, many) in units.into_iter().filter(|(count, ..)| *count != 0) {
        let blank = if out.len() > start { " " } else { "" };
        let plus = if negative_before && count > 0 { "+" } else { "" };
        let _ = write!(out, "{blank}{plus}{count} {}", if count == 1 { one } else { many });
        negative_before = count < 0;
    }
    let micros = nanos / 1000;
    if micros != 0 || out.len() == start {
        if out.len() > start {
            out.put_u8(b' ');
        }
        if micros < 0 {
            out.put_u8(b'-');
        } else if negative_before {
            out.put_u8(b'+');
        }
        time(micros.saturating_abs(), out);
    }
}

/// Writes `YYYY-MM-DD`; says whether the year is before Christ.
fn year_month_day(days: i64, out: &mut BytesMut) -> bool {
    // Days from civil, reversed: years begin in March, so that the leap day comes last (Hinnant, "chrono-compatible
    // low-level date algorithms").
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let shown = if year > 0 { year } else { 1 - year };
    let _ = write!(out, "{shown:04}-{month:02}-{day:02}");
    year <= 0
}

fn era(before_christ: bool, out: &mut BytesMut) {
    if before_christ {
        out.put_slice(b" BC");
    }
}

/// `.5`, `.000001`: as many digits as it takes.
fn fraction(micros: i64, out: &mut BytesMut) {
    if micros != 0 {
        let digits = format!("{micros:06}");
        let _ = write!(out, ".{}", digits.trim_end_matches('0'));
    }
}

/// An element of an array's text, quoted where it must be.
pub(super) fn array_element(text: &[u8], out: &mut BytesMut) {
    let special =
        |b: &u8| matches!(b, b'{' | b'}' | b',' | b'"' | b'\\') || b.is_ascii_whitespace() || *b == 0x0b;
    if !text.is_empty() && !text.eq_ignore_ascii_case(b"null") && !text.iter().any(special) {
        out.put_slice(text);
        return;
    }
    out.put_u8(b'"');
    for byte in text {
        if matches!(byte, b'"' | b'\\') {
            out.put_u8(b'\\');
        }
        out.put_u8(*byte);
    }
    out.put_u8(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(write: impl FnOnce(&mut BytesMut)) -> String {
        let mut out = BytesMut::new();
        write(&mut out);
        String::from_utf8(out.to_vec()).unwrap()
    }

    /// Expectations read from PostgreSQL 15.
    #[test]
    fn floats() {
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (0.1, "0.1"),
            (100.0, "100"),
            (123.456, "123.456"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (1e14, "100000000000000"),
            (1e15, "1e+15"),
            (1.5e-7, "1.5e-07"),
            (1e100, "1e+100"),
            (-2.5, "-2.5"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
        ] {
            assert_eq!(shown(|out| float8(value, out)), text);
        }
        for (value, text) in
            [(0.1f32, "0.1"), (123456.0, "123456"), (1e6, "1e+06"), (3.4028235e38, "3.4028235e+38")]
        {
            assert_eq!(shown(|out| float4(value, out)), text);
        }
    }

    #[test]
    fn dates_and_times() {
        for (days, text) in [
            (0, "1970-01-01"),
            (-1, "1969-12-31"),
            (19_782, "2024-02-29"),
            (11_016, "2000-02-29"),
            (-719_163, "0001-12-31 BC"),
            (-719_162, "0001-01-01"),
            (2_932_896, "9999-12-31"),
            (2_932_897, "10000-01-01"),
        ] {
            assert_eq!(shown(|out| date(days, out)), text);
        }
        assert_eq!(shown(|out| timestamp(1_500_000, Some(0), out)), "1970-01-01 00:00:01.5+00");
        assert_eq!(shown(|out| timestamp(-1, None, out)), "1969-12-31 23:59:59.999999");
        assert_eq!(shown(|out| timestamp(0, Some(19_800), out)), "1970-01-01 05:30:00+05:30");
        assert_eq!(shown(|out| timestamp(0, Some(-12_600), out)), "1969-12-31 20:30:00-03:30");
        assert_eq!(shown(|out| time(86_399_000_001, out)), "23:59:59.000001");
        for extreme in [i64::MIN, i64::MAX] {
            shown(|out| timestamp(extreme, Some(-3600), out));
        }
        for extreme in [i32::MIN, i32::MAX] {
            shown(|out| date(extreme, out));
        }
    }

    #[test]
    fn intervals() {
        for (months, days, nanos, text) in [
            (0, 0, 0, "00:00:00"),
            (14, 3, 14_706_789_000_000, "1 year 2 mons 3 days 04:05:06.789"),
            (1, 1, 0, "1 mon 1 day"),
            (-1, 2, 0, "-1 mons +2 days"),
            (0, -1, 3_600_000_000_000, "-1 days +01:00:00"),
            (0, 0, -1_000_000_000, "-00:00:01"),
        ] {
            assert_eq!(shown(|out| interval(months, days, nanos, out)), text);
        }
        shown(|out| interval(i32::MIN, i32::MIN, i64::MIN, out));
    }

    #[test]
    fn array_elements() {
        for (text, quoted) in
            [("a", "a"), ("", "\"\""), ("NULL", "\"NULL\""), ("a b", "\"a b\""), ("a\"\\", r#""a\"\\""#)]
        {
            assert_eq!(shown(|out| array_element(text.as_bytes(), out)), quoted);
        }
        assert_eq!(shown(|out| bytea(&[0, 0xab], out)), "\\x00ab");
    }
}
