//! What a pool hands out, whatever became of those who had it before.

use std::time::Duration;

use sqlx::Connection;
use store::pool::{self, PoolSettings};
use store::testing::TestDb;

#[tokio::test]
async fn nobody_gets_a_connection_that_is_still_in_somebody_elses_transaction() {
    let db = TestDb::new().await;
    let one = PoolSettings { max_connections: 1, ..PoolSettings::WORKER };
    let pool = pool::lazy(&db.url, &one).unwrap();
    let mut cut_off = 0;
    for n in 0..400 {
        let begun = tokio::time::timeout(Duration::from_micros(n * 5), async {
            let mut connection = pool::acquire(&pool).await.unwrap();
            connection.begin().await.map(|_| ()).unwrap();
        });
        cut_off += usize::from(begun.await.is_err());
        let mut connection = pool::acquire(&pool).await.unwrap();
        // In a transaction of somebody else this began long ago.
        let is_own: bool = sqlx::raw_sql("select now() = statement_timestamp()")
            .fetch_one(&mut *connection)
            .await
            .map(|row| sqlx::Row::get(&row, 0))
            .unwrap();
        assert!(is_own, "after {n} beginnings");
    }
    assert!(cut_off > 0);
}

#[tokio::test]
async fn c44_a_user_that_may_do_too_little_is_told_so_and_not_waited_for() {
    let db = TestDb::new().await;
    let joint = if db.url.contains('?') { '&' } else { '?' };
    let url = format!("{}{joint}options=-c%20role%3Dpg_monitor", db.url);
    let pool = pool::lazy(&url, &PoolSettings::WORKER).unwrap();
    pool::ping(&pool).await.unwrap();
    let error = pool::schema_version(&pool).await.unwrap_err();
    assert!(!error.is_transient());
    assert_eq!(
        error.to_string(),
        "postgres lets this user do too little: permission denied for table refinery_schema_history \
         (grant it what is missing, or use the owner of the tables)"
    );
}

#[test]
fn c44_a_postgres_that_cannot_be_reached_is_asked_less_and_less_often() {
    let waits: Vec<u128> = (1..=6).map(|failures| store::pool::retry_after(failures).as_millis()).collect();
    assert_eq!(waits, [250, 500, 1_000, 2_000, 2_000, 2_000]);
    assert_eq!(store::pool::retry_after(u32::MAX).as_millis(), 2_000);
}

#[tokio::test]
async fn no_statement_is_compiled_which_takes_longer_than_any_of_ours_runs() {
    let db = TestDb::new().await;
    for settings in [PoolSettings::WORKER, PoolSettings::KEEPER, PoolSettings::API] {
        let pool = pool::lazy(&db.url, &settings).unwrap();
        let compiles: String = sqlx::query_scalar("show jit").fetch_one(&pool).await.unwrap();
        assert_eq!(compiles, "off", "{}", settings.application);
        pool.close().await;
    }
}

#[tokio::test]
async fn a_full_disk_is_told_from_a_postgres_that_is_away() {
    let db = TestDb::new().await;
    for (code, is_full) in [("53100", true), ("53300", false)] {
        let raise = format!("do $$ begin raise exception 'could not extend file' using errcode = '{code}'; end $$");
        let error = sqlx::raw_sql(sqlx::AssertSqlSafe(raise)).execute(&db.pool).await.map(|_| ()).unwrap_err();
        let error = store::StoreError::from(error);
        assert_eq!((error.is_transient(), error.is_disk_full()), (true, is_full), "{error}");
    }
}
