use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use store::testing::{Cable, TestDb};

use crate::stream::declared;
use crate::support::{TOKEN, TestApi};

#[tokio::test]
async fn without_postgres_it_is_alive_but_not_ready_and_answers_503_within_a_second() {
    let db = TestDb::new().await;
    let cable = Cable::to(&db).await;
    let api = TestApi::start(cable.url()).await;
    for disturb in [Cable::cut, Cable::freeze] {
        disturb(&cable);
        assert_eq!(api.get("/healthz").await.status(), 200);
        for path in ["/readyz", "/status", "/api/v1/checks"] {
            let asked = Instant::now();
            let response = api.get(path).await;
            assert!(asked.elapsed() < Duration::from_millis(1_500), "{path}: {:?}", asked.elapsed());
            assert_eq!(response.status(), 503, "{path}");
            assert_eq!(response.headers()["retry-after"], "1");
            assert_eq!(response.headers()["content-type"], "application/problem+json");
        }
        cable.mend();
        let back = Instant::now();
        while api.get("/status").await.status() != 200 {
            assert!(back.elapsed() < Duration::from_secs(10), "not back after {:?}", back.elapsed());
        }
    }
    api.stop().await;
}

#[tokio::test]
async fn a_postgres_without_room_on_its_disk_is_named_in_the_answer() {
    let (db, api) = declared().await;
    sqlx::raw_sql(
        "create function is_full() returns trigger language plpgsql as
           $$ begin raise exception 'could not extend file' using errcode = 'disk_full'; end $$;
         create trigger is_full before insert on change for each statement execute function is_full()",
    )
    .execute(&db.pool)
    .await
    .unwrap();
    let request = api.request(Method::POST, "/api/v1/changes").bearer_auth(TOKEN);
    let answer = request.json(&json!({"service": "shop", "commit": "abc"})).send().await.unwrap();
    let (status, retry_after) = (answer.status(), answer.headers().get("retry-after").cloned());
    let problem: Value = answer.json().await.unwrap();
    assert_eq!((status.as_u16(), retry_after), (503, "1".parse().ok()), "{problem}");
    assert_eq!(problem["detail"], "Postgres has no room left on its disk", "{problem}");
    api.stop().await;
}

#[tokio::test]
async fn it_answers_503_until_the_database_is_migrated() {
    let db = TestDb::empty().await;
    let cable = Cable::to(&db).await;
    cable.cut();
    let api = TestApi::spawn(cable.url(), true);
    assert_eq!(api.get("/healthz").await.status(), 200);
    assert_eq!(api.get("/readyz").await.status(), 503);
    assert_eq!(api.get("/status").await.status(), 503);
    cable.mend();
    let begun = Instant::now();
    while api.get("/readyz").await.status() != 200 {
        assert!(begun.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(api.get("/status").await.text().await.unwrap(), "[]\n");
    api.stop().await;
}
