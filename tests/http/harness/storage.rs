//! A place for one test's data: a folder, and on the server of `TEST_DATABASE_URL` a database; both are gone after the
//! test.
//!
//! All steps of the schema take PostgreSQL longer than most tests take. So they are taken once, in a database that is
//! named after them, and of that one the server makes copies, file by file.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;

use gatehouse::app;
use gatehouse::migrations::STEPS;
use gatehouse::platform::config::Config;
use gatehouse::platform::db::Direction;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection, Executor};
use tempfile::TempDir;
use url::Url;
use uuid::Uuid;

/// Where one test keeps its data.
pub struct Storage {
    folder: TempDir,
    uri: String,
    postgres: Option<Postgres>,
}

/// A database on the server of the tests.
struct Postgres {
    server: Url,
    name: String,
}

impl Storage {
    /// An empty place: on PostgreSQL if `TEST_DATABASE_URL` names one, else a file of SQLite, in memory where the
    /// system has a place for that. The program makes the database.
    pub fn fresh() -> Self {
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        let folder = folder.expect("a folder");
        let postgres = Postgres::new();
        let file = || format!("sqlite://{}", folder.path().join("test.db").display());
        let uri = postgres.as_ref().map_or_else(file, Postgres::uri);
        Self { folder, uri, postgres }
    }

    /// A place whose schema is that of this program, where that is the faster way to it.
    pub async fn migrated() -> Self {
        let storage = Self::fresh();
        if let Some(postgres) = &storage.postgres {
            postgres.copy_template(storage.folder()).await;
        }
        storage
    }

    /// For `DATABASE_URI`.
    pub fn uri(&self) -> &str {
        &self.uri
    }

    /// For `DATA_DIR`.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

impl Postgres {
    /// A name for one, if the tests run on PostgreSQL.
    fn new() -> Option<Self> {
        let server = std::env::var("TEST_DATABASE_URL").ok()?;
        let server = Url::parse(&server).expect("TEST_DATABASE_URL is a URL");
        Some(Self { server, name: format!("test_{}", Uuid::new_v4().simple()) })
    }

    fn uri(&self) -> String {
        let mut uri = self.server.clone();
        uri.set_path(&self.name);
        uri.into()
    }

    /// Makes it a copy of the template, and that one first if it is not there.
    async fn copy_template(&self, folder: &Path) {
        let template = name_of_template();
        let copy = format!("CREATE DATABASE {} TEMPLATE {template} STRATEGY file_copy", self.name);
        let mut connection = connect(&self.server).await.expect("TEST_DATABASE_URL is a server of ours");
        if let Err(error) = run(&mut connection, &copy).await {
            let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
            assert_eq!(code.as_deref(), Some("3D000"), "{error}"); // the template is not there
            self.make_template(&mut connection, &template, folder).await;
            run(&mut connection, &copy).await.expect("a copy of the template");
        }
        connection.close().await.expect("a connection that ends");
    }

    /// Makes the template in the place of this database, unless another test was faster.
    async fn make_template(&self, connection: &mut PgConnection, template: &str, folder: &Path) {
        run(connection, "SELECT pg_advisory_lock(7465737473)").await.expect("a turn");
        let there = format!("SELECT 1 FROM pg_database WHERE datname = '{template}'");
        let there = connection.fetch_optional(AssertSqlSafe(there)).await.expect("an answer");
        if there.is_none() {
            let config = Config::for_tests(folder, &[("DATABASE_URI", &self.uri())]);
            let db = app::connect(&config).await.expect("a database");
            app::migrate(&config, &db, Direction::Up(None)).await.expect("a schema");
            db.close().await;
            // It gets its name when it is whole.
            let name = format!("ALTER DATABASE {} RENAME TO {template}", self.name);
            run(connection, &name).await.expect("a template");
        }
        run(connection, "SELECT pg_advisory_unlock(7465737473)").await.expect("an end of the turn");
    }

    /// Ends what is still connected, which the test's runtime can't close any more, and drops the database.
    async fn drop_database(server: &Url, name: &str) -> Result<(), sqlx::Error> {
        let mut connection = connect(server).await?;
        let end = format!(
            "DO $$ BEGIN LOOP
               PERFORM pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}';
               EXIT WHEN NOT FOUND;
               PERFORM pg_sleep(0.002), pg_stat_clear_snapshot();
             END LOOP; END $$"
        );
        run(&mut connection, &end).await?;
        run(&mut connection, &format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await?;
        connection.close().await
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let (server, name) = (self.server.clone(), std::mem::take(&mut self.name));
        // The test's runtime is about to end; this work needs one of its own.
        let dropping = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(Self::drop_database(&server, &name))
        });
        if let Ok(Err(error)) = dropping.join() {
            eprintln!("a test's database was left behind: {error}");
        }
    }
}

/// The same for the same steps; those of another branch on the same server are others.
fn name_of_template() -> String {
    let mut hasher = DefaultHasher::new();
    for step in STEPS {
        (step.name, step.min_binary, step.up).hash(&mut hasher);
    }
    format!("test_template_{:016x}", hasher.finish())
}

async fn connect(server: &Url) -> Result<PgConnection, sqlx::Error> {
    PgConnection::connect(server.as_str()).await
}

async fn run(connection: &mut PgConnection, sql: &str) -> Result<(), sqlx::Error> {
    connection.execute(AssertSqlSafe(sql.to_owned())).await.map(|_| ())
}
