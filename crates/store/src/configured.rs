//! What is configured at this moment: to be compared with what somebody wants.

use std::collections::BTreeMap;

use common::{ServiceSpec, TargetSpec};
use serde_json::Value;
use sqlx::PgConnection;

use crate::StoreError;
use crate::services::{USUAL_OBJECTIVE_NANO, USUAL_WINDOW, listed, nanos, promises};

/// A target as the database has it: without values of headers, and without a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Stable identity.
    pub key: String,
    /// `env`, `file` or `api`.
    pub source: String,
    /// Every other field by its name in the file, as people read it.
    pub fields: BTreeMap<&'static str, String>,
    /// Whether the API declared its endpoint.
    pub is_declared: bool,
}

/// The fields that the database would have of a target, as people read them, where it has
/// `now` of it. `service` is only there if the list with these services says which.
pub fn fields(target: &TargetSpec, services: &[ServiceSpec], now: &Target) -> BTreeMap<&'static str, String> {
    let mut fields = BTreeMap::from([
        ("name", target.name.clone()),
        ("url", target.url.as_written().to_owned()),
        ("method", target.method.as_str().to_owned()),
        ("headers", list(target.headers.iter().map(|(name, _)| name.clone()))),
        ("interval", milliseconds(target.interval.millis())),
        ("timeout", milliseconds(i32::try_from(target.timeout.as_millis()).unwrap_or(i32::MAX))),
        ("degraded_after", milliseconds(i32::try_from(target.degraded_after.as_millis()).unwrap_or(i32::MAX))),
        ("expect_status", target.expect_status.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")),
        ("expect", canonical(crate::targets::expectations(target).as_ref())),
        ("connection", if target.connection == common::Connection::Fresh { "fresh" } else { "reuse" }.to_owned()),
        ("labels", list(target.labels.iter().map(|(name, value)| format!("{name}: {value}")))),
    ]);
    let is_own = !now.is_declared && !listed(services).contains(&(target.method.as_str(), target.key.as_str()));
    let service = target.service.clone().or_else(|| is_own.then(|| target.name.clone()));
    fields.extend(service.map(|service| ("service", service)));
    fields
}

/// Assertions as a text, the same for the same: Postgres has an order of its own for keys.
fn canonical(value: Option<&Value>) -> String {
    match value {
        None => String::new(),
        Some(Value::Object(entries)) => {
            list(entries.iter().map(|(key, value)| format!("{key:?}: {}", canonical(Some(value)))))
        }
        Some(Value::Array(items)) => {
            format!("[{}]", items.iter().map(|item| canonical(Some(item))).collect::<Vec<_>>().join(", "))
        }
        Some(other) => other.to_string(),
    }
}

fn milliseconds(milliseconds: i32) -> String {
    if milliseconds % 1000 == 0 { format!("{}s", milliseconds / 1000) } else { format!("{milliseconds}ms") }
}

/// In one order, whatever the order they came in.
fn list(items: impl Iterator<Item = String>) -> String {
    let mut items: Vec<_> = items.collect();
    items.sort();
    items.join(", ")
}

/// Every target that is probed, in order of keys.
///
/// # Errors
/// Whatever Postgres reports.
pub async fn targets(connection: &mut PgConnection) -> Result<Vec<Target>, StoreError> {
    let rows = sqlx::query!(
        r#"select t.key, t.name, t.url, t.method, t.interval_ms, t.timeout_ms, t.degraded_ms,
                  array_to_string(t.expect_status, ',') as "expect_status!", t.connection::text as "connection!",
                  t.source::text as "source!", t.expectations, s.name as "service?",
                  coalesce(e.declared_by = 'api', false) as "is_declared!",
                  array(select jsonb_object_keys(t.headers)) as "headers!",
                  array(select l.key || ': ' || l.value from jsonb_each_text(t.labels) l) as "labels!"
           from target t
           left join endpoint e using (target_id)
           left join service s using (service_id)
           where t.deleted_at is null
           order by t.key"#,
    )
    .fetch_all(connection)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| {
            let mut fields = BTreeMap::from([
                ("name", row.name),
                ("url", row.url),
                ("method", row.method),
                ("headers", list(row.headers.into_iter())),
                ("interval", milliseconds(row.interval_ms)),
                ("timeout", milliseconds(row.timeout_ms)),
                ("degraded_after", milliseconds(row.degraded_ms)),
                ("expect_status", row.expect_status),
                ("expect", canonical(row.expectations.as_ref())),
                ("connection", row.connection),
                ("labels", list(row.labels.into_iter())),
            ]);
            fields.extend(row.service.map(|service| ("service", service)));
            Target { key: row.key, source: row.source, fields, is_declared: row.is_declared }
        })
        .collect())
}

