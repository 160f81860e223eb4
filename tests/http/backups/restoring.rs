//! Backups: made, looked at, put back.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use futures_util::FutureExt;
use gatehouse::archive::{Counts, How, ImportOptions, Inspected, Progress, RestoreRefusal};
use gatehouse::files::Quiet;
use image::{DynamicImage, ImageFormat};
use sea_orm::DbErr;
use serde_json::json;

use super::{blobs, dump, names, upload};
use crate::harness::{Actor, TestApp};

async fn backed_up(app: &TestApp, folder: &Path) -> PathBuf {
    app.inside.archive.back_up(folder, &Progress::Silent).await.unwrap().path
}

async fn inspected(app: &TestApp, path: &Path) -> Result<Inspected, RestoreRefusal> {
    app.inside.archive.inspect(path, &app.inside.config.server.data_dir).await
}

async fn restored(app: &TestApp, path: &Path, how: How) -> Result<Counts, RestoreRefusal> {
    restored_with(app, path, how, ImportOptions::default()).await
}

async fn restored_with(
    app: &TestApp,
    path: &Path,
    how: How,
    options: ImportOptions,
) -> Result<Counts, RestoreRefusal> {
    let scratch = &app.inside.config.server.data_dir;
    let restored = app.inside.archive.restore(path, scratch, how, &options, &Progress::Silent).await;
    restored.map(|restored| restored.counts)
}

/// A server with people, files and pictures; ann, and the number of her letter.
async fn furnished() -> (TestApp, Actor, i64) {
    let app = TestApp::new().await;
    let (ann, ben) = (app.user("ann").await, app.user("ben").await);
    app.admin().await;
    let letter = upload(&ann, "letter.txt", "Dear Sirs").await;
    upload(&ann, "empty.txt", "").await;
    upload(&ben, "long.txt", &"0123456789".repeat(60_000)).await;
    let mut picture = std::io::Cursor::new(Vec::new());
    DynamicImage::new_rgb8(60, 30).write_to(&mut picture, ImageFormat::Png).unwrap();
    let head = b"--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"me.png\"\r\n\r\n";
    let body = [&head[..], picture.get_ref(), b"\r\n--B--\r\n"].concat();
    ann.put(&format!("{}/image", ann.path())).body("multipart/form-data; boundary=B", body).await.is(200);
    ann.put(&format!("{}/blocked_users?users_ids={}", ann.path(), ben.id)).await.is(200);
    (app, ann, letter)
}

#[tokio::test]
async fn a_backup_fills_an_empty_server_with_everything() {
    let (old, ann, letter) = furnished().await;
    let folder = tempfile::tempdir().unwrap();
    let path = backed_up(&old, &folder.path().join("backups")).await;
    assert_eq!(names(path.parent().unwrap()), ["gatehouse-20260101T000000Z.tar"], "nothing else is left");
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));

    let new = TestApp::new().await;
    let found = inspected(&new, &path).await.unwrap();
    assert_eq!((found.flawed, found.unopened), (0, 0));
    assert_eq!((found.manifest.files, found.manifest.file_bytes), (4, blob_bytes(&old).await));
    assert_eq!((found.manifest.rows["users"], found.manifest.rows["files"]), (3, 4));
    assert_eq!((dump(&new).await, blobs(&new).await), (String::new(), 0), "looking touches nothing");

    let counts = restored(&new, &path, How::Import).await.unwrap();
    assert_eq!((counts["users"].added, counts["files"].added), (3, 4));
    assert_eq!(dump(&new).await, dump(&old).await);
    let again = new.sign_in("ann").await;
    assert_eq!(again.get(&format!("/api/file/{letter}/file")).await.is(200).text(), "Dear Sirs");
    let (before, after) = (
        ann.get(&format!("{}/image", ann.path())).await,
        again.get(&format!("{}/image", again.path())).await,
    );
    assert_eq!(before.is(200).bytes(), after.is(200).bytes());
    new.inside.sweep().await.unwrap();
    assert_eq!(blobs(&new).await, 4);
    let left = names(&new.inside.config.server.data_dir);
    assert!(!left.iter().any(|name| name.starts_with(".gatehouse-")), "{left:?}");
}

