//! Which slot starts when: the schedule without time, sockets or tasks.
//!
//! Every due slot leaves the plan as exactly one [`Step`]: a start, a miss, or
//! part of a gap. A slot waits for a place when the limits are reached; when the
//! next slot of its target comes due first, it is one interval late and missed.
//! So at most one slot of a target waits, and memory is bounded by the targets.
//!
//! The list of targets may change ([`Plan::turn_over`]). One that changes goes on under
//! a new index with the slots of the old, whose probes under way end as they would have.

mod messages;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, VecDeque};

use common::{Grid, Shard, Slot, TargetId};

pub use messages::{Ended, First, Step, Tenure, Turnover};

/// Longer stretches of missed slots become one gap.
pub const MAX_MISSED_ROWS: i64 = 60;

/// A target that began longer ago is known to the leases, microseconds.
const JUST_NOW_US: i64 = 60_000_000;

/// How many probes may be under way.
///
/// A target whose last check timed out is *slow* and draws on smaller shares, so
/// that targets that hang never take the places of those that answer. Which these are is
/// not known of one that was never checked: it waits behind those that have answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// In all.
    pub total: usize,
    /// In all, of slow targets.
    pub slow: usize,
    /// Per host and port.
    pub per_host: usize,
    /// Per host and port, of slow targets.
    pub slow_per_host: usize,
}

impl Limits {
    /// Half of all places at most for slow targets, half for one server, and a
    /// fifth of a server's places always free for its targets that answer.
    pub fn for_total(total: usize) -> Self {
        let half = total.div_ceil(2);
        Self { total, slow: half, per_host: half, slow_per_host: (half * 4).div_ceil(5) }
    }
}

#[derive(Debug)]
struct Target {
    id: TargetId,
    grid: Grid,
    shard: Shard,
    host: usize,
    /// Has an entry in `due`.
    scheduled: bool,
    /// Timed out last time.
    slow: bool,
    /// No probe of it has ended yet.
    new: bool,
    /// Due, but the limits are reached.
    waiting: Option<Slot>,
    /// Has an entry in one of the queues; it may outlive `waiting`.
    queued: bool,
    /// Probes under way.
    in_flight: usize,
    /// No longer in the list. Its index is free once no probe of it is under way.
    gone: bool,
    /// Due from then on, of one that begins while its shard is not held: by whoever takes it.
    begins_us: Option<i64>,
}

/// Usual ones, new ones, slow ones: in this order they get a place that is free.
const CLASSES: usize = 3;

/// The class that draws on smaller shares.
const SLOW: usize = 2;

impl Target {
    fn class(&self) -> usize {
        if self.slow { SLOW } else { usize::from(self.new) }
    }
}

#[derive(Debug, Default)]
struct Host {
    name: String,
    /// Targets there, also those gone whose index is not free yet.
    targets: usize,
    in_flight: usize,
    slow_in_flight: usize,
    /// Targets waiting for a place at this server, by [class](Target::class).
    queues: [VecDeque<usize>; CLASSES],
}

/// The schedule of all targets on the shards held.
#[derive(Debug)]
pub struct Plan {
    limits: Limits,
    targets: Vec<Target>,
    hosts: Vec<Host>,
    host_index: HashMap<String, usize>,
    due: BinaryHeap<Reverse<(i64, usize)>>,
    in_flight: usize,
    slow_in_flight: usize,
    /// Targets waiting for a place in all, by [class](Target::class).
    queues: [VecDeque<usize>; CLASSES],
    /// Slots that are due and not finished, with their number.
    open: BTreeMap<i64, usize>,
    waiting: usize,
    /// The shards of the last [`Plan::hold`].
    held: [bool; common::SHARDS as usize],
    /// Indices of targets and servers to be used again.
    free: Vec<usize>,
    free_hosts: Vec<usize>,
}

