//! Reading a backup, which may be cut short, changed, or none.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;
use futures_util::{TryStreamExt, stream};
use serde::Deserialize;
use tokio::runtime::Handle;
use uuid::Uuid;

use super::layout::{DATABASE, FILES, FORMAT, MANIFEST, Manifest, SUMS, line_of};
use super::outcome::{Inspected, RestoreRefusal};
use super::tape::{Entry, Reader};
use crate::archive::Parts;
use crate::archive::file::GatehouseFile;
use crate::archive::tables::TRAVELS;
use crate::archive::unfinished::new_file;
use crate::files::StorageFault;
use crate::platform::hexadecimal;

/// The largest manifest, in bytes.
const LARGEST_MANIFEST: u64 = 1024 * 1024;

/// The SHA-256 of the bytes that a backup has of each file, in hexadecimal: only where it is that of the file's row.
pub(super) type Good = HashMap<Uuid, String>;

/// Which bytes a backup brings, and when.
#[derive(Default)]
pub(super) struct Wanted {
    /// What is not here, or is nobody's here: before the rows.
    pub(super) first: HashSet<Uuid>,
    /// What somebody has here, with other bytes: once the rows are in, since a refusal is to change nothing.
    pub(super) later: HashSet<Uuid>,
}

/// Reads a backup from its beginning to its end. `each` takes the database and the files, and returns their SHA-256.
fn read(
    path: &Path,
    mut each: impl FnMut(&Entry, &mut Reader) -> Result<String, RestoreRefusal>,
) -> Result<Manifest, RestoreRefusal> {
    let file = File::open(path).map_err(RestoreRefusal::Unreadable)?;
    let mut reader = Reader::new(file);
    let (mut digest, mut files, mut file_bytes) = (Context::new(&SHA256), 0, 0_u64);
    let (mut first, mut manifest) = (true, None);
    let manifest: Manifest = loop {
        let entry = reader.next().map_err(RestoreRefusal::of_reading)?;
        let entry = entry.ok_or_else(|| RestoreRefusal::damaged("it ends before its sums"))?;
        let sum = match (entry.name.as_str(), manifest.take()) {
            (SUMS, Some(manifest)) => break manifest,
            (MANIFEST, None) if !first && entry.size <= LARGEST_MANIFEST => {
                let (read, sum) = manifest_of(&mut reader)?;
                manifest = Some(read);
                sum
            }
            (DATABASE, None) if first => each(&entry, &mut reader)?,
            (name, None) if !first && name.starts_with(FILES) => {
                let too_much = || RestoreRefusal::damaged("it says that it has more bytes than there can be");
                file_bytes = file_bytes.checked_add(entry.size).ok_or_else(too_much)?;
                files += 1;
                each(&entry, &mut reader)?
            }
            (name, _) => return Err(RestoreRefusal::damaged(format!("{name} is not where it belongs"))),
        };
        first = false;
        digest.update(line_of(&sum, &entry.name).as_bytes());
    };
    let sums = reader.end().map_err(RestoreRefusal::of_reading)?;
    if sums != hexadecimal::written(digest.finish().as_ref()) {
        return Err(RestoreRefusal::damaged("what is in it is not what its SHA256SUMS say"));
    }
    if reader.next().map_err(RestoreRefusal::of_reading)?.is_some() {
        return Err(RestoreRefusal::damaged("it goes on behind its end"));
    }
    if (manifest.files, manifest.file_bytes) != (files, file_bytes) {
        return Err(RestoreRefusal::damaged("what is in it is not what its manifest says"));
    }
    Ok(manifest)
}

/// What a manifest of any layout says.
#[derive(Deserialize)]
struct Format {
    format: u32,
}

/// The manifest, and its SHA-256.
fn manifest_of(reader: &mut Reader) -> Result<(Manifest, String), RestoreRefusal> {
    let pieces: io::Result<Vec<Vec<u8>>> = reader.pieces().collect();
    let text = pieces.map_err(RestoreRefusal::of_reading)?.concat();
    let sum = reader.end().map_err(RestoreRefusal::of_reading)?;
    let unread = |_| RestoreRefusal::damaged("its manifest can't be read");
    let Format { format } = serde_json::from_slice(&text).map_err(unread)?;
    if format != FORMAT {
        return Err(RestoreRefusal::damaged(format!(
            "it is of the layout {format}, which this version does not know"
        )));
    }
    Ok((serde_json::from_slice(&text).map_err(unread)?, sum))
}

