//! Targets that mean harm cost their timeout at most, and next to no memory.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::{Cause, Connection, Outcome, TargetSpec, TargetUrl};
use demo::faults::FaultServer;
use futures_util::future::join_all;
use tokio::time::Instant;
use worker::fair::{Canaries, Fair};
use worker::probe::{Prepared, Probe, Probed, Prober};

const TIMEOUT: Duration = Duration::from_millis(1_000);

/// What one probe may need besides, and 200 of them at once, the server's side included.
const MEMORY: u64 = 64 << 20;

fn prepared(url: &str) -> Prepared {
    prepared_for(url, TIMEOUT)
}

fn prepared_for(url: &str, timeout: Duration) -> Prepared {
    Prepared::new(&TargetSpec { timeout, ..TargetSpec::new("a", TargetUrl::parse(url).unwrap()) })
}

/// Of this process, bytes.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

/// So many of each at once, and how long the longest took.
async fn at_once(server: &FaultServer, path: &str, count: usize) -> (Vec<Probed>, Duration, u64) {
    let prober = Prober::new().unwrap();
    let target = prepared(&server.url(path));
    let (begun, before) = (Instant::now(), resident());
    let probed = join_all((0..count).map(|_| prober.check(&target))).await;
    (probed, begun.elapsed(), resident().saturating_sub(before))
}

async fn is_bounded(path: &str, expected: &[Outcome]) {
    are_bounded(20, TIMEOUT * 5, path, expected).await;
}

