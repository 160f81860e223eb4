//! The picture of who has chosen none: gray, with white initials.

use serde_json::json;

use super::{image_of, picture};
use crate::harness::TestApp;

#[tokio::test]
async fn who_has_no_picture_has_initials_on_a_gray_square() {
    let app = TestApp::new().await;
    let john = app.user("john_doe").await;
    let reply = picture(&app, &john, "").await;
    let image = image_of(&reply).into_luma8();
    assert_eq!(image.dimensions(), (256, 256));
    assert_eq!(image.get_pixel(0, 0).0, [112]);
    assert!(image.pixels().any(|pixel| pixel.0 == [255]));
    let of_name = app.get("/api/user/@john_doe/image").await;
    assert_eq!(of_name.is(200).bytes(), reply.bytes());
}

#[tokio::test]
async fn it_comes_in_every_size_from_16_to_512() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    for size in [16, 17, 64, 511, 512] {
        let image = image_of(&picture(&app, &ann, &format!("?size={size}")).await);
        assert_eq!((image.width(), image.height()), (size, size));
    }
    for size in ["15", "513", "0", "-1", "1.5", "65536", "x", ""] {
        picture(&app, &ann, &format!("?size={size}")).await.invalid(&["size"]);
    }
}

#[tokio::test]
async fn it_follows_the_name_from_the_next_request_on() {
    let app = TestApp::with(&[("DISPLAY_NAME_FREE", "True")]).await;
    let (ann, bob) = (app.user("ann_lee").await, app.user("al_bert").await);
    let before = picture(&app, &ann, "").await;
    let bobs = picture(&app, &bob, "").await;
    assert_ne!(before.is(200).header("etag"), bobs.is(200).header("etag"));
    ann.patch(&ann.path()).json(&json!({"display_name": "Álvaro Brun"})).await.is(200);
    let after = picture(&app, &ann, "").await;
    assert_ne!(after.is(200).bytes(), before.bytes());
    ann.patch(&ann.path()).json(&json!({"display_name": "Anton Bruckner"})).await.is(200);
    assert_eq!(picture(&app, &ann, "").await.bytes(), bobs.bytes(), "the same initials, the same picture");
    ann.patch(&ann.path()).json(&json!({"display_name": "李小龍"})).await.is(200);
    bob.patch(&bob.path()).json(&json!({"display_name": "한국"})).await.is(200);
    assert_eq!(picture(&app, &ann, "").await.bytes(), picture(&app, &bob, "").await.bytes(), "a figure");
}

#[tokio::test]
async fn who_has_it_already_is_told_so() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    let first = picture(&app, &ann, "").await;
    let tag = first.is(200).header("etag").unwrap().to_owned();
    for known in [tag.clone(), format!("W/{tag}"), format!("\"x\", {tag}"), "*".to_owned()] {
        let again = picture(&app, &ann, "").header("if-none-match", &known).await;
        assert_eq!(again.is(304).header("etag"), Some(tag.as_str()));
        assert!(again.bytes().is_empty());
        assert_eq!(again.header("cache-control"), first.header("cache-control"));
    }
    picture(&app, &ann, "").header("if-none-match", "\"x\"").await.is(200);
    picture(&app, &ann, "?size=64").header("if-none-match", &tag).await.is(200);
    let restarted = app.restarted_with(&[]).await;
    picture(&restarted, &ann, "").header("if-none-match", &tag).await.is(304);
}
