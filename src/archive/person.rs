//! An account of a file, as the feature of users knows it.

use uuid::Uuid;

use super::How;
use super::merge::Change;
use super::row::{Cell, Row};
use crate::platform::clock::Timestamp;
use crate::users::OtpMethod;
use crate::users::store::{PasswordHash, user};

/// The account of a row that has passed its rules.
pub(super) fn of(row: &Row) -> user::Model {
    let text = |column: &str| row.text(column).map(str::to_owned);
    let needed = |column: &str| text(column).unwrap_or_default();
    let whole = |column: &str| row.whole(column);
    let id: Uuid = row.id("id").unwrap_or_default();
    user::Model {
        id,
        username: needed("username"),
        display_name: needed("display_name"),
        search_name: needed("search_name"),
        email: text("email"),
        email_verified: row.flag("email_verified"),
        pending_email: text("pending_email"),
        first_name: text("first_name"),
        last_name: text("last_name"),
        middle_name: text("middle_name"),
        description: text("description"),
        locale: text("locale"),
        password_hash: text("password_hash").map(PasswordHash),
        password_changed_at: whole("password_changed_at"),
        roles: whole("roles").and_then(|bits| i32::try_from(bits).ok()).unwrap_or_default(),
        is_active: row.flag("is_active"),
        is_external_only: row.flag("is_external_only"),
        otp_method: needed("otp_method").parse().unwrap_or(OtpMethod::Authenticator),
        metadata: needed("metadata"),
        token_version: whole("token_version").unwrap_or_default(),
        revision: whole("revision").unwrap_or_default(),
        created_at: whole("created_at").unwrap_or_default(),
        updated_at: whole("updated_at").unwrap_or_default(),
        deleted_at: whole("deleted_at"),
    }
}

/// What goes with every change of an account: its next revision, and the end of its tokens where it signs in otherwise.
pub(super) fn move_on(change: &mut Change, signed_out: bool, how: How, now: Timestamp) {
    let next =
        |column: &str, change: &Change| change.before.whole(column).unwrap_or_default().saturating_add(1);
    let revision = next("revision", change);
    change.set("revision", Cell::Whole(revision));
    if signed_out {
        let version = next("token_version", change);
        change.set("token_version", Cell::Whole(version));
    }
    if how == How::Import {
        change.set("updated_at", Cell::Whole(now.millis()));
    }
}
