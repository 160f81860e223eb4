//! `gatehouse check`, `openapi` and `health`: look, and say what was seen.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use super::own::Own;
use crate::app::{self, App, StartFault, admin_of_settings, connect};
use crate::platform::clock::Clock;
use crate::platform::config::{Config, Loaded};
use crate::platform::db::{Database, Direction, Schema, SchemaFault};
use crate::platform::random::Random;

/// What a health probe waits for at most.
const PROBE: Duration = Duration::from_secs(3);

/// Does what a start would do, but for serving, and prints a table; 0 if all is well.
pub(super) async fn check(fix: bool, loaded: Loaded) -> ExitCode {
    let mut table = Table::default();
    table.row("configuration", Ok("read".to_owned()));
    for warning in &loaded.warnings {
        table.row("configuration", Ok(format!("note: {warning}")));
    }
    let config = loaded.config;
    table.row("address", address(&config));
    // A start refuses it before it touches the database.
    if let Err(fault) = admin_of_settings(&config) {
        table.row("first admin", Err(fault.to_string()));
    }
    let db = table.keep("database", connect(&config).await, &config.database.address.to_string());
    if let Some(db) = &db {
        table.row("schema", schema(&config, db, fix).await);
    }
    match db {
        Some(db) if !table.is_bad => {
            let app = App::build(config, db, Clock::System, Random::System).await;
            if let Some(app) = table.keep("parts", app, "built") {
                table.row("first admin", first_admin(&app).await);
                others(&mut table, &app).await;
                app.close().await;
            }
        }
        db => {
            if let Some(db) = db {
                db.close().await;
            }
            Box::pin(beside_the_database(&mut table, config)).await;
        }
    }
    super::say(&table.text);
    if table.is_bad { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// The other servers don't wait for what is wrong here: who upgrades looks while steps are pending. The features need a
/// database to be built on, and this one must not be written to: they get one of their own, that is gone afterwards.
async fn beside_the_database(table: &mut Table, mut config: Config) {
    let own = match Own::lead_database(&mut config) {
        Ok(own) => own,
        Err(error) => return table.row("parts", Err(error.to_string())),
    };
    let app = App::open(config, Clock::System, Random::System).await;
    if let Some(app) = table.keep("parts", app, "built, beside the database") {
        others(table, &app).await;
        app.close().await;
    }
    drop(own);
}

/// What is asked of other servers, and of the storage of files.
async fn others(table: &mut Table, app: &App) {
    table.row("files", app.files.check().await);
    table.row("mail", app.mail.check().await);
    table.row("limits", app.rate_limits.check().await);
    table.row("events", events(app).await);
    table.row("workos", app.workos.check().await);
}

#[derive(Default)]
struct Table {
    text: String,
    is_bad: bool,
}

impl Table {
    fn row(&mut self, part: &str, state: Result<String, String>) {
        self.is_bad |= state.is_err();
        let (mark, words) = match state {
            Ok(words) => ("ok  ", words),
            Err(words) => ("FAIL", words),
        };
        self.text = format!("{}{mark}  {part:<14} {words}\n", self.text);
    }

    fn keep<T>(&mut self, part: &str, made: Result<T, StartFault>, words: &str) -> Option<T> {
        match made {
            Ok(made) => {
                self.row(part, Ok(words.to_owned()));
                Some(made)
            }
            Err(fault) => {
                self.row(part, Err(fault.to_string()));
                None
            }
        }
    }
}

fn address(config: &Config) -> Result<String, String> {
    let address = config.server.address();
    match std::net::TcpListener::bind(address) {
        Ok(_) => Ok(format!("{address} is free")),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            Ok(format!("{address} is in use; by a running gatehouse, one hopes"))
        }
        Err(error) => Err(format!("can't listen on {address}: {error}")),
    }
}

async fn schema(config: &Config, db: &Database, fix: bool) -> Result<String, String> {
    if fix {
        let applied =
            app::migrate(config, db, Direction::Up(None)).await.map_err(|fault| fault.to_string())?;
        if !applied.is_empty() {
            return Ok(format!("applied {} step(s)", applied.len()));
        }
    }
    match Schema(db).check().await {
        Ok(()) => Ok("up to date".to_owned()),
        Err(SchemaFault::Pending(steps)) if config.database.auto_migrate => Err(format!(
            "{steps} step(s) are pending: a start applies them, and so does `gatehouse check --fix`"
        )),
        Err(fault @ SchemaFault::Pending(_)) => Err(format!("{fault}, or `gatehouse check --fix`")),
        Err(fault) => Err(fault.to_string()),
    }
}

async fn first_admin(app: &App) -> Result<String, String> {
    let set = admin_of_settings(&app.config).map_err(|fault| fault.to_string())?;
    let there_is_one = app.users.has_admin().await.map_err(|error| error.to_string())?;
    Ok(match set {
        _ if there_is_one => "there is one".to_owned(),
        Some((new, _)) => format!("none yet: the next start makes {} of ADMIN_*", new.username),
        None => "none yet: the next start prints a set-up link".to_owned(),
    })
}

async fn events(app: &App) -> Result<String, String> {
    match &app.broker {
        Some(broker) => broker.check().await,
        None => Ok("kept in the database; RABBITMQ_URL is not set".to_owned()),
    }
}

/// Prints the OpenAPI document. It needs the features built, so it builds them on a database of its own that is gone
/// afterwards.
pub(super) async fn openapi(loaded: Loaded) -> Result<ExitCode, StartFault> {
    let mut config = loaded.config;
    let own = Own::lead(&mut config).map_err(anyhow::Error::from)?;
    let app = App::open(config, Clock::System, Random::System).await?;
    let document = serde_json::to_string_pretty(&app.document()).map_err(anyhow::Error::from)?;
    app.close().await;
    drop(own);
    super::say(&document);
    super::say("\n");
    Ok(ExitCode::SUCCESS)
}

/// Asks the server that runs here whether it is ready: 0 or 1, for the health check of a container.
pub(super) fn health(loaded: &Loaded) -> ExitCode {
    let mut address = loaded.config.server.address();
    if address.ip().is_unspecified() {
        let loopback = if address.is_ipv4() { "127.0.0.1" } else { "::1" };
        address = SocketAddr::new(loopback.parse().unwrap_or(address.ip()), address.port());
    }
    match probe(address) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            super::complain("gatehouse: not ready\n");
            ExitCode::FAILURE
        }
        Err(error) => {
            super::complain(&format!("gatehouse: {address}: {error}\n"));
            ExitCode::FAILURE
        }
    }
}

fn probe(address: SocketAddr) -> std::io::Result<bool> {
    let mut socket = TcpStream::connect_timeout(&address, PROBE)?;
    socket.set_read_timeout(Some(PROBE))?;
    socket.write_all(b"GET /health/ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    socket.take(4096).read_to_end(&mut answer)?;
    Ok(answer.starts_with(b"HTTP/1.1 200"))
}
