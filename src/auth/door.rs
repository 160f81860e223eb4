//! What signing in leaves at the client: tokens, the cookie of a known device, the cookie of a second factor that is
//! still asked for.

use std::time::Duration;

use poem::Request;
use poem::http::{HeaderValue, header};
use poem_openapi::Object;

use super::Auth;
use super::admission::{Challenged, SignedIn};
use super::api::TokenAnswer;
use super::sign_in::DEVICE_LASTS;
use crate::oauth::{Left, TRANSACTION_LASTS};
use crate::otp::CHALLENGE_LASTS;
use crate::platform::problem::{Body, Details, Problem, ProblemBody};
use crate::sessions::{cookie, set_cookie};

/// The cookies of the door.
#[derive(Clone, Copy, Debug)]
pub struct Door {
    /// Whether cookies are sent over https only.
    pub secure: bool,
}

/// The second factor that is asked for; becomes members of the problem and a cookie.
#[derive(Debug)]
pub struct Demand {
    token: crate::sessions::OpaqueToken,
    method: &'static str,
    cookie: Option<HeaderValue>,
}

/// What `otp_required` says: a problem, and what to answer it with at `POST /auth/OTP`.
#[derive(Object)]
pub struct OtpRequired {
    /// What every problem says.
    #[oai(flatten)]
    pub problem: ProblemBody,
    /// Always `OTP-REQUIRED`.
    pub error: String,
    /// Names this sign-in at `POST /auth/OTP`; a cookie does so, too.
    pub otp_token: String,
    /// The second factor that is asked for.
    pub otp_method: String,
}

impl Details for Demand {
    fn body() -> Option<Body> {
        Some(Body::of::<OtpRequired>())
    }

    fn add_to(&self, problem: &mut Problem) {
        problem.members.insert("error".to_owned(), "OTP-REQUIRED".into());
        problem.members.insert("otp_token".to_owned(), self.token.expose().into());
        problem.members.insert("otp_method".to_owned(), self.method.into());
        problem.headers.extend(self.cookie.clone().map(|cookie| (header::SET_COOKIE, cookie)));
        problem.headers.push((header::CACHE_CONTROL, HeaderValue::from_static("no-store")));
    }
}

impl Door {
    /// What the device of a request showed, if it was signed in before.
    #[must_use]
    pub fn device(self, request: &Request) -> Option<&str> {
        cookie(request.headers(), self.device_cookie())
    }

    /// The challenge that the cookie of a request names.
    #[must_use]
    pub fn challenge(self, request: &Request) -> Option<&str> {
        cookie(request.headers(), self.challenge_cookie())
    }

    /// The challenge of a request: of its body or of its cookie. Where both are given they must be the same.
    #[must_use]
    pub fn challenge_of(self, request: &Request, token: Option<String>) -> Option<String> {
        match (token, self.challenge(request)) {
            (Some(token), Some(cookie)) => (token == cookie).then_some(token),
            (Some(token), None) => Some(token),
            (None, cookie) => cookie.map(str::to_owned),
        }
    }

    /// The cookie that makes a device a known one.
    #[must_use]
    pub fn known(self, signed_in: &SignedIn) -> Option<HeaderValue> {
        set_cookie(self.device_cookie(), signed_in.device.expose(), DEVICE_LASTS, self.secure)
    }

    /// The cookie of a challenge.
    #[must_use]
    pub fn challenged(self, challenged: &Challenged) -> Option<HeaderValue> {
        set_cookie(self.challenge_cookie(), challenged.token.expose(), CHALLENGE_LASTS, self.secure)
    }

    /// The cookie that takes the challenge away.
    #[must_use]
    pub fn answered(self) -> Option<HeaderValue> {
        set_cookie(self.challenge_cookie(), "", Duration::ZERO, self.secure)
    }

    pub(super) fn demand(self, challenged: &Challenged) -> Demand {
        let cookie = self.challenged(challenged);
        let token = challenged.token.clone();
        Demand { token, method: challenged.method.name(), cookie }
    }

    /// What shows that a browser is the one that left for another provider.
    #[must_use]
    pub fn left(self, request: &Request) -> Option<&str> {
        cookie(request.headers(), self.oauth_cookie())
    }

    /// The cookie of a browser that leaves for another provider.
    #[must_use]
    pub fn leaving(self, left: &Left) -> Option<HeaderValue> {
        set_cookie(self.oauth_cookie(), left.cookie.expose(), TRANSACTION_LASTS, self.secure)
    }

    /// The cookie that takes that one away.
    #[must_use]
    pub fn back(self) -> Option<HeaderValue> {
        set_cookie(self.oauth_cookie(), "", Duration::ZERO, self.secure)
    }

    pub(super) fn answer<const STATUS: u16>(
        self,
        auth: &Auth,
        signed_in: SignedIn,
    ) -> anyhow::Result<TokenAnswer<STATUS>> {
        let cookies = self.known(&signed_in).into_iter().collect();
        let tokens = auth.tokens(signed_in)?;
        Ok(TokenAnswer { token: tokens.into(), cookies })
    }

    const fn device_cookie(self) -> &'static str {
        if self.secure { "__Host-gatehouse-device" } else { "gatehouse-device" }
    }

    const fn oauth_cookie(self) -> &'static str {
        if self.secure { "__Host-gatehouse-oauth" } else { "gatehouse-oauth" }
    }

    const fn challenge_cookie(self) -> &'static str {
        if self.secure { "__Host-gatehouse-otp" } else { "gatehouse-otp" }
    }
}
