//! Streams and what they have to give: the worked example, the small cases, the
//! consequences of the rules, and every reason for which a line is rejected.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use engine::{Info, Mode, Reason, RejectedLine, Replay, Report, ServiceMonitor};
use serde_json::{Value, json};

fn replay(info: &str, stream: impl AsRef<[u8]>, mode: Mode) -> Result<Report, RejectedLine> {
    let mut replay = Replay::new(&Info::parse(info.as_bytes()).unwrap(), mode);
    replay.feed(stream.as_ref())?;
    replay.finish()
}

/// One endpoint, `GET /a` of `svc`.
fn one(slo: &str, window: &str) -> String {
    format!(r#"[{{"name": "svc", "verb": "GET", "resource": "/a", "slo": {slo}, "window": {window}}}]"#)
}

/// `F t` is a failure at t, `S t` a success, `C x` a commit; with `/b` behind it, of the other endpoint.
fn stream(short: &str) -> String {
    let line = |kind: &str, value: &str| format!("{}\n", json!({"type": kind, "value": value}));
    short
        .split(", ")
        .map(|event| {
            let words: Vec<_> = event.split(' ').collect();
            let resource = words.get(2).copied().unwrap_or("/a");
            match words[0] {
                "F" => line("access", &format!("{} GET {resource} 500", words[1])),
                "S" => line("access", &format!("{} GET {resource} 200", words[1])),
                "C" => {
                    let service = if resource == "/a" { "svc" } else { "other" };
                    let date = "2018-11-28 14:11:31";
                    line("change", &format!("commit: {}\nAuthor: <a@b>\nDate: {date}\nService: {service}\n", words[1]))
                }
                other => panic!("no event {other}"),
            }
        })
        .collect()
}

/// `start-end break fix`, with `-` for what is not there.
fn incidents(report: &Report) -> String {
    let show = |report: &engine::Incident| {
        let end = report.end.map_or("open".to_owned(), |end| end.to_string());
        let commit = |commit: &Option<std::sync::Arc<str>>| commit.as_deref().unwrap_or("-").to_owned();
        format!("{}-{end} {} {}", report.start, commit(&report.breaking), commit(&report.fixing))
    };
    report.incidents().iter().map(show).collect::<Vec<_>>().join(", ")
}

#[track_caller]
fn assert_incidents(info: &str, short: &str, expected: &str) {
    let report = replay(info, stream(short), Mode::Strict).unwrap();
    assert_eq!(incidents(&report), expected, "{short}");
}

#[test]
fn the_example_gives_exactly_its_report_in_either_form() {
    let json = (include_str!("streams/example.info.json"), include_str!("streams/example.jsonl"));
    let python = (include_str!("streams/example.info.repr.txt"), include_str!("streams/example.repr.txt"));
    let expected = include_str!("streams/example.expected.json");
    for (info, stream) in [json, python, (json.0, python.1), (python.0, json.1)] {
        let report = replay(info, stream, Mode::Strict).unwrap();
        assert_eq!(serde_json::to_string_pretty(&report).unwrap(), expected.trim_end());
    }
    let mixed: Vec<_> = json.1.lines().zip(python.1.lines()).map(<[&str; 2]>::from).collect();
    let mixed: String = mixed.iter().enumerate().map(|(index, forms)| format!("{}\r\n", forms[index % 2])).collect();
    let report = replay(json.0, mixed, Mode::Strict).unwrap();
    assert_eq!(serde_json::to_string_pretty(&report).unwrap(), expected.trim_end());
}

/// Its report was computed apart from this engine, line by line from the definitions.
#[test]
fn a_stream_of_both_forms_with_late_and_broken_lines_gives_the_report_that_was_computed_apart() {
    let stream = include_bytes!("streams/mixed.jsonl");
    let report = replay(include_str!("streams/mixed.info.json"), stream, Mode::Lenient).unwrap();
    // Compared as they are written: no number goes through floating point.
    let expected: String = include_str!("streams/mixed.expected.json").split_ascii_whitespace().collect();
    assert_eq!(serde_json::to_string(&report).unwrap(), expected);
}

#[test]
fn small_streams_give_the_incidents_of_the_table() {
    let cases = [
        ("C p, F 10, C q, S 11", "10-11 p q"),
        ("F 10, S 10.999999999, S 11.5", "10-11.5 - -"),
        ("C p, F 10, S 11, F 12, S 13", "10-11 p p, 12-13 p p"),
        ("F 10, F 11, F 12, S 13", "10-13 - -"),
        ("F 10, F 500, S 900", "10-900 - -"),
        ("F 10, S 11 /b, F 12 /b, S 99 /b", "10-open - -, 12-99 - -"),
        ("S 10, S 10.01, S 10.02, S 10.03, S 10.04, S 10.05, S 10.06, S 10.07, S 10.08, F 10.09", ""),
        ("S 10.0, S 10.9, F 10.1, S 11.05, S 11.15", "10.9-11.15 - -"),
        ("S 10.0, S 10.5, F 9.5", ""),
    ];
    let two = r#"[{"name": "svc", "verb": "GET", "resource": "/a", "slo": 0.9, "window": 1},
                  {"name": "other", "verb": "GET", "resource": "/b", "slo": 0.9, "window": 1}]"#;
    for (short, expected) in cases {
        assert_incidents(two, short, expected);
    }
    assert_incidents(&one("0.6", "1"), "S 10.0, S 10.01, F 10.5, S 11.2", "11.2-open - -");
    assert_incidents(&one("0.5", "1"), "F 10, S 10", "10-10 - -");
    assert_incidents(&one("0.9", "0.1"), "F 10.2, S 10.3", "10.2-10.3 - -");
}

