//! Commands beside the server: those that look leave nothing behind, those that change are seen by a running server.

use std::fs;

use serde_json::Value;

use crate::gatehouse::{Finished, PASSWORD, Site};
use crate::waiting::{SOON, until_true};

const OTHER_PASSWORD: &str = "velvet-anchor-77-tundra";

#[test]
fn commands_that_look_leave_nothing_behind() {
    let site = Site::on(None).with("SERVICE_CLIENTS", "");
    let document = site.run(&["openapi"]);
    assert_eq!(document.code, Some(0), "{}", document.all());
    assert!(document.json()["paths"].as_object().is_some_and(|paths| paths.contains_key("/api/auth/login")));
    assert!(document.err.is_empty(), "{}", document.err);

    let schema: Value = site.run(&["config", "--schema"]).json();
    assert_eq!(schema["properties"]["PORT"]["default"], 8000);
    assert!(site.must(&["config", "--example"]).contains("# DATA_DIR=data"));
    assert!(site.must(&["completions", "bash"]).contains("gatehouse"));
    assert_eq!(site.must(&["--version"]), format!("gatehouse {}\n", env!("CARGO_PKG_VERSION")));
    assert_eq!(site.run(&["health"]).code, Some(1), "nobody is there");

    let hash = Finished::given(site.command(&["hash-secret"]), &"s".repeat(32));
    assert_eq!((hash.code, hash.out.trim().len()), (Some(0), 64), "{}", hash.all());
    let short = Finished::given(site.command(&["hash-secret"]), "short");
    assert_eq!(short.code, Some(1), "{}", short.all());

    assert!(!site.data().exists());
    assert_eq!(fs::read_dir(site.folder().join("tmp")).unwrap().count(), 0);
}

#[test]
fn the_settings_in_force_are_shown_without_their_secrets() {
    let site = Site::on(None)
        .with("JWT_SECRET_KEY", "6fQ2vX9mT4kLbW8zR1nYcJ7hD3gPsE5a")
        .with("DATABASE_URI", "postgres://ann:hunter2@db.example.com/app");
    fs::write(site.folder().join(".env"), "API_STR=/v1\nLOG_LEVEL=DEBUG\n").unwrap();
    let shown = site.must(&["config"]);
    let line = |name: &str| shown.lines().find(|line| line.starts_with(name)).unwrap_or_default();
    assert!(line("API_STR ").ends_with("= /v1  # .env"), "{shown}");
    assert!(line("LOG_LEVEL ").ends_with("# .env"), "{shown}");
    assert!(line("DATABASE_URI ").contains("= postgres://ann@db.example.com:5432/app  #"), "{shown}");
    assert!(!shown.contains("hunter2") && !shown.contains("6fQ2"), "{shown}");
    assert!(!site.data().exists());
}

#[tokio::test]
async fn a_check_tells_what_is_missing_and_mends_it_when_asked() {
    let site = Site::new();
    let pending = site.run(&["check"]);
    assert_eq!(pending.code, Some(1), "{}", pending.all());
    assert!(pending.out.contains("FAIL  schema"), "{}", pending.out);
    assert!(site.must(&["migrate", "status"]).starts_with("pending "), "looking has changed nothing");
    let mended = site.must(&["check", "--fix"]);
    assert!(mended.contains("ok    schema         applied "), "{mended}");
    let good = site.must(&["check"]);
    assert!(
        good.contains("ok    schema         up to date") && good.contains("ok    files          kept in "),
        "{good}"
    );
    let mut behind = site.command(&["check"]);
    behind.env("BASE_URL", "https://id.example.com");
    let behind = Finished::of(behind);
    assert_eq!(behind.code, Some(0), "{}", behind.all());
    assert!(behind.out.contains("ok    configuration  note: TRUSTED_PROXIES is empty"), "{}", behind.out);
    let mut nowhere = site.command(&["check"]);
    nowhere.env("STORAGE_URL", "s3://files?region=here&endpoint=http://127.0.0.1:1");
    let nowhere = Finished::of(nowhere);
    assert_eq!(nowhere.code, Some(1), "{}", nowhere.all());
    assert!(nowhere.out.contains("FAIL  files          s3://files/ can't be used"), "{}", nowhere.out);

    let server = site.start().await;
    let port = server.port().to_string();
    let at = |arguments: &[&str]| {
        let mut command = site.command(arguments);
        command.env("PORT", &port);
        Finished::of(command)
    };
    let beside = at(&["check"]);
    assert_eq!(beside.code, Some(0), "{}", beside.all());
    assert!(beside.out.contains("is in use"), "{}", beside.out);
    assert_eq!(at(&["health"]).code, Some(0));
    server.stop().await;
    assert_eq!(at(&["health"]).code, Some(1));
}

