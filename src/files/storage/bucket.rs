//! Blobs in a bucket of a store that speaks S3: `<prefix>/ab/cd/<blob>`.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;
use object_store::{
    ClientOptions, GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutMode, PutPayload, RetryConfig,
    WriteMultipart,
};
use secrecy::ExposeSecret;
use tokio::io::AsyncReadExt;
use uuid::Uuid;

use super::temp::Received;
use super::{Pieces, StorageFault, told};
use crate::platform::config;

/// Bytes of a part; what is not larger goes up in one request.
const PART: usize = 8 * 1024 * 1024;
/// Parts of one file that are under way at once.
const PARTS_AT_ONCE: usize = 2;
/// Names that are looked at together.
const PORTION: usize = 1000;
/// The key that says whose bucket it is.
const OWNER: &str = "owner";

/// A bucket.
#[derive(Clone)]
pub struct Bucket {
    store: Arc<AmazonS3>,
    prefix: Path,
    words: String,
}

/// Without the keys that the store holds.
impl fmt::Debug for Bucket {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_tuple("Bucket").field(&self.words).finish()
    }
}

impl Bucket {
    /// Connects to nothing yet.
    pub fn open(address: &config::BucketAddress, settings: &config::Files) -> anyhow::Result<Self> {
        let region = address.region.clone().or_else(|| settings.region.clone());
        let endpoint = address.endpoint.clone().or_else(|| settings.endpoint.clone());
        let client = ClientOptions::new()
            .with_timeout(Duration::from_secs(30))
            .with_connect_timeout(Duration::from_secs(5));
        let retry =
            RetryConfig { max_retries: 3, retry_timeout: Duration::from_secs(20), ..RetryConfig::default() };
        let mut builder = AmazonS3Builder::from_env()
            .with_client_options(client)
            .with_retry(retry)
            .with_bucket_name(&address.bucket)
            .with_region(region.unwrap_or_else(|| "us-east-1".to_owned()));
        if let Some(endpoint) = endpoint {
            let plain = endpoint.scheme() == "http";
            builder = builder.with_endpoint(endpoint.as_str().trim_end_matches('/')).with_allow_http(plain);
        }
        if let Some(id) = &settings.access_key_id {
            builder = builder.with_access_key_id(id);
        }
        if let Some(key) = &settings.secret_access_key {
            builder = builder.with_secret_access_key(key.expose_secret());
        }
        if let Some(token) = &settings.session_token {
            builder = builder.with_token(token.expose_secret());
        }
        let words = format!("s3://{}/{}", address.bucket, address.prefix);
        Ok(Self { store: Arc::new(builder.build()?), prefix: Path::from(address.prefix.as_str()), words })
    }

    pub(super) fn words(&self) -> String {
        self.words.clone()
    }

    fn key(&self, blob: Uuid) -> Path {
        let name = blob.to_string();
        let (ab, cd) = (name[32..34].to_owned(), name[34..36].to_owned());
        self.prefix.clone().join(ab).join(cd).join(name)
    }

    /// Either all of it is there afterwards, or nothing is.
    pub(super) async fn put(&self, received: &Received) -> Result<(), StorageFault> {
        let key = self.key(received.blob);
        let mut file = tokio::fs::File::open(received.path()).await?;
        if received.size <= PART as u64 {
            let mut whole = Vec::with_capacity(usize::try_from(received.size).unwrap_or(0));
            file.read_to_end(&mut whole).await?;
            self.store.put(&key, PutPayload::from(whole)).await?;
            return Ok(());
        }
        let mut upload = WriteMultipart::new_with_chunk_size(self.store.put_multipart(&key).await?, PART);
        if let Err(fault) = send(&mut file, &mut upload).await {
            if let Err(error) = upload.abort().await {
                let error = told(&error);
                tracing::warn!(error, "an upload to the store could not be given up");
            }
            return Err(fault);
        }
        upload.finish().await?;
        Ok(())
    }

    pub(super) async fn read(&self, blob: Uuid, range: Range<u64>) -> Result<Pieces, StorageFault> {
        if range.is_empty() {
            return Ok(futures_util::stream::empty().boxed());
        }
        let options = GetOptions { range: Some(GetRange::Bounded(range)), ..GetOptions::default() };
        let found = self.store.get_opts(&self.key(blob), options).await?;
        Ok(found.into_stream().map_err(std::io::Error::other).boxed())
    }

    pub(super) async fn size(&self, blob: Uuid) -> Result<u64, StorageFault> {
        Ok(self.store.head(&self.key(blob)).await?.size)
    }

    pub(super) async fn remove(&self, blob: Uuid) -> Result<(), StorageFault> {
        Ok(self.store.delete(&self.key(blob)).await?)
    }

    pub(super) fn blobs(&self) -> BoxStream<'static, Result<Vec<Uuid>, StorageFault>> {
        let names = self.store.list(Some(&self.prefix)).map(|found| {
            let found = found?;
            Ok::<_, StorageFault>(found.location.filename().and_then(|name| Uuid::try_parse(name).ok()))
        });
        let portions = names.try_filter_map(|name| std::future::ready(Ok(name))).try_chunks(PORTION);
        portions.map_err(|error| error.1).boxed()
    }

    pub(super) async fn owner(&self) -> Result<String, StorageFault> {
        let bytes = self.store.get(&self.prefix.clone().join(OWNER)).await?.bytes().await?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Whoever else was faster stays its owner.
    pub(super) async fn claim(&self, owner: Uuid) -> Result<(), StorageFault> {
        let (key, payload) =
            (self.prefix.clone().join(OWNER), PutPayload::from(owner.to_string().into_bytes()));
        match self.store.put_opts(&key, payload.clone(), PutMode::Create.into()).await {
            Ok(_) | Err(object_store::Error::AlreadyExists { .. }) => Ok(()),
            // Amazon, MinIO, Ceph and R2 know the condition. Others refuse it (501, which has no name of its own here):
            // there, of two databases that come at the very same moment, both might take the bucket for theirs.
            Err(object_store::Error::Generic { source, .. }) if is_not_implemented(&*source) => {
                self.store.put(&key, payload).await?;
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// Whether a store said so of a request (501). That crate tells it from an outage by the words alone.
fn is_not_implemented(error: &(dyn std::error::Error + 'static)) -> bool {
    error.to_string().contains("status code: 501")
}

async fn send(file: &mut tokio::fs::File, upload: &mut WriteMultipart) -> Result<(), StorageFault> {
    loop {
        upload.wait_for_capacity(PARTS_AT_ONCE).await?;
        let mut piece = BytesMut::with_capacity(256 * 1024);
        if file.read_buf(&mut piece).await? == 0 {
            return Ok(());
        }
        upload.put(Bytes::from(piece));
    }
}
