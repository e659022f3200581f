//! Rows of the catalogue of bad configuration that take a process of their own: one of a user
//! who may not read a file, one whose memory can be looked at, and one with few descriptors.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs::{self, Permissions};
use std::io::BufRead;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use demo::faults::FaultServer;
use tempfile::TempDir;
use wait4::Wait4;

/// A directory that other users can enter.
fn directory() -> TempDir {
    tempfile::Builder::new().permissions(Permissions::from_mode(0o755)).tempdir().unwrap()
}

fn validate(program: &Path, file: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().args(["check", "--validate"]).arg(file).current_dir("/");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

/// The program where another user can start it: he may not enter the directory it was built in.
fn program_for_others(directory: &Path) -> PathBuf {
    let built = Path::new(env!("CARGO_BIN_EXE_lookout"));
    let program = directory.join("lookout");
    if fs::hard_link(built, &program).is_err() {
        fs::copy(built, &program).unwrap();
    }
    program
}

#[test]
fn c02_a_file_that_may_not_be_read_names_path_and_user_and_so_does_a_directory() {
    let directory = directory();
    let file = directory.path().join("config.yaml");
    fs::write(&file, "- {name: a, url: 'http://a/'}\n").unwrap();
    let closed = directory.path().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::write(closed.join("config.yaml"), "[]\n").unwrap();
    // Root may read everything, so whoever tests as root asks as somebody else.
    let own = rustix::process::geteuid();
    let user = if own.is_root() { 65_534 } else { own.as_raw() };
    let program = program_for_others(directory.path());
    let said = |file: &Path| {
        let mut command = validate(&program, file);
        if own.is_root() {
            command.uid(user).gid(user);
        }
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(said(&file), (Some(0), format!("{}: nothing is wrong; 1 endpoint\n", file.display())));

    fs::set_permissions(&file, Permissions::from_mode(0o000)).unwrap();
    fs::set_permissions(&closed, Permissions::from_mode(0o000)).unwrap();
    let inside = closed.join("config.yaml");
    let answers = [said(&file), said(&inside)];
    fs::set_permissions(&closed, Permissions::from_mode(0o700)).unwrap();
    for (path, answer) in [file, inside].iter().zip(answers) {
        assert_eq!(answer, (Some(2), format!("cannot read {}: user {user} may not read it\n", path.display())));
    }
}

/// Most memory that a file may cost, in bytes.
const MOST: u64 = 50 * 1024 * 1024;

/// Files of less than 16 MiB that would be gigabytes, or a stack without end.
fn bombs() -> Vec<(&'static str, String)> {
    let mut tenfold = "a: &a [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for (name, of) in "bcdefghij".chars().zip("abcdefghi".chars()) {
        tenfold.push_str(&format!("{name}: &{name} [{}]\n", format!("*{of},").repeat(10)));
    }
    let long = format!("a: &a {}\nb: [{}]\n", "x".repeat(100_000), "*a,".repeat(90_000));
    let long_names = format!("- &a {{name: {}, url: 'http://a/'}}\n{}", "x".repeat(100_000), "- *a\n".repeat(20_000));
    vec![
        ("ten of ten of ten", tenfold),
        ("a long text, again and again", long),
        ("a target with a long name, again and again", long_names),
        ("a list in a list", "[".repeat(1_000)),
        ("a list in a list, to the limit of size", "[".repeat(16_000_000)),
        ("a block in a block", (0..1_000).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect()),
        ("a mapping in a mapping", format!("targets: {}", "{a: ".repeat(1_000))),
    ]
}

#[test]
fn c08_aliases_and_nesting_without_end_cost_less_than_50_mb() {
    let directory = directory();
    let file = directory.path().join("config.yaml");
    for (what, text) in bombs() {
        fs::write(&file, &text).unwrap();
        let mut child = validate(Path::new(env!("CARGO_BIN_EXE_lookout")), &file).spawn().unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let said = std::io::read_to_string(&mut stderr).unwrap();
        let ended = child.wait4().unwrap();
        assert_eq!(ended.status.code(), Some(2), "{what}: {said}");
        assert!(said.len() < 4_000, "{what}: {} bytes", said.len());
        println!(
            "{what}, {} kB: {} kB, {} ms of processor: {}",
            text.len() / 1024,
            ended.rusage.maxrss / 1024,
            (ended.rusage.utime + ended.rusage.stime).as_millis(),
            said.lines().next().unwrap_or_default()
        );
        assert!(ended.rusage.maxrss < MOST, "{what}: {} bytes", ended.rusage.maxrss);
    }
}

#[test]
fn c47_a_check_asks_no_more_at_once_than_it_has_descriptors_and_says_so() {
    let server = FaultServer::start_on_thread().unwrap();
    let directory = directory();
    let entries = (0..200).map(|n| format!("- {{name: e{n}, url: '{}'}}\n", server.url(&format!("/delay/50?{n}"))));
    fs::write(directory.path().join("list.yaml"), entries.collect::<String>()).unwrap();
    let output = Command::new("sh")
        .args(["-c", "ulimit -n 100; exec \"$0\" check -f 30 -r 30 --format json list.yaml"])
        .arg(env!("CARGO_BIN_EXE_lookout"))
        .env_clear()
        .current_dir(directory.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map(|mut child| {
            // The first cycle tells all; the rest of its time need not be waited for.
            let mut line = String::new();
            std::io::BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
            rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::TERM)
                .unwrap();
            let stderr = std::io::read_to_string(child.stderr.take().unwrap()).unwrap();
            child.wait().unwrap();
            (line, stderr)
        });
    let (report, said) = output.unwrap();
    assert!(said.contains("take more than the 100 descriptors that are allowed: probing 36 at once"), "{said}");
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    let counts = report["domains"].as_object().unwrap().values().next().unwrap();
    assert_eq!((&counts["down"], &counts["total"]), (&0.into(), &200.into()), "{report}");
}
