//! Each kind of token is read in one form, by its own reader, under our secrets; and by no other.

use proptest::prelude::*;

use super::*;
use crate::sessions::access_token::{Claims, Expected};
use crate::sessions::jws::Algorithm;
use crate::sessions::keys::{KeyRing, SigningKey};

const SESSION: Uuid = Uuid::from_u128(7);
/// Every purpose, and the seed of its token.
const PURPOSES: [(u64, Purpose); 7] = [
    (1, Purpose::Setup),
    (2, Purpose::Reset),
    (3, Purpose::Verify),
    (4, Purpose::OtpChallenge),
    (5, Purpose::OauthState),
    (6, Purpose::OauthCookie),
    (7, Purpose::OauthCode),
];

fn secrets() -> Secrets {
    Secrets::new(b"the secret of this year, 32 bytes", &[])
}

fn refresh() -> RefreshToken {
    RefreshToken::first(&Random::seeded(1), SESSION)
}

fn cookie() -> SessionCookie {
    SessionCookie::new(&Random::seeded(1), SESSION)
}

fn device() -> DeviceToken {
    DeviceToken {
        user_id: Uuid::from_u128(1),
        device_id: Uuid::from_u128(2),
        issued_at: Timestamp::from_millis(1_700_000_000_123),
    }
}

#[test]
fn a_token_comes_back_from_its_text() {
    let secrets = secrets();
    let (refresh_text, cookie_text) = (refresh().text(&secrets), cookie().text(&secrets));
    let read = RefreshToken::parse(&secrets, refresh_text.expose()).unwrap();
    assert_eq!((read.session_id(), read.digest()), (SESSION, refresh().digest()));
    let read = SessionCookie::parse(&secrets, cookie_text.expose()).unwrap();
    assert_eq!((read.session_id(), read.digest()), (SESSION, cookie().digest()));
    assert_eq!(DeviceToken::parse(&secrets, device().text(&secrets).expose()), Ok(device()));
    let token = OneTimeToken::new(&Random::seeded(1));
    let read = OneTimeToken::parse(token.text().expose()).unwrap();
    assert_eq!(read.digest(Purpose::Setup), token.digest(Purpose::Setup));
    assert!(is_csrf_token(&secrets, SESSION, csrf_token(&secrets, SESSION).expose()));
}

#[test]
fn lengths_are_as_documented() {
    let secrets = secrets();
    assert!(refresh().text(&secrets).expose().starts_with("gr_"));
    assert_eq!(refresh().text(&secrets).expose().len(), 3 + 86);
    assert_eq!(cookie().text(&secrets).expose().len(), 86);
    assert_eq!(device().text(&secrets).expose().len(), 75);
    assert_eq!(csrf_token(&secrets, SESSION).expose().len(), 43);
    assert_eq!(OneTimeToken::new(&Random::seeded(1)).text().expose().len(), 43);
}

#[test]
fn a_successor_is_always_the_same_and_another_than_its_parent() {
    let secrets = secrets();
    let (parent, child) = (refresh(), refresh().successor(&secrets));
    let again = RefreshToken::parse(&secrets, parent.text(&secrets).expose()).unwrap().successor(&secrets);
    assert_eq!(child.text(&secrets).expose(), again.text(&secrets).expose());
    assert_eq!(child.session_id(), SESSION);
    let grandchild = child.successor(&secrets);
    let digests = [parent.digest(), child.digest(), grandchild.digest()];
    assert!(digests[0] != digests[1] && digests[1] != digests[2] && digests[0] != digests[2]);
}

#[test]
fn a_successor_depends_on_session_secret_and_master() {
    let other_session = RefreshToken::first(&Random::seeded(1), Uuid::from_u128(8));
    let other_secret = RefreshToken::first(&Random::seeded(2), SESSION);
    let other_master = Secrets::new(b"the secret of next year, 32 bytes", &[]);
    let secret = |token: &RefreshToken| *token.0.secret.bytes();
    let own = secret(&refresh().successor(&secrets()));
    assert_ne!(own, secret(&other_session.successor(&secrets())));
    assert_ne!(own, secret(&other_secret.successor(&secrets())));
    assert_ne!(own, secret(&refresh().successor(&other_master)));
}

