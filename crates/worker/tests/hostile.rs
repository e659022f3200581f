//! Targets that mean harm cost their timeout at most, and next to no memory.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use common::{Cause, Outcome, TargetSpec, TargetUrl};
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
    assert!(TOO_LATE.contains(&first.outcome), "{first:?}");

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
        assert!(TOO_LATE.contains(&one.outcome), "{one:?}");
    }
}

#[tokio::test]
async fn f18_who_was_silent_beside_a_flood_is_soon_probed_among_the_others_again() {
    let server = FaultServer::start_on_thread().unwrap();
    let fair = Fair::new(Prober::new().unwrap(), Canaries::Nobody, Arc::default());
    let (flood, silent) = (Arc::new(prepared(&server.url("/informational"))), Arc::new(prepared(&server.url("/hang"))));
    tokio::join!(fair.check(&flood), fair.check(&silent));
    // Apart it shows that it costs nothing.
    let hung = fair.check(&silent).await;
    assert!(TOO_LATE.contains(&hung.outcome), "{hung:?}");
    let again = format!("{silent:?}");
    assert!(again.contains("hogs: false"), "{again}");
}

/// Probes a target that floods the first who ask for a moment, and says `then` to who asks again. Meanwhile the thread
/// is said to stand still. What was found, and how often it was asked.
async fn asked_while_it_stands_still(floods: usize, then: &'static [u8]) -> (Probed, usize) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            let number = counted.fetch_add(1, Ordering::Relaxed);
            std::thread::spawn(move || {
                // Before it has asked, an answer is none.
                let _ = connection.read(&mut [0; 1024]);
                let interim = b"HTTP/1.1 100 Continue\r\n\r\n".repeat(100);
                let end = Instant::now() + Duration::from_millis(200);
                while number < floods && Instant::now() < end && connection.write_all(&interim).is_ok() {}
                if number >= floods {
                    let _ = connection.write_all(then);
                }
                // Until they hang up.
                let _ = connection.read_to_end(&mut Vec::new());
            });
        }
    });
    let prober = Prober::new().unwrap();
    // Without optimisation what comes in that moment takes long to read.
    let target = Arc::new(prepared_for(&url, TIMEOUT * 4));
    let (over, watching) = (Arc::new(AtomicBool::new(false)), prober.clone());
    let is_over = Arc::clone(&over);
    let watch = std::thread::spawn(move || {
        while !is_over.load(Ordering::Relaxed) {
            watching.stands_still(Duration::from_millis(100));
            std::thread::park_timeout(Duration::from_millis(5));
        }
    });
    let probed = Probe::check(&prober, &target).await;
    over.store(true, Ordering::Relaxed);
    watch.join().unwrap();
    (probed, asked.load(Ordering::Relaxed))
}

const FINE_ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

#[tokio::test]
async fn f18_who_floods_while_its_thread_stands_still_is_asked_again_at_once() {
    let (probed, asked) = asked_while_it_stands_still(1, FINE_ANSWER).await;
    assert_eq!((asked, FINE.contains(&probed.outcome)), (2, true), "{probed:?}");
}

#[tokio::test]
async fn f18_who_had_only_a_part_of_its_time_is_not_blamed_for_it() {
    let (probed, asked) = asked_while_it_stands_still(1, b"").await;
    assert_eq!((asked, probed.outcome), (2, Outcome::Unknown), "{probed:?}");
}

// Elsewhere nobody says who floods.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn f18_who_is_only_silent_while_its_thread_stands_still_is_asked_once() {
    let (probed, asked) = asked_while_it_stands_still(0, b"").await;
    assert_eq!((asked, probed.outcome), (1, TOO_LATE[0]), "{probed:?}");
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
