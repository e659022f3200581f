//! Incidents: what the folder reads and saves, and (in `shown`) what people ask.

mod shown;

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use common::TargetId;
use futures_util::TryStreamExt;
use sqlx::PgConnection;

use crate::StoreError;
use crate::cursors::Batch;

pub use shown::{Failure, Shown, Suspect, Wanted, failures, list};

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

/// The incidents that are open, of these endpoints or of all.
///
/// # Errors
/// Whatever Postgres reports.
pub async fn open(connection: &mut PgConnection, endpoints: Option<&[i32]>) -> Result<Vec<Open>, StoreError> {
    // Index: incident_open.
    Ok(sqlx::query_as!(
        Open,
        "select endpoint_id, started_ns, breaking_change_id from incident
         where ended_at is null and ($1::int4[] is null or endpoint_id = any($1))",
        endpoints,
    )
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
