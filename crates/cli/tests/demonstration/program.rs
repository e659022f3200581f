//! Other people's programs, and ours: found, started, listened to and ended.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// Far longer than any of them takes to start on a busy machine.
const PATIENCE: Duration = Duration::from_secs(40);

/// A command in an environment of nothing but PATH, so that nobody's settings change a result.
pub(crate) fn bare(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    // lookout reads .env from where it is started.
    command.current_dir(std::env::temp_dir()).stdin(Stdio::null());
    command
}

/// Our own.
pub(crate) fn lookout() -> Command {
    bare(env!("CARGO_BIN_EXE_lookout"))
}

/// Another's: where `scripts/setup.sh` puts what it fetches, else in PATH.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let target = PathBuf::from(env!("CARGO_BIN_EXE_lookout"));
    let fetched = target.ancestors().nth(2).map(|target| target.join("tools"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    fetched.into_iter().chain(std::env::split_paths(&path)).map(|dir| dir.join(name)).find(|path| path.is_file())
}

/// Like [`find`], and nothing can be tried without it.
pub(crate) fn tool(name: &str) -> Command {
    let found = find(name);
    bare(found.unwrap_or_else(|| panic!("there is no {name} to try this with: scripts/setup.sh test fetches it")))
}

/// Runs to the end; gives back what was printed on both streams, and panics if it failed.
pub(crate) fn succeed(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success(), "{command:?} ended with {}:\n{said}", output.status);
    said
}

#[derive(Default)]
struct Said {
    lines: Vec<String>,
    is_over: bool,
}

/// A program that runs until it is dropped.
pub(crate) struct Program {
    child: Child,
    said: Arc<(Mutex<Said>, Condvar)>,
}

impl Program {
    /// Starts it and keeps what it says on both streams.
    pub(crate) fn start(mut command: Command) -> Self {
        let (reader, writer) = std::io::pipe().unwrap();
        command.stdout(writer.try_clone().unwrap()).stderr(writer);
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let said = Arc::new((Mutex::new(Said::default()), Condvar::new()));
        let hears = Arc::clone(&said);
        std::thread::spawn(move || {
            let (lock, changed) = &*hears;
            for line in BufReader::new(reader).lines().map_while(Result::ok) {
                lock.lock().unwrap().lines.push(line);
                changed.notify_all();
            }
            lock.lock().unwrap().is_over = true;
            changed.notify_all();
        });
        // The command holds the pipe's other end, and dropped here it lets the reader see an end.
        drop(command);
        Self { child, said }
    }

    /// What stands behind `mark` in the first line that has it, up to a blank; waits for it.
    pub(crate) fn hear(&self, mark: &str) -> String {
        let find = |said: &Said| {
            let rest = said.lines.iter().find_map(|line| line.split_once(mark)).map(|(_, rest)| rest.trim_start());
            rest.map(|rest| rest.split([' ', ',', '"']).next().unwrap_or_default().to_owned())
        };
        let (lock, changed) = &*self.said;
        let deadline = Instant::now() + PATIENCE;
        let mut said = lock.lock().unwrap();
        loop {
            if let Some(found) = find(&said) {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!said.is_over && !left.is_zero(), "nobody said “{mark}”:\n{}", said.lines.join("\n"));
            said = changed.wait_timeout(said, left).unwrap().0;
        }
    }

    /// Whether it still runs.
    pub(crate) fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// All it said so far.
    pub(crate) fn said(&self) -> String {
        self.said.0.lock().unwrap().lines.join("\n")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
