//! The program on a file of endpoints, and how to read what it says.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A file of endpoints, and the program that reads it.
pub(crate) struct List(pub(crate) TempDir);

impl List {
    pub(crate) fn new(yaml: impl AsRef<[u8]>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("list.yaml"), yaml).unwrap();
        Self(directory)
    }

    /// Endpoints of these names and URLs.
    pub(crate) fn of(endpoints: impl IntoIterator<Item = (String, String)>) -> Self {
        let entries = endpoints.into_iter().map(|(name, url)| format!("- {{name: '{name}', url: '{url}'}}\n"));
        Self::new(entries.collect::<String>())
    }

    pub(crate) fn start(&self, arguments: &str) -> Running {
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
    pub(crate) fn lookout(&self, arguments: &str, stdin: &[u8]) -> Output {
        let mut running = self.start(arguments);
        // It may end before it has read everything.
        let _ = running.child.stdin.take().unwrap().write_all(stdin);
        running.output()
    }

    #[track_caller]
    pub(crate) fn assert_refused(&self, arguments: &str, expected: &[&str]) {
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
pub(crate) struct Running {
    pub(crate) child: Child,
    pub(crate) stdout: Option<BufReader<ChildStdout>>,
    pub(crate) started: Instant,
}

impl Running {
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    pub(crate) fn line(&mut self) -> Value {
        let mut line = String::new();
        self.stdout.as_mut().unwrap().read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }

    pub(crate) async fn until(&self, since_start: Duration) {
        tokio::time::sleep_until((self.started + since_start).into()).await;
    }

    /// Waits for the end; the output lacks what was read before.
    pub(crate) fn output(mut self) -> Output {
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

pub(crate) fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

pub(crate) fn lines(output: &Output) -> Vec<Value> {
    text(output).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

pub(crate) fn at(report: &Value) -> DateTime<Utc> {
    report["at"].as_str().unwrap().parse().unwrap()
}

pub(crate) fn number(value: &Value) -> u64 {
    value.as_u64().unwrap()
}

/// An endpoint's last result and counts: status, cause, up, degraded, down.
pub(crate) fn standing(report: &Value, endpoint: usize) -> Value {
    let line = &report["endpoints"][endpoint];
    json!([line["status"], line["cause"], line["up"], line["degraded"], line["down"]])
}

/// That the counts of a report fit each other: endpoints to domains, and all to the number of results.
#[track_caller]
pub(crate) fn assert_adds_up(report: &Value, results: u64) {
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
