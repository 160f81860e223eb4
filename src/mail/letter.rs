//! What is written, to whom, in which language, and why.

use std::net::IpAddr;

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::html;
use crate::platform::clock::Timestamp;
use crate::platform::web::ClientInfo;
use crate::sessions::OpaqueToken;

/// Words that people chose are cut to so many characters.
const LONGEST: usize = 64;

/// A letter on its way into the queue.
#[derive(Debug)]
pub struct Post {
    /// The address, as it stands in the account (normalised).
    pub to: String,
    /// Whose address it is, if it is somebody's.
    pub user_id: Option<Uuid>,
    /// In which language they are written to.
    pub languages: Languages,
    /// What is written.
    pub letter: Letter,
    /// A code or link that has expired by then is not sent late.
    pub good_until: Option<Timestamp>,
    /// What caused it.
    pub occasion: Occasion,
}

/// Which language somebody is written to in: their own, else their browser's, else English.
#[derive(Clone, Debug, Default)]
pub struct Languages {
    /// The account's `locale`.
    pub locale: Option<String>,
    /// The header `Accept-Language` of the request that causes the letter.
    pub accept_language: Option<String>,
}

/// What causes a letter: when, and, if it was a request, from where and with what.
#[derive(Clone, Debug)]
pub struct Occasion {
    /// The client's address; none: no client asked for it.
    pub ip: Option<IpAddr>,
    /// What the client says it is.
    pub user_agent: Option<String>,
    /// When.
    pub at: Timestamp,
    /// The request's id, for the letter's foot.
    pub trace_id: Option<String>,
}

impl Occasion {
    /// The occasion that a client's request is.
    #[must_use]
    pub fn of(client: &ClientInfo, at: Timestamp) -> Self {
        Self {
            ip: Some(client.ip),
            user_agent: client.user_agent.clone(),
            at,
            trace_id: Some(client.trace_id.to_string()),
        }
    }

    /// Work of the program's own.
    #[must_use]
    pub const fn of_the_program(at: Timestamp, trace_id: Option<String>) -> Self {
        Self { ip: None, user_agent: None, at, trace_id }
    }

    /// As it is kept beside the letter's own values.
    pub(super) fn kept(&self) -> Value {
        json!({ "ip": self.ip, "user_agent": self.user_agent, "at": self.at.millis() })
    }
}

/// What is written: a variant for each folder of `templates/email/<language>/`. Words that people chose are data:
/// escaped, and cut to 64 characters.
#[derive(Debug)]
#[expect(missing_docs, reason = "the fields are named as the templates name them")]
pub enum Letter {
    /// Prove that this address is yours.
    Verification { username: String, token: OpaqueToken, hours: u64 },
    /// Somebody signed up with the address of your account, which has no password: was it you?
    AddPassword { username: String, token: OpaqueToken, hours: u64 },
    /// Choose a new password.
    Reset { username: String, token: OpaqueToken, minutes: u64 },
    /// The second factor's code.
    Code { username: String, code: SecretString, minutes: u64 },
    /// Somebody tried to register with your address, or to make it theirs.
    SignUpAttempt { username: String },
    /// Your account was signed in to from a device that it does not know.
    NewDevice { username: String },
    /// Your password was changed.
    PasswordChanged { username: String },
    /// Your address was changed; goes to the old one, and shows little of the new one.
    EmailChanged { username: String, new_address: String },
    /// Your second factor is another, or gone: `authenticator`, `email` or `none`.
    SecondFactorChanged { username: String, method: String },
    /// The day's wrong codes of your second factor are used up: whoever guesses has your password, or a session.
    SecondFactorGuessed { username: String },
    /// A recovery code was used.
    RecoveryCodeUsed { username: String, left: u64 },
    /// There are new recovery codes; the old ones are void.
    RecoveryCodesReplaced { username: String },
    /// Too many failed sign-ins.
    AccountLocked { username: String },
    /// Another provider's account signs in to yours.
    AccountLinked { username: String, provider: String },
    /// It no longer does.
    AccountUnlinked { username: String, provider: String },
    /// Your account was deleted; until then it can be restored.
    AccountDeleted { username: String, until: Option<Timestamp> },
    /// A webhook gets no more events: its receiver is `gone`, or was `failing` for too long.
    WebhookDisabled { id: Uuid, host: String, description: String, reason: String, since: Option<Timestamp> },
    /// Whether mails arrive at all.
    Test {},
    /// An admin's own words; never a template. The HTML is cleaned of all that could do harm.
    Custom { subject: String, text: String, html: Option<String> },
}

