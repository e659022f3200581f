//! How far those who follow the batches are, each with a cursor of its own.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::StoreError;

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
