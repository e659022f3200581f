//! The api and a worker end to end, each under a role that can do no more than its work.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use api::Api;
use api::config::ListenSettings;
use chrono::{TimeDelta, Utc};
use common::{Interval, Reach, TargetSpec, TargetUrl};
use demo::faults::FaultServer;
use settings::{Defaults, LogArgs, Problems, TargetList};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection, PgPool};
use store::embedded::Embedded;
use store::pool::{self, PoolSettings};
use store::testing::TestDb;
use tokio_util::sync::CancellationToken;
use worker::config::ProbeSettings;
use worker::fair::Canaries;
use worker::housekeeping::Retention;
use worker::plan::Limits;

const TOKEN: &str = "a-token-of-enough-characters";

/// The same database as another role.
fn url_of(db: &TestDb, role: &str) -> String {
    let mut url = url::Url::parse(&db.url).unwrap();
    let rest: Vec<(String, String)> =
        url.query_pairs().filter(|(name, _)| name != "user").map(|(a, b)| (a.into_owned(), b.into_owned())).collect();
    if url.host_str().is_some_and(|host| !host.is_empty()) {
        url.set_username(role).unwrap();
        url.set_password(Some("test")).unwrap();
        return url.into();
    }
    url.query_pairs_mut().clear().extend_pairs(rest).append_pair("user", role);
    url.into()
}

async fn refused(pool: &PgPool, sql: &str) {
    let error = sqlx::query(AssertSqlSafe(sql.to_owned())).execute(pool).await.expect_err(sql);
    let code = error.as_database_error().and_then(|error| error.code().map(|code| code.into_owned()));
    assert_eq!(code.as_deref(), Some("42501"), "{sql}: {error}");
}

