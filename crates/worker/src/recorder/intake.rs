//! Where probes leave their results, and where each of them is until it is stored.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use common::{Check, TargetId};
use store::batches::{Gap, GapReason};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::FLUSH_ROWS;

/// Beyond so many results that wait, what an assertion saw is not kept: the bound on
/// results is one on memory only as long as each of them is small.
const MOST_DETAILS: usize = 50_000;

/// A batch that takes longer to write is one that Postgres is slow with: what comes meanwhile goes to disk.
const SLOW: Duration = Duration::from_secs(1);

/// So many results that wait are more than Postgres keeps up with.
const CROWD: usize = 4 * FLUSH_ROWS;

/// Results go to disk so many at a time.
const MOST_AT_ONCE: usize = 60_000;

/// Results on their way from the probes to Postgres, by way of the disk while it is away.
#[derive(Debug)]
pub struct Intake {
    waiting: Mutex<Waiting>,
    pub(super) full_flush: Notify,
    pub(super) bound: usize,
}

#[derive(Debug, Default)]
struct Waiting {
    queue: VecDeque<Check>,
    /// What is being written right now, and since when. Older than the queue.
    writing: Vec<Check>,
    writing_since: Option<Instant>,
    /// It is on disk as well.
    writing_spooled: bool,
    /// On its way to disk: older than the queue, younger than what is there.
    spooling: Vec<Check>,
    /// So many of them, the first, are copies of what is being written.
    copies: usize,
    /// Everything goes by way of the disk, so that it is written in order.
    behind: bool,
    /// What is on disk: how many, and their oldest slot of ours.
    spooled: usize,
    spooled_oldest_us: Option<i64>,
    /// Slots among which are some that we lost, first and last.
    suspect: Option<(i64, i64)>,
    /// Stretches nobody watched, each as it was found.
    unwatched: Vec<Gap>,
    /// What was given up: of each target one stretch, because the oldest go first.
    overflow: HashMap<TargetId, Gap>,
    given_up: u64,
}

