//! Whether our own network works: whoever can tell us is asked.

use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::future::select_ok;
use hickory_resolver::TokioResolver;
use hickory_resolver::net::{DnsError, NetError};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// Whoever does not answer within this is not there.
const PATIENCE: Duration = Duration::from_millis(1_500);

/// Name servers that did not know the world at the start may do so later.
const LEARN_EVERY: Duration = Duration::from_secs(60);

/// Nothing where our network works, and in words what does not where it does not.
pub type Sign = Option<String>;

/// Whoever knows whether our network works.
pub trait Reach: Send + Sync + 'static {
    /// Asks, for two seconds at most.
    fn ask(&self) -> impl Future<Output = Sign> + Send;

    /// Finds out, while all is well, how that looks.
    fn learn(&self) -> impl Future<Output = ()> + Send {
        async {}
    }

    /// Whether that it does not answer may say nothing about our network.
    fn may_be_wrong(&self) -> bool;
}

/// Whom to ask.
#[derive(Debug, Clone)]
pub enum Canaries {
    /// The name servers of this machine.
    NameServers(NameServers),
    /// Servers, as host and port: one that takes a connection, or refuses it, is enough.
    Servers(Arc<[String]>),
    /// Nobody: whatever fails is the target's fault.
    Nobody,
}

/// The name servers of this machine, asked for a name that nobody has.
#[derive(Debug, Clone, Default)]
pub struct NameServers {
    /// Made when it is first needed: it wants a runtime.
    resolver: Arc<OnceLock<Option<TokioResolver>>>,
    /// They have answered such a question before: where they do not know the world, they never do.
    trusted: Arc<AtomicBool>,
}

impl Canaries {
    /// As `CANARIES` says: nothing, `off`, or servers.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(raw: Option<&str>) -> Result<Self, String> {
        let Some(raw) = raw else { return Ok(Self::NameServers(NameServers::default())) };
        if raw.trim() == "off" {
            return Ok(Self::Nobody);
        }
        let servers: Vec<String> =
            raw.split([',', ' ', '\t', '\n']).filter(|part| !part.is_empty()).map(str::to_owned).collect();
        let is_server = |server: &String| {
            server
                .rsplit_once(':')
                .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|n| n > 0))
        };
        match servers.iter().find(|server| !is_server(server)) {
            Some(wrong) => Err(format!("{wrong:?} is no server like 192.0.2.1:443, nor off")),
            None if servers.is_empty() => Err("names no server".to_owned()),
            None => Ok(Self::Servers(servers.into())),
        }
    }
}

impl NameServers {
    async fn answer(&self) -> bool {
        let resolver = self.resolver.get_or_init(|| {
            let mut builder = TokioResolver::builder_tokio().ok()?;
            let options = builder.options_mut();
            (options.timeout, options.attempts, options.cache_size) = (PATIENCE / 2, 2, 0);
            builder.build().ok()
        });
        let Some(resolver) = resolver else { return false };
        // A top-level domain that nobody has, and a new one each time, so that no cache knows it.
        let name = format!("lookout{:016x}.", rand::random::<u64>());
        match timeout(PATIENCE, resolver.lookup_ip(name.as_str())).await {
            Ok(Ok(_)) | Ok(Err(NetError::Dns(DnsError::NoRecordsFound(_)))) => true,
            Ok(Err(_)) | Err(_) => false,
        }
    }
}

impl Reach for Canaries {
    async fn ask(&self) -> Sign {
        match self {
            Self::Nobody => None,
            Self::Servers(servers) => {
                let attempts = servers.iter().map(|server| Box::pin(touch(server)));
                match select_ok(attempts).await {
                    Ok(_) => None,
                    Err(()) => Some(format!("none of {} answers", servers.join(", "))),
                }
            }
            Self::NameServers(servers) => {
                if servers.answer().await {
                    servers.trusted.store(true, Ordering::Relaxed);
                    return None;
                }
                if !has_route() {
                    return Some("this machine has no route to anywhere".to_owned());
                }
                // Those of a closed network do not know the world; they prove nothing.
                servers
                    .trusted
                    .load(Ordering::Relaxed)
                    .then(|| "the name servers of this machine do not answer".to_owned())
            }
        }
    }

    async fn learn(&self) {
        while let Self::NameServers(servers) = self
            && !servers.trusted.load(Ordering::Relaxed)
        {
            let _ = self.ask().await;
            sleep(LEARN_EVERY).await;
        }
    }

    fn may_be_wrong(&self) -> bool {
        matches!(self, Self::Servers(_))
    }
}

async fn touch(server: &str) -> Result<(), ()> {
    match timeout(PATIENCE, TcpStream::connect(server)).await {
        Ok(Ok(_)) => Ok(()),
        // Somebody must have said so.
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => Ok(()),
        Ok(Err(_)) | Err(_) => Err(()),
    }
}

/// Whether packets to the world would leave by some door; none is sent. The addresses are for documents.
fn has_route() -> bool {
    let leads = |from: &str, to: &str| UdpSocket::bind(from).and_then(|socket| socket.connect(to)).is_ok();
    leads("0.0.0.0:0", "192.0.2.1:53") || leads("[::]:0", "[2001:db8::1]:53")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_server_is_named() {
        let problem = |raw: &str| Canaries::parse(Some(raw)).unwrap_err();
        assert_eq!(problem("192.0.2.1:443, here"), "\"here\" is no server like 192.0.2.1:443, nor off");
        assert_eq!(problem("host:0"), "\"host:0\" is no server like 192.0.2.1:443, nor off");
        assert_eq!(problem(" , "), "names no server");
        assert!(matches!(Canaries::parse(Some("a:1 [::1]:2")), Ok(Canaries::Servers(servers)) if servers.len() == 2));
        assert!(matches!(Canaries::parse(Some("off")), Ok(Canaries::Nobody)));
    }

    #[tokio::test]
    async fn one_server_that_answers_or_refuses_is_enough() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let open = listener.local_addr().unwrap().to_string();
        let servers = |list: &[&str]| Canaries::Servers(list.iter().map(|server| (*server).to_owned()).collect());
        assert_eq!(servers(&["no.such.invalid:1", &open]).ask().await, None);
        drop(listener);
        assert_eq!(servers(&[&open]).ask().await, None);
        assert_eq!(servers(&["no.such.invalid:1"]).ask().await.unwrap(), "none of no.such.invalid:1 answers");
    }
}
