//! What nearly every feature stands on.

use super::clock::Clock;
use super::db::Database;
use super::random::Random;

/// The database, time and chance. Clones mean the same.
#[derive(Clone)]
pub struct Ground {
    /// The database.
    pub db: Database,
    /// Time.
    pub clock: Clock,
    /// Chance.
    pub random: Random,
}
