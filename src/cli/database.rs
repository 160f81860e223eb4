//! `gatehouse migrate`, `admin` and `keys`: what is done to the database from the command line.

use std::process::ExitCode;

use secrecy::{ExposeSecret, SecretString};

use super::commands::{Admin, Keys, Migrate};
use super::prompt::{self, PasswordSource};
use crate::app::{self, App, StartFault, connect};
use crate::audit::{Entry, Subject};
use crate::platform::clock::Clock;
use crate::platform::config::{Config, DatabaseAddress, Loaded};
use crate::platform::db::{Direction, Schema, StepStatus};
use crate::platform::random::Random;
use crate::sessions::{Retirement, Role};
use crate::users::{Identifier, Password};

/// Moves or shows the schema.
pub(super) async fn migrate(command: Migrate, loaded: Loaded) -> Result<ExitCode, StartFault> {
    let config = loaded.config;
    let direction = match command {
        Migrate::Status => return status(&config).await,
        Migrate::New { name } => return new_step(&name),
        Migrate::Up { to } => Direction::Up(to),
        Migrate::Down { all: true, .. } => Direction::DownAll,
        Migrate::Down { to, .. } => Direction::Down(to),
        Migrate::Fresh { confirm } => return fresh(&config, confirm).await,
    };
    let verb = if matches!(direction, Direction::Up(_)) { "applied" } else { "undone" };
    let db = connect(&config).await?;
    let steps = app::migrate(&config, &db, direction).await?;
    db.close().await;
    for step in &steps {
        super::say(&format!("{verb} {step}\n"));
    }
    if steps.is_empty() {
        super::say("nothing to do\n");
    }
    Ok(ExitCode::SUCCESS)
}

async fn status(config: &Config) -> Result<ExitCode, StartFault> {
    let db = connect(config).await?;
    let steps = Schema(&db).status().await?;
    db.close().await;
    for StepStatus { name, applied } in steps {
        super::say(&format!("{} {name}\n", if applied { "applied" } else { "pending" }));
    }
    Ok(ExitCode::SUCCESS)
}

async fn fresh(config: &Config, confirm: Option<String>) -> Result<ExitCode, StartFault> {
    if !config.server.environment.is_local() {
        return Err(anyhow::anyhow!("`migrate fresh` is refused outside ENVIRONMENT=local").into());
    }
    let name = name_of(&config.database.address);
    let question = format!("This removes everything in {name}. Type its name to go on: ");
    let typed = confirm.map_or_else(|| prompt::line(&question), Ok).map_err(anyhow::Error::from)?;
    if typed != name {
        return Err(anyhow::anyhow!("that is not the database's name; nothing was changed").into());
    }
    let db = connect(config).await?;
    app::migrate(config, &db, Direction::DownAll).await?;
    app::migrate(config, &db, Direction::Up(None)).await?;
    db.close().await;
    super::say("everything was removed and the schema made anew\n");
    Ok(ExitCode::SUCCESS)
}

fn name_of(address: &DatabaseAddress) -> String {
    match address {
        DatabaseAddress::Sqlite { path } => {
            path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
        }
        DatabaseAddress::Postgres { database, .. } => database.clone(),
    }
}

/// Writes the file of a new step beside the others; it is for people who work on Gatehouse itself.
fn new_step(name: &str) -> Result<ExitCode, StartFault> {
    let good = !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    if !good {
        return Err(anyhow::anyhow!("a step's name is of a to z, 0 to 9 and _").into());
    }
    let folder = std::path::Path::new("migrations");
    let number = crate::migrations::STEPS.len() + 1;
    let module = format!("m{number:04}_{name}");
    let path = folder.join(format!("{module}.rs"));
    let version = env!("CARGO_PKG_VERSION");
    let text = format!(
        "//! What this step is about.\n\nuse super::Step;\n\n/// Why it is as it is.\npub const STEP: Step = Step {{\n    \
         name: \"{module}\",\n    min_binary: \"{version}\",\n    up: &[],\n    down: &[],\n}};\n"
    );
    std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&path)
        .and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()))
        .map_err(|error| anyhow::anyhow!("can't write {}: {error}", path.display()))?;
    super::say(&format!("wrote {}; add it to the list in migrations/mod.rs\n", path.display()));
    Ok(ExitCode::SUCCESS)
}

