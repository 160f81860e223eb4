//! Tests of the configuration as a whole.

use std::path::Path;

use super::*;

#[test]
fn a_configuration_for_tests_is_cheap_and_takes_pairs() {
    let config = Config::for_tests(Path::new("/nowhere"), &[("PORT", "9000")]);
    assert_eq!(config.server.base_url.as_str(), "http://localhost:9000/");
    assert_eq!(config.passwords.argon2, Argon2Cost { memory_kib: 64, iterations: 1, lanes: 1 });
}
