//! Setting and removing a picture: who may, what is kept, and what others then see.

use std::path::Path;
use std::time::Duration;

use gatehouse::users::Origin;
use image::{DynamicImage, ImageFormat, Rgba, RgbaImage};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use uuid::Uuid;

use super::{encoded, image_of, one_colour, picture, upload};
use crate::harness::{TestApp, eventually, race};

/// Of how many blobs there are bytes.
fn blobs(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).into_iter().flatten().map(Result::unwrap);
    entries
        .map(|entry| {
            if entry.path().is_dir() {
                return blobs(&entry.path());
            }
            usize::from(Uuid::try_parse(&entry.file_name().to_string_lossy()).is_ok())
        })
        .sum()
}

fn files_of(app: &TestApp) -> std::path::PathBuf {
    app.inside.config.server.data_dir.join("files")
}

#[tokio::test]
async fn a_picture_is_set_shown_and_removed() {
    let app = TestApp::new().await;
    let (ann, bob) = (app.user("ann").await, app.user("bob").await);
    let drawn = picture(&app, &ann, "").await;
    let file = upload(&ann, &ann, "?description=me", &encoded(&one_colour(40, 30), ImageFormat::Png))
        .await
        .is(200)
        .json();
    assert_eq!(file["file_name"], format!("pfp_{}.png", ann.id));
    assert_eq!(
        (&file["file_type"], &file["description"], &file["created_by_uuid"]),
        (&json!("image/png"), &json!("me"), &json!(ann.id))
    );
    for asker in [&*app, &*ann, &*bob] {
        let shown = picture(asker, &ann, "").await;
        let image = image_of(&shown).into_rgb8();
        assert_eq!(image.dimensions(), (40, 30));
        assert!(image.pixels().all(|pixel| pixel.0 == [200, 30, 60]));
        assert_eq!(shown.bytes().len() as u64, file["size"].as_u64().unwrap());
    }
    let me = ann.me().await;
    assert_eq!(me["profile_picture"], file);
    let url = me["picture_url"].as_str().unwrap();
    assert!(url.ends_with(&format!("/user/{}/image", ann.id)), "{url}");
    let seen = bob.get(&ann.path()).await.is(200).json();
    assert_eq!((&seen["profile_picture"], &seen["picture_url"]), (&file, &me["picture_url"]));
    assert_eq!(bob.me().await["profile_picture"], Value::Null);

    ann.delete(&format!("{}/image", ann.path())).await.is(200);
    assert_eq!(picture(&app, &ann, "").await.bytes(), drawn.bytes());
    assert_eq!(ann.me().await["profile_picture"], Value::Null);
    ann.delete(&format!("{}/image", ann.path())).await.is(200);
    eventually(|| async { blobs(&files_of(&app)) }, |count| *count == 0).await;
}

#[tokio::test]
async fn a_picture_takes_the_place_of_the_one_before() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    let first = upload(&ann, &ann, "", &encoded(&one_colour(10, 10), ImageFormat::Png)).await.is(200).json();
    let second =
        upload(&ann, &ann, "", &encoded(&one_colour(20, 10), ImageFormat::Jpeg)).await.is(200).json();
    assert_ne!(first["id"], second["id"]);
    assert_eq!(second["file_name"], format!("pfp_{}.jpg", ann.id));
    assert_eq!(image_of(&picture(&app, &ann, "").await).width(), 20);
    ann.get(&format!("/api/file/{}", first["id"])).await.refused(404, "not_found");
    assert_eq!(ann.me().await["profile_picture"]["id"], second["id"]);
    eventually(|| async { blobs(&files_of(&app)) }, |count| *count == 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_at_once_one_stays_and_nothing_of_the_others() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    let replies = race(20, |number| {
        let side = 20 + u32::try_from(number).unwrap();
        upload(&ann, &ann, "", &encoded(&one_colour(side, side), ImageFormat::Png))
    })
    .await;
    for reply in &replies {
        reply.is(200);
    }
    let picture_now = ann.me().await["profile_picture"].clone();
    let rows = app.inside.files.of_user(ann.id).await.unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!(picture_now["id"], rows[0].id);
    let shown = picture(&app, &ann, "").await;
    assert_eq!(shown.is(200).bytes().len() as u64, picture_now["size"].as_u64().unwrap());
    image_of(&shown);
    eventually(|| async { blobs(&files_of(&app)) }, |count| *count == 1).await;
    app.inside.sweep().await.unwrap();
    assert_eq!(blobs(&files_of(&app)), 1);
}

