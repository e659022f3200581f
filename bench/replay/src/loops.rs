//! Two bare loops to compare with: what is left of the task when nothing is
//! checked and nothing is reported. Both keep the same sliding windows.

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};

use ahash::RandomState;
use memchr::memchr;
use serde::Deserialize;

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow)]
    r#type: Cow<'a, str>,
    #[serde(borrow)]
    value: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Info {
    verb: String,
    resource: String,
    slo: f64,
    window: f64,
}

pub(crate) struct Endpoint {
    objective: f64,
    window: f64,
    requests: VecDeque<(f64, bool)>,
    good: usize,
    is_broken: bool,
}

pub(crate) type Endpoints = HashMap<String, Endpoint, RandomState>;

/// Goes through a stream in one of two ways and prints how many incidents it saw.
pub(crate) fn run(
    info: &str,
    stream: &str,
    through: fn(File, &mut Endpoints) -> anyhow::Result<u64>,
) -> anyhow::Result<()> {
    let info: Vec<Info> = serde_json::from_reader(BufReader::new(File::open(info)?))?;
    let mut endpoints: Endpoints = info
        .into_iter()
        .map(|Info { verb, resource, slo, window }| {
            let requests = VecDeque::new();
            let endpoint = Endpoint { objective: slo, window, requests, good: 0, is_broken: false };
            (format!("{verb} {resource}"), endpoint)
        })
        .collect();
    println!("{}", through(File::open(stream)?, &mut endpoints)?);
    Ok(())
}

/// `serde_json` into borrowed fields, one line after the other.
pub(crate) fn serde(stream: File, endpoints: &mut Endpoints) -> anyhow::Result<u64> {
    let mut reader = BufReader::with_capacity(256 * 1024, stream);
    let mut line = Vec::new();
    let mut incidents = 0;
    loop {
        line.clear();
        if reader.read_until(b'\n', &mut line)? == 0 {
            return Ok(incidents);
        }
        // Only the end of the stream has no value.
        let Ok(event) = serde_json::from_slice::<Event<'_>>(&line) else {
            return Ok(incidents);
        };
        if event.r#type == "access" {
            incidents += u64::from(request(&event.value, endpoints));
        }
    }
}

/// Cuts out what is between the quotation marks where they always are.
pub(crate) fn scan(mut stream: File, endpoints: &mut Endpoints) -> anyhow::Result<u64> {
    let mut incidents = 0;
    let mut block = vec![0; 256 * 1024];
    let mut kept = 0;
    loop {
        let read = stream.read(&mut block[kept..])?;
        if read == 0 {
            return Ok(incidents);
        }
        let mut rest = &block[..kept + read];
        while let Some(end) = memchr(b'\n', rest) {
            let (line, after) = rest.split_at(end);
            rest = &after[1..];
            if let Some(value) = line.strip_prefix(br#"{"type": "access", "value": ""#) {
                let value = std::str::from_utf8(&value[..value.len() - 2])?;
                incidents += u64::from(request(value, endpoints));
            }
        }
        let end = kept + read;
        kept = rest.len();
        block.copy_within(end - kept..end, 0);
    }
}

/// Whether an incident opens. What is late takes the place of what is on time.
fn request(value: &str, endpoints: &mut Endpoints) -> bool {
    let Some((at, rest)) = value.split_once(' ') else {
        return false;
    };
    let Some((key, status)) = rest.rsplit_once(' ') else {
        return false;
    };
    let (Ok(at), Some(endpoint)) = (at.parse::<f64>(), endpoints.get_mut(key)) else {
        return false;
    };
    let ok = !status.starts_with('5');
    endpoint.requests.push_back((at, ok));
    endpoint.good += usize::from(ok);
    while let Some(&(oldest, ok)) = endpoint.requests.front()
        && oldest <= at - endpoint.window
    {
        endpoint.requests.pop_front();
        endpoint.good -= usize::from(ok);
    }
    let was_broken = endpoint.is_broken;
    endpoint.is_broken = (endpoint.good as f64) < endpoint.objective * endpoint.requests.len() as f64;
    endpoint.is_broken && !was_broken
}
