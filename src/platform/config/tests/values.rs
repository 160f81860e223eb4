//! How texts become values.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::platform::clock::Timestamp;

#[test]
fn booleans_have_eight_spellings_in_any_case() {
    for text in ["true", "True", "1", "YES", "on"] {
        assert!(config(&[("PASSWORD_COMPOSITION", text)]).passwords.composition, "{text}");
    }
    for text in ["false", "False", "0", "NO", "off"] {
        assert!(!config(&[("AUTO_MIGRATE", text)]).database.auto_migrate, "{text}");
    }
    assert_eq!(
        mistakes(&[("AUTO_MIGRATE", "maybe")]),
        ["AUTO_MIGRATE is `maybe` (environment): it must be true, false, 1, 0, yes, no, on or off"]
    );
}

#[test]
fn levels_of_python_and_filters_of_tracing_are_understood() {
    for (text, filter) in [
        ("SUCCESS", "info"),
        ("WARNING", "warn"),
        ("critical", "error"),
        ("TRACE", "trace"),
        ("info,sqlx=debug", "info,sqlx=debug"),
    ] {
        assert_eq!(config(&[("LOG_LEVEL", text)]).log.filter, filter);
    }
    for text in ["VERBOSE", "sqlx=loud"] {
        assert_eq!(mistakes(&[("LOG_LEVEL", text)]).len(), 1, "{text}");
    }
}

#[test]
fn the_format_of_the_log_can_be_named() {
    assert_eq!(config(&[("LOG_FORMAT", "JSON")]).log.format, LogFormat::Json);
    assert_eq!(config(&[("LOG_FORMAT", "pretty")]).log.format, LogFormat::Pretty);
}

#[test]
fn a_quota_is_a_count_and_a_time() {
    for (text, limit, seconds) in
        [("20/15m", 20, 900), ("1/1s", 1, 1), ("30 / 1h", 30, 3600), ("5/2d", 5, 172_800)]
    {
        let quota = config(&[("THROTTLE_LOGIN", text)]).throttles.login;
        assert_eq!(quota, Quota { limit, window: Duration::from_secs(seconds) });
    }
    for text in
        ["20", "0/1m", "20/0m", "20/15", "20/15w", "-1/1m", "20/99999999999999999999d", "20/32d", "/", "1/ä"]
    {
        assert_eq!(mistakes(&[("THROTTLE_LOGIN", text)]).len(), 1, "{text}");
    }
}

#[test]
fn floors_hold_in_every_environment() {
    for (name, text) in [
        ("PASSWORD_MIN_LENGTH", "7"),
        ("ARGON2_MEMORY_KIB", "19455"),
        ("ARGON2_ITERATIONS", "1"),
        ("ARGON2_LANES", "0"),
        ("JWT_EXP", "0"),
        ("MAX_CONCURRENT_HASHES", "0"),
        ("PORT", "65536"),
        ("PORT", "-1"),
    ] {
        assert_eq!(mistakes(&[(name, text)]).len(), 1, "{name}={text}");
    }
}

#[test]
fn hashes_run_on_every_core_unless_said_otherwise() {
    assert!(config(&[]).passwords.max_concurrent_hashes >= 1);
    assert_eq!(config(&[("MAX_CONCURRENT_HASHES", "3")]).passwords.max_concurrent_hashes, 3);
}

#[test]
fn one_setting_may_follow_another() {
    let config = config(&[("BASE_URL", "https://id.example.com"), ("DATA_DIR", "/srv/gatehouse")]);
    assert_eq!(config.server.frontend_url.as_str(), "https://id.example.com/");
    assert_eq!(config.server.cors_origins, ["https://id.example.com"]);
    assert_eq!(config.database.address.to_string(), "sqlite:///srv/gatehouse/gatehouse.db");
}

#[test]
fn a_mistake_isnt_told_again_for_the_settings_that_follow_it() {
    assert_eq!(
        mistakes(&[("PORT", "x")]),
        ["PORT is `x` (environment): it must be a whole number from 0 to 65535"]
    );
}

#[test]
fn origins_are_exact() {
    let server = config(&[("CORS_ORIGINS", "https://A.example.com/, http://localhost:3000 ,")]).server;
    assert_eq!(server.cors_origins, ["https://a.example.com", "http://localhost:3000"]);
    for text in ["*", "https://*", "null", "example.com", "ftp://example.com", "https://ann:pw@example.com"] {
        assert_eq!(mistakes(&[("CORS_ORIGINS", text)]).len(), 1, "{text}");
    }
}

#[test]
fn addresses_are_without_path_query_and_password() {
    for text in [
        "https://example.com/app",
        "https://example.com?a",
        "https://example.com#a",
        "https://ann:pw@example.com",
        "//a",
    ] {
        assert_eq!(mistakes(&[("BASE_URL", text)]).len(), 1, "{text}");
    }
    assert_eq!(config(&[("FRONTEND_URL", "https://example.com/app")]).server.frontend_url.path(), "/app");
}

