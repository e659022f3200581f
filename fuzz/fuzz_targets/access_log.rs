//! Any bytes as a line of an access log, and as a log of git: what they say or a reason, and
//! never a panic.

#![no_main]

use libfuzzer_sys::fuzz_target;
use logs::access::{self, Entry};

fuzz_target!(|bytes: &[u8]| match access::parse(bytes) {
    Ok(Some(Entry::Request { status, .. })) => assert!((100..=599).contains(&status.get())),
    Ok(None | Some(Entry::NoRequest)) => {}
    Err(rejection) => assert!(!rejection.explanation.is_empty()),
});
