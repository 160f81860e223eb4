//! The acts on files: receive, keep, change, delete; and the questions about them.

use bytes::Bytes;
use futures_util::{FutureExt, TryStreamExt};
use sea_orm::DbErr;
use uuid::Uuid;

use super::name::FileName;
use super::range::Length;
use super::storage::{Pieces, Received, StorageFault};
use super::store::{self, Scope, Seen, file};
use super::{Files, kind, quota};
use crate::platform::db::{Span, Tx, violated_unique};
use crate::platform::problem::{Failure, FieldError, Problem, Refusal, RetryAfter};
use crate::platform::web::Upload;
use crate::users::store as people;
use crate::users::{Deed, Description, Origin, UserUpdated};

crate::refusals! {
    /// Why a file is not kept.
    pub enum UploadRefusal {
        Unreadable(Problem) = 400 "bad_request" "The body is not multipart/form-data that can be read.",
        NotFound = 404 "not_found" "There is no such user.",
        Deleted = 409 "user_deleted" "The user is deleted.",
        NameTaken = 409 "conflict" "You have a file of this name already.",
        Quota = 409 "quota_exceeded" "You have as many files, or bytes, as one may have. Delete some first.",
        TooLarge = 413 "payload_too_large" "The file is larger than this server takes.",
        Invalid(Vec<FieldError>) = 422 "validation_failed" "Some fields are not as they must be.",
        Away(RetryAfter) = 503 "unavailable" "The store of files can't be reached. Please try again in a moment.",
        Full = 507 "insufficient_storage" "The server has no room for files left.",
    }
}

crate::refusals! {
    /// Why a file is not changed.
    pub enum ChangeRefusal {
        NotFound = 404 "not_found" "There is no such file, or not for you.",
        NameTaken = 409 "conflict" "The owner has a file of this name already.",
        Invalid(Vec<FieldError>) = 422 "validation_failed" "Some fields are not as they must be.",
    }
}

crate::refusals! {
    /// Why a file is not shown.
    pub enum FileRefusal {
        NotFound = 404 "not_found" "There is no such file, or not for you.",
        Away(RetryAfter) = 503 "unavailable" "The store of files can't be reached. Please try again in a moment.",
    }
}

crate::refusals! {
    /// Why the content of a file is not sent.
    pub enum ContentRefusal {
        OutOfRange(Length) = 416 "range_not_satisfiable" "The file has no such bytes.",
    }
    and File(FileRefusal)
}

crate::refusals! {
    /// Why files are not listed.
    pub enum ListRefusal {
        Invalid(Vec<FieldError>) = 422 "validation_failed" "Some fields are not as they must be.",
    }
}

/// How soon to ask again where the store is away.
const LATER: RetryAfter = RetryAfter(5);

/// A file to be kept.
#[derive(Clone, Debug)]
pub struct NewFile {
    /// Whose it is: whose limits, whose names.
    pub owner: Uuid,
    /// To whom it is linked besides.
    pub linked: Vec<Uuid>,
    /// In the uploader's words.
    pub description: Option<Description>,
}

/// A picture to be kept of a person.
#[derive(Clone, Debug)]
pub struct NewPicture {
    /// Whom it shows.
    pub of: Uuid,
    /// Who has brought it.
    pub by: Uuid,
    /// How its name ends.
    pub ending: &'static str,
    /// What it is.
    pub media_type: &'static str,
    /// In the uploader's words.
    pub description: Option<Description>,
    /// Whether it is kept only where there is none yet.
    pub is_offer: bool,
}

/// What is to be changed of a file.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// Another name.
    pub name: Option<FileName>,
    /// Another description, or none.
    #[expect(clippy::option_option, reason = "a description that stays is not one that is emptied")]
    pub description: Option<Option<Description>>,
}

impl Files {
    /// Reads the file of an upload, as it comes, onto the disk. Dropped, what was received is gone.
    pub async fn receive(&self, upload: Upload) -> Result<Received, Failure<UploadRefusal>> {
        self.receive_up_to(upload, self.settings.max_bytes).await
    }

