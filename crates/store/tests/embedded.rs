//! The embedded Postgres, on a real server of this machine.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use sqlx::{Connection, PgConnection};
use store::embedded::{Embedded, EmbeddedError};

/// A directory that the server's user may pass through.
fn data_dir() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let open = std::fs::Permissions::from_mode(0o711);
    std::fs::set_permissions(&directory, open).unwrap();
    directory
}

async fn connect(server: &Embedded) -> PgConnection {
    PgConnection::connect(&server.url("lookout")).await.unwrap()
}

async fn write(server: &Embedded) {
    let mut connection = connect(server).await;
    for statement in ["create table kept (n int4)", "insert into kept values (42)"] {
        sqlx::query(statement).execute(&mut connection).await.unwrap();
    }
}

async fn read(server: &Embedded) -> i32 {
    sqlx::query_scalar("select n from kept").fetch_one(&mut connect(server).await).await.unwrap()
}

fn postmaster(data_dir: &Path) -> Pid {
    let file = data_dir.join("postgres/data/postmaster.pid");
    let text = std::fs::read_to_string(file).unwrap();
    Pid::from_raw(text.lines().next().unwrap().parse().unwrap()).unwrap()
}

#[tokio::test]
async fn data_survives_a_stop_and_a_start() {
    let directory = data_dir();
    let server = Embedded::start(directory.path()).unwrap();
    write(&server).await;
    // An open connection does not hold up the stop.
    let _open = connect(&server).await;
    let stopping = Instant::now();
    server.stop();
    assert!(stopping.elapsed() < Duration::from_secs(10));
    assert!(!directory.path().join("postgres/data/postmaster.pid").exists());

    let server = Embedded::start(directory.path()).unwrap();
    assert_eq!(read(&server).await, 42);
}

#[tokio::test]
async fn after_a_kill_of_the_server_the_next_start_recovers() {
    let directory = data_dir();
    let server = Embedded::start(directory.path()).unwrap();
    write(&server).await;
    let killed = postmaster(directory.path());
    kill_process(killed, Signal::KILL).unwrap();

    // `server` has not been waited for: its process is a zombie, whose number
    // Postgres believes alive.
    let again = Embedded::start(directory.path()).unwrap();
    assert!(!again.is_shared());
    assert_ne!(postmaster(directory.path()), killed);
    assert_eq!(read(&again).await, 42);
    drop(server);
    assert_eq!(read(&again).await, 42);
}

#[tokio::test]
async fn a_second_start_shares_the_first_and_does_not_stop_it() {
    let directory = data_dir();
    let first = Embedded::start(directory.path()).unwrap();
    let second = Embedded::start(directory.path()).unwrap();
    assert!(!first.is_shared());
    assert!(second.is_shared());
    assert_eq!(first.url("lookout"), second.url("lookout"));
    second.stop();
    write(&first).await;
    assert_eq!(read(&first).await, 42);
}

#[tokio::test]
async fn a_long_path_works_through_a_short_socket_directory() {
    let directory = data_dir();
    let long = directory.path().join("a blank, a comma and ü".repeat(6));
    let server = Embedded::start(&long).unwrap();
    write(&server).await;
    assert_eq!(read(&server).await, 42);
    let url = server.url("lookout");
    schema::migrate(&url).await.unwrap();
    server.stop();
    let socket = url.split(['=', '&']).nth(1).unwrap();
    std::fs::remove_dir(socket).unwrap();
}

#[tokio::test]
async fn only_the_owner_may_enter_the_servers_directory() {
    let directory = data_dir();
    let server = Embedded::start(directory.path()).unwrap();
    let found = directory.path().join("postgres").metadata().unwrap();
    assert_eq!(found.mode() & 0o777, 0o700);
    assert_ne!(found.uid(), 0);
    server.stop();
}

#[tokio::test]
async fn an_interrupted_initdb_is_started_over() {
    let directory = data_dir();
    // Makes the directories with the right owner.
    Embedded::start(directory.path()).unwrap().stop();
    let root = directory.path().join("postgres");
    std::fs::rename(root.join("data"), root.join("data.new")).unwrap();
    std::fs::remove_file(root.join("data.new/PG_VERSION")).unwrap();

    let server = Embedded::start(directory.path()).unwrap();
    write(&server).await;
    assert!(!root.join("data.new").exists());
}

#[tokio::test]
async fn a_server_that_ends_at_once_is_quoted_from_its_log() {
    let directory = data_dir();
    Embedded::start(directory.path()).unwrap().stop();
    let settings = directory.path().join("postgres/data/postgresql.conf");
    std::fs::write(settings, "work_mem = lots\n").unwrap();
    let error = Embedded::start(directory.path()).unwrap_err();
    assert!(matches!(error, EmbeddedError::Ended { .. }), "{error}");
    assert!(error.to_string().contains("work_mem"), "{error}");
}

#[tokio::test]
async fn data_of_a_version_that_is_not_installed_names_the_package() {
    let directory = data_dir();
    Embedded::start(directory.path()).unwrap().stop();
    let version = directory.path().join("postgres/data/PG_VERSION");
    std::fs::write(version, "12\n").unwrap();
    let message = Embedded::start(directory.path()).unwrap_err().to_string();
    assert!(message.contains("postgresql-12"), "{message}");
    assert_eq!(message.lines().count(), 1, "{message}");
}

/// A server started by a thread that has ended goes by itself, as it does when
/// the process is killed: the kernel's signal is tied to the thread.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_server_goes_with_whoever_started_it() {
    let directory = data_dir();
    let path = directory.path().to_owned();
    let server = std::thread::spawn(move || Embedded::start(&path).unwrap()).join().unwrap();
    let pid_file = directory.path().join("postgres/data/postmaster.pid");
    let waiting = Instant::now();
    while pid_file.exists() {
        assert!(waiting.elapsed() < Duration::from_secs(20), "still running");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    drop(server);
}
