use chrono::{DateTime, TimeDelta, Utc};
use common::{Cause, Check, Outcome, TargetId};
use serde_json::{Value, json};
use store::batches::{Gap, GapReason};
use store::testing::TestDb;

use crate::support::{TestApi, check, store};

fn ago(seconds: i64) -> i64 {
    Utc::now().timestamp_micros() - seconds * 1_000_000
}

#[tokio::test]
async fn a_summary_counts_what_happened_and_leaves_out_what_nobody_saw() {
    let db = TestDb::new().await;
    let mut checks = vec![
        check(1, ago(10), Outcome::Up),
        check(1, ago(20), Outcome::Up),
        check(1, ago(30), Outcome::Degraded),
        check(1, ago(40), Outcome::Down(Cause::Status)),
        check(1, ago(50), Outcome::Down(Cause::Timeout)),
        check(1, ago(60), Outcome::Missed),
        check(1, ago(70), Outcome::Unknown),
        check(2, ago(10), Outcome::Up),
        check(1, ago(400), Outcome::Down(Cause::Dns)),
    ];
    checks[0].code = Some(204);
    store(&db, &checks).await;
    // Three one-second slots nobody watched, on the grid of target 1.
    let from_us = ago(80);
    let gap = Gap { target_id: TargetId(1), from_us, to_us: from_us + 2_000_001, reason: GapReason::NoWorker };
    store::batches::write_gaps(&mut db.pool.acquire().await.unwrap(), &[gap]).await.unwrap();

    let api = TestApi::start(&db.url).await;
    let one = api.json("/api/v1/summary?window=5m&target=a").await;
    assert_eq!(
        one["counts"],
        json!({"up": 2, "degraded": 1, "down": 2, "missed": 4, "unknown": 1, "verdicts": 5, "due": 10})
    );
    assert_eq!(one["failure_percentage"], 40.0);
    assert_eq!(one["coverage_percentage"], 50.0);
    assert_eq!(one["status_codes"], json!({"200": 2, "204": 1, "500": 1}));
    assert_eq!(one["no_response"]["timeout"], 1);
    assert_eq!(one["no_response"]["dns"], 0);
    assert_eq!((&one["window"]["source"], &one["targets"]), (&json!("rows"), &json!(1)));

    let fleet = api.json("/api/v1/summary").await;
    assert_eq!((&fleet["counts"]["up"], &fleet["targets"]), (&json!(3), &json!(2)));
    let points = fleet["series"].as_array().unwrap();
    assert!(points.len() <= 600);
    let sum: i64 = points.iter().map(|point| point["down"].as_i64().unwrap()).sum();
    assert_eq!(sum, 2);
    api.stop().await;
}

#[tokio::test]
async fn rows_and_rollups_give_the_same_counts() {
    let db = TestDb::new().await;
    let outcomes = [Outcome::Up, Outcome::Down(Cause::Refused), Outcome::Degraded, Outcome::Missed];
    let end = Utc::now() - TimeDelta::hours(1);
    let mut checks: Vec<Check> = (0..400)
        .map(|n| check(1, (end - TimeDelta::minutes(n)).timestamp_micros(), outcomes[n as usize % 4]))
        .collect();
    checks[0].code = Some(204);
    store(&db, &checks).await;
    let api = TestApi::start(&db.url).await;
    // At one check a minute the rows answer; said to be one a second, minutes do.
    let summary = async |interval_ms: i32| {
        sqlx::query("update target set interval_ms = $1, timeout_ms = 500")
            .bind(interval_ms)
            .execute(&db.pool)
            .await
            .unwrap();
        api.json("/api/v1/summary?window=20h&target=a&step=1h").await
    };
    let (rows, minutes) = (summary(60_000).await, summary(1_000).await);
    assert_eq!((&rows["window"]["source"], &minutes["window"]["source"]), (&json!("rows"), &json!("minute")));
    assert_eq!(rows["counts"], minutes["counts"]);
    assert_eq!(rows["counts"]["due"], 400);
    assert_eq!(rows["status_classes"], minutes["status_classes"]);
    assert_eq!(minutes.get("status_codes"), None);
    // The fleet is read from seconds then, which know every status code.
    let seconds = api.json("/api/v1/summary?window=20h&step=1h").await;
    assert_eq!(seconds["window"]["source"], "second");
    assert_eq!(seconds["counts"], rows["counts"]);
    assert_eq!(seconds["status_codes"], json!({"200": 199, "204": 1}));
    assert_eq!(seconds["status_codes"], rows["status_codes"]);
    let from: DateTime<Utc> = minutes["window"]["from"].as_str().unwrap().parse().unwrap();
    assert_eq!(from.timestamp() % 60, 0, "the true bound of a minute roll-up is a whole minute");
    api.stop().await;
}

#[tokio::test]
async fn too_fine_a_step_is_refused_with_one_that_fits() {
    let db = TestDb::new().await;
    store(&db, &[]).await;
    let api = TestApi::start(&db.url).await;
    let response = api.get("/api/v1/summary?window=24h&step=1s&target=a").await;
    assert_eq!(response.status(), 422);
    let problem: Value = response.json().await.unwrap();
    assert!(problem["detail"].as_str().unwrap().contains("300s fits"), "{problem}");
    assert_eq!(api.get("/api/v1/summary?window=24h&step=300s&target=a").await.status(), 200);
    for (path, status) in [
        ("/api/v1/summary?target=nobody", 404),
        ("/api/v1/summary?label=team:none", 404),
        ("/api/v1/summary?label=team", 400),
        ("/api/v1/summary?label=a:b&target=a", 400),
        ("/api/v1/summary?step=x", 400),
    ] {
        assert_eq!(api.get(path).await.status(), status, "{path}");
    }
    api.stop().await;
}
