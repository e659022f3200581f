//! What Postgres does for the statements people and workers wait for: it looks into
//! indexes, however many rows a day has. The plans are those of the real statements,
//! as `auto_explain` tells them on the connection that runs them.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use common::{Check, Outcome, Slot, TargetId};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};
use store::events::{Claim, EventId, Receipt};
use store::incidents::Wanted;
use store::status::{self, Filter, Position};
use store::testing::TestDb;
use store::windows::{self, Scope, Segment, Source};
use store::{
    batches, checks, cursors, days, events, fleet, incidents, latency, overview, partitions, posted, rollups, services,
    workers,
};
use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

const TARGETS: i32 = 100;
const DAYS: i64 = 4;
const ROWS: i64 = 240_000;

/// Yesterday's: a day that has just begun has few rows, and an hour of them may well be read from end to end.
fn noon() -> DateTime<Utc> {
    let midnight = Utc::now().duration_trunc(TimeDelta::days(1)).unwrap();
    midnight - TimeDelta::hours(12)
}

/// Some pages are read as quickly in any way.
const FEW_ROWS: f32 = 2_000.0;

/// Checks of every target over some days, evenly, with their roll-ups; none since `now`. And
/// an incident every minute, the last ones still open.
async fn fill(pool: &PgPool, now: DateTime<Utc>, targets: i32) {
    let from = now - TimeDelta::days(DAYS);
    partitions::ensure(pool, from.date_naive(), (now + TimeDelta::days(7)).date_naive()).await.unwrap();
    let step_us = DAYS * 86_400_000_000 / ROWS;
    for sql in [
        format!(
            "insert into target (key, name, url, interval_ms, timeout_ms, degraded_ms, expect_status, labels, source)
             select 'k' || n, 'k' || n, 'http://example.org/' || n, least({step_us}::int8 * {targets} / 1000, 3600000), 1000, 500, '{{200-299}}',
                    jsonb_build_object('team', n % 10), 'env'
             from generate_series(1, {targets}) n"
        ),
        "insert into service (name) values ('shop')".to_owned(),
        "insert into endpoint (service_id, verb, resource, target_id) select 1, 'GET', key, target_id from target".to_owned(),
        format!(
            "insert into check_result (slot_at, started_at, batch_id, target_id, elapsed_us, outcome, cause, code)
             select at, at, n / 100, (1 + n % {targets})::int4, 20000, (case when n % 50 = 0 then 'down' else 'up' end)::outcome,
                    case when n % 50 = 0 then 'status'::cause end, case when n % 50 = 0 then 500 else 200 end
             from (select n, '{from}'::timestamptz + n * {step_us} * interval '1 microsecond' as at
                   from generate_series(0::int8, {ROWS} - 1) n) s"
        ),
        format!(
            "insert into rollup_minute (bucket_at, target_id, up, latency_buckets)
             select date_trunc('minute', slot_at), target_id, count(*), array_fill(0, array[{}])
             from check_result group by 1, 2",
            common::LATENCY_BUCKETS
        ),
        "insert into rollup_second (bucket_at, up)
         select date_trunc('second', slot_at), count(*) from check_result group by 1"
            .to_owned(),
        "insert into gap (target_id, from_at, to_at, reason)
         select target_id, max(slot_at) - interval '2 hours', max(slot_at) - interval '1 hour', 'no_worker'
         from check_result group by 1"
            .to_owned(),
        format!(
            "insert into incident (endpoint_id, started_at, started_ns, ended_at, ended_ns, good_count, total_count)
             select 1 + n % {targets}, at, extract(epoch from at) * 1e9, ended_at, extract(epoch from ended_at) * 1e9, 8, 10
             from (select n, at, case when at < '{now}'::timestamptz - interval '90 minutes' then at + interval '9 minutes' end as ended_at
                   from generate_series(0, {DAYS} * 1440 - 1) n,
                        lateral (select '{from}'::timestamptz + n * interval '1 minute' as at) a) i"
        ),
        "analyze".to_owned(),
    ] {
        sqlx::query(AssertSqlSafe(sql)).execute(pool).await.unwrap();
    }
}

