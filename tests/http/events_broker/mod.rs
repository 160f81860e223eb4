//! Events reach RabbitMQ, as the contract says, and what can't be delivered holds nobody up.

use std::time::{Duration, Instant};

use lapin::types::AMQPValue;
use opentelemetry_proto::tonic::trace::v1::Span;
use sea_orm::{ConnectionTrait, DbErr, Statement};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{PASSWORD, TestApp};
use crate::rabbitmq::{Anywhere, LARGEST, Listener, Outbox, users};
use crate::telemetry::collector::{Collector, bytes, fact, named};

/// How long the broker may take for what a test does with it.
const SOON: Duration = Duration::from_secs(30);

/// The program, a broker, and somebody who listens there.
struct Scene {
    app: TestApp,
    listener: Listener,
    outbox: Outbox,
    queue: String,
    broker: Anywhere,
}

impl Scene {
    /// With the built-in consumer.
    async fn new() -> Self {
        let mut scene = Self::idle(&[]).await;
        scene.listener.exchange().await;
        scene.listener.bind(lapin::types::FieldTable::default()).await;
        scene.app.inside.start_background();
        scene
    }

    /// Nothing is there, and the program's work has not begun.
    async fn idle(settings: &[(&str, &str)]) -> Self {
        let broker = Anywhere::find();
        let exchange = format!("test.{}", Uuid::new_v4().simple());
        let (url, queue) = (broker.url(), format!("{exchange}.queue"));
        let mut all =
            vec![("RABBITMQ_URL", &*url), ("RABBITMQ_EXCHANGE", &*exchange), ("RABBITMQ_QUEUE", &*queue)];
        all.extend(settings);
        let app = TestApp::with(&all).await;
        let listener = Listener::idle(&url, &exchange).await;
        Self { app, listener, outbox: Outbox::default(), queue, broker }
    }

    /// Writes an event of each of these users.
    async fn write(&mut self, users: &[Uuid], data: &str) {
        let statement = self.outbox.events(self.app.inside.db.backend(), users, data);
        self.run(statement).await;
    }

    async fn run(&self, statement: Statement) {
        let written = self.app.inside.db.write::<_, DbErr, _>(move |tx| {
            Box::pin(async move { tx.execute_raw(statement).await.map(|_| ()) })
        });
        written.await.unwrap();
    }

    async fn sql(&self, sql: &str) {
        self.run(Statement::from_string(self.app.inside.db.backend(), sql)).await;
    }

    async fn count(&self, condition: &str) -> i64 {
        let sql = format!("SELECT COUNT(*) FROM events WHERE trace_id = 'trace-1' AND {condition}");
        let db = self.app.inside.db.reader();
        let row = db.query_one_raw(Statement::from_string(db.get_database_backend(), sql)).await.unwrap();
        row.unwrap().try_get_by_index(0).unwrap()
    }

    async fn until_counted(&self, condition: &str, expected: i64) {
        until(async || match self.count(condition).await {
            count if count == expected => Ok(()),
            count => Err(format!("{condition}: {count} and not {expected}")),
        })
        .await;
    }

    /// Waits until so many different events were heard.
    async fn heard(&mut self, count: usize) {
        let listener = &mut self.listener;
        until(async || {
            listener.hear().await;
            if listener.different() >= count { Ok(()) } else { Err(listener.different()) }
        })
        .await;
    }

    /// The events of a user, as an admin is shown them.
    async fn feed(&self, user: Uuid) -> Vec<Value> {
        let path = format!("/api/admin/events?user_id={user}&limit=1000");
        self.app.admin().await.get(&path).await.is(200).json().as_array().unwrap().clone()
    }

    /// Has one of a user's events sent again, by its place; how many are.
    async fn replay(&self, user: Uuid, place: usize) -> u64 {
        let id = self.feed(user).await[place]["event_id"].as_str().unwrap().to_owned();
        let replayed = self.app.admin().await.post(&format!("/api/admin/events/{id}/replay")).await;
        replayed.is(200).json()["replayed"].as_u64().unwrap()
    }
}

/// Data of an event that the broker refuses, and a word by which it is found.
struct TooLarge {
    data: String,
    word: &'static str,
}

impl Default for TooLarge {
    fn default() -> Self {
        let word = "xxxxxxxxxxxxxxxx";
        Self { data: json!({ "text": word.repeat(LARGEST / word.len()) }).to_string(), word }
    }
}

/// What keeps each of these events from the broker.
fn troubles(events: &[Value]) -> Vec<Option<&str>> {
    events.iter().map(|event| event["trouble"].as_str()).collect()
}

