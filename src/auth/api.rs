//! The operations of `/auth` about signing up, signing in and passwords.

use poem::http::{HeaderValue, StatusCode, header};
use poem::{IntoResponse, Request, Response};
use poem_openapi::payload::PlainText;
use poem_openapi::registry::{MetaResponses, Registry};
use poem_openapi::types::Type;
use poem_openapi::{ApiResponse, Object, OpenApi, Tags};
use serde::{Deserialize, Serialize};

use super::admission::Admission;
use super::door::Door;
use super::recovery_api::Accepted;
use super::sign_in::{Credentials, SignInRefusal};
use super::sign_up::{SignUp, SignUpRefusal, SignedUp};
use super::target::MailOwnReset;
use super::{AskRefusal, Auth, PasswordRefusal, ReauthenticateRefusal};
use crate::permissions::Allowed;
use crate::platform::problem::{Failure, FieldError};
use crate::platform::web::{ClientInfo, Json, JsonOrForm};
use crate::profiles::SignUpFields;
use crate::sessions::{Enrolling, Kind, RefreshRefusal, Tokens, add_cookies};
use crate::users::Password;

/// The operations of `/auth` about signing up, signing in and passwords.
pub struct AuthApi {
    /// The door.
    pub auth: Auth,
    /// Its cookies.
    pub door: Door,
}

#[derive(Tags)]
pub(super) enum Section {
    /// Signing up, signing in, passwords, sessions and tokens.
    Auth,
}

/// What signing in gives: use the access token as `Authorization: Bearer …`, and trade the refresh token for new
/// tokens before it runs out.
#[derive(Serialize, Object)]
pub struct Token {
    /// A JWT (RFC 9068) that says who the caller is.
    pub access_token: String,
    /// Always `bearer`.
    pub token_type: String,
    /// Life of the access token, in seconds.
    pub expires_in: u64,
    /// Good for one refresh.
    pub refresh_token: String,
}

/// What one signs up with.
#[derive(Deserialize, Object)]
#[serde(deny_unknown_fields)]
pub struct Registration {
    /// The user name: 5 to 32 of a to z, 0 to 9 and `_`.
    pub username: String,
    /// The e-mail address.
    pub email: String,
    /// The password, 10 to 1024 characters.
    pub password: String,
    /// The same again.
    pub confirm_password: String,
    /// The name that is shown.
    #[serde(default)]
    #[oai(nullable)]
    pub display_name: Option<String>,
    /// First name.
    #[serde(default)]
    #[oai(nullable)]
    pub first_name: Option<String>,
    /// Last name.
    #[serde(default)]
    #[oai(nullable)]
    pub last_name: Option<String>,
    /// Middle name.
    #[serde(default)]
    #[oai(nullable)]
    pub middle_name: Option<String>,
}

/// What one signs in with (RFC 6749, 4.3.2).
#[derive(Deserialize, Object)]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// The user name or the e-mail address.
    pub username: String,
    /// The password.
    pub password: String,
    /// Always `password`.
    #[serde(default)]
    #[oai(nullable)]
    pub grant_type: Option<String>,
    /// Not used; OAuth2 clients send it.
    #[serde(default)]
    #[oai(nullable)]
    pub scope: Option<String>,
    /// Not used; OAuth2 clients send it.
    #[serde(default)]
    #[oai(nullable)]
    pub client_id: Option<String>,
    /// Not used; OAuth2 clients send it.
    #[serde(default)]
    #[oai(nullable)]
    pub client_secret: Option<String>,
}

/// A refresh token to be traded.
#[derive(Deserialize, Object)]
#[serde(deny_unknown_fields)]
pub struct Refresh {
    /// The refresh token.
    pub refresh_token: String,
    /// Always `refresh_token`; OAuth2 clients send it.
    #[serde(default)]
    #[oai(nullable)]
    pub grant_type: Option<String>,
}

/// Another password for the caller.
#[derive(Deserialize, Object)]
#[serde(deny_unknown_fields)]
pub struct PasswordChange {
    /// The present password.
    pub old_password: String,
    /// The new one.
    pub new_password: String,
    /// The new one again.
    pub confirm_password: String,
}

/// Proof of who one is.
#[derive(Deserialize, Object)]
#[serde(deny_unknown_fields)]
pub struct Proof {
    /// The password.
    pub password: String,
    /// A code of the second factor, where there is one.
    #[serde(default)]
    #[oai(nullable)]
    pub otp_code: Option<String>,
}

/// A sign-up that waits for the proof of its address.
#[derive(Serialize, Object)]
pub struct VerificationSent {
    /// Always `verification_sent`, whether the address was free or not.
    pub status: String,
}

