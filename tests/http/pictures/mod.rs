//! Profile pictures: `/user/{user}/image`.

mod at_hand;
mod generated;
mod reading;
mod seen;
mod setting;

use std::io::Cursor;

use image::{DynamicImage, ImageFormat, Rgb, RgbImage};

use crate::harness::{Actor, Ask, Client, Reply};

/// Asks for somebody's picture.
fn picture(asker: &Client, of: &Actor, query: &str) -> Ask {
    asker.get(&format!("{}/image{query}", of.path()))
}

/// The picture of an answer.
fn image_of(reply: &Reply) -> DynamicImage {
    let format = match reply.is(200).header("content-type") {
        Some("image/png") => ImageFormat::Png,
        Some("image/jpeg") => ImageFormat::Jpeg,
        other => panic!("no picture: {other:?}"),
    };
    image::load_from_memory_with_format(reply.bytes(), format).unwrap()
}

/// A picture of one colour.
fn one_colour(width: u32, height: u32) -> DynamicImage {
    RgbImage::from_pixel(width, height, Rgb([200, 30, 60])).into()
}

fn encoded(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut file = Cursor::new(Vec::new());
    image.write_to(&mut file, format).unwrap();
    file.into_inner()
}

/// Sends a file as somebody's picture.
fn upload(sender: &Client, of: &Actor, query: &str, file: &[u8]) -> Ask {
    let head = b"--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"me.html\"\r\n\r\n";
    let body = [&head[..], file, b"\r\n--B--\r\n"].concat();
    sender.put(&format!("{}/image{query}", of.path())).body("multipart/form-data; boundary=B", body)
}
