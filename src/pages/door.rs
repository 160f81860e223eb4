//! The pages of the door: signing in and up, the second factor, the proof of an address, the forgotten password.
//!
//! Plain forms that need no script. What a link carries is only shown and handed on by its button, so that whatever
//! looks at links beforehand uses none of them up.

use minijinja::context;
use poem::error::MethodNotAllowedError;
use poem::http::{HeaderValue, Method, StatusCode, header};
use poem::{Endpoint, FromRequest, Request, RequestBody, Response, Route};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::Pages;
use crate::auth::{
    Admission, AskRefusal, Auth, Challenged, Credentials, Door, ResetRefusal, SecondFactor, SignUp,
    SignUpRefusal, SignedIn, SignedUp, VerifyRefusal,
};
use crate::flags::Flags;
use crate::otp::Method as Factor;
use crate::platform::problem::{Failure, FieldError, Problem, Refusal};
use crate::platform::web::{ClientInfo, read_body};
use crate::profiles::SignUpFields;
use crate::sessions::{Kind, SessionCookies, Sessions};
use crate::users::{Identifier, Password};

/// What the pages of the door are made of.
#[derive(Clone)]
pub struct DoorPages {
    /// The door.
    pub auth: Auth,
    /// What is switched on.
    pub flags: Flags,
    /// Who is signed in.
    pub sessions: std::sync::Arc<Sessions>,
    /// What makes the pages.
    pub pages: Pages,
    /// The cookies of the door.
    pub door: Door,
    /// The cookie that carries the session.
    pub cookies: SessionCookies,
    /// Shortest password, to be told.
    pub min_length: usize,
    /// Where people go who came from nowhere in particular; none: the application has no pages beside these.
    pub home: Option<String>,
}

/// Each page, by what it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Page {
    SignIn,
    Otp,
    SignUp,
    Verify,
    Forgot,
    Reset,
}

/// Where each page stands; S1's names lead to the same ones.
const PATHS: [(&str, Page); 10] = [
    ("/signin", Page::SignIn),
    ("/login", Page::SignIn),
    ("/otp", Page::Otp),
    ("/signup", Page::SignUp),
    ("/register", Page::SignUp),
    ("/verify", Page::Verify),
    ("/forgot-password/request", Page::Forgot),
    ("/reset-password/request", Page::Forgot),
    ("/forgot-password/reset", Page::Reset),
    ("/reset-password/reset", Page::Reset),
];

