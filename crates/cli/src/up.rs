//! `lookout up`: api, worker and, where they are needed, a private Postgres and
//! something to watch, all in one process.

use std::convert::Infallible;
use std::fs::{File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Context, anyhow};
use api::Api;
use api::config::{ListenArgs, MigrationArgs};
use clap::Args;
use common::{Interval, TargetUrl};
use demo::fantastic::{self, Fantastic, FantasticArgs};
use settings::{DatabaseArgs, LogArgs, Problems, ReachArgs, SettingsError, TargetArgs, TargetList, TraceArgs};
use store::embedded::{self, Embedded};
use tokio::sync::oneshot;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use worker::config::ProbeArgs;

/// The database in a private Postgres.
pub(crate) const DATABASE: &str = "lookout";

/// A newcomer who configured nothing should see something happen soon.
const DEMO_INTERVAL: Duration = Duration::from_secs(2);

/// Whether the private Postgres still runs is looked at so often.
const LOOK_AFTER_POSTGRES: Duration = Duration::from_secs(1);

/// Where the demo service would like to listen; any free port will do.
const DEMO_PORT: u16 = 12345;

/// Flags of `lookout up`.
#[derive(Debug, Clone, Args)]
pub(crate) struct UpArgs {
    #[command(flatten)]
    targets: TargetArgs,
    #[command(flatten)]
    listen: ListenArgs,
    #[command(flatten)]
    database: DatabaseArgs,
    /// Where the private Postgres keeps its data, and results wait while it is away
    /// [default: /var/lib/lookout as root, else ~/.local/share/lookout]
    #[arg(long, env = "LOOKOUT_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,
    #[command(flatten)]
    probes: ProbeArgs,
    #[command(flatten)]
    reach: ReachArgs,
    #[command(flatten)]
    migrations: MigrationArgs,
}

/// Runs until Ctrl-C or SIGTERM.
///
/// # Errors
/// [`SettingsError`] for unusable settings; anything else is a failure of this machine.
pub(crate) fn run(args: &UpArgs, log: &LogArgs, traces: &TraceArgs) -> anyhow::Result<()> {
    let mut problems = Problems::new();
    // Goes last, when nothing makes spans any more.
    let _traces = log.init_with_traces(traces, "lookout", &mut problems);
    let targets = args.targets.resolve(&mut problems);
    let listen = args.listen.resolve(&args.reach, &mut problems);
    let probes = args.probes.resolve(&mut problems);
    let database_url = args.database.resolve(&mut problems);
    // A private Postgres has one role.
    let migration_database_url = args.migrations.resolve(&mut problems).filter(|_| database_url.is_some());
    problems.finish()?;
    let (Some(mut targets), Some(listen), Some(probes)) = (targets, listen, probes) else {
        return Err(anyhow!("the settings were refused without a reason; this is a bug in lookout"));
    };
    for warning in &targets.warnings {
        tracing::warn!("{warning}");
    }

    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let stop = CancellationToken::new();
    // Before anything is started: a Ctrl-C while Postgres sets itself up is a clean stop as well.
    runtime.block_on(async { settings::process::cancel_on_signal(stop.clone()) })?;
    // On this thread, the main one: the kernel stops Postgres when the thread that started it ends.
    let (database_url, database, mut postgres) = match database_url {
        Some(url) => (url.as_str().to_owned(), format!("{url}"), None),
        None => start_postgres(args.data_dir.as_deref())?,
    };
    let result = runtime.block_on(async {
        let api_targets = listen.api_targets;
        let api = Api::bind(api::Config { database_url: database_url.clone(), migration_database_url, listen })?;
        let nothing_configured = args.targets.urls.is_none() && args.targets.config.is_none();
        let fantastic = if nothing_configured {
            let fantastic = start_fantastic().await?;
            targets = watch(&fantastic, &args.targets)?;
            Some(fantastic)
        } else {
            None
        };
        print_start(&database, &targets, fantastic.is_some(), &api);
        let mut problems = Problems::new();
        let config = worker::Config::new(database_url.clone(), targets, probes, &mut problems);
        problems.finish()?;
        let dir = args.data_dir.clone().unwrap_or_else(embedded::default_data_dir);
        let config = config
            .map(|config| worker::Config { file: args.targets.file(), api_targets, ..config }.keeping(Some(&dir)));
        let config = config.context("the settings were refused without a reason; this is a bug in lookout")?;
        let parts = together(api, config, fantastic, stop);
        match &mut postgres {
            Some(private) => tokio::select! {
                result = parts => result,
                never = keep_running(&mut private.server) => match never {},
            },
            None => parts.await,
        }
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
    if let Some(private) = postgres {
        private.server.stop();
    }
    if result.is_ok() {
        let _ = writeln!(std::io::stderr(), "stopped cleanly");
    }
    result
}

/// A private Postgres, and the lock that says that its data is ours.
struct Private {
    server: Embedded,
    _lock: File,
}

fn start_postgres(data_dir: Option<&Path>) -> anyhow::Result<(String, String, Option<Private>)> {
    let dir = data_dir.map_or_else(embedded::default_data_dir, Path::to_path_buf);
    let lock = lock(&dir)?;
    let _ = writeln!(std::io::stderr(), "starting a private Postgres in {} …", dir.display());
    let server = Embedded::start(&dir).map_err(SettingsError::one)?;
    let shared = if server.is_shared() { ", already running" } else { "" };
    let shown = format!("private Postgres in {}{shared}", dir.display());
    Ok((server.url(DATABASE), shown, Some(Private { server, _lock: lock })))
}

/// Starts the private Postgres again whenever it has ended: nobody else would. On the main thread, which waits for it
/// meanwhile; everything that probes or answers is on others.
async fn keep_running(server: &mut Embedded) -> Infallible {
    let mut is_told = false;
    loop {
        sleep(LOOK_AFTER_POSTGRES).await;
        if !is_told && let Some(status) = server.ended() {
            tracing::error!("the private Postgres has ended ({status}); starting it again");
            is_told = true;
        }
        if is_told {
            match server.start_again() {
                Ok(()) => {
                    tracing::info!("the private Postgres runs again");
                    is_told = false;
                }
                Err(error) => {
                    tracing::error!("cannot start the private Postgres again, trying on: {error}");
                    sleep(9 * LOOK_AFTER_POSTGRES).await;
                }
            }
        }
    }
}

/// One `lookout up` for each data directory: the one that stops takes its Postgres along.
fn lock(dir: &Path) -> anyhow::Result<File> {
    let path = dir.join("lookout.lock");
    let cannot = |error: std::io::Error| {
        let path = path.display();
        SettingsError::one(format!("LOOKOUT_DATA_DIR (--data-dir): cannot use {path}: {error}"))
    };
    let is_none = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::AlreadyExists | std::io::ErrorKind::NotADirectory => {
            let dir = dir.display();
            SettingsError::one(format!("LOOKOUT_DATA_DIR (--data-dir): {dir} is no directory: choose another"))
        }
        _ => cannot(error),
    };
    std::fs::create_dir_all(dir).map_err(is_none)?;
    let file = File::create(&path).map_err(cannot)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(SettingsError::one(format!(
            "LOOKOUT_DATA_DIR (--data-dir): another lookout runs on {}: stop it, or choose another directory",
            dir.display()
        ))
        .into()),
        Err(TryLockError::Error(error)) => Err(cannot(error).into()),
    }
}

