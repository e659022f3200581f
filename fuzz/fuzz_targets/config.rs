//! Any bytes as a configuration file, for a service and for once, and as a target that is
//! posted: a list or errors that name a place, and never a panic.

#![no_main]

use libfuzzer_sys::fuzz_target;
use settings::file::{Mode, NoTarget, parse, target_of_json};
use settings::Defaults;

fuzz_target!(|bytes: &[u8]| {
    let defaults = Defaults::default();
    for mode in [Mode::Service, Mode::OneOff] {
        match parse("c.yaml", bytes, mode, &defaults) {
            Ok(list) => {
                // What is accepted holds together. Once, the interval does not count: the cycle does.
                for target in &list.targets {
                    assert!(!target.key.is_empty());
                    assert!(matches!(mode, Mode::OneOff) || target.timeout <= target.interval.duration());
                }
            }
            Err(errors) => assert!(!errors.to_string().is_empty()),
        }
    }
    match target_of_json(bytes, Some("key"), &defaults) {
        Ok(target) => {
            let _ = common::Reach::PublicOnly.allows_url(target.url.url());
        }
        Err(NoTarget::Syntax { offset, .. }) => assert!(offset <= bytes.len()),
        Err(NoTarget::Rules(findings)) => assert!(!findings.is_empty()),
    }
});
