//! Profile pictures: those that people choose, and those that are drawn for who has chosen none.
//!
//! What people send is never kept: the `sieve` takes it apart, `develop` makes a picture of ours of its pixels, on the
//! threads of the `studio`. What is drawn (`initials`, `pen`) depends on name and size alone.

mod develop;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod initials;
mod pen;
mod ready;
mod room;
mod rules;
mod sieve;
mod studio;

use std::sync::Arc;

use crate::files::Files;
use crate::platform::db::Database;
use crate::platform::freshness::{FreshCache, View};
use crate::users::Users;

pub use ready::Ready;
pub use rules::{Face, Made, PictureRefusal, RemovePictureRefusal, ShowRefusal, Side};

use pen::Pen;
use ready::Shelf;
use room::Room;
use studio::Studio;

/// People of whom is remembered what their picture is.
const REMEMBERED: u64 = 10_000;

/// The feature: what it owns.
#[derive(Clone)]
pub struct Pictures {
    users: Users,
    files: Files,
    studio: Arc<Studio>,
    room: Room,
    pen: Arc<Pen>,
    shelf: Arc<Shelf>,
    faces: FreshCache<Arc<Face>>,
}

impl Pictures {
    /// Opens the feature; starts its threads.
    pub fn open(db: &Database, users: Users, files: Files) -> anyhow::Result<Self> {
        Ok(Self {
            users,
            files,
            studio: Arc::new(Studio::start()?),
            room: Room::new(),
            pen: Arc::new(Pen::new()?),
            shelf: Arc::new(Shelf::new()),
            faces: FreshCache::new(View::Profile, Arc::clone(db.freshness()), REMEMBERED),
        })
    }

    /// How often the caches had what was looked for: pictures ready to be sent, and whose is which.
    #[must_use]
    pub fn looks(&self) -> [(&'static str, (u64, u64)); 2] {
        [("pictures", self.shelf.looks().read()), ("faces", self.faces.looks().read())]
    }
}
