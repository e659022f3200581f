//! The table of targets and the map of them: both show the fleet as of one moment.

use std::time::Duration;

use chrono::Utc;
use common::{Cause, Check, Outcome};
use serde_json::{Value, json};
use store::testing::{Cable, TestDb};
use tokio::time::{Instant, sleep};

use crate::live::page::{Page, close_code, connect, hear, say};
use crate::support::{TestApi, check};

fn ago(seconds: i64) -> i64 {
    Utc::now().timestamp_micros() - seconds * 1_000_000
}

async fn write(db: &TestDb, checks: &[Check]) {
    let mut connection = db.pool.acquire().await.unwrap();
    store::batches::write_checks(&mut connection, "test", checks).await.unwrap();
}

/// Targets 1 to `count`, due once an hour, in groups by their last digit; of every 10 one is down,
/// one degraded, one was never seen, and one failed a minute ago.
async fn fleet(db: &TestDb, count: i32) {
    sqlx::query(
        "insert into target (key, name, url, interval_ms, timeout_ms, degraded_ms, expect_status, source, labels)
         select 'key-' || n, 'Name ' || n / 2, 'http://host-' || n % 7 || '.example.org/' || n, 3600000, 500, 500,
                '{200-299}', 'env',
                case when n % 3 = 0 then jsonb_build_object('team', 'Shop') else jsonb_build_object('group', 'g' || n % 10) end
         from generate_series(1, $1) n",
    )
    .bind(count)
    .execute(&db.pool)
    .await
    .unwrap();
    let today = Utc::now().date_naive();
    store::partitions::ensure(&db.pool, today.pred_opt().unwrap(), today).await.unwrap();
    let mut checks = Vec::new();
    for n in 1..=count {
        let outcome = match n % 10 {
            1 => Outcome::Down(Cause::Timeout),
            2 => Outcome::Degraded,
            3 => continue,
            4 => {
                checks.push(check(n, ago(60), Outcome::Down(Cause::Status)));
                Outcome::Up
            }
            _ => Outcome::Up,
        };
        checks
            .push(Check { elapsed_us: Some(n.unsigned_abs() * 10), ..check(n, ago(20) + i64::from(n) * 100, outcome) });
    }
    write(db, &checks).await;
}

