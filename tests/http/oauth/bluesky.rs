//! Bluesky: from a handle to an account that proves to be its owner's, and every way in which that may be a lie.

use gatehouse::oauth::{Begin, ConnectionParts, Connections, Finish, Grant, Identity, ProviderFault};
use gatehouse::platform::clock::Clock;
use gatehouse::platform::config::Config;
use gatehouse::platform::random::Random;
use gatehouse::platform::secrets::Secrets;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use std::sync::Arc;

use super::idp::{Idp, Manner, Person, Place, checked_jwt, did, parameter};
use crate::harness::{START, TestApp};

const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
const ISSUER: &str = "https://bsky.social";

struct Desk {
    idp: Idp,
    connections: Connections,
    back: String,
}

struct Callback {
    code: String,
    iss: Option<String>,
    private: SecretString,
}

impl Desk {
    async fn at(base_url: &str) -> Self {
        let idp = Idp::start().await;
        let config = Config::for_tests("/nowhere".as_ref(), &idp.settings());
        let parts = ConnectionParts {
            clock: Clock::manual(START),
            random: Random::System,
            secrets: Arc::new(Secrets::new(b"0123456789abcdef0123456789abcdef", &[])),
            base_url: base_url.to_owned(),
            api_url: format!("{base_url}/api"),
            project_name: "Gatehouse".to_owned(),
        };
        let connections = Connections::open(&config.oauth, &parts).expect("connections");
        Self { idp, connections, back: format!("{base_url}/api/oauth/bluesky/callback") }
    }

    async fn new() -> Self {
        Self::at("http://127.0.0.1:8000").await
    }

    async fn come_back<'a>(&self, handle: impl Into<Option<&'a str>>) -> Result<Callback, ProviderFault> {
        let begin = Begin {
            state: "state",
            nonce: "nonce",
            challenge: CHALLENGE,
            redirect_uri: &self.back,
            handle: handle.into(),
            is_proof: false,
        };
        let left = self.connections.named("bluesky").expect("configured").begin(begin).await?;
        let url = left.authorization_url;
        assert_eq!(url.query_pairs().count(), 2, "the rest was announced: {url}");
        let callback = self.idp.visit(url.as_str()).await;
        assert_eq!(parameter(&callback, "state").as_deref(), Some("state"));
        Ok(Callback {
            code: parameter(&callback, "code").expect("a code"),
            iss: parameter(&callback, "iss"),
            private: left.private.expect("something to keep"),
        })
    }

    async fn finish(&self, callback: &Callback) -> Result<Identity, ProviderFault> {
        let finish = Finish {
            code: &callback.code,
            iss: callback.iss.as_deref(),
            nonce: "nonce",
            verifier: &VERIFIER.into(),
            redirect_uri: &self.back,
            private: Some(&callback.private),
            since: None,
        };
        self.connections.named("bluesky").expect("configured").finish(finish).await
    }

    async fn sign_in<'a>(&self, handle: impl Into<Option<&'a str>>) -> Result<Identity, ProviderFault> {
        let callback = self.come_back(handle).await?;
        self.finish(&callback).await
    }

    async fn fault<'a>(&self, handle: impl Into<Option<&'a str>>) -> ProviderFault {
        match self.sign_in(handle).await {
            Ok(identity) => panic!("this made {identity:?}"),
            Err(fault) => fault,
        }
    }
}

fn odd(fault: ProviderFault, word: &str) -> bool {
    matches!(fault, ProviderFault::Odd(said) if said.contains(word))
}

