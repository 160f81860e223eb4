//! The operations of `/auth` about the second factor.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use poem::http::{HeaderName, HeaderValue, header};
use poem::{IntoResponse, Request, Response};
use poem_openapi::param::{Path, Query};
use poem_openapi::registry::{
    MetaHeader, MetaMediaType, MetaResponse, MetaResponses, MetaSchemaRef, Registry,
};
use poem_openapi::types::Type;
use poem_openapi::{ApiResponse, Enum, Object, OpenApi};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};

use super::Auth;
use super::admission::Admission;
use super::api::{Section, TokenAnswer};
use super::door::Door;
use super::recovery_api::Accepted;
use super::second_factor::{MethodRefusal, OtpRefusal, RecoveryCodesRefusal, SecondFactor, SendRefusal};
use crate::otp::{Method, RecoveryCode, Seed};
use crate::platform::problem::{Breakage, Failure};
use crate::platform::web::{ClientInfo, Json, JsonOrForm};
use crate::profiles::{Profiles, User};
use crate::sessions::{Anybody, Described, Enrolling, Kind, or_nobody};
use crate::users::Password;

/// The operations of `/auth` about the second factor.
pub struct OtpApi {
    /// The door.
    pub auth: Auth,
    /// Its cookies.
    pub door: Door,
    /// What people are shown.
    pub profiles: Profiles,
}

/// A second factor, as paths name it.
#[derive(Clone, Copy, Debug, Enum)]
#[oai(rename = "OtpMethod", rename_all = "lowercase")]
pub enum MethodName {
    /// An app that shows codes.
    Authenticator,
    /// A code by mail.
    Email,
    /// None.
    None,
}

impl From<MethodName> for Method {
    fn from(name: MethodName) -> Self {
        match name {
            MethodName::Authenticator => Self::Authenticator,
            MethodName::Email => Self::Email,
            MethodName::None => Self::None,
        }
    }
}

/// An answer to the second factor.
#[derive(Default, Deserialize, Object)]
#[serde(deny_unknown_fields, default)]
pub struct OtpAnswer {
    /// The code, or a recovery code; also as the query parameter of this name.
    #[oai(nullable)]
    pub otp_code: Option<String>,
    /// What signing in gave; else the cookie that it set.
    #[oai(nullable)]
    pub otp_token: Option<String>,
}

/// A code for a change of the second factor.
#[derive(Default, Deserialize, Object)]
#[serde(deny_unknown_fields, default)]
pub struct OtpCode {
    /// Of the new factor; to turn it off, of the present one, or a recovery code.
    #[oai(nullable)]
    pub otp_code: Option<String>,
}

/// Who still has to show a second factor; left out by who is signed in.
#[derive(Default, Deserialize, Object)]
#[serde(deny_unknown_fields, default)]
pub struct OtpTokenOnly {
    /// What signing in gave; else the cookie that it set.
    #[oai(nullable)]
    pub otp_token: Option<String>,
}

/// The password, once more.
#[derive(Default, Deserialize, Object)]
#[serde(deny_unknown_fields, default)]
pub struct PasswordAgain {
    /// The password; left out by who has none.
    #[oai(nullable)]
    pub password: Option<String>,
}

/// The account after a change of its second factor.
#[derive(Serialize, Object)]
pub struct UserWithCodes {
    /// The account.
    #[serde(flatten)]
    #[oai(flatten)]
    pub user: User,
    /// Ten codes that each replace the second factor once; shown this once.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[oai(skip_serializing_if_is_none)]
    pub recovery_codes: Option<Vec<String>>,
}

/// Recovery codes, shown this once.
#[derive(Serialize, Object)]
pub struct RecoveryCodes {
    /// Each replaces the second factor once.
    pub recovery_codes: Vec<String>,
}

/// What an authenticator is set up with.
#[derive(Serialize, Object)]
pub struct SeedAnswer {
    /// The `otpauth://` URI.
    pub uri: String,
    /// The secret in base32, to be typed.
    pub secret: String,
    /// The URI as a QR code: a PNG in base64.
    pub qr: String,
}

