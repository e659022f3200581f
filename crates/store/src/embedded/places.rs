//! The files of one embedded Postgres.
//!
//! ```text
//! <data dir>/postgres/            0700, the server's user: also the socket's directory
//!     data/                       the cluster; data.new while initdb runs
//!     server.log                  what the server prints; one older copy beside it
//!     start.lock                  held while somebody starts the server
//! ```

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::account::Account;
use super::error::EmbeddedError;

/// `sun_path` takes 103 bytes on macOS and 107 on Linux.
const LONGEST_SOCKET_PATH: usize = 100;

/// The socket's file.
const SOCKET: &str = ".s.PGSQL.5432";

/// A log over this size is set aside at the next start.
const LONGEST_LOG: u64 = 10 * 1024 * 1024;

/// Where everything lies; absolute, without links.
#[derive(Debug, Clone)]
pub(super) struct Places {
    pub(super) root: PathBuf,
    pub(super) data: PathBuf,
    pub(super) new_data: PathBuf,
    pub(super) log: PathBuf,
    /// The directory of the socket.
    pub(super) socket: PathBuf,
}

impl Places {
    /// Makes the directories that are missing and checks the others.
    pub(super) fn prepare(data_dir: &Path) -> Result<(Self, Account), EmbeddedError> {
        // As root: passable for the server's user, readable for nobody else. A
        // directory that exists keeps its mode.
        let root = rustix::process::geteuid().is_root();
        let made = DirBuilder::new().recursive(true).mode(if root { 0o711 } else { 0o700 }).create(data_dir);
        made.map_err(files("create", data_dir))?;
        let data_dir = data_dir.canonicalize().map_err(files("resolve", data_dir))?;
        let root = data_dir.join("postgres");
        let account = Account::for_directory(&root);
        if let Some(directory) = account.closed_directory(&root) {
            return Err(EmbeddedError::NotPassable { directory, user: account.name() });
        }
        private_directory(&root, &account)?;
        let places = Self::within(root);
        if places.socket != places.root {
            private_directory(&places.socket, &account)?;
        }
        Ok((places, account))
    }

