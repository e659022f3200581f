//! The document tells the truth: held against the routes, the parameters and the answers of a running api.

use std::collections::BTreeSet;

use chrono::Utc;
use common::{Cause, Outcome, Phases};
use jsonschema::Validator;
use reqwest::Method;
use roas::validation::Validate;
use serde_json::{Value, json};
use store::testing::TestDb;

use crate::support::{TestApi, check, store};

/// Path and operation of everything in a document that reads.
fn operations(document: &Value) -> Vec<(&str, &Value)> {
    let paths = document["paths"].as_object().unwrap().iter();
    paths.map(|(path, item)| (path.as_str(), &item["get"])).filter(|(_, operation)| !operation.is_null()).collect()
}

/// Method and path of everything in a document that writes.
fn writes(document: &Value) -> Vec<(Method, &str)> {
    let paths = document["paths"].as_object().unwrap().iter();
    let each = paths.flat_map(|(path, item)| item.as_object().unwrap().keys().map(move |name| (name, path.as_str())));
    each.filter(|(name, _)| ["post", "put", "delete", "patch"].contains(&name.as_str()))
        .map(|(name, path)| (name.to_uppercase().parse().unwrap(), path))
        .collect()
}

/// What stands in braces, filled in with what is there.
fn filled(path: &str) -> String {
    path.replace("{key}", "a").replace("{id}", "1").replace("{file}", "swagger-ui.css").replace("{window}", "24h")
}

#[tokio::test]
async fn every_path_of_the_document_answers_its_methods_and_nothing_else() {
    let db = TestDb::new().await;
    store(&db, &[]).await;
    for sql in [
        "insert into service (name) values ('shop')",
        "insert into endpoint (service_id, verb, resource) values (1, 'GET', '/')",
        "insert into incident (endpoint_id, started_at, started_ns, good_count, total_count) values (1, now(), 1, 0, 1)",
    ] {
        sqlx::query(sql).execute(&db.pool).await.unwrap();
    }
    let api = TestApi::start(&db.url).await;
    let document = api.json("/api/openapi.json").await;
    for (path, operation) in operations(&document) {
        let path = filled(path);
        let documented = operation["responses"].as_object().unwrap();
        let status = api.get(&path).await.status();
        // A WebSocket answers a plain request, too.
        let is_socket = documented.contains_key("101") && status == 426;
        assert!(is_socket || status.is_success() || status.is_redirection(), "{path}: {status}");
        assert!(["101", "200", "308"].iter().any(|good| documented.contains_key(*good)), "{path}: {documented:?}");
        assert_eq!(api.request(Method::HEAD, &path).send().await.unwrap().status(), status, "{path}");
        let refused = api.request(Method::PATCH, &path).send().await.unwrap();
        assert_eq!(refused.status(), 405, "{path}");
        assert!(refused.headers()["allow"].to_str().unwrap().starts_with("GET, HEAD"), "{path}");
    }
    let writes = writes(&document);
    assert!(writes.len() >= 3, "{writes:?}");
    for (method, path) in &writes {
        let refused = api.request(method.clone(), path).send().await.unwrap();
        assert_eq!(refused.status(), 401, "{method} {path} without a token");
        let allowed = api.request(Method::PATCH, path).send().await.unwrap();
        assert!(allowed.headers()["allow"].to_str().unwrap().contains(method.as_str()), "{method} {path}");
    }
    // What is promised elsewhere is in it.
    let paths: BTreeSet<_> = document["paths"].as_object().unwrap().keys().map(String::as_str).collect();
    let readme = include_str!("../../../../README.md");
    let table = readme.split("## Ask").nth(1).unwrap().split("## Configure").next().unwrap();
    let promised = table.lines().filter(|line| line.starts_with("| `/")).flat_map(|line| {
        let first = line.split('|').nth(1).unwrap();
        first.split(", ").map(|path| {
            path.trim().trim_matches('`').split('?').next().unwrap().replace("KEY", "{key}").replace("/ID", "/{id}")
        })
    });
    let mut count = 0;
    for path in promised.filter(|path| path.starts_with('/')) {
        count += 1;
        assert!(paths.contains(path.as_str()), "{path} is in the README only");
    }
    assert!(count >= 9, "the README names {count} paths");
    api.stop().await;
}

