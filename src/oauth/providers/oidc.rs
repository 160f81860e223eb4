//! Any OpenID Connect issuer of the settings: everything is found by discovery.

/// What is asked for where the settings say nothing.
pub const SCOPES: &str = "openid profile email";

/// The issuer's name for people: its name in the settings, which has none of its own, with a capital.
pub fn shown_name(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map_or_else(String::new, |first| first.to_ascii_uppercase().to_string() + letters.as_str())
}
