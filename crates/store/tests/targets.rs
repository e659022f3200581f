//! Lists of targets against a real Postgres: who comes, goes and stays, and that no secret gets there.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;

use chrono::Utc;
use common::expect::TextTest;
use common::{Expectation, Source, StatusRange, TargetSpec, TargetUrl};
use store::targets;
use store::testing::TestDb;

fn target(key: &str) -> TargetSpec {
    TargetSpec {
        headers: vec![("authorization".to_owned(), "s3cret".to_owned())],
        body: Some("s3cret".to_owned()),
        expect_status: vec![StatusRange::SUCCESS, StatusRange { from: 301, to: 301 }],
        labels: BTreeMap::from([("team".to_owned(), "core".to_owned())]),
        source: Source::File,
        ..TargetSpec::new(key, TargetUrl::parse("http://user:s3cret@example.org/").unwrap())
    }
}

const SOURCES: [Source; 2] = [Source::Env, Source::File];

#[tokio::test]
async fn a_target_that_comes_back_keeps_its_row() {
    let db = TestDb::new().await;
    let mut connection = db.pool.acquire().await.unwrap();
    let both = targets::apply(&mut connection, "w", &SOURCES, &[target("a"), target("b")], 1).await.unwrap();
    let one = targets::apply(&mut connection, "w", &SOURCES, &[target("b")], 2).await.unwrap();
    assert_eq!(one.removed, ["a"]);
    let back = targets::apply(&mut connection, "w", &SOURCES, &[target("b"), target("a")], 1).await.unwrap();
    let ids = |applied: &targets::Applied| applied.placed.iter().map(|placed| placed.target_id).collect::<Vec<_>>();
    assert_eq!(ids(&back), [ids(&both)[1], ids(&both)[0]]);
    assert_eq!(back.placed[0].due_since, both.placed[1].due_since, "b was never away");
    assert!(back.placed[1].due_since > both.placed[0].due_since, "a is due anew");
    let gone: i64 = sqlx::query_scalar("select count(*) from target where deleted_at is not null")
        .fetch_one(&db.pool)
        .await
        .unwrap();
    assert_eq!(gone, 0);
}

#[tokio::test]
async fn a_list_deletes_nothing_while_another_worker_has_a_different_one() {
    let db = TestDb::new().await;
    let mut connection = db.pool.acquire().await.unwrap();
    targets::apply(&mut connection, "w1", &SOURCES, &[target("a")], 1).await.unwrap();
    let report = store::workers::Report::first("w1", Utc::now(), 1);
    store::workers::report(&mut connection, &report).await.unwrap();
    let applied = targets::apply(&mut connection, "w2", &SOURCES, &[target("b")], 2).await.unwrap();
    assert_eq!((applied.removed, applied.kept), (vec![], vec!["a".to_owned()]));
    store::workers::stopped(&mut connection, "w1").await.unwrap();
    let applied = targets::apply(&mut connection, "w2", &SOURCES, &[target("b")], 2).await.unwrap();
    assert_eq!(applied.removed, ["a"]);
}

#[tokio::test]
async fn no_secret_of_a_target_reaches_the_database() {
    let db = TestDb::new().await;
    let mut connection = db.pool.acquire().await.unwrap();
    targets::apply(&mut connection, "w", &SOURCES, &[target("a")], 1).await.unwrap();
    let row: String = sqlx::query_scalar("select to_jsonb(t)::text from target t").fetch_one(&db.pool).await.unwrap();
    assert!(!row.contains("s3cret"), "{row}");
    assert!(row.contains("authorization") && row.contains("http://example.org/") && row.contains("301"), "{row}");
}

#[tokio::test]
async fn assertions_are_kept_with_their_target_and_without_its_secrets() {
    let db = TestDb::new().await;
    let mut connection = db.pool.acquire().await.unwrap();
    let mut spec = target("a");
    let kept = || sqlx::query_scalar::<_, Option<String>>("select expectations::text from target").fetch_one(&db.pool);
    targets::apply(&mut connection, "w", &SOURCES, std::slice::from_ref(&spec), 1).await.unwrap();
    assert_eq!(kept().await.unwrap(), None);
    spec.expect = vec![
        Expectation::Latency(std::time::Duration::from_millis(500)),
        Expectation::Body(TextTest::Contains("has s3cret in it".to_owned())),
    ];
    targets::apply(&mut connection, "w", &SOURCES, std::slice::from_ref(&spec), 1).await.unwrap();
    assert_eq!(
        kept().await.unwrap().unwrap(),
        r#"{"all": [{"latency": "500ms"}, {"body": {"contains": "has *** in it"}}]}"#
    );
    spec.expect.clear();
    targets::apply(&mut connection, "w", &SOURCES, std::slice::from_ref(&spec), 1).await.unwrap();
    assert_eq!(kept().await.unwrap(), None);
}
