//! What we probe and when: targets, their URLs, and the grid of slots.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::expect::Expectation;
use crate::url::TargetUrl;

/// Row id of a target. People see its key, never this number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "sqlx", derive(sqlx::Type), sqlx(transparent))]
pub struct TargetId(pub i32);

/// How many shards the targets are dealt into; workers lease shards, not targets.
pub const SHARDS: i16 = 256;

/// One of the [`SHARDS`] groups of targets a worker leases as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "sqlx", derive(sqlx::Type), sqlx(transparent))]
pub struct Shard(pub i16);

/// The hash that places a key on its grid and in its shard: XXH64 with seed 0
/// over the UTF-8 bytes.
///
/// It is part of the stored data's meaning: another hash would move every slot.
///
/// Source: the xxHash specification, "XXH64 algorithm description".
pub fn stable_hash(key: &str) -> u64 {
    twox_hash::XxHash64::oneshot(0, key.as_bytes())
}

impl Shard {
    /// The shard of a key: the top eight bits of [`stable_hash`].
    pub fn of(key: &str) -> Self {
        Self((stable_hash(key) >> 56) as i16)
    }
}

/// How often a target is due: from one second to 24 hours, in whole milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Interval(Duration);

/// Why a duration is no interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IntervalError {
    /// Below [`Interval::MIN`].
    #[error("is below the minimum 1s")]
    TooShort,
    /// Above [`Interval::MAX`].
    #[error("is over the maximum 24h")]
    TooLong,
    /// Finer than a millisecond.
    #[error("is not a whole number of milliseconds")]
    TooFine,
}

impl Interval {
    /// The shortest interval.
    pub const MIN: Duration = Duration::from_secs(1);
    /// The longest interval.
    pub const MAX: Duration = Duration::from_secs(24 * 60 * 60);

    /// Accepts 1 s to 24 h, both included.
    ///
    /// # Errors
    /// [`IntervalError`] says which rule the duration breaks.
    pub fn new(duration: Duration) -> Result<Self, IntervalError> {
        if duration < Self::MIN {
            Err(IntervalError::TooShort)
        } else if duration > Self::MAX {
            Err(IntervalError::TooLong)
        } else if !duration.subsec_nanos().is_multiple_of(1_000_000) {
            Err(IntervalError::TooFine)
        } else {
            Ok(Self(duration))
        }
    }

    /// The interval as a [`Duration`].
    pub fn duration(self) -> Duration {
        self.0
    }

    /// The interval in microseconds.
    pub fn micros(self) -> i64 {
        self.0.as_micros() as i64
    }

    /// The interval in milliseconds, as the database keeps it.
    pub fn millis(self) -> i32 {
        self.0.as_millis() as i32
    }
}

/// The moment a check is due, in microseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub i64);

impl Slot {
    /// The slot as a date.
    pub fn at(self) -> DateTime<Utc> {
        micros_to_utc(self.0)
    }
}

/// A date from microseconds since the Unix epoch.
///
/// Saturates to the epoch outside chrono's range, which no clock here reaches.
pub fn micros_to_utc(micros: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(micros).unwrap_or(DateTime::UNIX_EPOCH)
}

/// All slots of one target: `phase + k · interval` microseconds since the epoch.
///
/// The phase is [`stable_hash`] of the key modulo the interval, so targets
/// spread over the interval and a restart finds the same grid again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grid {
    phase: i64,
    interval: i64,
}

impl Grid {
    /// The grid of `key` at `interval`.
    pub fn new(key: &str, interval: Interval) -> Self {
        let interval = interval.micros();
        Self { phase: (stable_hash(key) % interval as u64) as i64, interval }
    }

    /// Distance between two slots, in microseconds.
    pub fn interval(self) -> i64 {
        self.interval
    }

    /// The first slot at or after `now` (microseconds since the epoch).
    pub fn at_or_after(self, now: i64) -> Slot {
        let since = now - self.phase;
        let steps = since.div_euclid(self.interval) + i64::from(since.rem_euclid(self.interval) > 0);
        Slot(self.phase + steps * self.interval)
    }

    /// The slot after `slot`.
    pub fn next(self, slot: Slot) -> Slot {
        Slot(slot.0 + self.interval)
    }

    /// Whether `slot` lies on this grid.
    pub fn contains(self, slot: Slot) -> bool {
        (slot.0 - self.phase).rem_euclid(self.interval) == 0
    }
}

/// Where a target was configured. No source ever deletes another's targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// The `URLS` variable or `--urls`.
    Env,
    /// The YAML file of `LOOKOUT_CONFIG`.
    File,
    /// `POST /api/v1/targets`.
    Api,
}

impl Source {
    /// The label the database and the API use.
    pub fn label(self) -> &'static str {
        match self {
            Self::Env => "env",
            Self::File => "file",
            Self::Api => "api",
        }
    }
}

/// Whether each check opens a connection of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Connection {
    /// Name lookup, TCP and TLS every time: what a user's first visit meets.
    #[default]
    Fresh,
    /// Keep connections open between checks.
    Reuse,
}

/// Request methods a target may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize)]
#[serde(rename_all = "UPPERCASE")]
#[expect(missing_docs, reason = "the variants are the HTTP methods themselves")]
pub enum Method {
    #[default]
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
    Options,
}

