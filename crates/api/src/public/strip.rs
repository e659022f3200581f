//! A strip of days: one bar a day, drawn as paths, so that neither a script nor a style
//! within the page is needed.

use std::fmt::Write;

use chrono::NaiveDate;
use common::Counts;

use super::text;
use crate::counts::uptime;

/// How far apart two bars begin. They are 3 wide and 28 high, as the page's template knows.
const PITCH: usize = 4;

/// Days with failures that are told one by one, at most.
const MOST_DAYS: usize = 10;

/// Up to this share of the verdicts, in thousandths of a percent, a day is still mostly good.
const MOSTLY_GOOD: u64 = 95_000;

/// How a day is drawn. Shapes differ as well as colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// No check failed: a whole bar.
    Good,
    /// At most one of 20 failed: a short bar.
    Mostly,
    /// More failed: a bar that is broken in two.
    Bad,
    /// No data, or for less than half of the day: a stump.
    Unknown,
}

impl Kind {
    fn of(day: &Counts) -> Self {
        match uptime(*day) {
            None => Self::Unknown,
            Some(100_000) if day.verdicts() * 2 < day.due() => Self::Unknown,
            Some(100_000) => Self::Good,
            Some(MOSTLY_GOOD..) => Self::Mostly,
            Some(_) => Self::Bad,
        }
    }

    /// The bar, from the top left corner of its place and back to it.
    fn bar(self) -> &'static str {
        match self {
            Self::Good => "h3v28h-3z",
            Self::Mostly => "m0 10h3v18h-3zm0-10",
            Self::Bad => "h3v11h-3zm0 17h3v11h-3zm0-17",
            Self::Unknown => "m0 23h3v5h-3zm0-23",
        }
    }
}

/// A strip as the page draws it.
pub(crate) struct Strip {
    /// Class and path of the bars of each kind that there is.
    pub(crate) paths: Vec<(&'static str, String)>,
    /// The strip in words.
    pub(crate) label: String,
    /// Days with failures or incidents, the newest first: date and what happened.
    pub(crate) troubles: Vec<(NaiveDate, String)>,
    /// How many more of them there are.
    pub(crate) more: usize,
    /// Days with a verdict.
    pub(crate) known: usize,
    /// All days.
    pub(crate) days: usize,
}

impl Strip {
    /// The strip of these days, which begin with `first`.
    pub(crate) fn new(first: NaiveDate, days: &[Counts], incident_minutes: &[f64]) -> Self {
        let kinds: Vec<Kind> = days.iter().map(Kind::of).collect();
        let all = [(Kind::Good, "u"), (Kind::Mostly, "d"), (Kind::Bad, "o"), (Kind::Unknown, "n")];
        let paths = all.into_iter().map(|(kind, class)| (class, path(kind, &kinds)));
        let dated = first.iter_days().zip(days.iter().zip(incident_minutes));
        let mut troubles: Vec<_> =
            dated.filter_map(|(date, (day, minutes))| Some((date, told(day, *minutes)?))).collect();
        troubles.reverse();
        let more = troubles.len().saturating_sub(MOST_DAYS);
        troubles.truncate(MOST_DAYS);
        let count = |wanted: Kind| kinds.iter().filter(|kind| **kind == wanted).count();
        Self {
            paths: paths.filter(|(_, path)| !path.is_empty()).collect(),
            label: format!(
                "Of {} days, {} without a failure, {} with up to 5 % failed, {} with more, {} without enough data",
                days.len(),
                count(Kind::Good),
                count(Kind::Mostly),
                count(Kind::Bad),
                count(Kind::Unknown),
            ),
            troubles,
            more,
            known: days.iter().filter(|day| day.verdicts() > 0).count(),
            days: days.len(),
        }
    }
}

/// The bars of one kind; relative, so that they are all spelt alike and shrink well.
fn path(kind: Kind, kinds: &[Kind]) -> String {
    let mut path = String::new();
    let mut at = 0;
    for place in kinds.iter().enumerate().filter(|(_, other)| **other == kind).map(|(place, _)| place) {
        // Writing to a String cannot fail.
        let _ = match path.is_empty() {
            true => write!(path, "M{} 0{}", place * PITCH, kind.bar()),
            false => write!(path, "m{} 0{}", (place - at) * PITCH, kind.bar()),
        };
        at = place;
    }
    path
}

/// What is worth telling of a day.
fn told(day: &Counts, minutes: f64) -> Option<String> {
    let failed = day.down > 0;
    let uptime = uptime(*day).map_or_else(|| "no data".to_owned(), text::percent);
    match (failed, minutes > 0.0) {
        (false, false) => None,
        (_, false) => Some(uptime),
        (_, true) => Some(format!("{uptime}, incident open for {}", text::minutes(minutes))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_is_one_bar_of_its_kind() {
        let day = |up, down, missed| Counts { up, down, missed, ..Counts::default() };
        let days =
            [day(10, 0, 0), day(10, 0, 11), day(95, 5, 0), day(94, 6, 0), day(1, 1, 99), day(0, 0, 0), day(3, 0, 1)];
        let kinds: Vec<_> = days.iter().map(Kind::of).collect();
        use Kind::{Bad, Good, Mostly, Unknown};
        assert_eq!(kinds, [Good, Unknown, Mostly, Bad, Bad, Unknown, Good]);
        let strip = Strip::new("2026-11-15".parse().unwrap(), &days, &[0.0, 0.0, 12.0, 0.0, 0.0, 0.0, 0.5]);
        assert_eq!(strip.paths[0], ("u", "M0 0h3v28h-3zm24 0h3v28h-3z".to_owned()));
        assert_eq!(strip.paths.len(), 4);
        let dates: Vec<_> = strip.troubles.iter().map(|(date, what)| format!("{date}: {what}")).collect();
        assert_eq!(
            dates,
            [
                "2026-11-21: 100 %, incident open for less than a minute",
                "2026-11-19: 50.00 %",
                "2026-11-18: 94.00 %",
                "2026-11-17: 95.00 %, incident open for 12 min"
            ]
        );
        assert!(
            strip.label.starts_with("Of 7 days, 2 without a failure, 1 with up to 5 % failed, 2 with more, 2 without")
        );
        let month = vec![day(0, 1, 0); 30];
        let strip = Strip::new("2026-11-01".parse().unwrap(), &month, &[0.0; 30]);
        assert_eq!((strip.troubles.len(), strip.more), (10, 20));
    }
}
