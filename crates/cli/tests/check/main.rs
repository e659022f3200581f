//! `lookout check` as people run it: what it asks, prints and exits with.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use demo::faults::FaultServer;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A file of endpoints, and the program that reads it.
struct List(TempDir);

impl List {
    fn new(yaml: impl AsRef<[u8]>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("list.yaml"), yaml).unwrap();
        Self(directory)
    }

    /// Endpoints of these names and URLs.
    fn of(endpoints: impl IntoIterator<Item = (String, String)>) -> Self {
        let entries = endpoints.into_iter().map(|(name, url)| format!("- {{name: '{name}', url: '{url}'}}\n"));
        Self::new(entries.collect::<String>())
    }

    fn start(&self, arguments: &str) -> Running {
        let mut child = Command::new(env!("CARGO_BIN_EXE_lookout"))
            .env_clear()
            .arg("check")
            .args(arguments.split_whitespace())
            .current_dir(self.0.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Running { child, stdout: Some(stdout), started: Instant::now() }
    }

    /// Runs the program with something on standard input until it ends.
    fn lookout(&self, arguments: &str, stdin: &[u8]) -> Output {
        let mut running = self.start(arguments);
        // It may end before it has read everything.
        let _ = running.child.stdin.take().unwrap().write_all(stdin);
        running.output()
    }

    #[track_caller]
    fn assert_refused(&self, arguments: &str, expected: &[&str]) {
        let output = self.lookout(arguments, b"");
        let said = stderr(&output);
        assert_eq!((output.status.code(), text(&output).as_str()), (Some(2), ""), "{arguments}: {said}");
        assert_eq!(said.lines().count(), expected.len(), "{said}");
        for (line, expected) in said.lines().zip(expected) {
            assert!(line.contains(expected), "{line} lacks {expected}");
        }
        assert!(!said.contains("s3cret"), "{said}");
    }
}

/// The program at work.
struct Running {
    child: Child,
    stdout: Option<BufReader<ChildStdout>>,
    started: Instant,
}

impl Running {
    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    fn line(&mut self) -> Value {
        let mut line = String::new();
        self.stdout.as_mut().unwrap().read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }

    async fn until(&self, since_start: Duration) {
        tokio::time::sleep_until((self.started + since_start).into()).await;
    }

