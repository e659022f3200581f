//! Every target is an endpoint of a service, whatever becomes of its configuration.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use common::{EndpointSpec, Goal, Method, ServiceSpec, Source, TargetSpec, TargetUrl};
use store::services::{self, Declared};
use store::targets;
use store::testing::TestDb;

fn target(name: &str, method: Method, service: Option<&str>) -> TargetSpec {
    TargetSpec {
        method,
        service: service.map(str::to_owned),
        source: Source::File,
        ..TargetSpec::new(name, TargetUrl::parse("http://example.org/").unwrap())
    }
}

/// Applies a list, and says what each endpoint is then: service, verb, resource, whether a target's.
async fn applied(db: &TestDb, list: &[TargetSpec]) -> Vec<String> {
    let mut connection = db.pool.acquire().await.unwrap();
    targets::apply(&mut connection, "w", &[Source::File], list, 1).await.unwrap();
    let rows: Vec<(String, String, String, bool)> = sqlx::query_as(
        "select name, verb, resource, target_id is not null from endpoint join service using (service_id) order by 3, 2",
    )
    .fetch_all(&db.pool)
    .await
    .unwrap();
    rows.into_iter()
        .map(|(service, verb, resource, is_target)| {
            format!("{service}: {verb} {resource}{}", if is_target { "" } else { " (posted)" })
        })
        .collect()
}

#[tokio::test]
async fn a_target_is_an_endpoint_of_the_service_it_names_or_has_or_of_its_own() {
    let db = TestDb::new().await;
    let first = [target("a", Method::Get, None), target("b", Method::Get, Some("shop"))];
    assert_eq!(applied(&db, &first).await, ["a: GET a", "shop: GET b"]);
    assert_eq!(applied(&db, &first).await, ["a: GET a", "shop: GET b"], "again changes nothing");

    // Somebody gives a target to another service, with an objective of its own, and declares one to post to.
    let declared = |service: &str, verb: &str, resource: &str| Declared {
        service: service.to_owned(),
        owner_email: Some("a@example.org".to_owned()),
        verb: verb.to_owned(),
        resource: resource.to_owned(),
        objective_nano: 990_000_000,
        window_ns: 60_000_000_000,
    };
    let mut connection = db.pool.acquire().await.unwrap();
    let list = [declared("mail", "GET", "a"), declared("mail", "HEAD", "c")];
    assert_eq!(services::declare(&mut connection, &list).await.unwrap(), 2);
    assert_eq!(services::declare(&mut connection, &list).await.unwrap(), 0, "nothing is new");
    assert_eq!(applied(&db, &first).await, ["mail: GET a", "shop: GET b", "mail: HEAD c (posted)"]);

    // A method is the verb; a target that was posted to before gains the checks.
    let second =
        [target("a", Method::Head, None), target("b", Method::Get, Some("web")), target("c", Method::Head, None)];
    assert_eq!(applied(&db, &second).await, ["mail: HEAD a", "web: GET b", "mail: HEAD c"]);
    let goals = services::goals(&mut connection).await.unwrap();
    // One that names its service has it at once.
    let named = [target("d", Method::Get, Some("web"))];
    services::declare(&mut connection, &[declared("mail", "GET", "d")]).await.unwrap();
    assert!(applied(&db, &named).await.contains(&"web: GET d".to_owned()));
    let objectives: Vec<i64> = goals.iter().map(|goal| goal.objective_nano).collect();
    assert_eq!(objectives, [990_000_000, 900_000_000, 990_000_000]);
}

/// What is promised for each endpoint: verb, resource, service, percent, seconds, by whom.
async fn promised(db: &TestDb) -> Vec<String> {
    sqlx::query_scalar(
        "select concat_ws(' ', verb, resource, name, objective_nano / 1e7::float8, window_ns / 1000000000, declared_by)
         from endpoint join service using (service_id) order by resource, verb",
    )
    .fetch_all(&db.pool)
    .await
    .unwrap()
}

