//! The acts: open, refresh, end; and the question asked on every request.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use sea_orm::{ConnectionTrait, DbErr};
use uuid::Uuid;

use super::access_token::{Claims, TokenFault};
use super::caller::signed_out;
use super::opaque::{self, OpaqueToken, RefreshToken, SessionCookie};
use super::roles::{Role, Roles};
use super::store::Gone;
use super::told::{Ending, SessionCreated, SessionEnded};
use super::{Caller, Enrolling, Jwks, LiveSession, Seen, Sessions, Standing, store};
use crate::events::{Event, Events};
use crate::platform::clock::Timestamp;
use crate::platform::db::Tx;
use crate::platform::problem::{Breakage, Failure, FieldError, Problem};
use crate::platform::secrets::digest;
use crate::platform::web::{ClientInfo, home_network};

/// A client that did not hear the answer to its refresh may ask again for so long and gets the same successor.
const GRACE: Duration = Duration::from_secs(10);
/// Sessions of one user; opening more ends the one not seen for longest.
const SESSIONS_PER_USER: i64 = 100;
/// People whose sessions have run out that are looked after together, at most.
const SWEPT_AT_ONCE: u64 = 200;
/// Signing in counts as proof of who one is for so long.
pub(crate) const PROOF_LASTS: Duration = Duration::from_mins(10);
/// A cookie session notes its use at most so often.
const NOTED_EVERY: Duration = Duration::from_mins(5);
/// What an access token says may be news to another instance for so long; clocks differ a little.
const JUST_ISSUED: Duration = Duration::from_secs(10);
/// Who the tokens are issued to (RFC 9068, 2.2): there is one client, the application itself.
const CLIENT_ID: &str = "gatehouse";

crate::refusals! {
    /// Why a refresh is refused.
    pub enum RefreshRefusal {
        Invalid = 401 "token_invalid" "The refresh token is not valid, or no longer." oauth "invalid_grant",
        Malformed(Vec<FieldError>) = 422 "validation_failed" "Some fields are not as they must be." oauth "unsupported_grant_type",
    }
}

/// What carries a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Access and refresh tokens.
    Token,
    /// The cookie of the built-in pages.
    Cookie,
}

impl Kind {
    /// Its name in the database: never rename.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Cookie => "cookie",
        }
    }

    /// The kind so named.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [Self::Token, Self::Cookie].into_iter().find(|kind| kind.name() == name)
    }
}

/// A session that is to be opened.
#[derive(Clone, Debug)]
pub struct NewSession {
    /// Whose.
    pub user_id: Uuid,
    /// The user's roles: admins' sessions are shorter.
    pub roles: Roles,
    /// What carries it.
    pub kind: Kind,
    /// How the person proved who they are (RFC 8176), separated by spaces.
    pub amr: String,
    /// From where.
    pub client: ClientInfo,
}

/// A session just opened: its id and its secret, as text for the client.
#[derive(Debug)]
pub struct OpenSession {
    /// The session.
    pub id: Uuid,
    /// The refresh token or the cookie's value.
    pub secret: OpaqueToken,
    amr: String,
}

/// What a client is given to go on with.
pub struct Tokens {
    /// The access token (a JWT).
    pub access: String,
    /// The refresh token.
    pub refresh: OpaqueToken,
    /// Life of the access token, in seconds.
    pub expires_in: u64,
}

enum Rotated {
    Fresh,
    Again,
    Reused,
    Gone,
}

