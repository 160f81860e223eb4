//! Everything goes wrong, one thing after the other and together, by chance: the program is killed and stopped, its database,
//! its broker and its mail server go and come back, while people work.

#[path = "../support/smtp.rs"]
mod smtp;

use std::cell::Cell;
use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use reqwest::Method;
use sea_orm::DatabaseConnection;
use serde_json::json;
use smtp::SmtpServer;
use url::Url;
use uuid::Uuid;

use crate::broker::{Anywhere, Scene, TRACE, wired};
use crate::chance::{Dice, unique, variable};
use crate::client::Client;
use crate::cluster::Cluster;
use crate::database::{PostgresDatabase, column, connect, count};
use crate::gatehouse::{PASSWORD, Server, Signal, Site};
use crate::killed::is_sound;
use crate::ledger::{self, Entries};
use crate::outage::ends_connections;
use crate::uploads::{content, is_whole};
use crate::waiting::{SOON, until_true};
use crate::wire::Wire;

/// How long things go wrong, unless `MIXED_SECONDS` says so.
const EVERY_DAY: u64 = 20;
/// How long one installation has to bear it: what is looked through after each life grows with those before.
const SEASON: Duration = Duration::from_mins(1);
/// Between two uploads, and between two acts of the admin.
const THINKING: Duration = Duration::from_millis(200);
/// The admin.
const ROOT: &str = "root";

/// What goes wrong. What is away already comes back instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// F-01: the program is killed.
    Killed,
    /// F-24: it is told to stop.
    Stopped,
    /// F-12: RabbitMQ is away.
    Broker,
    /// F-12: connections to it are cut.
    BrokerConnections,
    /// F-16: the mail server is away.
    Mail,
    /// F-08: PostgreSQL is stopped, or killed.
    Database,
    /// F-08: it ends all connections.
    DatabaseConnections,
}

const EVERYWHERE: [Fault; 5] =
    [Fault::Killed, Fault::Stopped, Fault::Broker, Fault::BrokerConnections, Fault::Mail];
const OF_POSTGRES: [Fault; 2] = [Fault::Database, Fault::DatabaseConnections];

#[tokio::test]
async fn whatever_goes_wrong_together_nothing_that_was_answered_is_lost() {
    let (dice, cluster, broker) = (Dice::new(), Cluster::start().await, Anywhere::find());
    let time = Duration::from_secs(variable("MIXED_SECONDS").unwrap_or(EVERY_DAY));
    let began = Instant::now();
    while began.elapsed() < time {
        let season = SEASON.min(time.saturating_sub(began.elapsed()));
        live_through(season, cluster.as_ref(), &broker.url(), &dice).await;
    }
}

/// One installation, life after life, each held against what people were answered in it.
async fn live_through(season: Duration, cluster: Option<&Cluster>, broker: &str, dice: &Dice) {
    let mut mails = SmtpServer::start().await;
    let mail = Wire::to(&Url::parse(&format!("smtp://127.0.0.1:{}", mails.port())).unwrap()).await;
    let (wire, through) = wired(broker).await;
    let (site, mut scene) = Scene::of(site(cluster, &mails, &mail), broker, &through).await;
    let mut world = World { cluster, is_database_away: false, broker: wire, mail };
    let (began, mut lives, mut uploads) = (Instant::now(), Vec::new(), BTreeMap::new());
    let mut server = site.start().await;
    while lives.is_empty() || began.elapsed() < season {
        let life = world.live(&site, &mut server, dice).await;
        world.bring_database_back().await;
        server = site.launch();
        let took = server.ready().await;
        println!("answers: {:?}, ready again after {took:?}", life.entries.answers);
        let db = site.database().await;
        is_sound(&db).await;
        life.entries.check(&db).await;
        let client = Client::tracing(server.port(), TRACE);
        life.entries.check_server(&client).await;
        if let Some(banned) = life.banned {
            banned.check(&client, &db).await;
        }
        uploads.extend(life.uploads);
        is_whole(&site, &uploads).await;
        scene.hear().await;
        lives.push(life.entries);
    }
    world.broker.end(true);
    world.mail.end(true);
    let db = site.database().await;
    // What survived one fault survives those that follow.
    for entries in &lives {
        entries.check_kept(&db).await;
    }
    let repeated = scene.all_caused_are_heard(&db).await;
    println!("{} lives, {} uploads, {repeated} events repeated", lives.len(), uploads.len());
    mails_are_kept(&mut mails, &db).await;
    server.stop().await;
}