#[test]
fn the_prefix_of_the_api_has_one_form() {
    for (text, prefix) in [("/api", "/api"), ("/api/", "/api"), ("/a/v1//", "/a/v1")] {
        assert_eq!(config(&[("API_STR", text)]).server.api_prefix, prefix);
    }
    for text in ["api", "/", "/a//b", "/a/../b", "/a b", "/{a}", "/:a", "/*"] {
        assert_eq!(mistakes(&[("API_STR", text)]).len(), 1, "{text}");
    }
}

#[test]
fn networks_may_be_single_addresses() {
    let networks = config(&[("TRUSTED_PROXIES", "10.0.0.0/8, 192.168.1.1, fd00::/8")]).server.trusted_proxies;
    assert_eq!(
        networks.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["10.0.0.0/8", "192.168.1.1/32", "fd00::/8"]
    );
}

#[test]
fn any_other_environment_behaves_as_production() {
    let server = config(&[("ENVIRONMENT", "staging")]).server;
    assert!(!server.environment.is_local());
    assert_eq!(server.environment.name(), "staging");
    assert_eq!(config(&[("ENVIRONMENT", "staging")]).users.username_min, 5);
    assert_eq!(config(&[("ENVIRONMENT", "LOCAL")]).users.username_min, 1);
}

#[test]
fn a_service_is_known_by_its_secret() {
    let services = format!("shop:{}, mail:{}", hash_of_secret(b"one"), hash_of_secret(b"two"));
    let services = config(&[("SERVICE_CLIENTS", &services)]).services;
    assert_eq!(services.iter().map(|service| service.name.as_str()).collect::<Vec<_>>(), ["shop", "mail"]);
    assert!(services[0].knows(b"one") && !services[0].knows(b"two") && !services[0].knows(b""));
    for text in [
        "shop",
        "shop:abc",
        ":00",
        "a b:00",
        &format!("shop:{}", "zz".repeat(32)),
        &format!("shop:{}", "é".repeat(32)),
    ] {
        assert_eq!(mistakes(&[("SERVICE_CLIENTS", text)]).len(), 1, "{text}");
    }
}

#[test]
fn a_role_may_need_a_second_factor_from_a_day_on() {
    let required = |text: &str| config(&[("OTP_REQUIRED_ROLES", text)]).otp.required_roles;
    let role = |role: &str, from: Option<i64>| RequiredRole {
        role: role.to_owned(),
        from: from.map(Timestamp::from_seconds),
    };
    assert_eq!(required(""), []);
    assert_eq!(
        required("admin, moderator = 2027-01-01,user=2024-02-29"),
        [role("admin", None), role("moderator", Some(1_798_761_600)), role("user", Some(1_709_164_800))]
    );
    for text in [
        "boss",
        "Admin",
        "admin=",
        "admin=soon",
        "admin=2027-1-1",
        "admin=2027-13-01",
        "admin=2027-02-29",
        "admin=+027-01-01",
        "admin=2027-01-01=",
        "admin=20270101",
        "=2027-01-01",
        "admin;user",
    ] {
        assert_eq!(mistakes(&[("OTP_REQUIRED_ROLES", text)]).len(), 1, "{text}");
    }
}

#[test]
fn the_codes_of_the_second_factor_have_bounds() {
    let otp = config(&[]).otp;
    assert_eq!((otp.length, otp.window, otp.email_allowed), (6, 1, true));
    assert_eq!((otp.authenticator_interval.as_secs(), otp.email_interval.as_secs()), (30, 600));
    for (name, text) in [
        ("OTP_LENGTH", "5"),
        ("OTP_LENGTH", "9"),
        ("OTP_AUTHENTICATOR_INTERVAL", "14"),
        ("OTP_AUTHENTICATOR_INTERVAL", "121"),
        ("OTP_EMAIL_INTERVAL", "59"),
        ("OTP_EMAIL_INTERVAL", "601"),
        ("TOTP_WINDOW", "2"),
        ("TOTP_WINDOW", "-1"),
    ] {
        assert_eq!(mistakes(&[(name, text)]).len(), 1, "{name}={text}");
    }
}

#[test]
fn the_hash_of_a_secret_is_its_sha_256() {
    // FIPS 180-4, the example "abc".
    let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(hash_of_secret(b"abc"), expected);
}

