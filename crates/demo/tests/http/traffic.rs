//! Traffic on functions that work and on some that do not.

use std::time::Duration;

use demo::functions::{self, Function, FunctionsArgs};
use demo::traffic::{self, TrafficArgs};
use tokio_util::sync::CancellationToken;

fn args(url: String) -> TrafficArgs {
    TrafficArgs { url, only: None, rate: 1000, duration: Duration::from_millis(300), invalid: 0.2, seed: Some(7) }
}

#[tokio::test]
async fn every_call_gets_the_answer_it_should_and_is_timed_apart_from_what_is_around_it() {
    let functions = functions::bind(&FunctionsArgs { port: 0, ..FunctionsArgs::default() }).await.unwrap();
    let (url, stop) = (format!("http://{}", functions.addr()), CancellationToken::new());
    tokio::spawn(functions.run(stop.clone()));

    let summary = traffic::run(&args(url), &stop).await.unwrap();

    let codes: Vec<_> = Function::ALL.into_iter().map(|function| summary.codes(function)).collect();
    assert_eq!(codes.iter().flat_map(|codes| codes.values()).sum::<u64>() + summary.not_sent, 300);
    assert!(codes.iter().all(|codes| codes[&200] > codes[&400] && codes[&400] > 0), "{codes:?}");
    assert_eq!(summary.unexpected(), 0);
    let text = summary.to_string();
    for part in ["fibonacci", "ackermann", "factorial", "in all", "function", "around it", "unexpected × 0"] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    stop.cancel();
}

#[tokio::test]
async fn what_fails_is_told() {
    let functions = FunctionsArgs { port: 0, fail: 1.0, ..FunctionsArgs::default() };
    let functions = functions::bind(&functions).await.unwrap();
    let (url, stop) = (format!("http://{}", functions.addr()), CancellationToken::new());
    tokio::spawn(functions.run(stop.clone()));

    let summary = traffic::run(&TrafficArgs { only: Some(Function::Factorial), ..args(url) }, &stop).await.unwrap();

    let codes = summary.codes(Function::Factorial);
    assert_eq!(summary.unexpected(), codes[&500]);
    stop.cancel();
}

#[tokio::test]
async fn where_nobody_answers_that_is_an_error() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", free.local_addr().unwrap());
    drop(free);

    let error = traffic::run(&args(url.clone()), &CancellationToken::new()).await.unwrap_err();

    assert_eq!(error.to_string(), format!("{url} did not answer a single call"));
}
