//! A place for one test's data: a folder, and in `TEST_DATABASE_URL` a schema; both are gone after the test.

use std::path::Path;

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection, Executor};
use tempfile::TempDir;
use url::Url;
use uuid::Uuid;

/// Where one test keeps its data.
pub struct Storage {
    folder: TempDir,
    uri: String,
    schema: Option<Schema>,
}

struct Schema {
    server: String,
    name: String,
}

impl Storage {
    /// An empty place: on PostgreSQL if `TEST_DATABASE_URL` names one, else a file of SQLite, in memory where the
    /// system has a place for that.
    pub async fn fresh() -> Self {
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        let folder = folder.expect("a folder");
        let Ok(server) = std::env::var("TEST_DATABASE_URL") else {
            let uri = format!("sqlite://{}", folder.path().join("test.db").display());
            return Self { folder, uri, schema: None };
        };
        let name = format!("test_{}", Uuid::new_v4().simple());
        run(&server, &format!("CREATE SCHEMA {name}"))
            .await
            .expect("TEST_DATABASE_URL is a database of ours");
        let mut url = Url::parse(&server).expect("TEST_DATABASE_URL is a URL");
        url.query_pairs_mut().append_pair("options", &format!("-csearch_path={name}"));
        Self { folder, uri: url.into(), schema: Some(Schema { server, name }) }
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

impl Drop for Storage {
    fn drop(&mut self) {
        let Some(Schema { server, name }) = self.schema.take() else { return };
        // The test's runtime is about to end; this work needs one of its own.
        let dropping = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(run(&server, &format!("SET lock_timeout = '5s'; DROP SCHEMA {name} CASCADE")))
        });
        if let Ok(Err(error)) = dropping.join() {
            eprintln!("a test's schema was left behind: {error}");
        }
    }
}

async fn run(server: &str, sql: &str) -> Result<(), sqlx::Error> {
    let mut connection = PgConnection::connect(server).await?;
    connection.execute(AssertSqlSafe(sql.to_owned())).await?;
    connection.close().await
}
