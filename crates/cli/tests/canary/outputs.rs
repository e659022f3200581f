//! What a whole life says: its log, its answers, its rows, and the commands beside it.

use std::fs;
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};
use store::testing::TestDb;

use crate::{CANARY, Up, assert_clean, eventually, good, lookout};

/// The same with a mistake beside every secret, and in some.
fn bad() -> String {
    let more = format!(
        "  - {{name: a, url: '${{SCHEME}}://h/', method: '${{TOKEN}}', interval: '${{TOKEN}}', timeout: '${{TOKEN}}',
     expect_status: '${{TOKEN}}', connection: '${{TOKEN}}', labels: {{a: '${{TOKEN}}'}}, key: '${{TOKEN}}',
     headers: {{X-A: \"${{TOKEN}}\\n\", Host: '{CANARY}', 'X B': '{CANARY}'}}, body: \"{CANARY}\\0\"}}
  - {{name: b, url: 'htp://u:{CANARY}@h', headers: [{CANARY}], body: [{CANARY}]}}
  - {{name: '${{TOKEN}}', url: 'http://u:{CANARY}@h:0/'}}
  - {{name: c, url: 'http://u:{CANARY} {CANARY}@h/', degraded_after: '${{UNSET}}'}}
  - {{name: d, url: 'http://h:${{TOKEN}}/', headers: {{X: '${{file:no-such}}'}}, service: '${{TOKEN}}'}}
"
    );
    good() + &more
}

/// Standard output and error of a command that ends by itself.
fn output(command: &mut Command) -> String {
    let output = command.output().unwrap();
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_in_any_output() {
    let db = TestDb::new().await;
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let config = directory.join("config.yaml");
    fs::write(directory.join("token"), format!("{CANARY}-file\n")).unwrap();
    fs::write(&config, good()).unwrap();

    let up = Up::start(directory, &db);
    let log = || fs::read_to_string(directory.join("log")).unwrap();
    // A name server that does not answer says nothing about the host.
    let tried = ["everything is down", "plain is down", "query is down", "no such host"];
    eventually("all were tried", async || tried.iter().all(|line| log().contains(line))).await;
    fs::write(&config, bad()).unwrap();
    eventually("the bad file is named", async || log().contains("the configuration was not applied")).await;
    eventually("and told", async || up.get("/api/v1/system").await.contains("config.yaml:")).await;
    for path in [
        "/api/v1/targets",
        "/api/v1/targets/everything",
        "/api/v1/targets/no%20such%20host",
        "/api/v1/system",
        "/api/v1/overview",
        "/api/v1/checks?window=5m",
        "/api/v1/services",
        "/api/v1/incidents",
        "/status",
        "/metrics",
        "/readyz",
    ] {
        let answer = up.get(path).await;
        assert!(path != "/status" || answer.contains("http://127.0.0.1:1/${TOKEN}?key=${TOKEN}"), "{answer}");
        assert!(path != "/status" || answer.contains("http://127.0.0.1:1/?api_key=***&v=1&sig=***"), "{answer}");
        assert_clean(path, &answer);
    }
    // A good one that differs in everything is told line by line.
    fs::write(&config, good().replace("interval: 1s", "interval: 2s").replace("X-A", "X-C")).unwrap();
    eventually("the good file is applied", async || log().contains("target changed: everything (headers, interval"))
        .await;
    kill_process(Pid::from_child(&up.child), Signal::TERM).unwrap();
    drop(up);
    let log = log();
    assert!(
        log.contains("${UNSET}: the variable UNSET is not set") && log.contains("${file:no-such}: not found"),
        "{log}"
    );
    assert_clean("the log", &log);
    let rows: String = sqlx::query_scalar(
        "select concat((select string_agg(t::text, ' ') from target t), (select string_agg(w::text, ' ') from worker w),
                       (select string_agg(s::text, ' ') from service s), (select string_agg(e::text, ' ') from endpoint e))",
    )
    .fetch_one(&db.pool)
    .await
    .unwrap();
    assert!(rows.contains("no such host"));
    assert_clean("the database", &rows);

    fs::write(directory.join("bad.yaml"), bad()).unwrap();
    fs::write(directory.join("broken.yaml"), format!("- name: a\n  headers: {{X: \"{CANARY}\n")).unwrap();
    for (command, file) in [
        ("plan", "config.yaml"),
        ("plan", "bad.yaml"),
        ("plan", "broken.yaml"),
        ("up", "bad.yaml"),
        ("up", "broken.yaml"),
    ] {
        let mut program = lookout(directory);
        program.env("DATABASE_URL", &db.url).arg(command);
        let said = match command {
            "up" => output(program.args(["--config", file])),
            _ => output(program.arg(file)),
        };
        assert!(!said.is_empty());
        assert_clean(&format!("{command} {file}"), &said);
    }
    for file in ["config.yaml", "bad.yaml", "broken.yaml"] {
        assert_clean(file, &output(lookout(directory).args(["check", "--validate", file])));
    }
    let report = output(lookout(directory).args(["check", "-f", "1", "-r", "1", "config.yaml"]));
    assert!(report.contains("everything") || report.contains("127.0.0.1"), "{report}");
    assert_clean("check", &report);
}

/// Everything that the settings and the API take and nobody may see: the token, a login, the passwords of
/// Postgres, tokens that are kept, what is posted, and what is wrong with any of it.
#[tokio::test(flavor = "multi_thread")]
async fn no_secret_of_the_api_or_of_a_posted_target_is_in_any_output() {
    let db = TestDb::new().await;
    let server = demo::faults::FaultServer::start_on_thread().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    fs::write(directory.join("config.yaml"), "targets: []\n").unwrap();
    let hash = api::access::hash_password(CANARY.as_bytes()).unwrap();
    // A server that asks for no password is given one.
    let joint = if db.url.contains('?') { '&' } else { '?' };
    let database = if db.url.contains('@') { db.url.clone() } else { format!("{}{joint}password={CANARY}", db.url) };
    let admin = format!("{CANARY}-of-the-settings");
    let up = Up::run(
        directory,
        lookout(directory)
            .env("DATABASE_URL", &database)
            .env("MIGRATION_DATABASE_URL", &database)
            .env("MIGRATION_PASSWORD", CANARY)
            .env("API_TOKEN", &admin)
            .env("DASHBOARD_LOGIN", format!("me:{hash}"))
            .env("API_TARGETS", "any")
            .env("PUBLIC_PAGE", "on")
            .env("ALLOW_EMPTY", "on"),
    );
    let client = Up::client();
    let log = || fs::read_to_string(directory.join("log")).unwrap();
    let ready = format!("{}/readyz", up.base);
    eventually("ready", async || client.get(&ready).send().await.is_ok_and(|answer| answer.status() == 200)).await;
    let (stored, digest) = api::access::new_token();
    let mut connection = db.pool.acquire().await.unwrap();
    store::tokens::create(&mut connection, "mine", store::tokens::Scope::Admin, &digest, None).await.unwrap();

    let post = async |token: &str, body: String| {
        let request = client.post(format!("{}/api/v1/targets", up.base)).bearer_auth(token);
        let answer = request.header("content-type", "application/json").body(body).send().await.unwrap();
        let status = answer.status().as_u16();
        let text = answer.text().await.unwrap();
        assert_clean("an answer to a post", &text);
        status
    };
    // Servers that say again what they were told, to a target that asserts something else.
    let echo = server.url("/echo");
    let target = format!(
        r#"{{"name": "echo", "url": "{echo}", "method": "POST", "interval": "1s", "headers": {{"authorization": "Bearer {CANARY}",
            "x-key": "{CANARY}"}}, "body": "{CANARY}", "expect": {{"body": {{"not_contains": "{CANARY}"}}}}}}"#
    );
    assert_eq!(post(&stored, target).await, 201);
    for wrong in [
        format!(r#"{{"name": "a", "url": "http://me:{CANARY}@h/"}}"#),
        format!(
            r#"{{"name": "a", "url": "http://h/", "headers": {{"X": "{CANARY}\nY: 1", "Host": "{CANARY}"}}, "body": ["{CANARY}"]}}"#
        ),
        format!(r#"{{"name": "a", "url": "http://h/", "headers": {{"X": "{CANARY}"}} {CANARY}"#),
    ] {
        assert!((400..500).contains(&post(&admin, wrong).await));
    }
    for wrong in [format!("lookout_{CANARY}"), CANARY.to_owned()] {
        assert_eq!(post(&wrong, "{}".to_owned()).await, 401);
        let answer = client.get(format!("{}/status", up.base)).basic_auth(&wrong, Some(&wrong)).send().await.unwrap();
        assert_eq!(answer.status(), 401);
        assert_clean("a refusal", &answer.text().await.unwrap());
    }
    eventually("it was probed", async || log().contains("echo is down")).await;
    eventually("and that is stored", async || {
        let count = "select count(*) from check_result where detail like '%***%'";
        sqlx::query_scalar::<_, i64>(count).fetch_one(&db.pool).await.unwrap() > 0
    })
    .await;

    let get = async |path: &str| {
        let answer = client.get(format!("{}{path}", up.base)).bearer_auth(&admin).send().await.unwrap();
        format!("{:?}\n{}", answer.headers().clone(), answer.text().await.unwrap())
    };
    let document = get("/api/openapi.json").await;
    let document: serde_json::Value = serde_json::from_str(document.split_once('\n').unwrap().1).unwrap();
    let mut asked = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        if operations.get("get").is_some() {
            let path = path.replace("{key}", "echo").replace("{id}", "1").replace("{window}", "1h");
            let answer = get(&path).await;
            assert_clean(&path, &answer);
            assert!(!answer.contains(&stored) && !answer.contains(&hash), "{path}");
            asked += 1;
        }
    }
    assert!(asked > 25, "{asked}");
    for path in ["/", "/targets/echo", "/public", "/public/feed.xml"] {
        assert_clean(path, &get(path).await);
    }
    let list = output(lookout(directory).env("DATABASE_URL", &database).args(["token", "list"]));
    assert!(list.contains("mine") && !list.contains(&stored), "{list}");
    assert_clean("token list", &list);
    kill_process(Pid::from_child(&up.child), Signal::TERM).unwrap();
    drop(up);
    let log = log();
    assert_clean("the log", &log);
    assert!(!log.contains(&stored) && !log.contains(&hash));
    let rows: String = sqlx::query_scalar(
        "select concat((select string_agg((to_jsonb(t) - 'posted')::text, ' ') from target t),
                       (select string_agg(c::text, ' ') from check_result c), (select string_agg(t::text, ' ') from api_token t),
                       (select string_agg(w::text, ' ') from worker w), (select string_agg(r::text, ' ') from receipt r))",
    )
    .fetch_one(&db.pool)
    .await
    .unwrap();
    assert!(rows.contains("echo"));
    assert_clean("the database, but for what workers send", &rows);

    // Settings that are wrong beside a secret, or in one.
    for (name, value) in [
        ("API_TOKEN", "canary5ecret"),
        ("DASHBOARD_LOGIN", "me:canary5ecret"),
        ("DATABASE_URL", "mysql://me:canary5ecret@h/x"),
        ("MIGRATION_DATABASE_URL", "mysql://me:canary5ecret@h/x"),
    ] {
        let said = output(lookout(directory).env("DATABASE_URL", &database).env(name, value));
        assert!(said.contains(name), "{name}: {said}");
        assert_clean(name, &said);
    }
}
