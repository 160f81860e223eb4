//! Profile pictures: `/user/{user}/image`.

mod generated;
mod reading;
mod seen;

use image::{DynamicImage, ImageFormat};

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
