use chrono::Utc;
use common::{Cause, Outcome, Phases, TargetId};
use serde_json::{Value, json};
use store::batches::{self, Gap, GapReason};
use store::testing::TestDb;

use crate::support::{TestApi, check, store};

#[tokio::test]
async fn a_target_tells_its_state_and_since_when() {
    let db = TestDb::new().await;
    let now = Utc::now().timestamp_micros();
    let ago = |seconds: i64| now - seconds * 1_000_000;
    store(
        &db,
        &[
            check(1, ago(50), Outcome::Up),
            check(1, ago(40), Outcome::Down(Cause::Status)),
            check(1, ago(30), Outcome::Missed),
            check(1, ago(20), Outcome::Down(Cause::Timeout)),
            check(1, ago(10), Outcome::Unknown),
        ],
    )
    .await;
    sqlx::query("update target set interval_ms = 10000").execute(&db.pool).await.unwrap();
    let api = TestApi::start(&db.url).await;
    let a = api.json("/api/v1/targets/a").await;
    assert_eq!(
        (&a["state"], &a["source"], &a["url"]),
        (&json!("down"), &json!("env"), &json!("http://example.org/a?x=1"))
    );
    assert_eq!(a["last_check"]["cause"], "timeout");
    let since: chrono::DateTime<Utc> = a["since"].as_str().unwrap().parse().unwrap();
    assert_eq!(since.timestamp_micros(), ago(40) + 250, "a missed slot does not end the outage");
    store(&db, &[check(2, ago(60), Outcome::Up), check(2, ago(15), Outcome::Up)]).await;
    let b = api.json("/api/v1/targets/b").await;
    let since: chrono::DateTime<Utc> = b["since"].as_str().unwrap().parse().unwrap();
    assert_eq!(since.timestamp_micros(), ago(60) + 250, "it was never anything else");
    sqlx::query("update target set interval_ms = 1000 where key = 'b'").execute(&db.pool).await.unwrap();
    assert_eq!(api.json("/api/v1/targets/b").await["state"], "unknown", "silence is no good news");
    sqlx::query("delete from check_result where target_id = 2").execute(&db.pool).await.unwrap();
    let b = api.json("/api/v1/targets/b").await;
    assert_eq!((&b["state"], &b["last_check"], &b["since"]), (&json!("unknown"), &Value::Null, &Value::Null));
    assert_eq!(api.get("/api/v1/targets/nobody").await.status(), 404);
    api.stop().await;
}