impl Sessions {
    /// Opens a session in the transaction of the act that signs somebody in.
    pub async fn open_session(&self, tx: &Tx, new: NewSession) -> Result<OpenSession, DbErr> {
        let now = self.clock.now();
        let id = self.random.uuid_v7(now);
        let (secret, secret_digest) = match new.kind {
            Kind::Token => {
                let token = RefreshToken::first(&self.random, id);
                (token.text(&self.secrets), token.digest())
            }
            Kind::Cookie => {
                let cookie = SessionCookie::new(&self.random, id);
                (cookie.text(&self.secrets), cookie.digest())
            }
        };
        let (idle, absolute) = self.limits(new.roles);
        let row = store::session::Model {
            id,
            user_id: new.user_id,
            kind: new.kind.name().to_owned(),
            secret_digest: secret_digest.to_vec(),
            previous_digest: None,
            rotated_at: None,
            amr: new.amr.clone(),
            user_agent: new.client.user_agent.clone(),
            ip: new.client.ip.to_string(),
            created_at: now.millis(),
            last_seen_at: now.millis(),
            proved_at: now.millis(),
            idle_expires_at: now.after(idle.min(absolute)).millis(),
            expires_at: now.after(absolute).millis(),
        };
        let (user, kind) = (new.user_id, new.kind.name());
        let told = SessionCreated { session_id: id, method: &new.amr, kind };
        let told = self.events.draw(tx, vec![Event::new(user, &told, None, now)?]);
        store::insert(tx, row, &told).await?;
        let gone = store::end_beyond(tx, user, id, SESSIONS_PER_USER).await?;
        tell_ended(&self.events, tx, gone, Ending::TooMany, now).await?;
        Ok(OpenSession { id, secret, amr: new.amr })
    }

    /// The tokens of a session just opened for a user of this standing.
    pub fn first_tokens(
        &self,
        user: Uuid,
        roles: Roles,
        token_version: i64,
        session: OpenSession,
    ) -> anyhow::Result<Tokens> {
        self.tokens(user, roles, token_version, session.id, &session.amr, session.secret)
    }

    /// Trades a refresh token for new tokens; its successor is the same when asked again within the grace time.
    pub async fn refresh(&self, presented: &str) -> Result<Tokens, Failure<RefreshRefusal>> {
        let token = RefreshToken::parse(&self.secrets, presented).map_err(|_| RefreshRefusal::Invalid)?;
        let session = store::by_id(self.db.reader(), token.session_id()).await?;
        let session = session.ok_or(RefreshRefusal::Invalid)?;
        let standing = self.standing(session.user_id).await?.filter(|standing| standing.active);
        let standing = standing.ok_or(RefreshRefusal::Invalid)?;
        let successor = token.successor(&self.secrets);
        match self.rotate(&token, &successor, standing.roles).await? {
            Rotated::Fresh | Rotated::Again => {}
            Rotated::Gone => return Err(RefreshRefusal::Invalid.into()),
            Rotated::Reused => {
                tracing::warn!(
                    user_id = %session.user_id,
                    session_id = %session.id,
                    "a spent refresh token came back: somebody has a copy; the session was ended"
                );
                return Err(RefreshRefusal::Invalid.into());
            }
        }
        let secret = successor.text(&self.secrets);
        let version = standing.token_version;
        Ok(self.tokens(session.user_id, standing.roles, version, session.id, &session.amr, secret)?)
    }

    async fn rotate(
        &self,
        token: &RefreshToken,
        successor: &RefreshToken,
        roles: Roles,
    ) -> Result<Rotated, Failure<RefreshRefusal>> {
        let now = self.clock.now();
        let (idle, absolute) = self.limits(roles);
        let rotation = store::Rotation {
            session: token.session_id(),
            presented: token.digest().to_vec(),
            successor: successor.digest().to_vec(),
            now,
            idle_expires_at: now.after(idle),
            rests: i64::try_from(idle.as_millis()).unwrap_or(i64::MAX),
            lasts: i64::try_from(absolute.as_millis()).unwrap_or(i64::MAX),
        };
        let events = self.events.clone();
        self.db.write(move |tx| rotate_or_end(tx, rotation, events).boxed()).await
    }

