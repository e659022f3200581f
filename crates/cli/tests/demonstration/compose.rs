//! Compose reads every file of ours, with every profile there is.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::config::{every, files, root, yaml};
use crate::program::{bare, find, succeed};

/// Compose v2 where there is one, else the older docker-compose. No daemon is asked.
fn compose(no_variables: &Path) -> Command {
    // A plugin of docker may lie in somebody's home.
    let homely = |mut command: Command| {
        let names = ["HOME", "DOCKER_CONFIG"];
        command.envs(names.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
        command
    };
    let docker = find("docker").filter(|docker| {
        let version = homely(bare(docker)).args(["compose", "version"]).output();
        version.is_ok_and(|output| output.status.success())
    });
    let mut command = match (docker, find("docker-compose")) {
        (Some(docker), _) => {
            let mut command = homely(bare(docker));
            command.arg("compose");
            command
        }
        (None, Some(compose)) => homely(bare(compose)),
        (None, None) => panic!("there is no docker-compose to try this with: scripts/setup.sh test installs it"),
    };
    // Nothing that is set here or in .env may change what the files say.
    command.arg("--env-file").arg(no_variables).current_dir(root());
    command
}

/// The services of a file that are started with these profiles, by its own words.
fn services(file: &Value, profiles: &BTreeSet<&str>) -> Vec<String> {
    let is_meant = |service: &Value| match service["profiles"].as_array() {
        Some(of) => of.iter().any(|profile| profiles.contains(profile.as_str().unwrap())),
        None => true,
    };
    let services = file["services"].as_object().unwrap().iter();
    services.filter(|(_, service)| is_meant(service)).map(|(name, _)| name.clone()).collect()
}

#[test]
fn compose_reads_every_file_with_every_profile() {
    let no_variables = tempfile::NamedTempFile::new().unwrap();
    let base = yaml("docker-compose.yml");
    let mut found = Vec::new();
    every("profiles", &base, &mut found);
    let all: BTreeSet<&str> =
        found.iter().flat_map(|(list, _)| list.as_array().unwrap()).map(|profile| profile.as_str().unwrap()).collect();
    assert!(!all.is_empty(), "docker-compose.yml has no profiles any more");

    let alone = all.iter().map(|profile| BTreeSet::from([*profile]));
    let mut tries: Vec<_> = [BTreeSet::new(), all.clone()].into_iter().chain(alone).map(|set| (None, set)).collect();
    let more = files("", ".yml").into_iter().filter(|file| {
        let name = file.file_name().unwrap().to_str().unwrap();
        name.starts_with("docker-compose.") && name != "docker-compose.yml"
    });
    tries.extend(more.map(|file| (Some(file), all.clone())));
    for (more, profiles) in tries {
        let mut command = compose(no_variables.path());
        command.args(["-f", "docker-compose.yml"]);
        command.args(more.iter().flat_map(|file: &PathBuf| [Path::new("-f"), file]));
        command.args(profiles.iter().flat_map(|profile| ["--profile", profile]));
        let said = succeed(command.arg("config"));
        for service in services(&base, &profiles) {
            assert!(said.contains(&format!("\n  {service}:\n")), "{service} is not in {command:?}:\n{said}");
        }
    }
}

#[test]
fn every_file_that_a_container_is_given_exists() {
    for file in files("", ".yml") {
        let config = yaml(&file);
        let mut volumes = Vec::new();
        every("volumes", &config, &mut volumes);
        let given = volumes.iter().filter_map(|(list, _)| list.as_array()).flatten().filter_map(Value::as_str);
        for path in given.filter(|volume| volume.starts_with("./")).map(|volume| volume.split(':').next().unwrap()) {
            assert!(root().join(path).exists(), "{} names {path}, which is not there", file.display());
        }
    }
}