#[tokio::test]
async fn a_handle_leads_to_its_owner() {
    let desk = Desk::new().await;
    desk.idp.person(Person {
        picture: Some("https://cdn.bsky.app/img/avatar/plain/did:plc:x/y.png".to_owned()),
        ..Person::ann()
    });
    let ann = desk.sign_in("@Ann.Test").await.unwrap();
    assert_eq!((ann.subject, ann.username.as_deref()), (did("ann"), Some("ann.test")));
    assert_eq!((ann.display_name.as_deref(), ann.email), (Some("Ann Example"), None));
    assert!(ann.picture_url.is_some());
    // The nonce of the server is learnt once and kept for what follows.
    assert_eq!((desk.idp.asked(Place::Announce).len(), desk.idp.asked(Place::Token).len()), (2, 1));
    let grant: Grant = ann.grant.unwrap();
    let connection = desk.connections.named("bluesky").unwrap();
    let next = connection.refresh(&grant).await.unwrap();
    assert_ne!(
        next.refresh_token.as_ref().unwrap().expose_secret(),
        grant.refresh_token.unwrap().expose_secret()
    );
    connection.revoke(&next).await.unwrap();
    assert_eq!(desk.idp.revoked(), [next.refresh_token.unwrap().expose_secret()]);
    assert!(connection.announces_iss());
}

#[tokio::test]
async fn on_ones_own_machine_the_client_is_the_one_for_development() {
    let desk = Desk::new().await;
    desk.sign_in("ann.test").await.unwrap();
    let asked = &desk.idp.asked(Place::Announce)[0];
    assert_eq!(
        asked.field("client_id"),
        Some(
            "http://localhost?redirect_uri=http%3A%2F%2F127.0.0.1%3A8000%2Fapi%2Foauth%2Fbluesky%2Fcallback&scope=atproto"
        )
    );
    assert_eq!(asked.field("client_assertion"), None);
    assert_eq!(desk.connections.client_keys(), Some(Vec::new()));
}

#[tokio::test]
async fn a_public_server_proves_itself_by_its_key() {
    let desk = Desk::at("https://id.example.com").await;
    desk.sign_in("ann.test").await.unwrap();
    let metadata = serde_json::to_value(desk.connections.client_metadata().unwrap()).unwrap();
    assert_eq!(metadata["client_id"], "https://id.example.com/oauth/client-metadata.json");
    assert_eq!(metadata["redirect_uris"], json!(["https://id.example.com/api/oauth/bluesky/callback"]));
    assert_eq!(metadata["jwks_uri"], "https://id.example.com/oauth/jwks.json");
    assert_eq!(metadata["token_endpoint_auth_method"], "private_key_jwt");
    assert_eq!(metadata["dpop_bound_access_tokens"], true);
    let keys = desk.connections.client_keys().unwrap();
    let key = serde_json::to_value(&keys[0]).unwrap();
    for asked in [desk.idp.asked(Place::Announce), desk.idp.asked(Place::Token)].concat() {
        assert_eq!(asked.field("client_id"), metadata["client_id"].as_str());
        let (header, claims) = checked_jwt(asked.field("client_assertion").unwrap(), Some(&key)).unwrap();
        assert_eq!(header["kid"], key["kid"]);
        assert_eq!((&claims["iss"], &claims["sub"]), (&metadata["client_id"], &metadata["client_id"]));
        assert_eq!(
            (claims["aud"].as_str(), claims["exp"].as_i64()),
            (Some(ISSUER), Some(START.seconds() + 60))
        );
    }
    let again = Desk::at("https://id.example.com").await;
    assert_eq!(again.connections.client_keys(), Some(keys), "every instance has the same key");
}

//
#[tokio::test]
async fn a_handle_whose_account_has_another_is_nobody() {
    let desk = Desk::new().await;
    // The attacker's host points at the victim's DID; the victim's document does not point back.
    desk.idp.at(Place::Handle, Manner::Text("text/plain", did("victim")));
    assert!(odd(desk.fault("mallory.test").await, "does not have this handle"));
    desk.idp.honest();
    for lie in [json!([]), json!(null), json!(["at://other.test", "at://ann.test"]), json!(["ann.test"])] {
        desk.idp.at(Place::Did, Manner::changed(move |document| document["alsoKnownAs"] = lie.clone()));
        assert!(odd(desk.fault("ann.test").await, "does not have this handle"));
    }
    desk.idp.at(Place::Did, Manner::changed(|document| document["id"] = json!(did("victim"))));
    assert!(odd(desk.fault("ann.test").await, "another DID"));
    assert!(desk.idp.asked(Place::Announce).is_empty());
}

