//! Any bytes as one line of a stream: an event or a reason, and never a panic.

#![no_main]

use engine::{Access, Change, Envelope};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|line: &[u8]| {
    let envelope = Envelope::parse(line);
    // What its sender calls it does not change what it says; a name that is no text at all is refused.
    if let Ok(found) = Envelope::parse_with_id(line) {
        assert_eq!(envelope, Ok(found.map(|(envelope, _)| envelope)));
    }
    match envelope {
        Ok(Some(Envelope::Access(value))) => match Access::parse(&value) {
            Ok(access) => assert!((100..=599).contains(&access.status.get())),
            Err(rejection) => assert!(!rejection.explanation.is_empty()),
        },
        Ok(Some(Envelope::Change(value))) => match Change::parse(&value) {
            Ok(change) => assert!(!change.commit.is_empty()),
            Err(rejection) => assert!(!rejection.explanation.is_empty()),
        },
        Ok(None | Some(Envelope::EndOfStream)) => {}
        Err(rejection) => assert!(!rejection.explanation.is_empty()),
    }
});
