//! The HTTP clients probes share: one that opens a connection for each request,
//! one that keeps them.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use common::{Connection, Denied, Reach, Source};
use hickory_resolver::TokioResolver;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hyper_util::client::legacy::connect::{Connection as Connected, HttpInfo};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use rustls::client::Resumption;
use rustls::{ClientConfig, RootCertStore};
use tokio::time::Instant;
use tower::{Layer, Service};
use tracing::warn;
use url::Url;

use super::floods::{Ends, Floods};
use super::trace::Trace;

/// Sends probes. Cheap to clone; clones share connections and the DNS cache.
#[derive(Debug, Clone)]
pub struct Prober(Arc<Sources>);

/// What targets are probed with, by where they come from.
#[derive(Debug)]
struct Sources {
    own: Clients,
    /// For targets that were made over the API. They share no connection with the others: one that
    /// is kept may lead where they do not go.
    api: Clients,
    roots: Arc<RootCertStore>,
    floods: Arc<Floods>,
}

/// What probes with the same [`Reach`] share.
#[derive(Debug)]
pub(super) struct Clients {
    reach: Reach,
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
        Self::reaching(Reach::default())
    }

    /// Like [`Prober::new`], with targets of the API reaching so far.
    ///
    /// # Errors
    /// [`ProberError`] says what this machine lacks.
    pub fn reaching(api_targets: Reach) -> Result<Self, ProberError> {
        Self::build(Arc::new(machine_roots()), api_targets)
    }

    /// A prober that trusts these certificates and no others.
    ///
    /// # Errors
    /// [`ProberError`] says what this machine lacks.
    pub fn trusting(roots: RootCertStore) -> Result<Self, ProberError> {
        Self::build(Arc::new(roots), Reach::default())
    }

    /// Another that trusts and reaches the same, and shares nothing that needs the runtime of this one.
    pub(super) fn another(&self) -> Result<Self, ProberError> {
        Self::resolving(Arc::clone(&self.0.roots), self.0.api.reach, &resolver()?, Arc::clone(&self.0.floods))
    }

    fn build(roots: Arc<RootCertStore>, api_targets: Reach) -> Result<Self, ProberError> {
        Self::resolving(roots, api_targets, &resolver()?, Arc::default())
    }

    fn resolving(
        roots: Arc<RootCertStore>,
        api_targets: Reach,
        resolver: &Arc<TokioResolver>,
        floods: Arc<Floods>,
    ) -> Result<Self, ProberError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(Arc::clone(&roots))
            .with_no_client_auth();
        let mut fresh_tls = tls.clone();
        // A first visit has no session to resume.
        fresh_tls.resumption = Resumption::disabled();

        let builder = |tls: &ClientConfig, reach, is_kept| {
            reqwest::Client::builder()
                .tls_backend_preconfigured(tls.clone())
                .dns_resolver(Arc::new(Lookup(Arc::clone(resolver), reach)))
                .connector_layer(TimedLayer(Arc::clone(&floods), is_kept))
                .redirect(reqwest::redirect::Policy::none())
                .retry(reqwest::retry::never())
                .http1_only()
                .no_proxy()
                .referer(false)
        };
        let clients = |reach| -> Result<Clients, ProberError> {
            // A connection for one request is gone before anybody would miss a sign of life, and
            // each of these options costs a call to the kernel.
            let fresh = builder(&fresh_tls, reach, false)
                .pool_max_idle_per_host(0)
                .tcp_keepalive(None)
                .tcp_keepalive_interval(None)
                .tcp_keepalive_retries(None)
                .build()?;
            // Many targets of one server are under way at once. Those that find no room open a
            // connection for each request after all.
            let reuse = builder(&tls, reach, true).pool_max_idle_per_host(128).build()?;
            Ok(Clients { reach, fresh, reuse })
        };
        Ok(Self(Arc::new(Sources { own: clients(Reach::Any)?, api: clients(api_targets)?, roots, floods })))
    }

    pub(super) fn floods(&self) -> &Floods {
        &self.0.floods
    }

    /// What targets of this source are probed with.
    pub(super) fn clients(&self, source: Source) -> &Clients {
        match source {
            Source::Api => &self.0.api,
            Source::Env | Source::File => &self.0.own,
        }
    }
}