    /// Waits for the end; the output lacks what was read before.
    fn output(mut self) -> Output {
        let mut stdout = Vec::new();
        self.stdout.as_mut().unwrap().read_to_end(&mut stdout).unwrap();
        let mut stderr = Vec::new();
        self.child.stderr.take().unwrap().read_to_end(&mut stderr).unwrap();
        Output { status: self.child.wait().unwrap(), stdout, stderr }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn lines(output: &Output) -> Vec<Value> {
    text(output).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn at(report: &Value) -> DateTime<Utc> {
    report["at"].as_str().unwrap().parse().unwrap()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap()
}

/// An endpoint's last result and counts: status, cause, up, degraded, down.
fn standing(report: &Value, endpoint: usize) -> Value {
    let line = &report["endpoints"][endpoint];
    json!([line["status"], line["cause"], line["up"], line["degraded"], line["down"]])
}

/// That the counts of a report fit each other: endpoints to domains, and all to the number of results.
#[track_caller]
fn assert_adds_up(report: &Value, results: u64) {
    let mut total = 0;
    for (domain, counts) in report["domains"].as_object().unwrap() {
        let of = |key: &str| number(&counts[key]);
        let endpoints = report["endpoints"].as_array().unwrap().iter().filter(|line| line["domain"] == **domain);
        for key in ["up", "degraded", "down"] {
            assert_eq!(endpoints.clone().map(|line| number(&line[key])).sum::<u64>(), of(key), "{domain} {report}");
        }
        assert_eq!(of("up") + of("degraded") + of("down"), of("total"), "{report}");
        assert_eq!(number(&counts["availability"]), 100 * of("up") / of("total"), "{report}");
        total += of("total");
    }
    assert_eq!(total, results, "{report}");
}

#[test]
fn fifty_endpoints_of_which_five_hang_are_asked_in_ten_cycles_at_their_exact_times() {
    let server = FaultServer::start_on_thread().unwrap();
    let port = server.addr().port();
    let endpoint = |number: usize| {
        let host = match number {
            0..21 => "127.0.0.1",
            21..40 => "localhost",
            _ => "Api.localhost",
        };
        let path = match number {
            0 | 10 | 21 | 30 | 39 => "hang",
            45 => "delay/700",
            _ => "ok",
        };
        (format!("endpoint {number}"), format!("http://{host}:{port}/{path}?e={number}"))
    };
    let list = List::of((0..50).map(endpoint));
    let running = list.start("-f 2 -r 20 --format json list.yaml");
    let started = running.started;
    let output = running.output();
    let took = started.elapsed();

    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), "Run complete!\n"));
    assert!(took >= Duration::from_secs(20) && took < Duration::from_secs(22), "{took:?}");
    let reports = lines(&output);
    assert_eq!(reports.len(), 11);
    let begin = at(&reports[0]);
    for (index, report) in reports[..10].iter().enumerate() {
        let cycle = index as u64 + 1;
        assert_eq!((number(&report["cycle"]), report["final"].as_bool()), (cycle, Some(false)));
        assert_adds_up(report, 50 * cycle);
        let off = at(report) - begin - chrono::TimeDelta::seconds(2 * index as i64);
        assert!(off.num_milliseconds().abs() <= 20, "cycle {cycle} is off the grid by {off}");
        let percent = |domain: &str| number(&report["domains"][domain]["availability"]);
        // 19 of 21, 16 of 19 and 9 of 10: decimals are dropped.
        assert_eq!([percent("127.0.0.1"), percent("localhost"), percent("api.localhost")], [90, 84, 90]);
        for endpoint in 0..50 {
            let expected = match endpoint {
                0 | 10 | 21 | 30 | 39 => json!(["DOWN", "timeout", 0, 0, cycle]),
                45 => json!(["DEGRADED", null, 0, cycle, 0]),
                _ => json!(["UP", null, cycle, 0, 0]),
            };
            assert_eq!(standing(report, endpoint), expected, "endpoint {endpoint} in cycle {cycle}");
        }
    }
    let last = &reports[10];
    assert_eq!((number(&last["cycle"]), last["final"].as_bool()), (10, Some(true)));
    assert_eq!((&last["domains"], &last["endpoints"]), (&reports[9]["domains"], &reports[9]["endpoints"]));

    // What reached the server, and when.
    let log = server.log();
    assert_eq!(log.len(), 500);
    let mut first = vec![i64::MAX; 10];
    let mut latest = 0;
    for endpoint in 0..50 {
        let arrivals: Vec<i64> = log
            .iter()
            .filter(|request| request.target.ends_with(&format!("?e={endpoint}")))
            .map(|request| request.at_us() - begin.timestamp_micros())
            .collect();
        assert_eq!(arrivals.len(), 10, "endpoint {endpoint}");
        for (cycle, arrival) in arrivals.iter().enumerate() {
            let late = arrival - 2_000_000 * cycle as i64;
            assert!((-5_000..500_000).contains(&late), "endpoint {endpoint} in cycle {cycle}: {late} µs");
            first[cycle] = first[cycle].min(late);
            latest = latest.max(late);
        }
    }
    println!("first arrivals of the cycles after their start, µs: {first:?}; the last of all: {latest}");
}

