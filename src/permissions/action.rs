//! What can be done: the actions that policies speak of.

use std::fmt;
use std::str::FromStr;

use crate::platform::shape::Words;

/// Makes [`Action`] from the table of `Variant = "noun:verb" "what it means"`.
macro_rules! actions {
    ( $( $variant:ident = $name:literal $words:literal ),+ $(,)? ) => {
        /// Something that a subject may or may not do. Which resource it is done to and what the policies are
        /// told besides stands in `policies/schema.cedarschema`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Action {
            $( #[doc = $words] $variant ),+
        }

        impl Action {
            /// Every action, in the order of their numbers.
            pub const ALL: &'static [Self] = &[ $( Self::$variant ),+ ];

            /// Its name in policies and answers, `noun:verb`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $( Self::$variant => $name ),+
                }
            }

            /// The names, for the OpenAPI document.
            #[must_use]
            pub(crate) fn words() -> Words {
                let all = Self::ALL.iter().map(|action| action.name()).collect();
                Words { name: "PermissionAction", about: "What can be done.", all }
            }
        }
    };
}

actions! {
    UserRead = "user:read" "See what is shown of a person to others.",
    UserReadImage = "user:read-image" "See somebody's picture.",
    UserList = "user:list" "List, count and search accounts, or ask for them by ids.",
    UserCreate = "user:create" "Create an account. Told: fields, roles.",
    UserUpdate = "user:update" "Change fields of an account. Told: fields.",
    UserSetRoles = "user:set-roles" "Give an account other roles. Told: roles.",
    UserReadPrivate = "user:read-private" "See an account in full: e-mail, second factor, block list, metadata.",
    UserHistory = "user:history" "Read an account's history.",
    UserSessions = "user:sessions" "Read an account's list of sessions.",
    UserEndSessions = "user:end-sessions" "Sign an account out.",
    UserSetActive = "user:set-active" "Switch an account on or off.",
    UserBan = "user:ban" "Ban an account.",
    UserUnban = "user:unban" "Lift a ban.",
    UserDelete = "user:delete" "Delete an account; it can be restored for a while.",
    UserRestore = "user:restore" "Bring a deleted account back.",
    UserPurge = "user:purge" "Remove an account for good.",
    UserBlocks = "user:blocks" "Change an account's block list.",
    UserImage = "user:image" "Set or remove an account's picture.",
    UserFile = "user:file" "Attach a file to an account.",
    UserResetMail = "user:reset-mail" "Send an account the link to a new password.",
    FileCreate = "file:create" "Upload a file.",
    FileRead = "file:read" "Read a file and what is known of it.",
    FileUpdate = "file:update" "Change a file's name or description.",
    FileDelete = "file:delete" "Delete a file.",
    DocsSwagger = "docs:swagger" "Use the documentation that sends requests.",
    DocsRedoc = "docs:redoc" "Read the documentation.",
    EmailSingle = "email:single" "Send a mail to one person.",
    EmailMultiple = "email:multiple" "Send a mail to several people.",
    EmailAll = "email:all" "Send a mail to everybody.",
    EmailAuth = "email:auth" "Send the mails of sign-in: codes, reset links, verification links.",
    EmailTest = "email:test" "Send the test mail.",
    FlagsRead = "flags:read" "Read the feature flags with their rules.",
    FlagsUpdate = "flags:update" "Change the feature flags.",
    FlagsEvaluate = "flags:evaluate" "Ask how a flag is for somebody else.",
    DatabaseExport = "database:export" "Take everything out of the database.",
    DatabaseImport = "database:import" "Add rows from a file.",
    DatabaseRecover = "database:recover" "Add and overwrite rows from a file.",
    PermissionsCheck = "permissions:check" "Ask who may do what, and why.",
    TokensIntrospect = "tokens:introspect" "Ask what an access token stands for (RFC 7662).",
    AuditRead = "audit:read" "Read the audit log.",
    StatsRead = "stats:read" "Read the numbers about use.",
    WebhooksRead = "webhooks:read" "Read the webhooks and what came of their deliveries.",
    WebhooksManage = "webhooks:manage" "Make, change, test and remove webhooks.",
    EventsRead = "events:read" "Read the events that are on their way to other systems.",
    EventsReplay = "events:replay" "Have events sent to other systems again.",
    MetricsRead = "metrics:read" "Read the measurements for Prometheus.",
    SystemRead = "system:read" "Read about the machine, the repository and the parts of the health report.",
    KeysRotate = "keys:rotate" "Change the key that signs tokens.",
}

impl FromStr for Action {
    type Err = UnknownAction;

    fn from_str(name: &str) -> Result<Self, UnknownAction> {
        Self::ALL.iter().copied().find(|action| action.name() == name).ok_or(UnknownAction)
    }
}

impl fmt::Display for Action {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

/// The name is no action's: whatever was asked is denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no such action")]
pub struct UnknownAction;

/// A set of actions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Actions(u64);

const _: () = assert!(Action::ALL.len() <= 64, "`Actions` has a bit for each action");

impl Actions {
    pub(super) const fn has(self, action: Action) -> bool {
        self.0 & (1 << action as u8) != 0
    }
}

impl FromIterator<Action> for Actions {
    fn from_iter<I: IntoIterator<Item = Action>>(actions: I) -> Self {
        Self(actions.into_iter().fold(0, |bits, action| bits | 1 << action as u8))
    }
}