/// On its usual port, or any other when that is taken.
async fn start_fantastic() -> anyhow::Result<Fantastic> {
    let mut args = FantasticArgs { port: DEMO_PORT, ..FantasticArgs::default() };
    if let Ok(fantastic) = fantastic::bind(&args).await {
        return Ok(fantastic);
    }
    args.port = 0;
    fantastic::bind(&args).await
}

/// The list with the demo service alone. Its key stays the same whatever its port, and so does its history.
fn watch(fantastic: &Fantastic, args: &TargetArgs) -> anyhow::Result<TargetList> {
    let url = TargetUrl::parse(&format!("http://{}/", fantastic.addr())).context("the address of fantastic")?;
    // Judged before; here only to be read again.
    let mut defaults = args.defaults(&mut Problems::new());
    if args.interval.is_none() {
        defaults.interval = Interval::new(DEMO_INTERVAL).context("the demo interval")?;
        defaults.timeout = defaults.timeout.min(DEMO_INTERVAL);
    }
    Ok(TargetList::single("fantastic", url, &defaults))
}

fn print_start(database: &str, targets: &TargetList, is_demo: bool, api: &Api) {
    let addr = api.addr();
    let watching = match &targets.targets[..] {
        [only] if is_demo => {
            format!(
                "fantastic at {}, which fails about every fourth time (set URLS to watch your own)",
                only.url.as_written()
            )
        }
        [only] => format!("{} every {}", only.name, settings::duration::format(only.interval.duration())),
        many => format!("{} targets", many.len()),
    };
    // Whoever closed our standard output does not want to read; that is no reason to stop.
    let _ = writeln!(
        std::io::stdout(),
        "lookout {version}\n  database   {database}\n  watching   {watching}\n  answering  http://{addr}\n\n  \
         Try:  curl 'http://{addr}/status?limit=3'\n  Stop: Ctrl-C\n",
        version = env!("CARGO_PKG_VERSION"),
    );
}

/// Runs all parts until `stop`; one that fails stops the others.
async fn together(
    api: Api,
    config: worker::Config,
    fantastic: Option<Fantastic>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    // The demo service outlives the worker, or its last checks would find it gone.
    let fantastic_stop = CancellationToken::new();
    let fantastic = fantastic.map(|fantastic| tokio::spawn(fantastic.run(fantastic_stop.clone())));
    let worker = start_worker(config, stop.clone())?;
    let stop_guard = stop.clone();
    let worker = async move {
        let result = worker.await.context("the worker thread failed").flatten();
        stop_guard.cancel();
        result
    };
    let api_guard = stop.clone();
    let api = async move {
        let result = api.run(stop).await;
        api_guard.cancel();
        result
    };
    let (api, worker) = tokio::join!(api, worker);
    fantastic_stop.cancel();
    if let Some(fantastic) = fantastic {
        fantastic.await.context("the demo service failed")??;
    }
    // The api reports a bad database first and best.
    api.and(worker)
}

/// The worker on runtime threads of its own: answering people never delays a probe.
fn start_worker(
    config: worker::Config,
    stop: CancellationToken,
) -> anyhow::Result<oneshot::Receiver<anyhow::Result<()>>> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("worker")
        .on_thread_start(worker::come_after_probes)
        .enable_all()
        .build()?;
    let (sender, receiver) = oneshot::channel();
    thread::Builder::new().name("worker".to_owned()).spawn(move || {
        let result = runtime.block_on(worker::run(config, stop));
        runtime.shutdown_timeout(Duration::from_secs(1));
        let _ = sender.send(result);
    })?;
    Ok(receiver)
}
