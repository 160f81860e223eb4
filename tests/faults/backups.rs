//! Backups from the command line, and backups that are killed.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::chance::{Dice, rounds};
use crate::gatehouse::{PASSWORD, Server, Site};
use crate::waiting::{SOON, until_true};

const FILES: usize = 8;
const FILE: usize = 4 * 1024 * 1024;

/// Somebody with files that take their time.
async fn furnish(server: &Server<'_>) {
    let client = server.client();
    let token = client.sign_up("ann").await.unwrap().text("access_token");
    for number in 0..FILES {
        let head = format!(
            "--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{number}.bin\"\r\n\r\n"
        );
        let content: Vec<u8> = (0..FILE).map(|at| u8::try_from((at * 31 + number) % 251).unwrap()).collect();
        let form = [head.as_bytes(), &content, b"\r\n--B--\r\n"].concat();
        let answer = client.send("/file", &token, "multipart/form-data; boundary=B", form).await.unwrap();
        assert_eq!(answer.status, 201, "{:?}", answer.body);
    }
}

fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[tokio::test]
async fn a_backup_of_a_running_server_fills_an_empty_one() {
    let old = Site::new();
    let server = old.start().await;
    furnish(&server).await;
    let folder = old.folder().join("elsewhere");
    let made = old.must(&["backup", folder.to_str().unwrap()]);
    server.stop().await;
    assert!(made.contains("8 files") && made.contains("/elsewhere/gatehouse-"), "{made}");
    let there = names(&folder);
    let [name] = &there[..] else { panic!("{there:?}") };
    let backup = folder.join(name).display().to_string();

    let verified = old.must(&["restore", &backup, "--verify"]);
    assert!(verified.contains("1 users") && verified.contains("ok    whole"), "{verified}");
    let refused = old.run(&["restore", &backup]);
    assert_eq!(refused.code, Some(1), "{}", refused.all());
    assert!(refused.err.contains("not empty: 1 account"), "{}", refused.err);

    let new = Site::new();
    let verified = new.run(&["restore", &backup, "--verify"]);
    assert!(verified.out.contains("ok    whole"), "{}", verified.all());
    assert!(!new.data().join("gatehouse.db").exists(), "looking makes no database");
    let restored = new.must(&["restore", &backup]);
    assert!(restored.contains("users"), "{restored}");
    let server = new.start().await;
    let answer = server.client().sign_in("ann", PASSWORD).await.unwrap();
    assert_eq!(answer.status, 200, "{:?}", answer.body);
    server.stop().await;

    let mut bytes = fs::read(&backup).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&backup, bytes).unwrap();
    let damaged = new.run(&["restore", &backup, "--verify"]);
    assert_eq!(damaged.code, Some(1));
    assert!(damaged.err.contains("damaged"), "{}", damaged.all());
    assert_eq!(fs::read_dir(new.folder().join("tmp")).unwrap().count(), 0, "looking leaves nothing behind");
}

#[test]
fn a_folder_that_takes_no_backup_is_named_and_what_the_system_said_is_said_once() {
    let site = Site::new();
    site.must(&["migrate", "up"]);
    let file = site.folder().join("file");
    fs::write(&file, "").unwrap();
    let folder = file.join("backups");
    let refused = site.run(&["backup", folder.to_str().unwrap()]);
    assert_eq!(refused.code, Some(1), "{}", refused.all());
    let words = format!("gatehouse: the backup can't be written to {}: ", folder.display());
    assert!(refused.err.starts_with(&words), "{}", refused.err);
    assert_eq!(refused.err.matches("(os error ").count(), 1, "{}", refused.err);
}

#[tokio::test]
async fn a_backup_that_is_killed_has_no_name() {
    let (dice, site) = (Dice::new(), Site::new());
    let server = site.start().await;
    furnish(&server).await;
    server.stop().await;
    let folder = site.folder().join("backups");
    let arguments = ["backup", folder.to_str().unwrap()];
    let mut killed = 0;
    for _ in 0..rounds(6) {
        let mut command: Command = site.command(&arguments);
        let mut child = command.spawn().unwrap();
        until_true("it has begun", SOON, async || {
            names(&folder).iter().any(|name| name.starts_with(".gatehouse-work-"))
                || child.try_wait().unwrap().is_some()
        })
        .await;
        tokio::time::sleep(dice.millis(0..60)).await;
        child.kill().unwrap();
        child.wait().unwrap();
        let complete: Vec<String> =
            names(&folder).into_iter().filter(|name| !name.starts_with('.')).collect();
        for name in &complete {
            let backup = folder.join(name).display().to_string();
            assert!(site.must(&["restore", &backup, "--verify"]).contains("ok    whole"), "{name}");
            fs::remove_file(&backup).unwrap();
        }
        killed += u32::from(complete.is_empty());
    }
    println!("{killed} were killed before their end");
    site.must(&arguments);
    let left = names(&folder);
    assert!(
        matches!(&left[..], [one] if one.rsplit_once('.').is_some_and(|(_, kind)| kind == "tar")),
        "only the last one is there: {left:?}"
    );
}
