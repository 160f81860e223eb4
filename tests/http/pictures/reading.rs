//! The initials, read back by a program that reads pictures: Debian's `tesseract-ocr`.

use std::io::Write;
use std::process::{Command, Stdio};

use image::{GrayImage, imageops};
use serde_json::json;

use super::{image_of, picture};
use crate::harness::TestApp;

/// What tesseract reads: it is best with black letters of the size of print, and room around them.
fn read(image: &GrayImage) -> String {
    let small = imageops::resize(image, 165, 165, imageops::FilterType::Triangle);
    let mut page = GrayImage::from_pixel(330, 165, image::Luma([255]));
    for (x, y, pixel) in small.enumerate_pixels() {
        let shade = 255 - u16::from(pixel.0[0].saturating_sub(112)) * 255 / 143;
        page.put_pixel(x + 82, y, image::Luma([u8::try_from(shade).unwrap()]));
    }
    let mut png = Vec::new();
    page.write_to(&mut std::io::Cursor::new(&mut png), image::ImageFormat::Png).unwrap();
    let mut reader = Command::new("tesseract")
        .args(["stdin", "stdout", "--psm", "7", "--dpi", "100"])
        .args(["-c", "tessedit_char_whitelist=ABCDEFGHIJKLMNOPQRSTUVWXYZ"])
        .env("OMP_THREAD_LIMIT", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("tesseract (Debian: tesseract-ocr)");
    reader.stdin.take().unwrap().write_all(&png).unwrap();
    String::from_utf8(reader.wait_with_output().unwrap().stdout).unwrap().trim().to_owned()
}

#[tokio::test]
async fn the_initials_can_be_read() {
    let app = TestApp::with(&[("DISPLAY_NAME_FREE", "True")]).await;
    let ann = app.user("ann").await;
    for (name, initials) in [
        ("John Doe", "JD"),
        ("mary jane watson", "MJW"),
        ("alexis-zorba", "AZ"),
        ("Quentin Jones", "QJ"),
        ("Heinrich Böll", "HB"),
    ] {
        ann.patch(&ann.path()).json(&json!({"display_name": name})).await.is(200);
        let image = image_of(&picture(&app, &ann, "?size=512").await).into_luma8();
        assert_eq!(read(&image), initials, "{name}");
    }
}
