//! Drives the [`Plan`] by the clock: starts probes, hands results to the recorder.
//!
//! Runs on a thread and a current-thread runtime of its own, so that nothing that
//! talks to Postgres delays a probe.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use common::{Check, Connection, Grid, Outcome, Slot, TargetId, TargetSpec};
use prometheus::Histogram;
use store::batches::{Gap, GapReason};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug, info, warn};

use crate::leases::Standing;
use crate::plan::{Ended, Limits, Plan, Step, Tenure, Turnover};
use crate::probe::{Prepared, Probe, Probed, guarded};
use crate::shared::Shared;
use crate::stats::{MOST_HISTOGRAMS, Stats};
use crate::traces;

/// With nothing due, look around this often.
const IDLE: Duration = Duration::from_secs(1);

/// Probes over kept connections that are begun before answers that have come meanwhile are looked at. Many are
/// due at once, beginning them takes longer than reading answers, and an answer that waits seems slow.
const STARTS_AT_ONCE: usize = 8;

/// Opening a connection takes as long as so many requests over one that is there.
const OPENING: usize = 4;

/// A change of the list of targets.
#[derive(Debug)]
pub struct Change {
    /// Those no longer probed.
    pub removed: Vec<TargetId>,
    /// Those that are new or have changed, with the moment from which slots of theirs are due
    /// if they have another grid than before, microseconds since the epoch.
    pub set: Vec<(TargetId, TargetSpec, i64)>,
    /// Told once the schedule works on the new list.
    pub done: oneshot::Sender<()>,
}

struct Target {
    id: TargetId,
    key: String,
    name: String,
    grid: Grid,
    /// A piece of its URL that no log line may show.
    secret_host: Option<String>,
    prepared: Arc<Prepared>,
    /// The last verdict, to notice changes.
    last: Option<Outcome>,
    /// Made at the first answer, so that a worker tells only what it probes.
    latency: Option<Histogram>,
}

/// A probe that is to begin.
struct Start {
    target: usize,
    slot: Slot,
    slow: bool,
}

/// A probe that ended.
struct Done {
    target: usize,
    slot: Slot,
    slow: bool,
    probed: Probed,
}

/// The schedule at work.
pub struct Schedule<P> {
    shared: Shared,
    prober: P,
    plan: Plan,
    targets: Vec<Target>,
    /// The index of each row's target.
    indices: HashMap<TargetId, usize>,
    standing: watch::Receiver<Standing>,
    changes: mpsc::UnboundedReceiver<Change>,
    done: mpsc::UnboundedReceiver<Done>,
    done_sender: mpsc::UnboundedSender<Done>,
    steps: Vec<Step>,
    /// Under way for the plan, and not begun yet.
    starts: VecDeque<Start>,
    /// Until when the leases of the tenure we work on are sure; `None` while Postgres is away.
    sure_until: Option<Instant>,
}

impl<P: Probe> Schedule<P> {
    /// A schedule of `targets` on the shards that `standing` names.
    pub fn new(
        shared: Shared,
        prober: P,
        limits: Limits,
        list: Vec<(TargetId, TargetSpec)>,
        standing: watch::Receiver<Standing>,
        changes: mpsc::UnboundedReceiver<Change>,
    ) -> Self {
        let (done_sender, done) = mpsc::unbounded_channel();
        let mut schedule = Self {
            shared,
            prober,
            plan: Plan::new(limits),
            targets: Vec::with_capacity(list.len()),
            indices: HashMap::with_capacity(list.len()),
            standing,
            changes,
            done,
            done_sender,
            steps: Vec::new(),
            starts: VecDeque::new(),
            sure_until: None,
        };
        for (id, spec) in list {
            schedule.add(Target::new(id, spec));
        }
        schedule
    }

    /// Gives the target an index; the one it had before keeps its probes under way.
    fn add(&mut self, target: Target) -> usize {
        let index = self.plan.add(target.id, &target.key, target.grid, target.prepared.host_port().to_owned());
        self.indices.insert(target.id, index);
        if index == self.targets.len() {
            self.targets.push(target);
        } else {
            self.targets[index] = target;
        }
        index
    }

    /// Works on another list from now on. Targets that are in both keep their slots.
    pub(crate) fn change(&mut self, change: Change) {
        if self.is_sure() {
            self.advance(self.shared.clock.now_us());
        }
        let first = self.standing.borrow().tenure.first.clone();
        let mut turnover = Turnover::default();
        for id in change.removed {
            if let Some(index) = self.indices.remove(&id) {
                self.shared.stats.forget(&self.targets[index].key);
                turnover.gone.insert(index, None);
            }
        }
        for (id, spec, since_us) in change.set {
            let mut target = Target::new(id, spec);
            let before = self.indices.get(&id).copied();
            if let Some(before) = before {
                let before = &self.targets[before];
                target.last = before.last;
                target.latency = before.latency.clone();
            }
            let grid = target.grid;
            let index = self.add(target);
            match before {
                Some(before) if self.targets[before].grid == grid => {
                    turnover.gone.insert(before, Some(index));
                }
                _ => {
                    turnover.gone.extend(before.map(|before| (before, None)));
                    // A shard that was just taken begins where its leases say, unless they mean another grid.
                    let first = first.get(&id).and_then(|first| first.on(grid));
                    let from_us = first.map_or(since_us, |slot| slot.0.max(since_us));
                    turnover.begun.push((index, from_us));
                }
            }
        }
        let mut steps = std::mem::take(&mut self.steps);
        self.plan.turn_over(&turnover, &mut steps);
        self.carry_out(&mut steps);
        self.publish();
        // Who asked may be gone, as at a stop.
        let _ = change.done.send(());
    }

