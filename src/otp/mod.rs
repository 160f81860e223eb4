//! The second factor: authenticators (TOTP, RFC 6238), codes by e-mail, recovery codes, and the challenge between the
//! first factor and the second.
//!
//! Nothing here opens a session or asks for a password: `auth` does, and calls these acts in its own transaction. What
//! must work once (a code, a challenge) is consumed by one conditional statement there, so it is used up exactly if
//! that transaction commits. An act that was given a wrong code keeps count: its transaction must be committed, too.

mod authenticator;
mod challenge;
mod code;
mod enrolment;
mod rewrap;
mod seed;
mod store;

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use sea_orm::DbErr;

pub use challenge::{Answer, CHALLENGE_LASTS, Challenge, FirstFactor, Waiting};
pub use code::{Code, Digits, EmailCode, RecoveryCode};
pub use seed::Seed;

pub use crate::users::OtpMethod as Method;

use crate::platform::clock::Clock;
use crate::platform::db::Database;
use crate::platform::ground::Ground;
use crate::platform::random::Random;
use crate::platform::secrets::Secrets;
use crate::platform::web::TraceId;
use crate::users::store::user;
use crate::users::{Origin, Users};

/// What the operator decides about the second factor.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What authenticators show beside the account: `PROJECT_NAME`.
    pub issuer: String,
    /// Digits of a code, 6 to 8.
    pub digits: u8,
    /// How long an authenticator shows a code.
    pub interval: Duration,
    /// Codes that an authenticator shows so many steps before or after are good, too.
    pub window: u8,
    /// How long a code by e-mail is good.
    pub email_interval: Duration,
    /// Whether a code by e-mail may be chosen as second factor.
    pub email_allowed: bool,
}

/// The feature: what it owns.
#[derive(Clone)]
pub struct Otp {
    db: Database,
    clock: Clock,
    random: Random,
    secrets: Arc<Secrets>,
    users: Users,
    settings: Arc<Settings>,
}

/// What proved the second factor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Used {
    /// A code of the authenticator.
    Authenticator,
    /// A code by e-mail.
    EmailCode,
    /// A recovery code; it is gone now.
    RecoveryCode,
}

impl Used {
    /// What it adds to `amr` (RFC 8176), beside `mfa`.
    #[must_use]
    pub const fn amr(self) -> &'static str {
        match self {
            Self::Authenticator | Self::EmailCode | Self::RecoveryCode => "otp",
        }
    }
}

impl Otp {
    /// Opens the feature.
    #[must_use]
    pub fn new(ground: Ground, secrets: Arc<Secrets>, users: Users, settings: Settings) -> Self {
        let Ground { db, clock, random } = ground;
        Self { db, clock, random, secrets, users, settings: Arc::new(settings) }
    }

    /// What the operator decides about the second factor.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What somebody typed, if it has the form of a code.
    #[must_use]
    pub fn read_code(&self, typed: &str) -> Option<Code> {
        Code::parse(typed, self.settings.digits)
    }

    /// Forgets challenges, codes and enrolments whose time is over, in small steps.
    pub async fn sweep(&self) -> Result<(), DbErr> {
        let (now, code_lasts) = (self.clock.now(), self.settings.email_interval);
        self.db.write_in_steps(move |tx, most| store::forget_expired(tx, now, code_lasts, most).boxed()).await
    }
}

/// The owner's own doing, in the request at hand.
fn by_owner(user: &user::Model) -> Origin {
    Origin {
        by: Some(user.id),
        trace_id: TraceId::current().map(|trace_id| trace_id.as_str().to_owned()),
        ..Origin::default()
    }
}
