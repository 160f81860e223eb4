//! Files of every kind, whole, damaged and hostile. What can be made by hand is made here; `samples/` holds what takes an
//! encoder of another program (Pillow: 48×32 pixels, quality 60 to 80).

use std::io::Write;

use flate2::write::ZlibEncoder;
use flate2::{Compression, Crc};
use image::codecs::bmp::BmpEncoder;
use image::codecs::gif::GifEncoder;
use image::codecs::webp::WebPEncoder;
use image::{ExtendedColorType, ImageEncoder, Rgba};
use proptest::prelude::*;

use super::*;

const SAMPLES: [(&str, &[u8]); 8] = [
    ("baseline.jpg", include_bytes!("samples/baseline.jpg")),
    ("progressive.jpg", include_bytes!("samples/progressive.jpg")),
    ("cmyk.jpg", include_bytes!("samples/cmyk.jpg")),
    ("lossy.webp", include_bytes!("samples/lossy.webp")),
    ("lossy-alpha.webp", include_bytes!("samples/lossy-alpha.webp")),
    ("animated.webp", include_bytes!("samples/animated.webp")),
    ("animated.png", include_bytes!("samples/animated.png")),
    ("interlaced.gif", include_bytes!("samples/interlaced.gif")),
];

fn sample(name: &str) -> Vec<u8> {
    SAMPLES.iter().find(|(known, _)| *known == name).unwrap().1.to_vec()
}

/// Every valid file of these tests, small.
fn valid() -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = SAMPLES.iter().map(|(name, file)| ((*name).to_owned(), file.to_vec())).collect();
    for kind in PNG_KINDS {
        files.push((format!("{kind:?}.png"), kind.file(33, 17)));
    }
    for colours in [ExtendedColorType::L8, ExtendedColorType::Rgb8, ExtendedColorType::Rgba8] {
        let pixels = vec![0x7F; bytes_of(colours)];
        let mut bmp = Vec::new();
        BmpEncoder::new(&mut bmp).write_image(&pixels, 12, 7, colours).unwrap();
        files.push((format!("{colours:?}.bmp"), bmp));
    }
    for colours in [ExtendedColorType::Rgb8, ExtendedColorType::Rgba8] {
        let pixels: Vec<u8> = (0..=255).cycle().step_by(5).take(bytes_of(colours)).collect();
        let mut webp = Vec::new();
        WebPEncoder::new_lossless(&mut webp).write_image(&pixels, 12, 7, colours).unwrap();
        files.push((format!("{colours:?}.webp"), webp));
    }
    files
}

/// Of a picture of 12×7 pixels.
fn bytes_of(colours: ExtendedColorType) -> usize {
    12 * 7 * usize::from(colours.bits_per_pixel()) / 8
}

// --- PNG by hand

#[derive(Clone, Copy, Debug)]
struct PngKind {
    colours: u8,
    depth: u8,
    interlaced: bool,
}

const PNG_KINDS: [PngKind; 30] = {
    const COLOURS_AND_DEPTHS: [(u8, u8); 15] = [
        (0, 1),
        (0, 2),
        (0, 4),
        (0, 8),
        (0, 16),
        (2, 8),
        (2, 16),
        (3, 1),
        (3, 2),
        (3, 4),
        (3, 8),
        (4, 8),
        (4, 16),
        (6, 8),
        (6, 16),
    ];
    let mut kinds = [PngKind { colours: 0, depth: 1, interlaced: false }; 30];
    let mut at = 0;
    while at < 30 {
        let (colours, depth) = COLOURS_AND_DEPTHS[at / 2];
        kinds[at] = PngKind { colours, depth, interlaced: at % 2 == 1 };
        at += 1;
    }
    kinds
};

/// Where each pass of Adam7 begins, and its steps.
const PASSES: [(u32, u32, u32, u32); 7] =
    [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)];

impl PngKind {
    fn header(self, width: u32, height: u32) -> Vec<u8> {
        let mut header = [width.to_be_bytes(), height.to_be_bytes()].concat();
        header.extend_from_slice(&[self.depth, self.colours, 0, 0, self.interlaced.into()]);
        header
    }

