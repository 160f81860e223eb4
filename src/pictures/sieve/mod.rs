//! The sieve before the decoders: takes a picture's file apart by its own rules, before a pixel is allocated.
//!
//! A decoder is the part of this program that strangers can feed most freely. So it is given only files whose frame is
//! known to be whole (every length, every checksum, the end), whose dimensions and whose need of memory are known to be
//! within bounds, and in which nothing is left but the pixels of one frame: no text, no profile, no place, no thumbnail,
//! no second frame. What is told of the picture is told by its first bytes, never by a name or a declared type.

mod bmp;
mod gif;
mod jpeg;
mod png;
mod webp;

use std::borrow::Cow;

use image::metadata::Orientation;

/// Widest and highest.
pub(super) const MOST_WIDE: u32 = 4096;
/// Most pixels.
pub(super) const MOST_PIXELS: u64 = 16 * 1024 * 1024;
/// Most memory that decoding may need, the pixels included.
pub(super) const MOST_MEMORY: u64 = 64 * 1024 * 1024;

/// Why a file is no picture that is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    /// Its first bytes are of no kind that is taken.
    Unknown,
    /// It breaks off, contradicts itself, or has something behind its end.
    Broken,
    /// It has more pixels, or needs more memory or time, than is allowed.
    TooLarge,
    /// It is larger than a profile picture, and nobody asked to have it scaled down.
    TooWide,
}

/// A kind of picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Png,
    Jpeg,
    Gif,
    Bmp,
    WebP,
}

/// What came through.
#[derive(Debug)]
pub(super) struct Sieved<'a> {
    pub(super) kind: Kind,
    pub(super) size: Size,
    /// How the camera was held.
    pub(super) orientation: Orientation,
    /// Whether the pixels have been through a lossy code already.
    pub(super) is_photo: bool,
    /// What the decoder gets.
    pub(super) file: Cow<'a, [u8]>,
}

/// Width and height, within the bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) width: u32,
    pub(super) height: u32,
}

impl Size {
    fn new(width: u32, height: u32) -> Result<Self, Flaw> {
        let size = Self { width, height };
        match size.pixels() {
            0 => Err(Flaw::Broken),
            pixels if pixels > MOST_PIXELS || width > MOST_WIDE || height > MOST_WIDE => Err(Flaw::TooLarge),
            _ => Ok(size),
        }
    }

    /// The longer side.
    pub(super) fn longest(self) -> u32 {
        self.width.max(self.height)
    }

    fn pixels(self) -> u64 {
        u64::from(self.width) * u64::from(self.height)
    }

    /// Refused if so many bytes for each pixel are more memory than is allowed.
    fn needs(self, bytes_per_pixel: u64) -> Result<(), Flaw> {
        needs(self.pixels() * bytes_per_pixel)
    }
}

fn needs(bytes: u64) -> Result<(), Flaw> {
    if bytes <= MOST_MEMORY { Ok(()) } else { Err(Flaw::TooLarge) }
}

/// Takes a file apart.
pub(super) fn sieve(file: &[u8]) -> Result<Sieved<'_>, Flaw> {
    match file {
        [0x89, b'P', b'N', b'G', ..] => png::sieve(file),
        [0xFF, 0xD8, 0xFF, ..] => jpeg::sieve(file),
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => gif::sieve(file),
        [b'B', b'M', ..] => bmp::sieve(file),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => webp::sieve(file),
        _ => Err(Flaw::Unknown),
    }
}

/// What the note of a camera says of how it was held.
fn orientation(exif: &[u8]) -> Orientation {
    Orientation::from_exif_chunk(exif).unwrap_or(Orientation::NoTransforms)
}

/// The bytes of a file that have not been read yet. What lies behind the end is [`Flaw::Broken`].
#[derive(Clone, Copy)]
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Flaw> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Flaw::Broken)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Flaw> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Flaw::Broken)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn byte(&mut self) -> Result<u8, Flaw> {
        Ok(self.array::<1>()?[0])
    }

    fn u16_be(&mut self) -> Result<u16, Flaw> {
        self.array().map(u16::from_be_bytes)
    }

    fn u16_le(&mut self) -> Result<u16, Flaw> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32_be(&mut self) -> Result<u32, Flaw> {
        self.array().map(u32::from_be_bytes)
    }

    fn u32_le(&mut self) -> Result<u32, Flaw> {
        self.array().map(u32::from_le_bytes)
    }

    fn length_be(&mut self) -> Result<usize, Flaw> {
        usize::try_from(self.u32_be()?).map_err(|_| Flaw::Broken)
    }

    fn length_le(&mut self) -> Result<usize, Flaw> {
        usize::try_from(self.u32_le()?).map_err(|_| Flaw::Broken)
    }

    /// Refused unless everything has been read.
    fn ends(self) -> Result<(), Flaw> {
        if self.0.is_empty() { Ok(()) } else { Err(Flaw::Broken) }
    }
}
