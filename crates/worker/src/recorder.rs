//! From finished checks to rows: a bounded queue, one transaction a flush, and the disk between them.
//!
//! Probes push and never wait. The recorder flushes every 250 ms or 5,000 checks, over a connection that is
//! its own. While Postgres is away, slow, or behind, results go to the [spool](crate::spool), and
//! everything follows by that way until it is empty, so that results are stored in the order in which
//! they came: incidents depend on it. Where there is no spool, or it is not to be written, results
//! stay in memory. Both have a bound; beyond it the oldest are given up and remembered as gaps,
//! so that every slot is still accounted for.

mod intake;
mod keeper;
mod sift;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use common::Check;
use store::batches::{self, Gap};
use store::line::{self, Line};
use store::{PgConnection, PgPool, StoreError};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, error, info, warn};

use crate::seldom::Seldom;
use crate::stats::Stats;
use crate::traces;

pub use intake::Intake;
pub use keeper::Keeper;
use keeper::{Directory, Replay, Times};

/// A flush is due after this time …
pub const FLUSH_EVERY: Duration = Duration::from_millis(250);

/// … or when this many checks wait.
pub const FLUSH_ROWS: usize = 5_000;

/// A flush that takes longer is given up and tried again; writing is idempotent. Each of its
/// statements has a deadline of its own ([`line::SILENCE`]).
const FLUSH_DEADLINE: Duration = Duration::from_secs(60);

/// What has to go to disk is looked for this often.
const KEEP_EVERY: Duration = Duration::from_millis(250);

/// Pauses between attempts while Postgres is away grow to this.
const MAX_PAUSE: Duration = Duration::from_secs(2);

/// Stores what comes in.
#[derive(Debug, Clone)]
pub struct Recorder {
    /// Where Postgres is. The connection that writes is none of the pool's.
    pub pool: PgPool,
    /// Who we are.
    pub worker_id: String,
    /// What comes in.
    pub intake: Arc<Intake>,
    /// Numbers about ourselves.
    pub stats: Arc<Stats>,
    /// The disk, if there is one to use.
    pub keeper: Option<Keeper>,
}

/// What could not be stored in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Left {
    /// Results in memory: lost.
    pub in_memory: usize,
    /// Results on disk: stored by whoever comes next.
    pub on_disk: usize,
}

/// The writing side.
struct Writer {
    line: Line,
    directory: Directory,
    away: Option<Away>,
}

/// Something to write.
enum Work {
    Nothing,
    FromMemory(Vec<Check>),
    FromDisk(crate::spool::Batch),
}

impl Recorder {
    /// Writes what comes in until `stop`, then what is left, for at most `grace`.
    pub async fn run(self, stop: CancellationToken, grace: Duration) -> Left {
        let mut times = Times::default();
        let mut writer = Writer { line: Line::to(&self.pool), directory: Directory::default(), away: None };
        tokio::join!(self.write(&mut writer, &stop), self.keep(&mut times, &stop));

        // A batch that the stop cut off.
        self.intake.put_back();
        let deadline = Instant::now() + grace;
        while !self.is_done() && Instant::now() < deadline {
            self.keep_once(&mut times).await;
            let attempt = self.drain_some(&mut writer);
            let _ = timeout(deadline.duration_since(Instant::now()), attempt).await;
            // A batch that was cut off is still open.
            self.intake.put_back();
            if writer.away.is_some() {
                self.keep_once(&mut times).await;
                if self.intake.is_empty() {
                    break;
                }
                sleep(Duration::from_millis(100)).await;
            }
        }
        self.keep_once(&mut times.at_once()).await;
        Left { in_memory: self.intake.depth(), on_disk: self.intake.spool_depth() }
    }

    fn is_done(&self) -> bool {
        self.intake.is_empty() && self.intake.spool_depth() == 0
    }

    async fn write(&self, writer: &mut Writer, stop: &CancellationToken) {
        loop {
            tokio::select! {
                () = sleep(FLUSH_EVERY) => {}
                () = self.intake.full_flush.notified() => {}
                () = stop.cancelled() => return,
            }
            loop {
                // A flush that Postgres holds up must not hold up a stop; it is written again then.
                let more = tokio::select! {
                    more = self.drain_some(writer) => more,
                    () = stop.cancelled() => false,
                };
                if !more || stop.is_cancelled() {
                    break;
                }
            }
            if let Some(away) = &writer.away {
                tokio::select! {
                    () = sleep(away.pause()) => {}
                    () = stop.cancelled() => return,
                }
            }
        }
    }