    /// All samples at their highest, before compression.
    fn rows(self, width: u32, height: u32) -> Vec<u8> {
        let samples = [1, 0, 3, 1, 2, 0, 4][usize::from(self.colours)];
        let mut rows = Vec::new();
        let passes: &[_] = if self.interlaced { &PASSES } else { &[(0, 0, 1, 1)] };
        for (x, y, right, down) in passes {
            let (wide, high) =
                (width.saturating_sub(*x).div_ceil(*right), height.saturating_sub(*y).div_ceil(*down));
            for _ in 0..if wide == 0 { 0 } else { high } {
                rows.push(0);
                rows.resize(rows.len() + (wide * samples * u32::from(self.depth)).div_ceil(8) as usize, 0xFF);
            }
        }
        rows
    }

    fn chunks(self, width: u32, height: u32) -> Vec<Vec<u8>> {
        let mut chunks = vec![chunk(*b"IHDR", &self.header(width, height))];
        if self.colours == 3 {
            chunks.push(chunk(*b"PLTE", &[0xFF; 3].repeat(1 << self.depth)));
        }
        chunks.push(chunk(*b"IDAT", &deflated(&self.rows(width, height))));
        chunks.push(chunk(*b"IEND", b""));
        chunks
    }

    fn file(self, width: u32, height: u32) -> Vec<u8> {
        png(&self.chunks(width, height))
    }
}

const GRAY: PngKind = PngKind { colours: 0, depth: 8, interlaced: false };
const RGB: PngKind = PngKind { colours: 2, depth: 8, interlaced: false };

fn png(chunks: &[Vec<u8>]) -> Vec<u8> {
    [b"\x89PNG\r\n\x1a\n".to_vec(), chunks.concat()].concat()
}

fn chunk(kind: [u8; 4], data: &[u8]) -> Vec<u8> {
    let mut crc = Crc::new();
    crc.update(&kind);
    crc.update(data);
    [&length(data).to_be_bytes(), &kind[..], data, &crc.sum().to_be_bytes()].concat()
}

fn deflated(data: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn length(data: &[u8]) -> u32 {
    data.len().try_into().unwrap()
}

/// So many zeros, compressed without ever being in memory.
fn deflated_zeros(count: u64) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    std::io::copy(&mut std::io::Read::take(std::io::repeat(0), count), &mut encoder).unwrap();
    encoder.finish().unwrap()
}

fn decoded(developed: &Developed) -> DynamicImage {
    image::load_from_memory(&developed.bytes).unwrap()
}

fn pixels(file: &[u8]) -> RgbaImage {
    decoded(&develop(file, false).unwrap()).into_rgba8()
}

// --- what comes through

#[test]
fn png_of_every_colour_type_depth_and_order_comes_through() {
    for kind in PNG_KINDS {
        let pixels = pixels(&kind.file(33, 17));
        assert_eq!(pixels.dimensions(), (33, 17), "{kind:?}");
        assert!(pixels.pixels().all(|pixel| *pixel == Rgba([255; 4])), "{kind:?}");
    }
}

#[test]
fn every_valid_file_becomes_png_or_jpeg_of_the_same_size() {
    for (name, file) in valid() {
        let developed = develop(&file, false).unwrap_or_else(|flaw| panic!("{name}: {flaw:?}"));
        let image = decoded(&developed);
        assert!([(48, 32), (33, 17), (12, 7)].contains(&(image.width(), image.height())), "{name}");
        let is_photo = name.contains("jpg") || name == "lossy.webp";
        assert_eq!(developed.format, if is_photo { Format::Jpeg } else { Format::Png }, "{name}");
        assert_eq!(
            image::guess_format(&developed.bytes).unwrap(),
            if is_photo { image::ImageFormat::Jpeg } else { image::ImageFormat::Png }
        );
    }
}

#[test]
fn transparency_stays() {
    let pixels = pixels(&sample("lossy-alpha.webp"));
    assert!(pixels.get_pixel(0, 0)[3] < 30 && pixels.get_pixel(47, 0)[3] > 225);
}

#[test]
fn a_kind_is_known_by_its_bytes_alone() {
    for other in [
        &b""[..],
        b"\x89PN",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"<html><script>alert(1)</script>",
        b"%PDF-1.7",
        b"MZ\x90\0",
        b"GIF89b",
        b"GIF85a",
        b"II*\0\x08\0\0\0",
        b"\0\0\x01\0\x01\0\x10\x10",
        b"\0\0\0\x20ftypavif",
        b"\0\0\0\x18ftypheic",
        b"RIFF\x04\0\0\0WAVE",
        b"PK\x03\x04",
    ] {
        assert_eq!(develop(other, true).unwrap_err(), Flaw::Unknown, "{other:?}");
    }
}

