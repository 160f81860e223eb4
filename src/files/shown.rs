//! What is shown of a file.

use poem_openapi::Object;
use serde::Serialize;
use uuid::Uuid;

use super::store::file;
use crate::platform::clock::seconds;
use crate::platform::hexadecimal;

/// A file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Object)]
pub struct File {
    /// Its number.
    pub id: i64,
    /// Its name.
    pub file_name: String,
    /// Its media type, as its content says.
    pub file_type: String,
    /// What it is, in the uploader's words.
    #[oai(nullable)]
    pub description: Option<String>,
    /// When it was uploaded, in seconds since the Unix epoch.
    pub created_at: i64,
    /// Who uploaded it.
    pub created_by_uuid: Uuid,
    /// Where its content is.
    pub file_url: String,
    /// Its size in bytes.
    pub size: i64,
    /// SHA-256 of its content, in hexadecimal.
    pub sha256: String,
}

impl File {
    /// What is shown of this row. A picture's content is where everybody who may see the person may see it.
    #[must_use]
    pub fn of(row: file::Model, api_url: &str) -> Self {
        let file_url = match row.picture_of {
            Some(user) => picture_url(user, api_url),
            None => format!("{api_url}/file/{}/file", row.id),
        };
        Self {
            id: row.id,
            file_url,
            file_name: row.name,
            file_type: row.media_type,
            description: row.description,
            created_at: seconds(row.created_at),
            created_by_uuid: row.created_by,
            size: row.size,
            sha256: hexadecimal::written(&row.sha256),
        }
    }
}

/// Where the picture of a user is.
#[must_use]
pub fn picture_url(user: Uuid, api_url: &str) -> String {
    format!("{api_url}/user/{user}/image")
}
