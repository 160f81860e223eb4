//! The operations on other people's sessions.

use std::sync::Arc;

use poem_openapi::param::Path;
use poem_openapi::{ApiResponse, OpenApi, Tags};
use uuid::Uuid;

use crate::auth::Session;
use crate::permissions::Allowed;
use crate::platform::problem::Failure;
use crate::platform::web::{ClientInfo, Whole};
use crate::profiles::Target;
use crate::sessions::Sessions;
use crate::users::{Origin, SessionRefusal, SessionsRefusal, Users};

/// The operations on other people's sessions.
pub struct UserSessionsApi {
    /// Who has an account.
    pub users: Users,
    /// Who is signed in.
    pub sessions: Arc<Sessions>,
}

#[derive(Tags)]
enum Section {
    /// People with an account.
    Users,
}

crate::permissions! {
    /// Read somebody's sessions.
    ReadSessions: UserSessions on Target;
    /// Sign somebody out.
    EndSessions: UserEndSessions on Target;
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
    ) -> Result<Whole<Session>, Failure<SessionsRefusal>> {
        let rows = self.sessions.of_user(allowed.on.id()).await?;
        Ok(Whole(rows.into_iter().map(|row| Session::of(row, allowed.caller.session_id)).collect()))
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
    ) -> Result<Ended, Failure<SessionsRefusal>> {
        let user = allowed.on.id();
        self.users.end_sessions(user, Origin::of(&allowed.caller, &client)).await?;
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
    ) -> Result<Ended, Failure<SessionRefusal>> {
        let (user, id) = (allowed.on.id(), Uuid::try_parse(&id.0).map_err(|_| SessionRefusal::NotFound)?);
        self.users.end_session(user, id, Origin::of(&allowed.caller, &client)).await?;
        tracing::info!(by = %allowed.caller.user_id, user_id = %user, "a session of a user was ended");
        Ok(Ended::Done)
    }
}
