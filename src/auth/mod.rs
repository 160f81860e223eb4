//! The door: sign-up, sign-in, second factor, passwords and ways back to them, throttles, first start.

mod account;
mod admission;
mod api;
mod door;
mod first_start;
mod oauth;
mod oauth_api;
mod operator;
mod otp_api;
mod pending;
mod recovery;
mod recovery_api;
mod second_factor;
mod session_api;
mod shapes;
mod sign_in;
mod sign_up;
mod target;
pub mod throttle;

use std::sync::Arc;

use poem::{Request, Response};

use crate::flags::Flags;
use crate::mail::Mail;
use crate::oauth::Oauth;
use crate::otp::Otp;
use crate::platform::clock::Clock;
use crate::platform::config::{Quota, ServiceClient};
use crate::platform::db::Database;
use crate::platform::domains::Domains;
use crate::platform::ground::Ground;
use crate::platform::random::Random;
use crate::platform::secrets::Secrets;
use crate::platform::tasks::Tasks;
use crate::proofs::Proofs;
use crate::sessions::Sessions;
use crate::users::{Passwords, Users};

pub use account::{PasswordRefusal, ReauthenticateRefusal};
pub use admission::{Admission, Challenged, SignedIn};
pub use api::AuthApi;
pub use door::Door;
pub use first_start::{SetUpLink, SetUpRefusal};
pub use oauth_api::OauthApi;
pub use otp_api::OtpApi;
pub use recovery::{AskRefusal, ResetRefusal, VerifyRefusal};
pub use recovery_api::RecoveryApi;
pub use second_factor::{OtpRefusal, SecondFactor};
pub use session_api::{Session, SessionApi};
pub use shapes::shapes;
pub use sign_in::{Credentials, SignInRefusal};
pub use sign_up::{SignUp, SignUpRefusal, SignedUp};

/// Operations that libraries of OAuth speak with, by id: what refuses them says so in the words of RFC 6749, 5.2.
pub const OAUTH_OPERATIONS: [&str; 5] =
    ["login", "refresh_token", "oauth_token", "revoke_token", "introspect_token"];

/// Makes a page for whoever sent the request, about a token or a provider. The pages come later in the order of features.
pub type MakePage = Arc<dyn Fn(&Request, &str) -> Response + Send + Sync>;

/// What the operator decides about the door.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Whether people may sign up by themselves.
    pub registration_enabled: bool,
    /// Whether an account exists only once its address is proved.
    pub verification: bool,
    /// Failed sign-ins of one client.
    pub throttle_login: Quota,
    /// Sign-ups of one client.
    pub throttle_register: Quota,
    /// Links that one client asks for.
    pub throttle_forgot: Quota,
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
    mail: Mail,
    otp: Otp,
    oauth: Oauth,
    proofs: Proofs,
    domains: Domains,
    tasks: Tasks,
    flags: Flags,
    settings: Arc<Settings>,
}

/// The earlier features that the door is built on.
pub struct Parts {
    /// Database, time and chance.
    pub ground: Ground,
    /// Keys from the master secret.
    pub secrets: Arc<Secrets>,
    /// Who is signed in.
    pub sessions: Arc<Sessions>,
    /// Who has an account.
    pub users: Users,
    /// Which passwords are good enough, and the threads that hash them.
    pub passwords: Passwords,
    /// Letters.
    pub mail: Mail,
    /// Second factors.
    pub otp: Otp,
    /// Accounts at other providers.
    pub oauth: Oauth,
    /// Mailed links.
    pub proofs: Proofs,
    /// Which domains take mail.
    pub domains: Domains,
    /// Where work goes that must end although its client has left.
    pub tasks: Tasks,
    /// Whether signing in is switched on, and for whom.
    pub flags: Flags,
}

impl Auth {
    /// Opens the feature.
    #[must_use]
    pub fn new(parts: Parts, settings: Settings) -> Self {
        Self {
            db: parts.ground.db,
            clock: parts.ground.clock,
            random: parts.ground.random,
            secrets: parts.secrets,
            sessions: parts.sessions,
            users: parts.users,
            passwords: parts.passwords,
            mail: parts.mail,
            otp: parts.otp,
            oauth: parts.oauth,
            proofs: parts.proofs,
            domains: parts.domains,
            tasks: parts.tasks,
            flags: parts.flags,
            settings: Arc::new(settings),
        }
    }

    /// What the operator decides about accounts.
    #[must_use]
    pub fn user_settings(&self) -> &crate::users::Settings {
        self.users.settings()
    }

    /// The other providers: name in paths, name for people, whether it can be used.
    pub fn providers(&self) -> impl Iterator<Item = (&str, &str, bool)> {
        self.oauth.connections().all()
    }

    /// Forgets throttles, sign-ups and one-time tokens whose time is over, in small steps.
    pub async fn sweep(&self) -> Result<(), sea_orm::DbErr> {
        self.sweep_throttles().await?;
        self.sweep_sign_ups().await?;
        self.sweep_set_up_links().await
    }
}
