//! JSON numbers.
//!
//! Owns: the grammar of numbers, exact integers, exactly rounded doubles.
//! Does not own: which of the two a field wants.
//! Invariants: `1e2`, `100.0` and `100` are the same integer; a double is the one nearest to the text.

/// A number as it was written: ±mantissa × 10^exponent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Number<'a> {
    text: &'a [u8],
    negative: bool,
    mantissa: u64,
    exponent: i32,
    /// False when the mantissa has more digits than 64 bits hold: look at the text.
    exact: bool,
}

/// Exponents beyond it all mean zero or infinity.
const EXPONENT_MAX: i32 = 100_000;

const POWERS_F64: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
    1e19, 1e20, 1e21, 1e22,
];

/// Why a number is no integer column's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoInteger {
    Fraction,
    OutOfRange,
}

impl<'a> Number<'a> {
    /// Reads the number at the start of `bytes`; `Err` is the position that breaks the grammar.
    #[inline]
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, usize> {
        let negative = bytes.first() == Some(&b'-');
        let first = usize::from(negative);
        let mut at = first;
        let (mut mantissa, mut digits) = (0_u64, 0_usize);
        while let Some(digit) = digit_at(bytes, at) {
            mantissa = mantissa.wrapping_mul(10).wrapping_add(digit);
            // Leading zeros do not fill the mantissa.
            digits += usize::from(digits > 0 || digit != 0);
            at += 1;
        }
        match at - first {
            0 => return Err(at),
            1 => {}
            _ if bytes[first] == b'0' => return Err(first + 1),
            _ => {}
        }
        let mut exponent = 0;
        if bytes.get(at) == Some(&b'.') {
            at += 1;
            let start = at;
            while let Some(digit) = digit_at(bytes, at) {
                mantissa = mantissa.wrapping_mul(10).wrapping_add(digit);
                digits += usize::from(digits > 0 || digit != 0);
                at += 1;
            }
            if at == start {
                return Err(at);
            }
            exponent = -i32::try_from(at - start).unwrap_or(EXPONENT_MAX);
        }
        if matches!(bytes.get(at), Some(b'e' | b'E')) {
            let (written, end) = exponent_at(bytes, at + 1)?;
            exponent = exponent.saturating_add(written);
            at = end;
        }
        Ok(Self { text: &bytes[..at], negative, mantissa, exponent, exact: digits <= 19 })
    }

    /// Length of its text.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.text.len()
    }

    /// The nearest double; none when it is beyond all of them.
    #[inline]
    pub(super) fn as_f64(&self) -> Option<f64> {
        let power = self.exponent.unsigned_abs() as usize;
        if self.exact && self.mantissa <= 1 << 53 && power < POWERS_F64.len() {
            // Both operands are exact, so one operation rounds correctly (Clinger's fast path).
            let mantissa = self.mantissa as f64;
            let value =
                if self.exponent < 0 { mantissa / POWERS_F64[power] } else { mantissa * POWERS_F64[power] };
            return Some(if self.negative { -value } else { value });
        }
        let value: f64 = std::str::from_utf8(self.text).ok()?.parse().ok()?;
        value.is_finite().then_some(value)
    }

    /// Whether it is written without fraction and exponent.
    #[inline]
    pub(super) fn is_whole(&self) -> bool {
        !self.text.iter().any(|b| matches!(b, b'.' | b'e' | b'E'))
    }

    /// The nearest double; of a number that is written as an integer, only when the double is the same.
    #[inline]
    pub(super) fn as_exact_f64(&self) -> Option<f64> {
        if !self.is_whole() {
            return self.as_f64();
        }
        let whole = self.as_i64().ok()?;
        (i128::from(whole) == (whole as f64) as i128).then_some(whole as f64)
    }

    /// The integer, when it is one.
    #[inline]
    pub(super) fn as_i64(&self) -> Result<i64, NoInteger> {
        let (mut mantissa, mut exponent) =
            if self.exact { (self.mantissa, self.exponent) } else { self.shortened()? };
        if mantissa == 0 {
            return Ok(0);
        }
        while exponent < 0 && mantissa % 10 == 0 {
            mantissa /= 10;
            exponent += 1;
        }
        if exponent < 0 {
            return Err(NoInteger::Fraction);
        }
        if exponent > 0 {
            let power = 10_u64.checked_pow(exponent.unsigned_abs()).ok_or(NoInteger::OutOfRange)?;
            mantissa = mantissa.checked_mul(power).ok_or(NoInteger::OutOfRange)?;
        }
        let value = if self.negative { -i128::from(mantissa) } else { i128::from(mantissa) };
        i64::try_from(value).map_err(|_| NoInteger::OutOfRange)
    }

    /// Mantissa and exponent without zeros at either end, for a number with very many digits.
    #[cold]
    fn shortened(&self) -> Result<(u64, i32), NoInteger> {
        let mantissa_end = self.text.iter().position(|b| matches!(b, b'e' | b'E')).unwrap_or(self.text.len());
        let digits: Vec<u8> = self.text[..mantissa_end]
            .iter()
            .copied()
            .filter(u8::is_ascii_digit)
            .skip_while(|b| *b == b'0')
            .collect();
        let kept = digits.iter().rposition(|b| *b != b'0').map_or(0, |last| last + 1);
        let dropped = i32::try_from(digits.len() - kept).unwrap_or(EXPONENT_MAX);
        let exponent = self.exponent.saturating_add(dropped);
        if kept > 19 {
            return Err(if exponent < 0 { NoInteger::Fraction } else { NoInteger::OutOfRange });
        }
        Ok((digits[..kept].iter().fold(0, |m, d| m * 10 + u64::from(d - b'0')), exponent))
    }
}

#[inline]
fn digit_at(bytes: &[u8], at: usize) -> Option<u64> {
    let digit = bytes.get(at)?.wrapping_sub(b'0');
    (digit <= 9).then_some(u64::from(digit))
}

/// The exponent that starts at `at`, and where it ends.
fn exponent_at(bytes: &[u8], mut at: usize) -> Result<(i32, usize), usize> {
    let negative = bytes.get(at) == Some(&b'-');
    at += usize::from(matches!(bytes.get(at), Some(b'+' | b'-')));
    let start = at;
    let mut value = 0_i32;
    while let Some(digit) = digit_at(bytes, at) {
        value = (value * 10 + digit as i32).min(EXPONENT_MAX);
        at += 1;
    }
    if at == start {
        return Err(at);
    }
    Ok((if negative { -value } else { value }, at))
}

#[cfg(test)]
#[path = "number_tests.rs"]
mod tests;
