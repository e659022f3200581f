//! Which connections bring more than we take, as the kernel sees it.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// More than this waits to be read only where somebody reads all the time, and still more comes: the kernel
/// gives a connection so much room only when it is emptied again and again.
const FLOOD_BYTES: u64 = 256 * 1024;

/// A standstill as long as this has nearly everybody's answer waiting, and whoever is silent may be the cause.
const LONG: Duration = Duration::from_millis(100);

/// A port is somebody else's after a while.
const MEMORY: Duration = Duration::from_secs(1);

/// Who may be why the thread of the probes stands still.
#[derive(Debug, Default)]
pub(super) struct Floods {
    suspected: Mutex<Suspected>,
    /// There are some.
    told: Notify,
}

#[derive(Debug, Default)]
struct Suspected {
    /// Local ports of connections that somebody floods, and when that was seen.
    ports: Vec<(u16, Instant)>,
    /// Everybody is, for want of anything better: this system does not say what waits.
    everybody: Option<Instant>,
}

impl Floods {
    /// Finds out, on another thread than that of the probes, which stands still for so long already.
    pub(super) fn look(&self, overdue: Duration) {
        self.note(flooded(), overdue);
    }

    fn note(&self, flooded: Option<Vec<u16>>, overdue: Duration) {
        let now = Instant::now();
        let is_new = |at: &Instant| now.duration_since(*at) < MEMORY;
        let mut suspected = self.suspected.lock().unwrap_or_else(PoisonError::into_inner);
        match flooded {
            Some(flooded) if flooded.is_empty() => return,
            Some(flooded) => {
                suspected.ports.retain(|(_, at)| is_new(at));
                suspected.ports.extend(flooded.into_iter().map(|port| (port, now)));
            }
            None if overdue < LONG => return,
            None => suspected.everybody = Some(now),
        }
        drop(suspected);
        self.told.notify_waiters();
    }

    /// Comes back when somebody is suspected.
    pub(super) async fn told(&self) {
        self.told.notified().await;
    }

    /// Whether a connection from this port is one of those.
    pub(super) fn suspects(&self, port: Option<u16>) -> bool {
        let suspected = self.suspected.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = |at: &Instant| at.elapsed() < MEMORY;
        suspected.everybody.as_ref().is_some_and(is_new)
            || suspected.ports.iter().any(|(flooded, at)| Some(*flooded) == port && is_new(at))
    }
}

/// Local ports of connections that bring more than we take; `None` where the system does not say.
fn flooded() -> Option<Vec<u16>> {
    let tables = ["/proc/self/net/tcp", "/proc/self/net/tcp6"].map(std::fs::read_to_string);
    if tables.iter().all(Result::is_err) {
        return None;
    }
    Some(tables.iter().flatten().flat_map(|table| table.lines()).filter_map(flooded_port).collect())
}

/// Source: proc(5), `/proc/net/tcp`: number, local and remote address, state, `tx_queue:rx_queue`, all in hexadecimal.
fn flooded_port(line: &str) -> Option<u16> {
    const LISTENS: &str = "0A";
    let mut fields = line.split_ascii_whitespace().skip(1);
    let (_, port) = fields.next()?.rsplit_once(':')?;
    let (_, state, queues) = (fields.next()?, fields.next()?, fields.next()?);
    let waiting = u64::from_str_radix(queues.split_once(':')?.1, 16).ok()?;
    if state == LISTENS || waiting < FLOOD_BYTES {
        return None;
    }
    u16::from_str_radix(port, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_brings_more_than_is_read_is_seen_in_the_table_of_the_kernel() {
        let line = |state: &str, waiting: &str| {
            format!(
                "   3: 0100007F:C350 0100007F:1F90 {state} 00000000:{waiting} 02:0000 00000000 0 0 22 1 0000000000000000"
            )
        };
        assert_eq!(flooded_port(&line("01", "00040000")), Some(50_000));
        assert_eq!(flooded_port(&line("01", "0003FFFF")), None);
        assert_eq!(flooded_port(&line("0A", "00040000")), None, "a backlog");
        let header = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode";
        assert_eq!(flooded_port(header), None);
        assert_eq!(flooded_port(""), None);
    }

    #[tokio::test(start_paused = true)]
    async fn only_who_floods_is_suspected_and_not_for_long() {
        let floods = Floods::default();
        assert!(!floods.suspects(Some(1)));
        floods.note(Some(vec![1]), Duration::ZERO);
        floods.note(Some(vec![2]), Duration::ZERO);
        floods.note(Some(Vec::new()), LONG);
        assert!(floods.suspects(Some(1)) && floods.suspects(Some(2)));
        assert!(!floods.suspects(Some(3)) && !floods.suspects(None));
        tokio::time::advance(MEMORY).await;
        assert!(!floods.suspects(Some(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn where_the_kernel_does_not_say_everybody_is_after_a_while() {
        let floods = Floods::default();
        floods.note(None, LONG - Duration::from_millis(1));
        assert!(!floods.suspects(None));
        floods.note(None, LONG);
        assert!(floods.suspects(None) && floods.suspects(Some(1)));
        tokio::time::advance(MEMORY).await;
        assert!(!floods.suspects(None));
    }
}