#[test]
fn mttr_is_the_rounded_mean_of_what_was_closed() {
    let mttr = |short: &str| {
        let report = replay(&one("0.9", "0.001"), stream(short), Mode::Strict).unwrap();
        serde_json::to_value(&report).unwrap()["mttr"].to_string()
    };
    assert_eq!(mttr("F 10, S 12.675, F 20, S 22.675"), "2.68");
    assert_eq!(mttr("F 10, S 11.004, F 20, S 21.004, F 30, S 31.008, F 99"), "1.01");
    assert_eq!(mttr("F 10, F 11"), "null");
    assert_eq!(mttr("S 10"), "null");
    assert_eq!(mttr("F 10, S 11"), "1");
}

#[test]
fn only_requests_to_an_endpoint_change_its_state() {
    let two = r#"[{"name": "svc", "verb": "GET", "resource": "/a", "slo": 0.5, "window": 1},
                  {"name": "svc", "verb": "POST", "resource": "/a", "slo": 0.5, "window": 1}]"#;
    assert_incidents(two, "F 10, C p, C q", "10-open - -");
    let mut text = stream("F 10");
    text += &stream("S 500, S 501").replace("GET", "POST");
    text += &stream("F 5").replace("GET", "POST");
    // Its own clock has not moved, so a late one of this endpoint still counts.
    text += &stream("S 9.5, S 9.6");
    assert_eq!(incidents(&replay(two, text, Mode::Strict).unwrap()), "10-10 - -");
}

#[test]
fn an_incident_can_open_on_a_success_and_last_no_time() {
    assert_incidents(&one("0.6", "1"), "S 1, S 1, F 1.5, S 2.2, S 2.2", "2.2-2.2 - -");
}

#[test]
fn leaving_and_entering_happen_together() {
    assert_incidents(&one("0.9", "1"), "F 10, F 11, S 12", "10-12 - -");
}

#[test]
fn a_late_request_counts_and_leaves_by_its_own_time_and_stamps_with_the_clock() {
    let info = one("0.9", "1");
    assert_incidents(&info, "C p, S 10.9, C q, F 10.1, S 11.09, C r, S 11.1", "10.9-11.1 q r");
    // At the far edge it has no effect; just inside it has.
    assert_incidents(&info, "S 10.5, F 9.5", "");
    assert_incidents(&info, "S 10.5, F 9.500000001", "10.5-open - -");
    assert_incidents(&info, "S 10.5, F 0, F 9.4, F 1.5", "");
}

#[test]
fn repeated_lines_are_events_of_their_own() {
    assert_incidents(&one("0.5", "1"), "S 1, F 1, F 1, S 1", "1-1 - -");
}

#[test]
fn an_objective_of_1_bears_no_failure_and_one_of_0_bears_all() {
    assert_incidents(&one("1", "1000"), "S 1, S 2, F 3, S 4, S 5", "3-open - -");
    assert_incidents(&one("0", "1"), "F 1, F 2, F 3", "");
}

