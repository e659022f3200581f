//! What there is to watch: a service that fails now and then, a server that
//! misbehaves on request, and a recorded stream of requests and changes.
//!
//! [`fantastic`] is the service lookout watches when nothing is configured.
//! [`events`] is what `lookout replay` may be tried with.
//! [`functions`] are three services with something to compute.
//! [`traffic`] calls them, and [`story`] breaks and mends one.
//! [`faults`] is the target of the tests: one path for every way in which a web
//! server can be slow, broken or hostile.

mod client;
pub mod events;
pub mod fantastic;
pub mod faults;
pub mod functions;
mod http;
mod listen;
pub mod story;
pub mod traffic;

use std::io::Write;

use anyhow::Context;
use clap::Subcommand;
use tokio_util::sync::CancellationToken;

use events::EventsArgs;
use fantastic::FantasticArgs;
use faults::{FaultArgs, FaultServer};
use functions::{Function, FunctionsArgs};
use story::StoryArgs;
use traffic::TrafficArgs;

/// Something to watch.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// A service that says `fantastic!`, and fails about every fourth time
    #[command(after_help = "\
Examples:
  A service that fails every other time and takes half a second:
    lookout demo fantastic --fail 0.5 --delay 500ms
  The same answers in the same order, every time you start it:
    lookout demo fantastic --seed 7
  Ask it:
    curl -i http://127.0.0.1:12345/")]
    Fantastic(FantasticArgs),

    /// Three functions that compute: /fibonacci/N/, /ackermann/M/N/ and /factorial/N/
    #[command(after_help = "\
Examples:
  One alone that fails every other time and takes half a second longer:
    lookout demo functions --only fibonacci --fail 0.5 --delay 500ms
  Ask them:
    curl http://127.0.0.1:8001/ackermann/3/4/
    curl http://127.0.0.1:8001/metrics
  Break and repair one that runs with --control:
    curl -X PUT http://127.0.0.1:8001/control --data '{\"fail\": 1, \"delay\": \"200ms\"}'
    curl -X PUT http://127.0.0.1:8001/control --data '{}'")]
    Functions(FunctionsArgs),

    /// Call the functions, rightly and wrongly, at a steady rate, and tell how long it took
    #[command(after_help = "\
Examples:
  lookout demo traffic --url http://127.0.0.1:8000 --rate 50 --duration 1m
  Only good calls, the same ones every time:
    lookout demo traffic --invalid 0 --seed 7")]
    Traffic(TrafficArgs),

    /// Break a function by a commit and mend it by another, and see whether lookout names both
    #[command(after_help = "\
Example, with lookout watching it as a target of the service fibonacci:
  lookout demo functions --only fibonacci --control
  API_TOKEN=… lookout demo story --service fibonacci --function http://127.0.0.1:8001")]
    Story(StoryArgs),

    /// A server that is slow, broken or hostile, as the path asks
    #[command(after_help = faults::PATHS_HELP)]
    Faults(FaultArgs),

    /// A recorded stream of requests and changes, for lookout replay
    #[command(after_help = "\
Examples:
  lookout demo events --lines 100000 --info info.json > stream.jsonl
  lookout replay --info info.json --format text stream.jsonl")]
    Events(EventsArgs),
}

/// Serves `command` until `stop` is cancelled. Says on stderr where it listens
/// and what to try. A stream of events is written to stdout instead.
///
/// # Errors
/// The address cannot be listened on, or a file or the stream cannot be written.
pub async fn run(command: Command, stop: CancellationToken) -> anyhow::Result<()> {
    match command {
        Command::Fantastic(args) => {
            let service = fantastic::bind(&args).await?;
            let (addr, seed) = (service.addr(), service.seed());
            eprintln!(
                "fantastic listens on http://{addr} (--seed {seed} repeats its answers), try: curl -i http://{addr}/"
            );
            service.run(stop).await
        }
        Command::Functions(args) => {
            let functions = functions::bind(&args).await?;
            let addr = functions.addr();
            let tried = match args.only.unwrap_or(Function::Fibonacci) {
                Function::Ackermann => "ackermann/3/4",
                only => &format!("{}/100", only.name()),
            };
            eprintln!("functions listen on http://{addr}, try: curl http://{addr}/{tried}/");
            functions.run(stop).await
        }
        Command::Traffic(args) => {
            let TrafficArgs { url, rate, duration, .. } = &args;
            let time = humantime::format_duration(*duration);
            eprintln!("calling {url} {rate} times a second for {time}; Ctrl-C ends it sooner");
            let summary = traffic::run(&args, &stop).await?;
            // Whoever reads may have gone.
            let _ = write!(std::io::stdout(), "{summary}");
            Ok(())
        }
        Command::Story(args) => story::run(&args, &stop).await.map(drop),
        Command::Faults(args) => {
            let server = FaultServer::open(&args).await?;
            eprintln!(
                "the fault server listens on {}, try: curl -i {} (--help lists all paths)",
                server.url("/"),
                server.url("/redirect/3"),
            );
            stop.cancelled().await;
            server.flush_log().context("the log file is incomplete")
        }
        Command::Events(args) => tokio::task::spawn_blocking(move || events::run(&args, &stop)).await?,
    }
}
