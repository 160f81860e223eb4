//! Where values come from, and which one wins.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use super::*;

const TOML: &str = "gatehouse.toml";
const DOTENV: &str = ".env";

fn port(sources: Sources) -> u16 {
    accepted(&sources.with_variables(&[("JWT_SECRET_KEY", KEY)])).config.server.port
}

fn toml(text: &str) -> Sources {
    Sources::default().with_toml(TOML.as_ref(), text)
}

#[test]
fn a_later_source_wins() {
    assert_eq!(port(toml("port = 1")), 1);
    assert_eq!(port(toml("port = 1").with_dotenv(DOTENV.as_ref(), "PORT=2")), 2);
    assert_eq!(
        port(toml("port = 1").with_dotenv(DOTENV.as_ref(), "PORT=2").with_variables(&[("PORT", "3")])),
        3
    );
    assert_eq!(port(toml("port = 1").with_variables(&[("GATEHOUSE_PORT", "3")])), 3);
    assert_eq!(
        port(
            Sources::default()
                .with_dotenv(DOTENV.as_ref(), "GATEHOUSE_PORT=2")
                .with_variables(&[("PORT", "3")])
        ),
        3
    );
}

#[test]
fn every_name_works_bare_and_prefixed() {
    for setting in settings() {
        for name in setting.names() {
            let bare = names::spelling(name).expect(name);
            let prefixed = names::spelling(&format!("{PREFIX}{name}")).expect(name);
            assert_eq!((&*bare.setting, &*prefixed.setting), (setting.name, setting.name));
        }
    }
}

#[test]
fn a_prefixed_name_beats_a_bare_one() {
    assert_eq!(config(&[("PORT", "1"), ("GATEHOUSE_PORT", "2")]).server.port, 2);
}

#[test]
fn aliases_of_older_deployments_are_understood() {
    let config = config(&[
        ("APP_NAME", "Shop"),
        ("DEBUG", "True"),
        ("DB_POOL_SIZE", "5"),
        ("DB_POOL_TIMEOUT", "7"),
        ("REQUEST_TIMEOUT", "9"),
        ("DATABASE_URL", "sqlite:a.db"),
    ]);
    assert_eq!(config.server.project_name, "Shop");
    assert_eq!(config.log.filter, "debug");
    assert_eq!((config.database.max_connections, config.database.acquire_timeout.as_secs()), (5, 7));
    assert_eq!(config.server.request_timeout.as_secs(), 9);
    assert_eq!(config.database.address.to_string(), "sqlite://a.db");
    let loaded = accepted(&Sources::default().with_variables(&[("SECRET_KEY", KEY)]));
    assert_eq!(loaded.config.tokens.master_secret.expose(), KEY.as_bytes());
}

#[test]
fn a_switch_says_less_than_a_value_and_nothing_when_off() {
    assert_eq!(config(&[("DEBUG", "true"), ("LOG_LEVEL", "ERROR")]).log.filter, "error");
    assert_eq!(config(&[("DEBUG", "false")]).log.filter, "info");
    assert_eq!(
        mistakes(&[("DEBUG", "a bit")]),
        ["DEBUG is `a bit` (environment): it must be true, false, 1, 0, yes, no, on or off"]
    );
}

#[test]
fn empty_means_unset() {
    assert_eq!(port(toml("port = 1").with_variables(&[("PORT", "")])), 1);
    assert_eq!(port(toml("port = 1").with_variables(&[("PORT", "  ")])), 1);
    assert_eq!(port(toml("port = 1").with_variables(&[("PORT", "\"\"")])), 1);
    assert_eq!(port(toml("port = 1").with_dotenv(DOTENV.as_ref(), "PORT= # nothing")), 1);
}

#[test]
fn one_pair_of_quotes_is_stripped() {
    for (text, name) in [
        ("'Shop'", "Shop"),
        ("\"Shop\"", "Shop"),
        ("\"'Shop'\"", "'Shop'"),
        ("'Shop\"", "'Shop\""),
        ("'", "'"),
    ] {
        assert_eq!(config(&[("PROJECT_NAME", text)]).server.project_name, name);
    }
    let quoted = toml("project_name = \"'Shop'\"").with_variables(&[("JWT_SECRET_KEY", KEY)]);
    assert_eq!(accepted(&quoted).config.server.project_name, "'Shop'");
}

#[test]
fn a_file_may_hold_the_value() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("key");
    std::fs::write(&path, format!("{KEY}\r\n")).expect("written");
    let named = path.to_string_lossy();
    for name in ["JWT_SECRET_KEY_FILE", "GATEHOUSE_JWT_SECRET_KEY_FILE", "SECRET_KEY_FILE"] {
        let loaded = accepted(&Sources::default().with_variables(&[(name, &named)]));
        assert_eq!(loaded.config.tokens.master_secret.expose(), KEY.as_bytes());
        let key =
            loaded.settings.iter().find(|effective| effective.name == "JWT_SECRET_KEY").expect("a setting");
        assert_eq!(key.origin, Origin::File(path.clone()));
    }
}