    /// Probes until `stop`, then waits for the probes under way, at most `grace`.
    /// What is not done by then is left to whoever holds the shards next.
    pub async fn run(mut self, stop: CancellationToken, grace: Duration) {
        self.hold();
        loop {
            let wake = self.look();
            tokio::select! {
                // Through the driver, so that what has arrived comes before the next start.
                () = yield_now(), if wake.is_zero() => {}
                () = stop.cancelled() => break,
                changed = self.standing.changed() => match changed {
                    Ok(()) => drop(self.hold()),
                    // Nobody holds leases for us any more.
                    Err(_) => break,
                },
                Some(done) = self.done.recv() => self.finish(done),
                Some(change) = self.changes.recv() => self.change(change),
                () = sleep(wake), if !wake.is_zero() => {}
            }
        }
        self.wind_down(grace).await;
    }

    /// Starts what is due, or some of it; how long until there may be more.
    pub(crate) fn look(&mut self) -> Duration {
        let is_sure = self.is_sure();
        if is_sure {
            self.advance(self.shared.clock.now_us());
        }
        self.publish();
        self.start(STARTS_AT_ONCE);
        if !self.starts.is_empty() {
            return Duration::ZERO;
        }
        match self.plan.next_due() {
            Some(due) if is_sure => self.shared.clock.until(due).min(IDLE),
            _ => IDLE,
        }
    }

    /// Drops every shard: from now on no slot is ours.
    pub(crate) fn leave(&mut self) {
        // What we were told and did not get to is ours too, up to this moment.
        let Tenure { shards, leaving, .. } = self.hold();
        let leaving = [shards, leaving].concat();
        self.adopt(&Tenure { leaving, ..Tenure::default() }, u64::MAX);
        self.start(usize::MAX);
    }

    async fn wind_down(mut self, grace: Duration) {
        let deadline = Instant::now() + grace;
        self.leave();
        while self.plan.in_flight() > 0 {
            tokio::select! {
                Some(done) = self.done.recv() => self.finish(done),
                () = sleep_until(deadline) => break,
            }
        }
        self.publish();
    }

    /// Whether our leases are sure enough to start something.
    fn is_sure(&self) -> bool {
        self.sure_until.is_none_or(|until| Instant::now() < until)
    }

    /// Whether there is news of the leases.
    #[cfg(test)]
    pub(crate) fn is_told(&self) -> bool {
        self.standing.has_changed().unwrap_or(false)
    }

    /// Works on what the leases say from now on.
    pub(crate) fn hold(&mut self) -> Tenure {
        let standing = self.standing.borrow_and_update().clone();
        self.adopt(&standing.tenure, standing.round);
        self.sure_until = standing.confirmed_until;
        standing.tenure
    }

    /// Changes to a new tenure, at one moment: what is due by then is still done
    /// under the old one, unless that had run out.
    fn adopt(&mut self, tenure: &Tenure, round: u64) {
        let now_us = self.shared.clock.now_us();
        if self.is_sure() {
            self.advance(now_us);
        }
        self.plan.hold(tenure, now_us);
        self.publish();
        {
            // Once dropped a shard stays so, however often we hear of it.
            let mut dropped_us = self.shared.dropped_us();
            dropped_us.retain(|shard, _| tenure.leaving.contains(shard));
            for shard in &tenure.leaving {
                dropped_us.entry(*shard).or_insert(now_us + 1);
            }
        }
        self.shared.adopted_round.store(round, Ordering::Release);
    }

    fn advance(&mut self, now_us: i64) {
        let mut steps = std::mem::take(&mut self.steps);
        self.plan.advance(now_us, &mut steps);
        self.carry_out(&mut steps);
    }

    fn finish(&mut self, done: Done) {
        self.record(done);
        self.finish_all();
    }

    /// Whatever else has ended by now, before anything else is looked at.
    pub(crate) fn finish_all(&mut self) {
        while let Ok(done) = self.done.try_recv() {
            self.record(done);
        }
    }

