//! Moves of data over HTTP.

use std::collections::BTreeMap;

use poem::http::{HeaderValue, header};
use poem::{Body, IntoResponse, Response};
use poem_openapi::param::Query;
use poem_openapi::registry::{
    MetaMediaType, MetaResponse, MetaResponses, MetaSchema, MetaSchemaRef, Registry,
};
use poem_openapi::{ApiResponse, Object, OpenApi, Tags};
use serde::Serialize;

use super::{Archive, Counts, How, ImportOptions, ImportRefusal, Mover, Progress, TableCounts};
use crate::files::UploadRefusal;
use crate::permissions::{Action, Allowed, Permission, System};
use crate::platform::problem::{Details, Failure, FieldError, Problem, RetryAfter};
use crate::platform::web::{Json, Upload};
use crate::sessions::Caller;

/// The media type of a SQLite database (IANA).
const SQLITE: &str = "application/vnd.sqlite3";
/// When whoever finds another import under way may come again, in seconds.
const LATER: u64 = 30;

crate::refusals! {
    /// Why an export is refused.
    pub enum ExportRefusal {
        Unproved = 401 "reauthentication_required" "Please prove again who you are: POST /auth/reauthenticate.",
    }
}

crate::refusals! {
    /// Why a file is not taken. Nothing has changed then.
    pub enum MoveRefusal {
        Unproved = 401 "reauthentication_required" "Please prove again who you are: POST /auth/reauthenticate.",
        NoLonger(Problem) = 403 "forbidden" "You may not do this, or no longer: it is asked again when the file has arrived, and once more before anything is changed.",
        LastAdmin = 409 "last_admin" "The file would leave nobody who is an admin and can sign in. Nothing was changed.",
        Unusable(Unusable) = 422 "validation_failed" "The file was refused; nothing was changed. `errors` names table and row where it is one.",
        Busy(RetryAfter) = 503 "unavailable" "Another file is being read in. Please try again in a moment.",
    }
    and Upload(UploadRefusal)
}

/// What is wrong with a file.
#[derive(Clone, Debug)]
pub struct Unusable {
    words: String,
    error: FieldError,
}

impl Details for Unusable {
    fn add_to(&self, problem: &mut Problem) {
        problem.detail = format!("{}. Nothing was changed.", self.words).into();
        problem.errors = vec![self.error.clone()];
    }
}

impl From<ImportRefusal> for Failure<MoveRefusal> {
    fn from(refusal: ImportRefusal) -> Self {
        let words = refusal.to_string();
        let error = match refusal {
            ImportRefusal::Broken(error) => return error.into(),
            ImportRefusal::LastAdmin => return MoveRefusal::LastAdmin.into(),
            ImportRefusal::NoLonger(problem) => return MoveRefusal::NoLonger(*problem).into(),
            ImportRefusal::Busy | ImportRefusal::Sweeping(_) => {
                return MoveRefusal::Busy(RetryAfter(LATER)).into();
            }
            ImportRefusal::Row { table, row, flaw } => {
                FieldError::new(format!("{table}[{row}].{}", flaw.column), flaw.words)
            }
            _ => FieldError::new("file", words.clone()),
        };
        MoveRefusal::Unusable(Unusable { words, error }).into()
    }
}

/// The operations on the database as a whole.
pub struct ArchiveApi {
    /// Moves of data.
    pub archive: Archive,
}

#[derive(Tags)]
enum Section {
    /// Everything in one file, and back.
    Database,
}

crate::permissions! {
    /// Take everything out.
    Export: DatabaseExport on System;
    /// Add rows from a file.
    Import: DatabaseImport on System;
    /// Add and overwrite rows from a file.
    Recover: DatabaseRecover on System;
}

/// What an import did to one table.
#[derive(Debug, Serialize, Object)]
pub struct MovedRows {
    /// Rows that were not there.
    pub added: u64,
    /// Rows in which something empty was filled; by an import only.
    pub filled: u64,
    /// Rows in which something was overwritten; by a recovery only.
    pub overwritten: u64,
    /// Rows that were there and stayed as they were.
    pub equal: u64,
    /// Rows that were not taken.
    pub left_out: u64,
    /// Why rows were not taken; the first twenty.
    pub notes: Vec<String>,
}

impl From<TableCounts> for MovedRows {
    fn from(counts: TableCounts) -> Self {
        let TableCounts { added, filled, overwritten, equal, left_out, notes } = counts;
        Self { added, filled, overwritten, equal, left_out, notes }
    }
}

/// What an import did, by tables.
type Moved = Json<BTreeMap<String, MovedRows>>;

/// A database file on its way.
pub struct Database {
    file: tokio::fs::File,
    size: u64,
}

impl IntoResponse for Database {
    fn into_response(self) -> Response {
        let mut response = Response::default();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(SQLITE));
        let disposition = HeaderValue::from_static("attachment; filename=\"gatehouse.db\"");
        headers.insert(header::CONTENT_DISPOSITION, disposition);
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(self.size));
        response.set_body(Body::from_async_read(self.file));
        response
    }
}