#[tokio::test]
async fn a_target_shows_how_it_did_in_five_windows_and_its_newest_slots() {
    let db = TestDb::new().await;
    let now = Utc::now().timestamp_micros();
    let ago = |seconds: i64| now - seconds * 1_000_000;
    let mut checks = vec![
        check(1, ago(10), Outcome::Up),
        check(1, ago(20), Outcome::Down(Cause::Status)),
        check(1, ago(100), Outcome::Down(Cause::Timeout)),
        check(1, ago(600), Outcome::Missed),
        check(1, ago(2_000), Outcome::Degraded),
        check(1, ago(80_000), Outcome::Up),
        check(1, ago(90_000), Outcome::Up),
        check(2, ago(10), Outcome::Up),
    ];
    checks[0].phases = Phases { dns_us: None, connect_us: Some(1_500), first_byte_us: Some(10_000) };
    store(&db, &checks).await;
    // Three one-second slots nobody watched; at ten seconds they are one.
    let from_us = ago(1_500);
    let gap = Gap { target_id: TargetId(1), from_us, to_us: from_us + 2_000_001, reason: GapReason::NoWorker };
    batches::write_gaps(&mut db.pool.acquire().await.unwrap(), &[gap]).await.unwrap();
    let api = TestApi::start(&db.url).await;
    // Said to be due every second, a day is counted in minutes; every ten, by rows.
    for (interval_ms, source) in [(1_000, "minute"), (10_000, "rows")] {
        sqlx::query("update target set interval_ms = $1, timeout_ms = 500")
            .bind(interval_ms)
            .execute(&db.pool)
            .await
            .unwrap();
        let a = api.json("/api/v1/targets/a").await;
        let windows = a["windows"].as_array().unwrap();
        let told = |name: &str| windows.iter().map(|window| window[name].clone()).collect::<Vec<_>>();
        assert_eq!(told("name"), ["1m", "5m", "15m", "1h", "24h"]);
        assert_eq!(told("failure_percentage"), [json!(50.0), json!(66.667), json!(66.667), json!(50.0), json!(40.0)]);
        assert_eq!(told("source"), ["rows", "rows", "rows", "rows", source]);
        assert_eq!(told("seconds")[..4], [60.0, 300.0, 900.0, 3600.0]);
        let counts = |name: &str| windows.iter().map(|window| window["counts"][name].clone()).collect::<Vec<_>>();
        assert_eq!(counts("verdicts"), [2, 3, 3, 4, 5]);
        assert_eq!(windows[3]["no_response"]["timeout"], 1);
        assert_eq!(windows[3]["status_codes"], json!({"200": 2, "500": 1}));
        assert_eq!(windows[4]["status_classes"]["2xx"], 3);
        assert_eq!(windows[4].get("status_codes").is_some(), source == "rows");
        let day = &windows[4];
        let from: chrono::DateTime<Utc> = day["from"].as_str().unwrap().parse().unwrap();
        let to: chrono::DateTime<Utc> = day["to"].as_str().unwrap().parse().unwrap();
        let seconds = (to - from).num_microseconds().unwrap() + 1;
        assert_eq!(day["seconds"], seconds as f64 / 1e6);
        assert!((86_400_000_000..86_460_000_000).contains(&seconds));
        assert_eq!(counts("missed"), if source == "rows" { [0, 0, 1, 2, 2] } else { [0, 0, 1, 4, 4] });
        // The same as the summary says.
        let summary = api.json("/api/v1/summary?target=a&window=1h").await;
        for field in ["counts", "no_response", "status_codes", "coverage_percentage"] {
            assert_eq!(windows[3][field], summary[field], "{field}");
        }
    }
    let a = api.json("/api/v1/targets/a").await;
    let last = a["last_checks"].as_array().unwrap();
    let outcomes: Vec<_> = last.iter().map(|slot| slot["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["up", "down", "down", "missed", "degraded", "up", "up"]);
    assert_eq!(last[0]["phases"], json!({"dns_ms": null, "connect_ms": 1.5, "first_byte_ms": 10.0}));
    assert_eq!(
        (&last[1]["phases"], &last[1]["cause"], &last[1]["code"]),
        (&Value::Null, &json!("status"), &json!(500))
    );
    assert_eq!(last[3]["elapsed_ms"], Value::Null);
    let many: Vec<_> = (0..60).map(|n| check(2, ago(100 + n), Outcome::Up)).collect();
    store(&db, &many).await;
    assert_eq!(api.json("/api/v1/targets/b").await["last_checks"].as_array().unwrap().len(), 50);
    api.stop().await;
}

#[tokio::test]
async fn targets_are_listed_by_key_in_pages() {
    let db = TestDb::new().await;
    store(&db, &[]).await;
    sqlx::query("update target set key = 'http://b/?x=1' where key = 'b'").execute(&db.pool).await.unwrap();
    let api = TestApi::start(&db.url).await;
    let first = api.json("/api/v1/targets?limit=1").await;
    assert_eq!(first["targets"][0]["key"], "a");
    let next = first["next"].as_str().unwrap();
    let second = api.json(&format!("/api/v1/targets?limit=1&cursor={next}")).await;
    assert_eq!((&second["targets"][0]["key"], &second["next"]), (&json!("http://b/?x=1"), &Value::Null));
    // A key that is a URL is one path segment when it is encoded.
    assert_eq!(api.json("/api/v1/targets/http%3A%2F%2Fb%2F%3Fx%3D1").await["key"], "http://b/?x=1");
    api.stop().await;
}
