use reqwest::{Method, Response};
use serde_json::{Value, json};
use store::testing::TestDb;

use crate::support::{TOKEN, TestApi, store};

struct Sent {
    status: u16,
    tag: Option<String>,
    location: Option<String>,
    body: Value,
}

async fn sent(response: Response) -> Sent {
    let header = |name: &str| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    let (status, tag, location) = (response.status().as_u16(), header("etag"), header("location"));
    let text = response.text().await.unwrap();
    assert!(!text.contains("canary"), "{text}");
    Sent { status, tag, location, body: serde_json::from_str(&text).unwrap_or_default() }
}

async fn send(api: &TestApi, method: Method, path: &str, tag: Option<&str>, body: &str) -> Sent {
    let mut request = api.request(method, path).bearer_auth(TOKEN).header("content-type", "application/json");
    if let Some(tag) = tag {
        request = request.header("if-match", tag);
    }
    sent(request.body(body.to_owned()).send().await.unwrap()).await
}

const TARGETS: &str = "/api/v1/targets";

fn home(interval: &str) -> String {
    json!({"name": "home page", "key": "a/b", "url": "http://example.org/?v=1&token=canary-query", "interval": interval, "method": "POST",
           "headers": {"X-Key": "canary-header", "B": "2"}, "body": "canary-body", "service": "shop", "labels": {"team": "x"},
           "expect": {"body": {"contains": "ok"}}})
    .to_string()
}

#[tokio::test]
async fn a_posted_target_is_made_once_and_then_replaced_only_by_another() {
    let db = TestDb::new().await;
    let api = TestApi::start(&db.url).await;
    let made = send(&api, Method::POST, TARGETS, None, &home("1s")).await;
    assert_eq!((made.status, made.location.as_deref()), (201, Some("/api/v1/targets/a%2Fb")));
    assert_eq!(
        (&made.body["source"], &made.body["version"], &made.body["key"]),
        (&json!("api"), &json!(1), &json!("a/b"))
    );
    assert_eq!(made.tag.as_deref(), Some("\"1\""));
    // The same in another layout is the same.
    let other_layout = serde_json::to_string_pretty(&serde_json::from_str::<Value>(&home("1s")).unwrap()).unwrap();
    for text in [home("1s"), other_layout] {
        let same = send(&api, Method::POST, TARGETS, None, &text).await;
        assert_eq!((same.status, same.tag, same.location), (200, made.tag.clone(), None));
    }
    let changed = send(&api, Method::POST, TARGETS, None, &home("2s")).await;
    assert_eq!((changed.status, changed.tag.as_deref()), (200, Some("\"2\"")));
    assert_eq!(changed.body["interval_ms"], 2_000);
    // Only the value of a header is another one: nobody sees it, and it is another version.
    let secret = home("2s").replace("canary-header", "canary-other");
    assert_eq!(send(&api, Method::POST, TARGETS, None, &secret).await.tag.as_deref(), Some("\"3\""));
    let read = sent(api.get("/api/v1/targets/a%2Fb").await).await;
    assert_eq!(read.body["url"], "http://example.org/?v=1&token=***");
    let shown = home("2s").replace("canary-query", "***");
    let refused = send(&api, Method::POST, TARGETS, None, &shown).await;
    assert_eq!((refused.status, &refused.body["errors"][0]["pointer"]), (422, &json!("/url")));
    assert_eq!((read.tag.as_deref(), &read.body["version"]), (Some("\"3\""), &json!(3)));
    let endpoint: (String, String) = sqlx::query_as(
        "select s.name, e.verb from endpoint e join service s using (service_id) join target using (target_id) where key = 'a/b'",
    )
    .fetch_one(&db.pool)
    .await
    .unwrap();
    assert_eq!(endpoint, ("shop".to_owned(), "POST".to_owned()));
    assert_eq!(send(&api, Method::POST, TARGETS, Some("\"1\""), &home("1s")).await.status, 412);
    api.stop().await;
}

