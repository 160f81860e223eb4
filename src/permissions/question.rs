//! The question that is decided: who wants to do what to what, and what is known about it.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

use super::Action;
use crate::sessions::{Caller, Roles};

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Somebody who is not signed in.
    Anonymous,
    /// Somebody with an account.
    Account {
        /// Whose account.
        id: Uuid,
        /// The roles that the account has now, not those written in a token.
        roles: Roles,
        /// Whether the account is neither banned nor switched off nor deleted.
        active: bool,
    },
}

impl Subject {
    /// An active account.
    #[must_use]
    pub const fn account(id: Uuid, roles: Roles) -> Self {
        Self::Account { id, roles, active: true }
    }

    /// The id of the account; nothing for somebody who is not signed in.
    #[must_use]
    pub const fn id(&self) -> Option<Uuid> {
        match self {
            Self::Anonymous => None,
            Self::Account { id, .. } => Some(*id),
        }
    }
}

/// A caller's account was found active when the request came in.
impl From<&Caller> for Subject {
    fn from(caller: &Caller) -> Self {
        Self::account(caller.user_id, caller.roles)
    }
}

/// An account that something is done to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, each an attribute in the policies")]
pub struct Account {
    /// Whose account.
    pub id: Uuid,
    /// The roles that it has now.
    pub roles: Roles,
    /// Whether it is neither banned nor switched off.
    pub active: bool,
    /// Whether it is deleted.
    pub deleted: bool,
    /// Whether it has the subject on its block list.
    pub blocks_subject: bool,
    /// Whether the subject has it on the own block list.
    pub blocked_by_subject: bool,
}

impl Account {
    /// An active account; nobody blocks anybody.
    #[must_use]
    pub const fn active(id: Uuid, roles: Roles) -> Self {
        Self { id, roles, active: true, deleted: false, blocks_subject: false, blocked_by_subject: false }
    }
}

/// A file that something is done to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct File<'a> {
    /// Which file.
    pub id: i64,
    /// Who uploaded it.
    pub owner: Account,
    /// The accounts that it is linked to.
    pub linked: &'a [Uuid],
}

/// What something is done to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource<'a> {
    /// Gatehouse itself: the action has no object.
    System,
    /// Somebody's account.
    Account(Account),
    /// A file.
    File(File<'a>),
}

/// What else is known. Policies are told only what the schema promises for the action.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Context {
    /// The fields that would be written; for `user:create` and `user:update`.
    pub fields: Fields,
    /// The roles that the account would have; for `user:create` and `user:set-roles`.
    pub roles: Roles,
    /// Whether members may search one another (`USER_DIRECTORY=members`); for `user:list`.
    pub directory_open: bool,
}

/// A field of an account that can be written. Roles and the active flag have actions of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names say it; what a field holds is told where it is written")]
pub enum Field {
    Username,
    DisplayName,
    Email,
    EmailVerified,
    FirstName,
    MiddleName,
    LastName,
    Description,
    Locale,
    Metadata,
    Password,
    Uuid,
}

impl Field {
    /// Every field, in the order of their bits.
    pub const ALL: [Self; 12] = [
        Self::Username,
        Self::DisplayName,
        Self::Email,
        Self::EmailVerified,
        Self::FirstName,
        Self::MiddleName,
        Self::LastName,
        Self::Description,
        Self::Locale,
        Self::Metadata,
        Self::Password,
        Self::Uuid,
    ];

    /// Its name in request bodies and policies.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Username => "username",
            Self::DisplayName => "display_name",
            Self::Email => "email",
            Self::EmailVerified => "email_verified",
            Self::FirstName => "first_name",
            Self::MiddleName => "middle_name",
            Self::LastName => "last_name",
            Self::Description => "description",
            Self::Locale => "locale",
            Self::Metadata => "metadata",
            Self::Password => "password",
            Self::Uuid => "uuid",
        }
    }
}

impl FromStr for Field {
    type Err = UnknownField;

    fn from_str(name: &str) -> Result<Self, UnknownField> {
        Self::ALL.into_iter().find(|field| field.name() == name).ok_or(UnknownField)
    }
}

