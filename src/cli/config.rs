//! `gatehouse config`: the settings as they are, as JSON Schema, as a file to begin from.

use serde_json::{Map, Value, json};

use crate::platform::config::{Alias, Effective, Loaded, OF_ISSUER, PREFIX, Setting, Shape, groups};

/// Every setting with its value and source, secrets masked. Behind them what a start warns of: a setting may say `smtp`
/// and have no effect.
pub(super) fn effective(Loaded { settings, warnings, .. }: &Loaded) -> String {
    let widest = settings.iter().map(|effective| effective.name.len()).max().unwrap_or(0);
    let line =
        |Effective { name, shown, origin }: &Effective| format!("{name:widest$} = {shown}  # {origin}\n");
    let note = |warning: &String| format!("# note: {warning}\n");
    settings.iter().map(line).chain(warnings.iter().map(note)).collect()
}

/// Every setting there is, as a file of variables to begin from: all commented out, with their defaults.
pub(super) fn example() -> String {
    let head = format!(
        "# Settings of Gatehouse, with their defaults. Copy this file to .env and change what you need.\n\
         # Every name may carry the prefix {PREFIX}; NAME_FILE reads the value from a file; empty means unset.\n"
    );
    let group = |(name, settings): (&str, Vec<&Setting>)| {
        let lines: String = settings.into_iter().map(example_of).collect();
        format!("\n# --- {name} ---\n{lines}")
    };
    let groups = groups().map(|(name, settings)| group((name, settings.collect())));
    std::iter::once(head).chain(groups).collect()
}

fn example_of(setting: &Setting) -> String {
    let aliases: Vec<&str> = setting.aliases.iter().map(Alias::name).collect();
    let aliases = if aliases.is_empty() { String::new() } else { format!(" Also {}.", aliases.join(", ")) };
    let about = wrapped(&format!("{} Accepted: {}.{aliases}", setting.doc(), setting.shape.accepts()));
    format!("\n{about}# {}={}\n", setting.name, setting.default_text())
}

/// `text` as comment lines of at most 110 characters.
fn wrapped(text: &str) -> String {
    const WIDTH: usize = 110;
    let mut lines = vec![String::from("#")];
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= WIDTH => {
                line.extend([" ", word]);
            }
            _ => lines.push(format!("# {word}")),
        }
    }
    lines.into_iter().map(|line| line + "\n").collect()
}

/// Every setting there is, as JSON Schema (draft 2020-12).
pub(super) fn schema() -> String {
    let properties: Map<String, Value> = groups()
        .flat_map(|(group, settings)| {
            settings.map(move |setting| (setting.name.to_owned(), schema_of(setting, group)))
        })
        .collect();
    let of_issuers: Map<String, Value> =
        OF_ISSUER.iter().map(|of| (of.pattern(), described(of.shape, of.doc, "oauth"))).collect();
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Settings of Gatehouse",
        "type": "object",
        "properties": properties,
        "patternProperties": of_issuers,
    });
    format!("{schema:#}\n")
}

fn schema_of(setting: &Setting, group: &str) -> Value {
    let mut schema = described(setting.shape, &setting.doc(), group);
    if let Some(default) = default_of(setting, &schema) {
        schema["default"] = default;
    }
    if !setting.aliases.is_empty() {
        schema["x-aliases"] = setting.aliases.iter().map(Alias::name).collect();
    }
    schema
}

fn described(shape: &dyn Shape, doc: &str, group: &str) -> Value {
    let mut schema = shape.schema();
    schema["description"] = json!(format!("{doc} Accepted: {}.", shape.accepts()));
    schema["x-group"] = json!(group);
    if shape.is_secret() {
        schema["writeOnly"] = json!(true);
    }
    schema
}

