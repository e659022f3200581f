//! More than one worker, and what one Postgres takes.

use std::path::PathBuf;
use std::time::{Duration, Instant};
use std::{fs, io};

use chrono::Utc;
use sqlx::{Connection, PgConnection};
use tokio::time::sleep;

use crate::lab::{self, Lab, Load, Measured};
use crate::machine;
use crate::results::{Aim, Section, median};

const WINDOW: Duration = Duration::from_secs(4);

/// Checks a second that all workers together are asked for.
const ASKED: f64 = 4_000.0;

/// Checks a second that each worker is asked for that gets a part of a core: more than it can do.
const ASKED_EACH: f64 = 2_500.0;

pub(crate) async fn run(lab: &mut Lab, rounds: usize) -> anyhow::Result<Section> {
    let mut section = Section::new("Past one worker");
    let mut done: Vec<Vec<f64>> = vec![Vec::new(); 3];
    let mut cost: Vec<Vec<f64>> = vec![Vec::new(); 3];
    let mut shared: Vec<Vec<f64>> = vec![Vec::new(); 3];
    for _ in 0..rounds.min(3) {
        for place in 0..3 {
            let run = together(lab, place + 1, ASKED, false).await?;
            done[place].push(run.per_second() / ASKED);
            cost[place].push(run.per_cpu_second());
            if Share::can_be_had() {
                shared[place].push(together(lab, place + 1, ASKED_EACH * (place + 1) as f64, true).await?.per_second());
            }
        }
    }
    let one = median(&cost[0]);
    for (place, (done, cost)) in done.into_iter().zip(cost).enumerate() {
        let workers = place + 1;
        section.add(format!("{workers} workers, {ASKED:.0} checks/s: done ÷ asked"), done, Aim::AtLeast(0.99), "");
        let relative = cost.iter().map(|cost| cost / one).collect();
        section.add(format!("{workers} workers: checks per CPU-s of all ÷ those of one"), relative, Aim::None, "");
    }
    if Share::can_be_had() {
        let one = median(&shared[0]);
        for (place, shared) in shared.into_iter().enumerate() {
            let workers = place + 1;
            let relative = shared.iter().map(|speed| speed / one).collect();
            let unit = "checks/s";
            section.add(
                format!("{workers} workers, each with a fifth of a core and too much to do"),
                shared,
                Aim::None,
                unit,
            );
            section.add(format!("{workers} workers of a fifth of a core ÷ one"), relative, Aim::None, "");
        }
    }
    postgres(lab, &mut section, rounds).await?;
    section.note(
        "All workers share one core here. At the same rate more of them show what that costs; with a part of the core for each \
         (a control group) they show how they grow where each has its own.",
    );
    Ok(section)
}

/// Measures so many workers with one list between them.
async fn together(lab: &mut Lab, workers: usize, asked: f64, limited: bool) -> anyhow::Result<Measured> {
    let worker = lab.start(Load { interval_s: 2, ..Load::per_second(2.0 * asked) }).await?;
    let list = lab.files.join("more.yaml");
    fs::write(&list, worker.load.yaml(&lab.target.ports))?;
    let mut more = Vec::new();
    for n in 1..workers {
        let log = lab.files.join(format!("worker-{n}.log"));
        more.push(lab::spawn(&worker.url, &list, &log)?);
    }
    let pids: Vec<u32> = more.iter().map(std::process::Child::id).collect();
    let all = || pids.iter().copied().chain([worker.process.child.id()]);
    let shares = if limited { all().map(Share::of).collect::<io::Result<Vec<_>>>()? } else { Vec::new() };
    // Shares of the list are even after some rounds of the leases.
    sleep(Duration::from_secs(6)).await;
    let cpu = || pids.iter().map(|pid| machine::cpu(*pid)).sum::<anyhow::Result<Duration>>();
    let before = cpu()?;
    let mut run = lab.measure(&worker, WINDOW).await?;
    run.worker_cpu += cpu()? - before;
    shares.iter().try_for_each(Share::lift)?;
    for child in &mut more {
        machine::terminate(child.id())?;
        child.wait()?;
    }
    let accounted = lab.discard(worker).await?;
    let is_late = !limited && accounted.missed + accounted.unknown != 0;
    if is_late || accounted.unaccounted != 0 {
        println!("{workers} workers: {accounted:?}");
    }
    fs::remove_file(&list)?;
    Ok(run)
}

