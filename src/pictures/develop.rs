//! From a stranger's file to a picture of ours: decoded, turned upright, scaled down, encoded anew.
//!
//! Nothing but the pixels goes over, so nothing that was hidden in the file comes out again.

use std::io::Cursor;

use image::codecs::bmp::BmpDecoder;
use image::codecs::gif::GifDecoder;
use image::codecs::jpeg::{JpegDecoder, JpegEncoder};
use image::codecs::png::{CompressionType, FilterType, PngDecoder, PngEncoder};
use image::codecs::webp::WebPDecoder;
use image::{ColorType, DynamicImage, ImageDecoder, ImageResult, Limits, RgbaImage, imageops};

use super::sieve::{Flaw, Kind, MOST_MEMORY, MOST_WIDE, Sieved, sieve};

/// Widest and highest that a profile picture is.
pub(super) const SIDE: u32 = 512;
/// Of JPEG, out of 100.
const QUALITY: u8 = 90;

/// A picture of ours.
#[derive(Debug)]
pub(super) struct Developed {
    pub(super) bytes: Vec<u8>,
    pub(super) format: Format,
}

/// What our pictures are kept as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Png,
    Jpeg,
}

impl Format {
    pub(super) const fn extension(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Jpeg => "jpg",
        }
    }

    pub(super) const fn media_type(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Jpeg => "image/jpeg",
        }
    }
}

/// Makes a profile picture of a stranger's file. One that is too large is scaled down where `resize` says so.
pub(super) fn develop(file: &[u8], resize: bool) -> Result<Developed, Flaw> {
    let sieved = sieve(file)?;
    if !resize && sieved.size.longest() > SIDE {
        return Err(Flaw::TooWide);
    }
    print(&sieved, SIDE)
}

/// Makes a smaller one of a profile picture, at most `side` pixels wide and high; none if it is no larger than that.
pub(super) fn reduce(file: &[u8], side: u32) -> Result<Option<Developed>, Flaw> {
    let sieved = sieve(file)?;
    if sieved.size.longest() <= side {
        return Ok(None);
    }
    print(&sieved, side).map(Some)
}

fn print(sieved: &Sieved<'_>, side: u32) -> Result<Developed, Flaw> {
    let image = decode(sieved).map_err(|error| {
        tracing::debug!(%error, "a picture could not be decoded");
        Flaw::Broken
    })?;
    if (image.width(), image.height()) != (sieved.size.width, sieved.size.height) {
        return Err(Flaw::Broken);
    }
    let mut image = shrink(in_eight_bits(image), side);
    image.apply_orientation(sieved.orientation);
    let format = if sieved.is_photo { Format::Jpeg } else { Format::Png };
    let bytes = encode(&image, format).map_err(|_| Flaw::Broken)?;
    Ok(Developed { bytes, format })
}

fn decode(sieved: &Sieved<'_>) -> ImageResult<DynamicImage> {
    let file = Cursor::new(&*sieved.file);
    let mut limits = Limits::no_limits();
    limits.max_image_width = Some(MOST_WIDE);
    limits.max_image_height = Some(MOST_WIDE);
    limits.max_alloc = Some(MOST_MEMORY);
    let mut decoder: Box<dyn ImageDecoder + '_> = match sieved.kind {
        Kind::Png => Box::new(PngDecoder::with_limits(file, limits.clone())?),
        Kind::Jpeg => Box::new(JpegDecoder::new(file)?),
        Kind::Gif => Box::new(GifDecoder::new(file)?),
        Kind::Bmp => Box::new(BmpDecoder::new(file)?),
        Kind::WebP => Box::new(WebPDecoder::new(file)?),
    };
    decoder.set_limits(limits)?;
    DynamicImage::from_decoder(decoder)
}

/// What screens show has eight bits a sample.
fn in_eight_bits(image: DynamicImage) -> DynamicImage {
    match image.color() {
        ColorType::L16 => image.into_luma8().into(),
        ColorType::La16 => image.into_luma_alpha8().into(),
        ColorType::Rgb16 => image.into_rgb8().into(),
        ColorType::Rgba16 => image.into_rgba8().into(),
        _ => image,
    }
}

/// Scales down so that neither side is longer than `side`. First roughly by whole boxes of pixels, which needs no memory;
/// what is left by a filter that keeps edges sharp.
fn shrink(image: DynamicImage, side: u32) -> DynamicImage {
    let (width, height) = (fit(image.width(), &image, side), fit(image.height(), &image, side));
    if (width, height) == (image.width(), image.height()) {
        return image;
    }
    let is_clear = image.color().has_alpha();
    let image = if is_clear { premultiplied(image.into_rgba8()).into() } else { image };
    let rough = if image.width().max(image.height()) > 4 * side {
        image.thumbnail(2 * side, 2 * side)
    } else {
        image
    };
    let fine = rough.resize_exact(width, height, imageops::FilterType::Lanczos3);
    if is_clear { unmultiplied(fine.into_rgba8()).into() } else { fine }
}

/// How long one of its sides is when the longest is `side`.
fn fit(length: u32, image: &DynamicImage, side: u32) -> u32 {
    let longest = image.width().max(image.height());
    if longest <= side { length } else { ((length * side + longest / 2) / longest).max(1) }
}

/// Each colour weighed by how much of it is seen: else the colours of what is transparent would shine through at its
/// edges.
fn premultiplied(mut image: RgbaImage) -> RgbaImage {
    for pixel in image.pixels_mut() {
        let [colours @ .., alpha] = &mut pixel.0;
        for colour in colours {
            *colour = byte((u32::from(*colour) * u32::from(*alpha) + 127) / 255);
        }
    }
    image
}

fn unmultiplied(mut image: RgbaImage) -> RgbaImage {
    for pixel in image.pixels_mut() {
        let [colours @ .., alpha] = &mut pixel.0;
        let alpha = u32::from(*alpha);
        for colour in colours {
            *colour = byte((u32::from(*colour) * 255 + alpha / 2).checked_div(alpha).unwrap_or(0));
        }
    }
    image
}

fn byte(value: u32) -> u8 {
    u8::try_from(value).unwrap_or(u8::MAX)
}

fn encode(image: &DynamicImage, format: Format) -> ImageResult<Vec<u8>> {
    let mut bytes = Vec::new();
    match format {
        Format::Png => {
            let encoder =
                PngEncoder::new_with_quality(&mut bytes, CompressionType::Default, FilterType::Adaptive);
            image.write_with_encoder(encoder)?;
        }
        Format::Jpeg => image.write_with_encoder(JpegEncoder::new_with_quality(&mut bytes, QUALITY))?,
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
