//! The hub: what is shown live, computed once and handed to everyone who looks.
//!
//! A notification is a doorbell. On it, at most four times a second, the hub brings
//! each view that somebody looks at up to date, serialises it once and puts it into a
//! channel that holds the latest state only: a client has no queue of its own here, so
//! one that is slow holds up nobody and costs nothing. While nobody looks, nothing is read.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use chrono::Utc;
use serde::Serialize;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use store::doorbell::{Doorbell, Ring};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::error::ApiError;
use crate::overview::Fleet;
use crate::routes::targets;
use crate::state::{PATIENCE, State, within};

/// Between two states of the overview at least.
const LEAST: Duration = Duration::from_millis(250);

/// Between two states at most: ages move although nothing is stored.
const TICK: Duration = Duration::from_secs(1);

/// For how long the overview is kept current after somebody asked for it.
const INTEREST: Duration = Duration::from_secs(30);

/// Deltas that are kept for who fell behind.
const KEPT: usize = 16;

/// Targets that are shown at once, all sockets together.
const MOST_TARGETS: usize = 64;

/// A target is read for a tenth of the time at most.
const REST: u32 = 10;

/// Batches to be read at most; with more it is cheaper to begin anew.
const MOST_BATCHES: usize = 200;

/// Lists whose rows travel one by one, and the member that names a row.
const ROWS: [(&str, &str); 3] = [("groups", "name"), ("targets", "key"), ("windows", "name")];

/// A state of a view.
pub(crate) struct Published {
    pub(crate) seq: u64,
    begun: Instant,
    view: ViewName,
    state: Map<String, Value>,
    /// The same as it is sent.
    body: OnceLock<(Bytes, String)>,
    frame: OnceLock<Bytes>,
    /// The newest deltas, the oldest first; each leads to the next, the last to this state.
    deltas: VecDeque<Delta>,
}

/// What leads from one state to another.
#[derive(Clone)]
struct Delta {
    base: u64,
    frame: Bytes,
}

/// What is looked at.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum ViewName {
    Overview,
    Target(String),
}

impl ViewName {
    /// The members that name it in a frame, with the comma before.
    fn members(&self) -> String {
        match self {
            Self::Overview => r#","view":"overview""#.to_owned(),
            Self::Target(key) => format!(r#","view":"target","key":{}"#, Value::from(key.as_str())),
        }
    }
}

impl Published {
    fn new(view: ViewName, state: Map<String, Value>, begun: Instant, before: Option<&Self>) -> Self {
        let seq = match before {
            Some(before) => before.seq + 1,
            // Milliseconds and a random part: no other start of this or another api counts from here,
            // and four states a second never catch up with the clock.
            None => {
                let now = u64::try_from(Utc::now().timestamp_millis()).unwrap_or(0);
                (now << 10) | u64::from(rand::random::<u16>() & 1023)
            }
        };
        let mut deltas = VecDeque::new();
        if let Some(before) = before {
            deltas.extend(before.deltas.iter().skip(before.deltas.len().saturating_sub(KEPT - 1)).cloned());
            let Changes { set, rows } = changes(&before.state, &state);
            let frame = format!(
                r#"{{"type":"delta"{},"seq":{seq},"base":{},"set":{},"rows":{}}}"#,
                view.members(),
                before.seq,
                Value::Object(set),
                Value::Object(rows),
            );
            deltas.push_back(Delta { base: before.seq, frame: frame.into() });
        }
        Self { seq, begun, view, state, body: OnceLock::new(), frame: OnceLock::new(), deltas }
    }

    /// The state as an answer, and its entity tag.
    pub(crate) fn body(&self) -> &(Bytes, String) {
        self.body.get_or_init(|| {
            let body = serde_json::to_vec(&self.state).unwrap_or_default();
            let digest = Sha256::digest(&body);
            let tag: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
            (body.into(), format!("\"{tag}\""))
        })
    }

    /// What brings a client that holds the state `from` here, or one that holds none.
    pub(crate) fn frames(&self, from: Option<u64>) -> Vec<Bytes> {
        if from == Some(self.seq) {
            return Vec::new();
        }
        let first = self.deltas.iter().position(|delta| Some(delta.base) == from);
        match first {
            Some(first) => self.deltas.iter().skip(first).map(|delta| delta.frame.clone()).collect(),
            None => vec![self.snapshot()],
        }
    }