    fn tokens(
        &self,
        user: Uuid,
        roles: Roles,
        ver: i64,
        sid: Uuid,
        amr: &str,
        refresh: OpaqueToken,
    ) -> anyhow::Result<Tokens> {
        let now = self.clock.now();
        let claims = Claims {
            iss: self.expected.issuer.clone(),
            aud: self.expected.audience.clone(),
            sub: user,
            exp: now.after(self.settings.access_lifetime).seconds(),
            iat: now.seconds(),
            nbf: now.seconds(),
            jti: self.random.uuid_v7(now),
            sid,
            client_id: CLIENT_ID.to_owned(),
            ver,
            roles: roles.iter().map(|role| role.name().to_owned()).collect(),
            amr: amr.split(' ').map(str::to_owned).collect(),
        };
        let access = self.ring.load().issue(&claims)?;
        Ok(Tokens { access, refresh, expires_in: self.settings.access_lifetime.as_secs() })
    }

    /// Who holds this access token, if it counts right now.
    pub async fn holder(&self, token: &str) -> Result<Result<Enrolling, TokenFault>, DbErr> {
        let claims = match self.verified(token) {
            Err(TokenFault::UnknownKey) => {
                self.look_for_new_keys().await?;
                self.verified(token)
            }
            verified => verified,
        };
        let claims = match claims {
            Ok(claims) => claims,
            Err(fault) => return Ok(Err(fault)),
        };
        let now = self.clock.now();
        let mut standing = self.standing(claims.sub).await?;
        if is_news(&claims, standing.as_deref(), now) {
            standing = self.standing_now(claims.sub).await?;
        }
        let standing = standing.filter(|standing| standing.active);
        let session = standing.as_deref().and_then(|standing| standing.live(claims.sid, now));
        Ok(match (standing, session) {
            (Some(standing), Some(_)) if standing.token_version != claims.ver => Err(TokenFault::Outdated),
            (Some(standing), Some(session)) => {
                Ok(Enrolling(self.caller(claims.sub, &standing, session, now)))
            }
            _ => Err(TokenFault::Revoked),
        })
    }

    /// The claims of a token that is genuine and in its time. A checked signature is remembered under the digest of
    /// the whole token, so nothing but that very token profits from it.
    pub(super) fn verified(&self, token: &str) -> Result<Arc<Claims>, TokenFault> {
        let key = digest(token.as_bytes());
        let now = self.clock.now();
        let known = self.verified.get(&key);
        self.verified_looks.count(known.is_some());
        let seen = if let Some(seen) = known {
            seen
        } else {
            let claims = Arc::new(self.ring.load().authenticate(token)?);
            let seen = Arc::new(Seen { claims, is_over: AtomicBool::new(false) });
            self.verified.insert(key, Arc::clone(&seen));
            seen
        };
        if seen.is_over.load(Ordering::Relaxed) {
            return Err(TokenFault::Expired);
        }
        let checked = seen.claims.check(now, &self.expected);
        seen.is_over.store(checked == Err(TokenFault::Expired), Ordering::Relaxed);
        checked.map(|()| Arc::clone(&seen.claims))
    }

    /// How many sessions have not run out.
    pub async fn count_open(&self) -> Result<u64, DbErr> {
        store::count_open(self.db.reader(), self.clock.now()).await
    }

    /// Who holds this session cookie, if it counts right now.
    pub async fn holder_of_cookie(&self, value: &str) -> Result<Option<Enrolling>, DbErr> {
        let Ok(cookie) = SessionCookie::parse(&self.secrets, value) else { return Ok(None) };
        let Some(row) = store::by_id(self.db.reader(), cookie.session_id()).await? else { return Ok(None) };
        let now = self.clock.now();
        if row.kind != Kind::Cookie.name() || row.secret_digest != cookie.digest() || !row.lives_at(now) {
            return Ok(None);
        }
        let Some(standing) = self.standing(row.user_id).await? else { return Ok(None) };
        let Some(session) = standing.live(row.id, now).filter(|_| standing.active) else { return Ok(None) };
        if !self.is_within_limits(&row, standing.roles, now) {
            return Ok(None);
        }
        let caller = self.caller(row.user_id, &standing, session, now);
        if now.since(Timestamp::from_millis(row.last_seen_at)) >= NOTED_EVERY {
            let idle = now.after(self.limits(standing.roles).0);
            let noted = self.db.write::<_, DbErr, _>(move |tx| note(tx, row, now, idle).boxed()).await;
            if let Err(error) = noted {
                tracing::warn!(%error, "the use of a session could not be noted");
            }
        }
        Ok(Some(Enrolling(caller)))
    }

