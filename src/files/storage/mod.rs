//! Where the bytes of files are: a folder, or a bucket of a store that speaks S3. Which of the two is the operator's
//! choice; everybody else sees blobs, named by the server.

mod bucket;
mod disk;
mod temp;

use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use uuid::Uuid;

pub use bucket::Bucket;
pub use disk::Disk;
pub use temp::{Received, Writing};

/// Threads that may wait for the disk at once; others wait for one of them.
const AT_THE_DISK: usize = 32;

/// The bytes of a blob, piece by piece.
pub type Pieces = BoxStream<'static, io::Result<Bytes>>;

/// Where the bytes are.
#[derive(Clone, Debug)]
pub enum Storage {
    /// In `DATA_DIR/files`.
    Disk(Disk),
    /// In a bucket; what is on its way in is on disk first.
    Bucket(Bucket, Disk),
}

/// Characters of an error that are told.
const MOST_TOLD: usize = 500;

/// Why the bytes can't be had, or can't be put where they belong.
#[derive(Debug, thiserror::Error)]
pub enum StorageFault {
    /// There is no such blob.
    #[error("there is no such blob")]
    Gone,
    /// No room is left.
    #[error("no room is left")]
    Full,
    /// The store can't be reached, or not now.
    #[error("the store does not answer as it should: {0}")]
    Away(String),
    /// The disk broke.
    #[error("the disk failed: {0}")]
    Broken(io::Error),
}

impl From<io::Error> for StorageFault {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Gone,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                Self::Full
            }
            _ => Self::Broken(error),
        }
    }
}

impl From<object_store::Error> for StorageFault {
    fn from(error: object_store::Error) -> Self {
        match error {
            object_store::Error::NotFound { .. } => Self::Gone,
            other => Self::Away(told(&other)),
        }
    }
}

/// What is said of an error of the store: not what its server wrote, which may be anything, such as the headers of our
/// request and the file itself.
fn told(error: &object_store::Error) -> String {
    const BEFORE_THE_CODE: &str = "status code: ";
    let text = error.to_string();
    let code = text.find(BEFORE_THE_CODE).map(|at| at + BEFORE_THE_CODE.len() + "401".len());
    let own = code.and_then(|end| text.get(..end)).unwrap_or(&text);
    own.lines().next().unwrap_or_default().chars().take(MOST_TOLD).collect()
}

impl Storage {
    /// A file on its way in, which will be the blob of this name.
    #[must_use]
    pub fn receive(&self, blob: Uuid) -> Writing {
        Writing::new(self.disk(), blob)
    }

    /// A place on the disk for something large that is on its way, and whose name is this. What is left there is swept as an
    /// upload is that was never finished.
    #[must_use]
    pub fn place_for_a_while(&self, name: Uuid) -> std::path::PathBuf {
        self.disk().temp_path(name)
    }

    /// Puts what was received where it belongs. It is durable when this returns.
    pub async fn place(&self, received: &mut Received) -> Result<(), StorageFault> {
        match self {
            Self::Disk(disk) => Ok(disk.place(received).await?),
            Self::Bucket(bucket, _) => bucket.put(received).await,
        }
    }

    /// Reads a part of a blob.
    pub async fn read(&self, blob: Uuid, range: Range<u64>) -> Result<Pieces, StorageFault> {
        match self {
            Self::Disk(disk) => Ok(disk.read(blob, range).await?),
            Self::Bucket(bucket, _) => bucket.read(blob, range).await,
        }
    }

    /// How many bytes a blob has; none where it isn't there.
    pub async fn size(&self, blob: Uuid) -> Result<Option<u64>, StorageFault> {
        let size = match self {
            Self::Disk(disk) => disk.size(blob).await.map_err(StorageFault::from),
            Self::Bucket(bucket, _) => bucket.size(blob).await,
        };
        match size {
            Err(StorageFault::Gone) => Ok(None),
            other => other.map(Some),
        }
    }

    /// Removes a blob; one that isn't there is none to complain about.
    pub async fn remove(&self, blob: Uuid) -> Result<(), StorageFault> {
        let removed = match self {
            Self::Disk(disk) => disk.remove(blob).await.map_err(StorageFault::from),
            Self::Bucket(bucket, _) => bucket.remove(blob).await,
        };
        match removed {
            Err(StorageFault::Gone) => Ok(()),
            other => other,
        }
    }

    /// Every blob that is kept, in portions.
    pub async fn blobs(&self) -> Result<BoxStream<'static, Result<Vec<Uuid>, StorageFault>>, StorageFault> {
        match self {
            Self::Disk(disk) => disk.blobs().await,
            Self::Bucket(bucket, _) => Ok(bucket.blobs()),
        }
    }

    /// The names of uploads that were begun and not finished.
    pub async fn unfinished(&self) -> Result<Vec<Uuid>, StorageFault> {
        Ok(self.disk().unfinished().await?)
    }

    /// Removes what is left of an upload that will never be finished.
    pub async fn give_up(&self, blob: Uuid) -> Result<(), StorageFault> {
        match self.disk().remove_unfinished(blob).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Whose storage it is: what the database that uses it has left there.
    pub async fn owner(&self) -> Result<Option<Uuid>, StorageFault> {
        let read = match self {
            Self::Disk(disk) => disk.owner().await.map_err(StorageFault::from),
            Self::Bucket(bucket, _) => bucket.owner().await,
        };
        match read {
            // Somebody's all the same: whoever took it for nobody's would sweep what may be another's.
            Ok(text) => Uuid::try_parse(text.trim()).map(Some).map_err(|_| {
                StorageFault::Broken(io::Error::new(io::ErrorKind::InvalidData, "its `owner` can't be read"))
            }),
            Err(StorageFault::Gone) => Ok(None),
            Err(other) => Err(other),
        }
    }

    /// Leaves there whose storage it is.
    pub async fn claim(&self, owner: Uuid) -> Result<(), StorageFault> {
        match self {
            Self::Disk(disk) => Ok(disk.claim(owner).await?),
            Self::Bucket(bucket, _) => bucket.claim(owner).await,
        }
    }

    /// What it is, for an operator.
    #[must_use]
    pub fn words(&self) -> String {
        match self {
            Self::Disk(disk) => disk.root().display().to_string(),
            Self::Bucket(bucket, _) => bucket.words(),
        }
    }

    const fn disk(&self) -> &Disk {
        match self {
            Self::Disk(disk) | Self::Bucket(_, disk) => disk,
        }
    }
}

/// Work that waits for the disk, off the threads that answer requests; a bounded number at once.
#[derive(Clone, Debug)]
struct Hands(Arc<Semaphore>);

impl Default for Hands {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_THE_DISK)))
    }
}

impl Hands {
    /// Does it, and waits until it is done.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        self.begin(work).await?.await.map_err(io::Error::other)?
    }

    /// Begins it as soon as there is a hand free; it comes to its end whether anybody waits or not.
    async fn begin<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<JoinHandle<io::Result<T>>> {
        let permit = Arc::clone(&self.0).acquire_owned().await.map_err(io::Error::other)?;
        Ok(tokio::task::spawn_blocking(move || {
            let done = work();
            drop(permit);
            done
        }))
    }
}
