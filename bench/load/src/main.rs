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

use std::env;
use std::path::Path;

use lab::Lab;

/// Interleaved runs of what is compared.
const ROUNDS: usize = 5;

/// Rows of the large table.
const LARGE: i64 = 100_000_000;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["target"] => target::serve(),
        ["client", library, keeps, millis, ports] => clients::run(library, keeps, millis, ports),
        ["hold", rest @ ..] => tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(hold(rest)),
        ["soak", minutes @ ..] => {
            let minutes = minutes.first().map_or(Ok(60), |minutes| minutes.parse())?;
            tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
                let mut lab = Lab::open().await?;
                soak::run(&mut lab, minutes).await?;
                lab.close();
                anyhow::Ok(())
            })
        }
        sections => tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(bench(sections)),
    }
}

/// In the order of the page; `large` only when it is named.
const SECTIONS: [&str; 7] = ["cost", "load", "recording", "reads", "scale", "replay", "large"];

async fn bench(wanted: &[&str]) -> anyhow::Result<()> {
    if let Some(unknown) = wanted.iter().find(|name| !SECTIONS.contains(name)) {
        anyhow::bail!("no section is called {unknown}; there are: {}", SECTIONS.join(", "));
    }
    let rows = env::var("ROWS").ok().and_then(|rows| rows.parse().ok()).unwrap_or(LARGE);
    let rounds = env::var("ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(ROUNDS);
    let mut lab = Lab::open().await?;
    for (place, name) in SECTIONS.iter().enumerate() {
        let is_wanted = if wanted.is_empty() { *name != "large" } else { wanted.contains(name) };
        if !is_wanted {
            continue;
        }
        println!("\n{name}");
        let drops = machine::untracked_drops();
        let mut section = match *name {
            "cost" => cost::run(&mut lab, rounds).await?,
            "load" => load::run(&mut lab, rounds).await?,
            "recording" => recording::run(&mut lab, rounds).await?,
            "reads" => reads::run(&mut lab, rounds).await?,
            "replay" => replay::run()?,
            "large" => reads::large(&mut lab, rounds, rows).await?,
            "scale" => scale::run(&mut lab, rounds).await?,
            other => anyhow::bail!("{other} is not written"),
        };
        let drops = machine::untracked_drops() - drops;
        if drops > 0 {
            section.note(format!(
                "The kernel dropped {drops} packets, because its table of tracked connections was full: these figures are \
                 spoiled. See README.md for what to do."
            ));
        }
        section.save(&lab.files, &format!("{place}-{name}"))?;
    }
    results::write(&lab.files, Path::new("bench/RESULTS.md"))?;
    lab.close();
    Ok(())
}

/// Runs a worker on so many targets for so many seconds and tells how it does, for a profiler:
/// `hold 5000 30 keep`, `hold 5000 30 delayed`, `hold 50000 30 minutely`.
async fn hold(arguments: &[&str]) -> anyhow::Result<()> {
    let [targets, seconds, kinds @ ..] = arguments else {
        anyhow::bail!("hold TARGETS SECONDS [keep] [delayed] [minutely]")
    };
    let mut lab = Lab::open().await?;
    let load = lab::Load {
        keeps: kinds.contains(&"keep"),
        delayed: kinds.contains(&"delayed"),
        interval_s: if kinds.contains(&"minutely") { 60 } else { 1 },
        ..lab::Load::per_second(targets.parse()?)
    };
    let worker = lab.start(load).await?;
    println!("process {}", worker.process.child.id());
    for _ in 0..seconds.parse::<u64>()? {
        let run = lab.measure(&worker, std::time::Duration::from_secs(1)).await?;
        println!(
            "{:6.0} checks/s, {:6.0} per CPU-s, worker {:.2} s, Postgres {:.2} s, {:.1} MiB",
            run.per_second(),
            run.per_cpu_second(),
            run.worker_cpu.as_secs_f64(),
            run.postgres_cpu.as_secs_f64(),
            run.memory_mib.1
        );
    }
    let schedule = load::Schedule::of(&mut lab, worker).await?;
    println!("{schedule}");
    lab.close();
    Ok(())
}