#[tokio::test]
async fn a21_whoever_replaces_or_deletes_says_what_they_saw() {
    let db = TestDb::new().await;
    let api = TestApi::start(&db.url).await;
    let path = "/api/v1/targets/a%2Fb";
    let put = async |tag: Option<&str>, interval: &str| send(&api, Method::PUT, path, tag, &home(interval)).await;
    assert_eq!(put(Some("*"), "1s").await.status, 412, "there is none to match");
    assert_eq!(send(&api, Method::DELETE, path, None, "").await.status, 404);
    assert_eq!(put(None, "1s").await.status, 201);
    let blind = put(None, "2s").await;
    assert_eq!((blind.status, &blind.body["title"]), (428, &json!("Precondition required")));
    for stale in ["\"7\"", "W/\"1\"", "\"x\"", "\"\""] {
        assert_eq!(put(Some(stale), "2s").await.status, 412, "{stale}");
        assert_eq!(send(&api, Method::DELETE, path, Some(stale), "").await.status, 412, "{stale}");
    }
    for bad in ["1", "\"1", "\"1\", \"2\""] {
        let refused = put(Some(bad), "2s").await;
        assert_eq!((refused.status, &refused.body["errors"][0]["pointer"]), (400, &json!("header:if-match")), "{bad}");
    }
    let replaced = put(Some("\"1\""), "2s").await;
    assert_eq!((replaced.status, replaced.tag.as_deref()), (200, Some("\"2\"")));
    assert_eq!(put(Some("\"1\""), "3s").await.status, 412, "somebody was first");
    assert_eq!(put(Some("*"), "3s").await.status, 200);
    // The key of the path is the key; another one in the body is a mistake.
    let other = send(&api, Method::PUT, "/api/v1/targets/other", None, &home("1s")).await;
    assert_eq!((other.status, &other.body["errors"][0]["pointer"]), (422, &json!("/key")));
    let keyless = r#"{"name": "n", "url": "http://example.org/"}"#;
    let made = send(&api, Method::PUT, "/api/v1/targets/http%3A%2F%2Fx%2F", None, keyless).await;
    assert_eq!((made.status, &made.body["key"]), (201, &json!("http://x/")));
    assert_eq!(send(&api, Method::DELETE, path, Some("\"3\""), "").await.status, 204);
    api.stop().await;
}

#[tokio::test]
async fn targets_of_other_sources_are_left_alone_until_they_are_gone() {
    let db = TestDb::new().await;
    store(&db, &[]).await;
    sqlx::query("update target set source = 'file' where key = 'b'").execute(&db.pool).await.unwrap();
    let api = TestApi::start(&db.url).await;
    for (key, source) in [("a", "env"), ("b", "file")] {
        let body = json!({"name": key, "url": "http://example.org/new"}).to_string();
        let path = format!("{TARGETS}/{key}");
        for (method, path) in [(Method::POST, TARGETS), (Method::PUT, &path), (Method::DELETE, &path)] {
            let refused = send(&api, method.clone(), path, Some("*"), &body).await;
            assert_eq!(refused.status, 409, "{method} {key}");
            assert!(
                refused.body["detail"].as_str().unwrap().contains(&format!("(source {source})")),
                "{}",
                refused.body
            );
        }
        sqlx::query("update target set deleted_at = now() where key = $1").bind(key).execute(&db.pool).await.unwrap();
        let revived = send(&api, Method::POST, TARGETS, None, &body).await;
        assert_eq!((revived.status, &revived.body["source"]), (201, &json!("api")));
    }
    api.stop().await;
}

#[tokio::test]
async fn a_deleted_target_keeps_its_history_forgets_its_secrets_and_comes_back() {
    let db = TestDb::new().await;
    let api = TestApi::start(&db.url).await;
    assert_eq!(send(&api, Method::POST, TARGETS, None, &home("1s")).await.status, 201);
    let row = "select target_id, posted is not null, due_since > updated_at from target where key = 'a/b'";
    let before: (i32, bool, bool) = sqlx::query_as(row).fetch_one(&db.pool).await.unwrap();
    assert!(before.1 && before.2, "workers get a moment to hear of it");
    assert_eq!(send(&api, Method::DELETE, "/api/v1/targets/a%2Fb", None, "").await.status, 204);
    assert_eq!(api.get("/api/v1/targets/a%2Fb").await.status(), 404);
    let dump: String = sqlx::query_scalar("select t::text from target t").fetch_one(&db.pool).await.unwrap();
    assert!(!dump.contains("canary"), "{dump}");
    let back = send(&api, Method::PUT, "/api/v1/targets/a%2Fb", None, &home("1s")).await;
    assert_eq!((back.status, back.tag.as_deref()), (201, Some("\"3\"")), "a tag of its life before is stale");
    let after: (i32, bool, bool) = sqlx::query_as(row).fetch_one(&db.pool).await.unwrap();
    assert_eq!(after, before, "the same row, so the same history");
    api.stop().await;
}

