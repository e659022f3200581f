//! Who may what: tokens with scopes, a browser's login, and how much anybody may ask.

use std::num::NonZeroU32;
use std::time::Duration;

use api::access::{Login, hash_password, new_token};
use api::config::ListenSettings;
use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};
use store::testing::{Cable, TestDb};
use store::tokens::{self, Scope};
use tokio::time::Instant;

use crate::live::page::{close_code, connect_as, hear, say};
use crate::support::{TOKEN, TestApi, settings};

/// A token that is kept in the database.
async fn token(db: &TestDb, name: &str, scope: Scope) -> String {
    let (token, digest) = new_token();
    let lifetime = Some(Duration::from_secs(3_600));
    let mut connection = db.pool.acquire().await.unwrap();
    assert!(tokens::create(&mut connection, name, scope, &digest, lifetime).await.unwrap().is_some());
    token
}

async fn execute(db: &TestDb, sql: &'static str) {
    sqlx::query(sql).execute(&db.pool).await.unwrap();
}

async fn problem(response: Response) -> Value {
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    response.json().await.unwrap()
}

const CHANGE: &str = r#"{"service": "shop", "commit": "abc"}"#;
const TARGET: &str = r#"{"name": "home", "url": "http://example.org/"}"#;
const SERVICES: &str = r#"[{"name": "shop", "verb": "GET", "resource": "/", "slo": 0.9, "window": 10}]"#;

/// One request of each kind: reading, telling what happened, saying what is watched.
fn each(api: &TestApi) -> [RequestBuilder; 5] {
    let post = |path: &str, body: &'static str| {
        api.request(Method::POST, path).header("content-type", "application/json").body(body)
    };
    [
        api.request(Method::GET, "/api/v1/overview"),
        post("/api/v1/changes", CHANGE),
        post("/api/v1/events", r#"{"type": "access", "value": "1543443091.27 GET / 200"}"#),
        post("/api/v1/targets", TARGET),
        api.request(Method::PUT, "/api/v1/services").header("content-type", "application/json").body(SERVICES),
    ]
}

#[tokio::test]
async fn reading_that_nobody_opened_is_for_whoever_asks_for_this_machine_by_its_own_name() {
    let db = TestDb::new().await;
    let api = TestApi::start_on(&db.url, settings(true, false)).await;
    let asked = async |api: &TestApi, path: &str, host: &str| {
        api.request(Method::GET, path).header("host", host).send().await.unwrap()
    };
    for host in
        ["localhost:1", "LOCALHOST", "localhost.", "home.localhost", "127.0.0.1:8080", "192.0.2.1", "[::1]:8080"]
    {
        assert_eq!(asked(&api, "/api/v1/overview", host).await.status(), 200, "{host}");
    }
    // Names of other sites that lead here.
    for host in
        ["evil.example", "evil.example:8080", "localhost.evil.example", "127.0.0.1.evil.example", "notlocalhost"]
    {
        let refused = asked(&api, "/api/v1/overview", host).await;
        assert_eq!(refused.status(), 403, "{host}");
        assert!(problem(refused).await["detail"].as_str().unwrap().contains("PUBLIC_READ=on"));
        assert_eq!(asked(&api, "/healthz", host).await.status(), 200, "{host}");
    }
    let with_token = api.request(Method::GET, "/api/v1/overview").header("host", "evil.example").bearer_auth(TOKEN);
    assert_eq!(with_token.send().await.unwrap().status(), 200);
    api.stop().await;

    let api = TestApi::start_on(&db.url, ListenSettings { by_own_name: false, ..settings(true, false) }).await;
    assert_eq!(asked(&api, "/api/v1/overview", "status.example.org").await.status(), 200, "somebody said so");
    api.stop().await;
}

async fn statuses(api: &TestApi, token: &str) -> Vec<u16> {
    let mut statuses = Vec::new();
    for request in each(api) {
        statuses.push(request.bearer_auth(token).send().await.unwrap().status().as_u16());
    }
    statuses
}

#[tokio::test]
async fn a01_a_request_without_a_token_is_told_how_to_bring_one() {
    let db = TestDb::new().await;
    let api = TestApi::start_with(&db.url, false).await;
    for request in each(&api) {
        for header in
            [None, Some(""), Some("Bearer"), Some("Bearer "), Some("token"), Some("Basic !"), Some("Digest x")]
        {
            let mut request = request.try_clone().unwrap();
            if let Some(header) = header {
                request = request.header("authorization", header);
            }
            let refused = request.send().await.unwrap();
            assert_eq!(refused.status(), 401, "{header:?}");
            assert_eq!(refused.headers()["www-authenticate"], "Bearer");
            assert!(problem(refused).await["detail"].as_str().unwrap().contains("lookout token create"));
        }
    }
    api.stop().await;
}

