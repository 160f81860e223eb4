//! What happened to an account: the one place that every change passes through.
//!
//! A change writes its line of history and its events for other systems in its own transaction, so none exists without
//! the others.

use std::borrow::Cow;

use sea_orm::DbErr;
use serde_json::Map;
use uuid::Uuid;

use super::store::{history, user};
use super::text::as_prose;
use super::{Users, at_once, told};
use crate::audit::{Entry, Subject};
use crate::events::{Event, Told};
use crate::platform::clock::Timestamp;
use crate::platform::db::Tx;
use crate::platform::problem::Breakage;
use crate::platform::web::ClientInfo;
use crate::sessions::Caller;

/// Who caused a change, and by which request.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    /// The account that asked for it; `None`: the server itself, or somebody without an account.
    pub by: Option<Uuid>,
    /// The session that it came through, which its own change does not end.
    pub session: Option<Uuid>,
    /// The request's trace id.
    pub trace_id: Option<String>,
    /// Who was let in to ask for it.
    pub caller: Option<Caller>,
}

impl Origin {
    /// The caller, by this request.
    #[must_use]
    pub fn of(caller: &Caller, client: &ClientInfo) -> Self {
        let own = Self::of_oneself(caller.user_id, Some(caller.session_id), client);
        Self { caller: Some(caller.clone()), ..own }
    }

    /// Whoever changes their own account, by this request.
    #[must_use]
    pub fn of_oneself(user: Uuid, session: Option<Uuid>, client: &ClientInfo) -> Self {
        Self { by: Some(user), session, trace_id: Some(client.trace_id.to_string()), caller: None }
    }

    /// Holds whoever asks, and whom they act on, before anything else of the transaction; refused if they may not ask any
    /// more, see [`Caller::hold_in`].
    pub async fn hold_in(&self, tx: &Tx, target: Uuid) -> Result<(), Breakage> {
        match &self.caller {
            Some(caller) => caller.hold_in(tx, target).await,
            None => Ok(()),
        }
    }

    /// Whether the account itself asked for it.
    #[must_use]
    pub fn is(&self, user: Uuid) -> bool {
        self.by == Some(user)
    }

    /// Whether somebody else than the account itself asked for it.
    #[must_use]
    pub fn is_another(&self, user: Uuid) -> bool {
        self.by.is_some_and(|by| by != user)
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
    /// Banned; the words are the reason.
    Banned,
    /// The ban was lifted; the words are the reason.
    Unbanned,
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
    /// An account at another provider signs in to it.
    ExternalAccountLinked,
    /// It no longer does.
    ExternalAccountUnlinked,
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
            Self::Banned => "banned",
            Self::Unbanned => "unbanned",
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
            Self::ExternalAccountLinked => "external_account_linked",
            Self::ExternalAccountUnlinked => "external_account_unlinked",
        }
    }

    /// Whether it is told in the history of everybody who has the file: who changed it may be any of them. Such a deed is
    /// written into the log of what staff did by itself, see [`Users::audit_deed_in`].
    const fn is_of_files(self) -> bool {
        matches!(
            self,
            Self::FileAdded
                | Self::FileChanged
                | Self::FileRemoved
                | Self::PictureChanged
                | Self::PictureRemoved
        )
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

impl Change<'_> {
    /// An event that tells of it.
    pub(super) fn event<T: Told>(&self, told: &T) -> Result<Event, DbErr> {
        Event::new(self.user, told, self.origin.trace_id.clone(), self.at)
    }

    /// Its line of history, under an id that sorts behind those before it.
    pub(super) fn line(self, id: Uuid) -> history::Model {
        history::Model {
            id,
            user_id: self.user,
            at: self.at.millis(),
            action: self.deed.name().to_owned(),
            // It travels in exports, which hold nothing that can't be seen; a name from before may.
            description: as_prose(self.words),
            by_id: self.origin.by,
            trace_id: self.origin.trace_id.clone(),
        }
    }
}

