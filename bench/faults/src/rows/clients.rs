//! Clients of the api that take their time.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::{Play, end, not_here};
use crate::ask::{Regular, quantile_ms};
use crate::ground::{Ground, TOKEN, healthy};
use crate::running::Running;
use crate::table::Outcome;

/// What a client does with its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// A letter of a head each second.
    Head,
    /// A letter of a body each second.
    Body,
    /// Nothing at all.
    Silent,
    /// A question, and then nothing.
    Idle,
    /// A question with a long answer, and reads none of it.
    Deaf,
}

/// So many of each: five thousand.
const CLIENTS: [(Manner, usize); 5] =
    [(Manner::Head, 1_500), (Manner::Body, 1_000), (Manner::Silent, 1_200), (Manner::Idle, 1_200), (Manner::Deaf, 100)];

const ALL: usize = 5_000;

/// Whoever is hung up on comes again for so long.
const SIEGE: Duration = Duration::from_secs(20);

const CLOSED_S: f64 = 15.0;

const PATHS: &[&str] = &["/api/v1/overview", "/api/v1/summary?window=5m", "/status?limit=100", "/healthz"];

pub(super) async fn dawdle(play: &mut Play<'_>) -> anyhow::Result<Outcome> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let wanted = ALL as u64 + 500;
    if maximum.is_some_and(|maximum| maximum < 2 * wanted + 1_500) {
        return Err(not_here("five thousand connections take more descriptors than are allowed"));
    }
    setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum })?;
    let mut ground = Ground::new(play.cluster, &[healthy(200)]).await?;
    let url = play.cluster.url(&ground.database)?;
    let (api, port) = ground.api(&url).await?;
    let worker = ground.worker(&url)?;
    ground.rounds(5, &worker).await?;
    let people: Vec<_> = (0..4).map(|_| Regular::start(port, PATHS, Duration::from_millis(20))).collect();
    let baseline = listen(&mut ground, &worker, &people, Duration::from_secs(10), &api).await;
    let before = (api.descriptors(), api.resident_kib());

    let begun = Instant::now();
    let clients = CLIENTS.iter().flat_map(|(manner, count)| std::iter::repeat_n(*manner, *count));
    let (open, watching) = watch_sockets(port);
    let clients: Vec<_> = clients.map(|manner| tokio::spawn(come_again(port, manner, begun, open.clone()))).collect();
    let siege = listen(&mut ground, &worker, &people, Duration::from_secs(40), &api).await;
    let mut visits = Vec::new();
    for client in join_all(clients).await {
        visits.extend(client?);
    }
    watching.abort();
    sleep(Duration::from_secs(2)).await;
    let after = api.descriptors();
    drop(people);
    api.stop().await?;

    let mut outcome = end(&mut ground, worker, None).await?;
    let closed = visits.iter().map(|(_, time)| *time).max().unwrap_or_default().as_secs_f64();
    outcome.within("closed after s", closed, CLOSED_S);
    outcome.must(&format!("others are answered, and not {:?}", siege.errors), siege.errors.is_empty());
    outcome.must(
        &format!("p99 of the others {:.1} ms is at most twice {:.1} ms", siege.p99_ms, baseline.p99_ms),
        siege.p99_ms <= 2.0 * baseline.p99_ms,
    );
    // Two for each connection.
    outcome.within("descriptors", siege.descriptors as f64, (before.0 + 2 * ALL + 200) as f64);
    outcome.within("descriptors afterwards", after as f64, before.0 as f64 + 20.0);
    outcome.note = format!(
        "{} connections, five thousand at once for {} s: closed after {closed:.1} s at most. {} questions of others meanwhile, p50 {:.1} ms and p99 {:.1} ms, without them {:.1} and {:.1} ms. The api had at most {} descriptors, \
         {} afterwards, and {:.0} MB, {:.0} before.",
        visits.len(),
        SIEGE.as_secs(),
        siege.answered,
        siege.p50_ms,
        siege.p99_ms,
        baseline.p50_ms,
        baseline.p99_ms,
        siege.descriptors,
        after,
        siege.resident_kib as f64 / 1024.0,
        before.1 as f64 / 1024.0,
    );
    Ok(outcome)
}

/// How the others fared for a while.
struct Fared {
    answered: usize,
    errors: Vec<String>,
    p50_ms: f64,
    p99_ms: f64,
    descriptors: usize,
    resident_kib: u64,
}