/// Where the bytes of a file are.
fn blob_path(app: &TestApp, blob: uuid::Uuid) -> PathBuf {
    let name = blob.to_string();
    app.inside.config.server.data_dir.join("files").join(&name[32..34]).join(&name[34..36]).join(&name)
}

/// Where the bytes of this file of somebody's are.
async fn path_of(app: &TestApp, owner: &Actor, file: i64) -> PathBuf {
    let files = app.inside.files.of_user(owner.id).await.unwrap();
    blob_path(app, files.iter().find(|known| known.id == file).unwrap().blob)
}

/// The block before an entry of this size.
fn tar_header(name: &str, size: u64) -> Vec<u8> {
    let mut block = vec![0; 512];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, name.as_bytes());
    put(100, b"0000600\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    if size < 1 << 33 {
        put(124, format!("{size:011o}\0").as_bytes());
    } else {
        put(124, &[0x80]);
        put(128, &size.to_be_bytes());
    }
    put(136, b"00000000000\0");
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\x0000");
    put(329, b"0000000\0");
    put(337, b"0000000\0");
    let sum: u32 = block.iter().map(|byte: &u8| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

/// The entries of a backup, in their order.
fn entries_of(path: &Path) -> Vec<(String, Vec<u8>)> {
    let (tar, mut at, mut entries) = (std::fs::read(path).unwrap(), 0, Vec::new());
    while tar[at] != 0 {
        let name = tar[at..at + 100].split(|byte| *byte == 0).next().unwrap();
        let size = std::str::from_utf8(&tar[at + 124..at + 135]).unwrap();
        let size = usize::from_str_radix(size, 8).unwrap();
        let content = tar[at + 512..at + 512 + size].to_vec();
        entries.push((String::from_utf8(name.to_vec()).unwrap(), content));
        at += 512 + size.next_multiple_of(512);
    }
    entries
}

/// Writes a backup of these entries, whose sums are right whatever they hold.
fn write_entries(path: &Path, entries: &[(String, Vec<u8>)]) {
    let (mut tar, mut sums) = (Vec::new(), String::new());
    let mut put = |name: &str, content: &[u8]| {
        tar.extend(tar_header(name, content.len() as u64));
        tar.extend(content);
        tar.resize(tar.len().next_multiple_of(512), 0);
    };
    for (name, content) in entries.iter().filter(|(name, _)| name != "SHA256SUMS") {
        put(name, content);
        let sum = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, content);
        let line = format!("{}  {name}\n", gatehouse::platform::hexadecimal::written(sum.as_ref()));
        sums.push_str(&line);
    }
    put("SHA256SUMS", sums.as_bytes());
    tar.resize(tar.len() + 1024, 0);
    std::fs::write(path, tar).unwrap();
}

#[tokio::test]
async fn right_bytes_are_never_replaced_by_wrong_ones() {
    let (app, ann, letter) = furnished().await;
    let folder = tempfile::tempdir().unwrap();
    let there = path_of(&app, &ann, letter).await;
    // A backup of a server on which they had rotted.
    std::fs::write(&there, "Dear Sirz").unwrap();
    let rotten = app.inside.archive.back_up(folder.path(), &Progress::Silent).await.unwrap();
    assert_eq!((rotten.manifest.files, rotten.manifest.flawed), (3, 1));
    std::fs::write(&there, "Dear Sirs").unwrap();
    restored(&app, &rotten.path, How::Recover).await.unwrap();
    assert_eq!(std::fs::read(&there).unwrap(), b"Dear Sirs");

    // One that holds them all the same, as those of before did.
    app.clock.advance(std::time::Duration::from_secs(2));
    let good = backed_up(&app, folder.path()).await;
    let mut entries = entries_of(&good);
    let bytes = entries.iter_mut().find(|(_, content)| content == b"Dear Sirs").unwrap();
    bytes.1 = b"Dear Sirz".to_vec();
    let bad = folder.path().join("bad.tar");
    write_entries(&bad, &entries);
    assert_eq!(inspected(&app, &bad).await.unwrap().flawed, 1);
    restored(&app, &bad, How::Recover).await.unwrap();
    assert_eq!(std::fs::read(&there).unwrap(), b"Dear Sirs");
    let new = TestApp::new().await;
    let counts = restored(&new, &bad, How::Import).await.unwrap();
    assert_eq!((counts["files"].added, counts["files"].left_out), (3, 1));

    // And the other way round: right ones replace wrong ones.
    std::fs::write(&there, "Dear Sirz").unwrap();
    restored(&app, &good, How::Recover).await.unwrap();
    assert_eq!(std::fs::read(&there).unwrap(), b"Dear Sirs");
}