#[tokio::test]
async fn ctrl_c_after_7_s_prints_what_was_measured() {
    let server = FaultServer::start_on_thread().unwrap();
    let endpoints = [("quick", "/ok"), ("hangs", "/hang"), ("broken", "/status/503")];
    let list = List::of(endpoints.map(|(name, path)| (name.to_owned(), server.url(path))));
    let mut running = list.start("-f 2 --format json list.yaml");
    let first = running.line();
    assert_eq!((number(&first["cycle"]), standing(&first, 0)), (1, json!(["UP", null, 1, 0, 0])));
    let passed = (Utc::now() - at(&first)).to_std().unwrap();
    running.started = Instant::now() - passed;
    running.until(Duration::from_secs(7)).await;
    running.signal(Signal::INT);
    let asked = Instant::now();
    let output = running.output();

    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), "Monitoring stopped by user.\n"));
    let reports = lines(&output);
    let cycles: Vec<_> = reports.iter().map(|report| (number(&report["cycle"]), &report["final"])).collect();
    // The fourth cycle was under way: two had answered in it.
    assert_eq!(cycles, [(2, &json!(false)), (3, &json!(false)), (3, &json!(true))]);
    let last = &reports[2];
    assert_adds_up(last, 11);
    assert_eq!(standing(last, 0), json!(["UP", null, 4, 0, 0]));
    assert_eq!(standing(last, 1), json!(["DOWN", "timeout", 0, 0, 3]));
    assert_eq!(standing(last, 2), json!(["DOWN", "status", 0, 0, 4]));
    assert_eq!(last["domains"]["127.0.0.1"]["availability"], 36);
}

#[tokio::test]
async fn a_stop_before_the_first_answer_reports_that_nothing_was_measured() {
    let server = FaultServer::start_on_thread().unwrap();
    let list = List::of([("hangs".to_owned(), server.url("/hang"))]);
    let running = list.start("--format json list.yaml");
    while server.log().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    running.signal(Signal::TERM);
    let output = running.output();
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), "Monitoring stopped by user.\n"));
    let [last] = &lines(&output)[..] else { panic!("{}", text(&output)) };
    assert_eq!((number(&last["cycle"]), last["final"].as_bool()), (0, Some(true)));
    assert_eq!(
        last["domains"]["127.0.0.1"],
        json!({"availability": null, "up": 0, "degraded": 0, "down": 0, "total": 0})
    );
    let nothing = json!({
        "name": "hangs", "domain": "127.0.0.1", "status": null, "code": null, "cause": null, "elapsed_ms": null,
        "up": 0, "degraded": 0, "down": 0,
    });
    assert_eq!(last["endpoints"], json!([nothing]));
}

#[test]
fn every_way_to_answer_has_its_status_and_cause() {
    let server = FaultServer::start_on_thread().unwrap();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = |path: &str| server.url(path);
    let cases = [
        (url("/ok"), "", json!(["UP", 200, null])),
        (url("/status/299"), "", json!(["UP", 299, null])),
        (url("/redirect/3"), "", json!(["UP", 200, null])),
        (url("/body/1000000"), "method: POST, body: x", json!(["UP", 200, null])),
        // What the service expects does not count here.
        (url("/status/404?a"), "expect_status: 404", json!(["DOWN", 404, "status"])),
        (url("/status/204"), "expect_status: 404", json!(["UP", 204, null])),
        (url("/status/304"), "", json!(["DOWN", 304, "status"])),
        (url("/status/500"), "", json!(["DOWN", 500, "status"])),
        (url("/delay/700"), "degraded_after: 2s", json!(["UP", 200, null])),
        (url("/delay/701"), "", json!(["DEGRADED", 200, null])),
        (url("/delay/200"), "degraded_after: 50ms, interval: 1s", json!(["DEGRADED", 200, null])),
        (url("/hang"), "timeout: 300ms", json!(["DOWN", null, "timeout"])),
        (url("/reset"), "", json!(["DOWN", null, "reset"])),
        (url("/close"), "", json!(["DOWN", null, "protocol"])),
        (url("/garbage"), "", json!(["DOWN", null, "protocol"])),
        (url("/truncate"), "", json!(["DOWN", 200, "body"])),
        (url("/loop"), "", json!(["DOWN", 302, "redirect"])),
        (format!("http://{closed}/"), "", json!(["DOWN", null, "refused"])),
        (url("/ok?tls").replace("http:", "https:"), "", json!(["DOWN", null, "tls"])),
        ("http://nothing.invalid/".to_owned(), "", json!(["DOWN", null, "dns"])),
    ];
    let entries = cases.iter().map(|(url, fields, _)| format!("- {{name: '{url}', url: '{url}', {fields}}}\n"));
    let list = List::new(entries.collect::<String>());
    let output = list.lookout("-f 2 -r 2 --format json list.yaml", b"");
    assert_eq!(output.status.code(), Some(0));
    let reports = lines(&output);
    assert_eq!(reports.len(), 2);
    for (index, (url, _, expected)) in cases.iter().enumerate() {
        let line = &reports[1]["endpoints"][index];
        assert_eq!(json!([line["status"], line["code"], line["cause"]]), *expected, "{url}");
        assert_eq!(line["name"], **url);
        let elapsed = line["elapsed_ms"].as_f64().unwrap();
        match (&line["cause"], url.contains("/delay/")) {
            (cause, _) if cause == "timeout" => assert!((300.0..900.0).contains(&elapsed), "{url}: {elapsed}"),
            (_, true) => assert!((200.0..1_900.0).contains(&elapsed), "{url}: {elapsed}"),
            _ => assert!(elapsed < 1_000.0, "{url}: {elapsed}"),
        }
    }
}

