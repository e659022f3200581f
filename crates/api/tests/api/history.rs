//! How a target did day by day, and how long it took to answer.

use chrono::{DateTime, Days, TimeDelta, Utc};
use common::{Cause, Outcome, TargetId};
use serde_json::{Value, json};
use store::batches::{self, Gap, GapReason};
use store::testing::TestDb;
use store::{days, rollups};

use crate::support::{TestApi, check, store};

async fn roll_up(db: &TestDb, now: DateTime<Utc>) {
    let mut connection = db.pool.acquire().await.unwrap();
    while rollups::compute(&mut connection, now, now - TimeDelta::days(30)).await.unwrap() > 0 {}
}

/// The days of an answer whose field is not this, by their age.
fn told(answer: &Value, field: &str, usual: &Value) -> Vec<(usize, Value)> {
    let days = answer["days"].as_array().unwrap();
    let aged = days.iter().rev().enumerate();
    aged.filter(|(_, day)| day[field] != *usual).map(|(age, day)| (age, day[field].clone())).collect()
}

#[tokio::test]
async fn every_day_is_there_and_today_is_up_to_the_minute() {
    let db = TestDb::new().await;
    let now = Utc::now();
    let midnight = |age: u64| days::midnight(now.date_naive() - Days::new(age));
    let at = |age: u64, minutes: i64| (midnight(age) + TimeDelta::minutes(minutes)).timestamp_micros();
    store(
        &db,
        &[
            check(1, at(8, 100), Outcome::Up),
            check(1, at(8, 1_439), Outcome::Degraded),
            check(1, at(8, 1_438), Outcome::Down(Cause::Status)),
            check(1, at(7, 0), Outcome::Unknown),
            check(1, at(2, 30), Outcome::Missed),
            check(1, at(2, 31), Outcome::Down(Cause::Timeout)),
            check(1, at(1, 600), Outcome::Up),
            check(1, now.timestamp_micros(), Outcome::Up),
            check(2, at(1, 600), Outcome::Down(Cause::Dns)),
        ],
    )
    .await;
    // Every second slot of a minute around midnight was in a gap; one was made up for.
    let sql = "update target set interval_ms = 2000, timeout_ms = 500";
    sqlx::query(sql).execute(&db.pool).await.unwrap();
    let from_us = at(3, 0) - 30_000_000;
    let gap = Gap { target_id: TargetId(1), from_us, to_us: from_us + 60_000_000, reason: GapReason::NoWorker };
    batches::write_gaps(&mut db.pool.acquire().await.unwrap(), &[gap]).await.unwrap();
    store(&db, &[check(1, from_us + 10_000_000, Outcome::Up)]).await;

    let api = TestApi::start(&db.url).await;
    // Before anything is rolled up, in part, and after.
    for rolled_up in [None, Some(TimeDelta::days(2)), Some(TimeDelta::zero())] {
        if let Some(ago) = rolled_up {
            roll_up(&db, now - ago).await;
        }
        let a = api.json("/api/v1/targets/a/days").await;
        let each = a["days"].as_array().unwrap();
        assert_eq!(each.len(), 90);
        for (age, day) in each.iter().rev().enumerate() {
            assert_eq!(day["date"], midnight(age as u64).date_naive().to_string());
        }
        assert_eq!(a["from"], format!("{}T00:00:00.000000Z", midnight(89).date_naive()));
        let of = |field: &str| told(&a, field, &json!(0));
        assert_eq!(of("up"), [(0, json!(1)), (1, json!(1)), (4, json!(1)), (8, json!(1))], "{rolled_up:?}");
        assert_eq!((of("degraded"), of("unknown")), (vec![(8, json!(1))], vec![(7, json!(1))]));
        assert_eq!(of("down"), [(2, json!(1)), (8, json!(1))]);
        assert_eq!(of("missed"), [(2, json!(1)), (3, json!(15)), (4, json!(14))]);
        let of = |field: &str| told(&a, field, &Value::Null);
        let hundred = json!(100.0);
        assert_eq!(
            of("uptime_percentage"),
            [(0, hundred.clone()), (1, hundred.clone()), (2, json!(0.0)), (4, hundred.clone()), (8, json!(66.666))]
        );
        assert_eq!(
            of("coverage_percentage"),
            [
                (0, hundred.clone()),
                (1, hundred.clone()),
                (2, json!(50.0)),
                (3, json!(0.0)),
                (4, json!(6.667)),
                (7, json!(0.0)),
                (8, hundred)
            ]
        );
    }
    let three = api.json("/api/v1/targets/a/days?days=3").await;
    assert_eq!((three["days"].as_array().unwrap().len(), &three["days"][0]["down"]), (3, &json!(1)));
    let b = api.json("/api/v1/targets/b/days?days=400").await;
    assert_eq!((b["days"].as_array().unwrap().len(), told(&b, "down", &json!(0))), (400, vec![(1, json!(1))]));
    // A check that came after the hour was rolled up waits for the next round, one of this minute for nothing.
    store(&db, &[check(1, now.timestamp_micros() + 1, Outcome::Up)]).await;
    assert_eq!(api.json("/api/v1/targets/a/days?days=1").await["days"][0]["up"], 2);
    api.stop().await;
}

