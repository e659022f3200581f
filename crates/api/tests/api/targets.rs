use chrono::Utc;
use common::{Cause, Outcome};
use serde_json::{Value, json};
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
    sqlx::query("delete from check_result where target_id = 2").execute(&db.pool).await.unwrap();
    let b = api.json("/api/v1/targets/b").await;
    assert_eq!((&b["state"], &b["last_check"], &b["since"]), (&json!("unknown"), &Value::Null, &Value::Null));
    assert_eq!(api.get("/api/v1/targets/nobody").await.status(), 404);
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
