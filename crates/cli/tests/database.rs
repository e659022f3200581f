//! What `lookout up` answers a database that it cannot use, or that is not quite its own: C44.
//! Each has words of its own, and none shows the password.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use store::testing::TestDb;

fn lookout(database_url: &str, log_level: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lookout"));
    command
        .env_clear()
        .env("DATABASE_URL", database_url)
        .env("LOG_LEVEL", log_level)
        .args(["--api-addr", "127.0.0.1:0", "--urls", "http://127.0.0.1:1/"])
        .current_dir(std::env::temp_dir())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    command
}

/// The one line that a database is refused with.
#[track_caller]
fn refused(database_url: &str) -> String {
    let output = lookout(database_url, "off").output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(!stderr.contains("s3cret"), "{stderr}");
    stderr.trim_end().to_owned()
}

/// The program until it has said a line with this part, which is returned. It then stops cleanly.
#[track_caller]
fn said(database_url: &str, part: &str) -> String {
    let mut child = Running(lookout(database_url, "info").spawn().unwrap());
    let lines = BufReader::new(child.0.stderr.take().unwrap()).lines().map(Result::unwrap);
    let mut lines = lines.inspect(|line| assert!(!line.contains("s3cret"), "{line}"));
    let line = lines.find(|line| line.contains(part)).unwrap_or_else(|| panic!("it ended without {part:?}"));
    kill_process(Pid::from_child(&child.0), Signal::TERM).unwrap();
    let rest: Vec<_> = lines.collect();
    assert!(child.0.wait().unwrap().success(), "{rest:?}");
    assert_eq!(rest.last().map(String::as_str), Some("stopped cleanly"));
    line
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The URL with one more parameter, which is percent-encoded.
fn with(url: &str, parameter: &str) -> String {
    format!("{url}{}{parameter}", if url.contains('?') { '&' } else { '?' })
}

/// What stands behind `Postgres at …`, which is named as sockets and ports are.
#[track_caller]
fn behind_server<'l>(line: &'l str, url: &str) -> &'l str {
    let rest = line.strip_prefix("DATABASE_URL (--database-url): Postgres at ").unwrap_or_else(|| panic!("{line}"));
    let (server, rest) = rest.split_once(' ').unwrap();
    let is_named = match server.strip_suffix("/.s.PGSQL.5432") {
        Some(directory) => url.contains(directory),
        None => url.contains(server),
    };
    assert!(is_named, "{line} does not name the server of {url}");
    rest
}

#[test]
fn c44_a_url_that_does_not_parse_is_told_what_is_wrong_with_it() {
    assert_eq!(
        refused("postgres://u:s3cret@h:99999/d"),
        "DATABASE_URL (--database-url): the value (not shown) is no database URL: invalid port number \
         (characters such as # / ? @ in a password are written %23 %2F %3F %40)"
    );
}

#[test]
fn c44_another_scheme_is_told_the_right_one() {
    for url in ["mysql://u:s3cret@h/d", "host=h password=s3cret"] {
        assert_eq!(
            refused(url),
            "DATABASE_URL (--database-url): the value (not shown) is no database URL: \
             write postgres://user:password@host:5432/database"
        );
    }
}

#[test]
fn c44_a_server_that_cannot_be_reached_is_waited_for_and_named() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    // Of parameters that nobody knows, some are secrets of others.
    let line =
        said(&format!("postgres://u:s3cret@{closed}/d?sslpassword=s3cret&passwd=s3cret&token=s3cret"), "waiting: ");
    let (_, told) = line.split_once("waiting: ").unwrap();
    assert!(told.starts_with(&format!("cannot reach Postgres at {closed}: ")), "{line}");
    assert!(told.contains("refused"), "{line}");
}

/// A server that says to everybody what Postgres says to a wrong password.
fn refusing_server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("postgres://u:s3cret@{}/d?sslmode=disable", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let _ = stream.read(&mut [0; 1024]);
            let fields = b"SFATAL\0VFATAL\0C28P01\0Mpassword authentication failed for user \"u\"\0\0";
            let mut message = vec![b'E'];
            message.extend_from_slice(&u32::try_from(fields.len() + 4).unwrap().to_be_bytes());
            message.extend_from_slice(fields);
            let _ = stream.write_all(&message);
        }
    });
    url
}

#[test]
fn c44_a_wrong_password_is_not_tried_again() {
    let url = refusing_server();
    assert_eq!(behind_server(&refused(&url), &url), "refuses the login: password authentication failed for user \"u\"");
}

#[tokio::test]
async fn c44_a_database_that_is_not_there_is_named() {
    let db = TestDb::empty().await;
    // A later parameter counts for more than the path.
    let url = with(&db.url, "dbname=no_such_database");
    assert_eq!(
        behind_server(&refused(&url), &url),
        "has no such database: database \"no_such_database\" does not exist"
    );
}

#[tokio::test]
async fn c44_an_older_server_is_told_its_version_and_the_oldest_that_will_do() {
    let db = TestDb::empty().await;
    // As far as anybody can tell who asks it.
    sqlx::raw_sql(
        "create schema older;
         create function older.current_setting(text) returns text language sql as $$ select '140011'::text $$;
         do $$ begin
             execute format('alter database %I set search_path = older, pg_catalog, public', current_database());
         end $$",
    )
    .execute(&db.pool)
    .await
    .unwrap();
    assert_eq!(behind_server(&refused(&db.url), &db.url), "is version 14: lookout needs 15 or newer");
}

#[tokio::test]
async fn c44_a_user_that_may_do_too_little_is_told_what_to_grant() {
    let db = TestDb::empty().await;
    // A role that every server has, and that may make no tables.
    let url = with(&db.url, "options=-c%20role%3Dpg_monitor");
    assert_eq!(
        behind_server(&refused(&url), &url),
        "lets this user do too little: permission denied for schema public \
         (make it the owner of the database, or grant it what is missing)"
    );
}

#[tokio::test]
async fn c44_a_newer_schema_is_left_as_it_is_and_worked_with() {
    let db = TestDb::new().await;
    let (ours, newer) = (schema::version(), schema::version() + 1);
    sqlx::query("insert into refinery_schema_history values ($1, 'later', '2030-01-01T00:00:00Z', '1')")
        .bind(newer)
        .execute(&db.pool)
        .await
        .unwrap();
    let line = said(&db.url, "made by a newer lookout: this one");
    assert!(
        line.contains(&format!(
            "the schema is at version {newer}, made by a newer lookout: this one knows {ours} and leaves it as it is"
        )),
        "{line}"
    );
    let line = said(&db.url, "made by a newer lookout: this worker");
    assert!(line.contains(&format!("this worker knows {ours}")), "{line}");
}