/// The default in the type of the schema: `False` and `30` are text only in files of variables.
fn default_of(setting: &Setting, schema: &Value) -> Option<Value> {
    let text = setting.default_text();
    match schema["type"].as_str() {
        _ if text.is_empty() => None,
        Some("boolean" | "integer") => serde_json::from_str(&text.to_ascii_lowercase()).ok(),
        _ => Some(json!(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::config::{Config, Sources, settings};

    #[test]
    fn the_example_in_the_repository_is_the_one_that_is_printed() {
        assert_eq!(
            include_str!("../../.env.example"),
            example(),
            "run: gatehouse config --example > .env.example"
        );
    }

    #[test]
    fn every_setting_of_the_example_may_be_uncommented() {
        let uncommented: String = example()
            .lines()
            .filter_map(|line| line.strip_prefix("# "))
            .filter(|line| is_pair(line))
            .fold(String::new(), |text, line| text + line + "\n");
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path().to_string_lossy().into_owned();
        let sources = Sources::default().with_dotenv(".env".as_ref(), &uncommented);
        let loaded = Config::load(&sources.with_variables(&[("DATA_DIR", &folder)]));
        assert_eq!(
            loaded.map(|loaded| loaded.warnings).map_err(|mistakes| format!("{mistakes:?}")),
            Ok(vec![])
        );
        assert_eq!(uncommented.lines().count(), settings().count());
    }

    fn is_pair(line: &str) -> bool {
        line.split_once('=').is_some_and(|(name, _)| settings().any(|setting| setting.name == name))
    }

    #[test]
    fn the_schema_tells_type_range_default_and_secrecy() {
        let schema: Value = serde_json::from_str(&schema()).expect("JSON");
        let port = &schema["properties"]["PORT"];
        assert_eq!(
            (&port["type"], &port["maximum"], &port["default"]),
            (&json!("integer"), &json!(65535), &json!(8000))
        );
        assert_eq!(schema["properties"]["AUTO_MIGRATE"]["default"], json!(true));
        assert_eq!(schema["properties"]["JWT_SECRET_KEY"]["writeOnly"], json!(true));
        assert_eq!(schema["properties"]["JWT_SECRET_KEY"]["x-aliases"], json!(["SECRET_KEY"]));
        assert_eq!(schema["properties"].as_object().map(Map::len), Some(settings().count()));
    }

    #[test]
    fn the_schema_knows_the_settings_that_are_named_after_an_issuer() {
        let schema: Value = serde_json::from_str(&schema()).expect("JSON");
        let patterns = schema["patternProperties"].as_object().expect("patterns");
        let of_acme = |pattern: &String| {
            let name = pattern.strip_prefix('^').and_then(|rest| rest.strip_suffix('$'));
            name.expect("a whole name").replace("[A-Z0-9_]{1,32}", "ACME")
        };
        let mut names: Vec<String> = patterns.keys().map(of_acme).collect();
        names.sort();
        // Those that are shown behind their list, too.
        let known =
            ["OIDC_ACME_CLIENT_ID", "OIDC_ACME_CLIENT_SECRET", "OIDC_ACME_ISSUER", "OIDC_ACME_SCOPES"];
        assert_eq!(names, known);
        for (pattern, schema) in patterns {
            let is_secret = pattern.ends_with("_SECRET$");
            assert_eq!(schema["writeOnly"] == json!(true), is_secret, "{pattern}: {schema}");
            assert_eq!((&schema["type"], &schema["x-group"]), (&json!("string"), &json!("oauth")));
        }
    }

    #[test]
    fn the_effective_settings_name_their_sources_and_mask_secrets() {
        let secret = "6fQ2vX9mT4kLbW8zR1nYcJ7hD3gPsE5a";
        let sources = Sources::default()
            .with_dotenv(".env".as_ref(), "PORT=81")
            .with_variables(&[("JWT_SECRET_KEY", secret), ("DATABASE_URI", "postgres://ann:hunter2@db/app")]);
        let loaded = Config::load(&sources).unwrap_or_else(|mistakes| panic!("{mistakes:?}"));
        let text = effective(&loaded);
        let line = |name: &str| text.lines().find(|line| line.starts_with(name)).map(str::to_owned);
        assert!(!text.contains(secret) && !text.contains("hunter2"));
        assert!(line("PORT ").is_some_and(|line| line.ends_with(" = 81  # .env")), "{text}");
        assert!(line("HOST ").is_some_and(|line| line.ends_with(" = 127.0.0.1  # default")), "{text}");
        assert!(
            line("JWT_SECRET_KEY ").is_some_and(|line| line.ends_with(" = ********  # environment")),
            "{text}"
        );
        assert!(
            line("DATABASE_URI ").is_some_and(|line| line.contains(" = postgres://ann@db:5432/app  #")),
            "{text}"
        );
    }

    #[test]
    fn the_settings_of_issuers_are_shown_behind_their_list() {
        let sources = Sources::default().only_looking().with_variables(&[
            ("OIDC_PROVIDERS", "acme"),
            ("OIDC_ACME_ISSUER", "https://id.acme.example"),
            ("GATEHOUSE_OIDC_ACME_CLIENT_ID", "gate"),
            ("OIDC_ACME_CLIENT_SECRET", "hunter2"),
            ("OIDC_OTHER_ISSUER", "https://another.example"),
        ]);
        let loaded = Config::load(&sources).unwrap_or_else(|mistakes| panic!("{mistakes:?}"));
        let text = effective(&loaded);
        let lines = text.lines().skip_while(|line| !line.starts_with("OIDC_PROVIDERS ")).take(6);
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(
            lines.map(words).collect::<Vec<_>>(),
            [
                "OIDC_PROVIDERS = acme # environment",
                "OIDC_ACME_ISSUER = https://id.acme.example # environment",
                "OIDC_ACME_CLIENT_ID = gate # environment",
                "OIDC_ACME_CLIENT_SECRET = ******** # environment",
                "OIDC_ACME_SCOPES = # default",
                "ALLOWED_REDIRECT_URIS = # default",
            ]
        );
        assert!(!text.contains("hunter2") && !text.contains("another"), "{text}");
    }

    #[test]
    fn what_is_set_and_has_no_effect_is_told_behind_the_settings() {
        let text = |variables: &[(&str, &str)]| {
            let sources = Sources::default().only_looking().with_variables(variables);
            let loaded = Config::load(&sources).unwrap_or_else(|mistakes| panic!("{mistakes:?}"));
            effective(&loaded)
        };
        assert!(!text(&[]).contains("# note"), "nothing is set");
        let smtp = text(&[("EMAIL_METHOD", "smtp")]);
        let note = "# note: no mail is sent: EMAIL_METHOD is set, but not SMTP_HOST, SMTP_SENDER_EMAIL";
        assert_eq!(smtp.lines().last(), Some(note), "{smtp}");
    }
}
