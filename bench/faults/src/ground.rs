//! What a row plays on: a Postgres that can be hurt, targets that note each request, workers to be killed.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use common::{Grid, Interval};
use demo::faults::FaultServer;
use rustix::process::{Pid, Signal, kill_process};
use sqlx::postgres::PgPoolOptions;
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};
use store::embedded::Embedded;
use tempfile::TempDir;
use tokio::time::sleep;

use crate::ask::ask;
use crate::running::Running;

/// A cluster of our own, started and hurt from the main thread.
pub(crate) struct Cluster {
    directory: TempDir,
    server: Option<Embedded>,
    databases: usize,
}

impl Cluster {
    pub(crate) fn start() -> anyhow::Result<Self> {
        // Short: the path of a socket may not be long.
        let directory = tempfile::Builder::new().prefix("faults").tempdir()?;
        let server = Embedded::start(&directory.path().join("pg"))?;
        Ok(Self { directory, server: Some(server), databases: 0 })
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("pg/postgres/data")
    }

    pub(crate) fn url(&self, database: &str) -> anyhow::Result<String> {
        Ok(self.server.as_ref().context("postgres is down")?.url(database))
    }

    pub(crate) fn socket(&self) -> anyhow::Result<PathBuf> {
        let url = url::Url::parse(&self.url("postgres")?)?;
        let host = url.query_pairs().find(|(name, _)| name == "host").context("a socket")?.1.into_owned();
        Ok(Path::new(&host).join(".s.PGSQL.5432"))
    }

    /// A fast shutdown.
    pub(crate) fn stop(&mut self) {
        self.server = None;
    }

    /// As pg_ctl stop -m immediate does: nothing is written first.
    pub(crate) fn crash(&mut self) -> anyhow::Result<()> {
        kill_process(self.postmaster()?, Signal::QUIT)?;
        self.server = None;
        Ok(())
    }

    pub(crate) fn start_again(&mut self) -> anyhow::Result<()> {
        self.server = Some(Embedded::start(&self.directory.path().join("pg"))?);
        Ok(())
    }

    fn postmaster(&self) -> anyhow::Result<Pid> {
        let pid = std::fs::read_to_string(self.data().join("postmaster.pid"))?;
        let pid = pid.lines().next().context("a number")?.parse()?;
        Pid::from_raw(pid).context("a process")
    }

    /// Stops every process of the server where it stands, or lets them go on.
    pub(crate) fn signal_all(&self, signal: Signal) -> anyhow::Result<()> {
        let postmaster = self.postmaster()?;
        kill_process(postmaster, signal)?;
        for entry in std::fs::read_dir("/proc")?.flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
            let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
            let parent = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1));
            if parent.and_then(|parent| parent.parse().ok()) == Some(postmaster.as_raw_nonzero().get())
                && let Some(pid) = Pid::from_raw(pid)
            {
                // It may have ended by itself.
                let _ = kill_process(pid, signal);
            }
        }
        Ok(())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // A row that was broken off may have stopped them where they stood, and then they do not end.
        let _ = self.signal_all(Signal::CONT);
    }
}

/// One target: where the oracle finds its requests, and its slots.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) key: String,
    /// What the fault server logs.
    pub(crate) path: String,
    pub(crate) grid: Grid,
    /// Whether it always answers well.
    pub(crate) is_healthy: bool,
}

/// Where a row plays.
pub(crate) struct Ground {
    pub(crate) database: String,
    pub(crate) pool: PgPool,
    pub(crate) server: FaultServer,
    pub(crate) targets: Vec<Target>,
    directory: TempDir,
    pub(crate) most_memory_kib: u64,
    started: usize,
    /// For all workers, beside what a row asks for.
    pub(crate) environment: Vec<(String, String)>,
}

/// What there is to watch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Watched<'a> {
    pub(crate) path: &'a str,
    pub(crate) count: usize,
    pub(crate) interval: Duration,
    pub(crate) timeout: Duration,
    pub(crate) is_healthy: bool,
}

/// Of the apis, for who may write.
pub(crate) const TOKEN: &str = "a token of sixteen and more";

