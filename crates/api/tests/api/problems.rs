use reqwest::Method;
use serde_json::Value;
use store::testing::TestDb;

use crate::support::{TOKEN, TestApi};

#[tokio::test]
async fn a_bad_parameter_is_named() {
    let db = TestDb::new().await;
    let api = TestApi::start(&db.url).await;
    for (path, named) in [
        ("/status?limit=0", "limit"),
        ("/status?limit=-1", "limit"),
        ("/status?limit=abc", "limit"),
        ("/status?since=yesterday", "since"),
        ("/status?since=2026-11-21T10:00:00", "since"),
        ("/status?until=9999-01-01T00:00:00Z", "until"),
        ("/status?since=2026-11-22T00:00:00Z&until=2026-11-21T00:00:00Z", "since"),
        ("/status?outcome=missed", "outcome"),
        ("/status?nonsense=1", "nonsense"),
        ("/api/v1/checks?window=5x", "window"),
        ("/api/v1/checks?window=0s", "window"),
        ("/api/v1/checks?window=401d", "window"),
        ("/api/v1/checks?window=1m&window=2m", "window"),
        ("/api/v1/checks?limit=501", "limit"),
    ] {
        let response = api.get(path).await;
        assert_eq!(response.status(), 400, "{path}");
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        let request_id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
        let problem: Value = response.json().await.unwrap();
        assert!(problem["detail"].as_str().unwrap().contains(named), "{path}: {problem}");
        assert_eq!(problem["status"], 400);
        assert_eq!(problem["request_id"], request_id);
    }
    api.stop().await;
}

#[tokio::test]
async fn a_nul_byte_is_a_bad_request_wherever_it_stands() {
    let db = TestDb::new().await;
    let api = TestApi::start(&db.url).await;
    for path in ["/status?url=%00", "/api/v1/checks?target=a%00b", "/api/v1/targets/%00", "/api/v1/summary?label=a:%00"]
    {
        assert_eq!(api.get(path).await.status(), 400, "{path}");
    }
    api.stop().await;
}

#[tokio::test]
async fn unknown_paths_targets_and_methods_are_told_apart() {
    let db = TestDb::new().await;
    let api = TestApi::start(&db.url).await;
    assert_eq!(api.get("/nothing").await.status(), 404);
    let response = api.get("/api/v1/checks?target=nobody").await;
    assert_eq!(response.status(), 404);
    assert!(response.json::<Value>().await.unwrap()["detail"].as_str().unwrap().contains("nobody"));
    let response = api.request(Method::POST, "/status").send().await.unwrap();
    assert_eq!((response.status().as_u16(), &response.headers()["allow"]), (405, &"GET, HEAD".parse().unwrap()));
    assert_eq!(api.request(Method::HEAD, "/status").send().await.unwrap().status(), 200);
    api.stop().await;
}

#[tokio::test]
async fn reading_needs_the_token_where_it_is_not_public() {
    let db = TestDb::new().await;
    let api = TestApi::start_with(&db.url, false).await;
    let ask = async |authorization: Option<String>| {
        let mut request = api.request(Method::GET, "/status");
        if let Some(value) = authorization {
            request = request.header("authorization", value);
        }
        request.send().await.unwrap()
    };
    for wrong in [None, Some("Bearer ".to_owned()), Some("Bearer wrong".to_owned()), Some(format!("Basic {TOKEN}"))] {
        let response = ask(wrong.clone()).await;
        assert_eq!(response.status(), 401, "{wrong:?}");
        assert_eq!(response.headers()["www-authenticate"], "Bearer");
        assert_eq!(response.headers()["content-type"], "application/problem+json");
    }
    assert_eq!(ask(Some(format!("Bearer {TOKEN}"))).await.status(), 200);
    assert_eq!(api.get("/healthz").await.status(), 200);
    api.stop().await;
}

#[tokio::test]
async fn a_port_in_use_and_a_wrong_database_are_one_line_each() {
    let db = TestDb::new().await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = api::config::ListenSettings::at(taken.local_addr().unwrap());
    let error = api::Api::bind(api::Config { database_url: db.url.clone(), migration_database_url: None, listen })
        .err()
        .unwrap();
    let line = error.downcast_ref::<settings::SettingsError>().unwrap().to_string();
    assert!(line.starts_with("API_ADDR (--api-addr): cannot listen on 127.0.0.1:"), "{line}");
    assert!(!line.contains('\n'));

    let mut missing = url::Url::parse(&db.url).unwrap();
    missing.set_path("no_such_database");
    let listen = api::config::ListenSettings::at("127.0.0.1:0".parse().unwrap());
    let config = api::Config { database_url: missing.to_string(), migration_database_url: None, listen };
    let error = api::run(config, tokio_util::sync::CancellationToken::new()).await.unwrap_err();
    let line = error.downcast_ref::<settings::SettingsError>().unwrap().to_string();
    assert!(line.starts_with("DATABASE_URL (--database-url): ") && line.contains("no_such_database"), "{line}");
}