#[test]
fn people_get_a_block_a_cycle_without_colour_in_a_pipe() {
    let server = FaultServer::start_on_thread().unwrap();
    let host = server.addr().port();
    let list = List::of([
        ("home".to_owned(), format!("http://localhost:{host}/ok")),
        ("api \u{1b}".replace('\u{1b}', "é"), server.url("/status/503")),
    ]);
    let output = list.lookout("-f 1 -r 2 list.yaml", b"");
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), "Run complete!\n"));
    let text = text(&output);
    assert!(!text.contains('\u{1b}'), "{text}");
    let blocks: Vec<&str> = text.split("\n\n").collect();
    assert_eq!(blocks.len(), 10, "{text}");
    let rest = |block: usize, title: &str| blocks[block].strip_prefix(title).unwrap_or_else(|| panic!("{text}"));
    for (block, title) in [(0, "Cycle 1 at 20"), (3, "Cycle 2 at 20"), (6, "Final report after 2 cycles at 20")] {
        assert!(rest(block, title).ends_with("Z: 1 up, 0 degraded, 1 down"), "{text}");
    }
    let domains = " availability  domain     up  degraded  down  total
          0 %  127.0.0.1   0         0     2      2
        100 %  localhost   2         0     0      2";
    assert_eq!(blocks[7], domains);
    let endpoints: Vec<Vec<&str>> = blocks[8].lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(endpoints[0], ["last", "endpoint", "domain", "code", "cause", "elapsed", "up", "degraded", "down"]);
    assert_eq!(endpoints[1][..5], ["DOWN", "api", "é", "127.0.0.1", "503"]);
    assert_eq!(endpoints[2][..5], ["UP", "home", "localhost", "200", "-"]);
}

#[test]
fn an_endpoint_that_ends_badly_fails_the_run_only_where_that_was_asked_for() {
    let server = FaultServer::start_on_thread().unwrap();
    let list =
        |path: &str| List::of([("ok", "/ok"), ("x", path)].map(|(name, path)| (name.to_owned(), server.url(path))));
    let (up, slow, down) = (list("/ok?x"), list("/delay/50"), list("/status/500"));
    // The three at once, as each takes a second.
    for flags in ["--fail-on never", "--fail-on degraded", "--fail-on down", ""] {
        let start = |list: &List| list.start(&format!("-f 1 -r 1 --degraded-after 20 {flags} list.yaml"));
        let codes = [&up, &slow, &down].map(start).map(|running| running.output().status.code().unwrap());
        let expected = match flags {
            "--fail-on degraded" => [0, 1, 1],
            "--fail-on down" => [0, 0, 1],
            _ => [0, 0, 0],
        };
        // A busy machine may make an answer slow, and never a slow one quick.
        assert!(codes == expected || flags == "--fail-on degraded" && codes[1..] == [1, 1], "{flags}: {codes:?}");
    }
}