#[test]
fn an_open_incident_has_no_fix_whatever_was_committed_since() {
    let report = replay(&one("0.9", "1"), stream("C p, F 10, C q"), Mode::Strict).unwrap();
    let expected = json!({
        "mttr": null,
        "incident_details": {"svc": [{"start": 10, "end": -1, "fix": "", "break": "p"}]},
        "api_histogram": {"svc": 1},
        "rejected": {"total": 0, "lines": []},
    });
    assert_eq!(serde_json::to_value(&report).unwrap(), expected);
}

#[test]
fn a_commit_of_another_service_is_never_blamed() {
    let two = r#"[{"name": "svc", "verb": "GET", "resource": "/a", "slo": 0.9, "window": 1},
                  {"name": "other", "verb": "GET", "resource": "/b", "slo": 0.9, "window": 1}]"#;
    assert_incidents(two, "C p, C q /b, F 10, S 11, C r /b, F 12 /b", "10-11 p p, 12-open r -");
}

#[test]
fn services_come_in_the_order_of_their_first_incident_with_all_their_endpoints() {
    let three = r#"[{"name": "x", "verb": "GET", "resource": "/1", "slo": 1, "window": 1},
                    {"name": "y", "verb": "GET", "resource": "/2", "slo": 1, "window": 1},
                    {"name": "x", "verb": "GET", "resource": "/3", "slo": 1, "window": 1},
                    {"name": "z", "verb": "GET", "resource": "/4", "slo": 1, "window": 1}]"#;
    let report = replay(three, stream("S 1 /4, F 1 /2, F 9 /3, F 2 /1, S 3 /1, S 11 /3"), Mode::Strict).unwrap();
    assert_eq!(
        serde_json::to_string(&report).unwrap(),
        r#"{"mttr":1.5,"incident_details":{"y":[{"start":1,"end":-1,"fix":"","break":""}],"x":[{"start":9,"end":11,"fix":"","break":""},{"start":2,"end":3,"fix":"","break":""}]},"api_histogram":{"y":1,"x":2},"rejected":{"total":0,"lines":[]}}"#
    );
}

