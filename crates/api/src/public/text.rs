//! Numbers and moments as people read them.

use chrono::{DateTime, TimeDelta, Utc};

/// Thousandths of a percent as percent with two decimals, cut off: `100 %` only for all.
pub(crate) fn percent(thousandths: u64) -> String {
    match thousandths {
        100_000.. => "100 %".to_owned(),
        _ => format!("{}.{:02} %", thousandths / 1_000, thousandths % 1_000 / 10),
    }
}

/// `1 component`, `2 components`.
pub(crate) fn components(count: usize) -> String {
    format!("{count} component{}", if count == 1 { "" } else { "s" })
}

/// A number of minutes, in the largest two units.
pub(crate) fn minutes(minutes: f64) -> String {
    duration(TimeDelta::seconds((minutes * 60.0).round() as i64))
}

/// A stretch of time, in the largest two units.
pub(crate) fn duration(length: TimeDelta) -> String {
    let (days, hours, minutes) = (length.num_days(), length.num_hours() % 24, length.num_minutes() % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => "less than a minute".to_owned(),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, 0) => format!("{hours} h"),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, 0, _) => format!("{days} d"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

/// Date and time of day.
pub(crate) fn moment(at: &DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M").to_string()
}

/// The time of day.
pub(crate) fn time(at: &DateTime<Utc>) -> String {
    at.format("%H:%M").to_string()
}

/// To the second, for programs.
pub(crate) fn machine(at: &DateTime<Utc>) -> String {
    at.format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_are_cut_and_times_are_short() {
        assert_eq!([0, 4, 99_999, 100_000].map(percent), ["0.00 %", "0.00 %", "99.99 %", "100 %"]);
        let told = [59, 60, 3_599, 3_600, 3_660, 86_400, 90_000].map(|seconds| duration(TimeDelta::seconds(seconds)));
        assert_eq!(told, ["less than a minute", "1 min", "59 min", "1 h", "1 h 1 min", "1 d", "1 d 1 h"]);
        assert_eq!(minutes(13.5), "13 min");
    }
}
