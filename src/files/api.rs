//! The operations of `/file`.

use std::collections::HashMap;
use std::sync::Arc;

use poem::http::{HeaderValue, StatusCode, header};
use poem::{IntoResponse, Request, Response};
use poem_openapi::param::{Path, Query};
use poem_openapi::registry::{MetaHeader, MetaResponses, Registry};
use poem_openapi::types::{MaybeUndefined, Type};
use poem_openapi::{ApiResponse, Object as OaiObject, OpenApi, Tags};
use serde::Deserialize;

use super::Files;
use super::name::FileName;
use super::range::{Content, Length, Wanted, etag};
use super::rules::{
    ChangeRefusal, Changes, ContentRefusal, FileRefusal, ListRefusal, NewFile, UploadRefusal,
};
use super::shown::File;
use super::store::{Scope, Seen};
use super::target::{CreateFile, DeleteFile, FileTarget, ReadFile, UpdateFile};
use crate::permissions::{Action, Allowed, Context, Gate, Object, Subject};
use crate::platform::db::Order;
use crate::platform::problem::{Failure, FieldError};
use crate::platform::shape::{Shape, Shaped};
use crate::platform::web::{ClientInfo, Json, Listing, Paging, Part, PartQuery, Upload, Whole, given};
use crate::rate_limit::{RateLimited, Uploads};
use crate::sessions::{Caller, Role};
use crate::users::{Description, Origin};

/// Files that one request may name.
const MOST_IDS: usize = 1000;

/// The operations of `/file`.
pub struct FileApi {
    /// The files.
    pub files: Files,
    /// Who may read which of them.
    pub gate: Arc<Gate>,
}

#[derive(Tags)]
enum Section {
    /// Files that people upload.
    Files,
}

/// What the document says of files beyond types.
#[must_use]
pub fn shapes() -> Vec<Shaped> {
    const ONE: &[&str] = &["read_file", "patch_file", "remove_file", "read_file_file"];
    let mut shapes = crate::shapes! {
        FilePatch { description: Shape::text(Description::LONGEST) }
    };
    shapes.extend([
        Shaped::parameter(ONE, "file", Shape::whole_from(1)),
        Shaped::parameter(&["new_file"], "description", Shape::text(Description::LONGEST)),
        Shaped::parameter(&["read_files_list"], "files_ids", Shape::list(MOST_IDS)),
    ]);
    shapes
}

/// What is to be changed of a file; what is left out stays.
#[derive(Debug, Default, Deserialize, OaiObject)]
#[serde(deny_unknown_fields, default)]
pub struct FilePatch {
    /// Its name: cleaned of paths and control characters, cut to 255 bytes.
    #[serde(deserialize_with = "given")]
    pub file_name: Option<String>,
    /// What it is; `null` empties it.
    #[oai(nullable)]
    pub description: MaybeUndefined<String>,
}

/// 201 with a file that is new, and where it is.
pub struct CreatedFile {
    file: Json<File>,
    location: String,
}

#[OpenApi(tag = "Section::Files")]
impl FileApi {
    /// Upload a file
    ///
    /// One part named `file`; it is streamed to disk. Names are unique among the uploader's files.
    #[oai(path = "/file", method = "post", operation_id = "new_file")]
    async fn create(
        &self,
        allowed: Allowed<CreateFile>,
        _within: RateLimited<Uploads>,
        client: ClientInfo,
        /// What it is; at most 256 characters.
        description: Query<Option<String>>,
        upload: Upload,
    ) -> Result<CreatedFile, Failure<UploadRefusal>> {
        let description = description_of(description.0).map_err(UploadRefusal::Invalid)?;
        let received = self.files.receive(upload).await?;
        let owner = allowed.caller.user_id;
        let new = NewFile { owner, linked: vec![], description };
        let kept = self.files.keep(received, new, Origin::of(&allowed.caller, &client)).await?;
        let api_url = &self.files.settings().api_url;
        let location = format!("{api_url}/file/{}", kept.id);
        Ok(CreatedFile { file: Json(File::of(kept, api_url)), location })
    }

