//! The second factor: how its codes look, how long they are good, who must have one.

use std::time::Duration;

use chrono::NaiveDate;

use super::catalogue::section;
use super::kinds::{Flag, List, Whole, Word, seconds};
use crate::platform::clock::Timestamp;

section! {
    /// The second factor.
    pub struct Otp {
        /// Digits of a code, of an authenticator as by e-mail.
        length: u8 = "OTP_LENGTH", Whole(6, 8), "6";
        /// How long an authenticator shows a code, in seconds.
        authenticator_interval: Duration = "OTP_AUTHENTICATOR_INTERVAL", seconds(15, 120), "30";
        /// How long a code by e-mail is good, in seconds.
        email_interval: Duration = "OTP_EMAIL_INTERVAL", seconds(60, 600), "600";
        /// Codes that an authenticator shows so many intervals before or after are good, too.
        window: u8 = "TOTP_WINDOW", Whole(0, 1), "1";
        /// Whether codes by e-mail, the weaker factor, may be chosen. Who has chosen them before keeps them.
        email_allowed: bool = "OTP_EMAIL_ALLOWED", Flag, "True";
        /// Roles that need a second factor, each with the day (UTC) from which it holds, if not from now on. Who
        /// lacks it can do nothing but set it up.
        required_roles: Vec<RequiredRole> = "OTP_REQUIRED_ROLES", List(REQUIRED_ROLE), "";
    }
}

/// A role that needs a second factor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequiredRole {
    /// The role's name.
    pub role: String,
    /// From when on; `None`: it holds already.
    pub from: Option<Timestamp>,
}

const REQUIRED_ROLE: Word<RequiredRole> = Word {
    accepts: "admin, moderator, tester or user, with a day behind it if it holds later, as admin=2027-01-31",
    parse: |text| {
        let (role, day) = text.split_once('=').map_or((text, None), |(role, day)| (role, Some(day)));
        let role =
            ["admin", "moderator", "tester", "user"].into_iter().find(|known| *known == role.trim())?;
        let from = match day {
            Some(day) => Some(beginning_of(day.trim())?),
            None => None,
        };
        Some(RequiredRole { role: role.to_owned(), from })
    },
};

/// Midnight (UTC) at which a day begins that is written as 2027-01-31.
fn beginning_of(day: &str) -> Option<Timestamp> {
    let written = day.len() == 10 && day.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    let day = written.then(|| NaiveDate::parse_from_str(day, "%Y-%m-%d").ok())??;
    Some(Timestamp::from_seconds(day.and_hms_opt(0, 0, 0)?.and_utc().timestamp()))
}