fn keys(table: &Value) -> Vec<&str> {
    table["rows"].as_array().unwrap().iter().map(|row| row["key"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_search_a_state_and_a_label_leave_those_that_fit() {
    let db = TestDb::new().await;
    fleet(&db, 120).await;
    let api = TestApi::start(&db.url).await;
    for (query, found) in [
        ("", 120),
        ("?q=", 120),
        ("?q=nAmE%2060", 2),
        ("?q=key-12", 2),
        ("?q=shop", 40),
        ("?q=team:shop%20%20host-1.", 6),
        ("?q=shop%20nothing", 0),
        // A word does not reach from one member into the next.
        ("?q=60key", 0),
        ("?q=%5Bx%25_", 0),
        ("?state=down", 12),
        ("?state=degraded", 12),
        ("?state=unknown", 12),
        ("?state=up", 84),
        ("?label=team:Shop", 40),
        ("?label=team:shop", 0),
        ("?label=group:g1", 8),
        ("?label=group:g1&state=down&q=key-11", 1),
    ] {
        let table = api.json(&format!("/api/v1/table{query}")).await;
        assert_eq!((&table["total"], &table["found"]), (&json!(120), &json!(found)), "{query}");
        assert_eq!(keys(&table).len(), found.min(50), "{query}");
        assert_eq!((&table["page"], &table["page_size"]), (&json!(1), &json!(50)), "{query}");
    }
    let table = api.json("/api/v1/table?q=key-111").await;
    let mut row = table["rows"][0].clone();
    assert!(row["checked_at"].take().is_string());
    assert_eq!(
        row,
        json!({
            "key": "key-111", "name": "Name 55", "url": "http://host-6.example.org/111", "group": "host-6.example.org",
            "state": "down", "cause": "timeout", "code": null, "elapsed_ms": 1.11, "checked_at": null,
            "failed_5m": {"bad": 1, "total": 1}, "failed_1h": {"bad": 1, "total": 1}, "interval_ms": 3_600_000,
            "labels": {"team": "Shop"},
        })
    );
    api.stop().await;
}

#[tokio::test]
async fn every_order_is_total_and_pages_cut_it_without_hole_or_overlap() {
    let db = TestDb::new().await;
    fleet(&db, 120).await;
    let api = TestApi::start(&db.url).await;
    let mut firsts = Vec::new();
    for sort in ["name", "state", "failed", "slow", "age", "group"] {
        let mut all = Vec::new();
        for page in 1..=3 {
            let table = api.json(&format!("/api/v1/table?sort={sort}&page={page}")).await;
            assert_eq!((&table["page"], &table["pages"]), (&json!(page), &json!(3)));
            all.extend(table["rows"].as_array().unwrap().iter().cloned());
        }
        let beyond = api.json(&format!("/api/v1/table?sort={sort}&page=18446744073709551615")).await;
        assert_eq!((&beyond["page"], keys(&beyond).len()), (&json!(3), 20));
        let mut names: Vec<_> = all.iter().map(|row| row["key"].as_str().unwrap()).collect();
        firsts.push(names[0].to_owned());
        let rank = |row: &Value| match row["state"].as_str().unwrap() {
            "down" => 0,
            "degraded" => 1,
            "unknown" => 2,
            _ => 3,
        };
        let share = |row: &Value| match (row["failed_5m"]["bad"].as_i64().unwrap(), &row["failed_5m"]["total"]) {
            (_, total) if *total == 0 => 2_000,
            (bad, total) => 1_000 - bad * 1_000 / total.as_i64().unwrap(),
        };
        let order = |row: &Value| match sort {
            "state" => (rank(row), String::new()),
            "failed" => (share(row), String::new()),
            "slow" => {
                (row["elapsed_ms"].as_f64().map_or(i64::MAX, |elapsed| (-elapsed * 1000.0) as i64), String::new())
            }
            "age" => (0, row["checked_at"].as_str().unwrap_or_default().to_owned()),
            "group" => (0, row["group"].as_str().unwrap().to_owned()),
            _ => (0, String::new()),
        };
        let total = |row: &Value| {
            (order(row), row["name"].as_str().unwrap().to_lowercase(), row["key"].as_str().unwrap().to_owned())
        };
        let sorted = all.windows(2).find(|pair| total(&pair[0]) >= total(&pair[1]));
        assert_eq!(sorted, None, "{sort}");
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), 120, "{sort}");
    }
    assert_eq!(firsts, ["key-1", "key-1", "key-1", "key-120", "key-3", "key-20"]);
    api.stop().await;
}

#[tokio::test]
async fn a_cell_of_the_map_is_a_row_of_the_table_by_group() {
    let db = TestDb::new().await;
    fleet(&db, 620).await;
    let api = TestApi::start(&db.url).await;
    let map = api.json("/api/v1/map").await;
    let cells: Vec<char> = map["cells"].as_str().unwrap().chars().collect();
    assert_eq!(cells.len(), 620);
    let groups = map["groups"].as_array().unwrap();
    let mut expected = groups
        .iter()
        .flat_map(|group| std::iter::repeat_n(group["name"].as_str().unwrap(), group["n"].as_u64().unwrap() as usize));
    let mut seen = Vec::new();
    for page in 1..=13 {
        let table = api.json(&format!("/api/v1/table?sort=group&page={page}")).await;
        for (row, place) in table["rows"].as_array().unwrap().iter().zip((page - 1) * 50..) {
            assert_eq!(row["group"].as_str(), expected.next(), "{place}");
            let cell = match (row["state"].as_str().unwrap(), row["failed_5m"]["bad"].as_i64().unwrap()) {
                ("unknown", _) => '0',
                ("up", 0) => '1',
                ("up", _) => '2',
                ("degraded", _) => '3',
                ("down", _) => '4',
                other => panic!("{other:?}"),
            };
            assert_eq!(cells[place], cell, "{row}");
            assert_eq!(row["failed_1h"], Value::Null, "not beyond 500 targets");
            seen.push(cell);
        }
    }
    assert_eq!((seen.len(), expected.next()), (620, None));
    assert!(['0', '1', '2', '3', '4'].iter().all(|cell| seen.contains(cell)));
    api.stop().await;
}

#[tokio::test]
async fn what_is_wrong_with_a_question_is_named() {
    let db = TestDb::new().await;
    let api = TestApi::start(&db.url).await;
    let long = format!("q={}", "x".repeat(201));
    for (query, name) in [
        ("state=bad", "query:state"),
        ("state=UP", "query:state"),
        ("sort=speed", "query:sort"),
        ("label=team", "query:label"),
        ("page=0", "query:page"),
        ("page=-1", "query:page"),
        ("page=x", "query:page"),
        ("page=", "query:page"),
        (&long, "query:q"),
    ] {
        let response = api.get(&format!("/api/v1/table?{query}")).await;
        assert_eq!(response.status(), 400, "{query}");
        let problem: Value = response.json().await.unwrap();
        assert_eq!(problem["errors"][0]["pointer"], name, "{query}: {problem}");
    }
    let problem: Value = api.get("/api/v1/table?find=x").await.json().await.unwrap();
    assert!(problem["detail"].as_str().unwrap().contains("`find`"), "{problem}");
    assert_eq!(api.get("/api/v1/map?x=1").await.status(), 400, "it has no parameters");
    // Nothing is there yet, and that is an answer.
    let table = api.json("/api/v1/table?page=7").await;
    assert_eq!((&table["page"], &table["pages"], &table["rows"]), (&json!(1), &json!(1), &json!([])));
    let map = api.json("/api/v1/map").await;
    assert_eq!((&map["groups"], &map["cells"]), (&json!([]), &json!("")));
    api.stop().await;
}

#[tokio::test]
async fn a_table_and_a_map_that_are_known_are_not_sent_again() {
    let db = TestDb::new().await;
    fleet(&db, 20).await;
    let api = TestApi::start(&db.url).await;
    'paths: for path in ["/api/v1/table?sort=state", "/api/v1/map"] {
        // A second passes now and then between two requests.
        for _ in 0..5 {
            let tag = api.get(path).await.headers()["etag"].clone();
            let second = api.request(reqwest::Method::GET, path).header("if-none-match", &tag).send().await.unwrap();
            if second.status() == 304 {
                assert_eq!(second.headers()["etag"], tag);
                continue 'paths;
            }
        }
        panic!("no state of {path} lasted for two requests");
    }
    api.stop().await;
}