#[test]
fn a_file_that_holds_no_value_is_a_mistake() {
    let folder = tempfile::tempdir().expect("a folder");
    let named = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).expect("written");
        path.to_string_lossy().into_owned()
    };
    for (path, why) in [
        (named("empty", b"\n"), "which is empty"),
        (named("bytes", b"\xff"), "which is not UTF-8"),
        (named("large", &b"a".repeat(70_000)), "which is larger than 64 KiB"),
        (folder.path().join("none").to_string_lossy().into_owned(), "which can't be read: No such file"),
        (folder.path().to_string_lossy().into_owned(), "which can't be read: Is a directory"),
    ] {
        let lines = mistakes(&[("PORT_FILE", &path)]);
        assert_eq!(lines.len(), 1);
        assert!(
            lines[0].starts_with(&format!("PORT_FILE (environment) names {path}, {why}")),
            "{}",
            lines[0]
        );
    }
}

#[test]
fn a_value_beside_its_file_is_a_contradiction() {
    assert_eq!(
        mistakes(&[("ADMIN_PASSWORD", "one"), ("ADMIN_PASSWORD_FILE", "/two")]),
        ["ADMIN_PASSWORD and ADMIN_PASSWORD_FILE are both set (environment): keep one"]
    );
    let overridden = Sources::default().with_dotenv(DOTENV.as_ref(), "PORT_FILE=/nowhere");
    assert_eq!(port(overridden.with_variables(&[("PORT", "3")])), 3, "a file that nobody needs isn't read");
}

#[test]
fn aliases_that_differ_are_a_contradiction() {
    assert_eq!(
        mistakes(&[("DATABASE_URI", "sqlite:a"), ("DATABASE_URL", "sqlite:b")]),
        ["DATABASE_URI and DATABASE_URL are both set (environment): keep one"]
    );
    assert_eq!(
        config(&[("DATABASE_URI", "sqlite:a"), ("DATABASE_URL", "sqlite:a")]).database.address.to_string(),
        "sqlite://a"
    );
}

#[test]
fn a_name_twice_is_a_mistake() {
    assert_eq!(
        refused(&environment(&[]).with_dotenv(DOTENV.as_ref(), "PORT=1\nPORT=1")),
        ["PORT is set twice (.env): keep one"]
    );
    assert_eq!(
        refused(&environment(&[]).with_toml(TOML.as_ref(), "port = 1\n[server]\nPORT = 2")),
        ["PORT is set twice (gatehouse.toml): keep one"]
    );
}

#[test]
fn an_unknown_name_with_our_prefix_is_a_mistake_that_suggests_the_nearest() {
    assert_eq!(
        mistakes(&[("GATEHOUSE_BASE_ULR", "x")]),
        ["GATEHOUSE_BASE_ULR (environment) is no setting: did you mean GATEHOUSE_BASE_URL?"]
    );
    assert_eq!(
        refused(&environment(&[]).with_dotenv(DOTENV.as_ref(), "GATEHOUSE_QUUX=x")),
        ["GATEHOUSE_QUUX (.env) is no setting: `gatehouse config --example` lists all"]
    );
    assert_eq!(
        refused(&environment(&[]).with_toml(TOML.as_ref(), "log_lvel = 'x'")),
        ["LOG_LVEL (gatehouse.toml) is no setting: did you mean LOG_LEVEL?"]
    );
}

#[test]
fn an_unknown_name_without_our_prefix_is_not_ours() {
    config(&[("BASE_ULR", "x")]);
    accepted(&environment(&[]).with_dotenv(DOTENV.as_ref(), "VITE_URL=x"));
}

#[test]
fn what_kubernetes_injects_is_ignored() {
    let injected = config(&[
        ("GATEHOUSE_SERVICE_HOST", "10.0.0.1"),
        ("GATEHOUSE_SERVICE_PORT_HTTP", "8000"),
        ("GATEHOUSE_PORT", "tcp://10.0.0.1:8000"),
        ("GATEHOUSE_PORT_8000_TCP_ADDR", "10.0.0.1"),
        ("POSTGRES_PORT", "tcp://10.0.0.2:5432"),
    ]);
    assert_eq!(injected.server.port, 8000);
}

#[test]
fn a_setting_that_looks_like_one_of_kubernetes_is_still_a_setting() {
    let client = format!("shop:{}", hash_of_secret(b"secret"));
    assert_eq!(config(&[("GATEHOUSE_SERVICE_CLIENTS", &client)]).services.len(), 1);
}

#[test]
fn what_is_not_utf_8_is_a_mistake_only_where_it_is_ours() {
    let bytes = || OsString::from_vec(vec![0xff]);
    let ours = environment(&[]).with_environment([("PORT".into(), bytes()), ("GATEHOUSE_X".into(), bytes())]);
    assert_eq!(refused(&ours), ["GATEHOUSE_X (environment) is not UTF-8", "PORT (environment) is not UTF-8"]);
    accepted(&environment(&[]).with_environment([("LS_COLORS".into(), bytes()), (bytes(), "x".into())]));
}

#[test]
fn a_named_file_must_be_there_and_readable() {
    let folder = tempfile::tempdir().expect("a folder");
    let missing = folder.path().join("a.toml");
    let lines = refused(&environment(&[]).with_file(&missing, Presence::Required));
    assert!(
        lines[0].starts_with(&format!("{} can't be read: No such file", missing.display())),
        "{}",
        lines[0]
    );
    accepted(&environment(&[]).with_file(&missing, Presence::Optional).with_dotenv_file(&missing));
    std::fs::write(&missing, b"\xff").expect("written");
    assert_eq!(
        refused(&environment(&[]).with_file(&missing, Presence::Optional)),
        [format!("{} is not UTF-8", missing.display())]
    );
    let lines = refused(&environment(&[]).with_dotenv_file(folder.path()));
    assert!(lines[0].contains("can't be read: Is a directory"), "{}", lines[0]);
}