/// One line, and why it is rejected; nothing if it is fine.
const LINES: &[(&str, Option<Reason>)] = {
    use Reason::*;
    &[
        (r#"{"type": "access", "value": "10 GET /a 200"}"#, None),
        (r#"{"value": "10 GET /a 200", "type": "access", "x": [1e999, {"type": 1}], "y": {}}"#, None),
        (r#" 	{ "type" :"\u0061ccess" ,	"value": "10\tGET\u0020/a\r\n 200\n"} 	"#, None),
        (r#"{"type": 1, "type": "access", "value": [], "value": " 10  GET /a 200 "}"#, None),
        ("{'type': 'access', 'value': '10 GET /a 200'}", None),
        ("{'type': \"access\", 'value': '10\\tGET\\x20/\\u0061 200', 'x': [None, True, -1.5e3]}", None),
        (r#"{"type": "access", "value": "10 GET /a 200", "x": None}"#, None),
        (r#"{"type": "access", "value": "0000000000000000000009.999999999999 GET /a 599"}"#, None),
        (r#"{"type": "access", "value": "9000000000 GET /a 100"}"#, None),
        ("", None),
        (" \t\r ", None),
        ("x", Some(BadSyntax)),
        ("{", Some(BadSyntax)),
        ("{}{}", Some(BadSyntax)),
        ("nan", Some(BadSyntax)),
        ("NaN", Some(BadSyntax)),
        (r#"{"type": "access", "value": "10 GET /a 200"},"#, Some(BadSyntax)),
        (r#"{"type": "access", "value": "10 GET /a 200",}"#, Some(BadSyntax)),
        (r#"{"type": "access", "value": NaN}"#, Some(BadSyntax)),
        // JSON wants a tab escaped; the Python form does not.
        ("{\"type\": \"access\", \"value\": \"10\tGET /a 200\"}", None),
        ("{\"type\": \"access\", \"value\": \"10\tGET\\u0020/a 200\", \"x\": null}", Some(BadSyntax)),
        ("\u{feff}{\"type\": \"access\", \"value\": \"10 GET /a 200\"}", Some(BadSyntax)),
        ("\u{b}{\"type\": \"access\", \"value\": \"10 GET /a 200\"}", Some(BadSyntax)),
        ("['type', 'access']", Some(BadSyntax)),
        ("{'type': 'access', 'value': '10 GET /\\a 200'}", Some(BadSyntax)),
        ("{'type': 'access', 'value': b'10 GET /a 200'}", Some(BadSyntax)),
        ("{'type': 'access', 'value': '10 GET' ' /a 200'}", Some(BadSyntax)),
        ("[]", Some(BadEvent)),
        ("1", Some(BadEvent)),
        ("\"access\"", Some(BadEvent)),
        ("null", Some(BadEvent)),
        ("{}", Some(BadEvent)),
        (r#"{"value": "10 GET /a 200"}"#, Some(BadEvent)),
        (r#"{"type": 1, "value": "10 GET /a 200"}"#, Some(BadEvent)),
        (r#"{"type": null}"#, Some(BadEvent)),
        (r#"{"Type": "access", "value": "10 GET /a 200"}"#, Some(BadEvent)),
        (r#"{"type": "access"}"#, Some(BadEvent)),
        (r#"{"type": "access", "value": null}"#, Some(BadEvent)),
        (r#"{"type": "access", "value": 1e999}"#, Some(BadEvent)),
        (r#"{"type": "change", "value": ["commit: x"]}"#, Some(BadEvent)),
        ("{'type': 'access', 'value': None}", Some(BadEvent)),
        ("{'type': True}", Some(BadEvent)),
        (r#"{"type": "Access", "value": "10 GET /a 200"}"#, Some(UnknownType)),
        (r#"{"type": "", "value": 1}"#, Some(UnknownType)),
        (r#"{"type": "end-of-stream "}"#, Some(UnknownType)),
        (r#"{"type": "access", "value": ""}"#, Some(BadAccess)),
        (r#"{"type": "access", "value": "10 GET /a"}"#, Some(BadAccess)),
        (r#"{"type": "access", "value": "10 GET /a b 200"}"#, Some(BadAccess)),
        (r#"{"type": "access", "value": "10 GET /a 200 x"}"#, Some(BadAccess)),
        (r#"{"type": "access", "value": "10\u00a0GET /a 200"}"#, Some(BadAccess)),
        (r#"{"type": "access", "value": "x y z"}"#, Some(BadAccess)),
        (r#"{"type": "access", "value": "-1 GET /a 200"}"#, Some(BadTimestamp)),
        (r#"{"type": "access", "value": "+1 GET /a 200"}"#, Some(BadTimestamp)),
        (r#"{"type": "access", "value": "1e3 GET /a 200"}"#, Some(BadTimestamp)),
        (r#"{"type": "access", "value": "1. GET /a 200"}"#, Some(BadTimestamp)),
        (r#"{"type": "access", "value": ".5 GET /a 200"}"#, Some(BadTimestamp)),
        (r#"{"type": "access", "value": "nan GET /a 200"}"#, Some(BadTimestamp)),
        (r#"{"type": "access", "value": "9000000000.000000001 GET /a 200"}"#, Some(BadTimestamp)),
        (r#"{"type": "access", "value": "1543443091274 GET /a 200"}"#, Some(BadTimestamp)),
        (r#"{"type": "access", "value": "1x GET /b 999"}"#, Some(BadTimestamp)),
        (r#"{"type": "access", "value": "10 GET /a 20"}"#, Some(BadStatus)),
        (r#"{"type": "access", "value": "10 GET /a 099"}"#, Some(BadStatus)),
        (r#"{"type": "access", "value": "10 GET /a 600"}"#, Some(BadStatus)),
        (r#"{"type": "access", "value": "10 GET /a 2000"}"#, Some(BadStatus)),
        (r#"{"type": "access", "value": "10 GET /a 2xx"}"#, Some(BadStatus)),
        (r#"{"type": "access", "value": "10 GET /nowhere 600"}"#, Some(BadStatus)),
        (r#"{"type": "access", "value": "10 GET /a? 200"}"#, Some(UnknownEndpoint)),
        (r#"{"type": "access", "value": "10 get /a 200"}"#, Some(UnknownEndpoint)),
        (r#"{"type": "access", "value": "10 GET /A 200"}"#, Some(UnknownEndpoint)),
        (r#"{"type": "change", "value": ""}"#, Some(BadChange)),
        (r#"{"type": "end-of-strea"}"#, Some(UnknownType)),
    ]
};

/// The value of a change, and why it is rejected.
const CHANGES: &[(&str, Option<Reason>)] = {
    use Reason::*;
    &[
        ("commit: x\nAuthor: <a@b>\nDate: 2018-11-28 14:11:31\nService: svc\n", None),
        ("\n \t\r\n commit:x\r\nAuthor:   nobody knows\n\nDate:Wed Nov  8 14:11:31 PST 2018\nService:\tsvc", None),
        ("commit: not-hex!\u{a0}é\nAuthor: <>\nDate: 2018-11-28 14:11:31.5\nService: svc", None),
        ("commit: x\nAuthor: a\nDate: 2018-11-28 14:11:31\n", Some(BadChange)),
        ("commit: x\nAuthor: a\nDate: 2018-11-28 14:11:31\nService: svc\nMore: y", Some(BadChange)),
        ("Author: a\ncommit: x\nDate: 2018-11-28 14:11:31\nService: svc", Some(BadChange)),
        ("Commit: x\nAuthor: a\nDate: 2018-11-28 14:11:31\nService: svc", Some(BadChange)),
        ("commit x\nAuthor: a\nDate: 2018-11-28 14:11:31\nService: svc", Some(BadChange)),
        ("commit : x\nAuthor: a\nDate: 2018-11-28 14:11:31\nService: svc", Some(BadChange)),
        ("commit:\nAuthor: a\nDate: 2018-11-28 14:11:31\nService: svc", Some(BadChange)),
        ("commit: x\nAuthor: \t\nDate: 2018-11-28 14:11:31\nService: svc", Some(BadChange)),
        ("commit: x\nAuthor: a\nDate: nonsense\nService: ", Some(BadChange)),
        ("commit: x y\nAuthor: a\nDate: nonsense\nService: svc", Some(BadChange)),
        ("commit: x\ty\nAuthor: a\nDate: 2018-11-28 14:11:31\nService: svc", Some(BadChange)),
        ("commit: x\nAuthor: a\nDate: yesterday\nService: nowhere", Some(BadDate)),
        ("commit: x\nAuthor: a\nDate: 2018-11-28 25:11:31\nService: svc", Some(BadDate)),
        ("commit: x\nAuthor: a\nDate: 2018-11-28 14:11:31\nService: Svc", Some(UnknownService)),
        ("commit: x\nAuthor: a\nDate: 2018-11-28 14:11:31\nService: svc more", Some(UnknownService)),
    ]
};

fn lines() -> impl Iterator<Item = (String, Option<Reason>)> {
    let json = |value: &str| json!({"type": "change", "value": value}).to_string();
    let changes = CHANGES.iter().map(move |(value, reason)| (json(value), *reason));
    LINES.iter().map(|(line, reason)| ((*line).to_owned(), *reason)).chain(changes)
}

#[test]
fn a_strict_run_ends_at_the_first_rejected_line_with_its_number_and_reason() {
    for (line, reason) in lines() {
        let stream = format!("\n{}{line}\nnonsense\n", stream("S 1"));
        let error = replay(&one("0.9", "1"), stream, Mode::Strict).unwrap_err();
        match reason {
            None => assert_eq!((error.line, error.rejection.reason), (4, Reason::BadSyntax), "{line}"),
            Some(reason) => {
                assert_eq!((error.line, error.rejection.reason), (3, reason), "{line}");
                let text = error.to_string();
                assert!(text.starts_with(&format!("line 3: {reason}: ")), "{text}");
                assert!(!text.contains(char::is_control) && text.len() < 300, "{text}");
            }
        }
    }
}

#[test]
fn a_lenient_run_skips_counts_and_lists_what_it_rejects() {
    let info = one("0.9", "1");
    let text: String = lines().map(|(line, _)| line + "\n").collect();
    let report = replay(&info, &text, Mode::Lenient).unwrap();
    let numbered = lines().enumerate().filter_map(|(index, (_, reason))| Some((index as u64 + 1, reason?)));
    let expected: Vec<_> = numbered.collect();
    assert_eq!(report.rejected().total(), expected.len() as u64);
    assert_eq!(report.rejected().first().collect::<Vec<_>>(), expected);
    let accepted: String = lines().filter(|(_, reason)| reason.is_none()).map(|(line, _)| line + "\n").collect();
    assert_eq!(report.incidents(), replay(&info, accepted, Mode::Strict).unwrap().incidents());
}

#[test]
fn only_the_first_hundred_rejected_lines_are_listed() {
    let report = replay("[]", "x\n".repeat(1_000), Mode::Lenient).unwrap();
    let report = serde_json::to_value(&report).unwrap();
    assert_eq!(report["rejected"]["total"], 1_000);
    let lines = report["rejected"]["lines"].as_array().unwrap();
    assert_eq!((lines.len(), &lines[99]), (100, &json!({"line": 100, "reason": "bad-syntax"})));
}

#[test]
fn only_a_line_feed_ends_a_line() {
    let info = one("0.9", "1");
    let mut text = stream("F 1");
    text += "{\"type\": \"access\", \"x\": \"\u{2028}\u{85}\u{c}\", \"value\": \"2 GET /a 200\"}\r\n";
    text += &stream("F 3").replace('\n', "\r");
    text += stream("S 4").trim();
    let error = replay(&info, &text, Mode::Strict).unwrap_err();
    assert_eq!((error.line, error.rejection.reason), (3, Reason::BadSyntax));
    let report = replay(&info, text.replace("}\r{", "}\n{"), Mode::Strict).unwrap();
    assert_eq!(incidents(&report), "1-2 - -, 3-4 - -");
}

#[test]
fn what_is_not_utf_8_is_rejected_even_where_nobody_looks() {
    let mut text = stream("S 1").into_bytes();
    text.extend_from_slice(b"{\"type\": \"access\", \"x\": \"\xff\", \"value\": \"2 GET /a 200\"}\n");
    let error = replay(&one("0.9", "1"), text, Mode::Strict).unwrap_err();
    assert_eq!(error.to_string(), "line 2: bad-syntax: is not UTF-8 at byte 26");
}

#[test]
fn nothing_after_the_end_of_the_stream_is_read() {
    let info = one("0.9", "1");
    for end in
        [r#"{"type": "end-of-stream"}"#, r#"{"type": "end-of-stream", "value": [1]}"#, "{'type': 'end-of-stream'}"]
    {
        let text = format!("{}{end}\n{}nonsense\n\u{1}", stream("F 1"), stream("S 2"));
        let report = replay(&info, &text, Mode::Strict).unwrap();
        assert_eq!(incidents(&report), "1-open - -");
        let mut replay = Replay::new(&Info::parse(info.as_bytes()).unwrap(), Mode::Strict);
        assert_eq!(replay.feed(text.as_bytes()), Ok(false));
        assert_eq!(replay.feed(b"nonsense\n"), Ok(false));
        assert_eq!(replay.lines(), 2);
        assert!(replay.finish().is_ok());
    }
}

#[test]
fn an_empty_stream_and_an_empty_list_are_fine() {
    let expected = json!({
        "mttr": null, "incident_details": {}, "api_histogram": {}, "rejected": {"total": 0, "lines": []},
    });
    for text in ["", "\n", "\n\n \t\r\n", " "] {
        let report = replay("[]", text, Mode::Strict).unwrap();
        assert_eq!(serde_json::to_value(&report).unwrap(), expected);
    }
}

#[test]
fn an_endpoint_whose_name_needs_escapes_is_found_by_its_decoded_name() {
    let info = r#"[{"name": "svc", "verb": "GET", "resource": "/\"\\'é\u0001", "slo": 0.9, "window": 1}]"#;
    let line = |value: &str| json!({"type": "access", "value": value}).to_string();
    let report = replay(info, line("1 GET /\"\\'é\u{1} 500"), Mode::Strict).unwrap();
    assert_eq!(incidents(&report), "1-open - -");
    // The same bytes, but as they stand they are no JSON string.
    let raw = "{\"type\": \"access\", \"value\": \"1 GET /\"\\'é\u{1} 500\"}";
    assert_eq!(replay(info, raw, Mode::Strict).unwrap_err().rejection.reason, Reason::BadSyntax);
}

#[test]
fn an_endpoint_whose_name_has_a_blank_is_never_asked_for() {
    let info = r#"[{"name": "svc", "verb": "GET /a", "resource": "b", "slo": 0.9, "window": 1}]"#;
    let error = replay(info, stream("F 1").replace("/a", "/a b"), Mode::Strict).unwrap_err();
    assert_eq!(error.rejection.reason, Reason::BadAccess);
    assert!(replay(info, stream("C p"), Mode::Strict).is_ok());
}

#[test]
fn numbers_in_a_report_keep_every_digit() {
    let report =
        replay(&one("0.9", "1"), stream("F 1543443091.123456789, S 8999999999.999999999"), Mode::Strict).unwrap();
    let text = serde_json::to_string(&report).unwrap();
    assert!(text.contains(r#""start":1543443091.123456789,"end":8999999999.999999999"#), "{text}");
    assert!(matches!(serde_json::from_str::<Value>(&text), Ok(Value::Object(_))));
}
