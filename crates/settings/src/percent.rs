//! Objectives as people write them: percentages such as `99.9` or `99.9%`.

use std::fmt;

/// Billionths in a whole, and in a percent.
const WHOLE: u64 = 1_000_000_000;
const PERCENT: u64 = WHOLE / 100;

/// Why a text is no objective. The messages go after the value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PercentError {
    Syntax,
    Comma(String),
    /// Below 1 without a sign: a ratio, and what it is in percent.
    Ratio(String),
    Zero,
    Hundred,
    Over,
    TooFine,
}

impl fmt::Display for PercentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax => f.write_str("is no percentage: write one like 99.9"),
            Self::Comma(point) => write!(f, "has a decimal comma: write {point}"),
            Self::Ratio(percent) => write!(f, "is a share, and objectives are in percent: write {percent}"),
            Self::Zero => f.write_str("promises nothing: write more than 0 and less than 100 percent, such as 99.9"),
            Self::Hundred => {
                f.write_str("leaves no room for one failure: write more than 0 and less than 100 percent, such as 99.9")
            }
            Self::Over => f.write_str("is over 100 percent: write more than 0 and less than 100, such as 99.9"),
            Self::TooFine => f.write_str("is finer than a billionth: write at most 7 decimals"),
        }
    }
}

/// Reads an objective in percent, above 0 and below 100; the result is in billionths.
///
/// A number up to 1 without a sign is refused: whoever writes `0.999` means a ratio. With
/// the sign, `0.5%` is what it says.
pub(crate) fn objective(text: &str) -> Result<i64, PercentError> {
    let (number, has_sign) = match text.trim().strip_suffix('%') {
        Some(number) => (number.trim_end(), true),
        None => (text.trim(), false),
    };
    if let Some((whole, fraction)) = number.split_once(',')
        && [whole, fraction].into_iter().all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
    {
        return Err(PercentError::Comma(format!("{whole}.{fraction}")));
    }
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !is_digits(whole) || !is_digits(fraction) {
        return Err(PercentError::Syntax);
    }
    let fraction = fraction.trim_end_matches('0');
    if fraction.len() > 9 {
        return Err(PercentError::TooFine);
    }
    // More digits than fit are over 100 as well.
    let whole: u64 = whole.parse().unwrap_or(u64::MAX);
    if whole > 100 {
        return Err(PercentError::Over);
    }
    // Billionths of a percent: at most 100 * 10^9.
    let nano_percent = whole * WHOLE + format!("{fraction:0<9}").parse::<u64>().unwrap_or_default();
    match nano_percent {
        0 => Err(PercentError::Zero),
        _ if nano_percent > 100 * WHOLE => Err(PercentError::Over),
        _ if nano_percent == 100 * WHOLE => Err(PercentError::Hundred),
        _ if !has_sign && nano_percent < WHOLE => Err(PercentError::Ratio(shortest(nano_percent))),
        WHOLE if !has_sign => Err(PercentError::Hundred),
        _ if !nano_percent.is_multiple_of(100) => Err(PercentError::TooFine),
        _ => Ok((nano_percent / 100).cast_signed()),
    }
}

/// Billionths of a whole, written in percent: 999,000,000 is `99.9`.
pub(crate) fn shortest(billionths: u64) -> String {
    let text = format!("{}.{:07}", billionths / PERCENT, billionths % PERCENT);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn percentages_become_billionths_exactly() {
        for (text, billionths) in [
            ("99.9", 999_000_000),
            ("99.9%", 999_000_000),
            (" 99.95 % ", 999_500_000),
            ("50", 500_000_000),
            ("1.5", 15_000_000),
            ("0.5%", 5_000_000),
            ("1%", 10_000_000),
            ("99.9999999", 999_999_999),
            ("99.90000000000", 999_000_000),
        ] {
            assert_eq!(objective(text), Ok(billionths), "{text}");
        }
    }

    #[test]
    fn what_is_no_percentage_is_told_the_rule() {
        for (text, hint) in [
            ("0", "promises nothing"),
            ("0%", "promises nothing"),
            ("100", "leaves no room for one failure"),
            ("1", "leaves no room for one failure"),
            ("101", "is over 100 percent"),
            ("100.01", "is over 100 percent"),
            ("99999999999999999999999", "is over 100 percent"),
            ("99,9", "has a decimal comma: write 99.9"),
            ("0.999", "is a share, and objectives are in percent: write 99.9"),
            ("0.9995", "write 99.95"),
            ("99.99999999", "is finer than a billionth"),
            ("abc", "is no percentage"),
            ("", "is no percentage"),
            ("-5", "is no percentage"),
            ("9e1", "is no percentage"),
            (".5", "is no percentage"),
            ("NaN", "is no percentage"),
        ] {
            let error = objective(text).unwrap_err().to_string();
            assert!(error.contains(hint), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_percentage_parser_panic(text in "\\PC*|[-0-9.,%]{0,30}") {
            let _ = objective(&text);
        }

        #[test]
        fn the_shortest_form_reads_back(billionths in 10_000_001u64..WHOLE) {
            prop_assert_eq!(objective(&shortest(billionths)), Ok(billionths.cast_signed()));
        }
    }
}
