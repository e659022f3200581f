//! The words every part of lookout shares: targets and their slots, checks and
//! their outcomes, and the arithmetic on counts. No I/O of its own.

#![warn(missing_docs)]

pub mod address;
pub mod check;
mod difference;
pub mod expect;
pub mod service;
pub mod status;
pub mod target;
pub mod url;

pub use address::{Denied, Reach};
pub use check::{Cause, Check, Outcome, Phases};
pub use expect::Expectation;
pub use service::{EndpointSpec, Goal, ServiceSpec};
pub use status::{Counts, LATENCY_BOUNDS_MS, LATENCY_BUCKETS, Tally};
pub use target::{
    Connection, Grid, Interval, IntervalError, Method, SHARDS, Shard, Slot, Source, StatusRange, TargetId, TargetSpec,
    stable_hash,
};
pub use url::{TargetUrl, UrlError, is_secret_name, name_for_log};
