//! The schema, step by step and back, by the command line.

use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend};

use gatehouse::migrations::STEPS;

use crate::client::{Answer, Client};
use crate::database::column;
use crate::gatehouse::{Finished, PASSWORD, Site};

/// The exit code for what an operator mends in the configuration (`EX_CONFIG` of `sysexits.h`).
const CONFIGURATION: Option<i32> = Some(78);

#[tokio::test]
async fn every_step_goes_up_down_and_up_again() {
    let site = Site::new();
    assert_eq!(site.run(&["check"]).code, Some(1), "there is no schema, but a database to look at");
    assert_eq!(site.must(&["migrate", "down"]), "nothing to do\n");
    let db = site.database().await;
    for (at, step) in STEPS.iter().enumerate() {
        let before = schema(&db).await;
        assert_eq!(site.must(&["migrate", "up", "--to", step.name]), format!("applied {}\n", step.name));
        let with = schema(&db).await;
        assert_ne!(with, before, "{} changes something", step.name);
        assert_eq!(site.must(&["migrate", "status"]), status(at + 1));
        assert_eq!(site.must(&["migrate", "down"]), format!("undone {}\n", step.name));
        assert_eq!(schema(&db).await, before, "{} undoes all that it does", step.name);
        assert_eq!(site.must(&["migrate", "status"]), status(at));
        site.must(&["migrate", "up", "--to", step.name]);
        assert_eq!(schema(&db).await, with, "{} is the same again", step.name);
    }
    assert_eq!(site.must(&["migrate", "up"]), "nothing to do\n");
    site.start().await.stop().await;
}

#[tokio::test]
async fn several_steps_go_down_at_once_and_an_unknown_one_changes_nothing() {
    let site = Site::new();
    let newest_first = |from: usize| -> String {
        STEPS[from..].iter().rev().fold(String::new(), |lines, step| lines + "undone " + step.name + "\n")
    };
    site.must(&["migrate", "up"]);
    for direction in ["up", "down"] {
        let unknown = site.run(&["migrate", direction, "--to", "m9999_nonsense"]);
        assert_eq!(unknown.code, Some(1), "{}", unknown.all());
        assert_eq!(unknown.err, "gatehouse: there is no migration step named m9999_nonsense\n");
    }
    assert_eq!(site.must(&["migrate", "status"]), status(STEPS.len()));
    assert_eq!(site.must(&["migrate", "down", "--to", STEPS[1].name]), newest_first(2));
    assert_eq!(site.must(&["migrate", "status"]), status(2));
    site.must(&["migrate", "up"]);
    assert_eq!(site.must(&["migrate", "down", "--all"]), newest_first(0));
    assert_eq!(site.must(&["migrate", "status"]), status(0));
}

#[tokio::test]
async fn starting_afresh_needs_the_databases_name_and_never_happens_in_production() {
    let site = Site::new();
    let server = site.start().await;
    assert_eq!(server.client().sign_up("ann").await.unwrap().status, 201);
    server.stop().await;
    let db = site.database().await;

    let wrong = site.run(&["migrate", "fresh", "--confirm", "another"]);
    assert_eq!((wrong.code, people(&db).await), (Some(1), 1), "{}", wrong.all());
    let silent = site.run(&["migrate", "fresh"]);
    assert_eq!((silent.code, people(&db).await), (Some(1), 1), "{}", silent.all());
    let mut production = site.command(&["migrate", "fresh", "--confirm", site.database_name()]);
    production.env("ENVIRONMENT", "production").env("BASE_URL", "https://id.example.com");
    production.env("JWT_SECRET_KEY", "6fQ2vX9mT4kLbW8zR1nYcJ7hD3gPsE5a");
    let production = Finished::of(production);
    assert_eq!((production.code, people(&db).await), (Some(1), 1), "{}", production.all());
    assert!(production.err.contains("refused outside ENVIRONMENT=local"), "{}", production.err);

    let typed = Finished::given(site.command(&["migrate", "fresh"]), &format!("{}\n", site.database_name()));
    assert_eq!((typed.code, people(&db).await), (Some(0), 0), "{}", typed.all());
    assert_eq!(site.must(&["migrate", "status"]), status(STEPS.len()));
}