    fn record(&mut self, done: Done) {
        let Done { target: index, slot, slow, probed } = done;
        let timed_out = probed.outcome == Outcome::Down(common::Cause::Timeout);
        let target = &mut self.targets[index];
        let keeps_detail = match probed.outcome {
            Outcome::Down(common::Cause::Assertion) => true,
            // Why it was on us; unless that may name a host that nobody may see.
            Outcome::Unknown => target.secret_host.is_none(),
            _ => false,
        };
        target.tell(&probed);
        self.shared.stats.ended(probed.outcome);
        if index < MOST_HISTOGRAMS {
            target.observe(&probed, &self.shared.stats);
        }
        // Into the intake before it leaves the plan, so that the slot is always open in one of them.
        self.shared.intake.push(Check {
            target_id: target.id,
            slot,
            // The clock may have been slewed back since the slot came due.
            started_us: Some(self.shared.clock.at_us(probed.started).max(slot.0)),
            outcome: probed.outcome,
            code: probed.code,
            elapsed_us: probed.elapsed_us,
            phases: probed.phases,
            detail: probed.detail.filter(|_| keeps_detail).map(Arc::from),
        });
        let mut steps = std::mem::take(&mut self.steps);
        let ended = Ended { target: index, slot, slow, timed_out };
        self.plan.finished(ended, self.shared.clock.now_us(), &mut steps);
        self.carry_out(&mut steps);
    }

    fn carry_out(&mut self, steps: &mut Vec<Step>) {
        for step in steps.drain(..) {
            match step {
                Step::Start { target, slot, slow } => self.starts.push_back(Start { target, slot, slow }),
                Step::Missed { target, slot } => {
                    self.shared.stats.add_missed(1);
                    self.shared.intake.push(Check::missed(self.targets[target].id, slot));
                }
                Step::Gap { target, from, to } => {
                    let target = &self.targets[target];
                    warn!("nobody watched {} from {} to {}", target.name, from.at(), to.at());
                    self.shared.intake.push_gap(Gap {
                        target_id: target.id,
                        from_us: from.0,
                        to_us: to.0,
                        reason: GapReason::NoWorker,
                    });
                }
            }
        }
        // Keeps the allocation.
        self.steps = std::mem::take(steps);
    }

    /// Begins as many of the probes that are due as take so long.
    fn start(&mut self, mut time: usize) {
        while time > 0
            && let Some(Start { target: index, slot, slow }) = self.starts.pop_front()
        {
            time = time.saturating_sub(match self.targets[index].prepared.connection {
                Connection::Fresh => OPENING,
                Connection::Reuse => 1,
            });
            self.shared.stats.started(self.shared.clock.now_us() - slot.0);
            let prober = self.prober.clone();
            let target = &self.targets[index];
            let prepared = Arc::clone(&target.prepared);
            let span = traces::check(&target.name, &prepared.method);
            let done = self.done_sender.clone();
            tokio::spawn(async move {
                // Whatever happens, the slot gets its outcome.
                let probed = guarded(prober.check(&prepared)).instrument(span.clone()).await;
                traces::checked(&span, &probed);
                // Nobody listens only when the grace at the end is over.
                let _ = done.send(Done { target: index, slot, slow, probed });
            });
        }
    }

    pub(crate) fn publish(&self) {
        self.shared.stats.set_load(self.plan.in_flight(), self.plan.waiting());
        self.shared.oldest_open_us.store(self.plan.oldest_open().unwrap_or(i64::MAX), Ordering::Release);
    }
}

impl Target {
    fn new(id: TargetId, spec: TargetSpec) -> Self {
        Self {
            id,
            name: common::name_for_log(&spec.name),
            grid: spec.grid(),
            secret_host: spec.url.has_secrets().then(|| spec.url.url().host_str().map(str::to_owned)).flatten(),
            prepared: Arc::new(Prepared::new(&spec)),
            last: None,
            latency: None,
            key: spec.key,
        }
    }

    /// Latency counts where there was an answer, as in the roll-ups.
    fn observe(&mut self, probed: &Probed, stats: &Stats) {
        if let (Some(_), Some(elapsed_us)) = (probed.code, probed.elapsed_us) {
            let latency = self.latency.get_or_insert_with(|| stats.latency(&self.key));
            latency.observe(f64::from(elapsed_us) / 1e6);
        }
    }

    /// A log line when the target changes state.
    fn tell(&mut self, probed: &Probed) {
        let name = &self.name;
        let detail = probed.detail.as_deref().unwrap_or_default();
        // A resolver names the host it asked for, and a certificate the one it is not for.
        let hidden = self.secret_host.as_ref().map(|host| detail.replace(host.as_str(), "***"));
        let detail = hidden.as_deref().unwrap_or(detail);
        if !probed.outcome.is_verdict() {
            debug!("{name}: {} ({detail})", probed.outcome.label());
            return;
        }
        let changed = self.last.is_none_or(|last| last.label() != probed.outcome.label());
        self.last = Some(probed.outcome);
        if !changed {
            return;
        }
        match probed.outcome {
            Outcome::Down(cause) => warn!("{name} is down ({}): {detail}", cause.label()),
            Outcome::Degraded => warn!("{name} is degraded: {detail}"),
            _ => info!(
                "{name} is up: {} in {} ms",
                probed.code.unwrap_or_default(),
                probed.elapsed_us.unwrap_or_default() / 1000
            ),
        }
    }
}
