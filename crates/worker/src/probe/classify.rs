//! Whose fault was it? From a client error to an outcome.

use std::error::Error;
use std::io;

use common::{Cause, Outcome};

use super::Failure;
use super::client::LookupError;
use super::trace::Trace;

/// Sorts a client error by the first thing in its chain that says what happened.
pub(super) fn failure(error: &reqwest::Error, trace: &Trace) -> Failure {
    let outcome = chain(error).find_map(|cause| outcome_of(cause, trace)).unwrap_or_else(|| {
        if error.is_decode() || error.is_body() {
            Outcome::Down(Cause::Body)
        } else if error.is_connect() {
            Outcome::Down(Cause::Refused)
        } else if error.is_request() || error.is_timeout() {
            Outcome::Down(Cause::Protocol)
        } else {
            // A request we could not even build says nothing about the target.
            Outcome::Unknown
        }
    });
    Failure { outcome, detail: innermost(error) }
}

/// The error and its causes, the innermost last. A wrapped I/O error hides its
/// payload from `source`, so it is looked into as well.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| {
        if let Some(io) = error.downcast_ref::<io::Error>()
            && let Some(payload) = io.get_ref()
        {
            return Some(payload as &(dyn Error + 'static));
        }
        error.source()
    })
}

fn outcome_of(error: &(dyn Error + 'static), trace: &Trace) -> Option<Outcome> {
    if let Some(lookup) = error.downcast_ref::<LookupError>() {
        return Some(if lookup.is_ours { Outcome::Unknown } else { Outcome::Down(Cause::Dns) });
    }
    if error.is::<rustls::Error>() {
        return Some(Outcome::Down(Cause::Tls));
    }
    if let Some(hyper) = error.downcast_ref::<hyper::Error>() {
        if hyper.is_parse() || hyper.is_parse_status() {
            return Some(Outcome::Down(Cause::Protocol));
        }
        if hyper.is_incomplete_message() {
            // Before the head it is no answer at all, after it a body cut short.
            let cause = if trace.head_at().is_some() { Cause::Body } else { Cause::Protocol };
            return Some(Outcome::Down(cause));
        }
        return None;
    }
    error.downcast_ref::<io::Error>().and_then(|error| outcome_of_io(error, trace))
}

fn outcome_of_io(error: &io::Error, trace: &Trace) -> Option<Outcome> {
    use rustix::io::Errno;
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        // Out of descriptors, ports, buffers or memory; no route from here; not allowed to: ours.
        Some(
            Errno::MFILE
            | Errno::NFILE
            | Errno::ADDRNOTAVAIL
            | Errno::NOBUFS
            | Errno::NOMEM
            | Errno::NETUNREACH
            | Errno::NETDOWN
            | Errno::ACCESS
            | Errno::PERM,
        ) => return Some(Outcome::Unknown),
        Some(Errno::HOSTUNREACH | Errno::HOSTDOWN) => return Some(Outcome::Down(Cause::Refused)),
        _ => {}
    }
    let cause = match error.kind() {
        io::ErrorKind::ConnectionRefused => Cause::Refused,
        io::ErrorKind::TimedOut => Cause::Timeout,
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe => Cause::Reset,
        // Only TLS talks before the connection counts as open; rustls has no error of its own for more than it takes.
        io::ErrorKind::UnexpectedEof if !trace.is_connected() => Cause::Tls,
        io::ErrorKind::Other | io::ErrorKind::InvalidData
            if !trace.is_connected() && error.get_ref().is_some_and(says_only_a_text) =>
        {
            Cause::Tls
        }
        io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput
            if trace.head_at().is_some() =>
        {
            Cause::Body
        }
        _ => return None,
    };
    Some(Outcome::Down(cause))
}

/// Whether an error is a text and none that is known here.
fn says_only_a_text(error: &(dyn Error + Send + Sync + 'static)) -> bool {
    error.source().is_none() && !error.is::<io::Error>() && !error.is::<rustls::Error>() && !error.is::<LookupError>()
}

/// The innermost message: it names the reason, and never the URL with its secrets.
fn innermost(error: &reqwest::Error) -> String {
    chain(error).last().filter(|last| !last.is::<reqwest::Error>()).map_or_else(
        || if error.is_decode() { "the body cannot be decoded".to_owned() } else { "the request failed".to_owned() },
        ToString::to_string,
    )
}