#[tokio::test]
async fn deleting_its_file_clears_the_picture() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    let drawn = picture(&app, &ann, "").await;
    let file = upload(&ann, &ann, "", &encoded(&one_colour(10, 10), ImageFormat::Png)).await.is(200).json();
    ann.delete(&format!("/api/file/{}", file["id"])).await.is(200);
    assert_eq!(ann.me().await["profile_picture"], Value::Null);
    assert_eq!(picture(&app, &ann, "").await.bytes(), drawn.bytes());
}

#[tokio::test]
async fn only_the_person_and_admins_set_and_remove_it() {
    let app = TestApp::new().await;
    let (ann, bob, moderator, admin) =
        (app.user("ann").await, app.user("bob").await, app.moderator().await, app.admin().await);
    let file = encoded(&one_colour(10, 10), ImageFormat::Png);
    for other in [&bob, &moderator] {
        upload(other, &ann, "", &file).await.refused(403, "forbidden");
        other.delete(&format!("{}/image", ann.path())).await.refused(403, "forbidden");
    }
    upload(&app, &ann, "", &file).await.refused(401, "token_invalid");
    let kept = upload(&admin, &ann, "", &file).await.is(200).json();
    assert_eq!(kept["created_by_uuid"], json!(admin.id));
    assert_eq!(ann.me().await["profile_picture"], kept);
    assert_eq!(image_of(&picture(&bob, &ann, "").await).width(), 10);
    admin.delete(&format!("{}/image", ann.path())).await.is(200);
    ann.put(&format!("{}/blocked_users?users_ids={}", ann.path(), bob.id)).await.is(200);
    upload(&bob, &ann, "", &file).await.refused(404, "not_found");
    app.get(&format!("/api/user/{}/image", Uuid::nil())).await.refused(404, "not_found");
    admin.delete(&bob.path()).await.is(200);
    upload(&admin, &bob, "", &file).await.refused(409, "user_deleted");
}

#[tokio::test]
async fn a_picture_comes_in_the_size_that_is_asked_for_and_never_larger_than_it_is() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    upload(&ann, &ann, "", &encoded(&one_colour(300, 150), ImageFormat::Png)).await.is(200);
    let mut tags = Vec::new();
    for (size, expected) in
        [(16, (16, 8)), (100, (100, 50)), (299, (299, 150)), (300, (300, 150)), (512, (300, 150))]
    {
        let reply = picture(&app, &ann, &format!("?size={size}")).await;
        let image = image_of(&reply);
        assert_eq!((image.width(), image.height()), expected);
        let tag = reply.header("etag").unwrap().to_owned();
        picture(&app, &ann, &format!("?size={size}")).header("if-none-match", &tag).await.is(304);
        tags.push(tag);
    }
    tags.dedup();
    assert_eq!(tags.len(), 4, "300 and 512 are the same bytes");
    picture(&app, &ann, "?size=513").await.invalid(&["size"]);
}

#[tokio::test]
async fn a_tag_ends_with_the_picture() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    let mut known = picture(&app, &ann, "").await.is(200).header("etag").unwrap().to_owned();
    for side in [10, 20] {
        upload(&ann, &ann, "", &encoded(&one_colour(side, side), ImageFormat::Png)).await.is(200);
        let now = picture(&app, &ann, "").header("if-none-match", &known).await;
        known = now.is(200).header("etag").unwrap().to_owned();
    }
    ann.delete(&format!("{}/image", ann.path())).await.is(200);
    picture(&app, &ann, "").header("if-none-match", &known).await.is(200);
}

#[tokio::test]
async fn another_instance_shows_it_too() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    let other = app.second_instance().await;
    image_of(&picture(&other, &ann, "").await);
    upload(&ann, &ann, "", &encoded(&one_colour(10, 10), ImageFormat::Png)).await.is(200);
    eventually(|| async { image_of(&picture(&other, &ann, "").await).width() }, |width| *width == 10).await;
}

