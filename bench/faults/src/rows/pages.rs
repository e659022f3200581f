//! Pages that follow the api live.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use chrono::{DateTime, Utc};
use futures_util::future::join_all;
use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

use super::clients::{Open, is_let_go, watch_sockets};
use super::{Play, end};
use crate::ask::quantile_ms;
use crate::ground::{Ground, healthy};
use crate::table::Outcome;

/// Beside the first and the deaf one: a thousand are the most that an api lets in.
const PAGES: usize = 998;

/// What the pages hear: how old the newest check was in each message.
type Lags = Arc<Mutex<Vec<Duration>>>;

pub(super) async fn follow(play: &mut Play<'_>) -> anyhow::Result<Outcome> {
    let mut ground = Ground::new(play.cluster, &[healthy(100)]).await?;
    let url = play.cluster.url(&ground.database)?;
    let (api, port) = ground.api(&url).await?;
    let worker = ground.worker(&url)?;
    ground.rounds(5, &worker).await?;
    let lags = Lags::default();
    // A page that looks already: what the view itself costs is not a client's.
    let first = tokio::spawn(listen(open(port, None).await?, Arc::clone(&lags)));
    ground.pass(Duration::from_secs(5), &[&worker]).await;
    let before_kib = api.resident_kib();
    let (sockets, watching) = watch_sockets(port);
    let deaf = tokio::spawn(deafness(open(port, Some(4 * 1024)).await?, sockets));
    let pages = come(port, &lags).await?;
    ground.pass(Duration::from_secs(3), &[&worker]).await;
    lags.lock().unwrap_or_else(PoisonError::into_inner).clear();
    let mut most_kib = 0;
    for _ in 0..40 {
        ground.pass(Duration::from_millis(500), &[&worker]).await;
        most_kib = most_kib.max(api.resident_kib());
    }
    let heard = std::mem::take(&mut *lags.lock().unwrap_or_else(PoisonError::into_inner));
    let alive = pages.iter().filter(|page| !page.is_finished()).count();
    let dropped = if deaf.is_finished() { deaf.await?.as_secs_f64() } else { f64::INFINITY };

    watching.abort();

    // All at once go, and come again.
    for page in pages {
        page.abort();
        let _ = page.await;
    }
    let begun = Instant::now();
    let pages = come(port, &lags).await?;
    let storm = begun.elapsed().as_secs_f64();
    ground.pass(Duration::from_secs(3), &[&worker]).await;
    let again = pages.iter().filter(|page| !page.is_finished()).count();
    pages.iter().for_each(JoinHandle::abort);
    first.abort();
    api.stop().await?;

    let mut outcome = end(&mut ground, worker, None).await?;
    let each_kib = most_kib.saturating_sub(before_kib) as f64 / PAGES as f64;
    let [p50, p99] = [0.5, 0.99].map(|share| quantile_ms(&heard, share));
    outcome.within("memory a page, KiB", each_kib, 64.0);
    outcome.within("lag of the pages, p99 ms", p99, 1_000.0);
    outcome.must(&format!("all stay connected: {alive}, and then {again}"), alive == PAGES && again == PAGES);
    outcome.within("who reads nothing is dropped after s", dropped, 15.0);
    outcome.within("all come anew within s", storm, 10.0);
    outcome.note = format!(
        "{} pages and one that reads nothing, which was dropped after {:.0} s. {} messages, the newest check in each of them p50 {p50:.0} ms \
         and p99 {p99:.0} ms old; {each_kib:.1} KiB a page. Afterwards all came anew at once, the last had everything after {storm:.1} s.",
        PAGES + 1,
        dropped,
        heard.len(),
    );
    Ok(outcome)
}

type Page = WebSocketStream<TcpStream>;

/// A page that asks for the overview.
async fn open(port: u16, receives: Option<u32>) -> anyhow::Result<Page> {
    let socket = TcpSocket::new_v4()?;
    if let Some(size) = receives {
        socket.set_recv_buffer_size(size)?;
    }
    let stream = socket.connect(([127, 0, 0, 1], port).into()).await?;
    let (mut page, _) = client_async(format!("ws://127.0.0.1:{port}/api/v1/live"), stream).await?;
    page.send(Message::text(r#"{"subscribe":"overview"}"#)).await?;
    Ok(page)
}

/// Where there is no room yet, because those who went are still being let go, it tries again.
async fn open_patiently(port: u16) -> anyhow::Result<Page> {
    let begun = Instant::now();
    loop {
        match open(port, None).await {
            Err(_) if begun.elapsed() < Duration::from_secs(30) => {
                sleep(Duration::from_millis(rand::random_range(100..300))).await;
            }
            opened => return opened,
        }
    }
}

/// All but the deaf one come at once; they are there when the last has all there is to see.
async fn come(port: u16, lags: &Lags) -> anyhow::Result<Vec<JoinHandle<()>>> {
    let pages = join_all((0..PAGES).map(|_| {
        tokio::spawn(async move {
            let mut page = open_patiently(port).await?;
            while let Some(message) = page.next().await {
                if matches!(message?, Message::Text(text) if text.contains(r#""type":"snapshot""#)) {
                    return Ok(page);
                }
            }
            anyhow::bail!("it was hung up on before it saw anything")
        })
    }));
    let mut there = Vec::new();
    for page in timeout(Duration::from_secs(60), pages).await.context("the pages do not come")? {
        there.push(tokio::spawn(listen(page??, Arc::clone(lags))));
    }
    Ok(there)
}

/// Reads as a page does. What it takes to understand a message is no matter of the api.
async fn listen(mut page: Page, lags: Lags) {
    while let Some(Ok(message)) = page.next().await {
        let now = Utc::now();
        let Message::Text(text) = message else { continue };
        let newest = text.split(r#""newest_check":""#).nth(1).and_then(|rest| rest.split('"').next());
        let Some(Ok(newest)) = newest.map(str::parse::<DateTime<Utc>>) else { continue };
        let lag = (now - newest).to_std().unwrap_or_default();
        lags.lock().unwrap_or_else(PoisonError::into_inner).push(lag);
    }
}

/// Reads nothing; how long until it is hung up on.
async fn deafness(page: Page, mut sockets: Open) -> Duration {
    let begun = Instant::now();
    if let Ok(address) = page.get_ref().local_addr() {
        is_let_go(address.port(), &mut sockets).await;
    }
    begun.elapsed()
}
