//! Answers questions over HTTP; owns the migrations; never probes.

pub mod access;
mod answer;
pub mod app;
mod asked;
mod assets;
pub mod config;
mod counts;
mod cursor;
mod error;
mod guard;
mod limits;
mod live;
mod openapi;
mod overview;
mod post;
mod public;
mod routes;
mod state;
mod traces;
mod upload;

pub use app::{Api, run};
pub use config::Config;
