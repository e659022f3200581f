//! Partitions, one a day, made before they are needed.

use chrono::{DateTime, Days, NaiveDate, Utc};
use sqlx::{AssertSqlSafe, PgPool};

use crate::StoreError;

/// Partitions are made this many days ahead.
pub const DAYS_AHEAD: u64 = 7;

/// Makes the partitions of every partitioned table from the day before `now` to
/// [`DAYS_AHEAD`] days after it. What exists is left alone.
///
/// # Errors
/// [`StoreError::Unavailable`] also when a lock was not granted within a second.
pub async fn ensure_around(pool: &PgPool, now: DateTime<Utc>) -> Result<i32, StoreError> {
    let today = now.date_naive();
    ensure(pool, today - Days::new(1), today + Days::new(DAYS_AHEAD)).await
}

/// Makes the partitions of every partitioned table for these days, both included.
///
/// # Errors
/// As [`ensure_around`].
pub async fn ensure(pool: &PgPool, from: NaiveDate, to: NaiveDate) -> Result<i32, StoreError> {
    let mut made = 0;
    for table in ["check_result", "rollup_minute", "access_event"] {
        made +=
            sqlx::query_scalar!(r#"select make_partitions($1::text::regclass, $2, $3) as "made!""#, table, from, to)
                .fetch_one(pool)
                .await?;
    }
    Ok(made)
}

/// A partition that holds nothing newer than it should.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Expired {
    table: String,
    /// `None` once it is detached and only has to be dropped.
    parent: Option<String>,
    /// A detach was begun and did not finish.
    is_pending: bool,
    /// Our role owns it.
    is_ours: bool,
}

/// Takes the partitions of `parent` whose day is before `keep_from` away: detached
/// concurrently, so that nobody waits, then dropped. Finishes what a crash left
/// half done. Returns how many are gone. What another role owns goes through a
/// function of the owner's, which detaches at once and gives up after half a second.
///
/// # Errors
/// [`StoreError::Unavailable`] also when a lock was not granted within a second;
/// what is done by then stays done.
pub async fn drop_before(pool: &PgPool, parent: &str, keep_from: NaiveDate) -> Result<usize, StoreError> {
    let mut connection = pool.acquire().await?;
    let expired = sqlx::query_as!(
        Expired,
        r#"select c.relname::text as "table!", i.inhparent::regclass::text as parent,
                  coalesce(i.inhdetachpending, false) as "is_pending!",
                  pg_has_role(c.relowner, 'usage') as "is_ours!"
           from pg_class c left join pg_inherits i on i.inhrelid = c.oid
           where c.relnamespace = current_schema()::regnamespace and c.relkind = 'r'
             and c.relname ~ ('^' || $1 || '_[0-9]{8}$')
             and right(c.relname, 8) < to_char($2::date, 'YYYYMMDD')
           order by 1"#,
        parent,
        keep_from,
    )
    .fetch_all(&mut *connection)
    .await?;
    // These run outside a transaction, and the names come from the catalogue by the pattern above.
    sqlx::query("set lock_timeout = '1s'").execute(&mut *connection).await?;
    let mut gone = 0;
    let result = async {
        for Expired { table, parent, is_pending, is_ours } in expired {
            if !is_ours {
                sqlx::query!("select drop_partition($1::text::regclass, $2)", table, keep_from)
                    .execute(&mut *connection)
                    .await?;
                gone += 1;
                continue;
            }
            if let Some(parent) = parent {
                let how = if is_pending { "finalize" } else { "concurrently" };
                let detach = format!("alter table {parent} detach partition {table} {how}");
                sqlx::query(AssertSqlSafe(detach)).execute(&mut *connection).await?;
            }
            sqlx::query(AssertSqlSafe(format!("drop table {table}"))).execute(&mut *connection).await?;
            gone += 1;
        }
        Ok(gone)
    };
    let result = result.await;
    sqlx::query("reset lock_timeout").execute(&mut *connection).await?;
    result
}

/// Deletes small rows that nobody asks for any more, some thousands at a time:
/// second roll-ups before `seconds_from`, batches before `batches_from`, hour
/// roll-ups and gaps before `hours_from`, workers not seen for a day. Returns how many; ask
/// again until it is few.
///
/// # Errors
/// Whatever Postgres reports.
pub async fn delete_before(
    pool: &PgPool,
    seconds_from: DateTime<Utc>,
    batches_from: DateTime<Utc>,
    hours_from: DateTime<Utc>,
) -> Result<u64, StoreError> {
    let mut deleted = 0;
    // Index: rollup_second_pkey.
    deleted += sqlx::query!(
        "delete from rollup_second where bucket_at in
         (select bucket_at from rollup_second where bucket_at < $1 order by bucket_at limit $2)",
        seconds_from,
        DELETE_AT_ONCE,
    )
    .execute(pool)
    .await?
    .rows_affected();
    // Index: batch_pkey; ids grow with time.
    deleted += sqlx::query!(
        "delete from batch where batch_id in
         (select batch_id from (select batch_id, created_at from batch order by batch_id limit $2) oldest
          where created_at < $1)",
        batches_from,
        DELETE_AT_ONCE,
    )
    .execute(pool)
    .await?
    .rows_affected();
    // Index: rollup_hour_time.
    deleted += sqlx::query!(
        "delete from rollup_hour h using
         (select target_id, bucket_at, location_id from rollup_hour where bucket_at < $1 order by bucket_at limit $2) old
         where h.target_id = old.target_id and h.bucket_at = old.bucket_at and h.location_id = old.location_id",
        hours_from,
        DELETE_AT_ONCE,
    )
    .execute(pool)
    .await?
    .rows_affected();
    // Index: gap_time. As long as hours are kept, their coverage needs them.
    deleted += sqlx::query!(
        "delete from gap g using (select target_id, from_at, location_id from gap where to_at < $1 limit $2) old
         where g.target_id = old.target_id and g.from_at = old.from_at and g.location_id = old.location_id",
        hours_from,
        DELETE_AT_ONCE,
    )
    .execute(pool)
    .await?
    .rows_affected();
    deleted += sqlx::query!("delete from worker where seen_at < clock_timestamp() - interval '1 day'")
        .execute(pool)
        .await?
        .rows_affected();
    Ok(deleted)
}

/// Rows of a table deleted by one statement at most.
const DELETE_AT_ONCE: i64 = 5_000;
