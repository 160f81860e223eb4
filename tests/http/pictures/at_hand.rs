//! Pictures that are answered before the router. Nobody can tell, but by the time that it takes.

use std::collections::BTreeSet;

use gatehouse::flags::flag_of;
use image::ImageFormat;
use poem::{Request, Response};
use serde_json::json;

use super::{encoded, one_colour, upload};
use crate::harness::{Actor, Reply, TestApp, eventually};

fn image_path(of: &Actor) -> String {
    format!("{}/image", of.path())
}

fn request(path: &str, headers: &[(&str, &str)]) -> Request {
    let request = Request::builder().uri_str(path);
    headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)).finish()
}

/// What is at hand after somebody has asked in the usual way. What is known of a face is good for a second of real time.
async fn at_hand(app: &TestApp, path: &str, headers: &[(&str, &str)]) -> Response {
    let pictures = app.inside.pictures_at_hand();
    let found = eventually(
        async || {
            app.get(path).await.is(200);
            pictures.answer(&request(path, headers))
        },
        Option::is_some,
    );
    found.await.unwrap()
}

/// Whether the operation has to answer, right after a picture was at hand.
async fn is_left_to_the_operation(app: &TestApp, ready: &str, path: &str, header: (&str, &str)) -> bool {
    at_hand(app, ready, &[]).await;
    app.inside.pictures_at_hand().answer(&request(path, &[header])).is_none()
}

/// All headers but those of each answer alone.
fn headers_of(reply: &Reply) -> BTreeSet<(String, String)> {
    let headers = reply.headers().iter().filter(|(name, _)| !["x-trace-id", "date"].contains(&name.as_str()));
    headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect()
}

#[tokio::test]
async fn what_is_at_hand_is_what_the_operation_answers() {
    let app = TestApp::new().await;
    let (ann, bob) = (app.user("ann").await, app.user("bob").await);
    let photo = encoded(&one_colour(40, 30), ImageFormat::Png);
    upload(&bob, &bob, "", &photo).await.is(200);
    for path in [image_path(&ann), image_path(&bob)] {
        let mut ready = at_hand(&app, &path, &[]).await;
        let quick = app.get(&path).await;
        // Whatever the cookie holds, the operation looks at it.
        let usual = app.get(&path).header("cookie", "theme=dark").await;
        assert_eq!(headers_of(&quick), headers_of(&usual));
        for (name, value) in ready.headers() {
            assert_eq!(usual.headers().get(name), Some(value), "{name}");
        }
        assert_eq!(ready.status().as_u16(), usual.status());
        assert_eq!(quick.bytes(), usual.is(200).bytes());
        assert_eq!(ready.take_body().into_vec().await.unwrap(), usual.bytes());
    }
}

#[tokio::test]
async fn who_has_it_already_is_told_so_at_once() {
    let app = TestApp::new().await;
    let path = image_path(&app.user("ann").await);
    let tag = app.get(&path).await.is(200).header("etag").unwrap().to_owned();
    let mut known = at_hand(&app, &path, &[("if-none-match", &tag)]).await;
    assert_eq!((known.status().as_u16(), known.headers()["etag"].to_str().unwrap()), (304, tag.as_str()));
    assert!(known.take_body().into_vec().await.unwrap().is_empty());
    let other = at_hand(&app, &path, &[("if-none-match", "\"x\"")]).await;
    assert_eq!(other.status().as_u16(), 200);
}

#[tokio::test]
async fn nothing_is_at_hand_before_somebody_has_asked() {
    let app = TestApp::new().await;
    let path = image_path(&app.user("ann").await);
    assert!(app.inside.pictures_at_hand().answer(&request(&path, &[])).is_none());
}

#[tokio::test]
async fn who_names_oneself_or_somebody_by_name_is_left_to_the_operation() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    let path = image_path(&ann);
    for header in [("authorization", "Bearer x"), ("authorization", ""), ("cookie", "theme=dark")] {
        assert!(is_left_to_the_operation(&app, &path, &path, header).await, "{header:?}");
    }
    for other in [
        "/api/user/@ann/image".to_owned(),
        "/api/user/@nobody/image".to_owned(),
        "/api/user/me/image".to_owned(),
        "/api/user/00000000-0000-7000-8000-000000000000/image".to_owned(),
        format!("/user/{}/image", ann.id),
        format!("/api/user/{}/image", ann.id.simple()),
        format!("{path}/image"),
        format!("{}/x/image", ann.path()),
        format!("{}/file", ann.path()),
    ] {
        assert!(is_left_to_the_operation(&app, &path, &other, ("accept", "*/*")).await, "{other}");
    }
}

#[tokio::test]
async fn what_may_no_longer_be_seen_is_not_at_hand_any_more() {
    let app = TestApp::new().await;
    let (ann, admin) = (app.user("ann").await, app.admin().await);
    let path = image_path(&ann);
    let pictures = app.inside.pictures_at_hand();
    at_hand(&app, &path, &[]).await;
    admin.patch(&ann.path()).json(&json!({"is_active": false})).await.is(200);
    assert!(pictures.answer(&request(&path, &[])).is_none());
    app.get(&path).await.refused(404, "not_found");
    assert!(pictures.answer(&request(&path, &[])).is_none());
}

#[tokio::test]
async fn who_switches_pictures_off_switches_these_off_too() {
    let app = TestApp::new().await;
    let (ann, admin) = (app.user("ann").await, app.admin().await);
    let path = image_path(&ann);
    let flag = flag_of("read_user_image").unwrap();
    for (value, status, code) in
        [(json!(false), 403, "feature_disabled"), (json!([{"percentageOfUsers": 0.5}]), 401, "token_invalid")]
    {
        at_hand(&app, &path, &[]).await;
        let flags = json!({ "add": { flag.as_str(): value } });
        admin.patch("/api/admin/feature-flags").json(&flags).await.is(200);
        assert!(app.inside.pictures_at_hand().answer(&request(&path, &[])).is_none());
        app.get(&path).await.refused(status, code);
        let flags = json!({ "add": { flag.as_str(): true } });
        admin.patch("/api/admin/feature-flags").json(&flags).await.is(200);
    }
}