#[test]
fn a_check_asks_the_other_servers_though_steps_are_pending_or_the_database_is_away() {
    // Nobody listens on this port.
    let servers = |site: Site| {
        site.with("STORAGE_URL", "s3://files?region=here&endpoint=http://127.0.0.1:1")
            .with("AWS_ACCESS_KEY_ID", "ours")
            .with("AWS_SECRET_ACCESS_KEY", "hunter2")
            .with("REDIS_URL", "redis://127.0.0.1:1")
            .with("RABBITMQ_URL", "amqp://127.0.0.1:1")
            .with("EMAIL_METHOD", "smtp")
            .with("SMTP_HOST", "127.0.0.1")
            .with("SMTP_PORT", "1")
            .with("SMTP_TLS", "none")
            .with("SMTP_SENDER_EMAIL", "gatehouse@example.com")
            .with("WORKOS_API_KEY", "sk_test_1")
            .with("WORKOS_BASE_URL", "http://127.0.0.1:1")
    };
    let pending = servers(Site::new());
    let away = servers(Site::on(None)).with("DATABASE_URI", "postgres://ann:hunter2@127.0.0.1:1/app");
    for (site, ours) in [(&pending, "schema"), (&away, "database")] {
        let check = site.run(&["check"]);
        assert_eq!(check.code, Some(1), "{}", check.all());
        let failed = check.out.lines().filter_map(|line| line.strip_prefix("FAIL  ")?.split(' ').next());
        let failed: Vec<_> = failed.collect();
        assert_eq!(failed, [ours, "files", "mail", "limits", "events", "workos"], "{}", check.out);
        assert!(!check.all().contains("hunter2"), "{}", check.all());
        let left = fs::read_dir(site.folder().join("tmp")).unwrap().count();
        assert_eq!(left, 0, "what it was looked with is gone");
    }
    assert!(pending.must(&["migrate", "status"]).starts_with("pending "), "looking has changed nothing");

    let alone = Site::new();
    let check = alone.run(&["check"]);
    assert_eq!(check.code, Some(1), "{}", check.all());
    assert_eq!(check.out.matches("FAIL").count(), 1, "one finding among them: {}", check.out);
    assert!(check.out.contains("FAIL  schema") && check.out.contains("ok    workos"), "{}", check.out);
}

#[test]
fn commands_for_what_exists_refuse_a_database_that_does_not_and_make_nothing() {
    let site = Site::new();
    let elsewhere = site.folder().join("elsewhere");
    let elsewhere = elsewhere.to_str().unwrap();
    // Each finds what those before it have left: had one made the database, the next would not refuse it.
    for arguments in [
        &["backup", elsewhere][..],
        &["export", elsewhere],
        &["recover", elsewhere],
        &["audit", "verify"],
        &["migrate", "status"],
        &["migrate", "down"],
        &["admin", "promote", "ann"],
        &["admin", "reset-password", "ann", "--password-stdin"],
        &["admin", "remove-second-factor", "ann"],
        &["keys", "rotate"],
        &["keys", "rewrap"],
        &["workos-check"],
        &["workos-reconcile"],
        &["workos-resync", "--since", "2026-01-15T12:00:00Z"],
        &["backup", elsewhere],
    ] {
        let refused = Finished::given(site.command(arguments), PASSWORD);
        assert_eq!(refused.code, Some(1), "{arguments:?}: {}", refused.all());
        assert!(refused.out.is_empty(), "{arguments:?}: {}", refused.out);
        let address = refused.err.strip_prefix("gatehouse: there is no database at ");
        let address =
            address.and_then(|behind| behind.strip_suffix(": are these the settings of the server?\n"));
        let address = address.unwrap_or_else(|| panic!("{arguments:?}: {}", refused.err));
        assert!(address.ends_with(&format!("/{}", site.database_name())), "{address}");
        let user = address.split_once("://").and_then(|(_, behind)| behind.split_once('@'));
        assert!(user.is_none_or(|(user, _)| !user.contains(':')), "a password is shown: {address}");
    }
    let left: Vec<_> = fs::read_dir(site.folder()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["tmp"]);
}

