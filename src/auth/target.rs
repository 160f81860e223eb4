//! Whom the operations of `/auth` are about, and the permissions that they ask for.

use poem::Request;

use crate::permissions::{Account, Object, Resource};
use crate::platform::problem::Problem;
use crate::sessions::Caller;

/// The caller's own account.
#[derive(Clone, Copy, Debug)]
pub struct Oneself(Account);

impl Object for Oneself {
    async fn find(_: &Request, caller: &Caller) -> Result<Self, Problem> {
        // A caller's account was found active when the request came in, and nobody blocks themselves.
        Ok(Self(Account::active(caller.user_id, caller.roles)))
    }

    fn resource(&self) -> Resource<'_> {
        Resource::Account(self.0)
    }
}

crate::permissions! {
    /// Be mailed a link to a new password.
    MailOwnReset: UserResetMail on Oneself;
}
