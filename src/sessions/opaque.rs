//! Opaque tokens: text that means something only here, one type for each purpose.
//!
//! Tokens of sessions and devices carry a tag (a cut MAC under a label of their own), so that garbage and tokens
//! of another purpose are refused without the database, and a genuine but spent one can be recognised as reuse.
//! One-time tokens are bare chance; their purpose is mixed into the digest that is stored. No secret is ever
//! stored: the database holds digests.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::platform::clock::Timestamp;
use crate::platform::random::Random;
use crate::platform::secrets::{Key32, Secrets, digest};

/// Bytes of a tag: nobody guesses 128 bits.
const TAG_LEN: usize = 16;

/// The text of a token, on its way to its owner. It can't be printed and is wiped from memory when dropped.
#[derive(Clone)]
pub struct OpaqueToken(Zeroizing<String>);

impl OpaqueToken {
    /// The text itself, for the answer or the cookie that carries it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for OpaqueToken {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("OpaqueToken(…)")
    }
}

/// The text is not a token that this server issued for this purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a token of this kind")]
pub struct NotOurs;

/// What makes one kind of token differ from every other.
struct Kind {
    prefix: &'static str,
    label: &'static str,
}

const REFRESH: Kind = Kind { prefix: "gr_", label: "refresh tag" };
const COOKIE: Kind = Kind { prefix: "", label: "cookie tag" };
const DEVICE: Kind = Kind { prefix: "", label: "device tag" };

impl Kind {
    /// `prefix` and base64url of `body ‖ tag`.
    fn write(&self, secrets: &Secrets, body: &[u8]) -> OpaqueToken {
        let tag = secrets.mac(self.label, &[body]);
        let bytes = Zeroizing::new([body, &tag[..TAG_LEN]].concat());
        OpaqueToken(Zeroizing::new(format!("{}{}", self.prefix, &*Zeroizing::new(encode(&bytes)))))
    }

    /// The body of `text`, if it has exactly `N` bytes and its tag fits.
    fn read<const N: usize>(&self, secrets: &Secrets, text: &str) -> Result<Zeroizing<[u8; N]>, NotOurs> {
        let encoded = text.strip_prefix(self.prefix).ok_or(NotOurs)?;
        let bytes = decode(encoded, N + TAG_LEN).ok_or(NotOurs)?;
        let (body, tag) = bytes.split_first_chunk::<N>().ok_or(NotOurs)?;
        secrets.verify_mac(self.label, &[body], tag).then(|| Zeroizing::new(*body)).ok_or(NotOurs)
    }
}

/// Which session, and a secret that proves it: what refresh tokens and cookies are made of.
#[derive(Clone, Debug)]
struct SessionSecret {
    session_id: Uuid,
    secret: Key32,
}

impl SessionSecret {
    fn new(random: &Random, session_id: Uuid) -> Self {
        Self { session_id, secret: random.bytes().into() }
    }

    fn read(kind: &Kind, secrets: &Secrets, text: &str) -> Result<Self, NotOurs> {
        let body = kind.read::<48>(secrets, text)?;
        let (session_id, secret) = body.split_first_chunk::<16>().ok_or(NotOurs)?;
        let secret = <[u8; 32]>::try_from(secret).map_err(|_| NotOurs)?;
        Ok(Self { session_id: Uuid::from_bytes(*session_id), secret: secret.into() })
    }

    fn body(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new([&self.session_id.as_bytes()[..], self.secret.bytes()].concat())
    }
}

/// A refresh token: which session, and a secret that is good for one use.
#[derive(Clone, Debug)]
pub struct RefreshToken(SessionSecret);

impl RefreshToken {
    /// The first one of a session.
    #[must_use]
    pub fn first(random: &Random, session_id: Uuid) -> Self {
        Self(SessionSecret::new(random, session_id))
    }

    /// The one that follows this. It is always the same, so that a client whose answer got lost may be given it
    /// again; without the key nobody can tell it from its parent.
    #[must_use]
    pub fn successor(&self, secrets: &Secrets) -> Self {
        let secret = secrets.mac("refresh successor", &[&self.0.body()]).into();
        Self(SessionSecret { session_id: self.0.session_id, secret })
    }

    /// Reads the text of a token that this server issued: exactly its length, its letters, its tag.
    pub fn parse(secrets: &Secrets, text: &str) -> Result<Self, NotOurs> {
        SessionSecret::read(&REFRESH, secrets, text).map(Self)
    }

    /// The text for its owner: `gr_` and 86 letters.
    #[must_use]
    pub fn text(&self, secrets: &Secrets) -> OpaqueToken {
        REFRESH.write(secrets, &self.0.body())
    }

    /// The session that it refreshes.
    #[must_use]
    pub const fn session_id(&self) -> Uuid {
        self.0.session_id
    }

    /// What is stored in its place.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        stored_digest("refresh", &self.0.body())
    }
}

/// The value of the session cookie: which session, and the secret that proves it.
#[derive(Clone, Debug)]
pub struct SessionCookie(SessionSecret);

impl SessionCookie {
    /// A new one for a session.
    #[must_use]
    pub fn new(random: &Random, session_id: Uuid) -> Self {
        Self(SessionSecret::new(random, session_id))
    }

    /// Reads a cookie that this server set: exactly its length, its letters, its tag.
    pub fn parse(secrets: &Secrets, value: &str) -> Result<Self, NotOurs> {
        SessionSecret::read(&COOKIE, secrets, value).map(Self)
    }

