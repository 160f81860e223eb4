//! The operations of `/oauth`: signing in through other providers, and the accounts there that are linked.

use std::sync::Arc;

use poem::http::{HeaderValue, StatusCode, header};
use poem::{IntoResponse, Request, Response};
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Html;
use poem_openapi::registry::{MetaResponse, MetaResponses, Registry};
use poem_openapi::{ApiResponse, Object, OpenApi, Tags};
use serde::{Deserialize, Serialize};

use super::admission::Admission;
use super::api::TokenAnswer;
use super::door::Door;
use super::oauth::{
    Back, BackRefusal, CodeRefusal, GoesOn, LeaveRefusal, LeaveToLinkRefusal, LeaveToProveRefusal,
    LeaveToSignInRefusal, Onward,
};
use super::{Auth, MakePage};
use crate::oauth::{BeginRefusal, CodeChallenge, Connection, Intent, Left, Owner, Place, Shown, Trouble};
use crate::platform::problem::{Failure, FieldError, Problem, ProblemBody, meta_response};
use crate::platform::web::{ClientInfo, Json, JsonOrForm, Whole};
use crate::rate_limit::{OauthStarts, RateLimited};
use crate::sessions::{Anybody, Caller, Described, Enrolling, SessionCookies, add_cookies, or_nobody};

/// Where people see the accounts that are linked to theirs.
const ACCOUNT_PAGE: &str = "/account";
/// The longest handle, in characters: that of a domain name (RFC 1035, 2.3.4), and the `@` before it.
pub(super) const LONGEST_HANDLE: usize = 254;

/// The operations of `/oauth`.
pub struct OauthApi {
    /// The door.
    pub auth: Auth,
    /// Its cookies.
    pub door: Door,
    /// The cookie of the built-in pages.
    pub cookies: SessionCookies,
    /// Makes the page for somebody who comes back without having left.
    pub nowhere_page: MakePage,
}

#[derive(Tags)]
enum Section {
    /// Signing in through other providers.
    OAuth,
}

/// A provider that people may come from.
#[derive(Serialize, Object)]
pub struct Provider {
    /// Its name in paths.
    pub name: String,
    /// Its name for people.
    pub display_name: String,
    /// Whether it can be used here.
    pub configured: bool,
}

/// What a code is traded with (RFC 6749, 4.1.3; RFC 7636, 4.5).
#[derive(Deserialize, Object)]
#[serde(deny_unknown_fields)]
pub struct CodeTrade {
    /// The code that came back to `redirect_uri`.
    pub code: String,
    /// Where it came back to, as it was said at the start.
    pub redirect_uri: String,
    /// What `code_challenge` was made of, where one was sent.
    #[serde(default)]
    #[oai(nullable)]
    pub code_verifier: Option<String>,
    /// Always `authorization_code`.
    #[serde(default)]
    #[oai(nullable)]
    pub grant_type: Option<String>,
    /// Not used; OAuth2 clients send it.
    #[serde(default)]
    #[oai(nullable)]
    pub client_id: Option<String>,
}

/// Where to go on after linking an account.
#[derive(Default, Deserialize, Object)]
#[serde(deny_unknown_fields, default)]
pub struct LinkOptions {
    /// A path of this server or an address of `ALLOWED_REDIRECT_URIS`; else the account page.
    #[oai(nullable)]
    pub redirect_uri: Option<String>,
    /// Who one is there (Bluesky).
    #[oai(nullable)]
    pub handle: Option<String>,
}

/// Where to go on after proving who one is, and the second factor.
#[derive(Default, Deserialize, Object)]
#[serde(deny_unknown_fields, default)]
pub struct ProofOptions {
    /// A path of this server or an address of `ALLOWED_REDIRECT_URIS`; else the account page.
    #[oai(nullable)]
    pub redirect_uri: Option<String>,
    /// Who one is there (Bluesky).
    #[oai(nullable)]
    pub handle: Option<String>,
    /// A code of the second factor, where there is one.
    #[oai(nullable)]
    pub otp_code: Option<String>,
}

/// Where to send the browser.
#[derive(Serialize, Object)]
pub struct AuthorizationUrl {
    /// The page of the provider.
    pub authorization_url: String,
}