/// An installation that reaches its broker and its mail server through wires, and writes mails.
fn site(cluster: Option<&Cluster>, mails: &SmtpServer, mail: &Wire) -> Site {
    let site = Site::on(cluster.map(|cluster| PostgresDatabase::at(cluster.url())));
    let site = mails.settings().iter().fold(site, |site, (name, value)| site.with(name, value));
    site.with("SMTP_PORT", &mail.port().to_string())
        .with("ADMIN_USERNAME", ROOT)
        .with("ADMIN_PASSWORD", PASSWORD)
        .with("REQUIRE_EMAIL_VERIFICATION", "False")
        .with("EMAIL_CHECK_MX", "False")
        .with("THROTTLE_UPLOAD", "1000000/1h")
        .with("MAX_USER_FILES", "100000")
        .with("MAX_USER_STORAGE_BYTES", "1000000000000")
}

/// What people were answered between a start of the program and its end.
struct Life {
    entries: Entries,
    uploads: BTreeMap<i64, String>,
    banned: Option<Banned>,
}

/// What the program depends on.
struct World<'w> {
    cluster: Option<&'w Cluster>,
    is_database_away: bool,
    broker: Wire,
    mail: Wire,
}

impl World<'_> {
    /// Work under faults, up to the one that ends the program.
    async fn live(&mut self, site: &Site, server: &mut Server<'_>, dice: &Dice) -> Life {
        let (client, over) = (Client::tracing(server.port(), TRACE), Cell::new(false));
        let stranger = server.client();
        let happening = async {
            let mut last = None;
            while !matches!(last, Some(Fault::Killed | Fault::Stopped)) {
                tokio::time::sleep(dice.millis(200..1500)).await;
                let fault = self.draw(dice);
                println!("{fault:?}");
                self.happen(fault, site, server, dice).await;
                last = Some(fault);
            }
            over.set(true);
            last
        };
        let (entries, uploads, banned, last) = tokio::join!(
            ledger::load(&client, dice, &over),
            upload(&client, &over),
            Banned::again_and_again(&client, &stranger, &over),
            happening
        );
        if last == Some(Fault::Stopped) {
            assert!(entries.cut.is_empty(), "{:#?}", entries.cut);
        }
        Life { entries, uploads, banned }
    }

    fn draw(&self, dice: &Dice) -> Fault {
        let of_postgres = OF_POSTGRES.into_iter().filter(|_| self.cluster.is_some());
        let faults: Vec<Fault> = EVERYWHERE.into_iter().chain(of_postgres).collect();
        faults[dice.below(faults.len())]
    }

    async fn happen(&mut self, fault: Fault, site: &Site, server: &mut Server<'_>, dice: &Dice) {
        match fault {
            Fault::Killed => server.kill(),
            Fault::Stopped => {
                // Whoever is in can be answered as they expect.
                self.bring_database_back().await;
                server.signal(Signal::TERM);
                let status = server.ended(SOON).await;
                assert!(status.success(), "{status}:\n{}", server.output());
            }
            Fault::Broker => self.broker.end(!self.broker.is_there()),
            Fault::BrokerConnections => self.broker.cut(),
            Fault::Mail => self.mail.end(!self.mail.is_there()),
            Fault::Database | Fault::DatabaseConnections if self.is_database_away => {
                self.bring_database_back().await;
            }
            Fault::Database => {
                let goes = [Cluster::stop, Cluster::kill][dice.below(2)];
                self.cluster.into_iter().for_each(goes);
                self.is_database_away = true;
            }
            Fault::DatabaseConnections => {
                if let Some(cluster) = self.cluster {
                    let db = connect(cluster.url().as_str()).await;
                    println!("{} connections ended", count(&db, &ends_connections(site)).await);
                }
            }
        }
    }

    async fn bring_database_back(&mut self) {
        if let Some(cluster) = self.cluster.filter(|_| self.is_database_away) {
            cluster.resume().await;
            self.is_database_away = false;
        }
    }
}

