//! The acts: setting, removing and showing a picture.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use poem::http::{HeaderValue, StatusCode};
use sea_orm::DbErr;
use uuid::Uuid;

use super::Pictures;
use super::develop::SIDE;
use super::initials::Initials;
use super::ready::Ready;
use super::studio::Undone;
use crate::permissions::Account;
use crate::platform::problem::{Failure, FieldError, Problem, RetryAfter};
use crate::sessions::Roles;

/// What a busy studio asks for.
const LATER: RetryAfter = RetryAfter(1);

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

/// How wide and high a picture may be at most, in pixels: 16 to 512.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Side(u16);

impl Side {
    const LEAST: u16 = 16;
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
}

impl Pictures {
    /// What is known of somebody, as of now; none if there is no such account.
    pub async fn face(&self, user: Uuid) -> Result<Option<Arc<Face>>, DbErr> {
        let load = async {
            let user = self.users.by_id(user).await.map_err(Some)?.ok_or(None)?;
            let account = Account {
                active: user.is_active,
                deleted: user.deleted_at.is_some(),
                ..Account::active(user.id, Roles::from_bits(user.roles))
            };
            Ok::<_, Option<DbErr>>(Arc::new(Face {
                account,
                initials: self.pen.initials(&user.display_name),
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
        self.generated(face.initials, side.unwrap_or(Side::USUAL)).await
    }

    /// White initials on a gray square. Drawn once, and kept.
    async fn generated(&self, initials: Initials, side: Side) -> Result<Arc<Ready>, Failure<ShowRefusal>> {
        if let Some(ready) = self.shelf.generated(initials, side.0) {
            return Ok(ready);
        }
        let pen = Arc::clone(&self.pen);
        let drawn = self.studio.run(move || pen.draw(&initials, side.0)).await;
        let drawn = drawn.map_err(|undone| match undone {
            Undone::Busy => Failure::from(ShowRefusal::Busy(LATER)),
            Undone::Panicked => anyhow::anyhow!("drawing initials panicked").into(),
        })?;
        let ready = Arc::new(ready(drawn?, "image/png"));
        self.shelf.keep_generated(initials, side.0, &ready);
        Ok(ready)
    }
}

/// A picture with the tag of its bytes.
fn ready(bytes: Vec<u8>, media_type: &'static str) -> Ready {
    let digest = digest(&SHA256, &bytes);
    let tag = BASE64_URL_SAFE_NO_PAD.encode(&digest.as_ref()[..16]);
    Ready {
        bytes: bytes.into(),
        etag: HeaderValue::try_from(format!("\"{tag}\""))
            .unwrap_or_else(|_| HeaderValue::from_static("\"\"")),
        media_type: HeaderValue::from_static(media_type),
    }
}
