//! `lookout plan`: what a file would change, and that nobody sees a secret of it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use settings::{Defaults, Mode};
use store::testing::TestDb;

fn plan(directory: &Path, database_url: &str, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lookout"))
        .env_clear()
        .env("DATABASE_URL", database_url)
        .env("TOKEN", "canary-variable")
        .current_dir(directory)
        .stdin(Stdio::null())
        .arg("plan")
        .args(arguments)
        .output()
        .unwrap()
}

/// Status, standard output, standard error.
fn said(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

const BEFORE: &str = "\
services:
  - {name: shop, objective: 99, endpoints: [POST /orders]}
targets:
  - {name: a, url: 'http://a/', headers: {X-A: canary-header}}
  - {name: b, url: 'http://b/', service: shop, method: POST, body: canary-body, expect: {body: {contains: ok, not_contains: no}}}
  - {name: c, url: 'http://me:canary-password@c/?k=v', labels: {team: x}}
";

/// Applies what a worker would, and leaves a worker that reports it.
async fn apply(db: &TestDb, text: &str) {
    let list = settings::file::parse("c.yaml", text.as_bytes(), Mode::Service, &Defaults::default()).unwrap();
    let mut connection = db.pool.acquire().await.unwrap();
    let digest = list.digest.cast_signed();
    store::targets::apply(&mut connection, "w", &[common::Source::File], &list.targets, digest).await.unwrap();
    store::services::apply(&mut connection, "w", &list.services, &list.targets, digest).await.unwrap();
    let report = store::workers::Report::first("w", chrono::Utc::now(), digest);
    store::workers::report(&mut connection, &report).await.unwrap();
}

#[tokio::test]
async fn a_plan_tells_every_difference_and_no_secret() {
    let db = TestDb::new().await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("new.yaml");
    let text = |text: &str| {
        fs::write(&file, text).unwrap();
        said(&plan(directory.path(), &db.url, &["new.yaml"]))
    };
    apply(&db, BEFORE).await;
    assert_eq!(text(BEFORE), (Some(0), "targets: 0 added, 0 changed, 0 removed, 3 unchanged\n".to_owned(), warnings()));

    // Only what nobody sees: the digest tells.
    for hidden in
        [("canary-header", "canary-other"), ("canary-body", "canary-other"), ("canary-password", "canary-other")]
    {
        apply(&db, BEFORE).await;
        let (status, out, err) = text(&BEFORE.replace(hidden.0, hidden.1));
        assert_eq!(status, Some(3), "{out}");
        assert!(out.starts_with(
            "~ something secret changed: the value of a header, a body, or a password or parameter in a URL\n"
        ));
        assert!(!format!("{out}{err}").contains("canary"), "{out}{err}");
    }

    apply(&db, BEFORE).await;
    let after = "\
services:
  - {name: shop, objective: 99.9, window: 1h, owner: {name: Shop team}}
targets:
  - {name: a, url: 'http://a/', interval: 30s, headers: {X-B: '${TOKEN}'}}
  - {name: b, url: 'http://b/${TOKEN}?k=${TOKEN}', service: shop, method: POST, body: canary-body, expect: {body: {contains: fine}}}
  - {name: d, url: 'http://d/'}
";
    fs::write(&file, after).unwrap();
    let (status, out, err) = said(&plan(directory.path(), &db.url, &["new.yaml"]));
    assert_eq!((status, err.as_str()), (Some(3), ""));
    assert_eq!(
        out.lines().collect::<Vec<_>>(),
        [
            "+ target d",
            "~ target a: headers changed, interval 10s → 30s",
            "~ target b: expect changed, url http://b/ → http://b/${TOKEN}?k=${TOKEN}",
            "- target c (its history stays)",
            "~ endpoint POST b: 99 % over 5m → 99.9 % over 1h, of shop",
            "~ endpoint POST /orders: 99 % over 5m → 90 % over 5m, of shop",
            "~ service shop: owner changed",
            "targets: 1 added, 2 changed, 1 removed, 0 unchanged",
        ]
    );

    let (status, out, _) = said(&plan(directory.path(), &db.url, &["new.yaml", "--format", "json"]));
    assert_eq!(status, Some(3));
    assert!(!out.contains("canary"), "{out}");
    let found: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(found["different"], true);
    assert_eq!((&found["added"], &found["removed"]), (&json!(["d"]), &json!(["c"])));
    assert_eq!(
        found["changed"][0],
        json!({"key": "a", "fields": [
            {"field": "headers", "from": null, "to": null},
            {"field": "interval", "from": "10s", "to": "30s"},
        ]})
    );
    assert_eq!(
        found["endpoints"][0]["to"],
        json!({"service": "shop", "objective_percent": 99.9, "window_seconds": 3600.0})
    );
    // What it said has come about, once a worker has applied it.
    let list = after.replace("${TOKEN}", "x");
    apply(&db, &list).await;
    fs::write(&file, &list).unwrap();
    assert_eq!(said(&plan(directory.path(), &db.url, &["new.yaml"])).0, Some(0));
}

fn warnings() -> String {
    "warning: new.yaml:6:20: targets[2].url: holds a user and password: they are sent as Authorization and never shown, \
     but `headers:` is a better place\n"
        .to_owned()
}

#[test]
fn a_file_or_a_database_that_is_unusable_is_one_line_and_status_2() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("bad.yaml"), "- {name: a, url: 'htp://me:canary@h', headers: {X: '${UNSET}'}}\n")
        .unwrap();
    let (status, out, err) = said(&plan(directory.path(), "postgres://me:canary@127.0.0.1:1/x", &["bad.yaml"]));
    assert_eq!((status, out.as_str()), (Some(2), ""));
    assert_eq!(
        err.lines().collect::<Vec<_>>(),
        [
            "bad.yaml:1:18: [0].url: \"htp://***@h\" has the scheme \"htp\": only http and https are probed",
            "bad.yaml:1:52: [0].headers.X: ${UNSET}: the variable UNSET is not set (write $${ for a literal ${)",
        ]
    );
    fs::write(directory.path().join("good.yaml"), "[]").unwrap();
    let (status, _, err) = said(&plan(directory.path(), "postgres://me:canary@127.0.0.1:1/x", &["good.yaml"]));
    assert_eq!(status, Some(1), "{err}");
    assert!(err.contains("cannot reach Postgres at 127.0.0.1:1") && !err.contains("canary"), "{err}");
    let (status, _, err) = said(&plan(directory.path(), "", &["good.yaml", "--data-dir", "none"]));
    assert_eq!(
        (status, err.as_str()),
        (
            Some(2),
            "DATABASE_URL (--database-url): not set, and no lookout runs on none: set it, or start `lookout up`, \
             or say in LOOKOUT_DATA_DIR (--data-dir) where that one keeps its data\n"
        )
    );
    let (status, _, err) = said(&plan(directory.path(), "postgres://h/x", &[]));
    assert_eq!(
        (status, err.as_str()),
        (Some(2), "nothing to compare: name a FILE, or set LOOKOUT_CONFIG (--config)\n")
    );
}

