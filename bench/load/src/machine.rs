//! What the machine tells of processes: where they run, what they cost, how large they are.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Context;
use rustix::process::{Pid, setpriority_process};
use rustix::thread::{CpuSet, sched_setaffinity};

/// The core for what is measured, and the one for everything it talks to.
pub(crate) const MEASURED: usize = 0;
pub(crate) const OTHERS: usize = 1;

/// Keeps this thread, and what it starts, on one core.
pub(crate) fn pin(core: usize) {
    let mut set = CpuSet::new();
    set.set(core);
    if sched_setaffinity(None, &set).is_err() {
        eprintln!("cannot stay on core {core}: figures will be noisy");
    }
}

/// Goes before all others on its core, where that is allowed: a target must not be late itself. Behind Postgres, which
/// has the same core, it would be by some milliseconds, and a niceness does not help with that.
pub(crate) fn hurry() {
    let _ = setpriority_process(None, -15);
    let id = std::process::id().to_string();
    // As a real-time process, with the lowest priority of those.
    let is_first =
        Command::new("chrt").args(["--fifo", "--pid", "1", &id]).stdin(Stdio::null()).stderr(Stdio::null()).status();
    if !is_first.is_ok_and(|status| status.success()) {
        eprintln!(
            "cannot put the target before Postgres (chrt, as root): it will be late itself, and latencies say so"
        );
    }
}

/// User and system time of a process and all its threads, those that ended included.
pub(crate) fn cpu(pid: u32) -> anyhow::Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).with_context(|| format!("process {pid} is gone"))?;
    Ok(ticks(&fields(&stat)[11..13]))
}

/// The same with all its children, also those that ended.
pub(crate) fn cpu_of_tree(root: u32) -> anyhow::Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{root}/stat"))?;
    let mut sum = ticks(&fields(&stat)[11..15]);
    for entry in fs::read_dir("/proc")?.flatten() {
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        let fields = fields(&stat);
        if fields.get(1).and_then(|parent| parent.parse().ok()) == Some(root) {
            sum += ticks(&fields[11..15]);
        }
    }
    Ok(sum)
}

/// What follows the name of the program, which may hold spaces.
fn fields(stat: &str) -> Vec<&str> {
    stat.rsplit_once(')').map_or(stat, |(_, rest)| rest).split_whitespace().collect()
}

fn ticks(fields: &[&str]) -> Duration {
    let ticks: u64 = fields.iter().filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// Resident memory, MiB.
pub(crate) fn resident_mib(pid: u32) -> anyhow::Result<f64> {
    memory_mib(pid, "VmRSS:")
}

/// The most of it that there ever was, MiB.
pub(crate) fn most_resident_mib(pid: u32) -> anyhow::Result<f64> {
    memory_mib(pid, "VmHWM:")
}

fn memory_mib(pid: u32, name: &str) -> anyhow::Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)).context("no such figure")?;
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib / 1024.0)
}

/// Asks a process to end in good order.
pub(crate) fn terminate(pid: u32) -> anyhow::Result<()> {
    let pid = Pid::from_raw(pid.cast_signed()).context("no such process")?;
    Ok(rustix::process::kill_process(pid, rustix::process::Signal::TERM)?)
}

/// Packets that were dropped so far because the kernel tracks connections and had no room for one more: to whoever
/// sent them the target is silent. 0 where it tracks none.
pub(crate) fn untracked_drops() -> u64 {
    let stat = fs::read_to_string("/proc/net/stat/nf_conntrack").unwrap_or_default();
    let mut lines = stat.lines();
    let Some(place) = lines.next().and_then(|head| head.split_whitespace().position(|name| name == "drop")) else {
        return 0;
    };
    let drops = |line: &str| u64::from_str_radix(line.split_whitespace().nth(place)?, 16).ok();
    lines.filter_map(drops).sum()
}

/// What this machine is, in one line.
pub(crate) fn describe() -> String {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let of = |name: &str| {
        cpuinfo
            .lines()
            .find(|line| line.starts_with(name))
            .and_then(|line| line.split_once(": "))
            .map_or("?", |it| it.1)
    };
    let cores = cpuinfo.lines().filter(|line| line.starts_with("processor")).count();
    let memory: f64 = read("/proc/meminfo")
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .and_then(|rest| rest.trim().trim_end_matches("kB").trim().parse().ok())
        .unwrap_or(0.0);
    let kernel = rustix::system::uname();
    format!(
        "{cores} cores ({}), {:.0} GiB, Linux {}",
        of("model name"),
        memory / 1024.0 / 1024.0,
        kernel.release().to_string_lossy()
    )
}
