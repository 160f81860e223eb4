//! RabbitMQ goes away and comes back, and so does the program: every event arrives, in the order of its user.

#[path = "../support/rabbitmq.rs"]
mod rabbitmq;

use std::time::{Duration, Instant};

use futures_util::future::join_all;
pub use rabbitmq::{Anywhere, TRACE};
use rabbitmq::{Listener, Outbox, Rabbit, users};
use sea_orm::{ConnectionTrait, DatabaseConnection};
use serde_json::Value;
use url::Url;
use uuid::Uuid;

use crate::chance::{Dice, rounds, unique, variable};
use crate::client::Client;
use crate::database::{PostgresDatabase, column, count};
use crate::gatehouse::{Server, Signal, Site};
use crate::waiting::{SOON, until, until_true};
use crate::wire::Wire;

/// From the moment that the broker is back, or another instance is alone.
const RECOVERY: Duration = Duration::from_mins(1);
const TAKEOVER: Duration = Duration::from_mins(1);
/// Where one that published was killed, another one does so by then.
const PROMISED: Duration = Duration::from_secs(15);
/// How long a broker is away that only has to be.
const SHORT: Duration = Duration::from_secs(2);
/// Between two changes of a person.
const THINKING: Duration = Duration::from_millis(250);
/// An outage is told of no more often.
const MINUTE: Duration = Duration::from_mins(1);
/// A backlog of this age is told of.
const TOLD_OF: Duration = Duration::from_secs(65);

/// An exchange of a test's own, and somebody who listens there.
pub struct Scene {
    listener: Listener,
    outbox: Outbox,
    people: Vec<Uuid>,
    /// How many events were written.
    written: usize,
}

impl Scene {
    /// At this broker, with a site whose program reaches it at `through`.
    async fn at(broker: &str, through: &str) -> (Site, Self) {
        Self::of(Site::new(), broker, through).await
    }

    /// The same with this site.
    pub async fn of(site: Site, broker: &str, through: &str) -> (Site, Self) {
        let exchange = format!("faults.{}", unique());
        let site = site
            .with("RABBITMQ_URL", through)
            .with("RABBITMQ_EXCHANGE", &exchange)
            .with("RABBITMQ_QUEUE", &format!("{exchange}.queue"));
        let listener = Listener::at(broker, &exchange).await;
        (site, Self { listener, outbox: Outbox::default(), people: users(40), written: 0 })
    }

    /// Writes an event of each of some users, the next time of the next ones.
    async fn write(&mut self, db: &DatabaseConnection, people: usize) {
        let first = self.written % self.people.len();
        let some: Vec<Uuid> = self.people.iter().cycle().skip(first).take(people).copied().collect();
        let statement = self.outbox.events(db.get_database_backend(), &some, "{}");
        until("an event is written", SOON, async || db.execute_raw(statement.clone()).await).await;
        self.written += people;
    }