/// An account elsewhere that is no longer linked.
#[derive(Serialize, Object)]
pub struct UnlinkedAnswer {
    /// The provider.
    pub provider: String,
    /// Always `unlinked`.
    pub status: String,
}

/// Elsewhere, with cookies, remembered by nobody on the way.
pub struct Elsewhere<const STATUS: u16> {
    location: String,
    cookies: Vec<HeaderValue>,
}

impl<const STATUS: u16> IntoResponse for Elsewhere<STATUS> {
    fn into_response(self) -> Response {
        let Ok(location) = HeaderValue::try_from(self.location) else {
            return Problem::internal().into_response();
        };
        let mut response =
            Response::builder().status(StatusCode::from_u16(STATUS).unwrap_or_default()).finish();
        let headers = response.headers_mut();
        headers.insert(header::LOCATION, location);
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        add_cookies(headers, self.cookies);
        response
    }
}

impl<const STATUS: u16> ApiResponse for Elsewhere<STATUS> {
    fn meta() -> MetaResponses {
        let response = MetaResponse {
            description: "On to `Location`.",
            status: Some(STATUS),
            status_range: None,
            content: Vec::new(),
            headers: Vec::new(),
        };
        MetaResponses { responses: vec![response] }
    }

    fn register(_: &mut Registry) {}
}

/// Where somebody goes who is back.
pub enum BackAnswer {
    /// Where they wanted to.
    Onward(Elsewhere<303>),
    /// Nowhere: a page that says so.
    Nowhere(Response),
}

impl IntoResponse for BackAnswer {
    fn into_response(self) -> Response {
        match self {
            Self::Onward(elsewhere) => elsewhere.into_response(),
            Self::Nowhere(mut page) => {
                page.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
                page
            }
        }
    }
}

impl ApiResponse for BackAnswer {
    fn meta() -> MetaResponses {
        let mut meta = Elsewhere::<303>::meta();
        let words = "A page: nobody left for the provider in this browser, or too long ago.";
        let mut page = meta_response(400, words.to_owned());
        page.content.extend(Html::<String>::meta().responses.into_iter().flat_map(|html| html.content));
        meta.responses.push(page);
        meta
    }

    fn register(registry: &mut Registry) {
        <ProblemBody as poem_openapi::types::Type>::register(registry);
    }
}

/// Where to send the browser, and the cookie that it must come back with.
pub struct AwayAnswer {
    url: AuthorizationUrl,
    cookie: Option<HeaderValue>,
}

impl IntoResponse for AwayAnswer {
    fn into_response(self) -> Response {
        let mut response = Json(self.url).into_response();
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        add_cookies(response.headers_mut(), self.cookie);
        response
    }
}

impl ApiResponse for AwayAnswer {
    fn meta() -> MetaResponses {
        Json::<AuthorizationUrl>::meta()
    }

    fn register(registry: &mut Registry) {
        <Json<AuthorizationUrl> as ApiResponse>::register(registry);
    }
}

#[OpenApi(prefix_path = "/oauth", tag = "Section::OAuth")]
impl OauthApi {
    /// The providers
    ///
    /// Every provider that the server knows, and whether it can be used.
    #[oai(path = "/providers", method = "get", operation_id = "read_oauth_providers")]
    async fn providers(&self) -> Result<Whole<Provider>, Failure<std::convert::Infallible>> {
        let all = self.auth.oauth.connections().all();
        let shown = all.map(|(name, display_name, configured)| Provider {
            name: name.to_owned(),
            display_name: display_name.to_owned(),
            configured,
        });
        Ok(Whole(shown.collect()))
    }