//
#[tokio::test]
async fn a_token_of_somebody_else_is_not_believed() {
    let desk = Desk::new().await;
    for lie in [json!(did("victim")), json!(null), json!("ann.test")] {
        desk.idp.at(
            Place::Token,
            Manner::changed(move |answer| {
                if answer.get("access_token").is_some() {
                    answer["sub"] = lie.clone();
                }
            }),
        );
        assert!(odd(desk.fault("ann.test").await, "somebody else"));
    }
    // The server itself signs in whoever it likes: another person's account at the same server.
    desk.idp.honest();
    desk.idp.person(Person::named("victim", "1"));
    assert!(odd(desk.fault("ann.test").await, "somebody else"));
    desk.idp.person(Person::ann());
    desk.idp.at(Place::Token, Manner::changed(|answer| answer["token_type"] = json!("Bearer")));
    assert!(odd(desk.fault("ann.test").await, "another type"));
}

#[tokio::test]
async fn who_names_no_handle_is_asked_by_bluesky() {
    let desk = Desk::new().await;
    let ann = desk.sign_in(None).await.unwrap();
    assert_eq!((ann.subject, ann.username.as_deref()), (did("ann"), Some("ann.test")));
    assert_eq!(desk.idp.asked(Place::Announce)[0].field("login_hint"), None);
    // A handle that leads elsewhere is nobody's name, but no reason to turn its owner away.
    desk.idp.at(Place::Handle, Manner::Text("text/plain", did("victim")));
    let ann = desk.sign_in(None).await.unwrap();
    assert_eq!((ann.subject, ann.username), (did("ann"), None));
    let connection = desk.connections.named("bluesky").unwrap();
    assert!(connection.refresh(&ann.grant.unwrap()).await.is_ok());
}

//
#[tokio::test]
async fn bluesky_vouches_for_nobody_whose_own_server_trusts_another() {
    let desk = Desk::new().await;
    desk.idp.at(
        Place::Server,
        Manner::changed(|told| told["authorization_servers"] = json!(["https://other.test"])),
    );
    assert!(odd(desk.fault(None).await, "another server"));
    desk.idp.honest();
    for lie in [json!(null), json!("ann.test"), json!("did:key:z6Mk"), json!("did:web:127.0.0.1")] {
        desk.idp.at(
            Place::Token,
            Manner::changed(move |answer| {
                if answer.get("access_token").is_some() {
                    answer["sub"] = lie.clone();
                }
            }),
        );
        let fault = desk.fault(None).await;
        assert!(odd(fault, "a DID that is none"), "{fault:?}");
    }
}

//
#[tokio::test]
async fn an_account_that_moved_meanwhile_is_not_vouched_for_by_its_old_server() {
    let desk = Desk::new().await;
    let callback = desk.come_back("ann.test").await.unwrap();
    desk.idp.at(
        Place::Server,
        Manner::changed(|told| told["authorization_servers"] = json!(["https://new.test"])),
    );
    assert!(odd(desk.finish(&callback).await.unwrap_err(), "another server"));
    assert!(desk.idp.asked(Place::Token).is_empty(), "no code was sent");
}

#[tokio::test]
async fn a_callback_names_the_server_that_it_comes_from() {
    let desk = Desk::new().await;
    for wrong in [None, Some("https://evil.example"), Some("https://bsky.social/"), Some("")] {
        desk.idp.response_iss(wrong);
        assert!(odd(desk.fault("ann.test").await, "another issuer"), "{wrong:?}");
    }
    assert!(desk.idp.asked(Place::Token).is_empty(), "no code was sent");
}

