//! The form of a backup file: a tar archive of plain files (POSIX.1-2001 ustar), which every `tar` reads. Of what is
//! written here nothing else is read: an entry's header is exactly what would be written for it, or the file is refused.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};

use aws_lc_rs::digest::{Context, SHA256};

use crate::platform::hexadecimal;

/// Everything is a multiple of it.
const BLOCK: usize = 512;
/// The longest name of an entry.
const NAME: usize = 100;
/// From this size on, eleven octal digits don't suffice; then it is written as a binary number, as GNU tar does.
const LARGE: u64 = 1 << 33;
/// Bytes that are read or written at once.
const PIECE: usize = 256 * 1024;

/// What an entry is called, and how long it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub name: String,
    pub size: u64,
}

/// Writes an archive.
pub(super) struct Writer {
    out: BufWriter<File>,
    /// Bytes that were written.
    at: u64,
    left: u64,
    padding: usize,
    digest: Context,
}

impl Writer {
    pub fn new(file: File) -> Self {
        let out = BufWriter::with_capacity(PIECE, file);
        Self { out, at: 0, left: 0, padding: 0, digest: Context::new(&SHA256) }
    }

    /// How far the archive has come: behind an entry that has ended.
    pub const fn place(&self) -> u64 {
        self.at
    }

    /// Takes back everything from a place on.
    pub fn back_to(&mut self, place: u64) -> io::Result<()> {
        self.out.seek(SeekFrom::Start(place))?;
        self.out.get_ref().set_len(place)?;
        (self.at, self.left, self.padding) = (place, 0, 0);
        Ok(())
    }

    /// Begins an entry; the one before has ended.
    pub fn begin(&mut self, entry: &Entry) -> io::Result<()> {
        self.out.write_all(&header(entry).ok_or_else(|| io::Error::other("no name for an entry"))?)?;
        self.at += BLOCK as u64;
        (self.left, self.padding) = (entry.size, padding(entry.size));
        self.digest = Context::new(&SHA256);
        Ok(())
    }

    /// Writes a part of it.
    pub fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        let beyond = || io::Error::other("an entry is longer than it was announced to be");
        self.left = self.left.checked_sub(piece.len() as u64).ok_or_else(beyond)?;
        self.digest.update(piece);
        self.at += piece.len() as u64;
        self.out.write_all(piece)
    }

    /// Ends it; its SHA-256 in hexadecimal.
    pub fn end(&mut self) -> io::Result<String> {
        if self.left > 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "an entry is shorter than announced"));
        }
        self.out.write_all(&[0; BLOCK][..self.padding])?;
        self.at += self.padding as u64;
        Ok(hexadecimal::written(std::mem::replace(&mut self.digest, Context::new(&SHA256)).finish().as_ref()))
    }

    /// Ends the archive, and makes it durable.
    pub fn finish(mut self) -> io::Result<()> {
        self.out.write_all(&[0; 2 * BLOCK])?;
        let file = self.out.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_all()
    }
}

/// Reads an archive from its beginning to its end.
pub(super) struct Reader<R = File> {
    input: BufReader<R>,
    left: u64,
    padding: usize,
    digest: Context,
}

impl<R: Read> Reader<R> {
    pub fn new(archive: R) -> Self {
        let input = BufReader::with_capacity(PIECE, archive);
        Self { input, left: 0, padding: 0, digest: Context::new(&SHA256) }
    }

    /// The next entry; none behind the last one. The one before was read to its end.
    pub fn next(&mut self) -> io::Result<Option<Entry>> {
        let mut block = [0; BLOCK];
        self.input.read_exact(&mut block)?;
        if block == [0; BLOCK] {
            self.input.read_exact(&mut block)?;
            let ends = block == [0; BLOCK] && self.input.read(&mut block)? == 0;
            return if ends { Ok(None) } else { Err(foreign()) };
        }
        let entry = entry_of(&block).ok_or_else(foreign)?;
        (self.left, self.padding) = (entry.size, padding(entry.size));
        self.digest = Context::new(&SHA256);
        Ok(Some(entry))
    }

    /// What is left of the entry, piece by piece.
    pub fn pieces(&mut self) -> impl Iterator<Item = io::Result<Vec<u8>>> {
        std::iter::from_fn(move || (self.left > 0).then(|| self.piece()))
    }

    fn piece(&mut self) -> io::Result<Vec<u8>> {
        let length = usize::try_from(self.left).map_or(PIECE, |left| left.min(PIECE));
        let mut piece = vec![0; length];
        self.input.read_exact(&mut piece)?;
        self.left -= length as u64;
        self.digest.update(&piece);
        Ok(piece)
    }

    /// Ends the entry, which was read to its end; its SHA-256 in hexadecimal.
    pub fn end(&mut self) -> io::Result<String> {
        self.pieces().try_for_each(|piece| piece.map(drop))?;
        let mut block = [0; BLOCK];
        self.input.read_exact(&mut block[..self.padding])?;
        if block != [0; BLOCK] {
            return Err(foreign());
        }
        Ok(hexadecimal::written(std::mem::replace(&mut self.digest, Context::new(&SHA256)).finish().as_ref()))
    }
}

fn foreign() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "this is not a part of a backup of Gatehouse")
}

fn padding(size: u64) -> usize {
    let over = usize::try_from(size % BLOCK as u64).unwrap_or(0);
    (BLOCK - over) % BLOCK
}

