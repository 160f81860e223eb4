//! Every spelling of a database's address.

use secrecy::ExposeSecret;

use super::*;

fn address(text: &str) -> DatabaseAddress {
    config(&[("DATABASE_URI", text)]).database.address
}

/// What a connection gets.
fn url(address: &DatabaseAddress) -> &str {
    match address {
        DatabaseAddress::Postgres { url, .. } => url.expose_secret(),
        other @ DatabaseAddress::Sqlite { .. } => panic!("{other} is no PostgreSQL"),
    }
}

#[test]
fn sqlite_has_the_spellings_of_urls_and_of_sqlalchemy() {
    for (text, path) in [
        ("sqlite:app.db", "app.db"),
        ("sqlite://data/app.db", "data/app.db"),
        ("sqlite:///srv/app.db", "/srv/app.db"),
        ("sqlite:////srv/app.db", "//srv/app.db"),
        ("sqlite:/srv/app.db", "/srv/app.db"),
        ("sqlite://data/app.db?mode=rwc", "data/app.db"),
        ("sqlite://my%20data/app.db", "my data/app.db"),
        ("sqlite+aiosqlite:///app.db", "app.db"),
        ("sqlite+aiosqlite:///./data/app.db", "./data/app.db"),
        ("sqlite+aiosqlite:////srv/app.db", "/srv/app.db"),
        ("sqlite+pysqlite:////srv/app.db?cache=shared", "/srv/app.db"),
    ] {
        match address(text) {
            DatabaseAddress::Sqlite { path: found } => assert_eq!(found, Path::new(path), "{text}"),
            other @ DatabaseAddress::Postgres { .. } => panic!("{text} became {other}"),
        }
    }
}

#[test]
fn sqlite_in_memory_is_refused_in_each_spelling() {
    for text in [
        "sqlite::memory:",
        "sqlite://:memory:",
        "sqlite:///:memory:",
        "sqlite+aiosqlite://",
        "sqlite+aiosqlite:///:memory:",
    ] {
        let refused = Config::load(&Sources::default().with_variables(&[("DATABASE_URI", text)])).is_err();
        assert!(refused, "{text}");
    }
}

#[test]
fn postgres_has_one_form_behind_every_spelling() {
    for scheme in [
        "postgres",
        "postgresql",
        "postgresql+asyncpg",
        "postgresql+psycopg",
        "postgresql+psycopg2",
        "postgres+asyncpg",
    ] {
        let address = address(&format!("{scheme}://ann:pw@db:5433/app"));
        assert_eq!(url(&address), "postgres://ann:pw@db:5433/app");
        assert_eq!(address.to_string(), "postgres://ann@db:5433/app");
    }
    assert_eq!(url(&address("postgres://db/app")), "postgres://postgres@db:5432/app");
    assert_eq!(url(&address("postgres://ann@[::1]/app")), "postgres://ann@[::1]:5432/app");
}

#[test]
fn options_are_those_of_sqlx() {
    for (text, options) in [
        ("ssl=require", "?sslmode=require"),
        ("ssl=true", "?sslmode=require"),
        ("ssl=False", "?sslmode=disable"),
        ("sslmode=verify-full&sslrootcert=/ca.pem", "?sslmode=verify-full&sslrootcert=%2Fca.pem"),
        ("prepared_statement_cache_size=0", ""),
        ("application_name=a%20b", "?application_name=a%20b"),
    ] {
        let address = address(&format!("postgresql+asyncpg://ann@db/app?{text}"));
        assert_eq!(url(&address), format!("postgres://ann@db:5432/app{options}"));
    }
    assert_eq!(mistakes(&[("DATABASE_URI", "postgres://ann@db/app?sslmode=verify-fulll")]).len(), 1);
}

#[test]
fn a_socket_is_named_by_its_folder() {
    let address = address("postgresql+psycopg://ann@/app?host=/run/postgresql");
    assert_eq!(url(&address), "postgres://ann@localhost:5432/app?host=%2Frun%2Fpostgresql");
}

#[test]
fn a_password_keeps_every_character() {
    let address = address("postgres://ann:p%40s%2Fs%3Aw%23%25%20%C3%A9%3F@db/app");
    let connection: sqlx::postgres::PgConnectOptions = url(&address).parse().expect("sqlx reads it");
    let parts = config(&[
        ("POSTGRES_SERVER", "db"),
        ("POSTGRES_PORT", "5432"),
        ("POSTGRES_USER", "ann"),
        ("POSTGRES_PASSWORD", "p@s/s:w#% é?"),
        ("POSTGRES_DB", "app"),
    ]);
    assert_eq!(url(&parts.database.address), url(&address));
    assert_eq!(connection.get_host(), "db");
    assert!(format!("{connection:?}").contains("p@s/s:w#% é?"), "the password arrives as it was meant");
}

#[test]
fn what_is_no_address_is_refused_and_not_shown() {
    for text in [
        "app.db",
        "sqlite:",
        "sqlite://",
        "sqlite:///",
        "sqlite://data/",
        "mysql://ann:hunter2@db/app",
        "postgres://ann:hunter2@db",
        "postgres://ann:hunter2@db/",
        "postgres:///app",
        "postgres://ann:hunter2#@db/app",
        "postgres://ann:hunter2@db:port/app",
        "postgresql+odbc://ann:hunter2@db/app",
        "postgres://ann:hunter2@db:0/app",
        "postgres://ann:%ff@db/app",
        "sqlite+aiosqlite://app.db",
    ] {
        let lines = mistakes(&[("DATABASE_URI", text)]);
        assert_eq!(lines.len(), 1, "{text}");
        assert!(
            lines[0].starts_with("DATABASE_URI (environment) must be sqlite://")
                && !lines[0].contains("hunter2")
        );
    }
}

#[test]
fn five_parts_win_over_an_address() {
    let parts = [
        ("POSTGRES_SERVER", "db"),
        ("POSTGRES_PORT", "5433"),
        ("POSTGRES_USER", "ann"),
        ("POSTGRES_PASSWORD", "hunter2"),
        ("POSTGRES_DB", "app"),
    ];
    let loaded = accepted(&environment(&parts).with_variables(&[("DATABASE_URI", "sqlite:a.db")]));
    assert_eq!(loaded.config.database.address.to_string(), "postgres://ann@db:5433/app");
    let shown = loaded.settings.iter().find(|effective| effective.name == "DATABASE_URI").expect("a setting");
    assert_eq!(shown.shown, "postgres://ann@db:5433/app");
    assert_eq!(
        config(&[&parts[..4], &[("DATABASE_URI", "sqlite:a.db")]].concat()).database.address.to_string(),
        "sqlite://a.db"
    );
    assert_eq!(
        mistakes(&parts[..4]),
        ["POSTGRES_DB must be set too, or DATABASE_URI, or no POSTGRES_ variable"]
    );
}
