//! Templates become answers.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use minijinja::value::{Kwargs, merge_maps};
use minijinja::{Environment, UndefinedBehavior, Value, context};
use poem::http::{HeaderValue, StatusCode, header};
use poem::{IntoResponse, Request, Response};
use serde::Serialize;

use super::assets::Assets;
use super::reader::{self, Reader};
use super::words::{Language, Words};
use crate::platform::problem::Problem;
use crate::platform::random::Random;
use crate::sessions::{add_cookies, set_cookie};

/// How long the language that somebody chose is kept.
const LANGUAGE_LASTS: Duration = Duration::from_hours(24 * 365);

/// Names a template of the program with its text.
macro_rules! template {
    ($name:literal) => {
        ($name, include_str!(concat!("../../templates/page/", $name)))
    };
}

/// The templates, by name. All are part of the program.
const TEMPLATES: [(&str, &str); 35] = [
    template!("layout.html"),
    template!("problems.html"),
    template!("set-up.html"),
    template!("sign-in.html"),
    template!("otp.html"),
    template!("sign-up.html"),
    template!("verify.html"),
    template!("verify-request.html"),
    template!("forgot.html"),
    template!("reset.html"),
    template!("message.html"),
    template!("inbox.html"),
    template!("logout.html"),
    template!("home.html"),
    template!("text.html"),
    template!("error.html"),
    template!("account.html"),
    template!("account-profile.html"),
    template!("account-security.html"),
    template!("account-connections.html"),
    template!("account-data.html"),
    template!("console/frame.html"),
    template!("console/state.html"),
    template!("console/more.html"),
    template!("console/overview.html"),
    template!("console/users.html"),
    template!("console/user.html"),
    template!("console/files.html"),
    template!("console/mail.html"),
    template!("console/flags.html"),
    template!("console/events.html"),
    template!("console/webhooks.html"),
    template!("console/audit.html"),
    template!("console/permissions.html"),
    template!("console/health.html"),
];

/// What the operator decides about pages.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// What the server is called.
    pub project_name: String,
    /// Path of the API, such as `/api`.
    pub api_prefix: String,
    /// Whom to write to (`CONTACT_EMAIL`).
    pub contact: Option<String>,
    /// Whether cookies are sent over https only.
    pub secure: bool,
    /// Origins besides this one that a form may end at, because they may be gone back to after signing in.
    pub form_origins: Vec<String>,
}

/// What makes pages, for whoever reads them.
#[derive(Clone, Debug)]
pub struct Pages {
    press: Arc<Press>,
    reader: Arc<Reader>,
}

/// What is the same for all readers.
#[derive(Debug)]
struct Press {
    templates: Environment<'static>,
    words: Arc<Words>,
    assets: Arc<Assets>,
    random: Random,
    settings: Settings,
}

impl Pages {
    /// A template is compiled when it is first shown; one that is broken, or asks for what it is not given, fails in
    /// the tests.
    pub fn new(random: Random, settings: Settings) -> anyhow::Result<Self> {
        let mut templates = Environment::new();
        templates.set_undefined_behavior(UndefinedBehavior::Strict);
        templates.set_loader(|name| {
            Ok(TEMPLATES.iter().find(|(known, _)| *known == name).map(|(_, text)| (*text).to_owned()))
        });
        let (words, assets) = (Arc::new(Words::embedded()?), Arc::new(Assets::embedded()));
        let press = Press { templates, words, assets, random, settings };
        Ok(Self { press: Arc::new(press), reader: Arc::default() })
    }

    /// The same for whoever sent this request, who need not be signed in.
    #[must_use]
    pub fn of(&self, request: &Request) -> Self {
        self.read_by(Reader::of(request, None))
    }

    /// The same for this reader.
    #[must_use]
    pub fn read_by(&self, reader: Reader) -> Self {
        Self { press: Arc::clone(&self.press), reader: Arc::new(reader) }
    }

    /// The same at this address of the server, where links to the other languages lead.
    #[must_use]
    pub fn at(&self, here: String) -> Self {
        self.read_by(Reader { here, ..(*self.reader).clone() })
    }

    /// Who reads.
    #[must_use]
    pub fn reader(&self) -> &Reader {
        &self.reader
    }

    /// The style and the scripts of the pages.
    #[must_use]
    pub fn assets(&self) -> &Arc<Assets> {
        &self.press.assets
    }

    /// A word in the language of the reader.
    #[must_use]
    pub fn word<'a>(&'a self, key: &'a str) -> &'a str {
        self.press.words.word(self.reader.language, key)
    }