    /// The token that a page sends back to show that it is ours.
    #[must_use]
    pub fn csrf_token(&self, session: Uuid) -> OpaqueToken {
        opaque::csrf_token(&self.secrets, session)
    }

    /// Whether the token was given to a page of this session.
    #[must_use]
    pub fn is_csrf_token(&self, session: Uuid, text: &str) -> bool {
        opaque::is_csrf_token(&self.secrets, session, text)
    }

    /// The live session that a refresh token belongs to: its present token, or the one before it, whose successor
    /// its client may not have heard of yet.
    pub async fn refresh_token_owner(&self, presented: &str) -> Result<Option<store::session::Model>, DbErr> {
        let Ok(token) = RefreshToken::parse(&self.secrets, presented) else { return Ok(None) };
        let session = store::by_id(self.db.reader(), token.session_id()).await?;
        let (now, digest) = (self.clock.now(), token.digest());
        Ok(session.filter(|session| {
            (session.secret_digest == digest || session.previous_digest.as_deref() == Some(&digest[..]))
                && session.lives_at(now)
        }))
    }

    /// The live session in which this refresh token could be traded right now.
    pub async fn refreshable(&self, presented: &str) -> Result<Option<store::session::Model>, DbErr> {
        let token = RefreshToken::parse(&self.secrets, presented).ok();
        let session = self.refresh_token_owner(presented).await?;
        Ok(session.filter(|session| token.is_some_and(|token| session.secret_digest == token.digest())))
    }

    /// Whose an access token is, and of which session, even if its time is over: enough to sign out with.
    #[must_use]
    pub fn session_of_expired(&self, token: &str) -> Option<(Uuid, Uuid)> {
        let claims = self.ring.load().authenticate(token).ok()?;
        let ours = claims.iss == self.expected.issuer && claims.aud == self.expected.audience;
        ours.then_some((claims.sub, claims.sid))
    }

    /// The claims of an access token that is genuine and in its time; whether it still counts is for `holder` to say. For
    /// introspection.
    #[must_use]
    pub fn claims(&self, token: &str) -> Option<Arc<Claims>> {
        self.verified(token).ok()
    }

    /// Ends one session of a user; whether there was one.
    pub async fn end(&self, user: Uuid, session: Uuid, reason: Ending) -> Result<bool, DbErr> {
        let (events, now) = (self.events.clone(), self.clock.now());
        self.db.write(move |tx| end_in(tx, (user, session), reason, events, now).boxed()).await
    }

    /// Ends a user's sessions but the one to be kept.
    pub async fn end_others(&self, user: Uuid, kept: Uuid) -> Result<(), DbErr> {
        let (events, now) = (self.events.clone(), self.clock.now());
        self.db.write(move |tx| end_others_in(tx, user, kept, events, now).boxed()).await
    }

    /// Ends the sessions of a user, who is held, but the one to be kept, in the transaction of the act that calls for it;
    /// returns how many.
    pub async fn end_all(
        &self,
        tx: &Tx,
        user: Uuid,
        except: Option<Uuid>,
        reason: Ending,
    ) -> Result<usize, DbErr> {
        let gone = store::end_all(tx, user, except).await?;
        let count = gone.len();
        tell_ended(&self.events, tx, gone, reason, self.clock.now()).await?;
        Ok(count)
    }

    /// Ends one session of a user in the transaction of the act that calls for it; whether there was one.
    pub async fn end_one_in(
        &self,
        tx: &Tx,
        user: Uuid,
        session: Uuid,
        reason: Ending,
    ) -> Result<bool, DbErr> {
        end_in(tx, (user, session), reason, self.events.clone(), self.clock.now()).await
    }

