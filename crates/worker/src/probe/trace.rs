//! When things happened during one probe, noted from inside the client.
//!
//! Resolver and connector run within the probe's own task, so a task-local is
//! enough to reach them.

use std::cell::RefCell;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use common::Phases;
use http::StatusCode;
use tokio::time::Instant;

use super::floods::Ends;

tokio::task_local! {
    static CURRENT: RefCell<Option<Trace>>;
}

/// Moments of one probe, over all its hops. Clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Trace(Arc<Mutex<Moments>>);

/// A trace, for as long as its probe lasts.
#[derive(Debug)]
pub(super) struct WeakTrace(Weak<Mutex<Moments>>);

impl WeakTrace {
    pub(super) fn upgrade(&self) -> Option<Trace> {
        self.0.upgrade().map(Trace)
    }
}

#[derive(Debug, Default)]
struct Moments {
    started: Option<Instant>,
    head_at: Option<Instant>,
    code: Option<u16>,
    /// The running hop's socket was connected at.
    connected_at: Option<Instant>,
    /// Of the last connection of its own.
    ends: Option<Ends>,
    floods: bool,
    is_looking_up: bool,
    dns: Option<Duration>,
    connect: Option<Duration>,
    first_byte: Option<Duration>,
}

impl Trace {
    /// Runs the probe so that [`Trace::current`] finds this trace.
    pub(super) fn scope<F: Future>(&self, probe: F) -> impl Future<Output = F::Output> {
        CURRENT.scope(RefCell::new(Some(self.clone())), probe)
    }

    /// The trace of the probe this code runs in. A kept connection may be opened
    /// in the background of another; then there is none.
    pub(super) fn current() -> Option<Self> {
        CURRENT.try_with(|trace| trace.borrow().clone()).ok().flatten()
    }

    fn with<T>(&self, read: impl FnOnce(&mut Moments) -> T) -> T {
        read(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A network operation begins; the first one starts the clock.
    pub(super) fn begins(&self, at: Instant) {
        self.with(|moments| {
            moments.started.get_or_insert(at);
        });
    }

    /// A name lookup begins.
    pub(super) fn looks_up(&self, at: Instant) {
        self.begins(at);
        self.with(|moments| moments.is_looking_up = true);
    }

    /// A name was looked up, or not found.
    pub(super) fn looked_up(&self, took: Duration) {
        self.with(|moments| {
            *moments.dns.get_or_insert_default() += took;
            moments.is_looking_up = false;
        });
    }

    /// Whether a name lookup has no answer yet.
    pub(super) fn is_looking_up(&self) -> bool {
        self.with(|moments| moments.is_looking_up)
    }

    /// What looking up names has taken so far.
    pub(super) fn dns(&self) -> Duration {
        self.with(|moments| moments.dns.unwrap_or_default())
    }

    /// A connection is open, TLS included.
    pub(super) fn connected(&self, at: Instant, took: Duration) {
        self.with(|moments| {
            *moments.connect.get_or_insert_default() += took;
            moments.connected_at = Some(at);
        });
    }

    /// A response head came.
    pub(super) fn head_arrived(&self, status: StatusCode) {
        let now = Instant::now();
        self.with(|moments| {
            moments.head_at = Some(now);
            moments.code = Some(status.as_u16());
            if let Some(connected_at) = moments.connected_at.take() {
                *moments.first_byte.get_or_insert_default() += now.duration_since(connected_at);
            }
        });
    }

    pub(super) fn started(&self) -> Option<Instant> {
        self.with(|moments| moments.started)
    }

    pub(super) fn head_at(&self) -> Option<Instant> {
        self.with(|moments| moments.head_at)
    }

    pub(super) fn code(&self) -> Option<u16> {
        self.with(|moments| moments.code)
    }

    /// Whether the running hop has a connection, so that an error is about the answer.
    pub(super) fn is_connected(&self) -> bool {
        self.with(|moments| moments.connected_at.is_some() || moments.head_at.is_some())
    }

    /// Whether the running hop has a connection of its own, and no answer.
    pub(super) fn is_silent(&self) -> bool {
        self.with(|moments| moments.connected_at.is_some())
    }

    /// The connection that it has now.
    pub(super) fn set_ends(&self, ends: Ends) {
        self.with(|moments| moments.ends = Some(ends));
    }

    pub(super) fn ends(&self) -> Option<Ends> {
        self.with(|moments| moments.ends)
    }

    /// The target sent far more than belongs in front of an answer, and is hung up on.
    pub(super) fn set_floods(&self) {
        self.with(|moments| moments.floods = true);
    }

    pub(super) fn floods(&self) -> bool {
        self.with(|moments| moments.floods)
    }

    pub(super) fn downgrade(&self) -> WeakTrace {
        WeakTrace(Arc::downgrade(&self.0))
    }

    pub(super) fn phases(&self) -> Phases {
        let micros = |time: Option<Duration>| time.map(|time| u32::try_from(time.as_micros()).unwrap_or(u32::MAX));
        self.with(|moments| Phases {
            dns_us: micros(moments.dns),
            connect_us: micros(moments.connect),
            first_byte_us: micros(moments.first_byte),
        })
    }
}
