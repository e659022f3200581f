//! Decides when, probes, records.
//!
//! One thread with a runtime of its own keeps the schedule and runs the probes;
//! everything that talks to Postgres runs elsewhere. They meet in
//! [`recorder::Intake`], which never makes a probe wait.

pub mod backfill;
pub mod clock;
pub mod config;
pub mod descriptors;
pub mod fair;
pub mod health;
pub mod housekeeping;
pub mod incidents;
pub mod leases;
#[cfg(test)]
mod model;
pub mod plan;
pub mod posted;
pub mod probe;
pub mod recorder;
pub mod reload;
pub mod run;
pub mod schedule;
mod seldom;
pub mod shared;
pub mod spool;
pub mod stats;
mod traces;

pub use config::Config;
pub use run::{come_after_probes, run};
