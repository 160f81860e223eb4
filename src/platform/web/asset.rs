//! Files in the binary: carried compressed, found by name and content hash, kept by clients for ever.

use std::io::{Read, Write};

use bytes::Bytes;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use poem::http::{HeaderMap, HeaderValue, StatusCode, header};
use poem::{IntoResponse, Response};
use tokio::sync::OnceCell;

use super::is_known;
use crate::platform::problem::Problem;
use crate::platform::secrets::digest;

/// What scripts are.
pub const SCRIPT: &str = "text/javascript; charset=utf-8";
/// What style sheets are.
pub const STYLE: &str = "text/css; charset=utf-8";

/// One file or document. It is there either plain or compressed; the other is made when the first client asks for it.
#[derive(Debug)]
pub struct Asset {
    kind: &'static str,
    hash: String,
    plain: OnceCell<Bytes>,
    gzipped: OnceCell<Bytes>,
}

impl Asset {
    /// A document that was made at the start: compressing it there would take longer than the start.
    #[must_use]
    pub fn plain(kind: &'static str, bytes: Bytes) -> Self {
        let hash = content_hash(&bytes);
        Self { kind, hash, plain: OnceCell::new_with(Some(bytes)), gzipped: OnceCell::new() }
    }

    /// A file that was compressed when the program was built.
    #[must_use]
    pub fn gzipped(kind: &'static str, bytes: Bytes) -> Self {
        let hash = content_hash(&bytes);
        Self { kind, hash, plain: OnceCell::new(), gzipped: OnceCell::new_with(Some(bytes)) }
    }

    /// The start of the hash of its content.
    #[must_use]
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// The file for a place that is named by its content: kept for ever by whoever gets it.
    pub async fn answer_for_ever(&self, headers: &HeaderMap) -> Response {
        let mut response = self.answer(headers).await;
        let for_ever = HeaderValue::from_static("public, max-age=31536000, immutable");
        response.headers_mut().insert(header::CACHE_CONTROL, for_ever);
        response
    }

    /// The file, compressed if the client takes it so; 304 if the client has it.
    pub async fn answer(&self, headers: &HeaderMap) -> Response {
        let compressed = takes_gzip(headers);
        let etag = format!("\"{}{}\"", self.hash, if compressed { "-gz" } else { "" });
        let builder = Response::builder().header(header::VARY, "Accept-Encoding").header(header::ETAG, &etag);
        if is_known(headers, &etag) {
            return builder.status(StatusCode::NOT_MODIFIED).finish();
        }
        let builder = builder.content_type(self.kind);
        let answer = if compressed {
            let bytes = made_from(&self.gzipped, &self.plain, gzip).await;
            bytes.map(|bytes| builder.header(header::CONTENT_ENCODING, "gzip").body(bytes))
        } else {
            made_from(&self.plain, &self.gzipped, gunzip).await.map(|bytes| builder.body(bytes))
        };
        answer.unwrap_or_else(|error| {
            tracing::error!(%error, "a file could not be compressed or unpacked");
            Problem::internal().into_response()
        })
    }
}

/// The start of the hash of some bytes, as it stands in addresses.
#[must_use]
pub fn content_hash(bytes: &[u8]) -> String {
    let start = digest(bytes).iter().take(8).fold(0, |start, byte| start << 8 | u64::from(*byte));
    format!("{start:016x}")
}

/// What the cell holds, or will hold from now on: made from what the other one holds.
async fn made_from(
    wanted: &OnceCell<Bytes>,
    other: &OnceCell<Bytes>,
    make: fn(&[u8]) -> std::io::Result<Bytes>,
) -> std::io::Result<Bytes> {
    let whole = wanted.get_or_try_init(async || {
        let bytes = other.get().cloned().unwrap_or_default();
        tokio::task::spawn_blocking(move || make(&bytes)).await.map_err(std::io::Error::other)?
    });
    whole.await.cloned()
}

fn gzip(bytes: &[u8]) -> std::io::Result<Bytes> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 3), Compression::default());
    encoder.write_all(bytes)?;
    encoder.finish().map(Bytes::from)
}

fn gunzip(bytes: &[u8]) -> std::io::Result<Bytes> {
    let mut plain = Vec::with_capacity(bytes.len() * 4);
    GzDecoder::new(bytes).read_to_end(&mut plain)?;
    Ok(plain.into())
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

/// A script or a style of `static/`, as the build compressed it: `static_file!(SCRIPT, "name.js")`.
#[macro_export]
macro_rules! static_file {
    ($kind:expr, $name:literal) => {
        (
            $name,
            $crate::platform::web::Asset::gzipped(
                $kind,
                include_bytes!(concat!(env!("OUT_DIR"), "/", $name, ".gz")).as_slice().into(),
            ),
        )
    };
}