/// Takes the plans from what Postgres says beside its answers.
#[derive(Clone, Default)]
struct Plans(Arc<Mutex<Vec<Value>>>);

impl<S: tracing::Subscriber> Layer<S> for Plans {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        struct Message<'a>(&'a Plans);
        impl Visit for Message<'_> {
            fn record_str(&mut self, _: &Field, value: &str) {
                // duration: 0.123 ms  plan: {…}
                if let Some((_, plan)) = value.split_once("plan:\n") {
                    self.0.0.lock().unwrap().push(serde_json::from_str(plan).unwrap());
                }
            }

            fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
        }
        if event.metadata().target() == "sqlx::postgres::notice" {
            event.record(&mut Message(self));
        }
    }
}

/// Adds the tables that a plan reads from end to end.
fn scanned(plan: &Value, into: &mut Vec<String>) {
    if plan["Node Type"] == "Seq Scan" {
        into.push(plan["Relation Name"].as_str().unwrap().to_owned());
    }
    for child in plan["Plans"].as_array().into_iter().flatten() {
        scanned(child, into);
    }
}

/// Adds the indexes that a plan reads, and how.
fn used(plan: &Value, into: &mut Vec<String>) {
    if let Some(index) = plan["Index Name"].as_str() {
        into.push(format!("{} of {index}", plan["Node Type"].as_str().unwrap()));
    }
    for child in plan["Plans"].as_array().into_iter().flatten() {
        used(child, into);
    }
}

struct Reader {
    connection: PgConnection,
    plans: Plans,
    /// Tables that nobody may read from end to end.
    big: Vec<String>,
    /// Statements that did: what, how planned, which tables.
    found: Vec<(String, &'static str, Vec<String>)>,
    planned: &'static str,
    /// Indexes that any of them read.
    used: BTreeSet<String>,
}

impl Reader {
    async fn connect(db: &TestDb, plans: Plans) -> Self {
        let mut connection = PgConnection::connect(&db.url).await.unwrap();
        sqlx::raw_sql(
            "load 'auto_explain';
             set auto_explain.log_min_duration = 0;
             set auto_explain.log_format = json;
             set auto_explain.log_analyze = on;
             set auto_explain.log_buffers = on;
             set client_min_messages = log;
             set log_min_messages = panic;
             set timezone = 'UTC'",
        )
        .execute(&mut connection)
        .await
        .unwrap();
        let big = sqlx::query_scalar(
            "select relname::text from pg_class
             where relkind = 'r' and reltuples > $1 and relname ~ '^(check_result|rollup_minute)_|^rollup_second$'",
        )
        .bind(FEW_ROWS)
        .fetch_all(&db.pool)
        .await
        .unwrap();
        Self { connection, plans, big, found: Vec::new(), planned: "", used: BTreeSet::new() }
    }

    async fn plan_by(&mut self, mode: &'static str) {
        // Statements that are prepared already keep the plan they have.
        self.connection.clear_cached_statements().await.unwrap();
        let set = AssertSqlSafe(format!("set plan_cache_mode = {mode}"));
        sqlx::query(set).execute(&mut self.connection).await.unwrap();
        self.planned = mode;
        self.plans.0.lock().unwrap().clear();
    }

    /// Judges the plans since the last call.
    fn judge(&mut self, what: &str) {
        let plans = std::mem::take(&mut *self.plans.0.lock().unwrap());
        assert!(!plans.is_empty(), "no plan of {what} was told");
        for plan in plans {
            // What was really done, and not only meant to be.
            assert!(plan["Plan"]["Actual Rows"].is_number() && plan["Plan"]["Shared Hit Blocks"].is_number(), "{plan}");
            let (mut tables, mut indexes) = (Vec::new(), Vec::new());
            scanned(&plan["Plan"], &mut tables);
            used(&plan["Plan"], &mut indexes);
            self.used.extend(indexes.into_iter().filter_map(|used| Some(used.rsplit_once(" of ")?.1.to_owned())));
            tables.retain(|table| self.big.contains(table));
            if !tables.is_empty() {
                self.found.push((what.to_owned(), self.planned, tables));
            }
        }
    }

