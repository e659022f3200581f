//! `lookout check` on a terminal: a line that tells how far a cycle is, and colours; neither where
//! somebody else reads.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs::{self, File};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::thread::JoinHandle;

use demo::faults::FaultServer;
use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use tempfile::TempDir;

/// A terminal of 120 columns: the end a program has, and what it writes there until it lets go.
struct Terminal {
    end: File,
    written: JoinHandle<String>,
}

impl Terminal {
    fn open() -> Self {
        let ours: OwnedFd = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&ours).unwrap();
        unlockpt(&ours).unwrap();
        tcsetwinsize(&ours, Winsize { ws_row: 40, ws_col: 120, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
        let name = ptsname(&ours, Vec::new()).unwrap().into_string().unwrap();
        // Not to become the terminal of these tests.
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let end = File::from(rustix::fs::open(name, flags, Mode::empty()).unwrap());
        let written = std::thread::spawn(move || {
            let mut ours = File::from(ours);
            let (mut all, mut block) = (Vec::new(), [0; 4096]);
            // An error says that nobody has the other end any more.
            while let Ok(length @ 1..) = ours.read(&mut block) {
                all.extend_from_slice(&block[..length]);
            }
            String::from_utf8(all).unwrap()
        });
        Self { end, written }
    }

    fn end(&self) -> Stdio {
        self.end.try_clone().unwrap().into()
    }

    fn written(self) -> String {
        drop(self.end);
        self.written.join().unwrap()
    }
}

/// A list of an endpoint that answers at once, one that takes its time, and one that is not there.
fn list(server: &FaultServer) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let (ok, slow) = (server.url("/ok"), server.url("/delay/700"));
    let text = format!(
        "- {{name: quick, url: '{ok}'}}\n- {{name: slow, url: '{slow}'}}\n- {{name: gone, url: 'http://127.0.0.1:1/'}}\n"
    );
    fs::write(directory.path().join("list.yaml"), text).unwrap();
    directory
}

fn check(directory: &TempDir, variables: &[(&str, &str)], arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lookout"));
    command
        .env_clear()
        .env("TERM", "xterm")
        .envs(variables.iter().copied())
        .args(["check", "-f", "2", "-r", "2", "list.yaml"])
        .args(arguments.split_whitespace())
        .current_dir(directory.path())
        .stdin(Stdio::null());
    command
}

/// Runs it on one terminal, as somebody sees it.
fn seen(variables: &[(&str, &str)], arguments: &str) -> String {
    let server = FaultServer::start_on_thread().unwrap();
    let terminal = Terminal::open();
    let directory = list(&server);
    let mut command = check(&directory, variables, arguments);
    command.stdout(terminal.end()).stderr(terminal.end());
    let status = command.status().unwrap();
    // It has ends of its own.
    drop(command);
    let seen = terminal.written();
    assert!(status.success(), "{seen}");
    seen
}

const GREEN: &str = "\u{1b}[32m";
const YELLOW: &str = "\u{1b}[33m";
const RED: &str = "\u{1b}[31m";

/// Starts a row of the table of endpoints, in a colour.
fn row(colour: &str, status: &str, name: &str) -> String {
    format!("{colour} {status:<8}  {name}")
}

#[test]
fn a_terminal_shows_how_far_the_cycle_is_and_the_report_in_colours() {
    let seen = seen(&[], "");
    assert!(seen.contains("cycle 1: 2 of 3 have answered"), "{seen:?}");
    for row in [row(GREEN, "UP", "quick"), row(YELLOW, "DEGRADED", "slow"), row(RED, "DOWN", "gone")] {
        assert!(seen.contains(&row), "{row:?} is not in {seen:?}");
    }
    // The line is wiped before the report, which has the screen for itself.
    let report = seen.find("Cycle 1").unwrap();
    let progress = seen.rfind("have answered").unwrap();
    assert!(progress < report && seen[progress..report].contains("\u{1b}[2K"), "{seen:?}");
    assert!(seen.ends_with("Run complete!\r\n"), "{seen:?}");
}

#[test]
fn no_color_takes_the_colours_and_leaves_the_progress() {
    let seen = seen(&[("NO_COLOR", "1")], "");
    assert!(seen.contains("2 of 3 have answered"), "{seen:?}");
    assert!(!seen.contains("\u{1b}[3") && !seen.contains("\u{1b}[1m"), "{seen:?}");
}

#[test]
fn a_terminal_that_knows_no_colours_gets_none() {
    let seen = seen(&[("TERM", "dumb")], "");
    assert!(seen.contains("Run complete!"), "{seen:?}");
    assert!(!seen.contains("\u{1b}[3"), "{seen:?}");
}

#[test]
fn json_on_a_terminal_is_still_json() {
    let seen = seen(&[], "--format json");
    let lines = seen.split('\n').filter_map(|line| {
        let line = &line[line.find('{')?..];
        serde_json::from_str::<serde_json::Value>(line.trim_end()).ok()
    });
    assert_eq!(lines.count(), 2, "{seen:?}");
    assert!(!seen.contains(GREEN), "{seen:?}");
}

#[test]
fn a_pipe_gets_no_colours_while_the_terminal_beside_it_shows_the_progress() {
    let server = FaultServer::start_on_thread().unwrap();
    let directory = list(&server);
    let terminal = Terminal::open();
    let mut command = check(&directory, &[], "");
    let child = command.stdout(Stdio::piped()).stderr(terminal.end()).spawn().unwrap();
    drop(command);
    let stdout = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    assert!(!stdout.contains('\u{1b}') && stdout.contains("\n DEGRADED  slow"), "{stdout:?}");
    assert!(terminal.written().contains("2 of 3 have answered"));

    let terminal = Terminal::open();
    let mut command = check(&directory, &[], "");
    let child = command.stdout(terminal.end()).stderr(Stdio::piped()).spawn().unwrap();
    drop(command);
    let stderr = String::from_utf8(child.wait_with_output().unwrap().stderr).unwrap();
    assert_eq!(stderr, "Run complete!\n");
    assert!(terminal.written().contains(&row(GREEN, "UP", "quick")));
}

#[test]
fn nobody_at_a_terminal_gets_neither() {
    let server = FaultServer::start_on_thread().unwrap();
    let directory = list(&server);
    let output = check(&directory, &[], "").output().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(!stdout.contains('\u{1b}') && stdout.contains("\n UP        quick"), "{stdout:?}");
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "Run complete!\n");
}