#[tokio::test]
async fn a_database_of_a_newer_program_is_refused() {
    let site = Site::new();
    site.must(&["migrate", "up"]);
    let db = site.database().await;
    let add = "INSERT INTO schema_steps (name, min_binary, position) VALUES ('m9000_future', '9.0.0', 9000)";
    db.execute_unprepared(add).await.unwrap();
    let before = schema(&db).await;
    for arguments in [&["serve"][..], &["migrate", "up"], &["migrate", "down"], &["admin", "promote", "ann"]]
    {
        let refused = site.run(arguments);
        assert_eq!(refused.code, CONFIGURATION, "{arguments:?}: {}", refused.all());
        assert!(
            refused.err.contains("needs gatehouse 9.0.0 or newer (step m9000_future)"),
            "{}",
            refused.err
        );
    }
    let check = site.run(&["check", "--fix"]);
    assert_eq!(check.code, Some(1), "{}", check.all());
    assert_eq!(schema(&db).await, before);
}

#[tokio::test]
async fn a_newer_schema_that_this_program_can_work_with_is_served() {
    let site = Site::new();
    let server = site.start().await;
    let db = site.database().await;
    let of_this_program = schema(&db).await;
    let run = async |sql: &str| {
        if let Err(error) = db.execute_unprepared(sql).await {
            panic!("{sql}: {error}");
        }
    };
    let uuid = if db.get_database_backend() == DbBackend::Sqlite { "BLOB" } else { "UUID" };
    let journey = Journey::begin(&server.client(), "before").await;

    // A newer program migrates while this one serves.
    run("ALTER TABLE users ADD COLUMN nickname TEXT").await;
    run(&format!(
        "CREATE TABLE badges (
             id BIGINT NOT NULL PRIMARY KEY, user_id {uuid} NOT NULL REFERENCES users (id) ON DELETE CASCADE
         )"
    ))
    .await;
    run(&format!(
        "INSERT INTO schema_steps (name, min_binary, position) VALUES ('m9000_future', '{}', 9000)",
        env!("CARGO_PKG_VERSION")
    ))
    .await;
    let newer = schema(&db).await;
    journey.go_on(&server.client()).await;
    Journey::begin(&server.client(), "meanwhile").await.go_on(&server.client()).await;
    server.stop().await;
    // And it starts there, too.
    let server = site.start().await;
    Journey::begin(&server.client(), "afterwards").await.go_on(&server.client()).await;
    server.stop().await;
    assert_eq!(schema(&db).await, newer, "it leaves alone what it doesn't know");

    // It undoes nothing beneath what it doesn't know.
    assert!(site.must(&["migrate", "status"]).ends_with("applied m9000_future\n"));
    assert_eq!(site.must(&["migrate", "up"]), "nothing to do\n");
    for arguments in [&["migrate", "down"][..], &["migrate", "down", "--all"]] {
        let refused = site.run(arguments);
        assert_eq!(refused.code, CONFIGURATION, "{arguments:?}: {}", refused.all());
        assert!(refused.err.contains("m9000_future is of a newer program"), "{}", refused.err);
    }
    assert_eq!(schema(&db).await, newer);

    // The newer program undoes its step, and all is as it was.
    run("DROP TABLE badges").await;
    run("ALTER TABLE users DROP COLUMN nickname").await;
    run("DELETE FROM schema_steps WHERE name = 'm9000_future'").await;
    assert_eq!(schema(&db).await, of_this_program);
    assert_eq!(site.must(&["migrate", "status"]), status(STEPS.len()));
    let server = site.start().await;
    Journey::begin(&server.client(), "back").await.go_on(&server.client()).await;
    server.stop().await;
    let told = "SELECT count(*) FROM events WHERE event_type = 'user.deleted'";
    assert_eq!(crate::database::count(&db, told).await, 4, "everybody has come to the end of their journey");
}

/// What somebody does with an account from its beginning to its end.
struct Journey {
    username: String,
    tokens: Answer,
}

