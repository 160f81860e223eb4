//! The operations of `/auth` about sessions and tokens, and the key set.

use std::convert::Infallible;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::FutureExt;
use poem::http::{HeaderValue, StatusCode, header};
use poem::{IntoResponse, Request, Response};
use poem_openapi::param::Path;
use poem_openapi::payload::PlainText;
use poem_openapi::registry::{MetaResponses, Registry};
use poem_openapi::{ApiResponse, Object, OpenApi};
use sea_orm::DbErr;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Auth;
use super::api::Section;
use super::throttle::{self, Act};
use crate::permissions::{Action, Gate, Subject};
use crate::platform::clock::seconds;
use crate::platform::problem::{Failure, Problem, Refusal, RetryAfter};
use crate::platform::web::{ClientInfo, Json, JsonOrForm, Unread, Whole};
use crate::sessions::store::session;
use crate::sessions::{
    Caller, Described, Ending, Enrolling, Leaver, Service, SessionCookies, Sessions, add_cookies, bearer_text,
};

/// The operations of `/auth` about sessions and tokens.
pub struct SessionApi {
    /// The door.
    pub auth: Auth,
    /// Who may introspect.
    pub gate: Arc<Gate>,
    /// The cookie of the built-in pages.
    pub cookies: SessionCookies,
}

crate::refusals! {
    /// Why somebody is not signed out.
    pub enum SignOutRefusal {
        NotSignedIn = 401 "token_invalid" "Please sign in.",
        Forged = 403 "forbidden" "With the session cookie, changes need the header X-CSRF-Token of GET /auth/csrf.",
        Unavailable(RetryAfter) = 503 "unavailable" "The server can't do this right now. Please try again in a moment.",
    }
}

impl From<Problem> for SignOutRefusal {
    fn from(problem: Problem) -> Self {
        match problem.status {
            StatusCode::FORBIDDEN => Self::Forged,
            status if status.is_server_error() => Self::Unavailable(RetryAfter(2)),
            _ => Self::NotSignedIn,
        }
    }
}

crate::refusals! {
    /// Why a session is not ended.
    pub enum SessionRefusal {
        NotFound = 404 "not_found" "You have no such session.",
    }
}

crate::refusals! {
    /// Why nothing is told of a token.
    pub enum IntrospectRefusal {
        Unknown = 401 "invalid_credentials" "Only known services and admins may introspect tokens." oauth "invalid_client",
        Unreadable(Problem) = 422 "validation_failed" "Some fields are not as they must be.",
        TooOften(RetryAfter) = 429 "rate_limited" "Too many tries. Please wait before the next.",
        Unavailable(RetryAfter) = 503 "unavailable" "The server can't do this right now. Please try again in a moment.",
    }
}

/// Somebody's session.
#[derive(Debug, Serialize, Object)]
pub struct Session {
    /// Its id.
    pub id: Uuid,
    /// What the client said it is (its `User-Agent`).
    #[oai(nullable)]
    pub device: Option<String>,
    /// The address that it was opened from.
    pub ip: String,
    /// When it was opened, in seconds since the Unix epoch.
    pub created_at: i64,
    /// When it was last seen refreshing, in seconds since the Unix epoch.
    pub last_seen_at: i64,
    /// When it ends at the latest, in seconds since the Unix epoch.
    pub expires_at: i64,
    /// Whether it is the one that asks.
    pub current: bool,
}

impl Session {
    /// As it is shown to whoever asks in the session `asking`.
    #[must_use]
    pub(crate) fn of(row: session::Model, asking: Uuid) -> Self {
        Self {
            id: row.id,
            device: row.user_agent,
            ip: row.ip,
            created_at: seconds(row.created_at),
            last_seen_at: seconds(row.last_seen_at),
            expires_at: seconds(row.expires_at.min(row.idle_expires_at)),
            current: row.id == asking,
        }
    }
}

