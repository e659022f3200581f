//! Many sockets on one api: what each costs, and how late it hears.
//!
//! `cargo run --release -p api --example live-load -- [clients] [targets] [seconds]`. The
//! api is a process of its own; one of the clients never reads.

#![expect(clippy::unwrap_used, reason = "a measurement that cannot go on has failed")]

use std::sync::Arc;
use std::time::Duration;

use api::Api;
use api::config::ListenSettings;
use chrono::{DateTime, Utc};
use common::{Check, Outcome, Phases, Slot, TargetId};
use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use store::testing::TestDb;
use tokio::io::{AsyncBufReadExt, BufReader, Interest};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, connect_async};
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [serve, url] = arguments.as_slice()
        && serve == "serve"
    {
        let listen = ListenSettings::at("127.0.0.1:0".parse().unwrap());
        let api = Api::bind(api::Config { database_url: url.clone(), migration_database_url: None, listen }).unwrap();
        println!("{}", api.addr());
        api.run(CancellationToken::new()).await.unwrap();
        return;
    }
    let number = |place: usize, default| arguments.get(place).map_or(default, |text| text.parse().unwrap());
    measure(number(0, 200), number(1, 500), number(2, 40)).await;
}

fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// The newest slot of each batch, and when that was stored.
type Written = Arc<Mutex<Vec<(DateTime<Utc>, Instant)>>>;

async fn measure(clients: u64, targets: u64, seconds: u64) {
    let db = TestDb::new().await;
    let today = Utc::now().date_naive();
    store::partitions::ensure(&db.pool, today.pred_opt().unwrap(), today.succ_opt().unwrap()).await.unwrap();
    sqlx::query(
        "insert into target (key, name, url, interval_ms, timeout_ms, degraded_ms, expect_status, source)
         select 'service-' || n, 'Service number ' || n, 'http://host-' || n || '.example.org/', 10000, 500, 500, '{200-299}', 'env'
         from generate_series(1, $1) n",
    )
    .bind(i64::try_from(targets).unwrap())
    .execute(&db.pool)
    .await
    .unwrap();
    let mut child = tokio::process::Command::new(std::env::current_exe().unwrap())
        .args(["serve", &db.url])
        .stdout(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let pid = child.id().unwrap();
    let mut address = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut address).await.unwrap();
    let url = format!("ws://{}/api/v1/live", address.trim());

    // A page that looks already: what the view itself costs is not a client's.
    let written = Written::default();
    let lags = Arc::new(Mutex::new(Vec::<Duration>::new()));
    sleep(Duration::from_secs(3)).await;
    let first = tokio::spawn(listen(url.clone(), Arc::clone(&written), Arc::clone(&lags)));
    let writer = {
        let (pool, written) = (db.pool.clone(), Arc::clone(&written));
        tokio::spawn(async move {
            let mut n = 0;
            loop {
                // Every target in ten seconds, in a flush every quarter of one.
                let now = Utc::now().timestamp_micros();
                let checks: Vec<_> = (0..targets.div_ceil(40))
                    .map(|place| {
                        let target = i32::try_from((n + place) % targets + 1).unwrap();
                        check(target, now - i64::try_from(place).unwrap())
                    })
                    .collect();
                n += targets.div_ceil(40);
                let mut connection = pool.acquire().await.unwrap();
                store::batches::write_checks(&mut connection, "load", &checks).await.unwrap();
                let newest = DateTime::from_timestamp_micros(now).unwrap();
                written.lock().await.push((newest, Instant::now()));
                sleep(Duration::from_millis(250)).await;
            }
        })
    };
    sleep(Duration::from_secs(8)).await;
    let before = resident(pid);
    let (mut deaf, _) = connect_async(&url).await.unwrap();
    deaf.send(Message::text(r#"{"subscribe":"overview"}"#)).await.unwrap();
    let dropped = tokio::spawn(async move {
        let begun = Instant::now();
        let MaybeTlsStream::Plain(connection) = deaf.get_ref() else { unreachable!("there is no TLS here") };
        connection.ready(Interest::ERROR).await.unwrap();
        begun.elapsed()
    });
    let others: Vec<_> =
        (2..clients).map(|_| tokio::spawn(listen(url.clone(), Arc::clone(&written), Arc::clone(&lags)))).collect();
    sleep(Duration::from_secs(3)).await;
    lags.lock().await.clear();
    let mut most = 0;
    for _ in 0..seconds {
        sleep(Duration::from_secs(1)).await;
        most = most.max(resident(pid));
    }
    let alive = others.iter().filter(|one| !one.is_finished()).count();
    let mut lags = lags.lock().await.clone();
    lags.sort_unstable();
    let at = |share: f64| lags[((lags.len() - 1) as f64 * share) as usize].as_millis();
    println!("{clients} clients, one deaf; {targets} targets; {seconds} s");
    println!(
        "resident KiB: {before} before, {most} at most: {:.1} a client",
        (most - before) as f64 / (clients - 1) as f64
    );
    println!("lag of {} frames ms: p50 {}, p99 {}, most {}", lags.len(), at(0.5), at(0.99), at(1.0));
    println!("still connected: {} of {}", alive, others.len());
    if dropped.is_finished() {
        println!("who never reads was dropped after {:.1} s", dropped.await.unwrap().as_secs_f64());
    } else {
        println!("who never reads is still there");
    }
    first.abort();
    writer.abort();
    child.kill().await.unwrap();
}

fn check(target: i32, slot_us: i64) -> Check {
    Check {
        target_id: TargetId(target),
        slot: Slot(slot_us),
        started_us: Some(slot_us),
        outcome: Outcome::Up,
        code: Some(200),
        elapsed_us: Some(12_345),
        phases: Phases::default(),
        detail: None,
    }
}

/// Reads as a page does, and notes how long each batch took from stored to here.
async fn listen(url: String, written: Written, lags: Arc<Mutex<Vec<Duration>>>) {
    let (mut socket, _) = connect_async(url).await.unwrap();
    socket.send(Message::text(r#"{"subscribe":"overview"}"#)).await.unwrap();
    let mut seen = 0;
    while let Some(Ok(message)) = socket.next().await {
        let received = Instant::now();
        let Message::Text(text) = message else { continue };
        let frame: Value = serde_json::from_str(&text).unwrap();
        let state = if frame["type"] == "snapshot" { &frame["data"] } else { &frame["set"] };
        let Some(newest) = state["newest_check"].as_str() else { continue };
        let newest: DateTime<Utc> = newest.parse().unwrap();
        let known = written.lock().await;
        let begin = seen;
        while seen < known.len() && known[seen].0 <= newest {
            seen += 1;
        }
        if frame["type"] == "delta" {
            let mut lags = lags.lock().await;
            lags.extend(known[begin..seen].iter().map(|(_, stored)| received.saturating_duration_since(*stored)));
        }
    }
}
