use chrono::{DateTime, Datelike, NaiveDate};

use super::*;

#[test]
fn dates_agree_with_chrono() {
    for days in (-719_528..2_932_897).step_by(17) {
        let date = NaiveDate::from_num_days_from_ce_opt(days + 719_163).expect("in range");
        let mut text = Vec::new();
        assert!(write_date(&mut text, i64::from(days)));
        let shown = format!("{:04}-{:02}-{:02}", date.year(), date.month(), date.day());
        assert_eq!(String::from_utf8_lossy(&text), shown);
        assert_eq!(parse_date(&text), Some(days), "{shown}");
    }
}

#[test]
fn timestamps_agree_with_chrono() {
    for text in [
        "1970-01-01T00:00:00Z",
        "2024-02-29T23:59:59.999999Z",
        "2024-02-29t23:59:59.9999999999z",
        "1969-12-31T23:59:59.5Z",
        "0000-01-01T00:00:00Z",
        "9999-12-31T23:59:59.999999-23:59",
        "2026-11-21T03:47:48.123+05:30",
        "2026-11-21T03:47:48.1-00:00",
    ] {
        let expected = DateTime::parse_from_rfc3339(text).expect("valid").timestamp_micros();
        assert_eq!(parse_timestamp(text.as_bytes()), Some(expected), "{text}");
    }
}

#[test]
fn what_is_no_timestamp_is_refused() {
    for text in [
        "",
        "2024-01-01",
        "2024-01-01T00:00:00",
        "2024-01-01 00:00:00Z",
        "2024-13-01T00:00:00Z",
        "2023-02-29T00:00:00Z",
        "2024-01-00T00:00:00Z",
        "2024-01-01T24:00:00Z",
        "2024-01-01T23:60:00Z",
        "2016-12-31T23:59:60Z",
        "2024-01-01T00:00:00.Z",
        "2024-01-01T00:00:00+0100",
        "2024-01-01T00:00:00+24:00",
        "2024-01-01T00:00:00+01:60",
        "2024-01-01T00:00:00Zx",
        "+024-01-01T00:00:00Z",
        "2024-01-01T00:00:0/Z",
        "２024-01-01T00:00:00Z",
    ] {
        assert_eq!(parse_timestamp(text.as_bytes()), None, "{text}");
    }
}

#[test]
fn times_turn_to_utc() {
    assert_eq!(parse_time(b"00:00:00Z"), Some(0));
    assert_eq!(parse_time(b"01:02:03.5"), Some(3_723_500_000));
    assert_eq!(parse_time(b"00:30:00+01:00"), Some(23 * 3_600_000_000 + 1_800_000_000));
    assert_eq!(parse_time(b"23:59:59.9999999Z"), Some(DAY_US - 1));
    for bad in ["", "1:00:00", "24:00:00", "00:00:60Z", "00:00:00 Z", "00:00"] {
        assert_eq!(parse_time(bad.as_bytes()), None, "{bad}");
    }
    let mut text = Vec::new();
    assert!(write_time(&mut text, 3_723_500_001));
    assert_eq!(text, b"01:02:03.500001Z");
    assert!(!write_time(&mut text, DAY_US));
}

#[test]
fn written_timestamps_read_back() {
    for us in [0, -1, 1, 1_732_160_868_123_456, -62_167_219_200_000_000, 253_402_300_799_999_999] {
        let mut text = Vec::new();
        assert!(write_timestamp(&mut text, us));
        assert_eq!(parse_timestamp(&text), Some(us), "{}", String::from_utf8_lossy(&text));
    }
    assert!(!write_timestamp(&mut Vec::new(), 253_402_300_800_000_000));
    assert!(!write_timestamp(&mut Vec::new(), -62_167_219_200_000_001));
}