    /// The cookie's value: 86 letters.
    #[must_use]
    pub fn text(&self, secrets: &Secrets) -> OpaqueToken {
        COOKIE.write(secrets, &self.0.body())
    }

    /// The session that it stands for.
    #[must_use]
    pub const fn session_id(&self) -> Uuid {
        self.0.session_id
    }

    /// What is stored in its place.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        stored_digest("cookie", &self.0.body())
    }
}

/// The token that a page sends back with every change, bound to its session: 43 letters. Nothing is stored for it.
#[must_use]
pub fn csrf_token(secrets: &Secrets, session_id: Uuid) -> OpaqueToken {
    OpaqueToken(Zeroizing::new(encode(&secrets.mac("csrf", &[session_id.as_bytes()]))))
}

/// Whether `text` is that token of this session.
#[must_use]
pub fn is_csrf_token(secrets: &Secrets, session_id: Uuid, text: &str) -> bool {
    decode(text, 32).is_some_and(|tag| secrets.verify_mac("csrf", &[session_id.as_bytes()], &tag))
}

/// A device from which an account has signed in fully before; it has a throttle of its own. It opens nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceToken {
    /// The account that signed in.
    pub user_id: Uuid,
    /// The device.
    pub device_id: Uuid,
    /// When it was issued.
    pub issued_at: Timestamp,
}

impl DeviceToken {
    /// Reads a token that this server issued. How old it may be is for the caller to say.
    pub fn parse(secrets: &Secrets, text: &str) -> Result<Self, NotOurs> {
        let body = DEVICE.read::<40>(secrets, text)?;
        let (user_id, rest) = body.split_first_chunk::<16>().ok_or(NotOurs)?;
        let (device_id, issued_at) = rest.split_first_chunk::<16>().ok_or(NotOurs)?;
        let issued_at = i64::from_be_bytes(issued_at.try_into().map_err(|_| NotOurs)?);
        Ok(Self {
            user_id: Uuid::from_bytes(*user_id),
            device_id: Uuid::from_bytes(*device_id),
            issued_at: Timestamp::from_millis(issued_at),
        })
    }

    /// The text for the cookie: 75 letters.
    #[must_use]
    pub fn text(&self, secrets: &Secrets) -> OpaqueToken {
        let issued_at = self.issued_at.millis().to_be_bytes();
        let body = [&self.user_id.as_bytes()[..], self.device_id.as_bytes(), &issued_at].concat();
        DEVICE.write(secrets, &body)
    }
}

/// What a one-time token is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Making the first admin on an empty database.
    Setup,
    /// Choosing a new password.
    Reset,
    /// Proving an e-mail address.
    Verify,
    /// Giving the second factor after the first.
    OtpChallenge,
    /// Coming back from another provider: what it sends back.
    OauthState,
    /// Coming back from another provider: what the browser shows.
    OauthCookie,
    /// Trading what another provider's sign-in gave for tokens.
    OauthCode,
}

impl Purpose {
    /// Its name, in the database and in the digest: never rename.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Setup => "setup",
            Self::Reset => "reset",
            Self::Verify => "verify",
            Self::OtpChallenge => "otp-challenge",
            Self::OauthState => "oauth-state",
            Self::OauthCookie => "oauth-cookie",
            Self::OauthCode => "oauth-code",
        }
    }
}

/// A token for one use: 256 random bits.
#[derive(Clone, Debug)]
pub struct OneTimeToken(Key32);

impl OneTimeToken {
    /// A new one.
    #[must_use]
    pub fn new(random: &Random) -> Self {
        Self(random.bytes().into())
    }

    /// Reads the text of one: exactly its length and its letters. Only its digest tells whether it was issued.
    pub fn parse(text: &str) -> Result<Self, NotOurs> {
        let bytes = decode(text, 32).ok_or(NotOurs)?;
        let bytes = <[u8; 32]>::try_from(&bytes[..]).map_err(|_| NotOurs)?;
        Ok(Self(bytes.into()))
    }

    /// The text for its owner: 43 letters.
    #[must_use]
    pub fn text(&self) -> OpaqueToken {
        OpaqueToken(Zeroizing::new(encode(self.0.bytes())))
    }

    /// What is stored in its place for `purpose`; for any other purpose it is another value.
    #[must_use]
    pub fn digest(&self, purpose: Purpose) -> [u8; 32] {
        stored_digest(purpose.name(), self.0.bytes())
    }
}

/// SHA-256 of the purpose and the secret. A fast hash suffices: the secret has 256 bits.
fn stored_digest(purpose: &'static str, secret: &[u8]) -> [u8; 32] {
    let text = Zeroizing::new([purpose.as_bytes(), &[0], secret].concat());
    digest(&text)
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Exactly `length` bytes of base64url, without padding and without stray bits: one text for one value.
fn decode(text: &str, length: usize) -> Option<Zeroizing<Vec<u8>>> {
    // The length is compared before anything is decoded, so that a long text costs nothing.
    let letters = (length * 4).div_ceil(3);
    let bytes = Zeroizing::new((text.len() == letters).then(|| URL_SAFE_NO_PAD.decode(text).ok())??);
    (bytes.len() == length).then_some(bytes)
}

#[cfg(test)]
mod tests;
