//! What targets may do.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;
use demo::faults::Switch;

use super::{Play, end};
use crate::ask::ask;
use crate::ground::{Ground, Watched, healthy};
use crate::table::Outcome;

/// So many hostile targets of each kind: two hundred at once.
const EACH: usize = 17;

/// Of those that hang, under way at once.
const MANY: u64 = 400;

fn hostile_kind(path: &str, count: usize) -> Watched<'_> {
    Watched { path, is_healthy: false, ..healthy(count) }
}

pub(super) async fn hang(play: &mut Play<'_>) -> anyhow::Result<Outcome> {
    let hanging = Watched {
        path: "/switch",
        count: 2_000,
        interval: Duration::from_secs(5),
        timeout: Duration::from_secs(2),
        is_healthy: false,
    };
    let mut ground = Ground::new(play.cluster, &[healthy(100), hanging]).await?;
    let url = play.cluster.url(&ground.database)?;
    let (worker, port) = ground.telling_worker(&url)?;
    // All of them were asked once, and answered.
    ground.rounds(5, &worker).await?;
    ground.pass(Duration::from_secs(6), &[&worker]).await;
    // The text of all metrics takes memory, too.
    for _ in 0..5 {
        in_flight(port).await?;
    }
    let before_kib = worker.resident_kib();
    ground.server.set_switch(Switch::Hang);
    // Before they are known to be down: that takes memory for each target, and not for each probe.
    let mut under_way = 0;
    let begun = Instant::now();
    while under_way < MANY && begun.elapsed() < Duration::from_secs(10) {
        ground.pass(Duration::from_millis(50), &[&worker]).await;
        under_way = in_flight(port).await?;
    }
    let each_kib = worker.resident_kib().saturating_sub(before_kib) as f64 / under_way.max(1) as f64;
    ground.pass(Duration::from_secs(30), &[&worker]).await;
    let more_mib = worker.resident_kib().saturating_sub(before_kib) as f64 / 1024.0;
    let mut outcome = end(&mut ground, worker, None).await?;
    let lag = outcome.figures.lag_p99_ms;
    outcome.within("lag p99 ms", lag, 1_000.0);
    outcome.must(&format!("{MANY} are under way at once, and not {under_way}"), under_way >= MANY);
    outcome.within("memory for each under way, KiB", each_kib, 40.0);
    outcome.note = format!(
        "100 healthy targets beside them, on the same server; all answered before. {each_kib:.1} KiB for each of the first {under_way} under way, \
         {more_mib:.1} MiB in all half a minute later."
    );
    Ok(outcome)
}

/// Probes under way, as the worker at this port says.
async fn in_flight(port: u16) -> anyhow::Result<u64> {
    let metrics = ask(port, "/metrics").await?.text;
    let number = metrics.lines().find_map(|line| line.strip_prefix("lookout_probes_in_flight "));
    number.context("no number of probes under way")?.trim().parse().context("a number")
}

