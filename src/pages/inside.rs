//! The way into pages for those who are signed in by the cookie. Others are sent to the sign-in page and come back.

use std::sync::Arc;

use poem::http::{HeaderValue, StatusCode, header};
use poem::{Request, Response};
use sea_orm::DbErr;
use url::form_urlencoded;

use super::{Pages, Person, Reader, console};
use crate::permissions::{Action, Context, Gate, Resource, Subject};
use crate::platform::problem::Breakage;
use crate::platform::web::is_own_path;
use crate::sessions::{Enrolling, Sessions};
use crate::users::Users;
use crate::users::store::user;

/// What pages for those who are signed in are made of.
#[derive(Clone)]
pub struct Inside {
    /// Who is signed in.
    pub sessions: Arc<Sessions>,
    /// Who may do what.
    pub gate: Arc<Gate>,
    /// Who has an account.
    pub users: Users,
    /// What makes the pages.
    pub pages: Pages,
}

/// Somebody who is signed in and looks at a page.
pub struct SignedIn {
    /// Who is calling. Whose role needs a second factor that they don't have is here, too: see [`Self::may`].
    pub caller: Enrolling,
    /// Their account.
    pub user: user::Model,
    /// What makes pages for them, in their language, with their name in the frame.
    pub pages: Pages,
}

impl Inside {
    /// Whoever is signed in, or where the request is sent instead.
    pub async fn enter(&self, request: &Request) -> poem::Result<Result<SignedIn, Response>> {
        let Some(caller) = Enrolling::of_any(request).await? else { return Ok(Err(to_sign_in(request))) };
        let found = self.users.by_id(caller.user_id).await;
        let found = found.map_err(|error| Breakage::from(error).problem())?;
        let Some(user) = found else { return Ok(Err(to_sign_in(request))) };
        let mut reader = Reader::of(request, user.locale.as_deref());
        let mut signed_in = SignedIn { caller, user, pages: self.pages.clone() };
        let proofs =
            self.proofs_of(&signed_in.user).await.map_err(|error| Breakage::from(error).problem())?;
        reader.person = Some(Person {
            proofs,
            name: signed_in.user.display_name.clone(),
            uuid: signed_in.user.id.to_string(),
            csrf_token: self.sessions.csrf_token(signed_in.caller.session_id).expose().to_owned(),
            console: console::is_open_to(&self.gate, &signed_in),
        });
        signed_in.pages = self.pages.read_by(reader);
        Ok(Ok(signed_in))
    }

    async fn proofs_of(&self, user: &user::Model) -> Result<Vec<String>, DbErr> {
        if user.password_hash.is_some() {
            return Ok(Vec::new());
        }
        let linked = self.users.external_of(&[user.id]).await?.remove(&user.id).unwrap_or_default();
        Ok(linked.into_iter().map(|account| account.provider).collect())
    }
}

impl SignedIn {
    /// Whether they may do this to the system. Whose role needs a second factor may nothing before they have one.
    #[must_use]
    pub fn may(&self, gate: &Gate, action: Action) -> bool {
        let subject = Subject::from(&*self.caller);
        !self.caller.needs_second_factor() && gate.allows_on_system(&subject, action)
    }

    /// The same of their own account.
    #[must_use]
    pub fn may_to_oneself(&self, gate: &Gate, action: Action) -> bool {
        let (subject, own) = (Subject::from(&*self.caller), Resource::Account(self.user.account()));
        !self.caller.needs_second_factor() && gate.allows(&subject, action, &own, Context::default())
    }
}

/// To the sign-in page, and from there back to where the request wanted to go.
#[must_use]
pub fn to_sign_in(request: &Request) -> Response {
    let here = request.uri().path_and_query().map_or("/", |place| place.as_str());
    let here = Some(here).filter(|here| is_own_path(here)).unwrap_or("/account");
    let query = form_urlencoded::Serializer::new(String::new()).append_pair("next", here).finish();
    see_other(&format!("/signin?{query}"))
}

/// On to another page.
#[must_use]
pub fn see_other(place: &str) -> Response {
    let mut response = Response::builder().status(StatusCode::SEE_OTHER).finish();
    if let Ok(location) = HeaderValue::try_from(place) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}
