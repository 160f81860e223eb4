//! The acts: begin, change, take over what was edited by hand or made elsewhere.

use std::path::Path;
use std::sync::Arc;

use futures_util::FutureExt;
use sea_orm::DbErr;
use tokio::task::spawn_blocking;

use super::file::{self, Note, Reading};
use super::name::Name;
use super::set::{Change, FlagSet};
use super::{Author, Flags, Known, Parts, Source, Version, store};
use crate::audit::{Audit, Entry, Subject};
use crate::platform::causes::told;
use crate::platform::clock::Timestamp;
use crate::platform::db::{Span, Tx};
use crate::platform::problem::{Failure, FieldError, Refusal};
use crate::platform::web::is_wanted;

crate::refusals! {
    /// Why the flags stay as they are.
    pub enum ChangeRefusal {
        Unproved = 401 "reauthentication_required" "Please prove again who you are: POST /auth/reauthenticate.",
        Stale = 412 "precondition_failed" "The flags have changed since you read them.",
        Invalid(Vec<FieldError>) = 422 "validation_failed" "Some fields are not as they must be.",
    }
}

/// What lay on the disk at the start.
pub(super) struct Found {
    reading: Reading,
    note: Option<Note>,
}

impl Found {
    pub(super) fn read(path: &Path) -> Self {
        Self { reading: file::read(path), note: file::read_note(path) }
    }

    /// The file is as this program left it.
    fn is_untouched(&self) -> bool {
        let bytes = self.reading.as_ref().ok().and_then(Option::as_ref);
        match (&self.note, bytes) {
            (Some(note), Some(bytes)) => *note == Note::new(note.version, bytes),
            _ => false,
        }
    }
}

fn parsed(reading: &Reading) -> Result<Option<FlagSet>, String> {
    reading.clone()?.map(|bytes| FlagSet::parse(&bytes)).transpose()
}

/// The version that a start begins with, and what the file says, if it is good.
pub(super) async fn start(
    parts: &Parts,
    found: Found,
    operations: Vec<Name>,
) -> Result<(Version, Known), DbErr> {
    let (now, audit) = (parts.ground.clock.now(), parts.audit.clone());
    parts
        .ground
        .db
        .write(move |tx| async move { start_in(tx, found, &operations, &audit, now).await }.boxed())
        .await
}

async fn start_in(
    tx: &Tx,
    found: Found,
    operations: &[Name],
    audit: &Audit,
    now: Timestamp,
) -> Result<(Version, Known), DbErr> {
    store::hold(tx).await?;
    let latest = store::latest(tx).await?;
    let said = parsed(&found.reading).ok().flatten();
    let set = match (&said, &latest) {
        (Some(said), None) => said.clone(),
        (Some(said), Some(latest)) => with_edit(tx, &found, said, latest).await?,
        (None, latest) => latest.as_ref().map(|latest| latest.set.clone()).unwrap_or_default(),
    };
    // Flags that an upgrade brings are nobody's deed, and no more is the first start.
    let is_edit = latest.as_ref().is_some_and(|latest| latest.set != set);
    // A set that is full already does without: what is not there is on.
    let set = set.after(&Change::of_missing(&set, operations)).unwrap_or(set);
    let latest = latest.unwrap_or_default();
    let version = if latest.set == set && latest.number > 0 {
        latest
    } else {
        let author = Author { source: Source::Start, by: None, trace_id: None };
        let version = store::add(tx, &latest, set, &author, now).await?;
        if is_edit {
            audit.record(tx, entry(&latest, &version, &author)).await?;
        }
        version
    };
    let known = Known {
        set: said.unwrap_or_else(|| version.set.clone()),
        reading: found.reading,
        version: version.number,
    };
    Ok((version, known))
}

/// The newest flags with what was edited in the file while nobody looked. A file that is an old copy changes nothing.
async fn with_edit(tx: &Tx, found: &Found, said: &FlagSet, latest: &Version) -> Result<FlagSet, DbErr> {
    let since = found.note.as_ref().map_or(0, |note| note.version);
    if found.is_untouched() || store::was_since(tx, said, since).await? {
        return Ok(latest.set.clone());
    }
    let before = store::numbered(tx, since).await?;
    let before = before.map_or_else(|| latest.set.clone(), |version| version.set);
    Ok(latest.set.after(&before.change_to(said)).unwrap_or_else(|_| said.clone()))
}

