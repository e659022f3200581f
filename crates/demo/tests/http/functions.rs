//! The functions, over real connections.

use std::net::SocketAddr;

use demo::functions::{self, Function, FunctionsArgs};
use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::support::{Answer, Client, get};

async fn start(args: FunctionsArgs) -> (SocketAddr, DropGuard) {
    let functions = functions::bind(&FunctionsArgs { port: 0, ..args }).await.unwrap();
    let (addr, stop) = (functions.addr(), CancellationToken::new());
    tokio::spawn(functions.run(stop.clone()));
    (addr, stop.drop_guard())
}

fn json(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).unwrap()
}

async fn put(addr: SocketAddr, body: &str) -> Answer {
    let mut client = Client::connect(addr).await;
    client.send(&format!("PUT /control HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}", body.len())).await;
    client.read_answer().await
}

#[tokio::test]
async fn a_call_answers_its_result_and_the_time_of_the_function_alone() {
    let (addr, _stop) = start(FunctionsArgs::default()).await;

    let answer = get(addr, "/fibonacci/100/").await;

    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    let body = json(&answer);
    assert_eq!(body["function"], "fibonacci");
    assert_eq!(body["arguments"], json!({ "n": 100 }));
    assert_eq!(body["result"], "354224848179261915075");
    let timing = answer.header("server-timing").unwrap().strip_prefix("function;dur=").unwrap();
    assert!((timing.parse::<f64>().unwrap() - body["call_ms"].as_f64().unwrap()).abs() < 0.001);
}

#[tokio::test]
async fn a_call_that_cannot_be_is_a_problem() {
    let (addr, _stop) = start(FunctionsArgs::default()).await;
    for (path, status) in [
        ("/fibonacci/401/", 400),
        ("/ackermann/3/5/", 400),
        ("/factorial/1", 400),
        ("/square/2/", 404),
        ("/control", 404),
    ] {
        let answer = get(addr, path).await;
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (status, Some("application/problem+json")),
            "{path}"
        );
        assert_eq!(json(&answer)["status"], status, "{path}");
    }
    let mut client = Client::connect(addr).await;
    client.ask("DELETE", "/fibonacci/1/").await;
    let answer = client.read_answer().await;
    assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD")));
}

#[tokio::test]
async fn one_alone_serves_no_other() {
    let (addr, _stop) = start(FunctionsArgs { only: Some(Function::Factorial), ..FunctionsArgs::default() }).await;

    assert_eq!(get(addr, "/factorial/5/").await.status, 200);
    assert_eq!(get(addr, "/fibonacci/5/").await.status, 404);
    assert_eq!(get(addr, "/healthz").await.text(), "ok\n");
    assert!(!get(addr, "/metrics").await.text().contains("fibonacci"));
}

#[tokio::test]
async fn calls_are_counted_by_code_and_timed() {
    let (addr, _stop) = start(FunctionsArgs::default()).await;
    for path in ["/factorial/3/", "/factorial/4/", "/factorial/x/"] {
        get(addr, path).await;
    }

    let metrics = get(addr, "/metrics").await.text();

    for line in [
        r#"function_requests_total{code="200",function="factorial"} 2"#,
        r#"function_requests_total{code="400",function="factorial"} 1"#,
        r#"function_requests_total{code="500",function="factorial"} 0"#,
        r#"function_call_duration_seconds_count{function="factorial"} 2"#,
        r#"function_call_duration_seconds_count{function="ackermann"} 0"#,
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} is not in\n{metrics}");
    }
}

#[tokio::test]
async fn it_is_broken_and_repaired_while_it_runs_where_that_is_allowed() {
    let (addr, _stop) = start(FunctionsArgs { control: true, ..FunctionsArgs::default() }).await;

    assert_eq!(json(&put(addr, r#"{"fail": 1, "delay": "1ms"}"#).await), json!({ "fail": 1.0, "delay": "1ms" }));
    assert_eq!(get(addr, "/fibonacci/1/").await.status, 500);
    let wrong = [r#"{"fail": 2}"#, r#"{"delay": "1 year and a bit"}"#, r#"{"nonsense": 1}"#, "not JSON", ""];
    for body in wrong {
        let answer = put(addr, body).await;
        assert!(matches!(answer.status, 400 | 422), "{body}: {}", answer.status);
    }
    assert_eq!(get(addr, "/fibonacci/1/").await.status, 500, "a wrong setting changed something");
    assert_eq!(put(addr, "{}").await.status, 200);
    assert_eq!(get(addr, "/fibonacci/1/").await.status, 200);
}
