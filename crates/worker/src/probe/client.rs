//! The HTTP clients probes share: one that opens a connection for each request,
//! one that keeps them.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hickory_resolver::TokioResolver;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use rustls::client::Resumption;
use rustls::{ClientConfig, RootCertStore};
use tokio::time::Instant;
use tower::{Layer, Service};
use tracing::warn;

use super::trace::Trace;

/// Sends probes. Cheap to clone; clones share connections and the DNS cache.
#[derive(Debug, Clone)]
pub struct Prober {
    fresh: reqwest::Client,
    reuse: reqwest::Client,
}

/// Why no prober could be made.
#[derive(Debug, thiserror::Error)]
pub enum ProberError {
    /// The TLS set-up is unusable.
    #[error("cannot set up TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// The resolver configuration is unusable.
    #[error("cannot set up name lookup: {0}")]
    Resolver(String),
    /// The client is unusable.
    #[error("cannot set up the HTTP client: {0}")]
    Client(#[from] reqwest::Error),
}

impl Prober {
    /// A prober with this machine's resolver and root certificates
    /// (`SSL_CERT_FILE` and `SSL_CERT_DIR` replace the latter).
    ///
    /// # Errors
    /// [`ProberError`] says what this machine lacks.
    pub fn new() -> Result<Self, ProberError> {
        Self::trusting(machine_roots())
    }

    /// A prober that trusts these certificates and no others.
    ///
    /// # Errors
    /// [`ProberError`] says what this machine lacks.
    pub fn trusting(roots: RootCertStore) -> Result<Self, ProberError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut fresh_tls = tls.clone();
        // A first visit has no session to resume.
        fresh_tls.resumption = Resumption::disabled();

        let resolver = resolver()?;
        let builder = |tls: ClientConfig| {
            reqwest::Client::builder()
                .tls_backend_preconfigured(tls)
                .dns_resolver(Arc::new(Lookup(resolver.clone())))
                .connector_layer(TimedLayer)
                .redirect(reqwest::redirect::Policy::none())
                .retry(reqwest::retry::never())
                .http1_only()
                .no_proxy()
                .referer(false)
        };
        Ok(Self {
            fresh: builder(fresh_tls).pool_max_idle_per_host(0).build()?,
            reuse: builder(tls).pool_max_idle_per_host(8).build()?,
        })
    }

    pub(super) fn client(&self, connection: common::Connection) -> &reqwest::Client {
        match connection {
            common::Connection::Fresh => &self.fresh,
            common::Connection::Reuse => &self.reuse,
        }
    }
}

/// The certificates of this machine, or the bundled ones where it has none (a slim container).
fn machine_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let native = rustls_native_certs::load_native_certs();
    for error in &native.errors {
        warn!("a root certificate could not be read: {error}");
    }
    roots.add_parsable_certificates(native.certs);
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    roots
}

/// Our own resolver, because the system's blocks a thread for each lookup.
/// Answers are cached for as long as their TTL says.
fn resolver() -> Result<Arc<TokioResolver>, ProberError> {
    let mut builder = TokioResolver::builder_tokio().map_err(|error| ProberError::Resolver(error.to_string()))?;
    builder.options_mut().ip_strategy = hickory_resolver::config::LookupIpStrategy::Ipv4AndIpv6;
    Ok(Arc::new(builder.build().map_err(|error| ProberError::Resolver(error.to_string()))?))
}

/// The name did not resolve.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub(super) struct LookupError {
    reason: String,
    /// We could not even ask: no socket, no name server.
    pub(super) is_ours: bool,
}

impl From<NetError> for LookupError {
    fn from(error: NetError) -> Self {
        let reason = match &error {
            NetError::Dns(DnsError::NoRecordsFound(found)) if found.response_code == ResponseCode::NXDomain => {
                "there is no such name".to_owned()
            }
            NetError::Dns(DnsError::NoRecordsFound(_)) => "the name has no address".to_owned(),
            NetError::Dns(DnsError::ResponseCode(code)) => format!("the name server answered {code}"),
            other => other.to_string(),
        };
        Self { reason, is_ours: matches!(error, NetError::Io(_) | NetError::NoConnections | NetError::Busy) }
    }
}

struct Lookup(Arc<TokioResolver>);

impl Resolve for Lookup {
    fn resolve(&self, name: Name) -> Resolving {
        let resolver = Arc::clone(&self.0);
        Box::pin(async move {
            let begun = Instant::now();
            let trace = Trace::current();
            if let Some(trace) = &trace {
                trace.looks_up(begun);
            }
            let found = resolver.lookup_ip(name.as_str()).await;
            if let Some(trace) = &trace {
                trace.looked_up(begun.elapsed());
            }
            let found = found.map_err(LookupError::from)?;
            // The port is the client's to fill in.
            let addresses: Vec<SocketAddr> = found.iter().map(|ip| SocketAddr::new(ip, 0)).collect();
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

/// Times the connector: everything from the first operation to an open connection.
#[derive(Debug, Clone)]
struct TimedLayer;

impl<S> Layer<S> for TimedLayer {
    type Service = Timed<S>;

    fn layer(&self, inner: S) -> Timed<S> {
        Timed(inner)
    }
}

#[derive(Debug, Clone)]
struct Timed<S>(S);

impl<S, R> Service<R> for Timed<S>
where
    S: Service<R>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: R) -> Self::Future {
        let connect = self.0.call(request);
        Box::pin(async move {
            let Some(trace) = Trace::current() else { return connect.await };
            let begun = Instant::now();
            trace.begins(begun);
            let dns_before = trace.dns();
            let connection = connect.await?;
            let now = Instant::now();
            let looking_up = trace.dns().saturating_sub(dns_before);
            trace.connected(now, now.duration_since(begun).saturating_sub(looking_up));
            Ok(connection)
        })
    }
}
