//! Backups, and databases of S1.

mod restoring;
mod s1;
mod s1_hostile;
mod scheduled;

use std::path::Path;

use gatehouse::archive::canonical_dump;
use rusqlite::Connection;

use crate::harness::{Actor, TestApp};

/// Everything that travels, one line for each row.
async fn dump(app: &TestApp) -> String {
    let mut out = Vec::new();
    canonical_dump(&app.inside.db, &mut out).await.unwrap();
    String::from_utf8(out).unwrap()
}

/// The names of what lies in a folder, sorted; hidden ones too.
fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// How many blobs the program keeps.
async fn blobs(app: &TestApp) -> usize {
    let folder = app.inside.config.server.data_dir.join("files");
    let outer = names(&folder).into_iter().filter(|name| name.len() == 2);
    let inner = outer.flat_map(|outer| {
        let folder = folder.join(&outer);
        names(&folder).into_iter().map(move |inner| folder.join(inner))
    });
    inner.map(|folder| names(&folder).len()).sum()
}

async fn upload(owner: &Actor, name: &str, content: &str) -> i64 {
    let body = format!(
        "--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\r\n{content}\r\n--B--\r\n"
    );
    let reply = owner.post("/api/file").body("multipart/form-data; boundary=B", body).await;
    reply.is(201).json()["id"].as_i64().unwrap()
}

/// The tables of S1, as its SQLAlchemy makes them.
const S1_TABLES: &str = "
    CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY);
    INSERT INTO alembic_version VALUES ('86696fdc7ed0');
    CREATE TABLE files (
        id INTEGER NOT NULL, file_name VARCHAR NOT NULL, file_type VARCHAR NOT NULL, file_path VARCHAR NOT NULL,
        description VARCHAR, created_at INTEGER NOT NULL, created_by_uuid VARCHAR NOT NULL,
        PRIMARY KEY (id), UNIQUE (file_name), FOREIGN KEY(created_by_uuid) REFERENCES users (uuid));
    CREATE TABLE users (
        uuid VARCHAR(36) NOT NULL, username VARCHAR NOT NULL, display_name VARCHAR NOT NULL,
        email VARCHAR NOT NULL, email_verified BOOLEAN NOT NULL, hashed_password VARCHAR NOT NULL,
        otp_method VARCHAR NOT NULL, otp_secret VARCHAR, roles JSON NOT NULL, description VARCHAR,
        created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL, is_external_only BOOLEAN NOT NULL,
        is_active BOOLEAN NOT NULL, user_history JSON NOT NULL, profile_picture_id INTEGER,
        blocked_uuids JSON NOT NULL,
        PRIMARY KEY (uuid), UNIQUE (username), UNIQUE (email), FOREIGN KEY(profile_picture_id) REFERENCES files (id));
    CREATE TABLE users_files_links (
        user_uuid VARCHAR, file_id INTEGER,
        FOREIGN KEY(user_uuid) REFERENCES users (uuid), FOREIGN KEY(file_id) REFERENCES files (id));
    CREATE TABLE external_accounts (
        external_account_id VARCHAR NOT NULL, provider VARCHAR NOT NULL, username VARCHAR, display_name VARCHAR,
        email VARCHAR, picture_url VARCHAR, user_uuid VARCHAR NOT NULL,
        PRIMARY KEY (external_account_id), FOREIGN KEY(user_uuid) REFERENCES users (uuid));
    CREATE TABLE oauth_tokens (
        id INTEGER NOT NULL, oauth_version VARCHAR(1) NOT NULL, provider VARCHAR(40) NOT NULL, oauth_token VARCHAR,
        oauth_token_secret VARCHAR, token_type VARCHAR(40), access_token VARCHAR, refresh_token VARCHAR,
        expires_at INTEGER, user_uuid VARCHAR NOT NULL,
        PRIMARY KEY (id), FOREIGN KEY(user_uuid) REFERENCES users (uuid));
";

const ANN: &str = "0193b1a0-0000-7000-8000-00000000000a";
const BEN: &str = "0193b1a0-0000-7000-8000-00000000000b";
const CARL: &str = "0193b1a0-0000-7000-8000-00000000000c";
/// What ann signs in with at S1.
const S1_PASSWORD: &str = "Umbrella-19-quartz!";

