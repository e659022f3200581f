//! Warnings that would otherwise come again and again.

use std::time::Duration;

use tokio::time::Instant;

/// What goes on is told again after this time.
pub(crate) const SAY_EVERY: Duration = Duration::from_secs(10);

/// Lets something be said at once, and again only after [`SAY_EVERY`].
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Seldom(Option<Instant>);

impl Seldom {
    /// Not at once either, but so much later.
    pub(crate) fn after(grace: Duration) -> Self {
        Self(Some(Instant::now() + grace))
    }

    /// Whether it may be said now; then it is taken as said.
    pub(crate) fn is_due(&mut self) -> bool {
        let now = Instant::now();
        let is_due = self.0.is_none_or(|next| now >= next);
        if is_due {
            self.0 = Some(now + SAY_EVERY);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read, Seek};
    use std::sync::Arc;

    use common::{Check, SHARDS, Shard, Slot, TargetId};
    use store::pool::{self, PoolSettings};
    use tokio::sync::watch;
    use tokio::time::{advance, sleep, timeout};
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::incidents;
    use crate::leases::Standing;
    use crate::plan::Tenure;
    use crate::recorder::{Intake, Recorder};

    /// How often each of `what` is logged within 25 s of time that stands still while anything is done.
    async fn told(what: &[&str], work: impl Future<Output = ()>) -> Vec<usize> {
        let file = Arc::new(tempfile::tempfile().unwrap());
        let log = tracing_subscriber::fmt().with_writer(Arc::<File>::clone(&file)).finish();
        let capture = tracing::subscriber::set_default(log);
        let _ = timeout(Duration::from_secs(25), work).await;
        drop(capture);
        let (mut file, mut text) = (&*file, String::new());
        file.rewind().unwrap();
        file.read_to_string(&mut text).unwrap();
        what.iter().map(|what| text.matches(what).count()).collect()
    }

    /// Nobody listens there.
    fn nowhere() -> store::PgPool {
        pool::lazy("postgres://nobody@127.0.0.1:1/nothing", &PoolSettings::WORKER).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn results_that_are_given_up_and_a_postgres_that_is_away_are_told_every_ten_seconds() {
        let intake = Arc::new(Intake::new(10));
        let recorder = Recorder {
            pool: nowhere(),
            worker_id: "w".to_owned(),
            intake: Arc::clone(&intake),
            stats: Arc::default(),
            keeper: None,
        };
        let results = async {
            for number in 0.. {
                intake.push(Check::missed(TargetId(1), Slot(number * 100_000)));
                sleep(Duration::from_millis(100)).await;
            }
        };
        let work = async {
            tokio::join!(recorder.run(CancellationToken::new(), Duration::ZERO), results);
        };
        assert_eq!(told(&["gave up the oldest", "cannot write results"], work).await, [3, 3]);
    }

    #[tokio::test(start_paused = true)]
    async fn batches_that_cannot_be_followed_are_told_every_ten_seconds() {
        let tenure = Tenure { shards: (0..SHARDS).map(Shard).collect(), ..Tenure::default() };
        let (_standing, told_to_us) = watch::channel(Standing { tenure, ..Standing::default() });
        let work = incidents::run(nowhere(), told_to_us, CancellationToken::new());
        // Of six rounds, which fail after some seconds each.
        assert_eq!(told(&["cannot follow the batches"], work).await, [2]);
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_said_at_once_and_again_ten_seconds_after_it_was_said() {
        let (mut seldom, mut patient) = (Seldom::default(), Seldom::after(Duration::from_secs(1)));
        let mut said = Vec::new();
        for second in 0..35 {
            if seldom.is_due() {
                said.push(("at once", second));
            }
            if patient.is_due() {
                said.push(("after", second));
            }
            advance(Duration::from_secs(1)).await;
        }
        let at = |who, seconds: [i32; 4]| seconds.map(|second| (who, second));
        let mut expected = [at("at once", [0, 10, 20, 30]), at("after", [1, 11, 21, 31])].concat();
        expected.sort_by_key(|(_, second)| *second);
        assert_eq!(said, expected);
    }
}
