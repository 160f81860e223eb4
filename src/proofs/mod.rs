//! Mailed links: proof that an address is somebody's, and the right to choose a new password.
//!
//! A link works once, until it expires, and only while what it was sent for is as it was: the same address, the same
//! password, the account neither banned nor deleted nor given other roles since. Nothing has to remember to revoke
//! links, therefore; they are bound to what would revoke them.

mod rules;
mod store;

use std::time::Duration;

use sea_orm::DbErr;

use crate::platform::clock::Clock;
use crate::platform::db::Database;
use crate::platform::ground::Ground;
use crate::platform::random::Random;

pub use rules::{Issued, Link, Subject};

/// How long an address can be proved by a link.
pub const VERIFY_LASTS: Duration = Duration::from_hours(24);
/// How long a password can be chosen by a link.
pub const RESET_LASTS: Duration = Duration::from_mins(15);

/// The feature: what it owns.
#[derive(Clone)]
pub struct Proofs {
    db: Database,
    clock: Clock,
    random: Random,
}

impl Proofs {
    /// Opens the feature.
    #[must_use]
    pub fn new(ground: Ground) -> Self {
        let Ground { db, clock, random } = ground;
        Self { db, clock, random }
    }

    /// Forgets links whose time is over, in small steps.
    pub async fn sweep(&self) -> Result<(), DbErr> {
        self.forget_expired().await
    }
}