impl Flags {
    /// A part of the history, and how long it is.
    pub(super) async fn history(&self, span: &Span<i64>) -> Result<(Vec<store::Entry>, u64), DbErr> {
        let reader = self.0.parts.ground.db.reader();
        Ok((store::history(reader, span).await?, store::history_count(reader).await?))
    }

    /// Shows the flags of the start in the file, unless what lies there is bad: that is the operator's to mend.
    pub(super) async fn settle_start(&self) {
        let mut known = self.0.known.lock().await;
        let version = self.in_force().clone();
        warn_of_idle(&version.set);
        match parsed(&known.reading) {
            Err(what) => self.note_mistake(Some(what)),
            Ok(Some(said)) if said == version.set => self.note_down(&known, &version).await,
            Ok(_) => self.show(&mut known, &version).await,
        }
    }

    /// Changes flags; `wanted` are the tags of which they must still have one.
    pub async fn change(
        &self,
        change: Change,
        wanted: Option<String>,
        author: Author,
    ) -> Result<Arc<Version>, Failure<ChangeRefusal>> {
        let flags = self.clone();
        // A client that leaves must not leave a version that is in force nowhere.
        let changed = self.0.parts.tasks.finish(async move {
            let mut known = flags.0.known.lock().await;
            // What was edited a moment ago comes first, or it would be overwritten.
            flags.take_edit(&mut known).await;
            let version = flags.commit(change, wanted, author).await?;
            flags.put_in_force(&mut known, version).await;
            Ok(flags.in_force().clone())
        });
        changed.await
    }

    /// Takes over what was edited by hand. While the database is away the edit waits for it.
    pub(super) async fn take_edit(&self, known: &mut Known) {
        let reading = self.read_file().await;
        if reading != known.reading {
            self.take(known, reading).await;
        }
    }

    pub(super) async fn take(&self, known: &mut Known, reading: Reading) {
        let said = match parsed(&reading) {
            Ok(Some(said)) => said,
            refused => {
                known.reading = reading;
                return self.note_mistake(Some(refused.err().unwrap_or_else(|| "it is gone".to_owned())));
            }
        };
        // An instance that shares the folder writes the file, too: what it wrote is in the database already.
        let is_noted = self.is_noted(&reading).await;
        let change = match store::was_since(self.0.parts.ground.db.reader(), &said, known.version).await {
            Ok(was_since) if was_since || is_noted => Change::default(),
            Ok(_) => known.set.change_to(&said),
            Err(error) => {
                return tracing::warn!(%error, "an edit of the flags waits for the database");
            }
        };
        let (is_edit, author) =
            (!change.is_empty(), Author { source: Source::File, by: None, trace_id: None });
        match self.commit(change, None, author).await {
            Ok(version) => {
                if is_edit {
                    tracing::info!(version = version.number, "took over the edited file of flags");
                }
                *known = Known { reading, set: said, version: version.number };
                self.note_mistake(None);
                self.note_down(known, &version).await;
                self.put_in_force(known, version).await;
            }
            Err(Failure::Refused(refusal)) => {
                known.reading = reading;
                self.note_mistake(Some(match refusal {
                    ChangeRefusal::Invalid(faults) => {
                        faults.into_iter().map(|fault| fault.message).collect::<Vec<_>>().join("; ")
                    }
                    other => other.problem().to_string(),
                }));
            }
            Err(Failure::Broken(breakage)) => {
                let (is_passing, error) = (breakage.is_passing(), told(&breakage.into_cause()));
                if is_passing {
                    tracing::warn!(error, "an edit of the flags waits for the database");
                } else {
                    tracing::error!(error, "an edit of the flags can't be taken over; it is tried again");
                }
            }
        }
    }