    /// The same with a limit of one's own.
    pub async fn receive_up_to(&self, upload: Upload, most: u64) -> Result<Received, Failure<UploadRefusal>> {
        let mut incoming = upload.open().await.map_err(UploadRefusal::Unreadable)?;
        let mut writing = self.storage.receive(self.new_blob());
        while let Some(piece) = incoming.piece(writing.size()).await.map_err(UploadRefusal::Unreadable)? {
            if writing.size() + piece.len() as u64 > most {
                return Err(UploadRefusal::TooLarge.into());
            }
            writing.write(piece).await.map_err(|error| not_kept(error.into()))?;
        }
        writing.finish(incoming.name).await.map_err(|error| not_kept(error.into()))
    }

    /// The same for bytes that are at hand.
    pub async fn receive_bytes(&self, bytes: Bytes) -> Result<Received, Failure<UploadRefusal>> {
        let mut writing = self.storage.receive(self.new_blob());
        let written = async {
            writing.write(bytes).await?;
            writing.finish(None).await
        };
        written.await.map_err(|error| not_kept(error.into()))
    }

    /// Of the time: so the sweeper knows how old it is.
    pub(super) fn new_blob(&self) -> Uuid {
        self.random.uuid_v7(self.clock.now())
    }

    /// Keeps what was received: all of it, or nothing.
    pub async fn keep(
        &self,
        received: Received,
        new: NewFile,
        origin: Origin,
    ) -> Result<file::Model, Failure<UploadRefusal>> {
        let files = self.clone();
        self.tasks.finish(async move { files.place_and_keep(received, new, origin).await }).await
    }

    async fn place_and_keep(
        &self,
        mut received: Received,
        new: NewFile,
        origin: Origin,
    ) -> Result<file::Model, Failure<UploadRefusal>> {
        let name = FileName::of(received.name.as_deref().unwrap_or_default());
        let whole = received.size <= received.head.len() as u64;
        let media_type = kind::of(&received.head, whole, name.ending().as_deref());
        let row =
            self.row_of(&received, new.owner, name.as_str().to_owned(), media_type, new.description.as_ref());
        self.storage.place(&mut received).await.map_err(not_kept)?;
        let files = self.clone();
        let written = self
            .db
            .write(move |tx| async move { files.keep_in(tx, row, &new.linked, &origin).await }.boxed())
            .await;
        self.settled(written, received.blob).await
    }

    async fn keep_in(
        &self,
        tx: &Tx,
        row: file::Model,
        linked: &[Uuid],
        origin: &Origin,
    ) -> Result<file::Model, Failure<UploadRefusal>> {
        let others: Vec<Uuid> = linked.iter().copied().filter(|user| *user != row.created_by).collect();
        for user in in_order(others.iter().copied().chain([row.created_by])) {
            let held = people::held(tx, user).await?.ok_or(UploadRefusal::NotFound)?;
            if held.deleted_at.is_some() {
                return Err(UploadRefusal::Deleted.into());
            }
            self.users.note_in(tx, user, Deed::FileAdded, row.name.clone(), origin).await?;
        }
        let size = row.size.unsigned_abs();
        if !quota::has_room(tx, row.created_by, size, &self.settings).await? {
            return Err(UploadRefusal::Quota.into());
        }
        let kept = store::insert(tx, row, &others).await.map_err(|error| match violated_unique(&error) {
            Some(words) if words.contains("files.name") || words.contains("files_name") => {
                Failure::from(UploadRefusal::NameTaken)
            }
            _ => error.into(),
        })?;
        for user in others {
            self.users.audit_deed_in(tx, user, Deed::FileAdded, origin).await?;
        }
        Ok(kept)
    }

    /// Keeps a person's picture, in the place of the one before, whose bytes go after the commit. `None`: they have one, and
    /// this was an offer.
    pub async fn keep_picture(
        &self,
        received: Received,
        new: NewPicture,
        origin: Origin,
    ) -> Result<Option<file::Model>, Failure<UploadRefusal>> {
        let files = self.clone();
        self.tasks.finish(async move { files.place_and_keep_picture(received, new, origin).await }).await
    }