    /// Trade a code for tokens
    ///
    /// The code that came back to `redirect_uri`: it lives for a minute and works once. An account with a second factor
    /// is asked for it, as after a password: 401 `otp_required`.
    #[oai(path = "/token", method = "post", operation_id = "oauth_token")]
    async fn token(
        &self,
        request: &Request,
        client: ClientInfo,
        body: JsonOrForm<CodeTrade>,
    ) -> Result<TokenAnswer<200>, Failure<CodeRefusal>> {
        if self.auth.sessions.is_foreign(request.headers()) {
            return Err(CodeRefusal::Foreign.into());
        }
        let body = body.0;
        if body.grant_type.as_deref().is_some_and(|grant| grant != "authorization_code") {
            let error = FieldError::new("grant_type", "Must be authorization_code.");
            return Err(CodeRefusal::Malformed(vec![error]).into());
        }
        let shown = Shown { code: body.code, place: body.redirect_uri, verifier: body.code_verifier };
        let device = self.door.device(request).map(str::to_owned);
        match self.auth.trade(shown, client, device).await? {
            Admission::In(signed_in) => Ok(self.door.answer(&self.auth, *signed_in)?),
            Admission::Challenged(challenged) => {
                Err(CodeRefusal::OtpRequired(self.door.demand(&challenged)).into())
            }
        }
    }

    /// Sign in, or up, through a provider
    ///
    /// For browsers: sends them to the provider, from where they come back to `redirect_uri`: with `code`, to be traded
    /// at `POST /oauth/token`, or with `error`. A path of this server as `redirect_uri` is signed in to by the cookie of
    /// the built-in pages.
    #[oai(path = "/:provider", method = "get", operation_id = "oauth_login")]
    async fn login(
        &self,
        _limit: RateLimited<OauthStarts>,
        /// The provider.
        provider: Path<String>,
        /// Where to go on: an address of `ALLOWED_REDIRECT_URIS`, or a path of this server.
        redirect_uri: Query<Option<String>>,
        /// Binds the code to whoever asks for it (RFC 7636).
        code_challenge: Query<Option<String>>,
        /// `S256`, if it is said at all.
        code_challenge_method: Query<Option<String>>,
        /// Who one is there (Bluesky).
        handle: Query<Option<String>>,
    ) -> Result<Elsewhere<302>, Failure<LeaveToSignInRefusal>> {
        let connection = self.connection(&provider).ok_or(LeaveToSignInRefusal::NotFound)?;
        let place = self.auth.oauth.places().read(redirect_uri.as_deref());
        let mut onward = onward(place, handle.0).map_err(LeaveToSignInRefusal::from)?;
        let challenge = challenge(code_challenge.as_deref(), code_challenge_method.as_deref());
        onward.code_challenge = challenge.map_err(LeaveToSignInRefusal::from)?;
        let place = onward.place.clone();
        match self.auth.leave_to_sign_in(&connection, onward).await {
            Ok(left) => {
                let cookies = self.door.leaving(&left).into_iter().collect();
                Ok(Elsewhere { location: left.authorization_url.into(), cookies })
            }
            // Whoever came by a button of our pages is told there.
            Err(Failure::Refused(LeaveToSignInRefusal::Begin(BeginRefusal::Unavailable(_))))
                if matches!(place, Place::Own(_)) =>
            {
                let location = in_trouble(&place, Intent::SignIn, Trouble::ProviderUnavailable);
                Ok(Elsewhere { location, cookies: Vec::new() })
            }
            Err(failure) => Err(failure),
        }
    }

    /// Come back from a provider
    ///
    /// Providers send browsers here. Works once, in the browser that left, within ten minutes.
    #[oai(path = "/:provider/callback", method = "get", operation_id = "oauth_callback")]
    #[expect(clippy::too_many_arguments, reason = "one for each parameter of the protocol")]
    async fn callback(
        &self,
        _known: Described<Anybody>,
        request: &Request,
        client: ClientInfo,
        /// The provider.
        provider: Path<String>,
        /// What was sent there.
        state: Query<Option<String>>,
        /// What tells the server who came back.
        code: Query<Option<String>>,
        /// Who the provider says it is (RFC 9207).
        iss: Query<Option<String>>,
        /// Why it came to nothing.
        error: Query<Option<String>>,
    ) -> Result<BackAnswer, Failure<BackRefusal>> {
        // Asked before anything is used up: whoever came during an outage may reload the page.
        let signed_in = or_nobody(Enrolling::of_any(request).await).map_err(BackRefusal::Unavailable)?;
        let back = Back {
            provider: provider.0,
            state: state.0.unwrap_or_default(),
            cookie: self.door.left(request).unwrap_or_default().to_owned(),
            code: code.0,
            iss: iss.0,
            error: error.0,
            signed_in: signed_in
                .map(|caller| Owner { user_id: caller.user_id, session_id: caller.session_id }),
            client,
            device: self.door.device(request).map(str::to_owned),
        };
        let provider = back.provider.clone();
        Ok(match self.auth.come_back(back).await? {
            GoesOn::Nowhere => {
                let words = "Please begin again where you came from: this sign-in has expired, was used, or began in \
                             another browser.";
                BackAnswer::Nowhere((self.nowhere_page)(request, words))
            }
            goes_on => BackAnswer::Onward(self.onward(goes_on, &provider)),
        })
    }

