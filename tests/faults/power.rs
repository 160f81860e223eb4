//! The power goes.
//!
//! What the program asks of the disk is recorded while it works. For some moments of that, folders are made of what a disk
//! may hold then, and the program is started on them: everything that was answered before the moment must be there.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::Method;
use serde_json::json;

use crate::chance::{Dice, rounds, unique};
use crate::client::Client;
use crate::gatehouse::{PASSWORD, Server, Site};
use crate::killed::is_sound;
use crate::ledger::{self, Book, Entries};
use crate::recording::{Disk, Recorder};
use crate::uploads::{content, is_whole};

/// Moments of each load at which the power goes.
const MOMENTS: usize = 6;
/// Moments of each start.
const OF_THE_START: usize = 2;
/// Who uploads files.
const UPLOADER: &str = "uploader";

/// What was answered at a moment.
struct Picture {
    moment: u64,
    entries: Entries,
    uploads: BTreeMap<i64, String>,
    flags: usize,
}

#[tokio::test]
async fn nothing_that_was_answered_is_lost_when_the_power_goes() {
    let dice = Dice::new();
    for _ in 0..rounds(2) {
        let (album, disk) = work(&dice).await;
        look_at(&album, disk, &dice).await;
    }
}

/// An installation with an admin.
fn site() -> Site {
    Site::on(None)
        .with("ADMIN_USERNAME", "admin")
        .with("ADMIN_PASSWORD", PASSWORD)
        .with("MAX_USER_FILES", "100000")
        .with("MAX_USER_STORAGE_BYTES", "1000000000000")
}

/// Starts and works for a while: pictures in the order of their moments, and the disk that was worked on.
async fn work(dice: &Dice) -> (Vec<Picture>, Disk) {
    let site = site();
    let recorder = Recorder::of(&site);
    let mut server = site.launch_as(recorder.record(site.command(&[])));
    server.ready().await;
    let begun = usize::try_from(recorder.moment()).unwrap();
    let mut album: Vec<Picture> = (0..OF_THE_START).map(|_| Picture::of_a_start(dice.below(begun))).collect();
    album.sort_by_key(|picture| picture.moment);
    let client = server.client();
    let (admin, uploader) = people(&client).await;
    let (book, over) = (Book::default(), Cell::new(false));
    let (uploads, flags) = (RefCell::new(BTreeMap::new()), Cell::new(0));
    let looking = async {
        for _ in 0..MOMENTS {
            tokio::time::sleep(dice.millis(50..500)).await;
            // Of all moments, that of an answer is the one that a broken promise shows at.
            book.next().await;
            let (moment, entries) = (recorder.moment(), book.copy());
            album.push(Picture { moment, entries, uploads: uploads.borrow().clone(), flags: flags.get() });
        }
        over.set(true);
    };
    tokio::join!(
        ledger::load_into(&book, &client, dice, &over),
        upload(&client, &uploader, &uploads, &over),
        upload(&client, &uploader, &uploads, &over),
        set_flags(&client, &admin, &flags, &over),
        looking,
    );
    server.kill();
    (album, recorder.play())
}

impl Picture {
    /// One of a moment at which nothing had been asked yet.
    fn of_a_start(moment: usize) -> Self {
        let moment = u64::try_from(moment).unwrap();
        Self { moment, entries: Entries::default(), uploads: BTreeMap::new(), flags: 0 }
    }
}

/// The admin and somebody who uploads: their tokens.
async fn people(client: &Client) -> (String, String) {
    let admin = client.sign_in("admin", PASSWORD).await.unwrap().text("access_token");
    let uploader = client.sign_up(UPLOADER).await.unwrap().text("access_token");
    (admin, uploader)
}

async fn upload(client: &Client, token: &str, answered: &RefCell<BTreeMap<i64, String>>, over: &Cell<bool>) {
    while !over.get() {
        let name = unique();
        let answer = client.upload(token, &name, &content(&name)).await.unwrap();
        assert_eq!(answer.status, 201, "{answer:?}");
        answered.borrow_mut().insert(answer.body["id"].as_i64().unwrap(), name);
    }
}

/// Makes one flag after the other.
async fn set_flags(client: &Client, token: &str, answered: &Cell<usize>, over: &Cell<bool>) {
    while !over.get() {
        let change = json!({ "add": { (flag(answered.get())): true } });
        let answer = client.ask(Method::PATCH, "/admin/feature-flags", token, Some(change)).await.unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        answered.set(answered.get() + 1);
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}

fn flag(number: usize) -> String {
    format!("power_{number}")
}

/// Starts the program on what the disk may hold at each moment.
async fn look_at(album: &[Picture], mut disk: Disk, dice: &Dice) {
    for picture in album {
        disk.advance(picture.moment);
        let site = site();
        disk.fail(dice, site.folder());
        let server = site.start().await;
        println!(
            "{} writes, {} uploads, {} flags",
            picture.entries.done(),
            picture.uploads.len(),
            picture.flags
        );
        let db = site.database().await;
        is_sound(&db).await;
        picture.entries.check(&db).await;
        is_whole(&site, &picture.uploads).await;
        picture.entries.check_server(&server.client()).await;
        check_flags(&server, picture.flags).await;
        server.stop().await;
    }
    assert!(disk.syncs() > album.len(), "{} syncs: was it recorded at all?", disk.syncs());
}

/// The flags that were answered are there, and but for the one that was asked for meanwhile no others.
async fn check_flags(server: &Server<'_>, answered: usize) {
    let client = server.client();
    let admin = client.sign_in("admin", PASSWORD).await.unwrap().text("access_token");
    let flags = client.ask(Method::GET, "/admin/feature-flags", &admin, None).await.unwrap();
    for number in 0..answered {
        assert_eq!(flags.body[flag(number)], true, "flag {number} of {answered} is lost");
    }
    assert!(flags.body[flag(answered + 1)].is_null(), "a flag that nobody had asked for");
}
