//! The demonstration and its neighbours: what `deploy/` holds for Prometheus, Traefik, Grafana and
//! Compose, tried with those programs themselves, and the story of a commit that breaks a function.
//!
//! `scripts/setup.sh test` sees to it that they are there. Without them these tests fail and
//! say so: what nobody tried is not known to work.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod compose;
mod config;
mod dashboards;
mod live;
mod program;
mod prometheus;
mod queries;
mod rules;
mod stack;
mod story;
