//! Days of targets, in UTC: how the slots of each ended, and for how long an incident was
//! open; and which incidents those were.

use chrono::{DateTime, DurationRound, NaiveDate, TimeDelta, Utc};
use common::{Counts, TargetId};
use sqlx::PgConnection;

use crate::StoreError;
use crate::rollups;

/// How the slots of a target ended on one day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Day {
    /// Which target.
    pub target_id: TargetId,
    /// In UTC.
    pub date: NaiveDate,
    /// Slots in gaps are among the missed ones.
    pub counts: Counts,
}

/// Midnight, with which a day begins.
pub fn midnight(date: NaiveDate) -> DateTime<Utc> {
    date.and_time(chrono::NaiveTime::MIN).and_utc()
}

/// Every day from `from` to `now` of which something is known, of all these targets at
/// once; in no order.
///
/// # Errors
/// Whatever Postgres reports.
pub async fn counts(
    connection: &mut PgConnection,
    targets: &[i32],
    from: NaiveDate,
    now: DateTime<Utc>,
) -> Result<Vec<Day>, StoreError> {
    let from = midnight(from);
    // Days up to the one that is being rolled up, its hours as far as they are, then minutes.
    let rolled_up = rollups::done_until(&mut *connection).await?.unwrap_or(from).min(now).max(from);
    let cut = |length| rolled_up.duration_trunc(length).unwrap_or(rolled_up);
    let (days_end, hours_end) = (cut(TimeDelta::days(1)), cut(TimeDelta::hours(1)));
    // Index: the primary key of each roll-up, gap_pkey, and check_result_pkey for each gap,
    // whose slots are counted as `windows::gap_slots` counts them.
    let rows = sqlx::query!(
        r#"with bucket as (
               select target_id, bucket_at, up, degraded, missed, unknown,
                      down_dns + down_refused + down_timeout + down_reset + down_tls + down_protocol
                      + down_body + down_redirect + down_status + down_assertion as down
               from rollup_day where target_id = any($1) and bucket_at >= $2 and bucket_at < $3
               union all
               select target_id, bucket_at, up, degraded, missed, unknown,
                      down_dns + down_refused + down_timeout + down_reset + down_tls + down_protocol
                      + down_body + down_redirect + down_status + down_assertion
               from rollup_hour where target_id = any($1) and bucket_at >= $3 and bucket_at < $4
               union all
               select target_id, bucket_at, up, degraded, missed, unknown,
                      down_dns + down_refused + down_timeout + down_reset + down_tls + down_protocol
                      + down_body + down_redirect + down_status + down_assertion
               from rollup_minute where target_id = any($1) and bucket_at >= $4 and bucket_at <= $5
           ), counted as (
               select target_id, date_trunc('day', bucket_at, 'UTC') as day, sum(up)::int8 as up,
                      sum(degraded)::int8 as degraded, sum(missed)::int8 as missed, sum(unknown)::int8 as unknown,
                      sum(down)::int8 as down
               from bucket group by 1, 2
           ), silence as (
               select target_id, interval_ms, unnest(range_agg(tstzrange(from_at, to_at))) as span
               from gap join target using (target_id)
               where target_id = any($1) and from_at <= $5 and to_at > $2
               group by target_id, interval_ms
           ), unseen as (
               select target_id, day, sum(
                       ceil(extract(epoch from least(upper(span), day + interval '24 hours') - lower(span)) * 1000 / interval_ms)
                     - ceil(extract(epoch from greatest(lower(span), day) - lower(span)) * 1000 / interval_ms)
                     - (select count(*) from check_result c
                        where c.target_id = silence.target_id and c.slot_at >= greatest(lower(span), day)
                          and c.slot_at < least(upper(span), day + interval '24 hours'))
                   )::int8 as slots
               from silence cross join lateral generate_series(
                   date_trunc('day', greatest(lower(span), $2), 'UTC'), least(upper(span), $5) - interval '1 microsecond',
                   interval '24 hours') as day
               group by 1, 2
           )
           select target_id as "target_id!: TargetId", (day at time zone 'UTC')::date as "date!",
                  coalesce(up, 0) as "up!", coalesce(degraded, 0) as "degraded!", coalesce(down, 0) as "down!",
                  coalesce(missed, 0) + coalesce(slots, 0) as "missed!", coalesce(unknown, 0) as "unknown!"
           from counted full join unseen using (target_id, day)"#,
        targets,
        from,
        days_end,
        hours_end,
        now,
    )
    .fetch_all(connection)
    .await?;
    let whole = |count: i64| u64::try_from(count).unwrap_or(0);
    Ok(rows
        .into_iter()
        .map(|row| Day {
            target_id: row.target_id,
            date: row.date,
            counts: Counts {
                up: whole(row.up),
                degraded: whole(row.degraded),
                down: whole(row.down),
                missed: whole(row.missed),
                unknown: whole(row.unknown),
            },
        })
        .collect())
}

