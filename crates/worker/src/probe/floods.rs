//! Hangs up on targets that send more than we read before they answer.
//!
//! The client reads what a target sends as fast as it comes, and with interim answers without end it does
//! not look up for a tenth of a second at a time: no other probe of that thread goes on meanwhile, nor does the
//! probe's own timeout. So another thread looks at what waits in the kernel, and ends the connections that have far
//! more than an answer may have in front of it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::trace::{Trace, WeakTrace};

/// Our end of a connection, and the target's.
pub(super) type Ends = (SocketAddr, SocketAddr);

/// After a look in vain the next one waits for so many times as long as that took, and for twice as long each
/// time: then it is the machine that is busy, and this makes it busier.
const PAUSE: u32 = 3;
const MOST_DOUBLINGS: u32 = 5;

/// After so long without a reason to look, it is as if nobody ever had in vain.
const FORGIVEN: Duration = Duration::from_secs(1);

/// More connections than this that were kept are gone through for those that are closed.
const MOST_KEPT: usize = 4096;

/// The client closes a connection that nobody used for so long.
const KEPT: Duration = Duration::from_secs(90);

/// A connection of ours.
#[derive(Debug)]
enum Open {
    /// Opened for this probe, which may have no answer yet.
    Of(WeakTrace),
    /// Kept for other probes, and last used then.
    Kept(Instant),
}

/// Why somebody looks.
#[derive(Debug, Clone, Copy)]
pub(super) enum Reason {
    /// The thread of all probes stands still.
    Standstill,
    /// There are probes apart, which take a processor from others.
    Apart,
}

/// A connection that has far more waiting than an answer may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flood {
    /// Its probe knows, and needs nothing of it.
    OfProbe,
    /// Another probe may be reading its answer.
    OverKept,
}

/// Connections of probes, and who floods us over them.
#[derive(Debug, Default)]
pub(super) struct Floods {
    open: Mutex<HashMap<Ends, Open>>,
    /// One for each reason: how often one was none says nothing of the other.
    paces: Mutex<[Pace; 2]>,
}

/// When somebody may look again, and how often that was in vain.
#[derive(Debug, Clone, Copy, Default)]
struct Pace {
    not_before: Option<Instant>,
    vain: u32,
}

impl Pace {
    fn is_due(&self, now: Instant) -> bool {
        self.not_before.is_none_or(|not_before| now >= not_before)
    }

    fn looked(&mut self, begun: Instant, ended: Instant, is_any: bool) {
        let is_forgiven = self.not_before.is_none_or(|not_before| begun >= not_before + FORGIVEN);
        let vain = if is_forgiven { 0 } else { self.vain };
        let (vain, pause) = if is_any { (0, 1) } else { (vain + 1, PAUSE << vain.min(MOST_DOUBLINGS)) };
        *self = Self { not_before: Some(ended + ended.duration_since(begun) * pause), vain };
    }
}

impl Floods {
    /// A probe has this connection now; if connections are kept, another one may use that of its last hop.
    pub(super) fn connected(&self, trace: &Trace, ends: Ends, is_kept: bool) {
        self.over(trace, is_kept);
        trace.set_ends(ends);
        self.open().insert(ends, Open::Of(trace.downgrade()));
    }

    /// A probe is over, or this hop of it. If its connection `is_kept`, another one may use it.
    pub(super) fn over(&self, trace: &Trace, is_kept: bool) {
        let Some(ends) = trace.ends() else { return };
        let mut open = self.open();
        if is_kept {
            if open.len() >= MOST_KEPT && open.len().is_power_of_two() {
                open.retain(|_, connection| !matches!(connection, Open::Kept(since) if since.elapsed() > KEPT));
            }
            open.insert(ends, Open::Kept(Instant::now()));
        } else {
            open.remove(&ends);
        }
    }

    /// An answer came over this connection, so that one that was kept is open still.
    pub(super) fn answered(&self, ends: Ends) {
        if let Some(Open::Kept(since)) = self.open().get_mut(&ends) {
            *since = Instant::now();
        }
    }

    fn open(&self) -> MutexGuard<'_, HashMap<Ends, Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hangs up on those who flood us, if it is not too soon to look for them again. Takes milliseconds where there are
    /// thousands of connections, so it is for a thread that probes nothing.
    pub(super) fn watch(&self, reason: Reason) {
        let mut paces = self.paces.lock().unwrap_or_else(PoisonError::into_inner);
        let pace = &mut paces[reason as usize];
        let begun = Instant::now();
        if pace.is_due(begun) {
            let is_any = linux::hang_up(|ends| self.floods(ends));
            pace.looked(begun, Instant::now(), is_any);
        }
    }