#[tokio::test]
async fn a_server_must_be_able_to_what_the_protocol_demands() {
    let desk = Desk::new().await;
    let without = |field: &'static str, lie: Value| Manner::changed(move |told| told[field] = lie.clone());
    for (field, lie) in [
        ("issuer", json!("https://evil.example")),
        ("authorization_response_iss_parameter_supported", json!(false)),
        ("dpop_signing_alg_values_supported", json!(["RS256"])),
        ("code_challenge_methods_supported", json!(["plain"])),
        ("client_id_metadata_document_supported", json!("true")),
        ("scopes_supported", json!([])),
        ("token_endpoint", json!("http://bsky.social/token")),
        ("pushed_authorization_request_endpoint", json!(null)),
    ] {
        desk.idp.at(Place::Discovery, without(field, lie));
        assert!(matches!(desk.fault("ann.test").await, ProviderFault::Odd(_)), "{field}");
    }
    desk.idp.honest();
    for servers in
        [json!([]), json!(["https://a.test", "https://b.test"]), json!(["http://bsky.social"]), json!([1])]
    {
        desk.idp.at(Place::Server, without("authorization_servers", servers));
        assert!(odd(desk.fault("ann.test").await, "no authorization server"));
    }
}

#[tokio::test]
async fn hosts_that_fail_or_lead_inside_are_no_error_of_ours() {
    let desk = Desk::new().await;
    for handle in ["", "ann", "127.0.0.1", "localhost", "ann.test/../x", "ann.test:8080", "a@ann.test"] {
        assert_eq!(desk.fault(handle).await, ProviderFault::Refused, "{handle}");
    }
    assert!(desk.idp.all_asked().is_empty());
    for place in [Place::Handle, Place::Did, Place::Server, Place::Discovery, Place::Announce, Place::Token] {
        desk.idp.honest();
        desk.idp.at(place, Manner::Status(500));
        assert_eq!(desk.fault("ann.test").await, ProviderFault::Unavailable, "{place:?}");
        desk.idp.at(place, Manner::Endless);
        assert!(odd(desk.fault("ann.test").await, "too long"), "{place:?}");
        desk.idp.at(place, Manner::Text("text/html", "<h1>Hotel</h1>".to_owned()));
        assert!(matches!(desk.fault("ann.test").await, ProviderFault::Odd(_)), "{place:?}");
        desk.idp.at(place, Manner::Redirect("http://169.254.169.254/".to_owned()));
        assert!(odd(desk.fault("ann.test").await, "a redirect"), "{place:?}");
    }
    desk.idp.honest();
    desk.idp.at(Place::Profile, Manner::Status(500));
    assert_eq!(desk.sign_in("ann.test").await.unwrap().display_name, None, "nothing hangs on the name");
    let inside = json!([{
        "id": "#atproto_pds", "type": "AtprotoPersonalDataServer", "serviceEndpoint": "https://127.0.0.1",
    }]);
    desk.idp.at(Place::Did, Manner::changed(move |document| document["service"] = inside.clone()));
    assert!(odd(desk.fault("ann.test").await, "not public"));
}

#[tokio::test]
async fn a_code_is_bound_to_its_key_and_its_verifier() {
    let desk = Desk::new().await;
    let (first, second) =
        (desk.come_back("ann.test").await.unwrap(), desk.come_back("ann.test").await.unwrap());
    let mixed =
        Callback { code: first.code.clone(), iss: first.iss.clone(), private: second.private.clone() };
    assert_eq!(desk.finish(&mixed).await.err(), Some(ProviderFault::Refused));
    assert!(desk.finish(&second).await.is_ok());
    assert_eq!(desk.finish(&second).await.err(), Some(ProviderFault::Refused), "once");
    let nothing = Callback { private: "{}".into(), ..second };
    assert!(odd(desk.finish(&nothing).await.unwrap_err(), "kept"));
}

#[tokio::test]
async fn what_this_server_is_to_others_is_told_where_it_is_anything() {
    let idp = Idp::start().await;
    let settings = [&idp.settings()[..], &[("BASE_URL", "https://id.example.com")][..]].concat();
    let app = TestApp::with(&settings).await;
    let metadata = app.get("/oauth/client-metadata.json").await.is(200).json();
    assert_eq!(metadata["client_id"], "https://id.example.com/oauth/client-metadata.json");
    let keys = app.get("/oauth/jwks.json").await.is(200).json();
    assert_eq!((&keys["keys"][0]["alg"], keys["keys"][0].as_object().unwrap().len()), (&json!("ES256"), 7));
    let without = TestApp::new().await;
    for path in ["/oauth/client-metadata.json", "/oauth/jwks.json"] {
        without.get(path).await.is(404);
    }
}
