//! Whether whoever asked for an act may still ask when it is done.
//!
//! A request is judged at the door, and again when its body ends. The act comes later, by milliseconds, or by seconds
//! where a hash waits for its turn; meanwhile its caller may be banned, demoted, deleted or signed out. What gives
//! power or takes it asks once more, in its own transaction.
//!
//! On PostgreSQL a plain read does not settle it: a ban may be committed, and answered, between the read and our own
//! commit. So the caller's row is held from before the read until the end. Whatever takes something from a caller (a
//! ban, other roles, deletion, the end of a session) holds that row, too, before it writes: it comes before us, and is
//! seen, or waits until we are done. The read is a statement of its own behind the lock, for one that has waited sees
//! what was committed meanwhile only of the rows that it locks, and not of the sessions beside them.
//!
//! Two admins who act on each other would wait in a circle, whichever of the two rows came first. So both are taken at
//! once, in the order of ids, by the first statement of the act, as whoever else holds several people does. What comes
//! after the rows of users stays behind them: the lock of the last admin, tables of flags, the head of the log.

use uuid::Uuid;

use super::caller::signed_out;
use super::{Caller, store};
use crate::platform::db::Tx;
use crate::platform::problem::{Breakage, SentAway};

impl Caller {
    /// Holds the caller, and whom they act on, until the transaction ends; refused as at the door if the caller is not
    /// any more what they were there. It comes before anything else that the transaction holds.
    pub async fn hold_in(&self, tx: &Tx, target: Uuid) -> Result<(), Breakage> {
        self.hold_all_in(tx, vec![target]).await
    }

    /// The same of an act on several people.
    pub async fn hold_all_in(&self, tx: &Tx, mut people: Vec<Uuid>) -> Result<(), Breakage> {
        people.push(self.user_id);
        store::hold(tx, &people).await?;
        self.still_in(tx).await
    }

    /// The same where the caller's row is held already, for they act on themselves.
    pub async fn still_in(&self, tx: &Tx) -> Result<(), Breakage> {
        if store::still_stands(tx, self).await? { Ok(()) } else { Err(SentAway(signed_out()).into()) }
    }
}
