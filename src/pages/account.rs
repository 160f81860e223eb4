//! The account: who one is here, how one signs in, whom one knows, what is kept. Read without script; changes go through
//! the API.

use std::time::Duration;

use minijinja::{Value, context};
use poem::error::MethodNotAllowedError;
use poem::http::{Method, StatusCode};
use poem::{Endpoint, Request, Response, Route};
use sea_orm::DbErr;
use serde::Deserialize;

use super::{Inside, Language, Pages, SignedIn};
use crate::auth::Auth;
use crate::oauth::Trouble;
use crate::permissions::Action;
use crate::platform::clock::Timestamp;
use crate::platform::db::{Order, Span};
use crate::platform::problem::Breakage;
use crate::platform::web::Device;
use crate::users::External;

/// No history is that long; what is asked for beyond is no number that a database takes.
const LAST_PAGE: u64 = 1_000_000;
/// Lines of history on a page.
const LINES: u64 = 25;

/// What the pages of the account are made of.
#[derive(Clone)]
pub struct AccountPages {
    /// The way in.
    pub inside: Inside,
    /// The door: the other providers.
    pub auth: Auth,
    /// Shortest password, to be told.
    pub min_length: usize,
    /// Whether codes can be mailed.
    pub codes_by_mail: bool,
    /// How long a deleted account can come back.
    pub grace: Duration,
}

/// Which of the pages.
#[derive(Clone, Copy)]
enum Page {
    Profile,
    Security,
    Connections,
    Data,
}

const PATHS: [(&str, Page); 4] = [
    ("/account", Page::Profile),
    ("/account/security", Page::Security),
    ("/account/connections", Page::Connections),
    ("/account/data", Page::Data),
];

#[derive(Default, Deserialize)]
#[serde(default)]
struct Asked {
    page: u64,
    error: String,
    linked: String,
    reauthenticated: String,
}

impl AccountPages {
    /// Puts the pages on the route.
    #[must_use]
    pub fn on(&self, route: Route) -> Route {
        let at = |page| AccountPage { account: self.clone(), page };
        PATHS.iter().fold(route, |route, (path, page)| route.at(*path, at(*page)))
    }

    /// Every path.
    pub fn paths() -> impl Iterator<Item = &'static str> {
        PATHS.iter().map(|(path, _)| *path)
    }

    async fn show(&self, page: Page, who: &SignedIn, request: &Request) -> Result<Response, DbErr> {
        let asked = request.params::<Asked>().unwrap_or_default();
        let (template, shown) = match page {
            Page::Profile => ("account-profile.html", self.profile(who)),
            Page::Security => ("account-security.html", self.security(who).await?),
            Page::Connections => ("account-connections.html", self.connections(who).await?),
            Page::Data => ("account-data.html", self.data(who, asked.page.clamp(1, LAST_PAGE)).await?),
        };
        let user = &who.user;
        let frame = context! {
            flash => flash(&who.pages, &asked),
            trouble => who.pages.said(Trouble::words_of(&asked.error).unwrap_or_default()),
            needs_second_factor => who.caller.needs_second_factor(),
            has_password => user.password_hash.is_some(),
        };
        Ok(who.pages.page(StatusCode::OK, template, context! { ..shown, ..frame }))
    }

    fn profile(&self, who: &SignedIn) -> Value {
        let user = &who.user;
        let locale = user.locale.clone().unwrap_or_default();
        let languages =
            Language::ALL.map(|language| context! { tag => language.tag(), name => language.name() });
        let is_other = !locale.is_empty() && Language::of_tag(&locale).is_none();
        context! {
            uuid => user.id.to_string(), username => &user.username, display_name => &user.display_name,
            first_name => &user.first_name, middle_name => &user.middle_name, last_name => &user.last_name,
            description => &user.description, email => &user.email, email_verified => user.email_verified,
            pending_email => &user.pending_email, locale => locale, locale_is_other => is_other,
            known_languages => languages.to_vec(),
            names_are_free => self.inside.users.settings().display_name_free,
        }
    }

    async fn security(&self, who: &SignedIn) -> Result<Value, DbErr> {
        let rows = self.inside.sessions.of_user(who.user.id).await?;
        let sessions = rows.into_iter().map(|row| {
            let device = Device::of(row.user_agent.as_deref().unwrap_or_default());
            context! {
                id => row.id.to_string(), user_agent => row.user_agent, ip => row.ip,
                browser => device.browser, system => device.system,
                is_current => row.id == who.caller.session_id, seen => time(row.last_seen_at),
                opened => time(row.created_at),
            }
        });
        Ok(context! {
            method => who.user.otp_method.name(), min_length => self.min_length, username => &who.user.username,
            by_mail => self.codes_by_mail && who.user.email_verified, sessions => sessions.collect::<Vec<_>>(),
            may_have_link => who.may_to_oneself(&self.inside.gate, Action::UserResetMail),
        })
    }

    async fn connections(&self, who: &SignedIn) -> Result<Value, DbErr> {
        let id = who.user.id;
        let linked = self.inside.users.external_of(&[id]).await?.remove(&id).unwrap_or_default();
        let shown_name = |provider: &str| {
            let found = self.auth.providers().find(|(name, _, _)| *name == provider);
            found.map_or_else(|| provider.to_owned(), |(_, shown, _)| shown.to_owned())
        };
        let account = |account: &External| {
            context! {
                provider => &account.provider, name => shown_name(&account.provider), who => known_as(account),
                linked => time(account.created_at),
            }
        };
        let accounts: Vec<Value> = linked.iter().map(account).collect();
        let is_free = |provider: &str| linked.iter().all(|account| account.provider != provider);
        let offered = self.auth.providers().filter(|(name, _, usable)| *usable && is_free(name));
        let offered: Vec<Value> =
            offered.map(|(name, shown, _)| context! { provider => name, name => shown }).collect();
        let blocked = self.inside.users.blocked_by(id).await?;
        let people = self.inside.users.by_ids(&blocked, None).await?;
        let people = people.into_iter().map(|person| {
            let (uuid, username) = (person.id.to_string(), person.username);
            context! { uuid => uuid, username => username, display_name => person.display_name }
        });
        Ok(context! {
            accounts => accounts, people => people.collect::<Vec<_>>(), offered => offered,
        })
    }

    async fn data(&self, who: &SignedIn, page: u64) -> Result<Value, DbErr> {
        let offset = (page - 1).saturating_mul(LINES);
        let span = Span { order: Order::Desc, after: None, offset, limit: LINES };
        let rows = self.inside.users.history(who.user.id, &span).await?;
        let total = self.inside.users.history_count(who.user.id).await?;
        let lines = rows.into_iter().map(|line| {
            let undone = undo(&line.action, &line.description);
            let label = history_label(&who.pages, &line.action);
            context! {
                label => label, description => line.description, at => time(line.at),
                is_own => line.by_id == Some(who.user.id), by_staff => line.by_id.is_some_and(|by| by != who.user.id),
                undo => undone,
            }
        });
        Ok(context! {
            lines => lines.collect::<Vec<_>>(), page => page, has_next => offset.saturating_add(LINES) < total,
            username => &who.user.username, grace_days => self.grace.as_secs() / 86_400,
        })
    }
}

