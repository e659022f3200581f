//! The list of targets: what a worker applies from its configuration, and finding one by key.

use chrono::{DateTime, Utc};
use common::expect::Secrets;
use common::{Source, TargetId, TargetSpec};
use serde_json::{Map, Value, json};
use sqlx::{Acquire, PgConnection};

use crate::{StoreError, bind};

/// One worker at a time applies its list.
pub(crate) const LOCK: i64 = 0x6c6f_6f6b_6f75_7402;

/// What applying a list came to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// The row of each target, in the order of the list.
    pub placed: Vec<Placed>,
    /// Keys taken out of the schedule, because the list no longer has them.
    pub removed: Vec<String>,
    /// Keys the list lacks that were kept, because a running worker has another list.
    pub kept: Vec<String>,
}

/// A target with its row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed {
    /// Row id.
    pub target_id: TargetId,
    /// Since when the slots of its interval are due.
    pub due_since: DateTime<Utc>,
}

/// The key of every row there is, also of those that are no longer probed.
///
/// # Errors
/// Whatever Postgres reports.
pub async fn keys(connection: &mut PgConnection) -> Result<Vec<(TargetId, String)>, StoreError> {
    let rows =
        sqlx::query!(r#"select target_id as "target_id: TargetId", key from target"#).fetch_all(connection).await?;
    Ok(rows.into_iter().map(|row| (row.target_id, row.key)).collect())
}

/// Makes the targets of `source` be this list: new ones are added, changed ones
/// updated, those that came back revived with their history.
///
/// Targets of other sources are never touched, except that a key in this list
/// becomes this source's. Missing ones are marked deleted, but only when no other
/// worker seen in the last 15 seconds reports a different `digest`. From here on this
/// worker reports `digest`, so that of several that change their lists the last one removes.
///
/// # Errors
/// Whatever Postgres reports; nothing is changed then.
pub async fn apply(
    connection: &mut PgConnection,
    worker_id: &str,
    sources: &[Source],
    list: &[TargetSpec],
    digest: i64,
) -> Result<Applied, StoreError> {
    let mut transaction = connection.begin().await?;
    sqlx::query!("select pg_advisory_xact_lock($1)", LOCK).execute(&mut *transaction).await?;

    let keys: Vec<String> = list.iter().map(|target| target.key.clone()).collect();
    upsert(&mut transaction, list, &keys, None).await?;

    let sources: Vec<String> = sources.iter().map(|source| source.label().to_owned()).collect();
    sqlx::query!("update worker set config_digest = $2 where worker_id = $1", worker_id, digest)
        .execute(&mut *transaction)
        .await?;
    let others_differ = others_differ(&mut transaction, worker_id, digest).await?;
    let missing = sqlx::query_scalar!(
        "update target
         set deleted_at = case when $3 then null else clock_timestamp() end
         where deleted_at is null and source::text = any($1) and key <> all($2)
         returning key",
        &sources,
        &keys,
        others_differ,
    )
    .fetch_all(&mut *transaction)
    .await?;

    // In list order: `array_position` would be quadratic, ordinality is not.
    let placed = sqlx::query_as!(
        Placed,
        r#"select target_id as "target_id: TargetId", due_since
           from unnest($1::text[]) with ordinality as list (key, place)
           join target using (key)
           order by place"#,
        &keys,
    )
    .fetch_all(&mut *transaction)
    .await?;
    bind::bind(&mut transaction, list, &placed).await?;
    transaction.commit().await?;

    let (removed, kept) = if others_differ { (Vec::new(), missing) } else { (missing, Vec::new()) };
    Ok(Applied { placed, removed, kept })
}

/// Whether another worker that runs has a list with another digest.
pub(crate) async fn others_differ(
    connection: &mut PgConnection,
    worker_id: &str,
    digest: i64,
) -> Result<bool, StoreError> {
    Ok(sqlx::query_scalar!(
        r#"select exists (
               select from worker
               where worker_id <> $1 and stopped_at is null and config_digest <> $2
                 and seen_at > clock_timestamp() - interval '15 seconds'
           ) as "differ!""#,
        worker_id,
        digest,
    )
    .fetch_one(connection)
    .await?)
}