/// Incidents of a target on one day.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Trouble {
    /// Which target.
    pub target_id: TargetId,
    /// In UTC.
    pub date: NaiveDate,
    /// How many were open at some moment of the day.
    pub incidents: i64,
    /// For how many seconds of it.
    pub seconds: f64,
}

impl Trouble {
    /// For how many minutes of it, to a tenth.
    pub fn minutes(&self) -> f64 {
        (self.seconds / 6.0).round() / 10.0
    }
}

/// The incidents of these targets by day, from `from` to `now`; days without one are left out.
///
/// # Errors
/// Whatever Postgres reports.
pub async fn incidents(
    connection: &mut PgConnection,
    targets: &[i32],
    from: NaiveDate,
    now: DateTime<Utc>,
) -> Result<Vec<Trouble>, StoreError> {
    // Index: endpoint_target, incident_endpoint_time. Those of one endpoint never overlap. One
    // that ends at midnight does not touch the day that begins then.
    Ok(sqlx::query_as!(
        Trouble,
        r#"select e.target_id as "target_id!: TargetId", (day at time zone 'UTC')::date as "date!", count(*) as "incidents!",
                  sum(extract(epoch from least(i.ended_at, day + interval '24 hours', $3) - greatest(i.started_at, day))
                     )::float8 as "seconds!"
           from endpoint e
           join incident i using (endpoint_id)
           cross join lateral generate_series(
               date_trunc('day', greatest(i.started_at, $2), 'UTC'),
               greatest(i.started_at, least(i.ended_at, $3) - interval '1 microsecond'),
               interval '24 hours') as day
           where e.target_id = any($1) and i.started_at <= $3 and (i.ended_at is null or i.ended_at >= $2)
           group by 1, 2"#,
        targets,
        midnight(from),
        now,
    )
    .fetch_all(connection)
    .await?)
}

/// An incident of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Incident {
    /// Row id.
    pub incident_id: i64,
    /// Of which target.
    pub target_id: TargetId,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// When it ended; `None` while it is open.
    pub ended_at: Option<DateTime<Utc>>,
}

/// Incidents of these targets that are open or began at `from` or later: open ones first,
/// then the newest; at most `limit`.
///
/// # Errors
/// Whatever Postgres reports.
pub async fn newest_incidents(
    connection: &mut PgConnection,
    targets: &[i32],
    from: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<Incident>, StoreError> {
    // Index: incident_open, incident_time.
    Ok(sqlx::query_as!(
        Incident,
        r#"select i.incident_id, e.target_id as "target_id!: TargetId", i.started_at, i.ended_at
           from incident i join endpoint e using (endpoint_id)
           where (i.ended_at is null or i.started_at >= $2) and e.target_id = any($1)
           order by i.ended_at is null desc, i.started_at desc, i.incident_id desc
           limit $3"#,
        targets,
        from,
        limit,
    )
    .fetch_all(connection)
    .await?)
}
