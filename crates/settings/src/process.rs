//! What every long-running binary does alike: signals, exit status, health checks.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::problems::SettingsError;

/// How long a health check waits for an answer.
const HEALTH_DEADLINE: Duration = Duration::from_secs(3);

/// Signals within this time of the first are the same request to stop.
const SAME_WISH: Duration = Duration::from_secs(1);

/// Cancels `stop` on the first Ctrl-C or SIGTERM, so that everything ends cleanly.
/// Another one, a second or more later, ends the process at once with status 130, for people in a hurry.
///
/// # Errors
/// The handlers cannot be installed.
pub fn cancel_on_signal(stop: CancellationToken) -> std::io::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::spawn(async move {
        let mut next = async || {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        };
        next().await;
        stop.cancel();
        // Supervisors signal a process and then its group; that is one wish, not two.
        let asked = tokio::time::Instant::now();
        loop {
            next().await;
            if asked.elapsed() >= SAME_WISH {
                break;
            }
        }
        #[expect(clippy::disallowed_methods, reason = "asked twice: not cleanly, but now")]
        std::process::exit(130);
    });
    Ok(())
}

/// Prints a failure to standard error and turns it into an exit status: 2 for
/// unusable settings, 1 for anything else.
pub fn exit_code(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => match error.downcast_ref::<SettingsError>() {
            Some(settings) => {
                eprintln!("{settings}");
                ExitCode::from(2)
            }
            None => {
                eprintln!("error: {error:#}");
                ExitCode::FAILURE
            }
        },
    }
}

/// Asks `path` of the process that listens on `address` and is content with any 2xx.
///
/// For container health checks, so that an image needs no curl.
///
/// # Errors
/// Nobody answers, or the answer is another status.
pub fn ask_health(mut address: SocketAddr, path: &str) -> anyhow::Result<()> {
    if address.ip().is_unspecified() {
        address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
    }
    let mut stream = TcpStream::connect_timeout(&address, HEALTH_DEADLINE)?;
    stream.set_read_timeout(Some(HEALTH_DEADLINE))?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").as_bytes())?;
    let mut head = [0; 12];
    stream.read_exact(&mut head)?;
    let head = String::from_utf8_lossy(&head);
    anyhow::ensure!(head.starts_with("HTTP/1.1 2"), "http://{address}{path} answered {head:?}");
    Ok(())
}
