//! The signed-in person behind a request: read from the bearer token, or from the cookie of the built-in pages.
//!
//! Whose role needs a second factor and who has none is a [`Caller`] nowhere: they get as far as [`Enrolling`], which
//! only the operations take that lead to a second factor, or out.

use std::ops::Deref;
use std::sync::Arc;

use poem::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use poem::{Request, RequestBody};
use poem_openapi::registry::Registry;
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};
use uuid::Uuid;

use super::access_token::TokenFault;
use super::cookie::cookie;
use super::roles::Roles;
use super::rules::PROOF_LASTS;
use super::{Sessions, described};
use crate::platform::clock::Timestamp;
use crate::platform::problem::{Breakage, Problem, RetryAfter};
use crate::platform::web::asked_again;

const CSRF_HEADER: HeaderName = HeaderName::from_static("x-csrf-token");
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// A signed-in caller: token or cookie checked, session alive, account active, all as of now.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Whose session it is.
    pub user_id: Uuid,
    /// The session that the request came with.
    pub session_id: Uuid,
    /// The roles that the account has now (not those written in the token).
    pub roles: Roles,
    /// When the person last proved who they are.
    pub proved_at: Timestamp,
    /// Whether their role needs a second factor that they don't have.
    pub(super) needs_second_factor: bool,
    /// The version of the account's tokens: another one is the end of what was issued before.
    pub(super) token_version: i64,
}

impl Caller {
    /// The caller of a request, or why there is none.
    pub async fn of(request: &Request) -> Result<Self, Problem> {
        Self::of_any(request).await?.ok_or_else(not_signed_in)
    }

    /// The caller of a request that may also come from nobody. Bad credentials are not nobody: they are refused.
    pub async fn of_any(request: &Request) -> Result<Option<Self>, Problem> {
        let caller = Enrolling::of_any(request).await?;
        caller.map(|Enrolling(caller)| caller.admitted()).transpose()
    }

    /// Refused if their role needs a second factor that they don't have.
    pub(super) fn admitted(self) -> Result<Self, Problem> {
        if !self.needs_second_factor {
            return Ok(self);
        }
        let words =
            "Your role needs a second factor. Set one up: GET /auth/QR, PATCH /auth/OTP/authenticator.";
        Err(Problem::new(StatusCode::FORBIDDEN, "second_factor_required", words))
    }

    /// Sees to it that the request's body comes to its end only if the caller would be let in then, too: it may be sent
    /// slowly, and a ban, another role or the end of the session counts from the moment on that it is answered.
    pub fn is_asked_again(&self, request: &Request, body: &mut RequestBody) {
        if request.method() == Method::GET {
            return;
        }
        let Some(sessions) = request.data::<Arc<Sessions>>() else { return };
        let (sessions, caller) = (Arc::clone(sessions), self.clone());
        asked_again(body, move || async move { sessions.still_lets_in(&caller).await });
    }

    /// Refused unless the person proved within the last ten minutes who they are.
    pub fn require_proof(&self, now: Timestamp) -> Result<(), Problem> {
        if now.since(self.proved_at) <= PROOF_LASTS {
            return Ok(());
        }
        let words = "Please prove again who you are: POST /auth/reauthenticate.";
        Err(Problem::new(StatusCode::UNAUTHORIZED, "reauthentication_required", words))
    }

    /// The same with the refusal of an act, which stands in its table.
    pub fn require_proof_or<R>(&self, now: Timestamp, refusal: R) -> Result<(), R> {
        self.require_proof(now).map_err(|_| refusal)
    }
}

/// A signed-in caller who may lack the second factor that their role needs.
#[derive(Clone, Debug)]
pub struct Enrolling(pub(super) Caller);

impl Enrolling {
    /// The caller of a request, or why there is none.
    pub async fn of(request: &Request) -> Result<Self, Problem> {
        Self::of_any(request).await?.ok_or_else(not_signed_in)
    }

    /// The caller of a request that may also come from nobody. Bad credentials are not nobody: they are refused.
    pub async fn of_any(request: &Request) -> Result<Option<Self>, Problem> {
        let Some(sessions) = request.data::<Arc<Sessions>>() else { return Err(Problem::internal()) };
        match bearer(request.headers()) {
            Bearer::Token(token) => sessions.bearer_holder(token).await.map(Some),
            Bearer::Malformed => Err(invalid_token(TokenFault::Malformed)),
            Bearer::None => sessions.cookie_holder(request).await,
        }
    }

