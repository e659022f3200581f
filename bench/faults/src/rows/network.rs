//! What may happen to our own network and our name server.

use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use anyhow::Context;
use demo::faults::FaultServer;
use tokio::net::UdpSocket;

use super::{Play, end, not_here};
use crate::ground::{Ground, healthy, now_us};
use crate::running::Running;
use crate::table::Outcome;

fn run(command: &str) -> anyhow::Result<()> {
    let mut words = command.split(' ');
    let output = Command::new(words.next().context("a program")?).args(words).output()?;
    if !output.status.success() {
        anyhow::bail!("{command}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// A network of its own for a worker, with one wire to ours.
struct Namespace {
    name: String,
    /// Our end.
    here: Ipv4Addr,
}

impl Namespace {
    fn new() -> anyhow::Result<Self> {
        let number = std::process::id() % 250;
        let name = format!("lookout{number}");
        let here = Ipv4Addr::new(10, 213, number as u8, 1);
        let namespace = Self { name, here };
        let Self { name, here } = &namespace;
        run(&format!("ip netns add {name}"))?;
        run(&format!("ip link add {name}a type veth peer name {name}b"))?;
        run(&format!("ip link set {name}b netns {name}"))?;
        run(&format!("ip addr add {here}/30 dev {name}a"))?;
        run(&format!("ip link set {name}a up"))?;
        run(&format!("ip netns exec {name} ip addr add 10.213.{number}.2/30 dev {name}b"))?;
        run(&format!("ip netns exec {name} ip link set {name}b up"))?;
        run(&format!("ip netns exec {name} ip link set lo up"))?;
        run(&format!("ip netns exec {name} ip route add default via {here}"))?;
        Ok(namespace)
    }

    fn iptables(&self, rule: &str) -> anyhow::Result<()> {
        run(&format!("ip netns exec {} iptables {rule}", self.name))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = run(&format!("ip link del {}a", self.name));
        let _ = run(&format!("ip netns del {}", self.name));
    }
}

pub(super) async fn cut(play: &mut Play<'_>) -> anyhow::Result<Outcome> {
    let namespace = Namespace::new().map_err(|error| not_here(&format!("no network namespace: {error}")))?;
    namespace.iptables("-L").map_err(|error| not_here(&format!("no iptables: {error}")))?;
    let server = FaultServer::bind(&namespace.here.to_string(), 0).await?;
    let canary = FaultServer::bind(&namespace.here.to_string(), 0).await?;
    let mut ground = Ground::beside(play.cluster, &[healthy(50)], server, None).await?;
    ground.environment = vec![("CANARIES".to_owned(), canary.addr().to_string())];
    // Postgres is reached by its socket, which is no network.
    let url = play.cluster.url(&ground.database)?;
    let worker = ground.wrapped_worker(&url, &["ip", "netns", "exec", &namespace.name])?;
    ground.rounds(3, &worker).await?;
    namespace.iptables(&format!("-A OUTPUT -d {} -j DROP", namespace.here))?;
    ground.pass(Duration::from_secs(15), &[&worker]).await;
    namespace.iptables("-F OUTPUT")?;
    let over_us = now_us();
    let recovery = ground.stored_since(over_us, Duration::from_secs(20)).await?;
    ground.rounds(3, &worker).await?;
    let log = worker.log();
    let mut outcome = end(&mut ground, worker, Some(recovery)).await?;
    let notices = log.lines().filter(|line| line.contains("monitor offline")).count();
    outcome.must("one notice", notices == 1);
    let missed = outcome.figures.missed;
    outcome.must("what failed is unknown", missed > 0);
    outcome.note = format!("15 s; {missed} checks unknown, {notices} notice.");
    Ok(outcome)
}

const WELL: u8 = 0;
const NO_SUCH_NAME: u8 = 1;
const NOTHING_EXISTS: u8 = 2;
const FAILS: u8 = 3;
const SILENT: u8 = 4;

/// Names below `even.test` and `odd.test` are this machine; `mood` says what becomes of the even ones, or all.
async fn answer_names(socket: UdpSocket, mood: Arc<AtomicU8>) {
    let mut question = [0; 512];
    while let Ok((length, from)) = socket.recv_from(&mut question).await {
        let mood = mood.load(Ordering::Relaxed);
        let Some(end) = question[12..length].iter().position(|byte| *byte == 0).map(|at| 12 + at + 5) else { continue };
        if mood == SILENT || end > length {
            continue;
        }
        let text = String::from_utf8_lossy(&question[12..end]).to_lowercase();
        let is_v4 = question[end - 4..end - 2] == [0, 1];
        let is_root = question[12] == 0 && question[end - 4..end - 2] == [0, 2];
        let is_known = is_root || text.contains("even") && mood != NO_SUCH_NAME || text.contains("odd");
        let mut answer = question[..end].to_vec();
        // An answer, recursion available; 2 is SERVFAIL and 3 NXDOMAIN.
        answer[2] |= 0x80;
        answer[3] = match mood {
            FAILS => 0x82,
            NOTHING_EXISTS => 0x83,
            _ if is_known => 0x80,
            _ => 0x83,
        };
        let count = u8::from(answer[3] == 0x80 && (is_root || is_v4));
        answer[6..12].copy_from_slice(&[0, count, 0, 0, 0, 0]);
        if count == 1 && is_root {
            // The root again, and the root as its own server, for a second.
            answer.extend([0, 0, 2, 0, 1, 0, 0, 0, 1, 0, 1, 0]);
        } else if count == 1 {
            // The name again, an address, for a second.
            answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4, 127, 0, 0, 1]);
        }
        let _ = socket.send_to(&answer, from).await;
    }
}

pub(super) async fn names(play: &mut Play<'_>) -> anyhow::Result<Outcome> {
    let address = Ipv4Addr::new(127, 0, 73, 53);
    let socket = UdpSocket::bind((address, 53))
        .await
        .map_err(|error| not_here(&format!("port 53 of {address} cannot be had: {error}")))?;
    let mood = Arc::<AtomicU8>::default();
    let task = tokio::spawn(answer_names(socket, Arc::clone(&mood)));
    let server = FaultServer::start_on_thread()?;
    let name = |number: usize| format!("t{number}.{}.test", if number.is_multiple_of(2) { "even" } else { "odd" });
    let mut ground = Ground::beside(play.cluster, &[healthy(40)], server, Some(&name)).await?;
    std::fs::write(ground.path("resolv.conf"), format!("nameserver {address}\n"))?;
    let bind = format!("mount --bind {} /etc/resolv.conf && exec \"$0\" \"$@\"", ground.path("resolv.conf").display());
    let url = play.cluster.url(&ground.database)?;
    let worker = ground
        .wrapped_worker(&url, &["unshare", "-m", "sh", "-c", &bind])
        .map_err(|_| not_here("there is no unshare"))?;
    mood.store(WELL, Ordering::Relaxed);
    ground.rounds(3, &worker).await?;

    // Names that do not exist are the targets' own fault.
    let (even_from, even_to) = phase(&mut ground, &worker, &mood, NO_SUCH_NAME, 8).await;
    // A name server that knows nothing any more, fails or is gone is nobody's but ours.
    let (all_from, _) = phase(&mut ground, &worker, &mood, NOTHING_EXISTS, 12).await;
    ground.rounds(2, &worker).await?;
    phase(&mut ground, &worker, &mood, FAILS, 12).await;
    ground.rounds(2, &worker).await?;
    let (_, all_to) = phase(&mut ground, &worker, &mood, SILENT, 12).await;
    ground.rounds(2, &worker).await?;
    let log = worker.log();
    // These were down indeed, in the first of the two.
    for target in ground.targets.iter_mut().step_by(2) {
        target.is_healthy = false;
    }
    let mut outcome = end(&mut ground, worker, None).await?;
    task.abort();
    let counts: (i64, i64, i64, i64) = sqlx::query_as(
        "select count(*) filter (where is_even and outcome = 'down' and cause = 'dns' and slot_at between $1 and $2),
                count(*) filter (where is_even and not (outcome = 'down' and cause = 'dns') and slot_at between $1 and $2),
                count(*) filter (where not is_even and outcome = 'down'),
                count(*) filter (where outcome = 'down' and slot_at between $3 and $4)
         from (select substr(key, 2)::int % 2 = 0 as is_even, c.* from check_result c join target using (target_id)) as c",
    )
    .bind(even_from)
    .bind(even_to)
    .bind(all_from)
    .bind(all_to)
    .fetch_one(&ground.pool)
    .await?;
    let (named, misnamed, odd, ours) = counts;
    outcome.must("names that do not exist are down by dns", named > 0 && misnamed == 0);
    outcome.must("other names are not blamed", odd == 0);
    outcome.must("nobody is blamed for our name server", ours == 0);
    outcome.figures.blame += usize::try_from(ours).unwrap_or(usize::MAX);
    let notices = log.lines().filter(|line| line.contains("monitor offline")).count();
    outcome.must("one notice each time", notices == 3);
    outcome.note = format!(
        "{named} checks down by dns for want of a name, {notices} notices while the name server denied everything, failed and was gone."
    );
    Ok(outcome)
}

/// Lets the name server be in a mood; from when to when what it does is sure to be seen.
async fn phase(
    ground: &mut Ground,
    worker: &Running,
    mood: &AtomicU8,
    which: u8,
    seconds: u64,
) -> (chrono::DateTime<chrono::Utc>, chrono::DateTime<chrono::Utc>) {
    mood.store(which, Ordering::Relaxed);
    // What is cached is good for a second.
    let from = chrono::Utc::now() + chrono::TimeDelta::seconds(3);
    ground.pass(Duration::from_secs(seconds), &[worker]).await;
    let to = chrono::Utc::now() - chrono::TimeDelta::seconds(2);
    mood.store(WELL, Ordering::Relaxed);
    ground.pass(Duration::from_secs(3), &[worker]).await;
    (from, to)
}