/// Makes and mends admins.
pub(super) async fn admin(command: Admin, loaded: Loaded) -> Result<ExitCode, StartFault> {
    let app = App::open(loaded.config, Clock::System, Random::System).await?;
    let words = match command {
        Admin::Create { username, email, password_stdin } => {
            let password = new_password(password_stdin)?;
            create(&app, &username, email.as_deref(), &password).await?
        }
        Admin::ResetPassword { username, password_stdin } => {
            let password = new_password(password_stdin)?;
            reset_password(&app, &username, &password).await?
        }
        Admin::RemoveSecondFactor { username } => remove_second_factor(&app, &username).await?,
        Admin::Promote { username } => promote(&app, &username).await?,
    };
    app.close().await;
    super::say(&words);
    Ok(ExitCode::SUCCESS)
}

fn new_password(stdin: bool) -> anyhow::Result<SecretString> {
    Ok(prompt::new_password(PasswordSource::from_option(stdin))?)
}

async fn create(
    app: &App,
    username: &str,
    email: Option<&str>,
    password: &SecretString,
) -> anyhow::Result<String> {
    let user = app.auth.create_admin(username, email, password.expose_secret()).await?;
    Ok(format!("made the admin {username} ({user})\n"))
}

async fn reset_password(app: &App, username: &str, password: &SecretString) -> anyhow::Result<String> {
    let user = find(app, username).await?;
    let password = Password::parse(password.expose_secret())
        .map_err(|invalid| anyhow::anyhow!("{}", invalid.into_words()))?;
    app.auth.set_password(&user, &password).await?;
    Ok(format!("set the password of {username}; every session of theirs has ended\n"))
}

async fn remove_second_factor(app: &App, username: &str) -> anyhow::Result<String> {
    let user = find(app, username).await?;
    Ok(if app.auth.remove_second_factor(user.id).await? {
        format!("took the second factor of {username} off; every session of theirs has ended\n")
    } else {
        format!("{username} has no second factor\n")
    })
}

async fn promote(app: &App, username: &str) -> anyhow::Result<String> {
    let user = find(app, username).await?;
    app.users.add_role(user.id, Role::Admin).await?;
    Ok(format!("{username} is an admin now\n"))
}

async fn find(app: &App, username: &str) -> anyhow::Result<crate::users::store::user::Model> {
    let found = app.users.signing_in(&Identifier::parse(username)).await?;
    let living = found.filter(|found| !found.deleted).map(|found| found.user);
    living.ok_or_else(|| anyhow::anyhow!("there is no user {username}"))
}

/// Changes keys.
pub(super) async fn keys(command: Keys, loaded: Loaded) -> Result<ExitCode, StartFault> {
    let app = App::open(loaded.config, Clock::System, Random::System).await?;
    let words = match command {
        Keys::Rotate { at_once } => {
            let retirement = if at_once { Retirement::AtOnce } else { Retirement::Gradual };
            let kid = app.sessions.rotate_keys(retirement).await?;
            let entry = Entry::by_operator("keys_rotated", Subject::System).with("kid", kid.as_str());
            let entry = if at_once { entry.with("at_once", true) } else { entry };
            app.audit.record_alone(entry).await.map_err(anyhow::Error::from)?;
            format!("key {kid} signs from now on; running servers take it up within 30 seconds\n")
        }
        Keys::Rewrap => {
            let (keys, seeds) = (app.sessions.rewrap_keys().await?, app.otp.rewrap_seeds().await?);
            app.audit.reseal().await.map_err(anyhow::Error::from)?;
            let (grants, webhooks) = (app.oauth.rewrap_grants().await?, app.webhooks.rewrap_secrets().await?);
            format!(
                "{keys} key(s), {seeds} second factor(s), {grants} provider grant(s) and {webhooks} webhook secret(s) \
                 sealed anew\n"
            )
        }
    };
    app.close().await;
    super::say(&words);
    Ok(ExitCode::SUCCESS)
}
