//! What is refused although each value is one: weak secrets, http, half an admin.

use secrecy::ExposeSecret;

use super::*;

#[test]
fn placeholders_are_no_master_secret_in_any_environment() {
    for environment in ["local", "production", "staging"] {
        for secret in [
            "changethis",
            "secret",
            "changethis-changethis-changethis-changethis",
            &"a".repeat(64),
            "Kx9-too-short",
        ] {
            let variables = [("ENVIRONMENT", environment), ("JWT_SECRET_KEY", secret)];
            assert_eq!(
                refused(&Sources::default().with_variables(&variables)),
                ["JWT_SECRET_KEY (environment) must be 32 bytes or more of chance, no placeholder; \
                 `openssl rand -base64 48` makes one"]
            );
        }
    }
}

#[test]
fn production_needs_a_master_secret() {
    assert_eq!(
        refused(&Sources::default().with_variables(&[("ENVIRONMENT", "production")])),
        [
            "JWT_SECRET_KEY is not set: it must be 32 bytes or more of chance, no placeholder; `openssl rand -base64 48` makes one"
        ]
    );
}

#[test]
fn earlier_secrets_are_a_list() {
    let previous = format!("{KEY},n4bQgYhMfWWaL-qgxVrQFaO_TxsrC4Is0V1sFbDwCgg");
    assert_eq!(config(&[("JWT_SECRET_KEY_PREVIOUS", &previous)]).tokens.previous_secrets.len(), 2);
    assert_eq!(mistakes(&[("JWT_SECRET_KEY_PREVIOUS", "changethis")]).len(), 1);
}

#[test]
fn https_makes_cookies_secure() {
    let server = config(&[("BASE_URL", "https://id.example.com")]).server;
    assert!(server.cookie_is_secure());
    assert_eq!(
        (server.cookie_name(), server.origin().as_str()),
        ("__Host-gatehouse", "https://id.example.com")
    );
}

#[test]
fn http_on_a_loopback_name_is_allowed_on_any_bind_address() {
    for url in ["http://localhost:8000", "http://127.0.0.1", "http://[::1]:80", "http://id.localhost"] {
        let server = config(&[("BASE_URL", url), ("HOST", "0.0.0.0")]).server;
        assert!(!server.cookie_is_secure());
        assert_eq!(server.cookie_name(), "gatehouse");
    }
}

#[test]
fn http_on_another_name_is_refused_unless_said_to_be_meant() {
    for url in ["http://id.example.com", "http://10.0.0.1", "http://localhost.example.com"] {
        assert_eq!(mistakes(&[("BASE_URL", url)]).len(), 1, "{url}");
        let loaded = accepted(&environment(&[("BASE_URL", url), ("INSECURE_HTTP", "True")]));
        assert!(!loaded.config.server.cookie_is_secure());
        assert_eq!(loaded.warnings.len(), 1);
    }
}

#[test]
fn what_is_rarely_meant_is_warned_of() {
    let warnings = |variables: &[(&str, &str)]| accepted(&environment(variables)).warnings;
    assert_eq!(warnings(&[("PROTECTED_INTERACTIVE_DOCS", "False"), ("ENVIRONMENT", "production")]).len(), 1);
    assert_eq!(warnings(&[("PROTECTED_INTERACTIVE_DOCS", "False")]).len(), 0);
    assert_eq!(warnings(&[("TRUSTED_PROXIES", "0.0.0.0/0")]).len(), 1);
}

#[test]
fn a_proxy_that_nobody_trusts_is_warned_of() {
    let warnings = |variables: &[(&str, &str)]| accepted(&environment(variables)).warnings;
    let reached = [("HOST", "0.0.0.0"), ("ENVIRONMENT", "production")];
    let https = [("BASE_URL", "https://id.example.com")];
    for behind in [&reached[..], &https] {
        assert_eq!(
            warnings(behind),
            ["TRUSTED_PROXIES is empty: behind a proxy all clients share its address, and so their limits"]
        );
        assert!(warnings(&[behind, &[("TRUSTED_PROXIES", "10.0.0.1")]].concat()).is_empty(), "{behind:?}");
    }
    for alone in [[reached[0], ("ENVIRONMENT", "local")], [reached[1], ("HOST", "::1")]] {
        assert!(warnings(&alone).is_empty(), "{alone:?}");
    }
}