#[tokio::test]
async fn a_restore_that_is_refused_replaces_no_bytes() {
    let (app, ann, letter) = furnished().await;
    let folder = tempfile::tempdir().unwrap();
    let path = backed_up(&app, folder.path()).await;
    let there = path_of(&app, &ann, letter).await;
    std::fs::write(&there, "Dear Sirz").unwrap();
    // ben's name is another one's now: a recovery can't give it back.
    let admin = app.sign_in("root").await;
    let ben = app.sign_in("ben").await;
    admin.delete(&ben.path()).await.ok();
    app.sign_up("ben", "other@example.com", crate::harness::PASSWORD).await.is(201);
    let refusal = restored(&app, &path, How::Recover).await.unwrap_err();
    assert!(matches!(refusal, RestoreRefusal::Database(_)), "{refusal}");
    assert_eq!(std::fs::read(&there).unwrap(), b"Dear Sirz");
}

#[tokio::test]
async fn more_bytes_than_there_can_be_are_damage() {
    let (app, ..) = furnished().await;
    let folder = tempfile::tempdir().unwrap();
    let path = backed_up(&app, folder.path()).await;
    let entries = entries_of(&path);
    let mut tar = Vec::new();
    for (name, content) in &entries[..2] {
        tar.extend(tar_header(name, content.len() as u64));
        tar.extend(content);
        tar.resize(tar.len().next_multiple_of(512), 0);
    }
    assert!(!entries[1].1.is_empty(), "there is something before it");
    tar.extend(tar_header(&format!("files/{}", uuid::Uuid::from_u128(7)), u64::MAX));
    std::fs::write(&path, tar).unwrap();
    let refusal = inspected(&app, &path).await.unwrap_err();
    assert!(matches!(refusal, RestoreRefusal::Damaged(_)), "{refusal}");
}

async fn blob_bytes(app: &TestApp) -> u64 {
    let admin = app.sign_in("root").await;
    let files = admin.get("/api/file/").await.is(200).json();
    files.as_array().unwrap().iter().map(|file| file["size"].as_u64().unwrap()).sum()
}

#[tokio::test]
async fn its_sums_are_those_that_everybody_can_check() {
    let (app, ..) = furnished().await;
    let folder = tempfile::tempdir().unwrap();
    let path = backed_up(&app, folder.path()).await;
    let script =
        format!("tar -xf {} && sha256sum --strict -c SHA256SUMS && cat manifest.json", path.display());
    let run = std::process::Command::new("sh").args(["-c", &script]).current_dir(&folder).output().unwrap();
    let out = String::from_utf8(run.stdout).unwrap();
    assert!(run.status.success() && run.stderr.is_empty(), "{out}\n{}", String::from_utf8_lossy(&run.stderr));
    assert_eq!(out.matches(": OK\n").count(), 6, "{out}");
}

#[tokio::test]
async fn a_server_with_people_is_left_alone_unless_one_insists() {
    let (app, ann, _) = furnished().await;
    let folder = tempfile::tempdir().unwrap();
    let path = backed_up(&app, folder.path()).await;
    let then = dump(&app).await;
    ann.patch(&ann.path()).json(&json!({"description": "changed"})).await.ok();
    let now = dump(&app).await;
    let refusal = restored(&app, &path, How::Import).await.unwrap_err();
    assert!(matches!(refusal, RestoreRefusal::NotEmpty(3)), "{refusal}");
    assert_eq!(dump(&app).await, now);
    restored(&app, &path, How::Recover).await.unwrap();
    assert_eq!(dump(&app).await.lines().filter(|line| line.contains("\"changed\"")).count(), 0);
    assert!(then.lines().filter(|line| line.contains("\"users\"")).count() == 3);
    assert_eq!(blobs(&app).await, 4);
}

