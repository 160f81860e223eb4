//! Seeds under a new master secret.

use uuid::Uuid;

use super::Otp;
use super::authenticator::SeedBytes;
use crate::platform::rewrap::SealedColumn;

/// Seeds that wait for their first code are left as they are: they wait ten minutes at most.
const SEEDS: SealedColumn = SealedColumn { table: "second_factors", id: "user_id", column: "sealed_seed" };

impl Otp {
    /// Whether a known master secret opens the seed of a user.
    #[must_use]
    pub fn opens(&self, user: Uuid, sealed: &[u8]) -> bool {
        SeedBytes::open(&self.secrets, user, sealed).is_ok()
    }

    /// Seals every seed anew under the present master secret; returns how many were not.
    pub async fn rewrap_seeds(&self) -> anyhow::Result<u64> {
        let anew = SEEDS.rewrap(&self.db, &self.secrets, |user, old| {
            let seed = SeedBytes::open(&self.secrets, user, old)?;
            Ok(seed.seal(&self.secrets, &self.random, user))
        });
        anew.await
    }
}
