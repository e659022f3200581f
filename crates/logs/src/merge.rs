//! Access logs and commits, merged by time.

use std::collections::VecDeque;
use std::io::{self, BufRead};

use engine::{
    Access, Change, EndpointInfo, Info, Mode, Monitor, Nanos, Objective, RejectedLines, Rejection, Report, Status,
    Window,
};

use crate::access::{self, Entry};
use crate::changes::Commit;

/// What endpoints are held to that nobody listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Goal {
    /// Whose they are.
    pub service: String,
    /// The share of good requests below which they are unhealthy.
    pub objective: Objective,
    /// How far back requests count.
    pub window: Window,
}

/// An entry that ended a strict run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}: line {line}: {rejection}")]
pub struct RejectedEntry {
    /// The file it is in.
    pub file: String,
    /// Its line, counted from 1.
    pub line: u64,
    /// What is wrong with it.
    pub rejection: Rejection,
}

/// Why logs could not be merged.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// In strict mode, an entry is wrong.
    #[error(transparent)]
    Rejected(#[from] RejectedEntry),
    /// A file cannot be read to its end.
    #[error("cannot read {file}: {error}")]
    Io {
        /// Which file.
        file: String,
        /// Why not.
        error: io::Error,
    },
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The incidents, and the lines that were left out.
    pub report: Report,
    /// Requests that were judged.
    pub judged: u64,
    /// Requests to endpoints that are not in the list.
    pub unlisted: u64,
    /// Lines that are no request for anything.
    pub no_request: u64,
    /// How many endpoints were judged, or listed.
    pub endpoints: usize,
}

/// One access log, and the request in it that comes next.
pub struct AccessLog<R> {
    name: String,
    reader: R,
    line: Vec<u8>,
    number: u64,
    next: Option<Request>,
}

struct Request {
    at: Nanos,
    verb: String,
    resource: String,
    status: Status,
}

impl<R: BufRead> AccessLog<R> {
    /// A log that `reader` reads, named for messages.
    pub fn new(name: impl Into<String>, reader: R) -> Self {
        Self { name: name.into(), reader, line: Vec::new(), number: 0, next: None }
    }
}

/// The merging of access logs with commits.
pub struct Merge {
    monitor: Monitor,
    /// What to do with endpoints that are not in a list: leave them out, or hold them to this.
    discover: Option<Goal>,
    mode: Mode,
    service: String,
    commits: VecDeque<Commit>,
    rejected: RejectedLines,
    judged: u64,
    unlisted: u64,
    no_request: u64,
    endpoints: usize,
}

impl Merge {
    /// Judges the endpoints of a list; requests to others are counted and left out.
    pub fn of_listed(info: &Info, mode: Mode) -> Self {
        Self::new(Monitor::new(info), None, String::new(), info.endpoints().len(), mode)
    }

    /// Judges every verb and path there is, without its query, by the same goal.
    pub fn of_all(goal: Goal, mode: Mode) -> Self {
        let service = goal.service.clone();
        Self::new(Monitor::default(), Some(goal), service, 0, mode)
    }

    fn new(monitor: Monitor, discover: Option<Goal>, service: String, endpoints: usize, mode: Mode) -> Self {
        Self {
            monitor,
            discover,
            mode,
            service,
            commits: VecDeque::new(),
            rejected: RejectedLines::default(),
            judged: 0,
            unlisted: 0,
            no_request: 0,
            endpoints,
        }
    }

    /// Says whose the commits are that `git log` printed, and which there are.
    ///
    /// # Errors
    /// In strict mode, a line that is no commit.
    pub fn changes(&mut self, service: &str, file: &str, text: &str) -> Result<(), RejectedEntry> {
        let (commits, rejected) = crate::changes::parse(text);
        for (line, rejection) in rejected {
            self.reject(file, line, rejection)?;
        }
        service.clone_into(&mut self.service);
        self.commits = commits.into();
        Ok(())
    }

    fn reject(&mut self, file: &str, line: u64, rejection: Rejection) -> Result<(), RejectedEntry> {
        if self.mode == Mode::Strict {
            return Err(RejectedEntry { file: file.to_owned(), line, rejection });
        }
        self.rejected.add_of(file, line, rejection.reason);
        Ok(())
    }

    /// Reads the logs to their ends, always that one whose next request is the oldest; of two the
    /// first. A commit comes before a request of the same instant.
    ///
    /// # Errors
    /// A log cannot be read, or in strict mode a line of it is wrong.
    pub fn run<R: BufRead>(mut self, mut logs: Vec<AccessLog<R>>) -> Result<Outcome, LogError> {
        for log in &mut logs {
            self.advance(log)?;
        }
        loop {
            let next = logs
                .iter_mut()
                .filter(|log| log.next.is_some())
                .min_by_key(|log| log.next.as_ref().map(|next| next.at));
            let Some(log) = next else {
                break;
            };
            if let Some(request) = log.next.take() {
                self.request(&request);
            }
            self.advance(log)?;
        }
        Ok(Outcome {
            report: Report::new(self.monitor.into_incidents(), self.rejected),
            judged: self.judged,
            unlisted: self.unlisted,
            no_request: self.no_request,
            endpoints: self.endpoints,
        })
    }

    /// Finds the next request of a log.
    fn advance<R: BufRead>(&mut self, log: &mut AccessLog<R>) -> Result<(), LogError> {
        loop {
            log.line.clear();
            let read = log.reader.read_until(b'\n', &mut log.line);
            if read.map_err(|error| LogError::Io { file: log.name.clone(), error })? == 0 {
                return Ok(());
            }
            log.number += 1;
            match access::parse(&log.line) {
                Ok(None) => {}
                Ok(Some(Entry::NoRequest)) => self.no_request += 1,
                Ok(Some(Entry::Request { at, verb, resource, status })) => {
                    let (verb, resource) = (verb.into_owned(), resource.into_owned());
                    log.next = Some(Request { at, verb, resource, status });
                    return Ok(());
                }
                Err(rejection) => self.reject(&log.name, log.number, rejection)?,
            }
        }
    }