    /// Makes the change of whatever the newest flags are.
    async fn commit(
        &self,
        change: Change,
        wanted: Option<String>,
        author: Author,
    ) -> Result<Version, Failure<ChangeRefusal>> {
        let (now, audit) = (self.0.parts.ground.clock.now(), self.0.parts.audit.clone());
        let changed = self.0.parts.ground.db.write(move |tx| {
            async move {
                if let Some(caller) = &author.by {
                    caller.hold_in(tx, caller.user_id).await?;
                }
                store::hold(tx).await?;
                let latest = store::latest(tx).await?.unwrap_or_default();
                if wanted.is_some_and(|wanted| !is_wanted(&wanted, &latest.etag())) {
                    return Err(ChangeRefusal::Stale.into());
                }
                let set = latest.set.after(&change);
                let set = set.map_err(|words| ChangeRefusal::Invalid(vec![FieldError::new("add", words)]))?;
                if set == latest.set {
                    return Ok(latest);
                }
                let version = store::add(tx, &latest, set, &author, now).await?;
                audit.record(tx, entry(&latest, &version, &author)).await?;
                Ok(version)
            }
            .boxed()
        });
        changed.await
    }

    /// From now on the version decides, and the file shows it.
    pub(super) async fn put_in_force(&self, known: &mut Known, version: Version) {
        let version = Arc::new(version);
        if version.number > self.in_force().number {
            warn_of_idle(&version.set);
            self.0.in_force.store(Arc::clone(&version));
        }
        if known.set == version.set {
            // What the file says, it says as of this version: whatever it said before may be wanted again.
            known.version = known.version.max(version.number);
        } else {
            self.show(known, &version).await;
        }
    }

    /// Writes the flags into the file. One that can't be written is no error: the versions are in the database.
    async fn show(&self, known: &mut Known, version: &Arc<Version>) {
        let bytes = version.set.text().into_bytes();
        let (path, random, number) =
            (self.0.settings.file.clone(), self.0.parts.ground.random.clone(), version.number);
        let text = bytes.clone();
        let written = spawn_blocking(move || file::write(&path, &text, number, &random)).await;
        match written
            .map_err(|error| error.to_string())
            .and_then(|done| done.map_err(|error| error.to_string()))
        {
            Ok(()) => {
                *known = Known { reading: Ok(Some(bytes)), set: version.set.clone(), version: number };
                self.note_mistake(None);
            }
            Err(error) => {
                // Whoever writes into it from now on means what is in force now to be another.
                known.version = known.version.max(number);
                let file = self.0.settings.file.display();
                tracing::warn!(%file, error, "the file of flags can't be written; the flags are in force all the same");
            }
        }
    }

    /// Notes that the file shows this version as it lies there.
    async fn note_down(&self, known: &Known, version: &Version) {
        let Ok(Some(bytes)) = &known.reading else { return };
        let note = Note::new(version.number, bytes);
        let (path, random) = (self.0.settings.file.clone(), self.0.parts.ground.random.clone());
        let noted = spawn_blocking(move || {
            if file::read_note(&path).as_ref() == Some(&note) {
                return Ok(());
            }
            file::write_note(&path, &note, &random)
        });
        if let Ok(Err(error)) = noted.await {
            tracing::debug!(%error, "the note beside the file of flags can't be written");
        }
    }

    /// Whether the note says that an instance wrote these bytes, or has taken them over.
    async fn is_noted(&self, reading: &Reading) -> bool {
        let Ok(Some(bytes)) = reading else { return false };
        let digest = Note::new(0, bytes).digest;
        let path = self.0.settings.file.clone();
        let noted = spawn_blocking(move || file::read_note(&path)).await;
        noted.ok().flatten().is_some_and(|note| note.digest == digest)
    }

    pub(super) async fn read_file(&self) -> Reading {
        let path = self.0.settings.file.clone();
        spawn_blocking(move || file::read(&path)).await.unwrap_or_else(|error| Err(error.to_string()))
    }
}

fn warn_of_idle(set: &FlagSet) {
    for flag in set.without_effect() {
        tracing::warn!(%flag, "this operation can't be switched off: its flag has no effect");
    }
}

/// What the log of what staff did tells of a new version: which flags are others; their history tells how.
fn entry(before: &Version, version: &Version, author: &Author) -> Entry {
    let changed: Vec<String> =
        before.set.differences(&version.set).into_iter().map(|difference| difference.flag).collect();
    let details = [
        ("version".to_owned(), version.number.into()),
        ("source".to_owned(), author.source.name().into()),
        ("flags".to_owned(), changed.into()),
    ];
    Entry {
        actor: author.id(),
        action: "flags_changed".into(),
        subject: Subject::Flags,
        details: details.into_iter().collect(),
        trace_id: author.trace_id.clone(),
    }
}
