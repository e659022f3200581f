//! A running api and rows to answer from.

use std::sync::Arc;

use api::Api;
use api::config::ListenSettings;
use common::{Cause, Check, Outcome, Phases, Slot, TargetId};
use reqwest::Response;
use serde_json::Value;
use store::testing::TestDb;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) const TOKEN: &str = "a-token-of-enough-characters";

/// An api on a free port, stopped when dropped.
pub(crate) struct TestApi {
    pub(crate) base: String,
    stop: CancellationToken,
    task: JoinHandle<anyhow::Result<()>>,
    client: reqwest::Client,
}

impl TestApi {
    pub(crate) async fn start(database_url: &str) -> Self {
        Self::start_with(database_url, true).await
    }

    pub(crate) async fn start_with(database_url: &str, public_read: bool) -> Self {
        Self::start_as(database_url, public_read, public_read).await
    }

    pub(crate) async fn start_as(database_url: &str, public_read: bool, public_page: bool) -> Self {
        Self::start_on(database_url, settings(public_read, public_page)).await
    }

    pub(crate) async fn start_on(database_url: &str, listen: ListenSettings) -> Self {
        let api = Self::spawn_on(database_url, listen);
        for _ in 0..600 {
            if api.get("/readyz").await.status() == 200 {
                return api;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        panic!("the api was not ready within 12 s");
    }

    /// Without waiting until it is ready. It has a public page where reading is public.
    pub(crate) fn spawn(database_url: &str, public_read: bool) -> Self {
        Self::spawn_on(database_url, settings(public_read, public_read))
    }

    pub(crate) fn spawn_on(database_url: &str, listen: ListenSettings) -> Self {
        let api =
            Api::bind(api::Config { database_url: database_url.to_owned(), migration_database_url: None, listen })
                .unwrap();
        let base = format!("http://{}", api.addr());
        let stop = CancellationToken::new();
        let task = tokio::spawn(api.run(stop.clone()));
        let tls = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        // What was sent, as it was sent.
        let client = reqwest::Client::builder().no_gzip().no_deflate();
        let client = client.tls_backend_preconfigured(tls).no_proxy().build().unwrap();
        Self { base, stop, task, client }
    }

    pub(crate) fn request(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method, format!("{}{path}", self.base))
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        self.request(reqwest::Method::GET, path).send().await.unwrap()
    }

    pub(crate) async fn json(&self, path: &str) -> Value {
        let response = self.get(path).await;
        assert_eq!(response.status(), 200, "{path}");
        response.json().await.unwrap()
    }

    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
    }
}

/// An api on a free port with [`TOKEN`], and no limit to what one test asks.
pub(crate) fn settings(public_read: bool, public_page: bool) -> ListenSettings {
    let token = Some(TOKEN.to_owned());
    ListenSettings {
        public_read,
        public_page,
        token,
        rate_limit: None,
        ..ListenSettings::at("127.0.0.1:0".parse().unwrap())
    }
}

/// 2026-11-21T12:00:00Z
pub(crate) const NOON_US: i64 = 1_795_262_400_000_000;

pub(crate) fn check(target: i32, slot_us: i64, outcome: Outcome) -> Check {
    let is_verdict = outcome.is_verdict();
    Check {
        target_id: TargetId(target),
        slot: Slot(slot_us),
        started_us: is_verdict.then_some(slot_us + 250),
        outcome,
        code: match outcome {
            Outcome::Up | Outcome::Degraded => Some(200),
            Outcome::Down(Cause::Status) => Some(500),
            _ => None,
        },
        elapsed_us: is_verdict.then_some(12_345),
        phases: Phases::default(),
        detail: None,
    }
}

/// Two targets, `a` and `b`, and these checks of them.
pub(crate) async fn store(db: &TestDb, checks: &[Check]) {
    sqlx::query(
        "insert into target (key, name, url, interval_ms, timeout_ms, degraded_ms, expect_status, source)
         values ('a', 'a', 'http://example.org/a?x=1', 1000, 500, 500, '{200-299}', 'env'),
                ('b', 'b', 'http://example.org/b', 1000, 500, 500, '{200-299}', 'env')
         on conflict do nothing",
    )
    .execute(&db.pool)
    .await
    .unwrap();
    let days: Vec<_> = checks.iter().map(|check| check.slot.at().date_naive()).collect();
    if let (Some(first), Some(last)) = (days.iter().min(), days.iter().max()) {
        store::partitions::ensure(&db.pool, *first, *last).await.unwrap();
    }
    let mut connection = db.pool.acquire().await.unwrap();
    store::batches::write_checks(&mut connection, "test", checks).await.unwrap();
}