#[tokio::test]
async fn a_day_knows_the_incidents_that_touch_it() {
    let db = TestDb::new().await;
    store(&db, &[]).await;
    let now = Utc::now();
    let midnight = |age: u64| days::midnight(now.date_naive() - Days::new(age));
    for sql in [
        "insert into service (name) values ('shop')",
        "insert into endpoint (service_id, verb, resource, target_id) values (1, 'GET', 'a', 1), (1, 'GET', 'b', 2)",
    ] {
        sqlx::query(sql).execute(&db.pool).await.unwrap();
    }
    // Long over; over midnight; within a day; ended at midnight; without length; of another one; open.
    let (open, minute) = (now - TimeDelta::minutes(3), TimeDelta::minutes(1));
    for (endpoint, from, to) in [
        (1, midnight(200), Some(midnight(100))),
        (1, midnight(5) - minute * 30, Some(midnight(5) + minute * 12)),
        (1, midnight(5) + minute * 20, Some(midnight(5) + minute * 20 + TimeDelta::seconds(90))),
        (1, midnight(3) - minute * 5, Some(midnight(3))),
        (1, midnight(2), Some(midnight(2))),
        (2, midnight(9), Some(midnight(7))),
        (1, open, None),
    ] {
        sqlx::query(
            "insert into incident (endpoint_id, started_at, started_ns, ended_at, ended_ns, good_count, total_count)
             values ($1, $2, 0, $3, case when $3 is not null then 0 end, 0, 1)",
        )
        .bind(endpoint)
        .bind(from)
        .bind(to)
        .execute(&db.pool)
        .await
        .unwrap();
    }
    let api = TestApi::start(&db.url).await;
    let a = api.json("/api/v1/targets/a/days").await;
    let mut numbers = told(&a, "incidents", &json!(0));
    let mut minutes = told(&a, "incident_minutes", &json!(0.0));
    // The open one began yesterday if it is just after midnight.
    let today: Vec<_> = numbers.extract_if(.., |(age, _)| *age < 2).collect();
    assert_eq!(today[0], (0, json!(1)));
    let sum: f64 = minutes.extract_if(.., |(age, _)| *age < 2).map(|(_, minutes)| minutes.as_f64().unwrap()).sum();
    assert!((3.0..4.0).contains(&sum), "{sum}");
    assert_eq!(numbers, [(2, json!(1)), (4, json!(1)), (5, json!(2)), (6, json!(1))]);
    assert_eq!(minutes, [(4, json!(5.0)), (5, json!(13.5)), (6, json!(30.0))]);
    let b = api.json("/api/v1/targets/b/days").await;
    assert_eq!(told(&b, "incident_minutes", &json!(0.0)), [(8, json!(1440.0)), (9, json!(1440.0))]);
    api.stop().await;
}

