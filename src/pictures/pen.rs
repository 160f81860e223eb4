//! Draws the generated picture: white initials, or a figure, on a gray square.
//!
//! Everything is drawn from outlines at the size asked for, in proportions of it: a picture looks the same at every size,
//! and its bytes depend on nothing but initials and size.

use ab_glyph_rasterizer::{Point, Rasterizer, point};
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder};
use skrifa::font::Font;
use skrifa::{DrawMemory, PathSink, ScalerFont};
use unicode_normalization::char::canonical_combining_class;

use super::initials::{Initials, Letter};

/// Cut down to what initials need; see static/fonts/README.md.
static FONT: &[u8] = include_bytes!("../../static/fonts/DejaVuSans-Bold-initials.ttf");

/// The gray of the square: white on it has a contrast of more than 4.5 to 1 (WCAG 2.2, 1.4.3).
const GRAY: f32 = 112.0;
const WHITE: f32 = 255.0;

/// Size of the letters, as a part of the picture's, where the width leaves room for it.
const EM: f32 = 0.56;
/// The widest that the letters get together, as a part of the picture's width.
const WIDEST: f32 = 0.74;
/// The highest, marks included.
const HIGHEST: f32 = 0.74;
/// Between a letter and a mark that has no place of its own, as a part of the em.
const GAP: f32 = 0.06;

/// A circle from (1, 0) on, in eighths: where the tangents at both ends meet, and the end. The tangent of 22.5° and the
/// sine of 45° as numbers, so that no machine's mathematics decides about a picture's bytes.
const ROUND: [((f32, f32), (f32, f32)); 8] = {
    const T: f32 = std::f32::consts::SQRT_2 - 1.0;
    const D: f32 = std::f32::consts::FRAC_1_SQRT_2;
    [
        ((1.0, T), (D, D)),
        ((T, 1.0), (0.0, 1.0)),
        ((-T, 1.0), (-D, D)),
        ((-1.0, T), (-1.0, 0.0)),
        ((-1.0, -T), (-D, -D)),
        ((-T, -1.0), (0.0, -1.0)),
        ((T, -1.0), (D, -D)),
        ((1.0, -T), (1.0, 0.0)),
    ]
};

/// Combining classes of marks above and below a letter (Unicode, 3.11).
const ABOVE: u8 = 230;
const BELOW: u8 = 220;

/// The font, and what is drawn with it.
pub(super) struct Pen {
    font: ScalerFont,
    units_per_em: f32,
}

impl Pen {
    /// Opens the embedded font.
    pub(super) fn new() -> anyhow::Result<Self> {
        let font = Font::new(FONT, 0).ok_or_else(|| anyhow::anyhow!("the embedded font can't be read"))?;
        let font = ScalerFont::unhinted(font, None);
        let units_per_em = f32::from(font.font().metrics().units_per_em);
        Ok(Self { font, units_per_em })
    }

    /// The initials of `name`, as far as the font has their letters.
    pub(super) fn initials(&self, name: &str) -> Initials {
        Initials::of(name, |c| self.font.font().charmap().map_unicode(c).is_some())
    }

    /// The picture as PNG, `size` pixels wide and high.
    pub(super) fn draw(&self, initials: &Initials, size: u16) -> anyhow::Result<Vec<u8>> {
        let outline = self.line_of(initials)?;
        let mut rasterizer = Rasterizer::new(size.into(), size.into());
        if outline.is_empty() {
            figure(f32::from(size)).trace(&mut rasterizer, Placing::default());
        } else {
            let placing = self.placing(&outline, f32::from(size));
            outline.trace(&mut rasterizer, placing);
        }
        encode(&rasterizer, size)
    }

    /// The letters one beside the other, in units of the font.
    fn line_of(&self, initials: &Initials) -> anyhow::Result<Outline> {
        let mut line = Outline::default();
        let mut letters: Vec<&Letter> = initials.letters().collect();
        if initials.is_right_to_left() {
            letters.reverse();
        }
        let mut at = 0.0;
        for letter in letters {
            let (outline, advance) = self.outline(letter)?;
            line.add(&outline, at, 0.0);
            at += advance;
        }
        Ok(line)
    }