    /// Whether their role needs a second factor that they don't have, so that they are a [`Caller`] nowhere.
    #[must_use]
    pub const fn needs_second_factor(&self) -> bool {
        self.0.needs_second_factor
    }
}

impl Deref for Enrolling {
    type Target = Caller;

    fn deref(&self) -> &Caller {
        &self.0
    }
}

impl Sessions {
    async fn bearer_holder(&self, token: &str) -> Result<Enrolling, Problem> {
        let holder = self.holder(token).await.map_err(|error| Breakage::from(error).problem())?;
        holder.map_err(invalid_token)
    }

    async fn cookie_holder(&self, request: &Request) -> Result<Option<Enrolling>, Problem> {
        let Some(value) = cookie(request.headers(), self.settings.cookie_name) else { return Ok(None) };
        let holder = self.holder_of_cookie(value).await.map_err(|error| Breakage::from(error).problem())?;
        if let Some(caller) = &holder {
            self.refuse_forgery(request, caller)?;
        }
        Ok(holder)
    }

    /// A browser sends the cookie along with requests that other sites make it send. Those lack the token that only
    /// our pages know, and browsers say where they come from.
    fn refuse_forgery(&self, request: &Request, caller: &Caller) -> Result<(), Problem> {
        if matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS) {
            return Ok(());
        }
        let token = single(request.headers(), &CSRF_HEADER);
        let ours = token.is_some_and(|token| self.is_csrf_token(caller.session_id, token));
        if ours && self.is_same_origin(request.headers()) != Some(false) {
            return Ok(());
        }
        let words = "With the session cookie, changes need the header X-CSRF-Token of GET /auth/csrf.";
        Err(Problem::new(StatusCode::FORBIDDEN, "forbidden", words))
    }

    /// Whether a browser says that a site sent the request which may not: neither one of our pages nor one whose
    /// origin is allowed (`CORS_ORIGINS`). Signing a visitor in, or up, is not for others to do.
    #[must_use]
    pub fn is_foreign(&self, headers: &HeaderMap) -> bool {
        let allowed =
            |origin: &HeaderValue| self.settings.allowed_origins.iter().any(|known| origin == known.as_str());
        self.is_same_origin(headers) == Some(false) && !headers.get(header::ORIGIN).is_some_and(allowed)
    }

    /// Whether the browser says that one of our own pages sent the request; `None` if it says nothing.
    ///
    /// `Sec-Fetch-Site` decides where it is sent. Our pages send no referrer, and for their forms browsers then write
    /// `Origin: null` (Fetch, 3.2), which says nothing beside it and is somebody else's without it.
    #[must_use]
    pub fn is_same_origin(&self, headers: &HeaderMap) -> Option<bool> {
        if let Some(site) = headers.get(SEC_FETCH_SITE) {
            return Some(site == "same-origin" || site == "none");
        }
        headers.get(header::ORIGIN).map(|origin| origin == self.settings.origin.as_str())
    }
}

/// What an `Authorization` header holds.
pub(super) enum Bearer<'a> {
    None,
    Malformed,
    Token(&'a str),
}

/// Reads the header (RFC 6750, 2.1; the scheme's name in any case, RFC 9110, 11.1). Two of them are none that counts.
pub(super) fn bearer(headers: &HeaderMap) -> Bearer<'_> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Bearer::None };
    if values.next().is_some() {
        return Bearer::Malformed;
    }
    token_of(value.as_bytes()).map_or(Bearer::Malformed, Bearer::Token)
}

/// The token is long and comes with each request, so it is looked through by whole registers, not by letters.
fn token_of(credentials: &[u8]) -> Option<&str> {
    const SCHEME: usize = "bearer".len();
    let (scheme, rest) = credentials.split_at_checked(SCHEME)?;
    let token = rest.strip_prefix(b" ").filter(|_| scheme.eq_ignore_ascii_case(b"bearer"))?;
    // A header has no control characters but the tab.
    let is_plain =
        !token.is_empty() && token.is_ascii() && memchr::memchr3(b' ', b',', b'\t', token).is_none();
    str::from_utf8(token).ok().filter(|_| is_plain)
}