impl ApiResponse for Database {
    fn meta() -> MetaResponses {
        let schema = MetaSchemaRef::Inline(Box::new(MetaSchema::new_with_format("string", "binary")));
        let file = MetaResponse {
            description: "A SQLite database of everything that travels.",
            status: Some(200),
            status_range: None,
            content: vec![MetaMediaType { content_type: SQLITE, schema }],
            headers: Vec::new(),
        };
        MetaResponses { responses: vec![file] }
    }

    fn register(_: &mut Registry) {}
}

#[OpenApi(prefix_path = "/db", tag = "Section::Database")]
impl ArchiveApi {
    /// Everything in one file
    ///
    /// A SQLite database, whichever database runs: accounts with their history, block lists, second factors and accounts
    /// elsewhere, files without their bytes. It is consistent: as everything was at one moment. Passwords are hashed in it,
    /// and what is secret is sealed with the server's key; sessions and queues are not in it. Needs a proof of who one is
    /// that is not older than ten minutes.
    #[oai(path = "/export", method = "get", operation_id = "db_export")]
    async fn export(&self, allowed: Allowed<Export>) -> Result<Database, Failure<ExportRefusal>> {
        self.exported(&allowed.caller).await
    }

    /// Everything in one file (as GET)
    ///
    /// The method of older clients.
    #[oai(path = "/export", method = "post", operation_id = "db_export_again", deprecated)]
    async fn export_again(&self, allowed: Allowed<Export>) -> Result<Database, Failure<ExportRefusal>> {
        self.exported(&allowed.caller).await
    }

    /// Add what a file has more
    ///
    /// Rows that are missing are added, empty fields filled; nothing is overwritten, and nobody who is here gets another
    /// way to sign in. The file is a database of Gatehouse, from an export or a copy of a stopped server's. Everything
    /// happens at once, or nothing; changes of accounts wait meanwhile. Needs a proof of who one is that is not older than
    /// ten minutes.
    #[oai(path = "/import", method = "post", operation_id = "db_import")]
    async fn import(
        &self,
        allowed: Allowed<Import>,
        /// Leave out second factors that no known secret opens, and take them from their owners, instead of refusing the file.
        #[oai(default)]
        drop_second_factors: Query<bool>,
        upload: Upload,
    ) -> Result<Moved, Failure<MoveRefusal>> {
        self.moved(How::Import, Import::ACTION, allowed.caller, drop_second_factors.0, upload).await
    }

    /// Put everything back to what a file says
    ///
    /// As an import, but what differs is overwritten. What is here and not in the file stays. Whoever signs in otherwise
    /// afterwards is signed out; your own account can't be changed in this way, and an admin must remain. Needs a proof of
    /// who one is that is not older than ten minutes.
    #[oai(path = "/recover", method = "post", operation_id = "db_recover")]
    async fn recover(
        &self,
        allowed: Allowed<Recover>,
        /// Leave out second factors that no known secret opens, and take them from their owners, instead of refusing the file.
        #[oai(default)]
        drop_second_factors: Query<bool>,
        upload: Upload,
    ) -> Result<Moved, Failure<MoveRefusal>> {
        self.moved(How::Recover, Recover::ACTION, allowed.caller, drop_second_factors.0, upload).await
    }
}

impl ArchiveApi {
    async fn exported(&self, caller: &Caller) -> Result<Database, Failure<ExportRefusal>> {
        caller.require_proof_or(self.archive.now(), ExportRefusal::Unproved)?;
        let (file, exported) = self.archive.export_for_a_while().await.map_err(anyhow::Error::from)?;
        let by = Some(caller.user_id);
        self.archive.note_export(by, &exported).await?;
        let size = file.metadata().await.map_err(anyhow::Error::from)?.len();
        tracing::warn!(by = %caller.user_id, rows = exported.rows.values().sum::<u64>(), "the database was exported");
        Ok(Database { file, size })
    }

    async fn moved(
        &self,
        how: How,
        action: Action,
        caller: Caller,
        drop_second_factors: bool,
        upload: Upload,
    ) -> Result<Moved, Failure<MoveRefusal>> {
        caller.require_proof_or(self.archive.now(), MoveRefusal::Unproved)?;
        let received = self.archive.receive(upload).await.map_err(Failure::within)?;
        let by = caller.user_id;
        let mover = Mover { caller, action, arrived: self.archive.now() };
        let options = ImportOptions { drop_second_factors, by: Some(mover), ..ImportOptions::default() };
        let archive = self.archive.clone();
        // A client that leaves must not leave behind what others wait for: a lease, a turn.
        let act = self.archive.parts.tasks.spawn(async move {
            let counts = archive.import_from(received.path(), how, &options, &Progress::Silent).await?;
            tracing::warn!(%by, ?how, "a file was read into the database");
            Ok::<_, ImportRefusal>(counts)
        });
        Ok(answer(act.await.map_err(anyhow::Error::from)??))
    }
}

fn answer(counts: Counts) -> Moved {
    Json(counts.into_iter().map(|(table, counts)| (table.to_owned(), counts.into())).collect())
}
