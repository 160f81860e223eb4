//! The page behind the set-up link: makes the first admin of a new server.

use minijinja::context;
use poem::error::MethodNotAllowedError;
use poem::http::{Method, StatusCode};
use poem::{Endpoint, FromRequest, Request, Response};
use serde::Deserialize;

use super::faults::{self, NEW_ACCOUNT};
use super::{Pages, read_form, see_other};
use crate::auth::{Auth, SetUpRefusal};
use crate::platform::problem::{Failure, FieldError, Refusal};
use crate::platform::web::ClientInfo;
use crate::profiles::SignUpFields;

/// `GET` and `POST /setup`. The GET changes nothing, so that whatever looks at links beforehand does no harm.
#[derive(Clone)]
pub struct SetUpPage {
    /// The door.
    pub auth: Auth,
    /// What makes the page.
    pub pages: Pages,
    /// Shortest password, to be told.
    pub min_length: usize,
    /// Where to go when it is done.
    pub then: String,
}

#[derive(Deserialize)]
struct Asked {
    token: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    token: String,
    username: String,
    #[serde(default)]
    email: String,
    password: String,
    confirm_password: String,
}

impl Endpoint for SetUpPage {
    type Output = Response;

    async fn call(&self, mut request: Request) -> poem::Result<Response> {
        let page = Self { pages: self.pages.of(&request), ..self.clone() };
        match *request.method() {
            Method::POST => page.make(&mut request).await,
            Method::GET => match request.params::<Asked>() {
                Ok(Asked { token }) => Ok(page.form(StatusCode::OK, &token, "", "", &[])),
                Err(_) => Ok(page.not_valid()),
            },
            _ => Err(MethodNotAllowedError.into()),
        }
    }
}

impl SetUpPage {
    async fn make(&self, request: &mut Request) -> poem::Result<Response> {
        let client = ClientInfo::from_request_without_body(request).await?;
        let Some(given) = read_form::<Given>(request).await? else { return Ok(self.not_valid()) };
        let email = Some(given.email.as_str()).filter(|email| !email.is_empty());
        let fields = SignUpFields { username: &given.username, email, ..SignUpFields::default() };
        let read = fields.read(&given.password, &given.confirm_password, self.auth.user_settings());
        let (new, password) = match read {
            Ok(read) => read,
            Err(errors) => {
                let errors = faults::with_length(errors, "password", &given.password, self.min_length);
                return Ok(self.again(&given, &errors));
            }
        };
        match self.auth.set_up(&given.token, new, &password, client).await {
            Ok(()) => Ok(self.done()),
            Err(Failure::Refused(SetUpRefusal::Invalid)) => Ok(self.not_valid()),
            Err(Failure::Refused(SetUpRefusal::Fields(errors))) => Ok(self.again(&given, &errors)),
            Err(Failure::Refused(refusal)) => Ok(self.again(&given, &[faults::not_made(&refusal.problem())])),
            Err(broken) => Err(broken.into()),
        }
    }

    fn again(&self, given: &Given, errors: &[FieldError]) -> Response {
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        self.form(status, &given.token, &given.username, &given.email, errors)
    }

    fn form(
        &self,
        status: StatusCode,
        token: &str,
        username: &str,
        email: &str,
        errors: &[FieldError],
    ) -> Response {
        let shown = context! {
            token => token, username => username, email => email,
            min_length => self.min_length, ..faults::shown(NEW_ACCOUNT, &self.pages.faults(errors))
        };
        self.pages.page(status, "set-up.html", shown)
    }

    fn not_valid(&self) -> Response {
        self.pages.message(StatusCode::UNAUTHORIZED, "set_up.not_valid", "set_up.new_link")
    }

    fn done(&self) -> Response {
        see_other(&self.then)
    }
}
