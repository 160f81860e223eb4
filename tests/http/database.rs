//! What a write promises to the features, on both databases.

use futures_util::FutureExt;
use gatehouse::platform::random::Random;
use gatehouse::platform::rewrap::SealedColumn;
use gatehouse::platform::secrets::Secrets;
use sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement};
use uuid::Uuid;

use crate::harness::TestApp;

const LAST_YEAR: &[u8] = b"the secret of last year, 32 bytes";
const THIS_YEAR: &[u8] = b"the secret of this year, 32 bytes";
const THINGS: SealedColumn = SealedColumn { table: "things", id: "id", column: "sealed" };

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

/// Nine hundred rows, more than are looked at in one step: a third sealed last year, a third this year, a third not.
async fn seal_things(app: &TestApp, random: &Random) {
    let (id, bytes) = match app.inside.db.backend() {
        DbBackend::Sqlite => ("BLOB", "BLOB"),
        _ => ("UUID", "BYTEA"),
    };
    let table = format!("CREATE TABLE things (id {id} PRIMARY KEY, sealed {bytes})");
    let (earlier, present) = (Secrets::new(LAST_YEAR, &[]), Secrets::new(THIS_YEAR, &[]));
    let sealed = |secrets: &Secrets, id: Uuid| secrets.seal(random, "thing", id.as_bytes(), b"treasure");
    let rows: Vec<(Uuid, Option<Vec<u8>>)> = (1..=900)
        .map(|number| {
            let id = Uuid::from_u128(number);
            match number % 3 {
                0 => (id, Some(sealed(&earlier, id))),
                1 => (id, Some(sealed(&present, id))),
                _ => (id, None),
            }
        })
        .collect();
    let write = app.inside.db.write::<_, DbErr, _>(move |tx| {
        async move {
            tx.execute_unprepared(&table).await?;
            for (id, sealed) in rows {
                tx.run("INSERT INTO things (id, sealed) VALUES ($1, $2)", [id.into(), sealed.into()]).await?;
            }
            Ok(())
        }
        .boxed()
    });
    write.await.unwrap();
}

#[tokio::test]
async fn what_an_earlier_secret_sealed_is_sealed_anew_once() {
    let app = TestApp::new().await;
    let (db, random) = (&app.inside.db, Random::seeded(7));
    seal_things(&app, &random).await;

    let both = Secrets::new(THIS_YEAR, &[LAST_YEAR]);
    for stale in [300, 0] {
        let anew = THINGS.rewrap(db, &both, |id, old| {
            let plain = both.open("thing", id.as_bytes(), old)?;
            Ok(both.seal(&random, "thing", id.as_bytes(), &plain))
        });
        assert_eq!(anew.await.unwrap(), stale);
    }

    let present = Secrets::new(THIS_YEAR, &[]);
    let all = Statement::from_string(db.backend(), "SELECT id, sealed FROM things WHERE sealed IS NOT NULL");
    let rows = db.reader().query_all_raw(all).await.unwrap();
    assert_eq!(rows.len(), 600);
    for row in rows {
        let (id, sealed): (Uuid, Vec<u8>) =
            (row.try_get_by_index(0).unwrap(), row.try_get_by_index(1).unwrap());
        assert_eq!(&present.open("thing", id.as_bytes(), &sealed).unwrap()[..], b"treasure");
    }
}
