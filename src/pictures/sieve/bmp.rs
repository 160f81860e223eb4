//! BMP (Windows bitmap): a header, and rows of pixels; nothing in it is compressed beyond runs of one colour.

use std::borrow::Cow;

use image::metadata::Orientation;

use super::{Flaw, Kind, Rest, Sieved, Size};

/// Length of the oldest header, which has dimensions of two bytes.
const CORE: u32 = 12;

/// Reads the dimensions. The decoder reads each row and misses what is missing.
pub(super) fn sieve(file: &[u8]) -> Result<Sieved<'_>, Flaw> {
    let mut rest = Rest(file);
    rest.take(2)?;
    // Old programs write no length; one that is longer than the file tells that it was cut.
    if rest.length_le()? > file.len() {
        return Err(Flaw::Broken);
    }
    rest.take(8)?;
    let size = match rest.u32_le()? {
        CORE => Size::new(rest.u16_le()?.into(), rest.u16_le()?.into())?,
        // A negative height says that the rows come from top to bottom.
        _ => Size::new(rest.u32_le()?, rest.u32_le()?.cast_signed().unsigned_abs())?,
    };
    size.needs(4)?;
    let (orientation, file) = (Orientation::NoTransforms, Cow::Borrowed(file));
    Ok(Sieved { kind: Kind::Bmp, size, orientation, is_photo: false, file })
}
