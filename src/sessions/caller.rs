//! The signed-in person behind a request.

use uuid::Uuid;

use super::roles::Roles;

/// A signed-in caller: token or cookie checked, session alive, account active, all as of now.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Whose session it is.
    pub user_id: Uuid,
    /// The session that the request came with.
    pub session_id: Uuid,
    /// The roles that the account has now (not those written in the token).
    pub roles: Roles,
}
