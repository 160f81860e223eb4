//! Everything that is stored about somebody, for themselves: one archive, written as it is sent.
//!
//! Nothing is gathered first: a task reads a piece, puts it into the archive and waits until the client has taken it. So
//! it costs the same memory for one file as for a hundred.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::{TryStreamExt, stream};
use poem::http::{HeaderValue, header};
use poem::{Body, IntoResponse, Response};
use poem_openapi::ApiResponse;
use poem_openapi::registry::{
    MetaMediaType, MetaResponse, MetaResponses, MetaSchema, MetaSchemaRef, Registry,
};
use serde::Serialize;
use tokio::sync::mpsc;
use uuid::Uuid;
use zip::write::{SimpleFileOptions, StreamWriter};
use zip::{CompressionMethod, ZipWriter};

use super::Profiles;
use super::shown::HistoryLine;
use crate::events::Body as Told;
use crate::files::{File, FileRefusal, file};
use crate::platform::clock::seconds;
use crate::platform::config::{Quota, Throttles};
use crate::platform::db::{Order, Span};
use crate::platform::problem::Failure;
use crate::rate_limit::Limit;
use crate::sessions::Caller;
use crate::users::listing::LineMark;

/// Lines of history that are read at once.
const LINES: u64 = 500;
/// Pieces that wait for the client.
const WAITING: usize = 4;
/// From this size on an entry needs the long form of its length.
const LONG: u64 = u32::MAX as u64;

/// Taking everything: it reads all that somebody has.
#[derive(Clone, Copy, Debug)]
pub struct Exports;

impl Limit for Exports {
    const NAME: &'static str = "exports";

    fn quota(_: &Throttles) -> Quota {
        Quota { limit: 20, window: std::time::Duration::from_hours(1) }
    }
}

/// A session, as its owner takes it along.
#[derive(Serialize)]
struct Session {
    id: Uuid,
    device: Option<String>,
    ip: String,
    created_at: i64,
    last_seen_at: i64,
    expires_at: i64,
}

/// The archive on its way.
pub struct Archive(mpsc::Receiver<io::Result<Bytes>>);

impl IntoResponse for Archive {
    fn into_response(self) -> Response {
        let pieces = stream::unfold(self.0, |mut pieces| async move { Some((pieces.recv().await?, pieces)) });
        let mut response = Response::default();
        for (name, value) in [
            (header::CONTENT_TYPE, "application/zip"),
            (header::CONTENT_DISPOSITION, "attachment; filename=\"my-data.zip\""),
            (header::CACHE_CONTROL, "no-store"),
        ] {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        response.set_body(Body::from_bytes_stream(pieces));
        response
    }
}

impl ApiResponse for Archive {
    fn meta() -> MetaResponses {
        let schema = MetaSchemaRef::Inline(Box::new(MetaSchema::new_with_format("string", "binary")));
        let archive = MetaResponse {
            description: "`account.json`, `history.json`, `events.json`, `sessions.json`, `files.json`, and the files below `files/`.",
            status: Some(200),
            status_range: None,
            content: vec![MetaMediaType { content_type: "application/zip", schema }],
            headers: Vec::new(),
        };
        MetaResponses { responses: vec![archive] }
    }

    fn register(_: &mut Registry) {}
}

impl Profiles {
    /// Everything that is stored about the caller, but for what is secret even to them: digests and seeds.
    pub(super) fn export(&self, caller: &Caller) -> Archive {
        let (pieces, archive) = mpsc::channel(WAITING);
        let (profiles, user) = (self.clone(), caller.user_id);
        self.tasks.spawn(async move {
            let mut packer = Packer::new(pieces);
            if let Err(error) = profiles.pack(&mut packer, user).await {
                // A client that has gone is the usual reason; it sees a broken archive at any rate.
                tracing::info!(error = format!("{error:#}"), "an export was broken off");
                packer.break_off().await;
            }
        });
        Archive(archive)
    }

