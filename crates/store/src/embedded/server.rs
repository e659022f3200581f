//! Making the cluster, starting the server on it, and stopping it.

#![expect(clippy::disallowed_methods, reason = "blocks by design; callers are told so")]

use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use tracing::{debug, info, warn};

use super::account::Account;
use super::error::EmbeddedError;
use super::places::{Places, files, last_lines};
use super::query::{Answer, ask};
use super::{MAINTENANCE, Options, find, postmaster};

/// The role that initdb makes and every URL names.
pub(super) const SUPERUSER: &str = "lookout";

/// How long a server may show no sign of life. Generous: initdb, which does more,
/// took 13 s on a busy machine with two cores.
const SILENCE: Duration = Duration::from_secs(60);

/// How long a fast shutdown may take: it writes a checkpoint.
const SHUTDOWN: Duration = Duration::from_secs(60);

/// How long to wait for the kernel's parent of all processes to bury a zombie.
const BURIAL: Duration = Duration::from_secs(3);

const PAUSE: Duration = Duration::from_millis(20);

/// A server that this process started.
#[derive(Debug)]
pub(super) struct Running(Child);

/// `None` if a server of this cluster is running already.
pub(super) fn share_or_start(
    places: &Places,
    account: &Account,
    options: Options,
) -> Result<Option<Running>, EmbeddedError> {
    if is_shared(places)? {
        debug!("sharing the Postgres of {}", places.data.display());
        return Ok(None);
    }
    let version = places.cluster_version();
    let programs = find::find(version.as_deref(), &places.data, account)?;
    if version.is_none() {
        info!("making a Postgres cluster in {}", places.data.display());
        make_cluster(&programs.initdb, places, account, options)?;
    }
    let first_try = Instant::now();
    loop {
        let log = places.open_log(account)?;
        let log_start = log.metadata().map_or(0, |log| log.len());
        let mut command = Command::new(&programs.postgres);
        arguments(&mut command, places, options);
        command.stdin(Stdio::null());
        command.stdout(log.try_clone().map_err(files("open", &places.log))?);
        command.stderr(log);
        prepare(&mut command, account, options);
        let child =
            command.spawn().map_err(|source| EmbeddedError::Spawn { program: programs.postgres.clone(), source })?;
        match until_ready(Running(child), places, log_start) {
            Err(EmbeddedError::Ended { tail, .. })
                if tail.contains("lock file \"")
                    && tail.contains("\" already exists")
                    && may_try_again(places, first_try) => {}
            other => return other.map(Some),
        }
    }
}

/// Waits until the server that holds the cluster answers; `false` if none does.
fn is_shared(places: &Places) -> Result<bool, EmbeddedError> {
    let url = places.url(MAINTENANCE);
    let mut silent_since = Instant::now();
    loop {
        match ask(&url) {
            Answer::Ready => return Ok(true),
            Answer::Refused(reason) => return Err(EmbeddedError::Query(reason)),
            Answer::Starting => silent_since = Instant::now(),
            Answer::Silent => {}
        }
        // It may be starting for a process that died, or stopping.
        match postmaster::named_in(&places.data) {
            Some(pid) if postmaster::is_alive(pid, &places.data) => {}
            _ => return Ok(false),
        }
        if silent_since.elapsed() > SILENCE {
            return Err(silent(places));
        }
        sleep(PAUSE);
    }
}

/// After a crash: decides about the lock files that Postgres would not pass,
/// `postmaster.pid` and the socket's.
///
/// Their process is a zombie, or another program with the same number. Zombies
/// mostly go within two seconds; in a container without an init they stay for
/// good, and then the files have to go, once nothing works in the cluster any more.
fn may_try_again(places: &Places, first_try: Instant) -> bool {
    let named = postmaster::named_in(&places.data);
    if named.is_some_and(|pid| postmaster::is_alive(pid, &places.data)) {
        return false;
    }
    if first_try.elapsed() > 2 * BURIAL {
        return false;
    }
    sleep(PAUSE * 10);
    if first_try.elapsed() > BURIAL && !postmaster::is_in_use(&places.data) {
        warn!("removing the lock files of a Postgres that is no more");
        std::fs::remove_file(places.data.join("postmaster.pid")).ok();
        std::fs::remove_file(places.socket.join(".s.PGSQL.5432.lock")).ok();
    }
    true
}

/// Runs initdb beside the final place, so that a kill leaves nothing half-made.
fn make_cluster(initdb: &Path, places: &Places, account: &Account, options: Options) -> Result<(), EmbeddedError> {
    let new = &places.new_data;
    match std::fs::remove_dir_all(new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(files("remove", new)(error));
        }
        _ => {}
    }
    let mut command = Command::new(initdb);
    command.arg("-D").arg(new);
    command.args(["-U", SUPERUSER, "-A", "trust", "-E", "UTF8", "--no-locale"]);
    if !options.fsync {
        command.arg("--no-sync");
    }
    command.stdin(Stdio::null());
    prepare(&mut command, account, Options { detached: false, ..options });
    let output = command.output().map_err(|source| EmbeddedError::Spawn { program: initdb.to_owned(), source })?;
    if !output.status.success() {
        let said = [output.stdout, output.stderr].concat();
        return Err(EmbeddedError::Initdb { output: last_lines(&said, 5) });
    }
    std::fs::rename(new, &places.data).map_err(files("rename", new))
}

