//! The operations of `/user/{user}/file`.

use poem_openapi::param::{Path, Query};
use poem_openapi::{OpenApi, Tags};

use super::Profiles;
use super::export::{Archive, Exports};
use super::target::AttachFile;
use crate::files::{File, NewFile, UploadRefusal, description_of};
use crate::permissions::Allowed;
use crate::platform::problem::Failure;
use crate::platform::web::{ClientInfo, Json, Upload};
use crate::rate_limit::{RateLimited, Uploads};
use crate::sessions::Caller;
use crate::users::Origin;

/// The operations of `/user/{user}/file`.
pub struct UserFilesApi(pub Profiles);

#[derive(Tags)]
enum Section {
    /// People with an account.
    Users,
}

#[OpenApi(tag = "Section::Users")]
impl UserFilesApi {
    /// Attach a file to a user
    ///
    /// One part named `file`. It is linked to the user and belongs to whoever uploads it.
    #[oai(path = "/user/:user/file", method = "put", operation_id = "new_user_file")]
    async fn put(
        &self,
        allowed: Allowed<AttachFile>,
        _within: RateLimited<Uploads>,
        client: ClientInfo,
        /// The id, or `@` and the user name.
        #[oai(name = "user")]
        _user: Path<String>,
        /// What it is; at most 256 characters.
        description: Query<Option<String>>,
        upload: Upload,
    ) -> Result<Json<File>, Failure<UploadRefusal>> {
        self.0.attach(&allowed, &client, description.0, upload).await
    }

    /// Attach a file to a user, with POST
    ///
    /// The same as PUT.
    #[oai(path = "/user/:user/file", method = "post", operation_id = "add_user_file")]
    async fn post(
        &self,
        allowed: Allowed<AttachFile>,
        _within: RateLimited<Uploads>,
        client: ClientInfo,
        /// The id, or `@` and the user name.
        #[oai(name = "user")]
        _user: Path<String>,
        /// What it is; at most 256 characters.
        description: Query<Option<String>>,
        upload: Upload,
    ) -> Result<Json<File>, Failure<UploadRefusal>> {
        self.0.attach(&allowed, &client, description.0, upload).await
    }

    /// Everything that is stored about the caller
    ///
    /// A zip archive with the account, its whole history, its sessions and its files. It is written while it is sent; one
    /// that ends early is broken off, not short.
    #[oai(path = "/user/me/export", method = "get", operation_id = "export_me")]
    async fn export(
        &self,
        caller: Caller,
        _within: RateLimited<Exports>,
    ) -> Result<Archive, Failure<std::convert::Infallible>> {
        Ok(self.0.export(&caller))
    }
}

impl Profiles {
    async fn attach(
        &self,
        allowed: &Allowed<AttachFile>,
        client: &ClientInfo,
        description: Option<String>,
        upload: Upload,
    ) -> Result<Json<File>, Failure<UploadRefusal>> {
        let description = description_of(description).map_err(UploadRefusal::Invalid)?;
        let received = self.files.receive(upload).await?;
        let new = NewFile { owner: allowed.caller.user_id, linked: vec![allowed.on.id()], description };
        let kept = self.files.keep(received, new, Origin::of(&allowed.caller, client)).await?;
        Ok(Json(File::of(kept, &self.api_url)))
    }
}
