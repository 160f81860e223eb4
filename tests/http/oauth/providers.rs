//! The connections themselves, held against a provider that lies: no answer of it makes an error of ours, somebody
//! whom it did not prove, or a wait.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::future::join_all;
use gatehouse::oauth::{Begin, Connection, ConnectionParts, Connections, Finish, Identity, ProviderFault};
use gatehouse::platform::clock::Clock;
use gatehouse::platform::config::Config;
use gatehouse::platform::random::Random;
use gatehouse::platform::secrets::Secrets;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use url::Url;

use super::idp::{CLIENT_ID, Forgery, ISSUERS, Idp, Manner, PROVIDERS, Person, Place, parameter};
use crate::harness::{START, timed};

const NONCE: &str = "n-0S6_WzA2Mj-of-the-tests";
const STATE: &str = "state-of-the-tests";
const BACK: &str = "http://localhost:8000/api/oauth/x/callback";

/// A provider, and the connections to it.
struct Desk {
    idp: Idp,
    connections: Connections,
    clock: Clock,
}

/// A sign-in that came back.
struct Callback {
    code: String,
    iss: Option<String>,
    verifier: SecretString,
}

impl Desk {
    async fn new() -> Self {
        let idp = Idp::start().await;
        let clock = Clock::manual(START);
        idp.follow(&clock);
        let config = Config::for_tests("/nowhere".as_ref(), &idp.settings());
        let parts = ConnectionParts {
            clock: clock.clone(),
            random: Random::System,
            secrets: Arc::new(Secrets::new(b"0123456789abcdef0123456789abcdef", &[])),
            base_url: "http://localhost:8000".to_owned(),
            api_url: "http://localhost:8000/api".to_owned(),
            project_name: "Gatehouse".to_owned(),
        };
        let connections = Connections::open(&config.oauth, &parts).expect("connections");
        Self { idp, connections, clock }
    }

    fn to(&self, provider: &str) -> &Connection {
        self.connections.named(provider).expect("configured")
    }

    /// From the button to the callback.
    async fn come_back(&self, provider: &str) -> Result<Callback, ProviderFault> {
        let verifier = URL_SAFE_NO_PAD.encode(Random::System.bytes::<32>());
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, verifier.as_bytes());
        let challenge = URL_SAFE_NO_PAD.encode(digest);
        let begin = Begin {
            state: STATE,
            nonce: NONCE,
            challenge: &challenge,
            redirect_uri: BACK,
            handle: None,
            is_proof: false,
        };
        let left = self.to(provider).begin(begin).await?;
        let callback = self.idp.visit(left.authorization_url.as_str()).await;
        assert!(callback.as_str().starts_with(BACK));
        assert_eq!(parameter(&callback, "state").as_deref(), Some(STATE));
        Ok(Callback {
            code: parameter(&callback, "code").expect("a code"),
            iss: parameter(&callback, "iss"),
            verifier: verifier.into(),
        })
    }

    async fn finish(&self, provider: &str, callback: &Callback) -> Result<Identity, ProviderFault> {
        let finish = Finish {
            code: &callback.code,
            iss: callback.iss.as_deref(),
            nonce: NONCE,
            verifier: &callback.verifier,
            redirect_uri: BACK,
            private: None,
            since: None,
        };
        self.to(provider).finish(finish).await
    }

    /// The whole way.
    async fn sign_in(&self, provider: &str) -> Result<Identity, ProviderFault> {
        let callback = self.come_back(provider).await?;
        self.finish(provider, &callback).await
    }

    async fn fault(&self, provider: &str) -> ProviderFault {
        match self.sign_in(provider).await {
            Ok(identity) => panic!("{provider} made {identity:?}"),
            Err(fault) => fault,
        }
    }
}

fn everybody() -> impl Iterator<Item = &'static str> {
    PROVIDERS.into_iter().chain(ISSUERS)
}

// --- who somebody is