proptest! {
    #[test]
    fn no_value_of_any_setting_makes_loading_panic(at in 0..settings().count(), text in "\\PC*") {
        if let Some(setting) = settings().nth(at) {
            let sources = Sources::default().only_looking().with_variables(&[(setting.name, &text.replace('\0', ""))]);
            prop_assert!(Config::load(&sources).map_or_else(|mistakes| !mistakes.is_empty(), |_| true));
        }
    }

    #[test]
    fn no_file_of_variables_makes_loading_panic(text in any::<String>()) {
        let sources = environment(&[]).with_dotenv(".env".as_ref(), &text);
        prop_assert!(Config::load(&sources).map_or_else(|mistakes| !mistakes.is_empty(), |_| true));
    }

    #[test]
    fn no_toml_makes_loading_panic(text in "[a-zA-Z_]{1,9} *=? *(\\[|\"|'|[0-9]|\\PC){0,20}\\n?") {
        let sources = environment(&[]).with_toml("gatehouse.toml".as_ref(), &text);
        prop_assert!(Config::load(&sources).map_or_else(|mistakes| !mistakes.is_empty(), |_| true));
    }
}

#[test]
fn an_address_of_redis_is_a_secret_and_takes_no_certificate_of_anybody() {
    assert!(config(&[]).limiter.redis.is_none());
    for text in ["redis://localhost", "rediss://gate:p%40ss@redis.example.com:6380/2", "redis://[::1]:6379"] {
        assert!(config(&[("REDIS_URL", text)]).limiter.redis.is_some(), "{text}");
    }
    for text in [
        "localhost:6379",
        "http://localhost",
        "redis://",
        "rediss://host#insecure",
        "redis://h:s3cret@x:99999",
    ] {
        let mistakes = mistakes(&[("REDIS_URL", text)]);
        assert_eq!(mistakes.len(), 1, "{text}");
        assert!(!mistakes[0].contains("s3cret"), "{mistakes:?}");
    }
}

#[test]
fn an_address_of_rabbitmq_is_a_secret_and_is_read_strictly() {
    assert!(config(&[]).rabbitmq.address.is_none());
    for (text, shown, user, password, vhost) in [
        ("amqp://localhost", "localhost:5672", "guest", "guest", "/"),
        ("amqps://gate:p%40ss@mq.example.com/", "mq.example.com:5671", "gate", "p@ss", "/"),
        ("amqp://gate:keeper@[::1]:5673/%2f", "::1:5673", "gate", "keeper", "/"),
        ("amqp://gate:keeper@10.0.0.1/users", "10.0.0.1:5672", "gate", "keeper", "users"),
    ] {
        let address = config(&[("RABBITMQ_URL", text)]).rabbitmq.address.expect(text);
        let uri = address.uri();
        assert_eq!((address.to_string().as_str(), uri.vhost.as_str()), (shown, vhost), "{text}");
        let people = &uri.authority.userinfo;
        assert_eq!((people.username.as_str(), people.password.as_str()), (user, password), "{text}");
        assert_eq!(format!("{address:?}"), format!("BrokerAddress({shown})"));
    }
    for text in [
        "localhost:5672",
        "http://localhost",
        "amqp://",
        "amqp:localhost",
        "amqp://h:s3cret@x:99999",
        "amqp://s3cret@host",
        "amqp://:s3cret@host",
        "amqp://g:s3cret@host/a/b",
        "amqp://g:s3cret@host?heartbeat=0",
        "amqp://g:s3cret@host/#x",
        "amqp://g:s3cret%00@host",
        "amqp://g:s3cret%ff@host",
    ] {
        let mistakes = mistakes(&[("RABBITMQ_URL", text)]);
        assert_eq!(mistakes.len(), 1, "{text}");
        assert!(!mistakes[0].contains("s3cret"), "{mistakes:?}");
    }
}

#[test]
fn names_at_rabbitmq_are_plain() {
    let settings = config(&[]).rabbitmq;
    assert_eq!((settings.exchange.as_str(), settings.queue.as_str()), ("user_events", "user_events_queue"));
    assert!(settings.consumer && !config(&[("RABBITMQ_CONSUMER_ENABLED", "no")]).rabbitmq.consumer);
    for name in ["RABBITMQ_EXCHANGE", "RABBITMQ_QUEUE"] {
        for text in ["two words", "ä", "a/b", &"x".repeat(121)] {
            assert_eq!(mistakes(&[(name, text)]).len(), 1, "{name} {text}");
        }
    }
    assert_eq!(mistakes(&[("RABBITMQ_EXCHANGE", "amq.topic")]).len(), 1, "the broker keeps those for itself");
}

#[test]
fn requests_are_limited_when_that_is_switched_on() {
    assert_eq!(config(&[]).limiter.requests(), None);
    let quota = config(&[("RATE_LIMITER_ENABLED", "True")]).limiter.requests();
    assert_eq!(quota, Some(Quota { limit: 300, window: Duration::from_mins(15) }));
    for (name, text) in [("RATE_LIMITER_MAX_REQUESTS", "0"), ("RATE_LIMITER_WINDOW_SECONDS", "0")] {
        assert_eq!(mistakes(&[(name, text)]).len(), 1, "{name}");
    }
}
