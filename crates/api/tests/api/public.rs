//! The public page, its feed, and badges: what anybody may see, and what nobody may.

use std::collections::BTreeSet;

use chrono::{DurationRound, TimeDelta, Utc};
use common::{Cause, Outcome};
use reqwest::{Method, Response};
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use store::testing::{Cable, TestDb};

use crate::support::{TOKEN, TestApi, check, store};

const PATHS: [&str; 3] = ["/public", "/public/feed.xml", "/public.json"];

async fn execute(db: &TestDb, sql: &str) {
    sqlx::query(AssertSqlSafe(sql)).execute(&db.pool).await.unwrap();
}

/// Everything but the public page is closed.
async fn start(db: &TestDb) -> TestApi {
    TestApi::start_as(&db.url, false, true).await
}

fn header(response: &Response, name: &str) -> String {
    response.headers()[name].to_str().unwrap().to_owned()
}

async fn text(api: &TestApi, path: &str) -> String {
    let response = api.get(path).await;
    assert_eq!(response.status(), 200, "{path}");
    response.text().await.unwrap()
}

fn ago(seconds: i64) -> i64 {
    Utc::now().timestamp_micros() - seconds * 1_000_000
}

/// `count` more targets, each with 90 days of which every seventh or so is bad.
async fn many(db: &TestDb, count: i32) {
    for sql in [
        format!(
            "insert into target (key, name, url, interval_ms, timeout_ms, degraded_ms, expect_status, labels, source)
             select 'k' || n, 'Service number ' || n, 'http://example.org/' || n, 60000, 500, 500, '{{200-299}}',
                    jsonb_build_object('group', 'Group ' || n % 7), 'file'
             from generate_series(1, {count}) n"
        ),
        format!(
            "insert into rollup_day (bucket_at, target_id, up, down_timeout, missed, latency_buckets)
             select date_trunc('day', now(), 'UTC') - d * interval '1 day', target_id, 1440 - bad, bad, target_id % 9,
                    array_fill(0, array[{}])
             from target cross join generate_series(1, 89) d
             cross join lateral (select case when hashint4(target_id * 1000 + d) % 7 = 0
                                             then abs(hashint4(target_id + d * 977) % 300) else 0 end as bad) b
             where key like 'k%'",
            common::LATENCY_BUCKETS
        ),
        "insert into cursor (reader, xid, batch_id, state)
         values ('rollups', '0', 0, jsonb_build_object('done_until', to_char(date_trunc('day', now(), 'UTC'), 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')))"
            .to_owned(),
    ] {
        execute(db, &sql).await;
    }
}

#[tokio::test]
async fn there_is_no_public_page_unless_it_is_wanted() {
    let db = TestDb::new().await;
    store(&db, &[]).await;
    for public_read in [true, false] {
        let api = TestApi::start_as(&db.url, public_read, false).await;
        for path in PATHS {
            assert_eq!(api.get(path).await.status(), 404, "{path}");
        }
        assert_eq!(api.get("/badge/a/24h.svg").await.status(), if public_read { 200 } else { 401 });
        api.stop().await;
    }
}

#[tokio::test]
async fn anybody_may_see_the_page_and_nothing_else() {
    let db = TestDb::new().await;
    store(&db, &[check(1, ago(1), Outcome::Up)]).await;
    let api = start(&db).await;
    for (path, kind) in
        PATHS.into_iter().zip(["text/html; charset=utf-8", "application/atom+xml; charset=utf-8", "application/json"])
    {
        let plain = api.get(path).await;
        assert_eq!((plain.status().as_u16(), header(&plain, "content-type").as_str()), (200, kind), "{path}");
        assert_eq!(header(&plain, "cache-control"), "public, max-age=30");
        let (tag, plain) = (header(&plain, "etag"), plain.text().await.unwrap());
        let known = api.request(Method::GET, path).header("if-none-match", &tag).send().await.unwrap();
        assert_eq!((known.status().as_u16(), header(&known, "etag")), (304, tag), "{path}");
        let gzip = api.request(Method::GET, path).header("accept-encoding", "gzip").send().await.unwrap();
        assert_eq!(
            (header(&gzip, "content-encoding"), header(&gzip, "vary")),
            ("gzip".into(), "accept-encoding".into())
        );
        let mut unpacked = String::new();
        let packed = gzip.bytes().await.unwrap();
        std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&packed[..]), &mut unpacked).unwrap();
        assert_eq!(unpacked, plain, "{path}");
        assert_eq!(api.request(Method::HEAD, path).send().await.unwrap().status(), 200, "{path}");
        let refused = api.request(Method::POST, path).bearer_auth(TOKEN).send().await.unwrap();
        assert_eq!((refused.status().as_u16(), header(&refused, "allow")), (405, "GET, HEAD".into()), "{path}");
    }
    for path in ["/api/v1/targets", "/api/v1/incidents", "/status", "/public/", "/public/nothing.css", "/public.json/x"]
    {
        assert_eq!(api.get(path).await.status(), 401, "{path}");
    }
    api.stop().await;
}

#[tokio::test]
async fn the_page_has_no_code_and_its_style_comes_from_here() {
    let db = TestDb::new().await;
    store(&db, &[check(1, ago(1), Outcome::Down(Cause::Status))]).await;
    let api = start(&db).await;
    let page = api.get("/public").await;
    let policy = header(&page, "content-security-policy");
    assert!(policy.starts_with("default-src 'none'; style-src 'self';"), "{policy}");
    assert!(!policy.contains("unsafe") && !policy.contains("script") && !policy.contains('*'), "{policy}");
    let html = page.text().await.unwrap();
    for forbidden in ["<script", "<style", " style=", " onclick", " onload", "http:", "https:", "\"//", "javascript:"] {
        assert!(!html.contains(forbidden), "{forbidden}: {html}");
    }
    let style = html.split("rel=\"stylesheet\" href=\"").nth(1).unwrap().split('"').next().unwrap();
    let css = api.get(&format!("/{style}")).await;
    assert_eq!((css.status().as_u16(), header(&css, "content-type").as_str()), (200, "text/css; charset=utf-8"));
    assert!(header(&css, "cache-control").contains("immutable"));
    assert!(!css.text().await.unwrap().contains("url("));
    api.stop().await;
}

#[tokio::test]
async fn names_are_escaped_and_nothing_else_of_a_target_is_told() {
    let db = TestDb::new().await;
    let mut failed = check(1, ago(1), Outcome::Down(Cause::Refused));
    failed.code = None;
    store(&db, &[failed, check(2, ago(1), Outcome::Up)]).await;
    for sql in [
        "update target set key = 'key-of-a', name = '<b onclick=x>&\"''\u{1b}[31m\u{202e}]]>{{ 7 }}',
                url = 'https://secret.example.org/path?token=1', labels = '{\"group\": \"<i>team</i>\", \"owner\": \"label-told\"}'
         where key = 'a'",
        "update target set name = 'hidden-one', labels = '{\"public\": \"no\"}' where key = 'b'",
        "insert into target (key, name, url, interval_ms, timeout_ms, degraded_ms, expect_status, source)
         values ('https://www.example.com:8443/private?x', 'https://www.example.com:8443/private?x', 'https://www.example.com:8443/private?x', 60000, 500, 500, '{200-299}', 'env'),
                ('https://www.example.com/other', 'https://www.example.com/other', 'https://www.example.com/other', 60000, 500, 500, '{200-299}', 'env')",
        "insert into service (name, owner_name, owner_email) values ('secret-service', 'Secret Owner', 'owner@secret.example')",
        "insert into endpoint (service_id, verb, resource, target_id) values (1, 'GET', 'key-of-a', 1), (1, 'GET', 'b', 2), (1, 'POST', '/secret/orders', null)",
        "insert into batch (kind, first_at, last_at, rows) values ('change', now(), now(), 1)",
        "insert into change (service_id, commit_id, author, at, source, batch_id, ordinal)
         values (1, 'c0ffee11', 'author@secret.example', now(), 'deploy', 1, 0)",
        "insert into incident (endpoint_id, started_at, started_ns, breaking_change_id, good_count, total_count)
         select n, now() - interval '1 hour', n, 1, 0, 1 from generate_series(1, 3) n",
    ] {
        execute(&db, sql).await;
    }
    let api = start(&db).await;
    let [html, feed, json] = [text(&api, PATHS[0]).await, text(&api, PATHS[1]).await, text(&api, PATHS[2]).await];
    for answer in [&html, &feed, &json] {
        for secret in [
            "secret",
            "Secret",
            "token",
            "private",
            "8443",
            "c0ffee11",
            "author",
            "owner",
            "label-told",
            "hidden-one",
            "key-of-a",
            "refused",
            "/orders",
            "\u{1b}",
            "\u{202e}",
        ] {
            let answer = answer.replace("<author><name>lookout</name></author>", "");
            assert!(!answer.contains(secret), "{secret} is in {answer}");
        }
    }
    for marked_up in [&html, &feed] {
        assert!(!marked_up.contains("<b") || !marked_up.contains("<b "), "{marked_up}");
        assert!(
            marked_up.contains("&#60;b onclick=x&#62;&#38;&#34;&#39;\u{fffd}[31m\u{fffd}]]&#62;{{ 7 }}"),
            "{marked_up}"
        );
    }
    assert!(html.contains("&#60;i&#62;team&#60;/i&#62;"), "{html}");
    let status: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(status["counts"]["components"], 3);
    let names: BTreeSet<_> = status["groups"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|group| group["components"].as_array().unwrap())
        .map(|component| component["name"].as_str().unwrap())
        .collect();
    assert!(names.contains("www.example.com") && names.contains("www.example.com (2)"), "{names:?}");
    assert_eq!(status["open_incidents"].as_array().unwrap().len(), 1, "that of the one component that is shown");
    assert_eq!(feed.matches("<entry>").count(), 1);
    api.stop().await;
}

#[tokio::test]
async fn the_page_says_what_is_broken_since_when_and_what_nobody_knows() {
    let db = TestDb::new().await;
    let midnight = Utc::now().duration_trunc(TimeDelta::days(1)).unwrap();
    let yesterday = (midnight - TimeDelta::hours(12)).timestamp_micros();
    store(
        &db,
        &[
            check(1, ago(2), Outcome::Up),
            check(2, ago(900), Outcome::Up),
            check(1, yesterday, Outcome::Down(Cause::Dns)),
        ],
    )
    .await;
    // However long the test takes, the check of `a` is not too old.
    execute(&db, "update target set interval_ms = 60000 where key = 'a'").await;
    let api = start(&db).await;
    let status = api.json("/public.json").await;
    assert_eq!((&status["state"], &status["counts"]["no_data"]), (&json!("no_data"), &json!(1)));
    let html = text(&api, "/public").await;
    assert!(html.contains("No fresh data of 1 of 2 components; the others are operational"), "{html}");
    assert!(html.contains("uptime = good checks ÷ checks with a verdict; missed and unknown checks are excluded"));
    assert!(html.contains("<p>None.</p>"));
    api.stop().await;

    for sql in [
        "insert into service (name) values ('shop')",
        "insert into endpoint (service_id, verb, resource, target_id) values (1, 'GET', 'a', 1), (1, 'GET', 'b', 2)",
        "insert into incident (endpoint_id, started_at, started_ns, ended_at, ended_ns, good_count, total_count)
         values (1, now() - interval '3 days 2 hours', 0, now() - interval '3 days', 0, 0, 1),
                (1, now() - interval '20 days', 0, now() - interval '19 days', 0, 0, 1),
                (1, now() - interval '95 minutes', 0, null, null, 0, 1)",
        "update target set interval_ms = 3600000 where key = 'b'",
    ] {
        execute(&db, sql).await;
    }
    let api = start(&db).await;
    let status = api.json("/public.json").await;
    assert_eq!(status["state"], "degraded", "an incident is open although the newest check is good");
    assert_eq!(status["sentence"], "Degraded: 1 of 2 components");
    let lengths =
        (status["open_incidents"].as_array().unwrap().len(), status["past_incidents"].as_array().unwrap().len());
    assert_eq!(lengths, (1, 1), "20 days are too long ago");
    let a = &status["groups"][0]["components"][0];
    let days = a["uptime_by_day"].as_array().unwrap();
    assert_eq!((days.len(), &days[89], &days[88]), (90, &json!(100.0), &json!(0.0)));
    assert_eq!((&a["uptime_percentage"], &a["coverage_percentage"]), (&json!(50.0), &json!(100.0)));
    assert_eq!(
        a["incident_minutes_by_day"][70].as_f64().unwrap() + a["incident_minutes_by_day"][69].as_f64().unwrap(),
        1440.0
    );
    // The same as the days of the target say.
    let token = api.request(Method::GET, "/api/v1/targets/a/days").bearer_auth(TOKEN).send().await.unwrap();
    let told: Value = token.json().await.unwrap();
    let of = |field: &str| told["days"].as_array().unwrap().iter().map(|day| day[field].clone()).collect::<Vec<_>>();
    assert_eq!(*days, of("uptime_percentage"));
    assert_eq!(*a["coverage_by_day"].as_array().unwrap(), of("coverage_percentage"));
    let html = text(&api, "/public").await;
    assert!(html.contains("<h2 id=\"open\">Open incidents</h2>") && html.contains("(1 h 35 min)"), "{html}");
    assert!(html.contains("(2 h)") && html.contains("uptime 50.00 % · coverage 100 % · 2 of 90 days"), "{html}");
    assert!(
        html.contains("Of 90 days, 1 without a failure, 0 with up to 5 % failed, 1 with more, 88 without enough data")
    );
    let feed = text(&api, "/public/feed.xml").await;
    assert_eq!(feed.matches("<entry>").count(), 2);
    assert!(feed.contains("<title>a: over after 2 h</title>") && feed.contains("<title>a: incident</title>"), "{feed}");
    let ids: BTreeSet<_> = feed.split("<id>").skip(1).map(|rest| rest.split('<').next().unwrap()).collect();
    assert!(ids.len() == 3 && ids.iter().all(|id| id.len() == 45 && id.starts_with("urn:uuid:")), "{ids:?}");
    api.stop().await;

    store(&db, &[check(1, ago(0), Outcome::Down(Cause::Timeout))]).await;
    let api = start(&db).await;
    assert_eq!(api.json("/public.json").await["sentence"], "Partial outage: 1 of 2 components");
    api.stop().await;
}

#[tokio::test]
async fn the_page_is_made_once_however_many_ask() {
    let db = TestDb::new().await;
    store(&db, &[]).await;
    let api = start(&db).await;
    let tags = futures_util::future::join_all((0..50).map(|_| async {
        (header(&api.get("/public").await, "etag"), header(&api.get("/public.json").await, "etag"))
    }));
    let tags: BTreeSet<_> = tags.await.into_iter().collect();
    execute(&db, "update target set name = 'renamed'").await;
    assert!(!text(&api, "/public").await.contains("renamed"));
    // It says of which moment it is, so one that was made again would have another tag.
    assert_eq!(tags.len(), 1);
    api.stop().await;
}

#[tokio::test]
async fn without_postgres_the_page_says_that_it_does_not_know() {
    let db = TestDb::new().await;
    store(&db, &[check(1, ago(1), Outcome::Up)]).await;
    let cable = Cable::to(&db).await;
    let api = TestApi::start_as(cable.url(), false, true).await;
    cable.cut();
    let away = api.get("/public").await;
    assert_eq!((away.status().as_u16(), header(&away, "content-type").as_str()), (503, "text/html; charset=utf-8"));
    assert_eq!((header(&away, "cache-control"), header(&away, "retry-after")), ("no-store".into(), "5".into()));
    assert!(header(&away, "content-security-policy").starts_with("default-src 'none'"));
    let html = away.text().await.unwrap();
    assert!(html.contains("Status not known") && !html.to_lowercase().contains("operational"), "{html}");
    for path in ["/public.json", "/public/feed.xml", "/badge/a/24h.svg"] {
        let away = api.get(path).await;
        assert_eq!((away.status().as_u16(), header(&away, "content-type").as_str()), (503, "application/problem+json"));
    }
    cable.mend();
    for _ in 0..600 {
        if api.get("/public").await.status() == 200 {
            return api.stop().await;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("the page did not come back within 12 s");
}

#[tokio::test]
async fn a_hundred_components_are_small_and_many_more_are_only_listed_where_something_is_wrong() {
    let db = TestDb::new().await;
    many(&db, 100).await;
    let fresh = Utc::now() - TimeDelta::seconds(5);
    let checks: Vec<_> = (1..=100).map(|id| check(id, fresh.timestamp_micros(), Outcome::Up)).collect();
    store(&db, &checks).await;
    execute(&db, "delete from target where key in ('a', 'b')").await;
    let api = start(&db).await;
    let packed = api.request(Method::GET, "/public").header("accept-encoding", "gzip").send().await.unwrap();
    let size = packed.bytes().await.unwrap().len();
    assert!((4_096..30 * 1024).contains(&size), "{size} bytes");
    let html = text(&api, "/public").await;
    assert!(html.contains("Operational: all 100 components") && html.matches("<svg class=\"bars\"").count() == 100);
    assert_eq!(html.matches("<h3><bdi>Group ").count(), 7);
    api.stop().await;

    execute(
        &db,
        "insert into target (key, name, url, interval_ms, timeout_ms, degraded_ms, expect_status, source)
         select 'more' || n, 'More ' || n, 'http://example.org/', 60000, 500, 500, '{200-299}', 'file' from generate_series(1, 500) n",
    )
    .await;
    let api = start(&db).await;
    let status = api.json("/public.json").await;
    assert_eq!(
        status["counts"],
        json!({"components": 600, "operational": 100, "degraded": 0, "outage": 0, "no_data": 500})
    );
    let groups = status["groups"].as_array().unwrap();
    let listed: usize = groups.iter().map(|group| group["components"].as_array().unwrap().len()).sum();
    assert_eq!((groups.len(), listed), (8, 200));
    let html = text(&api, "/public").await;
    assert!(html.contains("400 components more are not listed") && html.contains("500 without fresh data"), "{html}");
    api.stop().await;
}

#[tokio::test]
async fn a_badge_says_what_the_summary_counts() {
    let db = TestDb::new().await;
    let mut checks: Vec<_> = (1..=30).map(|n| check(1, ago(n * 100), Outcome::Up)).collect();
    checks.extend(
        [
            (7, Outcome::Down(Cause::Dns)),
            (90, Outcome::Degraded),
            (3_000_000, Outcome::Down(Cause::Reset)),
            (8, Outcome::Missed),
        ]
        .map(|(seconds, outcome)| check(1, ago(seconds), outcome)),
    );
    store(&db, &checks).await;
    let api = TestApi::start(&db.url).await;
    let mut seen = BTreeSet::new();
    for (name, window) in [
        ("1m", "1m"),
        ("5m", "5m"),
        ("15m", "15m"),
        ("1h", "1h"),
        ("24h", "24h"),
        ("7d", "168h"),
        ("30d", "720h"),
        ("90d", "2160h"),
    ] {
        let badge = api.get(&format!("/badge/a/{name}.svg")).await;
        assert_eq!(
            (badge.status().as_u16(), header(&badge, "content-type").as_str()),
            (200, "image/svg+xml"),
            "{name}"
        );
        assert_eq!(header(&badge, "cache-control"), "public, max-age=30");
        let tag = header(&badge, "etag");
        let svg = badge.text().await.unwrap();
        let counts = &api.json(&format!("/api/v1/summary?target=a&window={window}")).await["counts"];
        let good = counts["up"].as_u64().unwrap() + counts["degraded"].as_u64().unwrap();
        let hundredths = good * 10_000 / counts["verdicts"].as_u64().unwrap();
        let percent = format!("{}.{:02} %", hundredths / 100, hundredths % 100);
        assert!(svg.contains(&format!("<title>uptime {name}: {percent}</title>")), "{name}: {percent} is not in {svg}");
        assert!(svg.contains(&format!(">uptime {name}</text>")) && svg.contains(&format!(">{percent}</text>")));
        seen.insert(percent);
        let known = api
            .request(Method::GET, &format!("/badge/a/{name}.svg"))
            .header("if-none-match", tag)
            .send()
            .await
            .unwrap();
        assert_eq!(known.status(), 304);
    }
    assert!(seen.len() >= 4, "{seen:?}");
    assert!(text(&api, "/badge/b/24h.svg").await.contains("uptime 24h: no data"));
    for path in ["/badge/nobody/24h.svg", "/badge/a/2h.svg", "/badge/a/24h", "/badge/a/24h.png", "/badge/a"] {
        assert_eq!(api.get(path).await.status(), 404, "{path}");
    }
    store(&db, &[check(2, ago(1), Outcome::Up)]).await;
    execute(&db, "update target set key = 'http://b/?x=1&y' where key = 'b'").await;
    assert!(text(&api, "/badge/http%3A%2F%2Fb%2F%3Fx%3D1%26y/24h.svg").await.contains("uptime 24h: 100 %"));
    api.stop().await;
}

#[tokio::test]
async fn a_badge_is_as_open_as_the_page_that_shows_its_target() {
    let db = TestDb::new().await;
    store(&db, &[]).await;
    execute(&db, "update target set labels = '{\"public\": \"false\"}' where key = 'b'").await;
    for (public_read, public_page, shown, hidden) in
        [(true, true, 200, 200), (true, false, 200, 200), (false, true, 200, 404), (false, false, 401, 401)]
    {
        let api = TestApi::start_as(&db.url, public_read, public_page).await;
        let a = api.get("/badge/a/24h.svg").await;
        assert_eq!(a.status(), shown, "{public_read} {public_page}");
        assert_eq!(api.get("/badge/b/24h.svg").await.status(), hidden, "{public_read} {public_page}");
        // Whoever has the token sees all; caches between do not keep that for others.
        let b = api.request(Method::GET, "/badge/b/24h.svg").bearer_auth(TOKEN).send().await.unwrap();
        let kept = if public_read { "public, max-age=30" } else { "private, max-age=30" };
        assert_eq!((b.status().as_u16(), header(&b, "cache-control").as_str()), (200, kept));
        api.stop().await;
    }
}
