//! Who holds the cluster: what `postmaster.pid` says, and whether it is true.

use std::path::Path;

use rustix::process::Pid;

/// The process that `postmaster.pid` names, if any.
pub(super) fn named_in(data: &Path) -> Option<Pid> {
    let text = std::fs::read_to_string(data.join("postmaster.pid")).ok()?;
    Pid::from_raw(text.lines().next()?.trim().parse().ok()?)
}

/// Whether `pid` is alive and the Postgres of this cluster.
///
/// A zombie is not: it holds nothing, though Postgres itself, which only sends
/// signal 0, believes it alive. Nor is another program that got a dead server's
/// number, as happens when a container starts anew.
#[cfg(target_os = "linux")]
pub(super) fn is_alive(pid: Pid, data: &Path) -> bool {
    use std::os::unix::ffi::OsStrExt;

    let process = Path::new("/proc").join(pid.as_raw_nonzero().to_string());
    let Ok(stat) = std::fs::read_to_string(process.join("stat")) else {
        return false;
    };
    // `1234 (name with anything in it) S …`
    let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    if matches!(state, None | Some('Z' | 'X')) {
        return false;
    }
    let arguments = std::fs::read(process.join("cmdline")).unwrap_or_default();
    arguments.split(|&byte| byte == 0).any(|argument| argument == data.as_os_str().as_bytes())
}

/// Whether `pid` is alive; without `/proc` there is no telling whose it is.
#[cfg(not(target_os = "linux"))]
pub(super) fn is_alive(pid: Pid, _data: &Path) -> bool {
    rustix::process::test_kill_process(pid).is_ok()
}

/// Whether any process works in the cluster's directory, as all of a server do.
///
/// Backends outlive a killed postmaster by a moment and may still write.
#[cfg(target_os = "linux")]
pub(super) fn is_in_use(data: &Path) -> bool {
    let Ok(processes) = Path::new("/proc").read_dir() else {
        return true;
    };
    // Links of other users' processes cannot be read, and those are not ours:
    // we are root or the user the server ran as.
    processes
        .flatten()
        .any(|process| std::fs::read_link(process.path().join("cwd")).is_ok_and(|directory| directory == data))
}

/// Without `/proc` we never overrule Postgres' own check.
#[cfg(not(target_os = "linux"))]
pub(super) fn is_in_use(_data: &Path) -> bool {
    true
}
