//! Dates as logs write them.

use chrono::{DateTime, FixedOffset};
use engine::Nanos;

/// `2018-11-28T14:11:31.5+01:00`, also with a space for the `T`.
pub(crate) fn rfc3339(text: &str) -> Option<Nanos> {
    nanos(DateTime::parse_from_rfc3339(text).ok()?)
}

/// `28/Nov/2018:14:11:31 +0100`, as Apache and nginx write it.
pub(crate) fn common_log(text: &str) -> Option<Nanos> {
    nanos(DateTime::parse_from_str(text, "%d/%b/%Y:%H:%M:%S %z").ok()?)
}

/// `Wed Nov 28 14:11:31 2018 +0100`, as `git log` writes it.
pub(crate) fn git(text: &str) -> Option<Nanos> {
    nanos(DateTime::parse_from_str(text, "%a %b %e %H:%M:%S %Y %z").ok()?)
}

/// `None` before 1970 and after 2255.
fn nanos(date: DateTime<FixedOffset>) -> Option<Nanos> {
    Nanos::try_from(date.timestamp_nanos_opt()?).ok()
}
