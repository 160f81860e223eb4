//! Mail: how it leaves, who it is from, what its links lead to.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use lettre::Address;
use secrecy::SecretString;
use url::Url;

use super::catalogue::section;
use super::kinds::{Choice, Optional, SECRET_TEXT, TEXT, Whole, Word, seconds};
use super::mistake::Mistake;
use super::reader::{Noted, Reader};
use super::server::WEB_ADDRESS;

section! {
    /// Mail as it was written.
    struct WrittenMail {
        /// How mails leave: `none`, `smtp`, or `mj` (Mailjet). `inbox`, in `local` only, keeps them to be read at
        /// `/dev/inbox`.
        method: Method = "EMAIL_METHOD", METHOD, "none";
        /// Address of a person who helps; shown in mails, and where test mails go.
        contact: Option<String> = "CONTACT_EMAIL", Optional(ADDRESS), "";
        /// How long handing one mail over may take, in seconds.
        timeout: Duration = "EMAIL_TIMEOUT_SECONDS", seconds(1, 300), "30";
        /// Where the link in a mail that proves an address leads; unset: a page of this server.
        verify_url: Option<String> = "VERIFY_URL", Optional(LINK), "";
        /// Where the link in a mail to a new password leads; unset: a page of this server.
        reset_url: Option<String> = "RESET_URL", Optional(LINK), "";
        /// A MaxMind database (GeoLite2 City or Country), from which mails name the place of a sign-in.
        geoip_database: Option<PathBuf> = "GEOIP_DATABASE", Optional(FILE), "";
    }
}

section! {
    /// The SMTP server as it was written.
    struct WrittenSmtp {
        /// Name of the SMTP server.
        host: Option<String> = "SMTP_HOST", Optional(TEXT), "";
        /// Its port; unset: 587 with starttls, 465 with implicit, 25 with none.
        port: Option<u16> = "SMTP_PORT", Optional(Whole(1, 65535)), "";
        /// How the connection is protected. True is starttls, on port 465 implicit; False is none.
        tls: Tls = "SMTP_TLS", TLS, "True";
        /// User name for the SMTP server, if it asks for one.
        user: Option<String> = "SMTP_USER", Optional(TEXT), "";
        /// Password of that user.
        password: Option<SecretString> = "SMTP_PASSWORD", Optional(SECRET_TEXT), "";
        /// Address that mails by SMTP come from.
        sender: Option<String> = "SMTP_SENDER_EMAIL", Optional(ADDRESS), "";
        /// Certificates (PEM) of authorities to trust besides the public ones.
        ca_file: Option<PathBuf> = "SMTP_CA_FILE", Optional(FILE), "";
    }
}

section! {
    /// Mailjet as it was written.
    struct WrittenMailjet {
        /// Public part of the Mailjet key.
        public_key: Option<String> = "MJ_APIKEY_PUBLIC", Optional(TEXT), "";
        /// Private part of the Mailjet key.
        private_key: Option<SecretString> = "MJ_APIKEY_PRIVATE", Optional(SECRET_TEXT), "";
        /// Address that mails by Mailjet come from.
        sender: Option<String> = "MJ_SENDER_EMAIL", Optional(ADDRESS), "";
        /// Where Mailjet is; another for tests and proxies.
        base_url: Url = "MAILJET_BASE_URL", WEB_ADDRESS, "https://api.mailjet.com";
    }
}

/// The settings of mail.
pub(super) const SETTINGS: [&[super::Setting]; 3] =
    [WrittenMail::SETTINGS, WrittenSmtp::SETTINGS, WrittenMailjet::SETTINGS];

/// Mail.
#[derive(Clone, Debug)]
pub struct Mail {
    /// How mails leave.
    pub delivery: Delivery,
    /// Address of a person who helps.
    pub contact: Option<String>,
    /// How long handing one mail over may take.
    pub timeout: Duration,
    /// Where the link that proves an address leads, with `{token}` in it; none: the built-in page.
    pub verify_url: Option<String>,
    /// Where the link to a new password leads, with `{token}` in it; none: the built-in page.
    pub reset_url: Option<String>,
    /// A MaxMind database.
    pub geoip_database: Option<PathBuf>,
}

/// How mails leave.
#[derive(Clone, Debug)]
pub enum Delivery {
    /// Not at all: nothing is ever queued.
    None,
    /// They stay, to be read at `/dev/inbox`.
    Inbox,
    /// By an SMTP server.
    Smtp(Smtp),
    /// By Mailjet.
    Mailjet(Mailjet),
}

/// An SMTP server.
#[derive(Clone, Debug)]
pub struct Smtp {
    /// Its name.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the connection is protected.
    pub protection: Protection,
    /// Who we are to it: name and password.
    pub credentials: Option<(String, SecretString)>,
    /// Whom mails come from.
    pub sender: String,
    /// Authorities to trust besides the public ones.
    pub ca_file: Option<PathBuf>,
}

/// How a connection to an SMTP server is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protection {
    /// It begins in the clear and must change to TLS before anything is said (RFC 3207).
    StartTls,
    /// TLS from the first byte (RFC 8314).
    Implicit,
    /// Not at all.
    None,
}

/// An account at Mailjet.
#[derive(Clone, Debug)]
pub struct Mailjet {
    /// The key's public part.
    pub public_key: String,
    /// The key's private part.
    pub private_key: SecretString,
    /// Whom mails come from.
    pub sender: String,
    /// Where it is.
    pub base_url: Url,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    None,
    Inbox,
    Smtp,
    Mailjet,
}

const METHOD: Choice<Method> = Choice(&[
    ("none", Method::None),
    ("smtp", Method::Smtp),
    ("mj", Method::Mailjet),
    ("inbox", Method::Inbox),
]);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tls {
    On,
    Exactly(Protection),
}

