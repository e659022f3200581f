//! Services and their endpoints: who owns what, and what was promised for it.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use chrono::{DateTime, Utc};
use common::{ServiceSpec, TargetId, TargetSpec};
use sqlx::PgConnection;

use crate::StoreError;
use crate::{bind, targets};

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

/// The endpoints of which events may be expected: all but those of targets that were removed. In order of ids.
///
/// # Errors
/// Whatever Postgres reports.
pub async fn goals(connection: &mut PgConnection) -> Result<Vec<Goal>, StoreError> {
    Ok(sqlx::query_as!(
        Goal,
        r#"select endpoint_id, service_id, e.target_id as "target_id: TargetId", objective_nano, window_ns, e.updated_at
           from endpoint e left join target t using (target_id)
           where t.deleted_at is null
           order by endpoint_id"#,
    )
    .fetch_all(connection)
    .await?)
}

/// Endpoints that changed within the last `within`. In order of ids.
///
/// # Errors
/// Whatever Postgres reports.
pub async fn goals_changed(connection: &mut PgConnection, within: Duration) -> Result<Vec<Goal>, StoreError> {
    // Index: endpoint_updated.
    Ok(sqlx::query_as!(
        Goal,
        r#"select endpoint_id, service_id, target_id as "target_id: TargetId", objective_nano, window_ns, updated_at
           from endpoint
           where updated_at > clock_timestamp() - make_interval(secs => $1)
           order by endpoint_id"#,
        within.as_secs_f64(),
    )
    .fetch_all(connection)
    .await?)
}

/// The endpoints of these targets, and these endpoints, as far as they exist. In order of ids.
///
/// # Errors
/// Whatever Postgres reports.
pub async fn goals_of(
    connection: &mut PgConnection,
    targets: &[i32],
    endpoints: &[i32],
) -> Result<Vec<Goal>, StoreError> {
    // Index: endpoint_target and endpoint_pkey.
    Ok(sqlx::query_as!(
        Goal,
        r#"select endpoint_id, service_id, target_id as "target_id: TargetId", objective_nano, window_ns, updated_at
           from endpoint
           where target_id = any($1) or endpoint_id = any($2)
           order by endpoint_id"#,
        targets,
        endpoints,
    )
    .fetch_all(connection)
    .await?)
}

/// What an endpoint is held to where nobody says otherwise: 0.9 over five minutes.
pub const USUAL_OBJECTIVE_NANO: i64 = 900_000_000;
/// See [`USUAL_OBJECTIVE_NANO`].
pub const USUAL_WINDOW: Duration = Duration::from_secs(300);