/// Who S1 knows: id, name, shown name, address, hash, second factor and its secret, roles, whether elsewhere only, history, blocks.
type Person<'p> =
    (&'p str, &'p str, &'p str, &'p str, &'p str, &'p str, Option<&'p str>, &'p str, bool, &'p str, &'p str);

/// A database of S1 with three people: ann, an admin with everything; ben, who comes by Google only; and Carl, whose name
/// is outside of the rule.
fn s1(path: &Path) -> Connection {
    let database = Connection::open(path).unwrap();
    database.execute_batch(S1_TABLES).unwrap();
    let history = r#"[{"time": "2024-12-10 12:42:18 UTC", "action": "created", "description": "Account made", "by": "ann_s1"},
        {"time": "2024-12-11 08:00:00 UTC", "action": "updated", "description": "New description", "by": "0193b1a0-0000-7000-8000-00000000000b"},
        {"time": "yesterday", "action": "odd", "description": "", "by": null}]"#;
    let hash = bcrypt::hash(S1_PASSWORD, 4).unwrap();
    let blocks = format!(r#"["{BEN}", "{ANN}", "{BEN}", "0193b1a0-0000-7000-8000-0000000000ff"]"#);
    let user = "INSERT INTO users VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, NULL, ?16)";
    let people: [Person<'_>; 3] = [
        (
            ANN,
            "ann_s1",
            "Ann S1",
            "Ann@Example.com",
            &hash,
            "authenticator",
            Some("JBSWY3DPEHPK3PXP"),
            r#"["admin", "user"]"#,
            false,
            history,
            &blocks,
        ),
        (
            BEN,
            "ben_s1",
            "Benjamin",
            "ben@example.com",
            "ThirdPartyOnlyAcc",
            "none",
            None,
            r#"["user"]"#,
            true,
            "[]",
            "[]",
        ),
        (CARL, "Carl", "Carl", "carl at home", &hash, "none", None, r"[]", false, "[]", "null"),
    ];
    for (uuid, name, shown, email, password, method, secret, roles, external, history, blocks) in people {
        let values = rusqlite::params![
            uuid,
            name,
            shown,
            email,
            true,
            password,
            method,
            secret,
            roles,
            "From S1",
            1_733_834_538,
            1_733_900_000,
            external,
            true,
            history,
            blocks,
        ];
        database.execute(user, values).unwrap();
    }
    let account = "INSERT INTO external_accounts VALUES (?1, ?2, ?3, ?3, ?4, ?5, ?6)";
    let picture = "https://lh3.googleusercontent.com/a/ben";
    database
        .execute(account, ["10769150350006150715113", "Google", "ben", "ben@example.com", picture, BEN])
        .unwrap();
    database.execute(account, ["42", "myspace", "ann", "ann@example.com", "http://x/", ANN]).unwrap();
    let token = "INSERT INTO oauth_tokens VALUES (1, '2', 'google', NULL, NULL, 'bearer', 'access-canary', 'refresh-canary', 1, ?1)";
    database.execute(token, [BEN]).unwrap();
    database
}

/// Files of ann in a folder, and their rows: a text, a picture that is hers, and one of the same name in another case.
fn with_files(database: &Connection, root: &Path) {
    let folder = root.join("data/users").join(ANN);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("letter.txt"), "Dear Sirs").unwrap();
    let mut picture = std::io::Cursor::new(Vec::new());
    image::DynamicImage::new_rgb8(600, 300).write_to(&mut picture, image::ImageFormat::Png).unwrap();
    std::fs::write(folder.join("me.png"), picture.into_inner()).unwrap();
    let row = "INSERT INTO files VALUES (?1, ?2, ?3, ?4, ?5, 1733834600, ?6)";
    let letter = format!("data/users/{ANN}/letter.txt");
    let me = folder.join("me.png").display().to_string();
    database.execute(row, rusqlite::params![7, "letter.txt", "txt", letter, "A letter", ANN]).unwrap();
    database.execute(row, rusqlite::params![8, "me.png", "png", me, None::<&str>, ANN]).unwrap();
    for (user, file) in [(ANN, 7), (ANN, 8), (BEN, 7), (BEN, 7)] {
        let link = "INSERT INTO users_files_links VALUES (?1, ?2)";
        database.execute(link, rusqlite::params![user, file]).unwrap();
    }
    database.execute("UPDATE users SET profile_picture_id = 8 WHERE uuid = ?1", [ANN]).unwrap();
}