    /// List files
    ///
    /// For users and testers: one's own, and those that are linked to one. Admins see all files, moderators those of
    /// people who are neither admin nor moderator nor deleted. Policies of the operator's own may hide rows of a page;
    /// `X-Total-Count` counts them all the same.
    #[oai(path = "/file", method = "get", operation_id = "read_files")]
    async fn list(&self, caller: Caller, paging: Paging) -> Result<Listing<File>, Failure<ListRefusal>> {
        let key = self.files.cursor_key.bytes();
        let asked = PartQuery::of(&paging, key, Order::Asc).map_err(ListRefusal::Invalid)?;
        let (seen, total) = self.files.list(caller.user_id, scope(&caller), &asked.span).await?;
        let Part { rows, links, .. } = asked.part(seen, total, |seen| seen.file.id);
        let rows = rows.into_iter().filter_map(|seen| self.shown_to(&caller, seen)).collect();
        Ok(Listing { rows, total, links })
    }

    /// Files by their numbers
    ///
    /// In the order of the numbers; those that are unknown, or not for the caller, are left out. At most 1000.
    #[oai(path = "/file/files", method = "get", operation_id = "read_files_list")]
    async fn by_ids(
        &self,
        caller: Caller,
        /// The numbers, one parameter each.
        #[oai(default)]
        files_ids: Query<Vec<i64>>,
    ) -> Result<Whole<File>, Failure<ListRefusal>> {
        if files_ids.len() > MOST_IDS {
            let error = FieldError::new("files_ids", "Must be at most 1000 numbers.");
            return Err(ListRefusal::Invalid(vec![error]).into());
        }
        let seen = self.files.seen_by_ids(caller.user_id, &files_ids).await?;
        let shown = seen.into_iter().filter_map(|seen| self.shown_to(&caller, seen));
        let mut by_id: HashMap<i64, File> = shown.map(|file| (file.id, file)).collect();
        Ok(Whole(files_ids.iter().filter_map(|id| by_id.remove(id)).collect()))
    }

    /// Number of files
    ///
    /// The `X-Total-Count` of the list.
    #[oai(path = "/file/count", method = "get", operation_id = "read_files_number")]
    async fn count(&self, caller: Caller) -> Result<Json<u64>, Failure<ListRefusal>> {
        Ok(Json(self.files.count(caller.user_id, scope(&caller)).await?))
    }

    /// A file
    #[oai(path = "/file/:file", method = "get", operation_id = "read_file")]
    async fn read(
        &self,
        allowed: Allowed<ReadFile>,
        /// Its number.
        #[oai(name = "file")]
        _file: Path<String>,
    ) -> Result<Json<File>, Failure<FileRefusal>> {
        Ok(Json(File::of(allowed.on.seen.file, &self.files.settings().api_url)))
    }

    /// The content of a file
    ///
    /// With ranges and conditional requests. Pictures may be shown in place, everything else is to be saved.
    #[oai(path = "/file/:file/file", method = "get", operation_id = "read_file_file")]
    async fn content(
        &self,
        allowed: Allowed<ReadFile>,
        request: &Request,
        /// Its number.
        #[oai(name = "file")]
        _file: Path<String>,
    ) -> Result<Content, Failure<ContentRefusal>> {
        let file = allowed.on.seen.file;
        let size = file.size.unsigned_abs();
        let wanted = Wanted::of(request.headers(), &etag(&file), size);
        if wanted == Wanted::OutOfRange {
            return Err(ContentRefusal::OutOfRange(Length(size)).into());
        }
        let pieces = match wanted.bytes(size) {
            Some(range) => Some(self.files.open(&file, range).await.map_err(Failure::within)?),
            None => None,
        };
        Ok(Content::new(file, wanted, pieces))
    }

    /// Change a file's name or description
    ///
    /// What is left out stays.
    #[oai(path = "/file/:file", method = "patch", operation_id = "patch_file")]
    async fn patch(
        &self,
        allowed: Allowed<UpdateFile>,
        client: ClientInfo,
        /// Its number.
        #[oai(name = "file")]
        _file: Path<String>,
        body: Json<FilePatch>,
    ) -> Result<Json<File>, Failure<ChangeRefusal>> {
        let changes = body.0.read().map_err(ChangeRefusal::Invalid)?;
        let origin = Origin::of(&allowed.caller, &client);
        let file = self.files.change(allowed.on.seen.file.id, changes, origin).await?;
        Ok(Json(File::of(file, &self.files.settings().api_url)))
    }

