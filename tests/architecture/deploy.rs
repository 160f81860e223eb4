//! What `deploy` and the compose files say of the program is so: they set what there is, and wait for as long as it takes.

use std::fs;
use std::path::{Path, PathBuf};

use gatehouse::platform::config::{PREFIX, settings};

use super::read;

/// Variables of the other programs, and those that only compose itself reads.
const OF_OTHERS: [&str; 14] = [
    "ADMINER_DEFAULT_SERVER",
    "AF_INET",
    "AF_INET6",
    "AF_UNIX",
    "CARGO_TARGET_DIR",
    "DATABASE_PASSWORD",
    "DEV",
    "GF_ANALYTICS_CHECK_FOR_UPDATES",
    "GF_ANALYTICS_REPORTING_ENABLED",
    "GF_SECURITY_ADMIN_PASSWORD",
    "GRAFANA_PASSWORD",
    "RABBITMQ_DEFAULT_PASS",
    "RABBITMQ_DEFAULT_USER",
    "RABBITMQ_PASSWORD",
];
const COMPOSE: [&str; 2] = ["docker-compose.yml", "docker-compose.dev.yml"];
const SETTINGS: &str = "deploy/kubernetes/settings.yaml";
/// What a stop takes beside the notice and the requests under way, in milliseconds.
const BACKGROUND: u64 = 5000;
/// `max_connections` of a PostgreSQL that nobody has set up otherwise.
const CONNECTIONS: u64 = 100;

#[test]
fn every_setting_that_deploy_names_exists() {
    let (mut seen, mut unknown) = (0, Vec::new());
    for file in COMPOSE.into_iter().map(|file| root().join(file)).chain(files_of_deploy()) {
        for name in named(&read(&file)) {
            seen += 1;
            if !is_setting(&name) && !OF_OTHERS.contains(&&*name) {
                unknown.push(format!("{}: {name}", file.display()));
            }
        }
    }
    assert!(seen > 50, "the files were not read: {seen}");
    assert!(unknown.is_empty(), "these are no settings:\n{}", unknown.join("\n"));
}

#[test]
fn the_time_to_stop_is_enough() {
    let by_default = stop_takes(default_of);
    for file in COMPOSE {
        let graces = values(&read(&root().join(file)), "stop_grace_period");
        assert!(!graces.is_empty(), "{file} names none");
        for grace in graces {
            assert!(1000 * number(&grace) >= by_default, "{file}: {grace} for {by_default} ms");
        }
    }
    let unit = read(&root().join("deploy/systemd/gatehouse.service"));
    assert!(1000 * number(&value(&unit, "TimeoutStopSec")) >= by_default, "systemd: {by_default} ms");
    let settings = read(&root().join(SETTINGS));
    let here =
        |name: &str| values(&settings, name).first().map_or_else(|| default_of(name), |text| number(text));
    let deployment = read(&root().join("deploy/kubernetes/deployment.yaml"));
    let grace = 1000 * number(&value(&deployment, "terminationGracePeriodSeconds"));
    assert!(grace >= by_default && grace >= stop_takes(here), "Kubernetes: {grace} ms");
}

#[test]
fn the_database_has_a_connection_for_every_instance() {
    let pool = number(&value(&read(&root().join(SETTINGS)), "DATABASE_MAX_CONNECTIONS"));
    let most = number(&value(&read(&root().join("deploy/kubernetes/scaling.yaml")), "maxReplicas"));
    // While instances are replaced, there is one more.
    assert!(pool * (most + 1) < CONNECTIONS, "{pool} each of {most} and one");
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Everything in `deploy` that people write; the dashboards of Grafana are made.
fn files_of_deploy() -> Vec<PathBuf> {
    let (mut files, mut folders) = (Vec::new(), vec![root().join("deploy")]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("a readable folder").path();
            if path.is_dir() {
                folders.push(path);
            } else if path
                .extension()
                .is_some_and(|ending| ["yml", "yaml", "service", "conf"].iter().any(|known| ending == *known))
            {
                files.push(path);
            }
        }
    }
    files
}

/// The variables that a file names: whatever is written as one, and what is set or filled in.
fn named(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    for line in text.lines() {
        let set = line.trim().trim_start_matches("Environment=");
        let set = set.split([':', '=']).next().filter(|name| name.len() < set.len());
        names.extend(set.filter(|name| is_written_as_one(name)));
        let filled = line.split("${").skip(1).filter_map(|rest| rest.split([':', '}']).next());
        names.extend(filled.filter(|name| is_written_as_one(name)));
        let words = line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        names.extend(words.filter(|word| word.trim_matches('_').contains('_') && is_written_as_one(word)));
    }
    names.into_iter().map(str::to_owned).collect()
}

fn is_written_as_one(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_uppercase())
        && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
}

fn is_setting(name: &str) -> bool {
    let bare = name.strip_prefix(PREFIX).unwrap_or(name);
    let of_file = bare.strip_suffix("_FILE");
    settings().any(|setting| setting.names().any(|known| known == bare || Some(known) == of_file))
}

/// How long a stop takes with these settings, in milliseconds.
fn stop_takes(setting: impl Fn(&str) -> u64) -> u64 {
    setting("STOP_NOTICE_MILLISECONDS") + 1000 * setting("SHUTDOWN_TIMEOUT_SECONDS") + BACKGROUND
}

fn default_of(name: &str) -> u64 {
    let setting = settings().find(|setting| setting.name == name);
    number(&setting.unwrap_or_else(|| panic!("{name} is no setting")).default_text())
}

/// What stands behind a key, wherever it does.
fn values(text: &str, key: &str) -> Vec<String> {
    let behind = |line: &str| {
        let value = line.trim().strip_prefix(key)?.strip_prefix([':', '='])?;
        Some(value.trim().trim_matches('"').to_owned())
    };
    text.lines().filter_map(behind).collect()
}

fn value(text: &str, key: &str) -> String {
    values(text, key).pop().unwrap_or_else(|| panic!("no {key}"))
}

/// A number, of seconds if it says so.
fn number(text: &str) -> u64 {
    text.trim_end_matches('s').parse().unwrap_or_else(|_| panic!("{text} is no number"))
}

// --- the watchman is watched

#[test]
fn every_way_to_name_a_variable_is_seen() {
    assert_eq!(named("    HOST: 0.0.0.0"), ["HOST"]);
    assert_eq!(named("Environment=DATA_DIR=/data"), ["DATA_DIR", "DATA_DIR"]);
    assert_eq!(named("command: dev ${DEV:-}"), ["DEV"]);
    assert_eq!(named("# of PORT and LOG_LEVEL"), ["LOG_LEVEL"]);
    assert!(named("kind: ConfigMap\n# RFC 7239: proxies").is_empty());
    assert!(is_setting("GATEHOUSE_PORT") && is_setting("METRICS_TOKEN_FILE") && !is_setting("PROT"));
}
