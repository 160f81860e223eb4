//! The roles an account can have.

use std::fmt;
use std::str::FromStr;

use crate::platform::shape::Words;

/// A role of S1's set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// May do everything.
    Admin,
    /// Looks after ordinary accounts.
    Moderator,
    /// An ordinary account that sees new things first.
    Tester,
    /// An ordinary account.
    User,
}

impl Role {
    /// Every role, highest first: the order of answers.
    pub const ALL: [Self; 4] = [Self::Admin, Self::Moderator, Self::Tester, Self::User];

    /// Its name in answers, tokens, policies and settings.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Moderator => "moderator",
            Self::Tester => "tester",
            Self::User => "user",
        }
    }

    /// The names, for the OpenAPI document.
    #[must_use]
    pub(crate) fn words() -> Words {
        Words { name: "RoleName", about: "A role.", all: Self::ALL.map(Self::name).to_vec() }
    }

    /// Its bit in the database: never renumber.
    #[must_use]
    pub const fn bit(self) -> i32 {
        match self {
            Self::Admin => 1,
            Self::Moderator => 2,
            Self::Tester => 4,
            Self::User => 8,
        }
    }
}

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(name: &str) -> Result<Self, UnknownRole> {
        Self::ALL.into_iter().find(|role| role.name() == name).ok_or(UnknownRole)
    }
}

/// The name is no role's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be admin, moderator, tester or user")]
pub struct UnknownRole;

/// A set of roles; one small integer in the database, names everywhere else.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Roles(i32);

impl Roles {
    /// From the database's integer; bits that mean nothing are dropped.
    #[must_use]
    pub fn from_bits(bits: i32) -> Self {
        Role::ALL.into_iter().filter(|role| bits & role.bit() != 0).collect()
    }

    /// The integer that the database keeps.
    #[must_use]
    pub const fn bits(self) -> i32 {
        self.0
    }

    /// Whether `role` is among them.
    #[must_use]
    pub const fn has(self, role: Role) -> bool {
        self.0 & role.bit() != 0
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The roles, highest first.
    pub fn iter(self) -> impl Iterator<Item = Role> {
        Role::ALL.into_iter().filter(move |role| self.has(*role))
    }

    /// Their names, highest first.
    #[must_use]
    pub fn names(self) -> Vec<&'static str> {
        self.iter().map(Role::name).collect()
    }
}

impl FromIterator<Role> for Roles {
    fn from_iter<I: IntoIterator<Item = Role>>(roles: I) -> Self {
        Self(roles.into_iter().fold(0, |bits, role| bits | role.bit()))
    }
}

impl From<Role> for Roles {
    fn from(role: Role) -> Self {
        Self(role.bit())
    }
}

impl fmt::Debug for Roles {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_set().entries(self.iter()).finish()
    }
}