    async fn place_and_keep_picture(
        &self,
        mut received: Received,
        new: NewPicture,
        origin: Origin,
    ) -> Result<Option<file::Model>, Failure<UploadRefusal>> {
        let NewPicture { of, by, ending, media_type, description, is_offer } = new;
        let name = format!("pfp_{of}.{ending}");
        let row = self.row_of(&received, by, name, media_type, description.as_ref());
        let row = file::Model { picture_of: Some(of), ..row };
        self.storage.place(&mut received).await.map_err(not_kept)?;
        let files = self.clone();
        let written = self
            .db
            .write(move |tx| {
                async move { files.keep_picture_in(tx, row, (of, is_offer), &origin).await }.boxed()
            })
            .await;
        let Some((kept, before)) = self.settled(written, received.blob).await? else {
            self.discard(vec![received.blob]).await;
            return Ok(None);
        };
        self.discard(before).await;
        Ok(Some(kept))
    }

    async fn keep_picture_in(
        &self,
        tx: &Tx,
        row: file::Model,
        (of, is_offer): (Uuid, bool),
        origin: &Origin,
    ) -> Result<Option<(file::Model, Vec<Uuid>)>, Failure<UploadRefusal>> {
        let setter = store::picture_of(tx, of).await?.map(|before| before.created_by);
        for user in in_order([of, row.created_by].into_iter().chain(setter)) {
            let held = people::held(tx, user).await?.ok_or(UploadRefusal::NotFound)?;
            if user == of && held.deleted_at.is_some() {
                return Err(UploadRefusal::Deleted.into());
            }
        }
        let before = store::picture_of(tx, of).await?;
        if is_offer && before.is_some() {
            return Ok(None);
        }
        if row.created_by != of {
            self.users.looks_other_in(tx, row.created_by).await?;
        }
        self.users.note_in(tx, of, Deed::PictureChanged, String::new(), origin).await?;
        self.users.tell_in(tx, of, &UserUpdated::image(true), origin).await?;
        if let Some(before) = &before {
            store::delete(tx, before.id).await?;
            if before.created_by != of {
                self.users.looks_other_in(tx, before.created_by).await?;
            }
        }
        let linked = if row.created_by == of { vec![] } else { vec![of] };
        let kept = store::insert(tx, row, &linked).await?;
        self.users.audit_deed_in(tx, of, Deed::PictureChanged, origin).await?;
        Ok(Some((kept, before.into_iter().map(|before| before.blob).collect())))
    }

    fn row_of(
        &self,
        received: &Received,
        created_by: Uuid,
        name: String,
        media_type: &str,
        description: Option<&Description>,
    ) -> file::Model {
        file::Model {
            id: 0,
            created_by,
            picture_of: None,
            name,
            media_type: media_type.to_owned(),
            description: description.map(|text| text.as_str().to_owned()),
            size: i64::try_from(received.size).unwrap_or(i64::MAX),
            sha256: received.sha256.to_vec(),
            blob: received.blob,
            created_at: self.clock.now().millis(),
        }
    }

    /// After an act that was to give bytes their row. Refused, they are removed again; where it is not known what became
    /// of the row, they are left to the sweeper.
    async fn settled<T>(
        &self,
        written: Result<T, Failure<UploadRefusal>>,
        blob: Uuid,
    ) -> Result<T, Failure<UploadRefusal>> {
        if let Err(Failure::Refused(_)) = &written {
            self.discard(vec![blob]).await;
        }
        written
    }

    /// Changes name and description.
    pub async fn change(
        &self,
        id: i64,
        changes: Changes,
        origin: Origin,
    ) -> Result<file::Model, Failure<ChangeRefusal>> {
        let files = self.clone();
        self.db.write(move |tx| async move { files.change_in(tx, id, changes, &origin).await }.boxed()).await
    }