#[tokio::test]
async fn a01_of_two_tokens_none_is_taken() {
    let db = TestDb::new().await;
    let api = TestApi::start(&db.url).await;
    for (first, second) in [(TOKEN, "wrong"), ("wrong", TOKEN), (TOKEN, TOKEN)] {
        let request = api.request(Method::POST, "/api/v1/changes").header("content-type", "application/json");
        let request = request.header("authorization", format!("Bearer {first}"));
        let answer = request.header("authorization", format!("Bearer {second}")).body("{}").send().await.unwrap();
        assert_eq!(answer.status(), 401, "{first} {second}");
    }
    api.stop().await;
}

#[tokio::test]
async fn a_token_comes_after_one_space_or_more() {
    let db = TestDb::new().await;
    let api = TestApi::start_with(&db.url, false).await;
    for (said, status) in [
        (format!("Bearer {TOKEN}"), 200),
        (format!("bEARER   {TOKEN}"), 200),
        (format!("Bearer{TOKEN}"), 401),
        (format!("Bearer {TOKEN} {TOKEN}"), 401),
        ("Bearer   ".to_owned(), 401),
    ] {
        let answer = api.request(Method::GET, "/status").header("authorization", &said).send().await.unwrap();
        assert_eq!(answer.status(), status, "{said}");
    }
    api.stop().await;
}

