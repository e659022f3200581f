//! What others post: access events and changes, each post one batch.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::{Acquire, PgConnection, Postgres, Transaction};

use crate::batches::CHANNEL;
use crate::{StoreError, partitions};

/// A request that somebody else saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// To which endpoint.
    pub endpoint_id: i32,
    /// When, nanoseconds since the epoch.
    pub at_ns: i64,
    /// Its status code, 100 to 599.
    pub status: i16,
    /// Its place in the post.
    pub ordinal: i32,
}

/// A change that was rolled out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Of which service.
    pub service_id: i32,
    /// The commit.
    pub commit: String,
    /// Who made it.
    pub author: Option<String>,
    /// When it was rolled out, as the sender says.
    pub at: DateTime<Utc>,
    /// Its place in the post.
    pub ordinal: i32,
}

/// The answer to a post, kept under its idempotency key.
#[derive(Debug, Clone, PartialEq)]
pub struct Receipt {
    /// As the sender chose it.
    pub key: String,
    /// Digest of the body.
    pub digest: Vec<u8>,
    /// Status of the answer.
    pub status: i16,
    /// The answer.
    pub answer: Value,
}

/// What the sender of an event calls it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventId {
    /// As the sender chose it.
    pub id: String,
    /// Digest of the event.
    pub digest: Vec<u8>,
}

/// Whether an id is somebody's already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// It is this event's from now on.
    New,
    /// The same event was stored under it.
    Duplicate,
    /// Another event was stored under it.
    Taken,
}

/// Begins what [`claim`] and [`write`] are parts of: dropped, it leaves nothing behind.
///
/// # Errors
/// Whatever Postgres reports.
pub async fn begin(connection: &mut PgConnection) -> Result<Transaction<'_, Postgres>, StoreError> {
    Ok(connection.begin().await?)
}

/// Takes ids for events, for a day from now on. Of the same one twice the first is new.
///
/// # Errors
/// Whatever Postgres reports.
pub async fn claim(connection: &mut PgConnection, ids: &[EventId]) -> Result<Vec<Claim>, StoreError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    // Index: event_id_time. A few more than a post has, so that none has to wait for what piled up.
    sqlx::query!(
        "delete from event_id where ctid = any(array(
             select ctid from event_id where created_at < now() - interval '1 day'
             order by created_at limit 20000 for update skip locked))"
    )
    .execute(&mut *connection)
    .await?;
    let names: Vec<String> = ids.iter().map(|one| one.id.clone()).collect();
    let digests: Vec<Vec<u8>> = ids.iter().map(|one| one.digest.clone()).collect();
    // Index: event_id_pkey.
    sqlx::query!("delete from event_id where id = any($1) and created_at < now() - interval '1 day'", &names)
        .execute(&mut *connection)
        .await?;
    // In one order, or two posts with the same ids would wait for each other.
    let taken = sqlx::query_scalar!(
        "insert into event_id (id, digest)
         select distinct on (id) id, digest from unnest($1::text[], $2::bytea[]) with ordinality as u (id, digest, place)
         order by id, place
         on conflict do nothing
         returning id",
        &names,
        &digests,
    )
    .fetch_all(&mut *connection)
    .await?;
    let mut taken: HashSet<String> = taken.into_iter().collect();
    // Index: event_id_pkey.
    let stored =
        sqlx::query!("select id, digest from event_id where id = any($1)", &names).fetch_all(connection).await?;
    let stored: HashMap<String, Vec<u8>> = stored.into_iter().map(|row| (row.id, row.digest)).collect();
    let claims = ids.iter().map(|one| {
        if stored.get(&one.id) != Some(&one.digest) {
            Claim::Taken
        } else if taken.remove(&one.id) {
            Claim::New
        } else {
            Claim::Duplicate
        }
    });
    Ok(claims.collect())
}

/// The receipt of a key, if it was used within the last day.
///
/// # Errors
/// Whatever Postgres reports.
pub async fn receipt(connection: &mut PgConnection, key: &str) -> Result<Option<Receipt>, StoreError> {
    Ok(sqlx::query_as!(
        Receipt,
        "select key, digest, status, answer from receipt
         where key = $1 and created_at > clock_timestamp() - interval '1 day'",
        key,
    )
    .fetch_optional(connection)
    .await?)
}

