//! `lookout replay` as people run it: what it reads, prints and exits with.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use tempfile::TempDir;

/// The worked example of the engine, by the end of its file's name.
fn example(ending: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../engine/tests/streams").join(format!("example.{ending}"))
}

/// A directory of files to read, and the program that reads them.
struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> &Self {
        fs::write(self.0.path().join(name), content).unwrap();
        self
    }

    /// Runs `lookout` with words as arguments and something on standard input.
    fn lookout(&self, arguments: &str, stdin: &[u8]) -> Output {
        let mut child = Command::new(env!("CARGO_BIN_EXE_lookout"))
            .env_clear()
            .args(arguments.split(' '))
            .current_dir(self.0.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // It may end before it has read everything.
        let _ = child.stdin.take().unwrap().write_all(stdin);
        child.wait_with_output().unwrap()
    }

    #[track_caller]
    fn answer(&self, arguments: &str, stdin: &[u8]) -> Value {
        let output = self.lookout(arguments, stdin);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{stderr}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    #[track_caller]
    fn assert_fails(&self, arguments: &str, stdin: &[u8], status: i32, stderr: &str) {
        let output = self.lookout(arguments, stdin);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(status), "{said}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "", "{arguments}");
        assert!(said.starts_with(stderr) && said.lines().count() == 1, "{said:?} is not {stderr:?}");
    }
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

const INFO: &str = r#"[{"name": "svc", "verb": "GET", "resource": "/a", "slo": 0.9, "window": 1}]"#;

fn access(at: &str, status: u16) -> String {
    format!("{{\"type\": \"access\", \"value\": \"{at} GET /a {status}\"}}\n")
}

#[test]
fn the_example_gives_its_report_however_it_is_handed_over() {
    let expected = fs::read(example("expected.json")).unwrap();
    let files = Files::new();
    for (info, stream) in [("info.json", "jsonl"), ("info.repr.txt", "repr.txt")] {
        let (info, stream) = (fs::read(example(info)).unwrap(), fs::read(example(stream)).unwrap());
        // gzip files may be put one behind the other.
        let (first, second) = stream.split_at(1_000);
        let packed = [gzip(first), gzip(second)].concat();
        files.write("info", &info).write("stream", &stream).write("info.gz", gzip(&info)).write("stream.gz", &packed);
        for (arguments, stdin) in [
            ("replay --info info stream", b"".as_slice()),
            ("replay --strict --format json stream --info info", b""),
            ("replay --lenient stream.gz --info info.gz", b""),
            ("replay --info info", &stream),
            ("replay --info info -", &stream),
            ("replay --info info.gz -", &packed),
        ] {
            let output = files.lookout(arguments, stdin);
            assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{arguments}");
            assert_eq!(output.status.code(), Some(0));
            assert_eq!(String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&expected), "{arguments}");
        }
    }
}

#[test]
fn a_wrong_line_ends_a_strict_run_with_status_1_and_is_listed_in_a_lenient_one() {
    let files = Files::new();
    files.write("info", INFO);
    let stream = format!("{}\n{}nonsense", access("10", 500), access("11", 999));
    files.assert_fails("replay --info info", stream.as_bytes(), 1, "line 3: bad-status: \"999\" is not a status");
    files.assert_fails("replay --strict --info info", b"\xff", 1, "line 1: bad-syntax: is not UTF-8 at byte 1\n");
    let answer = files.answer("replay --lenient --info info", stream.as_bytes());
    let expected = json!({
        "mttr": null,
        "incident_details": {"svc": [{"start": 10, "end": -1, "fix": "", "break": ""}]},
        "api_histogram": {"svc": 1},
        "rejected": {"total": 2, "lines": [
            {"line": 3, "reason": "bad-status"},
            {"line": 4, "reason": "bad-syntax"},
        ]},
    });
    assert_eq!(answer, expected);
}

#[test]
fn unusable_endpoints_end_either_run_with_status_2() {
    let files = Files::new();
    for (info, said) in [
        ("", "info: bad-info: "),
        ("{}", "info: bad-info: "),
        (&INFO.replace("0.9", "1.1"), "info: bad-slo: entry 1"),
        (&INFO.replace("\"window\": 1", "\"window\": true"), "info: bad-window: entry 1"),
        (&format!("[{0}, {0}]", INFO.trim_matches(['[', ']'])), "info: duplicate-endpoint: entry 2"),
    ] {
        files.write("info", info);
        files.assert_fails("replay --info info", b"nonsense\n", 2, said);
        files.assert_fails("replay --lenient --info info", b"nonsense\n", 2, said);
    }
    files.assert_fails("replay --info nowhere", b"", 2, "info: bad-info: cannot read nowhere: ");
    files.assert_fails("replay --info .", b"", 2, "info: bad-info: cannot read .: ");
}

#[test]
fn what_goes_with_a_log_is_refused_beside_a_stream() {
    let files = Files::new();
    files.write("info.json", "[]");
    let said = "--changes and --service go with --access-log; a stream has its changes in it\n";
    files.assert_fails("replay --info info.json --changes none.txt stream.jsonl", b"", 2, said);
    files.assert_fails("replay --info info.json --service shop", b"", 2, said);
}

#[test]
fn what_cannot_be_read_is_named() {
    let files = Files::new();
    files.write("info", INFO).write("cut.gz", &gzip(&vec![b' '; 100_000])[..50]);
    files.assert_fails("replay --info info nowhere", b"", 2, "cannot read nowhere: ");
    files.assert_fails("replay --info info .", b"", 2, "cannot read .: ");
    files.assert_fails("replay --info info cut.gz", b"", 1, "error: cannot read cut.gz: ");
    files.assert_fails("replay --access-log nowhere --info info", b"", 2, "cannot read nowhere: ");
    for arguments in [
        "replay stream",
        "replay --info info --strict --lenient",
        "replay --info info --format xml",
        "replay --info info --changes x",
        "replay --info info --access-log x stream",
        "replay --info info --access-log x --objective 0.5",
    ] {
        let output = files.lookout(arguments, b"");
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{arguments}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let files = Files::new();
    files.write("info", INFO);
    let failures: String = (0..20_000).map(|second| access(&second.to_string(), 500 - second % 2)).collect();
    files.write("stream", failures);
    for arguments in
        ["replay --info info stream", "replay --info info stream --format text", "demo events --lines 1000000000"]
    {
        let mut child = Command::new(env!("CARGO_BIN_EXE_lookout"))
            .args(arguments.split(' '))
            .current_dir(files.0.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut start = [0; 10];
        child.stdout.take().unwrap().read_exact(&mut start).unwrap();
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.code(), stderr.as_str()), (Some(0), ""), "{arguments}");
    }
}

#[test]
fn the_report_for_people_has_no_colour_in_a_pipe_and_the_worst_service_first() {
    let files = Files::new();
    files.write("info", fs::read(example("info.json")).unwrap());
    let mut stream = fs::read_to_string(example("jsonl")).unwrap();
    stream.truncate(stream.rfind("{\"type\": \"end-of-stream\"").unwrap());
    for (second, status) in [(100, 200), (101, 500), (102, 200)] {
        let line = access(&format!("1543443{second}"), status);
        stream += line.replace("/a", "/api/v1/nonpaying").trim();
        stream += "\n";
    }
    stream += "\u{1b}[31m\n";
    let output = files.lookout("replay --info info --lenient --format text", stream.as_bytes());
    let text = String::from_utf8(output.stdout).unwrap();
    let expected = "\
3 incidents, 0 of them open.
Mean time to repair: 3.23 s.

 kioea         2  ██
 nonexpulsion  1  █

kioea
 start (UTC)              lasted  endpoint               broken by     fixed by
 2018-11-28 22:11:33.310  6.689s  GET /api/v1/nonpaying  b9936e80e621  b9936e80e621
 2018-11-28 22:11:41.000  1.000s  GET /api/v1/nonpaying  b9936e80e621  b9936e80e621

nonexpulsion
 start (UTC)              lasted  endpoint                broken by     fixed by
 2018-11-28 22:11:31.274  2.015s  GET /api/v1/tricalcium  191b6ce2fc72  6d0080aaecbf

1 line left out:
  line 44 (bad-syntax)
";
    assert_eq!(text, expected);
    let nothing = files.lookout("replay --info info --format text", b"");
    assert_eq!(String::from_utf8(nothing.stdout).unwrap(), "No incidents.\nMean time to repair: none was repaired.\n");
}

const ACCESS_LOG: &str = r#"10.0.0.1 - - [28/Nov/2018:14:11:30 +0000] "GET /a?page=1 HTTP/1.1" 200 12 "-" "curl"
10.0.0.1 - - [28/Nov/2018:14:11:31 +0000] "GET /a?page=2 HTTP/1.1" 502 12 "-" "curl"
10.0.0.1 - - [28/Nov/2018:14:11:31 +0000] "\x16\x03\x01" 400 12 "-" "-"
{"time": "2018-11-28T14:11:32.5Z", "method": "GET", "path": "/b", "status": 200}
"#;
const ROTATED: &str = "10.0.0.2 - - [28/Nov/2018:14:21:33 +0000] \"GET /a HTTP/1.1\" 200 12\n";
const GIT_LOG: &str = "\
bbbb2222 2018-11-28T14:11:40+00:00 me@example.org
aaaa1111 2018-11-28T15:11:31+01:00 me@example.org
";

#[test]
fn access_logs_and_the_log_of_git_give_the_incidents_of_an_outage() {
    let files = Files::new();
    files.write("info", INFO.replace("\"window\": 1", "\"window\": 60")).write("git.txt", GIT_LOG);
    files.write("access.log", ROTATED).write("access.log.1.gz", gzip(ACCESS_LOG.as_bytes()));
    let logs = "--access-log access.log --access-log access.log.1.gz --changes git.txt";
    let listed = files.answer(&format!("replay --info info {logs}"), b"");
    let incident = json!({"start": 1543414291, "end": 1543414893, "fix": "bbbb2222", "break": "aaaa1111"});
    assert_eq!(listed["incident_details"], json!({"svc": [incident]}));
    assert_eq!(listed["mttr"], 602);
    assert_eq!(listed["requests"], json!({"judged": 3, "unlisted": 1, "no_request": 1}));

    let output = files.lookout(&format!("replay --window 1m --objective 0.95 --service shop {logs}"), b"");
    let said = String::from_utf8(output.stderr).unwrap();
    let assumed = "without --info: each verb and path is an endpoint of \"shop\" with objective 0.95 over 60 s\n";
    assert_eq!((output.status.code(), said.as_str()), (Some(0), assumed));
    let all: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(all["incident_details"], json!({"shop": [incident]}));
    assert_eq!(all["requests"], json!({"judged": 4, "unlisted": 0, "no_request": 1}));

    let plain = "commit bbbb2222\nAuthor: Me <me@example.org>\nDate:   Wed Nov 28 14:11:40 2018 +0000\n\n    Mend it\n\n\
                 commit aaaa1111\nAuthor: Me <me@example.org>\nDate:   Wed Nov 28 15:11:31 2018 +0100\n\n    Break it\n";
    files.write("git.txt", plain);
    assert_eq!(files.answer(&format!("replay --info info {logs}"), b""), listed);

    let text = files.lookout("replay --access-log access.log.1.gz --format text", b"");
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(text.contains("\n3 requests were judged, of 2 endpoints.\n1 line was no request"), "{text}");
}

#[test]
fn a_wrong_line_of_an_access_log_is_named_with_its_file() {
    let files = Files::new();
    files.write("access.log", format!("{ACCESS_LOG}nonsense\n")).write("git.txt", "nonsense\n").write("info", INFO);
    let logs = "--access-log access.log";
    let run = format!("replay --info info {logs}");
    files.assert_fails(&run, b"", 1, "access.log: line 5: bad-syntax: ");
    files.assert_fails(&format!("{run} --changes git.txt"), b"", 1, "git.txt: line 1: bad-change: ");
    let answer = files.answer(&format!("{run} --lenient"), b"");
    let rejected = json!({"total": 1, "lines": [{"line": 5, "reason": "bad-syntax", "file": "access.log"}]});
    assert_eq!(answer["rejected"], rejected);
    // Nor is it silent about flags that make no sense.
    files.assert_fails(&format!("{run} --service nobody"), b"", 2, "--service: no endpoint belongs to \"nobody\"");
    files.assert_fails(&format!("replay {logs} --window 0"), b"", 2, "--window: \"0\" is 0 or longer");
    files.assert_fails(&format!("replay {logs} --objective 95%"), b"", 2, "--objective: \"95%\" is not a number");
}

#[test]
fn a_made_up_stream_replays_without_a_rejected_line() {
    let files = Files::new();
    let stream = files.lookout("demo events --seed 3 --lines 30000 --endpoints 9 --info info.json", b"");
    assert!(stream.status.success());
    let again = files.lookout("demo events --seed 3 --lines 30000 --endpoints 9", b"");
    assert!(stream.stdout == again.stdout);
    let answer = files.answer("replay --info info.json", &stream.stdout);
    let histogram = answer["api_histogram"].as_object().unwrap();
    assert!(histogram.len() > 1 && answer["mttr"].as_f64().unwrap() > 0.0, "{answer}");
}
