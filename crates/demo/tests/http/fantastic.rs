//! The service everyone sees first, over real connections.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::support::{Answer, Client, get};
use demo::fantastic::{self, FantasticArgs};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

fn args() -> FantasticArgs {
    FantasticArgs { port: 0, seed: Some(7), ..FantasticArgs::default() }
}

async fn start(args: &FantasticArgs) -> (SocketAddr, CancellationToken, JoinHandle<anyhow::Result<()>>) {
    let service = fantastic::bind(args).await.unwrap();
    let addr = service.addr();
    let stop = CancellationToken::new();
    let running = tokio::spawn(service.run(stop.clone()));
    (addr, stop, running)
}

/// The first `count` answers of a service that has just been started.
async fn answers(args: &FantasticArgs, count: usize) -> Vec<Answer> {
    let (addr, stop, running) = start(args).await;
    let mut client = Client::connect(addr).await;
    let mut answers = Vec::new();
    for _ in 0..count {
        client.ask("GET", "/").await;
        answers.push(client.read_answer().await);
    }
    stop.cancel();
    running.await.unwrap().unwrap();
    answers
}

#[tokio::test]
async fn about_a_quarter_of_the_answers_are_failures_with_a_long_story() {
    let answers = answers(&args(), 1000).await;

    let failed = answers.iter().filter(|answer| answer.status == 500).count();
    assert!((200..300).contains(&failed), "{failed} of 1000 failed");
    for answer in answers {
        match answer.status {
            200 => {
                assert_eq!(answer.text(), "fantastic!");
                assert!(answer.header("content-type").unwrap().contains("text/plain"));
            }
            500 => {
                assert!(answer.text().lines().count() > 5, "{}", answer.text());
                serde_json::from_str::<serde_json::Value>(&answer.text()).unwrap();
            }
            other => panic!("{other} is no answer of this service"),
        }
    }
}

#[tokio::test]
async fn the_same_seed_gives_the_same_answers() {
    let first = answers(&args(), 100).await;
    let second = answers(&args(), 100).await;
    let other = FantasticArgs { seed: Some(8), ..args() };
    let third = answers(&other, 100).await;

    assert_eq!(first, second);
    assert_ne!(first, third);
}

#[tokio::test]
async fn a_chosen_seed_can_be_used_again() {
    let unseeded = FantasticArgs { seed: None, ..args() };
    let service = fantastic::bind(&unseeded).await.unwrap();
    let again = FantasticArgs { seed: Some(service.seed()), ..args() };
    let (addr, stop) = (service.addr(), CancellationToken::new());
    let _stops_at_the_end = stop.clone().drop_guard();
    tokio::spawn(service.run(stop));

    let mut client = Client::connect(addr).await;
    let mut first = Vec::new();
    for _ in 0..20 {
        client.ask("GET", "/").await;
        first.push(client.read_answer().await);
    }

    assert_eq!(first, answers(&again, 20).await);
}

#[tokio::test]
async fn a_share_of_1_means_always_and_0_means_never() {
    let always = FantasticArgs { fail: 1.0, ..args() };
    let never = FantasticArgs { fail: 0.0, ..args() };

    assert!(answers(&always, 50).await.iter().all(|a| a.status == 500));
    assert!(answers(&never, 50).await.iter().all(|a| a.status == 200));
}

#[tokio::test]
async fn other_paths_are_not_found_and_healthz_always_works() {
    let (addr, stop, _running) = start(&FantasticArgs { fail: 1.0, hang: 1.0, ..args() }).await;

    assert_eq!(get(addr, "/healthz").await.status, 200);
    assert_eq!(get(addr, "/nothing").await.status, 404);
    stop.cancel();
}

#[tokio::test]
async fn a_hanging_request_gets_no_answer_and_does_not_keep_the_service_from_stopping() {
    let (addr, stop, running) = start(&FantasticArgs { hang: 1.0, ..args() }).await;
    let mut client = Client::connect(addr).await;

    client.ask("GET", "/").await;

    assert!(client.hears_nothing_for(Duration::from_millis(200)).await);
    stop.cancel();
    running.await.unwrap().unwrap();
    assert!(matches!(client.read_all().await.as_deref(), Ok([]) | Err(_)));
}

#[tokio::test]
async fn the_delay_comes_before_the_answer() {
    let delay = Duration::from_millis(150);
    let (addr, stop, _running) = start(&FantasticArgs { delay, ..args() }).await;

    let asked_at = Instant::now();
    get(addr, "/").await;

    assert!(asked_at.elapsed() >= delay);
    stop.cancel();
}

#[tokio::test]
async fn a_port_in_use_is_named_with_the_cause() {
    let first = fantastic::bind(&args()).await.unwrap();
    let taken = FantasticArgs { port: first.addr().port(), ..args() };

    let error = fantastic::bind(&taken).await.unwrap_err().to_string();

    assert!(error.contains(&first.addr().to_string()), "{error}");
    assert!(error.contains("Address already in use"), "{error}");
}

#[tokio::test]
async fn a_share_that_is_none_is_refused() {
    for fail in [-0.1, 1.1, f64::NAN] {
        let error = fantastic::bind(&FantasticArgs { fail, ..args() }).await;

        assert!(error.unwrap_err().to_string().contains("`fail`"));
    }
}
