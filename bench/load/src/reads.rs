//! Windows and `/status` over tables of two sizes, beside the least that could be asked of Postgres.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use futures_util::TryStreamExt;
use sqlx::{AssertSqlSafe, PgConnection, PgPool};
use store::pool::PoolSettings;
use store::windows::{self, Scope, Segment, Source};
use tokio::time::sleep;

use crate::lab::Lab;
use crate::machine;
use crate::results::{Aim, Section, median};

const TARGETS: i64 = 1_000;
const INTERVAL_S: i64 = 5;

/// How often a short question is asked in a round.
const ASKED: usize = 200;

/// Rows of `/status` that are read in a round.
const STREAMED: i64 = 1_000_000;

/// Checks of 1,000 targets, every 5 s, up to now, with the roll-ups of the last hours.
async fn fill(pool: &PgPool, rows: i64) -> anyhow::Result<DateTime<Utc>> {
    let now = Utc::now().duration_trunc(TimeDelta::seconds(INTERVAL_S))?;
    let step_us = INTERVAL_S * 1_000_000 / TARGETS;
    let from = now - TimeDelta::microseconds(rows * step_us);
    store::partitions::ensure(pool, from.date_naive(), now.date_naive()).await?;
    let recent = from.max(now - TimeDelta::hours(2));
    let mut statements = vec![format!(
        "insert into target (key, name, url, interval_ms, timeout_ms, degraded_ms, expect_status, source)
         select 't' || n, 't' || n, 'http://127.0.0.1/t/' || n, {INTERVAL_S}000, 1000, 500, '{{200-299}}', 'env'
         from generate_series(1, {TARGETS}) n"
    )];
    const PIECE: i64 = 2_000_000;
    for first in (0..rows).step_by(PIECE as usize) {
        statements.push(format!(
            "insert into check_result (slot_at, started_at, batch_id, target_id, elapsed_us, connect_us, outcome, cause, code)
             select at, at + interval '200 microseconds', n / 1000, (1 + n % {TARGETS})::int4, 20000 + (n % 977)::int4, 150,
                    (case when n % 50 = 0 then 'down' else 'up' end)::outcome,
                    case when n % 50 = 0 then 'status'::cause end, case when n % 50 = 0 then 500 else 200 end
             from (select n, '{from}'::timestamptz + n * {step_us} * interval '1 microsecond' as at
                   from generate_series({first}::int8, {}) n) s",
            (first + PIECE).min(rows) - 1
        ));
    }
    statements.push(format!(
        "insert into rollup_second (bucket_at, up, down_status, class_2xx, class_5xx, codes)
         select date_trunc('second', slot_at), count(*) filter (where outcome = 'up'), count(*) filter (where outcome = 'down'),
                count(*) filter (where code = 200), count(*) filter (where code = 500),
                jsonb_build_object('200', count(*) filter (where code = 200), '500', count(*) filter (where code = 500))
         from check_result where slot_at >= '{recent}' group by 1"
    ));
    statements.push("vacuum analyze".to_owned());
    let mut connection = pool.acquire().await?;
    sqlx::raw_sql("set statement_timeout = 0").execute(&mut *connection).await?;
    for statement in statements {
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut *connection).await?;
    }
    connection.detach();
    Ok(now)
}

