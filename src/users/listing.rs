//! Which users a list shows, in what order, from where on.

use sea_orm::entity::prelude::*;
use sea_orm::{Condition, Value};

use super::store::{history, user};
use crate::platform::db::{Mark, Order};
use crate::sessions::Role;

/// Which users are meant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Filter {
    /// What their user name, display name or e-mail address starts with.
    pub search: Option<Search>,
    /// A role they have.
    pub role: Option<Role>,
    /// Whether they may sign in.
    pub is_active: Option<bool>,
    /// Deleted users instead of the others.
    pub deleted: bool,
    /// Only people whom this one may see: active, and no block between the two.
    pub visible_to: Option<Uuid>,
}

/// A prefix, folded as each column is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Search {
    /// For user names.
    pub username: String,
    /// For display names.
    pub name: String,
    /// For e-mail addresses; `None` where the viewer may not know them.
    pub email: Option<String>,
}

/// What a list is sorted by; the id decides among equals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sort {
    /// When the account was made.
    #[default]
    CreatedAt,
    /// The user name.
    Username,
    /// When it was last changed.
    UpdatedAt,
}

/// A place in a sorted list: the sort key and the id of the user that stands there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserMark {
    /// What the list is sorted by.
    pub sort: Sort,
    /// The user's value of that column.
    pub key: Key,
    /// The user's id.
    pub id: Uuid,
}

/// A value of a sort column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// Milliseconds since the Unix epoch.
    Moment(i64),
    /// A user name.
    Name(String),
}

impl From<Key> for Value {
    fn from(key: Key) -> Self {
        match key {
            Key::Moment(millis) => millis.into(),
            Key::Name(name) => name.into(),
        }
    }
}

impl UserMark {
    /// Where `user` stands in a list sorted so.
    #[must_use]
    pub fn of(user: &user::Model, sort: Sort) -> Self {
        let key = match sort {
            Sort::CreatedAt => Key::Moment(user.created_at),
            Sort::Username => Key::Name(user.username.clone()),
            Sort::UpdatedAt => Key::Moment(user.updated_at),
        };
        Self { sort, key, id: user.id }
    }

    /// "Behind the mark", as one range on the sort column and a tie-break, so that the index is entered at the mark and
    /// page 10,000 costs the same as page 1.
    pub(super) fn behind(&self, order: Order) -> Condition {
        let (column, key) = (self.sort.column(), Value::from(self.key.clone()));
        let (range, behind, tie) = match order {
            Order::Asc => (column.gte(key.clone()), column.gt(key), user::Column::Id.gt(self.id)),
            Order::Desc => (column.lte(key.clone()), column.lt(key), user::Column::Id.lt(self.id)),
        };
        Condition::all().add(range).add(Condition::any().add(behind).add(tie))
    }
}

impl Mark for UserMark {
    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![self.sort as u8];
        bytes.extend_from_slice(self.id.as_bytes());
        match &self.key {
            Key::Moment(millis) => bytes.extend_from_slice(&millis.to_be_bytes()),
            Key::Name(name) => bytes.extend_from_slice(name.as_bytes()),
        }
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (kind, rest) = bytes.split_first()?;
        let (id, key) = rest.split_at_checked(16)?;
        let sort = [Sort::CreatedAt, Sort::Username, Sort::UpdatedAt];
        let sort = sort.into_iter().find(|sort| *sort as u8 == *kind)?;
        let key = match sort {
            Sort::Username => Key::Name(String::from_utf8(key.to_vec()).ok()?),
            Sort::CreatedAt | Sort::UpdatedAt => Key::Moment(i64::from_be_bytes(key.try_into().ok()?)),
        };
        Some(Self { sort, key, id: Uuid::from_slice(id).ok()? })
    }
}

/// What the bytes of a [`LineMark`] begin with, so that they are of no list of users.
const LINE: u8 = 16;

/// A place in a history: the moment and the id of the line that stands there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineMark {
    /// Milliseconds since the Unix epoch.
    pub at: i64,
    /// The line's id.
    pub id: Uuid,
}

impl LineMark {
    /// Where `line` stands.
    #[must_use]
    pub const fn of(line: &history::Model) -> Self {
        Self { at: line.at, id: line.id }
    }

    /// "Behind the mark", as [`UserMark::behind`].
    pub(super) fn behind(self, order: Order) -> Condition {
        use history::Column::{At, Id};
        let Self { at, id } = self;
        let (range, behind, tie) = match order {
            Order::Asc => (At.gte(at), At.gt(at), Id.gt(id)),
            Order::Desc => (At.lte(at), At.lt(at), Id.lt(id)),
        };
        Condition::all().add(range).add(Condition::any().add(behind).add(tie))
    }
}

impl Mark for LineMark {
    fn to_bytes(&self) -> Vec<u8> {
        [&[LINE][..], self.id.as_bytes(), &self.at.to_be_bytes()].concat()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (kind, rest) = bytes.split_first()?;
        let (id, at) = rest.split_at_checked(16)?;
        let at = i64::from_be_bytes(at.try_into().ok()?);
        (*kind == LINE).then_some(Self { at, id: Uuid::from_slice(id).ok()? })
    }
}
