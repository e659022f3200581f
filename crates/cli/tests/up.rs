//! `lookout` as people run it: the binary, its output, its exit status.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use demo::faults::FaultServer;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// Nothing that is set where the tests run reaches the program.
fn lookout() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lookout"));
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    // The program reads .env from where it is started.
    command.current_dir(std::env::temp_dir()).stdin(Stdio::null());
    command
}

/// A directory that a Postgres of another user can enter.
fn data_dir() -> TempDir {
    tempfile::Builder::new().permissions(std::fs::Permissions::from_mode(0o755)).tempdir().unwrap()
}

const TOKEN: &str = "a token that tests have";

struct Up {
    child: Child,
    base: String,
}

impl Up {
    fn start(data_dir: &Path) -> Self {
        let mut child = lookout()
            .args(["--api-addr", "127.0.0.1:0", "--interval", "1s", "--data-dir"])
            .arg(data_dir)
            .env("API_TOKEN", TOKEN)
            // What is posted here is on this machine.
            .env("API_TARGETS", "any")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let base = lines.find_map(|line| Some(line.unwrap().trim().strip_prefix("answering")?.trim().to_owned()));
        // Whoever reads no further must not make the program wait.
        std::thread::spawn(move || lines.count());
        Self { child, base: base.expect("the program says where it answers") }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    fn client() -> reqwest::Client {
        let tls = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        reqwest::Client::builder().tls_backend_preconfigured(tls).no_proxy().build().unwrap()
    }

    async fn rows(&self) -> Vec<Value> {
        let client = Self::client();
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let response = client.get(format!("{}/status", self.base)).send().await.unwrap();
            if response.status() == 200 {
                let mut rows: Vec<Value> = response.json().await.unwrap();
                for row in &mut rows {
                    // A fixed port would clash with a neighbour's, so each start has its own.
                    let url = row.as_object_mut().unwrap().remove("url").unwrap();
                    assert!(url.as_str().unwrap().starts_with("http://127.0.0.1:"), "{url}");
                }
                return rows;
            }
            assert!(Instant::now() < deadline, "still {}", response.status());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn at_least(&self, count: usize) -> Vec<Value> {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let rows = self.rows().await;
            if rows.len() >= count {
                return rows;
            }
            assert!(Instant::now() < deadline, "{} of {count} rows", rows.len());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    fn wait(mut self) -> (ExitStatus, Duration) {
        let asked = Instant::now();
        (self.child.wait().unwrap(), asked.elapsed())
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_postgres_that_is_killed_is_started_again_and_knows_no_secret() {
    let dir = data_dir();
    let up = Up::start(dir.path());
    let before = up.at_least(2).await.len();
    let postmaster = || {
        let file = fs::read_to_string(dir.path().join("postgres/data/postmaster.pid")).unwrap_or_default();
        file.lines().next().and_then(|line| line.parse().ok()).and_then(Pid::from_raw)
    };
    let first = postmaster().unwrap();
    #[cfg(target_os = "linux")]
    {
        let environment = fs::read(format!("/proc/{first}/environ")).unwrap();
        assert!(!String::from_utf8_lossy(&environment).contains(TOKEN));
    }
    kill_process(first, Signal::KILL).unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while postmaster().is_none_or(|now| now == first) {
        assert!(Instant::now() < deadline, "nobody starts it again");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(up.at_least(before + 3).await.len() >= before + 3, "what was stored is there, and more comes");
    up.signal(Signal::TERM);
    assert_eq!(up.wait().0.code(), Some(0));
    assert!(postmaster().is_none(), "the new one is stopped as the first would have been");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_grow_and_outlive_a_clean_stop_and_a_kill() {
    let dir = data_dir();
    let up = Up::start(dir.path());
    let first = up.at_least(2).await;
    for field in ["ok", "code", "elapsed", "date"] {
        assert!(first[0].get(field).is_some(), "{first:?}");
    }
    up.signal(Signal::INT);
    let (status, took) = up.wait();
    assert!(status.success() && took < Duration::from_secs(10), "{status} after {took:?}");

    let up = Up::start(dir.path());
    let second = up.at_least(first.len() + 2).await;
    assert_eq!(second[..first.len()], first);
    up.signal(Signal::KILL);
    up.wait();

    let up = Up::start(dir.path());
    let third = up.at_least(second.len() + 1).await;
    assert_eq!(third[..second.len()], second);
    up.signal(Signal::TERM);
    assert!(up.wait().0.success());
}

fn run(variables: &[(&str, &str)], arguments: &[&str]) -> Output {
    lookout().envs(variables.iter().copied()).args(arguments).output().unwrap()
}

fn assert_refused(variables: &[(&str, &str)], arguments: &[&str], expected: &[&str]) {
    let output = run(variables, arguments);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{variables:?} {arguments:?}: {stderr}");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "");
    let lines: Vec<_> = stderr.lines().filter(|line| !line.starts_with("starting a private Postgres")).collect();
    assert_eq!(lines.len(), expected.len(), "{stderr}");
    for (line, part) in lines.iter().zip(expected) {
        assert!(line.contains(part), "{line} lacks {part}");
    }
    assert!(!stderr.contains("s3cret"), "{stderr}");
}

#[test]
fn bad_settings_are_a_line_each_that_names_variable_and_rule() {
    assert_refused(&[("POLLING_INTERVAL", "abc")], &[], &["POLLING_INTERVAL (--interval): \"abc\" is not a duration"]);
    assert_refused(&[("URLS", "htp://x")], &[], &["URLS (--urls): \"htp://x\" has the scheme \"htp\""]);
    assert_refused(&[("API_ADDR", "nowhere")], &[], &["API_ADDR (--api-addr): \"nowhere\" is no address"]);
    assert_refused(
        &[("DATABASE_URL", "mysql://u:s3cret@h/d")],
        &[],
        &["DATABASE_URL (--database-url): the value (not shown) is no database URL"],
    );
    assert_refused(&[("LOOKOUT_CONFIG", "/nowhere.yaml")], &[], &["cannot read /nowhere.yaml: not found"]);
    assert_refused(
        &[("WORKERS_COUNT", "0")],
        &[],
        &["WORKERS_COUNT (--workers-count): \"0\" is no whole number from 1"],
    );
    assert_refused(
        &[("POLLING_INTERVAL", "1ms"), ("PUBLIC_READ", "maybe"), ("PUBLIC_PAGE", "1"), ("API_TOKEN", "s3cret")],
        &["--timeout", "x"],
        &["POLLING_INTERVAL", "REQUEST_TIMEOUT", "PUBLIC_READ", "PUBLIC_PAGE", "API_TOKEN"],
    );
}

#[test]
fn c45_a_taken_port_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let database = ("DATABASE_URL", "postgres://u:s3cret@127.0.0.1:1/d");
    assert_refused(
        &[database],
        &["--api-addr", &address],
        &[&format!("API_ADDR (--api-addr): cannot listen on {address}")],
    );
}

#[test]
fn help_teaches_every_flag_with_its_variable() {
    let output = run(&[], &["--help"]);
    let help = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success());
    for variable in [
        "URLS",
        "POLLING_INTERVAL",
        "REQUEST_TIMEOUT",
        "DEGRADED_AFTER",
        "WORKERS_COUNT",
        "LOG_LEVEL",
        "LOG_FORMAT",
        "DATABASE_URL",
        "API_ADDR",
        "WORKER_ADDR",
        "LOOKOUT_DATA_DIR",
        "LOOKOUT_CONFIG",
        "ALLOW_EMPTY",
        "PUBLIC_READ",
        "PUBLIC_PAGE",
        "API_TOKEN",
    ] {
        assert!(help.contains(&format!("[env: {variable}")), "{variable} is not in --help");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_one_on_the_same_data_is_refused_with_one_line() {
    let dir = data_dir();
    let up = Up::start(dir.path());
    let output = lookout().args(["--api-addr", "127.0.0.1:0", "--data-dir"]).arg(dir.path()).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), stderr.lines().count()), (Some(2), 1), "{stderr}");
    assert!(stderr.contains("another lookout runs on"), "{stderr}");
    up.at_least(1).await;
    // Signalled as a group and as a process, as supervisors do: still one clean stop.
    up.signal(Signal::TERM);
    up.signal(Signal::INT);
    assert!(up.wait().0.success());
}

#[test]
fn nobody_reading_the_output_is_no_reason_to_fail() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let child = lookout()
        .env("DATABASE_URL", format!("postgres://u@{closed}/d"))
        .env("URLS", "http://127.0.0.1:1/?key=s3cret")
        .args(["--api-addr", "127.0.0.1:0"])
        .stdout(writer)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut up = Up { child, base: String::new() };
    let mut lines = BufReader::new(up.child.stderr.take().unwrap()).lines().map(Result::unwrap);
    // It got past the announcement.
    assert!(lines.any(|line| line.contains("waiting: ")));
    up.signal(Signal::TERM);
    assert!(up.wait().0.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_posted_to_it_is_probed_until_it_is_deleted() {
    let dir = data_dir();
    let server = FaultServer::start_on_thread().unwrap();
    let up = Up::start(dir.path());
    up.at_least(1).await;
    let client = Up::client();
    let body = format!(r#"{{"name": "posted", "url": "{}", "interval": "1s"}}"#, server.url("/ok"));
    let posted = client
        .post(format!("{}/api/v1/targets", up.base))
        .bearer_auth(TOKEN)
        .header("content-type", "application/json")
        .body(body)
        .send()
        .await
        .unwrap();
    assert_eq!(posted.status(), 201);
    let deadline = Instant::now() + Duration::from_secs(30);
    let target = format!("{}/api/v1/targets/posted", up.base);
    while server.log().len() < 3 {
        assert!(Instant::now() < deadline, "asked {} times", server.log().len());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let known: Value = client.get(&target).send().await.unwrap().json().await.unwrap();
    assert_eq!((&known["source"], &known["state"]), (&"api".into(), &"up".into()), "{known}");
    let deleted = client.delete(&target).bearer_auth(TOKEN).header("if-match", "*").send().await.unwrap();
    assert_eq!(deleted.status(), 204);
    // It is forgotten within a second or so; the demo service goes on meanwhile.
    let rows = up.rows().await.len();
    up.at_least(rows + 6).await;
    let asked = server.log().len();
    let rows = up.rows().await.len();
    up.at_least(rows + 3).await;
    assert_eq!(server.log().len(), asked);
    up.signal(Signal::TERM);
    assert!(up.wait().0.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_finds_the_private_postgres_of_one_that_runs_and_says_where_none_does() {
    let dir = data_dir();
    fs::write(dir.path().join("list.yaml"), "- {name: home, url: 'http://127.0.0.1:1/'}\n").unwrap();
    let plan = || {
        let output = lookout()
            .arg("plan")
            .arg(dir.path().join("list.yaml"))
            .env("LOOKOUT_DATA_DIR", dir.path())
            .output()
            .unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let none = (
        Some(2),
        String::new(),
        format!(
            "DATABASE_URL (--database-url): not set, and no lookout runs on {}: set it, or start `lookout up`, \
             or say in LOOKOUT_DATA_DIR (--data-dir) where that one keeps its data\n",
            dir.path().display()
        ),
    );
    assert_eq!(plan(), none);
    assert!(!dir.path().join("postgres").exists(), "it makes nothing");

    let up = Up::start(dir.path());
    up.at_least(1).await;
    let expected =
        "+ target home\n- target fantastic (its history stays)\ntargets: 1 added, 0 changed, 1 removed, 0 unchanged\n";
    assert_eq!(plan(), (Some(3), expected.to_owned(), String::new()));
    up.signal(Signal::TERM);
    assert!(up.wait().0.success());
    assert_eq!(plan(), none);

    // A kill leaves the files of a server behind, which is no server.
    let up = Up::start(dir.path());
    up.at_least(1).await;
    up.signal(Signal::KILL);
    up.wait();
    let deadline = Instant::now() + Duration::from_secs(30);
    while plan() != none {
        assert!(Instant::now() < deadline, "{:?}", plan());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[test]
fn a_data_directory_that_is_none_is_refused_as_such() {
    let directory = data_dir();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    let link = directory.path().join("link");
    std::os::unix::fs::symlink("nowhere", &link).unwrap();
    for path in [file.clone(), link, file.join("below")] {
        let output = lookout().arg("--data-dir").arg(&path).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains(&format!("{} is no directory", path.display())), "{stderr}");
    }
}
