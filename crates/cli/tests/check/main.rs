//! `lookout check` as people run it: what it asks, prints and exits with.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod cycles;
mod files;
mod support;
