//! What other systems are told of sessions.

use serde::Serialize;
use uuid::Uuid;

use crate::events::Told;

/// Somebody signed in.
#[derive(Debug, Serialize)]
pub(super) struct SessionCreated<'a> {
    /// The session.
    pub(super) session_id: Uuid,
    /// How the person proved who they are (RFC 8176), separated by spaces.
    pub(super) method: &'a str,
    /// What carries it: `token` or `cookie`.
    pub(super) kind: &'a str,
}

impl Told for SessionCreated<'_> {
    const NAME: &'static str = "session.created";
}

/// A session ended.
#[derive(Debug, Serialize)]
pub(super) struct SessionEnded<'a> {
    /// The session.
    pub(super) session_id: Uuid,
    /// How the person had proved who they are.
    pub(super) method: &'a str,
    /// Why it ended: see [`Ending`].
    pub(super) reason: &'a str,
}

impl Told for SessionEnded<'_> {
    const NAME: &'static str = "session.ended";
}

/// Why a session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Its owner signed out.
    Logout,
    /// Its owner, or who holds its token, ended it from elsewhere.
    Revoked,
    /// The password has changed.
    PasswordChanged,
    /// The e-mail address has changed.
    EmailChanged,
    /// The second factor has changed.
    SecondFactorChanged,
    /// An account at another provider signs in no more.
    AccountUnlinked,
    /// The account was banned.
    Banned,
    /// The account was deleted, or removed for good.
    Deleted,
    /// It was not used for too long, or is as old as a session may be.
    Expired,
    /// A spent refresh token came back: somebody has a copy.
    Reuse,
    /// The account was put back to what a file says.
    Recovered,
    /// The account has too many; this one was unseen for longest.
    TooMany,
}

impl Ending {
    /// Its name in events: never rename.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Logout => "logout",
            Self::Revoked => "revoked",
            Self::PasswordChanged => "password_changed",
            Self::EmailChanged => "email_changed",
            Self::SecondFactorChanged => "second_factor_changed",
            Self::AccountUnlinked => "account_unlinked",
            Self::Banned => "banned",
            Self::Deleted => "deleted",
            Self::Expired => "expired",
            Self::Reuse => "reuse",
            Self::Recovered => "recovered",
            Self::TooMany => "too_many",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::type_named;

    #[test]
    fn whoever_listens_can_ask_for_each_type() {
        for name in [SessionCreated::NAME, SessionEnded::NAME] {
            assert_eq!(type_named(name), Some(name));
        }
    }
}