impl Journey {
    /// Signs up, and takes a look.
    async fn begin(client: &Client, username: &str) -> Self {
        let tokens = client.sign_up(username).await.unwrap();
        assert_eq!(tokens.status, 201, "{tokens:?}");
        assert_eq!(client.me(&tokens.text("access_token")).await.unwrap().text("username"), username);
        Self { username: username.to_owned(), tokens }
    }

    /// Changes the profile, refreshes, signs out and in again, and deletes the account.
    async fn go_on(self, client: &Client) {
        let Self { username, tokens } = self;
        let changed = client.describe(&username, &tokens.text("access_token"), "on a journey").await.unwrap();
        assert_eq!((changed.status, changed.text("description").as_str()), (200, "on a journey"));
        let tokens = client.refresh(&tokens.text("refresh_token")).await.unwrap();
        assert_eq!(tokens.status, 200, "{tokens:?}");
        assert_eq!(client.sign_out(&tokens.text("access_token")).await.unwrap().status, 200);
        assert_eq!(client.me(&tokens.text("access_token")).await.unwrap().status, 401);
        assert_eq!(client.refresh(&tokens.text("refresh_token")).await.unwrap().status, 401);
        let tokens = client.sign_in(&username, PASSWORD).await.unwrap();
        assert_eq!(tokens.status, 200, "{tokens:?}");
        let access = tokens.text("access_token");
        assert_eq!(client.delete(&username, &access).await.unwrap().status, 200);
        assert_eq!(client.me(&access).await.unwrap().status, 401);
    }
}

#[tokio::test]
async fn a_server_that_may_not_migrate_waits_for_somebody_who_does() {
    let site = Site::new().with("AUTO_MIGRATE", "False");
    let refused = site.run(&[]);
    assert_eq!(refused.code, CONFIGURATION, "{}", refused.all());
    let words = format!("lacks {} migration step(s): run `gatehouse migrate up`", STEPS.len());
    assert!(refused.err.contains(&words), "{}", refused.err);
    site.must(&["migrate", "up"]);
    site.start().await.stop().await;
}

#[test]
fn a_new_step_gets_the_next_number_and_never_overwrites_one() {
    let site = Site::on(None);
    let folder = site.folder().join("migrations");
    std::fs::create_dir(&folder).unwrap();
    let module = format!("m{:04}_add_locale", STEPS.len() + 1);
    site.must(&["migrate", "new", "add_locale"]);
    let file = folder.join(format!("{module}.rs"));
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains(&format!("name: \"{module}\"")), "{text}");
    std::fs::write(&file, "somebody's work").unwrap();
    assert_eq!(site.run(&["migrate", "new", "add_locale"]).code, Some(1));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "somebody's work");
    for name in ["", "Add", "../up", "a b"] {
        assert_eq!(site.run(&["migrate", "new", name]).code, Some(1), "{name}");
    }
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
}

/// What `migrate status` prints when the first `applied` steps are.
fn status(applied: usize) -> String {
    let line =
        |(at, name): (usize, &str)| format!("{} {name}\n", if at < applied { "applied" } else { "pending" });
    STEPS.iter().map(|step| step.name).enumerate().map(line).collect()
}

async fn people(db: &DatabaseConnection) -> i64 {
    crate::database::count(db, "SELECT count(*) FROM users").await
}

/// Every table, column, index and constraint, each as a line.
pub async fn schema(db: &DatabaseConnection) -> Vec<String> {
    let sql = match db.get_database_backend() {
        DbBackend::Sqlite => {
            "SELECT type || ' ' || name || ' ' || coalesce(sql, '') FROM sqlite_master \
             WHERE name <> 'sqlite_sequence' ORDER BY 1"
        }
        _ => {
            "SELECT table_name || ' ' || column_name || ' ' || data_type || ' ' || is_nullable FROM \
                 information_schema.columns WHERE table_schema = 'public'
             UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'
             UNION ALL SELECT conrelid::regclass || ' ' || pg_get_constraintdef(oid) FROM pg_constraint
                 WHERE connamespace = 'public'::regnamespace ORDER BY 1"
        }
    };
    column(db, sql).await
}
