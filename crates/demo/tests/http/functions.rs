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
async fn every_boundary_is_answered_with_200_on_one_side_and_400_on_the_other() {
    let (addr, _stop) = start(FunctionsArgs::default()).await;
    let huge = format!("1{}", "0".repeat(30));
    let one_argument = [
        ("/0/", 200),
        ("/400/", 200),
        ("/401/", 400),
        ("/-1/", 400),
        ("/1.5/", 400),
        ("/abc/", 400),
        ("/", 400),
        ("//", 400),
        ("", 400),
        ("/1", 400),
        ("/1/2/", 400),
        ("/1/?n=1", 400),
    ];
    let two_arguments = [
        ("/0/0/", 200),
        ("/0/4/", 200),
        ("/3/0/", 200),
        ("/3/4/", 200),
        ("/4/0/", 400),
        ("/3/5/", 400),
        ("/-1/0/", 400),
        ("/0/-1/", 400),
        ("/1.5/0/", 400),
        ("/0/abc/", 400),
        ("/3/", 400),
        ("/3/4", 400),
        ("/3/4/0/", 400),
    ];
    let mut calls = vec![(format!("/ackermann/0/{huge}/"), 400), (format!("/ackermann/{huge}/0/"), 400)];
    for name in ["fibonacci", "factorial"] {
        calls.push((format!("/{name}/{huge}/"), 400));
        calls.extend(one_argument.map(|(rest, status)| (format!("/{name}{rest}"), status)));
    }
    calls.extend(two_arguments.map(|(rest, status)| (format!("/ackermann{rest}"), status)));

    for (path, status) in calls {
        let answer = get(addr, &path).await;
        let kind = if status == 200 { "application/json" } else { "application/problem+json" };
        assert_eq!((answer.status, answer.header("content-type")), (status, Some(kind)), "{path}");
        if status == 400 {
            let body = json(&answer);
            assert_eq!((&body["status"], &body["title"]), (&json!(400), &json!("Bad request")), "{path}");
            assert!(body["detail"].as_str().is_some_and(|detail| detail.len() > 10), "{path}: {body}");
        }
    }
}

#[tokio::test]
async fn what_is_no_function_is_not_found() {
    let (addr, _stop) = start(FunctionsArgs::default()).await;
    for path in ["/square/2/", "/control", "/", "//fibonacci/1/"] {
        let answer = get(addr, path).await;
        assert_eq!((answer.status, answer.header("content-type")), (404, Some("application/problem+json")), "{path}");
        assert_eq!(json(&answer)["status"], 404, "{path}");
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
