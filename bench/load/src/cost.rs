//! What a stored check costs, beside bare loops and other monitors.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context;
use tokio::time::sleep;

use crate::clients::{self, KINDS};
use crate::lab::{Lab, Load, Measured};
use crate::machine;
use crate::results::{Aim, Section, median};
use crate::target::Target;

const BARE: Duration = Duration::from_millis(1500);
const WINDOW: Duration = Duration::from_secs(3);

/// What a worker has to do once, such as opening connections that are kept, is done by then.
const SETTLED: Duration = Duration::from_secs(5);

/// Targets of the pair of Prometheus and `blackbox_exporter`: what they can do on one core.
const PAIR_TARGETS: usize = 250;

/// Measures a worker on targets that answer at once, a second each.
async fn worker(lab: &mut Lab, load: Load) -> anyhow::Result<Measured> {
    let worker = lab.start(load).await?;
    sleep(SETTLED).await;
    let measured = lab.measure(&worker, WINDOW).await?;
    let accounted = lab.discard(worker).await?;
    let without_verdict = accounted.unaccounted.abs() + accounted.missed + accounted.unknown;
    Ok(Measured { without_verdict, ..measured })
}

pub(crate) async fn run(lab: &mut Lab, rounds: usize) -> anyhow::Result<Section> {
    let mut section = Section::new("A check that is stored");
    let mut bare: Vec<Vec<f64>> = vec![Vec::new(); KINDS.len()];
    let (mut fresh, mut kept, mut pairs) = (Vec::new(), Vec::new(), Vec::new());
    let has_pair = Pair::is_there();
    for round in 0..rounds {
        for (kind, speeds) in KINDS.iter().zip(&mut bare) {
            speeds.push(clients::measure(*kind, BARE, &lab.target.ports)?.per_cpu_second());
        }
        // Busy, but with room left: what a core does when it has to.
        fresh.push(worker(lab, Load::per_second(0.6 * bare[0][0])).await?);
        kept.push(worker(lab, Load { keeps: true, ..Load::per_second(0.3 * bare[3][0]) }).await?);
        if has_pair {
            pairs.push(pair(lab).await?);
        }
        println!("round {} of {rounds}", round + 1);
    }
    for (kind, speeds) in KINDS.iter().zip(&bare) {
        let connection = if kind.keeps { "kept connections" } else { "a new connection each" };
        section.add(
            format!("bare {} loop, {connection}", kind.library),
            speeds.clone(),
            Aim::None,
            "requests per CPU-s",
        );
    }
    let [r_close, r_keep] = [&bare[0], &bare[3]];
    let without = |runs: &[Measured]| runs.iter().filter(|run| run.without_verdict > 0).count();
    if without(&fresh) + without(&kept) > 0 {
        section.note(format!(
            "Not every slot got a verdict: in {} of {rounds} runs on new connections, in {} on kept ones.",
            without(&fresh),
            without(&kept)
        ));
    }
    let ratio = |measured: &[Measured], of: fn(&Measured) -> f64, to: &[f64]| {
        measured.iter().zip(to).map(|(run, bare)| of(run) / bare).collect::<Vec<f64>>()
    };
    section.add(
        "worker, new connections",
        fresh.iter().map(Measured::per_cpu_second).collect(),
        Aim::None,
        "checks per CPU-s",
    );
    section.add(
        "worker, kept connections",
        kept.iter().map(Measured::per_cpu_second).collect(),
        Aim::None,
        "checks per CPU-s",
    );
    section.add(
        "worker, new connections ÷ bare reqwest",
        ratio(&fresh, Measured::per_cpu_second, r_close),
        Aim::AtLeast(0.8),
        "",
    );
    section.add(
        "worker, kept connections ÷ bare reqwest",
        ratio(&kept, Measured::per_cpu_second, r_keep),
        Aim::AtLeast(0.6),
        "",
    );
    section.add(
        "worker and Postgres, new connections ÷ bare reqwest",
        ratio(&fresh, Measured::per_cpu_second_of_all, r_close),
        Aim::AtLeast(0.65),
        "",
    );
    for (place, what) in [(1, "hyper"), (2, "raw sockets")] {
        let of = Measured::per_cpu_second;
        section.add(format!("worker, new connections ÷ bare {what}"), ratio(&fresh, of, &bare[place]), Aim::None, "");
        section.add(
            format!("worker, kept connections ÷ bare {what}"),
            ratio(&kept, of, &bare[place + 3]),
            Aim::None,
            "",
        );
    }
    let postgres = fresh.iter().map(|run| run.postgres_cpu.as_secs_f64() / run.checks as f64 * 1e6).collect();
    section.add("Postgres, all of it", postgres, Aim::None, "µs CPU a check");
    if has_pair {
        let alone = ratio(&fresh, Measured::per_cpu_second, &pairs);
        let with_postgres = ratio(&fresh, Measured::per_cpu_second_of_all, &pairs);
        section.add("Prometheus and blackbox_exporter, storage included", pairs, Aim::None, "checks per CPU-s");
        section.add("worker, new connections ÷ Prometheus and blackbox_exporter", alone, Aim::None, "");
        section.add("worker and Postgres ÷ Prometheus and blackbox_exporter", with_postgres, Aim::AtLeast(9.0), "");
    } else {
        section.note("Prometheus and blackbox_exporter are not installed: left out.");
    }
    section.note(format!(
        "The worker does {:.0} checks a second on new connections and {:.0} on kept ones, of targets at 1 s.",
        median(&fresh.iter().map(Measured::per_second).collect::<Vec<_>>()),
        median(&kept.iter().map(Measured::per_second).collect::<Vec<_>>()),
    ));
    Ok(section)
}

