//! How much a user may keep. Pictures are no part of it: there is one of each person, of a bounded size.

use sea_orm::DbErr;
use uuid::Uuid;

use super::{Settings, store};
use crate::platform::db::Tx;

/// Whether the owner, whose row this transaction holds, may keep so many bytes more. Whoever else adds a file of theirs
/// waits for the row, so the answer stays true until the end.
pub async fn has_room(tx: &Tx, owner: Uuid, more: u64, settings: &Settings) -> Result<bool, DbErr> {
    let (files, bytes) = store::kept_by(tx, owner).await?;
    Ok(files < settings.max_user_files && bytes.saturating_add(more) <= settings.max_user_bytes)
}