    /// A sentence of the API in the language of the reader.
    #[must_use]
    pub fn said(&self, sentence: &str) -> String {
        self.press.words.said(self.reader.language, sentence)
    }

    /// The page of a template. Everything that the template shows is escaped; nothing from the page leaves the site.
    #[must_use]
    pub fn page(&self, status: StatusCode, template: &str, shown: Value) -> Response {
        let nonce = STANDARD.encode(self.press.random.bytes::<16>());
        let policy =
            format!("script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; img-src 'self' data: blob:");
        self.page_with(status, template, shown, &nonce, &policy)
    }

    /// The page of a template with a policy of its own for scripts, styles, images and frames.
    pub(super) fn page_with(
        &self,
        status: StatusCode,
        template: &str,
        shown: Value,
        nonce: &str,
        policy: &str,
    ) -> Response {
        let shown = merge_maps([self.frame(), shown, context! { nonce => nonce }]);
        let page = self.press.templates.get_template(template).and_then(|template| template.render(shown));
        match page {
            Ok(page) => self.answer(status, page, policy),
            Err(error) => {
                tracing::error!(%error, template, "a page could not be made");
                Problem::internal().into_response()
            }
        }
    }

    /// What every template may use.
    fn frame(&self) -> Value {
        let Reader { language, here, person, .. } = &*self.reader;
        let language = *language;
        let (words, for_scripts, assets) =
            (Arc::clone(&self.press.words), Arc::clone(&self.press.words), Arc::clone(&self.press.assets));
        let sentence = move |key: &str, values: Kwargs| words.sentence(language, key, &values);
        let script_words = move |prefixes: Vec<String>| {
            let prefixes: Vec<&str> =
                prefixes.iter().map(String::as_str).chain(["problem.", "said."]).collect();
            data_block(&for_scripts.for_scripts(language, &prefixes))
        };
        let languages = Language::ALL.map(|known| {
            let sign = if here.contains('?') { '&' } else { '?' };
            context! { tag => known.tag(), name => known.name(), href => format!("{here}{sign}lang={}", known.tag()) }
        });
        let person = person.as_ref().map(|person| {
            context! {
                name => &person.name, uuid => &person.uuid, csrf_token => &person.csrf_token,
                console => person.console, proofs => person.proofs.clone(),
            }
        });
        let settings = &self.press.settings;
        context! {
            project_name => &settings.project_name, contact => &settings.contact, api => &settings.api_prefix,
            lang => language.tag(), languages => languages.to_vec(), person => person, here => here,
            t => Value::from_function(sentence),
            asset => Value::from_function(move |name: &str| assets.path(name)),
            script_words => Value::from_function(script_words),
        }
    }

    /// What the server is called.
    #[must_use]
    pub fn project_name(&self) -> &str {
        &self.press.settings.project_name
    }

    /// Path of the API, such as `/api`.
    #[must_use]
    pub fn api_prefix(&self) -> &str {
        &self.press.settings.api_prefix
    }

    /// A page that only says something: the names of its title and of its words.
    #[must_use]
    pub fn message(&self, status: StatusCode, title: &str, words: &str) -> Response {
        self.message_of(status, title, self.word(words))
    }

    /// A page that only says something, in words that are no page's.
    #[must_use]
    pub fn message_of(&self, status: StatusCode, title: &str, words: &str) -> Response {
        let shown = context! { title => self.word(title), words => words, link => "", link_words => "" };
        self.page(status, "message.html", shown)
    }

    /// The page of somebody who comes back from a provider without having left.
    #[must_use]
    pub fn nowhere(&self, words: &str) -> Response {
        self.message_of(StatusCode::BAD_REQUEST, "door.did_not_work", &self.said(words))
    }

    /// The page that a person sees instead of a problem document. Nothing of what was sent is repeated on it, not even in the
    /// links to the other languages.
    #[must_use]
    pub fn problem(&self, problem: &Problem, trace_id: &str) -> Response {
        let pages = self.at(String::new());
        let title = match problem.status {
            StatusCode::NOT_FOUND => "error.not_found",
            StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED => "error.not_allowed",
            StatusCode::TOO_MANY_REQUESTS => "error.too_many",
            status if status.is_server_error() => "error.broken",
            _ => "error.other",
        };
        let shown = context! {
            status => problem.status.as_u16(), title => self.word(title), words => self.said(&problem.detail),
            trace_id => trace_id,
        };
        pages.page(problem.status, "error.html", shown)
    }

