//! Incidents over HTTP: what is posted, what is found, what reports say.

use chrono::{TimeDelta, Utc};
use reqwest::header::CONTENT_TYPE;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use store::testing::TestDb;

use crate::support::{TOKEN, TestApi};

const INFO: &str = r#"[{"name": "shop", "verb": "GET", "resource": "/orders", "slo": 0.9, "window": 10},
    {"name": "mail", "verb": "POST", "resource": "/send", "slo": "0.5", "window": "2.5"}]"#;

struct Answer {
    status: StatusCode,
    replayed: bool,
    body: Value,
}

async fn send(api: &TestApi, method: Method, path: &str, kind: &str, key: Option<&str>, body: &str) -> Answer {
    let mut request = api.request(method, path).bearer_auth(TOKEN).header(CONTENT_TYPE, kind).body(body.to_owned());
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    let response = request.send().await.unwrap();
    let (status, replayed) = (response.status(), response.headers().contains_key("idempotency-replayed"));
    Answer { status, replayed, body: response.json().await.unwrap() }
}

async fn declared() -> (TestDb, TestApi) {
    let db = TestDb::new().await;
    let api = TestApi::start(&db.url).await;
    let answer = send(&api, Method::PUT, "/api/v1/services", "application/json", None, INFO).await;
    assert_eq!((answer.status, answer.body), (StatusCode::OK, json!({"endpoints": 2, "changed": 2, "kept": 0})));
    (db, api)
}

fn access(seconds_ago: i64, rest: &str) -> String {
    let at = (Utc::now() - TimeDelta::seconds(seconds_ago)).timestamp();
    json!({"type": "access", "value": format!("{at} {rest}")}).to_string()
}

/// Incidents of an endpoint of `/orders`: one that was over, one that is open.
async fn incidents(db: &TestDb) {
    for sql in [
        "insert into batch (kind, first_at, last_at, rows) values ('change', now(), now(), 2)",
        "insert into change (service_id, commit_id, author, at, source, batch_id, ordinal)
         values (2, 'bad', 'a@b.c', '2026-11-21T11:59:00Z', 'deploy', 1, 0),
                (2, 'good', null, '2026-11-21T12:00:30Z', 'deploy', 1, 1)",
        "insert into incident (endpoint_id, started_at, started_ns, ended_at, ended_ns, breaking_change_id,
              fixing_change_id, good_count, total_count)
         values (1, '2026-11-21T12:00:00Z', 1795262400000000000, '2026-11-21T12:00:40.005Z', 1795262440005000000, 1, 2, 8, 9),
                (1, '2026-11-21T13:00:00.25Z', 1795266000250000000, null, null, 2, null, 0, 1)",
    ] {
        sqlx::query(sql).execute(&db.pool).await.unwrap();
    }
}

#[tokio::test]
async fn writing_needs_the_token_even_where_reading_does_not() {
    let (_db, api) = declared().await;
    for (method, path) in
        [(Method::PUT, "/api/v1/services"), (Method::POST, "/api/v1/changes"), (Method::POST, "/api/v1/events")]
    {
        for token in [None, Some("another-token-of-some-length")] {
            let mut request = api.request(method.clone(), path).body("[]");
            if let Some(token) = token {
                request = request.bearer_auth(token);
            }
            let response = request.send().await.unwrap();
            assert_eq!(response.status(), 401, "{method} {path} {token:?}");
            assert_eq!(response.headers()["www-authenticate"], "Bearer");
        }
    }
    api.stop().await;
}