#[test]
fn a_verification_without_a_folder_for_what_is_temporary_names_it() {
    let site = Site::on(None);
    let nowhere = site.folder().join("nowhere");
    let mut command = site.command(&["restore", "none.tar", "--verify"]);
    command.env("TMPDIR", &nowhere);
    let refused = Finished::of(command);
    assert_eq!(refused.code, Some(1), "{}", refused.all());
    let words = format!("gatehouse: no folder can be made in {}: ", nowhere.display());
    assert!(refused.err.starts_with(&words) && refused.err.contains("TMPDIR"), "{}", refused.err);
    assert_eq!(refused.err.lines().count(), 1, "{}", refused.err);
    assert!(!site.data().exists());
}

#[test]
fn a_backup_without_an_account_says_so() {
    let site = Site::new();
    site.must(&["migrate", "up"]);
    let folder = site.folder().join("backups");
    let arguments = ["backup", folder.to_str().unwrap()];
    let empty = site.run(&arguments);
    assert_eq!(empty.code, Some(0), "{}", empty.all());
    let words = "gatehouse: there is no account in it: are these the settings of the server?\n";
    assert!(empty.err.contains(words), "{}", empty.all());
    fs::remove_dir_all(&folder).unwrap();

    let made = Finished::given(site.command(&["admin", "create", "root", "--password-stdin"]), PASSWORD);
    assert_eq!(made.code, Some(0), "{}", made.all());
    let one = site.run(&arguments);
    assert_eq!(one.code, Some(0), "{}", one.all());
    assert!(!one.err.contains("there is no account"), "{}", one.err);
}

#[tokio::test]
async fn an_admin_is_made_and_mended_beside_a_running_server() {
    let site = Site::new();
    let server = site.start().await;
    let client = server.client();
    let with_password =
        |arguments: &[&str], password: &str| Finished::given(site.command(arguments), password);

    let made = with_password(
        &["admin", "create", "root", "--email", "root@example.com", "--password-stdin"],
        PASSWORD,
    );
    assert_eq!(made.code, Some(0), "{}", made.all());
    assert!(!made.all().contains(PASSWORD));
    let token = client.sign_in("root", PASSWORD).await.unwrap().text("access_token");
    assert_eq!(client.me(&token).await.unwrap().body["roles"][0], "admin");

    let reset = with_password(&["admin", "reset-password", "root", "--password-stdin"], OTHER_PASSWORD);
    assert_eq!(reset.code, Some(0), "{}", reset.all());
    until_true("the session has ended", SOON, async || client.me(&token).await.unwrap().status == 401).await;
    assert_eq!(client.sign_in("root", OTHER_PASSWORD).await.unwrap().status, 200);
    assert_eq!(client.sign_in("root", PASSWORD).await.unwrap().status, 401);

    let ann = client.sign_up("ann").await.unwrap();
    let none = site.run(&["admin", "remove-second-factor", "ann"]);
    assert_eq!((none.code, &*none.out), (Some(0), "ann has no second factor\n"), "{}", none.all());
    assert_eq!(site.run(&["admin", "promote", "ann"]).code, Some(0));
    let old = ann.text("access_token");
    until_true("the old roles are void", SOON, async || client.me(&old).await.unwrap().status == 401).await;
    let token = client.refresh(&ann.text("refresh_token")).await.unwrap().text("access_token");
    let roles = client.me(&token).await.unwrap().body["roles"].to_string();
    assert!(roles.contains("admin") && roles.contains("user"), "{roles}");
    server.stop().await;
}

#[test]
fn an_admin_that_cannot_be_is_refused_in_a_line() {
    let site = Site::new();
    site.must(&["migrate", "up"]);
    for (arguments, password, words) in [
        (&["admin", "create", "root", "--password-stdin"][..], "", "standard input is empty"),
        (&["admin", "create", "root", "--password-stdin"], "short", "password"),
        (&["admin", "create", "root", "--password-stdin"], "password1234", "password"),
        (&["admin", "create", "root"], PASSWORD, "--password-stdin"),
        (&["admin", "create", "no name", "--password-stdin"], PASSWORD, "username"),
        (&["admin", "reset-password", "nobody", "--password-stdin"], PASSWORD, "there is no user nobody"),
        (&["admin", "promote", "nobody"], "", "there is no user nobody"),
        (&["admin", "remove-second-factor", "nobody"], "", "there is no user nobody"),
    ] {
        let refused = Finished::given(site.command(arguments), password);
        assert_eq!(refused.code, Some(1), "{arguments:?}: {}", refused.all());
        assert!(refused.err.starts_with("gatehouse: ") && refused.err.contains(words), "{}", refused.err);
        assert_eq!(refused.err.lines().count(), 1, "{}", refused.err);
        assert!(password.is_empty() || !refused.err.contains(&format!(" {password}")), "{}", refused.err);
    }
}