    /// Takes to disk what has to go there, until `stop`.
    async fn keep(&self, times: &mut Times, stop: &CancellationToken) {
        loop {
            self.keep_once(times).await;
            tokio::select! {
                () = sleep(KEEP_EVERY) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    async fn keep_once(&self, times: &mut Times) {
        if let Some(keeper) = &self.keeper {
            keeper.round(&self.intake, &self.stats, times).await;
        }
        let given_up = self.intake.take_given_up();
        self.stats.add_given_up(given_up);
        times.unsaid += given_up;
        if times.unsaid > 0 && times.said.is_due() {
            let given_up = std::mem::take(&mut times.unsaid);
            warn!(
                given_up,
                in_memory = self.intake.depth(),
                on_disk = self.intake.spool_depth(),
                "more results wait than fit: gave up the oldest, their slots are recorded as gaps"
            );
        }
    }

    async fn next(&self) -> Work {
        if let Some(keeper) = &self.keeper
            && self.intake.is_behind()
        {
            match keeper.next_batch(FLUSH_ROWS).await {
                Ok(Some(batch)) => return Work::FromDisk(batch),
                Ok(None) if self.intake.catches_up() => {}
                Ok(None) => return Work::Nothing,
                Err(problem) => {
                    self.stats.spool_failed();
                    error!("cannot read the spool: {problem}");
                    return Work::Nothing;
                }
            }
        }
        Work::FromMemory(self.intake.take())
    }

    /// Flushes once; true when that went through and more is waiting.
    async fn drain_some(&self, writer: &mut Writer) -> bool {
        let work = self.next().await;
        let gaps = self.intake.gaps();
        let begun = Instant::now();
        let (is_full, result) = match work {
            Work::Nothing => return false,
            Work::FromMemory(checks) if checks.is_empty() && gaps.is_empty() => {
                self.intake.written(&[]);
                return false;
            }
            Work::FromMemory(checks) => {
                let result = self.store(writer, &checks, &gaps).await;
                match &result {
                    Ok(()) => self.intake.written(&gaps),
                    Err(_) => self.intake.not_written(),
                }
                (checks.len() == FLUSH_ROWS, result)
            }
            Work::FromDisk(batch) => (true, self.replay(writer, batch, &gaps).await),
        };
        match result {
            Ok(()) => {
                self.stats.flushed(begun.elapsed());
                if let Some(away) = writer.away.take() {
                    info!(
                        away_ms = away.since.elapsed().as_millis() as u64,
                        waiting = self.intake.depth(),
                        on_disk = self.intake.spool_depth(),
                        "postgres is back; writing what waited"
                    );
                }
                is_full
            }
            Err(problem) => {
                self.stats.flush_failed();
                self.tell(writer, &problem);
                false
            }
        }
    }

    /// Over the line.
    async fn store(&self, writer: &mut Writer, checks: &[Check], gaps: &[Gap]) -> Result<(), StoreError> {
        let mut connection = writer.line.take().await?;
        self.flush(&mut connection, checks, gaps).await?;
        writer.line.put(connection);
        Ok(())
    }

    /// One attempt at all of it, within the deadlines.
    async fn flush_once(
        &self,
        connection: &mut PgConnection,
        checks: &[Check],
        gaps: &[Gap],
    ) -> Result<(), StoreError> {
        let span = traces::flush(checks.len(), gaps.len());
        let work = flush(connection, &self.pool, &self.worker_id, checks, gaps);
        let done = within(work).instrument(span.clone()).await;
        if done.is_err() {
            traces::failed(&span);
        }
        done
    }

    async fn replay(&self, writer: &mut Writer, batch: crate::spool::Batch, gaps: &[Gap]) -> Result<(), StoreError> {
        let Some(keeper) = &self.keeper else { return Ok(()) };
        let mut connection = writer.line.take().await?;
        let resolved = within(keeper.resolve(&mut connection, batch, &mut writer.directory)).await?;
        let Replay { batch, checks, strange } = resolved;
        self.flush(&mut connection, &checks, gaps).await?;
        writer.line.put(connection);
        if strange > 0 {
            self.stats.add_spool_bad(strange as u64);
            warn!(results = strange, "skipped results of targets that this database does not know");
        }
        self.intake.gaps_written(gaps);
        keeper.finished(batch, &self.intake, &self.stats).await;
        Ok(())
    }

    fn tell(&self, writer: &mut Writer, problem: &StoreError) {
        let now = Instant::now();
        let known = writer.away.get_or_insert(Away { since: now, said: Seldom::default(), attempts: 0 });
        known.attempts += 1;
        if !known.said.is_due() {
            return;
        }
        let (waiting, on_disk) = (self.intake.depth(), self.intake.spool_depth());
        let place = if self.keeper.is_some() && self.stats.is_spool_usable() { "on disk" } else { "in memory" };
        if problem.is_transient() {
            warn!(waiting, on_disk, "cannot write results, keeping them {place}: {problem}");
        } else {
            error!(waiting, on_disk, "postgres refuses results, keeping them {place}: {problem}");
        }
    }
}

/// Postgres has been away since.
struct Away {
    since: Instant,
    said: Seldom,
    attempts: u32,
}

impl Away {
    fn pause(&self) -> Duration {
        // Half of it is chance, so that many workers do not knock together.
        let full = (Duration::from_millis(100) * 2_u32.saturating_pow(self.attempts.min(6))).min(MAX_PAUSE);
        full / 2 + full.mul_f64(f64::from(rand::random::<u16>()) / f64::from(u16::MAX) / 2.0)
    }
}

/// Nothing of Postgres is waited for without an end.
async fn within<T>(work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    match timeout(FLUSH_DEADLINE, line::unless_silent(line::SILENCE, work)).await {
        Ok(Some(done)) => done,
        Ok(None) | Err(_) => Err(StoreError::deadline_passed()),
    }
}

/// Stores checks and gaps. `pool` is only asked where a day has no partition.
pub(crate) async fn flush(
    connection: &mut PgConnection,
    pool: &PgPool,
    worker_id: &str,
    checks: &[Check],
    gaps: &[Gap],
) -> Result<(), StoreError> {
    let mut written = batches::write_checks(connection, worker_id, checks).await;
    if let Err(StoreError::NoPartition(_)) = written {
        // Late results of a day whose partition nobody had made.
        let days: BTreeSet<_> = checks.iter().map(|check| check.slot.at().date_naive()).collect();
        for day in days {
            store::partitions::ensure(pool, day, day).await?;
        }
        written = batches::write_checks(connection, worker_id, checks).await;
    }
    written?;
    if !gaps.is_empty() {
        batches::write_gaps(connection, gaps).await?;
    }
    Ok(())
}