/// Of many askings the middle, milliseconds.
async fn asked<F>(times: usize, mut ask: impl FnMut(usize) -> F) -> anyhow::Result<f64>
where
    F: Future<Output = anyhow::Result<()>>,
{
    let mut took = Vec::with_capacity(times);
    for n in 0..times {
        let begun = Instant::now();
        ask(n).await?;
        took.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    Ok(median(&took))
}

/// What one round of questions took, milliseconds.
struct Round {
    bare: f64,
    one: f64,
    all: f64,
    scan: f64,
}

async fn ask(connection: &mut PgConnection, now: DateTime<Utc>) -> anyhow::Result<Round> {
    let from = now - TimeDelta::minutes(5);
    let connection = tokio::sync::Mutex::new(connection);
    let connection = &connection;
    let bare = asked(ASKED, |n| async move {
        let mut connection = connection.lock().await;
        sqlx::query_scalar::<_, i32>("select $1::int4").bind(n as i32).fetch_one(&mut **connection).await?;
        Ok(())
    })
    .await?;
    let read = |scope: Scope, source, n: usize| async move {
        let mut connection = connection.lock().await;
        let (segment, step) = (Segment { source, from, to: now }, TimeDelta::minutes(5));
        let mut into = BTreeMap::new();
        windows::read(&mut connection, &scope, segment, from, step, &mut into).await?;
        ensure!(!into.is_empty(), "question {n} found nothing");
        anyhow::Ok(())
    };
    let one = asked(ASKED, |n| {
        let target = 1 + (n as i32 * 37) % TARGETS as i32;
        read(Scope { targets: Some(vec![target]), active: 1, rate: 1.0 / INTERVAL_S as f64 }, Source::Rows, n)
    })
    .await?;
    let rate = (TARGETS / INTERVAL_S) as f64;
    let all = asked(20, |n| read(Scope { targets: None, active: TARGETS, rate }, Source::Second, n)).await?;
    let scan = asked(20, |_| async move {
        let mut connection = connection.lock().await;
        sqlx::query(
            "select outcome::text, cause::text, code, count(*) from check_result
             where slot_at >= $1 and slot_at < $2 group by check_result.outcome, check_result.cause, code",
        )
        .bind(from)
        .bind(now)
        .fetch_all(&mut **connection)
        .await?;
        Ok(())
    })
    .await?;
    Ok(Round { bare, one, all, scan })
}

/// Every check by binary `COPY`, written as JSON by hand; rows a second.
async fn bare_json(connection: &mut PgConnection) -> anyhow::Result<f64> {
    let urls: Vec<String> =
        sqlx::query_scalar("select url from target order by target_id").fetch_all(&mut *connection).await?;
    let begun = Instant::now();
    let mut stream = connection
        .copy_out_raw(
            "copy (select started_at, elapsed_us, coalesce(code, 0::int2), outcome <> 'down', target_id from check_result
                   where outcome <= 'down' and started_at is not null order by slot_at, target_id)
             to stdout (format binary)",
        )
        .await?;
    let (mut rows, mut bytes, mut out) = (0_u64, 0, Vec::with_capacity(1 << 20));
    let mut kept: Vec<u8> = Vec::new();
    while let Some(piece) = stream.try_next().await? {
        // A message is a row; the first one has the header before it.
        kept.clear();
        kept.extend_from_slice(if rows == 0 && piece.starts_with(b"PGCOPY") {
            &piece[19.min(piece.len())..]
        } else {
            &piece
        });
        let Some(row) = kept.get(2..) else { continue };
        if row.len() < 39 {
            continue;
        }
        let number =
            |from: usize, to: usize| row[from..to].iter().fold(0_i64, |sum, byte| (sum << 8) | i64::from(*byte));
        let (at_us, elapsed_us, code) = (number(4, 12), number(16, 20), number(24, 26));
        let (ok, target) = (row[30] != 0, number(35, 39));
        rows += 1;
        writeln!(
            out,
            "{{\"ok\":{ok},\"code\":{code},\"elapsed\":0.{elapsed_us:06},\"date\":{at_us},\"url\":\"{}\"}},",
            urls[(target - 1) as usize]
        )?;
        if out.len() > 1 << 19 {
            bytes += out.len();
            out.clear();
        }
    }
    std::hint::black_box((&out, bytes));
    ensure!(rows as i64 >= STREAMED, "only {rows} rows came");
    Ok(rows as f64 / begun.elapsed().as_secs_f64())
}

/// The api, for as long as it is measured.
struct Api(Child, u16);

impl Api {
    async fn start(url: &str) -> anyhow::Result<Self> {
        let program = std::env::current_exe()?.with_file_name("api");
        ensure!(program.exists(), "there is no {}: cargo build --release -p api", program.display());
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        machine::pin(machine::MEASURED);
        let child = Command::new(program)
            .env_clear()
            .env("DATABASE_URL", url)
            .env("API_ADDR", format!("127.0.0.1:{port}"))
            .env("LOG_LEVEL", "error")
            .current_dir("/")
            .stdin(Stdio::null())
            .spawn();
        machine::pin(machine::OTHERS);
        let api = Self(child.context("cannot start the api")?, port);
        for _ in 0..100 {
            sleep(Duration::from_millis(100)).await;
            if api.get("/readyz").is_ok_and(|(status, _)| status.contains("200")) {
                return Ok(api);
            }
        }
        bail!("the api does not get ready")
    }

