//! Any OpenID Connect issuer of the settings: everything is found by discovery.

use serde_json::Value;

use super::super::ProviderFault;
use super::super::reading::{Said, standard_claims};

/// What is asked for where the settings say nothing.
pub const SCOPES: &str = "openid profile email";

/// Reads the standard claims.
pub fn read(claims: &Value) -> Result<Said, ProviderFault> {
    standard_claims(claims)
}

/// The issuer's name for people: its name in the settings, which has none of its own, with a capital.
pub fn shown_name(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map_or_else(String::new, |first| first.to_ascii_uppercase().to_string() + letters.as_str())
}