#[tokio::test]
async fn percentiles_of_latency_come_from_minutes_hours_and_days_alike() {
    let db = TestDb::new().await;
    let now = Utc::now();
    let mut checks = Vec::new();
    for n in 0..200 {
        let mut one = check(1, (now - TimeDelta::minutes(n * 6)).timestamp_micros(), Outcome::Up);
        one.elapsed_us = Some(if n % 10 == 0 { 2_000_000 } else { 12_000 });
        checks.push(one);
    }
    // Without an answer there is no latency.
    checks.push(check(1, (now - TimeDelta::minutes(1)).timestamp_micros(), Outcome::Down(Cause::Timeout)));
    store(&db, &checks).await;
    let api = TestApi::start(&db.url).await;
    let within = |told: &Value, truth: f64| (truth / 1.6..=truth * 1.6).contains(&told.as_f64().unwrap());
    let mut seen = Vec::new();
    for round in 0..2 {
        for (window, step, sources) in [
            ("24h", 300, ["minute", "minute"]),
            ("168h", 1_800, ["minute", "minute"]),
            ("720h", 7_200, ["minute", "hour"]),
            ("9600h", 86_400, ["minute", "day"]),
        ] {
            let answer = api.json(&format!("/api/v1/targets/a/latency?window={window}")).await;
            assert_eq!(answer["step_seconds"], step, "{window}");
            assert_eq!(answer["window"]["source"], sources[round], "{window}");
            let (p50, p95) = (answer["p50_ms"].as_array().unwrap(), answer["p95_ms"].as_array().unwrap());
            assert!(p50.len() == p95.len() && (100..=600).contains(&p50.len()), "{window}: {}", p50.len());
            assert!(within(&answer["p50_ms_all"], 12.0) && within(&answer["p95_ms_all"], 2_000.0), "{answer}");
            assert_eq!(answer["max_ms"], 2_000.0);
            assert!(p50.iter().flat_map(Value::as_f64).all(|ms| ms <= 2_000.0));
            let first: DateTime<Utc> = answer["first_step_at"].as_str().unwrap().parse().unwrap();
            let to: DateTime<Utc> = answer["window"]["to"].as_str().unwrap().parse().unwrap();
            let last = first + TimeDelta::seconds(step) * (p50.len() as i32 - 1);
            assert!(last <= to && to < last + TimeDelta::seconds(step), "{window}: {last}");
            if round == 0 {
                seen.push(answer["p50_ms_all"].clone());
            } else {
                let expected = seen.remove(0);
                assert_eq!(answer["p50_ms_all"], expected, "{window}: rolled up or not");
            }
        }
        roll_up(&db, now).await;
    }
    let b = api.json("/api/v1/targets/b/latency?window=1s").await;
    assert_eq!((&b["p50_ms_all"], &b["max_ms"], &b["step_seconds"]), (&Value::Null, &Value::Null, &json!(60)));
    assert!(b["p95_ms"].as_array().unwrap().iter().all(Value::is_null));
    api.stop().await;
}

#[tokio::test]
async fn what_cannot_be_shown_is_refused_by_name() {
    let db = TestDb::new().await;
    store(&db, &[]).await;
    sqlx::query("update target set deleted_at = now() where key = 'b'").execute(&db.pool).await.unwrap();
    let api = TestApi::start(&db.url).await;
    for (path, status, pointer) in [
        ("/api/v1/targets/a/days?days=0", 400, json!("query:days")),
        ("/api/v1/targets/a/days?days=401", 400, json!("query:days")),
        ("/api/v1/targets/a/days?days=-1", 400, json!("query:days")),
        ("/api/v1/targets/a/days?days=ninety", 400, json!("query:days")),
        ("/api/v1/targets/a/days?days=", 400, json!("query:days")),
        ("/api/v1/targets/a/days?window=1h", 400, Value::Null),
        ("/api/v1/targets/a/latency?window=0s", 400, json!("query:window")),
        ("/api/v1/targets/a/latency?window=9601h", 400, json!("query:window")),
        ("/api/v1/targets/nobody/days", 404, Value::Null),
        ("/api/v1/targets/nobody/latency", 404, Value::Null),
        ("/api/v1/targets/b/days", 404, Value::Null),
    ] {
        let response = api.get(path).await;
        assert_eq!(response.status(), status, "{path}");
        let problem: Value = response.json().await.unwrap();
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{path}: {problem}");
    }
    api.stop().await;
}