/// How long a proof counts.
#[derive(Debug, Serialize, Object)]
pub struct Proved {
    /// Until then, in seconds since the Unix epoch.
    pub valid_until: i64,
}

/// The answer to signing up: tokens, or that a mail is on its way.
pub enum RegisterAnswer {
    /// In.
    In(TokenAnswer<201>),
    /// The address is to be proved first.
    Sent,
}

impl IntoResponse for RegisterAnswer {
    fn into_response(self) -> Response {
        match self {
            Self::In(answer) => answer.into_response(),
            Self::Sent => {
                let mut response =
                    Json(VerificationSent { status: "verification_sent".to_owned() }).into_response();
                response.set_status(StatusCode::ACCEPTED);
                response
            }
        }
    }
}

impl ApiResponse for RegisterAnswer {
    fn meta() -> MetaResponses {
        let mut meta = TokenAnswer::<201>::meta();
        let mut sent = Json::<VerificationSent>::meta();
        sent.responses.iter_mut().for_each(|response| {
            response.status = Some(202);
            response.description = "A mail is on its way, whether the address was free or not.";
        });
        meta.responses.append(&mut sent.responses);
        meta
    }

    fn register(registry: &mut Registry) {
        Token::register(registry);
        VerificationSent::register(registry);
    }
}

/// The answer to signing in: tokens, and the cookie that makes the device a known one.
pub struct TokenAnswer<const STATUS: u16> {
    pub(super) token: Token,
    pub(super) cookies: Vec<HeaderValue>,
}

impl<const STATUS: u16> IntoResponse for TokenAnswer<STATUS> {
    fn into_response(self) -> Response {
        let mut response = Json(self.token).into_response();
        response.set_status(StatusCode::from_u16(STATUS).unwrap_or_default());
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        add_cookies(response.headers_mut(), self.cookies);
        response
    }
}

impl<const STATUS: u16> ApiResponse for TokenAnswer<STATUS> {
    fn meta() -> MetaResponses {
        let mut meta = Json::<Token>::meta();
        meta.responses.iter_mut().for_each(|response| response.status = Some(STATUS));
        meta
    }

    fn register(registry: &mut Registry) {
        Token::register(registry);
    }
}

#[OpenApi(prefix_path = "/auth", tag = "Section::Auth")]
impl AuthApi {
    /// Sign up
    ///
    /// Makes an account with the role `user` and signs it in. Where addresses have to be proved first, it answers 202
    /// and mails a link instead, and the account comes with the proof.
    #[oai(path = "/register", method = "post", operation_id = "register")]
    async fn register(
        &self,
        request: &Request,
        client: ClientInfo,
        body: JsonOrForm<Registration>,
    ) -> Result<RegisterAnswer, Failure<SignUpRefusal>> {
        if self.auth.sessions.is_foreign(request.headers()) {
            return Err(SignUpRefusal::Foreign.into());
        }
        let body = body.0;
        let fields = SignUpFields {
            username: &body.username,
            email: Some(&body.email),
            display_name: body.display_name.as_deref(),
            first_name: body.first_name.as_deref(),
            middle_name: body.middle_name.as_deref(),
            last_name: body.last_name.as_deref(),
        };
        let read = fields.read(&body.password, &body.confirm_password, self.auth.users.settings());
        let (new, password) = read.map_err(SignUpRefusal::Invalid)?;
        Ok(match self.auth.sign_up(SignUp { new, password, client, kind: Kind::Token }).await? {
            SignedUp::In(signed_in) => RegisterAnswer::In(self.door.answer(&self.auth, *signed_in)?),
            SignedUp::ToProve => RegisterAnswer::Sent,
        })
    }

    /// Sign in
    ///
    /// With user name or e-mail address and password; also the password form of OAuth2. Whoever is not let in
    /// learns the same whether the account exists or not. An account with a second factor is asked for it: 401
    /// `otp_required` with `otp_token` and `otp_method`, to be answered at `POST /auth/OTP`.
    #[oai(path = "/login", method = "post", operation_id = "login")]
    async fn login(
        &self,
        request: &Request,
        client: ClientInfo,
        body: JsonOrForm<Login>,
    ) -> Result<TokenAnswer<200>, Failure<SignInRefusal>> {
        if self.auth.sessions.is_foreign(request.headers()) {
            return Err(SignInRefusal::Foreign.into());
        }
        let body = body.0;
        if body.grant_type.as_deref().is_some_and(|grant| grant != "password") {
            let error = FieldError::new("grant_type", "Must be password.");
            return Err(SignInRefusal::OtherGrant(vec![error]).into());
        }
        // Too long, or with characters that no password has: nobody's, whoever they say they are.
        let password = Password::parse(&body.password).map_err(|invalid| {
            SignInRefusal::Malformed(vec![FieldError::new("password", invalid.into_words())])
        })?;
        let admission = self
            .auth
            .sign_in(Credentials {
                identifier: body.username,
                password,
                kind: Kind::Token,
                client,
                device: self.door.device(request).map(str::to_owned),
            })
            .await?;
        match admission {
            Admission::In(signed_in) => Ok(self.door.answer(&self.auth, *signed_in)?),
            Admission::Challenged(challenged) => {
                Err(SignInRefusal::OtpRequired(self.door.demand(&challenged)).into())
            }
        }
    }

