//! Services and their endpoints: who owns what, and what was promised for it.

use std::time::Duration;

use chrono::{DateTime, Utc};
use common::{TargetId, TargetSpec};
use sqlx::PgConnection;

use crate::StoreError;
use crate::targets::Placed;

/// An endpoint as the incident folder needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Goal {
    /// Row id.
    pub endpoint_id: i32,
    /// Whose changes may have broken it.
    pub service_id: i32,
    /// The target whose checks are its events.
    pub target_id: Option<TargetId>,
    /// Smallest healthy ratio, in billionths.
    pub objective_nano: i64,
    /// Length of the sliding window, nanoseconds.
    pub window_ns: i64,
    /// When any of this last changed.
    pub updated_at: DateTime<Utc>,
}

/// Endpoints that changed within the last `within`; all of them without it. In order of ids.
///
/// # Errors
/// Whatever Postgres reports.
pub async fn goals(connection: &mut PgConnection, within: Option<Duration>) -> Result<Vec<Goal>, StoreError> {
    // Index: endpoint_updated.
    Ok(sqlx::query_as!(
        Goal,
        r#"select endpoint_id, service_id, target_id as "target_id: TargetId", objective_nano, window_ns, updated_at
           from endpoint
           where $1::float8 is null or updated_at > clock_timestamp() - make_interval(secs => $1)
           order by endpoint_id"#,
        within.map(|within| within.as_secs_f64()),
    )
    .fetch_all(connection)
    .await?)
}