fn arguments(command: &mut Command, places: &Places, options: Options) {
    let on_off = |on| if on { "on" } else { "off" };
    // A list of paths: quoted, for a comma or a blank in one.
    let socket = places.socket.to_string_lossy().replace('"', "\"\"");
    command.arg("-D").arg(&places.data);
    for setting in [
        "listen_addresses=".to_owned(),
        "port=5432".to_owned(),
        format!("unix_socket_directories=\"{socket}\""),
        "unix_socket_permissions=0700".to_owned(),
        format!("max_connections={}", options.max_connections),
        "shared_buffers=128MB".to_owned(),
        "log_min_messages=warning".to_owned(),
        "logging_collector=off".to_owned(),
        format!("fsync={}", on_off(options.fsync)),
        format!("full_page_writes={}", on_off(options.fsync)),
        format!("synchronous_commit={}", on_off(options.fsync)),
    ] {
        command.arg("-c").arg(setting);
    }
}

/// What of our environment both programs get: who may read theirs has no business with the secrets in ours.
const INHERITED: [&str; 9] = [
    "PATH",
    "HOME",
    "TMPDIR",
    "TZ",
    "TZDIR",
    "LD_LIBRARY_PATH",
    "LD_PRELOAD",
    "DYLD_LIBRARY_PATH",
    "DYLD_FALLBACK_LIBRARY_PATH",
];

/// What both programs need: the account, a process group and a quiet environment.
fn prepare(command: &mut Command, account: &Account, options: Options) {
    account.apply(command);
    // The terminal's Ctrl-C goes to a whole process group. It must reach us
    // alone: the server has to outlast what we still want to write.
    command.process_group(0);
    // PGPORT, PGDATA and their like would change what the programs do.
    command.env_clear();
    command.envs(INHERITED.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
    // A locale that is not installed stops initdb; macOS starts threads for others.
    command.env("LC_ALL", "C");
    if !options.detached {
        die_with_us(command);
    }
}

/// Has the kernel stop the child when the thread that starts it ends.
#[cfg(target_os = "linux")]
fn die_with_us(command: &mut Command) {
    let us = rustix::process::getpid();
    #[expect(unsafe_code, reason = "a death signal can only be set between fork and exec")]
    // SAFETY: the closure makes two system calls and neither allocates nor locks.
    unsafe {
        // Runs after the change of user, which would clear the signal.
        command.pre_exec(move || {
            rustix::process::set_parent_process_death_signal(Some(Signal::INT))?;
            // We may have died just before.
            if rustix::process::getppid() == Some(us) { Ok(()) } else { Err(io::ErrorKind::Interrupted.into()) }
        });
    }
}

/// Other systems have no such signal; the next start shares the server.
#[cfg(not(target_os = "linux"))]
fn die_with_us(_command: &mut Command) {}

fn until_ready(mut running: Running, places: &Places, log_start: u64) -> Result<Running, EmbeddedError> {
    let url = places.url(MAINTENANCE);
    let (mut silent_since, mut told) = (Instant::now(), Instant::now());
    loop {
        if let Ok(Some(status)) = running.0.try_wait() {
            return Err(EmbeddedError::Ended {
                status: status.to_string(),
                log: places.log.clone(),
                tail: places.log_tail(log_start, 5),
            });
        }
        match ask(&url) {
            Answer::Ready => return Ok(running),
            Answer::Refused(reason) => {
                running.stop();
                return Err(EmbeddedError::Query(reason));
            }
            // Recovery takes as long as it takes.
            Answer::Starting => silent_since = Instant::now(),
            Answer::Silent => {}
        }
        if silent_since.elapsed() > SILENCE {
            running.stop();
            return Err(silent(places));
        }
        if told.elapsed() > Duration::from_secs(10) {
            info!("waiting for Postgres in {}", places.data.display());
            told = Instant::now();
        }
        sleep(PAUSE);
    }
}

fn silent(places: &Places) -> EmbeddedError {
    EmbeddedError::Silent { data: places.data.clone(), seconds: SILENCE.as_secs(), log: places.log.clone() }
}

impl Running {
    /// How it ended, if it has.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        self.0.try_wait().ok().flatten()
    }

    /// Asks for a fast shutdown, and less politely if that does not help.
    pub(super) fn stop(mut self) {
        // Immediate shutdown (QUIT) leaves a recovery to the next start.
        let steps = [(Signal::INT, SHUTDOWN), (Signal::QUIT, Duration::from_secs(5))];
        for (signal, patience) in steps {
            let pid = Pid::from_child(&self.0);
            if let Ok(Some(_)) = self.0.try_wait() {
                return;
            }
            rustix::process::kill_process(pid, signal).ok();
            if let Some(status) = self.wait(patience) {
                debug!("Postgres has stopped: {status}");
                return;
            }
            warn!("Postgres did not stop within {} s", patience.as_secs());
        }
        self.0.kill().ok();
        self.0.wait().ok();
    }

    fn wait(&mut self, patience: Duration) -> Option<ExitStatus> {
        let start = Instant::now();
        loop {
            match self.0.try_wait() {
                Ok(Some(status)) => return Some(status),
                Ok(None) if start.elapsed() < patience => sleep(PAUSE / 4),
                _ => return None,
            }
        }
    }
}