/// A seed as a picture or as JSON, whichever was asked for.
pub struct QrAnswer {
    seed: SeedAnswer,
    png: Vec<u8>,
    as_json: bool,
}

/// The header that carries the secret beside the picture, as S1's clients read it.
const SECRET: HeaderName = HeaderName::from_static("secret");

impl IntoResponse for QrAnswer {
    fn into_response(self) -> Response {
        let mut response = if self.as_json {
            Json(self.seed).into_response()
        } else {
            let mut picture = Response::builder().content_type("image/png").body(self.png);
            if let Ok(mut secret) = HeaderValue::try_from(self.seed.secret) {
                secret.set_sensitive(true);
                picture.headers_mut().insert(SECRET, secret);
            }
            picture
        };
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::VARY, HeaderValue::from_static("Accept"));
        response
    }
}

impl ApiResponse for QrAnswer {
    fn meta() -> MetaResponses {
        let picture = MetaMediaType {
            content_type: "image/png",
            schema: MetaSchemaRef::Inline(Box::new(poem_openapi::registry::MetaSchema::new_with_format(
                "string", "binary",
            ))),
        };
        let json = MetaMediaType { content_type: "application/json", schema: SeedAnswer::schema_ref() };
        let response = MetaResponse {
            description: "The picture, with the secret in the header `secret`; or JSON (`Accept: application/json`).",
            status: Some(200),
            status_range: None,
            content: vec![picture, json],
            headers: vec![MetaHeader {
                name: SECRET.to_string(),
                description: Some("The secret in base32, to be typed; beside the picture alone.".to_owned()),
                required: false,
                deprecated: false,
                schema: String::schema_ref(),
            }],
        };
        MetaResponses { responses: vec![response] }
    }

    fn register(registry: &mut Registry) {
        SeedAnswer::register(registry);
    }
}

#[OpenApi(prefix_path = "/auth", tag = "Section::Auth")]
impl OtpApi {
    /// Show the second factor
    ///
    /// The code of the authenticator, the code of the mail, or a recovery code. Each code works once, and five wrong
    /// ones end the sign-in.
    #[oai(path = "/OTP", method = "post", operation_id = "login_otp")]
    async fn answer(
        &self,
        request: &Request,
        client: ClientInfo,
        /// The code, for clients that send it so; better in the body.
        otp_code: Query<Option<String>>,
        body: JsonOrForm<Option<OtpAnswer>>,
    ) -> Result<TokenAnswer<200>, Failure<OtpRefusal>> {
        self.refuse_foreign(request, OtpRefusal::Foreign)?;
        let body = body.0.unwrap_or_default();
        let token = self.door.challenge_of(request, body.otp_token).ok_or(OtpRefusal::Invalid)?;
        let code = body.otp_code.or(otp_code.0).ok_or(OtpRefusal::Invalid)?;
        let device = self.door.device(request).map(str::to_owned);
        let kind = Kind::Token;
        match self.auth.answer(SecondFactor { token, code, client, device, kind }).await? {
            Admission::In(signed_in) => {
                let mut answer = self.door.answer(&self.auth, *signed_in)?;
                answer.cookies.extend(self.door.answered());
                Ok(answer)
            }
            Admission::Challenged(_) => Err(OtpRefusal::Invalid.into()),
        }
    }

    /// Change the second factor
    ///
    /// To `authenticator` with a code of the seed of `GET /auth/QR`, to `email` with the code of `POST /auth/OTP/send`,
    /// to `none` with a code of the present factor or a recovery code. Needs a proof of identity that is not older than
    /// ten minutes. Every other session of the caller ends. A code by mail is the weaker factor: whoever reads the
    /// mail has it.
    #[oai(path = "/OTP/:method", method = "patch", operation_id = "change_otp_method")]
    async fn change(
        &self,
        caller: Enrolling,
        client: ClientInfo,
        /// The new factor.
        method: Path<MethodName>,
        /// The code, for clients that send it so; better in the body.
        otp_code: Query<Option<String>>,
        body: JsonOrForm<Option<OtpCode>>,
    ) -> Result<Json<UserWithCodes>, Failure<MethodRefusal>> {
        let code = body.0.unwrap_or_default().otp_code.or(otp_code.0);
        let changed = self.auth.change_method(&caller, method.0.into(), code.as_deref(), &client).await?;
        let user = self.profiles.full(changed.user).await?;
        Ok(Json(UserWithCodes { user, recovery_codes: changed.recovery_codes.as_deref().map(texts) }))
    }