#[tokio::test]
async fn while_postgres_is_away_there_is_no_table_and_afterwards_there_is() {
    let db = TestDb::new().await;
    fleet(&db, 20).await;
    let cable = Cable::to(&db).await;
    let api = TestApi::start(cable.url()).await;
    assert_eq!(api.json("/api/v1/table").await["found"], 20);
    cable.cut();
    let begun = Instant::now();
    while api.get("/api/v1/table").await.status() != 503 || api.get("/api/v1/map").await.status() != 503 {
        assert!(begun.elapsed() < Duration::from_secs(8), "an old state is still shown");
        sleep(Duration::from_millis(100)).await;
    }
    cable.mend();
    let begun = Instant::now();
    while api.get("/api/v1/table").await.status() != 200 || api.get("/api/v1/map").await.status() != 200 {
        assert!(begun.elapsed() < Duration::from_secs(8), "nothing is shown");
        sleep(Duration::from_millis(100)).await;
    }
    api.stop().await;
}

#[tokio::test]
async fn a_table_moves_by_itself_row_by_row_or_all_where_its_order_changes() {
    let db = TestDb::new().await;
    fleet(&db, 20).await;
    let api = TestApi::start(&db.url).await;
    let mut socket = connect(&api).await;
    let asked =
        json!({"subscribe": "table", "q": "  key-1  name ", "state": "", "label": "", "sort": "state", "page": 9});
    say(&mut socket, asked).await;
    let mut page = Page::default();
    let first = hear(&mut socket).await;
    assert_eq!((&first["type"], &first["view"]), (&json!("snapshot"), &json!("table")));
    let query = json!({"q": "key-1 name", "state": "", "label": "", "sort": "state", "page": 9});
    assert_eq!(first["query"], query, "in order, with one space between words");
    page.take(&first);
    assert_eq!((&page.data["found"], &page.data["page"]), (&json!(11), &json!(1)));
    assert_eq!(page.data["rows"][0]["key"], "key-1");

    // The same state with another number: that row alone.
    write(&db, &[Check { elapsed_us: Some(777_000), ..check(1, ago(0), Outcome::Down(Cause::Timeout)) }]).await;
    loop {
        let frame = hear(&mut socket).await;
        assert_eq!(frame["query"], query);
        page.take(&frame);
        if page.data["rows"][0]["elapsed_ms"] == 777.0 {
            assert_eq!(frame["rows"]["rows"]["put"].as_array().unwrap().len(), 1, "{frame}");
            assert_eq!(frame["set"].get("rows"), None);
            break;
        }
    }
    // Another state, another place: all of them in their order.
    write(&db, &[check(1, ago(0), Outcome::Up)]).await;
    loop {
        let frame = hear(&mut socket).await;
        page.take(&frame);
        if page.data["rows"][0]["key"] != "key-1" {
            assert_eq!(frame["set"]["rows"].as_array().unwrap().len(), 11, "{frame}");
            break;
        }
    }
    assert_eq!(page.snapshots, 1, "the rest came as deltas");
    let fresh = api.json("/api/v1/table?q=key-1%20name&sort=state").await;
    assert_eq!(page.data["rows"], fresh["rows"]);

    // What cannot be asked is said, and the line stays for the next question.
    say(&mut socket, json!({"subscribe": "table", "sort": "speed"})).await;
    loop {
        let frame = hear(&mut socket).await;
        if frame["type"] == "error" {
            assert_eq!(frame["code"], "bad_parameter");
            assert!(frame["message"].as_str().unwrap().starts_with("sort is"), "{frame}");
            break;
        }
    }
    say(&mut socket, json!({"subscribe": "table"})).await;
    let frame = hear(&mut socket).await;
    assert_eq!(frame["query"], json!({"q": "", "state": "", "label": "", "sort": "name", "page": 1}));
    say(&mut socket, json!({"subscribe": "table", "colour": "red"})).await;
    assert_eq!(close_code(&mut socket).await, (1008, Some("bad_message".to_owned())));
    api.stop().await;
}