/// The block before an entry: a plain file for its owner alone, of no particular time and of nobody.
fn header(entry: &Entry) -> Option<[u8; BLOCK]> {
    let fits = !entry.name.is_empty() && entry.name.len() <= NAME && !entry.name.contains('\0');
    if !fits {
        return None;
    }
    let mut block = [0; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, entry.name.as_bytes());
    put(100, b"0000600\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    if entry.size < LARGE {
        put(124, format!("{:011o}\0", entry.size).as_bytes());
    } else {
        put(124, &[0x80]);
        put(128, &entry.size.to_be_bytes());
    }
    put(136, b"00000000000\0");
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\x0000");
    put(329, b"0000000\0");
    put(337, b"0000000\0");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    Some(block)
}

/// The entry that a block announces.
fn entry_of(block: &[u8; BLOCK]) -> Option<Entry> {
    let name = block[..NAME].split(|byte| *byte == 0).next()?;
    let name = std::str::from_utf8(name).ok()?.to_owned();
    let size = if block[124] == 0x80 {
        u64::from_be_bytes(block[128..136].try_into().ok()?)
    } else {
        u64::from_str_radix(std::str::from_utf8(&block[124..135]).ok()?, 8).ok()?
    };
    let entry = Entry { name, size };
    (header(&entry)? == *block).then_some(entry)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(name: &str, size: u64) -> Entry {
        Entry { name: name.to_owned(), size }
    }

    fn written(entries: &[(&str, &[u8])]) -> Vec<u8> {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut writer = Writer::new(file.reopen().unwrap());
        for (name, bytes) in entries {
            writer.begin(&entry(name, bytes.len() as u64)).unwrap();
            bytes.chunks(700).for_each(|piece| writer.write(piece).unwrap());
            writer.end().unwrap();
        }
        writer.finish().unwrap();
        std::fs::read(file.path()).unwrap()
    }

    fn read(bytes: &[u8]) -> io::Result<Vec<(String, Vec<u8>)>> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        let mut reader = Reader::new(file.reopen().unwrap());
        let mut entries = Vec::new();
        while let Some(entry) = reader.next()? {
            let content = reader.pieces().collect::<io::Result<Vec<_>>>()?.concat();
            reader.end()?;
            entries.push((entry.name, content));
        }
        Ok(entries)
    }

    #[test]
    fn what_was_written_is_read_and_by_tar_too() {
        let content: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
        let entries = [("a", &b""[..]), ("files/b", b"x"), ("c", &[7; 512]), ("d", &content)];
        let archive = written(&entries);
        let expected: Vec<_> =
            entries.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.to_vec())).collect();
        assert_eq!(read(&archive).unwrap(), expected);

        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("all.tar"), &archive).unwrap();
        let tar =
            std::process::Command::new("tar").args(["-xf", "all.tar"]).current_dir(&folder).output().unwrap();
        assert!(tar.status.success() && tar.stderr.is_empty(), "{tar:?}");
        assert_eq!(std::fs::read(folder.path().join("d")).unwrap(), content);
        assert_eq!(std::fs::read(folder.path().join("files/b")).unwrap(), b"x");
    }

    #[test]
    fn what_is_taken_back_is_not_in_it() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut writer = Writer::new(file.reopen().unwrap());
        let mut put = |name: &str, bytes: &[u8]| {
            let place = writer.place();
            writer.begin(&entry(name, bytes.len() as u64)).unwrap();
            writer.write(bytes).unwrap();
            writer.end().unwrap();
            if name == "wrong" {
                writer.back_to(place).unwrap();
            }
        };
        put("a", b"some");
        put("wrong", &vec![7; 2 * PIECE]);
        put("b", &[1; 600]);
        writer.finish().unwrap();
        let entries: [(&str, &[u8]); 2] = [("a", b"some"), ("b", &[1; 600])];
        assert_eq!(std::fs::read(file.path()).unwrap(), written(&entries));
    }

    #[test]
    fn sizes_beyond_eight_gibibytes_are_announced_and_understood() {
        for size in [0, 511, LARGE - 1, LARGE, 5 << 40] {
            assert_eq!(entry_of(&header(&entry("a", size)).unwrap()), Some(entry("a", size)));
        }
        assert!(header(&entry(&"a".repeat(101), 1)).is_none());
        assert!(header(&entry("", 1)).is_none());
    }

    #[test]
    fn an_entry_is_as_long_as_announced() {
        let mut writer = Writer::new(tempfile::tempfile().unwrap());
        writer.begin(&entry("a", 2)).unwrap();
        writer.write(b"x").unwrap();
        assert!(writer.end().is_err());
        assert!(writer.write(b"yz").is_err());
    }

    #[test]
    fn a_header_that_says_anything_else_is_refused() {
        let good = written(&[("a", b"x")]);
        for (at, byte) in [
            (0, b'/'),
            (100, b'1'),
            (124, b'7'),
            (136, b'1'),
            (156, b'2'),
            (157, b'x'),
            (345, b'p'),
            (500, 1),
            (513, 1),
        ] {
            let mut bad = good.clone();
            bad[at] = byte;
            assert!(read(&bad).is_err(), "{at}");
        }
        assert!(read(&[&good[..], b"more"].concat()).is_err());
    }

    proptest! {
        #[test]
        fn every_truncation_is_noticed(cut in 0_usize..3072) {
            let archive = written(&[("a", b"some"), ("b", &[1; 600])]);
            prop_assume!(cut < archive.len());
            prop_assert!(read(&archive[..cut]).is_err());
        }

        #[test]
        fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..2048)) {
            prop_assert!(read(&bytes).is_err());
        }
    }
}
