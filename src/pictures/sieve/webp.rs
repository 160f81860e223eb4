//! WebP (RFC 9649): chunks in a RIFF container. Several of them tell dimensions, and a decoder believes each.

use std::borrow::Cow;

use image::metadata::Orientation;

use super::{Flaw, Kind, Rest, Sieved, Size};

/// What the chunks say of the picture.
#[derive(Default)]
struct Found {
    canvas: Option<Size>,
    exif: Option<Orientation>,
    is_lossy: bool,
    has_alpha: bool,
    is_animated: bool,
}

/// Where a chunk stands: a frame has no frames in it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    File,
    Frame,
}

/// Reads all chunks. The decoder takes the first frame and, of the notes, nothing.
pub(super) fn sieve(file: &[u8]) -> Result<Sieved<'_>, Flaw> {
    let mut rest = Rest(file);
    rest.take(4)?;
    let length = rest.length_le()?;
    let mut chunks = Rest(rest.take(length)?);
    rest.ends()?;
    chunks.take(4)?;
    let mut found = Found::default();
    found.read(chunks, Level::File)?;
    let size = found.canvas.ok_or(Flaw::Broken)?;
    size.needs(found.bytes_per_pixel())?;
    Ok(Sieved {
        kind: Kind::WebP,
        size,
        orientation: found.exif.unwrap_or(Orientation::NoTransforms),
        is_photo: found.is_lossy && !found.has_alpha,
        file: Cow::Borrowed(file),
    })
}

impl Found {
    fn read(&mut self, mut chunks: Rest<'_>, level: Level) -> Result<(), Flaw> {
        while !chunks.0.is_empty() {
            let kind = chunks.array()?;
            let length = chunks.length_le()?;
            let data = chunks.take(length)?;
            if length % 2 == 1 {
                chunks.byte()?;
            }
            self.take(kind, Rest(data), level)?;
        }
        Ok(())
    }

    fn take(&mut self, kind: [u8; 4], mut data: Rest<'_>, level: Level) -> Result<(), Flaw> {
        match &kind {
            b"VP8X" => {
                let [flags, _, _, _, w0, w1, w2, h0, h1, h2] = data.array()?;
                self.has_alpha |= flags & 0x10 != 0;
                self.is_animated |= flags & 0x02 != 0;
                let [width, height] =
                    [[w0, w1, w2, 0], [h0, h1, h2, 0]].map(|bytes| u32::from_le_bytes(bytes) + 1);
                self.is_within(Size::new(width, height)?)
            }
            b"VP8 " => {
                self.is_lossy = true;
                data.take(6)?;
                let [width, height] = [data.u16_le()?, data.u16_le()?].map(|side| u32::from(side & 0x3FFF));
                self.is_within(Size::new(width, height)?)
            }
            b"VP8L" => {
                data.take(1)?;
                let bits = data.u32_le()?;
                self.has_alpha |= bits >> 28 & 1 == 1;
                self.is_within(Size::new((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)?)
            }
            b"ANMF" if level == Level::Frame => Err(Flaw::Broken),
            b"ANMF" => {
                data.take(16)?;
                self.read(data, Level::Frame)
            }
            b"EXIF" => {
                self.exif = Some(super::orientation(data.0));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// The first dimensions that are told are the picture's; none that follow may be beyond them.
    fn is_within(&mut self, size: Size) -> Result<(), Flaw> {
        let canvas = *self.canvas.get_or_insert(size);
        let is_within = size.width <= canvas.width && size.height <= canvas.height;
        if is_within { Ok(()) } else { Err(Flaw::Broken) }
    }

    /// What the decoder keeps for each pixel: lossy ones first as brightness and colour, transparency in a picture of its
    /// own, frames of an animation beside the canvas.
    fn bytes_per_pixel(&self) -> u64 {
        let frame = match (self.is_lossy, self.has_alpha) {
            (true, false) | (false, true) => 5,
            (true, true) => 11,
            (false, false) => 7,
        };
        if self.is_animated { frame + 4 } else { frame }
    }
}