fn free_port() -> std::io::Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// So many targets that answer, each every second.
pub(crate) fn healthy(count: usize) -> Watched<'static> {
    Watched {
        path: "/ok",
        count,
        interval: Duration::from_secs(1),
        timeout: Duration::from_millis(900),
        is_healthy: true,
    }
}

impl Ground {
    pub(crate) async fn new(cluster: &mut Cluster, watched: &[Watched<'_>]) -> anyhow::Result<Self> {
        Self::beside(cluster, watched, FaultServer::start_on_thread()?, None).await
    }

    /// The same with a fault server of one's own, by another name of the host than its address.
    pub(crate) async fn beside(
        cluster: &mut Cluster,
        watched: &[Watched<'_>],
        server: FaultServer,
        host: Option<&dyn Fn(usize) -> String>,
    ) -> anyhow::Result<Self> {
        cluster.databases += 1;
        let database = format!("faults_{}", cluster.databases);
        let mut connection = PgConnection::connect(&cluster.url("postgres")?).await?;
        sqlx::query(AssertSqlSafe(format!("create database {database}"))).execute(&mut connection).await?;
        connection.close().await?;
        let url = cluster.url(&database)?;
        schema::migrate(&url).await?;
        let pool =
            PgPoolOptions::new().max_connections(1).acquire_timeout(Duration::from_secs(60)).connect_lazy(&url)?;
        let directory = tempfile::Builder::new().prefix("faults").tempdir()?;
        let mut targets = Vec::new();
        let mut yaml = String::from("version: 1\ntargets:\n");
        for kind in watched {
            for _ in 0..kind.count {
                let number = targets.len();
                let key = format!("t{number}");
                let path = format!("{}?t={number}", kind.path);
                let host = host.map_or_else(|| server.addr().ip().to_string(), |host| host(number));
                let interval = Interval::new(kind.interval).context("an interval")?;
                yaml.push_str(&format!(
                    "  - {{name: {key}, url: 'http://{host}:{}{path}', interval: {}ms, timeout: {}ms}}\n",
                    server.addr().port(),
                    kind.interval.as_millis(),
                    kind.timeout.as_millis(),
                ));
                targets.push(Target { grid: Grid::new(&key, interval), key, path, is_healthy: kind.is_healthy });
            }
        }
        std::fs::write(directory.path().join("targets.yaml"), yaml)?;
        let environment = Vec::new();
        Ok(Self { database, pool, server, targets, directory, most_memory_kib: 0, started: 0, environment })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Starts this program again as a worker on the database at `url`.
    pub(crate) fn worker(&mut self, url: &str) -> anyhow::Result<Running> {
        self.wrapped_worker(url, &[])
    }

    /// The same by way of another program, which gets it as its arguments.
    pub(crate) fn wrapped_worker(&mut self, url: &str, wrapper: &[&str]) -> anyhow::Result<Running> {
        let environment = [
            ("LOOKOUT_CONFIG".to_owned(), self.path("targets.yaml").display().to_string()),
            ("LOOKOUT_DATA_DIR".to_owned(), self.path("data").display().to_string()),
        ];
        let environment: Vec<_> = environment.into_iter().chain(self.environment.iter().cloned()).collect();
        self.process("worker", url, wrapper, &environment)
    }

    /// A worker as on another machine: what others have on disk it does not see.
    pub(crate) fn worker_elsewhere(&mut self, url: &str) -> anyhow::Result<Running> {
        let directory = self.path(&format!("data-{}", self.started));
        self.environment.push(("LOOKOUT_DATA_DIR".to_owned(), directory.display().to_string()));
        let worker = self.worker(url);
        self.environment.pop();
        worker
    }

    /// A worker that tells how it does at a port of this machine.
    pub(crate) fn telling_worker(&mut self, url: &str) -> anyhow::Result<(Running, u16)> {
        let port = free_port()?;
        self.environment.push(("WORKER_ADDR".to_owned(), format!("127.0.0.1:{port}")));
        let worker = self.worker(url);
        self.environment.pop();
        Ok((worker?, port))
    }

    /// Starts this program again as an api, and waits until it is ready at the port.
    pub(crate) async fn api(&mut self, url: &str) -> anyhow::Result<(Running, u16)> {
        self.wrapped_api(url, &[]).await
    }

    /// The same by way of another program, which gets it as its arguments.
    pub(crate) async fn wrapped_api(&mut self, url: &str, wrapper: &[&str]) -> anyhow::Result<(Running, u16)> {
        let port = free_port()?;
        let environment = [
            ("API_ADDR".to_owned(), format!("127.0.0.1:{port}")),
            ("API_TOKEN".to_owned(), TOKEN.to_owned()),
            // One address asks for all.
            ("RATE_LIMIT".to_owned(), "0".to_owned()),
        ];
        let api = self.process("api", url, wrapper, &environment)?;
        let deadline = Instant::now() + Duration::from_secs(30);
        while !ask(port, "/readyz").await.is_ok_and(|answer| answer.status == 200) {
            if Instant::now() > deadline {
                bail!("the api is not ready:\n{}", api.log());
            }
            sleep(Duration::from_millis(50)).await;
        }
        Ok((api, port))
    }

    /// Starts this program again to do something else.
    pub(crate) fn process(
        &mut self,
        what: &str,
        url: &str,
        wrapper: &[&str],
        environment: &[(String, String)],
    ) -> anyhow::Result<Running> {
        let program = std::env::current_exe()?;
        let program = program.to_str().context("a path that can be written")?;
        let arguments = [wrapper, &[program, what]].concat();
        self.started += 1;
        let log = self.path(&format!("{what}-{}.log", self.started));
        let mut command = Command::new(arguments[0]);
        command
            .args(&arguments[1..])
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("DATABASE_URL", url)
            .env("LOG_LEVEL", "info")
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .current_dir(self.directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log)?);
        let child = command.spawn().with_context(|| format!("cannot start {}", arguments[0]))?;
        Ok(Running::new(child, log))
    }

    /// Waits until every healthy target was asked `rounds` times more.
    pub(crate) async fn rounds(&mut self, rounds: usize, worker: &Running) -> anyhow::Result<()> {
        let healthy = self.targets.iter().filter(|target| target.is_healthy).count();
        let wanted = self.server.log().len() + rounds * healthy;
        let longest = self.targets.iter().map(|target| target.grid.interval()).max().unwrap_or(0);
        let time = Duration::from_micros(longest.unsigned_abs()) * (2 * rounds as u32);
        let deadline = Instant::now() + Duration::from_secs(30) + time;
        while self.server.log().len() < wanted {
            if Instant::now() > deadline {
                bail!("nothing is being probed:\n{}", worker.log());
            }
            self.pass(Duration::from_millis(100), &[worker]).await;
        }
        Ok(())
    }

    /// Lets time pass, and looks at how much memory the workers take.
    pub(crate) async fn pass(&mut self, time: Duration, workers: &[&Running]) {
        let until = Instant::now() + time;
        loop {
            for worker in workers {
                self.most_memory_kib = self.most_memory_kib.max(worker.memory_kib());
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            sleep(left.min(Duration::from_millis(200))).await;
        }
    }

    /// Waits until a check that began after `moment_us` is stored; how long that took.
    pub(crate) async fn stored_since(&self, moment_us: i64, patience: Duration) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        loop {
            let newest: Result<Option<i64>, _> = sqlx::query_scalar(
                "select (extract(epoch from max(started_at)) * 1000000)::int8 from check_result
                 where slot_at > clock_timestamp() - interval '1 hour'",
            )
            .fetch_one(&self.pool)
            .await;
            if newest.ok().flatten().is_some_and(|newest| newest >= moment_us) {
                return Ok(begun.elapsed());
            }
            if begun.elapsed() > patience {
                bail!("nothing new was stored within {} s", patience.as_secs());
            }
            sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Microseconds since the epoch, by the clock that the fault server logs with.
pub(crate) fn now_us() -> i64 {
    chrono::Utc::now().timestamp_micros()
}
