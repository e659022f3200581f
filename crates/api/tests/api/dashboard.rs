use reqwest::Method;
use store::testing::TestDb;

use crate::support::{TOKEN, TestApi};

#[tokio::test]
async fn pages_need_no_token_and_their_data_does() {
    let db = TestDb::new().await;
    let api = TestApi::start_with(&db.url, false).await;
    for path in ["/", "/targets", "/targets/http%3A%2F%2Fexample.org%2F", "/incidents/1", "/changes", "/system"] {
        let page = api.get(path).await;
        assert_eq!(page.status(), 200, "{path}");
        assert_eq!(page.headers()["content-type"], "text/html; charset=utf-8");
        assert_eq!(page.headers()["x-content-type-options"], "nosniff");
        assert_eq!(page.headers()["cache-control"], "no-cache");
        let policy = page.headers()["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        let tag = page.headers()["etag"].clone();
        let again = api.request(Method::GET, path).header("if-none-match", tag).send().await.unwrap();
        assert_eq!(again.status(), 304, "{path}");
        assert_eq!(api.request(Method::HEAD, path).send().await.unwrap().status(), 200, "{path}");
        let refused = api.request(Method::POST, path).send().await.unwrap();
        assert_eq!(refused.status(), 405, "{path}");
    }
    for path in ["/api/v1/targets", "/api/v1/summary", "/status", "/nothing", "/assets/none.js"] {
        assert_eq!(api.get(path).await.status(), 401, "{path}");
    }
    api.stop().await;
}

#[tokio::test]
async fn what_is_no_page_is_a_problem_as_before() {
    let db = TestDb::new().await;
    let api = TestApi::start(&db.url).await;
    for path in
        ["/nothing", "/api/v1/nothing", "/api/v2/targets", "/status/1", "/metrics/", "/assets/none.js", "/index.html"]
    {
        let request = api.request(Method::GET, path).header("accept", "text/html").bearer_auth(TOKEN);
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 404, "{path}");
        assert_eq!(response.headers()["content-type"], "application/problem+json", "{path}");
        assert_eq!(response.headers()["cache-control"], "no-store", "{path}");
    }
    api.stop().await;
}
