//! The operations of `/user/{user}/image`.

use std::sync::Arc;

use poem::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use poem::{IntoResponse, Request, Response};
use poem_openapi::param::{Path, Query};
use poem_openapi::registry::{
    MetaMediaType, MetaResponse, MetaResponses, MetaSchema, MetaSchemaRef, Registry,
};
use poem_openapi::{ApiResponse, OpenApi, Tags};
use uuid::Uuid;

use super::Profiles;
use super::answer::Profile;
use super::shown::Shown;
use super::target::{ChangePicture, named_in};
use crate::files::{File, description_of};
use crate::permissions::{Account, Action, Allowed, Context, Gate, Resource, Subject};
use crate::pictures::{Face, PictureRefusal, Pictures, Ready, RemovePictureRefusal, ShowRefusal, Side};
use crate::platform::problem::Failure;
use crate::platform::web::{ClientInfo, Json, Upload, is_known};
use crate::rate_limit::{RateLimited, Uploads};
use crate::sessions::{Anybody, Caller, Described};
use crate::users::Origin;
use crate::users::store::Named;

/// The id of the operation that shows a picture.
pub(super) const READ: &str = "read_user_image";

/// The operations of `/user/{user}/image`.
pub struct PictureApi {
    /// Who is meant.
    pub profiles: Profiles,
    /// What is shown of them.
    pub pictures: Pictures,
    /// To whom.
    pub gate: Arc<Gate>,
}

#[derive(Tags)]
enum Section {
    /// People with an account.
    Users,
}

#[OpenApi(tag = "Section::Users")]
impl PictureApi {
    /// A user's picture
    ///
    /// The picture that the user has chosen, else one that is drawn: white initials on a gray square. Whoever is not
    /// signed in sees the picture of any active user; where one of the two blocks the other there is nothing (404).
    #[oai(path = "/user/:user/image", method = "get", operation_id = "read_user_image")]
    async fn read(
        &self,
        _known: Described<Anybody>,
        request: &Request,
        /// The id, or `@` and the user name.
        #[oai(name = "user")]
        _user: Path<String>,
        /// The most that it is wide and high, in pixels: 16 to 512.
        size: Query<Option<u16>>,
    ) -> Result<Picture, Failure<ShowRefusal>> {
        let caller = Caller::of_any(request).await.map_err(ShowRefusal::of_caller)?;
        let wanted = size.0.map(Side::new).transpose().map_err(|error| ShowRefusal::Invalid(vec![error]))?;
        let face = self.seen(request, caller.as_ref()).await?.ok_or(ShowRefusal::NotFound)?;
        let ready = self.pictures.show(&face, wanted).await?;
        Ok(Picture::new(ready, request.headers(), caller.is_none()))
    }

    /// Set a user's picture
    ///
    /// PNG, JPEG, GIF, BMP or WebP, by its content; at most 2 MiB, and at most 512 pixels wide and high unless
    /// `resize=true` has it scaled down. It is encoded anew, without anything that was noted in it, and takes the place
    /// of the picture before.
    #[oai(path = "/user/:user/image", method = "put", operation_id = "new_user_image")]
    #[expect(clippy::too_many_arguments, reason = "one for each parameter of the contract")]
    async fn set(
        &self,
        allowed: Allowed<ChangePicture>,
        _within: RateLimited<Uploads>,
        client: ClientInfo,
        /// The id, or `@` and the user name.
        #[oai(name = "user")]
        _user: Path<String>,
        /// What it is, in the uploader's words.
        description: Query<Option<String>>,
        /// Whether a larger picture is scaled down.
        resize: Query<Option<bool>>,
        upload: Upload,
    ) -> Result<Json<File>, Failure<PictureRefusal>> {
        let description = description_of(description.0).map_err(PictureRefusal::Invalid)?;
        let (of, by, origin) =
            (allowed.on.id(), allowed.caller.user_id, Origin::of(&allowed.caller, &client));
        let resize = resize.0.unwrap_or(false);
        let kept = self.pictures.receive(of, by, upload, resize, description, origin).await?;
        Ok(Json(File::of(kept, &self.profiles.api_url)))
    }

    /// Remove a user's picture
    ///
    /// Then initials are shown again. Deleting its file does the same.
    #[oai(path = "/user/:user/image", method = "delete", operation_id = "remove_user_image")]
    async fn remove(
        &self,
        allowed: Allowed<ChangePicture>,
        client: ClientInfo,
        /// The id, or `@` and the user name.
        #[oai(name = "user")]
        _user: Path<String>,
    ) -> Result<Profile<Shown>, Failure<RemovePictureRefusal>> {
        self.pictures.remove(allowed.on.id(), Origin::of(&allowed.caller, &client)).await?;
        let user = self.profiles.users.by_id(allowed.on.id()).await?.ok_or(RemovePictureRefusal::NotFound)?;
        Ok(self.profiles.answer_with(&allowed, user).await?)
    }
}