#[tokio::test]
async fn every_provider_tells_who_somebody_is() {
    let desk = Desk::new().await;
    for provider in everybody() {
        let ann = desk.sign_in(provider).await.unwrap_or_else(|fault| panic!("{provider}: {fault}"));
        let subject = if provider == "reddit" { "11d76e8b6401000" } else { "80351110224678912" };
        assert_eq!(ann.subject, subject, "{provider}");
        let gives_address = !matches!(provider, "reddit" | "twitter");
        assert_eq!(ann.email.is_some(), gives_address, "{provider}");
        assert_eq!(ann.email_verified, gives_address, "{provider}");
        assert_eq!(ann.display_name.as_deref(), Some("Ann Example"), "{provider}");
        assert_eq!(ann.picture_url, None, "{provider}");
        let grant = ann.grant.expect("tokens");
        assert!(grant.access_token.expose_secret().starts_with("access-"));
        assert_eq!(grant.refresh_token.is_some(), provider != "github", "{provider}");
    }
}

#[tokio::test]
async fn what_is_asked_for_is_the_least_and_carries_pkce() {
    let desk = Desk::new().await;
    for provider in everybody() {
        desk.sign_in(provider).await.unwrap();
    }
    let scopes: Vec<String> = desk
        .idp
        .asked(Place::Authorize)
        .iter()
        .map(|asked| format!("{}: {}", asked.provider, asked.field("scope").unwrap()))
        .collect();
    assert_eq!(
        scopes,
        [
            "discord: identify email",
            "github: read:user user:email",
            "google: openid email profile",
            "twitch: openid user:read:email",
            "reddit: identity",
            "twitter: users.read tweet.read offline.access",
            "acme: openid profile email",
            "other: openid profile email",
        ]
    );
    for asked in desk.idp.asked(Place::Authorize) {
        assert_eq!(asked.field("code_challenge").unwrap().len(), 43);
        assert_eq!(asked.field("code_challenge_method"), Some("S256"));
        assert_eq!(asked.field("nonce").is_some(), asked.field("scope").unwrap().contains("openid"));
    }
    // A-091
    for asked in desk.idp.asked(Place::Token) {
        assert_eq!(asked.field("code_verifier").unwrap().len(), 43);
        assert_eq!(asked.header("authorization").is_empty(), asked.field("client_secret").is_some());
        assert!(asked.header("user-agent").starts_with("web:gatehouse:v"));
    }
}

#[tokio::test]
async fn nobody_is_configured_unless_somebody_is() {
    let config = Config::for_tests("/nowhere".as_ref(), &[]);
    let parts = ConnectionParts {
        clock: Clock::manual(START),
        random: Random::System,
        secrets: Arc::new(Secrets::new(b"0123456789abcdef0123456789abcdef", &[])),
        base_url: String::new(),
        api_url: String::new(),
        project_name: String::new(),
    };
    let connections = Connections::open(&config.oauth, &parts).unwrap();
    let all: Vec<_> = connections.all().collect();
    assert!(all.iter().all(|(name, _, configured)| !configured && connections.named(name).is_none()));
    assert_eq!(all[0], ("discord", "Discord", false));
    assert!(connections.named("acme").is_none() && connections.named("").is_none());
}

// --- A-092: ID tokens

#[tokio::test]
async fn every_algorithm_in_use_is_known() {
    let desk = Desk::new().await;
    for good in [Forgery::Rs256, Forgery::Ps256, Forgery::EdDsa, Forgery::NoKeyId, Forgery::None] {
        desk.idp.forge(good);
        // The RSA key is made when it is first used: the key set is read again for it.
        desk.clock.advance(Duration::from_mins(2));
        assert!(desk.sign_in("acme").await.is_ok(), "{good:?}");
    }
}

