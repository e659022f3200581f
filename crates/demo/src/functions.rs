//! Three functions as web services: `/fibonacci/{n}/`, `/ackermann/{m}/{n}/` and `/factorial/{n}/`.
//!
//! Each answers JSON with the exact result, counts and times its own calls for Prometheus,
//! and logs every call with the time the function itself took, so that what a proxy or a
//! network adds can be told apart. `--fail` and `--delay` break them on purpose, and with
//! `--control` a running one can be broken and repaired.

mod call;
mod metrics;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::fantastic::share;
use crate::http::{Connection, JSON, Next, Request, TEXT};
use crate::listen;
use call::{Call, Refusal};
use metrics::Metrics;

pub use call::Function;

/// Where the functions listen and how well they work.
#[derive(Debug, Clone, Args)]
pub struct FunctionsArgs {
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1")]
    pub host: String,

    /// Port to listen on, 0 for any free one
    #[arg(long, default_value_t = 8001)]
    pub port: u16,

    /// Serve this function alone
    #[arg(long, value_name = "FUNCTION")]
    pub only: Option<Function>,

    /// Share of calls that are answered with an error, from 0 to 1
    #[arg(long, default_value_t = 0.0, value_name = "SHARE", value_parser = share)]
    pub fail: f64,

    /// How much longer every call takes, such as 500ms or 1s
    #[arg(long, default_value = "0ms", value_name = "TIME", value_parser = humantime::parse_duration)]
    pub delay: Duration,

    /// Let anyone who can reach it change --fail and --delay while it runs: PUT /control
    #[arg(long)]
    pub control: bool,
}

/// The defaults of the command line.
impl Default for FunctionsArgs {
    fn default() -> Self {
        Self { host: "127.0.0.1".to_owned(), port: 8001, only: None, fail: 0.0, delay: Duration::ZERO, control: false }
    }
}

/// Takes the address, so that a client may connect from now on; [`Functions::run`] answers.
///
/// # Errors
/// The address is in use or not of this machine; the error names it and the cause.
pub async fn bind(args: &FunctionsArgs) -> anyhow::Result<Functions> {
    let listener = listen::listen(&args.host, args.port).await?;
    Ok(Functions {
        addr: listener.local_addr()?,
        listener,
        service: Service {
            only: args.only,
            has_control: args.control,
            state: Mutex::new(State { fail: args.fail, delay: args.delay }),
            metrics: Metrics::new(args.only),
        },
    })
}

/// The functions, listening but not answering yet.
#[derive(Debug)]
pub struct Functions {
    listener: TcpListener,
    addr: SocketAddr,
    service: Service,
}

impl Functions {
    /// Where they listen.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Answers until `stop` is cancelled, then drops every connection.
    ///
    /// # Errors
    /// None today: a connection that breaks ends alone.
    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        let service = Arc::new(self.service);
        let serving = listen::accept(self.listener, |stream| serve(stream, Arc::clone(&service)));
        stop.run_until_cancelled(serving).await;
        Ok(())
    }
}

#[derive(Debug)]
struct Service {
    only: Option<Function>,
    has_control: bool,
    /// Locked for a copy, never across an await.
    state: Mutex<State>,
    metrics: Metrics,
}

/// How well it works, as `/control` shows and takes it.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    #[serde(default)]
    fail: f64,
    #[serde(default, with = "as_text")]
    delay: Duration,
}

mod as_text {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(delay: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&humantime::format_duration(*delay))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        humantime::parse_duration(&String::deserialize(from)?).map_err(de::Error::custom)
    }
}

/// What one request gets.
struct Answer {
    status: u16,
    headers: String,
    body: Vec<u8>,
}

impl Answer {
    fn json(status: u16, body: &Value) -> Self {
        Self { status, headers: JSON.to_owned(), body: format!("{body}\n").into_bytes() }
    }

    fn text(body: &str) -> Self {
        Self { status: 200, headers: TEXT.to_owned(), body: body.into() }
    }

    /// An RFC 9457 problem.
    fn problem(status: u16, title: &str, detail: &str) -> Self {
        let body = json!({ "type": "about:blank", "title": title, "status": status, "detail": detail });
        Self { headers: "content-type: application/problem+json\r\n".to_owned(), ..Self::json(status, &body) }
    }

    fn with(mut self, header: &str) -> Self {
        self.headers.push_str(header);
        self
    }
}

