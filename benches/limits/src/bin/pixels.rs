//! The limit of a picture that is uploaded: decoded and encoded, on one core. `pixels FILE [SECONDS]`; a file that isn't
//! there is made: 512×512 pixels as soft and as noisy as a photo.

use std::io::Cursor;
use std::path::Path;
use std::time::{Duration, Instant};

use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{DynamicImage, ImageFormat, Rgb, RgbImage};

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let file = arguments.next().ok_or_else(|| anyhow::anyhow!("which file?"))?;
    let seconds = arguments.next().map_or(Ok(0), |text| text.parse())?;
    if !Path::new(&file).exists() {
        std::fs::write(&file, encoded(&photo())?)?;
    }
    let bytes = std::fs::read(&file)?;
    let (start, mut done) = (Instant::now(), 0_u32);
    while start.elapsed() < Duration::from_secs(seconds) {
        let image = image::load_from_memory_with_format(&bytes, ImageFormat::Png)?;
        std::hint::black_box(encoded(&image)?);
        done += 1;
    }
    let per_second = f64::from(done) / start.elapsed().as_secs_f64();
    println!("{}", serde_json::json!({ "per_second": per_second }));
    Ok(())
}

fn photo() -> DynamicImage {
    let mut noise = 1_u32;
    let mut shade = |x: u32, y: u32| {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        u8::try_from((x + y) / 5 % 240 + (noise >> 28)).unwrap_or(u8::MAX)
    };
    RgbImage::from_fn(512, 512, |x, y| Rgb([shade(x, y), shade(x, 511 - y), shade(x / 2, y)])).into()
}

/// As Gatehouse encodes.
fn encoded(image: &DynamicImage) -> anyhow::Result<Vec<u8>> {
    let mut png = Cursor::new(Vec::new());
    let encoder = PngEncoder::new_with_quality(&mut png, CompressionType::Default, FilterType::Adaptive);
    image.write_with_encoder(encoder)?;
    Ok(png.into_inner())
}
