//! Answers questions over HTTP; owns the migrations; never probes.

mod answer;
pub mod app;
pub mod config;
mod counts;
mod cursor;
mod error;
mod guard;
mod openapi;
mod post;
mod routes;
mod state;

pub use app::{Api, run};
pub use config::Config;