async fn are_bounded(count: usize, longest: Duration, path: &str, expected: &[Outcome]) {
    let server = FaultServer::start_on_thread().unwrap();
    let (probed, took, memory) = at_once(&server, path, count).await;
    for one in &probed {
        assert!(expected.contains(&one.outcome), "{path}: {one:?}");
    }
    // Far from what none of these would ever end in, and from what they would fill.
    assert!(took < longest, "{path} took {took:?}");
    assert!(memory < MEMORY, "{path} took {} KiB", memory / 1024);
    // Whoever was left talking is hung up on.
    let deadline = Instant::now() + Duration::from_secs(60);
    while server.stats().open_connections > 0 {
        assert!(Instant::now() < deadline, "{path} keeps connections open");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

const TOO_LATE: [Outcome; 2] = [Outcome::Down(Cause::Timeout), Outcome::Unknown];
const NO_HTTP: [Outcome; 1] = [Outcome::Down(Cause::Protocol)];
const FINE: [Outcome; 2] = [Outcome::Up, Outcome::Degraded];

#[tokio::test]
async fn f18_a_bomb_of_ten_gigabytes_is_unpacked_to_the_limit_and_no_further() {
    // Packing is work, and on a busy machine not done in time.
    is_bounded("/gzip/10737418240", &[FINE, TOO_LATE].concat()).await;
}

#[tokio::test]
async fn f18_a_body_of_ten_gigabytes_is_read_to_the_limit_and_no_further() {
    is_bounded("/body/10737418240", &FINE).await;
}

#[tokio::test]
async fn f18_a_body_that_drips_ends_at_the_timeout() {
    is_bounded("/slow-body/50", &TOO_LATE).await;
}

#[tokio::test]
async fn f18_a_head_that_drips_ends_at_the_timeout() {
    is_bounded("/drip-head/50", &TOO_LATE).await;
}

#[tokio::test]
async fn f18_headers_without_end_are_no_http() {
    is_bounded("/endless-headers", &NO_HTTP).await;
}

#[tokio::test]
async fn f18_ten_thousand_headers_are_no_http() {
    is_bounded("/many-headers/10000", &NO_HTTP).await;
}

#[tokio::test]
async fn f18_a_header_of_a_megabyte_is_no_http() {
    is_bounded("/big-header/1048576", &NO_HTTP).await;
}

#[tokio::test]
async fn f18_interim_answers_without_end_end_at_the_timeout() {
    // The client parses up to fifty megabytes of them in one go, which takes seconds without optimisation.
    are_bounded(1, TIMEOUT * 60, "/informational", &TOO_LATE).await;
}

#[tokio::test]
async fn f18_interim_answers_without_end_hold_up_others_once_and_never_again() {
    let server = FaultServer::start_on_thread().unwrap();
    let fair = Fair::new(Prober::new().unwrap(), Canaries::Nobody, Arc::default());
    let flood = Arc::new(prepared(&server.url("/informational")));
    // Nobody knows yet what this one does.
    let first = fair.check(&flood).await;
    let ends = [&TOO_LATE[..], &[Outcome::Down(Cause::Protocol)]].concat();
    assert!(ends.contains(&first.outcome), "{first:?}");

    let begun = Instant::now();
    let mut latest = Duration::ZERO;
    let probing = async { join_all((0..4).map(|_| Probe::check(&fair, &flood))).await };
    tokio::pin!(probing);
    let probed = loop {
        let due = Instant::now() + Duration::from_millis(5);
        tokio::select! {
            probed = &mut probing => break probed,
            () = tokio::time::sleep_until(due) => latest = latest.max(due.elapsed()),
        }
    };
    // A core may be somebody else's for a moment; without threads of their own it is seconds.
    assert!(latest < Duration::from_millis(500), "{latest:?}");
    assert!(begun.elapsed() < TIMEOUT + Duration::from_millis(500), "{:?}", begun.elapsed());
    for one in probed {
        assert!(ends.contains(&one.outcome), "{one:?}");
    }
}

/// Probes a target while somebody else watches over the thread, and says that it has stood still for long.
async fn watched(prober: &Prober, target: &Arc<Prepared>) -> Probed {
    let (over, watching) = (Arc::new(AtomicBool::new(false)), prober.clone());
    let is_over = Arc::clone(&over);
    let watch = std::thread::spawn(move || {
        while !is_over.load(Ordering::Relaxed) {
            watching.watch(Duration::from_millis(100));
            std::thread::park_timeout(Duration::from_millis(5));
        }
    });
    let probed = Probe::check(prober, target).await;
    over.store(true, Ordering::Relaxed);
    watch.join().unwrap();
    probed
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn f18_who_floods_is_hung_up_on_long_before_the_timeout_and_probed_apart_from_then_on() {
    let server = FaultServer::start_on_thread().unwrap();
    let prober = Prober::new().unwrap();
    let target = Arc::new(prepared_for(&server.url("/informational"), TIMEOUT * 30));
    for round in 0..2 {
        let begun = Instant::now();
        let probed = watched(&prober, &target).await;
        assert_eq!(probed.outcome, Outcome::Down(Cause::Protocol), "{round}: {probed:?}");
        assert!(begun.elapsed() < TIMEOUT * 15, "{round}: {:?}", begun.elapsed());
        let shown = format!("{target:?}");
        assert!(shown.contains("hogs: true"), "{round}: {shown}");
    }
    assert_eq!(server.stats().requests, 2);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn f18_who_floods_a_connection_that_was_kept_is_hung_up_on_too() {
    use std::io::{Read, Write};

    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let mut connection = listener.accept().unwrap().0;
        assert!(connection.read(&mut [0; 1024]).unwrap() > 0);
        connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").unwrap();
        assert!(connection.read(&mut [0; 1024]).unwrap() > 0);
        while connection.write_all(&b"HTTP/1.1 100 Continue\r\n\r\n".repeat(100)).is_ok() {}
    });
    let spec = TargetSpec::new("a", TargetUrl::parse(&url).unwrap());
    let spec = TargetSpec { timeout: TIMEOUT * 30, connection: Connection::Reuse, ..spec };
    let (prober, target) = (Prober::new().unwrap(), Arc::new(Prepared::new(&spec)));
    let first = watched(&prober, &target).await;
    assert!(FINE.contains(&first.outcome), "{first:?}");
    let begun = Instant::now();
    let second = watched(&prober, &target).await;
    assert!(matches!(second.outcome, Outcome::Down(Cause::Protocol | Cause::Reset)), "{second:?}");
    assert!(begun.elapsed() < TIMEOUT * 15, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn f18_who_sends_much_or_nothing_is_not_taken_for_a_flood() {
    let server = FaultServer::start_on_thread().unwrap();
    let prober = Prober::new().unwrap();
    for (path, outcomes) in [("/hang", &TOO_LATE[..1]), ("/body/10737418240", &FINE)] {
        let target = Arc::new(prepared(&server.url(path)));
        let probed = watched(&prober, &target).await;
        assert!(outcomes.contains(&probed.outcome), "{path}: {probed:?}");
        let shown = format!("{target:?}");
        assert!(shown.contains("hogs: false"), "{path}: {shown}");
    }
}

#[tokio::test]
async fn f18_redirects_in_a_circle_end_after_five() {
    is_bounded("/loop", &[Outcome::Down(Cause::Redirect)]).await;
}

#[tokio::test]
async fn f18_broken_chunks_and_bodies_cut_short_are_broken_bodies() {
    is_bounded("/bad-chunk", &[Outcome::Down(Cause::Body)]).await;
    is_bounded("/truncate", &[Outcome::Down(Cause::Body)]).await;
    is_bounded("/bad-gzip", &[Outcome::Down(Cause::Body)]).await;
}

#[tokio::test]
async fn f18_garbage_an_early_close_and_a_reset_are_told_apart() {
    is_bounded("/garbage", &NO_HTTP).await;
    is_bounded("/close", &NO_HTTP).await;
    is_bounded("/reset", &[Outcome::Down(Cause::Reset)]).await;
}

#[tokio::test]
async fn f18_two_hundred_of_all_kinds_at_once_fit_into_64_mib() {
    let server = FaultServer::start_on_thread().unwrap();
    let prober = Prober::new().unwrap();
    let kinds = [
        "/gzip/10737418240",
        "/body/10737418240",
        "/slow-body/50",
        "/drip-head/50",
        "/endless-headers",
        "/many-headers/10000",
        "/big-header/1048576",
        "/informational",
        "/loop",
        "/garbage",
    ];
    let targets: Vec<Prepared> = kinds.iter().map(|path| prepared(&server.url(path))).collect();
    // What a first request makes once and for all is no part of it.
    prober.check(&targets[9]).await;
    let before = resident();
    let all = join_all((0..200).map(|n| prober.check(&targets[n % 10])));
    let mut most = 0;
    tokio::pin!(all);
    let probed = loop {
        tokio::select! {
            probed = &mut all => break probed,
            () = tokio::time::sleep(Duration::from_millis(10)) => most = resident().max(most),
        }
    };
    assert_eq!(probed.len(), 200);
    assert!(most.saturating_sub(before) < MEMORY, "{} KiB", most.saturating_sub(before) / 1024);
}