    /// A page that says something and leads on.
    #[must_use]
    pub fn linking(&self, title: &str, words: &str, link: &str, link_words: &str) -> Response {
        self.leading(StatusCode::OK, title, self.word(words), (link, link_words))
    }

    /// The same in words that are no page's.
    #[must_use]
    pub fn leading(
        &self,
        status: StatusCode,
        title: &str,
        words: &str,
        (link, link_words): (&str, &str),
    ) -> Response {
        let (title, link_words) = (self.word(title), self.word(link_words));
        let shown = context! { title => title, words => words, link => link, link_words => link_words };
        self.page(status, "message.html", shown)
    }

    /// Referrers are off for the whole server, so a token in the address goes nowhere; the page is never stored.
    fn answer(&self, status: StatusCode, page: String, policy: &str) -> Response {
        let Settings { form_origins, secure, .. } = &self.press.settings;
        let forms: String = form_origins.iter().flat_map(|origin| [" ", origin.as_str()]).collect();
        let policy = format!(
            "default-src 'none'; {policy}; font-src 'self'; connect-src 'self'; form-action 'self'{forms}; \
             base-uri 'none'; object-src 'none'; frame-ancestors 'none'"
        );
        let mut response =
            Response::builder().status(status).content_type("text/html; charset=utf-8").body(page);
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        let language = self.reader.language.tag();
        headers.insert(header::CONTENT_LANGUAGE, HeaderValue::from_static(language));
        if let Ok(policy) = HeaderValue::try_from(policy) {
            headers.insert(header::CONTENT_SECURITY_POLICY, policy);
        }
        if self.reader.chose {
            let kept = set_cookie(reader::COOKIE, language, LANGUAGE_LASTS, *secure);
            add_cookies(headers, kept);
        }
        response
    }
}

/// JSON that stands in a script element as data: nothing in it ends the element or begins a comment.
pub(super) fn data_block(data: &impl Serialize) -> Value {
    let json = serde_json::to_string(data).unwrap_or_default();
    Value::from_safe_string(json.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pages::faults::{self, FORGOT, Fault, NEW_ACCOUNT, OTP, RESET, SIGN_IN, VERIFY_REQUEST};

    fn pages(name: &str) -> Pages {
        let settings = Settings { project_name: name.to_owned(), ..Settings::default() };
        Pages::new(Random::seeded(1), settings).unwrap()
    }

    #[tokio::test]
    async fn what_a_page_shows_is_escaped_and_each_page_has_a_nonce_of_its_own() {
        let pages = pages("<b>Gate");
        let first = pages.message_of(StatusCode::OK, "door.done", "<script>alert(1)</script>");
        let second = pages.message(StatusCode::OK, "door.done", "door.password_counts");
        let policy = |response: &Response| response.header("content-security-policy").unwrap().to_owned();
        assert_ne!(policy(&first), policy(&second));
        let page = first.into_body().into_string().await.unwrap();
        assert!(
            page.contains("&lt;script&gt;") && !page.contains("<script>") && page.contains("&lt;b&gt;Gate")
        );
    }

    #[tokio::test]
    async fn every_template_renders_with_what_its_page_shows_and_has_no_script() {
        let pages = pages("Gate");
        for (name, _) in TEMPLATES {
            assert!(pages.press.templates.get_template(name).is_ok(), "{name}");
        }
        let hostile = "\"><script>alert(1)</script>";
        let links = context! { sign_in => hostile, sign_up => hostile, forgot => hostile };
        let faults = |form| faults::shown(form, &[Fault::of(&[], hostile)]);
        let shown = [
            (
                "sign-in.html",
                context! {
                    done => hostile, username => hostile, next => hostile, links => &links,
                    buttons => vec![context! { name => hostile, href => hostile }], ..faults(SIGN_IN)
                },
            ),
            ("otp.html", context! { words => "w", next => hostile, links => &links, ..faults(OTP) }),
            (
                "sign-up.html",
                context! {
                    username => hostile, email => hostile, next => hostile, links => &links, min_length => 10,
                    buttons => vec![context! { name => hostile, href => hostile }], ..faults(NEW_ACCOUNT)
                },
            ),
            ("verify.html", context! { token => hostile }),
            ("verify-request.html", context! { email => hostile, ..faults(VERIFY_REQUEST) }),
            ("forgot.html", context! { next => hostile, links => &links, ..faults(FORGOT) }),
            ("reset.html", context! { token => hostile, min_length => 10, ..faults(RESET) }),
            (
                "set-up.html",
                context! {
                    token => hostile, username => hostile, email => hostile, min_length => 10, ..faults(NEW_ACCOUNT)
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