    fn snapshot(&self) -> Bytes {
        let frame = self.frame.get_or_init(|| {
            let mut frame =
                format!(r#"{{"type":"snapshot"{},"seq":{},"data":"#, self.view.members(), self.seq).into_bytes();
            frame.extend_from_slice(&self.body().0);
            frame.push(b'}');
            frame.into()
        });
        frame.clone()
    }
}

struct Changes {
    set: Map<String, Value>,
    rows: Map<String, Value>,
}

/// What differs between two states: whole members, or rows of those lists that have them.
fn changes(before: &Map<String, Value>, after: &Map<String, Value>) -> Changes {
    let (mut set, mut rows) = (Map::new(), Map::new());
    for (name, value) in after {
        let old = before.get(name);
        if old == Some(value) {
            continue;
        }
        let by = ROWS.iter().find(|(list, _)| list == name).map(|(_, by)| *by);
        match (by, old, value) {
            (Some(by), Some(Value::Array(old)), Value::Array(new)) => {
                let named = |list: &[Value]| -> HashMap<String, Value> {
                    list.iter().map(|row| (row[by].as_str().unwrap_or_default().to_owned(), row.clone())).collect()
                };
                let (old, new_names) = (named(old), named(new));
                let put: Vec<_> = new
                    .iter()
                    .filter(|row| old.get(row[by].as_str().unwrap_or_default()) != Some(row))
                    .cloned()
                    .collect();
                let mut gone: Vec<_> = old.keys().filter(|name| !new_names.contains_key(*name)).cloned().collect();
                gone.sort_unstable();
                rows.insert(name.clone(), json!({ "put": put, "gone": gone }));
            }
            _ => {
                set.insert(name.clone(), value.clone());
            }
        }
    }
    Changes { set, rows }
}

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
}

type Channel = watch::Sender<Latest>;

/// Puts a state into a channel, after the one that is there.
fn publish(channel: &Channel, view: ViewName, data: &impl Serialize, begun: Instant) {
    let Ok(Value::Object(state)) = serde_json::to_value(data) else { return };
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
    targets: Mutex<HashMap<String, Arc<Channel>>>,
    /// When somebody last asked for the overview over HTTP.
    asked: Mutex<Option<Instant>>,
    wake: Notify,
    wake_targets: Notify,
    sockets: AtomicUsize,
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
    pub(crate) fn new() -> Self {
        Self(Arc::new(Inner {
            overview: Channel::default(),
            targets: Mutex::default(),
            asked: Mutex::default(),
            wake: Notify::new(),
            wake_targets: Notify::new(),
            sockets: AtomicUsize::new(0),
            stop: CancellationToken::new(),
        }))
    }

    /// Ends every socket, and the work.
    pub(crate) fn stop(&self) {
        self.0.stop.cancel();
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
            ViewName::Target(key) => {
                let mut targets = self.0.targets.lock().unwrap_or_else(PoisonError::into_inner);
                targets.retain(|_, channel| channel.receiver_count() > 0);
                if targets.len() >= MOST_TARGETS && !targets.contains_key(key) {
                    return None;
                }
                let receiver = targets.entry(key.clone()).or_default().subscribe();
                self.0.wake_targets.notify_one();
                Some(receiver)
            }
        }
    }