#[test]
fn tokens_outlive_a_change_of_the_master_secret_while_the_old_one_is_known() {
    let new = b"the secret of next year, 32 bytes".as_slice();
    let (with_old, without) =
        (Secrets::new(new, &[b"the secret of this year, 32 bytes"]), Secrets::new(new, &[]));
    let text = refresh().text(&secrets());
    let read = RefreshToken::parse(&with_old, text.expose()).unwrap();
    assert_eq!(read.digest(), refresh().digest(), "found in the store as before");
    assert!(RefreshToken::parse(&without, text.expose()).is_err());
    let csrf = csrf_token(&secrets(), SESSION);
    assert!(is_csrf_token(&with_old, SESSION, csrf.expose()));
    assert!(!is_csrf_token(&without, SESSION, csrf.expose()));
}

#[test]
fn the_token_of_a_form_belongs_to_its_session() {
    let secrets = secrets();
    assert!(!is_csrf_token(&secrets, Uuid::from_u128(8), csrf_token(&secrets, SESSION).expose()));
}

/// Every kind, by name: a text of it, and whether a text is accepted in its place.
type Accepts = Box<dyn Fn(&str) -> bool>;

fn kinds() -> Vec<(&'static str, String, Accepts)> {
    let read = |kind: fn(&Secrets, &str) -> bool| -> Accepts { Box::new(move |text| kind(&secrets(), text)) };
    let exposed = |token: OpaqueToken| token.expose().to_owned();
    let mut kinds: Vec<(&'static str, String, Accepts)> = vec![
        (
            "refresh",
            exposed(refresh().text(&secrets())),
            read(|secrets, text| RefreshToken::parse(secrets, text).is_ok()),
        ),
        (
            "cookie",
            exposed(cookie().text(&secrets())),
            read(|secrets, text| SessionCookie::parse(secrets, text).is_ok()),
        ),
        (
            "device",
            exposed(device().text(&secrets())),
            read(|secrets, text| DeviceToken::parse(secrets, text).is_ok()),
        ),
        (
            "csrf",
            exposed(csrf_token(&secrets(), SESSION)),
            read(|secrets, text| is_csrf_token(secrets, SESSION, text)),
        ),
    ];
    for (seed, purpose) in PURPOSES {
        let token = OneTimeToken::new(&Random::seeded(seed));
        kinds.push((purpose.name(), exposed(token.text()), Box::new(move |text| is_stored(text, purpose))));
    }
    kinds.push(access());
    kinds
}

/// The store of one-time tokens holds those that `kinds` issues, each for its own purpose.
fn is_stored(text: &str, purpose: Purpose) -> bool {
    let stored = PURPOSES.map(|(seed, purpose)| OneTimeToken::new(&Random::seeded(seed)).digest(purpose));
    OneTimeToken::parse(text).is_ok_and(|token| stored.contains(&token.digest(purpose)))
}

fn access() -> (&'static str, String, Accepts) {
    let now = Timestamp::from_seconds(1_700_000_000);
    let expected = Expected { issuer: "issuer".into(), audience: "audience".into() };
    let key = SigningKey::generate(Algorithm::EdDsa, &Random::seeded(1), now).unwrap();
    let ring = KeyRing::new(key, []);
    let claims = Claims {
        iss: expected.issuer.clone(),
        aud: expected.audience.clone(),
        sub: Uuid::from_u128(1),
        exp: now.seconds() + 900,
        iat: now.seconds(),
        nbf: now.seconds(),
        jti: Uuid::from_u128(2),
        sid: SESSION,
        client_id: "gatehouse".into(),
        ver: 0,
        roles: Vec::new(),
        amr: Vec::new(),
    };
    let token = ring.issue(&claims).unwrap();
    ("access", token, Box::new(move |text| ring.verify(text, now, &expected).is_ok()))
}

