//! The operations on other people's sessions.

use std::sync::Arc;

use futures_util::FutureExt;
use poem_openapi::param::Path;
use poem_openapi::{ApiResponse, OpenApi, Tags};
use uuid::Uuid;

use super::bans_api::origin;
use crate::audit::{Audit, Entry, Subject};
use crate::auth::Session;
use crate::permissions::{Action, Allowed, Permission};
use crate::platform::db::Database;
use crate::platform::problem::Failure;
use crate::platform::web::{ClientInfo, Json};
use crate::profiles::Target;
use crate::sessions::{Ending, Sessions};
use crate::users::store;

/// The operations on other people's sessions.
pub struct UserSessionsApi {
    /// The database.
    pub db: Database,
    /// Who is signed in.
    pub sessions: Arc<Sessions>,
    /// What staff did.
    pub audit: Audit,
}

#[derive(Tags)]
enum Section {
    /// People with an account.
    Users,
}

/// Read somebody's sessions.
pub struct ReadSessions;

impl Permission for ReadSessions {
    const ACTION: Action = Action::UserSessions;
    type On = Target;
}

/// Sign somebody out.
pub struct EndSessions;

impl Permission for EndSessions {
    const ACTION: Action = Action::UserEndSessions;
    type On = Target;
}

crate::refusals! {
    /// Why sessions are not shown, or not ended.
    pub enum UserSessionsRefusal {
        NotFound = 404 "not_found" "There is no such user.",
    }
}

crate::refusals! {
    /// Why a session is not ended.
    pub enum UserSessionRefusal {
        NotFound = 404 "not_found" "The user has no such session.",
    }
}

/// Done, nothing to show.
#[derive(ApiResponse)]
enum Ended {
    /// They have ended.
    #[oai(status = 204)]
    Done,
}

#[OpenApi(tag = "Section::Users")]
impl UserSessionsApi {
    /// A user's sessions
    ///
    /// For the user, admins and, of users without the role admin or moderator, moderators.
    #[oai(path = "/user/:user/sessions", method = "get", operation_id = "read_user_sessions")]
    async fn read(
        &self,
        allowed: Allowed<ReadSessions>,
        /// The id, or `@` and the user name.
        #[oai(name = "user")]
        _user: Path<String>,
    ) -> Result<Json<Vec<Session>>, Failure<UserSessionsRefusal>> {
        let rows = self.sessions.of_user(allowed.on.id()).await?;
        Ok(Json(rows.into_iter().map(|row| Session::of(row, allowed.caller.session_id)).collect()))
    }

    /// End a user's sessions
    ///
    /// For admins: the user is signed out everywhere, at once. One's own sessions end but for the one that asks.
    #[oai(path = "/user/:user/sessions", method = "delete", operation_id = "end_user_sessions")]
    async fn end_all(
        &self,
        allowed: Allowed<EndSessions>,
        client: ClientInfo,
        /// The id, or `@` and the user name.
        #[oai(name = "user")]
        _user: Path<String>,
    ) -> Result<Ended, Failure<UserSessionsRefusal>> {
        let (user, origin) = (allowed.on.id(), origin(&allowed.caller, &client));
        let (sessions, audit) = (Arc::clone(&self.sessions), self.audit.clone());
        let entry = Entry::by(allowed.caller.user_id, "sessions_ended", Subject::User(user));
        let ended = self.db.write(move |tx| {
            async move {
                store::held(tx, user).await?.ok_or(UserSessionsRefusal::NotFound)?;
                let count = sessions.end_all(tx, user, origin.session_of(user), Ending::Revoked).await?;
                if origin.is_another(user) {
                    audit.record(tx, entry.with("sessions", count)).await?;
                }
                Ok::<_, Failure<UserSessionsRefusal>>(())
            }
            .boxed()
        });
        ended.await?;
        tracing::info!(by = %allowed.caller.user_id, user_id = %user, "the sessions of a user were ended");
        Ok(Ended::Done)
    }

    /// End one of a user's sessions
    #[oai(path = "/user/:user/sessions/:id", method = "delete", operation_id = "end_user_session")]
    async fn end_one(
        &self,
        allowed: Allowed<EndSessions>,
        client: ClientInfo,
        /// The id, or `@` and the user name.
        #[oai(name = "user")]
        _user: Path<String>,
        /// The session's id.
        id: Path<String>,
    ) -> Result<Ended, Failure<UserSessionRefusal>> {
        let id = Uuid::try_parse(&id.0).map_err(|_| UserSessionRefusal::NotFound)?;
        let (user, origin) = (allowed.on.id(), origin(&allowed.caller, &client));
        let (sessions, audit) = (Arc::clone(&self.sessions), self.audit.clone());
        let entry = Entry::by(allowed.caller.user_id, "session_ended", Subject::User(user));
        let ended = self.db.write(move |tx| {
            async move {
                if !sessions.end_one_in(tx, user, id, Ending::Revoked).await? {
                    return Err(UserSessionRefusal::NotFound.into());
                }
                if origin.is_another(user) {
                    audit.record(tx, entry.with("session", id.to_string())).await?;
                }
                Ok::<_, Failure<UserSessionRefusal>>(())
            }
            .boxed()
        });
        ended.await?;
        tracing::info!(by = %allowed.caller.user_id, user_id = %user, "a session of a user was ended");
        Ok(Ended::Done)
    }
}