    /// Link an account at a provider
    ///
    /// To the caller's, who proved within the last ten minutes who they are. Send the browser to `authorization_url`; it
    /// must be the one that asked, for it has to show the cookie of this answer. It comes back to `redirect_uri` with
    /// `linked` or `error`.
    #[oai(path = "/:provider/link", method = "post", operation_id = "oauth_link")]
    async fn link(
        &self,
        caller: Caller,
        _limit: RateLimited<OauthStarts>,
        /// The provider.
        provider: Path<String>,
        body: JsonOrForm<Option<LinkOptions>>,
    ) -> Result<AwayAnswer, Failure<LeaveToLinkRefusal>> {
        let connection = self.connection(&provider).ok_or(LeaveToLinkRefusal::NotFound)?;
        let options = body.0.unwrap_or_default();
        let place = self.place(options.redirect_uri.as_deref());
        let onward = onward(place, options.handle).map_err(LeaveToLinkRefusal::from)?;
        let left = self.auth.leave_to_link(&caller, &connection, onward).await?;
        Ok(self.away(left))
    }

    /// See the accounts that are linked
    ///
    /// On to the account page; linking takes a POST.
    #[oai(path = "/:provider/link", method = "get", operation_id = "oauth_link_page")]
    async fn link_page(
        &self,
        /// The provider.
        #[oai(name = "provider")]
        _provider: Path<String>,
    ) -> Result<Elsewhere<303>, Failure<std::convert::Infallible>> {
        Ok(Elsewhere { location: ACCOUNT_PAGE.to_owned(), cookies: Vec::new() })
    }

    /// Unlink the account at a provider
    ///
    /// The last way to sign in can't be taken away; with `delete_account=true`, an account that has no password and no
    /// other provider is deleted with it. Needs a proof of identity that is not older than ten minutes. Every other
    /// session of the caller ends, and the provider is asked to forget what it gave us.
    #[oai(path = "/:provider/unlink", method = "post", operation_id = "oauth_unlink")]
    async fn unlink(
        &self,
        caller: Caller,
        client: ClientInfo,
        /// The provider.
        provider: Path<String>,
        /// Whether the account may go with its last way in.
        delete_account: Query<Option<bool>>,
    ) -> Result<Json<UnlinkedAnswer>, Failure<LeaveRefusal>> {
        self.take_away(&caller, provider.0, delete_account.0, &client).await
    }

    /// Unlink the account at a provider
    ///
    /// Another name of `/oauth/{provider}/unlink`.
    #[oai(path = "/:provider/revoke", method = "post", operation_id = "oauth_revoke")]
    async fn revoke(
        &self,
        caller: Caller,
        client: ClientInfo,
        /// The provider.
        provider: Path<String>,
        /// Whether the account may go with its last way in.
        delete_account: Query<Option<bool>>,
    ) -> Result<Json<UnlinkedAnswer>, Failure<LeaveRefusal>> {
        self.take_away(&caller, provider.0, delete_account.0, &client).await
    }

    /// Prove again who one is, at a provider
    ///
    /// For accounts without a password. Send the browser to `authorization_url`; it comes back to `redirect_uri` with
    /// `reauthenticated` or `error`.
    #[oai(path = "/:provider/reauthenticate", method = "post", operation_id = "oauth_reauthenticate")]
    async fn reauthenticate(
        &self,
        caller: Enrolling,
        _limit: RateLimited<OauthStarts>,
        client: ClientInfo,
        /// The provider.
        provider: Path<String>,
        body: JsonOrForm<Option<ProofOptions>>,
    ) -> Result<AwayAnswer, Failure<LeaveToProveRefusal>> {
        let connection = self.connection(&provider).ok_or(LeaveToProveRefusal::NotFound)?;
        let options = body.0.unwrap_or_default();
        let place = self.place(options.redirect_uri.as_deref());
        let onward = onward(place, options.handle).map_err(LeaveToProveRefusal::from)?;
        let code = options.otp_code.as_deref();
        let left = self.auth.leave_to_prove(&caller, &connection, (onward, code), &client).await?;
        Ok(self.away(left))
    }
}

