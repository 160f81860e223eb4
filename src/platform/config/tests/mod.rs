//! Tests of the configuration as a whole: nothing here touches the process environment.

mod checks;
mod databases;
mod mail;
mod oauth;
mod sources;
mod telemetry;
mod values;

use super::*;

/// A key that is one.
const KEY: &str = "6fQ2vX9mT4kLbW8zR1nYcJ7hD3gPsE5a";

/// Sources that need no data folder, with these variables in the environment.
fn environment(variables: &[(&str, &str)]) -> Sources {
    Sources::default().with_variables(&[("JWT_SECRET_KEY", KEY)]).with_variables(variables)
}

/// The configuration that these variables give.
fn config(variables: &[(&str, &str)]) -> Config {
    accepted(&environment(variables)).config
}

fn accepted(sources: &Sources) -> Loaded {
    Config::load(sources).unwrap_or_else(|mistakes| panic!("{mistakes:?}"))
}

/// The mistakes that these variables are.
fn mistakes(variables: &[(&str, &str)]) -> Vec<String> {
    refused(&environment(variables))
}

fn refused(sources: &Sources) -> Vec<String> {
    let mistakes = Config::load(sources).map(|_| ()).expect_err("a mistake");
    assert!(!mistakes.is_empty(), "a refusal says why");
    mistakes.iter().map(ToString::to_string).collect()
}

#[test]
fn nothing_set_is_a_configuration() {
    let config = accepted(&Sources::default().only_looking()).config;
    assert_eq!(config.server.address().to_string(), "127.0.0.1:8000");
    assert_eq!(config.server.base_url.as_str(), "http://localhost:8000/");
    assert_eq!(config.server.cors_origins, ["http://localhost:8000"]);
    assert_eq!(config.server.api_prefix, "/api");
    assert_eq!(config.database.address.to_string(), "sqlite://data/gatehouse.db");
    assert_eq!(config.tokens.algorithm, TokenAlgorithm::EdDsa);
    assert_eq!(config.tokens.access_lifetime.as_secs(), 30 * 60);
    assert_eq!(config.tokens.session_absolute.as_secs(), 30 * 86400);
    assert_eq!(config.metrics_allow.len(), 2);
    assert!(
        config.server.environment.is_local() && config.first_admin.is_none() && config.services.is_empty()
    );
}

#[test]
fn a_configuration_for_tests_is_cheap_and_takes_pairs() {
    let folder = Path::new("/nowhere");
    let cheap = Config::for_tests(folder, &[("PORT", "9000")]);
    assert_eq!(cheap.server.base_url.as_str(), "http://localhost:9000/");
    assert_eq!(cheap.passwords.argon2, Argon2Cost::CHEAP);
    assert_eq!(cheap.database.address.to_string(), "sqlite:///nowhere/gatehouse.db");
    let dear =
        Config::for_tests(folder, &[("ARGON2_ITERATIONS", "3"), ("GATEHOUSE_DATABASE_URL", "sqlite:a.db")]);
    assert_eq!(dear.passwords.argon2, Argon2Cost { memory_kib: 19456, iterations: 3, lanes: 1 });
    assert_eq!(dear.database.address.to_string(), "sqlite://a.db");
}

#[test]
fn no_name_means_two_settings() {
    let mut names: Vec<&str> = settings().flat_map(Setting::names).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
}

#[test]
fn a_first_start_makes_a_key_and_keeps_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let data_dir = folder.path().join("data");
    let sources = Sources::default().with_variables(&[("DATA_DIR", &data_dir.to_string_lossy())]);
    let (first, second) = (accepted(&sources), accepted(&sources));
    assert_eq!(first.config.tokens.master_secret.expose(), second.config.tokens.master_secret.expose());
    let key = first.settings.iter().find(|effective| effective.name == "JWT_SECRET_KEY").expect("a setting");
    assert_eq!((key.shown.as_str(), &key.origin), ("********", &Origin::File(data_dir.join("secret.key"))));
}

#[test]
fn a_start_that_is_refused_leaves_nothing_behind() {
    let folder = tempfile::tempdir().expect("a folder");
    let data_dir = folder.path().join("data");
    refused(&Sources::default().with_variables(&[("DATA_DIR", &data_dir.to_string_lossy()), ("PORT", "no")]));
    assert!(!data_dir.exists());
}
