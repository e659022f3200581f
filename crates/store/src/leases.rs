//! Who probes which shard. All comparisons happen in Postgres, in its own time.

use std::time::Duration;

use chrono::{DateTime, Utc};
use common::Shard;
use sqlx::PgConnection;
use sqlx::postgres::types::PgInterval;

use crate::StoreError;

/// A lease that is not renewed for this long may be taken by another worker.
pub const LEASE: Duration = Duration::from_secs(5);

/// A shard that just changed hands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// Which shard.
    pub shard: Shard,
    /// The new epoch.
    pub epoch: i64,
    /// Every slot before this has its row; `None` if nobody ever held the shard.
    pub complete_until: Option<DateTime<Utc>>,
    /// The last holder sees to every slot before this; `None` if its lease just ran out.
    pub released_at: Option<DateTime<Utc>>,
}

pub(crate) fn lease_interval() -> PgInterval {
    PgInterval { months: 0, days: 0, microseconds: LEASE.as_micros() as i64 }
}

/// Takes shards that nobody holds: every one whose lease ran out, and of those that
/// were handed over at most `quota`.
///
/// # Errors
/// Whatever Postgres reports.
pub async fn take(connection: &mut PgConnection, worker_id: &str, quota: i64) -> Result<Vec<Taken>, StoreError> {
    Ok(sqlx::query_as!(
        Taken,
        r#"with free as (
               select shard_id, released_at from shard_lease
               where holder is null or expires_at <= clock_timestamp()
               order by released_at nulls first, shard_id
               for update skip locked
           ),
           chosen as (
               select shard_id, released_at from free where released_at is null
               union all
               (select shard_id, released_at from free where released_at is not null limit greatest($3::int8, 0))
           )
           update shard_lease l
           set epoch = l.epoch + 1, holder = $1, expires_at = clock_timestamp() + $2, released_at = null
           from chosen
           where l.shard_id = chosen.shard_id
           returning l.shard_id as "shard: Shard", l.epoch, l.complete_until, chosen.released_at"#,
        worker_id,
        lease_interval(),
        quota,
    )
    .fetch_all(connection)
    .await?)
}

/// Extends those of `shards` that `worker_id` still has, and notes how far its slots
/// are complete. Gives back which they are.
///
/// A lease that ran out is not extended, even when nobody took it: it has to be
/// taken again, with a new epoch.
///
/// # Errors
/// Whatever Postgres reports.
pub async fn renew(
    connection: &mut PgConnection,
    worker_id: &str,
    shards: &[Shard],
    complete_until: Option<DateTime<Utc>>,
) -> Result<Vec<Shard>, StoreError> {
    Ok(sqlx::query_scalar!(
        r#"update shard_lease
           set expires_at = clock_timestamp() + $2, complete_until = greatest(complete_until, $3)
           where holder = $1 and shard_id = any($4) and expires_at > clock_timestamp()
           returning shard_id as "shard: Shard""#,
        worker_id,
        lease_interval(),
        complete_until,
        &shards.iter().map(|shard| shard.0).collect::<Vec<_>>(),
    )
    .fetch_all(connection)
    .await?)
}

/// Hands shards over: from `released_at` on their slots are somebody else's, so that
/// nothing is complete beyond it, however far the worker is with other shards. Without
/// such a moment it is as if their leases had run out.
///
/// # Errors
/// Whatever Postgres reports.
pub async fn release(
    connection: &mut PgConnection,
    worker_id: &str,
    shards: &[Shard],
    released_at: Option<DateTime<Utc>>,
    complete_until: Option<DateTime<Utc>>,
) -> Result<(), StoreError> {
    sqlx::query!(
        "update shard_lease
         set holder = null, expires_at = '-infinity', released_at = $3, complete_until = greatest(complete_until, $4)
         where holder = $1 and shard_id = any($2)",
        worker_id,
        &shards.iter().map(|shard| shard.0).collect::<Vec<_>>(),
        released_at,
        complete_until.min(released_at.or(complete_until)),
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// How the shards are held, all together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// Shards with a holder whose lease has not run out.
    pub shards: i64,
    /// Sum of all epochs: how often a shard has changed hands, ever.
    pub epochs: i64,
}

/// How the shards are held.
///
/// # Errors
/// Whatever Postgres reports.
pub async fn held(connection: &mut PgConnection) -> Result<Held, StoreError> {
    Ok(sqlx::query_as!(
        Held,
        r#"select count(*) filter (where holder is not null and expires_at > clock_timestamp()) as "shards!",
                  coalesce(sum(epoch), 0)::int8 as "epochs!"
           from shard_lease"#
    )
    .fetch_one(connection)
    .await?)
}

/// What Postgres takes the time to be.
///
/// # Errors
/// Whatever Postgres reports.
pub async fn database_time(connection: &mut PgConnection) -> Result<DateTime<Utc>, StoreError> {
    Ok(sqlx::query_scalar!(r#"select clock_timestamp() as "now!""#).fetch_one(connection).await?)
}
