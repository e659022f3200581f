//! Answers questions over HTTP; owns the migrations; never probes.

pub mod app;
pub mod config;
mod cursor;
mod error;
mod guard;
mod routes;
mod state;

pub use app::{Api, run};
pub use config::Config;