async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(40);
    while !holds().await {
        assert!(Instant::now() < deadline, "not within 40 s: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn client() -> reqwest::Client {
    let tls = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    reqwest::Client::builder().tls_backend_preconfigured(tls).no_proxy().build().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn api_and_worker_do_all_of_their_work_under_roles_that_can_do_nothing_else() {
    // What goes wrong says so.
    LogArgs::default().init(&mut Problems::new());
    let db = TestDb::empty().await;
    let roles = include_str!("../../../deploy/postgres/roles.sql");
    // Before the first start, and once more as after an update.
    for _ in 0..2 {
        sqlx::raw_sql(roles).execute(&db.pool).await.unwrap();
    }
    for role in ["lookout_api", "lookout_worker"] {
        sqlx::query(AssertSqlSafe(format!("alter role {role} password 'test'"))).execute(&db.pool).await.unwrap();
    }
    let (api_url, worker_url) = (url_of(&db, "lookout_api"), url_of(&db, "lookout_worker"));

    let listen = ListenSettings {
        token: Some(TOKEN.to_owned()),
        api_targets: Reach::Any,
        ..ListenSettings::at("127.0.0.1:0".parse().unwrap())
    };
    let config = api::Config { database_url: api_url.clone(), migration_database_url: Some(db.url.clone()), listen };
    let api = Api::bind(config).unwrap();
    let base = format!("http://{}", api.addr());
    let stop = CancellationToken::new();
    let api = tokio::spawn(api.run(stop.clone()));

    let server = FaultServer::start_on_thread().unwrap();
    let url = TargetUrl::parse(&server.url("/flaky/50")).unwrap();
    let interval = Interval::new(Duration::from_secs(1)).unwrap();
    let own = TargetSpec { interval, timeout: interval.duration(), ..TargetSpec::new("own", url.clone()) };
    let list = TargetList { targets: vec![own], ..TargetList::single("own", url, &Defaults::default()) };
    let probes = ProbeSettings {
        limits: Limits::for_total(100),
        max_buffered: 10_000,
        spool_max: 10_000,
        canaries: Canaries::Nobody,
        listen: None,
        retention: Retention::default(),
    };
    let worker = worker::Config::new(worker_url.clone(), list, probes, &mut Problems::new()).unwrap();
    let worker = worker::run(worker::Config { api_targets: Reach::Any, ..worker }, stop.clone());
    let worker = tokio::spawn(async move { worker.await.inspect_err(|error| eprintln!("the worker: {error:#}")) });

    let client = client();
    eventually("ready", async || {
        client.get(format!("{base}/readyz")).send().await.is_ok_and(|answer| answer.status() == 200)
    })
    .await;
    let send = async |method: reqwest::Method, path: &str, kind: &str, body: String| {
        let request = client.request(method, format!("{base}{path}")).bearer_auth(TOKEN).header("content-type", kind);
        let answer = request.header("idempotency-key", "k").body(body).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    use reqwest::Method;
    let json = "application/json";
    let services = r#"[{"name": "shop", "verb": "GET", "resource": "/orders", "slo": 0.9, "window": 10}]"#;
    let (status, said) = send(Method::PUT, "/api/v1/services", json, services.to_owned()).await;
    assert_eq!(status, 200, "{said}");
    let target =
        format!(r#"{{"name": "posted", "url": "{}", "interval": "1s", "service": "shop"}}"#, server.url("/status/500"));
    let (status, said) = send(Method::POST, "/api/v1/targets", json, target).await;
    assert_eq!(status, 201, "{said}");
    let change = r#"{"service": "shop", "commit": "abc"}"#.to_owned();
    let (status, said) = send(Method::POST, "/api/v1/changes", json, change).await;
    assert_eq!(status, 201, "{said}");
    let at = (Utc::now() - TimeDelta::seconds(1)).timestamp();
    let event = format!(r#"{{"type": "access", "id": "1", "value": "{at} GET /orders 500"}}"#);
    let (status, said) = send(Method::POST, "/api/v1/events", "application/x-ndjson", event).await;
    assert_eq!((status, said.contains("\"accepted\":1")), (207, true), "{said}");
    let (token, digest) = api::access::new_token();
    let mut owner = db.pool.acquire().await.unwrap();
    store::tokens::create(&mut owner, "t", store::tokens::Scope::Admin, &digest, None).await.unwrap();
    drop(owner);
    let deleted = client.delete(format!("{base}/api/v1/targets/posted")).bearer_auth(&token);
    eventually("checks of both, an incident and a minute", async || {
        assert!(!worker.is_finished(), "the worker gave up");
        let count = "select (select count(distinct target_id) from check_result where outcome <> 'missed') = 2
            and exists (select from incident) and exists (select from rollup_minute)";
        sqlx::query_scalar::<_, bool>(count).fetch_one(&db.pool).await.unwrap()
    })
    .await;
    assert_eq!(deleted.send().await.unwrap().status(), 204);
    for path in [
        "/status",
        "/api/v1/overview",
        "/api/v1/summary?window=5m",
        "/api/v1/incidents",
        "/api/v1/changes",
        "/api/v1/system",
        "/api/v1/table",
        "/api/v1/targets/own",
        "/metrics",
        "/api/v1/services",
    ] {
        let answer = client.get(format!("{base}{path}")).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
    }

    // Housekeeping, on a database with a past.
    let worker_pool = pool::lazy(&worker_url, &PoolSettings::WORKER).unwrap();
    let past = Utc::now() - TimeDelta::days(40);
    store::partitions::ensure(&db.pool, past.date_naive(), past.date_naive()).await.unwrap();
    let partitions = "select count(*) from pg_class where relname ~ '_[0-9]{8}$' and relkind = 'r'
        and right(relname, 8) < to_char(now() - interval '30 days', 'YYYYMMDD')";
    let old = async || sqlx::query_scalar::<_, i64>(partitions).fetch_one(&db.pool).await.unwrap();
    assert_eq!(old().await, 3);
    eventually("what is over its time is gone", async || {
        // A lock that is not granted in time is a reason to come again.
        let _ = worker::housekeeping::round(&worker_pool, Retention::default(), Utc::now()).await;
        old().await == 0
    })
    .await;
    worker::housekeeping::round(&worker_pool, Retention::default(), Utc::now()).await.unwrap();

    stop.cancel();
    worker.await.unwrap().unwrap();
    api.await.unwrap().unwrap();

    let api_pool = pool::lazy(&api_url, &PoolSettings::API).unwrap();
    let today = Utc::now().format("%Y%m%d");
    for sql in [
        "delete from check_result",
        "update check_result set outcome = 'up', cause = null",
        "truncate check_result",
        &format!("drop table check_result_{today}"),
        &format!("delete from check_result_{today}"),
        "delete from target",
        "delete from rollup_minute",
        "update api_token set scope = 'admin'",
        "insert into api_token (name, scope, digest) values ('x', 'admin', sha256('x'))",
        "update shard_lease set holder = 'me'",
        "create table mine ()",
        "create temporary table mine ()",
        "select drop_partition('check_result', current_date)",
        "select grant_roles()",
    ] {
        refused(&api_pool, sql).await;
    }
    for sql in [
        "alter table check_result add column x int",
        "alter table target drop column posted",
        "drop table target",
        "create table mine ()",
        "create function mine() returns int language sql as 'select 1'",
        "create index on check_result (code)",
        "truncate check_result",
        "select * from api_token",
        "update api_token set scope = 'admin'",
        "delete from target",
        "create role mine",
        "select grant_roles()",
    ] {
        refused(&worker_pool, sql).await;
    }
    // The owner's functions do for them what they are for, and no more.
    for sql in [
        "select drop_partition('target'::regclass, current_date)",
        &format!("select drop_partition('check_result_{today}'::regclass, current_date + 9)"),
        "select make_partitions('target'::regclass, current_date, current_date)",
        "select make_partitions('check_result'::regclass, '1970-01-01', '2970-01-01')",
    ] {
        let error = sqlx::query(AssertSqlSafe(sql.to_owned())).execute(&worker_pool).await.expect_err(sql);
        let code = error.as_database_error().and_then(|error| error.code().map(|code| code.into_owned()));
        assert_eq!(code.as_deref(), Some("22023"), "{sql}: {error}");
    }
    api_pool.close().await;
    worker_pool.close().await;
}

/// What the db container does when its volume is made.
#[test]
fn containers_give_each_role_its_password_and_the_superuser_none() {
    let directory = tempfile::tempdir().unwrap();
    let server = Embedded::start(&directory.path().join("pg")).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let url = url::Url::parse(&server.url("lookout")).unwrap();
    let socket = url.query_pairs().find(|(name, _)| name == "host").unwrap().1.into_owned();
    let to = |role: &str| PgConnectOptions::new_without_pgpass().socket(&socket).username(role).database("lookout");

    // As the image has it: the superuser is called postgres, and there is nobody else.
    runtime.block_on(async {
        let mut maker = PgConnection::connect(url.as_str()).await.unwrap();
        sqlx::raw_sql("create role postgres superuser login password 'postgres'").execute(&mut maker).await.unwrap();
        maker.close().await.unwrap();
        let mut superuser = to("postgres").connect().await.unwrap();
        for sql in [
            "alter role lookout rename to maker",
            include_str!("../../../deploy/postgres/owner.sql"),
            include_str!("../../../deploy/postgres/roles.sql"),
        ] {
            sqlx::raw_sql(sql).execute(&mut superuser).await.unwrap();
        }
        superuser.close().await.unwrap();
    });
    let passwords = [("lookout", r#"o'w"n \e:r $1"#), ("lookout_api", "a`p'i;--"), ("lookout_worker", "%w@o/r?k é")];
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/postgres/passwords.sh");
    let mut shell = Command::new("sh");
    shell.arg(script).env("PGHOST", &socket).env("POSTGRES_DB", "lookout");
    for ((_, password), name) in passwords.iter().zip(["POSTGRES_PASSWORD", "API_PASSWORD", "WORKER_PASSWORD"]) {
        shell.env(name, password);
    }
    assert!(shell.status().unwrap().success());

    let data = directory.path().join("pg/postgres/data");
    std::fs::write(data.join("pg_hba.conf"), "local all maker trust\nlocal all all scram-sha-256\n").unwrap();
    runtime.block_on(async {
        let mut maker = to("maker").connect().await.unwrap();
        sqlx::query("select pg_reload_conf()").execute(&mut maker).await.unwrap();
        let code = async |role: &str, password: &str| {
            let refused = to(role).password(password).connect().await.err()?;
            refused.as_database_error().and_then(|error| Some(error.code()?.into_owned()))
        };
        let wrong = Some("28P01".to_owned());
        eventually("passwords are asked for", async || code("lookout", "wrong").await == wrong).await;
        for (role, password) in passwords {
            assert_eq!(code(role, password).await, None, "{role}");
            for (_, other) in passwords.iter().filter(|(other, _)| *other != role) {
                assert_eq!(code(role, other).await, wrong, "{role}");
            }
            for none in ["", "postgres", password] {
                assert_eq!(code("postgres", none).await, wrong);
            }
        }
        let mut owner = to("lookout").password(passwords[0].1).connect().await.unwrap();
        let powers = "select rolsuper or rolcreaterole or rolcreatedb from pg_roles where rolname = current_user";
        assert!(!sqlx::query_scalar::<_, bool>(powers).fetch_one(&mut owner).await.unwrap());
        // The schema is its own, so that the api can migrate.
        sqlx::raw_sql("create table t (); drop table t").execute(&mut owner).await.unwrap();
    });
}