    /// Where everything is, if a server has been there and left its socket: whether one is there now is not known.
    /// Makes nothing.
    pub(super) fn existing(data_dir: &Path) -> Result<Option<Self>, EmbeddedError> {
        let root = match data_dir.canonicalize() {
            Ok(data_dir) => data_dir.join("postgres"),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(files("resolve", data_dir)(error)),
        };
        let places = Self::within(root);
        let socket = places.socket.join(SOCKET);
        match socket.symlink_metadata() {
            Ok(_) => Ok(Some(places)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(files("use", &socket)(error)),
        }
    }

    fn within(root: PathBuf) -> Self {
        let mut socket = root.clone();
        if root.join(SOCKET).as_os_str().len() > LONGEST_SOCKET_PATH {
            // Named by the path, so that the next start finds it again.
            let hash = common::stable_hash(&root.to_string_lossy());
            socket = PathBuf::from(format!("/tmp/lookout-{hash:016x}"));
        }
        Self { data: root.join("data"), new_data: root.join("data.new"), log: root.join("server.log"), root, socket }
    }

    /// The major version that wrote the cluster; `None` without a cluster.
    pub(super) fn cluster_version(&self) -> Option<String> {
        let text = std::fs::read_to_string(self.data.join("PG_VERSION")).ok()?;
        Some(text.trim().to_owned())
    }

    /// Waits for the turn to start the server; the turn ends with the file.
    pub(super) fn lock(&self) -> Result<File, EmbeddedError> {
        let path = self.root.join("start.lock");
        let file = private_file(&path).map_err(files("open", &path))?;
        file.lock().map_err(files("lock", &path))?;
        Ok(file)
    }

    /// Opens the log for the server to append to.
    pub(super) fn open_log(&self, account: &Account) -> Result<File, EmbeddedError> {
        if self.log.metadata().is_ok_and(|log| log.len() > LONGEST_LOG) {
            let older = self.log.with_extension("log.1");
            std::fs::rename(&self.log, &older).map_err(files("rename", &self.log))?;
        }
        let file = private_file(&self.log).map_err(files("open", &self.log))?;
        account.give(&self.log).map_err(files("change the owner of", &self.log))?;
        Ok(file)
    }

    /// What the log says from byte `from` on, the last `lines` lines of it.
    pub(super) fn log_tail(&self, from: u64, lines: usize) -> String {
        let read = || -> io::Result<String> {
            let mut file = File::open(&self.log)?;
            file.seek(SeekFrom::Start(from))?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            Ok(last_lines(&bytes, lines))
        };
        read().unwrap_or_default()
    }
}

/// Adds what was tried on which path to an error of the system.
pub(super) fn files(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> EmbeddedError {
    let path = path.to_owned();
    move |source| EmbeddedError::Files { action, path, source }
}

/// The last `lines` lines of a text, without the final line end.
pub(super) fn last_lines(text: &[u8], lines: usize) -> String {
    let text = String::from_utf8_lossy(text);
    let all: Vec<&str> = text.trim_end().lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// A directory that only the account may enter.
///
/// One that exists must be the account's own directory and no link: in `/tmp`
/// anybody could have put it there.
fn private_directory(path: &Path, account: &Account) -> Result<(), EmbeddedError> {
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => account.give(path).map_err(files("change the owner of", path))?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(files("create", path)(error)),
    }
    let mut found = path.symlink_metadata().map_err(files("read", path))?;
    if found.uid() == 0 && account.uid() != 0 && found.is_dir() {
        // Made by a start that was killed before it gave the directory away.
        account.give(path).map_err(files("change the owner of", path))?;
        found = path.symlink_metadata().map_err(files("read", path))?;
    }
    if found.uid() != account.uid() || !found.is_dir() {
        return Err(EmbeddedError::NotOurs { directory: path.to_owned(), owner: found.uid(), we: account.uid() });
    }
    if found.mode() & 0o777 != 0o700 {
        let private = std::fs::Permissions::from_mode(0o700);
        std::fs::set_permissions(path, private).map_err(files("close", path))?;
    }
    Ok(())
}

/// Opens a file for appending, made readable for its owner alone; never
/// through a link, since as root we write into another user's directory.
fn private_file(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits() as i32)
        .open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_lines_are_quoted() {
        assert_eq!(last_lines(b"one\ntwo\nthree\n\n", 2), "two\nthree");
        assert_eq!(last_lines(b"", 2), "");
    }

    #[test]
    fn a_long_path_gets_a_short_socket_directory_and_always_the_same() {
        let parent = tempfile::tempdir().unwrap();
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(&parent, open).unwrap();
        let long = parent.path().join("x".repeat(100));
        let (first, _) = Places::prepare(&long).unwrap();
        let (second, _) = Places::prepare(&long).unwrap();
        assert_eq!(first.socket, second.socket);
        assert!(first.socket.as_os_str().len() < 40, "{:?}", first.socket);
        assert_eq!(first.socket.metadata().unwrap().mode() & 0o777, 0o700);
        std::fs::remove_dir(&first.socket).unwrap();
    }

    #[test]
    fn a_closed_directory_is_named() {
        let parent = tempfile::tempdir().unwrap();
        let root = rustix::process::geteuid().is_root();
        // Root may write anywhere, but the server's user may not pass a 0700
        // directory of root's; anybody else is stopped by a missing w.
        let mode = if root { 0o700 } else { 0o500 };
        let closed = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(&parent, closed).unwrap();
        let error = Places::prepare(&parent.path().join("data")).unwrap_err();
        let message = error.to_string();
        let name = parent.path().canonicalize().unwrap();
        assert!(message.contains(name.to_str().unwrap()), "{message}");
        assert!(message.contains("LOOKOUT_DATA_DIR"), "{message}");
        assert_eq!(message.lines().count(), 1, "{message}");
        assert_eq!(matches!(error, EmbeddedError::NotPassable { .. }), root);
    }
}