#[tokio::test]
async fn a_target_that_names_its_service_no_longer_is_its_own_again_and_the_plan_says_so() {
    let db = TestDb::new().await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("new.yaml");
    let with = |service: &str, objective: &str| {
        format!(
            "services: [{{name: shop, objective: {objective}}}]\n\
             targets:\n  - {{name: a, url: 'http://a/'{service}}}\n  - {{name: b, url: 'http://b/'{service}}}\n"
        )
    };
    apply(&db, &with(", service: shop", "99")).await;
    let after = with("", "99");
    fs::write(&file, &after).unwrap();
    let (status, out, _) = said(&plan(directory.path(), &db.url, &["new.yaml"]));
    assert_eq!(
        (status, out.lines().collect::<Vec<_>>()),
        (
            Some(3),
            vec![
                "~ target a: service shop → a",
                "~ target b: service shop → b",
                "~ endpoint GET a: 99 % over 5m, of shop → 90 % over 5m, of a",
                "~ endpoint GET b: 99 % over 5m, of shop → 90 % over 5m, of b",
                "targets: 0 added, 2 changed, 0 removed, 0 unchanged",
            ]
        )
    );
    apply(&db, &after).await;
    assert_eq!(said(&plan(directory.path(), &db.url, &["new.yaml"])).0, Some(0));
}
