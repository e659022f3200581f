//! What a Prometheus that runs can be asked.

use std::sync::Arc;

use reqwest::{Client, Url};
use serde_json::Value;

use crate::queries::Series;

/// Speaks http only, to this machine only.
pub(crate) fn client() -> Client {
    let tls = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    Client::builder().tls_backend_preconfigured(tls).no_proxy().build().unwrap()
}

/// A Prometheus, by its address.
pub(crate) struct Prometheus {
    client: Client,
    base: String,
}

impl Prometheus {
    pub(crate) fn new(addr: &str) -> Self {
        Self { client: client(), base: format!("http://{addr}/api/v1") }
    }

    /// The data of an answer, or why there is none.
    async fn ask(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Value, String> {
        let url = Url::parse_with_params(&format!("{}/{path}", self.base), parameters).unwrap();
        let mut answer: Value = self.client.get(url).send().await.unwrap().json().await.unwrap();
        match answer["status"].as_str() {
            Some("success") => Ok(answer["data"].take()),
            _ => Err(answer["error"].to_string()),
        }
    }

    /// The labels of every series of an instant query's result.
    pub(crate) async fn query(&self, query: &str) -> Result<Vec<Series>, String> {
        let data = self.ask("query", &[("query", query)]).await?;
        let results = data["result"].as_array().cloned().unwrap_or_default();
        Ok(results.into_iter().map(|mut one| serde_json::from_value(one["metric"].take()).unwrap()).collect())
    }

    /// Every series there is.
    pub(crate) async fn series(&self) -> Vec<Series> {
        let data = self.ask("series", &[("match[]", r#"{__name__!=""}"#)]).await.unwrap();
        serde_json::from_value(data).unwrap()
    }

    /// Job and address of everything that is scraped, and what went wrong with it last.
    pub(crate) async fn targets(&self) -> Vec<(String, String, Result<(), String>)> {
        let data = self.ask("targets", &[("state", "active")]).await.unwrap();
        let of = |target: &Value| {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let health = match text(&target["health"]).as_str() {
                "up" => Ok(()),
                other => Err(format!("{other} {}", text(&target["lastError"]))),
            };
            (text(&target["labels"]["job"]), text(&target["labels"]["instance"]), health)
        };
        data["activeTargets"].as_array().unwrap().iter().map(of).collect()
    }

    /// Labels of the alerts that fire.
    pub(crate) async fn firing(&self) -> Vec<Series> {
        let data = self.ask("alerts", &[]).await.unwrap();
        let alerts = data["alerts"].as_array().unwrap().iter().filter(|alert| alert["state"] == "firing");
        alerts.map(|alert| serde_json::from_value(alert["labels"].clone()).unwrap()).collect()
    }
}
