//! How many probes the descriptors of this process are enough for.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::warn;

/// Left for everything that is no probe: database, resolver, log.
const SPARE: u64 = 64;

/// So many of `wanted` probes at once that each has a descriptor. Raises the soft limit as far as
/// allowed, and says so where that is not enough.
pub fn fit(wanted: usize) -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let needed = wanted as u64 + SPARE;
    let mut allowed = current.unwrap_or(u64::MAX);
    if allowed < needed {
        let raised = maximum.map_or(needed, |maximum| needed.min(maximum));
        if setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum }).is_ok() {
            allowed = raised;
        }
    }
    if allowed >= needed {
        return wanted;
    }
    let total = usize::try_from(allowed.saturating_sub(SPARE)).unwrap_or(1).max(1);
    warn!(
        "{wanted} probes at once (WORKERS_COUNT) take more than the {allowed} descriptors that are allowed: \
         probing {total} at once (see ulimit -n)"
    );
    total
}