#[tokio::test]
async fn a_deploy_hook_tells_of_a_change_as_json_or_as_text() {
    let (_db, api) = declared().await;
    let json = r#"{"service": "shop", "commit": "abc", "at": "2026-11-20T10:00:00Z"}"#;
    let answer = send(&api, Method::POST, "/api/v1/changes", "application/json; charset=utf-8", None, json).await;
    assert_eq!(answer.status, 201);
    assert_eq!(
        answer.body,
        json!({"service": "shop", "commit": "abc", "author": null, "at": "2026-11-20T10:00:00.000000Z"})
    );
    let text = "commit: def\nAuthor: <a@b.c>\nDate: Wed Nov 18 14:11:31 +0200 2026\nService: mail\n";
    let answer = send(&api, Method::POST, "/api/v1/changes", "text/plain", None, text).await;
    assert_eq!((answer.status, &answer.body["author"]), (StatusCode::CREATED, &json!("a@b.c")));

    let list = api.json("/api/v1/changes?limit=1").await;
    assert_eq!(list["changes"][0]["commit"], "abc");
    let next = list["next"].as_str().unwrap();
    let list = api.json(&format!("/api/v1/changes?limit=1&cursor={next}")).await;
    assert_eq!((&list["changes"][0]["at"], &list["next"]), (&json!("2026-11-18T12:11:31.000000Z"), &Value::Null));
    assert_eq!(api.json("/api/v1/changes?service=mail").await["changes"].as_array().unwrap().len(), 1);

    for (kind, body, status, pointer, code) in [
        ("application/json", r#"{"service": "nobody", "commit": "x"}"#, 422, "/service", "unknown-service"),
        ("application/json", r#"{"service": "shop", "commit": "a b"}"#, 422, "/commit", "bad-change"),
        (
            "application/json",
            r#"{"service": "shop", "commit": "x", "at": "2199-01-01T00:00:00Z"}"#,
            422,
            "/at",
            "bad-change",
        ),
        ("application/json", r#"{"service": "shop", "commit": "x", "at": "yesterday"}"#, 422, "/at", "bad_json"),
        ("application/json", r#"{"service": "shop", "commit": "x", "color": 1}"#, 422, "/color", "bad_json"),
        ("application/json", r#"{"service": "shop", "commit": 7}"#, 422, "/commit", "bad_json"),
        ("application/json", r#"{"service": "shop"}"#, 422, "", "bad_json"),
        ("application/json", "{", 400, "", "bad_json"),
        ("application/json", r#"{"service": "shop", "commit": "x"} x"#, 400, "", "bad_json"),
        ("text/plain", "commit: x", 422, "", "bad-change"),
        ("text/plain", "commit: x\nAuthor: <a>\nDate: today\nService: shop", 422, "", "bad-date"),
    ] {
        let answer = send(&api, Method::POST, "/api/v1/changes", kind, None, body).await;
        let error = &answer.body["errors"][0];
        assert_eq!(
            (answer.status.as_u16(), &error["pointer"], &error["code"]),
            (status, &json!(pointer), &json!(code)),
            "{body}"
        );
        let says_how = !body.contains("yesterday") || answer.body["detail"].as_str().unwrap().contains("T10:00:00Z");
        assert!(says_how, "{}", answer.body);
    }
    let answer = send(&api, Method::POST, "/api/v1/changes", "application/xml", None, "<x/>").await;
    assert_eq!(answer.status, 415);
    let request = api.request(Method::POST, "/api/v1/changes").header("authorization", format!("bearer {TOKEN}"));
    let packed = request.header(CONTENT_TYPE, "application/json").header("content-encoding", "zzz").body("{}");
    assert_eq!(packed.send().await.unwrap().status(), 415, "the scheme has no case, and nobody knows that coding");
    api.stop().await;
}

#[tokio::test]
async fn each_line_of_a_stream_is_stored_or_rejected_for_itself() {
    let (db, api) = declared().await;
    let stream = [
        access(3, "GET /orders 200"),
        String::new(),
        access(2, "GET /orders 700"),
        access(2, "GET /elsewhere 200"),
        access(-400, "GET /orders 200"),
        "{'type': 'change', 'value': 'commit: abc\\nAuthor: <a@b.c>\\nDate: 2026-11-21 10:00:00\\nService: shop'}"
            .to_owned(),
        r#"{"type": "change", "value": "commit: x\nAuthor: <a>\nDate: 2026-11-21 10:00:00\nService: none"}"#.to_owned(),
        r#"{"type": "news", "value": "x"}"#.to_owned(),
        "nonsense".to_owned(),
        access(1, "GET /orders 503"),
        r#"{"type": "end-of-stream"}"#.to_owned(),
        "not looked at".to_owned(),
    ]
    .join("\r\n");
    let answer = send(&api, Method::POST, "/api/v1/events", "application/x-ndjson", Some("k1"), &stream).await;
    assert_eq!(answer.status, 207, "{}", answer.body);
    assert_eq!((&answer.body["accepted"], &answer.body["rejected"]), (&json!(3), &json!(6)));
    let results: Vec<(u64, u64, &str)> = answer.body["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            (one["line"].as_u64().unwrap(), one["status"].as_u64().unwrap(), one["reason"].as_str().unwrap_or_default())
        })
        .collect();
    assert_eq!(
        results,
        [
            (1, 201, ""),
            (3, 422, "bad-status"),
            (4, 422, "unknown-endpoint"),
            (5, 422, "bad-timestamp"),
            (6, 201, ""),
            (7, 422, "unknown-service"),
            (8, 422, "unknown-type"),
            (9, 422, "bad-syntax"),
            (10, 201, ""),
        ]
    );
    let rows: Vec<(i32, i16, i32)> =
        sqlx::query_as("select endpoint_id, status, ordinal from access_event order by ordinal")
            .fetch_all(&db.pool)
            .await
            .unwrap();
    assert_eq!(rows.iter().map(|row| (row.1, row.2)).collect::<Vec<_>>(), [(200, 1), (503, 10)]);

    // The same post again is answered as before and stored once.
    let again = send(&api, Method::POST, "/api/v1/events", "application/x-ndjson", Some("k1"), &stream).await;
    assert_eq!((again.status, again.replayed, &again.body), (StatusCode::MULTI_STATUS, true, &answer.body));
    let other = send(&api, Method::POST, "/api/v1/events", "application/x-ndjson", Some("k1"), "nonsense").await;
    assert_eq!(other.status, 409);
    let stored: i64 = sqlx::query_scalar("select count(*) from access_event").fetch_one(&db.pool).await.unwrap();
    assert_eq!(stored, 2);

    // One of two was good, so the objective is missed; nobody has folded it yet.
    let services = api.json("/api/v1/services?service=shop").await;
    let orders = &services["endpoints"][0];
    assert_eq!((&orders["good"], &orders["total"], &orders["sli"]), (&json!(1), &json!(2), &json!(0.5)));
    assert_eq!(
        (&orders["objective"], &orders["window_seconds"], &orders["state"]),
        (&json!(0.9), &json!(10.0), &json!("healthy"))
    );
    api.stop().await;
}

#[tokio::test]
async fn a_post_that_is_too_much_or_nothing_is_refused_whole() {
    let (_db, api) = declared().await;
    let many = vec!["x"; 10_001].join("\n");
    let long = "x".repeat(9 * 1024 * 1024);
    let line = "x".repeat(70_000);
    for (body, status) in [("", 400), (" \n\n", 400), (many.as_str(), 413), (long.as_str(), 413)] {
        let answer = send(&api, Method::POST, "/api/v1/events", "application/x-ndjson", None, body).await;
        assert_eq!(answer.status, status, "{}", answer.body);
        assert_eq!(answer.body["status"], status);
    }
    let answer = send(&api, Method::POST, "/api/v1/events", "application/x-ndjson", None, &line).await;
    assert_eq!(answer.body["results"][0]["reason"], "bad-syntax");
    let answer = send(&api, Method::POST, "/api/v1/events", "image/png", None, "x").await;
    assert_eq!(answer.status, 415);
    for (name, resource, pointer) in
        [("n\\u0000x", "/", "/0/name"), ("n", "/\\u001b", "/0/resource"), ("n", &"x".repeat(2_001), "/0/resource")]
    {
        let body = format!(r#"[{{"name": "{name}", "verb": "GET", "resource": "{resource}", "slo": 1, "window": 1}}]"#);
        let answer = send(&api, Method::PUT, "/api/v1/services", "application/json", None, &body).await;
        assert_eq!((answer.status.as_u16(), &answer.body["errors"][0]["pointer"]), (422, &json!(pointer)), "{body}");
    }
    let answer = send(&api, Method::PUT, "/api/v1/services", "image/png", None, INFO).await;
    assert_eq!(answer.status, 415);
    let short = r#"[{"name": "a"}]"#;
    for (kind, body, code) in [
        ("application/json", short, "bad_json"),
        ("text/plain", short, "bad-info"),
        ("application/json", r#"[{"name": "a", "verb": "GET", "resource": "/", "slo": 2, "window": 1}]"#, "bad-slo"),
    ] {
        let answer = send(&api, Method::PUT, "/api/v1/services", kind, None, body).await;
        assert_eq!((answer.status.as_u16(), &answer.body["errors"][0]["code"]), (422, &json!(code)), "{body}");
    }
    api.stop().await;
}

#[tokio::test]
async fn an_incident_names_what_broke_it_and_what_fixed_it() {
    let (db, api) = declared().await;
    incidents(&db).await;
    let list = api.json("/api/v1/incidents").await;
    let [open, over] = list["incidents"].as_array().unwrap().as_slice() else { panic!("{list}") };
    assert_eq!(
        (&open["id"], &open["ended_at"], &open["break"]["commit"], &open["fix"]),
        (&json!(2), &Value::Null, &json!("good"), &Value::Null)
    );
    assert_eq!(over["started_at"], "2026-11-21T12:00:00.000000Z");
    assert_eq!(
        (&over["duration_seconds"], &over["break"]["commit"], &over["fix"]["commit"]),
        (&json!(40.005), &json!("bad"), &json!("good"))
    );
    assert_eq!((&over["good"], &over["total"], &over["objective"]), (&json!(8), &json!(9), &json!(0.9)));

    let ids = async |query: &str| -> Vec<i64> {
        let list = api.json(&format!("/api/v1/incidents?{query}")).await;
        list["incidents"].as_array().unwrap().iter().map(|one| one["id"].as_i64().unwrap()).collect()
    };
    assert_eq!(ids("open=true").await, [2]);
    assert_eq!(ids("open=false").await, [1]);
    assert_eq!(ids("service=mail").await, [] as [i64; 0]);
    assert_eq!(ids("to=2026-11-21T12:30:00Z").await, [1]);
    assert_eq!(ids("from=2026-11-21T12:30:00Z").await, [2]);
    assert_eq!(ids("from=2026-11-21T12:00:20Z&to=2026-11-21T12:00:30Z").await, [1], "it touches the range");
    let page = api.json("/api/v1/incidents?limit=1").await;
    assert_eq!(ids(&format!("limit=1&cursor={}", page["next"].as_str().unwrap())).await, [1]);

    sqlx::query(
        "insert into access_event (received_at, at_ns, batch_id, endpoint_id, ordinal, status)
         values (now(), 1795262399000000000, 9, 1, 1, 500), (now(), 1795262399500000000, 9, 1, 2, 200)",
    )
    .execute(&db.pool)
    .await
    .unwrap();
    let detail = api.json("/api/v1/incidents/1").await;
    assert_eq!(detail["id"], 1);
    assert_eq!(
        detail["failures"],
        json!([{"at": "2026-11-21T11:59:59.000000Z", "cause": null, "code": 500, "elapsed_ms": null}])
    );
    let commits: Vec<_> = detail["changes"].as_array().unwrap().iter().map(|change| &change["commit"]).collect();
    assert_eq!(commits, ["good", "bad"]);
    for (path, status) in
        [("/api/v1/incidents/3", 404), ("/api/v1/incidents/x", 400), ("/api/v1/incidents/99999999999999999999", 400)]
    {
        assert_eq!(api.get(path).await.status(), status, "{path}");
    }
    let next = page["next"].as_str().unwrap();
    assert_eq!(api.get(&format!("/api/v1/incidents?cursor={next}&open=true")).await.status(), 400, "of another list");
    for query in [
        "from=yesterday",
        "from=2026-11-22T00:00:00Z&to=2026-11-21T00:00:00Z",
        "open=maybe",
        "cursor=xyz",
        "nonsense=1",
    ] {
        assert_eq!(api.get(&format!("/api/v1/incidents?{query}")).await.status(), 400, "{query}");
    }
    // {"service":"\u0000","verb":"","resource":""}
    let forged = "eyJzZXJ2aWNlIjoiXHUwMDAwIiwidmVyYiI6IiIsInJlc291cmNlIjoiIn0";
    assert_eq!(api.get(&format!("/api/v1/services?cursor={forged}")).await.status(), 400);
    let metrics = api.get("/metrics").await.text().await.unwrap();
    for line in [
        "lookout_incident_open{endpoint=\"GET /orders\",service=\"shop\"} 1",
        "lookout_incident_open{endpoint=\"POST /send\",service=\"mail\"} 0",
        "lookout_slo_objective{endpoint=\"GET /orders\",service=\"shop\"} 0.9",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} is not in\n{metrics}");
    }
    assert!(!metrics.contains("lookout_sli_ratio{"), "nothing was asked, so there is no ratio");
    api.stop().await;
}

#[tokio::test]
async fn reports_have_the_form_that_a_replay_has() {
    let (db, api) = declared().await;
    incidents(&db).await;
    assert_eq!(api.get("/api/v1/reports/mttr").await.text().await.unwrap(), r#"{"mttr":40.01}"#);
    assert_eq!(api.json("/api/v1/reports/histogram").await, json!({"api_histogram": {"shop": 2}}));
    assert_eq!(
        api.get("/api/v1/reports/incidents?to=2026-11-21T13:00:00Z").await.text().await.unwrap(),
        r#"{"incident_details":{"shop":[{"start":1795262400,"end":1795262440.005,"fix":"good","break":"bad"}]}}"#
    );
    assert_eq!(
        api.json("/api/v1/reports/incidents?from=2026-11-21T13:00:00Z").await,
        json!({"incident_details": {"shop": [{"start": 1_795_266_000.25, "end": -1, "fix": "", "break": "good"}]}})
    );
    assert_eq!(api.json("/api/v1/reports/mttr?service=mail").await, json!({"mttr": null}));
    assert_eq!(api.json("/api/v1/reports/histogram?service=mail").await, json!({"api_histogram": {}}));
    api.stop().await;
}
