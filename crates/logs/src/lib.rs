//! What other programs wrote anyway: access logs of web servers and the log of
//! git, put in order of time and given to the incident engine.
//!
//! So yesterday's outage can be replayed without anybody having prepared for it.

#![warn(missing_docs)]

pub mod access;
pub mod changes;
mod date;
mod merge;

pub use access::Entry;
pub use changes::Commit;
pub use merge::{AccessLog, Goal, LogError, Merge, Outcome, RejectedEntry};