#[tokio::test]
async fn whatever_is_cut_or_changed_is_refused_and_nothing_is_touched() {
    let (old, ..) = furnished().await;
    let folder = tempfile::tempdir().unwrap();
    let path = backed_up(&old, folder.path()).await;
    let good = std::fs::read(&path).unwrap();
    let new = TestApp::new().await;
    let bad = folder.path().join("bad.tar");
    let step = good.len() / 24;
    let cuts = (0..24).map(|part| good[..part * step].to_vec()).chain([good[..good.len() - 1].to_vec()]);
    let changes = (0..24).map(|part| {
        let mut changed = good.clone();
        changed[part * step + 7] ^= 1;
        changed
    });
    let longer = [[&good[..], b"x"].concat()];
    let (mut tried, mut untouched) = (0, 0);
    for content in cuts.chain(changes).chain(longer) {
        std::fs::write(&bad, &content).unwrap();
        let refusal = inspected(&new, &bad).await.map(|_| ()).unwrap_err();
        untouched += u32::from(matches!(refusal, RestoreRefusal::Damaged(_)));
        restored(&new, &bad, How::Import).await.unwrap_err();
        tried += 1;
        assert_eq!((dump(&new).await, blobs(&new).await), (String::new(), 0));
    }
    assert_eq!((tried, untouched), (50, 50), "each is called damaged");
    let none = inspected(&new, &folder.path().join("none.tar")).await.unwrap_err();
    assert!(matches!(none, RestoreRefusal::Unreadable(_)), "{none}");
}

#[tokio::test]
async fn lost_bytes_make_no_backup_impossible_and_are_told() {
    let (old, ann, letter) = furnished().await;
    let files = old.inside.files.of_user(ann.id).await.unwrap();
    let lost = files.iter().find(|file| file.id == letter).unwrap().blob;
    let picture = files.iter().find(|file| file.picture_of.is_some()).unwrap().blob;
    std::fs::remove_file(blob_path(&old, lost)).unwrap();
    let mut rotten = std::fs::read(blob_path(&old, picture)).unwrap();
    rotten[20] ^= 1;
    std::fs::write(blob_path(&old, picture), rotten).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let made = old.inside.archive.back_up(folder.path(), &Progress::Silent).await.unwrap();
    assert_eq!((made.manifest.files, made.manifest.flawed), (2, 2), "wrong bytes are not in it");
    assert_eq!(made.manifest.flawed_blobs.len(), 2);
    let new = TestApp::new().await;
    assert_eq!(inspected(&new, &made.path).await.unwrap().flawed, 2);
    let counts = restored(&new, &made.path, How::Import).await.unwrap();
    assert_eq!((counts["files"].added, counts["files"].left_out), (2, 2));
    assert!(counts["files"].notes[0].contains("its bytes are not here"), "{:?}", counts["files"].notes);
}

#[tokio::test]
async fn a_backup_under_another_secret_is_told_and_refused() {
    let (old, ann, _) = furnished().await;
    ann.enrol(&old).await;
    let folder = tempfile::tempdir().unwrap();
    let path = backed_up(&old, folder.path()).await;
    let other = TestApp::with(&[("JWT_SECRET_KEY", "Zt7Qm2Lx9Wc4Rb6Vn1Kp8Hs3Jd5Gf0Ye")]).await;
    assert_eq!(inspected(&other, &path).await.unwrap().unopened, 1);
    let refusal = restored(&other, &path, How::Import).await.unwrap_err();
    assert!(matches!(refusal, RestoreRefusal::Database(_)), "{refusal}");
    assert_eq!((dump(&other).await, blobs(&other).await), (String::new(), 0));
    let without = ImportOptions { drop_second_factors: true, ..ImportOptions::default() };
    restored_with(&other, &path, How::Import, without).await.unwrap();
    other.sign_in("ann").await;
}

