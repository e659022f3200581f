//! Durations as people write them: `500ms`, `1s`, `5m`, `1h30m`; a bare number
//! is seconds.

use std::time::Duration;

/// Why a text is no duration. The messages go after the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// Not of the grammar: an unknown unit, units out of order, no number.
    #[error("is not a duration: write 500ms, 1s, 5m or 1h; a bare number is seconds")]
    Syntax,
    /// A duration with a minus sign.
    #[error("is negative: write 500ms, 1s, 5m or 1h; a bare number is seconds")]
    Negative,
    /// More digits after the point than nanoseconds can hold.
    #[error("is finer than a nanosecond")]
    TooFine,
    /// More seconds than a [`Duration`] holds.
    #[error("is too long")]
    TooLong,
}

/// The units, in the order they must appear, with their length in nanoseconds.
const UNITS: [(&str, u128); 4] =
    [("h", 3_600_000_000_000), ("m", 60_000_000_000), ("s", 1_000_000_000), ("ms", 1_000_000)];
const NANOS_PER_SECOND: u128 = 1_000_000_000;

/// Reads a duration: one or more numbers with the units `h`, `m`, `s`, `ms` in
/// that order, each at most once, or a bare number of seconds. Numbers may have
/// a decimal point. White space around the whole is ignored.
///
/// Any length that fits is accepted, zero included: the field that takes the
/// duration knows its own limits.
///
/// # Errors
/// [`DurationError`] says which rule the text breaks.
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    let text = text.trim();
    if let Some(rest) = text.strip_prefix('-') {
        return match parse(rest) {
            Ok(_) | Err(DurationError::TooLong | DurationError::TooFine) => Err(DurationError::Negative),
            Err(_) => Err(DurationError::Syntax),
        };
    }
    let mut rest = text;
    let mut units_left = UNITS.as_slice();
    let mut total: u128 = 0;
    loop {
        let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, tail) = rest.split_at(number_end);
        let unit_end = tail.find(|c: char| !c.is_ascii_lowercase()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        let scale = if unit.is_empty() {
            // A bare number stands alone: `1h30` says no unit where it needs one.
            if units_left.len() < UNITS.len() || !tail.is_empty() {
                return Err(DurationError::Syntax);
            }
            NANOS_PER_SECOND
        } else {
            let place = units_left.iter().position(|(name, _)| *name == unit).ok_or(DurationError::Syntax)?;
            let scale = units_left[place].1;
            units_left = &units_left[place + 1..];
            scale
        };
        total = total.checked_add(nanos(number, scale)?).ok_or(DurationError::TooLong)?;
        if tail.is_empty() {
            break;
        }
        rest = tail;
    }
    let seconds = u64::try_from(total / NANOS_PER_SECOND).map_err(|_| DurationError::TooLong)?;
    Ok(Duration::new(seconds, (total % NANOS_PER_SECOND) as u32))
}

/// A decimal number times `scale`, in whole nanoseconds.
fn nanos(number: &str, scale: u128) -> Result<u128, DurationError> {
    let (whole, fraction) = match number.split_once('.') {
        Some((whole, fraction)) if !fraction.is_empty() => (whole, fraction),
        Some(_) => return Err(DurationError::Syntax),
        None => (number, ""),
    };
    if whole.is_empty() || fraction.contains('.') {
        return Err(DurationError::Syntax);
    }
    let fraction = fraction.trim_end_matches('0');
    // Only digits are left, so the one way to fail is to overflow.
    let mut total =
        whole.parse::<u128>().ok().and_then(|whole| whole.checked_mul(scale)).ok_or(DurationError::TooLong)?;
    let mut place = scale;
    for digit in fraction.bytes() {
        if !place.is_multiple_of(10) {
            return Err(DurationError::TooFine);
        }
        place /= 10;
        total = total.checked_add(u128::from(digit - b'0') * place).ok_or(DurationError::TooLong)?;
    }
    Ok(total)
}

/// The short form, which [`parse`] reads back: `1h30m`, `10s`, `1s500ms`, `0s`.
pub fn format(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let nanos = duration.subsec_nanos();
    let mut text = String::new();
    for (count, unit) in [(seconds / 3600, "h"), (seconds / 60 % 60, "m")] {
        if count > 0 {
            text.push_str(&format!("{count}{unit}"));
        }
    }
    let seconds = seconds % 60;
    if nanos.is_multiple_of(1_000_000) {
        if seconds > 0 {
            text.push_str(&format!("{seconds}s"));
        }
        if nanos > 0 {
            text.push_str(&format!("{}ms", nanos / 1_000_000));
        }
    } else {
        let decimals = format!("{seconds}.{nanos:09}");
        text.push_str(decimals.trim_end_matches('0'));
        text.push('s');
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        let cases = [
            ("500ms", 500),
            ("1s", 1_000),
            ("5m", 300_000),
            ("1h", 3_600_000),
            ("1h30m", 5_400_000),
            ("1m1s500ms", 61_500),
            ("30", 30_000),
            ("0.5", 500),
            ("1.50", 1_500),
            ("1.5h", 5_400_000),
            ("0", 0),
            (" 10s ", 10_000),
        ];
        for (text, millis) in cases {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn everything_else_is_refused_with_the_grammar() {
        for text in [
            "", "abc", "s", "30sec", "1h-5m", "NaN", ".nan", "inf", "1e9", "1e9h", "1m1h", "1s1s", "1h30", "30 s",
            "+5s", "1.s", ".5", "1.2.3", "1H", "1d", "--1", "5s,", "٣s",
        ] {
            assert_eq!(parse(text), Err(DurationError::Syntax), "{text}");
        }
    }

    #[test]
    fn what_is_negative_or_does_not_fit_is_named_so() {
        assert_eq!(parse("-5s"), Err(DurationError::Negative));
        assert_eq!(parse("-0.5"), Err(DurationError::Negative));
        assert_eq!(parse("99999999999999999999h"), Err(DurationError::TooLong));
        assert_eq!(parse(&"9".repeat(99)), Err(DurationError::TooLong));
        assert_eq!(parse("0.0000000001"), Err(DurationError::TooFine));
        assert_eq!(parse("0.1ms"), Ok(Duration::from_micros(100)));
    }

    #[test]
    fn the_short_form_leaves_out_what_is_zero() {
        for text in ["1h30m", "24h", "10s", "1s500ms", "500ms", "0s", "1m0.0005s"] {
            assert_eq!(format(parse(text).unwrap()), text);
        }
    }

    proptest! {
        #[test]
        fn the_short_form_reads_back_as_the_same_duration(
            seconds in 0u64..=u64::MAX / 2,
            nanos in 0u32..1_000_000_000,
        ) {
            let duration = Duration::new(seconds, nanos);
            prop_assert_eq!(parse(&format(duration)), Ok(duration));
        }

        #[test]
        fn no_text_makes_the_duration_parser_panic(text in "\\PC*|[-0-9.hms]{0,60}") {
            let _ = parse(&text);
        }
    }
}