/// A token to be looked at or revoked (RFC 7662, 2.1; RFC 7009, 2.1).
#[derive(Deserialize, Object)]
#[serde(deny_unknown_fields)]
pub struct TokenQuestion {
    /// The token.
    pub token: String,
    /// `access_token` or `refresh_token`; not needed.
    #[serde(default)]
    #[oai(nullable)]
    pub token_type_hint: Option<String>,
}

/// What a token stands for (RFC 7662, 2.2). Of a token that does not count, nothing else is told.
#[derive(Debug, Default, Serialize, Object)]
pub struct Introspection {
    /// Whether the token counts right now.
    pub active: bool,
    /// How an access token is sent (RFC 6749, 5.1): `Bearer`. A refresh token has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[oai(skip_serializing_if_is_none)]
    pub token_type: Option<String>,
    /// Whose token it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[oai(skip_serializing_if_is_none)]
    pub sub: Option<Uuid>,
    /// The session that it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[oai(skip_serializing_if_is_none)]
    pub sid: Option<Uuid>,
    /// Who issued it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[oai(skip_serializing_if_is_none)]
    pub iss: Option<String>,
    /// Whom it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[oai(skip_serializing_if_is_none)]
    pub aud: Option<String>,
    /// The client that it was issued to.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[oai(skip_serializing_if_is_none)]
    pub client_id: Option<String>,
    /// When it ends, in seconds since the Unix epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[oai(skip_serializing_if_is_none)]
    pub exp: Option<i64>,
    /// When it was issued, in seconds since the Unix epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[oai(skip_serializing_if_is_none)]
    pub iat: Option<i64>,
    /// The user name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[oai(skip_serializing_if_is_none)]
    pub username: Option<String>,
}

/// The token that a page sends back with changes.
#[derive(Debug, Serialize, Object)]
pub struct CsrfAnswer {
    /// For the header `X-CSRF-Token`.
    pub csrf_token: String,
}

/// Signed out; the cookie of the built-in pages goes with it.
struct SignedOut {
    words: String,
    cleared: Option<HeaderValue>,
}

impl IntoResponse for SignedOut {
    fn into_response(self) -> Response {
        let mut response = PlainText(self.words).into_response();
        add_cookies(response.headers_mut(), self.cleared);
        response
    }
}

impl ApiResponse for SignedOut {
    fn meta() -> MetaResponses {
        PlainText::<String>::meta()
    }

    fn register(registry: &mut Registry) {
        <PlainText<String> as ApiResponse>::register(registry);
    }
}

/// Done, nothing to show.
#[derive(ApiResponse)]
enum Ended {
    /// The session has ended.
    #[oai(status = 204)]
    Done,
}

#[OpenApi(prefix_path = "/auth", tag = "Section::Auth")]
impl SessionApi {
    /// Sign out
    ///
    /// Ends this session at once, also with an access token whose time is over; doing it again does no harm. Whoever comes
    /// with the cookie of the pages instead is out afterwards, whatever it was worth.
    #[oai(path = "/logout", method = "post", operation_id = "logout")]
    async fn logout(
        &self,
        _known: Described<Leaver>,
        request: &Request,
    ) -> Result<SignedOut, Failure<SignOutRefusal>> {
        let (user, session) = match self.leaving(request).await {
            Ok(leaving) => leaving,
            // Whoever comes with a cookie is out afterwards, whatever it was worth before.
            Err(problem) if problem.code == "token_invalid" && self.cookies.is_sent(request.headers()) => {
                return Ok(SignedOut { words: "Logged out".to_owned(), cleared: self.cookies.clear() });
            }
            Err(problem) => return Err(SignOutRefusal::from(problem).into()),
        };
        let username = self.auth.users.by_id(user).await?.map(|user| user.username).unwrap_or_default();
        self.auth.sessions.end(user, session, Ending::Logout).await?;
        let words = format!("{username} | Logged out");
        Ok(SignedOut { words, cleared: self.cookies.clear() })
    }

