//! What happened to an account: the one place that every change passes through.
//!
//! A change writes its line of history in its own transaction, so neither exists without the other. Whatever else
//! must commit together with a change (its event for other systems) is written here, too.

use uuid::Uuid;

use super::store;
use crate::platform::clock::Timestamp;
use crate::platform::db::Tx;

/// Who caused a change, and by which request.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    /// The account that asked for it; `None`: the server itself, or somebody without an account.
    pub by: Option<Uuid>,
    /// The session that it came through, which its own change does not end.
    pub session: Option<Uuid>,
    /// The request's trace id.
    pub trace_id: Option<String>,
}

impl Origin {
    /// Whether the account itself asked for it.
    #[must_use]
    pub fn is(&self, user: Uuid) -> bool {
        self.by == Some(user)
    }

    /// The session to be kept when `user`'s others end: the acting one, if it is the user's own.
    #[must_use]
    pub fn session_of(&self, user: Uuid) -> Option<Uuid> {
        self.session.filter(|_| self.is(user))
    }
}

/// What was done to an account. Names are part of the API: never rename.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Made, by sign-up or by somebody who may.
    Created,
    /// Fields of the profile changed.
    Updated,
    /// Another user name.
    Renamed,
    /// Another first, last or middle name.
    FullNameChanged,
    /// Other roles.
    RolesChanged,
    /// May be used again.
    Activated,
    /// May not be used any more.
    Deactivated,
    /// Deleted, to be restored for a while.
    Deleted,
    /// Back again.
    Restored,
    /// Another password.
    PasswordChanged,
    /// Other people on the block list.
    BlocksChanged,
    /// Another e-mail address, proved.
    EmailChanged,
    /// The e-mail address is proved.
    EmailProved,
    /// Another second factor, or none.
    SecondFactorChanged,
    /// New recovery codes; the old ones are void.
    RecoveryCodesReplaced,
    /// A recovery code took the place of the second factor.
    RecoveryCodeUsed,
    /// A file more, uploaded or linked.
    FileAdded,
    /// Another name or description of a file.
    FileChanged,
    /// A file less.
    FileRemoved,
    /// Another picture.
    PictureChanged,
    /// No picture any more.
    PictureRemoved,
}

impl Deed {
    /// Its name in history.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::Renamed => "username_changed",
            Self::FullNameChanged => "full_name_changed",
            Self::RolesChanged => "roles_changed",
            Self::Activated => "activated",
            Self::Deactivated => "deactivated",
            Self::Deleted => "deleted",
            Self::Restored => "restored",
            Self::PasswordChanged => "password_changed",
            Self::BlocksChanged => "blocked_users_changed",
            Self::EmailChanged => "email_changed",
            Self::EmailProved => "email_verified",
            Self::SecondFactorChanged => "second_factor_changed",
            Self::RecoveryCodesReplaced => "recovery_codes_replaced",
            Self::RecoveryCodeUsed => "recovery_code_used",
            Self::FileAdded => "file_added",
            Self::FileChanged => "file_changed",
            Self::FileRemoved => "file_removed",
            Self::PictureChanged => "image_changed",
            Self::PictureRemoved => "image_removed",
        }
    }
}

/// One thing that happened to an account.
#[derive(Clone, Debug)]
pub struct Change<'a> {
    /// Whose account.
    pub user: Uuid,
    /// What was done.
    pub deed: Deed,
    /// In words, for people.
    pub words: String,
    /// By whom.
    pub origin: &'a Origin,
    /// When.
    pub at: Timestamp,
}

/// Records a change in its transaction, under an id that sorts behind those before it. Its event for other systems will be, too.
pub async fn record(tx: &Tx, id: Uuid, change: Change<'_>) -> Result<(), sea_orm::DbErr> {
    let row = store::history::Model {
        id,
        user_id: change.user,
        at: change.at.millis(),
        action: change.deed.name().to_owned(),
        description: change.words,
        by_id: change.origin.by,
        trace_id: change.origin.trace_id.clone(),
    };
    store::add_history(tx, row).await
}
