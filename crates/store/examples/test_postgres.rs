//! The Postgres that the tests share, by hand.
//!
//! ```text
//! cargo run -p store --features testing --example test_postgres -- start
//! ```
//!
//! `start` starts it if it is not running and prints its URL, as `url` does;
//! `stop` stops it, unless tests are running.

use std::process::ExitCode;

use store::testing::{Stopped, TestDbError, shared_url, stop_shared};

fn main() -> ExitCode {
    let result = match std::env::args().nth(1).as_deref() {
        Some("start" | "url") => shared_url(),
        Some("stop") => stop_shared().map(said),
        _ => {
            eprintln!("usage: test_postgres start | url | stop");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(error) => failed(&error),
    }
}

fn said(stopped: Stopped) -> String {
    match stopped {
        Stopped::Stopped => "the test server has stopped",
        Stopped::NotRunning => "no test server is running",
        Stopped::InUse => "the test server is in use and keeps running",
    }
    .to_owned()
}

fn failed(error: &TestDbError) -> ExitCode {
    eprintln!("{error}");
    ExitCode::FAILURE
}
