//! GIF (89a): blocks of sub-blocks. Only the first frame comes through.

use std::borrow::Cow;

use image::metadata::Orientation;

use super::{Flaw, Kind, Rest, Sieved, Size, needs};

const EXTENSION: u8 = 0x21;
const IMAGE: u8 = 0x2C;
const TRAILER: u8 = 0x3B;
/// The extension that says which colour of the next frame is transparent.
const CONTROL: u8 = 0xF9;

/// Reads to the end, however many frames there are, and keeps what the first needs.
pub(super) fn sieve(file: &[u8]) -> Result<Sieved<'_>, Flaw> {
    let mut rest = Rest(file);
    rest.take(6)?;
    let size = Size::new(rest.u16_le()?.into(), rest.u16_le()?.into())?;
    let flags = rest.byte()?;
    rest.take(2)?;
    rest.take(table(flags))?;
    let mut clean = read(file, rest).to_vec();
    let mut is_empty = true;
    loop {
        let from = rest;
        match rest.byte()? {
            EXTENSION => {
                let kind = rest.byte()?;
                sub_blocks(&mut rest)?;
                if kind == CONTROL && is_empty {
                    clean.extend_from_slice(read(from.0, rest));
                }
            }
            IMAGE => {
                let frame = frame(&mut rest)?;
                if is_empty {
                    needs_canvas_and(size, frame)?;
                    clean.extend_from_slice(read(from.0, rest));
                }
                is_empty = false;
            }
            TRAILER => break,
            _ => return Err(Flaw::Broken),
        }
    }
    rest.ends()?;
    if is_empty {
        return Err(Flaw::Broken);
    }
    clean.push(TRAILER);
    let (orientation, file) = (Orientation::NoTransforms, Cow::Owned(clean));
    Ok(Sieved { kind: Kind::Gif, size, orientation, is_photo: false, file })
}

/// What has been read since the rest was `from`.
fn read<'a>(from: &'a [u8], rest: Rest<'_>) -> &'a [u8] {
    from.get(..from.len() - rest.0.len()).unwrap_or_default()
}

/// How many bytes of colours these flags announce.
fn table(flags: u8) -> usize {
    if flags & 0x80 == 0 { 0 } else { 3 << ((flags & 7) + 1) }
}

/// The size of a frame; read to its end.
fn frame(rest: &mut Rest<'_>) -> Result<Size, Flaw> {
    rest.take(4)?;
    let size = Size::new(rest.u16_le()?.into(), rest.u16_le()?.into())?;
    let flags = rest.byte()?;
    rest.take(table(flags))?;
    let _code_size = rest.byte()?;
    sub_blocks(rest)?;
    Ok(size)
}

fn sub_blocks(rest: &mut Rest<'_>) -> Result<(), Flaw> {
    loop {
        match rest.byte()? {
            0 => return Ok(()),
            length => rest.take(length.into())?,
        };
    }
}

/// A frame that is not as large as the picture is decoded beside it.
fn needs_canvas_and(size: Size, frame: Size) -> Result<(), Flaw> {
    let beside = if frame == size { 0 } else { frame.pixels() * 4 };
    needs(size.pixels() * 4 + beside)
}
