//! Hangs up on targets that send more than we read before they answer.
//!
//! The client reads what a target sends as fast as it comes, and with interim answers without end it does
//! not look up for a tenth of a second at a time: no other probe of that thread goes on meanwhile, nor does the
//! probe's own timeout. So another thread looks into the kernel's table of connections, and ends those that
//! have far more waiting than an answer may have in front of it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::trace::{Trace, WeakTrace};

/// Our end of a connection, and the target's.
pub(super) type Ends = (SocketAddr, SocketAddr);

/// After a look at the table it is left alone for so many times as long as that took, and for twice as long each time
/// that nobody floods: then the machine is busy, and this makes it busier.
const PAUSE: u32 = 3;
const MOST_DOUBLINGS: u32 = 5;

/// After so long without a reason to look, it is as if nobody ever had in vain.
const FORGIVEN: Duration = Duration::from_secs(1);

/// Connections of probes that may have no answer yet, and who floods us over them.
#[derive(Debug, Default)]
pub(super) struct Floods {
    open: Mutex<HashMap<Ends, WeakTrace>>,
    /// When the table may be looked at again, and how often that was in vain.
    pace: Mutex<Option<(Instant, u32)>>,
}

impl Floods {
    /// A probe has this connection now.
    pub(super) fn connected(&self, trace: &Trace, ends: Ends) {
        let before = trace.set_ends(ends);
        let mut open = self.open();
        if let Some(before) = before {
            open.remove(&before);
        }
        open.insert(ends, trace.downgrade());
    }

    /// A probe is over.
    pub(super) fn over(&self, trace: &Trace) {
        if let Some(ends) = trace.ends() {
            self.open().remove(&ends);
        }
    }

    fn open(&self) -> MutexGuard<'_, HashMap<Ends, WeakTrace>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The probe that has this connection, and no answer over it.
    fn silent(&self, ends: &Ends) -> Option<Trace> {
        self.open().get(ends)?.upgrade().filter(Trace::is_silent)
    }

    /// Hangs up on those who flood us, if it is not too soon to look for them again. Takes a dozen milliseconds, so it
    /// is for a thread that probes nothing.
    pub(super) fn watch(&self) {
        let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        let begun = Instant::now();
        let vain = match *pace {
            Some((not_before, _)) if begun < not_before => return,
            Some((not_before, vain)) if begun < not_before + FORGIVEN => vain,
            _ => 0,
        };
        let vain = if self.hang_up() { 0 } else { vain + 1 };
        let ended = Instant::now();
        let pause = ended.duration_since(begun) * (PAUSE << vain.min(MOST_DOUBLINGS));
        *pace = Some((ended + pause, vain));
    }

    /// Whether there was anybody.
    #[cfg(target_os = "linux")]
    fn hang_up(&self) -> bool {
        let flooding = linux::flooded().into_iter().filter_map(|(socket, ends)| {
            let trace = self.silent(&ends)?;
            // First of all: the probe may end any moment.
            trace.set_floods();
            Some((socket, ends))
        });
        let flooding: HashMap<_, _> = flooding.collect();
        let is_any = !flooding.is_empty();
        linux::shut_down(flooding);
        is_any
    }

    /// Nobody says who they are.
    #[cfg(not(target_os = "linux"))]
    fn hang_up(&self) -> bool {
        let _ = (Self::silent, Trace::set_floods);
        false
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use std::collections::HashMap;
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpStream};
    use std::os::fd::{BorrowedFd, RawFd};
    use std::sync::LazyLock;

    use super::Ends;

    /// Less than this is a large answer.
    const LEAST_FLOOD: u64 = 256 * 1024;

    /// What the kernel holds for a connection that nobody reads from is less than the second number of `tcp_rmem`. More
    /// than twice that is there only where we read all the time, and still more comes.
    static FLOOD: LazyLock<u64> = LazyLock::new(|| {
        let sizes = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_rmem").unwrap_or_default();
        let usual = sizes.split_ascii_whitespace().nth(1).and_then(|bytes| bytes.parse::<u64>().ok());
        usual.map_or(LEAST_FLOOD, |usual| LEAST_FLOOD.max(usual.saturating_mul(2)))
    });

    /// Sockets that have so much waiting, by their number.
    pub(super) fn flooded() -> HashMap<u64, Ends> {
        let tables = ["/proc/self/net/tcp", "/proc/self/net/tcp6"].map(std::fs::read_to_string);
        tables
            .iter()
            .flatten()
            .flat_map(|table| table.lines())
            .filter_map(|line| flooded_socket(line, *FLOOD))
            .collect()
    }

