//! Who may see the documentation. The part that sends requests is for those who are signed in.

use std::sync::Arc;

use poem::http::{Method, StatusCode};
use poem::{Endpoint, Request, Response, Route};

use super::Documentation;
use crate::pages::{Pages, to_sign_in};
use crate::permissions::{Action, Gate, Subject, forbidden};
use crate::sessions::Caller;

const INTERACTIVE: &str = "/interactive-docs";

/// The documentation with its guards.
#[derive(Clone)]
pub struct Guarded {
    /// What is guarded.
    pub documentation: Arc<Documentation>,
    /// Who may see what.
    pub gate: Arc<Gate>,
    /// What makes the page for those who may not.
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

    async fn interactive(&self, request: &Request) -> poem::Result<Response> {
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
            Ok(None) => Ok(to_sign_in(request)),
            Err(problem) => Err(problem.into()),
        }
    }

    fn allows(&self, caller: &Caller, action: Action) -> bool {
        self.gate.allows_on_system(&Subject::from(caller), action)
    }
}

struct Answer {
    guarded: Guarded,
    page: Page,
}

impl Endpoint for Answer {
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        let Self { guarded, page } = self;
        let documentation = &guarded.documentation;
        if request.method() != Method::GET {
            return Err(poem::Error::from(poem::error::MethodNotAllowedError));
        }
        match page {
            Page::Document => {
                guarded.reading(&request, async || documentation.document(&request).await).await
            }
            Page::Reference => guarded.reading(&request, async || documentation.redoc()).await,
            Page::Interactive => guarded.interactive(&request).await,
            Page::Alias => Ok(documentation.to_docs()),
        }
    }
}