#[tokio::test]
async fn urls_of_any_length_and_depth_that_the_rules_allow_are_stored_and_shown() {
    let db = TestDb::new().await;
    let api = TestApi::start(&db.url).await;
    // What cannot be compressed is too long for some indexes.
    let noise: String = (1..450_u64).map(|n| format!("{:016x}", n.wrapping_mul(0x9E37_79B9_7F4A_7C15))).collect();
    let deep = format!("%{}", "25".repeat(4_000));
    for (name, path, shown) in [("noise", noise.as_str(), noise.as_str()), ("deep", &deep, "***")] {
        let body = json!({"name": name, "url": format!("http://example.org/{path}")}).to_string();
        let answer = send(&api, Method::POST, TARGETS, None, &body).await;
        assert_eq!(answer.status, 201, "{:?}", answer.body);
        let target = api.json(&format!("/api/v1/targets/{name}")).await;
        assert_eq!(target["url"], format!("http://example.org/{shown}"));
    }
    assert_eq!(api.get("/api/v1/table?sort=group").await.status(), 200);
    api.stop().await;
}

#[tokio::test]
async fn a13_a14_a_bad_target_is_refused_with_every_pointer_and_stores_nothing() {
    let db = TestDb::new().await;
    let api = TestApi::start(&db.url).await;
    let body = r#"{"name": "a", "url": "http://me:canary-password@example.org/", "source": "file", "interval": "5ms",
                   "headers": {"Host": "canary", "X": "canary\nY: 1"}, "expect": {"body": {"contains": 1, "nope": 2}}}"#;
    let refused = send(&api, Method::POST, TARGETS, None, body).await;
    assert_eq!(refused.status, 422);
    let errors = refused.body["errors"].as_array().unwrap();
    let pointers: Vec<&str> = errors.iter().map(|error| error["pointer"].as_str().unwrap()).collect();
    for pointer in ["/url", "/source", "/interval", "/headers/Host", "/headers/X", "/expect/body/nope"] {
        assert!(pointers.contains(&pointer), "{pointer}: {pointers:?}");
    }
    let deep = "[".repeat(10_000);
    for text in ["", "{\"name\": NaN}", "{} x", "{\"a\": 1, \"a\": 2}", "{\"a\": \"\\ud800\"}", &deep, "- name: a"] {
        let refused = send(&api, Method::POST, TARGETS, None, text).await;
        assert_eq!(refused.status, 400, "{text}");
        assert!(refused.body["detail"].as_str().unwrap().contains("from byte "), "{}", refused.body);
    }
    let form = api.request(Method::POST, TARGETS).bearer_auth(TOKEN).body("x").send().await.unwrap();
    assert_eq!(form.status(), 415);
    for method in [Method::PUT, Method::DELETE] {
        assert_eq!(send(&api, method, "/api/v1/targets/a%00", None, "{}").await.status, 400);
    }
    for (method, path) in
        [(Method::POST, TARGETS), (Method::PUT, "/api/v1/targets/a"), (Method::DELETE, "/api/v1/targets/a")]
    {
        assert_eq!(api.request(method, path).body(home("1s")).send().await.unwrap().status(), 401);
    }
    let rows: i64 = sqlx::query_scalar("select count(*) from target").fetch_one(&db.pool).await.unwrap();
    assert_eq!(rows, 0);
    api.stop().await;
}

#[tokio::test]
async fn no_answer_shows_a_header_or_a_body_that_was_posted() {
    let db = TestDb::new().await;
    let api = TestApi::start(&db.url).await;
    assert_eq!(send(&api, Method::POST, TARGETS, None, &home("1s")).await.status, 201);
    let document = api.json("/api/openapi.json").await;
    let mut asked = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        if operations.get("get").is_none() || path.contains("live") {
            continue;
        }
        let path = path.replace("{key}", "a%2Fb").replace("{id}", "1");
        let text = api.get(&path).await.text().await.unwrap();
        assert!(!text.contains("canary"), "{path}: {text}");
        asked += usize::from(text.contains("a/b"));
    }
    assert!(asked >= 3, "{asked} answers name it");
    let shown: String =
        sqlx::query_scalar("select (to_jsonb(t) - 'posted')::text from target t").fetch_one(&db.pool).await.unwrap();
    assert!(!shown.contains("canary"), "one column has it: {shown}");
    api.stop().await;
}