#[test]
fn what_is_too_wide_is_scaled_down_only_if_asked() {
    let wide = RGB.file(1300, 650);
    assert_eq!(develop(&wide, false).unwrap_err(), Flaw::TooWide);
    let image = decoded(&develop(&wide, true).unwrap());
    assert_eq!((image.width(), image.height()), (512, 256));
    assert!(image.into_rgb8().pixels().all(|pixel| pixel.0 == [255; 3]));
    for (width, height, expected) in [(513, 512, (512, 511)), (4096, 1, (512, 1)), (1, 3000, (1, 512))] {
        let image = decoded(&develop(&GRAY.file(width, height), true).unwrap());
        assert_eq!((image.width(), image.height()), expected);
    }
    let image = decoded(&develop(&GRAY.file(20, 10), true).unwrap());
    assert_eq!((image.width(), image.height()), (20, 10), "nothing is made larger");
}

#[test]
fn a_picture_is_reduced_to_what_is_asked_for_and_never_enlarged() {
    let developed = develop(&GRAY.file(512, 256), false).unwrap();
    let image = decoded(&reduce(&developed.bytes, 64).unwrap().unwrap());
    assert_eq!((image.width(), image.height()), (64, 32));
    assert!(reduce(&developed.bytes, 512).unwrap().is_none());
}

#[test]
fn the_colours_of_what_is_transparent_do_not_shine_through() {
    // Left half: opaque blue; right half: red that nobody sees.
    let mut image = RgbaImage::from_pixel(1024, 1024, Rgba([255, 0, 0, 0]));
    for pixel in image.enumerate_pixels_mut().filter(|(x, _, _)| *x < 515) {
        *pixel.2 = Rgba([0, 0, 255, 255]);
    }
    let file = encode(&image.into(), Format::Png).unwrap();
    let pixels = decoded(&develop(&file, true).unwrap()).into_rgba8();
    assert!(pixels.pixels().all(|pixel| pixel[3] < 8 || (pixel[0] < 32 && pixel[2] > 200)));
}

// --- what goes