    /// A letter with its marks, and how far the next one stands from it.
    fn outline(&self, letter: &Letter) -> anyhow::Result<(Outline, f32)> {
        let (mut outline, advance) = self.glyph(letter[0])?;
        for mark in letter[1..].iter().filter(|mark| **mark != '\0') {
            let (mark_outline, _) = self.glyph(*mark)?;
            let (Some(base), Some(own)) = (outline.bounds(), mark_outline.bounds()) else { continue };
            let gap = GAP * self.units_per_em;
            // The font places marks for small letters only: above and below, they are moved clear of the letter.
            let up = match canonical_combining_class(*mark) {
                ABOVE => (base.top + gap - own.bottom).max(0.0),
                BELOW => (base.bottom - gap - own.top).min(0.0),
                _ => 0.0,
            };
            outline.add(&mark_outline, base.middle() - own.middle(), up);
        }
        Ok((outline, advance))
    }

    fn glyph(&self, c: char) -> anyhow::Result<(Outline, f32)> {
        let mut outline = Outline::default();
        let Some(glyph) = self.font.font().charmap().map_unicode(c) else { return Ok((outline, 0.0)) };
        let Some(drawn) = self.font.outline(glyph) else { return Ok((outline, 0.0)) };
        let metrics = drawn.draw(DrawMemory::Scratch, &mut outline)?;
        Ok((outline, metrics.h_advance.unwrap_or(self.units_per_em)))
    }

    /// How the line is scaled, and moved so that the middle of its bounds is the middle of the picture.
    fn placing(&self, line: &Outline, size: f32) -> Placing {
        let Some(bounds) = line.bounds() else { return Placing::default() };
        let width = WIDEST * size / (bounds.right - bounds.left).max(1.0);
        let height = HIGHEST * size / (bounds.top - bounds.bottom).max(1.0);
        let scale = (EM * size / self.units_per_em).min(width).min(height);
        let (x, y) = (bounds.middle(), f32::midpoint(bounds.top, bounds.bottom));
        Placing { scale, x: size / 2.0 - x * scale, y: size / 2.0 + y * scale, up: true }
    }
}

/// Head and shoulders, for whom no initials can be drawn.
fn figure(size: f32) -> Outline {
    let mut figure = Outline::default();
    let at = |x: f32, y: f32| (x * size, y * size);
    figure.ellipse(at(0.5, 0.37), at(0.165, 0.185));
    // The shoulders end at the lower edge of the picture.
    let (x, y) = at(0.5, 1.0);
    figure.ellipse((x, y), at(0.36, 0.37));
    figure
}

/// Where an outline comes to stand in the picture.
#[derive(Clone, Copy)]
struct Placing {
    scale: f32,
    x: f32,
    y: f32,
    /// Whether its y grows upwards, as in fonts.
    up: bool,
}

impl Default for Placing {
    fn default() -> Self {
        Self { scale: 1.0, x: 0.0, y: 0.0, up: false }
    }
}

impl Placing {
    fn of(self, (x, y): (f32, f32)) -> Point {
        let y = if self.up { -y } else { y };
        point(self.x + x * self.scale, self.y + y * self.scale)
    }
}

/// A box around an outline.
#[derive(Clone, Copy)]
struct Bounds {
    left: f32,
    right: f32,
    bottom: f32,
    top: f32,
}

impl Bounds {
    fn middle(&self) -> f32 {
        f32::midpoint(self.left, self.right)
    }
}

#[derive(Clone, Copy)]
enum Step {
    Move((f32, f32)),
    Line((f32, f32)),
    Curve((f32, f32), (f32, f32)),
    Close,
}

/// What a glyph looks like: straight lines and quadratic curves, as in TrueType.
#[derive(Default)]
struct Outline(Vec<Step>);

