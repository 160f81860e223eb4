//! Blobs in a folder: `ab/cd/<blob>`, and `tmp/<blob>` while they come in. No name that a client chose is part of a path.

use std::collections::HashSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::ops::Range;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use rustix::fs::OFlags;
use uuid::Uuid;

use super::temp::Received;
use super::{Hands, Pieces, StorageFault};

/// Bytes that are read at once.
const PIECE: u64 = 256 * 1024;
/// Where uploads are while they come in.
const TEMP: &str = "tmp";
/// The file that says whose folder it is.
const OWNER: &str = "owner";

/// A folder of blobs.
#[derive(Clone, Debug)]
pub struct Disk {
    root: Arc<Path>,
    pub(super) hands: Hands,
    /// Folders that this process knows to be on disk in those above them.
    lasting: Arc<Mutex<HashSet<u16>>>,
}

impl Disk {
    /// Opens the folder, which is made if there is none.
    pub fn open(root: &Path) -> io::Result<Self> {
        make_folder(&root.join(TEMP))?;
        Ok(Self { root: root.into(), hands: Hands::default(), lasting: Arc::default() })
    }

    /// The folder.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Where the blob of this name is while it comes in.
    pub(super) fn temp_path(&self, blob: Uuid) -> PathBuf {
        self.root.join(TEMP).join(blob.to_string())
    }

    /// The last digits are chance, the first are time: by those all of a day would be in one folder.
    fn path(&self, blob: Uuid) -> PathBuf {
        let name = blob.to_string();
        let (ab, cd) = (&name[32..34], &name[34..36]);
        self.root.join(ab).join(cd).join(&name)
    }

    pub(super) async fn place(&self, received: &mut Received) -> io::Result<()> {
        let (from, to) = (self.temp_path(received.blob), self.path(received.blob));
        let (number, lasting) = (folder_number(received.blob), Arc::clone(&self.lasting));
        self.hands
            .run(move || {
                let folder = to.parent().unwrap_or(&to);
                if fs::rename(&from, &to).is_err() {
                    make_folder(folder)?;
                    fs::rename(&from, &to)?;
                } else if !lasting.lock().unwrap_or_else(PoisonError::into_inner).contains(&number) {
                    // Whoever made it may not have come to that yet, or have died before.
                    sync_above(folder)?;
                }
                File::open(folder)?.sync_all()?;
                lasting.lock().unwrap_or_else(PoisonError::into_inner).insert(number);
                Ok(())
            })
            .await?;
        received.is_placed();
        Ok(())
    }

    pub(super) async fn read(&self, blob: Uuid, range: Range<u64>) -> io::Result<Pieces> {
        let path = self.path(blob);
        let file = self.hands.run(move || for_reading().open(path)).await?;
        Ok(pieces(self.hands.clone(), Arc::new(file), range))
    }

    pub(super) async fn size(&self, blob: Uuid) -> io::Result<u64> {
        let path = self.path(blob);
        self.hands.run(move || fs::metadata(path).map(|known| known.len())).await
    }

    pub(super) async fn remove(&self, blob: Uuid) -> io::Result<()> {
        let path = self.path(blob);
        self.hands.run(move || fs::remove_file(path)).await
    }

    pub(super) async fn remove_unfinished(&self, blob: Uuid) -> io::Result<()> {
        let path = self.temp_path(blob);
        self.hands.run(move || fs::remove_file(path)).await
    }

    pub(super) async fn unfinished(&self) -> io::Result<Vec<Uuid>> {
        let folder = self.root.join(TEMP);
        self.hands.run(move || names_in(&folder)).await
    }