#[tokio::test]
async fn the_log_of_what_staff_did_comes_back_whole_and_goes_on() {
    let (old, ann, _) = furnished().await;
    let admin = old.admin().await;
    for reason in ["spam", "still"] {
        admin.post(&format!("/api/admin/ban/{}", ann.id)).json(&json!({"reason": reason})).await;
        admin.post(&format!("/api/admin/unban/{}", ann.id)).json(&json!({})).await.is(200);
    }
    let (log, head) =
        (admin.get("/api/admin/audit?order=asc").await.ok().json(), old.inside.audit.head().await.unwrap());
    let log = log.as_array().unwrap();
    assert!(log.len() >= 4, "{log:?}");
    let folder = tempfile::tempdir().unwrap();
    let path = backed_up(&old, folder.path()).await;

    let new = TestApp::new().await;
    restored(&new, &path, How::Import).await.unwrap();
    let verdict = new.inside.audit.verify(head).await.unwrap();
    assert_eq!(verdict.flaw, None, "it holds the end that was noted before");
    let admin = new.sign_in("root").await;
    let kept = admin.get("/api/admin/audit?order=asc").await.ok().json();
    let kept = kept.as_array().unwrap();
    assert_eq!(kept[..log.len()], log[..]);
    assert_eq!(kept[log.len()]["action"], "database_imported", "and goes on behind it");

    // Where there is a log already, it stays as it is.
    restored(&new, &path, How::Recover).await.unwrap();
    let after = admin_log(&new).await;
    assert_eq!(after[..kept.len()], kept[..]);
    assert_eq!(new.inside.audit.verify(head).await.unwrap().flaw, None);

    // Nobody elsewhere could tell it from a forgery.
    let other = TestApp::with(&[("JWT_SECRET_KEY", "Zt7Qm2Lx9Wc4Rb6Vn1Kp8Hs3Jd5Gf0Ye")]).await;
    restored(&other, &path, How::Import).await.unwrap();
    assert_eq!(admin_log(&other).await[0]["action"], "database_imported");
    assert_eq!(other.inside.audit.verify(None).await.unwrap().flaw, None);
}

async fn admin_log(app: &TestApp) -> Vec<serde_json::Value> {
    let log = app.sign_in("root").await.get("/api/admin/audit?order=asc").await.ok().json();
    log.as_array().unwrap().clone()
}

#[tokio::test]
async fn old_bytes_are_not_swept_while_their_rows_are_on_the_way() {
    let app = TestApp::new().await;
    let old = uuid::Uuid::parse_str("01800000-0000-7000-8000-000000000001").unwrap();
    let piece = || futures_util::stream::iter([Ok(bytes::Bytes::from_static(b"x"))]);
    let files = &app.inside.files;
    let bringing = async {
        files.bring(Some(old), piece()).await.unwrap();
        app.inside.sweep().await.unwrap();
        blobs(&app).await
    };
    assert_eq!(files.without_sweeping(|_| bringing).await.unwrap(), 1);
    app.clock.advance(std::time::Duration::from_hours(2));
    app.inside.sweep().await.unwrap();
    assert_eq!(blobs(&app).await, 0);
}

#[tokio::test]
async fn who_stood_still_while_another_swept_adds_no_rows() {
    let app = TestApp::new().await;
    let db = &app.inside.db;
    let holds =
        |quiet: Quiet| db.write::<_, DbErr, _>(move |tx| async move { quiet.holds(tx).await }.boxed());
    let bringing = |quiet: Quiet| async move {
        let before = holds(quiet.clone()).await.unwrap();
        // Another server took the lease, swept, and gave it back.
        let sql = "DELETE FROM leases WHERE name = 'file sweep'";
        let swept = db.write::<_, DbErr, _>(move |tx| tx.run(sql, []).boxed()).await.unwrap();
        (before, swept, holds(quiet).await.unwrap())
    };
    let held = app.inside.files.without_sweeping(bringing).await.unwrap();
    assert_eq!(held, (true, 1, false));
}
