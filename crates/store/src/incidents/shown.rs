//! Incidents as people see them.

use chrono::{DateTime, TimeDelta, Utc};
use common::TargetId;
use sqlx::PgConnection;

use super::{moment, nanos};
use crate::StoreError;

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
