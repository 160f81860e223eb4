//! Templates become answers.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use minijinja::{Environment, UndefinedBehavior, context};
use poem::http::{HeaderValue, StatusCode, header};
use poem::{IntoResponse, Response};

use crate::platform::problem::Problem;
use crate::platform::random::Random;

/// The templates, by name. All are part of the program.
const TEMPLATES: [(&str, &str); 9] = [
    ("layout.html", include_str!("../../templates/page/layout.html")),
    ("set-up.html", include_str!("../../templates/page/set-up.html")),
    ("sign-in.html", include_str!("../../templates/page/sign-in.html")),
    ("otp.html", include_str!("../../templates/page/otp.html")),
    ("sign-up.html", include_str!("../../templates/page/sign-up.html")),
    ("verify.html", include_str!("../../templates/page/verify.html")),
    ("forgot.html", include_str!("../../templates/page/forgot.html")),
    ("reset.html", include_str!("../../templates/page/reset.html")),
    ("message.html", include_str!("../../templates/page/message.html")),
];

/// What makes pages.
#[derive(Clone)]
pub struct Pages {
    templates: Arc<Environment<'static>>,
    random: Random,
    project_name: Arc<str>,
}

impl Pages {
    /// Reads the templates; one that is broken, or asks for what it is not given, fails here or in the tests.
    pub fn new(random: Random, project_name: &str) -> anyhow::Result<Self> {
        let mut templates = Environment::new();
        templates.set_undefined_behavior(UndefinedBehavior::Strict);
        for (name, text) in TEMPLATES {
            templates.add_template(name, text)?;
        }
        Ok(Self { templates: Arc::new(templates), random, project_name: project_name.into() })
    }

    /// The page of a template. Everything that the template shows is escaped; nothing from the page leaves the site.
    #[must_use]
    pub fn page(&self, status: StatusCode, template: &str, shown: minijinja::Value) -> Response {
        let nonce = STANDARD.encode(self.random.bytes::<16>());
        let page = self.templates.get_template(template).and_then(|template| {
            template.render(context! { project_name => &*self.project_name, nonce => &nonce, ..shown })
        });
        match page {
            Ok(page) => answer(status, page, &nonce),
            Err(error) => {
                tracing::error!(%error, template, "a page could not be made");
                Problem::internal().into_response()
            }
        }
    }

    /// A page that only says something.
    #[must_use]
    pub fn message(&self, status: StatusCode, title: &str, words: &str) -> Response {
        let shown = context! { title => title, words => words, link => "", link_words => "" };
        self.page(status, "message.html", shown)
    }

    /// A page that says something and leads on.
    #[must_use]
    pub fn linking(&self, title: &str, words: &str, link: &str, link_words: &str) -> Response {
        let shown = context! { title => title, words => words, link => link, link_words => link_words };
        self.page(StatusCode::OK, "message.html", shown)
    }
}

/// Referrers are off for the whole server, so a token in the address goes nowhere; the page is never stored.
fn answer(status: StatusCode, page: String, nonce: &str) -> Response {
    let policy = format!(
        "default-src 'none'; style-src 'nonce-{nonce}'; img-src 'self' data:; form-action 'self'; \
         base-uri 'none'; object-src 'none'; frame-ancestors 'none'"
    );
    let mut response = Response::builder().status(status).content_type("text/html; charset=utf-8").body(page);
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(policy) = HeaderValue::try_from(policy) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_a_page_shows_is_escaped_and_each_page_has_a_nonce_of_its_own() {
        let pages = Pages::new(Random::seeded(1), "<b>Gate").unwrap();
        let first = pages.message(StatusCode::OK, "Hello", "<script>alert(1)</script>");
        let second = pages.message(StatusCode::OK, "Hello", "");
        let policy = |response: &Response| response.header("content-security-policy").unwrap().to_owned();
        assert_ne!(policy(&first), policy(&second));
        let page = first.into_body().into_string().await.unwrap();
        assert!(
            page.contains("&lt;script&gt;") && !page.contains("<script>") && page.contains("&lt;b&gt;Gate")
        );
    }

    #[tokio::test]
    async fn every_template_renders_with_what_its_page_shows_and_has_no_script() {
        let pages = Pages::new(Random::seeded(1), "Gate").unwrap();
        let hostile = "\"><script>alert(1)</script>";
        let shown = [
            (
                "sign-in.html",
                context! {
                    title => "t", words => "w", error => hostile, action => "/x", next => hostile, links => true,
                    buttons => vec![context! { name => hostile, href => hostile }],
                },
            ),
            ("otp.html", context! { title => "t", words => "w", error => hostile, next => hostile }),
            (
                "sign-up.html",
                context! {
                    title => "t", username => hostile, email => hostile, min_length => 10,
                    problems => vec![hostile], buttons => vec![context! { name => hostile, href => hostile }],
                },
            ),
            ("verify.html", context! { title => "t", token => hostile }),
            ("forgot.html", context! { title => "t", error => hostile }),
            (
                "reset.html",
                context! { title => "t", token => hostile, min_length => 10, problems => vec![hostile] },
            ),
            (
                "set-up.html",
                context! {
                    title => "t", token => hostile, username => hostile, email => hostile,
                    min_length => 10, problems => vec![hostile],
                },
            ),
        ];
        for (template, shown) in shown {
            let response = pages.page(StatusCode::OK, template, shown);
            assert_eq!(response.status(), StatusCode::OK, "{template}");
            let page = response.into_body().into_string().await.unwrap();
            assert!(!page.contains("<script") && page.contains("&lt;script&gt;"), "{template}");
        }
    }
}
