//! Whose fault was it? A failure is the target's only where it cannot have been ours.
//!
//! Two faults of ours look like a target's: this process stood still while a probe waited
//! ([`Pulse`]), and our network or name server is gone ([`Reach`]). Either makes the
//! result `unknown`. The second is asked about only when it may have been so: nothing connected, and no
//! other target did just before. So it costs nothing while all is well, and one target that is
//! down among others that are not is down at once.

mod pulse;
mod reach;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use common::{Cause, Outcome};
use tokio::time::{Instant, sleep};
use tracing::{info, warn};
use url::{Host, Url};

use crate::probe::{FLOODS, Prepared, Probe, Probed};
use crate::stats::Stats;

pub use pulse::Pulse;
pub use reach::{Canaries, Reach, Sign};

/// So new has an answer to be, of another target or of whoever was asked about the network: from the
/// second half of the time that the one which failed had, and within these bounds. What
/// connected before that did so over a network that may have gone since.
const FRESH: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(1)];

/// A standstill of so long during a check without an answer may be the target's doing.
const SUSPICIOUS: Duration = Duration::from_millis(50);

/// While we are offline, ask this often whether that is over.
const ASK_EVERY: Duration = Duration::from_millis(500);

/// Targets that answer for so long while canaries do not show that these are the wrong ones.
const WRONG_AFTER: u32 = 20;

/// Nobody asks them then for this long.
const DISTRUST: Duration = Duration::from_secs(600);

/// A prober whose results blame no target for our own faults.
#[derive(Debug)]
pub struct Fair<P, R> {
    prober: P,
    pulse: Pulse,
    network: Arc<Network<R>>,
}

impl<P: Clone, R> Clone for Fair<P, R> {
    fn clone(&self) -> Self {
        Self { prober: self.prober.clone(), pulse: self.pulse.clone(), network: Arc::clone(&self.network) }
    }
}

/// What we know of our own network.
#[derive(Debug)]
struct Network<R> {
    reach: R,
    stats: Arc<Stats>,
    known: Mutex<Known>,
    /// One at a time asks; what came of it, and when it was begun.
    asking: tokio::sync::Mutex<Option<(Instant, bool)>>,
}

#[derive(Debug, Default)]
struct Known {
    /// Some target last connected.
    connected: Option<Instant>,
    /// We are offline since.
    offline: Option<Instant>,
    /// We were offline last, until.
    was_offline: Option<Instant>,
    /// Canaries have proved wrong: not to be asked before.
    distrusted: Option<Instant>,
}

impl<P: Probe, R: Reach> Fair<P, R> {
    /// Judges what `prober` finds. Within the runtime that probes: it is its standstill that counts.
    pub fn new(prober: P, reach: R, stats: Arc<Stats>) -> Self {
        let watched = prober.clone();
        let pulse = Pulse::start(Arc::clone(&stats), move |stood_still| watched.watch(stood_still));
        stats.set_offline(false);
        let network = Network { reach, stats, known: Mutex::default(), asking: tokio::sync::Mutex::const_new(None) };
        let network = Arc::new(network);
        let learning = Arc::clone(&network);
        tokio::spawn(async move { learning.reach.learn().await });
        Self { prober, pulse, network }
    }

    async fn judge(&self, target: &Prepared, begun: Instant, stalled: Duration, probed: Probed) -> Probed {
        if stalled > target.timeout / 5 && is_time(&probed) {
            let detail = format!("we stood still for {} ms of it", stalled.as_millis());
            return unknown(probed, detail);
        }
        if !probed.outcome.is_verdict() || is_loopback(&target.url) {
            return probed;
        }
        if probed.code.is_some() || probed.phases.connect_us.is_some() {
            self.network.known().connected = Some(Instant::now());
            return probed;
        }
        let silent = matches!(probed.outcome, Outcome::Down(Cause::Timeout | Cause::Dns | Cause::Refused));
        if silent && self.network.was_offline(begun, probed.outcome == Outcome::Down(Cause::Dns)).await {
            return unknown(probed, "our own network or name server was gone".to_owned());
        }
        probed
    }
}

