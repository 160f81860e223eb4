//! Feature flags: what is switched on, and for whom.
//!
//! Each operation has a flag of its own, asked before its handler ([`Flagged`]); other flags have any name and are asked
//! by OFREP. The flags in force are the newest of their versions in the database. The file in `DATA_DIR` shows them, and
//! who edits it makes a version: the edit is compared with what the file held before and applied like any other change,
//! so that it undoes nothing that somebody else did meanwhile.

mod api;
mod file;
mod flag;
mod gate;
mod name;
mod ofrep;
mod operations;
mod rules;
mod set;
mod shapes;
mod store;
mod watch;
mod written;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::{ArcSwap, Guard};
use sea_orm::DbErr;
use tokio::task::spawn_blocking;
use uuid::Uuid;

pub use api::FlagsApi;
pub use flag::{Decision, Flag, Percentage, Person, Reason, Rule, Shelter};
pub use gate::{Flagged, switched_off};
pub use name::{Name, NotAName};
pub use ofrep::OfrepApi;
pub use operations::{LOGIN, REGISTER, flag_of, flags_of, is_gated};
pub use rules::ChangeRefusal;
pub use set::{Change, Difference, FlagSet, LARGEST};
pub use shapes::shapes;
pub use written::{FlagRule, FlagValue};

use crate::audit::Audit;
use crate::platform::ground::Ground;
use crate::platform::secrets::Key32;
use crate::platform::tasks::Tasks;
use crate::sessions::Caller;
use file::Reading;

/// Where the flags are, and whether they count.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The file that shows the flags, to be edited by hand.
    pub file: PathBuf,
    /// Whether operations obey their flags.
    pub enforced: bool,
}

/// What the feature needs from before it.
pub struct Parts {
    /// Database, time and chance.
    pub ground: Ground,
    /// Changes go on when the client leaves.
    pub tasks: Tasks,
    /// What staff did.
    pub audit: Audit,
    /// Seals the cursors of the history.
    pub cursor_key: Key32,
}

/// The flags in force. Clones mean the same.
#[derive(Clone)]
pub struct Flags(Arc<Live>);

struct Live {
    parts: Parts,
    settings: Settings,
    in_force: ArcSwap<Version>,
    /// What the file held when it was last looked at. Who holds this changes the flags; others wait.
    known: tokio::sync::Mutex<Known>,
    mistake: Mutex<Option<String>>,
}

/// A set of flags and its place in the row of all sets.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Version {
    /// Its number, from 1 on.
    pub number: i64,
    /// The flags.
    pub set: FlagSet,
}

struct Known {
    /// The last reading, good or bad.
    reading: Reading,
    /// What the file said when it was last good.
    set: FlagSet,
    /// The newest version of which it is known that the file says nothing else.
    version: i64,
}

/// Who makes a version.
#[derive(Clone, Debug)]
pub struct Author {
    /// How it came in.
    pub source: Source,
    /// Who was let in to make it; none: nobody who was signed in.
    pub by: Option<Caller>,
    /// The request.
    pub trace_id: Option<String>,
}

impl Author {
    /// Their account.
    fn id(&self) -> Option<Uuid> {
        self.by.as_ref().map(|caller| caller.user_id)
    }
}

/// How a version comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A start found operations without a flag, or an edited file.
    Start,
    /// The file was edited by hand.
    File,
    /// `PATCH /admin/feature-flags`.
    Api,
}

impl Source {
    /// Its name in history.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::File => "file",
            Self::Api => "api",
        }
    }
}

impl Flags {
    /// Opens the feature: the newest version with what was edited in the file while nobody looked, and with a flag for
    /// each of these operations. A bad file stops nothing: what was in force before stays so.
    pub async fn open(parts: Parts, settings: Settings, operations: Vec<Name>) -> Result<Self, DbErr> {
        let path = settings.file.clone();
        let found = spawn_blocking(move || rules::Found::read(&path)).await;
        let found = found.map_err(|error| DbErr::Custom(error.to_string()))?;
        let (version, known) = rules::start(&parts, found, operations).await?;
        let flags = Self(Arc::new(Live {
            parts,
            settings,
            in_force: ArcSwap::from_pointee(version),
            known: tokio::sync::Mutex::new(known),
            mistake: Mutex::default(),
        }));
        flags.settle_start().await;
        Ok(flags)
    }

    /// The version in force.
    #[must_use]
    pub fn in_force(&self) -> Guard<Arc<Version>> {
        self.0.in_force.load()
    }

    /// How a flag is for somebody, or for nobody in particular.
    #[must_use]
    pub fn decide(&self, name: &str, who: Option<&Person>) -> Decision {
        self.in_force().set.decide(name, who)
    }

    /// Whether operations obey their flags.
    #[must_use]
    pub fn are_enforced(&self) -> bool {
        self.0.settings.enforced
    }

    /// What is wrong with the file, which is therefore not in force; for the health report.
    #[must_use]
    pub fn mistake(&self) -> Option<String> {
        self.0.mistake.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note_mistake(&self, mistake: Option<String>) {
        if let Some(what) = &mistake {
            let file = self.0.settings.file.display();
            tracing::error!(%file, what, "the file of flags is refused; the last good flags stay in force");
        }
        *self.0.mistake.lock().unwrap_or_else(PoisonError::into_inner) = mistake;
    }
}

impl Version {
    /// Names this version in `ETag` and `If-Match`.
    #[must_use]
    pub fn etag(&self) -> String {
        format!("\"{}\"", self.number)
    }
}
