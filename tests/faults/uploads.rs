//! Uploads while the program is killed, and on a disk that takes no more.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use uuid::Uuid;

use crate::chance::{Dice, rounds, unique};
use crate::client::Client;
use crate::database::column;
use crate::gatehouse::{Server, Site};

/// So many bytes has each file of these tests: several portions for the disk.
const SIZE: usize = 700_000;

/// What a file of this name holds.
pub fn content(name: &str) -> Vec<u8> {
    name.bytes().cycle().take(SIZE).collect()
}

#[tokio::test]
async fn a_kill_during_uploads_leaves_no_half_file_and_no_row_without_a_file() {
    let dice = Dice::new();
    let site = Site::new().with("MAX_USER_FILES", "100000").with("MAX_USER_STORAGE_BYTES", "1000000000000");
    let mut answered: BTreeMap<i64, String> = BTreeMap::new();
    for round in 0..rounds(4) {
        let mut server = site.start().await;
        answered.extend(upload_and_kill(&mut server, &dice, &format!("user_{round}")).await);
        is_whole(&site, &answered).await;
    }
    // What was answered is still there, byte for byte, for those who ask.
    let server = site.start().await;
    let token =
        server.client().sign_in("user_0", crate::gatehouse::PASSWORD).await.unwrap().text("access_token");
    let list = server.client().ask(reqwest::Method::GET, "/file?limit=1000", &token, None).await.unwrap();
    assert_eq!(list.status, 200);
    println!("{} uploads answered", answered.len());
    server.stop().await;
}

/// Uploads side by side until the kill; the numbers of the files that were answered, with their names.
async fn upload_and_kill(server: &mut Server<'_>, dice: &Dice, username: &str) -> BTreeMap<i64, String> {
    let client = server.client();
    let token = client.sign_up(username).await.unwrap().text("access_token");
    let (over, answered) = (Cell::new(false), RefCell::new(BTreeMap::new()));
    let moment = dice.millis(200..1200);
    let killing = async {
        tokio::time::sleep(moment).await;
        server.kill();
        over.set(true);
    };
    let uploading = || async {
        while !over.get() {
            let name = unique();
            if let Ok(answer) = client.upload(&token, &name, &content(&name)).await
                && answer.status == 201
            {
                answered.borrow_mut().insert(answer.body["id"].as_i64().unwrap(), name);
            }
        }
    };
    let uploads = futures_util::future::join_all((0..6).map(|_| uploading()));
    tokio::join!(uploads, killing);
    answered.into_inner()
}

/// Every row has its bytes, everything answered its row, and what lies where bytes belong is whole.
pub async fn is_whole(site: &Site, answered: &BTreeMap<i64, String>) {
    let db = site.database().await;
    let ids: Vec<i64> = column(&db, "SELECT id FROM files ORDER BY id").await;
    let names: Vec<String> = column(&db, "SELECT name FROM files ORDER BY id").await;
    let digests: Vec<Vec<u8>> = column(&db, "SELECT sha256 FROM files ORDER BY id").await;
    let blobs: Vec<Uuid> = column(&db, "SELECT blob FROM files ORDER BY id").await;
    let rows: BTreeMap<i64, &String> = ids.iter().copied().zip(&names).collect();
    for (id, name) in answered {
        assert_eq!(rows.get(id), Some(&name), "an answered upload is lost");
    }
    let folder = site.data().join("files");
    for ((blob, name), sha256) in blobs.iter().zip(&names).zip(&digests) {
        let text = blob.to_string();
        let path = folder.join(&text[32..34]).join(&text[34..36]).join(&text);
        let bytes = fs::read(&path).unwrap_or_else(|error| panic!("a row without its bytes: {error}"));
        assert!(bytes == content(name), "other bytes than were sent");
        assert_eq!(digest(&SHA256, &bytes).as_ref(), sha256);
    }
    for path in files_below(&folder) {
        if !path.starts_with(folder.join("tmp")) && !path.ends_with("owner") {
            assert_eq!(path.metadata().unwrap().len(), SIZE as u64, "half a file");
        }
    }
}

/// All files in a folder and its folders.
pub fn files_below(folder: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

// F-06
#[tokio::test]
async fn on_a_disk_without_room_an_upload_is_507_and_leaves_nothing_and_the_rest_works() {
    let site = Site::on(None);
    let command = site.command(&[]);
    let mut server =
        site.launch_as(Site::through(&command, "sh", &["-c", "trap '' XFSZ; exec \"$0\" \"$@\""]));
    server.ready().await;
    let client = server.client();
    let token = client.sign_up("ann").await.unwrap().text("access_token");
    // Neither the database nor the log grow as far.
    let limit = fs::metadata(site.data().join("gatehouse.db-wal")).unwrap().len() + 4_000_000;
    let large = vec![b'x'; usize::try_from(limit).unwrap() + 1_000_000];
    bound(&server, Some(limit));
    let refused = client.upload(&token, "large", &large).await.unwrap();
    assert_eq!((refused.status, refused.text("code").as_str()), (507, "insufficient_storage"));
    assert!(files_below(&site.data().join("files")).is_empty());
    assert_eq!(client.me(&token).await.unwrap().status, 200);
    assert_eq!(client.upload(&token, "small", b"x").await.unwrap().status, 201);
    bound(&server, None);
    assert_eq!(client.upload(&token, "large", &large).await.unwrap().status, 201);
    server.stop().await;
}

fn bound(server: &Server, size: Option<u64>) {
    let process = Pid::from_raw(server.process().try_into().unwrap()).unwrap();
    let maximum = getrlimit(Resource::Fsize).maximum;
    prlimit(Some(process), Resource::Fsize, Rlimit { current: size.or(maximum), maximum }).unwrap();
}

impl Client {
    /// Uploads a file: File.
    pub async fn upload(
        &self,
        token: &str,
        name: &str,
        content: &[u8],
    ) -> reqwest::Result<crate::client::Answer> {
        let head = format!("Content-Disposition: form-data; name=\"file\"; filename=\"{name}\"");
        let form = [format!("--B\r\n{head}\r\n\r\n").as_bytes(), content, b"\r\n--B--\r\n"].concat();
        self.send("/file", token, "multipart/form-data; boundary=B", form).await
    }
}
