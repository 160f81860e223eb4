//! Backups by themselves.

use std::path::Path;
use std::time::Duration;

use gatehouse::archive::Schedule;
use sea_orm::{ConnectionTrait, Statement};

use super::names;
use crate::harness::{TestApp, race};

const DAY: Duration = Duration::from_hours(24);

async fn scheduled(folder: &Path) -> TestApp {
    let folder = folder.display().to_string();
    TestApp::with(&[("BACKUP_SCHEDULE", "0 3 * * *"), ("BACKUP_DIR", &folder), ("BACKUP_KEEP", "3")]).await
}

fn schedule(app: &TestApp) -> Schedule {
    app.inside.backups.clone().unwrap()
}

/// What has become of each backup: the reason of its failure, if it has failed.
async fn outcomes(app: &TestApp) -> Vec<Option<String>> {
    let db = app.inside.db.reader();
    let sql = "SELECT error FROM backups WHERE ended_at IS NOT NULL ORDER BY began_at";
    let rows = db.query_all_raw(Statement::from_string(db.get_database_backend(), sql)).await.unwrap();
    rows.iter().map(|row| row.try_get_by_index(0).unwrap()).collect()
}

async fn measured(app: &TestApp, name: &str) -> Option<String> {
    let metrics = app.get("/metrics").await;
    let line = metrics.is(200).text().lines().find(|line| line.starts_with(name));
    line.and_then(|line| line.rsplit_once(' ')).map(|(_, value)| value.to_owned())
}

#[tokio::test]
async fn nobody_asks_for_backups_by_default() {
    assert!(TestApp::new().await.inside.backups.is_none());
}

// What the alert of a backup that was never made looks for.
#[tokio::test]
async fn that_none_was_made_yet_is_measured_by_an_age_that_is_absent() {
    let folder = tempfile::tempdir().unwrap();
    let app = scheduled(folder.path()).await;
    assert_eq!(measured(&app, "gatehouse_backup_failing").await.as_deref(), Some("0"));
    assert_eq!(measured(&app, "gatehouse_backup_age_seconds").await, None);
    let without = TestApp::new().await;
    assert_eq!(measured(&without, "gatehouse_backup_failing").await, None, "nobody asked for backups");
}

#[tokio::test]
async fn it_is_made_when_it_is_due_and_once() {
    let folder = tempfile::tempdir().unwrap();
    let app = scheduled(folder.path()).await;
    assert!(!schedule(&app).look().await.unwrap(), "it is midnight");
    assert!(names(folder.path()).is_empty());
    app.clock.advance(Duration::from_hours(3));
    assert!(schedule(&app).look().await.unwrap());
    assert_eq!(names(folder.path()), ["gatehouse-20260101T030000Z.tar"]);
    app.clock.advance(Duration::from_hours(1));
    assert!(!schedule(&app).look().await.unwrap());
    assert_eq!(measured(&app, "gatehouse_backup_age_seconds").await.as_deref(), Some("3600"));
    assert_eq!(measured(&app, "gatehouse_backup_failing").await.as_deref(), Some("0"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_several_instances_one_makes_it() {
    let folder = tempfile::tempdir().unwrap();
    let app = scheduled(folder.path()).await;
    let second = app.second_instance().await;
    app.clock.advance(Duration::from_hours(3));
    let schedules = [schedule(&app), schedule(&second)];
    let made = race(2, move |nth| {
        let schedule = schedules[nth].clone();
        async move { schedule.look().await.unwrap() }
    });
    let made = made.await.into_iter().filter(|made| *made).count();
    assert_eq!((made, names(folder.path()).len()), (1, 1));
    assert!(!schedule(&second).look().await.unwrap(), "it is done");
    assert_eq!(outcomes(&app).await, [None]);
}

#[tokio::test]
async fn the_newest_are_kept_and_nothing_else_is_touched() {
    let folder = tempfile::tempdir().unwrap();
    let app = scheduled(folder.path()).await;
    std::fs::write(folder.path().join("gatehouse-20250101T030000Z.tar.age"), "mine").unwrap();
    std::fs::write(folder.path().join("notes.txt"), "mine").unwrap();
    app.clock.advance(Duration::from_hours(3));
    for _ in 0..5 {
        assert!(schedule(&app).look().await.unwrap());
        app.clock.advance(DAY);
    }
    assert_eq!(
        names(folder.path()),
        [
            "gatehouse-20250101T030000Z.tar.age",
            "gatehouse-20260103T030000Z.tar",
            "gatehouse-20260104T030000Z.tar",
            "gatehouse-20260105T030000Z.tar",
            "notes.txt"
        ]
    );
}

#[tokio::test]
async fn what_was_missed_is_made_up_for_once() {
    let folder = tempfile::tempdir().unwrap();
    let app = scheduled(folder.path()).await;
    app.clock.advance(Duration::from_hours(3));
    assert!(schedule(&app).look().await.unwrap());
    app.clock.advance(DAY * 3 + Duration::from_hours(5));
    let later = app.second_instance().await;
    assert!(schedule(&later).look().await.unwrap());
    assert!(!schedule(&later).look().await.unwrap());
    assert_eq!(names(folder.path()), ["gatehouse-20260101T030000Z.tar", "gatehouse-20260104T080000Z.tar"]);
}

#[tokio::test]
async fn one_that_fails_is_told_and_the_next_is_tried() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("backups");
    std::fs::write(&place, "in the way").unwrap();
    let app = scheduled(&place).await;
    app.clock.advance(Duration::from_hours(3));
    assert!(schedule(&app).look().await.unwrap());
    assert!(!schedule(&app).look().await.unwrap(), "not before the next is due");
    let failed = outcomes(&app).await;
    assert!(failed[0].as_deref().is_some_and(|reason| reason.contains("can't be written")), "{failed:?}");
    assert_eq!(measured(&app, "gatehouse_backup_failing").await.as_deref(), Some("1"));
    assert_eq!(measured(&app, "gatehouse_backup_age_seconds").await, None);
    app.get("/health/ready").await.is(200);

    std::fs::remove_file(&place).unwrap();
    app.clock.advance(DAY);
    assert!(schedule(&app).look().await.unwrap());
    assert_eq!(outcomes(&app).await[1], None);
}