/// What links in letters are made of: settings, never a header of a request.
#[derive(Clone, Debug)]
pub(super) struct Links {
    pub base_url: String,
    pub verify_url: Option<String>,
    pub reset_url: Option<String>,
}

impl Links {
    fn verification(&self, token: &OpaqueToken) -> String {
        filled(self.verify_url.as_deref(), token, || format!("{}/verify?token={{token}}", self.base_url))
    }

    fn reset(&self, token: &OpaqueToken) -> String {
        let built_in = || format!("{}/reset-password/reset?token={{token}}", self.base_url);
        filled(self.reset_url.as_deref(), token, built_in)
    }

    /// Its place in the console, with what was delivered last.
    fn webhook(&self, id: Uuid) -> String {
        format!("{}/console/webhooks?log={id}", self.base_url)
    }
}

fn filled(chosen: Option<&str>, token: &OpaqueToken, built_in: impl Fn() -> String) -> String {
    chosen.map_or_else(built_in, str::to_owned).replace("{token}", token.expose())
}

/// What letters to an address are counted under, and how many of those an hour may have with one more: one to five.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    pub name: &'static str,
    pub most: u8,
}

/// What strangers can have sent to an address.
const SHARED: &str = "mail budget";

impl Letter {
    /// The folder of its templates.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Verification { .. } => "verification",
            Self::AddPassword { .. } => "add-password",
            Self::Reset { .. } => "reset",
            Self::Code { .. } => "code",
            Self::SignUpAttempt { .. } => "sign-up-attempt",
            Self::NewDevice { .. } => "new-device",
            Self::PasswordChanged { .. } => "password-changed",
            Self::EmailChanged { .. } => "email-changed",
            Self::SecondFactorChanged { .. } => "second-factor-changed",
            Self::RecoveryCodeUsed { .. } => "recovery-code-used",
            Self::SecondFactorGuessed { .. } => "second-factor-guessed",
            Self::RecoveryCodesReplaced { .. } => "recovery-codes-replaced",
            Self::AccountLocked { .. } => "account-locked",
            Self::AccountLinked { .. } => "account-linked",
            Self::AccountUnlinked { .. } => "account-unlinked",
            Self::AccountDeleted { .. } => "account-deleted",
            Self::WebhookDisabled { .. } => "webhook-disabled",
            Self::Test { .. } => "test",
            Self::Custom { .. } => "custom",
        }
    }

    /// What it is counted under for its address, if not only the address's owner can have it sent. Codes are asked
    /// for with a password, so strangers must not be able to use up what codes may be sent; nor, by trying to sign up, what
    /// the owner of an account may need.
    pub(super) const fn budget(&self) -> Option<Budget> {
        Some(match self {
            Self::SignUpAttempt { .. } => Budget { name: SHARED, most: 2 },
            Self::Verification { .. } | Self::AddPassword { .. } => Budget { name: SHARED, most: 4 },
            Self::Reset { .. } => Budget { name: SHARED, most: 5 },
            Self::Code { .. } => Budget { name: "code budget", most: 5 },
            _ => return None,
        })
    }

    /// Whether it tells from where it was caused; an admin's letters don't tell where the admin was, and the program's own
    /// were caused from nowhere.
    pub(super) const fn tells_occasion(&self) -> bool {
        !matches!(self, Self::WebhookDisabled { .. } | Self::Test { .. } | Self::Custom { .. })
    }

    /// The values that its templates show.
    pub(super) fn values(&self, links: &Links) -> Map<String, Value> {
        let values = match self {
            Self::Verification { username, token, hours } | Self::AddPassword { username, token, hours } => {
                json!({ "username": cut(username), "link": links.verification(token), "hours": hours })
            }
            Self::Reset { username, token, minutes } => {
                json!({ "username": cut(username), "link": links.reset(token), "minutes": minutes })
            }
            Self::Code { username, code, minutes } => {
                json!({ "username": cut(username), "code": code.expose_secret(), "minutes": minutes })
            }
            Self::SignUpAttempt { username }
            | Self::NewDevice { username }
            | Self::PasswordChanged { username }
            | Self::RecoveryCodesReplaced { username }
            | Self::SecondFactorGuessed { username }
            | Self::AccountLocked { username } => json!({ "username": cut(username) }),
            Self::EmailChanged { username, new_address } => {
                json!({ "username": cut(username), "new_address": masked(new_address) })
            }
            Self::SecondFactorChanged { username, method } => {
                json!({ "username": cut(username), "method": cut(method) })
            }
            Self::RecoveryCodeUsed { username, left } => json!({ "username": cut(username), "left": left }),
            Self::AccountLinked { username, provider } | Self::AccountUnlinked { username, provider } => {
                json!({ "username": cut(username), "provider": cut(provider) })
            }
            Self::AccountDeleted { username, until } => {
                json!({ "username": cut(username), "until": until.map(day) })
            }
            Self::WebhookDisabled { id, host, description, reason, since } => json!({
                "host": cut(host), "description": cut(description), "reason": reason, "since": since.and_then(minute),
                "link": links.webhook(*id),
            }),
            Self::Test {} => json!({}),
            Self::Custom { subject, text, html } => custom(subject, text, html.as_deref()),
        };
        match values {
            Value::Object(values) => values,
            _ => Map::new(),
        }
    }
}

