//! The HTTP client of those who call something, by http only.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use rustls::{ClientConfig, RootCertStore};

/// A client that keeps connections and waits `patience` for an answer.
///
/// # Errors
/// None that is known; the client is built by others.
pub(crate) fn client(patience: Duration) -> anyhow::Result<reqwest::Client> {
    // Never used, as only http is called; the client insists on one.
    let tls = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let client = reqwest::Client::builder().tls_backend_preconfigured(tls).timeout(patience).no_proxy();
    client.build().context("cannot set up the HTTP client")
}