    /// Indexes of the tables that grow without end which no statement read so far: of partitions, the index that theirs
    /// belong to. Those that keep rows apart are needed for that, and a BRIN costs next to nothing: after midnight, when a day
    /// has few rows, nobody reads it.
    async fn unused(&mut self) -> BTreeSet<String> {
        let indexes: Vec<(String, String)> = sqlx::query_as(
            "select i.relname::text, coalesce(parent.relname, i.relname)::text
             from pg_index join pg_class i on i.oid = indexrelid join pg_class t on t.oid = indrelid
                  left join pg_inherits h on h.inhrelid = i.oid left join pg_class parent on parent.oid = h.inhparent
             where not indisunique and i.relkind = 'i' and i.relam <> (select oid from pg_am where amname = 'brin') and t.relname ~ '^(check_result|rollup_minute|incident|batch)'",
        )
        .fetch_all(&mut self.connection)
        .await
        .unwrap();
        let used: BTreeSet<_> =
            indexes.iter().filter(|(name, _)| self.used.contains(name)).map(|(_, of)| of.clone()).collect();
        indexes.into_iter().map(|(_, of)| of).filter(|of| !used.contains(of)).collect()
    }

    /// What the api asks for about a stretch of time.
    async fn read_windows(&mut self, now: DateTime<Utc>) {
        let one = Scope { targets: Some(vec![7]), active: 1, rate: 0.01 };
        let label = Scope { targets: Some((1..10).map(|n| n * 10).collect()), active: 9, rate: 0.1 };
        let fleet = Scope { targets: None, active: i64::from(TARGETS), rate: 1.0 };
        for (name, scope, source, minutes) in [
            ("one target's rows", &one, Source::Rows, 5),
            ("one target's rows", &one, Source::Rows, 60),
            ("one target's rows", &one, Source::Rows, 24 * 60),
            ("one target's rows", &one, Source::Rows, 3 * 24 * 60),
            ("one target's minutes", &one, Source::Minute, 3 * 24 * 60),
            ("a label's rows", &label, Source::Rows, 5),
            ("a label's rows", &label, Source::Rows, 60),
            ("a label's minutes", &label, Source::Minute, 60),
            ("the fleet's rows", &fleet, Source::Rows, 5),
            ("the fleet's rows", &fleet, Source::Rows, 60),
            ("the fleet's seconds", &fleet, Source::Second, 60),
            ("the fleet's minutes", &fleet, Source::Minute, 60),
        ] {
            let from = (now - TimeDelta::minutes(minutes)).duration_trunc(TimeDelta::minutes(1)).unwrap();
            let segment = Segment { source, from, to: now };
            let connection = &mut self.connection;
            let mut into = BTreeMap::new();
            let step = TimeDelta::minutes(1);
            windows::read(connection, scope, segment, DateTime::UNIX_EPOCH, step, &mut into).await.unwrap();
            windows::gap_slots(connection, scope, &[from], now).await.unwrap();
            assert!(!into.is_empty(), "{name}");
            self.judge(&format!("{name}, {minutes} minutes"));
        }

        // Of a few: most of a table may well be read from end to end.
        let (from, step) = ((now - TimeDelta::days(DAYS)).date_naive(), TimeDelta::hours(1));
        for targets in [vec![7], (1..=5).collect()] {
            assert!(!days::counts(&mut self.connection, &targets, from, now).await.unwrap().is_empty());
            self.judge("days of some targets");
        }
        let minutes = Segment { source: Source::Minute, from: now - TimeDelta::days(1), to: now };
        latency::read(&mut self.connection, TargetId(7), minutes, step, &mut BTreeMap::new()).await.unwrap();
        self.judge("a target's latency");

        for (hours, limit) in [(0, 500), (6, 10_001)] {
            let (fleet, label, one) = (None, Some(&label), Some(&one));
            let after = (now - TimeDelta::hours(hours) - TimeDelta::minutes(5), TargetId(i32::MAX));
            for (what, scope) in [("checks of all", fleet), ("checks of a label", label), ("checks of one", one)] {
                checks::window(&mut self.connection, scope, after, now, limit).await.unwrap();
                self.judge(what);
            }
        }

        let since = Some(now - TimeDelta::hours(30));
        let slots_from = Some(status::first_slot(&mut self.connection, now - TimeDelta::hours(30)).await.unwrap());
        let lately = Some(now - TimeDelta::minutes(30));
        let lately_from = Some(status::first_slot(&mut self.connection, now - TimeDelta::minutes(30)).await.unwrap());
        for filter in [
            Filter::default(),
            Filter { since, slots_from, ..Filter::default() },
            Filter { since: lately, slots_from: lately_from, ..Filter::default() },
            Filter { targets: Some(vec![7]), ..Filter::default() },
            Filter { targets: Some(vec![7]), since, slots_from, ..Filter::default() },
            Filter { targets: Some(vec![7]), since, slots_from, outcome: Some("up"), ..Filter::default() },
        ] {
            let connection = &mut self.connection;
            let first = status::page(connection, &filter, Position::start(&filter)).await.unwrap();
            let last = first.last().unwrap();
            let position = Position { slot_at: last.slot_at, target_id: last.target_id };
            status::page(connection, &filter, position).await.unwrap();
            self.judge(&format!("a page of /status {filter:?}"));
            status::newest(&mut self.connection, &filter, 100).await.unwrap();
            self.judge(&format!("the newest of /status {filter:?}"));
        }
    }

