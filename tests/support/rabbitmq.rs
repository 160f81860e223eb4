//! A RabbitMQ of a test's own, to be stopped, killed and started again; and what somebody sees who listens there.

#![allow(dead_code, reason = "each of the test binaries needs some of it")]

use std::collections::{HashMap, HashSet};
use std::fs;
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use lapin::options::{
    BasicGetOptions, BasicPublishOptions, ExchangeDeclareOptions, ExchangeDeleteOptions, QueueBindOptions,
    QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, ExchangeKind};
use rustix::process::{Pid, Signal, kill_process_group};
use sea_orm::{DbBackend, Statement, Value};
use tempfile::TempDir;
use uuid::Uuid;

use crate::port::Port;

/// How long a node may take to start on a busy machine.
const START: Duration = Duration::from_secs(100);
/// The most that a message may have, in bytes, on the nodes of tests.
pub const LARGEST: usize = 262_144;
const PROGRAM: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";

/// The trace id of the events that a test writes by itself.
pub const TRACE: &str = "trace-1";

/// Where a broker is that a test only talks to: the one of `TEST_RABBITMQ_URL`, else one of its own.
pub enum Anywhere {
    Given(String),
    Own(Box<Rabbit>),
}

impl Anywhere {
    #[allow(clippy::disallowed_methods, reason = "this is a setting of the tests, not of the program")]
    pub fn find() -> Self {
        match std::env::var("TEST_RABBITMQ_URL").ok().filter(|url| !url.is_empty()) {
            Some(url) => Self::Given(url),
            None => Self::Own(Box::new(Rabbit::start())),
        }
    }

    pub fn url(&self) -> String {
        match self {
            Self::Given(url) => url.clone(),
            Self::Own(rabbit) => rabbit.url(),
        }
    }
}

/// A node in a folder of its own, with ports and a port mapper of its own; gone when dropped.
pub struct Rabbit {
    folder: TempDir,
    port: Port,
    distribution: Port,
    mapper: Port,
    epmd: Option<Child>,
    node: Option<Child>,
}

