//! The operations of `/auth` about the forgotten password and the proof of an address.

use poem::http::{HeaderValue, StatusCode, header};
use poem::{IntoResponse, Request, Response};
use poem_openapi::param::Query;
use poem_openapi::payload::PlainText;
use poem_openapi::registry::{MetaResponses, Registry};
use poem_openapi::types::Type;
use poem_openapi::{ApiResponse, Object, OpenApi};
use serde::{Deserialize, Serialize};

use super::api::Section;
use super::recovery::{AskRefusal, ResetRefusal, VerifyRefusal};
use super::{Auth, Door, MakePage};
use crate::platform::problem::{Failure, FieldError};
use crate::platform::web::{ClientInfo, Json, JsonOrForm};
use crate::sessions::{Anybody, Described, Enrolling, bearer_text, or_nobody};
use crate::users::{Email, Identifier, Password};

/// The operations of `/auth` about the forgotten password and the proof of an address.
pub struct RecoveryApi {
    /// The door.
    pub auth: Auth,
    /// Its cookies.
    pub door: Door,
    /// Where people go when their address is proved.
    pub frontend_url: String,
    /// Makes the page behind a verification link from its token.
    pub verify_page: MakePage,
}

/// A page.
pub struct Page(Response);

impl IntoResponse for Page {
    fn into_response(self) -> Response {
        self.0
    }
}

impl ApiResponse for Page {
    fn meta() -> MetaResponses {
        let mut meta = poem_openapi::payload::Html::<String>::meta();
        meta.responses.iter_mut().for_each(|response| response.description = "A page with one button.");
        meta
    }

    fn register(_: &mut Registry) {}
}

/// Whose password is forgotten: one of the two is enough.
#[derive(Default, Deserialize, Object)]
#[serde(deny_unknown_fields, default)]
pub struct Forgotten {
    /// The user name.
    #[oai(nullable)]
    pub username: Option<String>,
    /// The e-mail address.
    #[oai(nullable)]
    pub email: Option<String>,
}

/// A new password, by a mailed link.
#[derive(Deserialize, Object)]
#[serde(deny_unknown_fields)]
pub struct NewPassword {
    /// The new password.
    pub new_password: String,
    /// The new password again.
    pub confirm_password: String,
    /// The token of the link; else as `Authorization: Bearer …`.
    #[serde(default)]
    #[oai(nullable)]
    pub token: Option<String>,
}

/// The token of a mailed link.
#[derive(Deserialize, Object)]
#[serde(deny_unknown_fields)]
pub struct MailedToken {
    /// The token.
    pub token: String,
}

/// Whose address is to be proved; left out by who is signed in.
#[derive(Default, Deserialize, Object)]
#[serde(deny_unknown_fields, default)]
pub struct AddressToProve {
    /// The address.
    #[oai(nullable)]
    pub email: Option<String>,
}

/// An address that is proved.
#[derive(Serialize, Object)]
pub struct Verified {
    /// Always true.
    pub email_verified: bool,
}

/// 202: what was asked for is done if there is anything to do; nobody is told.
pub struct Accepted;

/// The body of [`Accepted`].
#[derive(Serialize, Object)]
pub struct AcceptedBody {
    /// Always `accepted`.
    pub status: String,
}

impl IntoResponse for Accepted {
    fn into_response(self) -> Response {
        let mut response = Json(AcceptedBody { status: "accepted".to_owned() }).into_response();
        response.set_status(StatusCode::ACCEPTED);
        response
    }
}

impl ApiResponse for Accepted {
    fn meta() -> MetaResponses {
        let mut meta = Json::<AcceptedBody>::meta();
        meta.responses.iter_mut().for_each(|response| response.status = Some(202));
        meta
    }

    fn register(registry: &mut Registry) {
        AcceptedBody::register(registry);
    }
}

/// The address is proved: JSON for programs, a way on for people.
pub struct VerifiedAnswer(Option<HeaderValue>);

impl IntoResponse for VerifiedAnswer {
    fn into_response(self) -> Response {
        let mut response = Json(Verified { email_verified: true }).into_response();
        if let Some(location) = self.0 {
            response.set_status(StatusCode::SEE_OTHER);
            response.headers_mut().insert(header::LOCATION, location);
        }
        response
    }
}

impl ApiResponse for VerifiedAnswer {
    fn meta() -> MetaResponses {
        let mut meta = Json::<Verified>::meta();
        let mut onward = Json::<Verified>::meta();
        onward.responses.iter_mut().for_each(|response| {
            response.status = Some(303);
            response.description = "To FRONTEND_URL, for browsers (`Accept: text/html`).";
        });
        meta.responses.append(&mut onward.responses);
        meta
    }

    fn register(registry: &mut Registry) {
        Verified::register(registry);
    }
}

#[OpenApi(prefix_path = "/auth", tag = "Section::Auth")]
impl RecoveryApi {
    /// Ask for a link to a new password
    ///
    /// Always 202, whether there is such an account or not. Nothing about the account changes. Browsers that say
    /// another site sent them here are refused, but for pages of `CORS_ORIGINS`.
    #[oai(path = "/forgot-password/request", method = "get", operation_id = "forgot_password_request")]
    async fn forgot_by_query(
        &self,
        request: &Request,
        client: ClientInfo,
        /// The user name.
        username: Query<Option<String>>,
        /// The e-mail address.
        email: Query<Option<String>>,
    ) -> Result<Accepted, Failure<AskRefusal>> {
        self.forgot(request, &Forgotten { username: username.0, email: email.0 }, client).await
    }