    async fn change_in(
        &self,
        tx: &Tx,
        id: i64,
        changes: Changes,
        origin: &Origin,
    ) -> Result<file::Model, Failure<ChangeRefusal>> {
        let mut row = store::by_id(tx, id).await?.ok_or(ChangeRefusal::NotFound)?;
        if changes.name.is_some() && row.picture_of.is_some() {
            let error = FieldError::new("file_name", "The server names pictures.");
            return Err(ChangeRefusal::Invalid(vec![error]).into());
        }
        let people = self.tell_concerned(tx, &row, Deed::FileChanged, origin).await?;
        // Its people are held by now, and so is it: what somebody else changed in the meantime stays.
        row = store::by_id(tx, id).await?.ok_or(ChangeRefusal::NotFound)?;
        if let Some(name) = changes.name {
            name.as_str().clone_into(&mut row.name);
        }
        if let Some(description) = changes.description {
            row.description = description.map(|text| text.as_str().to_owned());
        }
        let written = store::update(tx, id, &row.name, row.description.as_deref()).await;
        written.map_err(|error| match violated_unique(&error) {
            Some(_) => Failure::from(ChangeRefusal::NameTaken),
            None => Failure::from(error),
        })?;
        self.audit_concerned(tx, &row, &people, Deed::FileChanged, origin).await?;
        Ok(row)
    }

    /// Deletes a file: its row, and after the commit its bytes. What it was.
    pub async fn delete(&self, id: i64, origin: Origin) -> Result<file::Model, Failure<FileRefusal>> {
        let files = self.clone();
        self.tasks.finish(async move { files.delete_and_discard(id, origin).await }).await
    }

    async fn delete_and_discard(&self, id: i64, origin: Origin) -> Result<file::Model, Failure<FileRefusal>> {
        let files = self.clone();
        let gone = self.db.write(move |tx| {
            async move {
                let row = store::by_id(tx, id).await?.ok_or(FileRefusal::NotFound)?;
                let deed = if row.picture_of.is_some() { Deed::PictureRemoved } else { Deed::FileRemoved };
                let people = files.tell_concerned(tx, &row, deed, &origin).await?;
                if let Some(of) = row.picture_of {
                    files.users.tell_in(tx, of, &UserUpdated::image(false), &origin).await?;
                }
                if !store::delete(tx, id).await? {
                    return Err(FileRefusal::NotFound.into());
                }
                files.audit_concerned(tx, &row, &people, deed, &origin).await?;
                Ok::<_, Failure<FileRefusal>>(row)
            }
            .boxed()
        });
        let gone = gone.await?;
        self.discard(vec![gone.blob]).await;
        Ok(gone)
    }