    /// Delete a file
    ///
    /// It is gone for everybody; a picture's owner has none then.
    #[oai(path = "/file/:file", method = "delete", operation_id = "remove_file")]
    async fn delete(
        &self,
        allowed: Allowed<DeleteFile>,
        client: ClientInfo,
        /// Its number.
        #[oai(name = "file")]
        _file: Path<String>,
    ) -> Result<Json<File>, Failure<FileRefusal>> {
        let origin = Origin::of(&allowed.caller, &client);
        let gone = self.files.delete(allowed.on.seen.file.id, origin).await?;
        Ok(Json(File::of(gone, &self.files.settings().api_url)))
    }
}

impl FileApi {
    /// A file, if the policies let the caller read it: they may say more than the scope of a list.
    fn shown_to(&self, caller: &Caller, seen: Seen) -> Option<File> {
        let target = FileTarget::new(seen, caller.user_id);
        let subject = Subject::from(caller);
        let may = self.gate.allows(&subject, Action::FileRead, &target.resource(), Context::default());
        may.then(|| File::of(target.seen.file, &self.files.settings().api_url))
    }
}

impl FilePatch {
    fn read(self) -> Result<Changes, Vec<FieldError>> {
        let mut errors = Vec::new();
        let name = match self.file_name {
            None => None,
            Some(typed) if !typed.trim().is_empty() => Some(FileName::of(&typed)),
            Some(_) => {
                errors.push(FieldError::new("file_name", "Must not be empty."));
                None
            }
        };
        let description = match self.description {
            MaybeUndefined::Undefined => None,
            MaybeUndefined::Null => Some(None),
            MaybeUndefined::Value(typed) => match Description::parse(&typed) {
                Ok(text) => Some(Some(text)),
                Err(invalid) => {
                    errors.push(FieldError::new("description", invalid.into_words()));
                    None
                }
            },
        };
        if errors.is_empty() { Ok(Changes { name, description }) } else { Err(errors) }
    }
}

/// The description of an upload, which comes as a parameter; one without a character is none.
pub fn description_of(typed: Option<String>) -> Result<Option<Description>, Vec<FieldError>> {
    let typed = typed.filter(|typed| !typed.is_empty());
    let description = typed.map(|typed| Description::parse(&typed)).transpose();
    description.map_err(|invalid| vec![FieldError::new("description", invalid.into_words())])
}

/// Whose files the caller's lists hold: those that the program's own policies let them read, so that pages and numbers
/// are right. Whose only role is moderator reads none of their own.
fn scope(caller: &Caller) -> Scope {
    let roles = caller.roles;
    if roles.has(Role::Admin) {
        return Scope::All;
    }
    match (roles.has(Role::Moderator), roles.has(Role::User) || roles.has(Role::Tester)) {
        (true, true) => Scope::OfOrdinaryPeopleAndOwn,
        (true, false) => Scope::OfOrdinaryPeople,
        (false, true) => Scope::Own,
        (false, false) => Scope::None,
    }
}

impl IntoResponse for CreatedFile {
    fn into_response(self) -> Response {
        let mut response = self.file.into_response();
        response.set_status(StatusCode::CREATED);
        if let Ok(location) = HeaderValue::try_from(self.location) {
            response.headers_mut().insert(header::LOCATION, location);
        }
        response
    }
}

impl ApiResponse for CreatedFile {
    fn meta() -> MetaResponses {
        let mut meta = Json::<File>::meta();
        for response in &mut meta.responses {
            response.status = Some(201);
            response.headers.push(MetaHeader {
                name: "Location".to_owned(),
                description: None, // the document says it for all
                required: true,
                deprecated: false,
                schema: String::schema_ref(),
            });
        }
        meta
    }

    fn register(registry: &mut Registry) {
        File::register(registry);
    }
}
