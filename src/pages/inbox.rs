//! The mails that this server sends, to be read by whoever develops with it. Only `local` has this page.

use std::sync::Arc;

use minijinja::context;
use minijinja::value::Serde;
use poem::error::MethodNotAllowedError;
use poem::http::{Method, StatusCode, header};
use poem::{Endpoint, IntoResponse, Request, Response};
use serde_json::{Value, json};
use url::Host;

use super::Pages;
use crate::mail::{InboxMail, Mail};
use crate::platform::problem::Failure;
use crate::platform::web::Json;

/// Mails that are shown.
const NEWEST: i64 = 100;
/// Where they are JSON whatever is asked for.
const AS_JSON: &str = "/dev/inbox.json";
/// No script. What mails look like they say by attributes of style.
const POLICY: &str = "style-src 'self' 'unsafe-inline'; img-src 'self'; frame-src 'self'";

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
    pages: Pages,
    host: Arc<str>,
}

impl InboxPage {
    /// The page of a server that clients reach as `host`.
    #[must_use]
    pub fn new(mail: Mail, pages: Pages, host: &str) -> Self {
        Self { mail, pages, host: host.into() }
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

    fn page(&self, request: &Request, mails: &[InboxMail]) -> Response {
        let mails: Vec<Value> = mails.iter().map(on_page).collect();
        let shown = context! { is_on => self.mail.is_on(), mails => minijinja::Value::from(Serde(mails)) };
        self.pages.of(request).page_with(StatusCode::OK, "inbox.html", shown, "", POLICY)
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
        if wants_json(&request) {
            return Ok(Json(mails.iter().map(as_json).collect::<Vec<_>>()).into_response());
        }
        Ok(self.page(&request, &mails))
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
