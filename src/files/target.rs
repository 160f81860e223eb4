//! The file that a path names, and the permissions that handlers of `/file` ask for.

use std::sync::Arc;

use poem::Request;
use sea_orm::DbErr;
use uuid::Uuid;

use super::Files;
use super::store::Seen;
use crate::permissions::{self, Account, Action, Object, Resource, System, not_found};
use crate::platform::problem::{Breakage, Problem};
use crate::platform::web::first_parameter;
use crate::sessions::{Caller, Roles};

/// The file named in the path, as the caller meets it.
#[derive(Clone, Debug)]
pub struct FileTarget {
    /// The row, and what decides.
    pub seen: Seen,
    linked: Vec<Uuid>,
}

impl FileTarget {
    /// A file as `viewer` meets it.
    pub(super) fn new(seen: Seen, viewer: Uuid) -> Self {
        let linked = if seen.is_linked { vec![viewer] } else { Vec::new() };
        Self { seen, linked }
    }
}

impl Files {
    /// The file of this number as `viewer` meets it: what is decided about it is decided by this.
    pub async fn target(&self, viewer: Uuid, id: i64) -> Result<Option<FileTarget>, DbErr> {
        let seen = self.seen_by(viewer, id).await?;
        Ok(seen.map(|seen| FileTarget::new(seen, viewer)))
    }
}

impl Object for FileTarget {
    /// Who may not read a file is not told that there is one.
    const SEEN_BY: Option<Action> = Some(Action::FileRead);

    async fn find(request: &Request, caller: &Caller) -> Result<Self, Problem> {
        let Some(files) = request.data::<Arc<Files>>() else { return Err(Problem::internal()) };
        let id = first_parameter(request).and_then(number).ok_or_else(not_found)?;
        let target = files.target(caller.user_id, id).await;
        target.map_err(|error| Breakage::from(error).problem())?.ok_or_else(not_found)
    }

    fn resource(&self) -> Resource<'_> {
        let Seen { file, owner_roles, owner_is_active, owner_deleted_at, .. } = &self.seen;
        let owner = Account {
            active: *owner_is_active,
            deleted: owner_deleted_at.is_some(),
            ..Account::active(file.created_by, Roles::from_bits(*owner_roles))
        };
        Resource::File(permissions::File { id: file.id, owner, linked: &self.linked })
    }
}

/// Digits and nothing else, so that a file has one address.
fn number(segment: &str) -> Option<i64> {
    let plain = segment.bytes().all(|byte| byte.is_ascii_digit()) && !segment.starts_with('0');
    segment.parse().ok().filter(|_| plain)
}

crate::permissions! {
    /// Upload a file.
    CreateFile: FileCreate on System;
    /// See a file and its content.
    ReadFile: FileRead on FileTarget;
    /// Change a file's name or description.
    UpdateFile: FileUpdate on FileTarget;
    /// Delete a file.
    DeleteFile: FileDelete on FileTarget;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_one_address() {
        assert_eq!(number("7"), Some(7));
        for other in ["07", "+7", "-7", "7.0", "", "0", "x", "99999999999999999999", "%37", "7 "] {
            assert_eq!(number(other), None, "{other}");
        }
    }
}
