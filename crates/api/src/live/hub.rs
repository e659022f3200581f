//! Who looks at what, and the work that keeps it current.

use std::collections::HashMap;
use std::mem::discriminant;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::Utc;
use futures_util::{StreamExt, stream};
use serde_json::{Map, Value};
use store::doorbell::Doorbell;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::bell::Bell;
use super::published::Published;
use super::views::{Page, ViewName, members};
use crate::error::ApiError;
use crate::overview::{Fleet, Sheet};
use crate::state::{PATIENCE, State, within};

/// How long a client may take to subscribe, to take a piece of a frame, and to answer a ping.
pub(crate) const CLIENT_PATIENCE: Duration = Duration::from_secs(10);

/// Between two states of the overview at least.
const LEAST: Duration = Duration::from_millis(250);

/// Between two states at most: ages move although nothing is stored.
const TICK: Duration = Duration::from_secs(1);

/// Between two states of a page at least.
const PAGE_TICK: Duration = Duration::from_millis(500);

/// For how long the overview is kept current after somebody asked for it.
const INTEREST: Duration = Duration::from_secs(30);

/// With a round that takes longer whoever looks is told to wait, before the line seems dead.
pub(super) const SLOW: Duration = Duration::from_secs(4);

/// Pages of a kind that are shown at once, all sockets together.
const MOST_PAGES: usize = 64;

/// Pages that are read side by side.
const MOST_READS: usize = 4;

/// A page is read for a tenth of the time at most.
const REST: u32 = 10;

/// The newest there is of a view.
#[derive(Clone, Default)]
pub(crate) struct Latest {
    pub(crate) published: Option<Arc<Published>>,
    /// How often it could not be computed; grows each second while Postgres is away.
    pub(crate) failures: u64,
    /// The last try was one of them.
    is_away: bool,
    /// Why there is nothing to show: no target has this key.
    pub(crate) missing: Option<String>,
    /// Every target as of the same moment, beside the overview.
    sheet: Option<Arc<Sheet>>,
}

type Channel = watch::Sender<Latest>;

/// Puts a state into a channel, after the one that is there.
fn publish(channel: &Channel, view: ViewName, state: Map<String, Value>, begun: Instant) {
    let before = channel.borrow().published.clone();
    let published = Arc::new(Published::new(view, state, begun, before.as_deref()));
    channel.send_modify(|latest| {
        latest.published = Some(published);
        latest.missing = None;
        latest.is_away = false;
    });
}

/// The hub of one api.
#[derive(Clone)]
pub(crate) struct Hub(Arc<Inner>);

struct Inner {
    overview: Channel,
    pages: Mutex<HashMap<Page, Arc<Channel>>>,
    /// When somebody last asked for the overview over HTTP.
    asked: Mutex<Option<Instant>>,
    wake: Notify,
    wake_pages: Notify,
    sockets: AtomicUsize,
    patience: Duration,
    stop: CancellationToken,
}

/// A place for a socket, given back when dropped.
pub(crate) struct Seat(Hub);

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.0.sockets.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Sockets at once.
const MOST_SOCKETS: usize = 1_000;

impl Hub {
    /// A hub whose clients have so long to subscribe, to take what they are sent and to answer a ping.
    pub(crate) fn new(patience: Duration) -> Self {
        Self(Arc::new(Inner {
            overview: Channel::default(),
            pages: Mutex::default(),
            asked: Mutex::default(),
            wake: Notify::new(),
            wake_pages: Notify::new(),
            sockets: AtomicUsize::new(0),
            patience,
            stop: CancellationToken::new(),
        }))
    }

    /// Ends every socket, and the work.
    pub(crate) fn stop(&self) {
        self.0.stop.cancel();
    }

    pub(super) fn patience(&self) -> Duration {
        self.0.patience
    }

    pub(crate) fn stopped(&self) -> &CancellationToken {
        &self.0.stop
    }

    /// A place for one more socket; `None` when there are too many.
    pub(crate) fn seat(&self) -> Option<Seat> {
        let taken = self.0.sockets.fetch_add(1, Ordering::Relaxed);
        // Given back by dropping it, also where it is not given out.
        let seat = Seat(self.clone());
        (taken < MOST_SOCKETS).then_some(seat)
    }