    /// Writes for a while.
    async fn write_for(&mut self, db: &DatabaseConnection, time: Duration) {
        let began = Instant::now();
        while began.elapsed() < time {
            self.write(db, 10).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Takes in what has come so far.
    pub async fn hear(&mut self) {
        self.listener.hear().await;
    }

    /// Waits until all that requests have caused was heard, in order; how many messages were repeated.
    pub async fn all_caused_are_heard(&mut self, db: &DatabaseConnection) -> usize {
        let caused = format!("SELECT COUNT(*) FROM events WHERE trace_id = '{TRACE}'");
        self.written = usize::try_from(count(db, &caused).await).unwrap();
        self.all_heard(db, RECOVERY).await
    }

    /// Waits until all that was written was heard and marked, in order; how many messages were repeated.
    async fn all_heard(&mut self, db: &DatabaseConnection, within: Duration) -> usize {
        let (listener, written) = (&mut self.listener, self.written);
        until("all is heard", within, async || {
            listener.hear().await;
            if listener.different() == written { Ok(()) } else { Err((listener.different(), written)) }
        })
        .await;
        let unmarked = "SELECT COUNT(*) FROM events WHERE trace_id = 'trace-1' \
                        AND (published_at IS NULL OR trouble IS NOT NULL)";
        until_true("all is marked", SOON, async || count(db, unmarked).await == 0).await;
        self.listener.hear().await;
        self.listener.is_in_order()
    }
}

/// People who cause events by what they ask for.
struct Crowd {
    client: Client,
    /// Names and tokens.
    people: Vec<(String, String)>,
}

impl Crowd {
    /// So many people of this server, who have just signed up.
    async fn of(server: &Server<'_>, count: usize) -> Self {
        let client = Client::tracing(server.port(), TRACE);
        let mut people = Vec::new();
        for number in 0..count {
            let name = format!("person_{number}");
            let token = client.sign_up(&name).await.unwrap().text("access_token");
            people.push((name, token));
        }
        Self { client, people }
    }

    /// Each changes their own profile, again and again. Whatever else is away: it is done.
    async fn act_for(&self, time: Duration) {
        join_all(self.people.iter().map(|(name, token)| self.act(name, token, time))).await;
    }

    async fn act(&self, name: &str, token: &str, time: Duration) {
        let began = Instant::now();
        while began.elapsed() < time {
            let changed = self.client.describe(name, token, &unique()).await.unwrap();
            assert_eq!(changed.status, 200, "{changed:?}");
            tokio::time::sleep(THINKING).await;
        }
    }
}

/// The lines of a server's log with this message.
fn lines(server: &Server<'_>, message: &str) -> Vec<Value> {
    let output = server.output();
    let lines = output.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["message"].as_str().is_some_and(|text| text.starts_with(message))).collect()
}

#[tokio::test]
async fn a_broker_that_is_stopped_and_killed_under_load_gets_everything_in_order() {
    let away = variable("BROKER_AWAY_SECONDS").map_or(SHORT, Duration::from_secs);
    let mut rabbit = Rabbit::start();
    let (site, mut scene) = Scene::at(&rabbit.url(), &rabbit.url()).await;
    let site = site.with("JWT_EXP", "1440");
    let server = site.start().await;
    let db = site.database().await;
    let crowd = Crowd::of(&server, 10).await;
    crowd.act_for(Duration::from_secs(1)).await;
    scene.all_caused_are_heard(&db).await;
    let (mut faults, mut returns) = (Vec::new(), Vec::new());
    for (fault, away) in [(Rabbit::stop as fn(&mut Rabbit), away), (Rabbit::kill, SHORT)] {
        crowd.act_for(Duration::from_millis(500)).await;
        scene.listener.hear().await;
        faults.push(Instant::now());
        fault(&mut rabbit);
        crowd.act_for(away).await;
        if away >= TOLD_OF {
            let (status, report) = server.client().readiness().await.unwrap();
            assert_eq!((status, &report["status"]), (200, &Value::from("degraded")), "{report}");
        }
        rabbit.resume();
        let began = Instant::now();
        returns.push(began);
        scene.listener.reconnect(&rabbit.url()).await;
        crowd.act_for(Duration::from_millis(500)).await;
        let repeated = scene.all_caused_are_heard(&db).await;
        println!(
            "{} events, {repeated} repeated; away for {away:?}, all heard {:?} after the return",
            scene.written,
            began.elapsed()
        );
    }
    // One that is just stopping or starting may refuse everybody access.
    let away = || ["RabbitMQ is away", "RabbitMQ can't be used"].map(|words| lines(&server, words).len());
    let told = || away().iter().sum::<usize>();
    until_true("the log tells of the return", SOON, async || {
        told() > 0 && lines(&server, "RabbitMQ is back").len() == told()
    })
    .await;
    // Nothing is told twice within a minute. A node may take as long to start.
    let least = if faults[1].duration_since(returns[0]) < MINUTE { 1 } else { 2 };
    let most = if faults[0].elapsed() < MINUTE { 1 } else { 2 };
    assert!((least..=most).contains(&told()), "{:?}, not {least} to {most}", away());
    let is_lapin = |line: &Value| line["target"].as_str().is_some_and(|target| target.starts_with("lapin"));
    assert!(!lines(&server, "").iter().any(is_lapin), "lapin tells every try as an error");
    server.stop().await;
}

#[tokio::test]
async fn connections_that_are_reset_every_two_seconds_or_carry_nothing_lose_nothing() {
    let broker = Anywhere::find();
    let (wire, through) = wired(&broker.url()).await;
    let (site, mut scene) = Scene::at(&broker.url(), &through).await;
    let server = site.start().await;
    let db = site.database().await;
    for _ in 0..4 {
        scene.write_for(&db, Duration::from_secs(2)).await;
        wire.cut();
    }
    let repeated = scene.all_heard(&db, RECOVERY).await;
    println!("{} events, {repeated} repeated after resets", scene.written);
    let open = server.open_files();
    wire.hold();
    // Longer than two heartbeats.
    scene.write_for(&db, Duration::from_secs(35)).await;
    assert!(server.open_files() < open + 10, "each try to connect leaves something open");
    wire.carry();
    let repeated = scene.all_heard(&db, RECOVERY).await;
    println!("{} events, {repeated} repeated after silence", scene.written);
    server.stop().await;
}

#[tokio::test]
async fn a_program_that_is_killed_while_it_publishes_repeats_only_the_same_messages() {
    let broker = Anywhere::find();
    let (site, mut scene) = Scene::at(&broker.url(), &broker.url()).await;
    let dice = Dice::new();
    site.must(&["migrate", "up"]);
    let db = site.database().await;
    for round in 0..rounds(3) {
        for _ in 0..50 {
            scene.write(&db, 40).await;
        }
        let mut server = site.start().await;
        // The lease of the one that was killed runs out first.
        let listener = &mut scene.listener;
        until("somebody publishes", SOON, async || listener.hear().await.then_some(()).ok_or("nobody")).await;
        tokio::time::sleep(dice.millis(0..300)).await;
        server.kill();
        println!("round {round}: {} of {} heard", scene.listener.different(), scene.written);
    }
    let server = site.start().await;
    let repeated = scene.all_heard(&db, RECOVERY).await;
    println!("{} events, {repeated} repeated", scene.written);
    server.stop().await;
}

#[tokio::test]
async fn a_publisher_that_stops_or_dies_is_followed_by_another_instance() {
    if PostgresDatabase::new().is_none() {
        return;
    }
    let broker = Anywhere::find();
    let (site, mut scene) = Scene::at(&broker.url(), &broker.url()).await;
    let first = site.start().await;
    let db = site.database().await;
    let mut second = site.start().await;
    scene.write_for(&db, Duration::from_secs(1)).await;
    scene.all_heard(&db, RECOVERY).await;
    // The first one gives the lease back, the next one takes it and is killed, and a third one waits until it is free.
    first.stop().await;
    scene.write_for(&db, Duration::from_secs(1)).await;
    scene.all_heard(&db, TAKEOVER).await;
    let third = site.start().await;
    let holder = "SELECT COUNT(*) FROM leases WHERE name = 'publisher'";
    assert_eq!(count(&db, holder).await, 1);
    let killing = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        second.kill();
    };
    let began = Instant::now();
    tokio::join!(scene.write_for(&db, Duration::from_secs(1)), killing);
    let repeated = scene.all_heard(&db, TAKEOVER).await;
    println!("taken over after {:?}, {repeated} repeated", began.elapsed());
    third.stop().await;
    assert_eq!(count(&db, holder).await, 0, "a clean stop gives the lease back");
}