#[test]
fn a_reader_that_goes_away_ends_the_run_quietly() {
    let server = FaultServer::start_on_thread().unwrap();
    for format in ["text", "json"] {
        let list = List::of([("ok".to_owned(), server.url("/ok"))]);
        let mut running = list.start(&format!("-f 1 --format {format} list.yaml"));
        let mut line = String::new();
        running.stdout.take().unwrap().read_line(&mut line).unwrap();
        assert!(!line.is_empty());
        let mut said = String::new();
        running.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert_eq!((running.child.wait().unwrap().code(), said.as_str()), (Some(0), ""), "{format}");
    }
}

#[tokio::test]
async fn a_reader_that_does_not_read_delays_no_cycle_and_a_second_ctrl_c_ends_it_all() {
    let server = FaultServer::start_on_thread().unwrap();
    // More in a cycle than a pipe takes.
    let long = "x".repeat(1_500);
    let list = List::of((0..100).map(|number| (format!("{number} {long}"), server.url(&format!("/ok?e={number}")))));
    let mut running = list.start("-f 1 --format json list.yaml");
    while server.log().len() < 400 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(running.started.elapsed() < Duration::from_secs(20), "{} requests", server.log().len());
    }
    let first: Vec<i64> = (0..4).map(|cycle| server.log()[cycle * 100].at_us()).collect();
    for (cycle, at) in first.iter().enumerate() {
        let late = at - first[0] - 1_000_000 * cycle as i64;
        assert!(late.abs() < 300_000, "cycle {cycle} is off by {late} µs");
    }
    running.signal(Signal::INT);
    tokio::time::sleep(Duration::from_millis(1_300)).await;
    assert!(running.child.try_wait().unwrap().is_none(), "the final report waits for its reader");
    running.signal(Signal::INT);
    assert_eq!(running.child.wait().unwrap().code(), Some(130));
}

#[test]
fn an_unusable_file_is_refused_with_all_its_problems_and_nothing_is_requested_c01_to_c29() {
    let server = FaultServer::start_on_thread().unwrap();
    let url = server.url("/ok");
    let refused = |yaml: &str, expected: &[&str]| {
        let list = List::new(yaml.replace("URL", &url));
        for arguments in ["-f 1 -r 1 list.yaml", "--validate list.yaml", "--results - list.yaml"] {
            list.assert_refused(arguments, expected);
        }
    };
    for empty in ["", "# nothing yet\n", "version: 1\n"] {
        refused(empty, &["no targets defined (an explicit [] is valid)"]);
    }
    refused(
        "- name: a\n  headers: {x: \"s3cret\n",
        &["list.yaml:2:16: not valid YAML: unclosed quote", "    headers: {·: \"······", "                 ^"],
    );
    refused("- {name: a, url: 'URL'}\n---\n- b\n", &["list.yaml:3:1: one document expected, second starts at line 2"]);
    refused("- {name: a, name: b, url: 'URL'}\n", &["list.yaml:1:13: [0].name: is given twice: line 1 and line 1"]);
    refused("oops", &["list.yaml:1:1: expected a list of targets, found a text"]);
    refused(
        "- {name: ok, url: 'URL'}\n- {name: a}\n- url: htp://me:s3cret@h/\n  name: ''\n- {name: b, url: 'http://:80'}\n\
         - {name: c, url: 'URL', method: GETT, timeout: 30sec, headers: {Host: s3cret}}\n",
        &[
            "warning: list.yaml:6:3: [4].url: the same URL is watched twice: line 1 and line 6",
            "list.yaml:2:3: [1].url: is missing",
            "list.yaml:3:8: [2].url: \"htp://***@h/\" has the scheme \"htp\": only http and https are probed",
            "list.yaml:4:9: [2].name: \"\" is blank",
            "list.yaml:5:18: [3].url: \"http://:80\" has no host",
            "[4].method: \"GETT\" is no method that is sent",
            "[4].timeout: \"30sec\" is not a duration",
            "[4].headers.Host: is set by the connection itself",
        ],
    );
    let list = List::new("[]");
    list.assert_refused("nowhere.yaml", &["cannot read nowhere.yaml: not found"]);
    list.assert_refused(".", &["cannot read .: is a directory"]);
    fs::write(list.0.path().join("latin1.yaml"), b"- \xff").unwrap();
    list.assert_refused("latin1.yaml", &["latin1.yaml: not UTF-8 at byte 2"]);
    assert!(server.log().is_empty(), "{:?}", server.log());
}