    /// Trade a refresh token for new tokens
    ///
    /// Each refresh token works once; asked again within ten seconds it gives the same successor. A spent one that
    /// comes back later ends the session, for somebody has a copy.
    #[oai(path = "/token/refresh", method = "post", operation_id = "refresh_token")]
    async fn refresh(&self, body: JsonOrForm<Refresh>) -> Result<TokenAnswer<200>, Failure<RefreshRefusal>> {
        if body.grant_type.as_deref().is_some_and(|grant| grant != "refresh_token") {
            let error = FieldError::new("grant_type", "Must be refresh_token.");
            return Err(RefreshRefusal::Malformed(vec![error]).into());
        }
        let tokens = self.auth.sessions.refresh(&body.refresh_token).await?;
        Ok(TokenAnswer { token: tokens.into(), cookies: Vec::new() })
    }

    /// Change the own password
    ///
    /// Every other session of the caller ends. Whoever has a second factor needs a proof of identity that is not older
    /// than ten minutes; without one, the old password is proof enough.
    #[oai(path = "/password/reset", method = "patch", operation_id = "reset_password_reset")]
    async fn change_password(
        &self,
        caller: Enrolling,
        client: ClientInfo,
        request: &Request,
        body: JsonOrForm<PasswordChange>,
    ) -> Result<PlainText<&'static str>, Failure<PasswordRefusal>> {
        let old = Password::parse(&body.old_password).map_err(|_| PasswordRefusal::Wrong)?;
        let new = Password::parse(&body.new_password).map_err(|invalid| {
            PasswordRefusal::Invalid(vec![FieldError::new("new_password", invalid.into_words())])
        })?;
        if body.new_password != body.confirm_password {
            let error = FieldError::new("confirm_password", "Must be the same as the password.");
            return Err(PasswordRefusal::Invalid(vec![error]).into());
        }
        self.auth.change_password(&caller, &old, &new, &client, self.door.device(request)).await?;
        Ok(PlainText("Password reset successful"))
    }

    /// Ask for a link to a new password
    ///
    /// Mails it to the caller; for who is signed in and has forgotten the old one. Browsers that say another site sent
    /// them here are refused, but for pages of `CORS_ORIGINS`.
    #[oai(path = "/password/reset", method = "get", operation_id = "request_password_request")]
    async fn ask_for_reset(
        &self,
        allowed: Allowed<MailOwnReset>,
        request: &Request,
        client: ClientInfo,
    ) -> Result<Accepted, Failure<AskRefusal>> {
        // A browser sends its session cookie along with a link that somebody else has put before the caller.
        if self.auth.sessions.is_foreign(request.headers()) {
            return Err(AskRefusal::Foreign.into());
        }
        self.auth.ask_for_reset(&allowed.caller, client).await?;
        Ok(Accepted)
    }

    /// Prove again who one is
    ///
    /// Some changes need a proof that is not older than ten minutes; signing in counts as one. Where there is a second
    /// factor, its code belongs to the proof.
    #[oai(path = "/reauthenticate", method = "post", operation_id = "reauthenticate")]
    async fn reauthenticate(
        &self,
        caller: Enrolling,
        client: ClientInfo,
        request: &Request,
        body: JsonOrForm<Proof>,
    ) -> Result<Json<Proved>, Failure<ReauthenticateRefusal>> {
        let password = Password::parse(&body.password).map_err(|_| ReauthenticateRefusal::Wrong)?;
        let (code, device) = (body.otp_code.as_deref(), self.door.device(request));
        let until = self.auth.reauthenticate(&caller, &password, code, &client, device).await?;
        Ok(Json(Proved { valid_until: until.seconds() }))
    }
}

impl From<Tokens> for Token {
    fn from(tokens: Tokens) -> Self {
        Self {
            access_token: tokens.access,
            token_type: "bearer".to_owned(),
            expires_in: tokens.expires_in,
            refresh_token: tokens.refresh.expose().to_owned(),
        }
    }
}