/// all bits of chance are the same here where they can be; only the kind differs.
#[test]
fn no_kind_of_token_passes_for_another() {
    let kinds = kinds();
    for (given, text, _) in &kinds {
        for (wanted, _, accepts) in &kinds {
            assert_eq!(accepts(text), given == wanted, "{given} in the place of {wanted}");
        }
    }
}

/// nor with the prefix added or taken away, or cut to the other's length.
#[test]
fn no_kind_of_token_is_dressed_up_as_another() {
    let kinds = kinds();
    for (given, text, _) in &kinds {
        let bare = text.strip_prefix("gr_").unwrap_or(text);
        let cut = |length: usize| bare.chars().take(length).collect::<String>();
        let dressed =
            [bare.to_owned(), format!("gr_{bare}"), cut(86), format!("gr_{}", cut(86)), cut(75), cut(43)];
        for (wanted, _, accepts) in kinds.iter().filter(|(wanted, _, _)| wanted != given) {
            for text in &dressed {
                assert!(!accepts(text), "{given} dressed up as {wanted}");
            }
        }
    }
}

/// truncated, with a suffix, in other case, with other letters for the same bytes.
#[test]
fn a_token_has_one_text() {
    for (name, text, accepts) in kinds() {
        assert!(accepts(&text));
        for length in 0..text.len() {
            assert!(!accepts(&text[..length]), "{name} cut at {length}");
            assert!(!accepts(&text[text.len() - length..]), "{name}, its last {length}");
        }
        for suffix in ["A", "=", "==", " ", "\n", "\0", ".", "é", &text] {
            assert!(!accepts(&format!("{text}{suffix}")), "{name} with {suffix:?} after it");
            assert!(!accepts(&format!("{suffix}{text}")), "{name} with {suffix:?} before it");
        }
        for other in [text.to_uppercase(), text.to_lowercase(), swap_case(&text), format!("\"{text}\"")] {
            assert!(!accepts(&other), "{name} as {other}");
        }
        for (index, bit) in (0..text.len()).flat_map(|index| (0..7).map(move |bit| (index, bit))) {
            let mut bytes = text.clone().into_bytes();
            bytes[index] ^= 1 << bit;
            assert!(!accepts(&String::from_utf8(bytes).unwrap()), "{name}, bit {bit} of letter {index}");
        }
    }
}

fn swap_case(text: &str) -> String {
    let swap = |letter: char| {
        if letter.is_ascii_lowercase() { letter.to_ascii_uppercase() } else { letter.to_ascii_lowercase() }
    };
    text.chars().map(swap).collect()
}

#[test]
fn tokens_are_not_printed() {
    let secrets = secrets();
    let printed = format!("{:?} {:?} {:?}", refresh(), cookie(), OneTimeToken::new(&Random::seeded(1)));
    assert_eq!(printed.matches("Key32(…)").count(), 3);
    assert!(!printed.contains("secret: ["));
    assert_eq!(format!("{:?}", refresh().text(&secrets)), "OpaqueToken(…)");
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in any::<String>(), letters in "(gr_)?[A-Za-z0-9_-]{0,90}") {
        for (_, _, accepts) in kinds() {
            prop_assert!(!accepts(&text));
            prop_assert!(!accepts(&letters));
        }
    }

    #[test]
    fn any_device_comes_back(user in any::<u128>(), device in any::<u128>(), millis in any::<i64>()) {
        let token = DeviceToken {
            user_id: Uuid::from_u128(user),
            device_id: Uuid::from_u128(device),
            issued_at: Timestamp::from_millis(millis),
        };
        prop_assert_eq!(DeviceToken::parse(&secrets(), token.text(&secrets()).expose()), Ok(token));
    }
}
