//! What files are called.

use serde_json::json;

use super::{FORM, blobs, content_of, form_of, path_of, uploaded};
use crate::harness::{TestApp, race};

#[tokio::test]
async fn no_name_leads_anywhere_and_every_download_is_well_formed() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    let (long, longer) = ("n".repeat(300), "m".repeat(5000));
    let cases = [
        ("../../x", "x"),
        ("..\\\\..\\\\y", "y"),
        ("/etc/passwd", "passwd"),
        ("C:\\\\z", "z"),
        ("%2e%2e%2f", "%2e%2e%2f"),
        ("a/../../b", "b"),
        ("CON", "CON"),
        ("a\u{202E}gnp.exe", "agnp.exe"),
        ("b\u{FDD0}\u{FFFF}.txt", "b.txt"),
        ("say \\\"hi\\\".txt", "say \"hi\".txt"),
        ("....//", "file"),
        (&long, &long[..255]),
        (&longer, &longer[..255]),
        ("名前 ü.pdf", "名前 ü.pdf"),
    ];
    for (typed, name) in cases {
        let disposition = format!("form-data; name=\"file\"; filename=\"{typed}\"");
        let file = ann.post("/api/file").body(FORM, form_of(&disposition, b"x")).await.is(201).json();
        assert_eq!(file["file_name"], name, "{typed}");
        let reply = ann.get(&content_of(&file)).await;
        let header = reply.is(200).header("content-disposition").unwrap();
        assert!(header.starts_with("attachment; filename=\"") && header.is_ascii(), "{header}");
        assert!(!header[22..].split('"').next().unwrap().contains(['\\', '/', '\n']), "{header}");
    }
    let root = app.inside.config.server.data_dir.join("files");
    for blob in blobs(&app) {
        let name = blob.file_name().unwrap().to_str().unwrap();
        assert!(uuid::Uuid::try_parse(name).is_ok() && blob.starts_with(&root), "{blob:?}");
    }
    assert_eq!(blobs(&app).len(), cases.len());
}

#[tokio::test]
async fn names_that_say_nothing_and_second_names_don_t_count() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    for disposition in [
        "form-data; name=\"file\"",
        "form-data; name=\"file\"; filename=\"\"",
        "form-data; name=\"file\"; filename=\"..\"",
        "form-data; name=\"file\"; filename=\"....\"",
        "form-data; name=\"file\"; filename*=UTF-8''..%2Fevil.html",
    ] {
        let file = ann.post("/api/file").body(FORM, form_of(disposition, b"x")).await.is(201).json();
        assert_eq!(file["file_name"], "file", "{disposition}");
        ann.delete(&path_of(&file)).await.is(200);
    }
    let both = "form-data; name=\"file\"; filename=\"good.txt\"; filename*=UTF-8''evil.html";
    let file = ann.post("/api/file").body(FORM, form_of(both, b"x")).await.is(201).json();
    assert_eq!(file["file_name"], "good.txt");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn name_and_description_that_are_changed_at_the_same_moment_are_both_kept() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    let file = uploaded(&ann, "a.txt", b"x").await;
    for round in 0..50 {
        let (name, description) = (format!("{round}.txt"), format!("of round {round}"));
        let changes = [json!({ "file_name": name }), json!({ "description": description })];
        for reply in race(2, |number| ann.patch(&path_of(&file)).json(&changes[number])).await {
            reply.is(200);
        }
        let now = ann.get(&path_of(&file)).await.is(200).json();
        assert_eq!((&now["file_name"], &now["description"]), (&json!(name), &json!(description)));
    }
}

#[tokio::test]
async fn a_file_is_renamed_by_the_same_rules() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    let file = uploaded(&ann, "a.txt", b"x").await;
    uploaded(&ann, "b.txt", b"y").await;
    let patch = async |body| ann.patch(&path_of(&file)).json(&body).await;
    assert_eq!(patch(json!({"file_name": "../c.txt"})).await.is(200).json()["file_name"], "c.txt");
    assert_eq!(patch(json!({"description": "hello"})).await.is(200).json()["file_name"], "c.txt");
    patch(json!({"file_name": "b.txt"})).await.refused(409, "conflict");
    patch(json!({"file_name": ""})).await.invalid(&["file_name"]);
    patch(json!({"file_name": null})).await.invalid(&["file_name"]);
    patch(json!({"description": "\u{202E}"})).await.invalid(&["description"]);
    patch(json!({"file_url": "x"})).await.invalid(&["file_url"]);
    let now = ann.get(&path_of(&file)).await.json();
    assert_eq!((&now["file_name"], &now["description"]), (&json!("c.txt"), &json!("hello")));
    assert_eq!(patch(json!({"description": null})).await.is(200).json()["description"], json!(null));
    assert_eq!(ann.me().await["files"][0]["file_name"], "c.txt");
}
