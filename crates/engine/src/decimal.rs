//! Decimal numbers as they are written, never by way of binary floating point.

use std::cmp::Ordering;

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

/// A decimal number, exact above a billionth and known to be more or not below.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Decimal {
    negative: bool,
    /// Whole billionths of the absolute value, at most [`Decimal::LARGEST`].
    billionths: u128,
    /// The first digit that `billionths` leaves out.
    next_digit: u8,
    /// Whether `billionths` leaves nothing out.
    exact: bool,
}

impl Decimal {
    /// What is larger is written as this: no limit here is near it.
    const LARGEST: u128 = 10u128.pow(30);

    /// Reads a JSON number. `None` if the text is none.
    ///
    /// Takes time in proportion to the length of the text, whatever the exponent.
    pub(crate) fn parse_json(text: &str) -> Option<Self> {
        let (negative, text) = text.strip_prefix('-').map_or((false, text), |text| (true, text));
        let (mantissa, exponent) = match text.find(['e', 'E']) {
            Some(at) => (&text[..at], exponent(&text[at + 1..])?),
            None => (text, 0),
        };
        let (whole, fraction) = split_digits(mantissa)?;
        if whole.len() > 1 && whole.starts_with('0') {
            return None;
        }
        Some(Self::of(negative, whole, fraction, exponent))
    }

    /// Reads `digits` or `digits.digits`. `None` for anything else.
    pub(crate) fn parse_plain(text: &str) -> Option<Self> {
        let (whole, fraction) = split_digits(text)?;
        Some(Self::of(false, whole, fraction, 0))
    }

    fn of(negative: bool, whole: &str, fraction: &str, exponent: i64) -> Self {
        let digits = || whole.bytes().chain(fraction.bytes()).map(|digit| digit - b'0');
        let zeros = digits().take_while(|digit| *digit == 0).count();
        let count = whole.len() + fraction.len();
        // How many of the significant digits stand before the end of the billionths.
        let kept = (whole.len() as i64 - zeros as i64).saturating_add(exponent).saturating_add(9);
        let mut number = Self { negative, billionths: 0, next_digit: 0, exact: true };
        if zeros == count {
            return Self { negative: false, ..number };
        }
        if kept > 30 {
            return Self { billionths: Self::LARGEST, ..number };
        }
        let mut place = 0;
        for digit in digits().skip(zeros) {
            match place.cmp(&kept) {
                Ordering::Less => number.billionths = number.billionths * 10 + u128::from(digit),
                Ordering::Equal => number.next_digit = digit,
                Ordering::Greater => {}
            }
            if place >= kept && digit != 0 {
                number.exact = false;
            }
            place += 1;
        }
        while place < kept {
            number.billionths *= 10;
            place += 1;
        }
        number
    }

    /// The number in billionths, if it is neither negative nor above `most`
    /// billionths, rounded to the nearest; half a billionth goes up.
    pub(crate) fn rounded_up_to(self, most: u64) -> Option<u64> {
        let above = match self.billionths.cmp(&u128::from(most)) {
            Ordering::Less => false,
            Ordering::Equal => !self.exact,
            Ordering::Greater => true,
        };
        if self.negative || above {
            return None;
        }
        // At most `most`, so it fits.
        Some(self.billionths as u64 + u64::from(self.next_digit >= 5))
    }
}

fn split_digits(text: &str) -> Option<(&str, &str)> {
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.split_once('.') {
        Some((whole, fraction)) => (is_digits(whole) && is_digits(fraction)).then_some((whole, fraction)),
        None => is_digits(text).then_some((text, "")),
    }
}

/// An exponent. What is too large to matter is cut to something that is too
/// large to matter as well, next to any number of digits that fits in memory.
fn exponent(text: &str) -> Option<i64> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let size = digits.bytes().fold(0i64, |size, digit| (size * 10 + i64::from(digit - b'0')).min(1 << 56));
    Some(if negative { -size } else { size })
}

/// `number` with its last `places` digits after the point, and no zero too many.
pub(crate) fn shortest(number: u128, places: usize) -> String {
    let digits = format!("{number:0width$}", width = places + 1);
    let (whole, fraction) = digits.split_at(digits.len() - places);
    match fraction.trim_end_matches('0') {
        "" => whole.to_owned(),
        fraction => format!("{whole}.{fraction}"),
    }
}

/// Writes a decimal number into JSON as it is.
pub(crate) fn serialize<S: Serializer>(number: &str, serializer: S) -> Result<S::Ok, S::Error> {
    RawValue::from_string(number.to_owned()).map_err(serde::ser::Error::custom)?.serialize(serializer)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ONE: u64 = 1_000_000_000;

    fn read(text: &str) -> Option<u64> {
        Decimal::parse_json(text)?.rounded_up_to(9_000_000_000 * ONE)
    }

    #[test]
    fn numbers_are_rounded_to_billionths_and_a_tie_goes_up() {
        let cases = [
            ("0", 0),
            ("-0", 0),
            ("-0.0e5", 0),
            ("1", ONE),
            ("0.999", 999_000_000),
            ("1e-3", 1_000_000),
            ("1E+2", 100 * ONE),
            ("12.5e-1", 1_250_000_000),
            ("0.00125e3", 1_250_000_000),
            ("0.0000000005", 1),
            ("0.00000000049999999999", 0),
            ("5e-10", 1),
            ("5e-11", 0),
            ("9.5e-10", 1),
            ("0.9999999995", ONE),
            ("9000000000", 9_000_000_000 * ONE),
            ("0.0000000000000000009e28", 9_000_000_000 * ONE),
            ("1e-99999999999999999999999999", 0),
            ("0e99999999999999999999999999", 0),
        ];
        for (text, expected) in cases {
            assert_eq!(read(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_outside_is_outside_before_it_is_rounded() {
        for text in ["-1e-30", "9000000000.0000000000000001", "9e9999999999999999999999", "9000000001"] {
            assert_eq!(read(text), None, "{text}");
        }
        assert_eq!(Decimal::parse_json("1.0000000000001").unwrap().rounded_up_to(ONE), None);
        for text in ["", "-", "1.", ".5", "01", "1e", "1e+", "+1", "NaN", "0x1", "1 ", "1e5.0", "--1"] {
            assert_eq!(Decimal::parse_json(text), None, "{text}");
        }
        for text in ["", "-1", "1e3", "1.", ".5", "+1", " 1"] {
            assert_eq!(Decimal::parse_plain(text), None, "{text}");
        }
        assert_eq!(Decimal::parse_plain("007.5").unwrap().rounded_up_to(10 * ONE), Some(7_500_000_000));
    }

    proptest! {
        #[test]
        fn moving_the_point_with_an_exponent_changes_nothing(
            whole in 0u64..9_000_000_000,
            fraction in "[0-9]{0,15}",
            shift in 0usize..20,
        ) {
            let plain = if fraction.is_empty() { whole.to_string() } else { format!("{whole}.{fraction}") };
            let shifted = format!("0.{}{whole}{fraction}e{}", "0".repeat(shift), whole.to_string().len() + shift);
            prop_assert_eq!(read(&plain), read(&shifted));
            prop_assert!(read(&plain).is_some());
        }
    }
}
