//! The picture that somebody has elsewhere: it becomes theirs here, where they have none.

use std::sync::Arc;

use tokio::sync::Notify;
use tokio::time::timeout;
use url::Url;
use uuid::Uuid;

use super::{Joining, Oauth, PATIENCE};
use crate::platform::db::Tx;
use crate::users::Origin;

impl Oauth {
    /// Takes over the picture of an account that has just been linked, once that is committed. Nobody waits for it, and
    /// whatever is wrong with it, the sign-in is none the worse.
    pub(super) fn adopt_picture_after(&self, tx: &Tx, user: Uuid, joining: &Joining) {
        let Some(connection) = self.connections.named(&joining.provider).cloned() else { return };
        let url = joining.picture_url.as_deref().and_then(|url| Url::parse(url).ok());
        let Some(url) = url else { return };
        let (committed, pictures) = (Arc::new(Notify::new()), self.pictures.clone());
        tx.wake(&committed);
        self.tasks.spawn(async move {
            // What was undone has no account to give a picture to.
            if timeout(PATIENCE, committed.notified()).await.is_err() {
                return;
            }
            let Some(bytes) = connection.picture(&url).await else { return };
            let origin = Origin { by: Some(user), ..Origin::default() };
            if let Err(failure) = pictures.adopt(user, bytes, origin).await {
                let (provider, reason) = (connection.name(), failure.problem().detail);
                tracing::info!(provider, %reason, "a picture from a provider was not taken over");
            }
        });
    }
}
