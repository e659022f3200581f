//! A worker under the limits of a system: how many descriptors it may have.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

struct Worker(Child);

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a worker says before it waits for its database, with this many descriptors and `WORKERS_COUNT`.
fn said(limits: &str, workers_count: &str) -> Vec<String> {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut child = Command::new("sh")
        .args(["-c", &format!("{limits}; exec \"$0\""), env!("CARGO_BIN_EXE_worker")])
        .env_clear()
        .env("DATABASE_URL", format!("postgres://u@{closed}/d"))
        .env("URLS", "http://127.0.0.1:1/")
        .env("WORKERS_COUNT", workers_count)
        .current_dir(std::env::temp_dir())
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let stderr = child.stderr.take().unwrap();
    let worker = Worker(child);
    let lines = BufReader::new(stderr).lines().map(Result::unwrap);
    let before = lines.take_while(|line| !line.contains("waiting: ")).collect();
    drop(worker);
    before
}

#[test]
fn c47_a_worker_probes_no_more_at_once_than_it_has_descriptors_and_says_so() {
    let lines = said("ulimit -n 100", "1000");
    assert!(
        lines.iter().any(|line| line.contains(
            "1000 probes at once (WORKERS_COUNT) take more than the 100 descriptors that are allowed: probing 36 at once (see ulimit -n)"
        )),
        "{lines:?}"
    );
    assert!(said("ulimit -n 100", "36").is_empty());
    // What may be raised is raised.
    assert!(said("ulimit -S -n 100; ulimit -H -n 400", "336").is_empty());
    let lines = said("ulimit -S -n 100; ulimit -H -n 400", "337");
    assert!(
        lines.iter().any(|line| line.contains("the 400 descriptors that are allowed: probing 336 at once")),
        "{lines:?}"
    );
}
