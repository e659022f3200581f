use chrono::Utc;
use common::{Cause, Outcome};
use store::testing::TestDb;

use crate::support::{TestApi, check, store};

#[tokio::test]
async fn metrics_tell_every_target_and_worker_with_help_for_each_name() {
    let db = TestDb::new().await;
    let now = Utc::now().timestamp_micros();
    store(
        &db,
        &[
            check(1, now - 3_000_000, Outcome::Up),
            check(1, now - 2_000_000, Outcome::Up),
            check(1, now - 1_000_000, Outcome::Down(Cause::Status)),
            check(1, now, Outcome::Missed),
        ],
    )
    .await;
    // Due rarely, so that its verdict stays fresh however long the api takes to start.
    sqlx::query("update target set key = 'quote\" and \\ slash', interval_ms = 60000 where key = 'a'")
        .execute(&db.pool)
        .await
        .unwrap();
    sqlx::query(
        "insert into worker (worker_id, started_at, seen_at, version, lag_us, missed, unknown, config_digest)
         values ('w', now(), now(), '1', 1500, 3, 2, 1)",
    )
    .execute(&db.pool)
    .await
    .unwrap();
    sqlx::query("insert into cursor (reader, xid, batch_id) values ('rollups', '0', 0)")
        .execute(&db.pool)
        .await
        .unwrap();
    sqlx::query(
        "update shard_lease set holder = 'w', epoch = 3, expires_at = now() + interval '1 min' where shard_id < 10",
    )
    .execute(&db.pool)
    .await
    .unwrap();
    let api = TestApi::start(&db.url).await;
    let response = api.get("/metrics").await;
    assert!(response.headers()["content-type"].to_str().unwrap().starts_with("text/plain; version=0.0.4"));
    let text = response.text().await.unwrap();
    let target = "{target=\"quote\\\" and \\\\ slash\"}";
    for line in [
        format!("lookout_target_up{target} 0"),
        format!("lookout_target_status_code{target} 500"),
        format!("lookout_target_last_elapsed_seconds{target} 0.012345"),
        format!("lookout_target_failure_ratio{target} 0.3333333333333333"),
        format!("lookout_target_coverage_ratio{target} 0.75"),
        "lookout_worker_missed_slots_total{worker=\"w\"} 3".to_owned(),
        "lookout_worker_unknown_slots_total{worker=\"w\"} 2".to_owned(),
        "lookout_worker_shards{worker=\"w\"} 10".to_owned(),
        "lookout_shards_held 10".to_owned(),
        "lookout_lease_epochs_total 30".to_owned(),
        "lookout_reader_batches_behind{reader=\"rollups\"} 1".to_owned(),
        "lookout_worker_start_lag_seconds{worker=\"w\"} 0.0015".to_owned(),
        "lookout_targets 2".to_owned(),
        "lookout_targets_exported 2".to_owned(),
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
    for name in text.lines().filter(|line| !line.starts_with('#')).map(|line| line.split(['{', ' ']).next().unwrap()) {
        assert!(text.contains(&format!("# HELP {name} ")), "{name} has no help");
    }
    // A target without a verdict has no state to tell, rather than a wrong one.
    assert!(!text.contains("lookout_target_up{target=\"b\"}"));
    api.stop().await;
}

#[tokio::test]
async fn a_target_without_a_fresh_verdict_is_neither_up_nor_down() {
    let db = TestDb::new().await;
    let ago = |seconds: i64| Utc::now().timestamp_micros() - seconds * 1_000_000;
    // Both are due every second and may take half of one.
    store(&db, &[check(1, ago(10), Outcome::Up), check(2, ago(10), Outcome::Down(Cause::Status))]).await;
    let api = TestApi::start(&db.url).await;
    let text = api.get("/metrics").await.text().await.unwrap();
    for gone in ["lookout_target_up{", "lookout_target_degraded{"] {
        assert!(!text.contains(gone), "{text}");
    }
    // When that verdict was, and what it was, is still told.
    assert!(text.contains("lookout_target_checked_timestamp_seconds{target=\"a\"}"), "{text}");
    assert!(text.contains("lookout_target_status_code{target=\"b\"} 500"), "{text}");

    // With an hour between checks the same verdicts are fresh.
    sqlx::query("update target set interval_ms = 3600000").execute(&db.pool).await.unwrap();
    let text = api.get("/metrics").await.text().await.unwrap();
    for line in ["lookout_target_up{target=\"a\"} 1", "lookout_target_up{target=\"b\"} 0"] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
    api.stop().await;
}
