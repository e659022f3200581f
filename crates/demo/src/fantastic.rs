//! The service lookout watches when nothing is configured.
//!
//! `GET /` answers `fantastic!`, and about every fourth time it fails the way a
//! real back end does: 500 and a page of things nobody asked for. One random
//! generator decides, in the order in which requests arrive, so the same seed
//! gives the same answers.

mod failure;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clap::Args;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::http::{Connection, JSON, Next, Request, TEXT};
use crate::listen;

/// Where the service listens and how well it works.
#[derive(Debug, Clone, Args)]
pub struct FantasticArgs {
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1")]
    pub host: String,

    /// Port to listen on, 0 for any free one
    #[arg(long, default_value_t = 12345)]
    pub port: u16,

    /// Share of requests that are answered with an error, from 0 to 1
    #[arg(long, default_value_t = 0.25, value_name = "SHARE", value_parser = share)]
    pub fail: f64,

    /// Share of requests that are never answered, from 0 to 1
    #[arg(long, default_value_t = 0.0, value_name = "SHARE", value_parser = share)]
    pub hang: f64,

    /// How long every answer takes, such as 500ms or 1s
    #[arg(long, default_value = "0ms", value_name = "TIME", value_parser = humantime::parse_duration)]
    pub delay: Duration,

    /// Start of the random numbers: the same seed gives the same answers in the same order
    #[arg(long, value_name = "NUMBER")]
    pub seed: Option<u64>,
}

/// The defaults of the command line.
impl Default for FantasticArgs {
    fn default() -> Self {
        Self { host: "127.0.0.1".to_owned(), port: 12345, fail: 0.25, hang: 0.0, delay: Duration::ZERO, seed: None }
    }
}

/// Reads a share of requests.
pub(crate) fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("a share is a number from 0 to 1, such as 0.25".to_owned()),
    }
}

/// Takes the address, so that a client may connect from now on; [`Fantastic::run`]
/// answers.
///
/// # Errors
/// The address is in use or not of this machine; the error names it and the cause.
/// A share outside 0 to 1 is an error too.
pub async fn bind(args: &FantasticArgs) -> anyhow::Result<Fantastic> {
    for (name, value) in [("fail", args.fail), ("hang", args.hang)] {
        anyhow::ensure!((0.0..=1.0).contains(&value), "`{name}` is {value}, but a share is a number from 0 to 1");
    }
    let listener = listen::listen(&args.host, args.port).await?;
    let seed = args.seed.unwrap_or_else(|| u64::from(rand::random::<u32>()));
    Ok(Fantastic {
        addr: listener.local_addr()?,
        listener,
        seed,
        behaviour: Behaviour {
            fail: args.fail,
            hang: args.hang,
            delay: args.delay,
            random: Mutex::new(StdRng::seed_from_u64(seed)),
        },
    })
}

/// The service, listening but not answering yet.
#[derive(Debug)]
pub struct Fantastic {
    listener: TcpListener,
    addr: SocketAddr,
    seed: u64,
    behaviour: Behaviour,
}

impl Fantastic {
    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The seed it was given, or the one it chose.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Answers until `stop` is cancelled, then drops every connection.
    ///
    /// # Errors
    /// None today: a connection that breaks ends alone.
    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        let behaviour = Arc::new(self.behaviour);
        let serving = listen::accept(self.listener, |stream| serve(stream, Arc::clone(&behaviour)));
        stop.run_until_cancelled(serving).await;
        Ok(())
    }
}

#[derive(Debug)]
struct Behaviour {
    fail: f64,
    hang: f64,
    delay: Duration,
    /// Locked for a few draws, never across an await.
    random: Mutex<StdRng>,
}

/// What one request to `/` gets.
enum Answer {
    Fantastic,
    Failure(String),
    Nothing,
}

impl Behaviour {
    /// Decides about the next request.
    fn next(&self) -> Answer {
        let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
        // All numbers are drawn every time: then the third answer of a seed does
        // not depend on what the first two turned out to be.
        let hangs = random.random_bool(self.hang);
        let fails = random.random_bool(self.fail);
        let story: u64 = random.random();
        match (hangs, fails) {
            (true, _) => Answer::Nothing,
            (false, true) => Answer::Failure(failure::tell(story)),
            (false, false) => Answer::Fantastic,
        }
    }
}

async fn serve(stream: TcpStream, behaviour: Arc<Behaviour>) {
    let mut connection = Connection::new(stream);
    let mut request = Request::default();
    while let Ok(true) = connection.read_head(&mut request).await {
        let answered = match connection.read_body(&mut request).await {
            Ok(()) => answer(&mut connection, &request, &behaviour).await,
            Err(error) => Err(error),
        };
        if !matches!(answered, Ok(Next::Keep)) || !request.keep_alive {
            connection.finish().await;
            return;
        }
    }
}

async fn answer(
    connection: &mut Connection<TcpStream>,
    request: &Request,
    behaviour: &Behaviour,
) -> std::io::Result<Next> {
    match request.path() {
        "/" | "/healthz" if !matches!(request.method.as_str(), "GET" | "HEAD") => {
            let headers = format!("allow: GET, HEAD\r\n{TEXT}");
            connection.reply(request, 405, &headers, b"only GET and HEAD work here\n").await
        }
        "/" => {
            let answer = behaviour.next();
            if !behaviour.delay.is_zero() {
                tokio::time::sleep(behaviour.delay).await;
            }
            match answer {
                Answer::Fantastic => connection.reply(request, 200, TEXT, b"fantastic!").await,
                Answer::Failure(story) => connection.reply(request, 500, JSON, story.as_bytes()).await,
                Answer::Nothing => connection.hang().await,
            }
        }
        "/healthz" => connection.reply(request, 200, TEXT, b"ok\n").await,
        _ => connection.reply(request, 404, TEXT, b"there is only / and /healthz\n").await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_a_number_from_0_to_1() {
        assert_eq!(share("0"), Ok(0.0));
        assert_eq!(share("0.25"), Ok(0.25));
        assert_eq!(share("1"), Ok(1.0));
        for wrong in ["-0.1", "1.01", "NaN", "inf", "25%", ""] {
            assert!(share(wrong).is_err(), "{wrong} was taken");
        }
    }

    #[test]
    fn the_defaults_in_rust_are_those_of_the_command_line() {
        #[derive(Debug, clap::Parser)]
        struct Cli {
            #[command(flatten)]
            args: FantasticArgs,
        }

        let parsed = <Cli as clap::Parser>::parse_from(["fantastic"]).args;

        assert_eq!(format!("{parsed:?}"), format!("{:?}", FantasticArgs::default()));
    }
}
