//! Applying the migrations, on databases of the test server.

use std::time::{Duration, Instant};

use schema::SchemaError;
use sqlx::AssertSqlSafe;
use store::testing::TestDb;

#[tokio::test]
async fn six_migrations_at_once_of_a_new_database_all_succeed() {
    let db = TestDb::empty().await;
    let url = db.url();
    let all = futures_util::future::join_all((0..6).map(|_| schema::migrate(url))).await;
    let applied: Vec<_> = all.into_iter().map(Result::unwrap).collect();
    assert!(applied.iter().all(|one| one.version == schema::version()));
    // One did the work, five found it done.
    let busy = applied.iter().filter(|one| !one.names.is_empty()).count();
    assert_eq!(busy, 1, "{applied:?}");
}

#[tokio::test]
async fn an_older_binary_lives_beside_a_newer_schema() {
    let db = TestDb::new().await;
    let newer = schema::version() + 1;
    sqlx::query(AssertSqlSafe(format!(
        "insert into refinery_schema_history values ({newer}, 'later', '2030-01-01T00:00:00Z', '1')"
    )))
    .execute(&db.pool)
    .await
    .unwrap();
    let applied = schema::migrate(db.url()).await.unwrap();
    assert_eq!(applied.names, Vec::<String>::new());
    assert_eq!(applied.version, newer);
}

#[tokio::test]
async fn a_migration_waits_for_who_reads_a_table_and_holds_up_nobody_for_longer_than_a_second() {
    let db = TestDb::new().await;
    let mut reading = db.pool.begin().await.unwrap();
    sqlx::query("select key from target").fetch_all(&mut *reading).await.unwrap();
    let url = db.url().to_owned();
    let name = format!("V{}__later", schema::version() + 1);
    let (first, again) = (name.clone(), name.clone());
    let more = "alter table target add column later text";
    let migrating = tokio::spawn(async move { schema::migrate_further(&url, &first, more).await });

    let mut longest = Duration::ZERO;
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(4) {
        let asked = Instant::now();
        sqlx::query("select key from target").fetch_all(&db.pool).await.unwrap();
        longest = longest.max(asked.elapsed());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(!migrating.is_finished(), "there was nobody to wait for");
    // It has its second, and a busy machine another.
    assert!(longest < Duration::from_secs(2), "{longest:?}");
    reading.rollback().await.unwrap();
    let applied = migrating.await.unwrap().unwrap();
    assert_eq!(applied.names, std::slice::from_ref(&name));
    let again = schema::migrate_further(db.url(), &again, more).await.unwrap();
    assert_eq!((again.names.len(), again.version), (0, applied.version));
}

#[tokio::test]
async fn an_edited_migration_is_refused_by_name() {
    let db = TestDb::new().await;
    sqlx::query("update refinery_schema_history set checksum = '1' where version = 2").execute(&db.pool).await.unwrap();
    let error = schema::migrate(db.url()).await.unwrap_err();
    assert!(matches!(&error, SchemaError::Diverged { name, .. } if name.starts_with("V2__")));
    assert!(!error.is_retryable());
}

#[tokio::test]
async fn a_migration_that_was_skipped_is_named() {
    let db = TestDb::new().await;
    sqlx::query("delete from refinery_schema_history where version = 2").execute(&db.pool).await.unwrap();
    let error = schema::migrate(db.url()).await.unwrap_err();
    assert!(matches!(&error, SchemaError::OutOfOrder { name } if name.starts_with("V2__")));
}

#[tokio::test]
async fn a_failing_migration_is_named_with_what_postgres_said() {
    let db = TestDb::empty().await;
    sqlx::query("create table target (mine int4)").execute(&db.pool).await.unwrap();
    let error = schema::migrate(db.url()).await.unwrap_err();
    let message = error.to_string();
    assert!(matches!(error, SchemaError::Migration { .. }), "{message}");
    assert!(message.contains("migration V1__target failed"), "{message}");
    assert!(message.contains("already exists"), "{message}");
}

#[tokio::test]
async fn a_database_that_does_not_exist_is_told_apart() {
    let db = TestDb::empty().await;
    let mut url = url::Url::parse(db.url()).unwrap();
    url.set_path("no_such_database");
    let error = schema::migrate(url.as_str()).await.unwrap_err();
    assert!(matches!(error, SchemaError::NoDatabase { .. }), "{error}");
    assert!(error.to_string().contains("no_such_database"), "{error}");
}

#[tokio::test]
async fn every_test_database_is_new_and_goes_with_its_value() {
    let (one, other) = tokio::join!(TestDb::new(), TestDb::new());
    assert_ne!(one.url(), other.url());
    for db in [&one, &other] {
        let tables: i64 = sqlx::query_scalar("select count(*) from pg_tables where tablename = 'target'")
            .fetch_one(&db.pool)
            .await
            .unwrap();
        assert_eq!(tables, 1);
    }
    let url = one.url().to_owned();
    one.close().await;
    let error = schema::migrate(&url).await.unwrap_err();
    assert!(matches!(error, SchemaError::NoDatabase { .. }), "{error}");
}
