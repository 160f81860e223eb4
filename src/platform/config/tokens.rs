//! Tokens and sessions: the master secret, and how long what it signs and seals is good for.

use std::fmt;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretSlice};

use super::catalogue::{Alias, section};
use super::kinds::{Choice, List, Optional, Secret, Word, days, hours, minutes};
use super::reader::{Noted, Reader};
use super::server::ENVIRONMENT;
use super::sources::Origin;
use super::{mistake::Mistake, secret_key, weakness};

section! {
    /// Tokens and sessions.
    pub struct Tokens {
        /// Earlier master secrets, commas between: what they sealed can still be opened.
        previous_secrets: Vec<MasterSecret> = "JWT_SECRET_KEY_PREVIOUS", Secret(List(MASTER_SECRET)), "";
        /// Lifetime of an access token, in minutes.
        access_lifetime: Duration = "JWT_EXP", minutes(1, 1440), "30";
        /// Algorithm that signs access tokens (RFC 8037, RFC 7518).
        algorithm: TokenAlgorithm = "JWT_ALGORITHM", ALGORITHM, "EdDSA";
        /// How long a session lasts without use, in days.
        refresh_idle: Duration = "REFRESH_EXP_DAYS", days(1, 365), "7";
        /// How long a session lasts at most, in days.
        session_absolute: Duration = "SESSION_ABSOLUTE_DAYS", days(1, 3650), "30";
        /// How long a session of an admin lasts at most, in hours.
        admin_session: Duration = "ADMIN_SESSION_HOURS", hours(1, 720), "24";
        /// How long a session of an admin lasts without use, in minutes.
        admin_idle: Duration = "ADMIN_IDLE_MINUTES", minutes(1, 1440), "60";
        derived {
            /// The secret that every other key is derived from.
            master_secret: MasterSecret = master_secret;
        }
    }
}

section! {
    /// The master secret as it was written.
    struct Written {
        /// Master secret, 32 bytes or more; every other key is derived from it. Required outside `local`, where it
        /// is made once and kept in `DATA_DIR/secret.key`.
        master_secret: Option<MasterSecret> =
            "JWT_SECRET_KEY" or Alias::Same("SECRET_KEY"), Optional(Secret(MASTER_SECRET)), "";
    }
}

/// The settings of tokens, the master secret first.
pub(super) const SETTINGS: [&[super::Setting]; 2] = [Written::SETTINGS, Tokens::SETTINGS];

/// The secret that every other key is derived from (HKDF, RFC 5869). Can't be printed.
#[derive(Clone)]
pub struct MasterSecret(SecretSlice<u8>);

impl MasterSecret {
    /// A master secret of these bytes.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        Self(bytes.to_vec().into())
    }

    /// The bytes: for deriving keys only.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        self.0.expose_secret()
    }
}

impl fmt::Debug for MasterSecret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("MasterSecret(…)")
    }
}

/// What signs access tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenAlgorithm {
    /// Ed25519 (RFC 8037).
    EdDsa,
    /// ECDSA on P-256 with SHA-256 (RFC 7518, 3.4).
    Es256,
    /// HMAC with SHA-256 (RFC 7518, 3.2): whoever checks tokens can also make them.
    Hs256,
}

const ALGORITHM: Choice<TokenAlgorithm> = Choice(&[
    ("EdDSA", TokenAlgorithm::EdDsa),
    ("ES256", TokenAlgorithm::Es256),
    ("HS256", TokenAlgorithm::Hs256),
]);

const MASTER_SECRET: Word<MasterSecret> = Word {
    accepts: "32 bytes or more of chance, no placeholder; `openssl rand -base64 48` makes one",
    parse: |text| (!weakness::is_weak_key(text)).then(|| MasterSecret::new(text.as_bytes())),
};

fn master_secret(reader: &mut Reader) -> Result<MasterSecret, Noted> {
    if let Some(secret) = Written::read(reader)?.master_secret {
        return Ok(secret);
    }
    if reader.value("ENVIRONMENT", &ENVIRONMENT)?.is_local() {
        return kept(reader);
    }
    Err(reader.refuse("JWT_SECRET_KEY", MASTER_SECRET.accepts))
}

/// The secret that this machine made for itself at its first start.
fn kept(reader: &mut Reader) -> Result<MasterSecret, Noted> {
    let folder = std::path::PathBuf::from(reader.text("DATA_DIR"));
    match secret_key::open(&folder, reader.key_use()) {
        Ok(text) => {
            reader.keep("JWT_SECRET_KEY", &text, Origin::File(secret_key::path(&folder)));
            Ok(MasterSecret::new(text.as_bytes()))
        }
        Err(why) => Err(reader.note(Mistake::new(why))),
    }
}

/// A session can't go unused for longer than it lasts.
pub(super) fn check_lifetimes(tokens: &Tokens, reader: &mut Reader) {
    for (idle, longest, name, other) in [
        (tokens.refresh_idle, tokens.session_absolute, "REFRESH_EXP_DAYS", "SESSION_ABSOLUTE_DAYS"),
        (tokens.admin_idle, tokens.admin_session, "ADMIN_IDLE_MINUTES", "ADMIN_SESSION_HOURS"),
    ] {
        if idle > longest {
            reader.refuse(name, &format!("no longer than {other}"));
        }
    }
}
