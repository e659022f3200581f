use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use common::{Phases, TargetSpec, TargetUrl};
use tokio::time::advance;

use super::*;

/// A network that is there or not, and counts who asks.
#[derive(Debug, Clone, Default)]
struct Wire {
    is_cut: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
    is_guess: bool,
}

impl Reach for Wire {
    async fn ask(&self) -> Sign {
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.is_cut.load(Ordering::Relaxed).then(|| "the wire is cut".to_owned())
    }

    fn may_be_wrong(&self) -> bool {
        self.is_guess
    }
}

/// Takes the target's path for how it goes.
#[derive(Debug, Clone)]
struct Scripted;

impl Probe for Scripted {
    async fn check(&self, target: &Arc<Prepared>) -> Probed {
        let started = Instant::now();
        let (outcome, code) = match target.url.path() {
            "/up" => (Outcome::Up, Some(200)),
            "/status" => (Outcome::Down(Cause::Status), Some(500)),
            "/refused" => (Outcome::Down(Cause::Refused), None),
            "/dns" => (Outcome::Down(Cause::Dns), None),
            "/stall" => {
                // This very thread, as by SIGSTOP.
                advance_at_once(Duration::from_millis(300)).await;
                (Outcome::Down(Cause::Reset), None)
            }
            "/stall-status" => {
                advance_at_once(Duration::from_millis(300)).await;
                (Outcome::Down(Cause::Status), Some(500))
            }
            "/stall-flood" => {
                advance_at_once(Duration::from_millis(300)).await;
                (Outcome::Down(Cause::Protocol), None)
            }
            _ => {
                sleep(target.timeout).await;
                (Outcome::Down(Cause::Timeout), None)
            }
        };
        let phases = Phases { connect_us: code.map(|_| 5), ..Phases::default() };
        let detail = target.url.path().ends_with("flood").then(|| FLOODS.to_owned());
        Probed { started, outcome, code, elapsed_us: None, phases, detail }
    }
}

/// Time passes without anybody getting a turn.
async fn advance_at_once(by: Duration) {
    advance(by).await;
}

fn prepared(url: &str) -> Arc<Prepared> {
    let url = TargetUrl::parse(url).unwrap();
    Arc::new(Prepared::new(&TargetSpec { timeout: Duration::from_secs(1), ..TargetSpec::new("a", url) }))
}

async fn outcome(fair: &Fair<Scripted, Wire>, url: &str) -> Outcome {
    fair.check(&prepared(url)).await.outcome
}

const TIMEOUT: Outcome = Outcome::Down(Cause::Timeout);

#[tokio::test(start_paused = true)]
async fn a_target_that_is_down_while_another_answers_is_down_and_nobody_is_asked() {
    let wire = Wire::default();
    wire.is_cut.store(true, Ordering::Relaxed);
    let fair = Fair::new(Scripted, wire.clone(), Arc::default());
    let other = async {
        for _ in 0..10 {
            assert_eq!(outcome(&fair, "http://b.example/up").await, Outcome::Up);
            sleep(Duration::from_millis(150)).await;
        }
    };
    let (hung, ()) = tokio::join!(outcome(&fair, "http://a.example/hang"), other);
    assert_eq!((hung, wire.asked.load(Ordering::Relaxed)), (TIMEOUT, 0));
    // What is on this machine needs no network.
    sleep(Duration::from_secs(5)).await;
    assert_eq!(outcome(&fair, "http://127.0.0.1:1/hang").await, TIMEOUT);
    assert_eq!(outcome(&fair, "http://[::1]:1/refused").await, Outcome::Down(Cause::Refused));
}

#[tokio::test(start_paused = true)]
async fn a_target_that_is_down_alone_is_down_where_our_network_works() {
    let wire = Wire::default();
    let fair = Fair::new(Scripted, wire.clone(), Arc::default());
    assert_eq!(outcome(&fair, "http://a.example/hang").await, TIMEOUT);
    assert_eq!(outcome(&fair, "http://a.example/refused").await, Outcome::Down(Cause::Refused));
    assert_eq!(wire.asked.load(Ordering::Relaxed), 1, "what was asked a moment ago holds");
    assert_eq!(outcome(&fair, "http://a.example/status").await, Outcome::Down(Cause::Status));
}

