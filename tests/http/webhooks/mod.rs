//! Webhooks: managing them, what is delivered, what happens when it is not taken, whom they may not lead to.

mod deliver;
mod fail;
mod guard;
mod instances;
mod manage;
mod receiver;

use std::time::Duration;

use futures_util::FutureExt;
use sea_orm::{ConnectionTrait, DbErr, Statement};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{Actor, TestApp, eventually};
use receiver::{Got, Manner, Receiver};

const WEBHOOKS: &str = "/api/admin/webhooks";
/// The types of events of these tests; others happen by themselves.
const BANNED: &str = "user.banned";
const UNBANNED: &str = "user.unbanned";

/// A webhook that a test has made.
struct Hook {
    path: String,
    secret: String,
}

/// The program with a webhook to the path `/in` of a receiver, and its background work.
struct Scene {
    app: TestApp,
    admin: Actor,
    receiver: Receiver,
    hook: Hook,
}

impl Scene {
    async fn new() -> Self {
        Self::with(&[]).await
    }

    async fn with(settings: &[(&str, &str)]) -> Self {
        let app = TestApp::with(&[&[("WEBHOOK_ALLOW_PRIVATE", "True")], settings].concat()).await;
        let (admin, receiver) = (app.admin().await, Receiver::start().await);
        let hook = hook(&admin, &receiver.url("/in")).await;
        app.inside.start_background();
        Self { app, admin, receiver, hook }
    }

    /// Something happens, and the webhooks hear of it.
    async fn happens(&self, event_type: &str) -> Uuid {
        let event = happens(&self.app, event_type).await;
        self.app.inside.webhooks.wake();
        event
    }

    /// Time goes by, and somebody looks.
    fn later(&self, by: Duration) {
        self.app.clock.advance(by);
        self.app.inside.webhooks.wake();
    }

    /// What the webhook got, once so many deliveries of all webhooks are booked.
    async fn booked(&self, count: usize) -> Vec<Got> {
        let reader = self.app.inside.db.reader();
        let sql = "SELECT CAST(COALESCE(SUM(deliveries), 0) AS BIGINT) FROM webhooks";
        let booked = || async move {
            let statement = Statement::from_string(reader.get_database_backend(), sql);
            let row = reader.query_one_raw(statement).await.unwrap().unwrap();
            usize::try_from(row.try_get_by_index::<i64>(0).unwrap()).unwrap()
        };
        assert_eq!(eventually(booked, |booked| *booked >= count).await, count, "more than that was tried");
        self.receiver.got("/in")
    }

    async fn shown(&self) -> Value {
        self.fresh_admin().await.get(&self.hook.path).await.is(200).json()
    }

    async fn log(&self) -> Vec<Value> {
        let path = format!("{}/deliveries?limit=1000", self.hook.path);
        self.fresh_admin().await.get(&path).await.is(200).json()["deliveries"].as_array().unwrap().clone()
    }

    /// An admin who has just proved who they are.
    async fn fresh_admin(&self) -> Actor {
        self.app.admin().await
    }
}

/// A webhook for the events of these tests.
async fn hook(admin: &Actor, url: &str) -> Hook {
    let new = json!({"url": url, "description": "of a test", "event_types": [BANNED, UNBANNED]});
    let made = admin.post(WEBHOOKS).json(&new).await.is(201).json();
    Hook {
        path: format!("{WEBHOOKS}/{}", made["webhook"]["id"].as_str().unwrap()),
        secret: made["secret"].as_str().unwrap().to_owned(),
    }
}

/// An event, as the outbox holds it and the relay has placed it.
async fn happens(app: &TestApp, event_type: &str) -> Uuid {
    happens_with(app, event_type, r#"{"reason":"x"}"#).await
}

/// The same with a payload of its own.
async fn happens_with(app: &TestApp, event_type: &str, payload: &str) -> Uuid {
    let [id, user] = [Uuid::new_v4(), Uuid::new_v4()];
    let now = app.clock.now().millis();
    let (event_type, payload) = (event_type.to_owned(), payload.to_owned());
    let written = app.inside.db.write::<_, DbErr, _>(move |tx| {
        async move {
            let sql = "INSERT INTO events (id, user_id, sequence, event_type, payload, trace_id, created_at) \
                       VALUES ($1, $2, 1, $3, $4, '0197f2b53a587c4e9d1a1f2e3d4c5b6a', $5)";
            let values = [id.into(), user.into(), event_type.into(), payload.into(), now.into()];
            let statement = Statement::from_sql_and_values(tx.get_database_backend(), sql, values);
            tx.execute_raw(statement).await.map(|_| ())
        }
        .boxed()
    });
    written.await.unwrap();
    app.inside.events.place().await.unwrap();
    id
}

/// The ids of what came.
fn ids(got: &[Got]) -> Vec<String> {
    got.iter().map(|got| got.id().to_owned()).collect()
}