    /// Removes a person's picture. Whether there was one.
    pub async fn remove_picture(&self, of: Uuid, origin: Origin) -> Result<bool, Failure<FileRefusal>> {
        let Some(picture) = self.picture_of(of).await? else { return Ok(false) };
        match self.delete(picture.id, origin).await {
            Ok(_) => Ok(true),
            // Another picture may have taken its place just now; that one is not ours to remove.
            Err(Failure::Refused(FileRefusal::NotFound)) => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    /// Writes a line of history for everybody who has the file, in one order of people: these.
    async fn tell_concerned(
        &self,
        tx: &Tx,
        row: &file::Model,
        deed: Deed,
        origin: &Origin,
    ) -> Result<Vec<Uuid>, DbErr> {
        let linked = store::linked_to(tx, row.id).await?;
        let people = in_order(linked.into_iter().chain([row.created_by]).chain(row.picture_of));
        for user in &people {
            self.users.note_in(tx, *user, deed, row.name.clone(), origin).await?;
        }
        Ok(people)
    }

    /// Writes into the log of what staff did whose file it was that somebody else has changed or removed: the file that
    /// staff attached is theirs, and concerns whom they attached it to. A picture is the person's whom it shows, whoever
    /// set it. Behind everything else that is held.
    async fn audit_concerned(
        &self,
        tx: &Tx,
        row: &file::Model,
        people: &[Uuid],
        deed: Deed,
        origin: &Origin,
    ) -> Result<(), DbErr> {
        for user in row.picture_of.as_ref().map_or(people, std::slice::from_ref) {
            self.users.audit_deed_in(tx, *user, deed, origin).await?;
        }
        Ok(())
    }

    /// Removes bytes whose row is gone, as far as that can be done now; what stays is swept.
    pub async fn discard(&self, blobs: Vec<Uuid>) {
        for blob in blobs {
            if let Err(error) = self.storage.remove(blob).await {
                tracing::warn!(%error, "the bytes of a file that is gone are still there; they are swept later");
            }
        }
    }

    /// The names of the bytes that go when this user goes. Held first, the user gets no file behind this list: whoever
    /// adds one holds them, too.
    pub async fn blobs_of_held(&self, tx: &Tx, user: Uuid) -> Result<Vec<Uuid>, DbErr> {
        store::blobs_of(tx, user).await
    }

    /// The file of this number as `viewer` meets it.
    pub(super) async fn seen_by(&self, viewer: Uuid, id: i64) -> Result<Option<Seen>, DbErr> {
        store::seen_by(self.db.reader(), viewer, id).await
    }

    /// The files of these numbers as `viewer` meets them, in no particular order.
    pub(super) async fn seen_by_ids(&self, viewer: Uuid, ids: &[i64]) -> Result<Vec<Seen>, DbErr> {
        store::seen_by_ids(self.db.reader(), viewer, ids).await
    }

    /// A part of the list of files, and how long that is.
    pub(super) async fn list(
        &self,
        viewer: Uuid,
        scope: Scope,
        span: &Span<i64>,
    ) -> Result<(Vec<Seen>, u64), DbErr> {
        let seen = store::list(self.db.reader(), viewer, scope, span).await?;
        Ok((seen, self.count(viewer, scope).await?))
    }

    /// How many files there are.
    pub(super) async fn count(&self, viewer: Uuid, scope: Scope) -> Result<u64, DbErr> {
        store::count(self.db.reader(), viewer, scope).await
    }

    /// A user's files, uploaded by them or linked to them, and their picture; oldest first.
    pub async fn of_user(&self, user: Uuid) -> Result<Vec<file::Model>, DbErr> {
        store::of_user(self.db.reader(), user).await
    }

    /// The picture of a user, if they have chosen one.
    pub async fn picture_of(&self, user: Uuid) -> Result<Option<file::Model>, DbErr> {
        store::picture_of(self.db.reader(), user).await
    }

    /// The pictures of these users.
    pub async fn pictures_of(&self, users: &[Uuid]) -> Result<Vec<file::Model>, DbErr> {
        store::pictures_of(self.db.reader(), users).await
    }

    /// The bytes of a file, or a part of them, read as they are asked for.
    pub async fn open(
        &self,
        file: &file::Model,
        range: std::ops::Range<u64>,
    ) -> Result<Pieces, Failure<FileRefusal>> {
        self.storage.read(file.blob, range).await.map_err(|fault| not_read(file, fault))
    }

    /// All bytes of a file that is known to be small.
    pub async fn read_all(&self, file: &file::Model) -> Result<Bytes, Failure<FileRefusal>> {
        let mut pieces = self.open(file, 0..file.size.unsigned_abs()).await?;
        let mut whole = Vec::new();
        while let Some(piece) = pieces.try_next().await.map_err(|error| not_read(file, error.into()))? {
            whole.extend_from_slice(&piece);
        }
        Ok(whole.into())
    }
}

/// Everybody once, in the order in which every act holds people, so that two of them never wait for each other.
fn in_order(people: impl IntoIterator<Item = Uuid>) -> Vec<Uuid> {
    let mut people: Vec<Uuid> = people.into_iter().collect();
    people.sort_unstable();
    people.dedup();
    people
}

fn not_kept(fault: StorageFault) -> Failure<UploadRefusal> {
    match fault {
        StorageFault::Full => refused(UploadRefusal::Full, &fault),
        StorageFault::Away(_) | StorageFault::Broken(_) => refused(UploadRefusal::Away(LATER), &fault),
        StorageFault::Gone => Failure::from(anyhow::Error::from(fault)),
    }
}

fn not_read(file: &file::Model, fault: StorageFault) -> Failure<FileRefusal> {
    match fault {
        // Deleted just now, or lost: the log tells the operator.
        StorageFault::Gone => {
            tracing::error!(file = file.id, "a file has a row but no bytes");
            FileRefusal::NotFound.into()
        }
        StorageFault::Away(_) | StorageFault::Broken(_) => refused(FileRefusal::Away(LATER), &fault),
        StorageFault::Full => Failure::from(anyhow::Error::from(fault)),
    }
}

fn refused<R: Refusal>(refusal: R, fault: &StorageFault) -> Failure<R> {
    tracing::warn!(error = %fault, "files can't be kept or read");
    refusal.into()
}