impl Method {
    /// Every method, in the order errors list them.
    pub const ALL: [Self; 7] = [Self::Get, Self::Head, Self::Post, Self::Put, Self::Patch, Self::Delete, Self::Options];

    /// The method as it goes on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
            Self::Options => "OPTIONS",
        }
    }

    /// Finds a method by its exact upper-case name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.as_str() == name)
    }
}

/// An inclusive range of status codes that count as success.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StatusRange {
    /// Lowest accepted code.
    pub from: u16,
    /// Highest accepted code.
    pub to: u16,
}

impl StatusRange {
    /// Any 2xx: what counts as success where nothing else is configured.
    pub const SUCCESS: Self = Self { from: 200, to: 299 };

    /// Whether `code` lies in the range.
    pub fn contains(self, code: u16) -> bool {
        (self.from..=self.to).contains(&code)
    }
}

impl fmt::Display for StatusRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.from == self.to { write!(f, "{}", self.from) } else { write!(f, "{}-{}", self.from, self.to) }
    }
}

/// Everything a worker needs to know to probe one target; already validated.
#[derive(Clone, PartialEq, Eq)]
pub struct TargetSpec {
    /// Stable identity: the name in a file, the URL in `URLS`, unless given.
    pub key: String,
    /// What people read.
    pub name: String,
    /// Where the request goes.
    pub url: TargetUrl,
    /// Request method.
    pub method: Method,
    /// Request headers in the order written; values may be secret.
    pub headers: Vec<(String, String)>,
    /// Request body; may hold a secret.
    pub body: Option<String>,
    /// How often the target is due.
    pub interval: Interval,
    /// How long one check may take from its first network operation to the end of the body; never above the interval.
    pub timeout: Duration,
    /// A slower success is degraded.
    pub degraded_after: Duration,
    /// Status codes that count as success; never empty.
    pub expect_status: Vec<StatusRange>,
    /// What else has to hold for an answer, each of it; empty where the status says it all.
    pub expect: Vec<Expectation>,
    /// Fresh connection or kept ones.
    pub connection: Connection,
    /// Free labels to group and filter by.
    pub labels: BTreeMap<String, String>,
    /// The service this target is an endpoint of; its own name if absent.
    pub service: Option<String>,
    /// Where the target was configured.
    pub source: Source,
}

impl TargetSpec {
    /// How often a target is due where nothing says otherwise.
    pub const INTERVAL: Interval = Interval(Duration::from_secs(10));
    /// How long one check may take where nothing says otherwise.
    pub const TIMEOUT: Duration = Duration::from_secs(5);
    /// The slowest success that is still up where nothing says otherwise.
    pub const DEGRADED_AFTER: Duration = Duration::from_millis(500);

    /// A target of which nothing is said but its key and where it is; the key is its name.
    pub fn new(key: impl Into<String>, url: TargetUrl) -> Self {
        let key = key.into();
        Self {
            name: key.clone(),
            key,
            url,
            method: Method::default(),
            headers: Vec::new(),
            body: None,
            interval: Self::INTERVAL,
            timeout: Self::TIMEOUT,
            degraded_after: Self::DEGRADED_AFTER,
            expect_status: vec![StatusRange::SUCCESS],
            expect: Vec::new(),
            connection: Connection::default(),
            labels: BTreeMap::new(),
            service: None,
            source: Source::Env,
        }
    }

    /// The grid of this target's slots.
    pub fn grid(&self) -> Grid {
        Grid::new(&self.key, self.interval)
    }

    /// Whether `code` counts as success.
    pub fn expects(&self, code: u16) -> bool {
        self.expect_status.iter().any(|range| range.contains(code))
    }
}

impl fmt::Debug for TargetSpec {
    /// Headers and body are left out: their values may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TargetSpec")
            .field("key", &self.key)
            .field("url", &self.url)
            .field("method", &self.method)
            .field("interval", &self.interval)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_hash_never_changes_because_stored_slots_depend_on_it() {
        assert_eq!(stable_hash(""), 0xef46_db37_51d8_e999);
        assert_eq!(stable_hash("http://127.0.0.1:12345/"), 10_667_041_469_129_920_846);
    }

    proptest! {
        #[test]
        fn the_first_slot_is_on_the_grid_and_less_than_an_interval_away(
            key in ".{0,40}",
            seconds in 1u64..86_400,
            now in 0i64..4_000_000_000_000_000,
        ) {
            let interval = Interval::new(Duration::from_secs(seconds)).unwrap();
            let grid = Grid::new(&key, interval);
            let slot = grid.at_or_after(now);
            prop_assert!(grid.contains(slot));
            prop_assert!(slot.0 >= now && slot.0 - now < interval.micros());
            prop_assert!(grid.contains(grid.next(slot)));
            prop_assert_eq!(grid.at_or_after(slot.0), slot);
        }

    }

    #[test]
    fn intervals_run_from_one_second_to_a_day() {
        assert_eq!(Interval::new(Duration::from_millis(999)), Err(IntervalError::TooShort));
        assert_eq!(Interval::new(Duration::from_secs(86_401)), Err(IntervalError::TooLong));
        assert_eq!(Interval::new(Duration::from_micros(1_000_001)), Err(IntervalError::TooFine));
        assert_eq!(Interval::new(Duration::from_millis(1_500)).unwrap().micros(), 1_500_000);
    }
}
