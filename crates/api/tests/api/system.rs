use chrono::Utc;
use serde_json::json;
use store::testing::TestDb;

use crate::support::{TestApi, check, store};

#[tokio::test]
async fn the_system_tells_who_runs_and_how_far_everything_is() {
    let db = TestDb::new().await;
    store(&db, &[check(1, Utc::now().timestamp_micros(), common::Outcome::Up)]).await;
    sqlx::query(
        "insert into worker (worker_id, started_at, seen_at, stopped_at, version, lag_us, missed, config_digest)
         values ('running', now(), now(), null, '1', 1500, 3, 1),
                ('other', now() - interval '1 s', now(), null, '1', 0, 0, 2),
                ('stopped', now() - interval '2 s', now(), now(), '1', 0, 0, 3),
                ('crashed', now() - interval '3 s', now(), now(), '1', 0, 0, 4),
                ('gone', now() - interval '1 min', now() - interval '30 s', null, '1', 0, 0, 4)",
    )
    .execute(&db.pool)
    .await
    .unwrap();
    sqlx::query("update worker set crashed = true where worker_id = 'crashed'").execute(&db.pool).await.unwrap();
    sqlx::query("update worker set config_error = 'c.yaml:1:2: [0].url: is missing' where worker_id = 'other'")
        .execute(&db.pool)
        .await
        .unwrap();
    sqlx::query("update worker set offline_since = '2026-11-21T12:00:00Z', spool_usable = false where worker_id in ('other', 'gone')")
        .execute(&db.pool)
        .await
        .unwrap();
    sqlx::query(
        "update shard_lease set holder = 'running', expires_at = now() + interval '1 min' where shard_id < 200",
    )
    .execute(&db.pool)
    .await
    .unwrap();
    // One batch is followed, the other is not.
    sqlx::query("insert into cursor (reader, xid, batch_id) select 'rollups', xid, batch_id from batch")
        .execute(&db.pool)
        .await
        .unwrap();
    store(&db, &[check(1, Utc::now().timestamp_micros() + 1_000_000, common::Outcome::Up)]).await;
    let api = TestApi::start(&db.url).await;
    let system = api.json("/api/v1/system").await;
    let states: Vec<_> =
        system["workers"].as_array().unwrap().iter().map(|worker| (&worker["id"], &worker["state"])).collect();
    assert_eq!(
        json!(states),
        json!([
            ["running", "running"],
            ["other", "running"],
            ["stopped", "stopped"],
            ["crashed", "gone"],
            ["gone", "gone"]
        ])
    );
    let running = &system["workers"][0];
    assert_eq!((&running["shards"], &running["lag_ms"], &running["missed"]), (&json!(200), &json!(1.5), &json!(3)));
    assert_eq!(
        (&running["config_error"], &system["workers"][1]["config_error"]),
        (&json!(null), &json!("c.yaml:1:2: [0].url: is missing"))
    );
    let other = &system["workers"][1];
    assert_eq!((&running["own_network"], &running["offline_since"]), (&json!("ok"), &json!(null)));
    assert_eq!(
        (&other["own_network"], &other["offline_since"]),
        (&json!("gone"), &json!("2026-11-21T12:00:00.000000Z"))
    );
    assert_eq!((&running["spool_usable"], &other["spool_usable"]), (&json!(true), &json!(false)));
    let health = &api.json("/api/v1/overview").await["health"];
    assert_eq!(
        (&health["workers_offline"], &health["offline_since"]),
        (&json!(1), &json!("2026-11-21T12:00:00.000000Z")),
        "one that is gone says nothing about now"
    );
    let metrics = api.get("/metrics").await.text().await.unwrap();
    assert!(metrics.contains("lookout_worker_spool_usable{worker=\"running\"} 1\n"), "{metrics}");
    assert!(metrics.contains("lookout_worker_spool_usable{worker=\"other\"} 0\n"), "{metrics}");
    assert!(metrics.contains("lookout_worker_offline{worker=\"running\"} 0\n"), "{metrics}");
    assert!(metrics.contains("lookout_worker_offline{worker=\"other\"} 1\n"), "{metrics}");
    assert_eq!((&system["targets"], &system["checks_per_second"]), (&json!(2), &json!(2.0)));
    assert_eq!(system["shards_held"], 200);
    assert_eq!(
        (&system["readers"][0]["name"], &system["readers"][0]["batches_behind"]),
        (&json!("rollups"), &json!(1))
    );
    assert_eq!(system["lists_differ"], true);
    assert_eq!(system["schema"]["version"], store::SCHEMA_VERSION);
    assert!(system["newest_check"].is_string());
    api.stop().await;
}
