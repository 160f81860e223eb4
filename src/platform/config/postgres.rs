//! Addresses of PostgreSQL: from the spellings of libpq, SQLAlchemy and asyncpg to the one that sqlx understands.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::database::DatabaseAddress;

/// What means itself anywhere in a URL (RFC 3986, 2.3); everything else is encoded.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Options that sqlx understands; others concern other drivers and are left out.
const OPTIONS: [&str; 6] = ["sslmode", "sslrootcert", "sslcert", "sslkey", "application_name", "options"];
const SSL_MODES: [&str; 6] = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"];

/// An address of PostgreSQL, taken apart and decoded.
pub(super) struct PostgresAddress {
    /// Name, address, or folder of the socket.
    pub host: String,
    pub port: u16,
    pub user: String,
    pub password: Option<SecretString>,
    pub database: String,
    pub options: Vec<(String, String)>,
}

impl PostgresAddress {
    /// From `postgres://user:password@host:port/database?options`.
    pub fn parse(text: &str) -> Option<Self> {
        // SQLAlchemy leaves the host empty where an option names the socket; a URL must not.
        let text = text.replacen("@/", "@localhost/", 1);
        let url = Url::parse(&text).ok().filter(|url| url.fragment().is_none())?;
        let mut address = Self {
            host: decoded(url.host_str().unwrap_or_default().trim_matches(['[', ']']))?,
            port: url.port().unwrap_or(5432),
            user: decoded(url.username())?,
            password: match url.password() {
                Some(password) => Some(decoded(password)?.into()),
                None => None,
            },
            database: decoded(url.path().trim_start_matches('/'))?,
            options: Vec::new(),
        };
        for (name, value) in url.query_pairs() {
            address.take(&name, value.into_owned())?;
        }
        address.completed()
    }

    /// Takes an option of the query: some are parts of the address, some go on to sqlx, `ssl` is asyncpg's `sslmode`.
    fn take(&mut self, name: &str, value: String) -> Option<()> {
        match name {
            "host" => self.host = value,
            "port" => self.port = value.parse().ok()?,
            "user" => self.user = value,
            "password" => self.password = Some(value.into()),
            "dbname" => self.database = value,
            "ssl" | "sslmode" => self.options.push(("sslmode".to_owned(), ssl_mode(&value)?)),
            known if OPTIONS.contains(&known) => self.options.push((known.to_owned(), value)),
            _ => {}
        }
        Some(())
    }

    fn completed(mut self) -> Option<Self> {
        if self.user.is_empty() {
            "postgres".clone_into(&mut self.user);
        }
        let printable =
            [&self.host, &self.user, &self.database].iter().all(|part| !part.chars().any(char::is_control));
        (printable && !self.host.is_empty() && !self.database.is_empty() && self.port != 0).then_some(self)
    }

    /// The address as the program keeps it.
    pub fn into_address(self) -> DatabaseAddress {
        let url = SecretString::from(self.url());
        let Self { host, port, user, database, .. } = self;
        DatabaseAddress::Postgres { url, host, port, user, database }
    }

    fn url(&self) -> String {
        let password =
            self.password.as_ref().map(|password| format!(":{}", encoded(password.expose_secret())));
        let is_socket = self.host.starts_with('/');
        let host = match &self.host {
            _ if is_socket => "localhost".to_owned(),
            host if host.contains(':') => format!("[{host}]"),
            host => encoded(host),
        };
        let mut url = format!(
            "postgres://{}{}@{host}:{}/{}",
            encoded(&self.user),
            password.unwrap_or_default(),
            self.port,
            encoded(&self.database)
        );
        let socket = is_socket.then(|| ("host".to_owned(), self.host.clone()));
        for (number, (name, value)) in self.options.iter().chain(&socket).enumerate() {
            let mark = if number == 0 { '?' } else { '&' };
            url.extend([mark.to_string(), encoded(name), "=".to_owned(), encoded(value)]);
        }
        url
    }
}

fn ssl_mode(value: &str) -> Option<String> {
    let value = value.to_ascii_lowercase();
    match value.as_str() {
        "true" | "1" | "yes" | "on" => Some("require".to_owned()),
        "false" | "0" | "no" | "off" => Some("disable".to_owned()),
        mode => SSL_MODES.contains(&mode).then(|| value.clone()),
    }
}

fn decoded(text: &str) -> Option<String> {
    percent_decode_str(text).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}
