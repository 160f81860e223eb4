//! Everything from SQLite to PostgreSQL and back: nothing is lost on the way.

use std::time::Instant;

use gatehouse::archive::{How, ImportOptions, Progress};
use rusqlite::{Connection, params};

use super::dump;
use crate::harness::{PASSWORD, TestApp};

/// Accounts; more by `ROUND_TRIP_USERS`, for a measurement.
const USERS: usize = 2000;

fn users() -> usize {
    std::env::var("ROUND_TRIP_USERS").ok().and_then(|number| number.parse().ok()).unwrap_or(USERS)
}

/// Fills an empty export with people of every kind, with what hangs on them.
fn fill(file: &Connection, users: usize) {
    file.execute_batch("BEGIN").unwrap();
    let mut user = file
        .prepare(
            "INSERT INTO users (id, username, display_name, search_name, email, email_verified, first_name, last_name, \
             middle_name, description, locale, password_hash, password_changed_at, roles, is_active, is_external_only, \
             metadata, token_version, revision, created_at, updated_at, deleted_at, otp_method, pending_email, \
             event_sequence) VALUES (?1, ?2, ?3, ?2, ?4, ?5, ?6, ?7, NULL, ?8, ?9, \
             '$2b$04$abcdefghijklmnopqrstuuN4IxUS1jCXKF2zrRWKZ8C1TZ4eVqrNG', ?10, ?11, ?12, 0, ?13, 3, 7, ?10, ?10, ?14, \
             'none', NULL, 5)",
        )
        .unwrap();
    let mut history =
        file.prepare("INSERT INTO user_history VALUES (?1, ?2, ?3, 'created', ?4, ?2, NULL)").unwrap();
    let mut block = file.prepare("INSERT INTO user_blocks VALUES (?1, ?2, ?3)").unwrap();
    let mut account = file
        .prepare("INSERT INTO external_accounts VALUES (?1, 'github', ?2, ?1, NULL, 'Ånn 🦉', NULL, NULL, NULL, ?3, ?3)")
        .unwrap();
    let mut code = file.prepare("INSERT INTO recovery_codes VALUES (?1, ?2)").unwrap();
    for number in 0..users {
        let (id, at) = (id_of(number), 1_700_000_000_000_i64 + i64::try_from(number).unwrap());
        let name = format!("person_{number}");
        let email = (number % 5 != 0).then(|| format!("{name}@example.com"));
        let first = (number % 3 == 0).then_some("Zoë");
        let description = (number % 4 == 0).then_some("line one\nline two “quoted” — 日本語");
        let locale = (number % 6 == 0).then_some("pt-BR");
        let metadata = if number % 7 == 0 { r#"{"plan":"gold","seats":[1,2.5,null]}"# } else { "{}" };
        let (roles, deleted) = (if number == 1 { 9 } else { 8 }, (number % 50 == 49).then_some(at));
        let display = name.replace('_', " ").to_uppercase();
        user.execute(params![
            id,
            name,
            display,
            email,
            number % 2 == 1,
            first,
            first,
            description,
            locale,
            at,
            roles,
            number % 11 != 2,
            metadata,
            deleted
        ])
        .unwrap();
        history.execute(params![id, id, at, "signed up — once"]).unwrap();
        if number > 0 && number % 10 == 0 {
            block.execute(params![id, id_of(number - 1), at]).unwrap();
        }
        if number % 8 == 0 {
            account.execute(params![id, number.to_string(), at]).unwrap();
            code.execute(params![id, [u8::try_from(number % 256).unwrap(); 32]]).unwrap();
        }
    }
    file.execute("INSERT INTO spent_user_ids VALUES (?1, 5)", [uuid::Uuid::max().as_bytes()]).unwrap();
    file.execute("INSERT INTO workos_users VALUES ('user_01', ?1, 7, NULL, 8, 3)", [id_of(2)]).unwrap();
    drop((user, history, block, account, code));
    file.execute_batch("COMMIT").unwrap();
}

/// An id (`UUIDv7` to look at, as those of history must be) that sorts otherwise than it was made.
fn id_of(number: usize) -> [u8; 16] {
    let mut id = *uuid::Uuid::from_u128(number as u128).as_bytes();
    id[0] = u8::try_from(number * 31 % 256).unwrap();
    (id[6], id[8]) = (0x70, 0x80);
    id
}

#[tokio::test]
async fn everything_comes_back_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let sqlite = |name: &str| format!("sqlite://{}", folder.path().join(name).display());
    let (first, last) = (sqlite("first.db"), sqlite("last.db"));
    let apps = [
        TestApp::with(&[("DATABASE_URI", &first)]).await,
        TestApp::new().await, // PostgreSQL, where the tests run on it
        TestApp::with(&[("DATABASE_URI", &last)]).await,
    ];
    let options = ImportOptions::default();
    let mut path = folder.path().join("0.db");
    apps[0].inside.archive.export_to(&path, &Progress::Silent).await.unwrap();
    let file = Connection::open(&path).unwrap();
    fill(&file, users());
    file.close().unwrap();

    let (mut dumps, mut digests) = (Vec::new(), Vec::new());
    for (nth, app) in apps.iter().enumerate() {
        let begun = Instant::now();
        let archive = &app.inside.archive;
        let counts = archive.import_from(&path, How::Import, &options, &Progress::Silent).await.unwrap();
        let (imported, begun) = (begun.elapsed(), Instant::now());
        assert_eq!(counts["users"].added, users() as u64);
        assert!(counts.values().all(|table| table.left_out == 0), "{counts:?}");
        path = folder.path().join(format!("{}.db", nth + 1));
        let exported = archive.export_to(&path, &Progress::Silent).await.unwrap();
        println!(
            "{:?}: {} accounts in {imported:?} in, {:?} out, {} bytes",
            app.inside.db.backend(),
            users(),
            begun.elapsed(),
            std::fs::metadata(&path).unwrap().len()
        );
        digests.push(exported.digest);
        dumps.push(dump(app).await);
    }
    assert!(dumps[0].lines().count() > 2 * users());
    assert!(dumps.iter().all(|dump| *dump == dumps[0]), "something was lost or changed");
    assert!(digests.iter().all(|digest| *digest == digests[0]));

    let begun = Instant::now();
    let counts =
        apps[2].inside.archive.import_from(&path, How::Recover, &options, &Progress::Silent).await.unwrap();
    println!("all of it again in {:?}", begun.elapsed());
    assert!(counts.values().all(|table| table.added + table.overwritten + table.filled == 0), "{counts:?}");
    assert_eq!(dump(&apps[2]).await, dumps[0]);
    apps[2].try_sign_in("person_3", PASSWORD).await.refused(401, "invalid_credentials");
}
