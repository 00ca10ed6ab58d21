use super::*;

fn number(text: &str) -> Number<'_> {
    let number = Number::read(text.as_bytes()).expect(text);
    assert_eq!(number.len(), text.len(), "{text}");
    number
}

#[test]
fn integers_are_exact() {
    for (text, expected) in [
        ("0", Ok(0)),
        ("-0", Ok(0)),
        ("12.0", Ok(12)),
        ("1e3", Ok(1000)),
        ("1200e-2", Ok(12)),
        ("1.50E+1", Ok(15)),
        ("0e99999999999", Ok(0)),
        ("0.000e-5", Ok(0)),
        ("9223372036854775807", Ok(i64::MAX)),
        ("-9223372036854775808", Ok(i64::MIN)),
        ("9007199254740993.000", Ok(9_007_199_254_740_993)),
        ("100.000000000000000000000000", Ok(100)),
        ("1000000000000000000000000e-20", Ok(10_000)),
        ("0.00000000000000000000000000012e28", Err(NoInteger::Fraction)),
        ("0.00000000000000000000000000012e29", Ok(12)),
        ("9223372036854775808", Err(NoInteger::OutOfRange)),
        ("-9223372036854775809", Err(NoInteger::OutOfRange)),
        ("18446744073709551616", Err(NoInteger::OutOfRange)),
        ("1e19", Err(NoInteger::OutOfRange)),
        ("1e999999999999", Err(NoInteger::OutOfRange)),
        ("99999999999999999999", Err(NoInteger::OutOfRange)),
        ("12.5", Err(NoInteger::Fraction)),
        ("1e-1", Err(NoInteger::Fraction)),
        ("1e-999999999999", Err(NoInteger::Fraction)),
        ("1.00000000000000000000001", Err(NoInteger::Fraction)),
    ] {
        assert_eq!(number(text).as_i64(), expected, "{text}");
    }
}

#[test]
fn doubles_are_nearest() {
    let mut state = 42_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let check = |text: &str| {
        let expected: f64 = text.parse().expect("a number");
        let expected = expected.is_finite().then_some(expected.to_bits());
        assert_eq!(number(text).as_f64().map(f64::to_bits), expected, "{text}");
    };
    for text in
        ["0", "-0", "-0.0", "1e22", "1e23", "9007199254740993", "1e308", "1e309", "5e-324", "1e-400", "0.1"]
    {
        check(text);
    }
    for _ in 0..20_000 {
        let digits = next() >> (next() % 60);
        let exponent = (next() % 640) as i64 - 330;
        match next() % 4 {
            0 => check(&format!("{}", f64::from_bits(next() & !(0x7ff << 52) | (1023 << 52)))),
            1 => check(&format!("{}.{:02}", digits % 1000, next() % 100)),
            2 => check(&format!("-{digits}e{exponent}")),
            _ => check(&format!("{}.{digits}e{exponent}", next() % 10)),
        }
    }
}

#[test]
fn the_grammar_is_strict() {
    for text in ["", "-", "+1", "01", "-01", ".5", "1.", "1.e5", "1e", "1e+", "a", "--1"] {
        assert!(Number::read(text.as_bytes()).is_err(), "{text}");
    }
    assert_eq!(number("1").len(), 1);
    assert_eq!(Number::read(b"1.5x").expect("ends before x").len(), 3);
    assert_eq!(Number::read(b"0x10").expect("ends before x").len(), 1);
}
