//! Traces as a collector gets them from `lookout`, and how little of it there is where nobody asked.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use demo::faults::{FaultArgs, FaultServer};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use rustix::process::{Pid, Signal, kill_process};
use store::testing::TestDb;

/// The head and the body of what was posted.
type Posted = (String, Vec<u8>);

/// Takes what is exported, and answers that it did.
struct Collector {
    endpoint: String,
    bodies: Arc<Mutex<Vec<Posted>>>,
}

impl Collector {
    fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let bodies = Arc::new(Mutex::new(Vec::new()));
        let taken = Arc::clone(&bodies);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, taken) = (stream.unwrap(), Arc::clone(&taken));
                std::thread::spawn(move || {
                    while let Some(request) = take(&stream) {
                        taken.lock().unwrap().push(request)
                    }
                });
            }
        });
        Self { endpoint, bodies }
    }

    /// The name of who sent them, and the spans.
    fn spans(&self) -> (String, Vec<Span>) {
        let mut service = String::new();
        let mut spans = Vec::new();
        for (head, body) in self.bodies.lock().unwrap().iter() {
            assert!(head.starts_with("POST /v1/traces HTTP/1.1"), "{head}");
            for sent in ExportTraceServiceRequest::decode(body.as_slice()).unwrap().resource_spans {
                service = text(&sent.resource.unwrap().attributes, "service.name");
                spans.extend(sent.scope_spans.into_iter().flat_map(|scope| scope.spans));
            }
        }
        (service, spans)
    }
}

/// One request.
fn take(mut stream: &TcpStream) -> Option<Posted> {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let length = head.to_ascii_lowercase().split_once("content-length: ")?.1.split("\r\n").next()?.parse().ok()?;
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n").ok()?;
    Some((head, body))
}

fn text(attributes: &[KeyValue], key: &str) -> String {
    let found = attributes.iter().find(|attribute| attribute.key == key);
    match found.and_then(|attribute| attribute.value.clone()) {
        Some(AnyValue { value: Some(Value::StringValue(text)) }) => text,
        Some(AnyValue { value: Some(Value::IntValue(number)) }) => number.to_string(),
        other => panic!("{key} is {other:?} in {attributes:?}"),
    }
}

struct Lookout {
    child: Child,
    addr: String,
    stderr: std::thread::JoinHandle<String>,
}

impl Lookout {
    fn start(db: &TestDb, url: &str, variables: &[(&str, &str)]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_lookout"))
            .env_clear()
            .envs(variables.iter().copied())
            .env("DATABASE_URL", db.url())
            .args(["--api-addr", "127.0.0.1:0", "--interval", "1s", "--urls", url])
            // The program reads .env from where it is started.
            .current_dir(std::env::temp_dir())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let stderr = std::thread::spawn(move || {
            let mut text = String::new();
            stderr.read_to_string(&mut text).unwrap();
            text
        });
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let addr = lines.find_map(|line| Some(line.unwrap().trim().strip_prefix("answering  http://")?.to_owned()));
        std::thread::spawn(move || lines.count());
        Self { child, addr: addr.expect("it says where it answers"), stderr }
    }

    fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(&self.addr).unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nx-key: s3cret\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// Until so many checks are stored.
    async fn stored(&self, checks: usize) {
        let deadline = Instant::now() + Duration::from_secs(40);
        while self.get("/status").matches("\"ok\":true").count() < checks {
            assert!(Instant::now() < deadline, "{}", self.get("/status"));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    #[cfg(target_os = "linux")]
    fn has_sender(&self) -> bool {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        // The system keeps fifteen letters of a name.
        tasks.flatten().any(|task| {
            std::fs::read_to_string(task.path().join("comm")).is_ok_and(|name| name.starts_with("OpenTelemetry"))
        })
    }

    fn stop(mut self) -> (ExitStatus, Duration, String) {
        let asked = Instant::now();
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        let status = self.child.wait().unwrap();
        (status, asked.elapsed(), self.stderr.join().unwrap())
    }
}

/// Something to watch.
async fn target() -> FaultServer {
    FaultServer::open(&FaultArgs { host: "127.0.0.1".to_owned(), port: 0, log: None }).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_gets_requests_checks_and_flushes_and_no_secret() {
    let (db, target, collector) = (TestDb::new().await, target().await, Collector::open());
    // Longer than the test: what comes has been sent by the clean stop.
    let variables =
        [("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint.as_str()), ("OTEL_BSP_SCHEDULE_DELAY", "600000")];
    let url = target.url("/ok?key=s3cret").replace("http://", "http://me:s3cret@");
    let lookout = Lookout::start(&db, &url, &variables);
    #[cfg(target_os = "linux")]
    assert!(lookout.has_sender());
    lookout.stored(1).await;
    assert!(lookout.get("/api/v1/targets/s3cret-key?x=s3cret").starts_with("HTTP/1.1 4"));
    assert!(lookout.get("/s3cret").starts_with("HTTP/1.1 404"));
    let (status, _, stderr) = lookout.stop();
    assert!(status.success(), "{stderr}");

    let (service, spans) = collector.spans();
    assert_eq!(service, "lookout");
    let named = |name: &str| spans.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("{name}: {spans:?}"));
    let request = named("GET /api/v1/targets/{key}");
    assert_eq!(text(&request.attributes, "http.route"), "/api/v1/targets/{key}");
    assert!(text(&request.attributes, "http.response.status_code").starts_with('4'));
    assert_eq!(text(&request.attributes, "lookout.request_id").len(), 16);
    assert!(request.end_time_unix_nano > request.start_time_unix_nano);
    assert_eq!(text(&named("GET elsewhere").attributes, "http.response.status_code"), "404");
    let check = named("check");
    assert_eq!(text(&check.attributes, "lookout.outcome"), "up");
    assert_eq!(text(&check.attributes, "http.response.status_code"), "200");
    assert!(text(&check.attributes, "lookout.target").starts_with("http://127.0.0.1:"), "{check:?}");
    assert!(
        spans.iter().filter(|span| span.name == "flush").any(|span| text(&span.attributes, "lookout.checks") != "0")
    );
    for (head, body) in collector.bodies.lock().unwrap().iter() {
        assert!(!head.contains("s3cret") && !String::from_utf8_lossy(body).contains("s3cret"));
    }
    db.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sampler_decides_what_is_sent() {
    let (db, target, collector) = (TestDb::new().await, target().await, Collector::open());
    let variables =
        [("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint.as_str()), ("OTEL_TRACES_SAMPLER", "always_off")];
    let lookout = Lookout::start(&db, &target.url("/ok"), &variables);
    lookout.stored(2).await;
    assert!(lookout.stop().0.success());
    assert_eq!(collector.spans().1, []);
    db.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_down_costs_one_line_and_no_check() {
    let target = target().await;
    // Taken and never answered there.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (addr, is_said) in [(nobody, true), (silent.local_addr().unwrap(), false)] {
        let db = TestDb::new().await;
        let endpoint = format!("http://{addr}");
        let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()), ("OTEL_BSP_SCHEDULE_DELAY", "50")];
        let lookout = Lookout::start(&db, &target.url("/ok"), &variables);
        lookout.stored(5).await;
        let counts = lookout.get("/metrics");
        let (status, took, stderr) = lookout.stop();
        assert!(status.success() && took < Duration::from_secs(10), "{status} after {took:?}: {stderr}");
        for line in counts.lines().filter(|line| line.contains("missed") && !line.starts_with('#')) {
            assert!(line.ends_with(" 0"), "{line}");
        }
        let said = stderr.lines().filter(|line| line.contains("takes no traces")).count();
        assert!(if is_said { said == 1 } else { said <= 1 }, "{stderr}");
        assert!(!stderr.contains("OpenTelemetry") && !stderr.contains("opentelemetry"), "{stderr}");
        db.close().await;
    }
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn without_an_endpoint_nothing_runs_for_traces() {
    let (db, target) = (TestDb::new().await, target().await);
    let lookout = Lookout::start(&db, &target.url("/ok"), &[("OTEL_EXPORTER_OTLP_ENDPOINT", "")]);
    lookout.stored(1).await;
    assert!(!lookout.has_sender());
    assert!(lookout.stop().0.success());
    db.close().await;
}