#[tokio::test]
async fn a_picture_that_is_too_large_is_refused_or_scaled_down() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    let wide = encoded(&one_colour(1000, 500), ImageFormat::Png);
    upload(&ann, &ann, "", &wide).await.invalid(&["file"]);
    upload(&ann, &ann, "?resize=false", &wide).await.invalid(&["file"]);
    upload(&ann, &ann, "?resize=true", &wide).await.is(200);
    let image = image_of(&picture(&app, &ann, "").await);
    assert_eq!((image.width(), image.height()), (512, 256));

    let heavy = vec![0; 2 * 1024 * 1024 + 1];
    upload(&ann, &ann, "?resize=true", &heavy).await.refused(413, "payload_too_large");
    upload(&ann, &ann, "?resize=true", &heavy[1..]).await.invalid(&["file"]);
    upload(&ann, &ann, &format!("?description={}", "x".repeat(257)), &wide).await.invalid(&["description"]);
    let image = image_of(&picture(&app, &ann, "").await);
    assert_eq!(image.width(), 512, "what was refused has changed nothing");
}

#[tokio::test]
async fn every_kind_is_judged_by_its_bytes() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    let clear: DynamicImage = RgbaImage::from_pixel(20, 20, Rgba([200, 30, 60, 100])).into();
    for (image, format, expected) in [
        (one_colour(20, 20), ImageFormat::Png, "image/png"),
        (clear.clone(), ImageFormat::Png, "image/png"),
        (one_colour(20, 20), ImageFormat::Jpeg, "image/jpeg"),
        (clear.clone(), ImageFormat::Gif, "image/png"),
        (one_colour(20, 20), ImageFormat::Bmp, "image/png"),
        (clear.clone(), ImageFormat::WebP, "image/png"),
    ] {
        let kept = upload(&ann, &ann, "", &encoded(&image, format)).await.is(200).json();
        assert_eq!(kept["file_type"], expected, "{format:?}");
        assert_eq!(picture(&app, &ann, "").await.header("content-type"), Some(expected));
        image_of(&picture(&app, &ann, "").await);
    }
    for other in [
        &b"<svg xmlns='http://www.w3.org/2000/svg'/>"[..],
        b"<script>alert(1)</script>",
        b"%PDF-1.7",
        b"MZ",
        b"",
    ] {
        upload(&ann, &ann, "?resize=true", other).await.invalid(&["file"]);
    }
}

#[tokio::test]
async fn what_is_hidden_in_a_file_does_not_come_out_again() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    let photo = encoded(&one_colour(40, 20), ImageFormat::Jpeg);
    // Turned a quarter to the right, taken somewhere, and followed by a page.
    let mut exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0".to_vec();
    exif.extend_from_slice(b"GPS 52.5200 N 13.4050 E");
    let length = u16::try_from(exif.len() + 2).unwrap().to_be_bytes();
    let noted =
        [&photo[..2], b"\xFF\xE1", &length, &exif, &photo[2..], b"<script>alert(1)</script>"].concat();
    upload(&ann, &ann, "", &noted).await.is(200);
    for query in ["", "?size=16"] {
        let shown = picture(&app, &ann, query).await;
        let image = image_of(&shown);
        assert!(image.width() < image.height());
        for gone in ["GPS", "Exif", "script"] {
            assert!(!shown.bytes().windows(gone.len()).any(|bytes| bytes == gone.as_bytes()), "{gone}");
        }
    }
    // Behind a PNG there is nothing to be had.
    let tail = [&encoded(&one_colour(8, 8), ImageFormat::Png), &b"<script>alert(1)</script>"[..]].concat();
    upload(&ann, &ann, "", &tail).await.invalid(&["file"]);
}

#[tokio::test]
async fn an_upload_is_one_part_named_file() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    let path = format!("{}/image", ann.path());
    let kind = "multipart/form-data; boundary=B";
    ann.put(&path).await.refused(415, "unsupported_media_type");
    ann.put(&path).json(&json!({})).await.refused(415, "unsupported_media_type");
    ann.put(&path).body("multipart/form-data", "x").await.refused(400, "bad_request");
    let other = "--B\r\nContent-Disposition: form-data; name=\"other\"\r\n\r\nx\r\n--B--\r\n";
    ann.put(&path).body(kind, other).await.invalid(&["file"]);
    let cut = "--B\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\nx";
    ann.put(&path).body(kind, cut).await.refused(400, "bad_request");
}

