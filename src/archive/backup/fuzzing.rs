//! What must hold of a backup's archive: see `src/fuzzing.rs`.

use std::io;

use super::tape::Reader;
use crate::platform::hexadecimal;
use crate::platform::secrets::digest;

/// Bytes around each entry are whole blocks; the archive ends with two.
const BLOCK: u64 = 512;

/// What is read to its end is all of the file: nothing is hidden between its entries.
pub(crate) fn tape(input: &[u8]) {
    if let Ok(length) = length_of(input) {
        assert_eq!(length, input.len() as u64);
        assert!(length_of(&input[..input.len() - 1]).is_err() && length_of(&[input, &[0]].concat()).is_err());
    }
}

fn length_of(archive: &[u8]) -> io::Result<u64> {
    let (mut reader, mut length) = (Reader::new(archive), 2 * BLOCK);
    while let Some(entry) = reader.next()? {
        assert!((1..=100).contains(&entry.name.len()) && !entry.name.contains('\0'), "{entry:?}");
        let content = reader.pieces().collect::<io::Result<Vec<_>>>()?.concat();
        assert_eq!(content.len() as u64, entry.size);
        assert_eq!(reader.end()?, hexadecimal::written(&digest(&content)));
        length += BLOCK + entry.size.next_multiple_of(BLOCK);
    }
    Ok(length)
}