    /// What the api asks for about now.
    async fn read_overviews(&mut self, now: DateTime<Utc>) {
        overview::list(&mut self.connection, "", None, 100).await.unwrap();
        self.judge("targets");
        checks::newest(&mut self.connection, TargetId(7), 50).await.unwrap();
        self.judge("the newest checks of a target");
        services::list(&mut self.connection, None, ("", "", ""), now, 100).await.unwrap();
        self.judge("services");
        overview::since(&mut self.connection, TargetId(7), "up", now - TimeDelta::days(3)).await.unwrap();
        self.judge("since when a target is up");
        let some: Vec<i32> = (1..=10).collect();
        fleet::targets(&mut self.connection).await.unwrap();
        fleet::newest(&mut self.connection, &some, now).await.unwrap();
        self.judge("the newest verdicts of a part of the fleet");
        let (long, short) = (now - TimeDelta::hours(1), now - TimeDelta::minutes(5));
        for targets in [Some(some.as_slice()), None] {
            fleet::failed(&mut self.connection, targets, long, short, now).await.unwrap();
            self.judge("the failed share of targets");
        }
        overview::verdicts(&mut self.connection, now - TimeDelta::minutes(5)).await.unwrap();
        self.judge("verdicts of the last minutes");
        workers::newest_check(&mut self.connection).await.unwrap();
        self.judge("the newest check");
    }

    /// What is asked for incidents, one and many.
    async fn read_incidents(&mut self, now: DateTime<Utc>) {
        let hour = Wanted { from: now - TimeDelta::hours(5), to: now - TimeDelta::hours(4), ..Wanted::ALL };
        let newest = incidents::list(&mut self.connection, Wanted::ALL, 100).await.unwrap();
        self.judge("the newest incidents");
        let page = Wanted { before: (newest[99].started_at, newest[99].incident_id), ..Wanted::ALL };
        let one = Wanted { incident_id: Some(newest[50].incident_id), ..Wanted::ALL };
        for (what, wanted) in [("a page of incidents", page), ("incidents of an hour", hour), ("an incident", one)] {
            assert!(!incidents::list(&mut self.connection, wanted, 100).await.unwrap().is_empty(), "{what}");
            self.judge(what);
        }
        let of_service = Wanted { service: Some("shop"), ..hour };
        incidents::list(&mut self.connection, of_service, 100_001).await.unwrap();
        self.judge("all incidents of a service in an hour");
        let days = (now - TimeDelta::days(DAYS)).date_naive();
        assert!(!days::incidents(&mut self.connection, &[7], days, now).await.unwrap().is_empty());
        self.judge("days of a target with incidents");
        incidents::failures(&mut self.connection, &newest[50], TimeDelta::minutes(5), 50).await.unwrap();
        self.judge("what failed around an incident");
        assert_eq!(incidents::open(&mut self.connection, None).await.unwrap().len(), 90);
        self.judge("open incidents");
    }

