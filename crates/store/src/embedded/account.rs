//! The user the server runs as: Postgres refuses to run as root.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// `nobody`, where there is no user `postgres`.
const NOBODY: u32 = 65534;

/// A user and group to run Postgres as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account {
    uid: u32,
    gid: u32,
    /// We are root, and must become this account.
    switch: bool,
}

impl Account {
    /// The account for a new directory: our own, or `postgres` if we are root.
    pub(crate) fn current() -> Self {
        let uid = rustix::process::geteuid().as_raw();
        let gid = rustix::process::getegid().as_raw();
        if uid != 0 {
            return Self { uid, gid, switch: false };
        }
        let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        let (uid, gid) = find_user(&passwd, "postgres").unwrap_or((NOBODY, NOBODY));
        Self { uid, gid, switch: true }
    }

    /// The account for a directory that may exist: root keeps its owner, so that
    /// a server installed later, with a `postgres` user, changes nothing.
    pub(crate) fn for_directory(directory: &Path) -> Self {
        let current = Self::current();
        match directory.metadata() {
            Ok(found) if current.switch && found.uid() != 0 => {
                Self { uid: found.uid(), gid: found.gid(), switch: true }
            }
            _ => current,
        }
    }

    pub(crate) fn uid(&self) -> u32 {
        self.uid
    }

    /// How messages call this user.
    pub(crate) fn name(&self) -> String {
        let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        match find_user(&passwd, "postgres") {
            Some((uid, _)) if uid == self.uid => "postgres".to_owned(),
            _ => self.uid.to_string(),
        }
    }

    /// Gives a file or directory that we made as root to the account.
    pub(crate) fn give(&self, path: &Path) -> io::Result<()> {
        if self.switch {
            std::os::unix::fs::chown(path, Some(self.uid), Some(self.gid))?;
        }
        Ok(())
    }

    /// Makes `command` run as the account, in `/`, which any account may enter.
    pub(crate) fn apply(&self, command: &mut Command) {
        command.current_dir("/");
        if self.switch {
            // Clears the supplementary groups too.
            command.uid(self.uid).gid(self.gid);
        }
    }

    /// The topmost directory above `path` that the account may not pass through.
    ///
    /// Looks at mode bits alone, and only if we are root and become somebody else.
    pub(crate) fn closed_directory(&self, path: &Path) -> Option<PathBuf> {
        if !self.switch {
            return None;
        }
        let mut closed = None;
        for directory in path.ancestors().skip(1) {
            let Ok(found) = directory.metadata() else {
                continue;
            };
            let passable = if found.uid() == self.uid {
                0o100
            } else if found.gid() == self.gid {
                0o010
            } else {
                0o001
            };
            if found.mode() & passable == 0 {
                closed = Some(directory.to_owned());
            }
        }
        closed
    }
}

/// User and group id from `/etc/passwd`.
fn find_user(passwd: &str, name: &str) -> Option<(u32, u32)> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next()? != name {
            return None;
        }
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        Some((uid, gid))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_postgres_user_is_read_from_passwd() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\npostgres:x:105:111:,,,:/var/lib:/bin/sh\n";
        assert_eq!(find_user(passwd, "postgres"), Some((105, 111)));
        assert_eq!(find_user(passwd, "nobody"), None);
    }

    #[test]
    fn the_server_never_runs_as_root() {
        assert_ne!(Account::current().uid(), 0);
    }
}
