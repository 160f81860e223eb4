//! What a write promises to the features, on both databases.

use futures_util::FutureExt;
use sea_orm::{ConnectionTrait, DbErr, Statement};

use crate::harness::TestApp;

/// A write that goes on after one of its statements was refused, as no act should.
async fn careless(app: &TestApp) -> Result<(), DbErr> {
    let write = app.inside.db.write::<_, DbErr, _>(|tx| {
        async move {
            tx.execute_unprepared("CREATE TABLE careless (line BIGINT)").await?;
            let refused = tx.execute_unprepared("INSERT INTO no_such_table VALUES (1)").await;
            assert!(refused.is_err());
            Ok(())
        }
        .boxed()
    });
    write.await
}

#[tokio::test]
async fn what_is_answered_as_written_is_there() {
    let app = TestApp::new().await;
    let answered = careless(&app).await;
    let db = app.inside.db.reader();
    let rows = Statement::from_string(db.get_database_backend(), "SELECT line FROM careless");
    // SQLite keeps the rest of such a transaction; PostgreSQL keeps nothing, and says so to nobody.
    assert_eq!(answered.is_ok(), db.query_all_raw(rows).await.is_ok(), "{answered:?}");
    app.user("ann").await;
}
