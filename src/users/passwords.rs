//! Judging, hashing and comparing passwords, away from the async threads.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::{Password, PasswordPolicy};
use crate::platform::hashing::{Busy, Hasher, Load, Verdict};
use crate::platform::problem::{Breakage, FieldError};
use crate::platform::telemetry::metrics::Family;

/// Which passwords are good enough, and the threads that hash them.
#[derive(Clone)]
pub struct Passwords {
    policy: Arc<PasswordPolicy>,
    hasher: Arc<Hasher>,
    judges: Arc<Semaphore>,
}

impl Passwords {
    /// By this policy, on these threads.
    #[must_use]
    pub fn new(policy: PasswordPolicy, hasher: Hasher) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let judges = Arc::new(Semaphore::new(cores));
        Self { policy: Arc::new(policy), hasher: Arc::new(hasher), judges }
    }

    /// What is wrong with a password that is being chosen; `context` are words that its owner is known by. The
    /// strength score takes milliseconds.
    pub async fn judge(
        &self,
        password: &Password,
        context: Vec<String>,
        field: &'static str,
    ) -> Result<Vec<FieldError>, Breakage> {
        let _turn = self.judges.acquire().await?; // as many at once as there are cores
        let (policy, password) = (Arc::clone(&self.policy), password.clone());
        let judged = tokio::task::spawn_blocking(move || {
            let context: Vec<&str> = context.iter().map(String::as_str).collect();
            policy.check(&password, &context)
        });
        let flaws = judged.await?.err().unwrap_or_default();
        Ok(flaws.into_iter().map(|flaw| FieldError::new(field, flaw.words())).collect())
    }

    /// Whether there is room for a hash now; for refusing before anything else is done for it.
    pub fn room(&self) -> Result<(), Busy> {
        self.hasher.room()
    }

    /// What the threads that hash do now, and did since they started.
    #[must_use]
    pub fn load(&self) -> Load {
        self.hasher.load()
    }

    /// The same as measurements.
    #[must_use]
    pub fn measures(&self) -> Vec<Family> {
        self.hasher.measures()
    }

    /// The hash to keep.
    pub async fn hash(&self, password: &Password) -> Result<String, Busy> {
        Ok(self.hasher.hash(password.as_bytes()).await?.as_str().to_owned())
    }

    /// Compares what was typed with a stored hash. Where there is none, the same work is done for nothing.
    pub async fn compare(&self, typed: &Password, stored: Option<&str>) -> Result<Verdict, Busy> {
        self.hasher.verify(typed.as_bytes(), stored).await
    }
}