    /// Get new recovery codes
    ///
    /// The old ones are void. Needs a proof of identity that is not older than ten minutes, and the password of an account
    /// that has one.
    #[oai(path = "/OTP/recovery-codes", method = "post", operation_id = "replace_recovery_codes")]
    async fn replace_recovery_codes(
        &self,
        caller: Enrolling,
        client: ClientInfo,
        request: &Request,
        body: JsonOrForm<Option<PasswordAgain>>,
    ) -> Result<Json<RecoveryCodes>, Failure<RecoveryCodesRefusal>> {
        let password = body.0.unwrap_or_default().password;
        let password = password.as_deref().map(Password::parse).transpose();
        let password = password.map_err(|_| RecoveryCodesRefusal::Wrong)?;
        let device = self.door.device(request);
        let codes = self.auth.replace_recovery_codes(&caller, password.as_ref(), &client, device).await?;
        Ok(Json(RecoveryCodes { recovery_codes: texts(&codes) }))
    }

    /// Have a code mailed
    ///
    /// Another one for a sign-in that waits for it; or one for the caller, to choose the code by mail as their second
    /// factor or to prove it. A minute apart, five in an hour; a new code voids the one before.
    #[oai(path = "/OTP/send", method = "post", operation_id = "send_otp")]
    async fn send(
        &self,
        _known: Described<Anybody>,
        request: &Request,
        client: ClientInfo,
        body: JsonOrForm<Option<OtpTokenOnly>>,
    ) -> Result<Accepted, Failure<SendRefusal>> {
        let body = body.0.unwrap_or_default();
        // The cookie of a sign-in that was left or is over hides nobody who shows a token.
        let shows_token = body.otp_token.is_none() && request.headers().contains_key(header::AUTHORIZATION);
        let challenge = self.door.challenge_of(request, body.otp_token);
        let caller = if shows_token || challenge.is_none() {
            or_nobody(Enrolling::of_any(request).await).map_err(SendRefusal::Unavailable)?
        } else {
            None
        };
        if let Some(caller) = caller {
            self.auth.send_own_code(&caller, &client).await?;
        } else {
            let token = challenge.ok_or(SendRefusal::Invalid)?;
            self.refuse_foreign(request, SendRefusal::Foreign)?;
            self.auth.send_code(&token, &client).await?;
        }
        Ok(Accepted)
    }

    /// Get a seed for an authenticator
    ///
    /// As a QR code (PNG, with the secret in the header `secret`) or as JSON. Each call makes a new seed, which waits
    /// ten minutes for its first code at `PATCH /auth/OTP/authenticator`; until then nothing changes.
    #[oai(path = "/QR", method = "get", operation_id = "get_otp_qr")]
    async fn qr(&self, caller: Enrolling, request: &Request) -> Result<QrAnswer, Failure<MethodRefusal>> {
        let seed: Seed = self.auth.begin_authenticator(&caller).await?;
        let (uri, secret) = (seed.uri.expose_secret().to_owned(), seed.secret.expose_secret().to_owned());
        let png = tokio::task::spawn_blocking(move || seed.png()).await.map_err(Breakage::from)??;
        let as_json = request
            .headers()
            .get(header::ACCEPT)
            .and_then(|accept| accept.to_str().ok())
            .is_some_and(|accept| accept.contains("application/json"));
        Ok(QrAnswer { seed: SeedAnswer { uri, secret, qr: STANDARD.encode(&png) }, png, as_json })
    }
}

impl OtpApi {
    fn refuse_foreign<R>(&self, request: &Request, refusal: R) -> Result<(), R> {
        if self.auth.sessions.is_foreign(request.headers()) { Err(refusal) } else { Ok(()) }
    }
}

fn texts(codes: &[RecoveryCode]) -> Vec<String> {
    codes.iter().map(|code| code.text().as_str().to_owned()).collect()
}
