//! A story to watch: a commit that breaks a service, and one that mends it.
//!
//! Plays the part of those who deploy. It tells lookout of a change, breaks the function
//! it is about, waits until lookout has opened an incident, tells of the next change,
//! repairs the function and waits until the incident is over. What it prints is what
//! lookout answered.

use std::fmt;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use clap::Args;
use reqwest::{Client, Response, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::traffic::base;

/// How often lookout is asked how it stands.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// Who deploys, and where.
#[derive(Debug, Clone, Args)]
pub struct StoryArgs {
    /// Where lookout answers (http only)
    #[arg(long, default_value = "http://127.0.0.1:8080", value_parser = base)]
    pub lookout: String,

    /// The token that may write there
    #[arg(long, env = "API_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    pub token: String,

    /// The function to break, started with --control (http only)
    #[arg(long, default_value = "http://127.0.0.1:8001", value_parser = base)]
    pub function: String,

    /// The service that the function belongs to, as lookout knows it
    #[arg(long, default_value = "fibonacci")]
    pub service: String,

    /// Share of its calls that fail while it is broken, from 0 to 1
    #[arg(long, default_value_t = 1.0, value_name = "SHARE", value_parser = crate::fantastic::share)]
    pub fail: f64,

    /// How long lookout may take to notice, each way
    #[arg(long, default_value = "10m", value_name = "TIME", value_parser = humantime::parse_duration)]
    pub patience: Duration,
}

/// An incident as lookout tells it.
#[derive(Debug, Clone, Deserialize)]
pub struct Incident {
    /// Its number.
    pub id: i64,
    /// The request that broke the objective.
    pub started_at: String,
    /// The request that restored it.
    pub ended_at: Option<String>,
    /// How long it lasted.
    pub duration_seconds: Option<f64>,
    /// The change before it began.
    #[serde(rename = "break")]
    pub breaking: Option<Change>,
    /// The change before it ended.
    pub fix: Option<Change>,
}

/// A commit.
#[derive(Debug, Clone, Deserialize)]
pub struct Change {
    /// Its name.
    pub commit: String,
}

/// Plays it once and returns the incident, which names both commits; `None` when `stop` comes first.
/// However it ends, the function is repaired.
///
/// # Errors
/// Somebody does not answer or refuses, or lookout takes longer than is waited for it.
pub async fn run(args: &StoryArgs, stop: &CancellationToken) -> anyhow::Result<Option<Incident>> {
    let story = Story { args, client: crate::client::client(PATIENCE)? };
    // Its incidents of before are not ours.
    let Some(answering) = stop.run_until_cancelled(story.answering()).await else { return Ok(None) };
    let known = answering?.iter().map(|incident| incident.id).max().unwrap_or(0);
    let result = stop.run_until_cancelled(story.play(known)).await.transpose();
    if !matches!(result, Ok(Some(_))) {
        let _ = story.control(0.0).await;
    }
    result
}

struct Story<'a> {
    args: &'a StoryArgs,
    client: Client,
}

