//! The database: where it is, in every spelling that deployments use, and how many connections it gets.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::SecretString;

use super::catalogue::{Alias, section};
use super::kinds::{Flag, Kind, MASK, Optional, SECRET_TEXT, Shape, TEXT, Whole, seconds};
use super::mistake::Mistake;
use super::postgres::PostgresAddress;
use super::reader::{Noted, Reader};

section! {
    /// The database.
    pub struct Database {
        /// Most connections that are open at once.
        max_connections: u32 = "DATABASE_MAX_CONNECTIONS" or Alias::Same("DB_POOL_SIZE"), Whole(1, 10000), "16";
        /// How long a request waits for a connection, in seconds.
        acquire_timeout: Duration =
            "DATABASE_ACQUIRE_TIMEOUT_SECONDS" or Alias::Same("DB_POOL_TIMEOUT"), seconds(1, 300), "3";
        /// Whether a start brings the schema up to date.
        auto_migrate: bool = "AUTO_MIGRATE", Flag, "True";
        derived {
            /// Where the database is.
            address: DatabaseAddress = address;
        }
    }
}

section! {
    /// The address as it was written.
    struct Written {
        /// Address of the database: `sqlite:` with a path, or `postgres:`; the forms of SQLAlchemy too.
        uri: DatabaseAddress =
            "DATABASE_URI" or Alias::Same("DATABASE_URL"), ADDRESS, "sqlite://{DATA_DIR}/gatehouse.db";
        /// Name or address of the PostgreSQL server, or the folder of its socket. With all five `POSTGRES_` set,
        /// they win over `DATABASE_URI`.
        server: Option<String> = "POSTGRES_SERVER", Optional(TEXT), "";
        /// Port of the PostgreSQL server.
        port: Option<u16> = "POSTGRES_PORT", Optional(Whole(1, 65535)), "";
        /// Role that signs in to PostgreSQL.
        user: Option<String> = "POSTGRES_USER", Optional(TEXT), "";
        /// Password of that role.
        password: Option<SecretString> = "POSTGRES_PASSWORD", Optional(SECRET_TEXT), "";
        /// Name of the PostgreSQL database.
        database: Option<String> = "POSTGRES_DB", Optional(TEXT), "";
    }
}

/// The settings of the database, the address first.
pub(super) const SETTINGS: [&[super::Setting]; 2] = [Written::SETTINGS, Database::SETTINGS];

/// Where the database is. Prints itself without a password.
#[derive(Clone, Debug)]
pub enum DatabaseAddress {
    /// A file of SQLite.
    Sqlite {
        /// The file; relative to the working directory.
        path: PathBuf,
    },
    /// A server of PostgreSQL.
    Postgres {
        /// Everything that a connection needs, as `postgres://user:password@host:port/database?sslmode=…`.
        url: SecretString,
        /// Name or address of the server, or the folder of its socket.
        host: String,
        /// Its port.
        port: u16,
        /// The role that signs in.
        user: String,
        /// The name of the database.
        database: String,
    },
}

impl fmt::Display for DatabaseAddress {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite { path } => write!(out, "sqlite://{}", path.display()),
            Self::Postgres { host, port, user, database, .. } => {
                write!(out, "postgres://{user}@{host}:{port}/{database}")
            }
        }
    }
}

/// Kind of `DATABASE_URI`. Shown without its password.
struct Address;

const ADDRESS: Address = Address;

impl Shape for Address {
    fn accepts(&self) -> String {
        "sqlite://path or postgres://user:password@host:port/database, with special characters of \
         user and password as %XX"
            .to_owned()
    }

    fn is_secret(&self) -> bool {
        true
    }

    fn shown(&self, text: &str) -> String {
        self.parse(text).map_or_else(|| MASK.to_owned(), |address| address.to_string())
    }
}

impl Kind for Address {
    type Value = DatabaseAddress;

    fn parse(&self, text: &str) -> Option<DatabaseAddress> {
        let (scheme, rest) = text.split_once(':')?;
        let (engine, driver) =
            scheme.split_once('+').map_or((scheme, None), |(engine, driver)| (engine, Some(driver)));
        match (engine, driver) {
            ("sqlite", None) => sqlite(rest),
            ("sqlite", Some("aiosqlite" | "pysqlite")) => sqlalchemy_sqlite(rest),
            (
                "postgres" | "postgresql",
                None | Some("asyncpg" | "psycopg" | "psycopg_async" | "psycopg2"),
            ) => PostgresAddress::parse(&format!("postgres:{rest}")).map(PostgresAddress::into_address),
            _ => None,
        }
    }
}

/// `sqlite:path` and `sqlite://path`: what follows is the path, so that a third slash makes it absolute.
fn sqlite(rest: &str) -> Option<DatabaseAddress> {
    at(rest.strip_prefix("//").unwrap_or(rest))
}

/// `sqlite+driver:///path`: three slashes come first, so that a fourth makes it absolute.
fn sqlalchemy_sqlite(rest: &str) -> Option<DatabaseAddress> {
    rest.strip_prefix("///").and_then(at)
}

fn at(path: &str) -> Option<DatabaseAddress> {
    let path = path.split_once('?').map_or(path, |(path, _)| path);
    // A database in memory can't have readers beside its writer, and would lose everything that was answered.
    if matches!(path, ":memory:" | "/:memory:") {
        return None;
    }
    let path = percent_encoding::percent_decode_str(path).decode_utf8().ok()?;
    let names_a_file = !path.is_empty() && !path.ends_with('/') && !path.contains('\0');
    names_a_file.then(|| DatabaseAddress::Sqlite { path: PathBuf::from(path.as_ref()) })
}

fn address(reader: &mut Reader) -> Result<DatabaseAddress, Noted> {
    const PARTS: [&str; 5] =
        ["POSTGRES_SERVER", "POSTGRES_PORT", "POSTGRES_USER", "POSTGRES_PASSWORD", "POSTGRES_DB"];
    let written = Written::read(reader)?;
    let missing: Vec<&str> = PARTS.into_iter().filter(|part| reader.found(part).is_none()).collect();
    if missing.is_empty() {
        return parts(written, reader);
    }
    if reader.found("DATABASE_URI").is_some() {
        return Ok(written.uri);
    }
    if missing.len() < PARTS.len() {
        let words =
            format!("{} must be set too, or DATABASE_URI, or no POSTGRES_ variable", missing.join(", "));
        return Err(reader.note(Mistake::new(words)));
    }
    Ok(DatabaseAddress::Sqlite { path: Path::new(&reader.text("DATA_DIR")).join("gatehouse.db") })
}

/// The address in five parts, all of which are there; shown as `DATABASE_URI`, whose place it takes.
fn parts(written: Written, reader: &mut Reader) -> Result<DatabaseAddress, Noted> {
    let Written {
        server: Some(host),
        port: Some(port),
        user: Some(user),
        database: Some(database),
        password,
        ..
    } = written
    else {
        return Err(reader.refuse("POSTGRES_SERVER", "set together with the other POSTGRES_ variables"));
    };
    let address = PostgresAddress { host, port, user, password, database, options: vec![] }.into_address();
    if let Some(origin) = reader.found("POSTGRES_SERVER").map(|found| found.origin.clone()) {
        reader.keep("DATABASE_URI", &address.to_string(), origin);
    }
    Ok(address)
}
