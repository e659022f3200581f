//! No secret of a configuration file is in anything that anybody can read: secrets in every
//! field that may hold one, and every output there is.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod outage;
mod outputs;

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use store::testing::TestDb;

/// Part of every secret.
const CANARY: &str = "canary5ecret";

fn lookout(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lookout"));
    command
        .env_clear()
        .env("TOKEN", format!("{CANARY}-variable"))
        .env("HOST", format!("{CANARY}.invalid"))
        .env("PORT", "1")
        .env("SCHEME", format!("{CANARY}http"))
        .current_dir(directory)
        .stdin(Stdio::null());
    command
}

/// A file with a secret wherever one may be, and things that go wrong on the way there.
fn good() -> String {
    format!(
        "\
services: [{{name: shop, objective: 99.9, endpoints: [POST /orders]}}]
targets:
  - name: everything
    url: http://me:{CANARY}@127.0.0.1:1/${{TOKEN}}?key=${{TOKEN}}
    method: POST
    service: shop
    interval: 1s
    headers: {{Authorization: 'Bearer {CANARY}', X-A: '${{TOKEN}}', X-B: '${{file:token}}'}}
    body: '{{\"password\": \"{CANARY}\", \"token\": \"${{TOKEN}}\"}}'
  - {{name: no such host, url: 'http://u:${{TOKEN}}@${{HOST}}:${{PORT}}/', interval: 1s}}
  - {{name: query, url: 'http://127.0.0.1:1/?api_key={CANARY}&v=1&sig={CANARY}', interval: 1s}}
  - {{name: plain, url: 'http://{CANARY}:{CANARY}@127.0.0.1:1/', interval: 1s}}
"
    )
}

struct Up {
    child: Child,
    base: String,
}

impl Up {
    fn start(directory: &Path, db: &TestDb) -> Self {
        Self::run(directory, lookout(directory).env("DATABASE_URL", &db.url))
    }

    fn run(directory: &Path, command: &mut Command) -> Self {
        let mut child = command
            .env("LOOKOUT_CONFIG", "config.yaml")
            .env("LOG_LEVEL", "worker=debug,api=debug,info")
            .args(["--api-addr", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .stderr(File::create(directory.join("log")).unwrap())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let base = lines.find_map(|line| Some(line.unwrap().trim().strip_prefix("answering")?.trim().to_owned()));
        std::thread::spawn(move || lines.count());
        Self { child, base: base.expect("the program says where it answers") }
    }

    async fn get(&self, path: &str) -> String {
        let answer = Self::client().get(format!("{}{path}", self.base)).send().await.unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        answer.text().await.unwrap()
    }

    fn client() -> reqwest::Client {
        let tls = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        reqwest::Client::builder().tls_backend_preconfigured(tls).build().unwrap()
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[track_caller]
fn assert_clean(what: &str, text: &str) {
    assert!(!text.to_lowercase().contains(CANARY), "{what} shows a secret:\n{text}");
}

async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(40);
    while !holds().await {
        assert!(Instant::now() < deadline, "not within 40 s: {what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
