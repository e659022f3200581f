//! What people write: the YAML file, variables and flags, and the set-up of logs.
//!
//! Everything is validated here and reported all at once, in words that name the
//! variable or the line, the value and the rule. Secrets are never shown.

#![warn(missing_docs)]

pub mod args;
pub mod cli;
mod database;
pub mod duration;
pub mod file;
mod log;
mod percent;
mod problems;
pub mod process;
pub mod rules;
mod targets;
pub mod traces;
pub mod urls;

pub use args::{DatabaseArgs, ReachArgs, TargetArgs};
pub use database::{DatabaseUrl, DatabaseUrlError};
pub use file::{ConfigErrors, ConfigFile, Mode};
pub use log::LogArgs;
pub use problems::{Problems, SettingsError};
pub use targets::{Defaults, TargetList};
pub use traces::{TraceArgs, Traces};
