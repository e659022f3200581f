use chrono::Utc;
use common::{Cause, Check, Outcome};
use serde_json::Value;
use store::testing::TestDb;

use crate::support::{TestApi, check, store};

#[tokio::test]
async fn the_window_holds_every_outcome_and_nothing_older() {
    let db = TestDb::new().await;
    let now = Utc::now().timestamp_micros();
    let ago = |seconds: i64| now - seconds * 1_000_000;
    store(
        &db,
        &[
            check(1, ago(400), Outcome::Up),
            check(1, ago(200), Outcome::Up),
            check(1, ago(100), Outcome::Down(Cause::Dns)),
            check(2, ago(50), Outcome::Missed),
            check(1, ago(20), Outcome::Unknown),
        ],
    )
    .await;
    let api = TestApi::start(&db.url).await;
    let answer = api.json("/api/v1/checks").await;
    assert_eq!(answer["window"]["seconds"], 300.0);
    let outcomes = |answer: &Value| {
        answer["response"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| row["outcome"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(outcomes(&answer), ["up", "down", "missed", "unknown"]);
    let down = &answer["response"][1];
    assert_eq!((&down["cause"], &down["code"], &down["target"]), (&"dns".into(), &Value::Null, &"a".into()));
    assert_eq!(down["elapsed_ms"], 12.345);
    assert_eq!(answer["next"], Value::Null);

    assert_eq!(outcomes(&api.json("/api/v1/checks?window=60s").await), ["missed", "unknown"]);
    assert_eq!(outcomes(&api.json("/api/v1/checks?window=1h&target=b").await), ["missed"]);
    api.stop().await;
}

#[tokio::test]
async fn a_failed_assertion_says_which_and_what_was_seen() {
    let db = TestDb::new().await;
    let now = Utc::now().timestamp_micros();
    let seen = "json $.queue < 100: is 250";
    let failed = Check { detail: Some(seen.into()), ..check(1, now - 10_000_000, Outcome::Down(Cause::Assertion)) };
    store(&db, &[failed, check(1, now - 20_000_000, Outcome::Up)]).await;
    let api = TestApi::start(&db.url).await;
    let checks = api.json("/api/v1/checks").await;
    assert_eq!(checks["response"][0].get("detail"), None, "only where there is one");
    assert_eq!(
        (&checks["response"][1]["cause"], &checks["response"][1]["detail"]),
        (&"assertion".into(), &seen.into())
    );
    let target = api.json("/api/v1/targets/a").await;
    assert_eq!(target["last_checks"][0]["detail"], seen);
    api.stop().await;
}

#[tokio::test]
async fn a_label_narrows_the_window_to_its_targets() {
    let db = TestDb::new().await;
    let now = Utc::now().timestamp_micros();
    let ago = |seconds: i64| now - seconds * 1_000_000;
    let mut checks: Vec<_> = (1..=20).flat_map(|n| [1, 2].map(|target| check(target, ago(n), Outcome::Up))).collect();
    checks.push(check(1, ago(90), Outcome::Down(Cause::Tls)));
    store(&db, &checks).await;
    sqlx::query("update target set labels = '{\"team\": \"shop\", \"tier\": \"1\"}' where key = 'a'")
        .execute(&db.pool)
        .await
        .unwrap();
    let api = TestApi::start(&db.url).await;
    let keys = |answer: &Value| {
        let rows = answer["response"].as_array().unwrap().clone();
        rows.iter().map(|row| row["target"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(keys(&api.json("/api/v1/checks?label=team:shop").await), ["a"; 21]);
    assert_eq!(keys(&api.json("/api/v1/checks?label=tier:1&window=30s").await), ["a"; 20]);

    // Its pages follow each other, and its cursor is good for nothing else.
    let first = api.json("/api/v1/checks?label=team:shop&limit=1").await;
    assert_eq!(first["response"][0]["cause"], "tls");
    let next = first["next"].as_str().unwrap();
    let second = api.json(&format!("/api/v1/checks?label=team:shop&limit=20&cursor={next}")).await;
    assert_eq!((keys(&second).len(), &second["next"]), (20, &Value::Null));
    for (query, status) in [
        (format!("label=tier:1&cursor={next}"), 400),
        (format!("cursor={next}"), 400),
        (format!("target=a&cursor={next}"), 400),
        ("label=team:shop&target=a".to_owned(), 400),
        ("label=team".to_owned(), 400),
        ("label=team:none".to_owned(), 404),
    ] {
        assert_eq!(api.get(&format!("/api/v1/checks?{query}")).await.status(), status, "{query}");
    }
    api.stop().await;
}

/// A cursor that decodes and that nobody was given.
fn forged(to_us: i64, slot_us: i64, after_target: i32) -> String {
    use base64::Engine;
    let position = serde_json::json!({
        "window_us": 300_000_000, "target": null, "to_us": to_us, "slot_us": slot_us, "after_target": after_target
    });
    let text = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(position.to_string());
    format!("/api/v1/checks?cursor={text}")
}

#[tokio::test]
async fn pages_of_a_list_add_up_to_the_list() {
    let db = TestDb::new().await;
    let now = Utc::now().timestamp_micros();
    let checks: Vec<_> =
        (0..25).flat_map(|n| [1, 2].map(|target| check(target, now - n * 1_000_000, Outcome::Up))).collect();
    store(&db, &checks).await;
    let api = TestApi::start(&db.url).await;
    let whole = api.json("/api/v1/checks").await["response"].as_array().unwrap().clone();
    assert_eq!(whole.len(), 50);
    let mut pages = Vec::new();
    let mut path = "/api/v1/checks?limit=7".to_owned();
    loop {
        let answer = api.json(&path).await;
        pages.extend(answer["response"].as_array().unwrap().clone());
        let Some(next) = answer["next"].as_str() else { break };
        path = format!("/api/v1/checks?limit=7&cursor={next}");
    }
    assert_eq!(pages, whole);

    let next = api.json("/api/v1/checks?limit=7").await["next"].as_str().unwrap().to_owned();
    for path in [
        format!("/api/v1/checks?cursor={next}&window=1m"),
        format!("/api/v1/checks?cursor={next}&target=a"),
        "/api/v1/checks?cursor=e30".to_owned(),
        "/api/v1/checks?cursor=!".to_owned(),
        forged(i64::MIN, 1, 1),
        forged(i64::MAX, 1, 1),
        forged(-8_334_601_228_799_999_999, 1, 1),
        forged(-210_866_803_200_001_000, 1, 1),
        forged(now, now + 1, 1),
        forged(now, now - 300_000_001, 1),
        forged(now, now, -1),
    ] {
        let response = api.get(&path).await;
        assert_eq!(response.status(), 400, "{path}");
        assert_eq!(response.json::<Value>().await.unwrap()["errors"][0]["code"], "invalid_cursor", "{path}");
    }
    api.stop().await;
}