#[tokio::test]
async fn a02_a_wrong_an_expired_and_a_revoked_token_are_refused_alike() {
    let db = TestDb::new().await;
    let api = TestApi::start_with(&db.url, false).await;
    let mut answers = Vec::new();
    let (old, gone) = (token(&db, "old", Scope::Admin).await, token(&db, "gone", Scope::Admin).await);
    assert_eq!(statuses(&api, &old).await[0], 200);
    execute(&db, "update api_token set expires_at = clock_timestamp() where name = 'old'").await;
    assert!(tokens::revoke(&mut db.pool.acquire().await.unwrap(), "gone").await.unwrap());
    let almost = format!("{}x", &TOKEN[1..]);
    for token in [&old, &gone, &new_token().0, &almost, "x", "lookout_"] {
        let [_, post, ..] = each(&api);
        assert_eq!(post.bearer_auth(token).send().await.unwrap().status(), 401, "{token}");
        let response = api.request(Method::GET, "/status").bearer_auth(token).send().await.unwrap();
        assert_eq!(response.status(), 401, "{token}");
        let mut problem = problem(response).await;
        problem.as_object_mut().unwrap().remove("request_id");
        answers.push(problem);
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:#?}");
    api.stop().await;
}

#[tokio::test]
async fn a03_a_token_of_too_small_a_scope_is_told_which_it_needs() {
    let db = TestDb::new().await;
    let api = TestApi::start_with(&db.url, false).await;
    assert_eq!(statuses(&api, TOKEN).await, [200, 422, 207, 201, 200], "what settings give may everything");
    let expected = [
        (Scope::Read, [200, 403, 403, 403, 403]),
        (Scope::Write, [200, 201, 207, 403, 403]),
        (Scope::Admin, [200, 201, 207, 200, 200]),
    ];
    for (scope, expected) in expected {
        let token = token(&db, scope.label(), scope).await;
        assert_eq!(statuses(&api, &token).await, expected, "{scope}");
    }
    let reader = token(&db, "reader", Scope::Read).await;
    for (request, needed) in each(&api).into_iter().skip(1).zip(["write", "write", "admin", "admin"]) {
        let refused = request.bearer_auth(&reader).send().await.unwrap();
        let challenge = format!("Bearer error=\"insufficient_scope\", scope=\"{needed}\"");
        assert_eq!(refused.headers()["www-authenticate"], challenge.as_str());
        assert!(problem(refused).await["detail"].as_str().unwrap().contains(&format!("scope {needed}")));
    }
    api.stop().await;
}

#[tokio::test]
async fn a_token_is_kept_as_a_digest_and_with_when_it_was_last_used() {
    let db = TestDb::new().await;
    let api = TestApi::start_with(&db.url, false).await;
    let token = token(&db, "mine", Scope::Read).await;
    let listed = async || tokens::list(&mut db.pool.acquire().await.unwrap()).await.unwrap();
    assert_eq!(listed().await[0].last_used_at, None);
    assert_eq!(statuses(&api, &token).await[0], 200);
    let used = listed().await[0].last_used_at.unwrap();
    assert_eq!(statuses(&api, &token).await[0], 200);
    assert_eq!(listed().await[0].last_used_at, Some(used), "to the minute, or each request would write");
    let dump: String = sqlx::query_scalar("select t::text from api_token t").fetch_one(&db.pool).await.unwrap();
    assert!(!dump.contains(&token) && !dump.contains("lookout_"), "{dump}");
    // A name is free again once its token is gone.
    let again = async |digest| {
        let mut connection = db.pool.acquire().await.unwrap();
        tokens::create(&mut connection, "mine", Scope::Read, digest, None).await.unwrap().is_some()
    };
    assert!(!again(&[1; 32]).await);
    assert!(tokens::revoke(&mut db.pool.acquire().await.unwrap(), "mine").await.unwrap());
    assert!(!tokens::revoke(&mut db.pool.acquire().await.unwrap(), "mine").await.unwrap());
    assert!(again(&[1; 32]).await);
    api.stop().await;
}

#[tokio::test]
async fn where_a_token_cannot_be_looked_up_the_answer_is_503_and_the_one_of_the_settings_goes_on() {
    let db = TestDb::new().await;
    let cable = Cable::to(&db).await;
    let api = TestApi::start_with(cable.url(), false).await;
    let token = token(&db, "mine", Scope::Read).await;
    assert_eq!(statuses(&api, &token).await[0], 200);
    cable.cut();
    let refused = api.request(Method::GET, "/api/openapi.json").bearer_auth(&token).send().await.unwrap();
    assert_eq!((refused.status().as_u16(), &refused.headers()["retry-after"]), (503, &"1".parse().unwrap()));
    let known = api.request(Method::GET, "/api/openapi.json").bearer_auth(TOKEN).send().await.unwrap();
    assert_eq!(known.status(), 200);
    api.stop().await;
}

#[tokio::test]
async fn a_socket_ends_when_the_token_that_opened_it_is_revoked() {
    let db = TestDb::new().await;
    let api = TestApi::start_with(&db.url, false).await;
    let token = token(&db, "mine", Scope::Read).await;
    let mut socket = connect_as(&api, &token).await;
    say(&mut socket, json!({"subscribe": "overview"})).await;
    hear(&mut socket).await;
    assert!(tokens::revoke(&mut db.pool.acquire().await.unwrap(), "mine").await.unwrap());
    let begun = Instant::now();
    assert_eq!(close_code(&mut socket).await, (1008, Some("token_gone".to_owned())));
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    api.stop().await;
}

fn limited(trusted: &str) -> ListenSettings {
    ListenSettings {
        rate_limit: NonZeroU32::new(1),
        trusted_proxies: vec![trusted.parse().unwrap()],
        ..settings(false, false)
    }
}

#[tokio::test]
async fn a23_whoever_asks_too_much_is_told_when_to_go_on_and_holds_up_nobody_else() {
    let db = TestDb::new().await;
    let api = TestApi::start_on(&db.url, limited("127.0.0.0/8")).await;
    let ask = async |from: &str, token: &str| {
        let request = api.request(Method::GET, "/api/openapi.json").bearer_auth(token);
        request.header("x-forwarded-for", from).send().await.unwrap()
    };
    let begun = Instant::now();
    let mut limited = 0;
    for _ in 0..30 {
        let answer = ask("1.2.3.4", TOKEN).await;
        if answer.status() == 429 {
            limited += 1;
            assert_eq!(answer.headers()["retry-after"], "1");
            assert_eq!(answer.headers()["ratelimit-policy"], "\"address\";q=10;w=10");
            assert_eq!(answer.headers()["ratelimit"], "\"address\";r=0;t=1");
            assert_eq!(problem(answer).await["title"], "Too many requests");
        }
    }
    let most = 30 - 10 - begun.elapsed().as_secs();
    assert!((most.saturating_sub(1)..=20).contains(&limited), "{limited}");
    assert_eq!(ask("1.2.3.5", TOKEN).await.status(), 200);
    // A token that is used from many addresses has a limit of its own.
    let (busy, other) = (token(&db, "busy", Scope::Read).await, token(&db, "other", Scope::Read).await);
    let mut refused = None;
    for host in 0..30 {
        let answer = ask(&format!("5.6.7.{host}"), &busy).await;
        refused = refused.or((answer.status() == 429).then_some(answer));
    }
    assert!(refused.unwrap().headers()["ratelimit-policy"].to_str().unwrap().starts_with("\"token\""));
    assert_eq!(ask("5.6.7.8", &other).await.status(), 200);
    // A load balancer may ask as often as it likes.
    for _ in 0..30 {
        assert_eq!(api.get("/healthz").await.status(), 200);
    }
    api.stop().await;
}

#[tokio::test]
async fn e20_a_sender_that_floods_us_with_events_is_held_back_and_no_other_is() {
    let db = TestDb::new().await;
    let api = TestApi::start_on(&db.url, limited("127.0.0.0/8")).await;
    let (busy, other) = (token(&db, "busy", Scope::Write).await, token(&db, "other", Scope::Write).await);
    let post = async |host: u8, token: &str| {
        let request = api.request(Method::POST, "/api/v1/events").bearer_auth(token);
        let request = request.header("x-forwarded-for", format!("5.6.7.{host}"));
        let line = r#"{"type": "access", "value": "1543443091.27 GET / 200"}"#;
        request.header("content-type", "application/x-ndjson").body(line).send().await.unwrap().status().as_u16()
    };
    let mut answers = Vec::new();
    for host in 0..30 {
        answers.push(post(host, &busy).await);
    }
    assert!(answers.starts_with(&[207]) && answers.contains(&429), "{answers:?}");
    assert_eq!(post(8, &other).await, 207);
    api.stop().await;
}

#[tokio::test]
async fn nobody_gets_round_a_limit_by_saying_where_they_come_from() {
    let db = TestDb::new().await;
    let api = TestApi::start_on(&db.url, limited("10.0.0.0/8")).await;
    let mut limited = false;
    for host in 0..30 {
        let request = api.request(Method::GET, "/api/openapi.json").bearer_auth(TOKEN);
        let answer = request.header("x-forwarded-for", format!("1.2.3.{host}")).send().await.unwrap();
        limited |= answer.status() == 429;
    }
    assert!(limited);
    api.stop().await;
}

#[tokio::test]
async fn whoever_guesses_has_to_wait() {
    let db = TestDb::new().await;
    let api = TestApi::start_with(&db.url, false).await;
    let mut last = 0;
    for _ in 0..30 {
        last = api.request(Method::GET, "/status").bearer_auth(new_token().0).send().await.unwrap().status().as_u16();
    }
    assert_eq!(last, 429);
    assert_eq!(api.request(Method::GET, "/status").bearer_auth(TOKEN).send().await.unwrap().status(), 200);
    api.stop().await;
}

#[tokio::test]
async fn a_login_stands_before_everything_that_is_read_and_may_write_nothing() {
    let db = TestDb::new().await;
    let hash = tokio::task::spawn_blocking(|| hash_password(b"correct horse").unwrap()).await.unwrap();
    let login = Some(Login::parse(&format!("me:{hash}")).unwrap());
    let api = TestApi::start_on(&db.url, ListenSettings { login, ..settings(false, true) }).await;
    for path in ["/", "/targets", "/api/v1/overview", "/metrics"] {
        let refused = api.get(path).await;
        assert_eq!(refused.status(), 401, "{path}");
        let asked: Vec<_> = refused.headers().get_all("www-authenticate").iter().collect();
        assert_eq!(asked, ["Bearer", "Basic realm=\"lookout\", charset=\"UTF-8\""], "{path}");
        let wrong = api.request(Method::GET, path).basic_auth("me", Some("wrong horse")).send().await.unwrap();
        assert_eq!(wrong.status(), 401, "{path}");
        let right = api.request(Method::GET, path).basic_auth("me", Some("correct horse")).send().await.unwrap();
        assert_eq!(right.status(), 200, "{path}");
        let token = api.request(Method::GET, path).bearer_auth(TOKEN).send().await.unwrap();
        assert_eq!(token.status(), 200, "{path}");
    }
    for path in ["/public", "/public.json", "/healthz", "/readyz"] {
        assert_eq!(api.get(path).await.status(), 200, "{path}");
    }
    for request in each(&api).into_iter().skip(1) {
        let refused = request.basic_auth("me", Some("correct horse")).send().await.unwrap();
        assert_eq!(refused.status(), 403);
    }
    let document: Value = {
        let request = api.request(Method::GET, "/api/openapi.json").bearer_auth(TOKEN);
        request.send().await.unwrap().json().await.unwrap()
    };
    assert_eq!(document["security"], json!([{"token": []}, {"login": []}]));
    // At once: a machine that judges passwords slowly would let one more pass meanwhile.
    let guesses = futures_util::future::join_all((0..30).map(|_| async {
        let wrong = api.request(Method::GET, "/status").basic_auth("me", Some("guess"));
        wrong.send().await.unwrap().status().as_u16()
    }));
    assert!(guesses.await.contains(&429));
    let known = api.request(Method::GET, "/status").basic_auth("me", Some("correct horse")).send().await.unwrap();
    assert_eq!(known.status(), 200, "whoever was let in before is not locked out");
    api.stop().await;
}
