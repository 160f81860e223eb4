//! What is written, to whom, in which language, and why.

use std::net::IpAddr;

use secrecy::SecretString;
use uuid::Uuid;

use crate::platform::clock::Timestamp;
use crate::platform::web::ClientInfo;
use crate::sessions::OpaqueToken;

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

/// The request that causes a letter: from where, with what, when.
#[derive(Clone, Debug)]
pub struct Occasion {
    /// The client's address.
    pub ip: IpAddr,
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
            ip: client.ip,
            user_agent: client.user_agent.clone(),
            at,
            trace_id: Some(client.trace_id.to_string()),
        }
    }
}

/// What is written: a variant for each folder of `templates/email/`. Words that people chose are data: escaped, and
/// cut to 64 characters.
#[derive(Debug)]
#[expect(missing_docs, reason = "the fields are named as the templates name them")]
pub enum Letter {
    /// Prove that this address is yours.
    Verification { username: String, token: OpaqueToken, hours: u64 },
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
    /// A recovery code was used.
    RecoveryCodeUsed { username: String, left: u64 },
    /// Too many failed sign-ins.
    AccountLocked { username: String },
    /// Another provider's account signs in to yours.
    AccountLinked { username: String, provider: String },
    /// It no longer does.
    AccountUnlinked { username: String, provider: String },
    /// Your account was deleted; until then it can be restored.
    AccountDeleted { username: String, until: Option<Timestamp> },
    /// Whether mails arrive at all.
    Test {},
    /// An admin's own words; never a template.
    Custom { subject: String, text: String, html: Option<String> },
}