async fn serve(stream: TcpStream, service: Arc<Service>) {
    let mut connection = Connection::new(stream);
    let mut request = Request::default();
    while let Ok(true) = connection.read_head(&mut request).await {
        let answered = match connection.read_body(&mut request).await {
            Ok(()) => {
                let answer = service.answer(&request).await;
                connection.reply(&request, answer.status, &answer.headers, &answer.body).await
            }
            Err(error) => Err(error),
        };
        if !matches!(answered, Ok(Next::Keep)) || !request.keep_alive {
            connection.finish().await;
            return;
        }
    }
}

impl Service {
    async fn answer(&self, request: &Request) -> Answer {
        let is_read = matches!(request.method.as_str(), "GET" | "HEAD");
        match request.path() {
            "/control" if self.has_control => self.control(request),
            _ if !is_read => {
                Answer::problem(405, "Method not allowed", "only GET and HEAD work here").with("allow: GET, HEAD\r\n")
            }
            "/healthz" => Answer::text("ok\n"),
            "/metrics" => Answer {
                headers: "content-type: text/plain; version=0.0.4\r\n".to_owned(),
                ..Answer::text(&self.metrics.text())
            },
            path => self.call(path, request.query()).await,
        }
    }

    async fn call(&self, path: &str, query: &str) -> Answer {
        let called = match Call::parse(path, query, self.only) {
            Ok(called) => called,
            Err(Refusal::Unknown(detail)) => return Answer::problem(404, "Not found", &detail),
            Err(Refusal::Bad { function, detail }) => {
                self.metrics.refused(function);
                tracing::info!(function = function.name(), status = 400, "{detail}");
                return Answer::problem(400, "Bad request", &detail);
            }
        };
        let state = *self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let function = called.function();
        let begun = Instant::now();
        let result = called.evaluate().to_string();
        // Even the shortest sleep takes a millisecond.
        if !state.delay.is_zero() {
            tokio::time::sleep(state.delay).await;
        }
        let took = begun.elapsed();
        let fails = rand::random_bool(state.fail);
        let status = if fails { 500 } else { 200 };
        self.metrics.called(function, status, took);
        // To the microsecond: more is noise.
        let call_ms = (took.as_secs_f64() * 1e6).round() / 1000.0;
        if fails {
            tracing::error!(function = function.name(), status, call_ms, "{called} failed on purpose");
        } else {
            tracing::info!(function = function.name(), status, call_ms, "{called}");
        }
        let answer = match fails {
            true => Answer::problem(500, "Internal server error", "this call was chosen to fail (--fail)"),
            false => Answer::json(
                200,
                &json!({ "function": function.name(), "arguments": called.arguments(), "result": result, "call_ms": call_ms }),
            ),
        };
        answer.with(&format!("server-timing: function;dur={call_ms:.3}\r\n"))
    }

    /// Shows how well it works, or takes another setting.
    fn control(&self, request: &Request) -> Answer {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match request.method.as_str() {
            "GET" | "HEAD" => {}
            "PUT" => match serde_json::from_slice::<State>(&request.body) {
                Ok(wanted) if (0.0..=1.0).contains(&wanted.fail) => {
                    *state = wanted;
                    let delay = humantime::format_duration(wanted.delay);
                    tracing::warn!(
                        fail = wanted.fail,
                        "from now on {} of the calls fail and each takes {delay} longer",
                        wanted.fail
                    );
                }
                Ok(_) => return Answer::problem(422, "Unprocessable", "fail is a share from 0 to 1"),
                Err(error) => {
                    let detail = format!(r#"send {{"fail": 0.5, "delay": "200ms"}}: {error}"#);
                    return Answer::problem(400, "Bad request", &detail);
                }
            },
            _ => {
                return Answer::problem(405, "Method not allowed", "only GET, HEAD and PUT work here")
                    .with("allow: GET, HEAD, PUT\r\n");
            }
        }
        Answer::json(200, &serde_json::to_value(*state).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_in_rust_are_those_of_the_command_line() {
        #[derive(Debug, clap::Parser)]
        struct Cli {
            #[command(flatten)]
            args: FunctionsArgs,
        }

        let parsed = <Cli as clap::Parser>::parse_from(["functions"]).args;

        assert_eq!(format!("{parsed:?}"), format!("{:?}", FunctionsArgs::default()));
    }
}
