//! Incidents: what the folder reads and saves, and what people ask.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use common::TargetId;
use futures_util::TryStreamExt;
use sqlx::PgConnection;

use crate::StoreError;
use crate::cursors::Batch;

/// The channel on which an incident that opened or closed is announced by its id.
pub const CHANNEL: &str = "lookout_incident";

/// The name of the folder's cursor.
pub const READER: &str = "incidents";

/// What happened, as the folder takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A check of a target.
    Check {
        /// Which target.
        target_id: TargetId,
        /// When it started, nanoseconds since the epoch.
        at_ns: i64,
        /// Up or degraded.
        ok: bool,
    },
    /// A request that was posted.
    Access {
        /// To which endpoint.
        endpoint_id: i32,
        /// When, nanoseconds since the epoch.
        at_ns: i64,
        /// Not a server's failure.
        ok: bool,
    },
    /// A change that was posted.
    Change {
        /// Of which service.
        service_id: i32,
        /// Row id.
        change_id: i64,
    },
}

fn nanos(at: DateTime<Utc>) -> i64 {
    at.timestamp_micros().saturating_mul(1_000)
}

/// The moment a number of nanoseconds stands for, cut to microseconds.
fn moment(ns: i64) -> DateTime<Utc> {
    common::target::micros_to_utc(ns / 1_000)
}

/// Everything in these batches, in the order in which it counts: batch by batch;
/// checks by their start, posted events by their place in the post.
///
/// # Errors
/// Whatever Postgres reports.
pub async fn events(connection: &mut PgConnection, batches: &[Batch]) -> Result<Vec<Event>, StoreError> {
    let (Some(first), Some(last)) =
        (batches.iter().map(|batch| batch.first_at).min(), batches.iter().map(|batch| batch.last_at).max())
    else {
        return Ok(Vec::new());
    };
    let place: HashMap<i64, usize> =
        batches.iter().enumerate().map(|(place, batch)| (batch.position.batch_id, place)).collect();
    let ids: Vec<i64> = batches.iter().map(|batch| batch.position.batch_id).collect();
    let mut events: Vec<((usize, i64, i64), Event)> = Vec::new();

    // Index: check_result_time, or check_result_batch where a late batch reaches far back.
    let checks = sqlx::query!(
        r#"select batch_id, target_id as "target_id: TargetId", coalesce(started_at, slot_at) as "at!",
                  outcome <> 'down' as "ok!"
           from check_result
           where slot_at between $2 and $3 and batch_id = any($1) and outcome in ('up', 'degraded', 'down')"#,
        &ids,
        first,
        last,
    )
    .fetch_all(&mut *connection)
    .await?;
    events.extend(checks.into_iter().map(|row| {
        let at_ns = nanos(row.at);
        let event = Event::Check { target_id: row.target_id, at_ns, ok: row.ok };
        ((place[&row.batch_id], at_ns, i64::from(row.target_id.0)), event)
    }));

    let written: Vec<DateTime<Utc>> = batches.iter().map(|batch| batch.created_at).collect();
    // Index: access_event_batch; the days come from when the batches were written.
    let accesses = sqlx::query!(
        "select batch_id, endpoint_id, at_ns, status, ordinal from access_event
         where received_at = any($2) and batch_id = any($1)",
        &ids,
        &written,
    )
    .fetch_all(&mut *connection)
    .await?;
    events.extend(accesses.into_iter().map(|row| {
        let event = Event::Access { endpoint_id: row.endpoint_id, at_ns: row.at_ns, ok: row.status < 500 };
        ((place[&row.batch_id], i64::from(row.ordinal), 0), event)
    }));

    // Index: change_batch_ordinal_unique.
    let changes =
        sqlx::query!("select batch_id, service_id, change_id, ordinal from change where batch_id = any($1)", &ids)
            .fetch_all(connection)
            .await?;
    events.extend(changes.into_iter().map(|row| {
        let event = Event::Change { service_id: row.service_id, change_id: row.change_id };
        ((place[&row.batch_id], i64::from(row.ordinal), 0), event)
    }));

    events.sort_by_key(|(order, _)| *order);
    Ok(events.into_iter().map(|(_, event)| event).collect())
}

