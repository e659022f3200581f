//! Yardsticks: loops that make requests and do nothing else, 64 in flight, on one thread.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::machine;

const IN_FLIGHT: usize = 64;

/// Which bare loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kind {
    pub(crate) library: &'static str,
    pub(crate) keeps: bool,
}

pub(crate) const KINDS: [Kind; 6] = [
    Kind { library: "reqwest", keeps: false },
    Kind { library: "hyper", keeps: false },
    Kind { library: "raw", keeps: false },
    Kind { library: "reqwest", keeps: true },
    Kind { library: "hyper", keeps: true },
    Kind { library: "raw", keeps: true },
];

/// What a loop did.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Made {
    requests: u64,
    cpu_s: f64,
}

impl Made {
    pub(crate) fn per_cpu_second(&self) -> f64 {
        self.requests as f64 / self.cpu_s
    }
}

/// Runs a loop as a process of its own.
pub(crate) fn measure(kind: Kind, time: Duration, ports: &[u16]) -> anyhow::Result<Made> {
    let keeps = if kind.keeps { "keep" } else { "fresh" };
    let output = std::process::Command::new(std::env::current_exe()?)
        .args(["client", kind.library, keeps, &time.as_millis().to_string(), &serde_json::to_string(ports)?])
        .output()?;
    serde_json::from_slice(&output.stdout)
        .with_context(|| format!("{}: {}", kind.library, String::from_utf8_lossy(&output.stderr)))
}

/// What such a process does.
pub(crate) fn run(library: &str, keeps: &str, millis: &str, ports: &str) -> anyhow::Result<()> {
    machine::pin(machine::MEASURED);
    let (keeps, time) = (keeps == "keep", Duration::from_millis(millis.parse()?));
    let ports: Arc<[u16]> = serde_json::from_str::<Vec<u16>>(ports)?.into();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let pid = std::process::id();
    let made = runtime.block_on(async {
        let client = (library == "reqwest").then(|| reqwest_client(keeps)).transpose()?;
        let (cpu, end) = (machine::cpu(pid)?, Instant::now() + time);
        let mut tasks = Vec::new();
        for n in 0..IN_FLIGHT {
            let ports = Arc::clone(&ports);
            tasks.push(match library {
                "reqwest" => tokio::spawn(through_reqwest(client.clone().context("no client")?, keeps, ports, n, end)),
                "hyper" => tokio::spawn(through_hyper(keeps, ports, n, end)),
                "raw" => tokio::spawn(through_socket(keeps, ports, n, end)),
                other => bail!("no loop is called {other}"),
            });
        }
        let mut requests = 0;
        for task in tasks {
            requests += task.await??;
        }
        let cpu_s = (machine::cpu(pid)? - cpu).as_secs_f64();
        anyhow::Ok(Made { requests, cpu_s })
    })?;
    println!("{}", serde_json::to_string(&made)?);
    Ok(())
}

pub(crate) fn reqwest_client(keeps: bool) -> anyhow::Result<reqwest::Client> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let builder = reqwest::Client::builder().tls_backend_preconfigured(tls).no_proxy();
    Ok(builder.pool_max_idle_per_host(if keeps { IN_FLIGHT } else { 0 }).build()?)
}

async fn through_reqwest(
    client: reqwest::Client,
    keeps: bool,
    ports: Arc<[u16]>,
    mut n: usize,
    end: Instant,
) -> anyhow::Result<u64> {
    let mut requests = 0;
    while Instant::now() < end {
        let mut request = client.get(format!("http://127.0.0.1:{}/t/{n}", ports[n % ports.len()]));
        if !keeps {
            request = request.header("connection", "close");
        }
        let answer = request.send().await?;
        if answer.bytes().await?.len() != 3 {
            bail!("another body");
        }
        requests += 1;
        n += IN_FLIGHT;
    }
    Ok(requests)
}

async fn through_hyper(keeps: bool, ports: Arc<[u16]>, mut n: usize, end: Instant) -> anyhow::Result<u64> {
    async fn connect(port: u16) -> anyhow::Result<SendRequest<Empty<Bytes>>> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(sender)
    }
    let mut requests = 0;
    let mut kept = None;
    while Instant::now() < end {
        let port = ports[n % ports.len()];
        let mut sender = match kept.take() {
            Some(sender) => sender,
            None => connect(port).await?,
        };
        let request = hyper::Request::get(format!("/t/{n}")).header("host", format!("127.0.0.1:{port}"));
        let request = if keeps { request } else { request.header("connection", "close") };
        let answer = sender.send_request(request.body(Empty::new())?).await?;
        if answer.into_body().collect().await?.to_bytes().len() != 3 {
            bail!("another body");
        }
        if keeps {
            sender.ready().await?;
            kept = Some(sender);
        } else {
            n += IN_FLIGHT;
        }
        requests += 1;
    }
    Ok(requests)
}

async fn through_socket(keeps: bool, ports: Arc<[u16]>, mut n: usize, end: Instant) -> anyhow::Result<u64> {
    let mut requests = 0;
    let mut kept = None;
    let mut buffer = [0; 1024];
    while Instant::now() < end {
        let port = ports[n % ports.len()];
        let mut stream = match kept.take() {
            Some(stream) => stream,
            None => {
                let stream = TcpStream::connect(("127.0.0.1", port)).await?;
                stream.set_nodelay(true)?;
                stream
            }
        };
        let close = if keeps { "" } else { "connection: close\r\n" };
        stream.write_all(format!("GET /t/{n} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n{close}\r\n").as_bytes()).await?;
        let mut read = 0;
        while !buffer[..read].ends_with(b"ok\n") {
            let more = stream.read(&mut buffer[read..]).await?;
            if more == 0 {
                bail!("half an answer");
            }
            read += more;
        }
        if keeps {
            kept = Some(stream);
        } else {
            n += IN_FLIGHT;
        }
        requests += 1;
    }
    Ok(requests)
}
