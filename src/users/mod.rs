//! People with an account: rules and rows.
//!
//! What a person types becomes a value type once, at the door, and is valid ever after. [`Invalid`] says in words
//! why a value was turned away; the caller knows which field it belongs to.

mod at_once;
mod bans;
mod blocks;
mod census;
mod change_set;
mod changes;
mod description;
mod display_name;
mod email;
mod identifier;
mod invalid;
mod locale;
mod lookup;
mod metadata;
mod moved;
mod otp_method;
mod password;
mod passwords;
mod person_name;
mod rows;
mod rules;
mod sessions;
mod text;
mod told;
mod username;

pub use bans::{BanRefusal, Judge, Reason, UnbanRefusal};
pub use blocks::{BlockChange, BlockRefusal};
pub use census::{Census, MadeOn, day_of};
pub use change_set::Changes;
pub use changes::{Change, Deed, Origin};
pub use description::Description;
pub use display_name::DisplayName;
pub use email::Email;
pub use identifier::Identifier;
pub use invalid::Invalid;
pub use locale::Locale;
pub use lookup::SigningIn;
pub use metadata::Metadata;
pub use otp_method::OtpMethod;
pub use password::{Password, PasswordFlaw, PasswordPolicy};
pub use passwords::Passwords;
pub use person_name::PersonName;
pub use rows::{Aside, Beside, External, Extra, InFull, With};
pub use rules::{ChangeRefusal, CreateRefusal, DeleteRefusal, Names, NewUser, RestoreRefusal, Updated};
pub use sessions::{SessionRefusal, SessionsRefusal};
pub(crate) use text::{as_prose, fits_name, fits_prose, is_noncharacter};
pub use told::{Source, UserUpdated};
pub use username::Username;

pub(crate) mod listing;
pub(crate) mod store;

use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;

use crate::audit::Audit;
use crate::events::Events;
use crate::platform::clock::Clock;
use crate::platform::db::Database;
use crate::platform::ground::Ground;
use crate::platform::random::{OrderedIds, Random};
use crate::sessions::Sessions;
use listing::Filter;
use lookup::Total;

/// Totals of lists that are remembered.
const REMEMBERED_TOTALS: u64 = 256;

/// What the operator decides about accounts.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Shortest user name, in characters.
    pub username_min: usize,
    /// Whether display names are free, or must be the user name up to capitals and spaces.
    pub display_name_free: bool,
    /// How long a deleted account can be restored.
    pub deleted_retention: Duration,
    /// How long history is kept.
    pub history_retention: Duration,
}

/// The feature: what it owns.
#[derive(Clone)]
pub struct Users {
    db: Database,
    clock: Clock,
    random: Random,
    sessions: Arc<Sessions>,
    events: Events,
    audit: Audit,
    settings: Arc<Settings>,
    totals: Cache<Filter, Arc<Total>>,
    history_ids: Arc<OrderedIds>,
}

impl Users {
    /// Opens the feature.
    #[must_use]
    pub fn new(
        ground: Ground,
        sessions: Arc<Sessions>,
        events: Events,
        audit: Audit,
        settings: Settings,
    ) -> Self {
        let Ground { db, clock, random } = ground;
        let totals = Cache::new(REMEMBERED_TOTALS);
        let history_ids = Arc::new(OrderedIds::default());
        let settings = Arc::new(settings);
        Self { db, clock, random, sessions, events, audit, settings, totals, history_ids }
    }

    /// What the operator decides about accounts.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }
}
