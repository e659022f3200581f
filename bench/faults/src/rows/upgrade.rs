//! A newer schema under programs that do not know of it yet.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use sqlx::{Connection, PgConnection, PgPool};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::{Play, end};
use crate::ask::{Regular, quantile_ms};
use crate::ground::{Ground, healthy};
use crate::running::Running;
use crate::table::Outcome;

const PATHS: &[&str] = &["/api/v1/overview", "/api/v1/summary?window=5m", "/status?limit=100", "/api/v1/targets"];

/// Nothing may wait for a migration longer than this.
const LONGEST_S: f64 = 1.0;

/// Reads a table that is being changed, again and again; how long the longest took.
struct Reader(JoinHandle<anyhow::Result<()>>, Arc<Mutex<Vec<Duration>>>);

impl Reader {
    fn start(pool: PgPool) -> Self {
        let times = Arc::<Mutex<Vec<Duration>>>::default();
        let note = Arc::clone(&times);
        let task = tokio::spawn(async move {
            loop {
                let begun = Instant::now();
                sqlx::query("select 1 from check_result limit 1").fetch_optional(&pool).await?;
                note.lock().unwrap_or_else(PoisonError::into_inner).push(begun.elapsed());
                sleep(Duration::from_millis(10)).await;
            }
        });
        Self(task, times)
    }

    fn longest_s(self) -> f64 {
        self.0.abort();
        quantile_ms(&self.1.lock().unwrap_or_else(PoisonError::into_inner), 1.0) / 1000.0
    }
}

/// Starts a migration of its own process, as a newer program does.
fn migration(ground: &mut Ground, url: &str, name: &str, sql: &str) -> anyhow::Result<Running> {
    let file = ground.path(&format!("{name}.sql"));
    std::fs::write(&file, sql)?;
    ground.process("migrate", url, &[], &[("MIGRATION".to_owned(), file.display().to_string())])
}

async fn ends_well(mut migration: Running) -> anyhow::Result<String> {
    let status = migration.ends_within(Duration::from_secs(30)).await?;
    if !status.success() {
        bail!("the migration ended with {status}:\n{}", migration.log());
    }
    Ok(migration.log())
}