#[tokio::test]
async fn no_forged_token_is_believed() {
    let desk = Desk::new().await;
    for (forgery, word) in [
        (Forgery::Unsigned, "algorithm"),
        (Forgery::ClientSecret, "algorithm"),
        (Forgery::PublicKey, "algorithm"),
        (Forgery::ForeignKey, "signature"),
        (Forgery::UnknownKey, "unknown key"),
        (Forgery::OwnKey, "unknown key"),
        (Forgery::Critical, "critical header"),
        (Forgery::Array, "not JSON"),
        (Forgery::Twice, "not JSON"),
        (Forgery::Huge, "too long"),
        (Forgery::Flipped, "signature"),
    ] {
        desk.idp.forge(forgery);
        for provider in ["google", "acme"] {
            let fault = desk.fault(provider).await;
            assert!(
                matches!(fault, ProviderFault::Odd(said) if said.contains(word) || said == "a token answer"),
                "{forgery:?}: {fault}"
            );
        }
    }
}

#[tokio::test]
async fn a_token_must_be_for_us_for_now_and_for_this_sign_in() {
    let desk = Desk::new().await;
    let now = START.seconds();
    let lies: Vec<(&str, Value, &str)> = vec![
        ("iss", json!("https://evil.example"), "issuer"),
        ("iss", json!(format!("{}/acme/", desk.idp.base())), "issuer"),
        ("iss", json!([format!("{}/acme", desk.idp.base())]), "issuer"),
        ("iss", Value::Null, "issuer"),
        ("aud", json!("another"), "audience"),
        ("aud", json!(["another"]), "audience"),
        ("aud", json!([]), "audience"),
        ("aud", json!({CLIENT_ID: true}), "audience"),
        ("aud", json!([CLIENT_ID, 1]), "audience"),
        ("aud", Value::Null, "audience"),
        ("azp", json!("another"), "authorized party"),
        ("azp", json!(1), "authorized party"),
        ("exp", json!(now - 60), "expired"),
        ("exp", json!((now + 3600).to_string()), "no end"),
        ("exp", Value::Null, "no end"),
        ("iat", json!(now + 61), "future"),
        ("iat", json!("now"), "no time"),
        ("iat", Value::Null, "no time"),
        ("nbf", json!(now + 61), "not yet"),
        ("nbf", json!("later"), "not yet"),
        ("nonce", Value::Null, "no nonce"),
        ("nonce", json!(""), "another nonce"),
        ("nonce", json!("of another sign-in"), "another nonce"),
        ("nonce", json!([NONCE]), "no nonce"),
        ("sub", Value::Null, "no subject"),
        ("sub", json!(80_351_110_224_678_912_u64), "no subject"),
        ("sub", json!(["80351110224678912"]), "no subject"),
        ("sub", json!("another"), "somebody else"),
    ];
    for (claim, lie, word) in lies {
        let told = lie.clone();
        desk.idp.claims(move |claims| match &told {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(claim)),
            lie => claims[claim] = lie.clone(),
        });
        let fault = desk.fault("acme").await;
        assert!(matches!(fault, ProviderFault::Odd(said) if said.contains(word)), "{claim}={lie}: {fault}");
    }
}

#[tokio::test]
async fn several_audiences_are_good_where_we_are_the_authorized_party() {
    let desk = Desk::new().await;
    desk.idp.claims(|claims| claims["aud"] = json!(["another", CLIENT_ID]));
    assert!(desk.sign_in("acme").await.is_ok());
    desk.idp.claims(|claims| {
        claims["aud"] = json!(["another", CLIENT_ID]);
        claims.as_object_mut().unwrap().remove("azp");
    });
    assert_eq!(desk.fault("acme").await, ProviderFault::Odd("id token: authorized party"));
    desk.idp.claims(|claims| {
        claims["exp"] = json!(START.seconds() - 59);
        claims["iat"] = json!(f64::from(1_767_225_600) + 59.5);
    });
    assert!(desk.sign_in("acme").await.is_ok(), "clocks differ by up to a minute");
}

// A-093
#[tokio::test]
async fn a_good_signature_of_another_issuer_proves_nothing_here() {
    let desk = Desk::new().await;
    let other = format!("{}/other", desk.idp.base());
    desk.idp.claims(move |claims| claims["iss"] = json!(other));
    assert_eq!(desk.fault("acme").await, ProviderFault::Odd("id token: issuer"));
    assert!(desk.sign_in("other").await.is_ok());
    let other = format!("{}/other", desk.idp.base());
    desk.idp.honest();
    desk.idp.at_of(
        "google",
        Place::Discovery,
        Manner::changed(move |document| document["issuer"] = json!(other)),
    );
    assert_eq!(desk.fault("google").await, ProviderFault::Odd("metadata of another issuer"));
}

