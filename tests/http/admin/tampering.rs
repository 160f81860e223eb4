//! Somebody with a hand in the database changes the log of what staff did. What they can't do unseen, and what they can.

use std::sync::Arc;

use gatehouse::audit::{Audit, Entry, Filter, Flaw, Hash, Head, Row, Subject};
use gatehouse::platform::db::{Order, Span};
use gatehouse::platform::secrets::Secrets;
use sea_orm::{DbBackend, DbErr};
use serde_json::json;

use super::{ban, run, unban};
use crate::harness::{Actor, TestApp};

/// The rows that [`scene`] writes, the operator's making of the admin with them.
const ROWS: i64 = 6;

/// A log of six rows.
async fn scene() -> (TestApp, Actor) {
    let app = TestApp::new().await;
    let (admin, ann) = (app.admin().await, app.user("ann").await);
    for text in ["one", "two", "three"] {
        admin.patch(&ann.path()).json(&json!({"description": text})).await.is(200);
    }
    ban(&admin, &ann, "spam").await.is(200);
    unban(&admin, &ann, "sorry").await.is(200);
    assert_eq!(flaw(&app).await, None);
    assert_eq!(head(&app).await.number, ROWS);
    (app, admin)
}

/// What is not as it was written.
async fn flaw(app: &TestApp) -> Option<Flaw> {
    app.inside.audit.verify(None).await.unwrap().flaw
}

async fn head(app: &TestApp) -> Head {
    app.inside.audit.head().await.unwrap().unwrap()
}

/// Something that staff does, afterwards.
async fn a_deed(admin: &Actor) {
    admin.post("/api/user").json(&json!({"username": "newcomer"})).await.is(201);
}

async fn rows(app: &TestApp) -> Vec<Row> {
    let span = Span { order: Order::Asc, after: None, offset: 0, limit: 1000 };
    app.inside.audit.list(&Filter::default(), &span).await.unwrap()
}

/// Bytes as both databases write them in SQL.
fn literal(app: &TestApp, bytes: &[u8]) -> String {
    let text = gatehouse::platform::hexadecimal::written(bytes);
    match app.inside.db.backend() {
        DbBackend::Postgres => format!("'\\x{text}'::bytea"),
        _ => format!("X'{text}'"),
    }
}

#[tokio::test]
async fn no_column_of_a_row_can_be_changed() {
    let (app, _) = scene().await;
    for change in [
        "at = at + 1",
        "actor_id = NULL",
        "action = 'activated'",
        "subject_type = 'flags'",
        "subject_id = (SELECT actor_id FROM audit_log WHERE number = 4)",
        "details = '{}'",
        "trace_id = NULL",
        "follows_seal = NOT follows_seal",
        "hash = (SELECT hash FROM audit_log WHERE number = 3)",
    ] {
        run(&app, "CREATE TABLE kept AS SELECT * FROM audit_log").await;
        run(&app, &format!("UPDATE audit_log SET {change} WHERE number = 4")).await;
        assert_eq!(flaw(&app).await, Some(Flaw::Changed(4)), "{change}");
        assert_eq!(app.inside.audit.verify(None).await.unwrap().good.number, 3);
        run(&app, "DELETE FROM audit_log").await;
        run(&app, "INSERT INTO audit_log SELECT * FROM kept").await;
        run(&app, "DROP TABLE kept").await;
        assert_eq!(flaw(&app).await, None);
    }
}

#[tokio::test]
async fn no_row_can_be_taken_out_nor_can_others_close_the_gap() {
    let (app, _) = scene().await;
    run(&app, "DELETE FROM audit_log WHERE number = 3").await;
    assert_eq!(flaw(&app).await, Some(Flaw::Missing(3)));
    for number in 4..=ROWS {
        run(&app, &format!("UPDATE audit_log SET number = {} WHERE number = {number}", number - 1)).await;
    }
    assert_eq!(flaw(&app).await, Some(Flaw::Changed(3)));
}