pub(super) async fn upgrade(play: &mut Play<'_>) -> anyhow::Result<Outcome> {
    let mut ground = Ground::new(play.cluster, &[healthy(200)]).await?;
    let url = play.cluster.url(&ground.database)?;
    let (api, port) = ground.api(&url).await?;
    let worker = ground.worker(&url)?;
    ground.rounds(3, &worker).await?;
    let people: Vec<_> = (0..2).map(|_| Regular::start(port, PATHS, Duration::from_millis(20))).collect();
    let reader = Reader::start(ground.pool.clone());
    let next = schema::version() + 1;

    // A table and a column, killed between the two.
    let name = format!("V{next}__later");
    let sql = "create table later (later_id int4 primary key);\nselect pg_sleep(4);\nalter table target add column later text;";
    let killed = migration(&mut ground, &url, &name, sql)?;
    ground.pass(Duration::from_secs(2), &[&worker]).await;
    killed.kill();
    let (half, _) = state(&url).await?;
    let begun = Instant::now();
    let log = ends_well(migration(&mut ground, &url, &name, sql)?).await?;
    let again_s = begun.elapsed().as_secs_f64();
    let is_applied = log.contains("applied migrations");
    let (_, version) = state(&url).await?;
    let third = ends_well(migration(&mut ground, &url, &name, sql)?).await?;

    // A column of the table that everything is written to, while somebody reads it for long.
    let mut long = PgConnection::connect(&url).await?;
    let mut reading = long.begin().await?;
    sqlx::query("select count(*) from check_result").execute(&mut *reading).await?;
    let still = format!("V{}__later_still", next + 1);
    let waiting = migration(&mut ground, &url, &still, "alter table check_result add column later int4")?;
    ground.pass(Duration::from_secs(6), &[&worker]).await;
    let waited = waiting.log().contains("waiting for a table");
    reading.rollback().await?;
    long.close().await?;
    ends_well(waiting).await?;

    // Those that know nothing of it are started beside it, and the first ones go.
    let (second_api, second_port) = ground.api(&url).await?;
    let second_worker = ground.worker(&url)?;
    ground.rounds(6, &second_worker).await?;
    let heard: Vec<_> = people.iter().map(Regular::take).collect();
    drop(people);
    let people = Regular::start(second_port, PATHS, Duration::from_millis(20));
    worker.stop().await?;
    api.stop().await?;
    ground.rounds(6, &second_worker).await?;
    let afterwards = people.take();
    drop(people);
    let longest_read = reader.longest_s();
    let says_newer =
        second_api.log().contains("made by a newer lookout") && second_worker.log().contains("newer lookout");
    second_api.stop().await?;
    let refusal = refused(&mut ground, &url).await?;

    let mut outcome = end(&mut ground, second_worker, None).await?;
    let missed = outcome.figures.missed;
    // While shards change hands a slot may be nobody's.
    outcome.must("a migration that is killed leaves nothing", !half);
    outcome.must("it is applied when begun again, and once", is_applied && version == next);
    outcome.must("a third time changes nothing", !third.contains("applied migrations"));
    outcome.must("a migration waits for who reads", waited);
    outcome.must("older programs say that the schema is newer", says_newer);
    outcome.must("a schema that was made otherwise is refused by name", refusal.is_some());
    let errors: Vec<_> = heard.iter().chain([&afterwards]).flat_map(|heard| &heard.errors).collect();
    outcome.must(&format!("the api answers all the time, and not {errors:?}"), errors.is_empty());
    let slowest = heard.iter().map(|heard| heard.quantile_ms(1.0) / 1000.0).fold(0.0, f64::max);
    outcome.within("the slowest answer of the api, s", slowest, LONGEST_S);
    outcome.within("the longest that a reader waited for the schema, s", longest_read, LONGEST_S);
    let asked: usize = heard.iter().chain([&afterwards]).map(crate::ask::Heard::answered).sum();
    outcome.note = format!(
        "Two migrations beside this release under 200 checks a second: {} of {asked} questions failed, the slowest answer took {slowest:.2} s, the \
         longest that a reader waited for a lock was {longest_read:.2} s; {missed} slots missed. A migration that was killed left nothing \
         and was applied {again_s:.1} s after it was begun again. Programs that do not know the newer schema start and work beside it; {}. \
         An older release as such was not run: there is none.",
        errors.len(),
        refusal.unwrap_or_default(),
    );
    Ok(outcome)
}

/// Whether there is a table of the next schema, and which schema there is.
async fn state(url: &str) -> anyhow::Result<(bool, i32)> {
    let mut connection = PgConnection::connect(url).await?;
    let row: (bool, i32) =
        sqlx::query_as("select to_regclass('later') is not null, (select max(version) from refinery_schema_history)")
            .fetch_one(&mut connection)
            .await
            .context("reading the schema")?;
    connection.close().await?;
    Ok(row)
}

/// What an api says to a schema with another migration under a number of ours; nothing unless it ends at once.
async fn refused(ground: &mut Ground, url: &str) -> anyhow::Result<Option<String>> {
    let swap = "update refinery_schema_history set checksum = reverse(checksum) where version = 2";
    sqlx::query(swap).execute(&ground.pool).await?;
    let mut api = ground.process("api", url, &[], &[("API_ADDR".to_owned(), "127.0.0.1:0".to_owned())])?;
    let status = api.ends_within(Duration::from_secs(10)).await?;
    sqlx::query(swap).execute(&ground.pool).await?;
    let log = api.log();
    let message = log.lines().find(|line| line.contains("must not be edited"));
    Ok(message.map(|_| {
        format!(
            "one with another migration under a number of ours is refused by name, exit {}",
            status.code().unwrap_or(-1)
        )
    }))
}
