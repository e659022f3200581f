//! Every target is an endpoint of a service, whatever becomes of its configuration.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use common::{Method, Source, TargetSpec, TargetUrl};
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
    let goals = services::goals(&mut connection, None).await.unwrap();
    // One that names its service has it at once.
    let named = [target("d", Method::Get, Some("web"))];
    services::declare(&mut connection, &[declared("mail", "GET", "d")]).await.unwrap();
    assert!(applied(&db, &named).await.contains(&"web: GET d".to_owned()));
    let objectives: Vec<i64> = goals.iter().map(|goal| goal.objective_nano).collect();
    assert_eq!(objectives, [990_000_000, 900_000_000, 990_000_000]);
}
