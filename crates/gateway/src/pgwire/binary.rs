//! Cells in PostgreSQL's binary format, where it is more than the bytes of a number.
//!
//! Owns: numeric in base 10,000, both ways; the epoch of 2000-01-01.
//! Does not own: lengths and rows (`rows`); parameters of other types (`parameters`).

use bytes::{BufMut, BytesMut};

/// 1970-01-01 to 2000-01-01.
pub(super) const EPOCH_DAYS: i32 = 10_957;
pub(super) const EPOCH_MICROS: i64 = 946_684_800_000_000;

const POSITIVE: u16 = 0x0000;
const NEGATIVE: u16 = 0x4000;
const NAN: u16 = 0xc000;

/// Days since 1970-01-01.
pub(super) fn date(days: i32, out: &mut BytesMut) {
    out.put_i32(days.saturating_sub(EPOCH_DAYS));
}

/// µs since 1970-01-01.
pub(super) fn timestamp(micros: i64, out: &mut BytesMut) {
    out.put_i64(micros.saturating_sub(EPOCH_MICROS));
}

pub(super) fn interval(months: i32, days: i32, nanos: i64, out: &mut BytesMut) {
    out.put_i64(nanos / 1000);
    out.put_i32(days);
    out.put_i32(months);
}

/// A decimal in plain notation (`-123.4500`).
pub(super) fn numeric(text: &str, out: &mut BytesMut) {
    let (sign, unsigned) = text.strip_prefix('-').map_or((POSITIVE, text), |rest| (NEGATIVE, rest));
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let whole = whole.trim_start_matches('0');
    // Groups of four digits, aligned at the point.
    let padding = (4 - whole.len() % 4) % 4;
    let mut digits = "0".repeat(padding) + whole;
    let whole_groups = digits.len() / 4;
    digits.push_str(fraction);
    digits.push_str(&"0".repeat((4 - fraction.len() % 4) % 4));
    let groups: Vec<i16> = digits
        .as_bytes()
        .chunks(4)
        .map(|four| four.iter().fold(0, |n, d| n * 10 + i16::from(d - b'0')))
        .collect();
    let first = groups.iter().position(|group| *group != 0).unwrap_or(groups.len());
    let last = groups.iter().rposition(|group| *group != 0).map_or(first, |at| at + 1);
    let significant = &groups[first..last];
    out.put_i16(significant.len() as i16);
    let weight = if significant.is_empty() { 0 } else { whole_groups as i16 - first as i16 - 1 };
    out.put_i16(weight);
    out.put_u16(if significant.is_empty() { POSITIVE } else { sign });
    out.put_u16(fraction.len() as u16);
    significant.iter().for_each(|group| out.put_i16(*group));
}

/// Reads a numeric; none when the bytes are not one.
pub(super) fn numeric_text(bytes: &[u8]) -> Option<String> {
    let mut words = bytes.chunks_exact(2).map(|pair| i16::from_be_bytes([pair[0], pair[1]]));
    let (count, weight) = (words.next()?, i32::from(words.next()?));
    let (sign, scale) = (words.next()? as u16, words.next()?);
    let groups: Vec<i16> = words.collect();
    // PostgreSQL's own bounds for digits before and after the point.
    if sign == NAN {
        return Some("NaN".into());
    }
    if !matches!(sign, POSITIVE | NEGATIVE)
        || bytes.len() % 2 != 0
        || usize::try_from(count) != Ok(groups.len())
        || !(0..=16_383).contains(&scale)
        || !(-4_096..=32_767).contains(&weight)
        || groups.iter().any(|group| !(0..10_000).contains(group))
    {
        return None;
    }
    let group = |at: i32| usize::try_from(at).ok().and_then(|at| groups.get(at)).copied().unwrap_or(0);
    let mut text = String::from(if sign == NEGATIVE { "-" } else { "" });
    match weight {
        ..0 => text.push('0'),
        0.. => {
            text.push_str(&group(0).to_string());
            (1..=weight).for_each(|at| text.push_str(&format!("{:04}", group(at))));
        }
    }
    if scale > 0 {
        let mut fraction = String::new();
        let mut at = weight + 1;
        // Groups between the point and the first one that is sent are zero.
        (weight + 1..0).for_each(|_| fraction.push_str("0000"));
        at = at.max(0);
        while fraction.len() < scale as usize {
            fraction.push_str(&format!("{:04}", group(at)));
            at += 1;
        }
        text.push('.');
        text.push_str(&fraction[..scale as usize]);
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<i16> {
        let mut out = BytesMut::new();
        numeric(text, &mut out);
        out.chunks(2).map(|pair| i16::from_be_bytes([pair[0], pair[1]])).collect()
    }

    /// Expectations read from `numeric_send` of PostgreSQL 15.
    #[test]
    fn numerics() {
        let negative = 0x4000;
        assert_eq!(words("0"), [0, 0, 0, 0]);
        assert_eq!(words("0.00"), [0, 0, 0, 2]);
        assert_eq!(words("-0.00"), [0, 0, 0, 2]);
        assert_eq!(words("1"), [1, 0, 0, 0, 1]);
        assert_eq!(words("10000"), [1, 1, 0, 0, 1]);
        assert_eq!(words("12345.6789"), [3, 1, 0, 4, 1, 2345, 6789]);
        assert_eq!(words("-0.00012"), [2, -1, negative, 5, 1, 2000]);
        assert_eq!(words("0.0000001"), [1, -2, 0, 7, 10]);
    }

    #[test]
    fn numerics_come_back() {
        for text in [
            "0",
            "0.00",
            "1",
            "-1.5",
            "10000",
            "12345.6789",
            "-0.00012",
            "0.0000001",
            "99999999999999999999.5",
            "100000000",
        ] {
            let mut out = BytesMut::new();
            numeric(text, &mut out);
            assert_eq!(numeric_text(&out).as_deref(), Some(text));
        }
    }

    #[test]
    fn broken_numerics_are_refused() {
        let bytes = |words: &[i16]| words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<u8>>();
        for broken in [
            &[][..],
            &[1, 0, 0],
            &[1, 0, 0, 0],
            &[1, 0, 0, 0, 10_000],
            &[1, 0, 7, 0, 1],
            &[-1, 0, 0, 0],
            &[0, 0, 0, -1],
        ] {
            assert_eq!(numeric_text(&bytes(broken)), None, "{broken:?}");
        }
        assert_eq!(numeric_text(&bytes(&[0, 0, NAN as i16, 0])).as_deref(), Some("NaN"));
        assert_eq!(numeric_text(&[0; 9]), None);
    }
}