impl Rabbit {
    /// Starts one.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (port, distribution, mapper) = (Port::free(), Port::free(), Port::free());
        let settings = format!(
            "listeners.tcp.default = 127.0.0.1:{}\nlog.file.level = warning\nmax_message_size = {LARGEST}\n",
            port.number()
        );
        fs::write(folder.path().join("rabbitmq.conf"), settings).unwrap();
        fs::write(folder.path().join("enabled_plugins"), "[].\n").unwrap();
        let mut rabbit = Self { folder, port, distribution, mapper, epmd: None, node: None };
        let mut epmd = rabbit.command("epmd");
        epmd.args(["-port", &rabbit.mapper.number().to_string()]);
        rabbit.epmd = Some(epmd.spawn().expect("epmd (Debian: erlang-base)"));
        rabbit.resume();
        rabbit
    }

    /// For `RABBITMQ_URL`.
    pub fn url(&self) -> String {
        format!("amqp://127.0.0.1:{}", self.port.number())
    }

    /// Starts it again, with all that it keeps on disk.
    pub fn resume(&mut self) {
        self.node = Some(self.command(PROGRAM).spawn().expect("rabbitmq-server (Debian: rabbitmq-server)"));
        let begun = Instant::now();
        while !is_open(&self.port) {
            let ended = self.node.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none() && begun.elapsed() < START, "RabbitMQ does not start: {}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Stops it as an operator does.
    pub fn stop(&mut self) {
        self.end(Signal::TERM);
    }

    /// Kills it with all its processes: nothing is said to anybody.
    pub fn kill(&mut self) {
        self.end(Signal::KILL);
    }

    /// Runs `rabbitmqctl`.
    pub fn control(&self, words: &[&str]) {
        let mut command = self.command("/usr/lib/rabbitmq/bin/rabbitmqctl");
        let output = command.args(words).stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap();
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn end(&mut self, signal: Signal) {
        if let Some(mut node) = self.node.take() {
            kill_process_group(Pid::from_child(&node), signal).unwrap();
            node.wait().unwrap();
            // What has started the node may end before the node does, which would still be found at its ports.
            let begun = Instant::now();
            while is_open(&self.port) || is_open(&self.distribution) {
                assert!(begun.elapsed() < START, "RabbitMQ does not end: {}", self.log());
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// A program that knows this node and nothing else of the machine, in a process group of its own.
    fn command(&self, program: &str) -> Command {
        let folder = self.folder.path();
        let mut command = Command::new(program);
        command.current_dir(folder).process_group(0).env_clear();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("HOME", folder).env("LANG", "C.UTF-8");
        command.env("ERL_EPMD_PORT", self.mapper.number().to_string()).env("ERL_EPMD_ADDRESS", "127.0.0.1");
        command.env("RABBITMQ_NODENAME", format!("test{}@localhost", self.port.number()));
        command.env("RABBITMQ_NODE_PORT", self.port.number().to_string());
        command.env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1");
        command.env("RABBITMQ_DIST_PORT", self.distribution.number().to_string());
        let arguments = "+S 2:2 -kernel inet_dist_use_interface {127,0,0,1}";
        command.env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", arguments);
        command.env("RABBITMQ_CONF_ENV_FILE", "/dev/null");
        for (name, file) in [
            ("RABBITMQ_CONFIG_FILE", "rabbitmq.conf"),
            ("RABBITMQ_ENABLED_PLUGINS_FILE", "enabled_plugins"),
            ("RABBITMQ_MNESIA_BASE", "mnesia"),
            ("RABBITMQ_LOG_BASE", "."),
            ("RABBITMQ_LOGS", "log"),
            ("RABBITMQ_PID_FILE", "pid"),
        ] {
            command.env(name, folder.join(file));
        }
        command
    }
}

impl Drop for Rabbit {
    fn drop(&mut self) {
        self.kill();
        if let Some(mut epmd) = self.epmd.take()
            && let Err(error) = epmd.kill().and_then(|()| epmd.wait())
        {
            println!("epmd was gone already: {error}");
        }
    }
}

/// Somebody who listens: a durable queue that gets all that is published to an exchange.
pub struct Listener {
    pub channel: Channel,
    connection: Connection,
    exchange: String,
    pub queue: String,
    /// What was heard, in its order.
    pub heard: Vec<Heard>,
}

/// A message as it came.
#[derive(Clone, Debug)]
pub struct Heard {
    pub id: Uuid,
    pub user: Uuid,
    pub sequence: i64,
    pub key: String,
    pub properties: BasicProperties,
    pub body: serde_json::Value,
}

impl Listener {
    /// Makes the exchange as the program does, and binds a queue.
    pub async fn at(url: &str, exchange: &str) -> Self {
        let mut listener = Self::idle(url, exchange).await;
        listener.exchange().await;
        listener.bind(FieldTable::default()).await;
        listener
    }

    /// Connects only.
    pub async fn idle(url: &str, exchange: &str) -> Self {
        let connection = connected(url).await;
        let channel = connection.create_channel().await.unwrap();
        let queue = format!("{exchange}.heard");
        Self { channel, connection, exchange: exchange.to_owned(), queue, heard: Vec::new() }
    }

    /// Connects again, after the broker was away.
    pub async fn reconnect(&mut self, url: &str) {
        self.connection = connected(url).await;
        self.channel = self.connection.create_channel().await.unwrap();
    }

    pub async fn exchange(&mut self) {
        self.exchange_of(ExchangeKind::Topic).await;
    }

    pub async fn exchange_of(&mut self, kind: ExchangeKind) {
        let options = ExchangeDeclareOptions { durable: true, ..Default::default() };
        let made = self.channel.exchange_declare(
            self.exchange.as_str().into(),
            kind,
            options,
            FieldTable::default(),
        );
        made.await.unwrap();
    }

    pub async fn delete_exchange(&mut self) {
        self.channel
            .exchange_delete(self.exchange.as_str().into(), ExchangeDeleteOptions::default())
            .await
            .unwrap();
    }

    pub async fn bind(&mut self, arguments: FieldTable) {
        let options = QueueDeclareOptions { durable: true, ..Default::default() };
        let queue = self.queue.as_str();
        self.channel.queue_declare(queue.into(), options, arguments).await.unwrap();
        let bound = self.channel.queue_bind(
            queue.into(),
            self.exchange.as_str().into(),
            "#".into(),
            QueueBindOptions::default(),
            FieldTable::default(),
        );
        bound.await.unwrap();
    }

    /// A queue that takes so many messages and refuses more of them.
    pub async fn bind_bounded(&mut self, most: i32) {
        let mut arguments = FieldTable::default();
        arguments.insert("x-max-length".into(), AMQPValue::LongInt(most));
        arguments.insert("x-overflow".into(), AMQPValue::LongString("reject-publish".into()));
        self.bind(arguments).await;
    }

    pub async fn delete_queue(&mut self, queue: &str) {
        self.channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await.unwrap();
    }

    /// Puts something straight into a queue.
    pub async fn put(&mut self, queue: &str, body: &[u8]) {
        let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
        let put = self.channel.basic_publish("".into(), queue.into(), options, body, properties);
        put.await.unwrap().await.unwrap();
    }

    /// What a queue holds first; taken out.
    pub async fn get(&mut self, queue: &str) -> Option<Vec<u8>> {
        let options = BasicGetOptions { no_ack: true };
        let got = self.channel.basic_get(queue.into(), options).await.unwrap();
        got.map(|message| message.delivery.data)
    }

    /// Takes in what has come; whether there was anything.
    pub async fn hear(&mut self) -> bool {
        let before = self.heard.len();
        let options = BasicGetOptions { no_ack: true };
        while let Some(message) = self.channel.basic_get(self.queue.as_str().into(), options).await.unwrap() {
            let delivery = message.delivery;
            let body: serde_json::Value = serde_json::from_slice(&delivery.data).unwrap();
            if body["trace_id"] != TRACE {
                continue; // of requests that the test has made beside
            }
            self.heard.push(Heard {
                id: body["event_id"].as_str().unwrap().parse().unwrap(),
                user: body["user_id"].as_str().unwrap().parse().unwrap(),
                sequence: body["sequence"].as_i64().unwrap(),
                key: delivery.routing_key.to_string(),
                properties: delivery.properties,
                body,
            });
        }
        self.heard.len() > before
    }

    /// How many different events were heard.
    pub fn different(&self) -> usize {
        self.heard.iter().map(|heard| heard.id).collect::<HashSet<_>>().len()
    }

    /// Of each user the first of each message must come in the order 1, 2, 3, … without a gap, and what is repeated must
    /// be the same message. How many were repeated.
    pub fn is_in_order(&self) -> usize {
        let mut known: HashMap<(Uuid, i64), Uuid> = HashMap::new();
        let mut newest: HashMap<Uuid, i64> = HashMap::new();
        let mut repeated = 0;
        for heard in &self.heard {
            if let Some(id) = known.insert((heard.user, heard.sequence), heard.id) {
                assert_eq!(id, heard.id, "a repeated event has its id");
                repeated += 1;
                continue;
            }
            let newest = newest.entry(heard.user).or_default();
            assert_eq!(heard.sequence, *newest + 1, "an event of {} overtook another", heard.user);
            *newest = heard.sequence;
        }
        repeated
    }
}

fn is_open(port: &Port) -> bool {
    TcpStream::connect(("127.0.0.1", port.number())).is_ok()
}

/// A connection, as soon as there can be one: a node that is just starting listens before it lets anybody in.
async fn connected(url: &str) -> Connection {
    let begun = Instant::now();
    loop {
        match Connection::connect(url, ConnectionProperties::default()).await {
            Ok(connection) => return connection,
            Err(error) => assert!(begun.elapsed() < START, "RabbitMQ lets nobody in: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Events to be put into the table as if requests had written them.
#[derive(Default)]
pub struct Outbox {
    sequences: HashMap<Uuid, i64>,
}

impl Outbox {
    /// An event of each of these users, in this order; at most a thousand.
    pub fn events(&mut self, backend: DbBackend, users: &[Uuid], data: &str) -> Statement {
        let (mut values, mut rows): (Vec<Value>, Vec<String>) = (Vec::new(), Vec::new());
        for user in users {
            let sequence = self.sequences.entry(*user).or_default();
            *sequence += 1;
            let row: [Value; 7] = [
                fresh_id().into(),
                (*user).into(),
                (*sequence).into(),
                "user.updated".into(),
                data.into(),
                TRACE.into(),
                1_767_225_600_007_i64.into(),
            ];
            let places: Vec<String> =
                (1..=row.len()).map(|place| format!("${}", values.len() + place)).collect();
            values.extend(row);
            rows.push(format!("({})", places.join(", ")));
        }
        let sql = format!(
            "INSERT INTO events (id, user_id, sequence, event_type, payload, trace_id, created_at) \
             VALUES {}",
            rows.join(", ")
        );
        Statement::from_sql_and_values(backend, sql, values)
    }
}

#[allow(clippy::disallowed_methods, reason = "a test needs ids")]
fn fresh_id() -> Uuid {
    Uuid::now_v7()
}

/// So many users.
pub fn users(count: usize) -> Vec<Uuid> {
    (0..count).map(|_| fresh_id()).collect()
}
