//! One Postgres for all runs of the model, which takes the time to be the model's.

use std::str::FromStr;

use common::target::micros_to_utc;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, TryFutureExt};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{PgConnection, PgPool};
use store::partitions;
use store::testing::TestDb;

use crate::clock::Clock;

/// 20 s before an hour is over, so that roll-ups of that hour meet late results.
pub(super) const BEGIN_US: i64 = 1_795_262_380_000_000;

/// One database for all scenarios, emptied before each.
pub(super) struct Database(TestDb);

impl Database {
    pub(super) fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let db = TestDb::new().await;
            partitions::ensure_around(&db.pool, micros_to_utc(BEGIN_US)).await.unwrap();
            sqlx::raw_sql(
                "create schema virtual;
                 create function virtual.clock_timestamp() returns timestamptz language sql volatile as $$
                     select timestamptz 'epoch' + current_setting('virtual.now')::int8 * interval '1 microsecond'
                 $$",
            )
            .execute(&db.pool)
            .await
            .unwrap();
            db.pool.close().await;
            Self(db)
        })
    }

    /// A pool in which Postgres takes the time to be `clock`'s.
    pub(super) fn pool(&self, clock: &Clock) -> PgPool {
        // What is named first is looked into first, so ours lies before the built-in one.
        let options = PgConnectOptions::from_str(&self.0.url)
            .unwrap()
            .options([("search_path", "public,virtual,pg_catalog"), ("timezone", "UTC")]);
        let (first, then) = (clock.clone(), clock.clone());
        PgPoolOptions::new()
            .max_connections(1)
            .test_before_acquire(false)
            .idle_timeout(None)
            .max_lifetime(None)
            .after_connect(move |connection, _| set_time(connection, first.now_us()))
            .before_acquire(move |connection, _| set_time(connection, then.now_us()).map_ok(|()| true).boxed())
            .connect_lazy_with(options)
    }
}

fn set_time(connection: &mut PgConnection, now_us: i64) -> BoxFuture<'_, Result<(), sqlx::Error>> {
    let set = sqlx::query("select set_config('virtual.now', $1, false)").bind(now_us.to_string());
    set.execute(connection).map_ok(|_| ()).boxed()
}