impl Outline {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn add(&mut self, other: &Self, right: f32, up: f32) {
        let moved = |(x, y): (f32, f32)| (x + right, y + up);
        self.0.extend(other.0.iter().map(|step| match *step {
            Step::Move(to) => Step::Move(moved(to)),
            Step::Line(to) => Step::Line(moved(to)),
            Step::Curve(by, to) => Step::Curve(moved(by), moved(to)),
            Step::Close => Step::Close,
        }));
    }

    /// The box around all points, also those that only bend a curve: in this font curves touch their boxes.
    fn bounds(&self) -> Option<Bounds> {
        let points = self.0.iter().flat_map(|step| match *step {
            Step::Move(to) | Step::Line(to) => [Some(to), None],
            Step::Curve(by, to) => [Some(by), Some(to)],
            Step::Close => [None, None],
        });
        points.flatten().fold(None, |bounds: Option<Bounds>, (x, y)| {
            let now = bounds.unwrap_or(Bounds { left: x, right: x, bottom: y, top: y });
            Some(Bounds {
                left: now.left.min(x),
                right: now.right.max(x),
                bottom: now.bottom.min(y),
                top: now.top.max(y),
            })
        })
    }

    /// An ellipse of eight quadratic curves.
    fn ellipse(&mut self, (x, y): (f32, f32), (wide, high): (f32, f32)) {
        let at = |(across, along): (f32, f32)| (x + wide * across, y + high * along);
        self.0.push(Step::Move(at((1.0, 0.0))));
        self.0.extend(ROUND.iter().map(|(by, to)| Step::Curve(at(*by), at(*to))));
        self.0.push(Step::Close);
    }

    fn trace(&self, rasterizer: &mut Rasterizer, placing: Placing) {
        let (mut start, mut last) = (point(0.0, 0.0), point(0.0, 0.0));
        for step in &self.0 {
            match *step {
                Step::Move(to) => {
                    last = placing.of(to);
                    start = last;
                }
                Step::Line(to) => {
                    rasterizer.draw_line(last, placing.of(to));
                    last = placing.of(to);
                }
                Step::Curve(by, to) => {
                    rasterizer.draw_quad(last, placing.of(by), placing.of(to));
                    last = placing.of(to);
                }
                Step::Close => {
                    rasterizer.draw_line(last, start);
                    last = start;
                }
            }
        }
    }
}

impl PathSink for Outline {
    fn move_to(&mut self, x: f32, y: f32) {
        self.0.push(Step::Move((x, y)));
    }

    fn line_to(&mut self, x: f32, y: f32) {
        self.0.push(Step::Line((x, y)));
    }

    fn quad_to(&mut self, cx0: f32, cy0: f32, x: f32, y: f32) {
        self.0.push(Step::Curve((cx0, cy0), (x, y)));
    }

    /// TrueType outlines have none.
    fn curve_to(&mut self, _cx0: f32, _cy0: f32, _cx1: f32, _cy1: f32, x: f32, y: f32) {
        self.line_to(x, y);
    }

    fn close(&mut self) {
        self.0.push(Step::Close);
    }
}

/// PNG with one byte of gray for each pixel: compressed once and kept, so it may take its time.
fn encode(rasterizer: &Rasterizer, size: u16) -> anyhow::Result<Vec<u8>> {
    let mut pixels = Vec::with_capacity(usize::from(size) * usize::from(size));
    rasterizer.for_each_pixel(|_, coverage| {
        let shade = GRAY + (WHITE - GRAY) * coverage.clamp(0.0, 1.0);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 112 and 255")]
        pixels.push(shade.round() as u8);
    });
    let mut png = Vec::new();
    let encoder = PngEncoder::new_with_quality(&mut png, CompressionType::Best, FilterType::NoFilter);
    encoder.write_image(&pixels, size.into(), size.into(), ExtendedColorType::L8)?;
    Ok(png)
}

#[cfg(test)]
mod tests {
    use image::GrayImage;

    use super::*;

    fn drawn(name: &str, size: u16) -> GrayImage {
        let pen = Pen::new().unwrap();
        let png = pen.draw(&pen.initials(name), size).unwrap();
        image::load_from_memory(&png).unwrap().into_luma8()
    }