    /// Ask for a link to a new password
    ///
    /// Always 202, whether there is such an account or not. Nothing about the account changes.
    #[oai(path = "/forgot-password/request", method = "post", operation_id = "forgot_password")]
    async fn forgot_by_body(
        &self,
        request: &Request,
        client: ClientInfo,
        body: JsonOrForm<Forgotten>,
    ) -> Result<Accepted, Failure<AskRefusal>> {
        self.forgot(request, &body, client).await
    }

    /// Choose a new password by a mailed link
    ///
    /// The link works once. Every session of the account ends; the second factor stays, and nobody is signed in.
    #[oai(path = "/forgot-password/reset", method = "post", operation_id = "forgot_password_reset")]
    async fn reset(
        &self,
        request: &Request,
        client: ClientInfo,
        body: JsonOrForm<NewPassword>,
    ) -> Result<PlainText<&'static str>, Failure<ResetRefusal>> {
        if self.auth.sessions.is_foreign(request.headers()) {
            return Err(ResetRefusal::Foreign.into());
        }
        let token = body.token.as_deref().or_else(|| bearer_text(request.headers()));
        let token = token.ok_or(ResetRefusal::Invalid)?;
        let mut errors = Vec::new();
        let new = Password::parse(&body.new_password)
            .map_err(|invalid| errors.push(FieldError::new("new_password", invalid.into_words())));
        if body.new_password != body.confirm_password {
            errors.push(FieldError::new("confirm_password", "Must be the same as the password."));
        }
        match new {
            Ok(new) if errors.is_empty() => {
                self.auth.reset(token, &new, client).await?;
                Ok(PlainText("Password reset successful"))
            }
            _ => Err(ResetRefusal::Fields(errors).into()),
        }
    }

    /// Open the page behind a verification link
    ///
    /// Shows a button and uses nothing up: programs that look at links in mails do no harm.
    #[oai(path = "/email/verify", method = "get", operation_id = "verify_email_page")]
    async fn verify_page(
        &self,
        request: &Request,
        /// The token of the link.
        token: Query<String>,
    ) -> Page {
        Page((self.verify_page)(request, &token))
    }

    /// Prove an address by a mailed link
    ///
    /// A sign-up becomes an account, or an account's new address counts from now on. The link works once.
    #[oai(path = "/email/verify", method = "post", operation_id = "verify_email")]
    async fn verify(
        &self,
        request: &Request,
        client: ClientInfo,
        body: JsonOrForm<MailedToken>,
    ) -> Result<VerifiedAnswer, Failure<VerifyRefusal>> {
        if self.auth.sessions.is_foreign(request.headers()) {
            return Err(VerifyRefusal::Foreign.into());
        }
        self.auth.verify(&body.token, client).await?;
        let accept = request.headers().get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
        let onward = accept.is_some_and(|accept| accept.contains("text/html"));
        Ok(VerifiedAnswer(onward.then(|| HeaderValue::try_from(&self.frontend_url).ok()).flatten()))
    }

    /// Ask for a link that proves an address
    ///
    /// Of the caller, or of a sign-up or an account with this address that is not proved yet. Always 202.
    #[oai(path = "/email/verify/request", method = "post", operation_id = "request_email_verification")]
    async fn ask_to_verify(
        &self,
        _known: Described<Anybody>,
        request: &Request,
        client: ClientInfo,
        body: JsonOrForm<Option<AddressToProve>>,
    ) -> Result<Accepted, Failure<AskRefusal>> {
        if self.auth.sessions.is_foreign(request.headers()) {
            return Err(AskRefusal::Foreign.into());
        }
        if let Some(email) = body.0.unwrap_or_default().email {
            let email = Email::parse(&email).map_err(|invalid| {
                AskRefusal::Invalid(vec![FieldError::new("email", invalid.into_words())])
            })?;
            self.auth.ask_for_verification(&email, client).await?;
            return Ok(Accepted);
        }
        let nobody = || AskRefusal::Invalid(vec![FieldError::new("email", "Must be given, or sign in.")]);
        // Who must set up a second factor may need a proved address for it.
        let caller = or_nobody(Enrolling::of_any(request).await).map_err(AskRefusal::Unavailable)?;
        let caller = caller.ok_or_else(nobody)?;
        self.auth.ask_for_own_verification(&caller, client).await?;
        Ok(Accepted)
    }
}

impl RecoveryApi {
    async fn forgot(
        &self,
        request: &Request,
        who: &Forgotten,
        client: ClientInfo,
    ) -> Result<Accepted, Failure<AskRefusal>> {
        // A picture in somebody's mail or page would have each of its readers ask, from as many addresses.
        if self.auth.sessions.is_foreign(request.headers()) {
            return Err(AskRefusal::Foreign.into());
        }
        // poem-openapi's `Type`, which is in scope, has an `is_empty` of its own for `&str`, and it says no.
        // A form sends both fields, and one of them empty.
        let named = who.username.iter().chain(&who.email).find(|named| !str::is_empty(named));
        let Some(named) = named else {
            let error = FieldError::new("username", "Name the account: by username or by email.");
            return Err(AskRefusal::Invalid(vec![error]).into());
        };
        self.auth.forgot(&Identifier::parse(named), client, self.door.device(request)).await?;
        Ok(Accepted)
    }
}