#[tokio::test]
async fn the_file_wins_for_what_it_promises_and_the_api_for_the_rest() {
    let db = TestDb::new().await;
    let mut connection = db.pool.acquire().await.unwrap();
    let goal = |percent: i64| Goal { objective_nano: Some(percent * 10_000_000), window: None };
    let endpoint = |resource: &str, goal| EndpointSpec { verb: "GET".into(), resource: resource.into(), goal };
    let service = |goal, endpoints| ServiceSpec {
        name: "shop".to_owned(),
        owner_name: Some("Shop team".to_owned()),
        owner_email: None,
        goal,
        endpoints,
    };
    let list = [target("t", Method::Get, Some("shop"))];
    let declared = |resource: &str| Declared {
        service: "api".to_owned(),
        owner_email: Some("a@example.org".to_owned()),
        verb: "GET".to_owned(),
        resource: resource.to_owned(),
        objective_nano: 500_000_000,
        window_ns: 60_000_000_000,
    };
    let over_api = [declared("/mine"), declared("/theirs"), declared("t")];

    assert_eq!(services::declare(&mut connection, &over_api).await.unwrap(), 3);
    targets::apply(&mut connection, "w", &[Source::File], &list, 1).await.unwrap();
    let of_file = [service(goal(99), vec![endpoint("/mine", goal(98)), endpoint("/new", Goal::default())])];
    services::apply(&mut connection, "w", &of_file, &list, 1).await.unwrap();
    let expected =
        ["GET /mine shop 98 300 file", "GET /new shop 90 300", "GET /theirs api 50 60 api", "GET t shop 99 300 file"];
    assert_eq!(promised(&db).await, expected);
    let owner: (String, Option<String>) =
        sqlx::query_as("select owner_name, owner_email from service where name = 'shop'")
            .fetch_one(&db.pool)
            .await
            .unwrap();
    assert_eq!(owner, ("Shop team".to_owned(), None));

    // Neither again nor over the API does anything change.
    services::apply(&mut connection, "w", &of_file, &list, 1).await.unwrap();
    assert_eq!(services::declare(&mut connection, &over_api).await.unwrap(), 0);
    assert_eq!(services::of_file(&mut connection, &over_api).await.unwrap(), 2);
    assert_eq!(promised(&db).await, expected);

    // With another list about, what the file no longer says stays.
    sqlx::query(
        "insert into worker (worker_id, started_at, seen_at, version, config_digest)
         values ('other', now(), clock_timestamp(), '', 7)",
    )
    .execute(&db.pool)
    .await
    .unwrap();
    services::apply(&mut connection, "w", &[], &list, 2).await.unwrap();
    assert_eq!(promised(&db).await, expected);
    sqlx::query("update worker set config_digest = 2").execute(&db.pool).await.unwrap();
    services::apply(&mut connection, "w", &[], &list, 2).await.unwrap();
    assert_eq!(
        promised(&db).await,
        ["GET /mine shop 90 300", "GET /new shop 90 300", "GET /theirs api 50 60 api", "GET t shop 90 300"]
    );
}

#[tokio::test]
async fn a_target_that_names_no_service_any_more_is_its_own_again_unless_somebody_declared_it() {
    let db = TestDb::new().await;
    let mut connection = db.pool.acquire().await.unwrap();
    let usual = |resource: &str| Declared {
        service: "shop".to_owned(),
        owner_email: None,
        verb: "GET".to_owned(),
        resource: resource.to_owned(),
        objective_nano: services::USUAL_OBJECTIVE_NANO,
        window_ns: 300_000_000_000,
    };
    let listing = ServiceSpec {
        name: "shop".to_owned(),
        owner_name: None,
        owner_email: None,
        goal: Goal::default(),
        endpoints: vec![EndpointSpec { verb: "GET".into(), resource: "listed".into(), goal: Goal::default() }],
    };
    let named = ["dropped", "declared", "listed"].map(|name| target(name, Method::Get, Some("shop")));
    let unnamed = ["dropped", "declared", "listed"].map(|name| target(name, Method::Get, None));
    let services = [listing];
    let of = async |list: &[TargetSpec], digest: i64| {
        let mut connection = db.pool.acquire().await.unwrap();
        targets::apply(&mut connection, "w", &[Source::File], list, digest).await.unwrap();
        services::apply(&mut connection, "w", &services, list, digest).await.unwrap();
        promised(&db).await
    };
    of(&named, 1).await;
    // The same that holds already; but now it is somebody's word.
    assert_eq!(services::declare(&mut connection, &[usual("declared")]).await.unwrap(), 1);
    assert_eq!(services::declare(&mut connection, &[usual("declared")]).await.unwrap(), 0);

    // While another worker has another list, that one may still be right.
    sqlx::query(
        "insert into worker (worker_id, started_at, seen_at, version, config_digest)
         values ('other', now(), clock_timestamp(), '', 1)",
    )
    .execute(&db.pool)
    .await
    .unwrap();
    let before = ["GET declared shop 90 300 api", "GET dropped shop 90 300", "GET listed shop 90 300"];
    assert_eq!(of(&unnamed, 2).await, before);
    sqlx::query("update worker set config_digest = 2").execute(&db.pool).await.unwrap();
    let after = ["GET declared shop 90 300 api", "GET dropped dropped 90 300", "GET listed shop 90 300"];
    assert_eq!(of(&unnamed, 2).await, after);
    let changed: Vec<chrono::DateTime<chrono::Utc>> =
        sqlx::query_scalar("select updated_at from endpoint order by 1").fetch_all(&db.pool).await.unwrap();
    assert_eq!(of(&unnamed, 2).await, after);
    let again: Vec<chrono::DateTime<chrono::Utc>> =
        sqlx::query_scalar("select updated_at from endpoint order by 1").fetch_all(&db.pool).await.unwrap();
    assert_eq!(changed, again, "the same list again touches nothing");
}

#[tokio::test]
async fn a_posted_target_that_names_no_service_any_more_is_its_own_again() {
    use store::posted::{self, Known};
    let db = TestDb::new().await;
    let mut connection = db.pool.acquire().await.unwrap();
    let mut put = async |service: Option<&str>| {
        let target = TargetSpec { source: Source::Api, ..target("t", Method::Get, service) };
        let posted = match service {
            Some(service) => format!(r#"{{"name": "t", "service": "{service}"}}"#),
            None => r#"{"name": "t", "service": null}"#.to_owned(),
        };
        posted::put(&mut connection, &target, &posted, Known::Whatever).await.unwrap().unwrap();
        promised(&db).await
    };
    assert_eq!(put(None).await, ["GET t t 90 300"]);
    assert_eq!(put(Some("shop")).await, ["GET t shop 90 300"]);
    assert_eq!(put(None).await, ["GET t t 90 300"]);
}
