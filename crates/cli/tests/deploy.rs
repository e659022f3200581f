//! What is configured of other people's programs fits what lookout does. Of `deploy/logs`: every field
//! that a saved search, a graph or a mapping names is one that lookout or its demonstration really writes.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};

use serde_json::{Map, Value};

/// What the collector adds to a line.
const ADDED: [&str; 2] = ["@timestamp", "service"];

fn file(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)).unwrap()
}

/// `lookout` with JSON lines, and what it writes. Ended when dropped.
struct Running(Child, BufReader<ChildStderr>);

impl Running {
    fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_lookout"))
            .env_clear()
            .env("LOG_FORMAT", "json")
            .args(arguments)
            // The program reads .env from where it is started.
            .current_dir(std::env::temp_dir())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        Self(child, stderr)
    }

    fn text(&mut self) -> String {
        let mut line = String::new();
        assert!(self.1.read_line(&mut line).unwrap() > 0, "it ended");
        line
    }

    fn line(&mut self) -> Map<String, Value> {
        let text = self.text();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn send(addr: &str, request: &str, body: &str) {
    let mut stream = TcpStream::connect(addr).unwrap();
    let length = body.len();
    let text =
        format!("{request} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}");
    stream.write_all(text.as_bytes()).unwrap();
    stream.read_to_string(&mut String::new()).unwrap();
}

/// A line of each kind: a call, one that is refused, a warning, one that fails; and one of lookout itself.
fn lines() -> Vec<Map<String, Value>> {
    let mut functions = Running::start(&["demo", "functions", "--port", "0", "--control"]);
    let said = functions.text();
    let addr = said.split_once("http://").unwrap().1.split(',').next().unwrap().to_owned();
    send(&addr, "GET /fibonacci/10/", "");
    send(&addr, "GET /fibonacci/401/", "");
    send(&addr, "PUT /control", r#"{"fail": 1}"#);
    send(&addr, "GET /factorial/10/", "");
    let mut lines: Vec<_> = (0..4).map(|_| functions.line()).collect();
    // Says that it answers, and then waits for a database that is not there.
    let nowhere = "postgres://nobody@127.0.0.1:1/nothing";
    let mut lookout =
        Running::start(&["--urls", "http://127.0.0.1:1/", "--api-addr", "127.0.0.1:0", "--database-url", nowhere]);
    lines.push(lookout.line());
    lines
}

fn objects() -> Vec<Value> {
    file("deploy/logs/saved-objects.ndjson").lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// JSON that stands in a text, as Kibana keeps it.
fn within(value: &Value) -> Value {
    serde_json::from_str(value.as_str().unwrap()).unwrap()
}

/// The fields of a query, and for each what is asked of it.
fn asked(query: &str) -> Vec<(String, String)> {
    let words: Vec<&str> = query.split_whitespace().collect();
    let is_operator = |word: &&str| matches!(*word, ":" | ">=" | "<=" | ">" | "<");
    let operators = words.iter().enumerate().filter(|(_, word)| is_operator(word));
    operators.map(|(at, _)| (words[at - 1].to_owned(), words[at + 1..].join(" "))).collect()
}

/// Every field that the saved objects use, and every query.
fn used() -> (BTreeSet<String>, Vec<(String, String)>) {
    let (mut fields, mut queries) = (BTreeSet::new(), Vec::new());
    for object in objects() {
        let attributes = &object["attributes"];
        match object["type"].as_str().unwrap() {
            "index-pattern" => fields.extend(attributes["timeFieldName"].as_str().map(str::to_owned)),
            "dashboard" => {}
            kind => {
                let source = within(&attributes["kibanaSavedObjectMeta"]["searchSourceJSON"]);
                let asked = asked(source["query"]["query"].as_str().unwrap());
                assert!(!asked.is_empty(), "{object}");
                fields.extend(asked.iter().map(|(field, _)| field.clone()));
                queries.extend(asked);
                if kind == "search" {
                    let named = attributes["columns"].as_array().unwrap().iter().chain([&attributes["sort"][0][0]]);
                    fields.extend(named.map(|field| field.as_str().unwrap().to_owned()));
                } else {
                    let state = within(&attributes["visState"]);
                    let aggregated = state["aggs"].as_array().unwrap().iter();
                    fields.extend(aggregated.filter_map(|by| Some(by["params"]["field"].as_str()?.to_owned())));
                }
            }
        }
    }
    (fields, queries)
}

#[test]
fn every_field_of_the_saved_searches_and_graphs_is_in_the_lines() {
    let lines = lines();
    let written: BTreeSet<&str> = lines.iter().flat_map(|line| line.keys()).map(String::as_str).chain(ADDED).collect();
    let (fields, queries) = used();
    assert!(fields.len() > 5, "{fields:?}");
    for field in &fields {
        assert!(written.contains(field.as_str()), "{field} is in none of {lines:?}");
    }
    // Something there is to find for each word: ERROR, WARN, 400; 0 is less than any time.
    let values: BTreeSet<String> =
        lines.iter().flat_map(|line| line.values()).map(|value| value.to_string().replace('"', "")).collect();
    for (field, wanted) in queries {
        let words = wanted.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !["", "or", "0"].contains(word));
        for word in words {
            assert!(values.contains(word), "{field} is never {word} in {lines:?}");
        }
    }
}

#[test]
fn every_mapped_field_is_in_the_lines_and_every_used_one_is_mapped() {
    let template: Value = serde_json::from_str(&file("deploy/logs/template.json")).unwrap();
    let mapped = template["template"]["mappings"]["properties"].as_object().unwrap();
    for field in used().0 {
        assert!(mapped.contains_key(&field), "{field} has no type");
    }
    let lines = lines();
    for (field, mapping) in mapped {
        let values: Vec<&Value> = lines.iter().filter_map(|line| line.get(field)).collect();
        assert!(!values.is_empty() || ADDED.contains(&field.as_str()), "no line has {field}");
        for value in values {
            let fits = match mapping["type"].as_str().unwrap() {
                "keyword" | "text" => value.is_string(),
                "short" => value.as_i64().is_some_and(|number| i16::try_from(number).is_ok()),
                "float" => value.is_number(),
                other => panic!("{other} is not known here"),
            };
            assert!(fits, "{field} is {value}, not of type {mapping}");
        }
    }
}

#[test]
fn what_the_saved_objects_refer_to_is_among_them() {
    let objects = objects();
    let known: BTreeSet<_> = objects.iter().map(|object| (object["type"].as_str(), object["id"].as_str())).collect();
    assert_eq!(known.len(), objects.len());
    for object in &objects {
        for reference in object["references"].as_array().unwrap() {
            assert!(known.contains(&(reference["type"].as_str(), reference["id"].as_str())), "{reference}");
        }
    }
    let dashboard = objects.iter().find(|object| object["type"] == "dashboard").unwrap();
    let names: BTreeSet<_> =
        dashboard["references"].as_array().unwrap().iter().filter_map(|reference| reference["name"].as_str()).collect();
    let panels = within(&dashboard["attributes"]["panelsJSON"]);
    for panel in panels.as_array().unwrap() {
        let name = format!("{}:{}", panel["panelIndex"].as_str().unwrap(), panel["panelRefName"].as_str().unwrap());
        assert!(names.contains(name.as_str()), "{name}");
    }
}

#[test]
fn the_collector_takes_the_lines_of_services_there_are_and_their_time() {
    let (collector, compose) = (file("deploy/logs/fluent-bit.yaml"), file("docker-compose.yml"));
    // What ADDED says that it adds.
    for part in ["rename: com.docker.compose.service service", "time_key: \"@timestamp\"", "time_key: timestamp"] {
        assert!(collector.contains(part), "{part}");
    }
    assert!(lines().iter().all(|line| line["timestamp"].as_str().is_some_and(|time| time.ends_with('Z'))));
    assert!(compose.contains("labels: com.docker.compose.service"));
    let services = collector.split_once("['com.docker.compose.service'] ^(").unwrap().1.split_once(")$").unwrap().0;
    for service in services.split('|') {
        let named = compose.lines().any(|line| {
            line.strip_prefix("  ")
                .is_some_and(|rest| rest.split(':').next() == Some(service) && rest[service.len()..].starts_with(':'))
        });
        assert!(named, "there is no service {service}");
    }
}

#[test]
fn blackbox_exporter_is_given_what_lookout_watches() {
    let urls = |path: &str| -> BTreeSet<String> {
        let text = file(path);
        let found = text.match_indices("http://traefik:8000/");
        found.map(|(at, _)| text[at..].split(['"', '\n']).next().unwrap_or_default().to_owned()).collect()
    };
    let watched = urls("examples/demo.yaml");
    assert_eq!(watched.len(), 3);
    assert_eq!(urls("deploy/prometheus/prometheus.yml"), watched);
}

#[test]
fn every_variable_of_the_containers_is_explained() {
    let (compose, explained) = (file("docker-compose.yml"), file(".env.tmpl"));
    let lines = compose.lines().filter(|line| !line.trim_start().starts_with('#'));
    let names: BTreeSet<&str> = lines
        .flat_map(|line| line.split("${").skip(1))
        .map(|rest| rest.split(':').next().unwrap_or_default())
        .collect();
    assert!(names.contains("DEMO_PORT") && !names.contains(""), "{names:?}");
    for name in names {
        assert!(explained.contains(&format!("\n#{name}=")), "{name} is not in .env.tmpl");
    }
}
