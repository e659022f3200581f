//! What a worker answers where `WORKER_ADDR` is set.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::Arc;
use std::time::Duration;

use common::{Cause, Check, Outcome, Slot, TargetId};
use store::pool::{self, PoolSettings};
use tokio_util::sync::CancellationToken;
use worker::health::{self, Health, Ready};
use worker::recorder::Intake;
use worker::reload::InUse;
use worker::stats::Stats;

async fn get(base: &str, path: &str) -> (u16, String) {
    let response = reqwest::get(format!("{base}{path}")).await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

#[tokio::test]
async fn a_worker_tells_whether_it_is_ready_and_how_it_does() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let health = Health {
        ready: Ready::default(),
        in_use: InUse::default(),
        stats: Arc::new(Stats::default()),
        intake: Arc::new(Intake::new(10)),
        pool: pool::lazy("postgres://nobody@127.0.0.1:1/none", &PoolSettings::WORKER).unwrap(),
        stop: CancellationToken::new(),
    };
    let (address, server) = health::serve("127.0.0.1:0".parse().unwrap(), health.clone()).unwrap();
    let handle = server.handle();
    let served = tokio::spawn(server);
    let base = format!("http://{address}");

    assert_eq!(get(&base, "/healthz").await, (200, "ok\n".to_owned()));
    assert_eq!(get(&base, "/readyz").await.0, 503);
    health.ready.set(true);
    assert_eq!(get(&base, "/readyz").await.0, 200);

    let stats = &health.stats;
    health.in_use.set(7, stats);
    assert!(get(&base, "/metrics").await.1.contains("\nlookout_config_last_reload_successful 1\n"));
    // Postgres answers, and takes nothing; nor does the disk.
    stats.flush_failed();
    stats.set_spool_usable(false);
    let expected = "postgres does not take results; 0 results wait in memory, 0 on disk, which cannot be used\n";
    assert_eq!(get(&base, "/readyz").await, (503, expected.to_owned()));
    stats.flushed(Duration::from_millis(4));
    assert_eq!(get(&base, "/readyz").await, (200, "ready\n".to_owned()));
    health.in_use.refuse("c.yaml:1:2: [0].url: is missing".to_owned(), stats);
    let (status, text) = get(&base, "/readyz").await;
    assert_eq!(
        (status, text.as_str()),
        (200, "ready, with the last good configuration\nc.yaml:1:2: [0].url: is missing\n")
    );
    stats.started(3_000);
    stats.ended(Outcome::Up);
    stats.ended(Outcome::Down(Cause::Dns));
    stats.add_missed(7);
    stats.latency("a \"b\"").observe(0.03);
    stats.set_load(2, 1);
    stats.flushed(Duration::from_millis(4));
    stats.flush_failed();
    stats.add_given_up(5);
    stats.set_leases(128, 9, 3);
    health.intake.push(Check::missed(TargetId(1), Slot(0)));
    let (status, text) = get(&base, "/metrics").await;
    assert_eq!(status, 200);
    for line in [
        "lookout_start_lag_seconds_bucket{le=\"0.0025\"} 0",
        "lookout_start_lag_seconds_bucket{le=\"0.005\"} 1",
        "lookout_start_lag_seconds_sum 0.003",
        "lookout_slots_total{outcome=\"up\"} 1",
        "lookout_slots_total{outcome=\"degraded\"} 0",
        "lookout_slots_total{outcome=\"down\"} 1",
        "lookout_slots_total{outcome=\"missed\"} 7",
        "lookout_slots_total{outcome=\"unknown\"} 0",
        "lookout_target_elapsed_seconds_bucket{target=\"a \\\"b\\\"\",le=\"0.05\"} 1",
        "lookout_target_elapsed_seconds_count{target=\"a \\\"b\\\"\"} 1",
        "lookout_config_last_reload_successful 0",
        "lookout_probes_in_flight 2",
        "lookout_probes_waiting 1",
        "lookout_flush_seconds_bucket{le=\"0.005\"} 2",
        "lookout_flush_failures_total 2",
        "lookout_given_up_total 5",
        "lookout_shards 128",
        "lookout_lease_epoch 9",
        "lookout_leases_taken_total 3",
        "lookout_queue_depth 1",
        "lookout_offline 0",
        "lookout_stalled_seconds_total 0",
        "lookout_spool_depth 0",
        "lookout_spool_usable 0",
        "lookout_spool_dropped_total 0",
        "lookout_spool_failures_total 0",
        "lookout_spool_bad_records_total 0",
        "lookout_pool_connections 0",
        "lookout_pool_idle_connections 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
    assert_eq!((stats.missed(), stats.unknown(), stats.in_flight()), (7, 0, 2));

    // It ends later, and says so at once.
    stats.flushed(Duration::from_millis(4));
    health.stop.cancel();
    let expected = "stopping; 1 results wait in memory, 0 on disk, which cannot be used\n";
    assert_eq!(get(&base, "/readyz").await, (503, expected.to_owned()));
    assert_eq!(get(&base, "/healthz").await.0, 200);
    handle.stop(false).await;
    served.await.unwrap().unwrap();
}
