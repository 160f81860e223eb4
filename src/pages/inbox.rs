//! The mails that this server sends, to be read by whoever develops with it. Only `local` has this page.

use std::sync::Arc;

use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior, context};
use poem::error::MethodNotAllowedError;
use poem::http::{HeaderValue, Method, header};
use poem::{Endpoint, IntoResponse, Request, Response};
use serde_json::{Value, json};
use url::Host;

use crate::mail::{InboxMail, Mail};
use crate::platform::problem::Failure;
use crate::platform::web::Json;

/// Mails that are shown.
const NEWEST: i64 = 100;
/// Where they are JSON whatever is asked for.
const AS_JSON: &str = "/dev/inbox.json";
/// No script, nothing from elsewhere, in no frame. What mails look like they say by attributes of style.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'unsafe-inline'; frame-src 'self'; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'",
);

crate::refusals! {
    /// Why mails are not shown.
    enum InboxRefusal {
        Elsewhere = 403 "forbidden" "Ask for this page by the address of this machine.",
    }
}

/// `GET /dev/inbox`, as a page or as JSON, and `GET /dev/inbox.json`.
#[derive(Clone)]
pub struct InboxPage {
    mail: Mail,
    templates: Arc<Environment<'static>>,
    project_name: Arc<str>,
    host: Arc<str>,
}

impl InboxPage {
    /// The page of a server that clients reach as `host`.
    pub fn new(mail: Mail, project_name: &str, host: &str) -> anyhow::Result<Self> {
        let mut templates = Environment::new();
        templates.set_undefined_behavior(UndefinedBehavior::Strict);
        templates.add_template("inbox.html", include_str!("../../templates/page/inbox.html"))?;
        Ok(Self {
            mail,
            templates: Arc::new(templates),
            project_name: project_name.into(),
            host: host.into(),
        })
    }

    /// A page elsewhere could make its own name lead to this machine (DNS rebinding) and would then read along, with
    /// its name in the request. A number can't be made to lead elsewhere.
    fn is_for_us(&self, request: &Request) -> bool {
        let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
        let host = host.or_else(|| request.uri().authority().map(poem::http::uri::Authority::as_str));
        let name = host.and_then(|host| url::Url::parse(&format!("http://{host}")).ok());
        match name.as_ref().and_then(url::Url::host) {
            Some(Host::Domain(name)) => {
                name == "localhost" || name.ends_with(".localhost") || name.eq_ignore_ascii_case(&self.host)
            }
            Some(Host::Ipv4(_) | Host::Ipv6(_)) => true,
            None => false,
        }
    }

    fn page(&self, mails: &[InboxMail]) -> Result<Response, Failure<InboxRefusal>> {
        let mails: Vec<Value> = mails.iter().map(on_page).collect();
        let shown = context! {
            project_name => &*self.project_name,
            is_on => self.mail.is_on(),
            mails => minijinja::Value::from(Serde(mails)),
        };
        let template = self.templates.get_template("inbox.html").map_err(anyhow::Error::from)?;
        let page = template.render(shown).map_err(anyhow::Error::from)?;
        Ok(Response::builder().content_type("text/html; charset=utf-8").body(page))
    }
}

impl Endpoint for InboxPage {
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        if request.method() != Method::GET {
            return Err(MethodNotAllowedError.into());
        }
        if !self.is_for_us(&request) {
            return Err(Failure::from(InboxRefusal::Elsewhere).into());
        }
        let mails = self.mail.inbox(NEWEST).await.map_err(Failure::<InboxRefusal>::from)?;
        let mut response = if wants_json(&request) {
            Json(mails.iter().map(as_json).collect::<Vec<_>>()).into_response()
        } else {
            self.page(&mails)?
        };
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, POLICY);
        Ok(response)
    }
}

fn wants_json(request: &Request) -> bool {
    let accept = request.headers().get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    request.uri().path() == AS_JSON || accept.is_some_and(|accept| accept.contains("application/json"))
}

fn as_json(mail: &InboxMail) -> Value {
    json!({
        "id": mail.id,
        "to": mail.to,
        "subject": mail.rendered.subject,
        "text": mail.rendered.text,
        "html": mail.rendered.html,
        "links": mail.links,
        "letter": mail.letter,
        "state": mail.state,
        "created_at": mail.created_at.div_euclid(1000),
    })
}

fn on_page(mail: &InboxMail) -> Value {
    let time = chrono::DateTime::from_timestamp_millis(mail.created_at);
    let mut shown = as_json(mail);
    shown["time"] = json!(time.map(|time| time.format("%Y-%m-%d %H:%M:%S UTC").to_string()));
    // Links in the frame open beside it: the frame itself may lead nowhere.
    shown["html"] = json!(mail.rendered.html.replacen("<head>", "<head><base target=\"_blank\">", 1));
    shown
}
