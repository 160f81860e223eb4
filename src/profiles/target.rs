//! The user that a path names, and the permissions that handlers of `/user` ask for.

use std::sync::Arc;

use poem::Request;
use poem::http::Method;
use uuid::Uuid;

use super::Profiles;
use super::shown::{IN_FULL, IN_PUBLIC};
use crate::permissions::{Action, Object, Resource, System, not_found};
use crate::platform::problem::{Breakage, Problem};
use crate::platform::web;
use crate::sessions::{Caller, Role};
use crate::users::With;
use crate::users::store::{Named, Seen};

/// The user named in the path, as the caller meets them.
#[derive(Clone, Debug)]
pub struct Target(pub Seen);

impl Target {
    /// Whose account.
    #[must_use]
    pub fn id(&self) -> Uuid {
        self.0.user.id
    }
}

impl Object for Target {
    const SEEN_BY: Option<Action> = Some(Action::UserRead);

    async fn find(request: &Request, caller: &Caller) -> Result<Self, Problem> {
        let Some(profiles) = request.data::<Arc<Profiles>>() else { return Err(Problem::internal()) };
        let named = named_in(request).ok_or_else(not_found)?;
        let seen = if changes_oneself(request, caller, &named) {
            // Remembered for a moment; that nobody changed it meanwhile is seen when it is written.
            profiles.own(caller.user_id).await.map(|own| own.map(|own| Seen::oneself((*own.user).clone())))
        } else {
            profiles.users.seen_with_by(caller.user_id, &named, likely_shown(request, caller, &named)).await
        };
        let seen = seen.map_err(|error| Breakage::from(error).problem())?;
        seen.map(Self).ok_or_else(not_found)
    }

    fn resource(&self) -> Resource<'_> {
        Resource::Account(self.0.account())
    }
}

/// What the answer is likely to show beside the row, which is then read at once. Who is shown what is decided later, by the
/// policies.
fn likely_shown(request: &Request, caller: &Caller, named: &Named) -> With {
    if request.method() != Method::GET {
        With::Nothing
    } else if *named == Named::Id(caller.user_id) || caller.roles.has(Role::Admin) {
        With::Full(IN_FULL)
    } else {
        IN_PUBLIC
    }
}

fn changes_oneself(request: &Request, caller: &Caller, named: &Named) -> bool {
    request.method() == Method::PATCH && *named == Named::Id(caller.user_id)
}

/// Whom the path names.
pub(super) fn named_in(request: &Request) -> Option<Named> {
    web::first_parameter(request).and_then(Named::in_path)
}

/// The revision that `If-Match` asks for (RFC 9110, 13.1.1); of several the one that was `seen`, else the newest. A weak
/// or foreign tag matches nothing.
pub(super) fn if_match(request: &Request, seen: i64) -> Result<Option<i64>, Problem> {
    Ok(web::if_match(request)?.map(|tags| wanted(tags, seen)))
}

fn wanted(tags: &str, seen: i64) -> i64 {
    let revisions = tags.split(',').filter_map(|tag| revision(tag.trim()));
    revisions.max_by_key(|revision| (*revision == seen, *revision)).unwrap_or(i64::MIN)
}

fn revision(tag: &str) -> Option<i64> {
    let tag = tag.strip_prefix('"')?.strip_suffix('"')?;
    tag.strip_suffix("-p").unwrap_or(tag).parse().ok()
}

crate::permissions! {
    /// See somebody.
    ReadUser: UserRead on Target;
    /// Change somebody's fields; which ones is decided when the body is known.
    UpdateUser: UserUpdate on Target;
    /// Delete an account.
    DeleteUser: UserDelete on Target;
    /// Bring a deleted account back.
    RestoreUser: UserRestore on Target;
    /// Change somebody's block list.
    ChangeBlocks: UserBlocks on Target;
    /// Attach a file to somebody.
    AttachFile: UserFile on Target;
    /// Set or remove somebody's picture.
    ChangePicture: UserImage on Target;
    /// Read somebody's history.
    ReadHistory: UserHistory on Target;
    /// Make an account; with what is decided when the body is known.
    CreateUser: UserCreate on System;
    /// List, count and search.
    ListUsers: UserList on System;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_etag_is_read_back_and_a_weak_one_is_not() {
        assert_eq!(revision("\"7\""), Some(7));
        assert_eq!(revision("\"7-p\""), Some(7));
        assert_eq!(revision("W/\"7\""), None);
        assert_eq!(revision("7"), None);
    }

    #[test]
    fn of_several_etags_the_one_that_was_seen_counts_and_else_the_newest() {
        assert_eq!(wanted("\"6\", \"7-p\",\"9\"", 7), 7);
        assert_eq!(wanted("\"x\", \"6\", \"9\", W/\"12\"", 7), 9);
        assert_eq!(wanted("W/\"7\", \"x\"", 7), i64::MIN);
    }
}