pub(super) async fn hostile(play: &mut Play<'_>) -> anyhow::Result<Outcome> {
    let kinds = [
        "/gzip/1073741824",
        "/body/10737418240",
        "/slow-body/50",
        "/drip-head/50",
        "/endless-headers",
        "/many-headers/10000",
        "/big-header/1048576",
        "/bad-chunk",
        "/informational",
        "/loop",
        "/close",
        "/garbage",
    ];
    let mut watched = vec![healthy(20)];
    watched.extend(kinds.map(|kind| hostile_kind(kind, EACH)));
    let mut ground = Ground::new(play.cluster, &watched).await?;
    let url = play.cluster.url(&ground.database)?;
    let worker = ground.worker(&url)?;
    ground.rounds(5, &worker).await?;
    ground.pass(Duration::from_secs(20), &[&worker]).await;
    let apart = worker.log().matches("this process stood still").count();
    let mut outcome = end(&mut ground, worker, None).await?;
    outcome.within("memory, MB", ground.most_memory_kib as f64 / 1024.0, 64.0);
    let blind = outcome.figures.blind_s;
    outcome.within("BLIND s", blind, 3.0);
    let (longest_us, longest_url, lag_us, unknown, all): (i64, String, i64, i64, i64) = sqlx::query_as(
        "select coalesce(max(elapsed_us) filter (where is_hostile), 0)::int8,
                coalesce((array_agg(url order by elapsed_us desc nulls last) filter (where is_hostile))[1], ''),
                coalesce(max(lag_us) filter (where not is_hostile), 0)::int8,
                count(*) filter (where is_hostile and outcome = 'unknown'), count(*) filter (where is_hostile)
         from (select url, url not like '%/ok%' as is_hostile,
                      extract(epoch from started_at - slot_at) * 1000000 as lag_us, elapsed_us, outcome
               from check_result join target using (target_id) where outcome <> 'missed') as checks",
    )
    .fetch_one(&ground.pool)
    .await?;
    let longest_path = longest_url.splitn(4, '/').nth(3).and_then(|path| path.split('?').next()).unwrap_or_default();
    let ms = |us: i64| us as f64 / 1000.0;
    outcome.within("the longest hostile probe, ms", ms(longest_us), 950.0);
    outcome.within("the latest start of a healthy one, ms", ms(lag_us), 250.0);
    outcome.note = format!(
        "{} kinds, {EACH} of each every second, beside 20 healthy targets. The longest of the hostile probes, of 900 ms each, \
         one of /{longest_path}, took {:.0} ms, and a healthy target was asked {:.0} ms late at most. Of {all} hostile probes {unknown} were unknown; \
         the thread stood still for more than a second {apart} times.",
        kinds.len(),
        ms(longest_us),
        ms(lag_us),
    );
    Ok(outcome)
}

/// A group of processes that together get so much memory.
struct Group(PathBuf);

impl Group {
    const MIB: u64 = 256;

    fn new() -> std::io::Result<Self> {
        let group = Self(PathBuf::from(format!("/sys/fs/cgroup/memory/lookout-faults-{}", std::process::id())));
        std::fs::create_dir(&group.0)?;
        std::fs::write(group.0.join("memory.limit_in_bytes"), (Self::MIB << 20).to_string())?;
        Ok(group)
    }

    fn number(&self, file: &str) -> u64 {
        let text = std::fs::read_to_string(self.0.join(file)).unwrap_or_default();
        text.trim().parse().unwrap_or(0)
    }

    /// How often a process was killed for want of memory.
    fn kills(&self) -> u64 {
        let text = std::fs::read_to_string(self.0.join("memory.oom_control")).unwrap_or_default();
        text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.parse().ok()).unwrap_or(0)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.0);
    }
}

pub(super) async fn many(play: &mut Play<'_>) -> anyhow::Result<Outcome> {
    let ten_seconds =
        Watched { count: 10_000, interval: Duration::from_secs(10), timeout: Duration::from_secs(5), ..healthy(0) };
    let mut ground = Ground::new(play.cluster, &[ten_seconds]).await?;
    let url = play.cluster.url(&ground.database)?;
    let group = Group::new().ok();
    let worker = match &group {
        Some(Group(folder)) => {
            let join = format!("echo $$ > {}/cgroup.procs && exec \"$0\" \"$@\"", folder.display());
            ground.wrapped_worker(&url, &["sh", "-c", &join])?
        }
        None => ground.worker(&url)?,
    };
    ground.rounds(3, &worker).await?;
    let mut outcome = end(&mut ground, worker, None).await?;
    outcome.within("memory, MB", ground.most_memory_kib as f64 / 1024.0, 256.0);
    let limit = group.as_ref().map_or("measured, not limited: there is no control group".to_owned(), |group| {
        format!(
            "in a control group of {} MiB, of which {} were used at most and {} processes killed",
            Group::MIB,
            group.number("memory.max_usage_in_bytes") >> 20,
            group.kills()
        )
    });
    outcome.must("nobody is killed for want of memory", group.is_none_or(|group| group.kills() == 0));
    outcome.note = format!("Every ten seconds, a thousand checks a second; {limit}.");
    Ok(outcome)
}