#[tokio::test(start_paused = true)]
async fn without_a_network_nobody_is_blamed_also_not_those_whose_wait_began_or_ended_elsewhere() {
    let wire = Wire::default();
    let stats = Arc::<Stats>::default();
    let fair = Fair::new(Scripted, wire.clone(), Arc::clone(&stats));
    assert_eq!(outcome(&fair, "http://b.example/up").await, Outcome::Up);
    wire.is_cut.store(true, Ordering::Relaxed);
    // When it ends, nobody has answered for a second.
    sleep(Duration::from_millis(500)).await;
    assert_eq!(outcome(&fair, "http://a.example/hang").await, Outcome::Unknown);
    assert!(stats.is_offline());
    let begun_offline = async {
        sleep(Duration::from_millis(300)).await;
        outcome(&fair, "http://a.example/hang").await
    };
    let mended = async {
        sleep(Duration::from_millis(600)).await;
        wire.is_cut.store(false, Ordering::Relaxed);
        // Others answer again before that one has given up.
        sleep(Duration::from_millis(500)).await;
        outcome(&fair, "http://b.example/up").await
    };
    assert_eq!(tokio::join!(begun_offline, mended), (Outcome::Unknown, Outcome::Up));
    assert!(!stats.is_offline());
    sleep(Duration::from_secs(1)).await;
    assert_eq!(outcome(&fair, "http://a.example/hang").await, TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn what_connected_before_the_network_went_is_no_excuse_for_it() {
    let wire = Wire::default();
    let fair = Fair::new(Scripted, wire.clone(), Arc::default());
    assert_eq!(outcome(&fair, "http://b.example/refused").await, Outcome::Down(Cause::Refused));
    assert_eq!(outcome(&fair, "http://b.example/up").await, Outcome::Up);
    // It goes right then; the next one's second is over when both answers are hardly older.
    wire.is_cut.store(true, Ordering::Relaxed);
    assert_eq!(outcome(&fair, "http://a.example/hang").await, Outcome::Unknown);
}

#[tokio::test(start_paused = true)]
async fn a_name_server_that_is_gone_is_found_out_while_addresses_answer() {
    let wire = Wire::default();
    wire.is_cut.store(true, Ordering::Relaxed);
    let fair = Fair::new(Scripted, wire.clone(), Arc::default());
    assert_eq!(outcome(&fair, "http://b.example/up").await, Outcome::Up);
    assert_eq!(outcome(&fair, "http://a.example/dns").await, Outcome::Unknown);
}

#[tokio::test(start_paused = true)]
async fn canaries_that_targets_contradict_are_believed_no_longer() {
    let wire = Wire { is_guess: true, ..Wire::default() };
    wire.is_cut.store(true, Ordering::Relaxed);
    let fair = Fair::new(Scripted, wire, Arc::default());
    assert_eq!(outcome(&fair, "http://a.example/hang").await, Outcome::Unknown);
    for _ in 0..60 {
        sleep(Duration::from_millis(250)).await;
        assert_eq!(outcome(&fair, "http://b.example/up").await, Outcome::Up);
    }
    sleep(Duration::from_secs(2)).await;
    assert_eq!(outcome(&fair, "http://a.example/hang").await, TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn what_failed_while_we_stood_still_is_unknown_and_what_was_wrong_anyway_is_not() {
    let fair = Fair::new(Scripted, Wire::default(), Arc::default());
    sleep(Duration::from_millis(100)).await;
    assert_eq!(outcome(&fair, "http://127.0.0.1:1/stall").await, Outcome::Unknown);
    assert_eq!(outcome(&fair, "http://127.0.0.1:1/stall-status").await, Outcome::Down(Cause::Status));
    assert_eq!(outcome(&fair, "http://127.0.0.1:1/stall-flood").await, Outcome::Down(Cause::Protocol));
    assert_eq!(outcome(&fair, "http://127.0.0.1:1/hang").await, TIMEOUT, "a standstill before it is none of its");
}
