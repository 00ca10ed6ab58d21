//! Sizes and durations as people write them in settings.
//!
//! Owns: parsing and printing of `10MB`, `64KiB`, `5s`, `24h`.
//! Does not own: defaults and limits of settings.

use std::time::Duration;

/// Parses `512`, `10kB`, `64KiB`, `1MB`, `1GiB` to bytes.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let (number, unit) = split_number(text)?;
    let factor: u64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" => 1_000,
        "kib" => 1 << 10,
        "m" | "mb" => 1_000_000,
        "mib" => 1 << 20,
        "g" | "gb" => 1_000_000_000,
        "gib" => 1 << 30,
        _ => return Err(format!("`{text}` is no size: write for example 64KiB or 10MB")),
    };
    scaled(number, factor as f64).map(|v| v as u64).ok_or_else(|| format!("`{text}` is too large"))
}

/// Parses `250ms`, `5s`, `10m` or `10min`, `24h`, `7d`; a bare number is milliseconds, as in Kafka.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split_number(text)?;
    let factor_ms = match unit {
        "" | "ms" => 1.0,
        "s" => 1e3,
        "m" | "min" => 60e3,
        "h" => 3_600e3,
        "d" => 86_400e3,
        _ => return Err(format!("`{text}` is no duration: write for example 250ms, 5s, 10m, 24h or 7d")),
    };
    let ms = scaled(number, factor_ms).ok_or_else(|| format!("`{text}` is too long"))?;
    Ok(Duration::from_millis(ms as u64))
}

/// `1536` as `1.5 KiB`.
pub fn show_bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

fn split_number(text: &str) -> Result<(f64, &str), String> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number: f64 = text[..end].parse().map_err(|_| format!("`{text}` does not start with a number"))?;
    Ok((number, text[end..].trim()))
}

fn scaled(number: f64, factor: f64) -> Option<f64> {
    let value = number * factor;
    (value.is_finite() && (0.0..=9.0e18).contains(&value)).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_durations() {
        assert_eq!(parse_bytes("64KiB"), Ok(65_536));
        assert_eq!(parse_bytes("1.5MB"), Ok(1_500_000));
        assert_eq!(parse_duration("24h"), Ok(Duration::from_secs(86_400)));
        assert_eq!(parse_duration("10000"), Ok(Duration::from_secs(10)));
        assert_eq!(show_bytes(1536), "1.5 KiB");
        for bad in ["", "x", "1x", "-1s", "99999999999999999999d"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
        assert!(parse_bytes("9e9").is_err());
    }
}