    fn request(&mut self, request: &Request) {
        self.apply_commits(request.at);
        let Request { at, verb, resource, status } = request;
        let path = resource.split('?').next().unwrap_or_default();
        let resource = match &self.discover {
            None if self.monitor.knows(verb, resource) => resource.as_str(),
            _ => path,
        };
        if let Some(goal) = &self.discover
            && !self.monitor.knows(verb, path)
        {
            self.monitor.add(&EndpointInfo {
                service: goal.service.clone(),
                verb: verb.clone(),
                resource: path.to_owned(),
                objective: goal.objective,
                window: goal.window,
            });
            self.endpoints += 1;
        }
        match self.monitor.access(&Access { at: *at, verb, resource, status: *status }) {
            Ok(()) => self.judged += 1,
            Err(_) => self.unlisted += 1,
        }
    }

    fn apply_commits(&mut self, until: Nanos) {
        while let Some(commit) = self.commits.pop_front_if(|commit| commit.at <= until) {
            let change = Change { commit: &commit.id, author: "", date: "", service: &self.service };
            self.monitor.add_change(&change);
        }
    }
}

#[cfg(test)]
mod tests {
    use engine::ServiceMonitor;

    use super::*;

    fn line(second: u32, request: &str, status: u16) -> String {
        format!("h - - [28/Nov/2018:14:11:{second:02} +0000] \"{request} HTTP/1.1\" {status} 1\n")
    }

    fn goal() -> Goal {
        let objective = Objective::parse("0.9").unwrap();
        Goal { service: "shop".to_owned(), objective, window: Window::parse("1").unwrap() }
    }

    fn run(mut merge: Merge, changes: &str, logs: &[String]) -> Outcome {
        merge.changes("shop", "changes", changes).unwrap();
        let logs = logs.iter().enumerate().map(|(index, log)| AccessLog::new(format!("log {index}"), log.as_bytes()));
        merge.run(logs.collect()).unwrap()
    }

    fn incidents(outcome: &Outcome) -> Vec<String> {
        let name = |commit: &Option<std::sync::Arc<str>>| commit.as_deref().unwrap_or("-").to_owned();
        let show = |incident: &engine::Incident| {
            let end = incident.end.map_or("open".to_owned(), |end| (end.get() / 1_000_000_000 % 100).to_string());
            format!(
                "{} {} to {end} {} {}",
                incident.verb,
                incident.resource,
                name(&incident.breaking),
                name(&incident.fixing)
            )
        };
        outcome.report.incidents().iter().map(show).collect()
    }

    const CHANGES: &str = "bbbb 2018-11-28T14:11:12Z a@b\naaaa 2018-11-28T14:11:10Z a@b\n";

    #[test]
    fn logs_and_commits_are_merged_by_time_and_a_commit_comes_first() {
        let log = |seconds: &[(u32, u16)]| -> String {
            seconds.iter().map(|(second, status)| line(*second, "GET /a?x=1", *status)).collect()
        };
        let logs = [log(&[(9, 200), (13, 200)]), log(&[(10, 500), (12, 200)])];
        let outcome = run(Merge::of_all(goal(), Mode::Strict), CHANGES, &logs);
        assert_eq!(incidents(&outcome), ["GET /a to 72 aaaa bbbb"]);
        assert_eq!((outcome.judged, outcome.unlisted, outcome.endpoints), (4, 0, 1));
        let swapped = [logs[1].clone(), logs[0].clone()];
        assert_eq!(run(Merge::of_all(goal(), Mode::Strict), CHANGES, &swapped), outcome);
    }

    #[test]
    fn of_a_list_a_request_means_the_endpoint_with_its_query_and_else_the_one_without() {
        let info = br#"[{"name": "shop", "verb": "GET", "resource": "/a", "slo": 0.9, "window": 1},
                        {"name": "shop", "verb": "GET", "resource": "/a?x=1", "slo": 0.9, "window": 1}]"#;
        let logs = [["GET /a?x=1", "GET /a?x=2", "GET /b", "POST /a"].map(|request| line(10, request, 500)).concat()];
        let outcome = run(Merge::of_listed(&Info::parse(info).unwrap(), Mode::Strict), CHANGES, &logs);
        assert_eq!(incidents(&outcome), ["GET /a?x=1 to open aaaa -", "GET /a to open aaaa -"]);
        assert_eq!((outcome.judged, outcome.unlisted), (2, 2));
    }

    #[test]
    fn a_wrong_line_ends_a_strict_run_and_is_listed_in_a_lenient_one() {
        let log = format!("{}nonsense\n{}", line(10, "GET /a", 500), line(20, "GET /a", 200));
        let strict = Merge::of_all(goal(), Mode::Strict);
        let error = strict.run(vec![AccessLog::new("access.log", log.as_bytes())]).unwrap_err();
        assert!(error.to_string().starts_with("access.log: line 2: bad-syntax: "), "{error}");

        let outcome = run(Merge::of_all(goal(), Mode::Lenient), "x\n", &[log]);
        assert_eq!(incidents(&outcome), ["GET /a to 80 - -"]);
        let rejected = serde_json::to_value(outcome.report.rejected()).unwrap();
        let expected = serde_json::json!({"total": 2, "lines": [
            {"line": 1, "reason": "bad-change", "file": "changes"},
            {"line": 2, "reason": "bad-syntax", "file": "log 0"},
        ]});
        assert_eq!(rejected, expected);
    }
}