impl Plan {
    /// An empty plan; it holds no shard yet.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            targets: Vec::new(),
            hosts: Vec::new(),
            host_index: HashMap::new(),
            due: BinaryHeap::new(),
            in_flight: 0,
            slow_in_flight: 0,
            queues: Default::default(),
            open: BTreeMap::new(),
            waiting: 0,
            held: [false; common::SHARDS as usize],
            free: Vec::new(),
            free_hosts: Vec::new(),
        }
    }

    /// Adds a target and returns its index, which may be that of one long gone. It is due
    /// once its shard is held, or [`Plan::turn_over`] says so.
    pub fn add(&mut self, id: TargetId, key: &str, grid: Grid, host_port: String) -> usize {
        let host = self.host(host_port);
        self.hosts[host].targets += 1;
        let target = Target {
            id,
            grid,
            shard: Shard::of(key),
            host,
            scheduled: false,
            slow: false,
            new: true,
            waiting: None,
            queued: false,
            in_flight: 0,
            gone: false,
            begins_us: None,
        };
        match self.free.pop() {
            Some(index) => {
                self.targets[index] = target;
                index
            }
            None => {
                self.targets.push(target);
                self.targets.len() - 1
            }
        }
    }

    fn host(&mut self, name: String) -> usize {
        if let Some(host) = self.host_index.get(&name) {
            return *host;
        }
        let host = Host { name: name.clone(), ..Host::default() };
        let index = match self.free_hosts.pop() {
            Some(index) => {
                self.hosts[index] = host;
                index
            }
            None => {
                self.hosts.push(host);
                self.hosts.len() - 1
            }
        };
        self.host_index.insert(name, index);
        index
    }

    /// Changes the list: what is gone has no further slot, unless another goes on with
    /// its slots, the one that waits included; what begins is due from the moment named, if
    /// its shard is held. The slots of all others stay as they are.
    ///
    /// What came due before has to be carried out by [`Plan::advance`] first.
    pub fn turn_over(&mut self, turnover: &Turnover, steps: &mut Vec<Step>) {
        let Turnover { gone, begun } = turnover;
        let mut due = std::mem::take(&mut self.due).into_vec();
        due.retain_mut(|Reverse((_, index))| match gone.get(index) {
            None => true,
            Some(Some(heir)) => {
                *index = *heir;
                true
            }
            Some(None) => false,
        });
        for (index, from_us) in begun {
            let target = &mut self.targets[*index];
            if !self.held[target.shard.0 as usize] {
                target.begins_us = Some(*from_us);
            } else if !target.scheduled {
                target.scheduled = true;
                due.push(Reverse((target.grid.at_or_after(*from_us).0, *index)));
            }
        }
        self.due = due.into();

        let queues = self.queues.iter_mut().chain(self.hosts.iter_mut().flat_map(|host| &mut host.queues));
        for queue in queues {
            queue.retain(|index| !gone.contains_key(index));
        }
        for (&index, &heir) in gone {
            let target = &mut self.targets[index];
            target.gone = true;
            target.queued = false;
            let (scheduled, slow, new, waiting) = (target.scheduled, target.slow, target.new, target.waiting.take());
            target.scheduled = false;
            match (heir, waiting) {
                (Some(heir), waiting) => {
                    let target = &mut self.targets[heir];
                    (target.scheduled, target.slow, target.new, target.waiting) = (scheduled, slow, new, waiting);
                    if let Some(slot) = waiting
                        && self.try_start(heir, slot, steps)
                    {
                        self.targets[heir].waiting = None;
                        self.waiting -= 1;
                    }
                }
                (None, Some(slot)) => {
                    self.waiting -= 1;
                    close(&mut self.open, slot);
                    steps.push(Step::Missed { target: index, slot });
                }
                (None, None) => {}
            }
            self.free_if_done(index);
        }
    }

    /// The index of a target that is gone may be used again once nothing refers to it.
    fn free_if_done(&mut self, index: usize) {
        let target = &self.targets[index];
        if !target.gone || target.in_flight > 0 {
            return;
        }
        self.free.push(index);
        let host = &mut self.hosts[target.host];
        host.targets -= 1;
        // The probes there are those of its targets, and so are those that wait.
        if host.targets == 0 {
            self.host_index.remove(&host.name);
            self.free_hosts.push(target.host);
        }
    }

    /// How many targets and servers there is room for: what memory is taken for.
    pub fn capacity(&self) -> (usize, usize) {
        (self.targets.len(), self.hosts.len())
    }

    /// Probes exactly the shards of `tenure` from `now_us` on; what came due before
    /// has to be carried out by [`Plan::advance`] first.
    ///
    /// Targets of shards that are new begin with the slot `tenure` names for them,
    /// or with their next one. Of shards that leave, slots already due are still
    /// ours; of shards that are lost, slots that wait are the next holder's.
    pub fn hold(&mut self, tenure: &Tenure, now_us: i64) {
        self.held = marks(&tenure.shards);
        let held = &self.held;
        let leaving = marks(&tenure.leaving);
        for (index, target) in self.targets.iter_mut().enumerate().filter(|(_, target)| !target.gone) {
            let shard = target.shard.0 as usize;
            if held[shard] {
                if !target.scheduled {
                    target.scheduled = true;
                    // Leases that do not know of it, or not of its grid, are older than the change that it came with.
                    let begins_us = target.begins_us.take().filter(|begins_us| now_us - begins_us < JUST_NOW_US);
                    let first = tenure.first.get(&target.id).and_then(|first| first.on(target.grid));
                    let first = first.unwrap_or_else(|| target.grid.at_or_after(begins_us.unwrap_or(now_us)));
                    self.due.push(Reverse((first.0, index)));
                }
                continue;
            }
            target.scheduled = false;
            if !leaving[shard]
                && let Some(slot) = target.waiting.take()
            {
                self.waiting -= 1;
                close(&mut self.open, slot);
            }
        }
        let targets = &self.targets;
        self.due.retain(|Reverse((_, index))| targets[*index].scheduled);
    }

    /// The moment the next slot is due, in microseconds since the epoch.
    pub fn next_due(&self) -> Option<i64> {
        self.due.peek().map(|Reverse((slot, _))| *slot)
    }

    /// The oldest slot that is due and not finished, or else the next due one.
    pub fn oldest_open(&self) -> Option<i64> {
        self.open.keys().next().copied().into_iter().chain(self.next_due()).min()
    }

    /// Probes under way.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Due slots that wait for a place.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// Everything that is due at `now_us`, appended to `steps`.
    pub fn advance(&mut self, now_us: i64, steps: &mut Vec<Step>) {
        while let Some(Reverse((slot, index))) = self.due.peek().copied() {
            if slot > now_us {
                return;
            }
            let target = &mut self.targets[index];
            let interval = target.grid.interval();
            let lost = (now_us - slot) / interval;
            let current = Slot(slot + lost * interval);
            // In its place, which is one walk down the heap instead of two.
            if let Some(mut due) = self.due.peek_mut() {
                *due = Reverse((current.0 + interval, index));
            }
            if let Some(late) = target.waiting.take() {
                self.waiting -= 1;
                close(&mut self.open, late);
                steps.push(Step::Missed { target: index, slot: late });
            }
            if lost > MAX_MISSED_ROWS {
                steps.push(Step::Gap { target: index, from: Slot(slot), to: current });
            } else {
                steps.extend((0..lost).map(|n| Step::Missed { target: index, slot: Slot(slot + n * interval) }));
            }
            *self.open.entry(current.0).or_default() += 1;
            if !self.try_start(index, current, steps) {
                self.targets[index].waiting = Some(current);
                self.waiting += 1;
            }
        }
    }

    /// A probe ended. Frees its place and starts what waited for it.
    pub fn finished(&mut self, ended: Ended, now_us: i64, steps: &mut Vec<Step>) {
        let Ended { target: index, slot, slow, timed_out } = ended;
        close(&mut self.open, slot);
        let target = &mut self.targets[index];
        (target.slow, target.new) = (timed_out, false);
        target.in_flight -= 1;
        let host_index = target.host;
        let host = &mut self.hosts[host_index];
        host.in_flight -= 1;
        self.in_flight -= 1;
        if slow {
            host.slow_in_flight -= 1;
            self.slow_in_flight -= 1;
        }
        // The server's own queue first: its targets have waited longest for this place.
        for class in 0..CLASSES {
            while self.host_has_place(host_index, class == SLOW)
                && let Some(next) = self.hosts[host_index].queues[class].pop_front()
            {
                // One place, one slot: the rest would only move to the queue for all.
                if self.start_queued(next, now_us, steps) {
                    break;
                }
            }
        }
        for class in 0..CLASSES {
            while self.has_place(class == SLOW)
                && let Some(next) = self.queues[class].pop_front()
            {
                self.start_queued(next, now_us, steps);
            }
        }
        self.free_if_done(index);
    }

    /// Starts a target from a queue, or moves it to another; false if it no longer waits.
    fn start_queued(&mut self, index: usize, now_us: i64, steps: &mut Vec<Step>) -> bool {
        self.targets[index].queued = false;
        let Some(slot) = self.targets[index].waiting else { return false };
        // Of a shard that left no next slot comes to end the wait.
        if now_us - slot.0 >= self.targets[index].grid.interval() {
            self.targets[index].waiting = None;
            self.waiting -= 1;
            close(&mut self.open, slot);
            steps.push(Step::Missed { target: index, slot });
            return false;
        }
        if self.try_start(index, slot, steps) {
            self.targets[index].waiting = None;
            self.waiting -= 1;
        }
        true
    }

    fn has_place(&self, slow: bool) -> bool {
        self.in_flight < self.limits.total && (!slow || self.slow_in_flight < self.limits.slow)
    }

    fn host_has_place(&self, host: usize, slow: bool) -> bool {
        let host = &self.hosts[host];
        host.in_flight < self.limits.per_host && (!slow || host.slow_in_flight < self.limits.slow_per_host)
    }

    /// Starts the slot, or puts the target into the queue of what it lacks.
    fn try_start(&mut self, index: usize, slot: Slot, steps: &mut Vec<Step>) -> bool {
        let Target { slow, host, queued, .. } = self.targets[index];
        let class = self.targets[index].class();
        if !self.host_has_place(host, slow) {
            if !queued {
                self.hosts[host].queues[class].push_back(index);
            }
        } else if !self.has_place(slow) {
            if !queued {
                self.queues[class].push_back(index);
            }
        } else {
            self.in_flight += 1;
            self.targets[index].in_flight += 1;
            self.hosts[host].in_flight += 1;
            if slow {
                self.slow_in_flight += 1;
                self.hosts[host].slow_in_flight += 1;
            }
            steps.push(Step::Start { target: index, slot, slow });
            return true;
        }
        self.targets[index].queued = true;
        false
    }
}

fn marks(shards: &[Shard]) -> [bool; common::SHARDS as usize] {
    let mut marks = [false; common::SHARDS as usize];
    for shard in shards {
        if let Some(mark) = marks.get_mut(shard.0 as usize) {
            *mark = true;
        }
    }
    marks
}

fn close(open: &mut BTreeMap<i64, usize>, slot: Slot) {
    if let Some(count) = open.get_mut(&slot.0) {
        *count -= 1;
        if *count == 0 {
            open.remove(&slot.0);
        }
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod turn_over;