    /// The overview, at most a second and a little old.
    ///
    /// # Errors
    /// 503 while it cannot be computed.
    pub(crate) async fn overview(&self) -> Result<Arc<Published>, ApiError> {
        let asked = Instant::now();
        *self.0.asked.lock().unwrap_or_else(PoisonError::into_inner) = Some(asked);
        let mut latest = self.0.overview.subscribe();
        let failures = latest.borrow_and_update().failures;
        let is_recent =
            |latest: &Latest| latest.published.clone().filter(|published| published.begun + TICK + LEAST >= asked);
        if let Some(published) = is_recent(&latest.borrow()) {
            return Ok(published);
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
                if let Some(published) = is_recent(&latest) {
                    return Ok(published);
                }
                if latest.failures != failures {
                    return Err(ApiError::Unavailable("Postgres cannot be reached"));
                }
            }
        })
        .await
    }

    /// Keeps every view current until [`Hub::stop`].
    pub(crate) async fn run(&self, state: State) {
        let work = async { tokio::join!(self.keep_overview(&state), self.keep_targets(&state)) };
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
        let mut is_away = false;
        loop {
            if !self.is_wanted() {
                // Whoever asks next asks Postgres, whatever it was like before.
                self.0.overview.send_modify(|latest| latest.is_away = false);
                self.0.wake.notified().await;
                continue;
            }
            let Err(error) = self.follow(state, &mut is_away).await else { continue };
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
    async fn follow(&self, state: &State, is_away: &mut bool) -> Result<(), ApiError> {
        // First a connection as any request gets one: it knows about migrations and deadlines.
        drop(state.database().await?);
        let listening = timeout(PATIENCE, Doorbell::listen(&state.pool)).await;
        let bell = Bell::hang(listening.map_err(|_| ApiError::Unavailable("the database did not answer in time"))??);
        let mut fleet = None;
        loop {
            let begun = Instant::now();
            // What rings from here on is read in the next round.
            let heard = bell.take();
            if heard.is_broken {
                return Err(ApiError::Unavailable("the database closed the connection"));
            }
            let overview = within(PATIENCE, async {
                let mut connection = state.database().await?;
                let kept = match fleet.take().filter(|_| !heard.is_lost) {
                    Some(fleet) => Fleet::follow(fleet, &mut connection, &heard.batches).await?,
                    None => None,
                };
                // Read before `now` is taken: as of a moment everything stored before it is in it.
                let now = Utc::now();
                let mut kept = match kept {
                    Some(kept) => kept,
                    None => Fleet::load(&mut connection, now).await?,
                };
                let overview = kept.overview(&mut connection, now).await?;
                fleet = Some(kept);
                Ok(overview)
            })
            .await?;
            publish(&self.0.overview, ViewName::Overview, &overview, begun);
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

    async fn keep_targets(&self, state: &State) {
        let mut next: HashMap<String, Instant> = HashMap::new();
        loop {
            let channels: Vec<_> = {
                let mut targets = self.0.targets.lock().unwrap_or_else(PoisonError::into_inner);
                targets.retain(|_, channel| channel.receiver_count() > 0);
                targets.iter().map(|(key, channel)| (key.clone(), Arc::clone(channel))).collect()
            };
            next.retain(|key, _| channels.iter().any(|(known, _)| known == key));
            for (key, channel) in &channels {
                let begun = Instant::now();
                if next.get(key).is_some_and(|next| *next > begun) {
                    continue;
                }
                let detail =
                    within(PATIENCE, async { targets::detail(&mut *state.database().await?, key, Utc::now()).await });
                match detail.await {
                    Ok(detail) => publish(channel, ViewName::Target(key.clone()), &detail, begun),
                    Err(ApiError::NotFound(message)) => {
                        channel.send_modify(|latest| latest.missing = Some(message));
                    }
                    Err(_) => channel.send_modify(|latest| latest.failures += 1),
                }
                next.insert(key.clone(), (begun + TICK).max(Instant::now() + begun.elapsed() * REST));
            }
            let soonest = next.values().min().copied();
            tokio::select! {
                () = self.0.wake_targets.notified() => {}
                () = async { match soonest { Some(at) => sleep_until(at).await, None => std::future::pending().await } } => {}
            }
        }
    }
}

/// What was heard since the last look.
#[derive(Default)]
struct Heard {
    batches: Vec<i64>,
    is_lost: bool,
    is_broken: bool,
}

/// A doorbell that somebody sits beside, so that none of its rings is lost half heard.
struct Bell {
    heard: Arc<(Mutex<Heard>, Notify)>,
    task: tokio::task::JoinHandle<()>,
}

impl Bell {
    fn hang(mut doorbell: Doorbell) -> Self {
        let heard: Arc<(Mutex<Heard>, Notify)> = Arc::default();
        let shared = Arc::clone(&heard);
        let task = tokio::spawn(async move {
            loop {
                let ring = doorbell.next().await;
                let is_broken = ring.is_err();
                {
                    let mut heard = shared.0.lock().unwrap_or_else(PoisonError::into_inner);
                    match ring {
                        Ok(Ring::Batch(id)) if heard.batches.len() < MOST_BATCHES => heard.batches.push(id),
                        Ok(Ring::Incident) => {}
                        Ok(Ring::Batch(_) | Ring::Lost) => heard.is_lost = true,
                        Err(_) => heard.is_broken = true,
                    }
                }
                shared.1.notify_one();
                if is_broken {
                    return;
                }
            }
        });
        Self { heard, task }
    }

    fn take(&self) -> Heard {
        std::mem::take(&mut *self.heard.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn rung(&self) {
        self.heard.1.notified().await;
    }
}

impl Drop for Bell {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use chrono::{DateTime, TimeDelta};
    use common::{Check, Outcome, Phases, Slot, TargetId};
    use store::testing::TestDb;

    use super::*;

    const NOON: &str = "2026-11-21T12:00:00Z";

    fn map(value: Value) -> Map<String, Value> {
        value.as_object().cloned().unwrap_or_default()
    }

    #[test]
    fn only_rows_that_differ_travel() {
        let before =
            map(json!({"a": 1, "targets": [{"key": "x", "n": 1}, {"key": "y", "n": 1}, {"key": "z"}], "groups": null}));
        let after =
            map(json!({"a": 1, "targets": [{"key": "x", "n": 2}, {"key": "y", "n": 1}, {"key": "w"}], "groups": []}));
        let Changes { set, rows } = changes(&before, &after);
        assert_eq!(Value::Object(set), json!({"groups": []}), "a list that was none is a whole one");
        assert_eq!(
            Value::Object(rows),
            json!({"targets": {"put": [{"key": "x", "n": 2}, {"key": "w"}], "gone": ["z"]}})
        );
    }

    #[test]
    fn who_is_a_little_behind_gets_deltas_and_who_is_far_behind_a_snapshot() {
        let mut states = vec![Published::new(ViewName::Overview, map(json!({"n": 0})), Instant::now(), None)];
        for n in 1..=30 {
            let next = Published::new(ViewName::Overview, map(json!({ "n": n })), Instant::now(), states.last());
            states.push(next);
        }
        let newest = &states[30];
        assert_eq!(newest.frames(Some(newest.seq)).len(), 0);
        assert_eq!(newest.frames(Some(states[27].seq)).len(), 3);
        assert_eq!(newest.frames(Some(states[30 - KEPT].seq)).len(), KEPT);
        for stranger in [Some(states[30 - KEPT - 1].seq), Some(7), None] {
            let frames = newest.frames(stranger);
            assert!(frames.len() == 1 && frames[0].starts_with(br#"{"type":"snapshot""#), "{stranger:?}");
        }
    }

    fn check(target: i32, at: DateTime<Utc>, outcome: Outcome) -> Check {
        let at_us = at.timestamp_micros();
        Check {
            target_id: TargetId(target),
            slot: Slot(at_us),
            started_us: outcome.is_verdict().then_some(at_us + 250),
            outcome,
            code: match outcome {
                Outcome::Up | Outcome::Degraded => Some(200),
                Outcome::Down(common::Cause::Status) => Some(503),
                _ => None,
            },
            elapsed_us: outcome.is_verdict().then_some(if outcome == Outcome::Degraded { 812_000 } else { 12_345 }),
            phases: Phases::default(),
        }
    }

    /// Four targets at noon: one fine, one down since a change, one slow, one never heard of.
    async fn scenario(db: &TestDb, noon: DateTime<Utc>) {
        for sql in [
            "insert into target (key, name, url, interval_ms, timeout_ms, degraded_ms, expect_status, source, due_since)
             values ('home', 'home', 'https://example.org/', 10000, 5000, 500, '{200-299}', 'file', '2026-11-21T11:30:00Z'),
                    ('pay', 'Payments', 'https://pay.example.org/', 10000, 5000, 500, '{200-299}', 'file', '2026-11-21T11:30:00Z'),
                    ('quiet', 'quiet', 'https://quiet.example.org/', 10000, 5000, 500, '{200-299}', 'file', '2026-11-21T11:59:55Z'),
                    ('search', 'Search', 'https://search.example.org/', 10000, 5000, 500, '{200-299}', 'file', '2026-11-21T11:30:00Z')",
            "insert into service (name) values ('pay')",
            "insert into endpoint (service_id, verb, resource, target_id)
             select service_id, 'GET', 'pay', (select target_id from target where key = 'pay') from service where name = 'pay'",
            "insert into batch (kind, first_at, last_at, rows) values ('change', now(), now(), 1)",
            "insert into change (service_id, commit_id, author, at, source, batch_id, ordinal)
             select service_id, '6d0080a', 'kim@example.org', '2026-11-21T11:56:30Z', 'deploy', 1, 0 from service",
            "insert into incident (endpoint_id, started_at, started_ns, breaking_change_id, good_count, total_count)
             select endpoint_id, '2026-11-21T11:57:38.00025Z', 1795262258000250000, 1, 26, 29 from endpoint",
            "insert into worker (worker_id, started_at, seen_at, version, lag_us, missed, unknown, config_digest)
             values ('w', now(), greatest(now(), '2026-11-21T12:00:00Z'), '1', 1500, 1, 1, 1)",
            "insert into cursor (reader, xid, batch_id) values ('incidents', '9000000000000', 0)",
        ] {
            sqlx::query(sql).execute(&db.pool).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        }
        store::partitions::ensure(&db.pool, noon.date_naive(), noon.date_naive()).await.unwrap();
        let mut checks = Vec::new();
        for n in 1..=180 {
            let ago = |offset: i64| noon - TimeDelta::seconds(10 * n) + TimeDelta::seconds(offset);
            checks.push(check(1, ago(8), if n == 100 { Outcome::Missed } else { Outcome::Up }));
            let broken = if n % 3 == 0 { common::Cause::Status } else { common::Cause::Refused };
            checks.push(check(2, ago(5), if n <= 17 { Outcome::Down(broken) } else { Outcome::Up }));
            checks.push(check(
                4,
                ago(2),
                match n {
                    1..=3 => Outcome::Degraded,
                    50 => Outcome::Unknown,
                    _ => Outcome::Up,
                },
            ));
        }
        let mut connection = db.pool.acquire().await.unwrap();
        store::batches::write_checks(&mut connection, "w", &checks).await.unwrap();
    }

    async fn published(db: &TestDb, now: DateTime<Utc>, before: Option<&Published>) -> Published {
        let mut connection = db.pool.acquire().await.unwrap();
        let mut fleet = Fleet::load(&mut connection, now).await.unwrap();
        let overview = fleet.overview(&mut connection, now).await.unwrap();
        let state = map(serde_json::to_value(overview).unwrap());
        Published::new(ViewName::Overview, state, Instant::now(), before)
    }

    #[tokio::test]
    async fn contract() {
        let db = TestDb::new().await;
        let noon: DateTime<Utc> = NOON.parse().unwrap();
        scenario(&db, noon).await;
        let mut first = published(&db, noon, None).await;
        first.seq = 1_838_348_697_600_001;
        let mut connection = db.pool.acquire().await.unwrap();
        let later = noon + TimeDelta::milliseconds(500);
        store::batches::write_checks(&mut connection, "w", &[check(4, later, Outcome::Up)]).await.unwrap();
        let second = published(&db, noon + TimeDelta::seconds(1), Some(&first)).await;

        let parsed = |frame: &[u8]| serde_json::from_slice::<Value>(frame).unwrap();
        let missing = json!({"type": "error", "code": "not_found", "message": "no target has the key \"hone\""});
        for (name, real) in [
            ("overview.json", parsed(&first.body().0)),
            ("snapshot.json", parsed(&first.frames(None)[0])),
            ("delta.json", parsed(&second.frames(Some(first.seq))[0])),
            ("error.json", missing),
        ] {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../dashboard/contract").join(name);
            if std::env::var_os("CONTRACT").is_some_and(|what| what == "write") {
                std::fs::write(&path, format!("{real:#}\n")).unwrap();
            }
            let written = parsed(&std::fs::read(&path).unwrap());
            assert_eq!(written, real, "{name} is not what the api answers: `make contract` writes it anew");
        }
    }
}
