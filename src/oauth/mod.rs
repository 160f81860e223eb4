//! Signing in through other providers: users come with the account that they already have, and nobody comes with
//! somebody else's.
//!
//! What differs between providers lies behind a [`Connection`]: where it sends people, and what it makes of the code
//! that they come back with. Here is what holds for all of them: the transaction between leaving and coming back, the
//! one-time code to the application, and the rules by which somebody who is known there is somebody here. Nothing here
//! opens a session: `auth` does, and calls these acts in its own transaction.

mod answers;
mod bluesky;
mod client;
mod codes;
mod connection;
mod grants;
mod id_token;
mod joining;
mod jwks;
mod names;
mod openid;
mod places;
mod portrait;
mod providers;
mod reading;
mod rules;
mod store;
mod told;
mod tokens;
mod transaction;
mod trouble;

use std::sync::Arc;
use std::time::Duration;

pub use bluesky::{ClientKey, ClientMetadata};
pub use codes::{CODE_LASTS, CodeChallenge, Shown, Traded};
pub use connection::{
    Begin, Begun, Connection, ConnectionParts, Connections, Finish, Grant, Identity, ProviderFault,
};
pub use joining::Joining;
pub(crate) use names::{candidates as name_candidates, first_free as free_name_in};
pub use places::{Place, Places};
pub use rules::{LinkRefusal, Recognised, UnlinkRefusal, Unlinked};
pub use store::external_account::Model as Account;
pub use transaction::{BeginRefusal, Brought, Intent, Leaving, Left, Owner, TRANSACTION_LASTS, Transaction};
pub use trouble::Trouble;

use crate::pictures::Pictures;
use crate::platform::clock::Clock;
use crate::platform::db::Database;
use crate::platform::ground::Ground;
use crate::platform::random::Random;
use crate::platform::secrets::Secrets;
use crate::platform::tasks::Tasks;
use crate::users::Users;

/// How long a provider is waited for, all its answers together. Nobody waits for ten seconds.
const PATIENCE: Duration = Duration::from_secs(8);

/// What the operator decides about signing in through other providers.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the operations are, without a slash at its end: providers send people back there.
    pub api_url: String,
    /// Where people may go on.
    pub places: Places,
    /// Whether a proved address at a provider is enough, where ours is not (`OAUTH_LINK_UNVERIFIED_LOCAL`).
    pub link_unverified_local: bool,
}

/// The earlier features that this one is built on.
pub struct Parts {
    /// Database, time and chance.
    pub ground: Ground,
    /// Keys from the master secret.
    pub secrets: Arc<Secrets>,
    /// Who has an account.
    pub users: Users,
    /// What they look like.
    pub pictures: Pictures,
    /// Where work goes that nobody waits for.
    pub tasks: Tasks,
    /// The providers.
    pub connections: Connections,
}

/// The feature: what it owns.
#[derive(Clone)]
pub struct Oauth {
    db: Database,
    clock: Clock,
    random: Random,
    secrets: Arc<Secrets>,
    users: Users,
    pictures: Pictures,
    tasks: Tasks,
    connections: Connections,
    settings: Arc<Settings>,
}

impl Oauth {
    /// Opens the feature.
    #[must_use]
    pub fn new(parts: Parts, settings: Settings) -> Self {
        let Parts { ground: Ground { db, clock, random }, secrets, users, pictures, tasks, connections } =
            parts;
        Self { db, clock, random, secrets, users, pictures, tasks, connections, settings: Arc::new(settings) }
    }

    /// The providers.
    #[must_use]
    pub fn connections(&self) -> &Connections {
        &self.connections
    }

    /// Where people may go on.
    #[must_use]
    pub fn places(&self) -> &Places {
        &self.settings.places
    }

    /// What people are told of a provider by.
    #[must_use]
    pub fn shown_name(&self, provider: &str) -> String {
        let shown = self.connections.named(provider).map_or(provider, |connection| connection.shown_name());
        shown.to_owned()
    }
}
