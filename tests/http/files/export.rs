//! Taking everything along.

use std::io::{Cursor, Read};

use futures_util::FutureExt;
use sea_orm::{ConnectionTrait, DbErr, Statement};
use serde_json::Value;
use uuid::Uuid;
use zip::ZipArchive;

use super::uploaded;
use crate::harness::TestApp;

/// The names of what is in an archive, and the content.
pub fn unpacked(bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut archive = ZipArchive::new(Cursor::new(bytes.to_vec())).unwrap();
    let names: Vec<_> = archive.file_names().map(str::to_owned).collect();
    let contents = names.into_iter().map(|name| {
        let content = read(&mut archive, &name);
        (name, content)
    });
    contents.collect()
}

fn read(archive: &mut ZipArchive<Cursor<Vec<u8>>>, name: &str) -> Vec<u8> {
    let mut content = Vec::new();
    archive.by_name(name).unwrap().read_to_end(&mut content).unwrap();
    content
}

#[tokio::test]
async fn everything_about_oneself_comes_in_one_archive_and_no_secret_with_it() {
    let app = TestApp::new().await;
    let (ann, bob) = (app.user("ann").await, app.user("bob").await);
    let content = vec![7; 300_000];
    let file = uploaded(&ann, "notes ü.txt", &content).await["id"].clone();
    uploaded(&bob, "bobs.txt", b"nobody else's").await;

    let reply = ann.get("/api/user/me/export").await;
    let reply = reply.is(200);
    assert_eq!(reply.header("content-type"), Some("application/zip"));
    assert_eq!(reply.header("content-disposition"), Some("attachment; filename=\"my-data.zip\""));
    let mut archive = ZipArchive::new(Cursor::new(reply.bytes().to_vec())).unwrap();
    let kept = format!("files/{file}-notes ü.txt");
    let mut names: Vec<_> = archive.file_names().map(str::to_owned).collect();
    names.sort_unstable();
    assert_eq!(names, ["account.json", "events.json", "files.json", &kept, "history.json", "sessions.json"]);
    assert_eq!(read(&mut archive, &kept), content);

    let json = |bytes: Vec<u8>| serde_json::from_slice::<Value>(&bytes).unwrap();
    assert_eq!(json(read(&mut archive, "account.json"))["email"], "ann@example.com");
    assert_eq!(json(read(&mut archive, "sessions.json")).as_array().unwrap().len(), 1);
    assert_eq!(json(read(&mut archive, "files.json"))[0]["id"], file);
    let history = json(read(&mut archive, "history.json"));
    assert_eq!(history.as_array().unwrap().last().unwrap()["action"], "created");
    let events = json(read(&mut archive, "events.json"));
    assert_eq!(events[0]["event_type"], "user.created");
    assert!(events.as_array().unwrap().iter().all(|event| event["user_id"] == ann.id.to_string()));
    for name in ["account.json", "events.json", "sessions.json"] {
        let text = String::from_utf8(read(&mut archive, name)).unwrap();
        assert!(
            !text.contains("argon2") && !text.contains("digest") && !text.contains(&ann.access),
            "{text}"
        );
    }
}

#[tokio::test]
async fn a_long_history_comes_whole_and_the_newest_first() {
    const LINES: u128 = 600;
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    let (user, now) = (ann.id, app.clock.now().millis());
    let written = app.inside.db.write::<_, DbErr, _>(move |tx| {
        async move {
            for number in 1..=LINES {
                // Many are of the same moment, also where one part ends and the next begins.
                let at = now + 1 + i64::try_from(number / 200).unwrap();
                let sql = "INSERT INTO user_history (id, user_id, at, action, description) \
                           VALUES ($1, $2, $3, 'updated', $4)";
                let values =
                    [Uuid::from_u128(number).into(), user.into(), at.into(), number.to_string().into()];
                let statement = Statement::from_sql_and_values(tx.get_database_backend(), sql, values);
                tx.execute_raw(statement).await?;
            }
            Ok(())
        }
        .boxed()
    });
    written.await.unwrap();
    let reply = ann.get("/api/user/me/export").await;
    let mut archive = ZipArchive::new(Cursor::new(reply.is(200).bytes().to_vec())).unwrap();
    let history: Vec<Value> = serde_json::from_slice(&read(&mut archive, "history.json")).unwrap();
    let (told, before) = history.split_at(usize::try_from(LINES).unwrap());
    let told = told.iter().map(|line| line["description"].as_str().unwrap().to_owned());
    assert!(told.eq((1..=LINES).rev().map(|number| number.to_string())));
    assert_eq!(before.last().unwrap()["action"], "created");
}