#[tokio::test]
async fn of_many_who_post_one_key_at_once_one_makes_it_and_all_get_an_answer() {
    let db = TestDb::new().await;
    let api = TestApi::start(&db.url).await;
    let posts = (0..8).map(|n| {
        let body = json!({"name": "a", "url": format!("http://example.org/{n}")}).to_string();
        let request = api.request(Method::PUT, "/api/v1/targets/a").bearer_auth(TOKEN);
        tokio::spawn(request.header("content-type", "application/json").body(body).send())
    });
    let mut statuses = Vec::new();
    for post in posts.collect::<Vec<_>>() {
        statuses.push(post.await.unwrap().unwrap().status().as_u16());
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 428, 428, 428, 428, 428, 428, 428]);
    api.stop().await;
}

#[tokio::test]
async fn c28_an_address_inside_is_refused_with_the_way_out() {
    let db = TestDb::new().await;
    let api = TestApi::start(&db.url).await;
    for host in
        ["127.0.0.1", "localhost:8080", "10.0.0.1", "0x7f.1", "2130706433", "[::ffff:192.168.0.1]", "169.254.169.254"]
    {
        let body = json!({"name": "inside", "url": format!("http://{host}/")}).to_string();
        for (method, path) in [(Method::POST, TARGETS), (Method::PUT, "/api/v1/targets/inside")] {
            let refused = send(&api, method, path, None, &body).await;
            assert_eq!((refused.status, &refused.body["errors"][0]["pointer"]), (422, &json!("/url")), "{host}");
            let message = refused.body["errors"][0]["message"].as_str().unwrap();
            assert!(message.contains("API_TARGETS=any") || message.contains("never probed"), "{message}");
        }
    }
    api.stop().await;
}

#[tokio::test]
async fn a13_a14_a_list_of_services_that_is_none_is_refused_with_its_place() {
    let db = TestDb::new().await;
    let api = TestApi::start(&db.url).await;
    let put = async |body: &str, kind: &str| {
        let request = api.request(Method::PUT, "/api/v1/services").bearer_auth(TOKEN).header("content-type", kind);
        let answer = request.body(body.to_owned()).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    let fields = r#""name": "shop", "verb": "GET", "resource": "/", "slo": 0.9, "window": 10"#;
    for (body, expected, place) in [
        (format!("[{{{fields}}}"), 400, "byte "),
        (format!("[{{{fields}}}] x"), 400, "byte "),
        ("[NaN]".to_owned(), 400, "byte "),
        (format!(r#"[{{"slo": {}"#, "[".repeat(10_000)), 400, "byte "),
        (r#"[["shop", "GET", "/", 0.9, 10]]"#.to_owned(), 422, "entry 1 is not an object"),
        (r#"[{"name": "\ud800"}]"#.to_owned(), 400, "byte "),
        (format!("{{{fields}}}"), 422, "expected a sequence"),
        (format!(r#"[{{{fields}}}, {{{fields}, "owner": 1}}]"#), 422, "/1/owner"),
        (format!(r#"[{{{fields}, "name": "a"}}]"#), 422, "/0"),
        (r#"[{"name": "shop"}]"#.to_owned(), 422, "/0"),
        (r#"[{"name": null}]"#.to_owned(), 422, "/0/name"),
        (format!("[{{{fields}}}, {{{}}}]", fields.replace("0.9", "90")), 422, "\"/1/slo\""),
        (format!("[{{{}}}]", fields.replace("10", "-1")), 422, "\"/0/window\""),
        (format!("[{{{}}}]", fields.replace("GET", "")), 422, "\"/0\""),
        (format!("[{{{fields}}}, {{{fields}}}]"), 422, "duplicate-endpoint"),
        ("[null]".to_owned(), 422, "expected an endpoint: an object"),
    ] {
        let (status, text) = put(&body, "application/json").await;
        assert_eq!((status, text.contains(place)), (expected, true), "{body:.80}: {text}");
    }
    assert_eq!(put(&format!("[{{{fields}}}]"), "application/json").await.0, 200);
    assert_eq!(put(&format!(r#"[{{{fields}, "owner": 1}}]"#), "text/plain").await.0, 200, "a file of replay's");
    api.stop().await;
}
