//! Who carries mails away, and what a mail is to them.

use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use lettre::{Address, Message};
use uuid::Uuid;

use super::Settings;
use super::mailjet::Mailjet;
use super::smtp::Smtp;
use super::templates::Rendered;
use crate::platform::clock::Timestamp;
use crate::platform::config::Delivery;

/// What words about a failure are cut to.
const LONGEST_WORDS: usize = 200;

/// Who carries mails away.
pub(super) enum Carrier {
    /// Nobody: there is no mail.
    None,
    /// Nobody: they stay, to be read at `/dev/inbox`.
    Inbox,
    /// An SMTP server.
    Smtp(Box<Smtp>),
    /// Mailjet.
    Mailjet(Box<Mailjet>),
}

/// A mail, ready to be handed over.
pub(super) struct Outgoing {
    pub id: Uuid,
    pub to: String,
    pub letter: Rendered,
    pub at: Timestamp,
}

/// Why a mail was not handed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Undelivered {
    /// Whether trying again is of no use.
    pub lasting: bool,
    /// What happened, without secrets: for the queue and the log.
    pub words: String,
}

impl Undelivered {
    pub(super) fn passing(words: impl AsRef<str>) -> Self {
        Self { lasting: false, words: one_line(words.as_ref()) }
    }

    pub(super) fn lasting(words: impl AsRef<str>) -> Self {
        Self { lasting: true, words: one_line(words.as_ref()) }
    }
}

fn one_line(words: &str) -> String {
    let shown = words.chars().map(|char| if char.is_control() { ' ' } else { char });
    shown.take(LONGEST_WORDS).collect()
}

impl Carrier {
    pub(super) fn open(settings: &Settings) -> anyhow::Result<Self> {
        let (name, timeout) = (settings.project_name.as_str(), settings.mail.timeout);
        Ok(match &settings.mail.delivery {
            Delivery::None => Self::None,
            Delivery::Inbox => Self::Inbox,
            Delivery::Smtp(smtp) => Self::Smtp(Box::new(Smtp::open(smtp, name, timeout)?)),
            Delivery::Mailjet(mailjet) => Self::Mailjet(Box::new(Mailjet::open(mailjet, name, timeout)?)),
        })
    }

    /// Whether mails could be handed over right now, in words.
    pub(super) async fn check(&self) -> Result<String, String> {
        match self {
            Self::None => Ok("off".to_owned()),
            Self::Inbox => Ok("kept for /dev/inbox".to_owned()),
            Self::Smtp(smtp) => smtp.check().await.map_err(|failure| failure.words),
            Self::Mailjet(_) => Ok("Mailjet, which was not asked".to_owned()),
        }
    }

    /// Hands a mail over. Once this is `Ok`, it is somebody else's to deliver.
    pub(super) async fn hand_over(&self, mail: Outgoing) -> Result<(), Undelivered> {
        match self {
            Self::None => Err(Undelivered::passing("EMAIL_METHOD is none")),
            Self::Inbox => Ok(()),
            Self::Smtp(smtp) => smtp.hand_over(mail).await,
            Self::Mailjet(mailjet) => mailjet.hand_over(mail).await,
        }
    }
}

/// The message as it travels (RFC 5322): one recipient, text and HTML, an id of ours by which a repeated one is known.
pub(super) fn message(mail: Outgoing, from: &Mailbox) -> Result<Message, Undelivered> {
    let Outgoing { id, to, letter, at } = mail;
    let to: Address = to
        .parse()
        .map_err(|error| Undelivered::lasting(format!("the address can't be written to: {error}")))?;
    let millis = u64::try_from(at.millis()).unwrap_or(0);
    let automatic = HeaderName::new_from_ascii_str("Auto-Submitted"); // RFC 3834, 5
    let message = Message::builder()
        .from(from.clone())
        .to(Mailbox::new(None, to))
        .subject(printable(&letter.subject))
        .message_id(Some(format!("<{id}@{}>", from.email.domain())))
        .date(std::time::UNIX_EPOCH + std::time::Duration::from_millis(millis))
        .raw_header(HeaderValue::new(automatic, "auto-generated".to_owned()))
        .multipart(MultiPart::alternative_plain_html(letter.text, letter.html));
    message.map_err(|error| Undelivered::lasting(format!("no message can be made of it: {error}")))
}

/// Whom mails come from: the project, by its address.
pub(super) fn sender(project_name: &str, address: &str) -> anyhow::Result<Mailbox> {
    let email =
        address.parse().map_err(|error| anyhow::anyhow!("the sender's address {address}: {error}"))?;
    Ok(Mailbox::new(Some(printable(project_name)), email))
}

/// Nothing that ends a line can come into a header, whoever made the text.
fn printable(text: &str) -> String {
    text.chars().filter(|char| !char.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outgoing(to: &str, subject: &str) -> Outgoing {
        Outgoing {
            id: Uuid::nil(),
            to: to.into(),
            letter: Rendered {
                subject: subject.into(),
                text: "Grüße\n.\nEnde".into(),
                html: "<p>Grüße</p>".into(),
            },
            at: Timestamp::from_seconds(1_767_225_600),
        }
    }

    #[test]
    fn a_message_has_one_recipient_an_id_and_two_forms() {
        let from = sender("Gate, \"house\"", "gate@example.com").unwrap();
        let message = message(outgoing("ann@example.org", "Hällo"), &from).unwrap();
        assert_eq!(message.envelope().to().len(), 1);
        let text = String::from_utf8(message.formatted()).unwrap();
        for part in [
            "Message-ID: <00000000-0000-0000-0000-000000000000@example.com>",
            "Auto-Submitted: auto-generated",
            "To: ann@example.org",
            "Date: Thu, 01 Jan 2026 00:00:00 +0000",
            "multipart/alternative",
            "text/plain",
            "text/html",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(text.is_ascii());
    }

    #[test]
    fn nothing_in_a_subject_or_address_becomes_a_header() {
        let from = sender("Gate\r\nBcc: evil@example.com", "gate@example.com").unwrap();
        let message = message(outgoing("ann@example.org", "Hi\r\nBcc: evil@example.com"), &from).unwrap();
        let text = String::from_utf8(message.formatted()).unwrap();
        assert!(!text.lines().any(|line| line.to_ascii_lowercase().starts_with("bcc:")), "{text}");
        assert_eq!(message.envelope().to().len(), 1);
        for hostile in
            ["ann@example.org\r\nBcc: evil@example.com", "ann@example.org>,<evil@example.com", "a b@x.test"]
        {
            assert!(
                super::message(outgoing(hostile, "Hi"), &sender("Gate", "gate@example.com").unwrap())
                    .is_err()
            );
        }
    }
}
