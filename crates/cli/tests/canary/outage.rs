//! What is left and sent while Postgres is away, and what whoever looks on gets: disk, frames, spans, pages, refusals.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use demo::faults::FaultServer;
use reqwest::Method;
use rustix::process::{Pid, Signal, kill_process};
use store::testing::{Cable, TestDb};

use crate::{CANARY, Up, assert_clean, eventually, good, lookout};

/// Everything that a connection to this address brings, as it comes; each request is answered.
fn collector() -> (String, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let taken = Arc::<Mutex<Vec<u8>>>::default();
    let all = Arc::clone(&taken);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, all) = (stream.unwrap(), Arc::clone(&all));
            std::thread::spawn(move || {
                let mut buffer = [0; 16 * 1024];
                while let Ok(count @ 1..) = stream.read(&mut buffer) {
                    all.lock().unwrap().extend_from_slice(&buffer[..count]);
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
                }
            });
        }
    });
    (endpoint, taken)
}

/// What a socket that looks at this gets within three seconds. Its own message goes under a mask of zeros, which
/// leaves it as it is; what comes has none.
fn frames(base: &str, message: &str) -> String {
    let host = base.trim_start_matches("http://");
    let mut stream = TcpStream::connect(host).unwrap();
    let head = format!(
        "GET /api/v1/live HTTP/1.1\r\nhost: {host}\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut frame = vec![0x81, 0x80 | u8::try_from(message.len()).unwrap(), 0, 0, 0, 0];
    frame.extend_from_slice(message.as_bytes());
    stream.write_all(&frame).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let (mut all, mut buffer) = (Vec::new(), [0; 16 * 1024]);
    let end = std::time::Instant::now() + Duration::from_secs(3);
    while std::time::Instant::now() < end {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => all.extend_from_slice(&buffer[..count]),
            Err(_) => {}
        }
    }
    String::from_utf8_lossy(&all).into_owned()
}

/// All files below, one after the other.
fn bytes_below(directory: &Path) -> Vec<u8> {
    let mut all = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        match entry.path() {
            path if path.is_dir() => all.extend(bytes_below(&path)),
            path => all.extend(fs::read(path).unwrap_or_default()),
        }
    }
    all
}

/// The targets of a file and one whose server says again what it was told, to an assertion that fails.
fn config(server: &FaultServer) -> String {
    let echo = server.url("/echo").replace("http://", &format!("http://me:{CANARY}@"));
    let echo = format!(
        "  - {{name: echo, url: '{echo}?key=${{TOKEN}}', method: POST, interval: 1s, body: '${{TOKEN}}',
     headers: {{X-Key: 'Bearer ${{TOKEN}}'}}, expect: {{body: {{contains: nowhere}}}}}}\n"
    );
    good() + &echo
}

/// Asks for every path there is to read, with this target and the first of everything else.
async fn all_answers(up: &Up, key: &str) {
    let document: serde_json::Value = serde_json::from_str(&up.get("/api/openapi.json").await).unwrap();
    for (path, operations) in document["paths"].as_object().unwrap() {
        if operations.get("get").is_some() {
            let path = path.replace("{key}", key).replace("{id}", "1").replace("{window}", "1h");
            let answer = Up::client().get(format!("{}{path}", up.base)).send().await.unwrap();
            let text = format!("{:?}\n{}", answer.headers().clone(), answer.text().await.unwrap());
            assert_clean(&path, &text);
        }
    }
    let parameters = "from=2026-01-01T00:00:00Z&to=2026-12-31T00:00:00Z";
    for report in ["mttr", "histogram", "incidents"] {
        let answer = up.get(&format!("/api/v1/reports/{report}?{parameters}")).await;
        assert_clean(report, &answer);
    }
    for path in ["/", "/public", "/public.json", "/public/feed.xml", &format!("/badge/{key}/24h.svg")] {
        assert_clean(path, &up.get(path).await);
    }
}