/// An admin's words, ready to be shown as they are.
fn custom(subject: &str, text: &str, html: Option<&str>) -> Value {
    match html {
        Some(html) => {
            let clean = html::cleaned(html);
            let text = if text.is_empty() { html::as_text(&clean) } else { text.to_owned() };
            json!({ "subject": subject, "text": text, "html": clean })
        }
        None => json!({ "subject": subject, "text": text, "html": html::of_text(text) }),
    }
}

/// Words that somebody chose, fit for one line of a letter.
fn cut(words: &str) -> String {
    words.chars().filter(|char| !char.is_control()).take(LONGEST).collect()
}

/// An address, for people who need not know it: `a***@example.com`.
#[must_use]
pub fn masked(address: &str) -> String {
    let (local, domain) = address.split_once('@').unwrap_or((address, ""));
    let first: String = local.chars().take(1).collect();
    cut(&format!("{first}***@{domain}"))
}

/// `2026-01-31`, in UTC.
fn day(moment: Timestamp) -> Option<String> {
    let time = chrono::DateTime::from_timestamp_millis(moment.millis())?;
    Some(time.format("%Y-%m-%d").to_string())
}

/// `2026-01-31 17:05 UTC`.
pub(super) fn minute(moment: Timestamp) -> Option<String> {
    let time = chrono::DateTime::from_timestamp_millis(moment.millis())?;
    Some(time.format("%Y-%m-%d %H:%M UTC").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::random::Random;
    use crate::sessions::OneTimeToken;

    fn links(verify_url: Option<&str>) -> Links {
        let verify_url = verify_url.map(str::to_owned);
        Links { base_url: "https://id.example.com".into(), verify_url, reset_url: None }
    }

    #[test]
    fn words_that_people_chose_are_cut_and_cleaned() {
        let letter = Letter::NewDevice { username: format!("a\r\nb{}", "x".repeat(100)) };
        let values = letter.values(&links(None));
        assert_eq!(values["username"], format!("ab{}", "x".repeat(62)));
    }

    #[test]
    fn what_no_client_asked_for_came_from_no_address() {
        let occasion = Occasion::of_the_program(Timestamp::from_seconds(1), None);
        assert_eq!(occasion.kept()["ip"], Value::Null);
    }

    #[test]
    fn links_lead_to_the_built_in_page_or_to_the_one_that_was_set() {
        let token = OneTimeToken::new(&Random::seeded(1)).text();
        let text = token.expose().to_owned();
        let letter = Letter::Verification { username: "ann".into(), token, hours: 24 };
        assert_eq!(
            letter.values(&links(None))["link"],
            format!("https://id.example.com/verify?token={text}")
        );
        let set = letter.values(&links(Some("https://app.example.com/#/verify/{token}/now")));
        assert_eq!(set["link"], format!("https://app.example.com/#/verify/{text}/now"));
    }

    #[test]
    fn a_new_address_is_told_without_telling_it() {
        assert_eq!(masked("ann@example.com"), "a***@example.com");
        assert_eq!(masked("ä@example.com"), "ä***@example.com");
    }

    #[test]
    fn no_letter_prints_its_secret() {
        let code = Letter::Code { username: "ann".into(), code: "12345678".into(), minutes: 10 };
        assert!(!format!("{code:?}").contains("12345678"));
    }
}