#[tokio::test]
async fn the_first_row_can_not_be_taken_out() {
    let (app, _) = scene().await;
    run(&app, "DELETE FROM audit_log WHERE number = 1").await;
    assert_eq!(flaw(&app).await, Some(Flaw::Missing(1)));
}

#[tokio::test]
async fn rows_can_not_change_places_nor_be_put_in() {
    let (app, _) = scene().await;
    for (from, to) in [(3, -1), (4, 3), (-1, 4)] {
        run(&app, &format!("UPDATE audit_log SET number = {to} WHERE number = {from}")).await;
    }
    assert_eq!(flaw(&app).await, Some(Flaw::Changed(3)));
    let (app, _) = scene().await;
    let columns = "at, actor_id, action, subject_type, subject_id, details, trace_id, follows_seal, hash";
    let copy = format!(
        "INSERT INTO audit_log (number, {columns}) SELECT 7, {columns} FROM audit_log WHERE number = 6"
    );
    run(&app, &copy).await;
    assert_eq!(flaw(&app).await, Some(Flaw::BeyondHead(7)));
}

#[tokio::test]
async fn nothing_can_be_put_before_the_first_row() {
    let columns = "at, actor_id, action, subject_type, subject_id, details, trace_id, follows_seal, hash";
    for number in [0, -1, i64::MIN] {
        let (app, _) = scene().await;
        let copy = format!(
            "INSERT INTO audit_log (number, {columns}) SELECT {number}, {columns} FROM audit_log WHERE number = 1"
        );
        run(&app, &copy).await;
        assert_eq!(flaw(&app).await, Some(Flaw::Foreign(number)));
    }
}

#[tokio::test]
async fn the_last_rows_can_not_be_cut_off() {
    let (app, admin) = scene().await;
    run(&app, "DELETE FROM audit_log WHERE number > 4").await;
    assert_eq!(flaw(&app).await, Some(Flaw::Cut(4, ROWS)));
    // Not with the head set back either: its seal is made with a key that is not in the database.
    let back = "UPDATE audit_head SET number = 4, hash = (SELECT hash FROM audit_log WHERE number = 4)";
    run(&app, back).await;
    assert_eq!(flaw(&app).await, Some(Flaw::Head));
    // And when the log has gone on, its rows tell for ever what they were written behind.
    a_deed(&admin).await;
    assert_eq!(flaw(&app).await, Some(Flaw::Foreign(5)));
    ban_ann(&app, &admin).await;
    assert_eq!(flaw(&app).await, Some(Flaw::Foreign(5)));
}

async fn ban_ann(app: &TestApp, admin: &Actor) {
    let ann = app.sign_in("ann").await;
    ban(admin, &ann, "x").await.is(200);
}

#[tokio::test]
async fn whoever_can_reckon_all_hashes_anew_lacks_the_seal() {
    let (app, admin) = scene().await;
    let mut before = Hash::NOTHING;
    for mut row in rows(&app).await {
        if row.number == 5 {
            row.details = json!({"description": "something else"}).to_string();
        }
        before = Hash::of(&before, &row);
        let (hash, details) = (literal(&app, before.bytes()), row.details.replace('\'', "''"));
        let number = row.number;
        run(
            &app,
            &format!("UPDATE audit_log SET hash = {hash}, details = '{details}' WHERE number = {number}"),
        )
        .await;
    }
    assert_eq!(flaw(&app).await, Some(Flaw::Head));
    run(&app, &format!("UPDATE audit_head SET hash = {}", literal(&app, before.bytes()))).await;
    assert_eq!(flaw(&app).await, Some(Flaw::Head));
    a_deed(&admin).await;
    assert_eq!(flaw(&app).await, Some(Flaw::Foreign(ROWS + 1)));
}