/// What a line of history is called; by its own name where the pages know none.
fn history_label(pages: &Pages, action: &str) -> String {
    let key = format!("history.{action}");
    let word = pages.word(&key);
    if word == key { action.replace('_', " ") } else { word.to_owned() }
}

/// How somebody is known at another provider.
fn known_as(account: &External) -> Option<&str> {
    [&account.username, &account.display_name, &account.email].into_iter().find_map(Option::as_deref)
}

/// A moment for a page: seconds for scripts, and a text for who has none.
fn time(millis: i64) -> Value {
    let seconds = Timestamp::from_millis(millis).seconds();
    let text = chrono::DateTime::from_timestamp(seconds, 0)
        .map(|time| time.format("%Y-%m-%d %H:%M UTC").to_string());
    context! { seconds => seconds, text => text }
}

/// What a line of history says was there before: a field of the account and its value.
fn undo(action: &str, description: &str) -> Option<Value> {
    let (field, before) = match action {
        "username_changed" => {
            ("username", description.strip_prefix("from ")?.split(" to ").next()?.to_owned())
        }
        "updated" => {
            let text = description.split_once("display_name from ")?.1;
            let mut values = serde_json::Deserializer::from_str(text).into_iter::<String>();
            ("display_name", values.next()?.ok()?)
        }
        _ => return None,
    };
    Some(context! { field => field, value => before })
}

/// What is said of what was just done, by the address that somebody comes back to.
fn flash<'a>(pages: &'a Pages, asked: &Asked) -> &'a str {
    match (asked.linked.is_empty(), asked.reauthenticated.is_empty()) {
        (false, _) => pages.word("account.linked"),
        (true, false) => pages.word("account.proved"),
        (true, true) => "",
    }
}

struct AccountPage {
    account: AccountPages,
    page: Page,
}

impl Endpoint for AccountPage {
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        if *request.method() != Method::GET {
            return Err(MethodNotAllowedError.into());
        }
        let who = match self.account.inside.enter(&request).await? {
            Ok(who) => who,
            Err(away) => return Ok(away),
        };
        let shown = self.account.show(self.page, &who, &request).await;
        shown.map_err(|error| Breakage::from(error).problem().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_line_of_history_says_was_before_can_be_put_back() {
        let undone = |action, description| undo(action, description).map(|value| value.to_string());
        let field = |action, description, name: &str| {
            undo(action, description)
                .and_then(|value| value.get_attr(name).ok())
                .map(|value| value.to_string())
        };
        assert_eq!(field("username_changed", "from ann_b to ann_c", "value").as_deref(), Some("ann_b"));
        let both = "display_name from \"Ann, \\\"B\\\" to C\" to \"x\", description";
        assert_eq!(field("updated", both, "value").as_deref(), Some("Ann, \"B\" to C"));
        assert_eq!(field("updated", both, "field").as_deref(), Some("display_name"));
        for (action, description) in
            [("updated", "description"), ("updated", "display_name from x"), ("created", "")]
        {
            assert_eq!(undone(action, description), None);
        }
    }
}
