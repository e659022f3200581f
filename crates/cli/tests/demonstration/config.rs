//! The files of `deploy/` as a test needs them: the committed ones, with other addresses and shorter waits.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

/// The root of the checkout.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_path_buf()
}

/// Every file of a directory below the root whose name ends like this, in order. There is one at least.
pub(crate) fn files(directory: &str, ending: &str) -> Vec<PathBuf> {
    let mut files = listed(&root().join(directory));
    files.retain(|path| path.to_str().unwrap().ends_with(ending));
    assert!(!files.is_empty(), "no file in {directory} ends with {ending}");
    files
}

fn listed(directory: &Path) -> Vec<PathBuf> {
    let listed = std::fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut paths: Vec<_> = listed.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// The dashboards that Grafana is given, of every folder of `deploy/` that has some.
pub(crate) fn dashboards() -> Vec<PathBuf> {
    let folders = listed(&root().join("deploy")).into_iter().map(|folder| folder.join("dashboards"));
    let dashboards: Vec<_> = folders.filter(|folder| folder.is_dir()).flat_map(|folder| listed(&folder)).collect();
    assert!(dashboards.len() > 1, "the dashboards are not where they were: {dashboards:?}");
    dashboards
}

pub(crate) fn text(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub(crate) fn yaml(path: impl AsRef<Path>) -> Value {
    serde_saphyr::from_str(&text(&path)).unwrap_or_else(|error| panic!("{}: {error}", path.as_ref().display()))
}

/// A committed file with each of these replaced, which it must hold.
pub(crate) fn with(path: &str, replaced: &[(&str, &str)]) -> String {
    replaced.iter().fold(text(path), |text, (from, to)| {
        assert!(text.contains(from), "{path} has no {from}");
        text.replace(from, to)
    })
}

/// What Prometheus scrapes, by its committed configuration.
pub(crate) fn jobs() -> Vec<String> {
    let config = yaml("deploy/prometheus/prometheus.yml");
    let jobs = config["scrape_configs"].as_array().unwrap().iter();
    jobs.map(|job| job["job_name"].as_str().unwrap().to_owned()).collect()
}

/// The committed configuration of Prometheus, scraping each job where it really is and every second,
/// with the rules of `rules`.
pub(crate) fn prometheus(addresses: &dyn Fn(&str) -> Vec<String>, entry: &str, rules: &Path) -> String {
    let mut config = yaml("deploy/prometheus/prometheus.yml");
    config["global"]["scrape_interval"] = json!("1s");
    config["global"]["evaluation_interval"] = json!("1s");
    config["rule_files"] = json!([rules]);
    for job in config["scrape_configs"].as_array_mut().unwrap() {
        let addresses = addresses(job["job_name"].as_str().unwrap());
        job.as_object_mut().unwrap().remove("dns_sd_configs");
        job["static_configs"] = json!([{ "targets": addresses }]);
    }
    // JSON is YAML. What is probed through Traefik stands in parameters of a job.
    config.to_string().replace("http://traefik:8000", entry)
}

/// The committed alert rules, each true for a second before it fires instead of minutes.
/// How long they really wait is for `promtool test rules`.
pub(crate) fn impatient_rules() -> String {
    let mut rules = yaml("deploy/prometheus/lookout.rules.yml");
    for group in rules["groups"].as_array_mut().unwrap() {
        for rule in group["rules"].as_array_mut().unwrap() {
            if rule.get("for").is_some() {
                rule["for"] = json!("1s");
            }
        }
    }
    rules.to_string()
}

/// The committed configuration of Traefik, on these ports and with these routes.
pub(crate) fn traefik(ports: [(&str, u16); 3], routes: &Path) -> String {
    let mut config = yaml("deploy/traefik/traefik.yml");
    let points = config["entryPoints"].as_object_mut().unwrap();
    assert_eq!(points.len(), ports.len(), "an entry point of Traefik has no port here");
    for (name, port) in ports {
        points[name]["address"] = json!(format!("127.0.0.1:{port}"));
    }
    config["providers"]["file"]["filename"] = json!(routes);
    config.to_string()
}

/// Every value of `key` in a document, with the object it stands in.
pub(crate) fn every<'a>(key: &str, value: &'a Value, found: &mut Vec<(&'a Value, &'a Value)>) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                if name == key {
                    found.push((field, value));
                }
                every(key, field, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| every(key, item, found)),
        _ => {}
    }
}
