//! Accounts: who may sign up, who sees whom, the first admin, how often the door may be tried.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::catalogue::section;
use super::kinds::{Choice, Flag, Optional, SECRET_TEXT, TEXT, Word, days};
use super::mistake::Mistake;
use super::passwords::MIN_LENGTH;
use super::reader::{Noted, Reader};
use super::server::ENVIRONMENT;
use super::weakness;

section! {
    /// Sign-up.
    pub struct SignUp {
        /// Whether people may sign up by themselves.
        enabled: bool = "REGISTRATION_ENABLED", Flag, "True";
        /// Whether an account exists only once its e-mail address is proved; unset: when mail is on.
        require_verification: Option<bool> = "REQUIRE_EMAIL_VERIFICATION", Optional(Flag), "";
        /// Whether an address is refused whose domain takes no mail; unset: everywhere but in `local`.
        check_mx: Option<bool> = "EMAIL_CHECK_MX", Optional(Flag), "";
    }
}

section! {
    /// How often a client may do what must not be guessed or costs much: a count, `/`, a time in s, m, h or d.
    pub struct Throttles {
        /// Failed sign-ins per client.
        login: Quota = "THROTTLE_LOGIN", QUOTA, "20/15m";
        /// Sign-ups per client.
        register: Quota = "THROTTLE_REGISTER", QUOTA, "30/1h";
        /// Links to a new password, or to prove an address, that a client asks for.
        forgot: Quota = "THROTTLE_FORGOT", QUOTA, "10/1h";
        /// Sign-ins through another provider that a client begins.
        oauth: Quota = "THROTTLE_OAUTH", QUOTA, "60/1h";
        /// Files and pictures that a client sends.
        upload: Quota = "THROTTLE_UPLOAD", QUOTA, "300/1h";
    }
}

section! {
    /// People with an account.
    pub struct Users {
        /// Who may list and search users: `staff`, or `members`, which is everybody who is signed in.
        directory: Directory = "USER_DIRECTORY", DIRECTORY, "staff";
        /// Whether a display name may be anything, not only a form of the username.
        display_name_free: bool = "DISPLAY_NAME_FREE", Flag, "False";
        /// How long a deleted account can be restored, in days.
        deleted_retention: Duration = "DELETED_USER_RETENTION_DAYS", days(0, 36500), "30";
        /// How long the history of an account is kept, in days.
        history_retention: Duration = "HISTORY_RETENTION_DAYS", days(1, 36500), "365";
        /// How long events for other systems are kept, in days: longer than a webhook is tried.
        event_retention: Duration = "EVENT_RETENTION_DAYS", days(4, 36500), "90";
        derived {
            /// Fewest characters of a username: 1 in `local`, 5 elsewhere.
            username_min: usize = username_min;
        }
    }
}

section! {
    /// The first admin as it was written.
    struct WrittenAdmin {
        /// Username of the admin that is made on an empty database; unset: a set-up link is printed once.
        username: Option<String> = "ADMIN_USERNAME", Optional(TEXT), "";
        /// E-mail address of that admin.
        email: Option<String> = "ADMIN_EMAIL", Optional(EMAIL), "";
        /// Password of that admin.
        password: Option<SecretString> = "ADMIN_PASSWORD", Optional(SECRET_TEXT), "";
    }
}

/// The settings of accounts.
pub(super) const SETTINGS: [&[super::Setting]; 4] =
    [SignUp::SETTINGS, WrittenAdmin::SETTINGS, Users::SETTINGS, Throttles::SETTINGS];

/// Who may list and search users.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Directory {
    /// Admins and moderators.
    Staff,
    /// Everybody who is signed in.
    Members,
}

const DIRECTORY: Choice<Directory> = Choice(&[("staff", Directory::Staff), ("members", Directory::Members)]);

/// At most `limit` times within `window`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// How many times.
    pub limit: u32,
    /// Within how long.
    pub window: Duration,
}

const QUOTA: Word<Quota> =
    Word { accepts: "a count and a time up to 31 days, as 20/15m, with s, m, h or d", parse: quota };

fn quota(text: &str) -> Option<Quota> {
    const LONGEST: u64 = 31 * 86400;
    let (limit, window) = text.split_once('/')?;
    let limit = limit.trim().parse().ok().filter(|limit| *limit > 0)?;
    let window = window.trim();
    let unit = window.chars().last()?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86400,
        _ => return None,
    };
    let count: u64 = window.strip_suffix(unit)?.parse().ok()?;
    let window = count.checked_mul(seconds).filter(|window| (1..=LONGEST).contains(window))?;
    Some(Quota { limit, window: Duration::from_secs(window) })
}

/// Without mail no address can be proved, and nobody could sign up.
pub(super) fn check_verification(sign_up: &SignUp, mail: &Result<super::Mail, Noted>, reader: &mut Reader) {
    let off = mail.as_ref().is_ok_and(|mail| matches!(mail.delivery, super::Delivery::None));
    if off && sign_up.require_verification == Some(true) {
        let words = "REQUIRE_EMAIL_VERIFICATION is on, but EMAIL_METHOD sends no mail: set EMAIL_METHOD";
        reader.note(Mistake::new(words));
    }
}

fn username_min(reader: &mut Reader) -> Result<usize, Noted> {
    reader.value("ENVIRONMENT", &ENVIRONMENT).map(|environment| if environment.is_local() { 1 } else { 5 })
}

/// Who is admin of an empty database.
#[derive(Clone, Debug)]
pub struct FirstAdmin {
    /// The name to sign in with; the users' own rules judge it.
    pub username: String,
    /// The address, if there is one.
    pub email: Option<String>,
    /// The password; the passwords' own rules judge it too.
    pub password: SecretString,
}

impl FirstAdmin {
    /// All of it or none.
    pub(super) fn read(reader: &mut Reader) -> Result<Option<Self>, Noted> {
        let WrittenAdmin { username, email, password } = WrittenAdmin::read(reader)?;
        match (username, password) {
            (None, None) if email.is_none() => Ok(None),
            (Some(username), Some(password)) => {
                check_password(&password, reader)?;
                Ok(Some(Self { username, email, password }))
            }
            (username, _) => {
                let missing = if username.is_none() { "ADMIN_USERNAME" } else { "ADMIN_PASSWORD" };
                let words =
                    "is not set, though other ADMIN_ variables are: set both name and password, or none";
                Err(reader.note(Mistake::new(format!("{missing} {words}"))))
            }
        }
    }
}

fn check_password(password: &SecretString, reader: &mut Reader) -> Result<(), Noted> {
    if weakness::is_placeholder(password.expose_secret()) {
        return Err(reader.refuse("ADMIN_PASSWORD", "a password of your own, no placeholder"));
    }
    let shortest = reader.value("PASSWORD_MIN_LENGTH", &MIN_LENGTH)?;
    if password.expose_secret().chars().count() < shortest {
        return Err(reader.refuse("ADMIN_PASSWORD", &format!("{shortest} characters or more")));
    }
    Ok(())
}

const EMAIL: Word<String> = Word {
    accepts: "an e-mail address",
    parse: |text| {
        let (local, domain) = text.rsplit_once('@')?;
        let plain = !local.is_empty()
            && !domain.is_empty()
            && !text.contains(|c: char| c.is_whitespace() || c.is_control());
        (plain && text.len() <= 254).then(|| text.to_owned())
    },
};