#[tokio::test]
async fn no_more_tables_are_looked_at_than_are_kept() {
    let db = TestDb::new().await;
    fleet(&db, 20).await;
    let api = TestApi::start(&db.url).await;
    let mut sockets = Vec::new();
    for page in 1..=64 {
        let mut socket = connect(&api).await;
        say(&mut socket, json!({"subscribe": "table", "page": page})).await;
        assert_eq!(hear(&mut socket).await["query"]["page"], page);
        sockets.push(socket);
    }
    let mut one_more = connect(&api).await;
    say(&mut one_more, json!({"subscribe": "table", "page": 65})).await;
    assert_eq!(close_code(&mut one_more).await, (1013, Some("too_many_views".to_owned())));
    // One that somebody looks at already costs nothing, nor does a target.
    for message in [json!({"subscribe": "table", "page": 64}), json!({"subscribe": "target", "key": "key-1"})] {
        let mut socket = connect(&api).await;
        say(&mut socket, message).await;
        assert_eq!(hear(&mut socket).await["type"], "snapshot");
    }
    // Who goes makes room.
    drop(sockets.pop());
    let begun = Instant::now();
    loop {
        let mut socket = connect(&api).await;
        say(&mut socket, json!({"subscribe": "table", "page": 66})).await;
        if hear(&mut socket).await["type"] == "snapshot" {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(5));
        sleep(Duration::from_millis(50)).await;
    }
    api.stop().await;
}
