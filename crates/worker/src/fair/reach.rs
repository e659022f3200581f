//! Whether our own network works: whoever can tell us is asked.

use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::future::select_ok;
use hickory_resolver::TokioResolver;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::rr::RecordType;
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

/// The name servers of this machine, asked for a name that nobody has, and for the root, which everybody knows.
#[derive(Debug, Clone, Default)]
pub struct NameServers {
    /// Made when it is first needed: it wants a runtime.
    resolver: Arc<OnceLock<Option<TokioResolver>>>,
    /// They have answered such a question before: where they do not know the world, they never do.
    trusted: Arc<AtomicBool>,
    /// They have told of the root before. Later on, those that do not say that nothing exists.
    knows_root: Arc<AtomicBool>,
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
    fn resolver(&self) -> Option<&TokioResolver> {
        let made = self.resolver.get_or_init(|| {
            let mut builder = TokioResolver::builder_tokio().ok()?;
            let options = builder.options_mut();
            (options.timeout, options.attempts, options.cache_size) = (PATIENCE / 2, 2, 0);
            builder.build().ok()
        });
        made.as_ref()
    }

    /// Whether they answer at all.
    async fn answer(&self) -> bool {
        let Some(resolver) = self.resolver() else { return false };
        // A top-level domain that nobody has, and a new one each time, so that no cache knows it.
        let name = format!("lookout{:016x}.", rand::random::<u64>());
        match timeout(PATIENCE, resolver.lookup_ip(name.as_str())).await {
            Ok(Ok(_)) | Ok(Err(NetError::Dns(DnsError::NoRecordsFound(_)))) => true,
            Ok(Err(_)) | Err(_) => false,
        }
    }

    /// Whether they know what there is. A hijacked one, or one that has lost its own, may say of every name
    /// that it does not exist.
    async fn know_root(&self) -> bool {
        let Some(resolver) = self.resolver() else { return false };
        matches!(timeout(PATIENCE, resolver.lookup(".", RecordType::NS)).await, Ok(Ok(found)) if !found.answers().is_empty())
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
                let (answer, know_root) = tokio::join!(servers.answer(), servers.know_root());
                servers.trusted.fetch_or(answer, Ordering::Relaxed);
                let knew_root = servers.knows_root.fetch_or(know_root, Ordering::Relaxed);
                if answer && knew_root && !know_root {
                    return Some("the name servers of this machine say that nothing exists".to_owned());
                }
                if answer {
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
            && !(servers.trusted.load(Ordering::Relaxed) && servers.knows_root.load(Ordering::Relaxed))
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
    use std::net::{IpAddr, Ipv4Addr};
    use std::sync::atomic::AtomicU8;

    use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
    use hickory_resolver::net::runtime::TokioRuntimeProvider;
    use hickory_resolver::proto::op::{Message, ResponseCode};
    use hickory_resolver::proto::rr::rdata::NS;
    use hickory_resolver::proto::rr::{Name, RData, Record};
    use tokio::net::UdpSocket;

    use super::*;

    const WELL: u8 = 0;
    const NOTHING_EXISTS: u8 = 1;
    const SILENT: u8 = 2;

    /// Name servers in a mood that may change.
    async fn name_servers(mood: &Arc<AtomicU8>) -> Canaries {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let mut connection = ConnectionConfig::udp();
        connection.port = socket.local_addr().unwrap().port();
        let server = NameServerConfig::new(IpAddr::V4(Ipv4Addr::LOCALHOST), true, vec![connection]);
        let mood = Arc::clone(mood);
        tokio::spawn(async move {
            let mut buffer = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
                let question = Message::from_vec(&buffer[..length]).unwrap();
                let query = question.queries[0].clone();
                let mood = mood.load(Ordering::Relaxed);
                let mut answer = question.into_response();
                if mood == SILENT {
                    continue;
                }
                if mood == WELL && query.query_type() == RecordType::NS {
                    let server = RData::NS(NS(Name::from_ascii("a.root-servers.net.").unwrap()));
                    answer.add_answer(Record::from_rdata(Name::root(), 60, server));
                } else {
                    answer.metadata.response_code = ResponseCode::NXDomain;
                }
                socket.send_to(&answer.to_vec().unwrap(), from).await.unwrap();
            }
        });
        let config = ResolverConfig::from_name_servers(vec![server]);
        let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        let options = builder.options_mut();
        (options.timeout, options.attempts, options.cache_size) = (Duration::from_millis(200), 1, 0);
        let servers = NameServers::default();
        assert!(servers.resolver.set(builder.build().ok()).is_ok());
        Canaries::NameServers(servers)
    }

    #[tokio::test]
    async fn name_servers_that_deny_everything_or_say_nothing_are_noticed_once_they_were_well() {
        let mood = Arc::new(AtomicU8::new(NOTHING_EXISTS));
        let canaries = name_servers(&mood).await;
        assert_eq!(canaries.ask().await, None, "those of a closed network may never know the world");
        mood.store(WELL, Ordering::Relaxed);
        assert_eq!(canaries.ask().await, None);
        mood.store(NOTHING_EXISTS, Ordering::Relaxed);
        assert!(canaries.ask().await.unwrap().contains("nothing exists"));
        mood.store(SILENT, Ordering::Relaxed);
        // A machine without a route says that instead.
        assert!(canaries.ask().await.is_some());
        mood.store(WELL, Ordering::Relaxed);
        assert_eq!(canaries.ask().await, None);
    }

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