    /// Left, top, right and bottom of what is white, as parts of the size.
    fn box_of(image: &GrayImage) -> [f64; 4] {
        let white = image.enumerate_pixels().filter(|(_, _, pixel)| pixel.0[0] > 200).map(|(x, y, _)| (x, y));
        let (mut left, mut top, mut right, mut bottom) = (u32::MAX, u32::MAX, 0, 0);
        for (x, y) in white {
            (left, top, right, bottom) = (left.min(x), top.min(y), right.max(x + 1), bottom.max(y + 1));
        }
        [left, top, right, bottom].map(|edge| f64::from(edge) / f64::from(image.width()))
    }

    #[test]
    fn a_picture_is_a_gray_square_with_white_on_it() {
        for size in [16, 17, 100, 512] {
            let image = drawn("John Doe", size);
            assert_eq!(image.dimensions(), (size.into(), size.into()));
            let last = u32::from(size) - 1;
            for (x, y) in [(0, 0), (last, 0), (0, last), (last, last)] {
                assert_eq!(image.get_pixel(x, y).0, [112]);
            }
            assert!(image.pixels().all(|pixel| pixel.0[0] >= 112));
        }
        assert!(drawn("John Doe", 64).pixels().any(|pixel| pixel.0[0] == 255));
    }

    #[test]
    fn the_bytes_depend_on_initials_and_size_alone() {
        let (pen, other) = (Pen::new().unwrap(), Pen::new().unwrap());
        let draw = |pen: &Pen, name, size| pen.draw(&pen.initials(name), size).unwrap();
        assert_eq!(draw(&pen, "John Doe", 64), draw(&other, "jane_dow", 64));
        assert_ne!(draw(&pen, "John Doe", 64), draw(&pen, "John Roe", 64));
        assert_ne!(draw(&pen, "John Doe", 64), draw(&pen, "John Doe", 65));
    }

    #[test]
    fn it_looks_the_same_at_every_size_and_stands_in_the_middle() {
        for name in ["John Doe", "Mary Jane Watson", "I", "x\u{302}enia q\u{323}i", "שלום לוי", "李"]
        {
            let large = box_of(&drawn(name, 512));
            for size in [32, 64, 128, 300] {
                let small = box_of(&drawn(name, size));
                for (large, small) in large.into_iter().zip(small) {
                    assert!((large - small).abs() < 1.6 / f64::from(size), "{name} at {size}");
                }
            }
            let [left, top, right, bottom] = large;
            assert!((left + right - 1.0).abs() < 0.01, "{name}");
            if name != "李" {
                assert!((top + bottom - 1.0).abs() < 0.01, "{name}");
                assert!(right - left < 0.76 && bottom - top < 0.76, "{name}");
            }
        }
    }

    #[test]
    fn the_font_has_the_letters_of_many_scripts_and_for_others_there_is_a_figure() {
        let pen = Pen::new().unwrap();
        for name in [
            "John",
            "éva",
            "özil",
            "łukasz",
            "øystein",
            "þór",
            "čapek",
            "ñandú",
            "иван",
            "ђорђе",
            "ґалаґан",
            "αλέξης",
            "ծովինար",
            "გიორგი",
            "שלום",
            "مریم",
            "ᓄᓇᕗ",
            "ⵣⵉⵔⵉ",
            "ກຸງ",
            "0",
            "x\u{302}",
            "ﬁn",
            "ﷺ",
            "ａ",
        ] {
            assert_ne!(pen.initials(name), Initials::default(), "{name}");
        }
        for name in ["李小龍", "한국", "ひらがな", "हिन्दी", "ไทย", "🚀", "", "...", "\u{301}"]
        {
            assert_eq!(pen.initials(name), Initials::default(), "{name}");
        }
    }

    #[test]
    fn pictures_are_small() {
        let pen = Pen::new().unwrap();
        for (size, most) in [(64, 700), (256, 3000), (512, 6000)] {
            let length = pen.draw(&pen.initials("William Q Å"), size).unwrap().len();
            assert!(length < most, "{length} bytes at {size}");
        }
    }
}