    /// Whether this connection is to be ended: that of a probe with no answer over it, which has one now, or one
    /// that was kept, because more than a probe reads of an answer is there.
    fn floods(&self, ends: &Ends) -> Option<Flood> {
        let trace = match self.open().get(ends) {
            Some(Open::Of(trace)) => trace.upgrade(),
            Some(Open::Kept(_)) => return Some(Flood::OverKept),
            None => None,
        };
        // First of all: the probe may end any moment.
        trace.filter(Trace::is_silent).map(|trace| {
            trace.set_floods();
            Flood::OfProbe
        })
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn keep(floods: &Floods, port: u16) -> Ends {
        let ends = (SocketAddr::from((Ipv4Addr::LOCALHOST, port)), SocketAddr::from((Ipv4Addr::LOCALHOST, 80)));
        let trace = Trace::default();
        floods.connected(&trace, ends, true);
        floods.over(&trace, true);
        ends
    }

    #[test]
    fn of_a_probe_that_was_led_on_both_connections_are_known_if_they_are_kept() {
        let [first, second] = [1, 2]
            .map(|port| (SocketAddr::from((Ipv4Addr::LOCALHOST, port)), SocketAddr::from((Ipv4Addr::LOCALHOST, 80))));
        for is_kept in [true, false] {
            let (floods, trace) = (Floods::default(), Trace::default());
            floods.connected(&trace, first, is_kept);
            floods.connected(&trace, second, is_kept);
            floods.over(&trace, is_kept);
            let wanted = is_kept.then_some(Flood::OverKept);
            assert_eq!([floods.floods(&first), floods.floods(&second)], [wanted; 2]);
        }
    }

    #[test]
    fn who_looks_in_vain_waits_for_longer_each_time_until_there_was_no_reason_for_a_while() {
        const LOOK: Duration = Duration::from_millis(1);
        let (mut pace, mut now) = (Pace::default(), Instant::now());
        let mut waits_ms = |is_any, after| {
            now += after;
            assert!(pace.is_due(now));
            pace.looked(now, now + LOOK, is_any);
            now += LOOK;
            let wait = (0..1_000).find(|ms| pace.is_due(now + LOOK * *ms)).unwrap();
            now += LOOK * wait;
            wait
        };
        let vain: Vec<_> = (0..7).map(|_| waits_ms(false, Duration::ZERO)).collect();
        assert_eq!(vain, [3, 6, 12, 24, 48, 96, 96]);
        assert_eq!(waits_ms(true, Duration::ZERO), 1);
        assert_eq!(waits_ms(false, Duration::ZERO), 3);
        assert_eq!(waits_ms(false, Duration::ZERO), 6);
        assert_eq!(waits_ms(false, FORGIVEN), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_was_kept_is_known_for_as_long_as_it_is_used() {
        let floods = Floods::default();
        let (used, idle) = (keep(&floods, 1), keep(&floods, 2));
        tokio::time::advance(KEPT).await;
        floods.answered(used);
        tokio::time::advance(KEPT / 2).await;
        for port in 0..MOST_KEPT {
            keep(&floods, 3 + port as u16);
        }
        assert_eq!(floods.floods(&used), Some(Flood::OverKept));
        assert_eq!(floods.floods(&idle), None);
    }
}

#[cfg(not(target_os = "linux"))]
mod linux {
    /// Nobody says who they are.
    pub(super) fn hang_up(_floods: impl Fn(&super::Ends) -> Option<super::Flood>) -> bool {
        false
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use std::net::{Shutdown, TcpStream};
    use std::os::fd::{BorrowedFd, RawFd};
    use std::path::Path;
    use std::sync::LazyLock;

    use rustix::io::ioctl_fionread;
    use rustix::net::{RecvFlags, recv};

    use super::{Ends, Flood};

    /// Less than this is a large answer.
    const LEAST_FLOOD: u64 = 256 * 1024;

    /// What the kernel holds for a connection that nobody reads from is less than the second number of `tcp_rmem`. More
    /// than twice that is there only where we read all the time, and still more comes.
    static FLOOD: LazyLock<u64> = LazyLock::new(|| {
        let sizes = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_rmem").unwrap_or_default();
        let usual = sizes.split_ascii_whitespace().nth(1).and_then(|bytes| bytes.parse::<u64>().ok());
        usual.map_or(LEAST_FLOOD, |usual| LEAST_FLOOD.max(usual.saturating_mul(2)))
    });

    /// Ends the connections that have so much waiting and are `floods`; whether there was one.
    pub(super) fn hang_up(floods: impl Fn(&Ends) -> Option<Flood>) -> bool {
        let mut is_any = false;
        for entry in std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten() {
            let Some(socket) = socket(&entry.path()) else { continue };
            if ioctl_fionread(&socket).is_ok_and(|waiting| waiting >= *FLOOD)
                && let (Ok(ours), Ok(theirs)) = (socket.local_addr(), socket.peer_addr())
                && let Some(flood) = floods(&(ours, theirs))
            {
                is_any |= socket.shutdown(Shutdown::Both).is_ok();
                if flood == Flood::OfProbe {
                    throw_away(&socket);
                }
            }
        }
        is_any
    }

    /// What came until then, which may be megabytes: the client would look at every byte before it sees the end.
    fn throw_away(socket: &TcpStream) {
        let mut buffer = vec![0; 64 * 1024];
        // Nothing more comes.
        while recv(socket, &mut buffer, RecvFlags::DONTWAIT).is_ok_and(|(read, _)| read > 0) {}
    }

    /// A copy of a socket of ours, which stays what it is when the number is another's meanwhile.
    fn socket(descriptor: &Path) -> Option<TcpStream> {
        if !std::fs::read_link(descriptor).ok()?.to_str()?.starts_with("socket:") {
            return None;
        }
        copy(descriptor.file_name()?.to_str()?.parse().ok()?)
    }

    #[expect(unsafe_code, reason = "the client has the socket, and does not hand it out")]
    fn copy(descriptor: RawFd) -> Option<TcpStream> {
        if descriptor < 0 {
            return None;
        }
        // SAFETY: it is only copied, which fails where it is no longer open.
        let borrowed = unsafe { BorrowedFd::borrow_raw(descriptor) };
        borrowed.try_clone_to_owned().ok().map(TcpStream::from)
    }

    #[cfg(test)]
    mod tests {
        use std::io::{Read, Write};
        use std::net::TcpListener;

        use super::*;

        /// A connection that is read from, and brings far more than that, until it is hung up on.
        fn flooded(listener: &TcpListener) -> TcpStream {
            let mut ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let mut theirs = listener.accept().unwrap().0;
            std::thread::spawn(move || while theirs.write_all(&[b'x'; 64 * 1024]).is_ok() {});
            while ioctl_fionread(&ours).unwrap() < *FLOOD {
                ours.read_exact(&mut [0; 64 * 1024]).unwrap();
            }
            ours
        }

        #[test]
        fn who_floods_a_probe_is_hung_up_on_and_nobody_else() {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            for flood in [Flood::OfProbe, Flood::OverKept] {
                let (mut meant, mut other) = (flooded(&listener), flooded(&listener));
                let ends = (meant.local_addr().unwrap(), meant.peer_addr().unwrap());
                assert!(hang_up(|found| (*found == ends).then_some(flood)));
                let (mut rest, mut read) = (0, 1);
                while read > 0 {
                    read = meant.read(&mut [0; 64 * 1024]).unwrap_or(0);
                    rest += read as u64;
                }
                // What came until then is there for whoever may need it, and keeps nobody else busy.
                assert_eq!(rest >= *FLOOD, flood == Flood::OverKept, "{rest} bytes are to be read still: {flood:?}");
                for _ in 0..1_000 {
                    other.read_exact(&mut [0; 64 * 1024]).unwrap();
                }
            }
        }

        #[test]
        fn who_has_sent_what_nobody_read_yet_is_no_flood() {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let mut theirs = listener.accept().unwrap().0;
            theirs.set_nonblocking(true).unwrap();
            // As much as goes.
            while theirs.write(&[b'x'; 64 * 1024]).is_ok() {}
            let ends = ours.local_addr().unwrap();
            hang_up(|found| {
                assert_ne!(found.0, ends);
                None
            });
            assert!(ioctl_fionread(&ours).unwrap() < *FLOOD);
        }
    }
}
