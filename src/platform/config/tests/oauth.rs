//! Signing in through other providers: what is half configured, and what is no address.

use url::Url;

use super::*;

const ACME: [(&str, &str); 4] = [
    ("OIDC_PROVIDERS", "acme"),
    ("OIDC_ACME_ISSUER", "https://id.acme.example/"),
    ("OIDC_ACME_CLIENT_ID", "gate"),
    ("OIDC_ACME_CLIENT_SECRET", "secret of gate"),
];

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
fn allowed_addresses_are_exact_or_prefixes() {
    let text = "https://app.example/done, https://app.example/in/, com.example.app:/callback";
    let url = |text: &str| Url::parse(text).expect("an address");
    assert_eq!(
        config(&[("ALLOWED_REDIRECT_URIS", text)]).oauth.allowed_redirect_uris,
        [
            RedirectRule::Exactly(url("https://app.example/done")),
            RedirectRule::Below(url("https://app.example/in/")),
            RedirectRule::Exactly(url("com.example.app:/callback")),
        ]
    );
    for bad in [
        "javascript:x",
        "example.com/x",
        "data:text/html,x",
        "https://me@app.example/",
        "https://a.example/#x",
    ] {
        assert_eq!(mistakes(&[("ALLOWED_REDIRECT_URIS", bad)]).len(), 1, "{bad}");
    }
}