impl Intake {
    /// An intake that keeps at most `bound` results in memory.
    pub fn new(bound: usize) -> Self {
        Self { waiting: Mutex::default(), full_flush: Notify::new(), bound }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a result. Never waits: over the bound the oldest result in memory is given up
    /// and its slot becomes part of a gap.
    pub fn push(&self, mut check: Check) {
        let mut waiting = self.waiting();
        if waiting.queue.len() >= MOST_DETAILS {
            check.detail = None;
        }
        waiting.queue.push_back(check);
        if waiting.queue.len() > self.bound
            && let Some(oldest) = waiting.queue.pop_front()
        {
            waiting.give_up(oldest.target_id, oldest.slot.0);
        }
        if waiting.queue.len() >= FLUSH_ROWS {
            self.full_flush.notify_one();
        }
    }

    /// Takes a stretch of slots that nobody started.
    pub fn push_gap(&self, gap: Gap) {
        self.waiting().unwatched.push(gap);
    }

    /// Takes slots whose results are lost, as gaps.
    pub fn give_up(&self, slots: impl IntoIterator<Item = (TargetId, i64)>) {
        let mut waiting = self.waiting();
        slots.into_iter().for_each(|(target_id, slot)| waiting.give_up(target_id, slot));
    }

    /// Results in memory that wait, those being written included.
    pub fn depth(&self) -> usize {
        let waiting = self.waiting();
        let writing = if waiting.writing_spooled { 0 } else { waiting.writing.len() };
        waiting.queue.len() + waiting.spooling.len() + writing - waiting.copies
    }

    /// Results on disk that wait.
    pub fn spool_depth(&self) -> usize {
        self.waiting().spooled
    }

    /// The oldest slot that waits, microseconds since the epoch.
    pub fn oldest_us(&self) -> Option<i64> {
        let waiting = self.waiting();
        let in_memory = waiting.queue.iter().chain(&waiting.writing).chain(&waiting.spooling);
        let checks = in_memory.map(|check| check.slot.0).chain(waiting.spooled_oldest_us);
        let lost = waiting.suspect.map(|(first, _)| first);
        checks.chain(waiting.gaps().map(|gap| gap.from_us)).chain(lost).min()
    }

    /// Whether nothing waits in memory, gaps included.
    pub fn is_empty(&self) -> bool {
        let waiting = self.waiting();
        waiting.queue.is_empty()
            && waiting.writing.is_empty()
            && waiting.spooling.is_empty()
            && waiting.gaps().next().is_none()
    }

    /// What to write next from memory: the batch under way again, or a new one.
    pub(crate) fn take(&self) -> Vec<Check> {
        let mut waiting = self.waiting();
        if waiting.writing.is_empty() {
            let count = waiting.queue.len().min(FLUSH_ROWS);
            waiting.writing = waiting.queue.drain(..count).collect();
            waiting.writing_spooled = false;
        }
        waiting.writing_since.get_or_insert_with(Instant::now);
        waiting.writing.clone()
    }

    /// Gaps that are not stored.
    pub(crate) fn gaps(&self) -> Vec<Gap> {
        self.waiting().gaps().copied().collect()
    }

    /// What was taken is stored.
    pub(crate) fn written(&self, gaps: &[Gap]) {
        let mut waiting = self.waiting();
        waiting.writing.clear();
        waiting.writing_since = None;
        waiting.copies = 0;
        waiting.forget(gaps);
    }

    /// These gaps are stored.
    pub(crate) fn gaps_written(&self, gaps: &[Gap]) {
        self.waiting().forget(gaps);
    }

    /// What was taken waits again.
    pub(crate) fn put_back(&self) {
        self.waiting().put_back();
    }

    /// What was taken could not be stored. It goes to disk, as far as there is one, like all that follows.
    pub(crate) fn not_written(&self) {
        let mut waiting = self.waiting();
        waiting.put_back();
        waiting.behind = true;
    }

    pub(super) fn take_given_up(&self) -> u64 {
        std::mem::take(&mut self.waiting().given_up)
    }

    /// Whether everything goes by way of the disk.
    pub(crate) fn is_behind(&self) -> bool {
        self.waiting().behind
    }

    /// Ends that, if there is nothing left on disk or on its way there.
    pub(crate) fn catches_up(&self) -> bool {
        let mut waiting = self.waiting();
        if waiting.spooled > 0 || !waiting.spooling.is_empty() {
            return false;
        }
        waiting.behind = false;
        true
    }

    /// What has to go to disk now: nothing while Postgres keeps up. A batch that is being written
    /// goes first; should it be stored after all, it is written twice, which changes nothing.
    pub(crate) fn begin_spooling(&self) -> Vec<Check> {
        let mut waiting = self.waiting();
        let is_slow = waiting.writing_since.is_some_and(|since| since.elapsed() > SLOW);
        waiting.behind |= is_slow || waiting.queue.len() > CROWD;
        if !waiting.behind || !waiting.spooling.is_empty() {
            return Vec::new();
        }
        let mut going = Vec::new();
        if !waiting.writing_spooled {
            going.extend(waiting.writing.iter().cloned());
        }
        waiting.copies = going.len();
        let room = MOST_AT_ONCE.min(waiting.queue.len());
        going.extend(waiting.queue.drain(..room));
        waiting.spooling.clone_from(&going);
        going
    }

    /// The first `count` of what began to go are on disk, where now all in all `depth` are.
    /// The rest stays in memory.
    pub(crate) fn spooled(&self, count: usize, depth: usize, oldest_us: Option<i64>) {
        let mut waiting = self.waiting();
        let mut spooling = std::mem::take(&mut waiting.spooling);
        let copies = std::mem::take(&mut waiting.copies);
        waiting.writing_spooled |= copies > 0 && count >= copies;
        // What is still being written is where it was.
        let skip = count.max(copies);
        for check in spooling.drain(skip.min(spooling.len())..).rev() {
            waiting.queue.push_front(check);
        }
        waiting.spooled = depth;
        waiting.spooled_oldest_us = oldest_us;
    }

    /// What is on disk now. As long as there is anything, all goes that way.
    pub(crate) fn note_spool(&self, depth: usize, oldest_us: Option<i64>) {
        let mut waiting = self.waiting();
        waiting.spooled = depth;
        waiting.spooled_oldest_us = oldest_us;
        waiting.behind |= depth > 0;
    }

    /// Notes slots of which we cannot say which are lost.
    pub(crate) fn suspect(&self, first_us: i64, last_us: i64) {
        let mut waiting = self.waiting();
        let (first, last) = waiting.suspect.unwrap_or((first_us, last_us));
        waiting.suspect = Some((first.min(first_us), last.max(last_us)));
    }

    /// Slots of which some may have no row, first and last.
    pub(crate) fn suspected(&self) -> Option<(i64, i64)> {
        self.waiting().suspect
    }

    /// They are accounted for.
    pub(crate) fn cleared(&self, suspect: (i64, i64)) {
        let mut waiting = self.waiting();
        // More may have come.
        if waiting.suspect == Some(suspect) {
            waiting.suspect = None;
        }
    }
}

impl Waiting {
    fn gaps(&self) -> impl Iterator<Item = &Gap> {
        self.unwatched.iter().chain(self.overflow.values())
    }

    fn forget(&mut self, gaps: &[Gap]) {
        // One that grew meanwhile is written again, and grows there too.
        self.overflow.retain(|_, known| !gaps.contains(known));
        self.unwatched.retain(|known| !gaps.contains(known));
    }

    fn put_back(&mut self) {
        self.writing_since = None;
        let writing = std::mem::take(&mut self.writing);
        // Copies are as good: they are on disk soon, or come back to the queue.
        if std::mem::take(&mut self.copies) == 0 && !self.writing_spooled {
            for check in writing.into_iter().rev() {
                self.queue.push_front(check);
            }
        }
    }

    fn give_up(&mut self, target_id: TargetId, slot: i64) {
        self.given_up += 1;
        let gap = Gap { target_id, from_us: slot, to_us: slot + 1, reason: GapReason::Overflow };
        let known = self.overflow.entry(target_id).or_insert(gap);
        known.from_us = known.from_us.min(gap.from_us);
        known.to_us = known.to_us.max(gap.to_us);
    }
}

#[cfg(test)]
mod tests {
    use common::{Cause, Outcome, Slot, TargetId};

    use super::*;

    #[test]
    fn what_an_assertion_saw_is_kept_while_few_results_wait() {
        let intake = Intake::new(usize::MAX);
        let failed = |n: usize| Check {
            outcome: Outcome::Down(Cause::Assertion),
            detail: Some("body contains \"ok\": is empty".into()),
            ..Check::missed(TargetId(1), Slot(n as i64))
        };
        (0..MOST_DETAILS + 10).for_each(|n| intake.push(failed(n)));
        let waiting = intake.waiting();
        assert_eq!(waiting.queue.len(), MOST_DETAILS + 10);
        assert_eq!(waiting.queue.iter().filter(|check| check.detail.is_some()).count(), MOST_DETAILS);
    }
}
