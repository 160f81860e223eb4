//! The pages of the door: signing in and up, the second factor, the proof of an address, the forgotten password.
//!
//! Plain forms that need no script. What a link carries is only shown and handed on by its button, so that whatever
//! looks at links beforehand uses none of them up.

use minijinja::context;
use poem::error::MethodNotAllowedError;
use poem::http::{Method, StatusCode, header};
use poem::{Endpoint, FromRequest, Request, Response, Route};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::form_urlencoded;

use super::faults::{self, FORGOT, Fault, NEW_ACCOUNT, OTP, RESET, SIGN_IN, VERIFY_REQUEST};
use super::{Pages, back, foreign_form, read_form, see_other};
use crate::auth::{
    Admission, AskRefusal, Auth, Challenged, Credentials, Door, ResetRefusal, SecondFactor, SignUp,
    SignUpRefusal, SignedIn, SignedUp, VerifyRefusal,
};
use crate::flags::Flags;
use crate::oauth::{Place, Places, Trouble};
use crate::otp::Method as Factor;
use crate::platform::problem::{Breakage, Failure, FieldError, Problem, Refusal};
use crate::platform::web::{ClientInfo, is_own_path};
use crate::profiles::SignUpFields;
use crate::sessions::{Kind, SessionCookies, Sessions, add_cookies};
use crate::users::{Email, Identifier, Password};

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
    /// Where somebody may be sent back to.
    pub places: Places,
    /// Where whoever reads the pages wants to go back to.
    pub back: Option<Place>,
}

/// Each page, by what it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Page {
    SignIn,
    Otp,
    SignUp,
    Verify,
    VerifyRequest,
    Forgot,
    Reset,
}