    /// Whether the access token counts
    #[oai(path = "/token/validate", method = "get", operation_id = "validate_token")]
    async fn validate(&self, caller: Enrolling) -> Result<PlainText<String>, Failure<Infallible>> {
        Ok(PlainText(format!("ValidToken | {}", caller.user_id)))
    }

    /// What a token stands for (RFC 7662)
    ///
    /// For services of `SERVICE_CLIENTS`, with HTTP Basic, and for admins. Nobody else learns what is wrong with a
    /// request.
    #[oai(path = "/token/introspect", method = "post", operation_id = "introspect_token")]
    async fn introspect(
        &self,
        _known: Described<Service>,
        request: &Request,
        client: ClientInfo,
        body: Unread<JsonOrForm<TokenQuestion>>,
    ) -> Result<Json<Introspection>, Failure<IntrospectRefusal>> {
        if !self.may_introspect(request, &client).await? {
            return Err(IntrospectRefusal::Unknown.into());
        }
        let body = body.read(request).await.map_err(IntrospectRefusal::Unreadable)?;
        Ok(Json(self.introspection(&body.token).await?))
    }

    /// Revoke a token (RFC 7009)
    ///
    /// Ends the session that the access or refresh token belongs to. Always 200: who has a token may end it.
    #[oai(path = "/token/revoke", method = "post", operation_id = "revoke_token")]
    async fn revoke(&self, body: JsonOrForm<TokenQuestion>) -> Result<(), Failure<Infallible>> {
        let sessions = &self.auth.sessions;
        if let Some((user, session)) = sessions.session_of_expired(&body.token) {
            sessions.end(user, session, Ending::Revoked).await?;
        } else if let Some(session) = sessions.refresh_token_owner(&body.token).await? {
            sessions.end(session.user_id, session.id, Ending::Revoked).await?;
        }
        Ok(())
    }

    /// The caller's sessions
    #[oai(path = "/sessions", method = "get", operation_id = "read_sessions")]
    async fn sessions(&self, caller: Enrolling) -> Result<Whole<Session>, Failure<Infallible>> {
        let rows = self.auth.sessions.of_user(caller.user_id).await?;
        let shown = rows.into_iter().map(|row| Session::of(row, caller.session_id));
        Ok(Whole(shown.collect()))
    }

    /// End one of the caller's sessions
    #[oai(path = "/sessions/:id", method = "delete", operation_id = "end_session")]
    async fn end_session(
        &self,
        caller: Enrolling,
        /// The session's id.
        id: Path<String>,
    ) -> Result<Ended, Failure<SessionRefusal>> {
        let id = Uuid::try_parse(&id.0).map_err(|_| SessionRefusal::NotFound)?;
        if !self.auth.sessions.end(caller.user_id, id, Ending::Revoked).await? {
            return Err(SessionRefusal::NotFound.into());
        }
        Ok(Ended::Done)
    }

    /// End all other sessions of the caller
    #[oai(path = "/sessions", method = "delete", operation_id = "end_other_sessions")]
    async fn end_other_sessions(&self, caller: Enrolling) -> Result<Ended, Failure<Infallible>> {
        self.auth.sessions.end_others(caller.user_id, caller.session_id).await?;
        Ok(Ended::Done)
    }

    /// The token for changes by the built-in pages
    ///
    /// With the session cookie, changes need it in the header `X-CSRF-Token`.
    #[oai(path = "/csrf", method = "get", operation_id = "csrf_token")]
    async fn csrf(&self, caller: Enrolling) -> Result<Json<CsrfAnswer>, Failure<Infallible>> {
        let token = self.auth.sessions.csrf_token(caller.session_id);
        Ok(Json(CsrfAnswer { csrf_token: token.expose().to_owned() }))
    }
}