    /// Looks at a view; `None` where too many are looked at.
    pub(crate) fn subscribe(&self, view: &ViewName) -> Option<watch::Receiver<Latest>> {
        match view {
            ViewName::Overview => {
                let receiver = self.0.overview.subscribe();
                self.0.wake.notify_one();
                Some(receiver)
            }
            ViewName::Page(page) => {
                let mut pages = self.0.pages.lock().unwrap_or_else(PoisonError::into_inner);
                pages.retain(|_, channel| channel.receiver_count() > 0);
                let is_alike = |other: &&Page| discriminant(*other) == discriminant(page);
                if !pages.contains_key(page) && pages.keys().filter(is_alike).count() >= MOST_PAGES {
                    return None;
                }
                let receiver = pages.entry(page.clone()).or_default().subscribe();
                self.0.wake_pages.notify_one();
                Some(receiver)
            }
        }
    }

    /// Shows this as the overview.
    #[cfg(test)]
    pub(super) fn show(&self, state: Map<String, Value>) {
        publish(&self.0.overview, ViewName::Overview, state, Instant::now());
    }

    /// The overview, at most a second and a little old.
    ///
    /// # Errors
    /// 503 while it cannot be computed.
    pub(crate) async fn overview(&self) -> Result<Arc<Published>, ApiError> {
        Ok(self.recent().await?.0)
    }

    /// Every target, at most a second and a little old.
    ///
    /// # Errors
    /// 503 while it cannot be computed.
    pub(crate) async fn sheet(&self) -> Result<Arc<Sheet>, ApiError> {
        Ok(self.recent().await?.1)
    }

    async fn recent(&self) -> Result<(Arc<Published>, Arc<Sheet>), ApiError> {
        let asked = Instant::now();
        *self.0.asked.lock().unwrap_or_else(PoisonError::into_inner) = Some(asked);
        let mut latest = self.0.overview.subscribe();
        let recent = |latest: &Latest| {
            let published = latest.published.clone().filter(|published| published.begun + TICK + LEAST >= asked);
            published.zip(latest.sheet.clone())
        };
        if let Some(recent) = recent(&latest.borrow_and_update()) {
            return Ok(recent);
        }
        if latest.borrow().is_away {
            return Err(ApiError::Unavailable("Postgres cannot be reached"));
        }
        self.0.wake.notify_one();
        within(PATIENCE, async {
            loop {
                let is_over = tokio::select! {
                    changed = latest.changed() => changed.is_err(),
                    () = self.0.stop.cancelled() => true,
                };
                if is_over {
                    return Err(ApiError::Unavailable("the api stops"));
                }
                let latest = latest.borrow_and_update();
                if let Some(recent) = recent(&latest) {
                    return Ok(recent);
                }
                if latest.is_away {
                    return Err(ApiError::Unavailable("Postgres cannot be reached"));
                }
            }
        })
        .await
    }

    /// Keeps every view current until [`Hub::stop`].
    pub(crate) async fn run(&self, state: State) {
        let work = async { tokio::join!(self.keep_overview(&state), self.keep_pages(&state)) };
        tokio::select! {
            _ = work => {}
            () = self.0.stop.cancelled() => {}
        }
    }

    fn is_wanted(&self) -> bool {
        let asked = *self.0.asked.lock().unwrap_or_else(PoisonError::into_inner);
        self.0.overview.receiver_count() > 0 || asked.is_some_and(|asked| asked.elapsed() < INTEREST)
    }

    async fn keep_overview(&self, state: &State) {
        let (mut fleet, mut is_away) = (Fleet::default(), false);
        loop {
            if !self.is_wanted() {
                fleet = Fleet::default();
                self.0.overview.send_modify(|latest| {
                    // Whoever asks next asks Postgres, whatever it was like before.
                    latest.is_away = false;
                    latest.sheet = None;
                });
                self.0.wake.notified().await;
                continue;
            }
            let Err(error) = self.follow(state, &mut fleet, &mut is_away).await else { continue };
            if !is_away {
                warn!("live updates pause: {}", error.detail());
                is_away = true;
            }
            self.0.overview.send_modify(|latest| {
                latest.failures += 1;
                latest.is_away = true;
            });
            sleep(TICK).await;
        }
    }

