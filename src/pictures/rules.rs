//! The acts: setting, removing and showing a picture.

use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::Bytes;
use poem::http::{HeaderValue, StatusCode};
use sea_orm::DbErr;
use uuid::Uuid;

use super::Pictures;
use super::develop::{Developed, SIDE, develop, reduce};
use super::initials::Initials;
use super::ready::Ready;
use super::room::{InMemory, MOST_BYTES};
use super::sieve::Flaw;
use super::studio::Undone;
use crate::files::{FileRefusal, NewPicture, UploadRefusal, file};
use crate::permissions::Account;
use crate::platform::problem::{Failure, FieldError, Problem, RetryAfter};
use crate::platform::secrets::digest;
use crate::platform::web::Upload;
use crate::users::{Description, Origin};

/// What a busy studio asks for.
pub(super) const LATER: RetryAfter = RetryAfter(1);

crate::refusals! {
    /// Why a picture is not taken.
    pub enum PictureRefusal {
        Unreadable(Problem) = 400 "bad_request" "The body is not multipart/form-data that can be read.",
        NotFound = 404 "not_found" "There is no such user.",
        Deleted = 409 "user_deleted" "The user is deleted.",
        TooLarge = 413 "payload_too_large" "A picture may have 2 MiB.",
        Invalid(Vec<FieldError>) = 422 "validation_failed" "Some fields are not as they must be.",
        Busy(RetryAfter) = 503 "unavailable" "The server is busy. Please try again in a moment.",
        Full = 507 "insufficient_storage" "The server has no room for files left.",
    }
}

crate::refusals! {
    /// Why a picture is not removed.
    pub enum RemovePictureRefusal {
        NotFound = 404 "not_found" "There is no such user.",
    }
}

crate::refusals! {
    /// Why a picture is not shown.
    pub enum ShowRefusal {
        Caller(Problem) = 401 "token_invalid" "The credentials that the request came with are not valid.",
        Unready(Problem) = 403 "second_factor_required" "Your role needs a second factor.",
        NotFound = 404 "not_found" "There is no such user, or nothing to be seen of them.",
        Invalid(Vec<FieldError>) = 422 "validation_failed" "Some fields are not as they must be.",
        Busy(RetryAfter) = 503 "unavailable" "The server is busy. Please try again in a moment.",
    }
}

impl ShowRefusal {
    /// Why the caller of a request is none, in the words that were found for it.
    #[must_use]
    pub fn of_caller(problem: Problem) -> Self {
        match problem.status {
            StatusCode::FORBIDDEN => Self::Unready(problem),
            _ => Self::Caller(problem),
        }
    }
}

impl From<Flaw> for PictureRefusal {
    fn from(flaw: Flaw) -> Self {
        let words = match flaw {
            Flaw::Unknown => "Must be a PNG, JPEG, GIF, BMP or WebP picture.",
            Flaw::Broken => "Must be a picture that is whole and undamaged.",
            Flaw::TooLarge => "Must be at most 4096 pixels wide and high, and not too costly to decode.",
            Flaw::TooWide => "Must be at most 512 pixels wide and high, or come with resize=true.",
        };
        Self::Invalid(vec![FieldError::new("file", words)])
    }
}

/// How wide and high a picture may be at most, in pixels: 16 to 512.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Side(u16);

impl Side {
    pub(crate) const LEAST: u16 = 16;
    pub(crate) const MOST: u32 = SIDE;
    /// Of a drawn picture that nobody asked a size for.
    const USUAL: Self = Self(256);

    /// The side, if it is one that is made.
    pub fn new(pixels: u16) -> Result<Self, FieldError> {
        if pixels >= Self::LEAST && u32::from(pixels) <= SIDE {
            return Ok(Self(pixels));
        }
        Err(FieldError::new("size", "Must be 16 to 512."))
    }
}

/// What is known of somebody to show their picture.
#[derive(Debug)]
pub struct Face {
    /// Whose, and whether they may be seen.
    pub account: Account,
    initials: Initials,
    chosen: Option<file::Model>,
}

/// A picture that may be kept and shown.
#[derive(Debug)]
pub struct Made {
    /// Its bytes.
    pub bytes: Bytes,
    /// What its name ends with.
    pub ending: &'static str,
    /// What it is.
    pub media_type: &'static str,
}

