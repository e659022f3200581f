//! Uploads of events that break off or are damaged on their way.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use store::testing::TestDb;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::stream::{declared, good, named, outcomes, post, post_with_key, stored};
use crate::support::{TOKEN, TestApi};

/// Sends a post of events, and hangs up `missing` bytes before its end.
async fn break_off(api: &TestApi, headers: &str, body: &[u8], missing: usize) {
    let head = format!(
        "POST /api/v1/events HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {TOKEN}\r\nidempotency-key: k\r\n\
         content-type: application/x-ndjson\r\n{headers}content-length: {}\r\n\r\n",
        body.len()
    );
    let mut stream = TcpStream::connect(api.base.trim_start_matches("http://")).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&body[..body.len() - missing]).await.unwrap();
}

async fn until_stored(db: &TestDb, expected: i64) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while stored(db).await != expected {
        assert!(tokio::time::Instant::now() < deadline, "{} of {expected} are stored", stored(db).await);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn e15_of_an_upload_that_breaks_off_the_complete_lines_are_stored_and_the_rest_when_it_is_sent_again() {
    let (db, api) = declared().await;
    let lines: Vec<_> = (0..10).map(|number| named(&number.to_string(), "GET / 200")).collect();
    let body = lines.join("\n");
    break_off(&api, "", body.as_bytes(), 3).await;
    until_stored(&db, 9).await;
    // The answer to the part is not that of the whole.
    assert_eq!(post_with_key(&api, body.clone()).await, (207, false));
    assert_eq!(stored(&db).await, 10);
    let (_, again) = post(&api, body).await;
    assert_eq!((&again["accepted"], &again["duplicates"]), (&json!(0), &json!(10)));
    api.stop().await;
}

#[tokio::test]
async fn e15_lines_that_could_not_be_told_from_new_ones_wait_for_the_whole_post() {
    let (db, api) = declared().await;
    let body = format!("{}\n{}\n{}\n", good(), named("one", "GET / 200"), good());
    break_off(&api, "", body.as_bytes(), 2).await;
    until_stored(&db, 1).await;
    assert_eq!(post_with_key(&api, body).await, (207, false), "not a repetition: the first never was");
    assert_eq!(stored(&db).await, 3);
    api.stop().await;
}

/// Not compressed, so that a byte of the text can be changed where it stands.
fn packed(text: &str) -> Vec<u8> {
    use std::io::Write;
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
    packer.write_all(text.as_bytes()).unwrap();
    packer.finish().unwrap()
}

#[tokio::test]
async fn e15_nothing_is_kept_of_what_was_damaged_on_its_way_or_may_be() {
    let (db, api) = declared().await;
    let text = format!("{}\n{}\n", named("one", "GET / 200"), named("two", "GET / 200"));
    let whole = packed(&text);
    let mut damaged = whole.clone();
    let at = damaged.windows(5).position(|bytes| bytes == b"/ 200").unwrap();
    damaged[at + 2] = b'5';
    let send = async |body: Vec<u8>| {
        let request = api.request(Method::POST, "/api/v1/events").bearer_auth(TOKEN);
        let request = request.header("content-type", "application/x-ndjson").header("content-encoding", "gzip");
        request.body(body).send().await.unwrap()
    };
    assert_eq!(send(damaged).await.status(), 400);
    break_off(&api, "content-encoding: gzip\r\n", &whole, 1).await;
    let answer = send(whole).await;
    assert_eq!(outcomes(&answer.json().await.unwrap()), [(201, ""), (201, "")]);
    assert_eq!(stored(&db).await, 2);
    let request = api.request(Method::POST, "/api/v1/events").bearer_auth(TOKEN);
    let twice = request.header("content-encoding", "identity").header("content-encoding", "gzip");
    assert_eq!(twice.header("content-type", "application/x-ndjson").body(good()).send().await.unwrap().status(), 415);
    api.stop().await;
}