#[tokio::test]
async fn a_person_who_goes_for_good_takes_the_picture_along() {
    let app = TestApp::new().await;
    let (ann, admin) = (app.user("ann").await, app.admin().await);
    upload(&ann, &ann, "", &encoded(&one_colour(10, 10), ImageFormat::Png)).await.is(200);
    admin.delete(&ann.path()).await.is(200);
    picture(&app, &ann, "").await.refused(404, "not_found");
    admin.post(&format!("{}/restore", ann.path())).await.is(200);
    assert_eq!(image_of(&picture(&app, &ann, "").await).width(), 10);
    admin.delete(&format!("{}?purge=true", ann.path())).await.is(200);
    picture(&admin, &ann, "").await.refused(404, "not_found");
    eventually(|| async { blobs(&files_of(&app)) }, |count| *count == 0).await;
}

#[tokio::test]
async fn who_goes_for_good_leaves_others_their_pictures_and_takes_no_file_of_theirs_in_silence() {
    for by_sweep in [false, true] {
        let app = TestApp::new().await;
        let (root, carol) = (app.admin().await, app.user("carol").await);
        let boss = app.made_by_admin("boss", &["admin", "user"]).await;
        upload(&boss, &carol, "", &encoded(&one_colour(40, 30), ImageFormat::Png)).await.is(200);
        upload(&root, &boss, "", &encoded(&one_colour(20, 20), ImageFormat::Png)).await.is(200);
        let plan =
            "--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"plan\"\r\n\r\nx\r\n--B--\r\n";
        let attach = boss.put(&format!("{}/file", carol.path()));
        attach.body("multipart/form-data; boundary=B", plan).await.is(200);
        let before = carol.get("/api/user/me").await;
        assert_eq!(before.is(200).json()["files"].as_array().unwrap().len(), 2);
        assert_eq!(blobs(&files_of(&app)), 3);

        let carol = if by_sweep {
            root.delete(&boss.path()).await.is(200);
            app.clock.advance(Duration::from_hours(24 * 32));
            app.inside.sweep().await.unwrap();
            app.sign_in("carol").await
        } else {
            root.delete(&format!("{}?purge=true", boss.path())).await.is(200);
            carol
        };

        let after = carol.get("/api/user/me").await;
        let (mut kept, now) = (before.json()["profile_picture"].take(), after.is(200).json());
        assert_ne!(before.header("etag"), after.header("etag"));
        assert_eq!(kept["created_by_uuid"], json!(boss.id));
        kept["created_by_uuid"] = json!(carol.id);
        assert_eq!((&now["profile_picture"], &now["files"]), (&kept, &json!([kept])));
        let line = &now["user_history"][0];
        let by = if by_sweep { Value::Null } else { json!(root.id) };
        assert_eq!((&line["action"], &line["by"]), (&json!("file_removed"), &by), "{line}");
        assert_eq!(image_of(&picture(&app, &carol, "").await).width(), 40);
        assert_eq!(blobs(&files_of(&app)), 1);
        // It is all hers: she may change it, and take it away.
        let path = format!("/api/file/{}", kept["id"]);
        carol.patch(&path).json(&json!({"description": "me"})).await.is(200);
        carol.delete(&path).await.is(200);
        assert_eq!((&carol.me().await["files"], blobs(&files_of(&app))), (&json!([]), 0));
    }
}

#[tokio::test]
async fn what_somebody_does_with_a_picture_that_staff_set_is_no_deed_of_staff() {
    let app = TestApp::new().await;
    let (admin, ann) = (app.admin().await, app.user("ann").await);
    upload(&admin, &ann, "", &encoded(&one_colour(40, 30), ImageFormat::Png)).await.is(200);
    ann.delete(&format!("{}/image", ann.path())).await.is(200);
    let log = admin.get("/api/admin/audit").await.is(200).json();
    let by = |who: Uuid| log.as_array().unwrap().iter().filter(|entry| entry["actor"] == json!(who)).count();
    assert_eq!((by(admin.id), by(ann.id)), (1, 0), "{log}");
}