impl Pictures {
    /// Makes a picture of an upload and gives it to somebody, in the place of the one before.
    pub async fn receive(
        &self,
        of: Uuid,
        by: Uuid,
        upload: Upload,
        resize: bool,
        description: Option<Description>,
        origin: Origin,
    ) -> Result<file::Model, Failure<PictureRefusal>> {
        self.studio.room().map_err(|_| PictureRefusal::Busy(LATER))?;
        let InMemory { bytes, place } = self.room.read(upload).await?;
        let Made { bytes, ending, media_type } = self.make(bytes, resize).await?;
        drop(place);
        let new = NewPicture { of, by, ending, media_type, description, is_offer: false };
        let kept = self.keep(bytes, new, origin).await?;
        Ok(kept.ok_or_else(|| anyhow::anyhow!("a picture that is no offer was not kept"))?)
    }

    /// Gives somebody a picture from elsewhere, if they have chosen none yet. It is scaled down.
    pub async fn adopt(
        &self,
        of: Uuid,
        bytes: Bytes,
        origin: Origin,
    ) -> Result<Option<file::Model>, Failure<PictureRefusal>> {
        if bytes.len() > MOST_BYTES {
            return Err(PictureRefusal::TooLarge.into());
        }
        // Whether it is kept is decided where it is written; for most people, nothing has to be made of it.
        if self.files.picture_of(of).await?.is_some() {
            return Ok(None);
        }
        let Made { bytes, ending, media_type } = self.make(bytes, true).await?;
        let new = NewPicture { of, by: of, ending, media_type, description: None, is_offer: true };
        self.keep(bytes, new, origin).await
    }

    async fn keep(
        &self,
        bytes: Bytes,
        new: NewPicture,
        origin: Origin,
    ) -> Result<Option<file::Model>, Failure<PictureRefusal>> {
        let received = self.files.receive_bytes(bytes).await.map_err(kept)?;
        self.files.keep_picture(received, new, origin).await.map_err(kept)
    }

    /// Makes a picture of ours of what somebody calls one.
    pub async fn make(&self, bytes: Bytes, resize: bool) -> Result<Made, PictureRefusal> {
        if bytes.len() > MOST_BYTES {
            return Err(PictureRefusal::TooLarge);
        }
        match self.studio.run(move || develop(&bytes, resize)).await {
            Ok(developed) => {
                let Developed { bytes, format } = developed.map_err(PictureRefusal::from)?;
                let (ending, media_type) = (format.extension(), format.media_type());
                Ok(Made { bytes: bytes.into(), ending, media_type })
            }
            Err(Undone::Busy) => Err(PictureRefusal::Busy(LATER)),
            // What makes a decoder panic is no picture.
            Err(Undone::Panicked) => Err(PictureRefusal::from(Flaw::Broken)),
        }
    }

    /// Removes the picture that somebody has chosen, if they have chosen one.
    pub async fn remove(&self, of: Uuid, origin: Origin) -> Result<(), Failure<RemovePictureRefusal>> {
        match self.files.remove_picture(of, origin).await {
            // Somebody else may have removed it just now.
            Ok(_) | Err(Failure::Refused(_)) => Ok(()),
            Err(Failure::Broken(breakage)) => Err(breakage.into()),
        }
    }

    /// What is known of somebody, as of now; none if there is no such account.
    pub async fn face(&self, user: Uuid) -> Result<Option<Arc<Face>>, DbErr> {
        let load = async {
            let user = self.users.by_id(user).await.map_err(Some)?.ok_or(None)?;
            let chosen = self.files.picture_of(user.id).await.map_err(Some)?;
            Ok::<_, Option<DbErr>>(Arc::new(Face {
                account: user.account(),
                initials: self.pen.initials(&user.display_name),
                chosen,
            }))
        };
        match self.faces.get_or_load(user, load).await {
            Ok(face) => Ok(Some(face)),
            Err(None) => Ok(None),
            Err(Some(error)) => Err(error),
        }
    }

    /// The picture that somebody has chosen, or the one that is drawn for them.
    pub async fn show(&self, face: &Face, side: Option<Side>) -> Result<Arc<Ready>, Failure<ShowRefusal>> {
        let Some(chosen) = &face.chosen else {
            return self.generated(face.initials, side.unwrap_or(Side::USUAL)).await;
        };
        match self.chosen(chosen, side).await {
            // Replaced just now: what is true in this moment is that there is none.
            Err(Failure::Refused(ShowRefusal::NotFound)) => {
                self.generated(face.initials, side.unwrap_or(Side::USUAL)).await
            }
            shown => shown,
        }
    }

