//! What moves are built on, and what is asked of it.

use std::path::PathBuf;
use std::sync::Arc;

use sea_orm::ConnectionTrait;
use uuid::Uuid;

use super::order::Mover;
use super::outcome::ImportRefusal;
use super::row::{Cell, Row};
use crate::audit::Audit;
use crate::files::Files;
use crate::mail::Mail;
use crate::oauth::Oauth;
use crate::otp::Otp;
use crate::permissions::{self, Gate, forbidden};
use crate::pictures::Pictures;
use crate::platform::ground::Ground;
use crate::platform::tasks::Tasks;
use crate::sessions::{Caller, Sessions};
use crate::users::Users;

/// The earlier features that moves are built on.
pub struct Parts {
    /// Database, time and chance.
    pub ground: Ground,
    /// What staff did.
    pub audit: Audit,
    /// Whose sessions end, and who asks.
    pub sessions: Arc<Sessions>,
    /// Who may do what.
    pub gate: Arc<Gate>,
    /// What goes on when nobody waits for it any more.
    pub tasks: Tasks,
    /// Who is told of changes.
    pub users: Users,
    /// What bytes there are.
    pub files: Files,
    /// What makes pictures that may be shown.
    pub pictures: Pictures,
    /// Who is told of what did not come along.
    pub mail: Mail,
    /// What opens second factors.
    pub otp: Otp,
    /// What opens what other providers gave us.
    pub oauth: Oauth,
    /// Where what was there before an import is kept.
    pub data_dir: PathBuf,
    /// Largest file that is taken over HTTP, in bytes.
    pub most_bytes: u64,
}

/// Whether a known secret opens what is sealed for this id.
type Opens = fn(&Parts, Uuid, &[u8]) -> bool;

impl Parts {
    /// Who asks, as they are now. Refused as a new request of theirs would be.
    pub(super) async fn may_go_on(
        &self,
        db: &impl ConnectionTrait,
        by: &Mover,
    ) -> Result<Caller, ImportRefusal> {
        let again = self.sessions.again(db, &by.caller).await?;
        let caller = again.and_then(|caller| {
            let subject = permissions::Subject::from(&caller);
            if !self.gate.allows_on_system(&subject, by.action) {
                return Err(forbidden());
            }
            caller.require_proof(by.arrived)?;
            Ok(caller)
        });
        caller.map_err(|problem| ImportRefusal::NoLonger(Box::new(problem)))
    }

    /// The column of a row that is sealed in a way that no known secret opens.
    pub(super) fn unopened(&self, row: &Row) -> Option<&'static str> {
        let (column, opens): (_, Opens) = match row.table.name {
            "second_factors" => ("sealed_seed", |parts, user, sealed| parts.otp.opens(user, sealed)),
            "external_accounts" => {
                ("sealed_grant", |parts, account, sealed| parts.oauth.opens(account, sealed))
            }
            _ => return None,
        };
        let (Some(Cell::Id(id)), Some(sealed)) = (row.key().first(), row.bytes(column)) else { return None };
        (!opens(self, *id, sealed)).then_some(column)
    }
}
