//! Following the batches in commit order: where each reader is, and what comes next.
//!
//! A batch id is given out before its transaction commits, so ids alone may skip
//! one. Readers go by `(xid, batch_id)` and take only batches below every
//! transaction that is still under way: nothing older can appear after that.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::{Acquire, PgConnection};

use crate::StoreError;

/// A place between two batches: everything up to and with this one is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Position {
    /// Transaction that wrote the batch.
    pub xid: i64,
    /// Its id.
    pub batch_id: i64,
}

/// A batch as its readers see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Where it stands.
    pub position: Position,
    /// Earliest slot, or moment, in it.
    pub first_at: DateTime<Utc>,
    /// Latest slot, or moment, in it.
    pub last_at: DateTime<Utc>,
    /// When it was written.
    pub created_at: DateTime<Utc>,
    /// How much is in it.
    pub rows: i32,
}

/// What a reader saved.
#[derive(Debug, Clone, PartialEq)]
pub struct Saved {
    /// How far it is.
    pub position: Position,
    /// What it needs to go on, in a form of its own.
    pub state: Option<Value>,
}

/// Makes sure that a reader has a cursor, and one that makes sense here: see [`lock`].
///
/// # Errors
/// Whatever Postgres reports.
pub async fn begin(connection: &mut PgConnection, reader: &str) -> Result<(), StoreError> {
    let mut transaction = connection.begin().await?;
    let saved = lock(&mut transaction, reader).await?;
    save(&mut transaction, reader, &saved).await?;
    Ok(transaction.commit().await?)
}

/// Where a reader is, unlocked.
///
/// # Errors
/// Whatever Postgres reports.
pub async fn position(connection: &mut PgConnection, reader: &str) -> Result<Position, StoreError> {
    let position = sqlx::query_as!(
        Position,
        r#"select xid::text::int8 as "xid!", batch_id from cursor where reader = $1"#,
        reader
    )
    .fetch_optional(connection)
    .await?;
    Ok(position.unwrap_or_default())
}

/// Where a reader is, locked until the end of the transaction. A reader that was
/// never there starts before the first batch.
///
/// A cursor ahead of the server's own transactions was restored from another one.
/// It would wait for years, and then read what it has read: such batches are
/// dropped, and the reader goes on with what is written from now on.
///
/// # Errors
/// Whatever Postgres reports.
pub async fn lock(connection: &mut PgConnection, reader: &str) -> Result<Saved, StoreError> {
    sqlx::query!("insert into cursor (reader, xid, batch_id) values ($1, '0', 0) on conflict do nothing", reader)
        .execute(&mut *connection)
        .await?;
    let row = sqlx::query!(
        r#"select xid::text::int8 as "xid!", batch_id, state, xid >= pg_snapshot_xmax(pg_current_snapshot()) as "is_ahead!"
           from cursor where reader = $1 for update"#,
        reader
    )
    .fetch_one(&mut *connection)
    .await?;
    let mut position = Position { xid: row.xid, batch_id: row.batch_id };
    if row.is_ahead {
        sqlx::query!("delete from batch where xid >= pg_snapshot_xmax(pg_current_snapshot())")
            .execute(&mut *connection)
            .await?;
        let xid = sqlx::query_scalar!(r#"select pg_snapshot_xmin(pg_current_snapshot())::text::int8 as "xid!""#)
            .fetch_one(connection)
            .await?;
        tracing::warn!(reader, "the database was restored from another server; going on with what is new");
        position = Position { xid: xid - 1, batch_id: i64::MAX };
    }
    Ok(Saved { position, state: row.state })
}

/// Notes how far a reader is, in the transaction that saves what it made of it.
///
/// # Errors
/// Whatever Postgres reports.
pub async fn save(connection: &mut PgConnection, reader: &str, saved: &Saved) -> Result<(), StoreError> {
    sqlx::query!(
        "update cursor set xid = $2::int8::text::xid8, batch_id = $3, state = $4, updated_at = clock_timestamp()
         where reader = $1",
        reader,
        saved.position.xid,
        saved.position.batch_id,
        saved.state,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The batches after a position, in order, at most `limit`.
///
/// # Errors
/// Whatever Postgres reports.
pub async fn batches(connection: &mut PgConnection, after: Position, limit: i64) -> Result<Vec<Batch>, StoreError> {
    // Index: batch_xid. Only batches that nothing older can still join.
    let rows = sqlx::query!(
        r#"select xid::text::int8 as "xid!", batch_id, first_at, last_at, created_at, rows
           from batch
           where (xid, batch_id) > ($1::int8::text::xid8, $2) and xid < pg_snapshot_xmin(pg_current_snapshot())
           order by xid, batch_id
           limit $3"#,
        after.xid,
        after.batch_id,
        limit,
    )
    .fetch_all(connection)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Batch {
            position: Position { xid: row.xid, batch_id: row.batch_id },
            first_at: row.first_at,
            last_at: row.last_at,
            created_at: row.created_at,
            rows: row.rows,
        })
        .collect())
}

/// Ids of the batches that can be seen and lie after a position: their rows are there, and not followed yet.
///
/// # Errors
/// Whatever Postgres reports.
pub async fn not_followed(connection: &mut PgConnection, after: Position) -> Result<Vec<i64>, StoreError> {
    // Index: batch_xid.
    Ok(sqlx::query_scalar!(
        "select batch_id from batch where (xid, batch_id) > ($1::int8::text::xid8, $2)",
        after.xid,
        after.batch_id,
    )
    .fetch_all(connection)
    .await?)
}

/// What a reader has still to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Behind {
    /// Who reads.
    pub reader: String,
    /// Batches it has not followed yet; counted up to 100,000.
    pub batches: i64,
    /// When the first of them was written; `None` when there is none.
    pub oldest_at: Option<DateTime<Utc>>,
}

/// How far each reader is behind, by name.
///
/// # Errors
/// Whatever Postgres reports.
pub async fn behind(connection: &mut PgConnection) -> Result<Vec<Behind>, StoreError> {
    // Index: batch_xid.
    Ok(sqlx::query_as!(
        Behind,
        r#"select c.reader, waiting.batches as "batches!", oldest.created_at as "oldest_at?"
           from cursor c
           cross join lateral (
               select count(*) as batches
               from (select from batch b where (b.xid, b.batch_id) > (c.xid, c.batch_id) limit 100000) ahead
           ) waiting
           left join lateral (
               select b.created_at from batch b
               where (b.xid, b.batch_id) > (c.xid, c.batch_id) order by b.xid, b.batch_id limit 1
           ) oldest on true
           order by c.reader"#
    )
    .fetch_all(connection)
    .await?)
}
