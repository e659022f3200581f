//! The api over real HTTP, against a database of its own.

mod checks;
mod health;
mod problems;
mod status;
mod support;