/// Makes the services of the configuration file be these: their owners, their endpoints,
/// and the objectives of those and of the targets (in `list`) that name them.
///
/// The file wins for what it says: an objective of its own replaces one declared over the
/// API, and holds until the file no longer has it; then the usual one does. A service or
/// endpoint is never removed, and where the file promises nothing the API's promise stays.
/// A target that names no service (any more) is of the one of its own name, unless the API
/// declared its endpoint. While a running worker has another list, nothing goes back.
///
/// # Errors
/// Whatever Postgres reports; nothing is changed then.
pub async fn apply(
    connection: &mut PgConnection,
    worker_id: &str,
    services: &[ServiceSpec],
    list: &[TargetSpec],
    digest: i64,
) -> Result<(), StoreError> {
    use sqlx::Acquire;
    let mut transaction = connection.begin().await?;
    sqlx::query!("select pg_advisory_xact_lock($1)", targets::LOCK).execute(&mut *transaction).await?;

    let names: Vec<String> = services.iter().map(|service| service.name.clone()).collect();
    let owners: Vec<Option<String>> = services.iter().map(|service| service.owner_name.clone()).collect();
    let emails: Vec<Option<String>> = services.iter().map(|service| service.owner_email.clone()).collect();
    sqlx::query!(
        "insert into service (name, owner_name, owner_email)
         select name, owner, email from unnest($1::text[], $2::text[], $3::text[]) as u (name, owner, email) order by name
         on conflict (name) do update set
             owner_name = coalesce(excluded.owner_name, service.owner_name),
             owner_email = coalesce(excluded.owner_email, service.owner_email)
         where (coalesce(excluded.owner_name, service.owner_name), coalesce(excluded.owner_email, service.owner_email))
               is distinct from (service.owner_name, service.owner_email)",
        &names,
        &owners as &[Option<String>],
        &emails as &[Option<String>],
    )
    .execute(&mut *transaction)
    .await?;

    let promised = promises(services, list);
    let of: Vec<String> = promised.iter().map(|one| one.service.clone()).collect();
    let verbs: Vec<String> = promised.iter().map(|one| one.verb.clone()).collect();
    let resources: Vec<String> = promised.iter().map(|one| one.resource.clone()).collect();
    let objectives: Vec<i64> = promised.iter().map(|one| one.objective_nano).collect();
    let windows: Vec<i64> = promised.iter().map(|one| one.window_ns).collect();
    let said: Vec<bool> = promised.iter().map(|one| one.is_said).collect();
    // Where the file says nothing, what it said before goes, and what others said stays.
    sqlx::query!(
        "insert into endpoint (service_id, verb, resource, objective_nano, window_ns, declared_by)
         select s.service_id, u.verb, u.resource, u.objective_nano, u.window_ns, case when u.said then 'file'::target_source end
         from unnest($1::text[], $2::text[], $3::text[], $4::int8[], $5::int8[], $6::bool[])
              as u (service, verb, resource, objective_nano, window_ns, said)
         join service s on s.name = u.service
         order by u.verb, u.resource
         on conflict (verb, resource) do update set
             service_id = excluded.service_id,
             objective_nano = case when 'file' in (excluded.declared_by, endpoint.declared_by)
                                   then excluded.objective_nano else endpoint.objective_nano end,
             window_ns = case when 'file' in (excluded.declared_by, endpoint.declared_by)
                              then excluded.window_ns else endpoint.window_ns end,
             declared_by = case when 'file' in (excluded.declared_by, endpoint.declared_by)
                                then excluded.declared_by else endpoint.declared_by end,
             updated_at = clock_timestamp()
         where endpoint.service_id <> excluded.service_id
            or 'file' in (excluded.declared_by, endpoint.declared_by)
               and (endpoint.objective_nano, endpoint.window_ns, endpoint.declared_by)
                   is distinct from (excluded.objective_nano, excluded.window_ns, excluded.declared_by)",
        &of,
        &verbs,
        &resources,
        &objectives,
        &windows,
        &said,
    )
    .execute(&mut *transaction)
    .await?;

    if !targets::others_differ(&mut transaction, worker_id, digest).await? {
        sqlx::query!(
            "update endpoint e
             set objective_nano = $3, window_ns = $4, declared_by = null, updated_at = clock_timestamp()
             where e.declared_by = 'file'
               and not exists (select from unnest($1::text[], $2::text[]) as u (verb, resource)
                               where u.verb = e.verb and u.resource = e.resource)",
            &verbs,
            &resources,
            USUAL_OBJECTIVE_NANO,
            nanos(USUAL_WINDOW),
        )
        .execute(&mut *transaction)
        .await?;
        let listed = listed(services);
        let own = list.iter().filter(|target| !listed.contains(&(target.method.as_str(), target.key.as_str())));
        bind::give_back(&mut transaction, own).await?;
    }
    transaction.commit().await?;
    Ok(())
}

/// Verb and resource of the endpoints that services list.
pub(crate) fn listed(services: &[ServiceSpec]) -> HashSet<(&str, &str)> {
    let endpoints = services.iter().flat_map(|service| &service.endpoints);
    endpoints.map(|endpoint| (endpoint.verb.as_str(), endpoint.resource.as_str())).collect()
}

