//! Sets of status codes.

use std::ops::RangeInclusive;

/// What a status code can be.
const CODES: RangeInclusive<u16> = 100..=599;

/// The accepted status codes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Codes(Vec<u16>);

impl Codes {
    pub(crate) fn any() -> Self {
        Self::that(|_| true)
    }

    /// 200 to 299: what both sides take where nothing is said.
    pub(crate) fn success() -> Self {
        Self::that(|code| (200..300).contains(&code))
    }

    pub(crate) fn that(accept: impl Fn(u16) -> bool) -> Self {
        Self(CODES.filter(|code| accept(*code)).collect())
    }

    pub(crate) fn retain(&mut self, accept: impl Fn(u16) -> bool) {
        self.0.retain(|code| accept(*code));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `200-299,301`.
    pub(crate) fn ranges(&self) -> String {
        let mut ranges: Vec<(u16, u16)> = Vec::new();
        for code in &self.0 {
            match ranges.last_mut() {
                Some((_, to)) if *to + 1 == *code => *to = *code,
                _ => ranges.push((*code, *code)),
            }
        }
        let ranges: Vec<_> = ranges
            .into_iter()
            .map(|(from, to)| if from == to { from.to_string() } else { format!("{from}-{to}") })
            .collect();
        ranges.join(",")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_that_follow_each_other_are_a_range() {
        assert_eq!(Codes::that(|code| code < 102 || code == 301 || code > 597).ranges(), "100-101,301,598-599");
        assert_eq!(Codes::any().ranges(), "100-599");
        assert_eq!(Codes::success().ranges(), "200-299");
        assert!(Codes::that(|code| code > 599).is_empty());
    }
}