#[tokio::test]
async fn new_keys_are_found_at_once_and_made_up_ones_cost_one_look_a_minute() {
    let desk = Desk::new().await;
    desk.sign_in("acme").await.unwrap();
    desk.idp.rotate_keys();
    desk.sign_in("acme").await.unwrap();
    assert_eq!(desk.idp.asked(Place::Keys).len(), 2);
    desk.idp.forge(Forgery::UnknownKey);
    for _ in 0..10 {
        desk.fault("acme").await;
    }
    assert_eq!(desk.idp.asked(Place::Keys).len(), 2);
    desk.clock.advance(Duration::from_mins(1));
    for _ in 0..10 {
        desk.fault("acme").await;
    }
    assert_eq!(desk.idp.asked(Place::Keys).len(), 3);
    assert_eq!(desk.idp.asked(Place::Discovery).len(), 1);
    desk.clock.advance(Duration::from_mins(61));
    desk.idp.honest();
    desk.sign_in("acme").await.unwrap();
    assert_eq!((desk.idp.asked(Place::Discovery).len(), desk.idp.asked(Place::Keys).len()), (2, 4));
}

// F-18
#[tokio::test]
async fn what_was_read_before_the_clock_was_set_back_is_read_again() {
    let desk = Desk::new().await;
    desk.clock.advance(Duration::from_hours(24));
    desk.sign_in("acme").await.unwrap();
    desk.idp.forge(Forgery::UnknownKey);
    desk.fault("acme").await;
    desk.idp.honest();
    assert_eq!((desk.idp.asked(Place::Discovery).len(), desk.idp.asked(Place::Keys).len()), (1, 2));
    let Clock::Manual(hands) = &desk.clock else { panic!("the clock is ours") };
    hands.store(START.millis(), std::sync::atomic::Ordering::SeqCst);
    desk.sign_in("acme").await.unwrap();
    assert_eq!((desk.idp.asked(Place::Discovery).len(), desk.idp.asked(Place::Keys).len()), (2, 3));
    desk.idp.rotate_keys();
    desk.sign_in("acme").await.unwrap();
    assert_eq!((desk.idp.asked(Place::Discovery).len(), desk.idp.asked(Place::Keys).len()), (2, 4));
}

// A-094
#[tokio::test]
async fn an_address_is_verified_by_the_json_word_true_alone() {
    let desk = Desk::new().await;
    for provider in ["discord", "github", "google", "twitch", "acme"] {
        for lie in [json!(false), json!("true"), json!("false"), json!(1), json!(null), json!([true])] {
            desk.idp.person(Person { email_verified: lie.clone(), ..Person::ann() });
            let ann = desk.sign_in(provider).await.unwrap();
            assert!(!ann.email_verified, "{provider}: {lie}");
        }
        desk.idp.person(Person { email: None, ..Person::ann() });
        let ann = desk.sign_in(provider).await.unwrap();
        assert_eq!((ann.email, ann.email_verified), (None, false), "{provider}");
    }
}

// A-110
#[tokio::test]
async fn what_is_typed_into_a_profile_is_no_address() {
    let desk = Desk::new().await;
    let unverified = json!([
        {"email": "first@example.com", "primary": true, "verified": false},
        {"email": "second@example.com", "primary": false, "verified": true},
    ]);
    desk.idp.at(Place::Emails, Manner::Json(200, unverified));
    assert_eq!(desk.sign_in("github").await.unwrap().email, None);
    let many =
        (0..10_000).map(|n| json!({"email": format!("{n}@example.com"), "primary": true, "verified": true}));
    desk.idp.at(Place::Emails, Manner::Json(200, many.collect()));
    assert_eq!(desk.fault("github").await, ProviderFault::Odd("no JSON"));
}