#[tokio::test]
async fn who_is_killed_while_it_may_publish_is_followed_by_another_process_within_15_seconds() {
    if PostgresDatabase::new().is_none() {
        return;
    }
    let broker = Anywhere::find();
    let (site, mut scene) = Scene::at(&broker.url(), &broker.url()).await;
    let mut publisher = site.start().await;
    let db = site.database().await;
    scene.write(&db, 40).await;
    scene.all_heard(&db, RECOVERY).await;
    let mut took = Vec::new();
    // A machine that stands still holds one of them up, but not each.
    while took.len() < 5 && took.iter().all(|took| *took > PROMISED) {
        let next = site.start().await;
        let killed = leader(&db).await;
        publisher.kill();
        let began = Instant::now();
        scene.write(&db, 40).await;
        until_true("another one may publish", TAKEOVER, async || leader(&db).await != killed).await;
        scene.all_heard(&db, TAKEOVER).await;
        took.push(began.elapsed());
        publisher = next;
    }
    println!("taken over after {took:?}");
    assert!(took.iter().any(|took| *took <= PROMISED), "{took:?}");
    publisher.stop().await;
}

#[tokio::test]
async fn a_publisher_that_stands_still_longer_than_its_lease_repeats_only_the_same_messages() {
    if PostgresDatabase::new().is_none() {
        return;
    }
    let broker = Anywhere::find();
    let (site, mut scene) = Scene::at(&broker.url(), &broker.url()).await;
    let first = site.start().await;
    let db = site.database().await;
    scene.write(&db, 40).await;
    scene.all_heard(&db, RECOVERY).await;
    let servers = [first, site.start().await];
    for publisher in servers.iter().cycle().take(usize::try_from(rounds(1)).unwrap()) {
        let (leader, ends) = (leader(&db).await, replaced(publisher));
        let left = stand_still(&mut scene, publisher, &db).await;
        let stood = Instant::now();
        scene.write_for(&db, Duration::from_secs(1)).await;
        let repeated = scene.all_heard(&db, RECOVERY).await;
        println!("{left} left, {repeated} repeated, all published after {:?}", stood.elapsed());
        assert_ne!(self::leader(&db).await, leader, "another instance has taken over");
        // It takes up its work where it was, and finds that this is another's now.
        publisher.signal(Signal::CONT);
        scene.write_for(&db, Duration::from_secs(1)).await;
        until_true("it notices", SOON, async || replaced(publisher) > ends).await;
        let repeated = scene.all_heard(&db, RECOVERY).await;
        println!("{} events, {repeated} repeated after it went on", scene.written);
    }
    for server in servers {
        server.stop().await;
    }
}