impl Clients {
    /// The client for a hop to this URL. An address in it is never looked up, so it is judged here.
    pub(super) fn client(&self, connection: Connection, url: &Url) -> Result<&reqwest::Client, Denied> {
        self.reach.allows_url(url)?;
        Ok(match connection {
            Connection::Fresh => &self.fresh,
            Connection::Reuse => &self.reuse,
        })
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
    /// We could not even ask, for want of a socket or a name server; or we do not go there.
    pub(super) is_ours: bool,
}

impl From<Denied> for LookupError {
    fn from(denied: Denied) -> Self {
        Self { reason: denied.to_string(), is_ours: true }
    }
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

/// Looks names up, and hands out only addresses that may be gone to: the socket goes to one of these.
struct Lookup(Arc<TokioResolver>, Reach);

impl Resolve for Lookup {
    fn resolve(&self, name: Name) -> Resolving {
        let Self(resolver, reach) = self;
        let (resolver, reach) = (Arc::clone(resolver), *reach);
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
            let (mut addresses, mut denied) = (Vec::new(), None);
            for ip in found.iter() {
                match reach.allows(ip) {
                    // The port is the client's to fill in.
                    Ok(()) => addresses.push(SocketAddr::new(ip, 0)),
                    Err(error) => denied = Some(error),
                }
            }
            if let Some(denied) = denied.filter(|_| addresses.is_empty()) {
                return Err(LookupError::from(denied).into());
            }
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

/// Times the connector: everything from the first operation to an open connection. Such a connection may be kept.
#[derive(Debug, Clone)]
struct TimedLayer(Arc<Floods>, bool);

impl<S> Layer<S> for TimedLayer {
    type Service = Timed<S>;

    fn layer(&self, inner: S) -> Timed<S> {
        Timed(inner, Arc::clone(&self.0), self.1)
    }
}

#[derive(Debug, Clone)]
struct Timed<S>(S, Arc<Floods>, bool);

impl<S, R> Service<R> for Timed<S>
where
    S: Service<R>,
    S::Response: Connected,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: R) -> Self::Future {
        let (connect, floods, is_kept) = (self.0.call(request), Arc::clone(&self.1), self.2);
        Box::pin(async move {
            let Some(trace) = Trace::current() else { return connect.await };
            let begun = Instant::now();
            trace.begins(begun);
            let dns_before = trace.dns();
            let connection = connect.await?;
            let now = Instant::now();
            let looking_up = trace.dns().saturating_sub(dns_before);
            trace.connected(now, now.duration_since(begun).saturating_sub(looking_up));
            let mut told = http::Extensions::new();
            connection.connected().get_extras(&mut told);
            if let Some(ends) = ends(&told) {
                floods.connected(&trace, ends, is_kept);
            }
            Ok(connection)
        })
    }
}

/// Where a connection leads from and to, by what the client tells of it.
pub(super) fn ends(told: &http::Extensions) -> Option<Ends> {
    told.get::<HttpInfo>().map(|info| (info.local_addr(), info.remote_addr()))
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};
    use std::sync::atomic::{AtomicUsize, Ordering};

    use common::{Outcome, TargetSpec, TargetUrl};
    use hickory_resolver::config::{ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolverConfig};
    use hickory_resolver::net::runtime::TokioRuntimeProvider;
    use hickory_resolver::proto::op::Message;
    use hickory_resolver::proto::rr::rdata::A;
    use hickory_resolver::proto::rr::{RData, Record, RecordType};
    use tokio::net::{TcpListener, UdpSocket};

    use super::super::Prepared;
    use super::*;

    const PUBLIC: Ipv4Addr = Ipv4Addr::new(1, 1, 1, 1);
    const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;

    /// Resolves every name to the first of `answers`, the next time to the second, and so on; then to the last.
    async fn resolving_to(answers: Vec<Vec<Ipv4Addr>>) -> Arc<TokioResolver> {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let mut connection = ConnectionConfig::udp();
        connection.port = socket.local_addr().unwrap().port();
        let server = NameServerConfig::new(IpAddr::V4(HERE), true, vec![connection]);
        let asked = AtomicUsize::new(0);
        tokio::spawn(async move {
            let mut buffer = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
                let question = Message::from_vec(&buffer[..length]).unwrap();
                let query = question.queries[0].clone();
                let mut answer = question.into_response();
                if query.query_type() == RecordType::A {
                    let time = asked.fetch_add(1, Ordering::Relaxed).min(answers.len() - 1);
                    for address in &answers[time] {
                        answer.add_answer(Record::from_rdata(query.name().clone(), 0, RData::A(A(*address))));
                    }
                }
                socket.send_to(&answer.to_vec().unwrap(), from).await.unwrap();
            }
        });
        let config = ResolverConfig::from_name_servers(vec![server]);
        let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        builder.options_mut().ip_strategy = LookupIpStrategy::Ipv4Only;
        Arc::new(builder.build().unwrap())
    }

    async fn look_up(lookup: &Lookup) -> Result<Vec<IpAddr>, String> {
        let found = lookup.resolve("rebind.example.".parse().unwrap()).await;
        found.map(|found| found.map(|address| address.ip()).collect()).map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn a_name_that_turns_to_a_private_address_is_not_followed_there() {
        let resolver = resolving_to(vec![vec![PUBLIC], vec![HERE], vec![HERE, PUBLIC]]).await;
        let lookup = Lookup(resolver, Reach::PublicOnly);
        assert_eq!(look_up(&lookup).await.unwrap(), [PUBLIC]);
        let denied = look_up(&lookup).await.unwrap_err();
        assert!(denied.contains("127.0.0.1 is not public"), "{denied}");
        assert_eq!(look_up(&lookup).await.unwrap(), [PUBLIC], "of several addresses only those it may go to");
    }

    #[tokio::test]
    async fn a_target_of_the_api_whose_name_means_this_machine_is_unknown_and_nobody_connects() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://inside.example:{}/", listener.local_addr().unwrap().port());
        let url = TargetUrl::parse(&url).unwrap();
        let resolver = resolving_to(vec![vec![HERE]]).await;
        let prober =
            Prober::resolving(Arc::new(machine_roots()), Reach::PublicOnly, &resolver, Arc::default()).unwrap();
        for connection in [Connection::Fresh, Connection::Reuse] {
            let target = TargetSpec { source: Source::Api, connection, ..TargetSpec::new("inside", url.clone()) };
            let probed = prober.check(&Prepared::new(&target)).await;
            assert_eq!(probed.outcome, Outcome::Unknown);
            assert!(probed.detail.as_deref().unwrap().contains("API_TARGETS=any"), "{probed:?}");
        }
        let nobody = tokio::time::timeout(std::time::Duration::from_millis(1), listener.accept()).await;
        assert!(nobody.is_err());
    }
}
