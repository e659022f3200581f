use common::{Cause, Outcome};
use serde_json::{Value, json};
use store::testing::TestDb;

use crate::support::{NOON_US, TestApi, check, store};

#[tokio::test]
async fn status_has_the_five_fields_oldest_first() {
    let db = TestDb::new().await;
    store(
        &db,
        &[
            check(1, NOON_US + 1_000_000, Outcome::Down(Cause::Timeout)),
            check(1, NOON_US, Outcome::Up),
            check(2, NOON_US + 500_000, Outcome::Down(Cause::Status)),
            check(2, NOON_US + 1_500_000, Outcome::Missed),
            check(1, NOON_US + 2_000_000, Outcome::Unknown),
            check(2, NOON_US + 2_500_000, Outcome::Degraded),
        ],
    )
    .await;
    let api = TestApi::start(&db.url).await;
    let expected = json!([
        {"ok": true, "code": 200, "elapsed": 0.012345, "date": "2026-11-21T12:00:00.000250Z", "url": "http://example.org/a?x=1"},
        {"ok": false, "code": 500, "elapsed": 0.012345, "date": "2026-11-21T12:00:00.500250Z", "url": "http://example.org/b"},
        {"ok": false, "code": 0, "elapsed": 0.012345, "date": "2026-11-21T12:00:01.000250Z", "url": "http://example.org/a?x=1"},
        {"ok": true, "code": 200, "elapsed": 0.012345, "date": "2026-11-21T12:00:02.500250Z", "url": "http://example.org/b"},
    ]);
    assert_eq!(api.json("/status").await, expected);
    let all = expected.as_array().unwrap();
    for (query, rows) in [
        ("limit=2", &all[2..]),
        ("limit=99", &all[..]),
        ("url=http://example.org/b", &[all[1].clone(), all[3].clone()]),
        ("url=http://example.org/nobody", &[]),
        ("outcome=down", &all[1..3]),
        ("outcome=degraded&limit=1", &all[3..]),
        ("since=2026-11-21T12:00:01Z", &all[2..]),
        ("until=2026-11-21T14:00:01%2B02:00", &all[..2]),
        ("since=2026-11-21T12:00:00.000250Z&until=2026-11-21T12:00:00.000251Z", &all[..1]),
    ] {
        assert_eq!(api.json(&format!("/status?{query}")).await, Value::from(rows.to_vec()), "{query}");
    }
    let response = api.get("/status").await;
    assert_eq!(response.headers()["content-type"], "application/json");
    api.stop().await;
}

#[tokio::test]
async fn an_empty_status_is_an_empty_array() {
    let db = TestDb::new().await;
    let api = TestApi::start(&db.url).await;
    assert_eq!(api.json("/status").await, json!([]));
    api.stop().await;
}

#[tokio::test]
async fn many_pages_are_one_ordered_array() {
    let db = TestDb::new().await;
    let mut checks: Vec<_> = (0..12_500)
        .flat_map(|n| [check(1, NOON_US + n * 1000, Outcome::Up), check(2, NOON_US + n * 1000, Outcome::Up)])
        .collect();
    // Started after thousands of others.
    checks[100].started_us = Some(NOON_US + 11_000_000);
    store(&db, &checks).await;
    let api = TestApi::start(&db.url).await;
    for (query, expected) in [("", 25_000), ("?limit=20001", 20_001), ("?limit=10000", 10_000)] {
        let rows = api.json(&format!("/status{query}")).await;
        let dates: Vec<&str> = rows.as_array().unwrap().iter().map(|row| row["date"].as_str().unwrap()).collect();
        assert_eq!(dates.len(), expected);
        assert!(dates.is_sorted(), "{query}");
    }
    api.stop().await;
}