    async fn pack(&self, packer: &mut Packer, user: Uuid) -> anyhow::Result<()> {
        let Some(row) = self.users.by_id(user).await? else { anyhow::bail!("the account has gone") };
        packer.json("account.json", &self.full(row).await?).await?;
        packer.json("history.json", &self.whole_history(user).await?).await?;
        packer.json("events.json", &self.everything_told(user).await?).await?;
        let sessions = self.sessions.of_user(user).await?.into_iter().map(|session| Session {
            id: session.id,
            device: session.user_agent,
            ip: session.ip,
            created_at: seconds(session.created_at),
            last_seen_at: seconds(session.last_seen_at),
            expires_at: seconds(session.expires_at),
        });
        packer.json("sessions.json", &sessions.collect::<Vec<_>>()).await?;
        let files = self.files.of_user(user).await?;
        let shown: Vec<File> = files.iter().cloned().map(|row| File::of(row, &self.api_url)).collect();
        packer.json("files.json", &shown).await?;
        for file in &files {
            self.pack_file(packer, file).await?;
        }
        packer.finish().await
    }

    async fn whole_history(&self, user: Uuid) -> anyhow::Result<Vec<HistoryLine>> {
        let mut lines = Vec::new();
        let mut span = Span { order: Order::Desc, after: None, offset: 0, limit: LINES };
        loop {
            let part = self.users.history(user, &span).await?;
            let Some(last) = part.last() else { return Ok(lines) };
            span.after = Some(LineMark::of(last));
            lines.extend(part.into_iter().map(HistoryLine::from));
        }
    }

    async fn everything_told(&self, user: Uuid) -> anyhow::Result<Vec<Told>> {
        let mut told: Vec<Told> = Vec::new();
        loop {
            let known = told.last().map_or(0, |event| event.sequence);
            let page = self.users.told_of(user, known, LINES).await?;
            if page.is_empty() {
                return Ok(told);
            }
            told.extend(page.iter().map(Told::of).collect::<Result<Vec<_>, _>>()?);
        }
    }

    async fn pack_file(&self, packer: &mut Packer, file: &file::Model) -> anyhow::Result<()> {
        let size = file.size.unsigned_abs();
        let mut pieces = match self.files.open(file, 0..size).await {
            Ok(pieces) => pieces,
            // What is deleted meanwhile is not stored any more.
            Err(Failure::Refused(FileRefusal::NotFound)) => return Ok(()),
            // The log tells why.
            Err(failure) => {
                anyhow::bail!("the file {} can't be read: {}", file.id, failure.problem().detail)
            }
        };
        packer.begin(&format!("files/{}-{}", file.id, file.name), size)?;
        while let Some(piece) = pieces.try_next().await? {
            packer.write(&piece).await?;
        }
        Ok(())
    }
}

/// Writes an archive into a channel.
struct Packer {
    archive: ZipWriter<StreamWriter<Shelf>>,
    shelf: Shelf,
    pieces: mpsc::Sender<io::Result<Bytes>>,
}

impl Packer {
    fn new(pieces: mpsc::Sender<io::Result<Bytes>>) -> Self {
        let shelf = Shelf::default();
        Self { archive: ZipWriter::new_stream(shelf.clone()), shelf, pieces }
    }

    async fn json(&mut self, name: &str, content: &impl Serialize) -> anyhow::Result<()> {
        let text = serde_json::to_vec_pretty(content)?;
        self.begin(name, text.len() as u64)?;
        self.write(&text).await
    }

    fn begin(&mut self, name: &str, size: u64) -> anyhow::Result<()> {
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
        Ok(self.archive.start_file(name, options.large_file(size >= LONG).unix_permissions(0o600))?)
    }

    async fn write(&mut self, piece: &[u8]) -> anyhow::Result<()> {
        self.archive.write_all(piece)?;
        self.hand_over().await
    }

    async fn finish(&mut self) -> anyhow::Result<()> {
        let archive = std::mem::replace(&mut self.archive, ZipWriter::new_stream(Shelf::default()));
        archive.finish()?;
        self.hand_over().await
    }

    /// What was written goes to the client, who may take their time.
    async fn hand_over(&mut self) -> anyhow::Result<()> {
        let piece = self.shelf.take();
        if !piece.is_empty() {
            self.pieces.send(Ok(piece.into())).await?;
        }
        Ok(())
    }

    /// Lets the connection break, so that nobody takes half an archive for a whole one.
    async fn break_off(self) {
        let broken = self.pieces.send(Err(io::Error::other("the export was broken off"))).await;
        if broken.is_err() {
            tracing::debug!("and nobody waited for it any more");
        }
    }
}

/// Where the archive puts what it has written, until it is handed over.
#[derive(Clone, Default)]
struct Shelf(Arc<Mutex<Vec<u8>>>);

impl Shelf {
    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Write for Shelf {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
