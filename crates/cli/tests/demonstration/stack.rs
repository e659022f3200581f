//! The demonstration with its neighbours, all of it really running: three functions and fantastic,
//! Traefik in front of the functions, lookout that watches them, Prometheus that scrapes them all, and
//! blackbox_exporter where it has a job.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

use store::testing::TestDb;
use tempfile::TempDir;

use crate::config;
use crate::program::{Program, find, lookout, tool};
use crate::prometheus::{Prometheus, client};

const FUNCTIONS: [&str; 3] = ["fibonacci", "ackermann", "factorial"];

/// All of it; ends with this value.
pub(crate) struct Stack {
    /// Where Traefik leads to the functions.
    pub(crate) entry: String,
    pub(crate) prometheus: Prometheus,
    functions: Vec<String>,
    /// The last one started is the first to go.
    _programs: Vec<Program>,
    _db: TestDb,
    _directory: TempDir,
}

impl Drop for Stack {
    fn drop(&mut self) {
        while self._programs.pop().is_some() {}
    }
}

/// A program and where it says that it listens.
fn listening(arguments: &[&str], mark: &str) -> (Program, String) {
    let mut command = lookout();
    command.args(arguments);
    let program = Program::start(command);
    let addr = program.hear(mark);
    (program, addr)
}

impl Stack {
    /// Starts everything and waits until each answers.
    pub(crate) async fn start() -> Self {
        let db = TestDb::new().await;
        let directory = tempfile::tempdir().unwrap();
        let (fantastic, fantastic_addr) =
            listening(&["demo", "fantastic", "--port", "0", "--fail", "0"], "listens on http://");
        let mut programs = vec![fantastic];
        let mut functions = Vec::new();
        for only in FUNCTIONS {
            let arguments = ["demo", "functions", "--only", only, "--port", "0", "--control"];
            let (program, addr) = listening(&arguments, "listen on http://");
            programs.push(program);
            functions.push(addr);
        }
        let (traefik, entry, traefik_metrics) = start_traefik(directory.path(), &functions).await;
        programs.push(traefik);

        let file = config::with(
            "examples/demo.yaml",
            &[("http://traefik:8000", &entry), ("http://fantastic:12345", &format!("http://{fantastic_addr}"))],
        );
        let path = directory.path().join("lookout.yaml");
        fs::write(&path, file).unwrap();
        let mut up = lookout();
        up.arg("up").env("DATABASE_URL", &db.url).env("LOOKOUT_CONFIG", path).env("LOG_LEVEL", "info");
        up.args(["--api-addr", "127.0.0.1:0", "--worker-addr", "127.0.0.1:0"]);
        let up = Program::start(up);
        let api = up.hear("answering  http://");
        let worker = up.hear("health and metrics are on http://");
        programs.push(up);

        let blackbox = config::jobs().iter().any(|job| is_blackbox(job)).then(start_blackbox);
        let (blackbox, blackbox_addr) = blackbox.unzip();
        programs.extend(blackbox);

        let addresses = |job: &str| match job {
            "lookout-api" => vec![api.clone()],
            "lookout-worker" => vec![worker.clone()],
            "functions" => functions.clone(),
            "traefik" => vec![traefik_metrics.clone()],
            job if is_blackbox(job) => blackbox_addr.clone().into_iter().collect(),
            other => panic!("the job {other} of deploy/prometheus/prometheus.yml is not started by this test"),
        };
        let (prometheus, addr) = start_prometheus(directory.path(), &entry, &addresses);
        programs.push(prometheus);
        let prometheus = Prometheus::new(&addr);
        Self { entry, prometheus, functions, _programs: programs, _db: db, _directory: directory }
    }

    /// Breaks fibonacci, or mends it.
    pub(crate) async fn let_fibonacci_fail(&self, share: f64) {
        let url = format!("http://{}/control", self.functions[0]);
        let answer = client().put(&url).body(format!(r#"{{"fail": {share}}}"#)).send().await.unwrap();
        assert!(answer.status().is_success(), "{}", answer.status());
    }
}

/// Where it leads to the functions, and where it tells its metrics.
///
/// Traefik does not say which port it was given, so each is chosen here: free a moment ago. Where
/// somebody was quicker, others are tried.
async fn start_traefik(directory: &Path, functions: &[String]) -> (Program, String, String) {
    let urls: Vec<_> = functions.iter().map(|addr| format!("http://{addr}")).collect();
    let committed = FUNCTIONS.map(|name| format!("http://{name}:8001"));
    let replaced: Vec<_> = committed.iter().zip(&urls).map(|(from, to)| (from.as_str(), to.as_str())).collect();
    let routes = directory.join("routes.yml");
    fs::write(&routes, config::with("deploy/traefik/routes.yml", &replaced)).unwrap();
    let file = directory.join("traefik.yml");
    let mut said = String::new();
    for _ in 0..3 {
        let free = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let [web, metrics, own] = free.map(|listener| listener.local_addr().unwrap().port());
        let ports = [("web", web), ("metrics", metrics), ("traefik", own)];
        fs::write(&file, config::traefik(ports, &routes)).unwrap();
        let mut command = tool("traefik");
        command.arg(format!("--configFile={}", file.display()));
        let mut traefik = Program::start(command);
        let entry = format!("http://127.0.0.1:{web}");
        // Routes are read after the ports are open.
        if eventually(async || !traefik.runs() || is_ok(&format!("{entry}/fibonacci/1/")).await).await && traefik.runs()
        {
            return (traefik, entry, format!("127.0.0.1:{metrics}"));
        }
        said = traefik.said();
    }
    panic!("Traefik does not lead to the functions:\n{said}");
}

fn is_blackbox(job: &str) -> bool {
    job.starts_with("blackbox")
}

fn start_blackbox() -> (Program, String) {
    // Debian's name for it, and its own.
    let name = ["prometheus-blackbox-exporter", "blackbox_exporter"].into_iter().find(|name| find(name).is_some());
    let mut command = tool(name.unwrap_or("prometheus-blackbox-exporter"));
    command.arg(format!("--config.file={}", config::root().join("deploy/blackbox/blackbox.yml").display()));
    command.arg("--web.listen-address=127.0.0.1:0");
    let program = Program::start(command);
    let addr = program.hear(LISTENING);
    (program, addr)
}

/// What Prometheus and its exporters say: msg="Listening on" address=127.0.0.1:43125
const LISTENING: &str = "\"Listening on\" address=";

fn start_prometheus(directory: &Path, entry: &str, addresses: &dyn Fn(&str) -> Vec<String>) -> (Program, String) {
    let rules = directory.join("rules.yml");
    fs::write(&rules, config::impatient_rules()).unwrap();
    let file = directory.join("prometheus.yml");
    fs::write(&file, config::prometheus(addresses, entry, &rules)).unwrap();
    let mut command = tool("prometheus");
    command.arg(format!("--config.file={}", file.display()));
    command.arg(format!("--storage.tsdb.path={}", directory.join("series").display()));
    command.arg("--web.listen-address=127.0.0.1:0");
    let program = Program::start(command);
    let addr = program.hear(LISTENING);
    program.hear("Server is ready to receive web requests");
    (program, addr)
}

async fn is_ok(url: &str) -> bool {
    client().get(url).send().await.is_ok_and(|answer| answer.status() == 200)
}

/// Whether it holds within a time that is long for anything here.
pub(crate) async fn eventually(mut holds: impl AsyncFnMut() -> bool) -> bool {
    let deadline = Instant::now() + Duration::from_secs(30);
    while Instant::now() < deadline {
        if holds().await {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    false
}
