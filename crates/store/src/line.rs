//! A connection of one's own, and patience with it.
//!
//! A pool shares, tests and returns its connections, all of which take a server that answers. Whoever
//! must never wait for others, and must get rid of a connection at once when the server at its other
//! end is gone, has a line: it is hung up by dropping it, which asks nobody.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use sqlx::{ConnectOptions, PgConnection, PgPool};
use tokio::time::{Instant, sleep_until, timeout};

use crate::StoreError;

/// A connection takes no longer to open.
const CONNECT_DEADLINE: Duration = Duration::from_secs(3);

/// A server that says nothing for so long, whatever it was asked, is gone.
pub const SILENCE: Duration = Duration::from_secs(5);

/// One connection, opened when it is needed.
#[derive(Debug)]
pub struct Line {
    pool: PgPool,
    connection: Option<PgConnection>,
}

impl Line {
    /// A line to where the pool leads, with the same settings.
    pub fn to(pool: &PgPool) -> Self {
        Self { pool: pool.clone(), connection: None }
    }

    /// The connection, to be given back with [`Line::put`] when all went well. Whoever does not, also
    /// because he was cut off, has hung up, with all that was begun on it.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the server cannot be reached.
    pub async fn take(&mut self) -> Result<PgConnection, StoreError> {
        if let Some(connection) = self.connection.take() {
            return Ok(connection);
        }
        let options = self.pool.connect_options();
        let opened = timeout(CONNECT_DEADLINE, options.connect()).await;
        Ok(opened.map_err(|_| StoreError::deadline_passed())??)
    }

    /// Keeps the connection for the next time.
    pub fn put(&mut self, connection: PgConnection) {
        self.connection = Some(connection);
    }
}

/// Notes that something has happened.
struct Bell {
    rung: AtomicBool,
    waker: AtomicWaker,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.store(true, Ordering::Release);
        self.waker.wake();
    }
}

/// Waits for `work`, for as long as something wakes it at least every `patience`; `None` when nothing
/// does. So each answer of a server has this deadline, however many of them the work needs.
pub async fn unless_silent<T>(patience: Duration, work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    let mut silence = pin!(sleep_until(Instant::now() + patience));
    let bell = Arc::new(Bell { rung: AtomicBool::new(true), waker: AtomicWaker::new() });
    let inner = Waker::from(Arc::clone(&bell));
    std::future::poll_fn(move |context| {
        bell.waker.register(context.waker());
        // Only what wakes the work itself is a sign of life; our own alarm is not.
        if bell.rung.swap(false, Ordering::AcqRel) {
            if let Poll::Ready(done) = work.as_mut().poll(&mut Context::from_waker(&inner)) {
                return Poll::Ready(Some(done));
            }
            silence.as_mut().reset(Instant::now() + patience);
        }
        silence.as_mut().poll(context).map(|()| None)
    })
    .await
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn work_may_take_as_long_as_it_likes_while_something_happens() {
        let patience = Duration::from_secs(5);
        let slow = async {
            for _ in 0..10 {
                sleep(Duration::from_secs(4)).await;
            }
            7
        };
        assert_eq!(unless_silent(patience, slow).await, Some(7));
        let begun = Instant::now();
        let dead = async {
            sleep(Duration::from_secs(4)).await;
            std::future::pending::<()>().await;
        };
        assert_eq!(unless_silent(patience, dead).await, None);
        assert_eq!(begun.elapsed(), Duration::from_secs(9));
    }
}