    /// Whether somebody was signed in to this account by such a client from such a place before, as far as its sessions
    /// tell; `None` if it has none. What a browser calls itself is no proof: millions call themselves the same.
    pub async fn knows_in(&self, tx: &Tx, user: Uuid, client: &ClientInfo) -> Result<Option<bool>, DbErr> {
        let (agent, place) = (client.user_agent.as_deref().unwrap_or_default(), home_network(client.ip));
        let origins = store::origins(tx, user).await?;
        let is_like = |(by, from): &(String, String)| {
            by == agent && from.parse().is_ok_and(|ip| home_network(ip) == place)
        };
        Ok((!origins.is_empty()).then(|| origins.iter().any(is_like)))
    }

    /// A user's live sessions, the last seen first.
    pub async fn of_user(&self, user: Uuid) -> Result<Vec<store::session::Model>, DbErr> {
        store::of_user(self.db.reader(), user, self.clock.now()).await
    }

    /// Notes that the person behind a session proved again who they are; until when that counts.
    pub async fn proved(&self, caller: &Caller) -> Result<Option<Timestamp>, DbErr> {
        let (user, session, now) = (caller.user_id, caller.session_id, self.clock.now());
        let lives =
            self.db.write::<_, DbErr, _>(move |tx| store::proved(tx, user, session, now).boxed()).await?;
        Ok(lives.then(|| now.after(PROOF_LASTS)))
    }

    /// The same in the transaction of the act that proves it; whether the session still lives.
    pub async fn proved_in(&self, tx: &Tx, user: Uuid, session: Uuid) -> Result<bool, DbErr> {
        store::proved(tx, user, session, self.clock.now()).await
    }

    /// What carries a session of this user, if it still lives.
    pub async fn kind_of_living_in(&self, tx: &Tx, user: Uuid, session: Uuid) -> Result<Option<Kind>, DbErr> {
        let now = self.clock.now();
        let row = store::by_id(tx, session).await?.filter(|row| row.user_id == user && row.lives_at(now));
        Ok(row.and_then(|row| Kind::named(&row.kind)))
    }

    /// A caller whose request came in a while ago, as they are now: for an act that has waited for long. What is remembered
    /// does not count. In a transaction that holds the account it stays true until its end. Refused if the session has ended
    /// or the account is closed, as a new request would be; and if its tokens were all made void meanwhile.
    pub async fn again(
        &self,
        db: &impl ConnectionTrait,
        caller: &Caller,
    ) -> Result<Result<Caller, Problem>, DbErr> {
        let rows = store::standing(db, caller.user_id).await?;
        Ok(self.as_now(Standing::of(&rows).as_ref(), caller).and_then(Caller::admitted))
    }

    /// Refused unless a new request like the caller's would be let in as theirs was, by what is remembered: the session has
    /// ended, the account is closed, or its tokens were all made void meanwhile.
    pub(super) async fn still_lets_in(&self, caller: &Caller) -> Result<(), Problem> {
        let standing = self.standing(caller.user_id).await;
        let standing = standing.map_err(|error| Breakage::from(error).problem())?;
        let now = self.as_now(standing.as_deref(), caller)?;
        // What was allowed was allowed to these roles.
        if now.roles == caller.roles { Ok(()) } else { Err(signed_out()) }
    }

    fn as_now(&self, standing: Option<&Standing>, caller: &Caller) -> Result<Caller, Problem> {
        let now = self.clock.now();
        let standing = standing.filter(|standing| standing.active);
        let standing = standing.filter(|standing| standing.token_version == caller.token_version);
        let Some(standing) = standing else { return Err(signed_out()) };
        let Some(session) = standing.live(caller.session_id, now) else { return Err(signed_out()) };
        Ok(self.caller(caller.user_id, standing, session, now))
    }

    /// Whose session this is, by where they stand.
    fn caller(&self, user_id: Uuid, standing: &Standing, session: LiveSession, now: Timestamp) -> Caller {
        Caller {
            user_id,
            session_id: session.id,
            roles: standing.roles,
            proved_at: session.proved_at,
            needs_second_factor: self.needs_second_factor(standing, now),
            token_version: standing.token_version,
        }
    }