#[test]
fn no_route_is_served_but_from_the_table_that_makes_the_document() {
    let mut sources = vec![concat!(env!("CARGO_MANIFEST_DIR"), "/src").into()];
    let mut registered = Vec::new();
    while let Some(source) = sources.pop() {
        let source: std::path::PathBuf = source;
        if source.is_dir() {
            sources.extend(std::fs::read_dir(source).unwrap().map(|entry| entry.unwrap().path()));
        } else {
            let code = std::fs::read_to_string(&source).unwrap();
            let ways = [".service(", ".route(", ".resource(", "web::scope(", "actix_web::get", "routes::get", "#[get("];
            let found: usize = ways.iter().map(|way| code.matches(way).count()).sum();
            registered.extend(std::iter::repeat_n(source.file_name().unwrap().to_owned(), found));
        }
    }
    // `.route(` and three times `.service(` of the one function that serves a line of the table, and
    // `.service(` of the answer to methods that a path does not have.
    assert_eq!(registered, ["routes.rs"; 5]);
}

#[tokio::test]
async fn the_document_is_valid_openapi_always_the_same_and_says_who_may_read() {
    let db = TestDb::new().await;
    let api = TestApi::start(&db.url).await;
    let text = api.get("/api/openapi.json").await.text().await.unwrap();
    assert_eq!(text, api.get("/api/openapi.json").await.text().await.unwrap());
    let private = TestApi::start_with(&db.url, false).await;
    let request = private.request(Method::GET, "/api/openapi.json").bearer_auth(crate::support::TOKEN);
    let private_text = request.send().await.unwrap().text().await.unwrap();

    for (text, security) in [(&text, json!([{}, {"token": []}])), (&private_text, json!([{"token": []}]))] {
        let document: Value = serde_json::from_str(text).unwrap();
        assert!(document["openapi"].as_str().unwrap().starts_with("3.1."));
        assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
        assert_eq!(document["security"], security);
        assert_eq!(document["paths"]["/healthz"]["get"]["security"], json!([{}]));
        let spec: roas::v3_1::spec::Spec = serde_json::from_str(text).unwrap();
        spec.validate(Default::default(), None).unwrap();
        for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
            jsonschema::draft202012::meta::validate(schema).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        assert_eq!(document["components"]["schemas"]["Cause"]["enum"].as_array().unwrap().len(), Cause::ALL.len());
        assert_eq!(document["components"]["schemas"]["Outcome"]["enum"], json!(Outcome::LABELS));
    }
    private.stop().await;
    api.stop().await;
}

#[tokio::test]
async fn the_document_names_every_parameter_and_its_examples_are_accepted() {
    let db = TestDb::new().await;
    store(&db, &[]).await;
    sqlx::query("update target set key = 'home', labels = '{\"team\": \"shop\"}' where key = 'a'")
        .execute(&db.pool)
        .await
        .unwrap();
    let api = TestApi::start(&db.url).await;
    let document = api.json("/api/openapi.json").await;
    let mut asked = 0;
    for (path, operation) in operations(&document) {
        let path = path.replace("{key}", "home");
        let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
        let in_query = parameters.iter().filter(|parameter| parameter["in"] == "query");
        let mut names = BTreeSet::new();
        for parameter in in_query {
            let name = parameter["name"].as_str().unwrap();
            names.insert(name.to_owned());
            assert_ne!(parameter["required"], true, "{path}: {name}");
            assert!(parameter["description"].is_string(), "{path}: {name}");
            // A cursor is nothing to write by hand.
            let examples = [&parameter["example"], &parameter["schema"]["default"]];
            for example in examples.into_iter().filter(|example| !example.is_null()) {
                let example = example.as_str().map_or_else(|| example.to_string(), str::to_owned);
                let query = url::form_urlencoded::Serializer::new(String::new()).append_pair(name, &example).finish();
                assert_eq!(api.get(&format!("{path}?{query}")).await.status(), 200, "{path}?{query}");
                asked += 1;
            }
        }
        if names.is_empty() {
            continue;
        }
        // The answer to a parameter nobody knows lists those the code knows.
        let problem: Value = api.get(&format!("{path}?nonsense=1")).await.json().await.unwrap();
        let detail = problem["detail"].as_str().unwrap();
        let known: BTreeSet<_> = detail.split('`').skip(3).step_by(2).map(str::to_owned).collect();
        assert_eq!(names, known, "{path}: {detail}");
    }
    assert!(asked >= 6, "{asked} examples");
    api.stop().await;
}

/// Validates answers against what the document says of them, and lets no field pass
/// that it does not name.
struct Promise {
    document: Value,
}

