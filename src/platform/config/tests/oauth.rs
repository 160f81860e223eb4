//! Signing in through other providers: what is half configured, where a sign-in may end.

use url::Url;

use super::*;

const ACME: [(&str, &str); 4] = [
    ("OIDC_PROVIDERS", "acme"),
    ("OIDC_ACME_ISSUER", "https://id.acme.example/"),
    ("OIDC_ACME_CLIENT_ID", "gate"),
    ("OIDC_ACME_CLIENT_SECRET", "secret of gate"),
];

fn target(variables: &[(&str, &str)], text: &str) -> Option<String> {
    let config = config(variables);
    config.oauth.redirect_target(text, &config.server).map(|url| url.to_string())
}

#[test]
fn nobody_is_configured_until_somebody_is() {
    let oauth = config(&[]).oauth;
    assert!(oauth.clients.is_empty() && oauth.issuers.is_empty() && oauth.bluesky.is_none());
    assert!(!oauth.link_unverified_local);
}

#[test]
fn half_a_client_is_a_mistake_that_names_the_other_half() {
    assert_eq!(
        mistakes(&[("API_CLIENT_ID_GITHUB", "x"), ("API_CLIENT_SECRET_REDDIT", "y")]),
        [
            "API_CLIENT_ID_REDDIT is not set: API_CLIENT_SECRET_REDDIT needs it",
            "API_CLIENT_SECRET_GITHUB is not set: API_CLIENT_ID_GITHUB needs it",
        ]
    );
    let whole = config(&[("API_CLIENT_ID_GITHUB", "x"), ("GATEHOUSE_API_CLIENT_SECRET_GITHUB", "y")]);
    assert_eq!((whole.oauth.clients[0].provider, &*whole.oauth.clients[0].id), ("github", "x"));
}

#[test]
fn an_issuer_is_kept_letter_for_letter() {
    let issuers = config(&ACME).oauth.issuers;
    assert_eq!((&*issuers[0].name, &*issuers[0].issuer), ("acme", "https://id.acme.example/"));
    assert_eq!(issuers[0].scopes, None);
}

#[test]
fn settings_of_issuers_are_settings_in_every_spelling() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("secret");
    std::fs::write(&file, "from a file\n").expect("a file");
    let mut variables = ACME.to_vec();
    variables[3] = ("OIDC_ACME_CLIENT_SECRET_FILE", file.to_str().expect("UTF-8"));
    variables[2] = ("GATEHOUSE_OIDC_ACME_CLIENT_ID", "gate");
    variables.push(("OIDC_ACME_SCOPES", "openid groups"));
    let issuers = config(&variables).oauth.issuers;
    assert_eq!(secrecy::ExposeSecret::expose_secret(&issuers[0].secret), "from a file");
    assert_eq!(issuers[0].scopes.as_deref(), Some("openid groups"));
}

#[test]
fn half_an_issuer_is_a_mistake() {
    let accepted = "it must be text, because OIDC_PROVIDERS names this issuer";
    assert_eq!(
        mistakes(&ACME[..2]),
        [
            format!("OIDC_ACME_CLIENT_ID is not set: {accepted}"),
            format!("OIDC_ACME_CLIENT_SECRET is not set: {accepted}")
        ]
    );
    assert_eq!(
        mistakes(&[ACME.as_slice(), &[("OIDC_ACME_SCOPES", "profile")]].concat()),
        ["OIDC_ACME_SCOPES (environment) must be scopes with spaces between, `openid` among them"]
    );
}

#[test]
fn an_issuer_that_is_not_listed_is_a_mistake_where_it_must_be_ours() {
    let stray = ("GATEHOUSE_OIDC_AMCE_ISSUER", "https://id.acme.example");
    assert_eq!(
        mistakes(&[stray]),
        ["GATEHOUSE_OIDC_AMCE_ISSUER (environment) is set, but OIDC_PROVIDERS does not name amce"]
    );
    let of_another_program = [("OIDC_RP_CLIENT_ID", "x")];
    assert!(config(&of_another_program).oauth.issuers.is_empty());
    assert_eq!(mistakes(&[("GATEHOUSE_OIDC_ACME_KEY", "x")]).len(), 1, "not every name is one");
}

#[test]
fn names_of_issuers_are_names() {
    for name in ["github", "Token", "a-b", "a b", "ä", &"a".repeat(33)] {
        assert!(mistakes(&[("OIDC_PROVIDERS", name)])[0].contains("that no other provider has"), "{name}");
    }
}

#[test]
fn providers_are_reached_by_https_or_on_this_machine_while_it_is_tried() {
    let client = [("API_CLIENT_ID_GITHUB", "x"), ("API_CLIENT_SECRET_GITHUB", "y")];
    let of = |environment, url| {
        let more = [("ENVIRONMENT", environment), ("OAUTH_GITHUB_BASE_URL", url), ("PORT", "8000")];
        Config::load(&super::environment(&[client.as_slice(), &more].concat())).is_ok()
    };
    assert!(of("local", "http://127.0.0.1:9000/github") && of("local", "https://proxy.example"));
    assert!(of("production", "https://proxy.example"));
    assert!(!of("local", "http://proxy.example") && !of("production", "http://127.0.0.1:9000"));
    let mut acme = ACME;
    acme[1].1 = "http://id.acme.example";
    assert!(mistakes(&acme)[0].starts_with("OIDC_ACME_ISSUER"));
}

#[test]
fn a_sign_in_ends_here_or_where_that_is_allowed() {
    let here = "http://localhost:8000/";
    assert_eq!(target(&[], "/welcome?a=1").as_deref(), Some("http://localhost:8000/welcome?a=1"));
    assert_eq!(
        target(&[], "http://localhost:8000/welcome").as_deref(),
        Some("http://localhost:8000/welcome")
    );
    for elsewhere in [
        "//evil.example",
        "/\\evil.example",
        "/\t/evil.example",
        "https://evil.example/",
        "javascript:alert(1)",
        "data:text/html,x",
        "http://localhost:8001/",
        "http://localhost:8000@evil.example/",
        "welcome",
        "",
        "http://user@localhost:8000/",
        "\\\\evil.example",
        "/%0d\r\n",
        "http:/\\evil.example",
        "http://localhost:8000.evil.example/",
    ] {
        let found = target(&[], elsewhere);
        assert!(found.as_ref().is_none_or(|url| url.starts_with(here)), "{elsewhere}: {found:?}");
    }
    assert_eq!(target(&[], "javascript:alert(1)"), None);
}

#[test]
fn allowed_addresses_are_exact_or_prefixes() {
    let allowed = [(
        "ALLOWED_REDIRECT_URIS",
        "https://app.example/done, https://app.example/in/, com.example.app:/callback",
    )];
    for good in
        ["https://app.example/done", "https://app.example/in/x?y=1", "com.example.app:/callback", "/x"]
    {
        assert!(target(&allowed, good).is_some(), "{good}");
    }
    for bad in [
        "https://app.example/done/",
        "https://app.example/done?x=1",
        "https://app.example/in",
        "https://app.example/in/../out",
        "https://app.example.evil.example/in/",
        "http://app.example/in/",
        "https://app.example:444/in/",
        "com.example.app:/other",
        "http://localhost:8000/x",
    ] {
        assert_eq!(target(&allowed, bad), None, "{bad}");
    }
    assert_eq!(mistakes(&[("ALLOWED_REDIRECT_URIS", "javascript:x")]).len(), 1);
    assert_eq!(mistakes(&[("ALLOWED_REDIRECT_URIS", "example.com/x")]).len(), 1);
    assert!(Url::parse("com.example.app:/callback").is_ok());
}
