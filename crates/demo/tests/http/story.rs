//! The story, told to a lookout of which every answer is known.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use demo::functions::{self, FunctionsArgs};
use demo::story::{self, StoryArgs};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::support::get;

/// Whom the lookout of a test names, given the commits it was told of.
type Names = fn(&[String]) -> (Option<String>, Option<String>);

/// What is wrong with that, in the words of the story.
type Says = fn(&[String]) -> String;

/// Answers as lookout does: an incident since the first commit, over since the second.
async fn answer(mut stream: TcpStream, told: Arc<Mutex<Vec<String>>>, names: Names) {
    let mut request = String::new();
    let mut part = [0; 4096];
    // A change is a head and a body in one or two parts; its author is the last of it.
    while !(request.contains("\r\n\r\n") && (request.starts_with("GET") || request.ends_with('}'))) {
        let length = stream.read(&mut part).await.unwrap();
        request.push_str(std::str::from_utf8(&part[..length]).unwrap());
    }
    if let Some((_, body)) = request.split_once("\r\n\r\n").filter(|_| request.starts_with("POST /api/v1/changes ")) {
        let change: Value = serde_json::from_str(body).unwrap();
        told.lock().unwrap().push(change["commit"].as_str().unwrap().to_owned());
    }
    let told = told.lock().unwrap().clone();
    let (breaking, fix) = names(&told);
    let ended = (told.len() == 2).then_some("2026-01-01T00:00:05Z");
    let commit = |name: Option<String>| name.map(|commit| json!({ "commit": commit }));
    let incident = json!({
        "id": 1, "started_at": "2026-01-01T00:00:00Z", "ended_at": ended,
        "duration_seconds": ended.map(|_| 5.0), "break": commit(breaking), "fix": commit(fix),
    });
    let incidents = if told.is_empty() { json!([]) } else { json!([incident]) };
    let body = json!({ "incidents": incidents, "mttr": 5 }).to_string();
    let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all((head + &body).as_bytes()).await.unwrap();
}

/// Plays it against a function that works and a lookout that names these.
async fn play(names: Names) -> (anyhow::Result<Option<story::Incident>>, Vec<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let lookout = format!("http://{}", listener.local_addr().unwrap());
    let told = Arc::new(Mutex::new(Vec::new()));
    let hears = Arc::clone(&told);
    let serving = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream, Arc::clone(&hears), names));
        }
    });
    let functions = FunctionsArgs { port: 0, control: true, ..FunctionsArgs::default() };
    let functions = functions::bind(&functions).await.unwrap();
    let (addr, stop) = (functions.addr(), CancellationToken::new());
    let _stop: DropGuard = stop.clone().drop_guard();
    tokio::spawn(functions.run(stop.clone()));
    let args = StoryArgs {
        lookout,
        token: "t0ken".to_owned(),
        function: format!("http://{addr}"),
        service: "fibonacci".to_owned(),
        fail: 1.0,
        patience: Duration::from_secs(20),
    };

    let result = story::run(&args, &stop).await;

    assert_eq!(get(addr, "/fibonacci/1/").await.status, 200, "the function was left broken");
    serving.abort();
    let told = told.lock().unwrap().clone();
    (result, told)
}

#[tokio::test]
async fn it_ends_well_where_lookout_names_both_commits() {
    let (result, told) = play(|told| (told.first().cloned(), told.get(1).cloned())).await;

    let incident = result.unwrap().unwrap();
    assert_eq!(told.len(), 2);
    let named = [incident.breaking, incident.fix].map(|change| change.unwrap().commit);
    assert_eq!(named, *told);
}

#[tokio::test]
async fn it_fails_and_tells_both_pairs_where_lookout_names_another_commit_or_none() {
    let wrong: [(Names, Says); 3] = [
        (
            |told| (told.get(1).cloned(), told.first().cloned()),
            |told| format!("{} broke fibonacci and {} mended it", told[1], told[0]),
        ),
        (|told| (told.first().cloned(), None), |told| format!("{} broke fibonacci and nobody mended it", told[0])),
        (|_| (None, None), |_| "nobody broke fibonacci and nobody mended it".to_owned()),
    ];
    for (names, says) in wrong {
        let (result, told) = play(names).await;

        let error = result.unwrap_err().to_string();
        let expected = format!("lookout says that {}, but it was {} and {}", says(&told), told[0], told[1]);
        assert_eq!(error, format!("of incident 1 {expected}"));
    }
}