impl Promise {
    fn new(mut document: Value) -> Self {
        let schemas = document["components"]["schemas"].as_object_mut().unwrap();
        let is_part = |schema: &Value| schema["$ref"].as_str().map(|name| name.rsplit('/').next().unwrap().to_owned());
        let parts: BTreeSet<_> =
            schemas.values().filter_map(|schema| schema["allOf"].as_array()).flatten().filter_map(is_part).collect();
        // A schema that others are made of cannot know what they add.
        for (name, schema) in schemas.iter_mut().filter(|(name, _)| !parts.contains(*name)) {
            if schema["properties"].is_object() || schema["allOf"].is_array() {
                schema["unevaluatedProperties"] = json!(false);
            }
            assert!(schema["description"].is_string(), "{name} is not described");
        }
        Self { document }
    }

    fn of(&self, path: &str, status: u16) -> (String, Validator) {
        let (_, operation) = operations(&self.document)
            .into_iter()
            .find(|(documented, _)| *documented == path)
            .unwrap_or_else(|| panic!("{path} is not in the document"));
        let content = operation["responses"][status.to_string()]["content"].as_object();
        let (content_type, body) =
            content.unwrap_or_else(|| panic!("{path} never answers {status}")).iter().next().unwrap();
        let mut schema = body["schema"].clone();
        schema["components"] = self.document["components"].clone();
        let validator = jsonschema::draft202012::options().should_validate_formats(true).build(&schema).unwrap();
        (content_type.clone(), validator)
    }

    async fn is_kept(&self, api: &TestApi, path: &str, query: &str, status: u16) -> Value {
        let asked = format!("{}{query}", filled(path));
        let response = api.get(&asked).await;
        assert_eq!(response.status(), status, "{asked}");
        let (content_type, promise) = self.of(path, status);
        let sent = response.headers()["content-type"].to_str().unwrap().to_owned();
        assert_eq!(sent.split(';').next().unwrap(), content_type, "{asked}");
        let answer: Value = response.json().await.unwrap();
        let errors: Vec<_> =
            promise.iter_errors(&answer).map(|error| format!("{} {error}", error.instance_path())).collect();
        assert!(errors.is_empty(), "{asked}: {errors:#?}\n{answer:#}");
        answer
    }
}

#[tokio::test]
async fn answers_are_what_the_document_says() {
    let db = TestDb::new().await;
    let api = TestApi::start(&db.url).await;
    let promise = Promise::new(api.json("/api/openapi.json").await);
    let reads = [
        "/status",
        "/api/v1/checks",
        "/api/v1/summary",
        "/api/v1/targets",
        "/api/v1/system",
        "/api/v1/overview",
        "/api/v1/table",
        "/api/v1/map",
        "/public.json",
    ];
    // Of nothing at all,
    for path in reads {
        promise.is_kept(&api, path, "", 200).await;
    }
    // of every way a slot can end,
    let now = Utc::now().timestamp_micros();
    let ends = [Outcome::Up, Outcome::Degraded, Outcome::Missed, Outcome::Unknown]
        .into_iter()
        .chain(Cause::ALL.map(Outcome::Down));
    let mut checks: Vec<_> =
        ends.enumerate().map(|(n, outcome)| check(1, now - (n as i64 + 1) * 1_000_000, outcome)).collect();
    checks[0].phases = Phases { dns_us: Some(1), connect_us: Some(2), first_byte_us: None };
    store(&db, &checks).await;
    sqlx::query(
        "insert into worker (worker_id, started_at, seen_at, version, lag_us, missed, config_digest)
         values ('w', now(), now(), '1', 1500, 3, 1)",
    )
    .execute(&db.pool)
    .await
    .unwrap();
    sqlx::query("update target set labels = '{\"team\": \"shop\"}' where key = 'a'").execute(&db.pool).await.unwrap();
    for path in reads {
        promise.is_kept(&api, path, "", 200).await;
    }
    for path in ["/api/v1/targets/{key}/days", "/api/v1/targets/{key}/latency"] {
        promise.is_kept(&api, path, "", 200).await;
    }
    let detail = promise.is_kept(&api, "/api/v1/targets/{key}", "", 200).await;
    assert!(detail["windows"][0].get("status_codes").is_some());
    // from roll-ups as from rows,
    let summary = promise.is_kept(&api, "/api/v1/summary", "?window=240h&target=a", 200).await;
    assert_eq!(summary.get("status_codes"), None);
    // and of pages that go on.
    let page = promise.is_kept(&api, "/api/v1/checks", "?limit=2&label=team:shop", 200).await;
    assert!(page["next"].is_string());
    assert!(promise.is_kept(&api, "/api/v1/targets", "?limit=1", 200).await["next"].is_string());

    // Problems are promised too.
    for (path, query, status) in [
        ("/status", "?limit=0", 400),
        ("/status", "?nonsense=1", 400),
        ("/healthz", "?%00", 400),
        ("/api/v1/table", "?sort=speed", 400),
        ("/api/v1/checks", "?target=nobody", 404),
        ("/api/v1/targets/{key}/days", "?days=0", 400),
        ("/api/v1/summary", "?label=team:none", 404),
        ("/api/v1/summary", "?window=24h&step=1s", 422),
    ] {
        let problem = promise.is_kept(&api, path, query, status).await;
        assert_eq!(problem["status"], status);
    }
    api.stop().await;
}

