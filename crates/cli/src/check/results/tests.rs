use settings::{Defaults, Mode};

use super::*;

const LIST: &str = "
- {name: a, url: 'https://svc.example.org:8443/x'}
- {name: again, url: 'https://svc.example.org:8443/x'}
- {name: b, url: 'http://Other.example/'}
- {name: c, url: 'http://me:s3cret@other.example/c'}
- {name: never, url: 'http://[::1]:80/'}
";

fn read(lines: &str) -> Result<Recorded, ReadError> {
    let targets =
        settings::file::parse("list.yaml", LIST.as_bytes(), Mode::OneOff, &Defaults::default()).unwrap().targets;
    super::read(lines.as_bytes(), "r.jsonl", &targets, Duration::from_millis(500))
}

fn report(lines: &str) -> String {
    let mut out = Vec::new();
    read(lines).unwrap().write_json(&mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn problems(lines: &str) -> Vec<String> {
    match read(lines) {
        Err(ReadError::Lines(error)) => error.lines().to_vec(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_domain_is_reported_and_results_of_others_are_classified_but_not_counted() {
    let lines = r#"
{"url": "https://svc.example.org:8443/x", "status": 200, "elapsed_ms": 12.5}
{"url": "https://svc.example.org:8443/x", "status": 299, "elapsed_ms": 500}

{"url": "https://svc.example.org:8443/x", "status": 200, "elapsed_ms": 500.001, "more": [1]}
{"url": "HTTPS://svc.example.org:8443/x", "status": 200, "elapsed_ms": 1}
{"url": "http://Other.example/", "status": null, "elapsed_ms": null}
{"url": "http://Other.example/", "status": 301, "elapsed_ms": 1}
{"url": "http://me:s3cret@other.example/c", "status": 204, "elapsed_ms": 0}
{"url": "http://other.example/c", "status": null}
"#;
    let expected = concat!(
        r#"{"domains":{"svc.example.org":{"availability":66,"up":2,"degraded":1,"down":0,"total":3},"#,
        r#""other.example":{"availability":33,"up":1,"degraded":0,"down":2,"total":3},"#,
        r#""[::1]":{"availability":null,"up":0,"degraded":0,"down":0,"total":0}},"#,
        r#""classification":["UP","UP","DEGRADED","UP","DOWN","DOWN","UP","DOWN"],"ignored":[3,7]}"#,
        "\n"
    );
    assert_eq!(report(lines), expected);
}

#[test]
fn two_hundred_results_of_which_one_is_down_are_99_percent() {
    let line = r#"{"url": "http://Other.example/", "status": 200, "elapsed_ms": 1}"#;
    let lines = format!("{}\n{}", format!("{line}\r\n").repeat(199), line.replace("200", "500"));
    assert!(report(&lines).contains(r#""other.example":{"availability":99,"up":199,"degraded":0,"down":1"#));
}

#[test]
fn no_results_are_a_report_too() {
    for lines in ["", "\n", "\u{feff} \t\r\n"] {
        assert!(report(lines).ends_with("\"classification\":[],\"ignored\":[]}\n"), "{lines:?}");
    }
}

#[test]
fn every_wrong_line_is_named_with_its_number_and_without_what_is_in_it() {
    let lines = r#"{"url": "http://me:s3cret@h/", "status": 200, "elapsed_ms": 1}
{"url": "http://me:s3cret@h/", "status": 200
[]

{"url": "http://me:s3cret@h/", "elapsed_ms": 1}
{"status": 200, "elapsed_ms": 1}
{"url": 5, "status": 200, "elapsed_ms": 1}
{"url": "http://me:s3cret@h/", "status": "OK", "elapsed_ms": 1}
{"url": "http://me:s3cret@h/", "status": 200, "elapsed_ms": null}
{"url": "http://me:s3cret@h/", "status": 200, "elapsed_ms": -1}
{"url": "http://me:s3cret@h/", "status": 200, "elapsed_ms": NaN}
{"url": "http://me:s3cret@h/", "status": 200.5, "elapsed_ms": 1}
{"url": "http://me:s3cret@h/", "status": 200, "elapsed_ms": "s3cret"}
{"url": "http://me:s3cret@h/", "status": 200, "elapsed_ms": 1, "status": 500}
"s3cret"
"#;
    let problems = problems(lines);
    let numbers: Vec<_> = problems.iter().map(|line| line.split(": ").next().unwrap()).collect();
    assert_eq!(numbers, [2, 3, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15].map(|number| format!("r.jsonl:{number}")));
    let example = r#"{"url": "https://example.org/", "status": 200, "elapsed_ms": 12.5}"#;
    let rules: Vec<_> = problems.iter().map(|line| line.split_once(": ").unwrap().1).collect();
    assert_eq!(
        rules,
        [
            "not JSON: EOF while parsing an object (byte 44)".to_owned(),
            format!("expected a result such as {example}, found a list"),
            format!("status: is missing (null where nobody answered), as in {example}"),
            format!("url: is missing, as in {example}"),
            "url: expected a text, found a whole number".to_owned(),
            "status: expected a whole number, or null where nobody answered, found a text".to_owned(),
            "elapsed_ms: is missing beside a status of success".to_owned(),
            "elapsed_ms: is negative".to_owned(),
            "not JSON: expected value (byte 61)".to_owned(),
            "status: expected a whole number, or null where nobody answered, found a number that is not whole, or too large"
                .to_owned(),
            "elapsed_ms: expected a number, found a text".to_owned(),
            "status: is given twice".to_owned(),
            format!("expected a result such as {example}, found a text"),
        ]
    );
    assert!(!problems.concat().contains("s3cret"), "{problems:?}");
}

#[test]
fn a_file_of_wrong_lines_is_not_told_line_by_line_for_ever() {
    let problems = problems(&"x\n".repeat(250));
    assert_eq!(problems.len(), 101);
    assert_eq!(problems[100], "and 150 more wrong lines");
}

#[test]
fn an_endless_line_is_refused_without_being_kept() {
    let long = format!("{{\"url\": \"{}\n{}\nx", "x".repeat(3 * MAX_LINE), " ".repeat(2 * MAX_LINE));
    let problems = problems(&long);
    assert_eq!(problems[0], "r.jsonl:1: is over 1 MiB long");
    assert!(problems[1].starts_with("r.jsonl:3: not JSON"), "{problems:?}");
    assert_eq!(problems.len(), 2);
}

#[test]
fn people_get_a_table_and_are_told_what_was_ignored() {
    let lines = "{\"url\": \"http://Other.example/\", \"status\": 200, \"elapsed_ms\": 1}\n{\"url\": \"x\", \"status\": null}\n";
    let mut out = anstream::StripStream::new(Vec::new());
    read(lines).unwrap().write_text(&mut out).unwrap();
    let expected = concat!(
        " availability  domain           up  degraded  down  total\n",
        "        100 %  other.example     1         0     0      1\n",
        "            -  svc.example.org   0         0     0      0\n",
        "            -  [::1]             0         0     0      0\n\n",
        "2 results, 1 of them to URLs that are not in the list.\n",
    );
    assert_eq!(String::from_utf8(out.into_inner()).unwrap(), expected);
}
