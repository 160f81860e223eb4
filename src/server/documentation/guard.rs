//! Who may see the documentation, and the sign-in before the part that sends requests.

use std::sync::Arc;

use minijinja::context;
use poem::http::{Method, StatusCode};
use poem::{Endpoint, FromRequest, Request, Response, Route};
use serde::Deserialize;

use super::Documentation;
use crate::pages::{DoorPages, Pages, foreign_form, read_form};
use crate::permissions::{Action, Context, Gate, Resource, Subject, forbidden};
use crate::platform::problem::Problem;
use crate::platform::web::ClientInfo;
use crate::sessions::{Caller, Sessions};

const INTERACTIVE: &str = "/interactive-docs";

/// The documentation with its guards.
#[derive(Clone)]
pub struct Guarded {
    /// What is guarded.
    pub documentation: Arc<Documentation>,
    /// The pages of the door.
    pub door: DoorPages,
    /// Who is signed in.
    pub sessions: Arc<Sessions>,
    /// Who may see what.
    pub gate: Arc<Gate>,
    /// What makes the sign-in page.
    pub pages: Pages,
    /// Whether everybody may read the documentation (`PUBLIC_API_DOCS`).
    pub public: bool,
    /// Whether trying it out needs docs:swagger (`PROTECTED_INTERACTIVE_DOCS`).
    pub protected_interactive: bool,
}

/// Which of the pages.
#[derive(Clone, Copy)]
enum Page {
    Document,
    Reference,
    Interactive,
    Alias,
}

#[derive(Deserialize)]
struct Given {
    username: String,
    password: String,
}

impl Guarded {
    /// Puts the pages on the route; an alias below the API's prefix leads to `/docs`.
    #[must_use]
    pub fn on(&self, route: Route, api_prefix: &str) -> Route {
        let at = |page| Answer { guarded: self.clone(), page };
        let route = self.documentation.assets_on(route);
        let route = route.at("/openapi.json", at(Page::Document)).at("/docs", at(Page::Reference));
        let route = route.at(INTERACTIVE, at(Page::Interactive));
        if api_prefix.is_empty() { route } else { route.at(format!("{api_prefix}/docs"), at(Page::Alias)) }
    }

    async fn reading(
        &self,
        request: &Request,
        answer: impl AsyncFnOnce() -> Response,
    ) -> poem::Result<Response> {
        if !self.public {
            let caller = Caller::of(request).await?;
            if !self.allows(&caller, Action::DocsRedoc) {
                return Err(forbidden().into());
            }
        }
        Ok(answer().await)
    }

    async fn interactive(&self, request: &mut Request) -> poem::Result<Response> {
        if request.method() == Method::POST {
            return self.sign_in(request).await;
        }
        if !self.protected_interactive {
            return Ok(self.documentation.swagger_ui());
        }
        match Caller::of_any(request).await {
            Ok(Some(caller)) if self.allows(&caller, Action::DocsSwagger) => {
                Ok(self.documentation.swagger_ui())
            }
            Ok(Some(_)) => {
                let pages = self.pages.of(request);
                Ok(pages.message(StatusCode::FORBIDDEN, "docs.not_for_you", "docs.ask_an_admin"))
            }
            Ok(None) => Ok(form(&self.pages.of(request), StatusCode::OK, "")),
            Err(problem) => Err(problem.into()),
        }
    }

    async fn sign_in(&self, request: &mut Request) -> poem::Result<Response> {
        self.refuse_forgery(request)?;
        let client = ClientInfo::from_request_without_body(request).await?;
        let given = read_form::<Given>(request).await?;
        let pages = self.pages.of(request);
        let Some(given) = given else {
            return Ok(form(&pages, StatusCode::UNPROCESSABLE_ENTITY, pages.word("door.fill_in_both")));
        };
        let door = self.door.read_by(request);
        match door.sign_in(request, client, (given.username, &given.password), INTERACTIVE).await {
            Ok(response) => Ok(response),
            Err(problem) => {
                let mut page = form(&pages, problem.status, &pages.said(&problem.detail));
                page.headers_mut()
                    .extend(problem.headers.into_iter().map(|(name, value)| (Some(name), value)));
                Ok(page)
            }
        }
    }

    /// Another site must not sign a visitor in (as somebody else). Browsers say where a form comes from; one that
    /// doesn't is not served here.
    fn refuse_forgery(&self, request: &Request) -> Result<(), Problem> {
        if self.sessions.is_same_origin(request.headers()) == Some(true) {
            return Ok(());
        }
        Err(foreign_form())
    }

    fn allows(&self, caller: &Caller, action: Action) -> bool {
        self.gate.allows(&Subject::from(caller), action, &Resource::System, Context::default())
    }
}

fn form(pages: &Pages, status: StatusCode, error: &str) -> Response {
    let shown = context! {
        words => pages.word("docs.sign_in"), done => "", error => error, action => INTERACTIVE,
        next => "", links => false, buttons => Vec::<minijinja::Value>::new(),
    };
    pages.page(status, "sign-in.html", shown)
}

struct Answer {
    guarded: Guarded,
    page: Page,
}

impl Endpoint for Answer {
    type Output = Response;

    async fn call(&self, mut request: Request) -> poem::Result<Response> {
        let Self { guarded, page } = self;
        let documentation = &guarded.documentation;
        if request.method() != Method::GET
            && !matches!((page, request.method()), (Page::Interactive, &Method::POST))
        {
            return Err(poem::Error::from(poem::error::MethodNotAllowedError));
        }
        match page {
            Page::Document => {
                guarded.reading(&request, async || documentation.document(&request).await).await
            }
            Page::Reference => guarded.reading(&request, async || documentation.redoc()).await,
            Page::Interactive => guarded.interactive(&mut request).await,
            Page::Alias => Ok(documentation.to_docs()),
        }
    }
}