/// Lets it stand still in the middle of its work, with some of it published and not yet marked; how much is left.
async fn stand_still(scene: &mut Scene, publisher: &Server<'_>, db: &DatabaseConnection) -> i64 {
    for _ in 0..10 {
        for _ in 0..5 {
            scene.write(db, 1000).await;
        }
        let before = pending(db).await;
        until("it publishes", SOON, async || match pending(db).await {
            left if left < before || left == 0 => Ok(()),
            left => Err(left),
        })
        .await;
        publisher.signal(Signal::STOP);
        let left = pending(db).await;
        if left > 0 {
            return left;
        }
        // It was faster than the test, which may have stood still itself.
        publisher.signal(Signal::CONT);
    }
    panic!("all was published each time before it could stand still");
}

/// How many events of the test are not marked as published.
async fn pending(db: &DatabaseConnection) -> i64 {
    count(db, "SELECT COUNT(*) FROM events WHERE trace_id = 'trace-1' AND published_at IS NULL").await
}

/// Who holds the publisher's lease.
async fn leader(db: &DatabaseConnection) -> Uuid {
    column(db, "SELECT holder FROM leases WHERE name = 'publisher'").await[0]
}

/// How often an instance has noticed that it publishes no more.
fn replaced(server: &Server<'_>) -> usize {
    lines(server, "the lease of publishing is lost: another instance may publish now").len()
}