impl OauthApi {
    fn connection(&self, provider: &str) -> Option<Arc<Connection>> {
        self.auth.oauth.connections().named(provider).cloned()
    }

    /// Where somebody goes on who is signed in: the account page, if they don't say.
    fn place(&self, asked: Option<&str>) -> Option<Place> {
        self.auth.oauth.places().read(Some(asked.unwrap_or(ACCOUNT_PAGE)))
    }

    fn away(&self, left: Left) -> AwayAnswer {
        let cookie = self.door.leaving(&left);
        AwayAnswer { url: AuthorizationUrl { authorization_url: left.authorization_url.into() }, cookie }
    }

    fn onward(&self, goes_on: GoesOn, provider: &str) -> Elsewhere<303> {
        let mut cookies: Vec<HeaderValue> = self.door.back().into_iter().collect();
        let location = match goes_on {
            GoesOn::Nowhere => ACCOUNT_PAGE.to_owned(),
            GoesOn::WithCode(place, code) => place.with(&[("code", code.expose())]),
            GoesOn::Admitted(place, Admission::In(signed_in)) => {
                cookies.extend(self.cookies.set(signed_in.session.secret.expose()));
                cookies.extend(self.door.known(&signed_in));
                place.with(&[])
            }
            GoesOn::Admitted(place, Admission::Challenged(challenged)) => {
                cookies.extend(self.door.challenged(&challenged));
                Place::Own("/otp".to_owned()).with(&[("next", place.as_str())])
            }
            GoesOn::Done(place, Intent::Reauthenticate) => place.with(&[("reauthenticated", provider)]),
            GoesOn::Done(place, _) => place.with(&[("linked", provider)]),
            GoesOn::Troubled(place, intent, trouble) => in_trouble(&place, intent, trouble),
        };
        Elsewhere { location, cookies }
    }

    async fn take_away(
        &self,
        caller: &Caller,
        provider: String,
        with_account: Option<bool>,
        client: &ClientInfo,
    ) -> Result<Json<UnlinkedAnswer>, Failure<LeaveRefusal>> {
        self.auth.unlink(caller, &provider, with_account.unwrap_or(false), client).await?;
        Ok(Json(UnlinkedAnswer { provider, status: "unlinked".to_owned() }))
    }
}

/// Where somebody is told that it came to nothing: the application where it said, people on the sign-in page.
fn in_trouble(place: &Place, intent: Intent, trouble: Trouble) -> String {
    match (place, intent) {
        (Place::Own(path), Intent::SignIn) => {
            Place::Own("/signin".to_owned()).with(&[("error", trouble.code()), ("next", path)])
        }
        (place, _) => place.with(&[("error", trouble.code())]),
    }
}

fn onward(place: Option<Place>, handle: Option<String>) -> Result<Onward, BeginRefusal> {
    let not_allowed = || invalid("redirect_uri", "Is not allowed: see ALLOWED_REDIRECT_URIS.");
    let place = place.ok_or_else(not_allowed)?;
    if handle.as_ref().is_some_and(|handle| handle.chars().nth(LONGEST_HANDLE).is_some()) {
        return Err(invalid("handle", "Nobody is known by this handle."));
    }
    Ok(Onward { place, code_challenge: None, handle })
}

fn challenge(text: Option<&str>, method: Option<&str>) -> Result<Option<CodeChallenge>, BeginRefusal> {
    if method.is_some_and(|method| method != "S256") {
        return Err(invalid("code_challenge_method", "Must be S256."));
    }
    let wrong = || invalid("code_challenge", "Must be the SHA-256 of a verifier in base64url.");
    text.map(|text| CodeChallenge::parse(text).ok_or_else(wrong)).transpose()
}

fn invalid(field: &'static str, words: &'static str) -> BeginRefusal {
    BeginRefusal::Invalid(vec![FieldError::new(field, words)])
}
