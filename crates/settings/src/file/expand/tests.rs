use std::fs;

use super::super::{Mode, parse_with};
use super::*;
use crate::targets::{Defaults, TargetList};

fn read_in(directory: &FilePath, text: &str) -> Result<TargetList, Vec<String>> {
    let variable = |name: &str| match name {
        "TOKEN" => Some(OsString::from("s3cret")),
        "YAML" => Some(OsString::from("s3cret\", x: [*a, {b: ${TOKEN}}]\n- name: injected")),
        "EMPTY" => Some(OsString::new()),
        "SECONDS" => Some(OsString::from("30")),
        _ => None,
    };
    let sources = Sources { variable: &variable, directory };
    parse_with("c.yaml", text.as_bytes(), Mode::Service, &Defaults::default(), &sources)
        .map_err(|errors| errors.lines().to_vec())
}

fn read(text: &str) -> Result<TargetList, Vec<String>> {
    read_in(FilePath::new("/nowhere"), text)
}

/// What a header of this text holds once it is read.
fn header(value: &str) -> Result<String, Vec<String>> {
    let list = read(&format!("- {{name: a, url: http://a/, headers: {{X-A: '{value}'}}}}"))?;
    Ok(list.targets[0].headers[0].1.clone())
}

#[test]
fn a_variable_is_filled_in_and_a_doubled_dollar_is_text() {
    assert_eq!(header("Bearer ${TOKEN}").unwrap(), "Bearer s3cret");
    assert_eq!(header("${TOKEN}${TOKEN}-$x-$").unwrap(), "s3crets3cret-$x-$");
    assert_eq!(header("$${TOKEN}").unwrap(), "${TOKEN}");
    assert_eq!(header("$$${TOKEN} ${TOKEN}").unwrap(), "$${TOKEN} s3cret");
    assert_eq!(header("a$${b").unwrap(), "a${b");
}

#[test]
fn what_a_secret_holds_stays_one_value_and_is_not_filled_in_again() {
    let list = read("- {name: a, url: http://a/, method: POST, body: \"${YAML}\"}").unwrap();
    assert_eq!(list.targets.len(), 1);
    assert_eq!(list.targets[0].body.as_deref(), Some("s3cret\", x: [*a, {b: ${TOKEN}}]\n- name: injected"));
    let errors = read("- {name: a, url: http://a/, headers: {X-A: \"${YAML}\"}}").unwrap_err();
    assert_eq!(
        errors,
        ["c.yaml:1:44: [0].headers.X-A: the value (not shown) has a line break, which would begin another header"]
    );
}

#[test]
fn c39_a_secret_that_cannot_be_had_is_named_and_never_shown() {
    let at = "c.yaml:1:44: [0].headers.X-A: ";
    for (value, problem) in [
        ("${UNSET_ENV}", "${UNSET_ENV}: the variable UNSET_ENV is not set (write $${ for a literal ${)"),
        ("${EMPTY}", "${EMPTY}: the variable EMPTY is empty, as if not set"),
        ("${file:/no/such}", "${file:/no/such}: not found"),
        ("${file:.}", "${file:.}: not found"),
        ("${file:/}", "${file:/}: is not a regular file"),
        ("${TOKEN} ${TOKEN", "has a ${ without its }; write $${ for a literal ${"),
        (
            "${${TOKEN}}",
            "has a ${…} that names neither a variable, ${NAME}, nor a file, ${file:PATH}; \
             write $${ for a literal ${",
        ),
    ] {
        assert_eq!(header(value).unwrap_err(), [format!("{at}{problem}")], "{value}");
    }
    // Each of them, and nothing that only follows from it.
    let errors = read("- {name: a, url: '${A}', interval: '${B}', timeout: 5ms, service: '${C}'}").unwrap_err();
    assert_eq!(errors.len(), 3, "{errors:?}");
}

