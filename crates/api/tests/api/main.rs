//! The api over real HTTP, against a database of its own.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod access;
mod broken_off;
mod bytes;
mod catalogue;
mod checks;
mod dashboard;
mod health;
mod history;
mod incidents;
mod live;
mod metrics;
mod openapi;
mod posted;
mod problems;
mod public;
mod slow;
mod status;
mod stream;
mod summary;
mod support;
mod system;
mod table;
mod targets;
