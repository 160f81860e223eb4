//! The documentation: the OpenAPI document, ReDoc and Swagger UI over it, all from the binary.
//!
//! [`Documentation`] answers; [`Guarded`] decides who may see the answer.

mod assets;
mod completion;
mod guard;
mod headers;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use minijinja::{Environment, context};
use poem::http::{HeaderValue, StatusCode, header};
use poem::{Request, Response, Route, get};
use serde_json::Value;

use crate::platform::problem::Problem;
use crate::platform::random::Random;
use crate::platform::web::Asset;
use assets::{Assets, Served};
pub use completion::{complete, repeatable_parameters};
pub use guard::Guarded;

/// What the pages must know.
#[derive(Clone, Debug)]
pub struct DocumentationSettings {
    /// Name shown in titles.
    pub project_name: String,
    /// Path of the base address, without a slash at the end: empty unless the server lives below a path.
    pub base_path: String,
    /// Path of the API, such as `/api`.
    pub api_prefix: String,
}

/// The documentation of one running server.
#[derive(Debug)]
pub struct Documentation {
    settings: DocumentationSettings,
    random: Random,
    document: Asset,
    assets: Arc<Assets>,
    pages: Environment<'static>,
}

impl Documentation {
    /// Prepares the pages for this document, which should be [`complete`].
    pub fn new(
        document: &Value,
        settings: DocumentationSettings,
        random: Random,
    ) -> Result<Self, minijinja::Error> {
        let mut pages = Environment::new();
        pages.set_undefined_behavior(minijinja::UndefinedBehavior::Strict);
        pages
            .add_template("documentation.html", include_str!("../../../templates/page/documentation.html"))?;
        let document = Asset::plain("application/json", document.to_string().into_bytes().into());
        Ok(Self { settings, random, document, assets: Arc::new(Assets::embedded()), pages })
    }

    /// Scripts and styles at `/static/<hash>/<name>`: public, never changing.
    #[must_use]
    pub fn assets_on(&self, route: Route) -> Route {
        route.at("/static/:hash/:name", get(Served(Arc::clone(&self.assets))))
    }

    /// `/openapi.json`.
    pub async fn document(&self, request: &Request) -> Response {
        let mut response = self.document.answer(request.headers()).await;
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        response
    }

    /// `/docs`: ReDoc.
    #[must_use]
    pub fn redoc(&self) -> Response {
        self.page("reference", &[], &["redoc.standalone.js", "redoc.js"])
    }

    /// `/interactive-docs`: Swagger UI.
    #[must_use]
    pub fn swagger_ui(&self) -> Response {
        self.page("interactive documentation", &["swagger-ui.css"], &["swagger-ui-bundle.js", "swagger.js"])
    }

    /// Sends aliases to `/docs`.
    #[must_use]
    pub fn to_docs(&self) -> Response {
        let target = format!("{}/docs", self.settings.base_path);
        Response::builder().status(StatusCode::FOUND).header(header::LOCATION, target).finish()
    }

    fn page(&self, what: &str, styles: &[&str], scripts: &[&str]) -> Response {
        let DocumentationSettings { base_path, api_prefix, project_name } = &self.settings;
        let nonce = URL_SAFE_NO_PAD.encode(self.random.bytes::<16>());
        let addresses = |names: &[&str]| names.iter().map(|name| self.address(name)).collect::<Vec<_>>();
        let values = context! {
            title => format!("{project_name} – {what}"),
            document => format!("{base_path}/openapi.json"),
            api => format!("{base_path}{api_prefix}"),
            styles => addresses(styles),
            scripts => addresses(scripts),
            nonce => &nonce,
        };
        let policy = format!(
            "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'self' 'unsafe-inline'; worker-src blob:; \
             img-src 'self' data:; font-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; \
             object-src 'none'; frame-ancestors 'none'"
        );
        self.rendered("documentation.html", values, &policy)
    }

    fn address(&self, name: &str) -> String {
        format!("{}{}", self.settings.base_path, self.assets.path(name))
    }

    fn rendered(&self, name: &str, values: minijinja::Value, policy: &str) -> Response {
        let page = self.pages.get_template(name).and_then(|template| template.render(values));
        match (page, HeaderValue::from_str(policy)) {
            (Ok(page), Ok(policy)) => Response::builder()
                .content_type("text/html; charset=utf-8")
                .header(header::CONTENT_SECURITY_POLICY, policy)
                .header(header::CACHE_CONTROL, "no-store")
                .body(page),
            (page, _) => {
                tracing::error!(
                    name,
                    error = page.err().map(|error| error.to_string()),
                    "a page could not be made"
                );
                poem::IntoResponse::into_response(Problem::internal())
            }
        }
    }
}
