//! What is in a site's database, seen from beside the program; and PostgreSQL databases that go when the test ends.

use sea_orm::{ConnectionTrait, DatabaseConnection, Statement, TryGetable};
use url::Url;

use crate::chance::{unique, variable};

/// A database on the PostgreSQL server of `TEST_DATABASE_URL`. The program makes it; the test's end drops it.
pub struct PostgresDatabase {
    server: Url,
    name: String,
    port: Option<u16>,
}

impl PostgresDatabase {
    /// A name for one, if the tests run on PostgreSQL.
    pub fn new() -> Option<Self> {
        postgres_server().map(Self::at)
    }

    /// A name for one on this server.
    pub fn at(server: Url) -> Self {
        Self { server, name: format!("faults_{}", unique()), port: None }
    }

    /// The same, which the program reaches through this port of loopback.
    pub fn through(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// Where the program shall find it.
    pub fn url(&self) -> String {
        let mut url = self.server.clone();
        if let Some(port) = self.port {
            url.set_host(Some("127.0.0.1")).unwrap();
            url.set_port(Some(port)).unwrap();
        }
        url.set_path(&self.name);
        url.into()
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for PostgresDatabase {
    fn drop(&mut self) {
        let (server, sql) =
            (self.server.to_string(), format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name));
        // A thread of its own, because the test's runtime can't be waited on from within.
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async { connect(&server).await.execute_unprepared(&sql).await.map(|_| ()) })
        });
        if !matches!(dropping.join(), Ok(Ok(()))) {
            println!("the database {} could not be dropped", self.name);
        }
    }
}

/// The PostgreSQL server that the tests run on, if they do.
pub fn postgres_server() -> Option<Url> {
    variable("TEST_DATABASE_URL")
}

/// A connection of the test's own.
pub async fn connect(url: &str) -> DatabaseConnection {
    sea_orm::Database::connect(url).await.expect("the test reaches the database")
}

/// The rows of a query, each read by its position.
pub async fn rows(db: &DatabaseConnection, sql: &str) -> Vec<sea_orm::QueryResult> {
    let statement = Statement::from_string(db.get_database_backend(), sql);
    db.query_all_raw(statement).await.unwrap_or_else(|error| panic!("{sql}: {error}"))
}

/// The first column of a query's rows.
pub async fn column<T: TryGetable>(db: &DatabaseConnection, sql: &str) -> Vec<T> {
    rows(db, sql).await.iter().map(|row| row.try_get_by_index(0).unwrap()).collect()
}

/// The number that a query counts.
pub async fn count(db: &DatabaseConnection, sql: &str) -> i64 {
    column(db, sql).await[0]
}
