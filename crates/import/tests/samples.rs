//! The samples of `examples/import`, as somebody would import them.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::{Path, PathBuf};

use import::Imported;
use proptest::prelude::*;
use settings::Defaults;
use settings::file::Mode;

fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/import").join(name)
}

fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(sample(name)).unwrap()
}

/// The database that the script makes.
fn kuma_db() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let database = rusqlite::Connection::open(directory.path().join("kuma.db")).unwrap();
    database.execute_batch(&String::from_utf8(bytes("kuma.sql")).unwrap()).unwrap();
    directory
}

fn gatus() -> Imported {
    import::gatus("gatus.yaml", &bytes("gatus.yaml")).unwrap()
}

fn kuma(path: &Path) -> Imported {
    import::uptime_kuma(path).unwrap()
}

fn blackbox() -> Imported {
    let modules = bytes("blackbox.yml");
    import::blackbox("prometheus.yml", &bytes("prometheus.yml"), Some(("blackbox.yml", &modules))).unwrap()
}

/// Everything an import says, without the directory of the sample.
fn said(imported: &Imported) -> String {
    let variables: String =
        imported.variables.iter().map(|variable| format!("{} = {}\n", variable.name, variable.what)).collect();
    let text = format!("{}\n---- notes\n{}\n---- variables\n{variables}", imported.yaml, imported.notes);
    let from = text.find(" from ").unwrap() + " from ".len();
    let end = from + text[from..].find('\n').unwrap();
    let name = text[from..end].trim_end_matches('.').rsplit('/').next().unwrap().to_owned();
    format!("{}{name}.{}", &text[..from], &text[end..])
}

/// Reads the file with every variable set, as the service does: without a mistake or a doubt.
fn read_back(imported: &Imported) {
    let mut text = imported.yaml.clone();
    for variable in &imported.variables {
        text = text.replace(&format!("${{{}}}", variable.name), "filled-in");
    }
    let list = settings::file::parse("imported.yaml", text.as_bytes(), Mode::Service, &Defaults::default()).unwrap();
    assert_eq!(list.warnings, Vec::<String>::new());
    assert_eq!(list.targets.len(), imported.targets);
    assert!(imported.targets > 0);
}

/// No secret of the samples is anywhere but in the variables.
fn keeps_secrets(imported: &Imported) {
    let said = said(imported);
    assert!(!said.contains("not-a-real"), "{said}");
    assert!(imported.variables.iter().any(|variable| variable.value.is_some()));
}

#[test]
fn the_gatus_sample_is_imported() {
    let imported = gatus();
    insta::assert_snapshot!(said(&imported));
    keeps_secrets(&imported);
    read_back(&imported);
}

#[test]
fn the_backup_of_uptime_kuma_is_imported() {
    let imported = kuma(&sample("kuma-backup.json"));
    insta::assert_snapshot!(said(&imported));
    keeps_secrets(&imported);
    read_back(&imported);
}

#[test]
fn the_database_of_uptime_kuma_is_imported_and_left_as_it_was() {
    let directory = kuma_db();
    let path = directory.path().join("kuma.db");
    let before = std::fs::read(&path).unwrap();
    let imported = kuma(&path);
    insta::assert_snapshot!(said(&imported));
    keeps_secrets(&imported);
    read_back(&imported);
    assert_eq!(std::fs::read(&path).unwrap(), before);
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "nothing is written beside it");
}

#[test]
fn a_database_in_use_is_read_with_what_its_log_has() {
    let directory = kuma_db();
    let path = directory.path().join("kuma.db");
    let database = rusqlite::Connection::open(&path).unwrap();
    database.pragma_update(None, "journal_mode", "wal").unwrap();
    database
        .execute_batch("insert into monitor (name, type, interval, url) values ('Late', 'http', 60, 'https://late')")
        .unwrap();
    assert!(kuma(&path).yaml.contains("name: Late\n"));
}

#[test]
fn the_probes_of_prometheus_are_imported() {
    let imported = blackbox();
    insta::assert_snapshot!(said(&imported));
    keeps_secrets(&imported);
    read_back(&imported);
}

/// A sample with some bytes changed, left out or put in.
fn mutated(name: &'static str) -> impl Strategy<Value = Vec<u8>> {
    let original =
        if name == "kuma.db" { std::fs::read(kuma_db().path().join("kuma.db")).unwrap() } else { bytes(name) };
    let change = (any::<prop::sample::Index>(), 0..4_u8, any::<u8>(), "[\\[\\]{}:\"'\\-&*|$0-9 a\n]{0,4}");
    prop::collection::vec(change, 1..6).prop_map(move |changes| {
        let mut text = original.clone();
        for (at, kind, byte, piece) in changes {
            // One more change may have left nothing to change.
            if text.is_empty() {
                break;
            }
            let at = at.index(text.len());
            match kind {
                0 => text[at] = byte,
                1 => drop(text.remove(at)),
                2 => drop(text.splice(at..at, piece.bytes())),
                _ => text.truncate(at.max(1)),
            }
        }
        text
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn a_broken_gatus_file_is_an_error_or_an_import_and_never_a_panic(text in mutated("gatus.yaml")) {
        if let Err(error) = import::gatus("g", &text) {
            prop_assert!(!error.lines().is_empty());
        }
    }

    #[test]
    fn a_broken_backup_or_database_is_an_error_or_an_import_and_never_a_panic(
        text in prop_oneof![mutated("kuma-backup.json"), mutated("kuma.db")],
    ) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &text).unwrap();
        if let Err(error) = import::uptime_kuma(file.path()) {
            prop_assert!(!error.lines().is_empty());
        }
    }

    #[test]
    fn a_broken_prometheus_file_is_an_error_or_an_import_and_never_a_panic(
        text in mutated("prometheus.yml"),
        modules in mutated("blackbox.yml"),
    ) {
        for modules in [None, Some(("b", modules.as_slice()))] {
            if let Err(error) = import::blackbox("p", &text, modules) {
                prop_assert!(!error.lines().is_empty());
            }
        }
    }
}