    /// What a worker asks for.
    async fn write_all(&mut self, now: DateTime<Utc>) {
        let some: Vec<_> = (1..=10).map(TargetId).collect();
        for minutes in [1, 60] {
            let from = now - TimeDelta::minutes(minutes);
            checks::recorded_slots(&mut self.connection, &some, from, now).await.unwrap();
            self.judge("slots that have a row");
        }
        let slots: Vec<_> = (1..=TARGETS).map(|n| (TargetId(n), now - TimeDelta::seconds(i64::from(n % 60)))).collect();
        checks::recorded(&mut self.connection, &slots).await.unwrap();
        self.judge("which of some slots have a row");
        // The second time the rows are there, the third time they are replaced.
        for (count, outcome) in [(300, Outcome::Missed), (300, Outcome::Missed), (300, Outcome::Up)] {
            let checks: Vec<_> = (0..count)
                .map(|n| {
                    let slot = Slot(now.timestamp_micros() - i64::from(n) * 1_000_001);
                    Check { outcome, ..Check::missed(TargetId(1 + n % TARGETS), slot) }
                })
                .collect();
            batches::write_checks(&mut self.connection, "w", &checks).await.unwrap();
            self.judge("a flush");
        }
        let batches = cursors::batches(&mut self.connection, cursors::Position::default(), 200).await.unwrap();
        incidents::events(&mut self.connection, &batches).await.unwrap();
        self.judge("following the batches");
        let endpoints: Vec<i32> = (1..=10).collect();
        let mut recalled = 0;
        incidents::recall(&mut self.connection, &endpoints, &[7], |_| recalled += 1).await.unwrap();
        assert!(recalled > 0);
        self.judge("reading the windows of endpoints anew");
        rollups::compute(&mut self.connection, now, now - TimeDelta::days(30)).await.unwrap();
        self.judge("rolling up");
    }
}

#[tokio::test]
async fn no_statement_on_a_hot_path_reads_a_day_from_end_to_end() {
    let db = TestDb::new().await;
    let now = noon();
    fill(&db.pool, now, TARGETS).await;
    let plans = Plans::default();
    let _capture = tracing::subscriber::set_default(tracing_subscriber::registry().with(plans.clone()));
    let mut reader = Reader::connect(&db, plans).await;
    assert!(reader.big.len() >= 2 * DAYS as usize, "{:?}", reader.big);

    // The api plans each statement for its values; the worker may keep one plan for all,
    // which does for stretches of time as well.
    reader.plan_by("force_custom_plan").await;
    reader.read_windows(now).await;
    reader.read_overviews(now).await;
    reader.read_incidents(now).await;
    reader.write_all(now).await;
    reader.plan_by("force_generic_plan").await;
    reader.read_windows(now).await;
    reader.write_all(now).await;
    assert!(reader.found.is_empty(), "{:#?}", reader.found);
    // What no statement reads only makes writing dearer.
    assert_eq!(reader.unused().await, BTreeSet::new());
    sqlx::query("create index check_result_code on check_result (code)").execute(&db.pool).await.unwrap();
    assert_eq!(reader.unused().await, BTreeSet::from(["check_result_code".to_owned()]));

    // Without its index it does, and we notice.
    sqlx::query("drop index check_result_time").execute(&db.pool).await.unwrap();
    reader.plan_by("force_custom_plan").await;
    workers::newest_check(&mut reader.connection).await.unwrap();
    reader.judge("the newest check");
    assert_eq!(reader.found.len(), 1);
}

#[tokio::test]
async fn the_overview_of_50_000_targets_reads_no_day_from_end_to_end() {
    let db = TestDb::new().await;
    let now = noon();
    fill(&db.pool, now, 50_000).await;
    let plans = Plans::default();
    let _capture = tracing::subscriber::set_default(tracing_subscriber::registry().with(plans.clone()));
    let mut reader = Reader::connect(&db, plans).await;
    reader.plan_by("force_custom_plan").await;
    reader.read_overviews(now).await;
    reader.read_incidents(now).await;
    assert!(reader.found.is_empty(), "{:#?}", reader.found);
}

#[tokio::test]
async fn what_is_posted_is_looked_for_in_its_index_and_the_other_targets_are_left_alone() {
    let db = TestDb::new().await;
    // Without a vacuum nobody knows that the index alone will do.
    sqlx::raw_sql(
        "insert into target (key, name, url, interval_ms, timeout_ms, degraded_ms, expect_status, source, posted)
         select n, n, 'http://example.org/', 1000, 1000, 500, '{200-299}',
                (case when n % 400 = 0 then 'api' else 'env' end)::target_source, case when n % 400 = 0 then '{}' end
         from generate_series(1, 20000) n",
    )
    .execute(&db.pool)
    .await
    .unwrap();
    sqlx::raw_sql("vacuum (analyze) target").execute(&db.pool).await.unwrap();
    let plans = Plans::default();
    let _capture = tracing::subscriber::set_default(tracing_subscriber::registry().with(plans.clone()));
    let mut reader = Reader::connect(&db, plans).await;
    reader.big = vec!["target".to_owned()];
    for mode in ["force_custom_plan", "force_generic_plan"] {
        reader.plan_by(mode).await;
        // Every worker asks this twice a second.
        posted::mark(&mut reader.connection).await.unwrap();
        let mut indexes = Vec::new();
        reader.plans.0.lock().unwrap().iter().for_each(|plan| used(&plan["Plan"], &mut indexes));
        assert_eq!(indexes, ["Index Only Scan of target_posted"], "{mode}");
        reader.judge("whether something else is posted");
        assert_eq!(posted::list(&mut reader.connection).await.unwrap().len(), 50);
        reader.judge("what is posted");
    }
    assert!(reader.found.is_empty(), "{:#?}", reader.found);

    sqlx::query("drop index target_posted").execute(&db.pool).await.unwrap();
    posted::mark(&mut reader.connection).await.unwrap();
    reader.judge("whether something else is posted");
    assert_eq!(reader.found.len(), 1);
}

#[tokio::test]
async fn ids_and_keys_of_posts_are_looked_for_in_their_indexes_and_old_ones_found_by_their_age() {
    let db = TestDb::new().await;
    sqlx::raw_sql(
        "insert into event_id (id, digest, created_at)
         select n, '\\x00', now() - n * interval '1 second' from generate_series(1, 90000) n;
         insert into receipt (key, digest, status, answer, created_at) select id, digest, 207, '{}', created_at from event_id;
         analyze event_id, receipt",
    )
    .execute(&db.pool)
    .await
    .unwrap();
    let plans = Plans::default();
    let _capture = tracing::subscriber::set_default(tracing_subscriber::registry().with(plans.clone()));
    let mut reader = Reader::connect(&db, plans).await;
    reader.big = vec!["event_id".to_owned(), "receipt".to_owned()];
    let ids: Vec<EventId> = (0..100).map(|n| EventId { id: format!("new {n}"), digest: vec![0] }).collect();
    let claims = events::claim(&mut reader.connection, &ids).await.unwrap();
    assert_eq!(claims, vec![Claim::New; 100]);
    reader.judge("whether an id is somebody's");
    let receipt = Receipt { key: "new".to_owned(), digest: vec![0], status: 207, answer: Value::Null };
    assert!(events::write(&mut reader.connection, "test", &[], &[], Some(&receipt)).await.unwrap());
    assert_eq!(events::receipt(&mut reader.connection, "new").await.unwrap(), Some(receipt));
    reader.judge("whether a post was answered");
    assert!(reader.found.is_empty(), "{:#?}", reader.found);

    sqlx::query("drop index event_id_time").execute(&db.pool).await.unwrap();
    events::claim(&mut reader.connection, &ids).await.unwrap();
    reader.judge("whether an id is somebody's");
    assert!(!reader.found.is_empty(), "a table that is read from end to end is noticed");
}
