//! PNG (ISO/IEC 15948): a row of chunks, each with its checksum.

use std::borrow::Cow;
use std::io::Read;

use flate2::Crc;
use flate2::read::ZlibDecoder;
use image::metadata::Orientation;

use super::{Flaw, Kind, Rest, Sieved, Size};

/// What the compressed notes of a file, its colour profile among them, may come to. They are counted and dropped, never
/// kept; more than this is no note but a bomb.
const MOST_NOTES: u64 = 4 * 1024 * 1024;

struct Chunk<'a> {
    /// With length and checksum.
    whole: &'a [u8],
    kind: [u8; 4],
    data: &'a [u8],
}

/// Lets the chunks through that make up the picture; the other frames of an animation are not among them.
pub(super) fn sieve(file: &[u8]) -> Result<Sieved<'_>, Flaw> {
    let mut rest = Rest(file);
    let signature = rest.take(8)?;
    if signature != b"\x89PNG\r\n\x1a\n" {
        return Err(Flaw::Broken);
    }
    let header = next(&mut rest)?;
    let size = size(&header)?;
    let mut clean = Vec::with_capacity(file.len());
    clean.extend_from_slice(signature);
    clean.extend_from_slice(header.whole);
    let (mut orientation, mut notes, mut has_pixels) = (Orientation::NoTransforms, MOST_NOTES, false);
    loop {
        let chunk = next(&mut rest)?;
        match &chunk.kind {
            b"PLTE" | b"tRNS" => clean.extend_from_slice(chunk.whole),
            b"IDAT" => {
                has_pixels = true;
                clean.extend_from_slice(chunk.whole);
            }
            b"IEND" => {
                clean.extend_from_slice(chunk.whole);
                break;
            }
            b"eXIf" => orientation = super::orientation(chunk.data),
            b"zTXt" | b"iTXt" | b"iCCP" => notes = notes.checked_sub(length(&chunk)).ok_or(Flaw::TooLarge)?,
            // In a small letter: one may leave it out.
            [first, ..] if first.is_ascii_lowercase() => {}
            _ => return Err(Flaw::Broken),
        }
    }
    rest.ends()?;
    if !has_pixels {
        return Err(Flaw::Broken);
    }
    Ok(Sieved { kind: Kind::Png, size, orientation, is_photo: false, file: Cow::Owned(clean) })
}

fn next<'a>(rest: &mut Rest<'a>) -> Result<Chunk<'a>, Flaw> {
    let from = rest.0;
    let length = rest.length_be()?;
    let kind = rest.array()?;
    let data = rest.take(length)?;
    let mut crc = Crc::new();
    crc.update(&kind);
    crc.update(data);
    if rest.u32_be()? != crc.sum() {
        return Err(Flaw::Broken);
    }
    let whole = from.get(..length + 12).ok_or(Flaw::Broken)?;
    Ok(Chunk { whole, kind, data })
}

fn size(header: &Chunk<'_>) -> Result<Size, Flaw> {
    if header.kind != *b"IHDR" || header.data.len() != 13 {
        return Err(Flaw::Broken);
    }
    let mut rest = Rest(header.data);
    let size = Size::new(rest.u32_be()?, rest.u32_be()?)?;
    let (depth, colours) = (rest.byte()?, rest.byte()?);
    // A palette is decoded into red, green and blue, and transparency if it has some; so may be what names one colour
    // that is transparent.
    let samples = match colours {
        0 | 4 => 2,
        2 | 3 | 6 => 4,
        _ => return Err(Flaw::Broken),
    };
    size.needs(samples * if depth == 16 { 2 } else { 1 })?;
    Ok(size)
}

/// How long a compressed note is, as far as it matters. One that is damaged counts as far as it can be read: it is
/// dropped in any case.
fn length(chunk: &Chunk<'_>) -> u64 {
    let Some(compressed) = compressed(chunk) else { return 0 };
    let mut note = ZlibDecoder::new(compressed);
    let (mut piece, mut length) = ([0; 4096], 0);
    while length <= MOST_NOTES
        && let Ok(read @ 1..) = note.read(&mut piece)
    {
        length += read as u64;
    }
    length
}

/// The compressed part: behind the keyword and the method, in `iTXt` also behind two more texts.
fn compressed<'a>(chunk: &Chunk<'a>) -> Option<&'a [u8]> {
    let (_, rest) = split(chunk.data)?;
    if chunk.kind != *b"iTXt" {
        return rest.get(1..);
    }
    let [is_compressed, _method, rest @ ..] = rest else { return None };
    let (_language, rest) = split(rest)?;
    let (_keyword, text) = split(rest)?;
    (*is_compressed == 1).then_some(text)
}

fn split(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr::memchr(0, data)?;
    Some((&data[..end], &data[end + 1..]))
}
