//! The limits of durations in settings, the same for variables and for the file.

use std::fmt;
use std::time::Duration;

use common::{Interval, IntervalError};

use crate::duration::{self, DurationError};

/// Why a duration does not fit its field. The messages go after the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// No duration at all.
    #[error(transparent)]
    Duration(DurationError),
    /// A duration, but no interval.
    #[error(transparent)]
    Interval(#[from] IntervalError),
    /// Too short for a time limit.
    #[error("is below the minimum 1ms")]
    TooShort,
    /// Too long for a time limit.
    #[error("is over the maximum 24h")]
    TooLong,
    /// Too fine for a time limit.
    #[error("is not a whole number of milliseconds")]
    TooFine,
    /// Too short for a window.
    #[error("is below the minimum 1s")]
    WindowTooShort,
    /// Too long for a window.
    #[error("is over the maximum 9600h")]
    WindowTooLong,
}

/// The windows of objectives: what every list of windows can be asked for.
const WINDOW_MIN: Duration = Duration::from_secs(1);
const WINDOW_MAX: Duration = Duration::from_secs(9_600 * 3_600);

/// A duration of 1 s to 9600 h, in whole milliseconds.
pub(crate) fn window(text: &str) -> Result<Duration, RuleError> {
    match duration::parse(text) {
        Ok(duration) if duration < WINDOW_MIN => Err(RuleError::WindowTooShort),
        Ok(duration) if duration > WINDOW_MAX => Err(RuleError::WindowTooLong),
        Ok(duration) if !duration.subsec_nanos().is_multiple_of(1_000_000) => Err(RuleError::TooFine),
        Ok(duration) => Ok(duration),
        Err(DurationError::Negative) => Err(RuleError::WindowTooShort),
        Err(DurationError::TooLong) => Err(RuleError::WindowTooLong),
        Err(error) => Err(RuleError::Duration(error)),
    }
}

/// A duration of 1 s to 24 h, in whole milliseconds.
///
/// # Errors
/// [`RuleError`] names the rule it breaks.
pub fn interval(text: &str) -> Result<Interval, RuleError> {
    match duration::parse(text) {
        Ok(duration) => Ok(Interval::new(duration)?),
        Err(DurationError::Negative) => Err(IntervalError::TooShort.into()),
        Err(DurationError::TooLong) => Err(IntervalError::TooLong.into()),
        Err(error) => Err(RuleError::Duration(error)),
    }
}

/// A duration of 1 ms to 24 h, in whole milliseconds: what the database keeps
/// for time limits.
///
/// # Errors
/// [`RuleError`] names the rule it breaks.
pub fn limit(text: &str) -> Result<Duration, RuleError> {
    match duration::parse(text) {
        Ok(duration) if duration < Duration::from_millis(1) => Err(RuleError::TooShort),
        Ok(duration) if duration > Interval::MAX => Err(RuleError::TooLong),
        Ok(duration) if !duration.subsec_nanos().is_multiple_of(1_000_000) => Err(RuleError::TooFine),
        Ok(duration) => Ok(duration),
        Err(DurationError::Negative) => Err(RuleError::TooShort),
        Err(DurationError::TooLong) => Err(RuleError::TooLong),
        Err(error) => Err(RuleError::Duration(error)),
    }
}

/// The rule that a timeout is at most the interval; reads on from the timeout.
pub(crate) struct AboveInterval(pub(crate) Interval);

impl fmt::Display for AboveInterval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "is above the interval {}", duration::format(self.0.duration()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_name_the_limit_they_break() {
        let cases = [
            ("5ms", "is below the minimum 1s"),
            ("0", "is below the minimum 1s"),
            ("-5s", "is below the minimum 1s"),
            ("25h", "is over the maximum 24h"),
            ("99999999999999999999h", "is over the maximum 24h"),
            ("1.0001", "is not a whole number of milliseconds"),
        ];
        for (text, expected) in cases {
            assert_eq!(interval(text).unwrap_err().to_string(), expected, "{text}");
        }
        assert!(interval("1e9h").unwrap_err().to_string().contains("write 500ms"));
        assert_eq!(interval("30").unwrap().duration(), Duration::from_secs(30));
    }

    #[test]
    fn time_limits_are_at_least_a_millisecond() {
        assert_eq!(limit("0"), Err(RuleError::TooShort));
        assert_eq!(limit("-1"), Err(RuleError::TooShort));
        assert_eq!(limit("0.0011"), Err(RuleError::TooFine));
        assert_eq!(limit("24h1ms"), Err(RuleError::TooLong));
        assert_eq!(limit("1ms"), Ok(Duration::from_millis(1)));
    }
}