/// The name is no field's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no such field")]
pub struct UnknownField;

/// A set of fields.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Fields(u16);

impl Fields {
    /// Whether `field` is among them.
    #[must_use]
    pub const fn has(self, field: Field) -> bool {
        self.0 & (1 << field as u8) != 0
    }

    /// The fields, in the order of [`Field::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Field> {
        Field::ALL.into_iter().filter(move |field| self.has(*field))
    }

    pub(super) const fn bits(self) -> u16 {
        self.0
    }
}

impl FromIterator<Field> for Fields {
    fn from_iter<I: IntoIterator<Item = Field>>(fields: I) -> Self {
        Self(fields.into_iter().fold(0, |bits, field| bits | 1 << field as u8))
    }
}

impl fmt::Debug for Fields {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_set().entries(self.iter()).finish()
    }
}

/// A question with everything in it that policies are shown, and nothing else. Both the entities for Cedar and the
/// key of the memo are made from this, so they can't differ about what matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Question {
    pub(super) action: Action,
    pub(super) subject: Subject,
    pub(super) object: Object,
    pub(super) told: Told,
}

/// A context as policies see it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) fields: Option<Fields>,
    pub(super) roles: Option<Roles>,
    pub(super) directory_open: Option<bool>,
}

/// A resource as policies see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Object {
    System,
    Account(Account),
    File { id: i64, owner: Account, linked_to_subject: bool },
}

impl Question {
    pub(super) fn new(subject: &Subject, action: Action, resource: &Resource<'_>, context: Context) -> Self {
        let mut question = Self {
            action,
            subject: *subject,
            object: Object::of(resource, subject),
            told: Told::of(action, context),
        };
        question.agree_on_oneself();
        question
    }

    /// The one who asks, as an account; nothing for somebody who is not signed in.
    pub(super) fn principal(&self) -> Option<Account> {
        let Subject::Account { id, roles, active } = self.subject else { return None };
        let own = self.account().copied().filter(|_| self.is_own());
        Some(own.unwrap_or(Account { active, ..Account::active(id, roles) }))
    }

    /// The account that the object is or belongs to.
    pub(super) const fn account(&self) -> Option<&Account> {
        match &self.object {
            Object::System => None,
            Object::Account(account) | Object::File { owner: account, .. } => Some(account),
        }
    }

    /// Whether the subject is, or owns, the object.
    pub(super) fn is_own(&self) -> bool {
        self.account().is_some_and(|account| Some(account.id) == self.subject.id())
    }

    /// Cedar knows one entity per id. Where the account was read twice with different outcome (a demotion came
    /// between), the entity has only what both readings grant.
    fn agree_on_oneself(&mut self) {
        if !self.is_own() {
            return;
        }
        if let Subject::Account { roles, active, .. } = &mut self.subject
            && let Object::Account(account) | Object::File { owner: account, .. } = &mut self.object
        {
            account.roles = Roles::from_bits(account.roles.bits() & roles.bits());
            account.active &= *active;
            (*roles, *active) = (account.roles, account.active);
        }
    }
}

impl Object {
    fn of(resource: &Resource<'_>, subject: &Subject) -> Self {
        match resource {
            Resource::System => Self::System,
            Resource::Account(account) => Self::Account(*account),
            Resource::File(File { id, owner, linked }) => Self::File {
                id: *id,
                owner: *owner,
                linked_to_subject: subject.id().is_some_and(|id| linked.contains(&id)),
            },
        }
    }
}

impl Told {
    /// The part of the context that the schema promises for the action.
    fn of(action: Action, context: Context) -> Self {
        let Context { fields, roles, directory_open } = context;
        match action {
            Action::UserList => Self { directory_open: Some(directory_open), ..Self::default() },
            Action::UserCreate => Self { fields: Some(fields), roles: Some(roles), ..Self::default() },
            Action::UserUpdate => Self { fields: Some(fields), ..Self::default() },
            Action::UserSetRoles => Self { roles: Some(roles), ..Self::default() },
            _ => Self::default(),
        }
    }
}
