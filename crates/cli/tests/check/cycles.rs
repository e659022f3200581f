//! What it asks and when, and how it ends.

use std::io::{BufRead, Read};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use chrono::Utc;
use demo::faults::FaultServer;
use rustix::process::Signal;
use serde_json::json;

use crate::support::{List, assert_adds_up, at, lines, number, standing, stderr, text};

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

#[cfg(target_os = "linux")]
#[test]
fn f18_who_floods_is_hung_up_on_long_before_the_next_cycle() {
    let server = FaultServer::start_on_thread().unwrap();
    let endpoints = [("floods", "/informational"), ("quick", "/ok")];
    let list = List::of(endpoints.map(|(name, path)| (name.to_owned(), server.url(path))));
    let mut running = list.start("-f 30 --format json list.yaml");
    let first = running.line();
    running.signal(Signal::INT);
    // Otherwise its time would have run out.
    assert_eq!(standing(&first, 0), json!(["DOWN", "protocol", 0, 0, 1]));
    assert_eq!(standing(&first, 1), json!(["UP", null, 1, 0, 0]));
    assert_eq!(running.output().status.code(), Some(0));
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
