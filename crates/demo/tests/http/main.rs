//! What there is to watch, as a client on the network sees it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod fantastic;
mod fault_server;
mod faults;
mod functions;
mod story;
mod support;
mod traffic;