/// Stores a post: rows, batch, receipt and notification commit together. Returns
/// false, and stores nothing, when the receipt's key was taken meanwhile.
///
/// # Errors
/// Whatever Postgres reports; nothing is stored then.
pub async fn write(
    connection: &mut PgConnection,
    source: &str,
    accesses: &[Access],
    changes: &[Change],
    receipt: Option<&Receipt>,
) -> Result<bool, StoreError> {
    let mut transaction = connection.begin().await?;
    if let Some(receipt) = receipt {
        // Index: receipt_time. A few at a time.
        sqlx::query!(
            "delete from receipt where ctid = any(array(
                 select ctid from receipt where created_at < now() - interval '1 day'
                 order by created_at limit 100 for update skip locked))"
        )
        .execute(&mut *transaction)
        .await?;
        // Index: receipt_pkey.
        sqlx::query!("delete from receipt where key = $1 and created_at < now() - interval '1 day'", receipt.key)
            .execute(&mut *transaction)
            .await?;
        let kept = sqlx::query!(
            "insert into receipt (key, digest, status, answer) values ($1, $2, $3, $4) on conflict do nothing",
            receipt.key,
            receipt.digest,
            receipt.status,
            receipt.answer,
        )
        .execute(&mut *transaction)
        .await?;
        if kept.rows_affected() == 0 {
            return Ok(false);
        }
    }
    if !accesses.is_empty() || !changes.is_empty() {
        let batch_id = insert(&mut transaction, source, accesses, changes).await?;
        sqlx::query!("select pg_notify($1, $2)", CHANNEL, batch_id.to_string()).execute(&mut *transaction).await?;
    }
    transaction.commit().await?;
    Ok(true)
}

async fn insert(
    connection: &mut PgConnection,
    source: &str,
    accesses: &[Access],
    changes: &[Change],
) -> Result<i64, StoreError> {
    let kind = if accesses.is_empty() { "change" } else { "event" };
    // The default of `received_at` is the same moment: the transaction's.
    let batch_id = sqlx::query_scalar!(
        r#"insert into batch (kind, first_at, last_at, rows) values ($1::text::batch_kind, now(), now(), $2) returning batch_id"#,
        kind,
        (accesses.len() + changes.len()) as i32,
    )
    .fetch_one(&mut *connection)
    .await?;
    let endpoints: Vec<i32> = accesses.iter().map(|one| one.endpoint_id).collect();
    let at_ns: Vec<i64> = accesses.iter().map(|one| one.at_ns).collect();
    let statuses: Vec<i16> = accesses.iter().map(|one| one.status).collect();
    let ordinals: Vec<i32> = accesses.iter().map(|one| one.ordinal).collect();
    sqlx::query!(
        "insert into access_event (endpoint_id, at_ns, status, ordinal, batch_id)
         select u.*, $5 from unnest($1::int4[], $2::int8[], $3::int2[], $4::int4[]) as u",
        &endpoints,
        &at_ns,
        &statuses,
        &ordinals,
        batch_id,
    )
    .execute(&mut *connection)
    .await?;
    let services: Vec<i32> = changes.iter().map(|one| one.service_id).collect();
    let commits: Vec<String> = changes.iter().map(|one| one.commit.clone()).collect();
    let authors: Vec<Option<String>> = changes.iter().map(|one| one.author.clone()).collect();
    let at: Vec<DateTime<Utc>> = changes.iter().map(|one| one.at).collect();
    let ordinals: Vec<i32> = changes.iter().map(|one| one.ordinal).collect();
    sqlx::query!(
        "insert into change (service_id, commit_id, author, at, ordinal, source, batch_id)
         select u.*, $6, $7
         from unnest($1::int4[], $2::text[], $3::text[], $4::timestamptz[], $5::int4[])
              as u (service_id, commit_id, author, at, ordinal)
         order by u.ordinal",
        &services,
        &commits,
        &authors as &[Option<String>],
        &at,
        &ordinals,
        source,
        batch_id,
    )
    .execute(connection)
    .await?;
    Ok(batch_id)
}

/// Makes the partitions that a post of this moment needs. For a caller that met
/// [`StoreError::NoPartition`].
///
/// # Errors
/// Whatever Postgres reports.
pub async fn make_partition(pool: &sqlx::PgPool, now: DateTime<Utc>) -> Result<(), StoreError> {
    partitions::ensure_around(pool, now).await.map(|_| ())
}

/// A change as people see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownChange {
    /// Row id.
    pub change_id: i64,
    /// Name of the service.
    pub service: String,
    /// The commit.
    pub commit: String,
    /// Who made it.
    pub author: Option<String>,
    /// When it was rolled out, as the sender says.
    pub at: DateTime<Utc>,
    /// When we heard of it.
    pub received_at: DateTime<Utc>,
    /// Who told us.
    pub source: String,
}

/// Changes in `[from, to)` by their own time, of one service or of all, the newest
/// first, before `(at, change_id)`.
///
/// # Errors
/// Whatever Postgres reports.
pub async fn changes(
    connection: &mut PgConnection,
    service: Option<&str>,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
    before: (DateTime<Utc>, i64),
    limit: i64,
) -> Result<Vec<ShownChange>, StoreError> {
    // Index: change_service_time of one service.
    Ok(sqlx::query_as!(
        ShownChange,
        r#"select c.change_id, s.name as service, c.commit_id as commit, c.author, c.at, c.received_at, c.source
           from change c join service s using (service_id)
           where ($1::text is null or s.name = $1)
             and c.at >= $2 and c.at < $3 and (c.at, c.change_id) < ($4, $5)
           order by c.at desc, c.change_id desc
           limit $6"#,
        service,
        from,
        to,
        before.0,
        before.1,
        limit,
    )
    .fetch_all(connection)
    .await?)
}
