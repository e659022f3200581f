//! Where workers are measured: a Postgres and a target on one core, the worker on the other.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use store::embedded::Embedded;
use tokio::time::{Instant, sleep};

use crate::machine;
use crate::target::{Stamp, Target};

const TEMPLATE: &str = "bench_template";

/// What a worker is asked to do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) targets: usize,
    pub(crate) interval_s: u64,
    /// Answer after 50 ms instead of at once.
    pub(crate) delayed: bool,
    /// Of ten targets so many never answer.
    pub(crate) hanging: usize,
    pub(crate) keeps: bool,
}

impl Load {
    /// This many checks a second of targets that answer at once, each on a new connection.
    pub(crate) fn per_second(checks: f64) -> Self {
        Self { targets: checks.round() as usize, interval_s: 1, delayed: false, hanging: 0, keeps: false }
    }

    /// Whether the target of this number never answers.
    pub(crate) fn hangs(self, target: usize) -> bool {
        target % 10 < self.hanging
    }

    /// The list a worker is given.
    pub(crate) fn yaml(self, ports: &[u16]) -> String {
        let connection = if self.keeps { "reuse" } else { "fresh" };
        let Self { interval_s, .. } = self;
        let timeout = interval_s.min(5);
        let mut yaml =
            format!("defaults: {{interval: {interval_s}s, timeout: {timeout}s, connection: {connection}}}\ntargets:\n");
        for n in 0..self.targets {
            let kind = if self.hangs(n) {
                'h'
            } else if self.delayed {
                'd'
            } else {
                't'
            };
            let port = ports[n / 10 % ports.len()];
            yaml.push_str(&format!("- {{name: t{n}, url: \"http://127.0.0.1:{port}/{kind}/{n}\"}}\n"));
        }
        yaml
    }
}

/// What came of a stretch of time.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) wall: Duration,
    pub(crate) worker_cpu: Duration,
    pub(crate) postgres_cpu: Duration,
    /// Checks that arrived at the target.
    pub(crate) checks: usize,
    /// Resident memory before and after, MiB.
    pub(crate) memory_mib: (f64, f64),
    /// Slots of the whole run that got none, where that was counted.
    pub(crate) without_verdict: i64,
}

impl Measured {
    pub(crate) fn per_second(&self) -> f64 {
        self.checks as f64 / self.wall.as_secs_f64()
    }

    pub(crate) fn per_cpu_second(&self) -> f64 {
        self.checks as f64 / self.worker_cpu.as_secs_f64()
    }

    pub(crate) fn per_cpu_second_of_all(&self) -> f64 {
        self.checks as f64 / (self.worker_cpu + self.postgres_cpu).as_secs_f64()
    }
}

/// What the tables hold after a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Accounted {
    pub(crate) missed: i64,
    pub(crate) unknown: i64,
    /// Slots between a target's first and last row that have none and lie in no gap.
    pub(crate) unaccounted: i64,
}

/// Postgres, the target, and where files go.
pub(crate) struct Lab {
    postgres: Embedded,
    postmaster: u32,
    pub(crate) target: Target,
    pub(crate) files: PathBuf,
    databases: usize,
}

impl Lab {
    /// Starts both. From the main thread, because Postgres ends with the thread that started it.
    pub(crate) async fn open() -> anyhow::Result<Self> {
        let files = std::env::var_os("BENCH_DIR").map_or_else(|| "/var/tmp/lookout-bench".into(), PathBuf::from);
        fs::create_dir_all(&files)?;
        machine::pin(machine::OTHERS);
        let postgres = Embedded::start(&files.join("data")).context("cannot start a Postgres")?;
        ensure!(!postgres.is_shared(), "another benchmark uses {}", files.display());
        let pid_file = files.join("data/postgres/data/postmaster.pid");
        let pid = fs::read_to_string(&pid_file).with_context(|| format!("no {}", pid_file.display()))?;
        let postmaster = pid.lines().next().unwrap_or_default().parse()?;
        let lab = Self { postgres, postmaster, target: Target::start()?, files, databases: 0 };
        for old in lab.list("select datname::text from pg_database where datname like 'bench\\_%'").await? {
            lab.admin(&format!("drop database \"{old}\" with (force)")).await?;
        }
        lab.admin(&format!("create database {TEMPLATE}")).await?;
        schema::migrate(&lab.postgres.url(TEMPLATE)).await?;
        let pool = sqlx::PgPool::connect(&lab.postgres.url(TEMPLATE)).await?;
        let today = chrono::Utc::now().date_naive();
        store::partitions::ensure(&pool, today - chrono::Days::new(2), today + chrono::Days::new(9)).await?;
        pool.close().await;
        Ok(lab)
    }

