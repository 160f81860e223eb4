//! What only one transaction at a time may do, whichever instance it comes from.

use sea_orm::{ConnectionTrait, DbBackend, DbErr};

use super::Tx;

/// An advisory lock of PostgreSQL. Its number must be nobody else's, and must stay: while instances are replaced one by
/// one, two versions go by it. (Events have locks of their table, which are in another space.)
#[derive(Clone, Copy, Debug)]
pub struct Lock(i64);

impl Lock {
    /// Changes of the schema.
    pub(super) const SCHEMA: Self = Self(0x6761_7465_686f_7573);
    /// Whatever might leave nobody who can administer.
    pub const LAST_ADMIN: Self = Self(7_233_173_838_382_854_757);
    /// The way in for the first admin.
    pub const SET_UP: Self = Self(7_310_027_711_403_418_733);
    /// Decisions about signing keys.
    pub const SIGNING_KEYS: Self = Self(7_595_718_147_965_084_787);
}

impl Tx {
    /// Waits until no other transaction holds the lock, and holds it to the end of this one. SQLite has one writer anyway.
    pub async fn lock(&self, lock: Lock) -> Result<(), DbErr> {
        if self.get_database_backend() == DbBackend::Postgres {
            self.execute_unprepared(&format!("SELECT pg_advisory_xact_lock({})", lock.0)).await?;
        }
        Ok(())
    }
}