impl PictureApi {
    /// Whom the path names, if the caller may see their picture.
    async fn seen(&self, request: &Request, caller: Option<&Caller>) -> anyhow::Result<Option<Arc<Face>>> {
        let Some(named) = named_in(request) else { return Ok(None) };
        let (id, blocks) = match (&named, caller) {
            // Nobody blocks who is not there, or themselves.
            (Named::Id(id), None) => (*id, Blocks::default()),
            (Named::Id(id), Some(caller)) if caller.user_id == *id => (*id, Blocks::default()),
            _ => match self.met(&named, caller).await? {
                Some(met) => met,
                None => return Ok(None),
            },
        };
        let Some(face) = self.pictures.face(id).await? else { return Ok(None) };
        let subject = caller.map_or(Subject::Anonymous, Subject::from);
        Ok(self.may_see(&subject, &face, blocks).then_some(face))
    }

    /// What `read` answers to somebody who is not signed in and wants no certain size, if it is at hand.
    pub(super) fn at_hand(&self, user: Uuid, headers: &HeaderMap) -> Option<Picture> {
        let may_see = |face: &Face| self.may_see(&Subject::Anonymous, face, Blocks::default());
        let ready = self.pictures.at_hand(user, may_see)?;
        Some(Picture::new(ready, headers, true))
    }

    fn may_see(&self, subject: &Subject, face: &Face, blocks: Blocks) -> bool {
        let account = Account {
            blocks_subject: blocks.of_viewer,
            blocked_by_subject: blocks.by_viewer,
            ..face.account
        };
        let account = Resource::Account(account);
        self.gate.allows(subject, Action::UserReadImage, &account, Context::default())
    }

    /// Whom the path names, and who of the two blocks the other.
    async fn met(&self, named: &Named, caller: Option<&Caller>) -> anyhow::Result<Option<(Uuid, Blocks)>> {
        let viewer = caller.map_or(Uuid::nil(), |caller| caller.user_id);
        let seen = self.profiles.users.seen_by(viewer, named).await?;
        Ok(seen.map(|seen| {
            let blocks = Blocks { of_viewer: seen.blocks_viewer, by_viewer: seen.blocked_by_viewer };
            (seen.user.id, blocks)
        }))
    }
}

/// Who of two people blocks the other.
#[derive(Clone, Copy, Default)]
struct Blocks {
    of_viewer: bool,
    by_viewer: bool,
}

/// A picture, or the word that the client has it already.
pub struct Picture {
    ready: Arc<Ready>,
    is_known: bool,
    is_public: bool,
}

impl Picture {
    fn new(ready: Arc<Ready>, asked: &HeaderMap, is_public: bool) -> Self {
        let is_known = is_known(asked, ready.etag.to_str().unwrap_or_default());
        Self { ready, is_known, is_public }
    }
}

const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
const ANY_ORIGIN: HeaderValue = HeaderValue::from_static("cross-origin");
/// Nothing in it is ever run, wherever it is opened.
const NO_CONTENT: HeaderValue = HeaderValue::from_static("default-src 'none'; sandbox");
/// Whoever keeps it asks each time whether it is still so: a ban, a block or another picture counts at once. What was
/// answered to a signed-in person is kept for nobody else.
const FOR_ALL: HeaderValue = HeaderValue::from_static("public, max-age=0, must-revalidate");
const FOR_ONE: HeaderValue = HeaderValue::from_static("private, max-age=0, must-revalidate");
const BY_CALLER: HeaderValue = HeaderValue::from_static("Authorization, Cookie");

impl IntoResponse for Picture {
    fn into_response(self) -> Response {
        let mut response = Response::default();
        let headers: &mut HeaderMap = response.headers_mut();
        headers.reserve(16);
        headers.insert(header::ETAG, self.ready.etag.clone());
        headers.insert(header::CACHE_CONTROL, if self.is_public { FOR_ALL } else { FOR_ONE });
        headers.insert(header::VARY, BY_CALLER);
        headers.insert(RESOURCE_POLICY, ANY_ORIGIN);
        headers.insert(header::CONTENT_SECURITY_POLICY, NO_CONTENT);
        if self.is_known {
            response.set_status(StatusCode::NOT_MODIFIED);
        } else {
            headers.insert(header::CONTENT_TYPE, self.ready.media_type.clone());
            response.set_body(self.ready.bytes.clone());
        }
        response
    }
}

impl ApiResponse for Picture {
    fn meta() -> MetaResponses {
        let binary = || MetaSchemaRef::Inline(Box::new(MetaSchema::new_with_format("string", "binary")));
        let content = |content_type| MetaMediaType { content_type, schema: binary() };
        let response = |status, description, content| MetaResponse {
            description,
            status: Some(status),
            status_range: None,
            content,
            headers: Vec::new(),
        };
        let picture = vec![content("image/png"), content("image/jpeg")];
        MetaResponses {
            responses: vec![
                response(200, "The picture.", picture),
                response(304, "The client has it already (`If-None-Match`).", Vec::new()),
            ],
        }
    }

    fn register(_: &mut Registry) {}
}