impl<P: Probe, R: Reach> Probe for Fair<P, R> {
    async fn check(&self, target: &Arc<Prepared>) -> Probed {
        let (begun, before) = (Instant::now(), self.pulse.stalled());
        let probed = self.prober.check(target).await;
        let stalled = self.pulse.stalled().saturating_sub(before);
        let is_silent = matches!(probed.outcome, Outcome::Down(Cause::Timeout) | Outcome::Unknown);
        if is_silent && stalled >= SUSPICIOUS && probed.code.is_none() && probed.phases.connect_us.is_some() {
            // Connected, and no answer while we stood still: it may be what it sends that we stood still for.
            target.set_hogs(true);
        }
        self.judge(target, begun, stalled, probed).await
    }
}

impl<R: Reach> Network<R> {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it was our fault that nothing answered since `begun`.
    async fn was_offline(self: &Arc<Self>, begun: Instant, is_lookup: bool) -> bool {
        let ended = Instant::now();
        let fresh = (ended.duration_since(begun) / 2).clamp(FRESH[0], FRESH[1]);
        {
            let known = self.known();
            if known.offline.is_some() || known.was_offline.is_some_and(|until| until >= begun) {
                return true;
            }
            // That something connects says nothing about names.
            let connects = known.connected.is_some_and(|at| at + fresh >= ended);
            if connects && !is_lookup || known.distrusted.is_some_and(|until| ended < until) {
                return false;
            }
        }
        let mut asking = self.asking.lock().await;
        if let Some((asked, online)) = *asking
            && asked + fresh >= ended
        {
            return !online;
        }
        let asked = Instant::now();
        let sign = self.reach.ask().await;
        *asking = Some((asked, sign.is_none()));
        drop(asking);
        let Some(why) = sign else { return false };
        self.go_offline(asked, &why);
        true
    }

    fn go_offline(self: &Arc<Self>, since: Instant, why: &str) {
        {
            let mut known = self.known();
            if known.offline.is_some() {
                return;
            }
            known.offline = Some(since);
        }
        self.stats.set_offline(true);
        warn!("monitor offline: {why}; checks that fail are unknown until it is back");
        let network = Arc::clone(self);
        tokio::spawn(async move { network.wait_for_return(since).await });
    }

    async fn wait_for_return(&self, since: Instant) {
        let mut contradicted = 0;
        loop {
            sleep(ASK_EVERY).await;
            let is_back = self.reach.ask().await.is_none();
            let now = Instant::now();
            let mut known = self.known();
            let connects = known.connected.is_some_and(|at| at + FRESH[1] >= now);
            contradicted = if connects { contradicted + 1 } else { 0 };
            let is_wrong = self.reach.may_be_wrong() && contradicted >= WRONG_AFTER;
            if !is_back && !is_wrong {
                continue;
            }
            known.offline = None;
            known.was_offline = Some(now);
            if is_wrong && !is_back {
                known.distrusted = Some(now + DISTRUST);
                warn!("targets answer while none of CANARIES does: not asking them for ten minutes");
            } else {
                info!(offline_ms = now.duration_since(since).as_millis() as u64, "monitor online again");
            }
            drop(known);
            self.stats.set_offline(false);
            return;
        }
    }
}

/// Whether a standstill of ours could have made it so: an answer with the wrong status was wrong anyway.
fn is_time(probed: &Probed) -> bool {
    match probed.outcome {
        Outcome::Degraded => true,
        Outcome::Down(Cause::Status | Cause::Redirect) => false,
        Outcome::Down(Cause::Assertion) => probed.detail.as_deref().is_some_and(|detail| detail.starts_with("latency")),
        Outcome::Down(Cause::Protocol) => probed.detail.as_deref() != Some(FLOODS),
        Outcome::Down(_) => true,
        Outcome::Up | Outcome::Missed | Outcome::Unknown => false,
    }
}

fn unknown(probed: Probed, reason: String) -> Probed {
    let detail = match probed.detail {
        Some(detail) => format!("{reason} ({detail})"),
        None => reason,
    };
    Probed { outcome: Outcome::Unknown, detail: Some(detail), ..probed }
}

/// What is on this machine needs no network.
fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests;
