//! Days, times and RFC 3339 text.
//!
//! Owns: reading and writing dates, times and timestamps as JSON strings, in the proleptic Gregorian calendar.
//! Does not own: time zones beyond fixed offsets; leap seconds (`:60` is refused).
//! Invariants: what `write_*` writes, `parse_*` reads back to the same number.

/// Microseconds of a day.
pub(crate) const DAY_US: i64 = 86_400_000_000;

/// Days since 1970-01-01 of a valid date. (The civil-calendar arithmetic of Howard Hinnant's `days_from_civil`.)
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year - era * 400;
    let day_of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// Year, month and day of a number of days since 1970-01-01.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days - era * 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day_of_year - (153 * shifted + 2) / 5 + 1)
}

fn digits2(text: &[u8]) -> Option<i64> {
    let (a, b) = (text.first()?.wrapping_sub(b'0'), text.get(1)?.wrapping_sub(b'0'));
    (a <= 9 && b <= 9).then(|| i64::from(a) * 10 + i64::from(b))
}

/// `YYYY-MM-DD` as days since 1970-01-01.
pub(crate) fn parse_date(text: &[u8]) -> Option<i32> {
    if text.len() != 10 || text[4] != b'-' || text[7] != b'-' {
        return None;
    }
    let year = digits2(text)? * 100 + digits2(&text[2..])?;
    let (month, day) = (digits2(&text[5..])?, digits2(&text[8..])?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    (1..=last).contains(&day).then(|| days_from_civil(year, month, day) as i32)
}

/// `HH:MM:SS[.fraction]` as microseconds (digits beyond them are cut off), and what follows it.
fn parse_clock(text: &[u8]) -> Option<(i64, &[u8])> {
    if text.len() < 8 || text[2] != b':' || text[5] != b':' {
        return None;
    }
    let (hour, minute, second) = (digits2(text)?, digits2(&text[3..])?, digits2(&text[6..])?);
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let mut us = ((hour * 60 + minute) * 60 + second) * 1_000_000;
    let mut rest = &text[8..];
    if rest.first() == Some(&b'.') {
        let count = rest[1..].iter().take_while(|b| b.is_ascii_digit()).count();
        if count == 0 {
            return None;
        }
        let mut fraction = 0;
        for digit in 0..6 {
            let value = if digit < count { i64::from(rest[1 + digit] - b'0') } else { 0 };
            fraction = fraction * 10 + value;
        }
        us += fraction;
        rest = &rest[1 + count..];
    }
    Some((us, rest))
}

/// `Z`, `+HH:MM` or `-HH:MM` to the end of the text, as microseconds east of UTC.
fn parse_offset(text: &[u8]) -> Option<i64> {
    match text {
        [b'Z' | b'z'] => Some(0),
        [sign @ (b'+' | b'-'), _, _, b':', _, _] => {
            let (hours, minutes) = (digits2(&text[1..])?, digits2(&text[4..])?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            let us = (hours * 60 + minutes) * 60_000_000;
            Some(if *sign == b'-' { -us } else { us })
        }
        _ => None,
    }
}

/// An RFC 3339 timestamp as microseconds since 1970-01-01 UTC; digits beyond microseconds are cut off.
pub(crate) fn parse_timestamp(text: &[u8]) -> Option<i64> {
    if text.len() < 20 || !matches!(text[10], b'T' | b't') {
        return None;
    }
    let days = i64::from(parse_date(&text[..10])?);
    let (us, rest) = parse_clock(&text[11..])?;
    Some(days * DAY_US + us - parse_offset(rest)?)
}

/// A time of day as microseconds. With an offset it is turned to UTC (around midnight if need be); without one it
/// is taken as it stands.
pub(crate) fn parse_time(text: &[u8]) -> Option<i64> {
    let (us, rest) = parse_clock(text)?;
    if rest.is_empty() {
        return Some(us);
    }
    Some((us - parse_offset(rest)?).rem_euclid(DAY_US))
}

fn push2(out: &mut Vec<u8>, value: i64) {
    out.extend_from_slice(&[b'0' + (value / 10 % 10) as u8, b'0' + (value % 10) as u8]);
}

/// Writes `YYYY-MM-DD`; false for years that have no four digits.
pub(crate) fn write_date(out: &mut Vec<u8>, days: i64) -> bool {
    let (year, month, day) = civil_from_days(days);
    if !(0..=9999).contains(&year) {
        return false;
    }
    push2(out, year / 100);
    push2(out, year);
    out.push(b'-');
    push2(out, month);
    out.push(b'-');
    push2(out, day);
    true
}

/// Writes `HH:MM:SS.ffffffZ`; false outside one day.
pub(crate) fn write_time(out: &mut Vec<u8>, us: i64) -> bool {
    if !(0..DAY_US).contains(&us) {
        return false;
    }
    let seconds = us / 1_000_000;
    push2(out, seconds / 3600);
    out.push(b':');
    push2(out, seconds / 60 % 60);
    out.push(b':');
    push2(out, seconds % 60);
    out.push(b'.');
    let fraction = us % 1_000_000;
    push2(out, fraction / 10_000);
    push2(out, fraction / 100);
    push2(out, fraction);
    out.push(b'Z');
    true
}

/// Writes an RFC 3339 timestamp in UTC with six fractional digits; false for years that have no four digits.
pub(crate) fn write_timestamp(out: &mut Vec<u8>, us: i64) -> bool {
    if !write_date(out, us.div_euclid(DAY_US)) {
        return false;
    }
    out.push(b'T');
    write_time(out, us.rem_euclid(DAY_US))
}

#[cfg(test)]
#[path = "calendar_tests.rs"]
mod tests;
