//! How fast `lookout replay` is, beside other ways to go through the same file.
//!
//! Absolute figures say more about the machine than about the program, so each
//! round runs every candidate once, and what counts are the ratios of medians.
//! `make bench` builds everything and runs this.

mod loops;

use std::env;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use wait4::Wait4;

const LINES: u64 = 5_000_000;
/// A fifth, to see that memory does not grow with the stream.
const FEWER_LINES: u64 = 1_000_000;
/// What is slow goes through this much of it.
const FEW_LINES: u64 = 500_000;
const ENDPOINTS: &str = "200";
const ROUNDS: usize = 5;

struct Candidate {
    name: &'static str,
    lines: u64,
    command: Box<dyn Fn() -> Command>,
    cpu: Vec<Duration>,
    peak_bytes: u64,
}

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["serde", info, stream] => loops::run(info, stream, loops::serde),
        ["scan", info, stream] => loops::run(info, stream, loops::scan),
        [] => bench(false),
        // For `bench-load`, which makes the page of results.
        ["json"] => bench(true),
        _ => anyhow::bail!("run it without arguments"),
    }
}

fn bench(as_json: bool) -> anyhow::Result<()> {
    let this = env::current_exe()?;
    let lookout = this.with_file_name("lookout");
    ensure!(lookout.exists(), "there is no {}: cargo build --release -p cli", lookout.display());
    let files = Files::make(&lookout, &this.with_file_name("bench-replay.files"))?;

    let replay = |name: &'static str, lines: u64, stream: &Path| {
        let (lookout, info, stream) = (lookout.clone(), files.info.clone(), stream.to_owned());
        candidate(name, lines, move || {
            let mut command = Command::new(&lookout);
            command.args(["replay", "--info"]).arg(&info).arg(&stream);
            command
        })
    };
    let bare = |name: &'static str, kind: &'static str| {
        let (this, info, stream) = (this.clone(), files.info.clone(), files.all.clone());
        candidate(name, LINES, move || {
            let mut command = Command::new(&this);
            command.arg(kind).arg(&info).arg(&stream);
            command
        })
    };
    let tool = |name: &'static str, lines: u64, arguments: &'static [&'static str], stream: &Path| {
        let stream = stream.to_owned();
        candidate(name, lines, move || {
            let mut command = Command::new(arguments[0]);
            command.args(&arguments[1..]).arg(&stream);
            command
        })
    };
    let mut candidates = vec![
        replay("lookout replay", LINES, &files.all),
        bare("bare loop, serde_json", "serde"),
        bare("bare loop, fixed shape", "scan"),
        tool("wc -l", LINES, &["wc", "-l"], &files.all),
        replay("lookout replay, a fifth", FEWER_LINES, &files.fewer),
    ];
    if Command::new("jq").arg("--version").stdout(Stdio::null()).status().is_ok() {
        candidates.push(tool("jq -c .type", FEW_LINES, &["jq", "-c", ".type"], &files.few));
    } else {
        eprintln!("jq is not installed: left out");
    }
    for _ in 0..ROUNDS {
        for candidate in &mut candidates {
            candidate.measure()?;
        }
    }
    if as_json {
        let speeds: Vec<(&str, Vec<f64>)> = candidates.iter().map(|it| (it.name, it.speeds())).collect();
        println!("{}", serde_json::to_string(&speeds)?);
    } else {
        print(&candidates);
    }
    Ok(())
}

fn candidate(name: &'static str, lines: u64, command: impl Fn() -> Command + 'static) -> Candidate {
    Candidate { name, lines, command: Box::new(command), cpu: Vec::new(), peak_bytes: 0 }
}

impl Candidate {
    fn measure(&mut self) -> anyhow::Result<()> {
        let child = (self.command)()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {}", self.name))?;
        let usage = child.wait4()?;
        ensure!(usage.status.success(), "{} failed", self.name);
        self.cpu.push(usage.rusage.utime + usage.rusage.stime);
        self.peak_bytes = self.peak_bytes.max(usage.rusage.maxrss);
        Ok(())
    }

    /// Events per CPU-second of each round.
    fn speeds(&self) -> Vec<f64> {
        self.cpu.iter().map(|cpu| self.lines as f64 / cpu.as_secs_f64().max(1e-6)).collect()
    }

    fn events_per_cpu_second(&self) -> f64 {
        let mut cpu = self.cpu.clone();
        cpu.sort_unstable();
        self.lines as f64 / cpu[cpu.len() / 2].as_secs_f64().max(1e-6)
    }
}

fn print(candidates: &[Candidate]) {
    let first = candidates[0].events_per_cpu_second();
    println!("{ROUNDS} rounds, medians; {ENDPOINTS} endpoints with windows of 5 s to 5 min\n");
    println!("{:24} {:>10} {:>20} {:>18} {:>10}", "", "lines", "lines per CPU-s", "lookout is", "peak MiB");
    for candidate in candidates {
        let speed = candidate.events_per_cpu_second();
        println!(
            "{:24} {:>10} {:>18.2} M {:>16.2} x {:>10.1}",
            candidate.name,
            candidate.lines,
            speed / 1e6,
            first / speed,
            candidate.peak_bytes as f64 / f64::from(1 << 20),
        );
    }
}

/// The streams, all from one: the shorter ones are its beginning.
struct Files {
    info: PathBuf,
    all: PathBuf,
    fewer: PathBuf,
    few: PathBuf,
}

impl Files {
    /// Writes them unless they are there.
    fn make(lookout: &Path, directory: &Path) -> anyhow::Result<Self> {
        let file = |name: &str| directory.join(name);
        let files = Self {
            info: file("info.json"),
            all: file("all.jsonl"),
            fewer: file("fewer.jsonl"),
            few: file("few.jsonl"),
        };
        let done = file("done");
        if done.exists() {
            return Ok(files);
        }
        eprintln!("writing {LINES} lines to {}", directory.display());
        fs::create_dir_all(directory)?;
        let status = Command::new(lookout)
            .args(["demo", "events", "--seed", "1", "--endpoints", ENDPOINTS, "--lines", &LINES.to_string(), "--info"])
            .arg(&files.info)
            .stdout(File::create(&files.all)?)
            .status()?;
        ensure!(status.success(), "lookout demo events failed");
        for (path, lines) in [(&files.fewer, FEWER_LINES), (&files.few, FEW_LINES)] {
            let mut reader = BufReader::new(File::open(&files.all)?);
            let mut writer = BufWriter::new(File::create(path)?);
            let mut line = Vec::new();
            for _ in 0..lines {
                line.clear();
                reader.read_until(b'\n', &mut line)?;
                writer.write_all(&line)?;
            }
            writer.flush()?;
        }
        fs::write(done, "")?;
        Ok(files)
    }
}
