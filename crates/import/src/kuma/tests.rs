use std::io::Write as _;

use super::*;

fn backup(monitors: &str) -> Result<Imported, ConfigErrors> {
    import(format!("{{\"version\": \"1.23.16\", \"monitorList\": [{monitors}]}}").as_bytes())
}

fn import(bytes: &[u8]) -> Result<Imported, ConfigErrors> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    uptime_kuma(file.path())
}

#[test]
fn checks_of_an_answer_are_carried_over() {
    let cases = [
        (r#""accepted_statuscodes": ["200-299", "404"]"#, "status: \"200-299,404\""),
        (r#""accepted_statuscodes": ["200-299"]"#, "timeout: 48s\n"),
        (r#""type": "keyword", "keyword": "up: yes""#, "body:\n      contains: \"up: yes\""),
        (r#""type": "keyword", "keyword": "Error", "invertKeyword": true"#, "body:\n      not_contains: Error"),
        (r#""type": "json-query", "jsonPath": "a.b[0]", "expectedValue": "5""#, "\"$.a.b[0]\":\n        \"==\": 5"),
        (
            r#""type": "json-query", "jsonPath": "$.a", "expectedValue": "1.0", "jsonPathOperator": "!=""#,
            "\"$.a\":\n        \"!=\": \"1.0\"",
        ),
        (r#""type": "json-query", "jsonPath": "a", "expectedValue": "9", "jsonPathOperator": ">=""#, "\">=\": 9"),
        (
            r#""type": "json-query", "jsonPath": "a", "expectedValue": "x.y", "jsonPathOperator": "contains""#,
            r#"matches: "x\\.y""#,
        ),
        (r#""method": "HEAD""#, "method: HEAD"),
        (r#""interval": 20, "timeout": 0"#, "interval: 20s\n  timeout: 16s"),
        (
            r#""body": "<a/>", "httpBodyEncoding": "xml", "method": "POST""#,
            "content-type: \"text/xml; charset=utf-8\"\n  body: \"<a/>\"",
        ),
        (
            r#""tags": [{"name": "team", "value": "a"}, {"name": "team", "value": "b"}, {"name": "prod"}]"#,
            "team: a,b\n    prod: \"true\"",
        ),
    ];
    for (fields, expected) in cases {
        let imported = backup(&format!("{{\"name\": \"a\", \"url\": \"http://a\", {fields}}}")).unwrap();
        assert!(imported.yaml.contains(expected), "{fields}: {}", imported.yaml);
        assert!(imported.notes.is_empty(), "{fields}: {}", imported.notes);
    }
}

#[test]
fn what_has_no_counterpart_is_noted() {
    let cases = [
        (r#""type": "ping""#, "is of type ping"),
        (r#""active": false"#, "is paused"),
        (r#""upsideDown": true"#, "upside down"),
        (r#""url": """#, "no URL"),
        (r#""maxretries": 3"#, "maxretries: lookout does not retry"),
        (r#""ignoreTls": true"#, "ignore_tls"),
        (r#""notificationIDList": {"1": true}"#, "notifications"),
        (r#""maxredirects": 0"#, "300 to 399"),
        (r#""authMethod": "mtls""#, "client certificates"),
        (r#""type": "json-query", "jsonPath": "$count(a)", "expectedValue": "5""#, "$count(a)"),
        (r#""headers": "nonsense""#, "no JSON mapping"),
        (r#""accepted_statuscodes": ["abc"]"#, "no status code"),
        (r#""description": "d""#, "write a comment"),
        (r#""method": "PURGE""#, "the method \"PURGE\""),
    ];
    for (fields, expected) in cases {
        let fields =
            if fields.contains("\"url\"") { fields.to_owned() } else { format!("\"url\": \"http://a\", {fields}") };
        let notes = backup(&format!("{{\"name\": \"a\", {fields}}}")).unwrap().notes.to_string();
        assert!(notes.contains(expected) && notes.contains("\"a\""), "{fields}: {notes}");
    }
}

#[test]
fn groups_that_contain_each_other_are_no_trap() {
    let imported = backup(
        r#"{"id": 1, "name": "x", "type": "group", "parent": 2}, {"id": 2, "name": "y", "type": "group", "parent": 1},
           {"id": 3, "name": "a", "url": "http://a", "parent": 2}"#,
    )
    .unwrap();
    assert!(imported.yaml.contains("x / y\n"), "{}", imported.yaml);
}

#[test]
fn secrets_do_not_reach_the_file_or_the_notes() {
    let imported = backup(
        r#"{"name": "a", "url": "https://a", "basic_auth_user": "me", "basic_auth_pass": "s3cret",
            "headers": "{\"X-Api-Key\": \"k3y\", \"Accept\": \"text/html\"}", "body": "{\"token\": \"t0ken\"}", "method": "POST"}"#,
    )
    .unwrap();
    for secret in ["s3cret", "k3y", "t0ken", "bWU6czNjcmV0"] {
        assert!(!imported.yaml.contains(secret) && !imported.notes.to_string().contains(secret), "{}", imported.yaml);
    }
    let values: Vec<_> = imported.variables.iter().filter_map(|variable| variable.value.as_deref()).collect();
    assert_eq!(values, ["k3y", "bWU6czNjcmV0", "{\"token\": \"t0ken\"}"]);
}

#[test]
fn what_is_no_backup_and_no_database_says_so() {
    for (text, expected) in [
        ("", ": is empty"),
        ("{\"monitorList\": [\n{]", ":2:2: neither an SQLite database nor valid JSON: key must be a string"),
        ("[]", "expected a backup of uptime-kuma, a mapping with monitorList, found a list"),
        ("{\"a\": 1}", "no monitorList"),
        ("{\"monitorList\": 5}", "monitorList: expected a list, found a number"),
        ("{\"monitorList\": [5]}", "monitorList[0]: expected a mapping, found a number"),
        (
            "{\"monitorList\": [{\"name\": [1], \"url\": \"http://a\", \"interval\": {}}]}",
            "monitorList[0].name: expected a text, found a list",
        ),
        ("SQLite format 3\0 and nothing more", "cannot be read as a database"),
    ] {
        let error = import(text.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
    assert!(import(b"\xff\x00").unwrap_err().to_string().contains("not UTF-8"));
    assert!(import(&vec![b' '; settings::file::MAX_BYTES + 1]).unwrap_err().to_string().contains("over 16 MiB"));
    let missing = uptime_kuma(Path::new("/no/such/file")).unwrap_err().to_string();
    assert_eq!(missing, "cannot read /no/such/file: not found");
}

/// The same instance, as version 1 exports it and as its database has it.
#[test]
fn a_backup_and_a_database_of_the_same_monitors_say_the_same() {
    let of_backup = import(
        br#"{"version": "1.23.16", "notificationList": [{"id": 1, "name": "ops"}], "proxyList": [{"id": 1, "host": "p"}],
             "monitorList": {
                 "10": {"id": 10, "name": "b", "type": "http", "url": "http://b", "interval": 60, "active": true,
                        "notificationIDList": {"1": false}, "proxyId": 1, "description": "d", "expiryNotification": true},
                 "9": {"id": 9, "name": "a", "type": "http", "url": "https://a", "interval": 60, "active": true,
                       "notificationIDList": {"1": true}, "maxretries": 2, "expiryNotification": true, "ignoreTls": true},
                 "11": {"id": 11, "name": "c", "type": "ping", "active": true}}}"#,
    )
    .unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("kuma.db");
    let database = rusqlite::Connection::open(&path).unwrap();
    let tables = include_str!("../../../../examples/import/kuma.sql");
    let tables = &tables[..tables.find("insert into").unwrap()];
    database.execute_batch(tables).unwrap();
    database
        .execute_batch(
            "create table proxy (id integer primary key, host text);
             insert into proxy values (1, 'p');
             insert into notification (id, name) values (1, 'ops');
             insert into monitor (id, name, type, url, interval, maxretries, ignore_tls)
             values (9, 'a', 'http', 'https://a', 60, 2, 1);
             insert into monitor (id, name, type, url, interval, proxy_id, description)
             values (10, 'b', 'http', 'http://b', 60, 1, 'd');
             insert into monitor (id, name, type) values (11, 'c', 'ping');
             insert into monitor_notification (monitor_id, notification_id) values (9, 1);",
        )
        .unwrap();
    drop(database);
    let of_database = uptime_kuma(&path).unwrap();
    assert_eq!(of_backup.notes.to_string(), of_database.notes.to_string());
    let targets = |imported: &Imported| imported.yaml.split_once('\n').unwrap().1.to_owned();
    assert_eq!(targets(&of_backup), targets(&of_database));
    let notes = of_backup.notes.to_string();
    assert!(
        notes.contains("Prometheus alert on its /metrics (docs/METRICS.md)\n      \"a\", \"the whole file\"\n"),
        "{notes}"
    );
}