    /// What [`Self::show`] shows where nobody asked for a size, if nothing has to be read or drawn for it and `may_see` says
    /// yes to the face.
    #[must_use]
    pub fn at_hand(&self, user: Uuid, may_see: impl FnOnce(&Face) -> bool) -> Option<Arc<Ready>> {
        let face = self.faces.peek(user)?;
        if !may_see(&face) {
            return None;
        }
        let ready = match &face.chosen {
            Some(chosen) => self.shelf.peek_chosen(chosen.blob, None),
            None => self.shelf.peek_generated(face.initials, Side::USUAL.0),
        };
        // Who finds nothing here looks again where that counts.
        if ready.is_some() {
            self.faces.looks().count(true);
            self.shelf.looks().count(true);
        }
        ready
    }

    /// A picture as it is kept, or scaled down. Made once, and kept for a while.
    async fn chosen(
        &self,
        picture: &file::Model,
        side: Option<Side>,
    ) -> Result<Arc<Ready>, Failure<ShowRefusal>> {
        let side = side.map(|side| side.0).filter(|side| u32::from(*side) < SIDE);
        if let Some(ready) = self.shelf.chosen(picture.blob, side) {
            return Ok(ready);
        }
        let mut bytes = self.files.read_all(picture).await.map_err(Failure::within)?;
        if let Some(side) = side {
            let whole = bytes.clone();
            let reduced = self.studio.run(move || reduce(&whole, side.into())).await.map_err(not_shown)?;
            let reduced = reduced.map_err(|flaw| anyhow::anyhow!("a picture of ours is {flaw:?}"))?;
            bytes = reduced.map_or(bytes, |reduced| reduced.bytes.into());
        }
        let ready = Arc::new(ready(bytes, &picture.media_type));
        self.shelf.keep_chosen(picture.blob, side, &ready);
        Ok(ready)
    }

    /// White initials on a gray square. Drawn once, and kept.
    async fn generated(&self, initials: Initials, side: Side) -> Result<Arc<Ready>, Failure<ShowRefusal>> {
        if let Some(ready) = self.shelf.generated(initials, side.0) {
            return Ok(ready);
        }
        let pen = Arc::clone(&self.pen);
        let drawn = self.studio.run(move || pen.draw(&initials, side.0)).await.map_err(not_shown)?;
        let ready = Arc::new(ready(drawn?.into(), "image/png"));
        self.shelf.keep_generated(initials, side.0, &ready);
        Ok(ready)
    }
}

/// The file of an upload, which is small enough to be in memory.
/// Why a file is not kept, as far as that happens to pictures.
fn kept(failure: Failure<UploadRefusal>) -> Failure<PictureRefusal> {
    let refusal = match failure {
        Failure::Broken(breakage) => return breakage.into(),
        Failure::Refused(refusal) => refusal,
    };
    match refusal {
        UploadRefusal::NotFound => PictureRefusal::NotFound.into(),
        UploadRefusal::Deleted => PictureRefusal::Deleted.into(),
        UploadRefusal::Away(later) => PictureRefusal::Busy(later).into(),
        UploadRefusal::Full => PictureRefusal::Full.into(),
        other => anyhow::anyhow!("a picture was refused as {other:?}").into(),
    }
}

impl From<FileRefusal> for ShowRefusal {
    fn from(refusal: FileRefusal) -> Self {
        match refusal {
            FileRefusal::NotFound => Self::NotFound,
            FileRefusal::Away(later) => Self::Busy(later),
        }
    }
}

fn not_shown(undone: Undone) -> Failure<ShowRefusal> {
    match undone {
        Undone::Busy => ShowRefusal::Busy(LATER).into(),
        Undone::Panicked => anyhow::anyhow!("drawing a picture panicked").into(),
    }
}

/// A picture with the tag of its bytes.
fn ready(bytes: Bytes, media_type: &str) -> Ready {
    let tag = format!("\"{}\"", BASE64_URL_SAFE_NO_PAD.encode(&digest(&bytes)[..16]));
    let header =
        |text: &str| HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("\"\""));
    Ready { bytes, etag: header(&tag), media_type: header(media_type) }
}
