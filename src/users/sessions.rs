//! Somebody's sessions, ended by whoever may do so.

use futures_util::FutureExt;
use uuid::Uuid;

use super::{Origin, Users, store};
use crate::audit::{Entry, Subject};
use crate::platform::problem::Failure;
use crate::sessions::Ending;

crate::refusals! {
    /// Why sessions are not shown, or not ended.
    pub enum SessionsRefusal {
        NotFound = 404 "not_found" "There is no such user.",
    }
}

crate::refusals! {
    /// Why a session is not ended.
    pub enum SessionRefusal {
        NotFound = 404 "not_found" "The user has no such session.",
    }
}

impl Users {
    /// Ends the sessions of an account, but for the one that asks if it is the account's own.
    pub async fn end_sessions(&self, target: Uuid, origin: Origin) -> Result<(), Failure<SessionsRefusal>> {
        let users = self.clone();
        let entry = entry(target, "sessions_ended", &origin);
        let act = self.db.write(move |tx| {
            async move {
                origin.hold_in(tx, target).await?;
                store::held(tx, target).await?.ok_or(SessionsRefusal::NotFound)?;
                let kept = origin.session_of(target);
                let count = users.sessions.end_all(tx, target, kept, Ending::Revoked).await?;
                if let Some(entry) = entry {
                    users.audit.record(tx, entry.with("sessions", count)).await?;
                }
                Ok::<_, Failure<SessionsRefusal>>(())
            }
            .boxed()
        });
        act.await
    }

    /// Ends one session of an account.
    pub async fn end_session(
        &self,
        target: Uuid,
        session: Uuid,
        origin: Origin,
    ) -> Result<(), Failure<SessionRefusal>> {
        let users = self.clone();
        let entry = entry(target, "session_ended", &origin);
        let act = self.db.write(move |tx| {
            async move {
                origin.hold_in(tx, target).await?;
                if !users.sessions.end_one_in(tx, target, session, Ending::Revoked).await? {
                    return Err(SessionRefusal::NotFound.into());
                }
                if let Some(entry) = entry {
                    users.audit.record(tx, entry.with("session", session.to_string())).await?;
                }
                Ok::<_, Failure<SessionRefusal>>(())
            }
            .boxed()
        });
        act.await
    }
}

/// What stands in the log of what staff did, if it was staff.
fn entry(target: Uuid, action: &'static str, origin: &Origin) -> Option<Entry> {
    let by = origin.by.filter(|_| origin.is_another(target))?;
    Some(Entry::by(by, action, Subject::User(target)))
}
