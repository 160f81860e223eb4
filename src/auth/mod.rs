//! The door: sign-up, sign-in, passwords, throttles, first start.

mod account;
mod api;
mod first_start;
mod session_api;
mod sign_in;
mod sign_up;
pub mod throttle;

use std::sync::Arc;

use crate::platform::clock::Clock;
use crate::platform::config::{Quota, ServiceClient};
use crate::platform::db::Database;
use crate::platform::random::Random;
use crate::platform::secrets::Secrets;
use crate::platform::tasks::Tasks;
use crate::sessions::Sessions;
use crate::users::{Passwords, Users};

pub use account::{PasswordRefusal, ReauthenticateRefusal};
pub use api::AuthApi;
pub use first_start::{SetUpLink, SetUpRefusal};
pub use session_api::SessionApi;
pub use sign_in::{Credentials, SignInRefusal, SignedIn};
pub use sign_up::{SignUp, SignUpRefusal};

/// What the operator decides about the door.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Whether people may sign up by themselves.
    pub registration_enabled: bool,
    /// Failed sign-ins of one client.
    pub throttle_login: Quota,
    /// Sign-ups of one client.
    pub throttle_register: Quota,
    /// In `local`, clients on this very machine may try a hundred times as often.
    pub lenient_on_loopback: bool,
    /// Services that may introspect tokens.
    pub services: Vec<ServiceClient>,
}

/// The feature: what it owns.
#[derive(Clone)]
pub struct Auth {
    db: Database,
    clock: Clock,
    random: Random,
    secrets: Arc<Secrets>,
    sessions: Arc<Sessions>,
    users: Users,
    passwords: Passwords,
    tasks: Tasks,
    settings: Arc<Settings>,
}

/// The earlier features that the door is built on.
pub struct Parts {
    /// The database.
    pub db: Database,
    /// Time.
    pub clock: Clock,
    /// Chance.
    pub random: Random,
    /// Keys from the master secret.
    pub secrets: Arc<Secrets>,
    /// Who is signed in.
    pub sessions: Arc<Sessions>,
    /// Who has an account.
    pub users: Users,
    /// Which passwords are good enough, and the threads that hash them.
    pub passwords: Passwords,
    /// Where work goes that must end although its client has left.
    pub tasks: Tasks,
}

impl Auth {
    /// Opens the feature.
    #[must_use]
    pub fn new(parts: Parts, settings: Settings) -> Self {
        let Parts { db, clock, random, secrets, sessions, users, passwords, tasks } = parts;
        Self { db, clock, random, secrets, sessions, users, passwords, tasks, settings: Arc::new(settings) }
    }

    /// What the operator decides about accounts.
    #[must_use]
    pub fn user_settings(&self) -> &crate::users::Settings {
        self.users.settings()
    }

    /// Forgets throttles and one-time tokens whose time is over, in small steps.
    pub async fn sweep(&self) -> Result<(), sea_orm::DbErr> {
        self.sweep_throttles().await?;
        self.sweep_set_up_links().await
    }
}