async fn listen(ground: &mut Ground, worker: &Running, people: &[Regular], time: Duration, api: &Running) -> Fared {
    people.iter().for_each(|one| drop(one.take()));
    let until = Instant::now() + time;
    let (mut descriptors, mut resident_kib) = (0, 0);
    while Instant::now() < until {
        ground.pass(Duration::from_millis(500), &[worker]).await;
        descriptors = descriptors.max(api.descriptors());
        resident_kib = resident_kib.max(api.resident_kib());
    }
    let (mut times, mut errors) = (Vec::new(), Vec::new());
    for one in people {
        let mut heard = one.take();
        times.append(&mut heard.times);
        errors.append(&mut heard.errors);
    }
    errors.truncate(3);
    let of = |share| quantile_ms(&times, share);
    Fared { answered: times.len(), errors, p50_ms: of(0.5), p99_ms: of(0.99), descriptors, resident_kib }
}

/// Ports of clients whose connection the api has open.
pub(super) type Open = watch::Receiver<BTreeSet<u16>>;

/// Looks every half second.
pub(super) fn watch_sockets(port: u16) -> (Open, JoinHandle<()>) {
    let (sender, receiver) = watch::channel(BTreeSet::new());
    let task = tokio::spawn(async move {
        loop {
            let table = std::fs::read_to_string("/proc/net/tcp").unwrap_or_default();
            let open = table.lines().filter_map(|line| {
                let mut fields = line.split_whitespace().skip(1);
                let (here, there, state) = (fields.next()?, fields.next()?, fields.next()?);
                let number = |address: &str| u16::from_str_radix(address.rsplit(':').next()?, 16).ok();
                // Established, or closed by the client alone.
                (number(here)? == port && matches!(state, "01" | "08")).then(|| number(there))?
            });
            let _ = sender.send(open.collect());
            sleep(Duration::from_millis(500)).await;
        }
    });
    (receiver, task)
}

/// Connects, again and again while the siege lasts; how long until each connection was closed by the other side.
async fn come_again(port: u16, manner: Manner, begun: Instant, open: Open) -> Vec<(Manner, Duration)> {
    let mut visits = Vec::new();
    loop {
        match visit(port, manner, open.clone()).await {
            Ok(time) => visits.push((manner, time)),
            // No room to come in, or thrown out before a word.
            Err(_) => sleep(Duration::from_millis(200)).await,
        }
        if begun.elapsed() > SIEGE {
            return visits;
        }
    }
}

async fn visit(port: u16, manner: Manner, mut open: Open) -> std::io::Result<Duration> {
    let socket = TcpSocket::new_v4()?;
    if manner == Manner::Deaf {
        socket.set_recv_buffer_size(4 * 1024)?;
    }
    let mut stream = socket.connect(([127, 0, 0, 1], port).into()).await?;
    let begun = Instant::now();
    let auth = format!("authorization: Bearer {TOKEN}\r\n");
    let said = match manner {
        Manner::Head => "GET /healthz HTTP/1.1\r\nhost: localhost\r\nx-slow: ".to_owned(),
        Manner::Body => format!(
            "POST /api/v1/events HTTP/1.1\r\nhost: localhost\r\n{auth}content-type: application/x-ndjson\r\ncontent-length: 1000\r\n\r\n"
        ),
        Manner::Silent => String::new(),
        Manner::Idle => "GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n".to_owned(),
        Manner::Deaf => format!("GET /status HTTP/1.1\r\nhost: localhost\r\n{auth}\r\n"),
    };
    stream.write_all(said.as_bytes()).await?;
    let dribbles = matches!(manner, Manner::Head | Manner::Body);
    if manner == Manner::Deaf {
        let _ = timeout(Duration::from_secs(60), is_let_go(stream.local_addr()?.port(), &mut open)).await;
        return Ok(begun.elapsed());
    }
    until_closed(&mut stream, dribbles).await;
    Ok(begun.elapsed())
}

/// Waits until the api has closed the connection of one that does not read: to that one the end
/// does not come, it would be behind all that is not read.
pub(super) async fn is_let_go(port: u16, open: &mut Open) {
    sleep(Duration::from_secs(2)).await;
    let _ = open.wait_for(|open| !open.contains(&port)).await;
}

async fn until_closed(stream: &mut TcpStream, dribbles: bool) {
    let mut buffer = [0; 1024];
    loop {
        match timeout(Duration::from_secs(1), stream.read(&mut buffer)).await {
            Ok(Ok(0) | Err(_)) => return,
            Ok(Ok(_)) => {}
            Err(_) if dribbles && stream.write_all(b"x").await.is_err() => return,
            Err(_) => {}
        }
    }
}