    /// The status line and how many lines the answer has.
    fn get(&self, path: &str) -> anyhow::Result<(String, u64)> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.1))?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut reader = BufReader::with_capacity(1 << 16, stream);
        let mut status = String::new();
        reader.read_line(&mut status)?;
        let (mut lines, mut piece) = (0, vec![0; 1 << 16]);
        loop {
            let read = reader.read(&mut piece)?;
            if read == 0 {
                return Ok((status, lines));
            }
            // What tells a row: nothing else in the answer has it.
            lines += piece[..read].iter().filter(|byte| **byte == b'{').count() as u64;
        }
    }

    /// Rows of `/status` a second.
    fn stream(&self) -> anyhow::Result<f64> {
        let begun = Instant::now();
        let (status, rows) = self.get("/status")?;
        ensure!(status.contains("200") && rows as i64 >= STREAMED, "{status} and {rows} rows");
        Ok(rows as f64 / begun.elapsed().as_secs_f64())
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) async fn run(lab: &mut Lab, rounds: usize) -> anyhow::Result<Section> {
    let mut section = Section::new("Reading");
    let (database, url) = lab.database().await?;
    let pool = store::pool::lazy(&url, &PoolSettings::API)?;
    let now = fill(&pool, STREAMED).await?;
    let api = Api::start(&url).await?;
    let mut connection = pool.acquire().await?.detach();
    let (mut asked, mut streamed, mut bare) = (Vec::new(), Vec::new(), Vec::new());
    let before = machine::resident_mib(api.0.id())?;
    let mut most = Vec::new();
    for _ in 0..rounds {
        asked.push(ask(&mut connection, now).await?);
        machine::pin(machine::MEASURED);
        bare.push(bare_json(&mut connection).await?);
        machine::pin(machine::OTHERS);
        streamed.push(api.stream()?);
        most.push(machine::most_resident_mib(api.0.id())?);
    }
    let of = |what: fn(&Round) -> f64| asked.iter().map(what).collect::<Vec<f64>>();
    section.add("bare round trip, p50", of(|it| it.bare), Aim::None, "ms");
    section.add("one target, 5 minutes, p50 ÷ round trip", of(|it| it.one / it.bare), Aim::AtMost(3.0), "");
    section.add("all targets, 5 minutes ÷ the plain index scan", of(|it| it.all / it.scan), Aim::AtMost(0.33), "");
    let ratio = streamed.iter().zip(&bare).map(|(rows, bare)| rows / bare).collect();
    section.add("bare client, binary rows to JSON by hand", bare, Aim::None, "rows/s");
    section.add("/status", streamed, Aim::None, "rows/s");
    section.add("/status ÷ bare client", ratio, Aim::AtLeast(0.7), "");
    let growth = most.last().copied().unwrap_or(f64::NAN) / most[0];
    section.add("most memory the api had in all answers ÷ in the first", vec![growth], Aim::AtMost(1.2), "");
    section
        .note(format!("{STREAMED} checks of {TARGETS} targets. The api has {before:.0} MiB before the first answer and {:.0} at most in it. Whoever \
             reads /status has a core with Postgres, the bare client has one of its own.",
            most[0]));
    drop((api, connection));
    pool.close().await;
    lab.drop_database(&database).await?;
    Ok(section)
}

/// The same questions over a small and a large table: what grows with it.
pub(crate) async fn large(lab: &mut Lab, rounds: usize, rows: i64) -> anyhow::Result<Section> {
    let mut section = Section::new(&format!("Reading, {} M rows beside 1 M", rows / 1_000_000));
    let mut tables = Vec::new();
    for rows in [1_000_000, rows] {
        let (_, url) = lab.database().await?;
        let pool = store::pool::lazy(&url, &PoolSettings::API)?;
        let begun = Instant::now();
        let now = fill(&pool, rows).await?;
        println!("{rows} rows are there after {:.0} s", begun.elapsed().as_secs_f64());
        tables.push((pool.acquire().await?.detach(), now, Vec::new()));
        pool.close().await;
    }
    for _ in 0..rounds {
        for (connection, now, asked) in &mut tables {
            asked.push(ask(connection, *now).await?);
        }
    }
    let [small, big] = tables.as_slice() else { bail!("there are two tables") };
    let each =
        |what: fn(&Round, &Round) -> f64| small.2.iter().zip(&big.2).map(|(a, b)| what(a, b)).collect::<Vec<f64>>();
    section.add("one target, 5 minutes, p50 ÷ round trip", each(|_, big| big.one / big.bare), Aim::AtMost(3.0), "");
    section.add("one target, 5 minutes: large ÷ small", each(|small, big| big.one / small.one), Aim::AtMost(1.2), "");
    section.add("all targets, 5 minutes: large ÷ small", each(|small, big| big.all / small.all), Aim::None, "");
    section.add(
        "all targets, 5 minutes ÷ the plain index scan",
        each(|_, big| big.all / big.scan),
        Aim::AtMost(0.33),
        "",
    );
    Ok(section)
}