    /// Folder by folder, so that millions of blobs are never in memory together.
    pub(super) async fn blobs(
        &self,
    ) -> Result<BoxStream<'static, Result<Vec<Uuid>, StorageFault>>, StorageFault> {
        let (root, hands) = (Arc::clone(&self.root), self.hands.clone());
        let outer = hands.run(move || folders_in(&root)).await?;
        let each = stream::iter(outer).then(move |outer| {
            let hands = hands.clone();
            async move {
                let names = hands.run(move || {
                    let inner = folders_in(&outer)?;
                    Ok(inner.iter().map(|folder| names_in(folder)).collect::<io::Result<Vec<_>>>()?.concat())
                });
                names.await.map_err(StorageFault::from)
            }
        });
        Ok(each.boxed())
    }

    pub(super) async fn owner(&self) -> io::Result<String> {
        let path = self.root.join(OWNER);
        self.hands.run(move || fs::read_to_string(path)).await
    }

    /// Written beside and linked to its place: an owner of whom only half is there would be nobody's for ever.
    pub(super) async fn claim(&self, owner: Uuid) -> io::Result<()> {
        let (root, draft) = (Arc::clone(&self.root), self.temp_path(owner));
        self.hands
            .run(move || {
                let mut file = for_writing().open(&draft)?;
                file.write_all(owner.to_string().as_bytes())?;
                file.sync_all()?;
                let linked = fs::hard_link(&draft, root.join(OWNER));
                fs::remove_file(&draft)?;
                linked?;
                File::open(&root)?.sync_all()
            })
            .await
    }
}

/// A new file, for nobody else to read, and nothing but a file that was not there.
pub(super) fn for_writing() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600).custom_flags(flags());
    options
}

pub(super) fn for_reading() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(flags());
    options
}

#[expect(clippy::cast_possible_wrap, reason = "bits, not a number")]
const fn flags() -> i32 {
    OFlags::NOFOLLOW.bits() as i32
}

fn make_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    sync_above(folder)
}

/// The folders above must know of it, too, after a loss of power.
fn sync_above(folder: &Path) -> io::Result<()> {
    for above in folder.ancestors().skip(1).take(2).filter(|above| !above.as_os_str().is_empty()) {
        File::open(above)?.sync_all()?;
    }
    Ok(())
}

/// Which of the folders a blob is in: its last two bytes name it.
fn folder_number(blob: Uuid) -> u16 {
    let [.., ab, cd] = *blob.as_bytes();
    u16::from_be_bytes([ab, cd])
}

/// A part of a file, a piece at a time, read when it is asked for.
fn pieces(hands: Hands, file: Arc<File>, range: Range<u64>) -> Pieces {
    let pieces = stream::try_unfold(range.start, move |at| {
        let (hands, file) = (hands.clone(), Arc::clone(&file));
        let length = PIECE.min(range.end.saturating_sub(at));
        async move {
            if length == 0 {
                return Ok(None);
            }
            let piece = hands
                .run(move || {
                    let mut piece = vec![0; usize::try_from(length).unwrap_or(0)];
                    file.read_exact_at(&mut piece, at)?;
                    Ok(Bytes::from(piece))
                })
                .await?;
            Ok::<_, io::Error>(Some((piece, at + length)))
        }
    });
    pieces.boxed()
}

/// The blobs in a folder; other names are nobody's business.
fn names_in(folder: &Path) -> io::Result<Vec<Uuid>> {
    let entries = fs::read_dir(folder)?;
    entries
        .filter_map(|entry| match entry {
            Ok(entry) => Uuid::try_parse(entry.file_name().to_str()?).ok().map(Ok),
            Err(error) => Some(Err(error)),
        })
        .collect()
}

/// The folders of two hexadecimal digits in a folder.
fn folders_in(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let is_ours = |name: &str| name.len() == 2 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    let entries = fs::read_dir(folder)?;
    entries
        .filter_map(|entry| match entry {
            Ok(entry) => entry.file_name().to_str().is_some_and(is_ours).then(|| Ok(entry.path())),
            Err(error) => Some(Err(error)),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_and_its_number_are_of_the_same_digits() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::open(folder.path()).unwrap();
        let blob = Uuid::from_u128(0x0193_d1f0_0000_7000_8000_0000_0000_a1b2);
        assert!(disk.path(blob).parent().unwrap().ends_with("a1/b2"));
        assert_eq!(folder_number(blob), 0xa1b2);
    }
}