/// Tells `take` the events inside the windows of these endpoints, each window
/// reaching back from the newest event. Rows of the batches `except` are left out.
/// In no order.
///
/// # Errors
/// Whatever Postgres reports.
pub async fn recall(
    connection: &mut PgConnection,
    endpoints: &[i32],
    except: &[i64],
    mut take: impl FnMut(Event),
) -> Result<(), StoreError> {
    // Index: check_result_pkey, backwards for the newest. A check starts within an
    // interval of its slot. `offset 0` keeps each window a question of its own.
    let mut checks = sqlx::query!(
        r#"select e.target_id as "target_id!: TargetId", coalesce(c.started_at, c.slot_at) as "at!",
                  c.outcome <> 'down' as "ok!"
           from endpoint e
           join target t using (target_id)
           cross join lateral (
               select coalesce(n.started_at, n.slot_at) as at from check_result n
               where n.target_id = e.target_id and n.outcome in ('up', 'degraded', 'down') and n.batch_id <> all($2)
               order by n.slot_at desc limit 1
           ) newest
           cross join lateral (
               select w.started_at, w.slot_at, w.outcome from check_result w
               where w.target_id = e.target_id and w.outcome in ('up', 'degraded', 'down') and w.batch_id <> all($2)
                 and w.slot_at > newest.at - make_interval(secs => least(e.window_ns / 1e9, 3e9) + t.interval_ms / 1e3)
                 and coalesce(w.started_at, w.slot_at) > newest.at - make_interval(secs => least(e.window_ns / 1e9, 3e9))
               offset 0
           ) c
           where e.endpoint_id = any($1)"#,
        endpoints,
        except,
    )
    .fetch(&mut *connection);
    let mut taken = 0;
    while let Some(row) = checks.try_next().await? {
        take(Event::Check { target_id: row.target_id, at_ns: nanos(row.at), ok: row.ok });
        now_and_then(&mut taken).await;
    }
    drop(checks);
    // Index: access_event_time.
    let mut accesses = sqlx::query!(
        r#"select e.endpoint_id, a.at_ns, a.status
           from endpoint e
           cross join lateral (
               select n.at_ns from access_event n
               where n.endpoint_id = e.endpoint_id and n.batch_id <> all($2)
               order by n.at_ns desc limit 1
           ) newest
           cross join lateral (
               select w.at_ns, w.status from access_event w
               where w.endpoint_id = e.endpoint_id and w.batch_id <> all($2) and w.at_ns > newest.at_ns - e.window_ns
               offset 0
           ) a
           where e.endpoint_id = any($1)"#,
        endpoints,
        except,
    )
    .fetch(connection);
    while let Some(row) = accesses.try_next().await? {
        take(Event::Access { endpoint_id: row.endpoint_id, at_ns: row.at_ns, ok: row.status < 500 });
        now_and_then(&mut taken).await;
    }
    Ok(())
}

/// Lets others run: rows that are there already come without waiting for anything.
async fn now_and_then(taken: &mut u32) {
    *taken += 1;
    if taken.is_multiple_of(1_000) {
        tokio::task::yield_now().await;
    }
}

/// The newest change of each service, in the order of the batches, without those `except`.
///
/// # Errors
/// Whatever Postgres reports.
pub async fn newest_changes(connection: &mut PgConnection, except: &[i64]) -> Result<Vec<(i32, i64)>, StoreError> {
    let rows = sqlx::query!(
        "select distinct on (c.service_id) c.service_id, c.change_id
         from change c left join batch b using (batch_id)
         where c.batch_id <> all($1)
         order by c.service_id, b.xid desc nulls last, c.batch_id desc, c.ordinal desc",
        except,
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|row| (row.service_id, row.change_id)).collect())
}

/// An incident that has not ended, as the folder needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Open {
    /// Of which endpoint.
    pub endpoint_id: i32,
    /// When it began, nanoseconds since the epoch.
    pub started_ns: i64,
    /// The newest change before it.
    pub breaking_change_id: Option<i64>,
}

/// All incidents that are open.
///
/// # Errors
/// Whatever Postgres reports.
pub async fn open(connection: &mut PgConnection) -> Result<Vec<Open>, StoreError> {
    // Index: incident_open.
    Ok(sqlx::query_as!(Open, "select endpoint_id, started_ns, breaking_change_id from incident where ended_at is null")
        .fetch_all(connection)
        .await?)
}

/// What the folder found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finding {
    /// An incident began.
    Opened {
        /// Of which endpoint.
        endpoint_id: i32,
        /// When, nanoseconds since the epoch.
        at_ns: i64,
        /// The newest change before it.
        breaking_change_id: Option<i64>,
        /// Good events in the window.
        good: i64,
        /// All events in the window.
        total: i64,
    },
    /// The open incident ended.
    Closed {
        /// Of which endpoint.
        endpoint_id: i32,
        /// When, nanoseconds since the epoch.
        at_ns: i64,
        /// The newest change before that.
        fixing_change_id: Option<i64>,
    },
}

