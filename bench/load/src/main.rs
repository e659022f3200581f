//! Measures lookout beside bare loops and other monitors, in turns.
//!
//! Absolute figures say more about the machine and the minute than about a program; what counts
//! are ratios of what ran side by side. `make bench` builds everything and runs this.

mod clients;
mod cost;
mod lab;
mod load;
mod machine;
mod reads;
mod recording;
mod replay;
mod results;
mod scale;
mod soak;
mod target;

use std::path::Path;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
use lab::Lab;

/// Measures lookout beside bare loops and other monitors, in turns, and writes bench/RESULTS.md
#[derive(Debug, Parser)]
#[command(name = "bench-load", args_conflicts_with_subcommands = true)]
struct Cli {
    /// What to measure: all but `large`, when nothing is named
    #[arg(value_name = "SECTION")]
    sections: Vec<Section>,
    /// Interleaved runs of what is compared
    #[arg(long, env = "ROUNDS", default_value_t = 5)]
    rounds: usize,
    /// Rows of the table for `large`
    #[arg(long, env = "ROWS", default_value_t = 100_000_000)]
    rows: i64,
    #[command(subcommand)]
    other: Option<Other>,
}

/// In the order of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Section {
    /// A stored check beside bare loops of requests
    Cost,
    /// Lag and memory at thousands of checks a second
    Load,
    /// Rows written, by and without a worker
    Recording,
    /// Answers of the api over a busy day
    Reads,
    /// From ten to fifty thousand targets
    Scale,
    /// A stream of events, beside an engine that keeps nothing
    Replay,
    /// Answers of the api over a table of `--rows`
    Large,
}

#[derive(Debug, Subcommand)]
enum Other {
    /// Keep a worker busy, for a profiler
    Hold {
        /// Targets there are
        targets: u32,
        /// How long
        seconds: u64,
        /// What is different from a fresh connection to each of them every second
        kinds: Vec<Different>,
    },
    /// Run the whole of lookout on 10,000 targets, of which 100 change every minute
    Soak {
        /// How long
        #[arg(default_value_t = 60)]
        minutes: usize,
    },
    /// The server that is probed
    #[command(hide = true)]
    Target,
    /// A bare loop of requests
    #[command(hide = true)]
    Client { library: String, keeps: String, millis: String, ports: String },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Different {
    /// Connections are kept
    Keep,
    /// Answers take a while
    Delayed,
    /// Every minute
    Minutely,
}

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    match &cli.other {
        Some(Other::Target) => return target::serve(),
        Some(Other::Client { library, keeps, millis, ports }) => return clients::run(library, keeps, millis, ports),
        _ => {}
    }
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let mut lab = Lab::open().await?;
        match &cli.other {
            Some(Other::Hold { targets, seconds, kinds }) => hold(&mut lab, *targets, *seconds, kinds).await?,
            Some(Other::Soak { minutes }) => soak::run(&mut lab, *minutes).await?,
            _ => bench(&mut lab, &cli).await?,
        }
        lab.close();
        Ok(())
    })
}

async fn bench(lab: &mut Lab, cli: &Cli) -> anyhow::Result<()> {
    for (place, section) in Section::value_variants().iter().enumerate() {
        let is_wanted =
            if cli.sections.is_empty() { *section != Section::Large } else { cli.sections.contains(section) };
        if !is_wanted {
            continue;
        }
        let name = section.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned());
        println!("\n{name}");
        let drops = machine::untracked_drops();
        let mut found = match section {
            Section::Cost => cost::run(lab, cli.rounds).await?,
            Section::Load => load::run(lab, cli.rounds).await?,
            Section::Recording => recording::run(lab, cli.rounds).await?,
            Section::Reads => reads::run(lab, cli.rounds).await?,
            Section::Scale => scale::run(lab, cli.rounds).await?,
            Section::Replay => replay::run()?,
            Section::Large => reads::large(lab, cli.rounds, cli.rows).await?,
        };
        let drops = machine::untracked_drops() - drops;
        if drops > 0 {
            found.note(format!(
                "The kernel dropped {drops} packets, because its table of tracked connections was full: these figures are \
                 spoiled. See README.md for what to do."
            ));
        }
        found.save(&lab.files, &format!("{place}-{name}"))?;
    }
    results::write(&lab.files, Path::new("bench/RESULTS.md"))
}

/// Runs a worker on so many targets for so many seconds and tells how it does.
async fn hold(lab: &mut Lab, targets: u32, seconds: u64, kinds: &[Different]) -> anyhow::Result<()> {
    let load = lab::Load {
        keeps: kinds.contains(&Different::Keep),
        delayed: kinds.contains(&Different::Delayed),
        interval_s: if kinds.contains(&Different::Minutely) { 60 } else { 1 },
        ..lab::Load::per_second(targets.into())
    };
    let worker = lab.start(load).await?;
    println!("process {}", worker.process.child.id());
    for _ in 0..seconds {
        let run = lab.measure(&worker, Duration::from_secs(1)).await?;
        println!(
            "{:6.0} checks/s, {:6.0} per CPU-s, worker {:.2} s, Postgres {:.2} s, {:.1} MiB",
            run.per_second(),
            run.per_cpu_second(),
            run.worker_cpu.as_secs_f64(),
            run.postgres_cpu.as_secs_f64(),
            run.memory_mib.1
        );
    }
    let schedule = load::Schedule::of(lab, worker).await?;
    println!("{schedule}");
    Ok(())
}
