//! Copies of a running database by `cp`, as people make them.

use std::cell::Cell;
use std::fs::{self, File};
use std::io::Read;
use std::process::Command;

use tokio::task::spawn_blocking;

use crate::chance::{Dice, rounds};
use crate::gatehouse::Site;
use crate::killed::is_sound;
use crate::ledger::{self, Book};

/// The database goes first: what is moved into it from the log while the log is copied is still in the log.
const FILES: [&str; 4] = ["gatehouse.db", "gatehouse.db-wal", "gatehouse.db-shm", "secret.key"];

#[tokio::test]
async fn a_plain_copy_of_a_running_database_has_all_that_was_answered_unless_the_log_began_anew_meanwhile() {
    let (dice, site) = (Dice::new(), Site::on(None));
    let server = site.start().await;
    let (mut whole, mut tried) = (0, 0);
    while tried < rounds(4) || (whole == 0 && tried < 20) {
        tried += 1;
        let (book, copy, over) = (Book::default(), Site::on(None), Cell::new(false));
        let copying = async {
            tokio::time::sleep(dice.millis(200..1000)).await;
            // Of all moments, that of an answer is the one that a broken promise shows at.
            book.next().await;
            let (before, log) = (book.copy(), beginning(&site));
            copy_by_hand(&site, &copy).await;
            let is_whole = beginning(&site) == log;
            over.set(true);
            (before, is_whole)
        };
        let client = server.client();
        let (later, (before, is_whole)) =
            tokio::join!(ledger::load_into(&book, &client, &dice, &over), copying);
        println!("{} acts answered before the copy, {} in all", before.done(), later.done());
        if !is_whole {
            println!("the log began anew while it was copied: nothing is promised of that");
            continue;
        }
        let copied = copy.start().await;
        let db = copy.database().await;
        is_sound(&db).await;
        later.check_since(&before, &db).await;
        assert_eq!(copied.client().sign_up("somebody_new").await.unwrap().status, 201);
        copied.stop().await;
        whole += 1;
    }
    assert!(whole > 0, "the log began anew each time");
    server.stop().await;
}

/// Copies the files of a site to another one, in their order, as `cp -r` does where they lie in it.
async fn copy_by_hand(from: &Site, to: &Site) {
    fs::create_dir(to.data()).unwrap();
    let mut cp = Command::new("cp");
    cp.arg("-p").args(FILES.map(|name| from.data().join(name))).arg(to.data());
    let status = spawn_blocking(move || cp.status().unwrap()).await.unwrap();
    assert!(status.success(), "{status}");
}

/// The head of the log: another one when all of it was moved into the database, and it begins anew.
fn beginning(site: &Site) -> [u8; 32] {
    let mut head = [0; 32];
    let mut log = File::open(site.data().join("gatehouse.db-wal")).unwrap();
    log.read_exact(&mut head).unwrap();
    head
}