impl SessionApi {
    /// Whose session is to end: the caller's, or that of an access token whose time is over.
    async fn leaving(&self, request: &Request) -> Result<(Uuid, Uuid), Problem> {
        if let Some(token) = bearer_text(request.headers()) {
            let session = self.auth.sessions.session_of_expired(token);
            return session.ok_or_else(|| SignOutRefusal::NotSignedIn.problem());
        }
        let caller = Enrolling::of(request).await?;
        Ok((caller.user_id, caller.session_id))
    }

    async fn may_introspect(
        &self,
        request: &Request,
        client: &ClientInfo,
    ) -> Result<bool, Failure<IntrospectRefusal>> {
        if let Some((name, secret)) = basic(request) {
            return self.is_service(&name, &secret, client).await;
        }
        match Caller::of(request).await {
            Ok(caller) => Ok(self.gate.allows_on_system(&Subject::from(&caller), Action::TokensIntrospect)),
            Err(problem) if problem.status.is_server_error() => {
                Err(IntrospectRefusal::Unavailable(RetryAfter(2)).into())
            }
            Err(_) => Ok(false),
        }
    }

    /// A client that failed too often is told nothing more, right or wrong. A service that is right costs one look at
    /// its window, and writes nothing.
    async fn is_service(
        &self,
        name: &str,
        secret: &str,
        client: &ClientInfo,
    ) -> Result<bool, Failure<IntrospectRefusal>> {
        let (windows, now) = (self.auth.windows(Act::Introspect, client), self.auth.clock.now());
        for window in &windows {
            let reader = self.auth.db.reader();
            throttle::look(reader, window, now).await?.map_err(IntrospectRefusal::TooOften)?;
        }
        let services = &self.auth.settings.services;
        if services.iter().any(|service| service.name == name && service.knows(secret.as_bytes())) {
            return Ok(true);
        }
        tracing::warn!(client_ip = %client.ip, "a service gave a wrong name or secret");
        let counted = self.auth.db.write::<_, DbErr, _>(move |tx| {
            async move { throttle::enter_all(tx, &windows, now).await }.boxed()
        });
        counted.await?.map_err(IntrospectRefusal::TooOften)?;
        Ok(false)
    }

    async fn introspection(&self, token: &str) -> Result<Introspection, Failure<IntrospectRefusal>> {
        let sessions: &Sessions = &self.auth.sessions;
        if let (Ok(caller), Some(claims)) = (sessions.holder(token).await?, sessions.claims(token)) {
            if caller.needs_second_factor() {
                return Ok(Introspection::default()); // it opens nothing but the way to a second factor
            }
            let username = self.auth.users.by_id(caller.user_id).await?.map(|user| user.username);
            return Ok(Introspection {
                active: true,
                token_type: Some("Bearer".to_owned()),
                sub: Some(claims.sub),
                sid: Some(claims.sid),
                iss: Some(claims.iss.clone()),
                aud: Some(claims.aud.clone()),
                client_id: Some(claims.client_id.clone()),
                exp: Some(claims.exp),
                iat: Some(claims.iat),
                username,
            });
        }
        let Some(session) = sessions.refreshable(token).await? else {
            return Ok(Introspection::default());
        };
        // What it can be traded for counts no more than the access token beside it.
        let (standing, now) = (sessions.standing(session.user_id).await?, self.auth.clock.now());
        if !standing.is_some_and(|it| it.active && !sessions.needs_second_factor(&it, now)) {
            return Ok(Introspection::default());
        }
        Ok(Introspection {
            active: true,
            sub: Some(session.user_id),
            sid: Some(session.id),
            exp: Some(seconds(session.expires_at.min(session.idle_expires_at))),
            iat: Some(seconds(session.created_at)),
            ..Introspection::default()
        })
    }
}

/// Name and secret of HTTP Basic (RFC 7617).
fn basic(request: &Request) -> Option<(String, String)> {
    let value = request.headers().get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = value.split_once(' ')?;
    let decoded = scheme.eq_ignore_ascii_case("basic").then(|| STANDARD.decode(encoded).ok())??;
    let (name, secret) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
    Some((name.to_owned(), secret.to_owned()))
}
