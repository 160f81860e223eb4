//! JPEG (ITU-T T.81): a row of segments, each behind a marker, and between them the coded scans.

use std::borrow::Cow;

use image::metadata::Orientation;

use super::{Flaw, Kind, Rest, Sieved, Size, needs};

const SOI: u8 = 0xD8;
const EOI: u8 = 0xD9;
const SOS: u8 = 0xDA;
/// Frame headers: baseline and extended sequential, and progressive. Nobody takes pictures of the other kinds.
const BASELINE: u8 = 0xC0;
const EXTENDED: u8 = 0xC1;
const PROGRESSIVE: u8 = 0xC2;
/// Tables: Huffman, quantisation, restart interval.
const TABLES: [u8; 3] = [0xC4, 0xDB, 0xDD];
/// JFIF, and Adobe's word on how colours are coded. The rest of APPn and the comments are notes.
const JFIF: u8 = 0xE0;
const ADOBE: u8 = 0xEE;
const EXIF: u8 = 0xE1;

/// Samples that all scans of a picture may go over. Programs that make progressive pictures need about ten scans; a
/// small picture may have more, a large one can't keep a core busy for minutes.
const MOST_CODED: u64 = 16 * 16 * 1024 * 1024;
/// As many as the decoder takes.
const MOST_SCANS: u64 = 100;

/// Lets through what makes up the picture. What follows its end is dropped, for phones put films and second pictures
/// there.
pub(super) fn sieve(file: &[u8]) -> Result<Sieved<'_>, Flaw> {
    let mut rest = Rest(file);
    let mut clean = Vec::with_capacity(file.len());
    clean.extend_from_slice(rest.take(2)?);
    let (mut frame, mut orientation, mut scans) = (None, Orientation::NoTransforms, 0);
    loop {
        match marker(&mut rest)? {
            EOI => break,
            SOS => {
                let frame: &Frame = frame.as_ref().ok_or(Flaw::Broken)?;
                scans += 1;
                frame.bear(scans)?;
                segment(&mut clean, SOS, body(&mut rest)?)?;
                clean.extend_from_slice(coded(&mut rest)?);
            }
            kind @ (BASELINE | EXTENDED | PROGRESSIVE) if frame.is_none() => {
                let header = body(&mut rest)?;
                frame = Some(Frame::read(header, kind == PROGRESSIVE)?);
                segment(&mut clean, kind, header)?;
            }
            kind if TABLES.contains(&kind) || kind == JFIF || kind == ADOBE => {
                segment(&mut clean, kind, body(&mut rest)?)?;
            }
            EXIF => {
                if let Some(exif) = body(&mut rest)?.strip_prefix(b"Exif\0\0") {
                    orientation = super::orientation(exif);
                }
            }
            0xE2..=0xEF | 0xFE => {
                body(&mut rest)?;
            }
            _ => return Err(Flaw::Broken),
        }
    }
    clean.extend_from_slice(&[0xFF, EOI]);
    let frame = frame.filter(|_| scans > 0).ok_or(Flaw::Broken)?;
    frame.fits_memory(scans)?;
    let file = Cow::Owned(clean);
    Ok(Sieved { kind: Kind::Jpeg, size: frame.size, orientation, is_photo: true, file })
}

/// The next marker; before it may stand any number of FF.
fn marker(rest: &mut Rest<'_>) -> Result<u8, Flaw> {
    if rest.byte()? != 0xFF {
        return Err(Flaw::Broken);
    }
    loop {
        match rest.byte()? {
            0xFF => {}
            0 | SOI => return Err(Flaw::Broken),
            marker => return Ok(marker),
        }
    }
}

/// What a segment holds, behind its length.
fn body<'a>(rest: &mut Rest<'a>) -> Result<&'a [u8], Flaw> {
    let length = usize::from(rest.u16_be()?);
    rest.take(length.checked_sub(2).ok_or(Flaw::Broken)?)
}

fn segment(clean: &mut Vec<u8>, marker: u8, body: &[u8]) -> Result<(), Flaw> {
    let length = u16::try_from(body.len() + 2).map_err(|_| Flaw::Broken)?;
    clean.extend_from_slice(&[0xFF, marker]);
    clean.extend_from_slice(&length.to_be_bytes());
    clean.extend_from_slice(body);
    Ok(())
}

/// A scan's code: up to the next marker that isn't part of it.
fn coded<'a>(rest: &mut Rest<'a>) -> Result<&'a [u8], Flaw> {
    let mut from = 0;
    loop {
        let at = from + memchr::memchr(0xFF, rest.0.get(from..).ok_or(Flaw::Broken)?).ok_or(Flaw::Broken)?;
        match rest.0.get(at + 1).ok_or(Flaw::Broken)? {
            // FF 00 is a coded FF; D0 to D7 are points where decoding can begin anew.
            0 | 0xD0..=0xD7 => from = at + 2,
            0xFF => from = at + 1,
            _ => return rest.take(at),
        }
    }
}

/// What the frame header says.
struct Frame {
    size: Size,
    is_progressive: bool,
    components: u64,
    /// Samples of all components, with what is added to fill whole blocks.
    samples: u64,
}

impl Frame {
    fn read(header: &[u8], is_progressive: bool) -> Result<Self, Flaw> {
        let mut rest = Rest(header);
        let _precision = rest.byte()?;
        let (height, width) = (rest.u16_be()?, rest.u16_be()?);
        let size = Size::new(width.into(), height.into())?;
        let components = rest.byte()?;
        if !(1..=4).contains(&components) {
            return Err(Flaw::Broken);
        }
        let (mut widest, mut highest, mut blocks) = (1, 1, 0);
        for _ in 0..components {
            let [_, sampling, _] = rest.array()?;
            let (wide, high) = (u32::from(sampling >> 4), u32::from(sampling & 15));
            if !(1..=4).contains(&wide) || !(1..=4).contains(&high) {
                return Err(Flaw::Broken);
            }
            (widest, highest) = (widest.max(wide), highest.max(high));
            blocks += u64::from(wide * high);
        }
        rest.ends()?;
        let units = u64::from(size.width.div_ceil(8 * widest)) * u64::from(size.height.div_ceil(8 * highest));
        Ok(Self { size, is_progressive, components: components.into(), samples: units * blocks * 64 })
    }

    /// Refused if so many scans are too much work.
    fn bear(&self, scans: u64) -> Result<(), Flaw> {
        let is_endless = scans > MOST_SCANS || scans * self.samples > MOST_CODED;
        if is_endless { Err(Flaw::TooLarge) } else { Ok(()) }
    }

    /// In several scans, the coefficients of the whole picture are kept, two bytes each, until the last is read.
    fn fits_memory(&self, scans: u64) -> Result<(), Flaw> {
        let bytes_per_pixel = if self.components == 1 { 1 } else { 3 };
        let coefficients = if self.is_progressive || scans > 1 { self.samples * 2 } else { 0 };
        needs(self.size.pixels() * bytes_per_pixel + coefficients)
    }
}
