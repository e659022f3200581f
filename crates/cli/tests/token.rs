//! `lookout token`: made once, listed without itself, revoked at once.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::Write;
use std::process::{Command, Output, Stdio};

use store::testing::TestDb;

fn token(database_url: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lookout"));
    command.env_clear().env("DATABASE_URL", database_url).stdin(Stdio::null());
    command.arg("token").args(arguments).output().unwrap()
}

/// Status, standard output, standard error.
fn said(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[tokio::test]
async fn a_token_is_printed_once_listed_with_its_use_and_revoked() {
    let db = TestDb::new().await;
    let (status, secret, about) = said(&token(&db.url, &["create", "--name", "deploys", "--scope", "write"]));
    assert_eq!(status, Some(0), "{about}");
    let secret = secret.trim_end();
    assert!(secret.starts_with("lookout_") && secret.len() == 51, "{secret}");
    assert!(about.starts_with("token \"deploys\", scope write, good until 20"), "{about}");
    let (status, _, error) = said(&token(&db.url, &["create", "--name", "deploys", "--scope", "read"]));
    assert_eq!(status, Some(2));
    assert!(error.contains("revoke it first"), "{error}");
    let ever = token(&db.url, &["create", "--name", "grafana", "--scope", "read", "--expires", "never"]);
    assert!(said(&ever).2.contains("good for ever"));

    let (status, list, _) = said(&token(&db.url, &["list"]));
    assert_eq!(status, Some(0));
    let lines: Vec<&str> = list.lines().map(str::trim).collect();
    assert!(lines[0].starts_with("NAME"), "{list}");
    assert!(lines[1].starts_with("grafana") && lines[1].ends_with("never"), "{list}");
    assert!(lines[2].starts_with("deploys") && lines[2].contains(" good "), "{list}");
    assert!(!list.contains(secret));

    assert_eq!(said(&token(&db.url, &["revoke", "deploys"])).0, Some(0));
    let (status, _, error) = said(&token(&db.url, &["revoke", "deploys"]));
    assert_eq!((status, error.contains("no good token")), (Some(2), true), "{error}");
    assert!(said(&token(&db.url, &["list"])).1.contains("revoked 20"));
}

#[test]
fn what_cannot_be_done_is_said_all_at_once() {
    let (status, _, error) =
        said(&token("postgres://me@127.0.0.1:1/x", &["create", "--name", "", "--scope", "root", "--expires", "soon"]));
    assert_eq!(status, Some(2));
    assert_eq!(
        error.lines().collect::<Vec<_>>(),
        [
            "--name: \"\" is not 1 to 100 characters that can be seen",
            "--scope: \"root\" is none of read, write and admin",
            "--expires: \"soon\" is not how long: write 90d, 12h or 30m, or never",
        ]
    );
    let directory = tempfile::tempdir().unwrap();
    let (status, _, error) = said(&token("", &["--data-dir", directory.path().to_str().unwrap(), "list"]));
    assert_eq!((status, error.contains("no `lookout up` has kept data in")), (Some(2), true), "{error}");
}

#[test]
fn a_password_becomes_a_hash_that_the_api_takes() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_lookout"))
        .env_clear()
        .arg("hash-password")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"correct horse\n").unwrap();
    let output = child.wait_with_output().unwrap();
    let hash = String::from_utf8(output.stdout).unwrap();
    assert!(hash.starts_with("$argon2id$"), "{hash}");
    assert!(api::access::Login::parse(&format!("me:{}", hash.trim_end())).is_ok());
}