    /// Follows what is stored while somebody looks.
    async fn follow(&self, state: &State, fleet: &mut Fleet, is_away: &mut bool) -> Result<(), ApiError> {
        // First a connection as any request gets one: it knows about migrations and deadlines.
        drop(state.database().await?);
        let listening = timeout(PATIENCE, Doorbell::listen(&state.pool)).await;
        let bell = Bell::hang(listening.map_err(|_| ApiError::Unavailable("the database did not answer in time"))??);
        // Whatever rang before is missed.
        let mut is_lost = true;
        loop {
            let begun = Instant::now();
            // What rings from here on is read in the next round.
            let heard = bell.take();
            if heard.is_broken {
                return Err(ApiError::Unavailable("the database closed the connection"));
            }
            is_lost |= heard.is_lost;
            let round = async {
                let mut connection = within(PATIENCE, state.database()).await?;
                fleet.follow(&mut connection, (!is_lost).then_some(heard.batches.as_slice())).await?;
                // Read before `now` is taken: as of a moment everything stored before it is in it.
                let now = Utc::now();
                let overview = fleet.overview(&mut connection, now).await?;
                Ok::<_, ApiError>((overview, fleet.sheet(now)))
            };
            let (overview, sheet) = self.patiently(round).await?;
            is_lost = false;
            // Seen with the state that comes next.
            self.0.overview.send_if_modified(|latest| {
                latest.sheet = Some(Arc::new(sheet));
                false
            });
            publish(&self.0.overview, ViewName::Overview, members(&overview), begun);
            if std::mem::take(is_away) {
                info!("live updates go on");
            }
            if !self.is_wanted() {
                return Ok(());
            }
            tokio::select! {
                () = bell.rung() => {}
                () = sleep_until(begun + TICK) => {}
            }
            sleep_until(begun + LEAST).await;
        }
    }

    /// Waits for a round however long it takes, and says now and then that it does.
    async fn patiently<T>(&self, round: impl Future<Output = T>) -> T {
        tokio::pin!(round);
        loop {
            match timeout(SLOW, &mut round).await {
                Ok(done) => return done,
                Err(_) => self.0.overview.send_modify(|latest| latest.failures += 1),
            }
        }
    }

    async fn keep_pages(&self, state: &State) {
        let mut next: HashMap<Page, Instant> = HashMap::new();
        loop {
            let channels: Vec<_> = {
                let mut pages = self.0.pages.lock().unwrap_or_else(PoisonError::into_inner);
                pages.retain(|_, channel| channel.receiver_count() > 0);
                pages.iter().map(|(page, channel)| (page.clone(), Arc::clone(channel))).collect()
            };
            next.retain(|page, _| channels.iter().any(|(known, _)| known == page));
            let now = Instant::now();
            let due = channels.into_iter().filter(|(page, _)| next.get(page).is_none_or(|next| *next <= now));
            let read = stream::iter(due).map(|(page, channel)| async move {
                let begun = Instant::now();
                match within(PATIENCE, page.read(state)).await {
                    Ok(shown) => publish(&channel, ViewName::Page(page.clone()), shown, begun),
                    Err(ApiError::NotFound(message)) => {
                        channel.send_modify(|latest| latest.missing = Some(message));
                    }
                    Err(_) => channel.send_modify(|latest| latest.failures += 1),
                }
                (page, (begun + PAGE_TICK).max(Instant::now() + begun.elapsed() * REST))
            });
            // A few side by side, so that one that waits holds up no other.
            let read: Vec<_> = read.buffer_unordered(MOST_READS).collect().await;
            next.extend(read);
            let soonest = next.values().min().copied();
            tokio::select! {
                () = self.0.wake_pages.notified() => {}
                () = async { match soonest { Some(at) => sleep_until(at).await, None => std::future::pending().await } } => {}
            }
        }
    }
}