/// Makes each target an endpoint (its method and key) of its service: the one it
/// names, else the one it has, else one of its own name. Objectives stay as they are.
///
/// # Errors
/// Whatever Postgres reports.
pub(crate) async fn bind(
    connection: &mut PgConnection,
    list: &[TargetSpec],
    placed: &[Placed],
) -> Result<(), StoreError> {
    let targets: Vec<i32> = placed.iter().map(|placed| placed.target_id.0).collect();
    let verbs: Vec<String> = list.iter().map(|target| target.method.as_str().to_owned()).collect();
    let keys: Vec<String> = list.iter().map(|target| target.key.clone()).collect();
    let services: Vec<String> =
        list.iter().map(|target| target.service.as_ref().unwrap_or(&target.name).clone()).collect();
    sqlx::query!(
        "insert into service (name)
         select distinct u.name from unnest($1::text[]) as u (name)
         where not exists (select from service s where s.name = u.name)
         order by 1 on conflict do nothing",
        &services,
    )
    .execute(&mut *connection)
    .await?;
    // One that was posted to before and is a target now gains the checks.
    sqlx::query!(
        "insert into endpoint (service_id, verb, resource, target_id)
         select s.service_id, u.verb, u.resource, u.target_id
         from unnest($1::int4[], $2::text[], $3::text[], $4::text[]) as u (target_id, verb, resource, service)
         join service s on s.name = u.service
         where not exists (select from endpoint e where e.target_id = u.target_id)
         order by u.verb, u.resource
         on conflict (verb, resource) do update set target_id = excluded.target_id, updated_at = clock_timestamp()",
        &targets,
        &verbs,
        &keys,
        &services,
    )
    .execute(&mut *connection)
    .await?;
    let named: Vec<bool> = list.iter().map(|target| target.service.is_some()).collect();
    // Another method is another verb of the same endpoint, unless that one exists.
    sqlx::query!(
        "update endpoint e set verb = u.verb, service_id = case when u.named then s.service_id else e.service_id end,
             updated_at = clock_timestamp()
         from unnest($1::int4[], $2::text[], $3::text[], $4::text[], $5::bool[])
              as u (target_id, verb, resource, service, named)
         join service s on s.name = u.service
         where e.target_id = u.target_id and e.resource = u.resource
           and (e.verb <> u.verb or (u.named and e.service_id <> s.service_id))
           and not exists (select from endpoint o
                           where o.verb = u.verb and o.resource = u.resource and o.endpoint_id <> e.endpoint_id)",
        &targets,
        &verbs,
        &keys,
        &services,
        &named,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// An endpoint as somebody declares it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declared {
    /// Name of the service.
    pub service: String,
    /// Whom to ask about it; `None` leaves what is known.
    pub owner_email: Option<String>,
    /// `GET`.
    pub verb: String,
    /// Path, or the key of a target.
    pub resource: String,
    /// Smallest healthy ratio, in billionths.
    pub objective_nano: i64,
    /// Length of the sliding window, nanoseconds.
    pub window_ns: i64,
}

/// Adds endpoints, or gives those that exist a new service, objective or window.
/// Those not in the list stay. Returns how many were new or changed.
///
/// # Errors
/// Whatever Postgres reports; nothing is changed then.
pub async fn declare(connection: &mut PgConnection, list: &[Declared]) -> Result<u64, StoreError> {
    use sqlx::Acquire;
    let mut transaction = connection.begin().await?;
    let services: Vec<String> = list.iter().map(|one| one.service.clone()).collect();
    let emails: Vec<Option<String>> = list.iter().map(|one| one.owner_email.clone()).collect();
    let verbs: Vec<String> = list.iter().map(|one| one.verb.clone()).collect();
    let resources: Vec<String> = list.iter().map(|one| one.resource.clone()).collect();
    let objectives: Vec<i64> = list.iter().map(|one| one.objective_nano).collect();
    let windows: Vec<i64> = list.iter().map(|one| one.window_ns).collect();
    sqlx::query!(
        "insert into service (name, owner_email)
         select name, max(email) from unnest($1::text[], $2::text[]) as u (name, email) group by name order by name
         on conflict (name) do update set owner_email = coalesce(excluded.owner_email, service.owner_email)
         where excluded.owner_email is distinct from service.owner_email and excluded.owner_email is not null",
        &services,
        &emails as &[Option<String>],
    )
    .execute(&mut *transaction)
    .await?;
    let done = sqlx::query!(
        "insert into endpoint (service_id, verb, resource, objective_nano, window_ns)
         select s.service_id, u.verb, u.resource, u.objective_nano, u.window_ns
         from unnest($1::text[], $2::text[], $3::text[], $4::int8[], $5::int8[])
              as u (service, verb, resource, objective_nano, window_ns)
         join service s on s.name = u.service
         order by u.verb, u.resource
         on conflict (verb, resource) do update set
             service_id = excluded.service_id, objective_nano = excluded.objective_nano,
             window_ns = excluded.window_ns, updated_at = clock_timestamp()
         where (endpoint.service_id, endpoint.objective_nano, endpoint.window_ns)
               is distinct from (excluded.service_id, excluded.objective_nano, excluded.window_ns)",
        &services,
        &verbs,
        &resources,
        &objectives,
        &windows,
    )
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(done.rows_affected())
}

/// An endpoint as people see it.
#[derive(Debug, Clone, PartialEq)]
pub struct Shown {
    /// Row id.
    pub endpoint_id: i32,
    /// Name of its service.
    pub service: String,
    /// Who answers for the service.
    pub owner_name: Option<String>,
    /// Where to reach them.
    pub owner_email: Option<String>,
    /// `GET`.
    pub verb: String,
    /// Path, or the key of a target.
    pub resource: String,
    /// Key of the target whose checks are its events.
    pub target: Option<String>,
    /// Smallest healthy ratio, in billionths.
    pub objective_nano: i64,
    /// Length of the sliding window, nanoseconds.
    pub window_ns: i64,
    /// Good events of the window that ends now, posted ones included.
    pub good: i64,
    /// All events of that window.
    pub total: i64,
    /// The incident that is open.
    pub incident_id: Option<i64>,
    /// Since when.
    pub incident_started_at: Option<DateTime<Utc>>,
}

/// Endpoints in order of service, verb and resource, after a place in that order.
/// Endpoints of targets that are no longer probed are left out.
///
/// Each costs a read of its own window, so ask for pages. Windows over an hour are read
/// minute by minute, and of posted requests the newest 100,000 count.
///
/// # Errors
/// Whatever Postgres reports.
pub async fn list(
    connection: &mut PgConnection,
    service: Option<&str>,
    after: (&str, &str, &str),
    now: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<Shown>, StoreError> {
    // Index: check_result_pkey or rollup_minute_pkey, access_event_time, incident_open for each endpoint.
    Ok(sqlx::query_as!(
        Shown,
        r#"with page as (
               select e.*, s.name, s.owner_name, s.owner_email, t.key
               from endpoint e
               join service s using (service_id)
               left join target t using (target_id)
               where t.deleted_at is null
                 and ($1::text is null or s.name = $1)
                 and (s.name, e.verb, e.resource) > ($2, $3, $4)
               order by s.name, e.verb, e.resource
               limit $6
           )
           select p.endpoint_id, p.name as "service!", p.owner_name, p.owner_email, p.verb, p.resource,
                  p.key as "target?", p.objective_nano, p.window_ns,
                  (coalesce(checks.good, minutes.good, 0) + coalesce(events.good, 0))::int8 as "good!",
                  (coalesce(checks.total, minutes.total, 0) + coalesce(events.total, 0))::int8 as "total!",
                  i.incident_id as "incident_id?", i.started_at as "incident_started_at?"
           from page p
           left join incident i on i.endpoint_id = p.endpoint_id and i.ended_at is null
           left join lateral (
               select count(*) filter (where c.outcome <> 'down') as good, count(*) as total
               from check_result c
               where p.window_ns <= 3600000000000 and c.target_id = p.target_id
                 and c.outcome in ('up', 'degraded', 'down')
                 and c.slot_at > $5::timestamptz - make_interval(secs => p.window_ns / 1e9) and c.slot_at <= $5
           ) checks on p.window_ns <= 3600000000000
           left join lateral (
               select sum(m.up + m.degraded) as good,
                      sum(m.up + m.degraded + m.down_dns + m.down_refused + m.down_timeout + m.down_reset + m.down_tls
                          + m.down_protocol + m.down_body + m.down_redirect + m.down_status + m.down_assertion) as total
               from rollup_minute m
               where p.window_ns > 3600000000000 and m.target_id = p.target_id
                 and m.bucket_at > $5::timestamptz - make_interval(secs => least(p.window_ns / 1e9, 3e9)) and m.bucket_at <= $5
           ) minutes on true
           left join lateral (
               select count(*) filter (where a.status < 500) as good, count(*) as total
               from (
                   select n.status from access_event n
                   where n.endpoint_id = p.endpoint_id
                     and n.at_ns > extract(epoch from $5::timestamptz)::int8 * 1000000000 - p.window_ns
                     and n.at_ns <= (extract(epoch from $5::timestamptz)::int8 + 1) * 1000000000
                   order by n.at_ns desc limit 100000
               ) a
           ) events on true
           order by p.name, p.verb, p.resource"#,
        service,
        after.0,
        after.1,
        after.2,
        now,
        limit,
    )
    .fetch_all(connection)
    .await?)
}

/// The ids of these endpoints, in their order; `None` for one that nobody declared.
///
/// # Errors
/// Whatever Postgres reports.
pub async fn find_endpoints(
    connection: &mut PgConnection,
    verbs: &[String],
    resources: &[String],
) -> Result<Vec<Option<i32>>, StoreError> {
    // Index: endpoint_verb_resource_unique.
    Ok(sqlx::query_scalar!(
        r#"select e.endpoint_id as "endpoint_id?"
           from unnest($1::text[], $2::text[]) with ordinality as u (verb, resource, place)
           left join endpoint e using (verb, resource)
           order by u.place"#,
        verbs,
        resources,
    )
    .fetch_all(connection)
    .await?)
}

/// The ids of these services, in their order; `None` for one that has no endpoint.
///
/// # Errors
/// Whatever Postgres reports.
pub async fn find_services(connection: &mut PgConnection, names: &[String]) -> Result<Vec<Option<i32>>, StoreError> {
    // Index: service_name_unique, endpoint_service.
    Ok(sqlx::query_scalar!(
        r#"select s.service_id as "service_id?"
           from unnest($1::text[]) with ordinality as u (name, place)
           left join service s on s.name = u.name
                and exists (select from endpoint e where e.service_id = s.service_id)
           order by u.place"#,
        names,
    )
    .fetch_all(connection)
    .await?)
}