impl Page {
    /// The flag of the operation that the page is a form of. Signing in asks its own, when the password is known.
    const fn flag(self) -> Option<&'static str> {
        match self {
            Self::SignIn | Self::Otp => None,
            Self::SignUp => Some("REGISTER"),
            Self::Verify => Some("VERIFY_EMAIL"),
            Self::Forgot => Some("FORGOT_PASSWORD_REQUEST"),
            Self::Reset => Some("FORGOT_PASSWORD_RESET"),
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Asked {
    token: String,
    next: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct SignInForm {
    username: String,
    password: String,
    next: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct OtpForm {
    otp_code: String,
    next: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct SignUpForm {
    username: String,
    email: String,
    password: String,
    confirm_password: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct VerifyForm {
    token: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ForgotForm {
    username: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ResetForm {
    token: String,
    new_password: String,
    confirm_password: String,
}

impl DoorPages {
    /// Puts the pages on the route.
    #[must_use]
    pub fn on(&self, route: Route) -> Route {
        PATHS
            .iter()
            .fold(route, |route, (path, page)| route.at(*path, DoorPage { pages: self.clone(), page: *page }))
    }

    /// Every path with the methods that it takes.
    pub fn paths() -> impl Iterator<Item = &'static str> {
        PATHS.iter().map(|(path, _)| *path)
    }

    /// The page behind a verification link: one button.
    #[must_use]
    pub fn verify_page(&self, token: &str) -> Response {
        let shown = context! { title => "Prove your address", token => token };
        self.pages.page(StatusCode::OK, "verify.html", shown)
    }

    /// Signs in by a form, with whatever comes next: the second factor, or the page that was asked for.
    pub async fn sign_in(
        &self,
        request: &Request,
        client: ClientInfo,
        (username, password): (String, &str),
        next: &str,
    ) -> Result<Response, Problem> {
        let wrong = || {
            Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "validation_failed",
                "The user name or the password is wrong.",
            )
        };
        let password = Password::parse(password).map_err(|_| wrong())?;
        let device = self.door.device(request).map(str::to_owned);
        let who = Credentials { identifier: username, password, kind: Kind::Cookie, client, device };
        match self.auth.sign_in(who).await.map_err(|failure| failure.problem())? {
            Admission::In(signed_in) => Ok(self.signed_in(&signed_in, next)),
            Admission::Challenged(challenged) => Ok(self.challenged(&challenged, next)),
        }
    }

    fn signed_in(&self, signed_in: &SignedIn, next: &str) -> Response {
        let mut response = self.onward(next, "You are signed in.");
        let cookies = [self.cookies.set(signed_in.session.secret.expose()), self.door.known(signed_in)];
        let cookies = cookies.into_iter().flatten().map(|cookie| (header::SET_COOKIE, cookie));
        response.headers_mut().extend(cookies);
        response
    }

    fn challenged(&self, challenged: &Challenged, next: &str) -> Response {
        let by_mail = challenged.method == Factor::Email;
        let mut response = self.otp_form(StatusCode::OK, next, by_mail, "");
        response
            .headers_mut()
            .extend(self.door.challenged(challenged).map(|cookie| (header::SET_COOKIE, cookie)));
        response
    }

    /// To a page of this very server, or home; without either, says what was done.
    fn onward(&self, next: &str, done: &str) -> Response {
        let place = if is_own_path(next) { Some(next) } else { self.home.as_deref() };
        let Some(location) = place.and_then(|place| HeaderValue::try_from(place).ok()) else {
            return self.pages.message(StatusCode::OK, "Done", done);
        };
        let mut response = Response::builder().status(StatusCode::SEE_OTHER).finish();
        response.headers_mut().insert(header::LOCATION, location);
        response
    }

    async fn show(&self, page: Page, request: &Request) -> Response {
        let asked = request.params::<Asked>().unwrap_or_default();
        match page {
            Page::SignIn => self.sign_in_form(StatusCode::OK, &asked.next, ""),
            Page::Otp if self.door.challenge(request).is_some() => {
                self.otp_form(StatusCode::OK, &asked.next, false, "")
            }
            Page::Otp => self.onward("/signin", ""),
            Page::SignUp => self.sign_up_form(StatusCode::OK, "", "", &[]),
            Page::Verify => self.verify_page(&asked.token),
            Page::Forgot => self.forgot_form(StatusCode::OK, ""),
            Page::Reset => self.reset_form(StatusCode::OK, &asked.token, &[]),
        }
    }

    async fn take(&self, page: Page, request: &mut Request) -> poem::Result<Response> {
        if self.sessions.is_same_origin(request.headers()) != Some(true) {
            // Another site must not sign a visitor in, or up; a browser says where a form comes from.
            let words = "This form was not sent by one of our pages.";
            return Err(Problem::new(StatusCode::FORBIDDEN, "forbidden", words).into());
        }
        let client = ClientInfo::from_request_without_body(request).await?;
        match page {
            Page::SignIn => self.take_sign_in(request, client).await,
            Page::Otp => self.take_otp(request, client).await,
            Page::SignUp => self.take_sign_up(request, client).await,
            Page::Verify => self.take_verify(request, client).await,
            Page::Forgot => self.take_forgot(request, client).await,
            Page::Reset => self.take_reset(request, client).await,
        }
    }

    async fn take_sign_in(&self, request: &mut Request, client: ClientInfo) -> poem::Result<Response> {
        let form: SignInForm = form(request).await?;
        match self.sign_in(request, client, (form.username, &form.password), &form.next).await {
            Ok(response) => Ok(response),
            Err(problem) => {
                let page = self.sign_in_form(problem.status, &form.next, &problem.detail);
                Ok(with_headers(page, problem))
            }
        }
    }

    async fn take_otp(&self, request: &mut Request, client: ClientInfo) -> poem::Result<Response> {
        let form: OtpForm = form(request).await?;
        let Some(token) = self.door.challenge(request).map(str::to_owned) else {
            return Ok(self.onward("/signin", ""));
        };
        let device = self.door.device(request).map(str::to_owned);
        let answer = SecondFactor { token, code: form.otp_code, client, device };
        match self.auth.answer(answer).await {
            Ok(Admission::In(signed_in)) => {
                let mut response = self.signed_in(&signed_in, &form.next);
                let answered = self.door.answered().map(|cookie| (header::SET_COOKIE, cookie));
                response.headers_mut().extend(answered);
                Ok(response)
            }
            Ok(Admission::Challenged(challenged)) => Ok(self.challenged(&challenged, &form.next)),
            Err(failure) => {
                let problem = failure.problem();
                let page = self.otp_form(problem.status, &form.next, false, &problem.detail);
                Ok(with_headers(page, problem))
            }
        }
    }

    async fn take_sign_up(&self, request: &mut Request, client: ClientInfo) -> poem::Result<Response> {
        let given: SignUpForm = form(request).await?;
        let fields = SignUpFields {
            username: &given.username,
            email: Some(&given.email),
            display_name: None,
            first_name: None,
            middle_name: None,
            last_name: None,
        };
        let read = fields.read(&given.password, &given.confirm_password, self.auth.user_settings());
        let (new, password) = match read {
            Ok(read) => read,
            Err(errors) => return Ok(self.sign_up_again(&given, StatusCode::UNPROCESSABLE_ENTITY, &errors)),
        };
        match self.auth.sign_up(SignUp { new, password, client, kind: Kind::Cookie }).await {
            Ok(SignedUp::In(signed_in)) => Ok(self.signed_in(&signed_in, "")),
            Ok(SignedUp::ToProve) => {
                Ok(self.look_into_your_mail("Follow the link in it to finish signing up."))
            }
            Err(Failure::Refused(SignUpRefusal::Invalid(errors))) => {
                Ok(self.sign_up_again(&given, StatusCode::UNPROCESSABLE_ENTITY, &errors))
            }
            Err(failure) => {
                let problem = failure.problem();
                let error = FieldError::new("", problem.detail.clone());
                Ok(with_headers(self.sign_up_again(&given, problem.status, &[error]), problem))
            }
        }
    }

    async fn take_verify(&self, request: &mut Request, client: ClientInfo) -> poem::Result<Response> {
        let form: VerifyForm = form(request).await?;
        match self.auth.verify(&form.token, client).await {
            Ok(_) => match &self.home {
                Some(_) => Ok(self.onward("", "")),
                None => {
                    Ok(self.pages.linking("Done", "The address is proved to be yours.", "/signin", "Sign in"))
                }
            },
            Err(Failure::Refused(refusal)) => Ok(self.refused_link(&VerifyRefusal::problem(&refusal))),
            Err(broken) => Err(broken.into()),
        }
    }

    async fn take_forgot(&self, request: &mut Request, client: ClientInfo) -> poem::Result<Response> {
        let form: ForgotForm = form(request).await?;
        if form.username.trim().is_empty() {
            return Ok(self.forgot_form(StatusCode::UNPROCESSABLE_ENTITY, "Please fill in the field."));
        }
        match self.auth.forgot(&Identifier::parse(&form.username), client).await {
            Ok(()) => {
                Ok(self
                    .look_into_your_mail("If there is such an account, it holds a link to a new password."))
            }
            Err(Failure::Refused(refusal)) => {
                let problem = AskRefusal::problem(&refusal);
                Ok(with_headers(self.forgot_form(problem.status, &problem.detail), problem))
            }
            Err(broken) => Err(broken.into()),
        }
    }

    async fn take_reset(&self, request: &mut Request, client: ClientInfo) -> poem::Result<Response> {
        let form: ResetForm = form(request).await?;
        let again =
            |errors: &[FieldError]| self.reset_form(StatusCode::UNPROCESSABLE_ENTITY, &form.token, errors);
        if form.new_password != form.confirm_password {
            return Ok(again(&[FieldError::new("", "The two passwords differ.")]));
        }
        let new = match Password::parse(&form.new_password) {
            Ok(new) => new,
            Err(invalid) => return Ok(again(&[FieldError::new("new_password", invalid.into_words())])),
        };
        match self.auth.reset(&form.token, &new, client).await {
            Ok(()) => {
                let words = "Your new password counts from now on, and you were signed out everywhere.";
                Ok(self.pages.linking("Password changed", words, "/signin", "Sign in"))
            }
            Err(Failure::Refused(ResetRefusal::Fields(errors))) => Ok(again(&errors)),
            Err(Failure::Refused(refusal)) => Ok(self.refused_link(&refusal.problem())),
            Err(broken) => Err(broken.into()),
        }
    }

    fn refused_link(&self, problem: &Problem) -> Response {
        self.pages.message(problem.status, "That did not work", &problem.detail)
    }

    fn look_into_your_mail(&self, words: &str) -> Response {
        self.pages.message(StatusCode::ACCEPTED, "Look into your mail", words)
    }

    fn sign_in_form(&self, status: StatusCode, next: &str, error: &str) -> Response {
        let shown = context! {
            title => "Sign in", words => "", error => error, action => "/signin", next => kept(next), links => true,
        };
        self.pages.page(status, "sign-in.html", shown)
    }

    fn otp_form(&self, status: StatusCode, next: &str, by_mail: bool, error: &str) -> Response {
        let words = if by_mail {
            "We have sent you a mail with a code."
        } else {
            "Enter the code of your authenticator or of our mail, or a recovery code."
        };
        let shown = context! { title => "Second factor", words => words, error => error, next => kept(next) };
        self.pages.page(status, "otp.html", shown)
    }

    fn sign_up_again(&self, given: &SignUpForm, status: StatusCode, errors: &[FieldError]) -> Response {
        self.sign_up_form(status, &given.username, &given.email, errors)
    }

    fn sign_up_form(
        &self,
        status: StatusCode,
        username: &str,
        email: &str,
        errors: &[FieldError],
    ) -> Response {
        let shown = context! {
            title => "Sign up", username => username, email => email,
            min_length => self.min_length, problems => sentences(errors),
        };
        self.pages.page(status, "sign-up.html", shown)
    }

    fn forgot_form(&self, status: StatusCode, error: &str) -> Response {
        self.pages.page(status, "forgot.html", context! { title => "Forgotten password", error => error })
    }

    fn reset_form(&self, status: StatusCode, token: &str, errors: &[FieldError]) -> Response {
        let shown = context! {
            title => "New password", token => token, min_length => self.min_length, problems => sentences(errors),
        };
        self.pages.page(status, "reset.html", shown)
    }
}

/// One page on its route.
struct DoorPage {
    pages: DoorPages,
    page: Page,
}

impl Endpoint for DoorPage {
    type Output = Response;

    async fn call(&self, mut request: Request) -> poem::Result<Response> {
        if let Some(flag) = self.page.flag() {
            self.pages.flags.require(flag, &request).await?;
        }
        match *request.method() {
            Method::GET => Ok(self.pages.show(self.page, &request).await),
            Method::POST => self.pages.take(self.page, &mut request).await,
            _ => Err(MethodNotAllowedError.into()),
        }
    }
}

/// The fields of a form; a field left out is empty.
async fn form<T: DeserializeOwned + Default>(request: &mut Request) -> poem::Result<T> {
    let mut body = RequestBody::new(request.take_body());
    let text = read_body(request, &mut body).await?;
    Ok(serde_urlencoded::from_bytes(&text).unwrap_or_default())
}

fn with_headers(mut page: Response, problem: Problem) -> Response {
    let headers = problem.headers.into_iter().filter(|(name, _)| *name == header::RETRY_AFTER);
    page.headers_mut().extend(headers.map(|(name, value)| (Some(name), value)));
    page
}

fn sentences(errors: &[FieldError]) -> Vec<String> {
    let sentence = |error: &FieldError| match error.field.as_str() {
        "" => error.message.clone(),
        field => format!("{}: {}", field.replace('_', " "), error.message),
    };
    errors.iter().map(sentence).collect()
}

/// What a form carries on of where somebody wants to go.
fn kept(next: &str) -> &str {
    if is_own_path(next) { next } else { "" }
}

/// Whether this leads to a page of this very server: an absolute path, of plain characters. Browsers read a
/// backslash as a slash, and drop tabs and line ends.
fn is_own_path(next: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~?&=%".contains(&byte);
    next.len() <= 512
        && next.starts_with('/')
        && !next.starts_with("//")
        && !next.contains("/.")
        && next.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pages_of_this_server_are_gone_back_to() {
        for own in ["/interactive-docs", "/account?tab=sessions", "/"] {
            assert!(is_own_path(own), "{own}");
        }
        for foreign in [
            "",
            "//evil.test",
            "/\\evil.test",
            "\\/\\/evil",
            "https:evil",
            "https://evil",
            "/\t/evil",
            "/%0d\n",
            "javascript:alert(1)",
            "///evil",
            "/.//evil",
            "/a/../..//evil",
            "evil",
            "/ä",
        ] {
            assert!(!is_own_path(foreign), "{foreign:?}");
        }
        assert!(!is_own_path(&format!("/{}", "a".repeat(8192))));
    }
}