#[test]
fn unusable_flags_are_named_together_with_the_problems_of_the_file() {
    let list = List::new("- {name: a}\n");
    list.assert_refused(
        "-f 0 -r x --degraded-after -1 list.yaml",
        &[
            "--health-check-frequency (-f): \"0\" is below the minimum 1s",
            "--run-duration (-r): \"x\" is not a duration",
            "--degraded-after: \"-1\" is below the minimum 1ms",
            "list.yaml:1:3: [0].url: is missing",
        ],
    );
    for arguments in ["", "--format xml list.yaml", "--fail-on up list.yaml", "--results list.yaml", "a.yaml b.yaml"] {
        let output = list.lookout(arguments, b"");
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{arguments}");
    }
}

#[test]
fn what_a_service_would_refuse_is_a_warning_c11_c19_c20() {
    let server = FaultServer::start_on_thread().unwrap();
    let url = server.url("/ok");
    let list = List::new(format!("- {{name: a, url: '{url}', intervall: 1m}}\n- {{name: a, url: '{url}'}}\n"));
    let warnings = [
        "warning: list.yaml:1:",
        "[0].intervall: unknown field; did you mean `interval`?",
        "warning: list.yaml:2:3: [1]: the key \"a\" is taken: line 1 and line 2",
        "[1].url: the same URL is watched twice: line 1 and line 2",
    ];
    let valid = list.lookout("--validate list.yaml", b"");
    assert_eq!((valid.status.code(), text(&valid).as_str()), (Some(0), ""));
    assert!(server.log().is_empty(), "--validate asks nobody");
    assert!(stderr(&valid).ends_with("list.yaml: nothing is wrong; 2 endpoints\n"), "{}", stderr(&valid));
    let ran = list.lookout("-f 1 -r 1 --format json list.yaml", b"");
    assert_eq!(ran.status.code(), Some(0));
    for said in [stderr(&valid), stderr(&ran)] {
        assert_eq!(said.lines().count(), 4, "{said}");
        assert!(warnings.iter().all(|warning| said.contains(warning)), "{said}");
    }
    // Both are asked, and both count.
    assert_eq!(server.log().len(), 2);
    assert_adds_up(&lines(&ran)[1], 2);
}

#[test]
fn a_mapping_with_targets_is_the_same_list_and_an_explicit_empty_one_is_valid() {
    let server = FaultServer::start_on_thread().unwrap();
    let list =
        List::new(format!("version: 1\ntargets:\n  - {{name: a, url: '{}'}}\nservices: []\n", server.url("/ok")));
    let output = list.lookout("-f 1 -r 1 --format json list.yaml", b"");
    assert_adds_up(&lines(&output)[1], 1);
    let empty = List::new("[]").lookout("-f 1 -r 1 --format json list.yaml", b"");
    assert_eq!(empty.status.code(), Some(0), "{}", stderr(&empty));
    assert_eq!(lines(&empty)[1]["domains"], json!({}));
}

#[test]
fn secrets_are_sent_and_never_shown() {
    let server = FaultServer::start_on_thread().unwrap();
    let url = server.url("/status/401").replace("http://", "http://me:s3cret@");
    let list =
        List::new(format!("- {{name: a, url: '{url}', headers: {{x-key: s3cret}}, method: POST, body: s3cret}}\n"));
    for format in ["text", "json"] {
        let mut running = Command::new(env!("CARGO_BIN_EXE_lookout"));
        let arguments = ["check", "-f", "1", "-r", "1", "--format", format, "list.yaml", "--log-level", "trace"];
        let output = running.env_clear().args(arguments).current_dir(list.0.path()).output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        assert!(text(&output).contains("127.0.0.1"));
        let all = format!("{}{}", text(&output), stderr(&output));
        // bWU6czNjcmV0 is me:s3cret as it travels.
        assert!(!all.contains("s3cret") && !all.contains("bWU6czNjcmV0"), "{all}");
    }
}

