//! Files in the binary: found by name and content hash, compressed once, kept by clients for ever.

use std::io::Write;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use poem::http::{HeaderMap, HeaderValue, StatusCode, header};
use poem::{Endpoint, Request, Response};
use tokio::sync::OnceCell;

use crate::platform::web::is_known;

const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

/// One file or document.
#[derive(Debug)]
pub(super) struct Asset {
    kind: &'static str,
    bytes: Bytes,
    hash: String,
    /// Made when the first client asks for it: compressing 3 MB at the start would take longer than the start.
    gzipped: OnceCell<Bytes>,
}

impl Asset {
    pub(super) fn new(kind: &'static str, bytes: Bytes) -> Self {
        let digest = digest(&SHA256, &bytes);
        let start = digest.as_ref().iter().take(8).fold(0, |start, byte| start << 8 | u64::from(*byte));
        let hash = format!("{start:016x}");
        Self { kind, bytes, hash, gzipped: OnceCell::new() }
    }

    /// The file, compressed if the client takes it so; 304 if the client has it.
    pub(super) async fn answer(&self, headers: &HeaderMap) -> Response {
        let compressed = if takes_gzip(headers) { self.gzipped().await } else { None };
        let etag = format!("\"{}{}\"", self.hash, if compressed.is_some() { "-gz" } else { "" });
        let builder = Response::builder().header(header::VARY, "Accept-Encoding").header(header::ETAG, &etag);
        if is_known(headers, &etag) {
            return builder.status(StatusCode::NOT_MODIFIED).finish();
        }
        let builder = builder.content_type(self.kind);
        match compressed {
            Some(bytes) => builder.header(header::CONTENT_ENCODING, "gzip").body(bytes),
            None => builder.body(self.bytes.clone()),
        }
    }

    async fn gzipped(&self) -> Option<Bytes> {
        let compress = async || {
            let bytes = self.bytes.clone();
            tokio::task::spawn_blocking(move || gzip(&bytes)).await.map_err(std::io::Error::other)?
        };
        match self.gzipped.get_or_try_init(compress).await {
            Ok(bytes) => Some(bytes.clone()),
            Err(error) => {
                tracing::warn!(%error, "a file could not be compressed");
                None
            }
        }
    }
}

fn gzip(bytes: &[u8]) -> std::io::Result<Bytes> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 3), Compression::default());
    encoder.write_all(bytes)?;
    encoder.finish().map(Bytes::from)
}

/// Whether `gzip` is listed and not switched off (RFC 9110, 12.5.3).
fn takes_gzip(headers: &HeaderMap) -> bool {
    let listed =
        headers.get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or_default();
    listed.split(',').any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, "q=1"));
        let zero = weight.trim().trim_start_matches("q=").parse().is_ok_and(|weight: f32| weight <= 0.0);
        name.trim().eq_ignore_ascii_case("gzip") && !zero
    })
}

/// The files of the documentation.
#[derive(Debug)]
pub(super) struct Assets(Vec<(&'static str, Asset)>);

impl Assets {
    pub(super) fn embedded() -> Self {
        macro_rules! file {
            ($kind:expr, $folder:literal, $name:literal) => {
                (
                    $name,
                    Asset::new(
                        $kind,
                        Bytes::from_static(include_bytes!(concat!("../../../static/", $folder, "/", $name))),
                    ),
                )
            };
        }
        Self(vec![
            file!(SCRIPT, "redoc", "redoc.standalone.js"),
            file!(SCRIPT, "swagger-ui", "swagger-ui-bundle.js"),
            file!(STYLE, "swagger-ui", "swagger-ui.css"),
            file!(SCRIPT, "docs", "redoc.js"),
            file!(SCRIPT, "docs", "swagger.js"),
        ])
    }

    /// Where the file is served.
    pub(super) fn path(&self, name: &str) -> String {
        let hash = self.find(name).map_or("", |asset| asset.hash.as_str());
        format!("/static/{hash}/{name}")
    }

    fn find(&self, name: &str) -> Option<&Asset> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, asset)| asset)
    }
}

/// Serves the files by hash and name.
pub(super) struct Served(pub(super) Arc<Assets>);

impl Endpoint for Served {
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        let wanted = |name| request.raw_path_param(name).unwrap_or_default();
        let asset = self.0.find(wanted("name")).filter(|asset| asset.hash == wanted("hash"));
        let asset = asset.ok_or(poem::error::NotFoundError)?;
        let mut response = asset.answer(request.headers()).await;
        let for_ever = HeaderValue::from_static("public, max-age=31536000, immutable");
        response.headers_mut().insert(header::CACHE_CONTROL, for_ever);
        Ok(response)
    }
}