    /// Source: proc(5), `/proc/net/tcp`: number, ends, state, `tx_queue:rx_queue`, three that are of no interest, a
    /// time-out, and the socket's number.
    fn flooded_socket(line: &str, flood: u64) -> Option<(u64, Ends)> {
        const LISTENS: &str = "0A";
        let mut fields = line.split_ascii_whitespace().skip(1);
        let (ours, theirs, state, queues) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        let waiting = u64::from_str_radix(queues.split_once(':')?.1, 16).ok()?;
        if state == LISTENS || waiting < flood {
            return None;
        }
        Some((fields.nth(4)?.parse().ok()?, (end(ours)?, end(theirs)?)))
    }

    /// `0100007F:1F90`: the address in words of four bytes as the machine has them, the port in hexadecimal.
    fn end(text: &str) -> Option<SocketAddr> {
        let (address, port) = text.split_once(':')?;
        let word = |at: usize| u32::from_str_radix(address.get(at..at + 8)?, 16).ok().map(u32::to_ne_bytes);
        let ip = match address.len() {
            8 => IpAddr::V4(Ipv4Addr::from(word(0)?)),
            32 => {
                let words = [word(0)?, word(8)?, word(16)?, word(24)?];
                IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(words.concat()).ok()?))
            }
            _ => return None,
        };
        Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
    }

    /// Ends these connections: what was read of them so far was all.
    pub(super) fn shut_down(mut sockets: HashMap<u64, Ends>) {
        let descriptors = if sockets.is_empty() { None } else { std::fs::read_dir("/proc/self/fd").ok() };
        for entry in descriptors.into_iter().flatten().flatten() {
            let link = std::fs::read_link(entry.path()).unwrap_or_default();
            let number = link.to_str().and_then(|link| link.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok());
            let Some(ends) = number.and_then(|number: u64| sockets.remove(&number)) else { continue };
            let descriptor = entry.file_name().to_str().and_then(|name| name.parse().ok());
            // It may be gone, or another's, by now; the copy is ours and stays what it is.
            let Some(socket) = descriptor.and_then(copy) else { continue };
            if matches!((socket.local_addr(), socket.peer_addr()), (Ok(ours), Ok(theirs)) if (ours, theirs) == ends) {
                let _ = socket.shutdown(Shutdown::Both);
            }
            if sockets.is_empty() {
                return;
            }
        }
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
        use super::*;

        fn line(ours: &str, state: &str, waiting: &str) -> String {
            format!(
                "   3: {ours} 0200007F:1F90 {state} 00000000:{waiting} 02:0000 00000000  1000        0 4711 1 0000 20 4 30"
            )
        }

        #[test]
        fn the_table_of_the_kernel_tells_who_floods() {
            let flooded = |line: &str| flooded_socket(line, 0x40000);
            let ends = ("127.0.0.1:50000".parse().unwrap(), "127.0.0.2:8080".parse().unwrap());
            assert_eq!(flooded(&line("0100007F:C350", "01", "00040000")), Some((4711, ends)));
            assert_eq!(flooded(&line("0100007F:C350", "01", "0003FFFF")), None);
            assert_eq!(flooded(&line("0100007F:C350", "0A", "00040000")), None, "a backlog");
            for nonsense in ["", "sl local_address rem_address st tx_queue rx_queue", "1: ::: 0 0 0:z"] {
                assert_eq!(flooded(nonsense), None);
            }
            assert_eq!(end("B80D0120000000000000000001000000:0050"), "[2001:db8::1]:80".parse().ok());
            assert_eq!(end("é:0050"), None);
        }

        #[test]
        fn only_the_connection_that_is_meant_is_shut_down() {
            use std::io::{Read, Write};
            use std::os::fd::AsRawFd;

            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let connect = || {
                let ours = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
                (ours, listener.accept().unwrap().0)
            };
            let (mut meant, (mut other, mut others_peer)) = (connect().0, connect());
            let number = |stream: &std::net::TcpStream| {
                let link = std::fs::read_link(format!("/proc/self/fd/{}", stream.as_raw_fd())).unwrap();
                link.to_str().unwrap().trim_matches(|c: char| !c.is_ascii_digit()).parse::<u64>().unwrap()
            };
            let ends = |stream: &std::net::TcpStream| (stream.local_addr().unwrap(), stream.peer_addr().unwrap());
            // The number of one with the ends of the other, as if it were used again meanwhile.
            shut_down(HashMap::from([(number(&meant), ends(&meant)), (number(&other), ends(&meant))]));
            assert_eq!(meant.read(&mut [0]).unwrap(), 0);
            others_peer.write_all(b"x").unwrap();
            assert_eq!(other.read(&mut [0]).unwrap(), 1);
        }
    }
}