/// An endpoint of the file, with what holds for it.
pub(crate) struct Promise {
    pub(crate) service: String,
    pub(crate) verb: String,
    pub(crate) resource: String,
    pub(crate) objective_nano: i64,
    pub(crate) window_ns: i64,
    /// Whether the file says so, or it is the usual.
    pub(crate) is_said: bool,
}

/// The endpoints that are listed, and the targets of each service that are not.
pub(crate) fn promises(services: &[ServiceSpec], list: &[TargetSpec]) -> Vec<Promise> {
    let mut promises = Vec::new();
    let mut seen = HashSet::new();
    let promise = |service: &ServiceSpec, verb: &str, resource: &str, goal: common::Goal| Promise {
        service: service.name.clone(),
        verb: verb.to_owned(),
        resource: resource.to_owned(),
        objective_nano: goal.objective_nano.unwrap_or(USUAL_OBJECTIVE_NANO),
        window_ns: nanos(goal.window.unwrap_or(USUAL_WINDOW)),
        is_said: goal != common::Goal::default(),
    };
    for service in services {
        for endpoint in &service.endpoints {
            if seen.insert((endpoint.verb.as_str(), endpoint.resource.as_str())) {
                promises.push(promise(service, &endpoint.verb, &endpoint.resource, endpoint.goal));
            }
        }
    }
    let by_name: HashMap<&str, &ServiceSpec> =
        services.iter().map(|service| (service.name.as_str(), service)).collect();
    for target in list {
        let Some(service) = target.service.as_deref().and_then(|name| by_name.get(name)) else { continue };
        if seen.insert((target.method.as_str(), target.key.as_str())) {
            promises.push(promise(service, target.method.as_str(), &target.key, service.goal));
        }
    }
    promises
}

pub(crate) fn nanos(window: Duration) -> i64 {
    i64::try_from(window.as_nanos()).unwrap_or(i64::MAX)
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

/// Adds endpoints, or gives those that exist a new service, objective or window. Those not
/// in the list stay, and so do those the configuration file has promised something for:
/// [`of_file`] counts them. Returns how many were new or changed.
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
        "insert into endpoint (service_id, verb, resource, objective_nano, window_ns, declared_by)
         select s.service_id, u.verb, u.resource, u.objective_nano, u.window_ns, 'api'::target_source
         from unnest($1::text[], $2::text[], $3::text[], $4::int8[], $5::int8[])
              as u (service, verb, resource, objective_nano, window_ns)
         join service s on s.name = u.service
         order by u.verb, u.resource
         on conflict (verb, resource) do update set
             service_id = excluded.service_id, objective_nano = excluded.objective_nano,
             window_ns = excluded.window_ns, declared_by = excluded.declared_by, updated_at = clock_timestamp()
         where (endpoint.service_id, endpoint.objective_nano, endpoint.window_ns, endpoint.declared_by)
               is distinct from (excluded.service_id, excluded.objective_nano, excluded.window_ns, excluded.declared_by)
           and endpoint.declared_by is distinct from 'file'",
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

/// How many of these endpoints the configuration file has promised something for.
///
/// # Errors
/// Whatever Postgres reports.
pub async fn of_file(connection: &mut PgConnection, list: &[Declared]) -> Result<i64, StoreError> {
    let verbs: Vec<String> = list.iter().map(|one| one.verb.clone()).collect();
    let resources: Vec<String> = list.iter().map(|one| one.resource.clone()).collect();
    // Index: endpoint_verb_resource_unique.
    Ok(sqlx::query_scalar!(
        r#"select count(*) as "count!" from unnest($1::text[], $2::text[]) as u (verb, resource)
           join endpoint e using (verb, resource) where e.declared_by = 'file'"#,
        &verbs,
        &resources,
    )
    .fetch_one(connection)
    .await?)
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
