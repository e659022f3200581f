//! `lookout demo story` against a lookout that watches: what it breaks and mends is what lookout names.

use std::fs;
use std::process::{Command, Output};

use serde_json::Value;
use store::testing::TestDb;
use tempfile::TempDir;

use crate::program::{Program, lookout};
use crate::prometheus::client;

const TOKEN: &str = "a token that writes";

/// A function, and a lookout that watches it every second, with a window of four.
struct Watched {
    function: String,
    api: String,
    /// Gone before the database is.
    _programs: [Program; 2],
    _db: TestDb,
    _directory: TempDir,
}

impl Watched {
    async fn start() -> Self {
        let mut function = lookout();
        function.args(["demo", "functions", "--only", "fibonacci", "--port", "0", "--control"]);
        let function = Program::start(function);
        let function_addr = function.hear("listen on http://");
        let (db, directory) = (TestDb::new().await, tempfile::tempdir().unwrap());
        let config = format!(
            "version: 1
services:
  - {{name: fibonacci, objective: 60%, window: 4s}}
targets:
  - {{name: fibonacci, url: 'http://{function_addr}/fibonacci/9/', service: fibonacci, interval: 1s}}
"
        );
        let path = directory.path().join("lookout.yaml");
        fs::write(&path, config).unwrap();
        let mut up = lookout();
        up.args(["up", "--api-addr", "127.0.0.1:0"]).env("API_TOKEN", TOKEN);
        up.env("DATABASE_URL", &db.url).env("LOOKOUT_CONFIG", path);
        let up = Program::start(up);
        let api = format!("http://{}", up.hear("answering  http://"));
        let function_url = format!("http://{function_addr}");
        Self { function: function_url, api, _programs: [up, function], _db: db, _directory: directory }
    }

    fn story(&self, service: &str, token: &str, patience: &str) -> Command {
        let mut story = lookout();
        story.args(["demo", "story", "--service", service, "--patience", patience]).env("API_TOKEN", token);
        story.args(["--lookout", &self.api, "--function", &self.function]);
        story
    }

    async fn get(&self, path: &str) -> Value {
        client().get(format!("{}{path}", self.api)).send().await.unwrap().json().await.unwrap()
    }

    async fn function_works(&self) -> bool {
        client().get(format!("{}/fibonacci/9/", self.function)).send().await.unwrap().status() == 200
    }
}

/// Its end, and what it told meanwhile.
async fn told(mut story: Command) -> (Output, String) {
    let output = tokio::task::spawn_blocking(move || story.output()).await.unwrap().unwrap();
    let said = String::from_utf8(output.stderr.clone()).unwrap();
    (output, said)
}

/// The commit in the line `… rolls out COMMIT, which …`.
fn commit<'a>(said: &'a str, which: &str) -> &'a str {
    let line = said.lines().find(|line| line.ends_with(which)).unwrap_or_else(|| panic!("{which}: {said}"));
    line.split_once(" rolls out ").unwrap().1.split(',').next().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_incident_has_the_commit_that_broke_it_and_the_one_that_mended_it() {
    let watched = Watched::start().await;

    let (output, said) = told(watched.story("fibonacci", TOKEN, "40s")).await;

    assert!(output.status.success(), "{said}");
    let (breaking, fixing) = (commit(&said, "which breaks it"), commit(&said, "which mends it"));
    assert_ne!(breaking, fixing);
    let page = watched.get("/api/v1/incidents?service=fibonacci").await;
    let [incident] = &page["incidents"].as_array().unwrap()[..] else { panic!("not one incident: {page}") };
    assert_eq!((&incident["break"]["commit"], &incident["fix"]["commit"]), (&breaking.into(), &fixing.into()));
    let mttr = watched.get("/api/v1/reports/mttr?service=fibonacci").await;
    let last = said.lines().last().unwrap();
    assert_eq!(last, format!("mean time to repair of fibonacci: {} s", mttr["mttr"]));
    assert!(mttr["mttr"].as_f64().unwrap() > 0.0, "{mttr}");
    assert!(watched.function_works().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_lookout_opens_no_incident_or_refuses_it_fails_says_so_and_mends_what_it_broke() {
    let watched = Watched::start().await;

    // It breaks nothing this time, so there is nothing to see.
    let mut story = watched.story("fibonacci", TOKEN, "3s");
    story.args(["--fail", "0"]);
    let (output, said) = told(story).await;
    assert!(!output.status.success(), "{said}");
    assert!(said.contains("no incident was opened") && said.contains("waited for 3s"), "{said}");

    let (output, said) = told(watched.story("unwatched", TOKEN, "3s")).await;
    assert!(!output.status.success(), "{said}");
    assert!(said.contains("no endpoint belongs to a service \"unwatched\""), "{said}");
    assert!(watched.function_works().await);

    let (output, said) = told(watched.story("fibonacci", "another token than that", "3s")).await;
    assert!(!output.status.success() && said.contains("401"), "{said}");
    assert!(watched.function_works().await);
}