#[tokio::test]
async fn problems_without_a_token_and_without_postgres_are_what_the_document_says() {
    let db = TestDb::new().await;
    let cable = store::testing::Cable::to(&db).await;
    let api = TestApi::start(cable.url()).await;
    let promise = Promise::new(api.json("/api/openapi.json").await);
    cable.cut();
    for (path, operation) in operations(&promise.document) {
        let is_promised = operation["responses"].get("503").is_some();
        let status = api.get(&filled(path)).await.status();
        if operation["responses"].get("101").is_some() {
            // Its 503 is for too many sockets.
            promise.is_kept(&api, path, "", 426).await;
            continue;
        }
        assert_eq!(status == 503, is_promised, "{path}: {status}");
        if is_promised {
            promise.is_kept(&api, path, "", 503).await;
        }
    }
    api.stop().await;

    let api = TestApi::start_with(&db.url, false).await;
    for (path, operation) in operations(&promise.document) {
        let is_promised = operation["responses"].get("401").is_some();
        assert_eq!(api.get(&filled(path)).await.status() == 401, is_promised, "{path}");
        if is_promised {
            promise.is_kept(&api, path, "", 401).await;
        }
    }
    api.stop().await;
}

#[tokio::test]
async fn the_page_comes_from_here_alone_under_the_same_rules_as_other_reads() {
    let db = TestDb::new().await;
    let api = TestApi::start(&db.url).await;
    let page = api.get("/api/docs").await;
    assert_eq!((page.status().as_u16(), page.url().path()), (200, "/api/docs/"));
    assert_eq!(page.headers()["content-type"], "text/html");
    let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.contains("default-src 'self'") && !policy.contains("http"), "{policy}");
    for name in ["x-request-id", "x-content-type-options", "cache-control"] {
        assert!(page.headers().contains_key(name), "{name}");
    }
    let html = page.text().await.unwrap();
    assert!(!html.contains("http://") && !html.contains("https://"), "{html}");
    // Everything it asks for is there, compressed where that is understood.
    let mut parts = 0;
    for attribute in
        html.split(['"']).filter(|text| text.ends_with(".js") || text.ends_with(".css") || text.ends_with(".png"))
    {
        let path = format!("/api/docs/{}", attribute.trim_start_matches("./"));
        let response = api.request(Method::GET, &path).header("accept-encoding", "gzip").send().await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        if path.ends_with(".js") || path.ends_with(".css") {
            assert_eq!(response.headers()["vary"], "accept-encoding", "{path}");
        }
        parts += 1;
    }
    assert!(parts >= 5, "{html}");
    let settings = api.get("/api/docs/swagger-initializer.js").await.text().await.unwrap();
    assert!(settings.contains("\"url\": \"../openapi.json\"") && settings.contains("\"validatorUrl\": \"none\""));
    assert_eq!(api.get("/api/docs/nothing.js").await.status(), 404);
    assert_eq!(api.get("/api/docs/..%2Fopenapi.json").await.status(), 404);
    api.stop().await;

    let api = TestApi::start_with(&db.url, false).await;
    for path in ["/api/openapi.json", "/api/docs/", "/api/docs/swagger-ui.css"] {
        assert_eq!(api.get(path).await.status(), 401, "{path}");
        let request = api.request(Method::GET, path).bearer_auth(crate::support::TOKEN);
        assert_eq!(request.send().await.unwrap().status(), 200, "{path}");
    }
    api.stop().await;
}