#[test]
fn a_camera_s_notes_turn_the_picture_and_go() {
    // Orientation 6: to be turned a quarter to the right; and a place.
    let mut exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x02\x01\x12\0\x03\0\0\0\x01\0\x06\0\0".to_vec();
    exif.extend_from_slice(b"\x88\x25\0\x04\0\0\0\x01\0\0\0\0\0\0\0\0GPS 52.5200 N 13.4050 E");
    let file = sample("baseline.jpg");
    let length = u16::try_from(exif.len() + 2).unwrap().to_be_bytes();
    let noted = [&file[..2], b"\xFF\xE1", &length, &exif, b"\xFF\xFE\0\x09comment", &file[2..]].concat();
    let developed = develop(&noted, false).unwrap();
    let image = decoded(&developed);
    assert_eq!((image.width(), image.height()), (32, 48));
    let upright = pixels(&file);
    let turned = image::imageops::rotate90(&upright);
    let far = turned.pixels().zip(image.into_rgba8().pixels()).any(|(a, b)| a[0].abs_diff(b[0]) > 40);
    assert!(!far);
    for gone in [&b"GPS"[..], b"Exif", b"comment"] {
        assert!(memchr::memmem::find(&developed.bytes, gone).is_none());
    }
    let exif = &exif[6..];
    let mut chunks = RGB.chunks(30, 20);
    chunks.insert(1, chunk(*b"eXIf", exif));
    chunks.insert(1, chunk(*b"tEXt", b"GPS\x0052.5 N"));
    chunks.insert(1, chunk(*b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0<script>alert(1)</script>"));
    let developed = develop(&png(&chunks), false).unwrap();
    assert_eq!(decoded(&developed).height(), 30);
    for gone in [&b"GPS"[..], b"eXIf", b"script"] {
        assert!(memchr::memmem::find(&developed.bytes, gone).is_none());
    }
}

#[test]
fn what_a_phone_puts_behind_a_photo_goes() {
    let tail = b"<html><script>alert(1)</script>PK\x03\x04";
    let developed = develop(&[&sample("baseline.jpg"), &tail[..]].concat(), false).unwrap();
    assert!(memchr::memmem::find(&developed.bytes, b"script").is_none());
}

#[test]
fn behind_other_pictures_there_must_be_nothing() {
    for (name, mut file) in valid() {
        file.extend_from_slice(b"<html><script>alert(1)</script>");
        let outcome = develop(&file, false);
        if ["png", "gif", "webp"].iter().any(|kind| name.rsplit('.').next() == Some(kind)) {
            assert_eq!(outcome.unwrap_err(), Flaw::Broken, "{name}");
        } else {
            assert!(memchr::memmem::find(&outcome.unwrap().bytes, b"script").is_none(), "{name}");
        }
    }
}

#[test]
fn of_an_animation_the_first_frame_stays() {
    for name in ["animated.webp", "animated.png"] {
        let developed = develop(&sample(name), false).unwrap();
        assert!(memchr::memmem::find(&developed.bytes, b"acTL").is_none());
        let first = decoded(&developed).into_rgb8();
        let still = pixels(&sample("lossy.webp"));
        let far = |x, y| first.get_pixel(x, y)[0].abs_diff(still.get_pixel(x, y)[0]) > 60;
        assert!(![(2, 2), (24, 16), (45, 30)].into_iter().any(|(x, y)| far(x, y)), "{name}");
    }
    let mut file = Vec::new();
    {
        let mut encoder = GifEncoder::new(&mut file);
        for shade in [10, 250] {
            let frame = RgbaImage::from_pixel(9, 9, Rgba([shade, shade, shade, 255]));
            encoder.encode_frame(image::Frame::new(frame)).unwrap();
        }
    }
    assert!(pixels(&file).pixels().all(|pixel| pixel[0] == 10));
}

// --- what is damaged

#[test]
fn a_file_cut_off_anywhere_is_refused() {
    for (name, file) in valid() {
        for length in (1..file.len()).step_by(7).chain([file.len() - 1]) {
            assert!(develop(&file[..length], false).is_err(), "{name}, {length} of {} bytes", file.len());
        }
    }
}

#[test]
fn damaged_png_is_refused() {
    let good = RGB.chunks(8, 8);
    let with = |at: usize, chunk: Vec<u8>| {
        let mut chunks = good.clone();
        chunks[at] = chunk;
        png(&chunks)
    };
    let header = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut header = RGB.header(8, 8);
        change(&mut header);
        with(0, chunk(*b"IHDR", &header))
    };
    let mut wrong_sums: Vec<_> = (0..3)
        .map(|at| {
            let mut damaged = good[at].clone();
            *damaged.last_mut().unwrap() ^= 1;
            (format!("checksum of chunk {at}"), with(at, damaged))
        })
        .collect();
    let palette = PngKind { colours: 3, depth: 8, interlaced: false };
    let rows = RGB.rows(8, 8);
    let bad: Vec<(&str, Vec<u8>)> = vec![
        ("signature", {
            let mut file = png(&good);
            file[5] = b'\r';
            file
        }),
        ("no width", header(&|header| header[3] = 0)),
        ("no height", header(&|header| header[7] = 0)),
        ("depth of 0", header(&|header| header[8] = 0)),
        ("depth of 3", header(&|header| header[8] = 3)),
        ("depth of 99", header(&|header| header[8] = 99)),
        ("colour type 1", header(&|header| header[9] = 1)),
        ("colour type 9", header(&|header| header[9] = 9)),
        ("compression", header(&|header| header[10] = 1)),
        ("filter", header(&|header| header[11] = 1)),
        ("interlacing", header(&|header| header[12] = 2)),
        ("a short header", with(0, chunk(*b"IHDR", &RGB.header(8, 8)[..12]))),
        ("no header", png(&good[1..])),
        ("no pixels", png(&[good[0].clone(), good[2].clone()])),
        ("no end", png(&good[..2])),
        (
            "no palette",
            png(&[palette.chunks(8, 8)[0].clone(), palette.chunks(8, 8)[2].clone(), good[2].clone()]),
        ),
        ("an unknown critical chunk", with(2, [chunk(*b"ABCD", b""), good[2].clone()].concat())),
        ("few pixels", with(1, chunk(*b"IDAT", &deflated(&rows[..rows.len() - 1])))),
        ("pixels cut off", with(1, chunk(*b"IDAT", &deflated(&rows)[..10]))),
        ("pixels of another code", with(1, chunk(*b"IDAT", b"not zlib at all"))),
        ("an unknown row filter", with(1, chunk(*b"IDAT", &deflated(&[5; 200])))),
    ];
    wrong_sums.extend(bad.into_iter().map(|(name, file)| (name.to_owned(), file)));
    for (name, file) in wrong_sums {
        assert_eq!(develop(&file, false).map(drop), Err(Flaw::Broken), "{name}");
    }
}

#[test]
fn pixels_may_come_in_pieces_and_text_between_them_is_skipped() {
    let rows = deflated(&RGB.rows(8, 8));
    let (one, two) = rows.split_at(7);
    let chunks = RGB.chunks(8, 8);
    let pieces = [
        chunks[0].clone(),
        chunk(*b"IDAT", one),
        chunk(*b"IDAT", b""),
        chunk(*b"IDAT", two),
        chunk(*b"tEXt", b"a\0b"),
        chunks[2].clone(),
    ];
    assert!(develop(&png(&pieces), false).is_ok());
}

#[test]
fn nothing_of_a_damaged_file_makes_a_decoder_panic() {
    for (name, file) in valid() {
        for at in (0..file.len()).step_by(5) {
            for change in [0x01, 0xFF] {
                let mut damaged = file.clone();
                damaged[at] ^= change;
                // Where the damage is not seen, a picture comes out; where it is, a refusal.
                if let Ok(developed) = develop(&damaged, true) {
                    assert!(image::load_from_memory(&developed.bytes).is_ok(), "{name}, byte {at}");
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_bytes_behind_a_beginning_are_read_or_refused(which in 0..8_usize, kept in 2..60_usize, tail in proptest::collection::vec(any::<u8>(), 0..400)) {
        let file = [&SAMPLES[which].1[..kept], &tail].concat();
        if let Ok(developed) = develop(&file, true) {
            prop_assert!(image::load_from_memory(&developed.bytes).is_ok());
        }
    }
}

// --- what is hostile: refused by the sieve, which allocates no pixel

fn refused(file: &[u8]) -> Flaw {
    sieve(file).map(|sieved| sieved.size).unwrap_err()
}

#[test]
fn dimensions_are_refused_before_anything_is_decoded() {
    let few = deflated(&[0; 64]);
    let claims = |kind: PngKind, width, height| {
        png(&[chunk(*b"IHDR", &kind.header(width, height)), chunk(*b"IDAT", &few), chunk(*b"IEND", b"")])
    };
    let deep = PngKind { colours: 6, depth: 16, interlaced: false };
    assert_eq!(refused(&claims(deep, 65_535, 65_535)), Flaw::TooLarge);
    assert_eq!(refused(&claims(GRAY, 4097, 1)), Flaw::TooLarge);
    assert_eq!(refused(&claims(GRAY, 1, 4097)), Flaw::TooLarge);
    assert_eq!(refused(&claims(GRAY, u32::MAX, u32::MAX)), Flaw::TooLarge);
    assert_eq!(refused(&claims(deep, 4096, 4096)), Flaw::TooLarge, "128 MiB");
    assert!(sieve(&claims(RGB, 4096, 4096)).is_ok());

    let mut jpeg = sample("baseline.jpg");
    let frame = memchr::memmem::find(&jpeg, b"\xFF\xC0").unwrap();
    jpeg[frame + 5..frame + 9].copy_from_slice(&[0xFF, 0xDC, 0xFF, 0xDC]);
    assert_eq!(refused(&jpeg), Flaw::TooLarge);

    let mut gif = sample("interlaced.gif");
    gif[6..10].copy_from_slice(&[0xFF; 4]);
    assert_eq!(refused(&gif), Flaw::TooLarge);

    let mut bmp = b"BM\0\0\0\0\0\0\0\0\0\0\0\0\x28\0\0\0".to_vec();
    bmp.extend_from_slice(&[0xFF, 0xFF, 0, 0, 1, 0, 0, 0x80]);
    assert_eq!(refused(&bmp), Flaw::TooLarge);

    let mut webp = sample("lossy.webp");
    let frame = memchr::memmem::find(&webp, b"\x9d\x01\x2a").unwrap();
    webp[frame + 3..frame + 7].copy_from_slice(&[0xFF, 0x3F, 0xFF, 0x3F]);
    assert_eq!(refused(&webp), Flaw::TooLarge);
}

#[test]
fn a_frame_larger_than_its_canvas_is_refused() {
    let mut webp = sample("lossy-alpha.webp");
    let frame = memchr::memmem::find(&webp, b"\x9d\x01\x2a").unwrap();
    webp[frame + 3..frame + 7].copy_from_slice(&[0xFF, 0x0F, 0xFF, 0x0F]);
    assert_eq!(refused(&webp), Flaw::Broken);

    let mut gif = sample("interlaced.gif");
    let frame = gif.len() - memchr::memmem::rfind(&gif, &[0x2C, 0, 0, 0, 0]).map_or(0, |at| gif.len() - at);
    gif[frame + 5..frame + 9].copy_from_slice(&[0xFF; 4]);
    assert_eq!(refused(&gif), Flaw::TooLarge);
}

#[test]
fn one_bit_of_deflate_for_a_thousand_pixels_is_refused() {
    let kind = PngKind { colours: 0, depth: 1, interlaced: false };
    let file = png(&[
        chunk(*b"IHDR", &kind.header(50_000, 50_000)),
        chunk(*b"IDAT", &deflated_zeros(1 << 20)),
        chunk(*b"IEND", b""),
    ]);
    assert_eq!(refused(&file), Flaw::TooLarge);
}

#[test]
fn notes_that_swell_are_refused_and_others_are_not() {
    let with = |kind: [u8; 4], head: &[u8], length| {
        let mut chunks = GRAY.chunks(1, 1);
        chunks.insert(1, chunk(kind, &[head, &deflated_zeros(length)].concat()));
        png(&chunks)
    };
    for (kind, head) in [(*b"zTXt", &b"c\0\0"[..]), (*b"iTXt", b"c\0\x01\0\0\0"), (*b"iCCP", b"c\0\0")] {
        assert_eq!(refused(&with(kind, head, 8_000_000)), Flaw::TooLarge);
        assert!(develop(&with(kind, head, 1_000_000), false).is_ok());
    }
    // Many small ones count together.
    let mut chunks = GRAY.chunks(1, 1);
    let note = chunk(*b"zTXt", &[&b"c\0\0"[..], &deflated_zeros(500_000)].concat());
    chunks.splice(1..1, std::iter::repeat_n(note, 9));
    assert_eq!(refused(&png(&chunks)), Flaw::TooLarge);
}

#[test]
fn scans_without_end_are_refused() {
    let file = sample("progressive.jpg");
    let scan = memchr::memmem::rfind(&file, b"\xFF\xDA").unwrap();
    let many =
        |count| [&file[..scan], &file[scan..file.len() - 2].repeat(count), &file[file.len() - 2..]].concat();
    assert!(sieve(&many(10)).is_ok());
    assert_eq!(refused(&many(1000)), Flaw::TooLarge);

    // A large picture has fewer.
    let large = |scans| {
        let mut file = many(scans);
        let frame = memchr::memmem::find(&file, b"\xFF\xC2").unwrap();
        file[frame + 5..frame + 9].copy_from_slice(&[0x0B, 0, 0x0B, 0]);
        file
    };
    assert!(sieve(&large(1)).is_ok());
    assert_eq!(refused(&large(50)), Flaw::TooLarge);
}

#[test]
fn frames_without_end_cost_nothing() {
    let file = sample("interlaced.gif");
    let frame = b"\x2C\0\0\0\0\x01\0\x01\0\0\x02\x02\x44\x01\0";
    let many = [&file[..file.len() - 1], &frame.repeat(10_000), b"\x3B"].concat();
    let sieved = sieve(&many).unwrap();
    assert!(sieved.file.len() <= file.len());
    assert!(develop(&many, false).is_ok());
}

#[test]
fn frames_in_frames_are_refused() {
    let mut inner = Vec::new();
    for _ in 0..2 {
        let body = [&[0; 16][..], &inner].concat();
        inner = [b"ANMF", &length(&body).to_le_bytes()[..], &body].concat();
    }
    let canvas = b"VP8X\x0A\0\0\0\x02\0\0\0\x07\0\0\x07\0\0";
    let body = [&b"WEBP"[..], canvas, &inner].concat();
    let file = [b"RIFF", &length(&body).to_le_bytes()[..], &body].concat();
    assert_eq!(refused(&file), Flaw::Broken);
}

#[test]
fn the_largest_picture_that_is_taken_is_taken() {
    let image = decoded(&develop(&GRAY.file(4096, 4096), true).unwrap());
    assert_eq!((image.width(), image.height()), (512, 512));
}