/// Saves what was found, in its order, and announces each incident. Returns the ids of the incidents.
///
/// # Errors
/// Whatever Postgres reports.
pub async fn save(connection: &mut PgConnection, findings: &[Finding]) -> Result<Vec<i64>, StoreError> {
    let mut ids = Vec::with_capacity(findings.len());
    // One by one: they are rare, and one endpoint may open and close more than once.
    for finding in findings {
        let incident_id = match *finding {
            Finding::Opened { endpoint_id, at_ns, breaking_change_id, good, total } => {
                sqlx::query_scalar!(
                    "insert into incident (endpoint_id, started_at, started_ns, breaking_change_id, good_count, total_count)
                     values ($1, $2, $3, $4, $5, $6) returning incident_id",
                    endpoint_id,
                    moment(at_ns),
                    at_ns,
                    breaking_change_id,
                    good,
                    total,
                )
                .fetch_one(&mut *connection)
                .await?
            }
            Finding::Closed { endpoint_id, at_ns, fixing_change_id } => {
                sqlx::query_scalar!(
                    "update incident set ended_at = $2, ended_ns = $3, fixing_change_id = $4
                     where endpoint_id = $1 and ended_at is null returning incident_id",
                    endpoint_id,
                    moment(at_ns),
                    at_ns,
                    fixing_change_id,
                )
                .fetch_one(&mut *connection)
                .await?
            }
        };
        sqlx::query!("select pg_notify($1, $2)", CHANNEL, incident_id.to_string()).execute(&mut *connection).await?;
        ids.push(incident_id);
    }
    Ok(ids)
}

/// A change as an incident names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suspect {
    /// The commit.
    pub commit: String,
    /// Who made it.
    pub author: Option<String>,
    /// When it was rolled out.
    pub at: DateTime<Utc>,
}

/// An incident as people see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Row id.
    pub incident_id: i64,
    /// Of which endpoint.
    pub endpoint_id: i32,
    /// Name of its service.
    pub service: String,
    /// `GET`.
    pub verb: String,
    /// Path, or the key of a target.
    pub resource: String,
    /// Row id of the target whose checks are its events.
    pub target_id: Option<TargetId>,
    /// Key of that target.
    pub target: Option<String>,
    /// What was promised, in billionths …
    pub objective_nano: i64,
    /// … over so many nanoseconds; both as they are now.
    pub window_ns: i64,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// The same, nanoseconds since the epoch.
    pub started_ns: i64,
    /// When it ended; `None` while it is open.
    pub ended_at: Option<DateTime<Utc>>,
    /// The same, nanoseconds since the epoch.
    pub ended_ns: Option<i64>,
    /// Good events in the window when it began.
    pub good_count: i64,
    /// All events in that window.
    pub total_count: i64,
    /// The newest change of the service before it began.
    pub breaking: Option<Suspect>,
    /// The newest change of the service before it ended.
    pub fixing: Option<Suspect>,
}

/// Which incidents.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Of this service only.
    pub service: Option<&'a str>,
    /// This one only.
    pub incident_id: Option<i64>,
    /// Not those that ended before this.
    pub from: DateTime<Utc>,
    /// Not those that began at or after this.
    pub to: DateTime<Utc>,
    /// Only open ones, or only ended ones.
    pub open: Option<bool>,
    /// Only those before this place, the newest being first.
    pub before: (DateTime<Utc>, i64),
}

impl Wanted<'_> {
    /// Every incident there is.
    pub const ALL: Self = Self {
        service: None,
        incident_id: None,
        from: DateTime::<Utc>::MIN_UTC,
        to: DateTime::<Utc>::MAX_UTC,
        open: None,
        before: (DateTime::<Utc>::MAX_UTC, i64::MAX),
    };
}

