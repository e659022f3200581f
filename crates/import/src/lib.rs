//! Configurations of other tools as files of ours.
//!
//! Each reader turns what it understands into [`Target`]s and notes the rest with its place, so that nothing
//! is lost in silence. Secrets it meets become references such as `${TARGET_SHOP_TOKEN}`, because the result is
//! likely to be committed.

#![warn(missing_docs)]

mod blackbox;
mod duration;
mod expect;
mod gatus;
mod json_path;
mod kuma;
mod notes;
mod pattern;
mod secrets;
mod source;
mod status;
mod target;
mod text;
mod yaml;

pub use blackbox::blackbox;
pub use gatus::gatus;
pub use kuma::uptime_kuma;
pub use notes::Notes;
pub use secrets::Variable;

/// What an import makes of a file.
#[derive(Debug)]
pub struct Imported {
    /// The targets, as a file of ours.
    pub yaml: String,
    /// How many targets are in it.
    pub targets: usize,
    /// What is not in it, or not as it was.
    pub notes: Notes,
    /// The variables that the file refers to, in the order of their first use.
    pub variables: Vec<Variable>,
}