/// Where each page stands; S1's names lead to the same ones.
const PATHS: [(&str, Page); 11] = [
    ("/signin", Page::SignIn),
    ("/login", Page::SignIn),
    ("/otp", Page::Otp),
    ("/signup", Page::SignUp),
    ("/register", Page::SignUp),
    ("/verify", Page::Verify),
    ("/verify/request", Page::VerifyRequest),
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
            Self::VerifyRequest => Some("REQUEST_EMAIL_VERIFICATION"),
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
    error: String,
    done: String,
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
    next: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct VerifyForm {
    token: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct VerifyRequestForm {
    email: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ForgotForm {
    username: String,
    next: String,
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

    /// Every path.
    pub fn paths() -> impl Iterator<Item = &'static str> {
        PATHS.iter().map(|(path, _)| *path)
    }

    /// The same for whoever sent this request.
    #[must_use]
    pub fn read_by(&self, request: &Request) -> Self {
        let back = back::kept(request, &self.places);
        Self { pages: self.pages.of(request), back, ..self.clone() }
    }

    /// The page behind a verification link: one button.
    #[must_use]
    pub fn verify_page(&self, request: &Request, token: &str) -> Response {
        self.read_by(request).proof(token)
    }

    /// The same where a form was sent to this page: links to other languages lead to the page, and from there to `next`.
    fn after(&self, page: &str, next: &str) -> Self {
        Self { pages: self.pages.at(with_next(page, next)), ..self.clone() }
    }

    fn proof(&self, token: &str) -> Response {
        self.pages.page(StatusCode::OK, "verify.html", context! { token => token })
    }

    /// Signs in by a form, with whatever comes next: the second factor, or the page that was asked for.
    async fn sign_in(
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
        let mut response = self.onward(next);
        let cookies = [self.cookies.set(signed_in.session.secret.expose()), self.door.known(signed_in)];
        add_cookies(response.headers_mut(), cookies.into_iter().flatten());
        response
    }

    /// On to the page of the second factor: a page that answers the password itself would have it sent again by whoever
    /// loads that page anew. The challenge travels in its cookie alone.
    fn challenged(&self, challenged: &Challenged, next: &str) -> Response {
        let mut response = see_other(&with_next("/otp", next));
        add_cookies(response.headers_mut(), self.door.challenged(challenged));
        response
    }

    /// To a page of this very server, or back to where somebody came from, or home; without any, to their account.
    fn onward(&self, next: &str) -> Response {
        let back = self.back.as_ref().map(Place::as_str);
        let place = if is_own_path(next) { Some(next) } else { back.or(self.home.as_deref()) };
        let mut response = see_other(place.unwrap_or("/account"));
        if self.back.is_some() {
            add_cookies(response.headers_mut(), back::forget(self.door.secure));
        }
        response
    }

    async fn show(&self, page: Page, request: &Request) -> poem::Result<Response> {
        let asked = request.params::<Asked>().unwrap_or_default();
        let shown = match page {
            Page::SignIn => {
                let trouble =
                    Trouble::words_of(&asked.error).map(|words| Fault::of(&[], self.pages.said(words)));
                let form = SignInForm { next: asked.next, ..SignInForm::default() };
                self.sign_in_form(StatusCode::OK, &form, trouble.as_slice(), self.done(&asked.done))
            }
            Page::Otp => self.show_otp(request, &asked.next).await?,
            Page::SignUp => self.sign_up_form(
                StatusCode::OK,
                &SignUpForm { next: asked.next, ..SignUpForm::default() },
                &[],
            ),
            Page::Verify => self.proof(&asked.token),
            Page::VerifyRequest => self.verify_request_form(StatusCode::OK, "", &[]),
            Page::Forgot => self.forgot_form(StatusCode::OK, &asked.next, &[]),
            Page::Reset => self.reset_form(StatusCode::OK, &asked.token, &[]),
        };
        Ok(shown)
    }

    async fn show_otp(&self, request: &Request, next: &str) -> poem::Result<Response> {
        let Some(token) = self.door.challenge(request) else {
            return Ok(see_other(&with_next("/signin", next)));
        };
        let factor = self.auth.factor_asked_for(token, Kind::Cookie).await;
        let factor = factor.map_err(|error| Breakage::from(error).problem())?;
        Ok(self.otp_form(StatusCode::OK, next, factor == Some(Factor::Email), &[]))
    }

    async fn take(&self, page: Page, request: &mut Request) -> poem::Result<Response> {
        if self.sessions.is_same_origin(request.headers()) != Some(true) {
            // Another site must not sign a visitor in, or up; a browser says where a form comes from.
            return Err(foreign_form().into());
        }
        let client = ClientInfo::from_request_without_body(request).await?;
        match page {
            Page::SignIn => self.take_sign_in(request, client).await,
            Page::Otp => self.take_otp(request, client).await,
            Page::SignUp => self.take_sign_up(request, client).await,
            Page::Verify => self.take_verify(request, client).await,
            Page::VerifyRequest => self.take_verify_request(request, client).await,
            Page::Forgot => self.take_forgot(request, client).await,
            Page::Reset => self.take_reset(request, client).await,
        }
    }

    async fn take_sign_in(&self, request: &mut Request, client: ClientInfo) -> poem::Result<Response> {
        let form: SignInForm = form(request).await?;
        let who = (form.username.clone(), form.password.as_str());
        match self.sign_in(request, client, who, &form.next).await {
            Ok(response) => Ok(response),
            Err(problem) => {
                let again = self.after("/signin", &form.next);
                let fields: &[&str] = match problem.code {
                    "invalid_credentials" | "validation_failed" => &["username", "password"],
                    _ => &[],
                };
                let fault = Fault::of(fields, self.pages.said(&problem.detail));
                let page = again.sign_in_form(problem.status, &form, &[fault], "");
                Ok(with_headers(page, problem))
            }
        }
    }

    async fn take_otp(&self, request: &mut Request, client: ClientInfo) -> poem::Result<Response> {
        let form: OtpForm = form(request).await?;
        let Some(token) = self.door.challenge(request).map(str::to_owned) else {
            return Ok(see_other(&with_next("/signin", &form.next)));
        };
        let device = self.door.device(request).map(str::to_owned);
        let kind = Kind::Cookie;
        let answer = SecondFactor { token, code: form.otp_code, client, device, kind };
        match self.auth.answer(answer).await {
            Ok(Admission::In(signed_in)) => {
                let mut response = self.signed_in(&signed_in, &form.next);
                add_cookies(response.headers_mut(), self.door.answered());
                Ok(response)
            }
            Ok(Admission::Challenged(challenged)) => Ok(self.challenged(&challenged, &form.next)),
            Err(failure) => {
                let problem = failure.problem();
                let again = self.after("/otp", &form.next);
                let fields: &[&str] = if problem.code == "invalid_otp" { &["otp_code"] } else { &[] };
                let fault = Fault::of(fields, self.pages.said(&problem.detail));
                let page = again.otp_form(problem.status, &form.next, false, &[fault]);
                Ok(with_headers(page, problem))
            }
        }
    }

    async fn take_sign_up(&self, request: &mut Request, client: ClientInfo) -> poem::Result<Response> {
        let given: SignUpForm = form(request).await?;
        let again = self.after("/signup", &given.next);
        let fields =
            SignUpFields { username: &given.username, email: Some(&given.email), ..SignUpFields::default() };
        let read = fields.read(&given.password, &given.confirm_password, self.auth.user_settings());
        let (new, password) = match read {
            Ok(read) => read,
            Err(errors) => {
                let errors = faults::with_length(errors, "password", &given.password, self.min_length);
                return Ok(again.sign_up_form(StatusCode::UNPROCESSABLE_ENTITY, &given, &errors));
            }
        };
        match self.auth.sign_up(SignUp { new, password, client, kind: Kind::Cookie }).await {
            Ok(SignedUp::In(signed_in)) => Ok(self.signed_in(&signed_in, &given.next)),
            Ok(SignedUp::ToProve) => Ok(again.look_into_your_mail("door.mail_to_finish")),
            Err(Failure::Refused(SignUpRefusal::Invalid(errors))) => {
                Ok(again.sign_up_form(StatusCode::UNPROCESSABLE_ENTITY, &given, &errors))
            }
            Err(failure) => {
                let problem = failure.problem();
                let error = faults::not_made(&problem);
                Ok(with_headers(again.sign_up_form(problem.status, &given, &[error]), problem))
            }
        }
    }

    async fn take_verify(&self, request: &mut Request, client: ClientInfo) -> poem::Result<Response> {
        let form: VerifyForm = form(request).await?;
        match self.auth.verify(&form.token, client).await {
            Ok(_) => match &self.home {
                Some(home) => Ok(see_other(home)),
                None => Ok(self.pages.linking("door.done", "door.proved", "/signin", "door.sign_in")),
            },
            Err(Failure::Refused(refusal)) => {
                let onward = match &refusal {
                    VerifyRefusal::UsernameTaken => ("/signup", "door.sign_up"),
                    VerifyRefusal::EmailTaken => ("/signin", "door.sign_in"),
                    _ => ("/verify/request", "door.another_link"),
                };
                Ok(self.refused_link(&refusal.problem(), onward))
            }
            Err(broken) => Err(broken.into()),
        }
    }

    async fn take_verify_request(&self, request: &mut Request, client: ClientInfo) -> poem::Result<Response> {
        let form: VerifyRequestForm = form(request).await?;
        let email = match Email::parse(&form.email) {
            Ok(email) => email,
            Err(invalid) => {
                let faults = self.pages.faults(&[FieldError::new("email", invalid.into_words())]);
                return Ok(self.verify_request_form(StatusCode::UNPROCESSABLE_ENTITY, &form.email, &faults));
            }
        };
        match self.auth.ask_for_verification(&email, client).await {
            Ok(()) => Ok(self.look_into_your_mail("door.mail_to_prove")),
            Err(Failure::Refused(refusal)) => {
                let problem = AskRefusal::problem(&refusal);
                let fault = Fault::of(&[], self.pages.said(&problem.detail));
                Ok(with_headers(self.verify_request_form(problem.status, &form.email, &[fault]), problem))
            }
            Err(broken) => Err(broken.into()),
        }
    }

    async fn take_forgot(&self, request: &mut Request, client: ClientInfo) -> poem::Result<Response> {
        let form: ForgotForm = form(request).await?;
        let again = self.after("/forgot-password/request", &form.next);
        if form.username.trim().is_empty() {
            let fault = Fault::of(&["username"], self.pages.word("door.fill_in"));
            return Ok(again.forgot_form(StatusCode::UNPROCESSABLE_ENTITY, &form.next, &[fault]));
        }
        let device = self.door.device(request).map(str::to_owned);
        match self.auth.forgot(&Identifier::parse(&form.username), client, device.as_deref()).await {
            Ok(()) => Ok(again.look_into_your_mail("door.mail_to_reset")),
            Err(Failure::Refused(refusal)) => {
                let problem = AskRefusal::problem(&refusal);
                let fault = Fault::of(&[], self.pages.said(&problem.detail));
                Ok(with_headers(again.forgot_form(problem.status, &form.next, &[fault]), problem))
            }
            Err(broken) => Err(broken.into()),
        }
    }

    async fn take_reset(&self, request: &mut Request, client: ClientInfo) -> poem::Result<Response> {
        let form: ResetForm = form(request).await?;
        let again =
            |errors: &[FieldError]| self.reset_form(StatusCode::UNPROCESSABLE_ENTITY, &form.token, errors);
        let differ = (form.new_password != form.confirm_password)
            .then(|| FieldError::new("confirm_password", self.pages.word("door.differ").to_owned()));
        let new = match Password::parse(&form.new_password) {
            Ok(new) if differ.is_none() => new,
            read => {
                let invalid = read.err().map(|invalid| FieldError::new("new_password", invalid.into_words()));
                let errors = invalid.into_iter().chain(differ).collect();
                return Ok(again(&faults::with_length(
                    errors,
                    "new_password",
                    &form.new_password,
                    self.min_length,
                )));
            }
        };
        match self.auth.reset(&form.token, &new, client).await {
            Ok(()) => Ok(self.pages.linking(
                "door.password_changed",
                "door.password_counts",
                "/signin",
                "door.sign_in",
            )),
            Err(Failure::Refused(ResetRefusal::Fields(errors))) => Ok(again(&errors)),
            Err(Failure::Refused(refusal)) => {
                let onward = match &refusal {
                    ResetRefusal::Invalid => ("/forgot-password/request", "door.another_link"),
                    _ => ("", ""), // the link is as good as before
                };
                Ok(self.refused_link(&refusal.problem(), onward))
            }
            Err(broken) => Err(broken.into()),
        }
    }

    /// What came of a mailed link instead, and where to go on: a page and what its link is called, or nowhere.
    fn refused_link(&self, problem: &Problem, onward: (&str, &str)) -> Response {
        let words = self.pages.said(&problem.detail);
        self.pages.leading(problem.status, "door.did_not_work", &words, onward)
    }

    fn look_into_your_mail(&self, words: &str) -> Response {
        self.pages.message(StatusCode::ACCEPTED, "door.look_into_mail", words)
    }

    /// What is said of what was just done, by the address that somebody comes from.
    fn done(&self, done: &str) -> &str {
        match done {
            "signed_out" => self.pages.word("flash.signed_out"),
            "deleted" => self.pages.word("flash.deleted"),
            _ => "",
        }
    }

    fn sign_in_form(&self, status: StatusCode, given: &SignInForm, faults: &[Fault], done: &str) -> Response {
        let shown = context! {
            done => done, username => &given.username, next => kept(&given.next),
            buttons => self.buttons(&given.next), links => links(&given.next),
            ..faults::shown(SIGN_IN, faults)
        };
        self.pages.page(status, "sign-in.html", shown)
    }

    fn otp_form(&self, status: StatusCode, next: &str, by_mail: bool, faults: &[Fault]) -> Response {
        let words = self.pages.word(if by_mail { "otp.by_mail" } else { "otp.words" });
        let shown = context! {
            words => words, next => kept(next), links => links(next), ..faults::shown(OTP, faults)
        };
        self.pages.page(status, "otp.html", shown)
    }

    fn sign_up_form(&self, status: StatusCode, given: &SignUpForm, errors: &[FieldError]) -> Response {
        let shown = context! {
            username => &given.username, email => &given.email, next => kept(&given.next),
            min_length => self.min_length, buttons => self.buttons(&given.next), links => links(&given.next),
            ..faults::shown(NEW_ACCOUNT, &self.pages.faults(errors))
        };
        self.pages.page(status, "sign-up.html", shown)
    }

    /// Links, not forms: what a form may lead to is bounded (`form-action`), and a link needs no script.
    fn buttons(&self, next: &str) -> Vec<minijinja::Value> {
        // These pages sign in by the cookie, so it is a page of ours that people come back to.
        let back = self.back.as_ref().map_or("/account", Place::as_str);
        let place = if kept(next).is_empty() { back } else { next };
        let usable = self.auth.providers().filter(|(_, _, usable)| *usable);
        let button = |(name, shown_name, _): (&str, &str, bool)| {
            let query =
                form_urlencoded::Serializer::new(String::new()).append_pair("redirect_uri", place).finish();
            context! { name => shown_name, href => format!("{}/oauth/{name}?{query}", self.pages.api_prefix()) }
        };
        usable.map(button).collect()
    }

    fn verify_request_form(&self, status: StatusCode, email: &str, faults: &[Fault]) -> Response {
        let shown = context! { email => email, ..faults::shown(VERIFY_REQUEST, faults) };
        self.pages.page(status, "verify-request.html", shown)
    }

    fn forgot_form(&self, status: StatusCode, next: &str, faults: &[Fault]) -> Response {
        let shown = context! {
            next => kept(next), links => links(next), ..faults::shown(FORGOT, faults)
        };
        self.pages.page(status, "forgot.html", shown)
    }

    fn reset_form(&self, status: StatusCode, token: &str, errors: &[FieldError]) -> Response {
        let shown = context! {
            token => token, min_length => self.min_length,
            ..faults::shown(RESET, &self.pages.faults(errors))
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
        let pages = self.pages.read_by(&request);
        match *request.method() {
            Method::GET => pages.show(self.page, &request).await,
            Method::POST => pages.take(self.page, &mut request).await,
            _ => Err(MethodNotAllowedError.into()),
        }
    }
}

/// The fields of a form; a field left out is empty.
async fn form<T: DeserializeOwned + Default>(request: &mut Request) -> poem::Result<T> {
    Ok(read_form(request).await?.unwrap_or_default())
}

fn with_headers(mut page: Response, problem: Problem) -> Response {
    let headers = problem.headers.into_iter().filter(|(name, _)| *name == header::RETRY_AFTER);
    page.headers_mut().extend(headers.map(|(name, value)| (Some(name), value)));
    page
}

/// What a form carries on of where somebody wants to go.
fn kept(next: &str) -> &str {
    if is_own_path(next) { next } else { "" }
}

/// The other pages of the door, which carry on where somebody wants to go.
fn links(next: &str) -> minijinja::Value {
    context! {
        sign_in => with_next("/signin", next), sign_up => with_next("/signup", next),
        forgot => with_next("/forgot-password/request", next),
    }
}

/// A page of the door that carries on where somebody wants to go.
fn with_next(page: &str, next: &str) -> String {
    let page = Place::Own(page.to_owned());
    if is_own_path(next) { page.with(&[("next", next)]) } else { page.with(&[]) }
}