    /// The public keys, for whoever verifies tokens by themselves.
    #[must_use]
    pub fn jwks(&self) -> Jwks {
        self.ring.load().jwks()
    }

    /// Forgets sessions and keys whose time is over, in small steps; returns how many sessions.
    pub async fn sweep(&self) -> Result<u64, DbErr> {
        let now = self.clock.now();
        self.db.write::<_, DbErr, _>(move |tx| store::forget_retired_keys(tx, now).boxed()).await?;
        let mut total = 0;
        loop {
            let users = store::with_expired(self.db.reader(), now, SWEPT_AT_ONCE).await?;
            if users.is_empty() {
                return Ok(total);
            }
            let events = self.events.clone();
            let swept = self
                .db
                .write::<_, DbErr, _>(move |tx| end_expired_in(tx, users, events, now).boxed())
                .await?;
            total += swept;
        }
    }

    /// What decides whether this user's tokens count; `None` for nobody.
    pub async fn standing(&self, user: Uuid) -> Result<Option<Arc<Standing>>, DbErr> {
        told(self.standings.get_or_load(user, self.read_standing(user)).await)
    }

    /// The same as of now, whatever is remembered.
    async fn standing_now(&self, user: Uuid) -> Result<Option<Arc<Standing>>, DbErr> {
        told(self.standings.load(user, self.read_standing(user)).await)
    }

    async fn read_standing(&self, user: Uuid) -> Result<Arc<Standing>, Option<DbErr>> {
        let rows = store::standing(self.db.reader(), user).await?;
        Standing::of(&rows).map(Arc::new).ok_or(None)
    }

    /// Whether somebody has no second factor although one of their roles asks for one by now.
    pub(crate) fn needs_second_factor(&self, standing: &Standing, now: Timestamp) -> bool {
        let asks = |(role, from): &(Role, Timestamp)| standing.roles.has(*role) && *from <= now;
        !standing.has_second_factor && self.settings.second_factor.iter().any(asks)
    }

    /// How long a session of somebody with these roles may rest and last.
    fn limits(&self, roles: Roles) -> (Duration, Duration) {
        let settings = &self.settings;
        if roles.has(Role::Admin) {
            (settings.admin_idle.min(settings.idle), settings.admin_absolute.min(settings.absolute))
        } else {
            (settings.idle, settings.absolute)
        }
    }

    /// Whether a session may still rest and last for somebody with these roles. The ends in its row were reckoned with
    /// the roles of then; whoever became an admin since has less time.
    fn is_within_limits(&self, session: &store::session::Model, roles: Roles, now: Timestamp) -> bool {
        let (idle, absolute) = self.limits(roles);
        let rests_until = Timestamp::from_millis(session.last_seen_at).after(idle);
        let lasts_until = Timestamp::from_millis(session.created_at).after(absolute);
        now < rests_until && now < lasts_until
    }
}

/// Whether a token tells of what the remembered standing can't know yet: another instance issued it a moment ago.
/// Whoever has just signed in there must not be sent away here.
fn is_news(claims: &Claims, standing: Option<&Standing>, now: Timestamp) -> bool {
    let unknown = standing.is_none_or(|standing| {
        standing.token_version != claims.ver || standing.live(claims.sid, now).is_none()
    });
    unknown && now.since(Timestamp::from_seconds(claims.iat)) <= JUST_ISSUED
}

/// Nobody is no error.
fn told(standing: Result<Arc<Standing>, Option<DbErr>>) -> Result<Option<Arc<Standing>>, DbErr> {
    match standing {
        Ok(standing) => Ok(Some(standing)),
        Err(None) => Ok(None),
        Err(Some(error)) => Err(error),
    }
}

