//! The directory of users at WorkOS, which is followed here.
//!
//! WorkOS is the truth about its users: who they are, their address, their names. What happens there is read from its list
//! of events, one page after the other, and each page is applied together with the cursor behind it. A webhook of WorkOS
//! only makes the next look come sooner; nothing is taken from it. Whoever makes a user here makes them there
//! first. Nobody who signs in, and no other request, ever waits for WorkOS.

mod again;
mod api;
mod client;
mod creation;
mod drift;
mod event;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod intents;
mod moment;
mod person;
mod rules;
mod signature;
mod standing;
mod store;
mod sync;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use sea_orm::DbErr;
use secrecy::SecretString;
use tokio::sync::Notify;
use url::Url;
use uuid::Uuid;

pub use again::{Done, NoMoment, NotAgain, Since};
pub use api::{WebhookRefusal, WorkosApi};
pub use client::{Detail, Fault, Page, Said, Start};
pub use creation::CreationRefusal;
pub use drift::{Drift, Drifted};
pub use event::{Deed, Received, Told};
pub use person::{Flaw, Person};
pub use standing::Standing;
pub use sync::{Halt, Reached};

use crate::platform::clock::Clock;
use crate::platform::db::{Database, Lease};
use crate::platform::ground::Ground;
use crate::platform::outgoing::Outgoing;
use crate::platform::problem::{Breakage, Failure, Refusal};
use crate::platform::random::Random;
use crate::platform::tasks::Tasks;
use crate::sessions::Sessions;
use crate::users::Users;
use client::{Client, ClientParts};
use creation::Turns;

/// How long an instance that died keeps others from following.
const LEASE: Duration = Duration::from_secs(15);
/// The longest pause before the first retry of a question.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// How long what was set aside is kept.
const SET_ASIDE: Duration = Duration::from_hours(90 * 24);

/// What the operator decides about WorkOS.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The key; none: WorkOS has no part in anything.
    pub api_key: Option<SecretString>,
    /// The client that the key belongs to.
    pub client_id: Option<String>,
    /// How often WorkOS is asked.
    pub interval: Duration,
    /// How long one answer is waited for.
    pub request_timeout: Duration,
    /// Where WorkOS is.
    pub base_url: Url,
    /// What WorkOS signs webhooks with; none: there are none.
    pub webhook_secret: Option<SecretString>,
}

/// The earlier features that this one is built on.
pub struct Parts {
    /// Database, time and chance.
    pub ground: Ground,
    /// Who has an account.
    pub users: Users,
    /// Who is signed in.
    pub sessions: Arc<Sessions>,
    /// Work beside the requests.
    pub tasks: Tasks,
}

/// The feature: what it owns.
#[derive(Clone)]
pub struct Workos {
    db: Database,
    clock: Clock,
    random: Random,
    users: Users,
    sessions: Arc<Sessions>,
    client: Option<Client>,
    lease: Lease,
    nudged: Arc<Notify>,
    tasks: Tasks,
    turns: Turns,
    /// What was done since this was opened.
    done: Arc<Mutex<Done>>,
    settings: Arc<Settings>,
}

/// Why nothing was applied. It is tried again.
#[derive(Debug, thiserror::Error)]
pub enum Unapplied {
    /// Another instance was faster: it follows now.
    #[error("another instance follows the directory")]
    Overtaken,
    /// Somebody took what was free a moment ago.
    #[error("somebody else was faster: {0}")]
    Late(&'static str),
    /// The database broke.
    #[error("the database could not write it")]
    Broken(Breakage),
}

impl From<DbErr> for Unapplied {
    fn from(error: DbErr) -> Self {
        Self::Broken(error.into())
    }
}

impl<R: Refusal> From<Failure<R>> for Unapplied {
    fn from(failure: Failure<R>) -> Self {
        match failure {
            Failure::Refused(refusal) => Self::Late(refusal.problem().code),
            Failure::Broken(breakage) => Self::Broken(breakage),
        }
    }
}

impl Workos {
    /// Opens the feature.
    pub fn new(parts: Parts, settings: Settings) -> anyhow::Result<Self> {
        let Parts { ground: Ground { db, clock, random }, users, sessions, tasks } = parts;
        // Reading the certificate authorities takes a while: who has no directory there does not wait for it.
        let outgoing = settings.api_key.as_ref().map(|_| Outgoing::to_known()).transpose()?;
        let client = settings.api_key.clone().zip(outgoing).map(|(api_key, outgoing)| {
            Client::new(ClientParts {
                outgoing,
                base_url: settings.base_url.clone(),
                api_key,
                patience: settings.request_timeout,
                pause: FIRST_PAUSE.min(settings.interval / 10),
                clock: clock.clone(),
                random: random.clone(),
            })
        });
        let lease = Lease::new(db.clone(), "workos", random.uuid_v7(clock.now()), LEASE);
        let (nudged, turns, done) = (Arc::default(), Turns::default(), Arc::default());
        let settings = Arc::new(settings);
        Ok(Self { db, clock, random, users, sessions, client, lease, nudged, tasks, turns, done, settings })
    }

    /// Whether WorkOS keeps the directory of users.
    #[must_use]
    pub const fn is_on(&self) -> bool {
        self.client.is_some()
    }

    /// Whether the directory decides about somebody's address and names.
    pub async fn keeps(&self, user: Uuid) -> Result<bool, DbErr> {
        Ok(self.is_on() && store::keeps(self.db.reader(), user).await?)
    }

    /// Looks at once, if this instance is the one that follows.
    pub(crate) fn nudge(&self) {
        self.nudged.notify_one();
    }

    /// Lets another instance follow at once.
    pub async fn give_back(&self) -> Result<(), DbErr> {
        if self.is_on() {
            self.lease.give_back().await?;
        }
        Ok(())
    }

    /// Forgets what was set aside long ago.
    pub async fn sweep(&self) -> Result<(), DbErr> {
        let moment = self.clock.now().before(SET_ASIDE);
        self.forget_set_aside_before(moment).await.map(|_| ())
    }
}