/// A fifth of a core for one process, by a control group. Goes once the process has ended.
struct Share(PathBuf);

impl Share {
    const GROUPS: &str = "/sys/fs/cgroup/cpu";

    fn can_be_had() -> bool {
        let probe = PathBuf::from(format!("{}/lookout-bench-{}", Self::GROUPS, std::process::id()));
        fs::create_dir(&probe).and_then(|()| fs::remove_dir(&probe)).is_ok()
    }

    fn of(pid: u32) -> io::Result<Self> {
        let share = Self(PathBuf::from(format!("{}/lookout-bench-{pid}", Self::GROUPS)));
        fs::create_dir(&share.0)?;
        fs::write(share.0.join("cpu.cfs_period_us"), "10000")?;
        fs::write(share.0.join("cpu.cfs_quota_us"), "2000")?;
        fs::write(share.0.join("cgroup.procs"), pid.to_string())?;
        Ok(share)
    }

    /// As much as there is, so that it ends soon.
    fn lift(&self) -> io::Result<()> {
        fs::write(self.0.join("cpu.cfs_quota_us"), "-1")
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

/// How many checks a second one Postgres records, with as many writers as help.
async fn postgres(lab: &mut Lab, section: &mut Section, rounds: usize) -> anyhow::Result<()> {
    let mut sizes = [f64::NAN; 2];
    for writers in [1_i64, 2, 4] {
        let (mut speeds, mut costs) = (Vec::new(), Vec::new());
        for _ in 0..rounds.min(3) {
            let (database, url) = lab.database().await?;
            let (cpu, begun) = (lab.postgres_cpu()?, Instant::now());
            let each = (0..writers).map(|writer| {
                let url = url.clone();
                async move {
                    let mut connection = PgConnection::connect(&url).await?;
                    let at_us =
                        (Utc::now() + chrono::TimeDelta::days(1)).timestamp_micros() / 86_400_000_000 * 86_400_000_000;
                    let mut rows = 0;
                    // Targets at 60 s: each flush has other ones, and a minute of each but one row.
                    for flush in 0.. {
                        if begun.elapsed() > Duration::from_millis(2500) {
                            break;
                        }
                        let first = (writer * 100_000 + flush % 20 * 5_000) as i32;
                        let checks = crate::recording::checks_from(first, 5_000, at_us + flush / 20 * 60_000_000);
                        rows += store::batches::write_checks(&mut connection, "bench", &checks).await?.inserted;
                    }
                    connection.close().await?;
                    anyhow::Ok(rows)
                }
            });
            let rows: usize = futures_util::future::try_join_all(each).await?.into_iter().sum();
            let took = begun.elapsed().as_secs_f64();
            sizes = [size(&url, "check_result", rows).await?, size(&url, "rollup_minute", rows).await?];
            speeds.push(rows as f64 / took);
            costs.push((lab.postgres_cpu()? - cpu).as_secs_f64() / rows as f64 * 1e6);
            lab.drop_database(&database).await?;
        }
        section.add(
            format!("one Postgres on one core, {writers} writers, targets at 60 s"),
            speeds,
            Aim::None,
            "recorded checks/s",
        );
        section.add(format!("its cost with {writers} writers"), costs, Aim::None, "µs CPU a check");
    }
    let [row, minute] = sizes;
    section.add("a check on disk, with its indexes", vec![row], Aim::None, "bytes");
    section.add("a minute of a target on disk, with its indexes", vec![minute], Aim::None, "bytes");
    Ok(())
}

/// Bytes of a partitioned table with its indexes, for each of its rows.
async fn size(url: &str, table: &str, rows: usize) -> anyhow::Result<f64> {
    let mut connection = PgConnection::connect(url).await?;
    let bytes: i64 = sqlx::query_scalar(
        "select sum(pg_total_relation_size(inhrelid))::int8 from pg_inherits where inhparent = $1::text::regclass",
    )
    .bind(table)
    .fetch_one(&mut connection)
    .await?;
    Ok(bytes as f64 / rows as f64)
}