    async fn list(&self, sql: &str) -> anyhow::Result<Vec<String>> {
        let mut connection = PgConnection::connect(&self.postgres.url("postgres")).await?;
        Ok(sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(&mut connection).await?)
    }

    async fn admin(&self, sql: &str) -> anyhow::Result<()> {
        let mut connection = PgConnection::connect(&self.postgres.url("postgres")).await?;
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await?;
        Ok(connection.close().await?)
    }

    /// A database of its own with the schema; its name and URL.
    pub(crate) async fn database(&mut self) -> anyhow::Result<(String, String)> {
        self.databases += 1;
        let name = format!("bench_{}", self.databases);
        self.admin(&format!("create database {name} template {TEMPLATE}")).await?;
        let url = self.postgres.url(&name);
        Ok((name, url))
    }

    pub(crate) async fn drop_database(&self, name: &str) -> anyhow::Result<()> {
        self.admin(&format!("drop database {name} with (force)")).await
    }

    /// What all of Postgres has used so far.
    pub(crate) fn postgres_cpu(&self) -> anyhow::Result<Duration> {
        machine::cpu_of_tree(self.postmaster)
    }

    /// A worker with this to do, on the core for what is measured. Returns once it probes.
    pub(crate) async fn start(&mut self, load: Load) -> anyhow::Result<Worker> {
        let (database, url) = self.database().await?;
        let list = self.files.join(format!("{database}.yaml"));
        fs::write(&list, load.yaml(&self.target.ports))?;
        self.target.reset()?;
        let process = Started { child: spawn(&url, &list, &self.files.join("worker.log"))? };
        let mut worker = Worker { process, database, url, list, load, started: Instant::now() };
        while self.target.count()? == 0 {
            sleep(Duration::from_millis(50)).await;
            if let Some(status) = worker.process.child.try_wait()? {
                let log = fs::read_to_string(self.files.join("worker.log")).unwrap_or_default();
                bail!("the worker ended ({status}): {log}");
            }
            ensure!(worker.started.elapsed() < Duration::from_secs(60), "the worker does not begin");
        }
        // Endpoints are read again and again in the first minute of their lives. This is about all those after it.
        let mut connection = PgConnection::connect(&worker.url).await?;
        let aged = "update endpoint set updated_at = updated_at - interval '1 hour'";
        sqlx::raw_sql(AssertSqlSafe(aged)).execute(&mut connection).await?;
        connection.close().await?;
        Ok(worker)
    }

    /// Measures a worker for a while. The target forgets what came before.
    pub(crate) async fn measure(&mut self, worker: &Worker, time: Duration) -> anyhow::Result<Measured> {
        let pid = worker.process.child.id();
        self.target.reset()?;
        let begun = Instant::now();
        let (cpu, postgres) = (machine::cpu(pid)?, self.postgres_cpu()?);
        let memory = machine::resident_mib(pid)?;
        sleep(time).await;
        let wall = begun.elapsed();
        Ok(Measured {
            checks: self.target.count()?,
            worker_cpu: machine::cpu(pid)? - cpu,
            postgres_cpu: self.postgres_cpu()? - postgres,
            wall,
            memory_mib: (memory, machine::resident_mib(pid)?),
            without_verdict: 0,
        })
    }