/// Uploads one file after the other; the numbers of those that were answered, with their names.
async fn upload(client: &Client, over: &Cell<bool>) -> BTreeMap<i64, String> {
    let (mut token, mut answered) = (String::new(), BTreeMap::new());
    while !over.get() {
        if token.is_empty() {
            if let Ok(somebody) = client.sign_up(&format!("uploader_{}", unique())).await {
                somebody.body["access_token"].as_str().unwrap_or_default().clone_into(&mut token);
            }
        } else {
            let name = unique();
            // What was not answered may be there or not.
            if let Ok(answer) = client.upload(&token, &name, &content(&name)).await
                && answer.status == 201
            {
                answered.insert(answer.body["id"].as_i64().unwrap(), name);
            }
        }
        tokio::time::sleep(THINKING).await;
    }
    answered
}

/// Somebody whom the admin bans and lets in again.
struct Banned {
    username: String,
    /// As was answered last.
    is_banned: bool,
    /// Whether nothing was asked for since that may have been done or not.
    is_sure: bool,
}

impl Banned {
    /// Bans somebody, forgives them, and so on; `None` if it could not begin. The admin signs in as a `stranger`, because
    /// their first event was caused by no request.
    async fn again_and_again(client: &Client, stranger: &Client, over: &Cell<bool>) -> Option<Self> {
        let mut banned = Self { username: format!("banned_{}", unique()), is_banned: false, is_sure: true };
        let admin = stranger.sign_in(ROOT, PASSWORD).await.ok().filter(|answer| answer.status == 200)?;
        let made = client.sign_up(&banned.username).await.ok()?;
        if made.status != 201 {
            return None;
        }
        let token = admin.text("access_token");
        while banned.is_sure && !over.get() {
            banned.change(client, &token).await;
            tokio::time::sleep(THINKING).await;
        }
        Some(banned)
    }

    async fn change(&mut self, client: &Client, token: &str) {
        let act = if self.is_banned { "unban" } else { "ban" };
        let path = format!("/admin/{act}/@{}", self.username);
        match client.ask(Method::POST, &path, token, Some(json!({ "reason": "spam" }))).await {
            Ok(answer) if answer.status == 200 => self.is_banned = !self.is_banned,
            Ok(answer) => {
                assert_eq!(answer.status, 503, "{act}: {answer:?}");
                self.is_sure = false;
            }
            Err(error) => self.is_sure = error.is_connect(),
        }
    }

    async fn check(&self, client: &Client, db: &DatabaseConnection) {
        let active = format!("SELECT count(*) FROM users WHERE username = '{}' AND is_active", self.username);
        let is_banned = count(db, &active).await == 0;
        assert!(!self.is_sure || is_banned == self.is_banned, "{} was answered otherwise", self.username);
        let status = client.sign_in(&self.username, PASSWORD).await.unwrap().status;
        assert_eq!(status == 200, !is_banned, "{}: {status}", self.username);
    }
}

/// Every act that is written about has its mail, none is given up, and what is booked as sent has come.
async fn mails_are_kept(server: &mut SmtpServer, db: &DatabaseConnection) {
    // What was tried in vain waits longer than a test, and so does what a killed program had in hand.
    let untried = "SELECT count(*) FROM mails WHERE state = 'waiting' AND attempts = 0";
    until_true("what was not tried yet is sent", SOON, async || count(db, untried).await == 0).await;
    let unwritten = "SELECT username FROM users WHERE
            (SELECT count(*) FROM user_history
                WHERE user_id = users.id AND action IN ('password_changed', 'deleted'))
            <> (SELECT count(*) FROM mails
                WHERE user_id = users.id AND letter IN ('password-changed', 'account-deleted'))";
    assert_eq!(column::<String>(db, unwritten).await, [""; 0], "who has a mail too few or too many");
    let given_up = "SELECT count(*) FROM mails WHERE state IN ('dead', 'expired')";
    assert_eq!(count(db, given_up).await, 0);
    let sent: Vec<Uuid> = column(db, "SELECT id FROM mails WHERE state = 'sent'").await;
    let came: HashSet<Uuid> = server.rest().iter().map(|mail| number_of(mail.header("message-id"))).collect();
    let lost: Vec<&Uuid> = sent.iter().filter(|id| !came.contains(*id)).collect();
    assert!(lost.is_empty(), "booked as sent, but never sent: {lost:?}");
    println!("{} mails sent, {} came", sent.len(), came.len());
}

/// What a message's id says: `<number@domain>`.
fn number_of(message_id: &str) -> Uuid {
    message_id.trim_start_matches('<').split('@').next().unwrap().parse().unwrap()
}