#[tokio::test]
async fn a_broker_without_memory_is_waited_for() {
    let rabbit = Rabbit::start();
    let (site, mut scene) = Scene::at(&rabbit.url(), &rabbit.url()).await;
    let server = site.start().await;
    let db = site.database().await;
    scene.write(&db, 40).await;
    scene.all_heard(&db, RECOVERY).await;
    rabbit.control(&["set_vm_memory_high_watermark", "absolute", "1MB"]);
    scene.write(&db, 40).await;
    until_true("the log tells of it", SOON, async || {
        lines(&server, "RabbitMQ is away")
            .iter()
            .any(|line| line["error"].as_str().unwrap().contains("blocked"))
    })
    .await;
    assert_eq!(server.client().sign_up("meanwhile").await.unwrap().status, 201);
    rabbit.control(&["set_vm_memory_high_watermark", "0.4"]);
    let repeated = scene.all_heard(&db, RECOVERY).await;
    assert_eq!(repeated, 0, "the connection was kept");
    until_true("the log tells of the return", SOON, async || !lines(&server, "RabbitMQ is back").is_empty())
        .await;
    server.stop().await;
}

#[tokio::test]
async fn a_long_backlog_is_published() {
    let broker = Anywhere::find();
    let (site, mut scene) = Scene::at(&broker.url(), &broker.url()).await;
    scene.people = users(1000);
    let site = site.with("LOG_LEVEL", "WARNING").with("RABBITMQ_CONSUMER_ENABLED", "False");
    site.must(&["migrate", "up"]);
    let db = site.database().await;
    // A hundred thousand, and how fast they go, are for `scripts/bench`.
    for _ in 0..20 {
        scene.write(&db, 1000).await;
    }
    let began = Instant::now();
    let server = site.start().await;
    let pending = "SELECT COUNT(*) FROM events WHERE trace_id = 'trace-1' AND published_at IS NULL";
    until_true("all is published", RECOVERY, async || {
        tokio::time::sleep(Duration::from_millis(100)).await;
        count(&db, pending).await == 0
    })
    .await;
    println!("{} events published after {:?}, the start included", scene.written, began.elapsed());
    server.stop().await;
    let queue = scene.listener.queue.clone();
    scene.listener.delete_queue(&queue).await;
}

#[tokio::test]
async fn a_request_is_followed_by_its_trace_id_from_its_line_to_the_consumers() {
    let broker = Anywhere::find();
    let (site, _scene) = Scene::at(&broker.url(), &broker.url()).await;
    let server = site.start().await;
    let token = server.client().sign_up("ann").await.unwrap().text("access_token");
    let http = reqwest::Client::builder().tls_certs_only([]).no_proxy().build().unwrap();
    let response = http
        .patch(format!("http://127.0.0.1:{}/api/user/@ann", server.port()))
        .bearer_auth(&token)
        .header("x-request-id", "follow-me-1")
        .json(&serde_json::json!({ "description": "told" }))
        .send()
        .await
        .unwrap();
    assert_eq!(response.status().as_u16(), 200);
    until_true("both have their lines", SOON, async || {
        let output = server.output();
        let lines = output.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let of_request: Vec<Value> = lines.filter(|line| line["trace_id"] == "follow-me-1").collect();
        let has = |target: &str| of_request.iter().any(|line| line["target"] == target);
        has("gatehouse::events::consumer") && of_request.iter().any(|line| line["message"] == "request")
    })
    .await;
    server.stop().await;
}

/// A wire to this broker, and the address that leads through it.
pub async fn wired(broker: &str) -> (Wire, String) {
    let mut through = Url::parse(broker).unwrap();
    let wire = Wire::to(&through).await;
    through.set_port(Some(wire.port())).unwrap();
    (wire, through.into())
}