/// Whatever a provider offers while somebody chooses theirs.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_picture_from_elsewhere_takes_the_place_of_none_that_is_chosen_meanwhile() {
    let app = TestApp::new().await;
    for round in 0..20 {
        let ann = app.user(&format!("ann_{round}")).await;
        let offers = (0..4).map(|_| {
            let (pictures, id) = (app.inside.pictures.clone(), ann.id);
            let bytes = encoded(&one_colour(300, 300), ImageFormat::Png);
            tokio::spawn(async move { pictures.adopt(id, bytes.into(), Origin::default()).await.unwrap() })
        });
        let offers: Vec<_> = offers.collect();
        upload(&ann, &ann, "", &encoded(&one_colour(40, 40), ImageFormat::Png)).await.is(200);
        let mut adopted = 0;
        for offer in offers {
            adopted += usize::from(offer.await.unwrap().is_some());
        }
        assert!(adopted <= 1, "{round}: {adopted}");
        assert_eq!(image_of(&picture(&app, &ann, "").await).width(), 40, "{round}");
    }
}

/// A picture from another provider is taken over, but only by who has none.
#[tokio::test]
async fn a_picture_from_elsewhere_is_adopted_where_there_is_none() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    let adopt = |side| {
        let (pictures, id) = (app.inside.pictures.clone(), ann.id);
        let bytes = encoded(&one_colour(side, side), ImageFormat::Png);
        async move { pictures.adopt(id, bytes.into(), Origin::default()).await.unwrap() }
    };
    assert_eq!(adopt(900).await.unwrap().picture_of, Some(ann.id));
    assert_eq!(image_of(&picture(&app, &ann, "").await).width(), 512);
    assert!(adopt(30).await.is_none());
    assert_eq!(image_of(&picture(&app, &ann, "").await).width(), 512);
    let not_one = app.inside.pictures.adopt(app.user("bob").await.id, "x".into(), Origin::default()).await;
    assert!(not_one.is_err());
}

// Whose files a profile lists, it shows them as they are.
#[tokio::test]
async fn whoever_set_a_picture_sees_that_another_has_taken_its_place() {
    let app = TestApp::new().await;
    let (admin, ann) = (app.admin().await, app.user("ann").await);
    let colour = encoded(&one_colour(20, 20), ImageFormat::Png);
    upload(&admin, &ann, "", &colour).await.is(200);
    let before = admin.get("/api/user/me").await.is(200).header("etag").unwrap().to_owned();
    upload(&ann, &ann, "", &encoded(&one_colour(30, 30), ImageFormat::Png)).await.is(200);
    let after = admin.get("/api/user/me").header("if-none-match", &before).await;
    assert_eq!(after.is(200).json()["files"], json!([]));
}

// F-29: however many come, and however slowly.
#[tokio::test]
async fn uploads_that_do_not_come_to_their_end_take_no_more_memory_than_there_is_for_them() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    let head = format!(
        "PUT {}/image HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Length: 2100000\r\n\
         Content-Type: multipart/form-data; boundary=B\r\n\r\n--B\r\nContent-Disposition: form-data; \
         name=\"file\"; filename=\"me.png\"\r\n\r\n",
        ann.path(),
        ann.access
    );
    let begun = [head.as_bytes(), &vec![b'x'; 2_000_000]].concat();
    let mut open = Vec::new();
    let refused = async {
        loop {
            let mut socket = TcpStream::connect(app.base().strip_prefix("http://").unwrap()).await.unwrap();
            // Whoever is refused meanwhile need not take all of it.
            drop(socket.write_all(&begun).await);
            let mut status = [0; 12];
            let answered = tokio::time::timeout(Duration::from_millis(50), socket.read_exact(&mut status));
            match answered.await {
                Ok(_) => return String::from_utf8_lossy(&status[9..]).into_owned(),
                Err(_) => open.push(socket),
            }
        }
    };
    assert_eq!(tokio::time::timeout(Duration::from_mins(1), refused).await.unwrap(), "503");
    assert!((20..=40).contains(&open.len()), "{}", open.len());
    drop(open);
    let picture = encoded(&one_colour(20, 20), ImageFormat::Png);
    eventually(|| upload(&ann, &ann, "", &picture), |reply| reply.status() == 200).await;
}
