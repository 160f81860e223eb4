//! Who is calling: sessions, access and refresh tokens, signing keys.
//!
//! An access token proves who it was issued to; whether it still counts is decided on every request by the
//! [`Standing`] of its user: the account as it is now and the sessions that live. The standing is cached for a moment
//! and never outlives a change made here (see [`crate::platform::freshness`]).

mod access_token;
mod caller;
mod cookie;
mod described;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod jws;
mod keys;
mod opaque;
mod roles;
mod rules;
mod signing;
mod still;
pub(crate) mod store;
mod told;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use moka::sync::Cache;
use uuid::Uuid;

pub use access_token::{Claims, TokenFault};
pub use caller::{Caller, Enrolling};
pub(crate) use caller::{bearer_text, or_nobody};
pub use cookie::SessionCookies;
pub(crate) use cookie::{add_cookies, cookie, set_cookie};
pub use described::{Anybody, Described, Leaver, Service};
pub use jws::Algorithm;
pub use keys::{Jwk, Jwks};
pub use opaque::{DeviceToken, OneTimeToken, OpaqueToken, Purpose};
pub use roles::{Role, Roles, UnknownRole};
pub use rules::{Kind, NewSession, OpenSession, RefreshRefusal, Tokens};
pub use signing::Retirement;
pub use told::Ending;

use crate::events::Events;
use crate::platform::clock::{Clock, Timestamp};
use crate::platform::db::Database;
use crate::platform::freshness::{FreshCache, View};
use crate::platform::ground::Ground;
use crate::platform::random::Random;
use crate::platform::secrets::Secrets;
use crate::platform::telemetry::metrics::Tally;
use access_token::Expected;
use keys::KeyRing;

/// Verified tokens that are remembered, so that a signature is checked once and not on each request.
const REMEMBERED_TOKENS: u64 = 20_000;
/// Users whose standing is remembered.
const REMEMBERED_STANDINGS: u64 = 50_000;

/// How long things last, and in whose name tokens are issued.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `iss` and `aud` of access tokens: the base URL without a slash at its end.
    pub issuer: String,
    /// The algorithm that new signing keys are for.
    pub algorithm: Algorithm,
    /// Life of an access token.
    pub access_lifetime: Duration,
    /// How long a session may rest.
    pub idle: Duration,
    /// How long a session may last.
    pub absolute: Duration,
    /// How long an admin's session may rest.
    pub admin_idle: Duration,
    /// How long an admin's session may last.
    pub admin_absolute: Duration,
    /// The cookie of the built-in pages.
    pub cookie_name: &'static str,
    /// The origin of the built-in pages.
    pub origin: String,
    /// Other origins whose scripts may call the API.
    pub allowed_origins: Vec<String>,
    /// Roles that need a second factor, and from when on.
    pub second_factor: Vec<(Role, Timestamp)>,
}

/// The feature: what it owns.
pub struct Sessions {
    db: Database,
    clock: Clock,
    random: Random,
    secrets: Arc<Secrets>,
    events: Events,
    settings: Settings,
    expected: Expected,
    ring: ArcSwap<KeyRing>,
    verified: Cache<[u8; 32], Arc<Seen>>,
    verified_looks: Tally,
    standings: FreshCache<Arc<Standing>>,
    looked_for_keys: tokio::sync::Mutex<Option<Instant>>,
}

/// An access token whose signature was found good.
struct Seen {
    claims: Arc<Claims>,
    /// It was seen after its time. A clock that is set back does not make it good again.
    is_over: AtomicBool,
}

/// What decides, right now, whether a user's tokens count.
#[derive(Clone, Debug)]
pub struct Standing {
    /// The roles that the account has.
    pub roles: Roles,
    /// Whether the account may be used: neither banned nor deleted.
    pub active: bool,
    /// Tokens of any other version are void.
    pub token_version: i64,
    /// Whether signing in takes a second factor.
    pub has_second_factor: bool,
    sessions: Vec<LiveSession>,
}

#[derive(Clone, Copy, Debug)]
struct LiveSession {
    id: Uuid,
    proved_at: Timestamp,
    expires_at: Timestamp,
}

impl Sessions {
    /// Opens the feature: reads the signing keys and makes the first one where there is none.
    pub async fn open(
        ground: Ground,
        secrets: Arc<Secrets>,
        events: Events,
        settings: Settings,
    ) -> anyhow::Result<Self> {
        let Ground { db, clock, random } = ground;
        let ring = signing::ring(&db, &clock, &random, &secrets, settings.algorithm).await?;
        let expected = Expected { issuer: settings.issuer.clone(), audience: settings.issuer.clone() };
        let verified =
            Cache::builder().max_capacity(REMEMBERED_TOKENS).time_to_live(settings.access_lifetime).build();
        let standings = FreshCache::new(View::Standing, Arc::clone(db.freshness()), REMEMBERED_STANDINGS);
        let ring = ArcSwap::from_pointee(ring);
        let looked_for_keys = tokio::sync::Mutex::default();
        Ok(Self {
            db,
            clock,
            random,
            secrets,
            events,
            settings,
            expected,
            ring,
            verified,
            verified_looks: Tally::default(),
            standings,
            looked_for_keys,
        })
    }

    /// How often the caches had what was looked for: tokens that were verified, and where their users stand.
    #[must_use]
    pub fn looks(&self) -> [(&'static str, (u64, u64)); 2] {
        [("tokens", self.verified_looks.read()), ("standings", self.standings.looks().read())]
    }
}
