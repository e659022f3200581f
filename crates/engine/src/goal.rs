//! What an endpoint is held to: an objective over a window.

use std::fmt;

use crate::decimal::{self, Decimal};

const BILLION: u64 = 1_000_000_000;
const LONGEST: u64 = 9_000_000_000 * BILLION;

/// The smallest share of good requests that is healthy, from 0 to 1, in whole
/// billionths: 0.999 is 999,000,000 of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Objective(u32);

/// How far back requests count: more than nothing, at most 9,000,000,000
/// seconds, in whole nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Window(u64);

/// Why a number is no objective or no window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GoalError {
    /// Not from 0 to 1.
    #[error("is not a number from 0 to 1")]
    Objective,
    /// Nothing, negative or too long.
    #[error("is not a number of seconds above 0 and at most 9000000000")]
    Window,
}

impl Objective {
    /// The objective that takes this many of a billion requests to be good.
    ///
    /// # Errors
    /// It is more than a billion.
    pub const fn from_billionths(billionths: u32) -> Result<Self, GoalError> {
        if billionths as u64 <= BILLION { Ok(Self(billionths)) } else { Err(GoalError::Objective) }
    }

    /// How many of a billion requests have to be good.
    pub const fn billionths(self) -> u32 {
        self.0
    }

    /// Reads `digits` or `digits.digits`, rounded to the nearest billionth, half of one up.
    ///
    /// # Errors
    /// The text is something else, or above 1.
    pub fn parse(text: &str) -> Result<Self, GoalError> {
        Self::of(Decimal::parse_plain(text))
    }

    /// Reads a JSON number, which may have an exponent.
    ///
    /// # Errors
    /// The text is something else, or outside 0 to 1.
    pub fn parse_json_number(text: &str) -> Result<Self, GoalError> {
        Self::of(Decimal::parse_json(text))
    }

    fn of(number: Option<Decimal>) -> Result<Self, GoalError> {
        let billionths = number.and_then(|number| number.rounded_up_to(BILLION)).ok_or(GoalError::Objective)?;
        // At most a billion.
        Ok(Self(billionths as u32))
    }

    /// Whether `good` of `total` requests are enough: `good / total >= objective`.
    #[inline]
    pub fn is_met(self, good: u64, total: u64) -> bool {
        u128::from(good) * u128::from(BILLION) >= u128::from(self.0) * u128::from(total)
    }
}

impl Window {
    /// A window of so many nanoseconds.
    ///
    /// # Errors
    /// It is 0 or longer than 9,000,000,000 seconds.
    pub const fn from_nanos(nanos: u64) -> Result<Self, GoalError> {
        if nanos > 0 && nanos <= LONGEST { Ok(Self(nanos)) } else { Err(GoalError::Window) }
    }

    /// How long it is, in nanoseconds.
    pub const fn nanos(self) -> u64 {
        self.0
    }

    /// Reads seconds, `digits` or `digits.digits`, rounded to the nearest nanosecond, half of one up.
    ///
    /// # Errors
    /// The text is something else, rounds to 0 or is too long.
    pub fn parse(text: &str) -> Result<Self, GoalError> {
        Self::of(Decimal::parse_plain(text))
    }

    /// Reads a JSON number of seconds, which may have an exponent.
    ///
    /// # Errors
    /// The text is something else, rounds to 0, is negative or too long.
    pub fn parse_json_number(text: &str) -> Result<Self, GoalError> {
        Self::of(Decimal::parse_json(text))
    }

    fn of(number: Option<Decimal>) -> Result<Self, GoalError> {
        Self::from_nanos(number.and_then(|number| number.rounded_up_to(LONGEST)).ok_or(GoalError::Window)?)
    }
}

/// The ratio: `0.999`.
impl fmt::Display for Objective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&decimal::shortest(u128::from(self.0), 9))
    }
}

/// Seconds: `0.5`.
impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&decimal::shortest(u128::from(self.0), 9))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_objective_is_compared_in_integers() {
        let nines = Objective::parse("0.9").unwrap();
        assert!(nines.is_met(9, 10) && !nines.is_met(8, 9));
        let third = Objective::parse("0.3333333333").unwrap();
        assert_eq!(third.billionths(), 333_333_333);
        assert!(third.is_met(1, 3));
        assert!(!Objective::parse("1").unwrap().is_met(u64::MAX - 1, u64::MAX));
        assert!(Objective::parse("0").unwrap().is_met(0, 1));
    }

    #[test]
    fn an_objective_is_a_number_from_0_to_1() {
        for text in ["0", "1", "1.0", "0.000000000", "00.5"] {
            assert!(Objective::parse(text).is_ok(), "{text}");
        }
        for text in ["1.00000000001", "2", "-0.5", "", "95%", "1e-1", "0,9"] {
            assert_eq!(Objective::parse(text), Err(GoalError::Objective), "{text}");
        }
        assert_eq!(Objective::parse_json_number("9.99e-1").unwrap().to_string(), "0.999");
    }

    #[test]
    fn a_window_is_longer_than_nothing_once_it_is_rounded() {
        assert_eq!(Window::parse("0.0000000005").unwrap().nanos(), 1);
        assert_eq!(Window::parse("0.00000000049"), Err(GoalError::Window));
        assert_eq!(Window::parse("0"), Err(GoalError::Window));
        assert_eq!(Window::parse("9000000000").unwrap().to_string(), "9000000000");
        assert_eq!(Window::parse("9000000000.0000000001"), Err(GoalError::Window));
        assert_eq!(Window::parse_json_number("-1"), Err(GoalError::Window));
        assert_eq!(Window::parse_json_number("3e-1").unwrap().to_string(), "0.3");
    }
}