/// What is refused says why, and nothing of the secrets in it.
async fn all_refusals(up: &Up) {
    let admin = format!("{CANARY}-of-the-settings");
    let posted = format!(
        r#"{{"name": "a", "url": "http://me:{CANARY}@h:0/", "interval": "1s", "headers": {{"Host": "{CANARY}", "X": 1}},
            "body": {{"password": "{CANARY}"}}}}"#
    );
    let target = "/api/v1/targets/a";
    let client = Up::client();
    for (method, path, body) in [
        (Method::PUT, target, posted.clone()),
        (Method::PUT, target, format!("[{posted}")),
        (Method::PUT, target, format!(r#"{{"url": "http://h/", "headers": ["{CANARY}"], "body": "{CANARY}\u0000"}}"#)),
        (Method::PUT, target, format!(r#"{{"url": "http://u:{CANARY} @h/", "body": "{CANARY}", "body": "{CANARY}"}}"#)),
        (Method::POST, "/api/v1/targets", format!(r#"{{"url": "ftp://me:{CANARY}@h/"}}"#)),
        (Method::POST, "/api/v1/targets", format!(r#"{{"url": "http://me:{CANARY}@169.254.169.254/"}}"#)),
    ] {
        let request = client.request(method.clone(), format!("{}{path}", up.base)).bearer_auth(&admin);
        let answer = request.header("content-type", "application/json").body(body.clone()).send().await.unwrap();
        assert!((400..500).contains(&answer.status().as_u16()), "{method} {path} {body}: {}", answer.status());
        assert_clean(&format!("the answer to {method} {path}"), &answer.text().await.unwrap());
    }
    for (name, value) in [
        ("authorization", format!("Bearer {CANARY}")),
        ("authorization", format!("Basic {CANARY}")),
        ("authorization", CANARY.to_owned()),
        ("cookie", format!("token={CANARY}")),
        ("sec-websocket-protocol", format!("lookout, bearer.{CANARY}")),
    ] {
        let request = client.post(format!("{}/api/v1/changes", up.base)).header(name, value);
        let answer = request.header("content-type", "application/json").body("{}").send().await.unwrap();
        assert_eq!(answer.status(), 401, "{name}");
        assert_clean(&format!("the refusal of {name}"), &answer.text().await.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_on_disk_while_postgres_is_away_nor_in_frames_spans_pages_or_refusals() {
    let db = TestDb::new().await;
    let cable = Cable::to(&db).await;
    let server = FaultServer::start_on_thread().unwrap();
    let (endpoint, spans) = collector();
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    fs::write(directory.join("token"), format!("{CANARY}-file\n")).unwrap();
    fs::write(directory.join("config.yaml"), config(&server)).unwrap();
    let up = Up::run(
        directory,
        lookout(directory)
            .env("DATABASE_URL", cable.url())
            .env("API_TOKEN", format!("{CANARY}-of-the-settings"))
            .env("PUBLIC_READ", "on")
            .env("PUBLIC_PAGE", "on")
            .env("WORKER_ADDR", "127.0.0.1:0")
            .env("LOOKOUT_DATA_DIR", "data")
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)
            .env("OTEL_BSP_SCHEDULE_DELAY", "200"),
    );
    let log = || fs::read_to_string(directory.join("log")).unwrap();
    let tried = ["everything is down", "plain is down", "echo is down"];
    eventually("all were tried", async || tried.iter().all(|line| log().contains(line))).await;
    let worker =
        log().lines().find_map(|line| Some(line.split_once("health and metrics are on ")?.1.trim().to_owned()));
    let worker = worker.expect("the worker says where it answers");

    for message in [
        r#"{"subscribe": "overview"}"#,
        r#"{"subscribe": "target", "key": "everything"}"#,
        r#"{"subscribe": "target", "key": "echo"}"#,
        r#"{"subscribe": "table", "sort": "state", "page": 1}"#,
        r#"{"subscribe": "target", "key": "no one"}"#,
    ] {
        let base = up.base.clone();
        let got = tokio::task::spawn_blocking(move || frames(&base, message)).await.unwrap();
        assert!(got.starts_with("HTTP/1.1 101") && got.contains("\"type\""), "{message}: {got}");
        assert_clean(message, &got);
    }
    for key in ["everything", "echo", "no%20such%20host"] {
        all_answers(&up, key).await;
    }
    for path in ["/metrics", "/readyz", "/healthz"] {
        assert_clean(path, &Up::client().get(format!("{worker}{path}")).send().await.unwrap().text().await.unwrap());
    }
    all_refusals(&up).await;

    cable.cut();
    let data = directory.join("data");
    let is_there = |piece: &[u8]| bytes_below(&data).windows(piece.len()).any(|window| window == piece);
    eventually("what an assertion saw is on disk", async || is_there(b"***")).await;
    assert!(!is_there(CANARY.as_bytes()), "the disk holds a secret");
    let refused = Up::client().get(format!("{}/status", up.base)).send().await.unwrap();
    assert_eq!(refused.status(), 503);
    assert_clean("what is said without Postgres", &refused.text().await.unwrap());
    cable.mend();
    eventually("it is stored after all", async || log().contains("postgres is back")).await;
    assert!(!is_there(CANARY.as_bytes()), "the disk holds a secret");

    // On disk a text is cut into pieces; here it is whole.
    let rows = "select string_agg(c::text, ' ') from check_result c where detail like '%***%'";
    let rows: String = sqlx::query_scalar(rows).fetch_one(&db.pool).await.unwrap();
    assert_clean("what was stored", &rows);

    let sent = String::from_utf8_lossy(&spans.lock().unwrap()).into_owned();
    assert!(sent.contains("everything"), "no spans came");
    assert_clean("what the collector gets", &sent);
    // Nor does anything that is asked for stand in the log as it came.
    for path in ["/api/v1/targets/%1b[31m%0d%0aforged", "/%0aforged", "/status?url=%0aforged%1b[31m"] {
        let _ = Up::client().get(format!("{}{path}", up.base)).send().await.unwrap();
    }
    kill_process(Pid::from_child(&up.child), Signal::TERM).unwrap();
    drop(up);
    assert_clean("the log", &log());
    assert!(!log().contains('\u{1b}') && !log().lines().any(|line| line.starts_with("forged")), "{}", log());
}