async fn until<E: std::fmt::Debug>(mut ask: impl AsyncFnMut() -> Result<(), E>) {
    let begun = Instant::now();
    while let Err(last) = ask().await {
        assert!(begun.elapsed() < SOON, "it stayed {last:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn an_event_is_published_as_the_contract_says() {
    let mut scene = Scene::new().await;
    let user = users(1)[0];
    scene.write(&[user], r#"{"changes":{"locale":"de"}}"#).await;
    scene.heard(1).await;
    let heard = scene.listener.heard[0].clone();
    assert_eq!(
        heard.body,
        json!({"event_id": heard.id.to_string(), "event_type": "user.updated", "user_id": user.to_string(),
            "trace_id": "trace-1", "timestamp": "2026-01-01T00:00:00.007Z", "sequence": 1,
            "data": {"changes": {"locale": "de"}}})
    );
    assert_eq!(heard.key, "user.updated");
    let properties = &heard.properties;
    assert_eq!(properties.message_id().as_ref().unwrap().as_str(), heard.id.to_string());
    assert_eq!(properties.content_type().as_ref().unwrap().as_str(), "application/json");
    assert_eq!(*properties.delivery_mode(), Some(2));
    assert_eq!(*properties.timestamp(), Some(1_767_225_600));
    let headers = properties.headers().as_ref().unwrap().inner();
    assert_eq!(headers["trace_id"], AMQPValue::LongString("trace-1".into()));
    let AMQPValue::LongString(traceparent) = &headers["traceparent"] else { panic!("{headers:?}") };
    let id = heard.id.simple().to_string();
    assert_eq!(
        traceparent.as_bytes(),
        format!("00-17fe6f303311c0b164b937e419518c1f-{}-01", &id[16..]).as_bytes()
    );
    scene.until_counted("published_at IS NOT NULL AND trouble IS NULL", 1).await;
    let broker = scene.app.inside.broker.clone().unwrap();
    until(async || if broker.counts().consumed() == 1 { Ok(()) } else { Err("not consumed") }).await;
    // It is counted when its mark is written.
    until(async || if broker.counts().published() == 1 { Ok(()) } else { Err("not counted") }).await;
    assert_eq!(broker.backlog().await.unwrap().pending, 0);
}

#[tokio::test]
async fn many_events_come_in_the_order_of_each_user() {
    let mut scene = Scene::new().await;
    let people = users(30);
    for _ in 0..20 {
        scene.write(&people, "{}").await;
    }
    let alone = users(1)[0];
    scene.write(&[alone; 100], "{}").await;
    scene.heard(700).await;
    assert_eq!(scene.listener.is_in_order(), 0, "nothing is repeated while all is well");
    scene.until_counted("published_at IS NULL", 0).await;
}

#[tokio::test]
async fn without_a_queue_events_are_unrouted_and_can_be_replayed() {
    let mut scene = Scene::idle(&[("RABBITMQ_CONSUMER_ENABLED", "False")]).await;
    scene.app.inside.start_background();
    let people = users(3);
    scene.write(&people, "{}").await;
    scene.until_counted("trouble = 'unrouted' AND published_at IS NULL", 3).await;
    // They are counted when their marks are written.
    let broker = scene.app.inside.broker.clone().unwrap();
    until(async || if broker.counts().unrouted() < 3 { Err("not counted") } else { Ok(()) }).await;
    assert_eq!(broker.counts().unrouted(), 3);
    // The exchange is there, since only the queue is others' business.
    scene.listener.bind(lapin::types::FieldTable::default()).await;
    scene.write(&people, "{}").await;
    scene.heard(3).await;
    assert!(
        scene.listener.heard.iter().all(|heard| heard.sequence == 2),
        "nobody waits for the unrouted ones"
    );
    scene.sql("UPDATE events SET trouble = NULL WHERE trouble = 'unrouted'").await;
    scene.heard(6).await;
    scene.until_counted("published_at IS NOT NULL AND trouble IS NULL", 6).await;
}

#[tokio::test]
async fn a_queue_that_somebody_deletes_is_made_again_and_gets_what_comes() {
    let mut scene = Scene::idle(&[]).await;
    scene.app.inside.start_background();
    let (broker, user) = (scene.app.inside.broker.clone().unwrap(), users(1)[0]);
    let consumed = async |count| {
        until(async || match broker.counts().consumed() {
            now if now >= count => Ok(()),
            now => Err(now),
        })
        .await;
    };
    scene.write(&[user], "{}").await;
    consumed(1).await;
    for count in 2..5 {
        let queue = scene.queue.clone();
        scene.listener.delete_queue(&queue).await;
        scene.write(&[user], "{}").await;
        consumed(count).await;
    }
    // It may be consumed before it is marked.
    scene.until_counted("published_at IS NOT NULL", 4).await;
    assert_eq!(scene.count("trouble IS NOT NULL").await, 0);
}

#[tokio::test]
async fn an_event_that_is_too_large_is_parked_with_those_of_its_user_behind_it_and_nobody_else_waits() {
    let mut scene = Scene::new().await;
    let (people, poison) = (users(20), TooLarge::default());
    // Its user had something to tell before, and has more to tell.
    scene.write(&people[..1], "{}").await;
    scene.write(&people[..1], &poison.data).await;
    for _ in 0..3 {
        scene.write(&people, "{}").await;
    }
    scene.heard(58).await;
    // Also what comes when it is parked already.
    scene.until_counted("trouble = 'parked'", 1).await;
    scene.write(&people, "{}").await;
    scene.heard(77).await;
    scene.until_counted("published_at IS NOT NULL AND trouble IS NULL", 77).await;
    scene.until_counted("trouble = 'held' AND published_at IS NULL", 4).await;
    let broker = scene.app.inside.broker.clone().unwrap();
    assert_eq!(broker.counts().parked(), 1);
    let backlog = broker.backlog().await.unwrap();
    assert_eq!((backlog.pending, backlog.parked, backlog.held), (0, 1, 4));
    // Everybody who should know does.
    let admin = scene.app.admin().await;
    let measured = admin.get("/metrics").await.is(200).text().to_owned();
    for line in
        [r#"gatehouse_outbox_aside{trouble="parked"} 1"#, r#"gatehouse_outbox_aside{trouble="held"} 4"#]
    {
        assert!(measured.contains(line), "{measured}");
    }
    let report: Value = admin.get("/health/ready").await.is(200).json();
    assert_eq!(report["status"], "degraded");
    assert!(
        report["parts"]["events"].as_str().unwrap().starts_with("degraded: RabbitMQ refuses"),
        "{report}"
    );
    assert_eq!(
        troubles(&scene.feed(people[0]).await),
        [None, Some("parked"), Some("held"), Some("held"), Some("held"), Some("held")]
    );
    scene.listener.is_in_order();

    // Sent again, it is refused again, and so nothing overtakes it.
    assert_eq!(scene.replay(people[0], 1).await, 1);
    until(async || if broker.counts().parked() == 2 { Ok(()) } else { Err("not parked again") }).await;
    scene.until_counted("trouble = 'held' AND published_at IS NULL", 4).await;
    // One that waits behind it is not to be sent again before it.
    assert_eq!(scene.replay(people[0], 3).await, 0);
    // The broker takes what it refused, and the user is heard of without a gap.
    scene.sql(&format!("UPDATE events SET payload = '{{}}' WHERE payload LIKE '%{}%'", poison.word)).await;
    assert_eq!(scene.replay(people[0], 1).await, 1);
    scene.heard(82).await;
    scene.listener.is_in_order();
    scene.until_counted("published_at IS NOT NULL AND trouble IS NULL", 82).await;
    assert_eq!(admin.get("/health/ready").await.json()["parts"]["events"], "ok");
}

#[tokio::test]
async fn an_event_that_is_given_up_lets_go_what_waits_behind_it() {
    let mut scene = Scene::new().await;
    let (people, poison) = (users(2), TooLarge::default());
    for data in ["{}", poison.data.as_str(), "{}", poison.data.as_str(), "{}"] {
        scene.write(&people[..1], data).await;
    }
    scene.write(&people[1..], "{}").await;
    scene.heard(2).await;
    scene.until_counted("trouble = 'held'", 3).await;
    let admin = scene.app.admin().await;
    let (one, other) = (scene.feed(people[0]).await, scene.feed(people[1]).await);
    let path = |event: &Value| format!("/api/admin/events/{}/skip", event["event_id"].as_str().unwrap());
    for event in [&one[0], &one[2], &other[0]] {
        admin.post(&path(event)).await.refused(409, "not_parked");
    }
    for nothing in [Uuid::nil().to_string(), "x".to_owned()] {
        admin.post(&format!("/api/admin/events/{nothing}/skip")).await.refused(404, "not_found");
    }
    assert_eq!(admin.post(&path(&one[1])).await.is(200).json()["released"], 3);
    // The next one is refused as well.
    scene.heard(3).await;
    scene.until_counted("trouble = 'parked'", 1).await;
    scene.until_counted("trouble = 'held'", 1).await;
    assert_eq!(
        troubles(&scene.feed(people[0]).await),
        [None, Some("skipped"), None, Some("parked"), Some("held")]
    );
    assert_eq!(admin.post(&path(&one[3])).await.is(200).json()["released"], 1);
    scene.heard(4).await;
    let heard: Vec<i64> = scene
        .listener
        .heard
        .iter()
        .filter(|heard| heard.user == people[0])
        .map(|heard| heard.sequence)
        .collect();
    assert_eq!(heard, [1, 3, 5]);
    let log = admin.get("/api/admin/audit?limit=100").await.is(200).text().to_owned();
    assert!(log.contains("event_skipped") && log.contains(one[3]["event_id"].as_str().unwrap()), "{log}");
}

#[tokio::test]
async fn an_event_that_can_not_be_told_is_parked_with_those_behind_it() {
    let mut scene = Scene::new().await;
    let people = users(2);
    scene.write(&[people[0]], "no json").await;
    scene.write(&[people[0], people[1], people[0]], "{}").await;
    scene.heard(1).await;
    scene.until_counted("trouble = 'parked'", 1).await;
    scene.until_counted("trouble = 'held'", 2).await;
}

#[tokio::test]
async fn what_is_published_is_a_span_in_the_trace_of_the_request() {
    let collector = Collector::start().await;
    let settings = collector.settings();
    let settings: Vec<(&str, &str)> = settings.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let scene = Scene::idle(&settings).await;
    scene.app.inside.start_background();
    let trace = "018f3c7e-9c1b-7cc2-9f54-8a1d2b3c4d5e";
    let new = json!({"username": "ann", "email": "ann@example.com", "password": PASSWORD, "confirm_password": PASSWORD});
    scene.app.post("/api/auth/register").header("x-request-id", trace).json(&new).await.is(201);
    let exchange = scene.queue.strip_suffix(".queue").unwrap();
    let [created, signed_in] =
        ["user.created", "session.created"].map(|name| format!("publish {exchange}:{name}"));
    let is_whole = |spans: &[Span]| named(spans, &created).is_some() && named(spans, &signed_in).is_some();
    let spans = || collector.trace(bytes(trace));
    until(async || if is_whole(&spans()) { Ok(()) } else { Err("not published") }).await;
    let spans = spans();
    let span = named(&spans, &created).unwrap();
    assert_eq!((span.kind, span.status.is_none()), (4, true), "a producer that did not fail: {span:?}");
    for (name, expected) in [
        ("messaging.system", "rabbitmq"),
        ("messaging.operation.name", "publish"),
        ("messaging.operation.type", "send"),
        ("messaging.destination.name", &created["publish ".len()..]),
        ("messaging.rabbitmq.destination.routing_key", "user.created"),
    ] {
        assert_eq!(fact(span, name).as_deref(), Some(expected), "{name}");
    }
    assert!(fact(span, "messaging.message.body.size").unwrap().parse::<u32>().unwrap() > 100);
    assert!(fact(span, "server.port").is_some() && fact(span, "server.address").is_some());
    // Whoever consumes the message is told this span as the parent.
    let id: Uuid = fact(span, "messaging.message.id").unwrap().parse().unwrap();
    assert_eq!(span.span_id, id.as_u64_pair().1.to_be_bytes());
    assert!(!collector.was_sent("ann@example.com") && !collector.was_sent("guest:guest"));
}

#[tokio::test]
async fn what_the_broker_refuses_is_a_span_that_failed() {
    let collector = Collector::start().await;
    let settings = collector.settings();
    let settings: Vec<(&str, &str)> = settings.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let mut scene = Scene::idle(&settings).await;
    scene.app.inside.start_background();
    scene.write(&users(1), &TooLarge::default().data).await;
    let failed = |span: &Span| {
        span.name.starts_with("publish ")
            && span.status.as_ref().is_some_and(|status| status.code == 2)
            && fact(span, "error.type").as_deref() == Some("refused")
    };
    until(async || if collector.spans().iter().any(failed) { Ok(()) } else { Err("no such span") }).await;
}

#[tokio::test]
async fn an_event_that_the_queue_has_no_room_for_is_not_overtaken() {
    let mut scene = Scene::idle(&[("RABBITMQ_CONSUMER_ENABLED", "False")]).await;
    scene.listener.exchange().await;
    scene.listener.bind_bounded(5).await;
    scene.app.inside.start_background();
    let people = users(4);
    for _ in 0..5 {
        scene.write(&people, "{}").await;
    }
    scene.heard(20).await;
    scene.listener.is_in_order();
    scene.until_counted("published_at IS NOT NULL AND trouble IS NULL", 20).await;
}

#[tokio::test]
async fn what_is_no_event_ends_in_the_dead_letter_queue() {
    let mut scene = Scene::new().await;
    let (queue, dead) = (scene.queue.clone(), format!("{}.dead", scene.queue));
    let user = users(1)[0];
    scene.write(&[user], "{}").await;
    let broker = scene.app.inside.broker.clone().unwrap();
    until(async || if broker.counts().consumed() == 1 { Ok(()) } else { Err("not consumed") }).await;
    for odd in ["no json", "{}", "\u{1}"] {
        scene.listener.put(&queue, odd.as_bytes()).await;
        let listener = &mut scene.listener;
        until(async || match listener.get(&dead).await {
            Some(body) => {
                assert_eq!(body, odd.as_bytes());
                Ok(())
            }
            None => Err("nothing there"),
        })
        .await;
    }
    // And the consumer goes on.
    scene.write(&[user], "{}").await;
    until(async || if broker.counts().consumed() == 2 { Ok(()) } else { Err("not consumed") }).await;
}

#[tokio::test]
async fn an_exchange_of_another_type_holds_events_back_until_it_is_gone() {
    let mut scene = Scene::idle(&[]).await;
    scene.listener.exchange_of(lapin::ExchangeKind::Fanout).await;
    scene.app.inside.start_background();
    let user = users(1)[0];
    scene.write(&[user], "{}").await;
    let broker = scene.app.inside.broker.clone().unwrap();
    until(async || if broker.is_away() { Ok(()) } else { Err("all is well") }).await;
    assert_eq!(scene.count("published_at IS NULL AND trouble IS NULL").await, 1);
    scene.listener.delete_exchange().await;
    until(async || if broker.counts().consumed() == 1 { Ok(()) } else { Err("not consumed") }).await;
    // The consumer may hear of it before the publisher has marked it.
    until(async || if broker.is_away() { Err("still away") } else { Ok(()) }).await;
}

#[tokio::test]
async fn a_broker_that_is_away_is_no_outage_of_ours_and_readiness_tells_of_the_backlog() {
    let closed = "amqp://guest:right-horse-battery@127.0.0.1:1";
    let app = TestApp::with(&[("RABBITMQ_URL", closed)]).await;
    app.inside.start_background();
    let admin = app.admin().await;
    let measured = admin.get("/metrics").await.is(200).text().to_owned();
    for name in
        ["gatehouse_outbox_pending", "gatehouse_outbox_oldest_seconds", "gatehouse_outbox_events_total"]
    {
        assert!(measured.contains(&format!("# TYPE {name} ")), "{name}");
    }
    let report = async || -> Value { admin.get("/health/ready").await.is(200).json() };
    assert_eq!(report().await["parts"]["events"], "ok");
    let broker = app.inside.broker.as_ref().unwrap();
    until(async || match broker.backlog().await.unwrap() {
        backlog if backlog.pending > 0 => Ok(()),
        backlog => Err(backlog),
    })
    .await;
    app.clock.advance(Duration::from_secs(61));
    let degraded = report().await;
    assert_eq!(degraded["status"], "degraded");
    let words = degraded["parts"]["events"].as_str().unwrap().to_owned();
    assert!(words.starts_with("degraded: ") && words.ends_with("61 s old"), "{words}");
    app.user("ann").await.get("/api/user/me").await.is(200);
    assert_eq!(broker.backlog().await.unwrap().age, Some(Duration::from_secs(61)));
    let words = broker.check().await.unwrap_err();
    assert!(words.starts_with("RabbitMQ at 127.0.0.1:1 ") && !words.contains("horse"), "{words}");
    let without = TestApp::new().await;
    assert!(without.admin().await.get("/health/ready").await.json()["parts"].get("events").is_none());
}

#[tokio::test]
async fn a_check_finds_the_broker_and_makes_nothing_there() {
    let mut scene = Scene::idle(&[]).await;
    let broker = scene.app.inside.broker.clone().unwrap();
    for _ in 0..2 {
        let words = broker.check().await.unwrap();
        assert!(words.contains("a start makes the exchange test."), "{words}");
    }
    scene.listener.exchange().await;
    let words = broker.check().await.unwrap();
    assert!(words.contains(" has the exchange test."), "{words}");
    let wrong = scene.broker.url().replace("amqp://", "amqp://nobody:wrong-horse@");
    let other = scene.app.restarted_with(&[("RABBITMQ_URL", &wrong)]).await;
    let words = other.inside.broker.as_ref().unwrap().check().await.unwrap_err();
    assert!(words.contains("can't be used") && !words.contains("wrong-horse"), "{words}");
}