#[test]
fn the_first_admin_is_whole_or_none() {
    let admin = config(&[("ADMIN_USERNAME", "ann"), ("ADMIN_PASSWORD", "correct horse")])
        .first_admin
        .expect("an admin");
    assert_eq!(
        (admin.username.as_str(), admin.email, admin.password.expose_secret()),
        ("ann", None, "correct horse")
    );
    let rule = "is not set, though other ADMIN_ variables are: set both name and password, or none";
    assert_eq!(mistakes(&[("ADMIN_USERNAME", "ann")]), [format!("ADMIN_PASSWORD {rule}")]);
    assert_eq!(mistakes(&[("ADMIN_PASSWORD", "correct horse")]), [format!("ADMIN_USERNAME {rule}")]);
    assert_eq!(mistakes(&[("ADMIN_EMAIL", "ann@example.com")]), [format!("ADMIN_USERNAME {rule}")]);
}

#[test]
fn a_default_admin_is_refused_in_every_environment() {
    for password in ["changethis", "admin", "password1", "secret", "Kx9-vw"] {
        let lines = mistakes(&[("ADMIN_USERNAME", "ann"), ("ADMIN_PASSWORD", password)]);
        assert_eq!(lines.len(), 1, "{password}");
        assert!(!lines[0].contains(password), "{}", lines[0]);
    }
    let variables =
        [("ADMIN_USERNAME", "ann"), ("ADMIN_EMAIL", "no address"), ("ADMIN_PASSWORD", "correct horse")];
    assert_eq!(mistakes(&variables).len(), 1);
}

#[test]
fn a_session_cant_go_unused_for_longer_than_it_lasts() {
    assert_eq!(
        mistakes(&[("REFRESH_EXP_DAYS", "60")]),
        ["REFRESH_EXP_DAYS is `60` (environment): it must be no longer than SESSION_ABSOLUTE_DAYS"]
    );
    assert_eq!(
        mistakes(&[("SESSION_ABSOLUTE_DAYS", "1")]),
        ["REFRESH_EXP_DAYS is not set: it must be no longer than SESSION_ABSOLUTE_DAYS"]
    );
}

#[test]
fn all_mistakes_are_told_at_once_each_on_its_line() {
    let lines = refused(
        &Sources::default()
            .with_toml("gatehouse.toml".as_ref(), "prot = 1")
            .with_dotenv(".env".as_ref(), "what is this\nJWT_EXP=soon")
            .with_variables(&[
                ("ENVIRONMENT", "production"),
                ("PORT", "80\n80"),
                ("BASE_URL", "http://example.com"),
                ("DATABASE_URI", "mysql://ann@db/app"),
                ("ADMIN_USERNAME", "ann"),
                ("GATEHOUSE_NOTHING", "x"),
            ]),
    );
    let begins = [
        ".env, line 1",
        "ADMIN_PASSWORD is not set",
        "BASE_URL is `http://example.com`",
        "DATABASE_URI (environment)",
        "GATEHOUSE_NOTHING (environment)",
        "JWT_EXP is `soon` (.env)",
        "JWT_SECRET_KEY is not set",
        "PORT is `80\\n80` (environment)",
        "PROT (gatehouse.toml)",
    ];
    assert_eq!(lines.len(), begins.len(), "{lines:#?}");
    for (line, begin) in lines.iter().zip(begins) {
        assert!(line.starts_with(begin) && !line.contains('\n'), "{line}");
    }
}

#[test]
fn no_mistake_and_no_debug_print_contains_a_secret() {
    const CANARY: &str = "c4nary";
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("canary");
    std::fs::write(&path, CANARY).expect("written");
    let path = path.to_string_lossy();
    for setting in settings().filter(|setting| setting.shape.is_secret()) {
        let name = setting.name;
        let file = format!("{name}_FILE");
        let begin = || Sources::default().only_looking();
        for sources in [
            begin().with_variables(&[(name, CANARY)]),
            begin().with_variables(&[(name, CANARY), (&file, "/nowhere")]),
            begin().with_variables(&[(&file, &path.replace("canary", "none"))]),
            begin().with_variables(&[(&file, &path)]),
            begin()
                .with_dotenv(".env".as_ref(), &format!("{name}={CANARY}\n{name}={CANARY}\n{name}: {CANARY}")),
            begin().with_toml("a.toml".as_ref(), &format!("{name} = {CANARY}")),
            begin().with_toml("a.toml".as_ref(), &format!("{name} = [1, \"{CANARY}\"]")),
            begin().with_variables(&[(&format!("GATEHOUSE_{name}X"), CANARY)]),
        ] {
            match Config::load(&sources) {
                Ok(loaded) => assert!(!format!("{:?}", loaded.config).contains(CANARY), "{name}"),
                Err(mistakes) => assert!(!format!("{mistakes:?}").contains(CANARY), "{mistakes:?}"),
            }
        }
    }
}