/// Service, objective in billionths, window in nanoseconds.
pub type Goal = (String, i64, i64);

/// An endpoint that would change, with what is promised now and what would be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Promise {
    /// `GET /cart`.
    pub endpoint: String,
    /// `None` for one that is new.
    pub now: Option<Goal>,
    /// As it would be.
    pub then: Goal,
}

/// The endpoints that `services::apply` would make or change.
///
/// # Errors
/// Whatever Postgres reports.
pub async fn promised(
    connection: &mut PgConnection,
    services: &[ServiceSpec],
    list: &[TargetSpec],
) -> Result<Vec<Promise>, StoreError> {
    let rows = sqlx::query!(
        r#"select e.verb, e.resource, e.objective_nano, e.window_ns, s.name, coalesce(e.declared_by = 'file', false) as "of_file!"
           from endpoint e join service s using (service_id) order by e.resource, e.verb"#
    )
    .fetch_all(connection)
    .await?;
    let mut present: BTreeMap<(String, String), (Goal, bool)> = rows
        .into_iter()
        .map(|row| ((row.verb, row.resource), ((row.name, row.objective_nano, row.window_ns), row.of_file)))
        .collect();
    let mut found = Vec::new();
    for promise in promises(services, list) {
        let endpoint = format!("{} {}", promise.verb, promise.resource);
        let then = (promise.service, promise.objective_nano, promise.window_ns);
        match present.remove(&(promise.verb, promise.resource)) {
            None => found.push(Promise { endpoint, now: None, then }),
            Some((now, of_file)) => {
                // Where the file says nothing, what others said stays.
                let then = if promise.is_said || of_file { then } else { (then.0, now.1, now.2) };
                if now != then {
                    found.push(Promise { endpoint, now: Some(now), then });
                }
            }
        }
    }
    let own: BTreeMap<(&str, &str), &str> = list
        .iter()
        .filter(|target| target.service.is_none())
        .map(|target| ((target.method.as_str(), target.key.as_str()), target.name.as_str()))
        .collect();
    for ((verb, resource), (now, of_file)) in present {
        let service = own.get(&(verb.as_str(), resource.as_str())).map_or_else(|| now.0.clone(), ToString::to_string);
        let then = (service, USUAL_OBJECTIVE_NANO, nanos(USUAL_WINDOW));
        if of_file && now != then {
            found.push(Promise { endpoint: format!("{verb} {resource}"), now: Some(now), then });
        }
    }
    Ok(found)
}

/// The services whose owner the list would change, by name.
///
/// # Errors
/// Whatever Postgres reports.
pub async fn owners(connection: &mut PgConnection, services: &[ServiceSpec]) -> Result<Vec<String>, StoreError> {
    let names: Vec<String> = services.iter().map(|service| service.name.clone()).collect();
    // Index: service_name_unique.
    let rows = sqlx::query!("select name, owner_name, owner_email from service where name = any($1)", &names)
        .fetch_all(connection)
        .await?;
    let known: BTreeMap<&str, _> =
        rows.iter().map(|row| (row.name.as_str(), (row.owner_name.as_ref(), row.owner_email.as_ref()))).collect();
    let changes = |service: &&ServiceSpec| {
        let (name, email) = known.get(service.name.as_str()).copied().unwrap_or_default();
        let differs = |wanted: Option<&String>, found: Option<&String>| wanted.is_some() && wanted != found;
        differs(service.owner_name.as_ref(), name) || differs(service.owner_email.as_ref(), email)
    };
    Ok(services.iter().filter(changes).map(|service| service.name.clone()).collect())
}

/// Digests of the lists of the workers that run.
///
/// # Errors
/// Whatever Postgres reports.
pub async fn digests(connection: &mut PgConnection) -> Result<Vec<i64>, StoreError> {
    Ok(sqlx::query_scalar!(
        "select distinct config_digest from worker
         where stopped_at is null and seen_at > clock_timestamp() - $1::interval",
        crate::leases::lease_interval(),
    )
    .fetch_all(connection)
    .await?)
}