/// Reads all of a backup; its database goes to `database`, for its rows to be looked at. Also, which bytes in it are those of
/// their rows.
pub(super) fn look(parts: &Parts, path: &Path, database: &Path) -> Result<(Inspected, Good), RestoreRefusal> {
    let mut sums: HashMap<Uuid, String> = HashMap::new();
    let manifest = read(path, |entry, reader| {
        if entry.name == DATABASE {
            return extract(reader, database);
        }
        let blob = blob_of(entry)?;
        let sum = reader.end().map_err(RestoreRefusal::of_reading)?;
        match sums.insert(blob, sum.clone()) {
            None => Ok(sum),
            Some(_) => Err(RestoreRefusal::damaged(format!("{} is in it twice", entry.name))),
        }
    })?;
    let source = GatehouseFile::open(database)?;
    let (mut rows, mut unopened, mut flawed, mut good) = (BTreeMap::new(), 0, 0, Good::new());
    for table in TRAVELS {
        let mut count = 0;
        source.rows(table, &mut |row| {
            count += 1;
            unopened += u64::from(parts.unopened(&row).is_some());
            if let (Some(blob), Some(sha256)) = (row.id("blob"), row.bytes("sha256")) {
                let right = hexadecimal::written(sha256);
                if sums.get(&blob).is_some_and(|sum| *sum == right) {
                    good.insert(blob, right);
                } else {
                    flawed += 1;
                }
            }
            Ok(())
        })?;
        rows.insert(table.name.to_owned(), count);
    }
    if rows != manifest.rows {
        return Err(RestoreRefusal::damaged("its rows are not as many as its manifest says"));
    }
    Ok((Inspected { manifest, flawed, unopened }, good))
}

/// Which of a backup's good bytes are to be brought, and when. What is here already as it must be is left alone.
pub(super) fn wanted(parts: &Parts, good: &Good, runtime: &Handle) -> Result<Wanted, RestoreRefusal> {
    let (mut wanted, mut differ) = (Wanted::default(), Vec::new());
    for (blob, right) in good {
        match runtime.block_on(sum_of(parts, *blob)) {
            Ok(sum) if sum == *right => {}
            Ok(_) => differ.push(*blob),
            Err(StorageFault::Gone) => {
                wanted.first.insert(*blob);
            }
            Err(fault) => return Err(fault.into()),
        }
    }
    wanted.later = runtime.block_on(parts.files.with_rows(&differ)).map_err(anyhow::Error::from)?;
    wanted.first.extend(differ.into_iter().filter(|blob| !wanted.later.contains(blob)));
    Ok(wanted)
}

/// The SHA-256 of the bytes that are here under this name, in hexadecimal.
async fn sum_of(parts: &Parts, blob: Uuid) -> Result<String, StorageFault> {
    let size = parts.files.size_of(blob).await?.ok_or(StorageFault::Gone)?;
    let (mut pieces, mut sum) = (parts.files.bytes_of(blob, size).await?, Context::new(&SHA256));
    while let Some(piece) = pieces.try_next().await? {
        sum.update(&piece);
    }
    Ok(hexadecimal::written(sum.finish().as_ref()))
}

fn extract(reader: &mut Reader, to: &Path) -> Result<String, RestoreRefusal> {
    let written = |error: io::Error| anyhow::anyhow!("{}: {error}", to.display());
    let mut out = new_file(to).map_err(written)?;
    for piece in reader.pieces() {
        out.write_all(&piece.map_err(RestoreRefusal::of_reading)?).map_err(written)?;
    }
    reader.end().map_err(RestoreRefusal::of_reading)
}

fn blob_of(entry: &Entry) -> Result<Uuid, RestoreRefusal> {
    let name = entry.name.strip_prefix(FILES);
    let blob = name.and_then(|name| Uuid::try_parse(name).ok().filter(|blob| blob.to_string() == name));
    blob.ok_or_else(|| RestoreRefusal::damaged(format!("{} is none of a backup's", entry.name)))
}

/// Puts those bytes of a backup's files where they belong that are wanted; their names.
pub(super) fn bring(
    parts: &Parts,
    path: &Path,
    wanted: &HashSet<Uuid>,
    runtime: &Handle,
) -> Result<Vec<Uuid>, RestoreRefusal> {
    let mut brought = Vec::new();
    let read = read(path, |entry, reader| {
        if entry.name == DATABASE {
            return reader.end().map_err(RestoreRefusal::of_reading);
        }
        let blob = blob_of(entry)?;
        if !wanted.contains(&blob) {
            return reader.end().map_err(RestoreRefusal::of_reading);
        }
        let pieces = stream::iter(reader.pieces().map(|piece| piece.map(Bytes::from)));
        let kept = runtime.block_on(parts.files.bring(Some(blob), pieces))?;
        brought.push(kept.blob);
        reader.end().map_err(RestoreRefusal::of_reading)
    });
    if let Err(refusal) = read {
        runtime.block_on(parts.files.discard_rowless(&brought)).map_err(anyhow::Error::from)?;
        return Err(refusal);
    }
    Ok(brought)
}
