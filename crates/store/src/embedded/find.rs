//! Finds the programs of an installed PostgreSQL server.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::account::Account;
use super::error::EmbeddedError;

/// The oldest major version lookout supports.
const OLDEST: u32 = 15;

/// The two programs we run, from one installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Programs {
    pub(super) initdb: PathBuf,
    pub(super) postgres: PathBuf,
}

/// The installation to use: of `wanted` major version if given (the one that
/// wrote the data), else the first of [`OLDEST`] or newer.
///
/// Looks in `$PG_BIN`, `PATH`, what `pg_config` says, and where distributions
/// put their servers.
pub(super) fn find(wanted: Option<&str>, data: &Path, account: &Account) -> Result<Programs, EmbeddedError> {
    find_in(directories(), wanted, account, major_version).ok_or_else(|| match wanted {
        Some(wanted) => EmbeddedError::OtherVersion { data: data.to_owned(), wanted: wanted.to_owned() },
        None => EmbeddedError::NotInstalled,
    })
}

fn find_in(
    directories: impl IntoIterator<Item = PathBuf>,
    wanted: Option<&str>,
    account: &Account,
    version_of: impl Fn(&Path) -> Option<u32>,
) -> Option<Programs> {
    directories.into_iter().find_map(|directory| {
        // Links in PATH lead to the directory that holds the server's other files.
        let postgres = directory.join("postgres").canonicalize().ok()?;
        let initdb = postgres.with_file_name("initdb");
        if !initdb.is_file() || account.closed_directory(&postgres).is_some() {
            return None;
        }
        let version = version_of(&postgres)?;
        let fits = match wanted {
            Some(wanted) => version.to_string() == wanted,
            None => version >= OLDEST,
        };
        fits.then_some(Programs { initdb, postgres })
    })
}

fn directories() -> Vec<PathBuf> {
    let mut found = Vec::new();
    found.extend(std::env::var_os("PG_BIN").map(PathBuf::from));
    let path = std::env::var_os("PATH").unwrap_or_default();
    found.extend(std::env::split_paths(&path));
    found.extend(pg_config());
    for (parent, prefix, rest) in [
        ("/usr/lib/postgresql", "", "bin"),
        ("/usr/lib64", "pgsql", "bin"),
        ("/usr", "pgsql-", "bin"),
        ("/opt/homebrew/opt", "postgresql@", "bin"),
        ("/usr/local/opt", "postgresql@", "bin"),
        ("/Applications/Postgres.app/Contents/Versions", "", "bin"),
    ] {
        found.extend(numbered(Path::new(parent), prefix, rest));
    }
    // An empty entry means the current directory, which is none of our business.
    found.retain(|directory| directory.is_absolute());
    found
}

/// `<parent>/<prefix><number>/<rest>`, the highest number first.
fn numbered(parent: &Path, prefix: &str, rest: &str) -> Vec<PathBuf> {
    let Ok(entries) = parent.read_dir() else {
        return Vec::new();
    };
    let mut versions: Vec<(f64, PathBuf)> = entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let number = name.strip_prefix(prefix)?;
            let number = if number.is_empty() { 0.0 } else { number.parse().ok()? };
            Some((number, entry.path().join(rest)))
        })
        .collect();
    versions.sort_by(|a, b| b.0.total_cmp(&a.0));
    versions.into_iter().map(|(_, path)| path).collect()
}

fn pg_config() -> Option<PathBuf> {
    let output = Command::new("pg_config").arg("--bindir").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let text = text.trim();
    (!text.is_empty()).then(|| PathBuf::from(OsString::from(text)))
}

fn major_version(postgres: &Path) -> Option<u32> {
    let output = Command::new(postgres).arg("--version").output().ok()?;
    parse_version(&String::from_utf8(output.stdout).ok()?)
}

/// The number in `postgres (PostgreSQL) 15.13 (Debian 15.13-0+deb12u1)`.
fn parse_version(text: &str) -> Option<u32> {
    let (_, number) = text.split_once("(PostgreSQL) ")?;
    // `18beta1` counts as 18.
    let digits = number.find(|c: char| !c.is_ascii_digit())?;
    number[..digits].parse().ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A directory with an installation that holds nothing but its version.
    fn fake(version: &str) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(&directory, open).unwrap();
        for program in ["postgres", "initdb"] {
            std::fs::write(directory.path().join(program), version).unwrap();
        }
        directory
    }

    /// The `postgres` that is taken from these installations.
    fn found(installed: &[&tempfile::TempDir], wanted: Option<&str>) -> Option<PathBuf> {
        let directories = installed.iter().map(|one| one.path().to_owned());
        let version_of = |path: &Path| std::fs::read_to_string(path).ok()?.parse().ok();
        find_in(directories, wanted, &Account::current(), version_of).map(|one| one.postgres)
    }

    fn postgres_in(directory: &tempfile::TempDir) -> Option<PathBuf> {
        Some(directory.path().canonicalize().unwrap().join("postgres"))
    }

    #[test]
    fn without_a_server_the_message_is_one_line_with_package_and_alternative() {
        let empty = tempfile::tempdir().unwrap();
        assert_eq!(found(&[&empty], None), None);
        let message = EmbeddedError::NotInstalled.to_string();
        assert_eq!(message.lines().count(), 1);
        assert!(message.contains("apt-get install postgresql-15"));
        assert!(message.contains("DATABASE_URL"));
    }

    #[test]
    fn old_data_takes_the_version_that_wrote_it() {
        let (new, old) = (fake("18"), fake("16"));
        assert_eq!(found(&[&new, &old], None), postgres_in(&new));
        assert_eq!(found(&[&new, &old], Some("16")), postgres_in(&old));
        assert_eq!(found(&[&new, &old], Some("15")), None);
    }

    #[test]
    fn a_server_older_than_15_does_not_count() {
        assert_eq!(found(&[&fake("14")], None), None);
    }

    #[test]
    fn the_major_version_is_read_from_what_postgres_says() {
        let read = parse_version;
        assert_eq!(read("postgres (PostgreSQL) 15.13 (Debian 15.13-0)\n"), Some(15));
        assert_eq!(read("postgres (PostgreSQL) 18beta1\n"), Some(18));
        assert_eq!(read("something else"), None);
    }

    #[test]
    fn numbered_directories_come_highest_first() {
        let parent = tempfile::tempdir().unwrap();
        for name in ["9.6", "15", "17", "common"] {
            std::fs::create_dir(parent.path().join(name)).unwrap();
        }
        let found = numbered(parent.path(), "", "bin");
        let expected: Vec<_> = ["17/bin", "15/bin", "9.6/bin"].map(|name| parent.path().join(name)).into();
        assert_eq!(found, expected);
    }
}