async fn rotate_or_end(
    tx: &Tx,
    rotation: store::Rotation,
    events: Events,
) -> Result<Rotated, Failure<RefreshRefusal>> {
    if store::rotate(tx, &rotation).await? {
        return Ok(Rotated::Fresh);
    }
    let Some(session) = store::by_id(tx, rotation.session).await? else { return Ok(Rotated::Gone) };
    let now = rotation.now;
    if !session.lives_at(now) {
        return Ok(Rotated::Gone);
    }
    if !rotation.is_in_time(&session) {
        // Whoever became an admin since has less time than its row says.
        end_in(tx, (session.user_id, session.id), Ending::Expired, events, now).await?;
        return Ok(Rotated::Gone);
    }
    let rotated_at = Timestamp::from_millis(session.rotated_at.unwrap_or_default());
    let is_parent = session.previous_digest.as_ref() == Some(&rotation.presented)
        && session.secret_digest == rotation.successor;
    if is_parent && now.since(rotated_at) <= GRACE {
        return Ok(Rotated::Again);
    }
    end_in(tx, (session.user_id, session.id), Ending::Reuse, events, now).await?;
    Ok(Rotated::Reused)
}

/// Ends a session of a user; whether there was one.
async fn end_in(
    tx: &Tx,
    (user, session): (Uuid, Uuid),
    reason: Ending,
    events: Events,
    now: Timestamp,
) -> Result<bool, DbErr> {
    store::hold(tx, &[user]).await?;
    let gone = store::end(tx, user, session).await?;
    let was_there = !gone.is_empty();
    tell_ended(&events, tx, gone, reason, now).await?;
    Ok(was_there)
}

async fn end_others_in(tx: &Tx, user: Uuid, kept: Uuid, events: Events, now: Timestamp) -> Result<(), DbErr> {
    store::hold(tx, &[user]).await?;
    let gone = store::end_all(tx, user, Some(kept)).await?;
    tell_ended(&events, tx, gone, Ending::Revoked, now).await
}

async fn end_expired_in(tx: &Tx, users: Vec<Uuid>, events: Events, now: Timestamp) -> Result<u64, DbErr> {
    store::hold(tx, &users).await?;
    let gone = store::end_expired(tx, &users, now).await?;
    let count = gone.len() as u64;
    tell_ended(&events, tx, gone, Ending::Expired, now).await?;
    Ok(count)
}

/// Tells of sessions that have ended; of one user after the other.
async fn tell_ended(
    events: &Events,
    tx: &Tx,
    mut gone: Vec<Gone>,
    reason: Ending,
    now: Timestamp,
) -> Result<(), DbErr> {
    gone.sort_unstable_by_key(|session| (session.user_id, session.id));
    for of_one in gone.chunk_by(|one, next| one.user_id == next.user_id) {
        let event = |session: &Gone| {
            let Gone { id, user_id, amr } = session;
            let told = SessionEnded { session_id: *id, method: amr, reason: reason.name() };
            Event::new(*user_id, &told, None, now)
        };
        events.record_all(tx, of_one.iter().map(event).collect::<Result<_, _>>()?).await?;
    }
    Ok(())
}

async fn note(tx: &Tx, row: store::session::Model, now: Timestamp, idle: Timestamp) -> Result<(), DbErr> {
    store::seen(tx, &row, now, idle).await
}

impl Standing {
    fn of(rows: &[store::Standing]) -> Option<Self> {
        let first = rows.first()?;
        let live = |row: &store::Standing| {
            Some(LiveSession {
                id: row.session_id?,
                proved_at: Timestamp::from_millis(row.proved_at?),
                expires_at: Timestamp::from_millis(row.expires_at?),
            })
        };
        Some(Self {
            roles: Roles::from_bits(first.roles),
            active: first.is_active && first.deleted_at.is_none(),
            token_version: first.token_version,
            has_second_factor: first.otp_method != "none",
            sessions: rows.iter().filter_map(live).collect(),
        })
    }

    fn live(&self, session: Uuid, now: Timestamp) -> Option<LiveSession> {
        self.sessions.iter().find(|live| live.id == session && live.expires_at > now).copied()
    }
}