// --- A-090: whose callback it is

#[tokio::test]
async fn a_callback_that_names_another_issuer_is_not_ours() {
    let desk = Desk::new().await;
    let acme = format!("{}/acme", desk.idp.base());
    let fault = ProviderFault::Odd("the callback names another issuer");
    for wrong in ["https://evil.example", "", "acme", &format!("{acme}/"), &acme.replace("acme", "other")] {
        desk.idp.response_iss(Some(wrong));
        assert_eq!(desk.fault("acme").await, fault, "{wrong}");
    }
    desk.idp.response_iss(None);
    assert_eq!(desk.fault("acme").await, fault, "it announces that it names itself");
    assert!(desk.to("acme").announces_iss() && !desk.to("other").announces_iss());
    assert!(desk.sign_in("other").await.is_ok() && desk.sign_in("github").await.is_ok());
    desk.idp.response_iss(Some("https://evil.example"));
    assert_eq!((desk.fault("other").await, desk.fault("github").await), (fault, fault));
    assert_eq!(desk.idp.asked(Place::Token).len(), 2, "no code was sent anywhere");
}

// A-089, A-090
#[tokio::test]
async fn a_code_is_good_once_and_at_its_own_provider() {
    let desk = Desk::new().await;
    for (of, at) in [("discord", "github"), ("github", "discord"), ("google", "twitch"), ("acme", "other")] {
        let callback = Callback { iss: None, ..desk.come_back(of).await.unwrap() };
        assert_eq!(desk.finish(at, &callback).await.err(), Some(ProviderFault::Refused), "{of} at {at}");
    }
    for provider in everybody() {
        let callback = desk.come_back(provider).await.unwrap();
        assert!(desk.finish(provider, &callback).await.is_ok());
        assert_eq!(desk.finish(provider, &callback).await.err(), Some(ProviderFault::Refused), "{provider}");
        let stolen = desk.come_back(provider).await.unwrap();
        let stolen = Callback { verifier: "another".repeat(8).into(), ..stolen };
        assert_eq!(desk.finish(provider, &stolen).await.err(), Some(ProviderFault::Refused), "{provider}");
    }
}

// --- A-106: down, slow, odd

/// Every place, with a provider that needs it.
const PLACES: [(Place, &str); 7] = [
    (Place::Discovery, "google"),
    (Place::Keys, "twitch"),
    (Place::Token, "discord"),
    (Place::Token, "acme"),
    (Place::Profile, "reddit"),
    (Place::Profile, "acme"),
    (Place::Emails, "github"),
];

impl Desk {
    /// What is wrong when the place answers like that, and everything is read anew.
    async fn fault_at(&self, place: Place, provider: &str, manner: Manner) -> ProviderFault {
        self.clock.advance(Duration::from_hours(2));
        self.idp.honest();
        self.idp.at(place, manner);
        self.fault(provider).await
    }
}

#[tokio::test]
async fn a_provider_that_is_down_is_unavailable() {
    let desk = Desk::new().await;
    for (place, provider) in PLACES {
        for manner in [Manner::Status(500), Manner::Status(503), Manner::Status(429), Manner::Reset] {
            assert_eq!(desk.fault_at(place, provider, manner).await, ProviderFault::Unavailable, "{place:?}");
        }
    }
}

#[tokio::test]
async fn nobody_waits_for_a_provider_longer_than_ten_seconds() {
    // Making connections takes this machine a while, too: that is not measured.
    let mut desks = Vec::new();
    for manner in [Manner::Hang, Manner::Trickle] {
        for (place, provider) in PLACES {
            let desk = Desk::new().await;
            desk.idp.at(place, manner.clone());
            desks.push((desk, place, provider));
        }
    }
    let waits = desks.iter().map(|(desk, place, provider)| async move {
        assert_eq!(desk.fault(provider).await, ProviderFault::Unavailable, "{place:?}");
    });
    let (_, longest) = timed(join_all(waits)).await;
    // An act ends after nine seconds; the rest is this machine, which runs all of them at once.
    assert!(longest < Duration::from_secs(12), "{longest:?}");
}

