//! The sample messages that the dashboard's tests read.

use std::path::Path;

use chrono::{DateTime, TimeDelta, Utc};
use common::{Check, Outcome, Phases, Slot, TargetId};
use serde_json::{Value, json};
use store::testing::TestDb;
use tokio::time::Instant;

use super::published::Published;
use super::views::{ViewName, members};
use crate::overview::{Fleet, Query};

const NOON: &str = "2026-11-21T12:00:00Z";

fn check(target: i32, at: DateTime<Utc>, outcome: Outcome) -> Check {
    let at_us = at.timestamp_micros();
    Check {
        target_id: TargetId(target),
        slot: Slot(at_us),
        started_us: outcome.is_verdict().then_some(at_us + 250),
        outcome,
        code: match outcome {
            Outcome::Up | Outcome::Degraded => Some(200),
            Outcome::Down(common::Cause::Status) => Some(503),
            _ => None,
        },
        elapsed_us: outcome.is_verdict().then_some(if outcome == Outcome::Degraded { 812_000 } else { 12_345 }),
        phases: Phases::default(),
        detail: None,
    }
}

/// Four targets at noon: one fine, one down since a change, one slow, one never heard of.
async fn scenario(db: &TestDb, noon: DateTime<Utc>) {
    for sql in [
        "insert into target (key, name, url, interval_ms, timeout_ms, degraded_ms, expect_status, source, due_since)
         values ('home', 'home', 'https://example.org/', 10000, 5000, 500, '{200-299}', 'file', '2026-11-21T11:30:00Z'),
                ('pay', 'Payments', 'https://pay.example.org/', 10000, 5000, 500, '{200-299}', 'file', '2026-11-21T11:30:00Z'),
                ('quiet', 'quiet', 'https://quiet.example.org/', 10000, 5000, 500, '{200-299}', 'file', '2026-11-21T11:59:55Z'),
                ('search', 'Search', 'https://search.example.org/', 10000, 5000, 500, '{200-299}', 'file', '2026-11-21T11:30:00Z')",
        "insert into service (name) values ('pay')",
        "insert into endpoint (service_id, verb, resource, target_id)
         select service_id, 'GET', 'pay', (select target_id from target where key = 'pay') from service where name = 'pay'",
        "insert into batch (kind, first_at, last_at, rows) values ('change', now(), now(), 1)",
        "insert into change (service_id, commit_id, author, at, source, batch_id, ordinal)
         select service_id, '6d0080a', 'kim@example.org', '2026-11-21T11:56:30Z', 'deploy', 1, 0 from service",
        "insert into incident (endpoint_id, started_at, started_ns, breaking_change_id, good_count, total_count)
         select endpoint_id, '2026-11-21T11:57:38.00025Z', 1795262258000250000, 1, 26, 29 from endpoint",
        "insert into worker (worker_id, started_at, seen_at, version, lag_us, missed, unknown, config_digest)
         values ('w', now(), greatest(now(), '2026-11-21T12:00:00Z'), '1', 1500, 1, 1, 1)",
        "insert into cursor (reader, xid, batch_id) values ('incidents', '9000000000000', 0)",
    ] {
        sqlx::query(sql).execute(&db.pool).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    store::partitions::ensure(&db.pool, noon.date_naive(), noon.date_naive()).await.unwrap();
    let mut checks = Vec::new();
    for n in 1..=180 {
        let ago = |offset: i64| noon - TimeDelta::seconds(10 * n) + TimeDelta::seconds(offset);
        checks.push(check(1, ago(8), if n == 100 { Outcome::Missed } else { Outcome::Up }));
        let broken = if n % 3 == 0 { common::Cause::Status } else { common::Cause::Refused };
        checks.push(check(2, ago(5), if n <= 17 { Outcome::Down(broken) } else { Outcome::Up }));
        checks.push(check(
            4,
            ago(2),
            match n {
                1..=3 => Outcome::Degraded,
                50 => Outcome::Unknown,
                _ => Outcome::Up,
            },
        ));
    }
    let mut connection = db.pool.acquire().await.unwrap();
    store::batches::write_checks(&mut connection, "w", &checks).await.unwrap();
}

/// The pages that are read from the same state, as they are answered.
async fn sheet(db: &TestDb, now: DateTime<Utc>) -> (Value, Value) {
    let mut connection = db.pool.acquire().await.unwrap();
    let mut fleet = Fleet::default();
    fleet.follow(&mut connection, None).await.unwrap();
    fleet.overview(&mut connection, now).await.unwrap();
    let sheet = fleet.sheet(now);
    let query = Query::parse("", "", "", "state", Some(1)).unwrap();
    (serde_json::to_value(sheet.table(&query)).unwrap(), serde_json::from_slice(&sheet.map().0).unwrap())
}

async fn published(db: &TestDb, now: DateTime<Utc>, before: Option<&Published>) -> Published {
    let mut connection = db.pool.acquire().await.unwrap();
    let mut fleet = Fleet::default();
    fleet.follow(&mut connection, None).await.unwrap();
    let overview = fleet.overview(&mut connection, now).await.unwrap();
    Published::new(ViewName::Overview, members(&overview), Instant::now(), before)
}

#[tokio::test]
async fn contract() {
    let db = TestDb::new().await;
    let noon: DateTime<Utc> = NOON.parse().unwrap();
    scenario(&db, noon).await;
    let mut first = published(&db, noon, None).await;
    first.seq = 1_838_348_697_600_001;
    let (table, map) = sheet(&db, noon).await;
    let mut connection = db.pool.acquire().await.unwrap();
    let later = noon + TimeDelta::milliseconds(500);
    store::batches::write_checks(&mut connection, "w", &[check(4, later, Outcome::Up)]).await.unwrap();
    let second = published(&db, noon + TimeDelta::seconds(1), Some(&first)).await;

    let parsed = |frame: &[u8]| serde_json::from_slice::<Value>(frame).unwrap();
    let missing = json!({"type": "error", "code": "not_found", "message": "no target has the key \"hone\""});
    for (name, real) in [
        ("overview.json", parsed(&first.body().0)),
        ("snapshot.json", parsed(&first.frames(None)[0])),
        ("delta.json", parsed(&second.frames(Some(first.seq))[0])),
        ("error.json", missing),
        ("table.json", table),
        ("map.json", map),
    ] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../dashboard/contract").join(name);
        if std::env::var_os("CONTRACT").is_some_and(|what| what == "write") {
            std::fs::write(&path, format!("{real:#}\n")).unwrap();
        }
        let written = parsed(&std::fs::read(&path).unwrap());
        assert_eq!(written, real, "{name} is not what the api answers: `make contract` writes it anew");
    }
}