/// The bearer token of a request, whatever it is worth.
pub(crate) fn bearer_text(headers: &HeaderMap) -> Option<&str> {
    match bearer(headers) {
        Bearer::Token(token) => Some(token),
        Bearer::None | Bearer::Malformed => None,
    }
}

/// For where bad credentials are as good as none. Who can't be looked up right now is not nobody.
pub(crate) fn or_nobody<T>(found: Result<Option<T>, Problem>) -> Result<Option<T>, RetryAfter> {
    match found {
        Ok(found) => Ok(found),
        Err(problem) if problem.status.is_server_error() => Err(RetryAfter(2)),
        Err(_) => Ok(None),
    }
}

fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

/// The session has ended, or the account is closed.
pub(super) fn signed_out() -> Problem {
    invalid_token(TokenFault::Revoked)
}

fn not_signed_in() -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "token_invalid", "Please sign in.")
}

/// RFC 6750, 3.1.
fn invalid_token(fault: TokenFault) -> Problem {
    tracing::debug!(%fault, "an access token was refused");
    let words = match fault {
        TokenFault::Expired | TokenFault::Outdated => {
            "The access token has expired. Trade the refresh token for a new one."
        }
        _ => "The access token is not valid, or no longer.",
    };
    let challenge = poem::http::HeaderValue::from_static("Bearer error=\"invalid_token\"");
    Problem::new(StatusCode::UNAUTHORIZED, fault.code(), words)
        .with_header(header::WWW_AUTHENTICATE, challenge)
}

impl<'a> ApiExtractor<'a> for Caller {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::SecurityScheme];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        described::register(registry);
    }

    fn security_schemes() -> Vec<&'static str> {
        described::OF_PEOPLE.to_vec()
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _options: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        let caller = Self::of(request).await?;
        caller.is_asked_again(request, body);
        Ok(caller)
    }
}

impl<'a> ApiExtractor<'a> for Enrolling {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::SecurityScheme];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        described::register(registry);
    }

    fn security_schemes() -> Vec<&'static str> {
        <Caller as ApiExtractor<'_>>::security_schemes()
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _options: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        let caller = Self::of(request).await?;
        caller.is_asked_again(request, body);
        Ok(caller)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(values: &[&[u8]]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            let value = poem::http::HeaderValue::from_bytes(value).unwrap();
            headers.append(header::AUTHORIZATION, value);
        }
        headers
    }

    #[test]
    fn one_form_of_the_header_is_accepted() {
        for good in [b"Bearer abc.def" as &[u8], b"bearer abc.def", b"BEARER abc.def"] {
            assert!(matches!(bearer(&headers(&[good])), Bearer::Token("abc.def")));
        }
    }

    #[test]
    fn bad_credentials_may_be_nobody_s_but_an_outage_is_not() {
        assert_eq!(or_nobody(Ok(Some(7))), Ok(Some(7)));
        assert_eq!(or_nobody::<u8>(Ok(None)), Ok(None));
        assert_eq!(or_nobody::<u8>(Err(not_signed_in())), Ok(None));
        assert_eq!(or_nobody::<u8>(Err(invalid_token(TokenFault::Malformed))), Ok(None));
        assert_eq!(or_nobody::<u8>(Err(Problem::unavailable(2))), Err(RetryAfter(2)));
        assert_eq!(or_nobody::<u8>(Err(Problem::internal())), Err(RetryAfter(2)));
    }

    #[test]
    fn every_other_form_is_refused_and_not_taken_for_nobody() {
        let bad: [&[u8]; 9] = [
            b"Bearer",
            b"Bearer ",
            b"Bearer  abc",
            b"Bearer\tabc",
            b"Bearer a,b",
            b"Bearer a b",
            b"Basic abc",
            b"abc",
            b"Bearer \xff",
        ];
        for value in bad {
            assert!(matches!(bearer(&headers(&[value])), Bearer::Malformed), "{value:?}");
        }
        assert!(matches!(bearer(&headers(&[b"Bearer a", b"Bearer a"])), Bearer::Malformed));
        assert!(matches!(bearer(&HeaderMap::new()), Bearer::None));
    }
}