const RESULTS: &str = r#"{"url": "https://svc.example.org:8443/x", "status": 200, "elapsed_ms": 12.5}
{"url": "https://svc.example.org:8443/x", "status": 200, "elapsed_ms": 500.5}

{"url": "https://elsewhere.example.org/", "status": null, "elapsed_ms": null}
"#;

#[test]
fn recorded_results_are_reported_by_the_same_rules_and_nothing_is_requested() {
    let list =
        List::new("- {name: a, url: 'https://svc.example.org:8443/x', more: [1]}\n- {name: b, url: 'http://[::1]/'}\n");
    fs::write(list.0.path().join("results.jsonl"), RESULTS).unwrap();
    let expected = json!({
        "domains": {
            "svc.example.org": {"up": 1, "degraded": 1, "down": 0, "total": 2, "availability": 50},
            "[::1]": {"up": 0, "degraded": 0, "down": 0, "total": 0, "availability": null},
        },
        "classification": ["UP", "DEGRADED", "DOWN"],
        "ignored": [2],
    });
    let reports = [
        list.lookout("--results results.jsonl list.yaml --format json", b""),
        list.lookout("--results - list.yaml --format json --fail-on down", RESULTS.as_bytes()),
    ];
    for output in reports {
        assert_eq!(output.status.code(), Some(0));
        assert_eq!(serde_json::from_slice::<Value>(&output.stdout).unwrap(), expected);
    }
    let slower = list.lookout("--results results.jsonl --degraded-after 501 --format json list.yaml", b"");
    assert_eq!(lines(&slower)[0]["classification"], json!(["UP", "UP", "DOWN"]));
    let failed = list.lookout("--results results.jsonl --fail-on degraded list.yaml", b"");
    assert_eq!(failed.status.code(), Some(1));
    assert!(text(&failed).ends_with("\n3 results, 1 of them to URLs that are not in the list.\n"), "{}", text(&failed));

    fs::write(list.0.path().join("results.jsonl"), format!("{RESULTS}nonsense\n[]\n")).unwrap();
    list.assert_refused(
        "--results results.jsonl --format json list.yaml",
        &[
            "warning: list.yaml:1:",
            "results.jsonl:5: not JSON: ",
            "results.jsonl:6: expected a result such as {\"url\": ",
        ],
    );
    for (path, reason) in [("nowhere", "not found"), (".", "is a directory")] {
        let output = list.lookout(&format!("--results {path} list.yaml"), b"");
        let said = stderr(&output);
        assert_eq!((output.status.code(), text(&output).as_str()), (Some(2), ""), "{said}");
        assert_eq!(said.lines().nth(1), Some(format!("--results: cannot read {path}: {reason}").as_str()));
    }
}

#[test]
fn the_example_is_a_file_that_both_check_and_the_service_take_without_a_warning() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/check.yaml");
    let list = List::new(fs::read(&path).unwrap());
    let output = list.lookout("--validate list.yaml", b"");
    let said = "list.yaml: nothing is wrong; 4 endpoints\n";
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), said));
    let service = settings::file::read(&path, settings::Mode::Service, &settings::Defaults::default()).unwrap();
    assert_eq!((service.targets.len(), service.warnings), (4, vec![]));
}

#[test]
fn help_teaches_every_option_with_an_example() {
    let output = List::new("").lookout("--help", b"");
    let help = text(&output);
    assert!(output.status.success());
    for part in [
        "-f, --health-check-frequency <SECONDS>",
        "[default: 15]",
        "-r, --run-duration <SECONDS>",
        "--degraded-after <MILLISECONDS>",
        "[default: 500]",
        "--format <FORMAT>",
        "--fail-on <STATUS>",
        "--results <FILE>",
        "--validate",
        "[env: WORKERS_COUNT",
        "lookout check -f 5 -r 60 --fail-on down endpoints.yaml",
        "Exit status: 0",
    ] {
        assert!(help.contains(part), "{part} is not in {help}");
    }
}