/// Prometheus with `blackbox_exporter` on the same target.
async fn pair(lab: &mut Lab) -> anyhow::Result<f64> {
    let files = lab.files.join("pair");
    let mut pair = Pair::start(&lab.target, &files)?;
    sleep(Duration::from_millis(2500)).await;
    lab.target.reset()?;
    let before = pair.cpu()?;
    sleep(WINDOW).await;
    let speed = lab.target.count()? as f64 / (pair.cpu()? - before).as_secs_f64();
    pair.end();
    fs::remove_dir_all(files)?;
    Ok(speed)
}

struct Pair([Child; 2]);

impl Pair {
    fn is_there() -> bool {
        ["prometheus", "prometheus-blackbox-exporter"].iter().all(|name| {
            Command::new(name).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
        })
    }

    fn start(target: &Target, files: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(files)?;
        let free = || anyhow::Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port());
        let (exporter, prometheus) = (free()?, free()?);
        fs::write(files.join("blackbox.yml"), "modules: {http: {prober: http, http: {preferred_ip_protocol: ip4}}}\n")?;
        let urls: Vec<String> = (0..PAIR_TARGETS)
            .map(|n| format!("http://127.0.0.1:{}/t/{n}", target.ports[n % target.ports.len()]))
            .collect();
        fs::write(
            files.join("prometheus.yml"),
            format!(
                "scrape_configs:\n- job_name: b\n  scrape_interval: 1s\n  metrics_path: /probe\n  params: {{module: [http]}}\n  \
                 static_configs: [{{targets: {}}}]\n  relabel_configs:\n  \
                 - {{source_labels: [__address__], target_label: __param_target}}\n  \
                 - {{source_labels: [__param_target], target_label: instance}}\n  \
                 - {{target_label: __address__, replacement: '127.0.0.1:{exporter}'}}\n",
                serde_json::to_string(&urls)?
            ),
        )?;
        let log = File::create(files.join("log"))?;
        machine::pin(machine::MEASURED);
        let start = |program: &str, arguments: &[String]| {
            Command::new(program)
                .args(arguments)
                .stdin(Stdio::null())
                .stdout(log.try_clone()?)
                .stderr(log.try_clone()?)
                .spawn()
                .with_context(|| format!("cannot start {program}"))
        };
        let file = |name: &str| files.join(name).display().to_string();
        let exporter = start(
            "prometheus-blackbox-exporter",
            &[format!("--config.file={}", file("blackbox.yml")), format!("--web.listen-address=127.0.0.1:{exporter}")],
        );
        let prometheus = start(
            "prometheus",
            &[
                format!("--config.file={}", file("prometheus.yml")),
                format!("--storage.tsdb.path={}", file("tsdb")),
                format!("--web.listen-address=127.0.0.1:{prometheus}"),
            ],
        );
        machine::pin(machine::OTHERS);
        Ok(Self([exporter?, prometheus?]))
    }

    fn cpu(&self) -> anyhow::Result<Duration> {
        self.0.iter().map(|child| machine::cpu(child.id())).sum()
    }

    fn end(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        self.end();
    }
}
