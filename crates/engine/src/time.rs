//! Moments: whole nanoseconds since the Unix epoch.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::decimal;

const PER_SECOND: u64 = 1_000_000_000;

/// A moment, in nanoseconds since the Unix epoch.
///
/// At most 9,000,000,000 seconds, the year 2255: a stamp in milliseconds that
/// was taken for seconds does not get through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Nanos(u64);

impl Nanos {
    /// The latest moment there is.
    pub const MAX: Self = Self(9_000_000_000 * PER_SECOND);

    /// A moment from a count of nanoseconds; `None` if it is beyond [`Nanos::MAX`].
    pub const fn new(nanos: u64) -> Option<Self> {
        if nanos <= Self::MAX.0 { Some(Self(nanos)) } else { None }
    }

    /// Nanoseconds since the epoch. Fits an `i64`.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Reads `digits` or `digits.digits`, in seconds. Digits after the ninth
    /// behind the point are dropped. `None` for anything else, and beyond [`Nanos::MAX`].
    pub fn parse(text: &str) -> Option<Self> {
        let (at, length) = Self::scan(text.as_bytes())?;
        (length == text.len()).then_some(at)
    }

    /// Reads such a number at the start of `bytes` and says how long it is.
    #[inline]
    pub(crate) fn scan(bytes: &[u8]) -> Option<(Self, usize)> {
        let (seconds, whole) = digits(bytes, Self::MAX.0 / PER_SECOND);
        if whole == 0 {
            return None;
        }
        if bytes.get(whole) != Some(&b'.') {
            return Some((Self::of(seconds, 0)?, whole));
        }
        let fraction = &bytes[whole + 1..];
        let kept = &fraction[..fraction.len().min(9)];
        let (mut nanos, mut length) = digits(kept, PER_SECOND);
        if length == 0 {
            return None;
        }
        nanos *= PLACES[9 - length];
        if length == 9 {
            length += fraction[9..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        }
        Some((Self::of(seconds, nanos)?, whole + 1 + length))
    }

    #[inline]
    fn of(seconds: u64, nanos: u64) -> Option<Self> {
        // Not an overflow: `digits` stops soon after the limit.
        Self::new(seconds * PER_SECOND + nanos)
    }
}

/// Ten to the power of the index.
const PLACES: [u64; 10] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000, 1_000_000_000];

/// The number that the leading ASCII digits spell and how many they are; what
/// exceeds `limit` becomes `limit + 1`.
#[inline]
fn digits(bytes: &[u8], limit: u64) -> (u64, usize) {
    let mut number = 0;
    let mut length = 0;
    for byte in bytes {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            break;
        }
        number = number * 10 + u64::from(digit);
        if number > limit {
            number = limit + 1;
        }
        length += 1;
    }
    (number, length)
}

impl TryFrom<i64> for Nanos {
    type Error = OutOfRange;

    fn try_from(nanos: i64) -> Result<Self, OutOfRange> {
        u64::try_from(nanos).ok().and_then(Self::new).ok_or(OutOfRange)
    }
}

impl From<Nanos> for i64 {
    fn from(at: Nanos) -> Self {
        // Exact: the largest is 9e18.
        at.0 as Self
    }
}

/// A count of nanoseconds that is no moment: before 1970 or after 2255.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is before 1970 or after 2255")]
pub struct OutOfRange;

/// Seconds with as many digits as it takes, and no more: `1543443091.2745`.
impl fmt::Display for Nanos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&decimal::shortest(u128::from(self.0), 9))
    }
}

/// A JSON number of seconds, exact. Only for `serde_json`.
impl Serialize for Nanos {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        decimal::serialize(&self.to_string(), serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_read_to_the_nanosecond_and_written_with_no_digit_too_many() {
        let cases = [
            ("0", 0, "0"),
            ("1543443091.2745", 1_543_443_091_274_500_000, "1543443091.2745"),
            ("10.0", 10_000_000_000, "10"),
            ("0.000000001", 1, "0.000000001"),
            ("0.0000000019", 1, "0.000000001"),
            ("007.50", 7_500_000_000, "7.5"),
            ("00000000000000000000000000000001", 1_000_000_000, "1"),
            ("9000000000", 9_000_000_000_000_000_000, "9000000000"),
            // The digit that would be too much is dropped first.
            ("9000000000.0000000009", 9_000_000_000_000_000_000, "9000000000"),
        ];
        for (text, nanos, written) in cases {
            let at = Nanos::parse(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!((at.get(), at.to_string().as_str()), (nanos, written), "{text}");
        }
    }

    #[test]
    fn everything_else_is_no_moment() {
        for text in [
            "",
            ".",
            "1.",
            ".5",
            "-1",
            "+1",
            "1e3",
            "1.5e3",
            "1.2.3",
            " 1",
            "1 ",
            "٣",
            "0x1",
            "1_0",
            "9000000000.000000001",
            "9000000001",
            "1543443091274",
            "99999999999999999999999999999999999999999999999999",
        ] {
            assert_eq!(Nanos::parse(text), None, "{text}");
        }
    }
}