#[tokio::test]
async fn what_a_provider_should_not_say_is_not_understood() {
    let desk = Desk::new().await;
    let html = || Manner::Text("text/html", "<html>Sign in to the hotel's network</html>".to_owned());
    for (place, provider) in PLACES {
        for (manner, word) in [
            (html(), "no JSON"),
            (Manner::Endless, "too long"),
            (Manner::Redirect("https://evil.example/".to_owned()), "a redirect"),
            (Manner::Json(204, json!({})), "unexpected status"),
            (Manner::Text("application/json", r#"{"a":1,"a":2}"#.to_owned()), "no JSON"),
            (Manner::Text("application/json", "[".repeat(100_000)), "no JSON"),
            (Manner::Bytes("application/json", vec![b'"', 0xff, 0xfe, b'"']), "no JSON"),
            (Manner::Bytes("application/json", vec![0; 10 << 20]), "too long"),
            (Manner::Json(200, json!("a text")), "no JSON"),
        ] {
            let fault = desk.fault_at(place, provider, manner).await;
            assert!(
                matches!(fault, ProviderFault::Odd(said) if said.contains(word)),
                "{place:?} {word}: {fault}"
            );
        }
        if place != Place::Emails {
            for odd in [json!([]), json!([{"sub": "1", "id": "1"}]), json!({})] {
                let fault = desk.fault_at(place, provider, Manner::Json(200, odd)).await;
                assert!(matches!(fault, ProviderFault::Odd(_)), "{place:?}: {fault}");
            }
        }
    }
}

#[tokio::test]
async fn a_token_answer_is_read_strictly() {
    let desk = Desk::new().await;
    let good = json!({"access_token": "a", "token_type": "Bearer"});
    for (field, lie) in [
        ("access_token", json!(null)),
        ("access_token", json!("")),
        ("access_token", json!(1)),
        ("access_token", json!("a\r\nX-Evil: 1")),
        ("access_token", json!(["a"])),
        ("access_token", json!("ä")),
        ("token_type", json!(null)),
        ("token_type", json!("mac")),
        ("token_type", json!("DPoP")),
        ("refresh_token", json!({"a": 1})),
        ("id_token", json!(1)),
    ] {
        let mut told = good.clone();
        told[field] = lie.clone();
        desk.idp.at(Place::Token, Manner::Json(200, told));
        let fault = desk.fault("discord").await;
        assert!(matches!(fault, ProviderFault::Odd(_)), "{field}={lie}: {fault}");
    }
    for error in ["invalid_grant", "access_denied", "<script>"] {
        desk.idp.at(
            Place::Token,
            Manner::Json(400, json!({"error": error, "error_description": "<script>\r\n"})),
        );
        assert_eq!(desk.fault("discord").await, ProviderFault::Refused);
    }
    desk.idp.at(Place::Token, Manner::Json(401, json!({"error": "invalid_client"})));
    assert_eq!(desk.fault("discord").await, ProviderFault::Odd("it does not know the client"));
    desk.idp.at(Place::Token, Manner::Json(200, good));
    assert_eq!(desk.fault("acme").await, ProviderFault::Odd("no id token"));
}

#[tokio::test]
async fn metadata_may_not_lead_to_the_clear_or_nowhere() {
    let desk = Desk::new().await;
    for (field, lie) in [
        ("token_endpoint", json!("http://evil.example/token")),
        ("token_endpoint", json!("file:///etc/passwd")),
        ("token_endpoint", json!("https://user:pw@evil.example/")),
        ("token_endpoint", json!(["https://evil.example/token"])),
        ("jwks_uri", json!(null)),
        ("authorization_endpoint", json!("javascript:alert(1)")),
    ] {
        let manner = Manner::changed(move |document| document[field] = lie.clone());
        let fault = desk.fault_at(Place::Discovery, "acme", manner).await;
        assert_eq!(fault, ProviderFault::Odd("metadata without an address"), "{field}");
    }
    desk.clock.advance(Duration::from_hours(2));
    desk.idp.at(
        Place::Discovery,
        Manner::changed(|document| {
            document.as_object_mut().unwrap().remove("userinfo_endpoint");
        }),
    );
    let ann = desk.sign_in("acme").await.unwrap();
    assert_eq!(ann.email.as_deref(), Some("ann@example.com"), "the ID token alone will do");
    assert!(desk.idp.asked(Place::Profile).is_empty());
}

// --- tokens later

#[tokio::test]
async fn tokens_are_renewed_and_given_back() {
    let desk = Desk::new().await;
    for provider in everybody() {
        let grant = desk.sign_in(provider).await.unwrap().grant.unwrap();
        let connection = desk.to(provider);
        if provider == "github" {
            assert_eq!(connection.refresh(&grant).await.err(), Some(ProviderFault::Refused));
        } else {
            assert_eq!(grant.expires_at, Some(START.after(Duration::from_hours(1))), "{provider}");
            let next = connection.refresh(&grant).await.unwrap_or_else(|fault| panic!("{provider}: {fault}"));
            assert_ne!(next.access_token.expose_secret(), grant.access_token.expose_secret());
            assert_eq!(connection.refresh(&grant).await.err(), Some(ProviderFault::Refused), "spent");
        }
        connection.revoke(&grant).await.unwrap_or_else(|fault| panic!("{provider}: {fault}"));
        let access = grant.access_token.expose_secret().to_owned();
        assert!(desk.idp.revoked().contains(&access), "{provider}");
    }
    desk.idp.at(Place::Revoke, Manner::Json(400, json!({"error": "invalid_token"})));
    let grant = desk.sign_in("google").await.unwrap().grant.unwrap();
    assert_eq!(desk.to("google").revoke(&grant).await, Ok(()), "it is gone either way");
    desk.idp.at(Place::Revoke, Manner::Status(500));
    assert_eq!(desk.to("google").revoke(&grant).await, Err(ProviderFault::Unavailable));
}

#[tokio::test]
async fn a_refresh_token_stays_where_no_new_one_comes() {
    let desk = Desk::new().await;
    let grant = desk.sign_in("google").await.unwrap().grant.unwrap();
    desk.idp.at(
        Place::Token,
        Manner::changed(|answer| {
            answer.as_object_mut().unwrap().remove("refresh_token");
            answer["expires_in"] = json!("soon");
        }),
    );
    let next = desk.to("google").refresh(&grant).await.unwrap();
    let token =
        |grant: &gatehouse::oauth::Grant| grant.refresh_token.as_ref().unwrap().expose_secret().to_owned();
    assert_eq!((token(&next), next.expires_at), (token(&grant), None));
}

// --- R-49: pictures

#[tokio::test]
async fn a_picture_comes_from_the_provider() {
    let desk = Desk::new().await;
    for (provider, picture) in [
        ("discord", "8342729096ea3675442027381ff50dfe".to_owned()),
        ("github", "https://avatars.githubusercontent.com/u/1/picture.png".to_owned()),
        ("google", "https://lh3.googleusercontent.com/a/picture.png".to_owned()),
        ("reddit", "https://styles.redditmedia.com/picture.png?a=1&b=2".to_owned()),
        ("acme", format!("{}/acme/picture.png", desk.idp.base())),
    ] {
        desk.idp.person(Person { picture: Some(picture), ..Person::ann() });
        let url = desk.sign_in(provider).await.unwrap().picture_url.expect(provider);
        let bytes = desk.to(provider).picture(&url).await.expect(provider);
        assert!(bytes.starts_with(b"\x89PNG"), "{provider}");
    }
}

// A-135
#[tokio::test]
async fn a_picture_leads_nowhere_else() {
    let desk = Desk::new().await;
    let canary = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = canary.local_addr().unwrap().port();
    let mut forms: Vec<String> = [
        "http://127.0.0.1:{port}/a.png",
        "https://127.0.0.1:{port}/a.png",
        "https://localhost:{port}/a.png",
        "https://localhost/a.png",
        "https://[::1]:{port}/",
        "https://[::ffff:127.0.0.1]:{port}/",
        "http://0x7f000001:{port}/",
        "http://2130706433:{port}/",
        "http://127.1:{port}/",
        "http://169.254.169.254/latest/meta-data/",
        "http://[64:ff9b::7f00:1]:{port}/",
        "http://metadata.google.internal/",
        "https://avatars.githubusercontent.com:{port}/",
        "https://avatars.githubusercontent.com:22/",
        "http://avatars.githubusercontent.com/",
        "https://avatars.githubusercontent.com@127.0.0.1:{port}/",
        "https://cdn@127.0.0.1:{port}/",
        "file:///etc/passwd",
        "gopher://127.0.0.1:{port}/",
        "data:image/png;base64,AA",
    ]
    .iter()
    .map(|form| form.replace("{port}", &port.to_string()))
    .collect();
    forms.push(format!("{}@127.0.0.1:{port}/a.png", desk.idp.base()));
    // Without a server that stands for the provider's hosts: as in production.
    let production = Config::for_tests(
        "/nowhere".as_ref(),
        &[("API_CLIENT_ID_GITHUB", "x"), ("API_CLIENT_SECRET_GITHUB", "y")],
    );
    let parts = ConnectionParts {
        clock: desk.clock.clone(),
        random: Random::System,
        secrets: Arc::new(Secrets::new(b"0123456789abcdef0123456789abcdef", &[])),
        base_url: String::new(),
        api_url: String::new(),
        project_name: String::new(),
    };
    let production = Connections::open(&production.oauth, &parts).unwrap();
    for form in &forms {
        let url: Url = form.parse().unwrap_or_else(|_| panic!("{form}"));
        let connections = [desk.to("acme"), production.named("github").expect("configured")];
        for connection in connections {
            assert!(connection.picture(&url).await.is_none(), "{form}");
        }
        // What is on the provider's own hosts is asked of the server that stands for them, whatever the port.
        if url.host_str() != Some("avatars.githubusercontent.com") {
            assert!(desk.to("github").picture(&url).await.is_none(), "{form}");
        }
    }
    let visitor = tokio::time::timeout(Duration::from_millis(200), canary.accept()).await;
    assert!(visitor.is_err(), "somebody came: {visitor:?}");
}

// A-136
#[tokio::test]
async fn what_is_no_picture_is_cut_off() {
    let desk = Desk::new().await;
    let url: Url = format!("{}/github/picture.png", desk.idp.base()).parse().unwrap();
    let canary = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let away = format!("http://{}/a.png", canary.local_addr().unwrap());
    let (desk, address) = (&desk, &url);
    let asking = async move {
        for manner in [
            Manner::Endless,
            Manner::Bytes("image/png", vec![0; (2 << 20) + 1]),
            Manner::Packed("image/png", vec![0; 16 << 20]),
            Manner::Redirect(away),
            Manner::Text("text/html", "<html>".to_owned()),
            Manner::Status(404),
            Manner::Reset,
            Manner::Trickle,
        ] {
            desk.idp.at(Place::Picture, manner);
            assert!(desk.to("github").picture(address).await.is_none());
        }
    };
    let ((), took) = timed(asking).await;
    assert!(took < Duration::from_secs(8), "{took:?}");
    desk.idp.at(Place::Picture, Manner::Bytes("image/png", vec![0; 2 << 20]));
    assert_eq!(desk.to("github").picture(&url).await.unwrap().len(), 2 << 20);
    desk.idp.at(Place::Picture, Manner::Packed("image/png", vec![0; 2 << 20]));
    assert_eq!(
        desk.to("github").picture(&url).await.unwrap().len(),
        2 << 20,
        "it is the picture that is measured"
    );
    let visitor = tokio::time::timeout(Duration::from_millis(100), canary.accept()).await;
    assert!(visitor.is_err(), "a redirect was followed");
}