/// Adds these, or makes those that exist be so. What was `posted` is kept with them; the slots
/// of such a one are due a second later, so that workers know of it before the first is.
pub(crate) async fn upsert(
    connection: &mut PgConnection,
    list: &[TargetSpec],
    keys: &[String],
    posted: Option<&str>,
) -> Result<(), StoreError> {
    let names: Vec<String> = list.iter().map(|target| target.name.clone()).collect();
    let urls: Vec<String> = list.iter().map(|target| target.url.as_written().to_owned()).collect();
    let methods: Vec<String> = list.iter().map(|target| target.method.as_str().to_owned()).collect();
    let headers: Vec<Value> = list.iter().map(header_names).collect();
    let intervals: Vec<i32> = list.iter().map(|target| target.interval.millis()).collect();
    let timeouts: Vec<i32> = list.iter().map(|target| target.timeout.as_millis() as i32).collect();
    let degraded: Vec<i32> =
        list.iter().map(|target| i32::try_from(target.degraded_after.as_millis()).unwrap_or(i32::MAX)).collect();
    let expected: Vec<String> = list.iter().map(expected_ranges).collect();
    let expectations: Vec<Option<Value>> = list.iter().map(expectations).collect();
    let fresh: Vec<bool> = list.iter().map(|target| target.connection == common::Connection::Fresh).collect();
    let labels: Vec<Value> = list
        .iter()
        .map(|target| {
            target.labels.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect::<Map<_, _>>()
        })
        .map(Value::Object)
        .collect();
    let sources: Vec<String> = list.iter().map(|target| target.source.label().to_owned()).collect();
    sqlx::query!(
        "insert into target (key, name, url, method, headers, interval_ms, timeout_ms, degraded_ms, expect_status, connection, labels, source, expectations, posted, due_since)
         select key, name, url, method, headers, interval_ms, timeout_ms, degraded_ms, string_to_array(expected, ','),
                (case when fresh then 'fresh' else 'reuse' end)::target_connection, labels, source::target_source, expectations, $14::text,
                clock_timestamp() + case when $14::text is null then interval '0' else interval '1 second' end
         from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::jsonb[], $6::int4[], $7::int4[], $8::int4[], $9::text[], $10::bool[], $11::jsonb[], $12::text[], $13::jsonb[])
              as list (key, name, url, method, headers, interval_ms, timeout_ms, degraded_ms, expected, fresh, labels, source, expectations)
         order by key
         on conflict (key) do update set
             name = excluded.name, url = excluded.url, method = excluded.method, headers = excluded.headers,
             interval_ms = excluded.interval_ms, timeout_ms = excluded.timeout_ms, degraded_ms = excluded.degraded_ms,
             expect_status = excluded.expect_status, connection = excluded.connection, labels = excluded.labels,
             source = excluded.source, expectations = excluded.expectations, posted = excluded.posted, deleted_at = null,
             updated_at = clock_timestamp(), version = target.version + 1,
             due_since = case when target.deleted_at is null and target.interval_ms = excluded.interval_ms
                              then target.due_since else excluded.due_since end
         where (target.name, target.url, target.method, target.headers, target.interval_ms, target.timeout_ms,
                target.degraded_ms, target.expect_status, target.connection, target.labels, target.source,
                target.expectations, target.posted)
            is distinct from
               (excluded.name, excluded.url, excluded.method, excluded.headers, excluded.interval_ms, excluded.timeout_ms,
                excluded.degraded_ms, excluded.expect_status, excluded.connection, excluded.labels, excluded.source,
                excluded.expectations, excluded.posted)
            or target.deleted_at is not null",
        keys,
        &names,
        &urls,
        &methods,
        &headers,
        &intervals,
        &timeouts,
        &degraded,
        &expected,
        &fresh,
        &labels,
        &sources,
        &expectations as &[Option<Value>],
        posted,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Names only: a value may be a secret, and the worker has it from its own configuration.
fn header_names(target: &TargetSpec) -> Value {
    Value::Object(target.headers.iter().map(|(name, _)| (name.clone(), Value::Null)).collect())
}

fn expected_ranges(target: &TargetSpec) -> String {
    target.expect_status.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// Null for a target that asserts nothing.
pub(crate) fn expectations(target: &TargetSpec) -> Option<Value> {
    if target.expect.is_empty() {
        return None;
    }
    let secrets = Secrets::of(target);
    let each: Vec<_> = target.expect.iter().map(|one| one.to_json(&|text| secrets.hide(text))).collect();
    Some(json!({ "all": each }))
}

/// The targets of a URL as written, also those no longer probed.
///
/// # Errors
/// Whatever Postgres reports.
pub async fn of_url(connection: &mut PgConnection, url: &str) -> Result<Vec<TargetId>, StoreError> {
    // Index: target_url.
    Ok(sqlx::query_scalar!(r#"select target_id as "target_id: TargetId" from target where url = $1"#, url)
        .fetch_all(connection)
        .await?)
}

/// What answers show of a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Row id.
    pub target_id: TargetId,
    /// Stable identity.
    pub key: String,
    /// As written, less user and password.
    pub url: String,
}

/// Key and URL of these targets, or of all.
///
/// # Errors
/// Whatever Postgres reports.
pub async fn shown(connection: &mut PgConnection, ids: Option<&[i32]>) -> Result<Vec<Shown>, StoreError> {
    Ok(sqlx::query_as!(
        Shown,
        r#"select target_id as "target_id: TargetId", key, url from target
           where $1::int4[] is null or target_id = any($1)"#,
        ids,
    )
    .fetch_all(connection)
    .await?)
}