const TLS: Word<Tls> = Word {
    accepts: "starttls, implicit, none, True or False",
    parse: |text| match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Some(Tls::On),
        "starttls" => Some(Tls::Exactly(Protection::StartTls)),
        "implicit" => Some(Tls::Exactly(Protection::Implicit)),
        "none" | "false" | "0" | "no" | "off" => Some(Tls::Exactly(Protection::None)),
        _ => None,
    },
};

/// An address as it may stand in a message.
const ADDRESS: Word<String> = Word {
    accepts: "an e-mail address",
    parse: |text| Address::from_str(text).ok().map(|address| address.to_string()),
};

const LINK: Word<String> = Word {
    accepts: "an http or https address with {token} in it, as https://example.com/verify?token={token}",
    parse: |text| {
        let (before, after) = text.split_once("{token}")?;
        let url = Url::parse(&format!("{before}x{after}")).ok()?;
        // The host must be whole before the token begins: whoever gets a mail must not choose where it leads.
        let host_is_fixed = before.split_once("://").is_some_and(|(_, rest)| rest.contains(['/', '?', '#']));
        let is_web = matches!(url.scheme(), "http" | "https") && url.username().is_empty();
        let is_plain =
            !after.contains("{token}") && !text.contains(|c: char| c.is_whitespace() || c.is_control());
        (is_web && host_is_fixed && is_plain).then(|| text.to_owned())
    },
};

const FILE: Word<PathBuf> = Word {
    accepts: "the path of a file",
    parse: |text| (!text.is_empty() && !text.contains('\0')).then(|| PathBuf::from(text)),
};

impl Mail {
    /// What is incomplete ends the start; in `local` there is no mail then, and a warning.
    pub(super) fn read(reader: &mut Reader) -> Result<Self, Noted> {
        let (written, smtp, mailjet) =
            (WrittenMail::read(reader), WrittenSmtp::read(reader), WrittenMailjet::read(reader));
        let WrittenMail { method, contact, timeout, verify_url, reset_url, geoip_database } = written?;
        let local = reader.is_local();
        let delivery = match method {
            Method::None => Ok(Delivery::None),
            Method::Inbox if local => Ok(Delivery::Inbox),
            Method::Inbox => {
                return Err(reader.refuse("EMAIL_METHOD", "none, smtp or mj outside ENVIRONMENT=local"));
            }
            Method::Smtp => smtp?.complete().map(Delivery::Smtp),
            Method::Mailjet => mailjet?.complete().map(Delivery::Mailjet),
        };
        let delivery = match delivery {
            Ok(delivery) => delivery,
            Err(missing) if local => {
                let missing = missing.join(", ");
                reader.warn(format!("no mail is sent: EMAIL_METHOD is set, but not {missing}"));
                Delivery::None
            }
            Err(missing) => {
                let words = match &missing[..] {
                    [one] => format!("{one} is not set, though EMAIL_METHOD needs it"),
                    many => format!("{} are not set, though EMAIL_METHOD needs them", many.join(", ")),
                };
                return Err(reader.note(Mistake::new(words)));
            }
        };
        warn_of_clear_text(&delivery, reader);
        Ok(Self { delivery, contact, timeout, verify_url, reset_url, geoip_database })
    }
}

impl WrittenSmtp {
    /// The server, or the settings that are missing.
    fn complete(self) -> Result<Smtp, Vec<&'static str>> {
        let protection = match (self.tls, self.port) {
            (Tls::On, Some(465)) => Protection::Implicit,
            (Tls::On, _) => Protection::StartTls,
            (Tls::Exactly(protection), _) => protection,
        };
        let usual = match protection {
            Protection::StartTls => 587,
            Protection::Implicit => 465,
            Protection::None => 25,
        };
        let port = self.port.unwrap_or(usual);
        match (self.host, self.sender, self.user, self.password) {
            (Some(host), Some(sender), user, password) if user.is_some() == password.is_some() => {
                let credentials = user.zip(password);
                Ok(Smtp { host, port, protection, credentials, sender, ca_file: self.ca_file })
            }
            (host, sender, user, password) => Err(lacking(&[
                ("SMTP_HOST", host.is_some()),
                ("SMTP_SENDER_EMAIL", sender.is_some()),
                ("SMTP_USER", user.is_some() || password.is_none()),
                ("SMTP_PASSWORD", password.is_some() || user.is_none()),
            ])),
        }
    }
}

impl WrittenMailjet {
    /// The account, or the settings that are missing.
    fn complete(self) -> Result<Mailjet, Vec<&'static str>> {
        match (self.public_key, self.private_key, self.sender) {
            (Some(public_key), Some(private_key), Some(sender)) => {
                Ok(Mailjet { public_key, private_key, sender, base_url: self.base_url })
            }
            (public_key, private_key, sender) => Err(lacking(&[
                ("MJ_APIKEY_PUBLIC", public_key.is_some()),
                ("MJ_APIKEY_PRIVATE", private_key.is_some()),
                ("MJ_SENDER_EMAIL", sender.is_some()),
            ])),
        }
    }
}

/// The names of the settings that are not there.
fn lacking(settings: &[(&'static str, bool)]) -> Vec<&'static str> {
    settings.iter().filter(|(_, is_there)| !is_there).map(|(name, _)| *name).collect()
}

/// A password in the clear is rarely meant.
fn warn_of_clear_text(delivery: &Delivery, reader: &mut Reader) {
    if let Delivery::Smtp(Smtp { protection: Protection::None, credentials: Some(_), .. }) = delivery {
        reader.warn("SMTP_TLS is off: SMTP_PASSWORD travels in the clear");
    }
}