#[test]
fn a_file_is_read_from_beside_the_configuration_less_one_line_break() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("key"), "s3cret\n\n").unwrap();
    fs::write(directory.path().join("dos"), "s3cret\r\n").unwrap();
    fs::write(directory.path().join("big"), vec![b'x'; 64 * 1024 + 1]).unwrap();
    fs::write(directory.path().join("bytes"), b"\xff").unwrap();
    let target = |file: &str| format!("- {{name: a, url: http://a/, method: POST, body: '${{file:{file}}}'}}");
    let body = |file: &str| read_in(directory.path(), &target(file)).map(|list| list.targets[0].body.clone().unwrap());
    assert_eq!(body("key").unwrap(), "s3cret\n");
    assert_eq!(body("dos").unwrap(), "s3cret");
    assert_eq!(body(&directory.path().join("key").display().to_string()).unwrap(), "s3cret\n");
    assert!(body("big").unwrap_err()[0].ends_with("${file:big}: is over 64 KiB"));
    assert!(body("bytes").unwrap_err()[0].ends_with("${file:bytes}: is not UTF-8"));
    let list = read_in(directory.path(), &target("key")).unwrap();
    assert_eq!(list.secret_files, [directory.path().join("key")]);
}

#[test]
fn a_url_with_secrets_is_shown_as_it_is_written() {
    let list = read("- {name: a, url: 'https://me:${TOKEN}@a.example/${TOKEN}?key=${TOKEN}#${TOKEN}'}").unwrap();
    let url = &list.targets[0].url;
    assert_eq!(url.as_written(), "https://a.example/${TOKEN}?key=${TOKEN}#${TOKEN}");
    assert_eq!(url.credentials(), Some(("me", "s3cret")));
    assert_eq!(url.url().as_str(), "https://a.example/s3cret?key=s3cret#s3cret");
    assert!(!format!("{list:?}").contains("s3cret"));

    let errors = read("- {name: a, url: '${TOKEN}://h/'}\n- {name: b, url: 'http://h:${TOKEN}/'}").unwrap_err();
    assert_eq!(
        errors,
        [
            "c.yaml:1:18: [0].url: the value (not shown) has another scheme than http and https, and only those are probed",
            "c.yaml:2:18: [1].url: the value (not shown) has a port outside 1 to 65535",
        ]
    );
}

#[test]
fn user_and_password_leave_a_url_that_names_its_secrets() {
    for (template, expected) in [
        ("https://${file:/run/me}:${P}@h/x@y", "https://h/x@y"),
        ("https://u:p@${H}/", "https://${H}/"),
        ("https://$${@${H}/", "https://${H}/"),
        ("https://${CREDENTIALS}h/", "https://${CREDENTIALS}h/"),
        ("${WHOLE}", "${WHOLE}"),
    ] {
        assert_eq!(without_userinfo(template), expected, "{template}");
    }
}

#[test]
fn a_secret_may_be_a_number_but_no_name() {
    let list = read("- {name: a, url: http://a/, interval: '${SECONDS}s'}").unwrap();
    assert_eq!(list.targets[0].interval.duration().as_secs(), 30);
    let errors = read(
        "- {name: '${TOKEN}', url: http://a/, labels: {a: '${TOKEN}'}, interval: '${TOKEN}', method: '${TOKEN}',
            expect_status: '${TOKEN}', connection: '${TOKEN}'}",
    )
    .unwrap_err();
    assert_eq!(errors.len(), 6, "{errors:?}");
    assert!(errors[0].contains("[0].name: is shown to people, so it takes no ${…}"), "{errors:?}");
    assert!(!errors.join("\n").contains("s3cret"), "{errors:?}");
}

#[test]
fn another_secret_is_another_digest() {
    let digest = |value: &str| read(&format!("- {{name: a, url: 'http://a/{value}'}}")).unwrap().digest;
    assert_ne!(digest("${TOKEN}"), digest("${SECONDS}"));
    let with = |secret: &'static str| {
        let sources = Sources { variable: &|_| Some(OsString::from(secret)), directory: FilePath::new("") };
        let text = b"- {name: a, url: 'http://a/${X}'}";
        parse_with("c.yaml", text, Mode::Service, &Defaults::default(), &sources).unwrap().digest
    };
    assert_ne!(with("a"), with("b"));
}
