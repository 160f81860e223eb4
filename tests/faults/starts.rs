//! Starts that can't succeed: they end at once, say why in a line, and leave everything as it was.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

use crate::database::{connect, count, postgres_server};
use crate::gatehouse::{Finished, PASSWORD, Site};
use crate::port::Port;
use crate::waiting::{SOON, until_true};

/// The exit code for what an operator mends in the configuration (`EX_CONFIG` of `sysexits.h`).
const CONFIGURATION: Option<i32> = Some(78);
/// A start that can't succeed takes no longer.
const AT_ONCE: Duration = Duration::from_secs(1);
const SECRET: &str = "6fQ2vX9mT4kLbW8zR1nYcJ7hD3gPsE5a";

#[tokio::test]
async fn a_second_server_on_the_same_sqlite_folder_says_so_as_long_as_the_first_lives() {
    const WORDS: &str = "another server runs on this DATA_DIR";
    let site = Site::on(None);
    let mut first = site.start().await;
    let second = site.start().await;
    // The log is written by a thread of its own.
    until_true("the second says so", SOON, async || second.output().contains(WORDS)).await;
    second.stop().await;
    assert!(!first.output().contains(WORDS), "{}", first.output());
    // Killed, it leaves nothing behind that would warn for ever.
    first.kill();
    let next = site.start().await;
    // What comes after it in the log.
    until_true("it says where it listens", SOON, async || next.output().contains(r#""listening""#)).await;
    assert!(!next.output().contains(WORDS), "{}", next.output());
    next.stop().await;
}

#[test]
fn a_port_in_use_ends_the_start_before_the_database_is_touched() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let site = Site::on(None).with("PORT", &address.port().to_string());
    let refused = site.run_within(AT_ONCE, &[]);
    assert_eq!(refused.code, Some(1), "{}", refused.all());
    assert!(refused.err.contains(&format!("can't listen on {address}")), "{}", refused.err);
    assert!(!site.data().join("gatehouse.db").exists());
}

#[tokio::test]
async fn a_port_that_the_system_chooses_is_told_and_counts_in_every_address() {
    let site = Site::on(None).with("PORT", "0").with("BASE_URL", "");
    let server = site.start_anywhere().await;
    let port = server.port();
    assert_ne!(port, 0);
    let token = server.client().sign_up("ann").await.unwrap().text("access_token");
    // Nobody is answered before all of it is said.
    let output = server.output();
    assert_eq!(server.client().me(&token).await.unwrap().status, 200);
    for page in ["docs", "interactive-docs", "setup?token="] {
        assert!(output.contains(&format!("http://localhost:{port}/{page}")), "{output}");
    }
    assert!(!output.contains("localhost:0"), "{output}");
    server.stop().await;
}

#[tokio::test]
async fn what_a_server_keeps_is_its_owners_alone() {
    let site = Site::on(None);
    let server = site.start().await;
    server.client().sign_up("ann").await.unwrap();
    for name in ["gatehouse.db", "gatehouse.db-wal", "gatehouse.db-shm"] {
        let mode = fs::metadata(site.data().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    server.stop().await;
}

#[test]
fn an_address_of_another_machine_ends_the_start() {
    let site = Site::on(None).with("HOST", "192.0.2.1"); // RFC 5737: for documentation, nobody's own
    let refused = site.run(&[]);
    assert_eq!(refused.code, Some(1), "{}", refused.all());
    assert!(refused.err.contains("can't listen on 192.0.2.1:"), "{}", refused.err);
    assert!(!site.data().join("gatehouse.db").exists());
}

#[test]
fn a_machine_without_certificates_is_told_what_it_lacks() {
    let no_folder = "/nonexistent";
    for used in [
        &[("API_CLIENT_ID_GITHUB", "id"), ("API_CLIENT_SECRET_GITHUB", SECRET)][..],
        &[("WORKOS_API_KEY", SECRET)],
    ] {
        let site = Site::on(None).with("SSL_CERT_FILE", "/dev/null").with("SSL_CERT_DIR", no_folder);
        let site = used.iter().fold(site, |site, (name, value)| site.with(name, value));
        let refused = site.run(&[]);
        assert_eq!(refused.code, CONFIGURATION, "{used:?}: {}", refused.all());
        let told = refused.err.lines().filter(|line| line.starts_with("gatehouse: ")).collect::<Vec<_>>();
        assert_eq!(told.len(), 1, "{}", refused.err);
        assert!(told[0].contains("apt-get install ca-certificates"), "{}", refused.err);
    }
}

#[test]
fn mistakes_in_the_configuration_have_a_line_each_and_show_no_secret() {
    for (settings, lines) in [
        (&[("PORT", "eighty")][..], &["PORT is `eighty`"][..]),
        (&[("GATEHOUSE_PROT", "80")], &["GATEHOUSE_PROT (environment) is no setting: did you mean"]),
        (&[("JWT_SECRET_KEY", "hunter2-changethis")], &["JWT_SECRET_KEY (environment) must be"]),
        (&[("DATABASE_URI", "mysql://ann:hunter2@db/app")], &["DATABASE_URI (environment) must be"]),
        (
            &[("POSTGRES_SERVER", "db"), ("POSTGRES_PASSWORD", "hunter2")],
            &["POSTGRES_PORT, POSTGRES_USER, POSTGRES_DB"],
        ),
        (&[("ADMIN_USERNAME", "root")], &["ADMIN_PASSWORD is not set"]),
        (&[("ADMIN_USERNAME", "root"), ("ADMIN_PASSWORD", "hunter2")], &["ADMIN_PASSWORD"]),
        (&[("JWT_SECRET_KEY_FILE", "nowhere")], &["JWT_SECRET_KEY_FILE"]),
        (&[("ENVIRONMENT", "production")], &["JWT_SECRET_KEY"]),
        (&[("BASE_URL", "http://id.example.com")], &["BASE_URL"]),
        (&[("PORT", "eighty"), ("JWT_EXP", "0"), ("LOG_FORMAT", "xml")], &["JWT_EXP", "LOG_FORMAT", "PORT"]),
    ] {
        let site = settings.iter().fold(Site::on(None), |site, (name, value)| site.with(name, value));
        let refused = site.run_within(AT_ONCE, &[]);
        assert_eq!(refused.code, CONFIGURATION, "{settings:?}: {}", refused.all());
        let told: Vec<&str> = refused.err.lines().collect();
        assert_eq!(told.len(), lines.len(), "{settings:?}: {}", refused.err);
        for line in lines {
            let has = |told: &&str| told.starts_with("gatehouse: ") && told.contains(line);
            assert!(told.iter().any(has), "{line} is missing in: {}", refused.err);
        }
        assert!(!refused.all().contains("hunter2"), "{}", refused.all());
        assert!(!site.data().join("gatehouse.db").exists(), "{settings:?}");
    }
}

#[tokio::test]
async fn a_first_admin_that_cannot_be_is_named_before_the_database_is_touched() {
    for (settings, told, secret) in [
        (
            &[("ADMIN_USERNAME", "not a name!"), ("ADMIN_PASSWORD", PASSWORD)][..],
            "ADMIN_USERNAME: ",
            PASSWORD,
        ),
        (
            &[("ADMIN_USERNAME", "bossy"), ("ADMIN_PASSWORD", PASSWORD), ("ADMIN_EMAIL", "b@x..example.com")],
            "ADMIN_EMAIL",
            PASSWORD,
        ),
        (
            &[("ADMIN_USERNAME", "bossy"), ("ADMIN_PASSWORD", "qwertyuiop1")],
            "ADMIN_PASSWORD: ",
            "qwertyuiop1",
        ),
    ] {
        let site = settings.iter().fold(Site::new(), |site, (name, value)| site.with(name, value));
        let refused = site.run(&[]);
        assert_eq!(refused.code, CONFIGURATION, "{}", refused.all());
        assert!(refused.err.contains(told), "{}", refused.err);
        assert!(!refused.all().contains(secret), "{}", refused.all());
        assert!(!site.data().join("gatehouse.db").exists(), "{settings:?}");
        if let Some(server) = postgres_server() {
            let name = site.database_name();
            let sql = format!("SELECT COUNT(*) FROM pg_database WHERE datname = '{name}'");
            assert_eq!(count(&connect(server.as_str()).await, &sql).await, 0, "{settings:?}");
        }
    }
}

#[test]
fn a_check_names_a_first_admin_that_cannot_be() {
    let site = Site::new();
    let migrated = site.run(&["migrate", "up"]);
    assert_eq!(migrated.code, Some(0), "{}", migrated.all());
    let site = site.with("ADMIN_USERNAME", "not a name!").with("ADMIN_PASSWORD", PASSWORD);
    let checked = site.run(&["check"]);
    assert_eq!(checked.code, Some(1), "{}", checked.all());
    assert_eq!(checked.all().matches("ADMIN_USERNAME: ").count(), 1, "{}", checked.all());
}

#[test]
fn a_data_folder_that_may_not_be_written_is_named_with_the_command_that_mends_it() {
    for kept in [None, Some(SECRET)] {
        let site = Site::on(None).with("JWT_SECRET_KEY", kept.unwrap_or_default());
        fs::create_dir(site.data()).unwrap();
        fs::set_permissions(site.data(), fs::Permissions::from_mode(0o555)).unwrap();
        let refused = Finished::of(without_privileges(site.command(&[])));
        let path = site.data().display().to_string();
        assert_eq!(refused.code, CONFIGURATION, "{}", refused.all());
        assert!(refused.err.contains(&format!("{path} can't be written")), "{}", refused.err);
        assert!(refused.err.contains("chown -R ") && refused.err.lines().count() == 1, "{}", refused.err);
        assert_eq!(fs::read_dir(site.data()).unwrap().count(), 0);
    }
}

#[test]
fn a_key_file_that_is_no_key_or_open_to_others_is_refused() {
    for (text, mode, words) in [("changethis\n", 0o600, "holds no key"), (SECRET, 0o644, "chmod 600")] {
        let site = Site::on(None);
        fs::create_dir(site.data()).unwrap();
        let file = site.data().join("secret.key");
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        let refused = site.run(&[]);
        assert_eq!(refused.code, CONFIGURATION, "{}", refused.all());
        assert!(refused.err.contains(words) && !refused.err.contains(text.trim()), "{}", refused.err);
        assert_eq!(fs::read_to_string(&file).unwrap(), text);
    }
}

#[test]
fn a_file_that_is_no_database_is_refused_and_left_alone() {
    let site = Site::on(None);
    fs::create_dir(site.data()).unwrap();
    let file = site.data().join("gatehouse.db");
    let text = "a letter to a friend, long enough to be mistaken for something. ".repeat(100);
    fs::write(&file, &text).unwrap();
    let refused = site.run(&[]);
    assert_eq!(refused.code, Some(1), "{}", refused.all());
    assert!(refused.err.contains(&file.display().to_string()), "{}", refused.err);
    assert_eq!(fs::read_to_string(&file).unwrap(), text);
}

#[test]
fn a_database_server_that_is_away_is_named_without_its_password() {
    let held = Port::free();
    let port = held.number();
    let site = Site::on(None).with("DATABASE_URI", &format!("postgres://ann:hunter2@127.0.0.1:{port}/app"));
    let refused = site.run_within(Duration::from_secs(5), &[]);
    assert_eq!(refused.code, Some(1), "{}", refused.all());
    assert!(refused.err.contains(&format!("postgres://ann@127.0.0.1:{port}/app")), "{}", refused.err);
    assert!(!refused.all().contains("hunter2"), "{}", refused.all());
}

#[tokio::test]
async fn a_role_that_postgres_refuses_is_answered_with_the_sql_that_mends_it() {
    let Some(server) = postgres_server() else { return };
    let name = format!("faults_{}", crate::chance::unique());
    let mut address = server.clone();
    address.set_username(&name).unwrap();
    address.set_password(Some("hunter2")).unwrap();
    address.set_path(&name);
    let site = Site::on(None).with("DATABASE_URI", address.as_str());
    let database = format!("CREATE DATABASE \"{name}\" OWNER \"{name}\";");

    let missing = site.run(&["migrate", "up"]);
    assert_eq!(missing.code, Some(1), "{}", missing.all());
    assert!(
        missing.err.contains(&format!("CREATE ROLE \"{name}\" LOGIN PASSWORD '…'; {database}")),
        "{}",
        missing.err
    );

    let db = connect(server.as_str()).await;
    let run =
        async |sql: &str| sea_orm::ConnectionTrait::execute_unprepared(&db, sql).await.map(|_| ()).unwrap();
    run(&format!("CREATE ROLE {name} LOGIN PASSWORD 'another'")).await;
    let mistaken = site.run(&["migrate", "up"]);
    run(&format!("ALTER ROLE {name} PASSWORD 'hunter2'")).await;
    let powerless = site.run(&["migrate", "up"]);
    run(&format!("CREATE DATABASE {name}")).await;
    let foreign = site.run(&["migrate", "up"]);
    run(&format!("ALTER DATABASE {name} OWNER TO {name}")).await;
    let mended = site.run(&["migrate", "up"]);
    run(&format!("DROP DATABASE {name} WITH (FORCE)")).await;
    run(&format!("DROP ROLE {name}")).await;

    let words = format!("if the role exists, ALTER ROLE \"{name}\" PASSWORD '…';");
    assert!(mistaken.err.contains(&words) && missing.err.contains(&words), "{}", mistaken.err);
    assert!(powerless.err.contains(&database), "{}", powerless.err);
    assert!(
        foreign.err.contains(&format!("ALTER DATABASE \"{name}\" OWNER TO \"{name}\";")),
        "{}",
        foreign.err
    );
    assert_eq!(mended.code, Some(0), "{}", mended.all());
    for refused in [missing, mistaken, powerless, foreign] {
        assert!(!refused.all().contains("hunter2"), "{}", refused.all());
    }
}

/// The same command without the right of root to write everywhere. For anybody else it is the same command.
fn without_privileges(command: Command) -> Command {
    if !rustix::process::geteuid().is_root() {
        return command;
    }
    Site::through(&command, "setpriv", &["--inh-caps=-all", "--bounding-set=-all"])
}