/// Incidents that touch `[from, to)`, the newest first, at most `limit`.
///
/// # Errors
/// Whatever Postgres reports.
pub async fn list(connection: &mut PgConnection, wanted: Wanted<'_>, limit: i64) -> Result<Vec<Shown>, StoreError> {
    // Postgres has no moment before 4713 BC nor after 294276 AD.
    let (earliest, latest) = (DateTime::<Utc>::UNIX_EPOCH - TimeDelta::days(1_000_000), moment(i64::MAX));
    let fit = |at: DateTime<Utc>| at.clamp(earliest, latest);
    // Index: incident_time, or incident_pkey for one.
    let rows = sqlx::query!(
        r#"select i.incident_id, i.endpoint_id, s.name as service, e.verb, e.resource,
                  e.target_id as "target_id: TargetId", t.key as "target?", e.objective_nano, e.window_ns,
                  i.started_at, i.started_ns, i.ended_at, i.ended_ns, i.good_count, i.total_count,
                  b.commit_id as "breaking_commit?", b.author as breaking_author, b.at as "breaking_at?",
                  f.commit_id as "fixing_commit?", f.author as fixing_author, f.at as "fixing_at?"
           from incident i
           join endpoint e using (endpoint_id)
           join service s using (service_id)
           left join target t using (target_id)
           left join change b on b.change_id = i.breaking_change_id
           left join change f on f.change_id = i.fixing_change_id
           where ($1::text is null or s.name = $1)
             and ($2::int8 is null or i.incident_id = $2)
             and (i.ended_at is null or i.ended_at >= $3) and i.started_at < $4
             and ($5::bool is null or (i.ended_at is null) = $5)
             and (i.started_at, i.incident_id) < ($6, $7)
           order by i.started_at desc, i.incident_id desc
           limit $8"#,
        wanted.service,
        wanted.incident_id,
        fit(wanted.from),
        fit(wanted.to),
        wanted.open,
        fit(wanted.before.0),
        wanted.before.1,
        limit,
    )
    .fetch_all(connection)
    .await?;
    let suspect = |commit: Option<String>, author, at: Option<DateTime<Utc>>| {
        commit.zip(at).map(|(commit, at)| Suspect { commit, author, at })
    };
    Ok(rows
        .into_iter()
        .map(|row| Shown {
            incident_id: row.incident_id,
            endpoint_id: row.endpoint_id,
            service: row.service,
            verb: row.verb,
            resource: row.resource,
            target_id: row.target_id,
            target: row.target,
            objective_nano: row.objective_nano,
            window_ns: row.window_ns,
            started_at: row.started_at,
            started_ns: row.started_ns,
            ended_at: row.ended_at,
            ended_ns: row.ended_ns,
            good_count: row.good_count,
            total_count: row.total_count,
            breaking: suspect(row.breaking_commit, row.breaking_author, row.breaking_at),
            fixing: suspect(row.fixing_commit, row.fixing_author, row.fixing_at),
        })
        .collect())
}

/// A failure near the beginning of an incident.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// When the check started, or the posted request was made.
    pub at: DateTime<Utc>,
    /// Why it was down; `None` for a posted request.
    pub cause: Option<String>,
    /// Status code; `None` without a response.
    pub code: Option<i16>,
    /// To the response head, microseconds.
    pub elapsed_us: Option<i32>,
    /// Which assertion failed and what was seen, where that is the cause.
    pub detail: Option<String>,
}

/// Failures of an incident's endpoint around its beginning: of each kind the last
/// `limit` up to then and the first `limit` after it, within `around`, in order of time.
///
/// # Errors
/// Whatever Postgres reports.
pub async fn failures(
    connection: &mut PgConnection,
    incident: &Shown,
    around: TimeDelta,
    limit: i64,
) -> Result<Vec<Failure>, StoreError> {
    let (from, start, to) = (incident.started_at - around, incident.started_at, incident.started_at + around);
    // Index: check_result_pkey.
    let mut failures = sqlx::query_as!(
        Failure,
        r#"select at as "at!", cause, code, elapsed_us, detail from (
               (select coalesce(started_at, slot_at) as at, cause::text as cause, code, elapsed_us, detail
                from check_result
                where target_id = $1 and slot_at >= $2 and slot_at <= $3 and outcome = 'down'
                order by slot_at desc limit $5)
               union all
               (select coalesce(started_at, slot_at), cause::text, code, elapsed_us, detail
                from check_result
                where target_id = $1 and slot_at > $3 and slot_at <= $4 and outcome = 'down'
                order by slot_at limit $5)
           ) near"#,
        incident.target_id.map(|id| id.0),
        from,
        start,
        to,
        limit,
    )
    .fetch_all(&mut *connection)
    .await?;
    // Index: access_event_time.
    let posted = sqlx::query!(
        r#"select at_ns as "at_ns!", status as "status!" from (
               (select at_ns, status from access_event
                where endpoint_id = $1 and at_ns >= $2 and at_ns <= $3 and status >= 500
                order by at_ns desc limit $5)
               union all
               (select at_ns, status from access_event
                where endpoint_id = $1 and at_ns > $3 and at_ns <= $4 and status >= 500
                order by at_ns limit $5)
           ) near"#,
        incident.endpoint_id,
        nanos(from),
        incident.started_ns,
        nanos(to),
        limit,
    )
    .fetch_all(connection)
    .await?;
    failures.extend(posted.into_iter().map(|row| Failure {
        at: moment(row.at_ns),
        cause: None,
        code: Some(row.status),
        elapsed_us: None,
        detail: None,
    }));
    failures.sort_by_key(|failure| failure.at);
    Ok(failures)
}