    /// What arrived since the last measurement began.
    pub(crate) fn stamps(&mut self) -> anyhow::Result<Vec<Stamp>> {
        self.target.stamps(&self.files.join("stamps"))
    }

    /// Stops a worker in good order and counts what it left; the database stays.
    pub(crate) async fn stop(&mut self, mut worker: Worker) -> anyhow::Result<(Accounted, PgConnection, String)> {
        worker.process.stop().await?;
        let mut connection = PgConnection::connect(&worker.url).await?;
        let accounted = account(&mut connection).await?;
        fs::remove_file(&worker.list)?;
        Ok((accounted, connection, worker.database.clone()))
    }

    /// The same, and the database goes.
    pub(crate) async fn discard(&mut self, worker: Worker) -> anyhow::Result<Accounted> {
        let (accounted, connection, database) = self.stop(worker).await?;
        connection.close().await?;
        self.drop_database(&database).await?;
        Ok(accounted)
    }

    /// Ends the target first, then Postgres.
    pub(crate) fn close(self) {
        let Self { target, postgres, .. } = self;
        drop(target);
        postgres.stop();
    }
}

/// A process that goes with this.
pub(crate) struct Started {
    pub(crate) child: Child,
}

impl Started {
    /// Stops it in good order.
    pub(crate) async fn stop(&mut self) -> anyhow::Result<()> {
        machine::terminate(self.child.id())?;
        let asked = Instant::now();
        while self.child.try_wait()?.is_none() {
            sleep(Duration::from_millis(20)).await;
            ensure!(asked.elapsed() < Duration::from_secs(30), "process {} does not stop", self.child.id());
        }
        Ok(())
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A worker that runs.
pub(crate) struct Worker {
    pub(crate) process: Started,
    database: String,
    pub(crate) url: String,
    list: PathBuf,
    pub(crate) load: Load,
    pub(crate) started: Instant,
}

/// Another worker on the same list and database.
pub(crate) fn spawn(url: &str, list: &Path, log: &Path) -> anyhow::Result<Child> {
    let program = std::env::current_exe()?.with_file_name("worker");
    ensure!(program.exists(), "there is no {}: cargo build --release -p worker", program.display());
    // What an earlier worker could not write is not this one's.
    let data = log.with_extension("data");
    let _ = fs::remove_dir_all(&data);
    // A child begins on the core of the thread that makes it.
    machine::pin(machine::MEASURED);
    let log = File::create(log)?;
    let child = Command::new(program)
        .env_clear()
        .env("DATABASE_URL", url)
        .env("LOOKOUT_CONFIG", list)
        .env("LOOKOUT_DATA_DIR", data)
        .env("LOG_LEVEL", "warn")
        .envs(std::env::var("WORKERS_COUNT").map(|count| ("WORKERS_COUNT", count)))
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .context("cannot start a worker");
    machine::pin(machine::OTHERS);
    child
}

/// What a run left, once it has stopped.
pub(crate) async fn account(connection: &mut PgConnection) -> anyhow::Result<Accounted> {
    let (missed, unknown): (i64, i64) = sqlx::query_as(
        "select count(*) filter (where outcome = 'missed'), count(*) filter (where outcome = 'unknown')
         from check_result",
    )
    .fetch_one(&mut *connection)
    .await?;
    let unaccounted = sqlx::query_scalar(
        "with span as (
             select target_id, min(slot_at) as first_at, max(slot_at) as last_at, count(*) as rows
             from check_result group by 1
         ), gaps as (
             select target_id, sum(ceil(extract(epoch from to_at - from_at) * 1000 / interval_ms)) as slots
             from gap join target using (target_id) group by 1
         )
         select coalesce(sum(round(extract(epoch from last_at - first_at) * 1000 / interval_ms)::int8 + 1
                             - rows - coalesce(slots, 0)), 0)::int8
         from span join target using (target_id) left join gaps using (target_id)",
    )
    .fetch_one(connection)
    .await?;
    Ok(Accounted { missed, unknown, unaccounted })
}