#[tokio::test]
async fn the_head_can_not_be_taken_away() {
    for act in ["DELETE FROM audit_head", "UPDATE audit_head SET number = 0, hash = NULL, seal = NULL"] {
        let (app, admin) = scene().await;
        run(&app, act).await;
        assert!(matches!(flaw(&app).await, Some(Flaw::NoHead | Flaw::BeyondHead(1))), "{act}");
        if act.starts_with("DELETE") {
            // Staff can still act, and what they do tells that it follows nothing.
            a_deed(&admin).await;
            assert!(matches!(flaw(&app).await, Some(Flaw::Changed(7) | Flaw::Foreign(7))), "{act}");
        }
    }
}

// What can be done unseen by who has kept an older state of the database: go back to it. Against that helps the end of the
// log noted elsewhere.
#[tokio::test]
async fn going_back_as_a_whole_is_seen_by_who_has_noted_the_end() {
    let (app, admin) = scene().await;
    let early = head(&app).await;
    run(&app, "CREATE TABLE kept AS SELECT * FROM audit_head").await;
    a_deed(&admin).await;
    let noted = head(&app).await;
    let seen_by = async |noted: Head| app.inside.audit.verify(Some(noted)).await.unwrap().flaw;
    assert_eq!(seen_by(noted).await, None);
    assert_eq!(seen_by(early).await, None);
    run(&app, "DELETE FROM audit_log WHERE number = 7").await;
    run(&app, "DELETE FROM audit_head").await;
    run(&app, "INSERT INTO audit_head SELECT * FROM kept").await;
    assert_eq!(flaw(&app).await, None);
    assert_eq!(seen_by(noted).await, Some(Flaw::Noted(7)));
    assert_eq!(seen_by(early).await, None);
    // Other rows of the same number don't hide it.
    describe_ann(&app, &admin).await;
    assert_eq!(flaw(&app).await, None);
    assert_eq!(seen_by(noted).await, Some(Flaw::Noted(7)));
    // Nor does beginning anew.
    run(&app, "DELETE FROM audit_log").await;
    run(&app, "UPDATE audit_head SET number = 0, hash = NULL, seal = NULL").await;
    assert_eq!(flaw(&app).await, None);
    assert_eq!(seen_by(early).await, Some(Flaw::Noted(ROWS)));
}

async fn describe_ann(app: &TestApp, admin: &Actor) {
    let ann = app.sign_in("ann").await;
    admin.patch(&ann.path()).json(&json!({"description": "four"})).await.is(200);
}

#[tokio::test]
async fn after_a_change_of_the_master_secret_the_log_goes_on() {
    let app = TestApp::new().await;
    let audit = |present: &[u8], previous: &[&[u8]]| {
        let secrets = Secrets::new(present, previous);
        Audit::new(app.inside.db.clone(), app.clock.clone(), Arc::new(secrets))
    };
    let (old, both, new) = (audit(b"one", &[]), audit(b"two", &[b"one"]), audit(b"two", &[]));
    let write = async |audit: &Audit| {
        let audit = audit.clone();
        let entry = Entry::by_operator("keys_rotated", Subject::System);
        let act = app
            .inside
            .db
            .write::<_, DbErr, _>(move |tx| Box::pin(async move { audit.record(tx, entry).await }));
        act.await.unwrap();
    };
    let flaw = async |audit: &Audit| audit.verify(None).await.unwrap().flaw;
    write(&old).await;
    assert_eq!([flaw(&old).await, flaw(&both).await, flaw(&new).await], [None, None, Some(Flaw::Head)]);
    // `gatehouse keys rewrap` lets the earlier secret be forgotten; somebody else's seal is not made good by it.
    assert!(!new.reseal().await.unwrap());
    assert!(both.reseal().await.unwrap());
    assert!(!both.reseal().await.unwrap());
    assert_eq!([flaw(&old).await, flaw(&both).await, flaw(&new).await], [Some(Flaw::Head), None, None]);
    write(&new).await;
    assert_eq!(flaw(&new).await, None);
}