impl Users {
    /// Records a change in its transaction: its line of history, and the events that tell of it.
    pub(super) async fn record(&self, tx: &Tx, change: Change<'_>, told: Vec<Event>) -> Result<(), DbErr> {
        let (user, at, origin, deed) = (change.user, change.at, change.origin, change.deed);
        let line = change.line(self.history_ids.next(&self.random, at));
        let lines = [line];
        at_once::write_down(tx, user, &lines, &self.events.draw(tx, told)).await?;
        if deed.is_of_files() { Ok(()) } else { self.audit_lines(tx, user, &lines, origin).await }
    }

    /// The same of a change that comes to several lines.
    pub(super) async fn record_all(
        &self,
        tx: &Tx,
        user: Uuid,
        lines: &[history::Model],
        told: Vec<Event>,
        origin: &Origin,
    ) -> Result<(), DbErr> {
        at_once::write_down(tx, user, lines, &self.events.draw(tx, told)).await?;
        self.audit_lines(tx, user, lines, origin).await
    }

    /// What somebody did to another's account goes into the log of what staff did.
    async fn audit_lines(
        &self,
        tx: &Tx,
        user: Uuid,
        lines: &[history::Model],
        origin: &Origin,
    ) -> Result<(), DbErr> {
        if !origin.is_another(user) {
            return Ok(());
        }
        for line in lines {
            self.audit_in(tx, user, line.action.clone(), &line.description, origin).await?;
        }
        Ok(())
    }

    /// Writes what somebody did to another's account into the log of what staff did: for a deed that several people's
    /// histories tell of. It comes last, once all of them were held.
    pub async fn audit_deed_in(&self, tx: &Tx, user: Uuid, deed: Deed, origin: &Origin) -> Result<(), DbErr> {
        if !origin.is_another(user) {
            return Ok(());
        }
        self.audit_in(tx, user, deed.name(), "", origin).await
    }

    /// Writes what the operator did to an account, from the command line or by settings, into the log of what staff did.
    pub async fn audit_operator_in(&self, tx: &Tx, user: Uuid, action: &'static str) -> Result<(), DbErr> {
        self.audit.record(tx, Entry::by_operator(action, Subject::User(user))).await
    }

    /// Writes what was done to an account into the log of what staff did.
    pub(super) async fn audit_in(
        &self,
        tx: &Tx,
        user: Uuid,
        action: impl Into<Cow<'static, str>>,
        words: &str,
        origin: &Origin,
    ) -> Result<(), DbErr> {
        let mut details = Map::new();
        if !words.is_empty() {
            details.insert("description".to_owned(), words.into());
        }
        let entry = Entry {
            actor: origin.by,
            action: action.into(),
            subject: Subject::User(user),
            details,
            trace_id: origin.trace_id.clone(),
        };
        self.audit.record(tx, entry).await
    }

    /// Changes the row of a user as it was seen, and records that, in one trip. `None`: the row has changed since, and
    /// nothing was written.
    pub(super) async fn change_and_record(
        &self,
        tx: &Tx,
        seen: &user::Model,
        columns: &user::ActiveModel,
        lines: &[history::Model],
        (origin, at): (&Origin, Timestamp),
    ) -> Result<Option<user::Model>, DbErr> {
        let row = at_once::applied(seen, columns)?;
        let told = self.events.draw(tx, told::of_change(seen, &row, origin, at)?);
        Ok(at_once::change(tx, seen, columns, lines, &told).await?.then_some(row))
    }

    /// Tells other systems of something that stands beside the row of a user, who is held.
    pub async fn tell_in<T: Told>(
        &self,
        tx: &Tx,
        user: Uuid,
        told: &T,
        origin: &Origin,
    ) -> Result<(), DbErr> {
        let event = Event::new(user, told, origin.trace_id.clone(), self.clock.now())?;
        self.events.record(tx, event).await
    }
}