impl Story<'_> {
    async fn play(&self, known: i64) -> anyhow::Result<Incident> {
        let service = &self.args.service;
        // Well to begin with, and known to take orders before a change is told that would not be true.
        self.control(0.0).await?;
        let breaking = self.deploy("breaks it", "mallory@example.org").await?;
        self.control(self.args.fail).await?;
        eprintln!("{service} is broken; waiting for lookout to say so");
        let opened = self.until(|incident| incident.id > known).await.context("no incident was opened")?;
        eprintln!("lookout has incident {} since {}", opened.id, opened.started_at);
        let fixing = self.deploy("mends it", "alice@example.org").await?;
        self.control(0.0).await?;
        eprintln!("{service} is repaired; waiting for its window to recover");
        let over = |incident: &Incident| incident.id == opened.id && incident.ended_at.is_some();
        let closed = self.until(over).await.with_context(|| format!("incident {} is still open", opened.id))?;
        let named = |change: &Option<Change>| change.as_ref().map_or("nobody", |change| &change.commit).to_owned();
        let (broke, mended) = (named(&closed.breaking), named(&closed.fix));
        let (id, seconds) = (closed.id, closed.duration_seconds.unwrap_or_default());
        if (&broke, &mended) != (&breaking, &fixing) {
            bail!(
                "of incident {id} lookout says that {broke} broke {service} and {mended} mended it, \
                 but it was {breaking} and {fixing}"
            );
        }
        eprintln!("incident {id} lasted {seconds:.0} s; lookout says that {broke} broke it and {mended} mended it");
        let mttr = self.get("/api/v1/reports/mttr").await?;
        eprintln!("mean time to repair of {service}: {} s", mttr["mttr"]);
        Ok(closed)
    }

    /// The incidents there are as soon as lookout answers at all: it may still start.
    async fn answering(&self) -> anyhow::Result<Vec<Incident>> {
        let deadline = Instant::now() + self.args.patience;
        loop {
            match self.incidents().await {
                Err(error) if error.downcast_ref::<NotYet>().is_some() && Instant::now() < deadline => {
                    sleep(LOOK_EVERY).await;
                }
                incidents => return incidents,
            }
        }
    }

    /// Tells lookout of a commit.
    async fn deploy(&self, what: &str, author: &str) -> anyhow::Result<String> {
        let commit = format!("{:032x}{:08x}", rand::random::<u128>(), rand::random::<u32>());
        let body = json!({ "service": self.args.service, "commit": commit, "author": author });
        let url = format!("{}/api/v1/changes", self.args.lookout);
        let request = self.client.post(&url).bearer_auth(&self.args.token);
        let request = request.header("content-type", "application/json").body(body.to_string());
        taken(request.send().await.with_context(|| format!("cannot reach {url}"))?).await?;
        eprintln!("{author} rolls out {commit}, which {what}");
        Ok(commit)
    }

    async fn control(&self, fail: f64) -> anyhow::Result<()> {
        let url = format!("{}/control", self.args.function);
        let request = self.client.put(&url).body(json!({ "fail": fail }).to_string());
        let answer = taken(request.send().await.with_context(|| format!("cannot reach {url}"))?).await;
        answer.context("the function was not started with --control")?;
        Ok(())
    }

    /// The incidents of the service, the newest first.
    async fn incidents(&self) -> anyhow::Result<Vec<Incident>> {
        #[derive(Deserialize)]
        struct Page {
            incidents: Vec<Incident>,
        }
        let page: Page = serde_json::from_value(self.get("/api/v1/incidents").await?)?;
        Ok(page.incidents)
    }

    /// What lookout answers about the service.
    async fn get(&self, path: &str) -> anyhow::Result<Value> {
        let service: String = url::form_urlencoded::byte_serialize(self.args.service.as_bytes()).collect();
        let url = format!("{}{path}?service={service}", self.args.lookout);
        let sent = self.client.get(&url).bearer_auth(&self.args.token).send().await;
        let answer = sent.context(NotYet).with_context(|| format!("cannot reach {url}"))?;
        if answer.status() == StatusCode::SERVICE_UNAVAILABLE {
            return Err(anyhow!("{url} answered {}", answer.status()).context(NotYet));
        }
        taken(answer).await
    }

    async fn until(&self, is_it: impl Fn(&Incident) -> bool) -> anyhow::Result<Incident> {
        let deadline = Instant::now() + self.args.patience;
        loop {
            if let Some(found) = self.incidents().await?.into_iter().find(|incident| is_it(incident)) {
                return Ok(found);
            }
            if Instant::now() > deadline {
                bail!("waited for {}", humantime::format_duration(self.args.patience));
            }
            sleep(LOOK_EVERY).await;
        }
    }
}

/// Nobody answers, or not yet.
#[derive(Debug)]
struct NotYet;

impl fmt::Display for NotYet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("lookout does not answer")
    }
}

/// The answer of somebody who took what was asked.
async fn taken(answer: Response) -> anyhow::Result<Value> {
    let (url, status) = (answer.url().clone(), answer.status());
    let text = answer.text().await?;
    let body: Value = serde_json::from_str(&text).unwrap_or_default();
    if !status.is_success() {
        bail!("{url} answered {status}: {}", body["detail"].as_str().unwrap_or("without a reason"));
    }
    Ok(body)
}
