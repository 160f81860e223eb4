//! A connection to the broker, with one channel that confirms.
//!
//! lapin's own recovery is not used: after a loss nobody can say which messages arrived, so the publisher begins again at
//! the first one that was not confirmed, on a connection whose state is known. Each connection is cut when it is dropped,
//! whatever it was doing: lapin drives it from a thread, which would otherwise wait for a silent broker without end.

use std::collections::HashSet;
use std::io;
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use lapin::message::BasicReturnMessage;
use lapin::options::{
    BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions, ExchangeDeclareOptions, QueueBindOptions,
    QueueDeclareOptions,
};
use lapin::protocol::AMQPErrorKind;
use lapin::tcp::{AsyncTcpStream, TLSConfig};
use lapin::types::FieldTable;
use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{Channel, Confirmation, Connection, ConnectionProperties, ErrorKind, ExchangeKind, runtime};
use tokio::time::timeout;
use uuid::Uuid;

use super::Settings;
use super::message::Message;
use super::outage::{Outage, Part};
use crate::platform::config::BrokerAddress;

/// How long a connection, and each declaration, may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long messages may stay unconfirmed.
const CONFIRMATION: Duration = Duration::from_secs(30);
/// How often a wait for confirmations looks whether the broker has stopped us.
const LOOK: Duration = Duration::from_secs(1);
/// How long a farewell may take.
const FAREWELL: Duration = Duration::from_secs(1);
/// What the queue of the built-in consumer gets.
const BINDINGS: [&str; 2] = ["user.*", "session.*"];

const ACCESS_REFUSED: u16 = 403;
const NOT_FOUND: u16 = 404;
const PRECONDITION_FAILED: u16 = 406;
/// What a broker says of a message that it never takes: too large, as a whole or in a frame, or not well-formed.
const REFUSALS: [u16; 4] = [311, PRECONDITION_FAILED, 501, 502];

/// Why the broker can't be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    #[error("it does not answer in time")]
    Late,
    #[error("it does not confirm messages in time")]
    Silent,
    #[error("it takes no messages now (connection.blocked: memory or disk)")]
    Blocked,
    #[error("it could not take a message (nack)")]
    Nacked,
    #[error("it refuses a message: {0}")]
    Refused(String),
    #[error("the consumer was cancelled: the queue is gone")]
    Cancelled,
    #[error(
        "the exchange {0} is there with another type or other options; delete it, or set RABBITMQ_EXCHANGE: {1}"
    )]
    Mismatch(String, String),
    #[error(transparent)]
    Amqp(#[from] lapin::Error),
}

impl Trouble {
    /// Whether somebody has to do something about it: it does not pass by itself.
    pub(super) fn is_for_the_operator(&self) -> bool {
        match self {
            Self::Mismatch(..) => true,
            Self::Amqp(error) => code(error) == Some(ACCESS_REFUSED),
            _ => false,
        }
    }
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is on the broker's disk.
    Confirmed,
    /// No queue takes it.
    Returned,
    /// The broker could not take it now.
    Nacked,
}

/// A connection with a channel.
pub(super) struct Link {
    channel: Channel,
    connection: Connection,
    outage: Arc<Outage>,
    // The last to be dropped: it cuts what the others left.
    _cut: Cut,
}

impl Link {
    /// Connects. `part` is what the broker shows of us.
    pub(super) async fn open(
        address: &BrokerAddress,
        part: &str,
        outage: Arc<Outage>,
    ) -> Result<Self, Trouble> {
        let cut = Cut::default();
        let opening = async {
            let connection = connect(address, part, cut.socket()).await?;
            let channel = connection.create_channel().await?;
            channel.confirm_select(ConfirmSelectOptions::default()).await?;
            Ok::<_, lapin::Error>((connection, channel))
        };
        let (connection, channel) = timeout(PATIENCE, opening).await.map_err(|_| Trouble::Late)??;
        Ok(Self { channel, connection, outage, _cut: cut })
    }

    /// Whether nothing is known to be wrong with it.
    pub(super) fn is_alive(&self) -> bool {
        self.connection.status().connected() && self.channel.status().connected()
    }

    /// The channel, for consuming.
    pub(super) const fn channel(&self) -> &Channel {
        &self.channel
    }

    /// Says farewell.
    pub(super) async fn close(self) {
        let farewell = timeout(FAREWELL, self.connection.close(200, "OK".into())).await;
        if !matches!(farewell, Ok(Ok(()))) {
            tracing::debug!("RabbitMQ did not say farewell");
        }
    }

    /// Takes as many messages at once at most.
    pub(super) async fn prefetch(&self, count: u16) -> Result<(), Trouble> {
        in_time(self.channel.basic_qos(count, BasicQosOptions::default())).await
    }

    /// Whether the exchange is there.
    pub(super) async fn has_exchange(&self, exchange: &str) -> Result<bool, Trouble> {
        let options = ExchangeDeclareOptions { passive: true, ..ExchangeDeclareOptions::default() };
        let channel = self.another_channel().await?;
        let asked =
            channel.exchange_declare(exchange.into(), ExchangeKind::Topic, options, FieldTable::default());
        match in_time(asked).await {
            Ok(()) => Ok(true),
            Err(Trouble::Amqp(error)) if code(&error) == Some(NOT_FOUND) => Ok(false),
            Err(trouble) => Err(trouble),
        }
    }

    /// Makes what must be there: the exchange; and with the built-in consumer its queue, what leads there, and where
    /// what it does not understand ends.
    pub(super) async fn declare(&self, settings: &Settings) -> Result<(), Trouble> {
        self.declare_exchange(&settings.exchange).await?;
        match &settings.queue {
            Some(queue) => self.declare_queue(&settings.exchange, queue).await,
            None => Ok(()),
        }
    }

    async fn declare_exchange(&self, exchange: &str) -> Result<(), Trouble> {
        let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        let channel = self.another_channel().await?;
        let made =
            channel.exchange_declare(exchange.into(), ExchangeKind::Topic, options, FieldTable::default());
        match in_time(made).await {
            Err(Trouble::Amqp(error)) if code(&error) == Some(PRECONDITION_FAILED) => {
                Err(Trouble::Mismatch(exchange.to_owned(), error.to_string()))
            }
            made => made,
        }
    }

    async fn declare_queue(&self, exchange: &str, queue: &str) -> Result<(), Trouble> {
        let dead = format!("{queue}.dead");
        let mut options = FieldTable::default();
        options.insert("x-dead-letter-exchange".into(), text(""));
        options.insert("x-dead-letter-routing-key".into(), text(&dead));
        self.make_queue(&dead, FieldTable::default()).await?;
        self.make_queue(queue, options).await?;
        let channel = self.another_channel().await?;
        for key in BINDINGS {
            let (options, more) = (QueueBindOptions::default(), FieldTable::default());
            in_time(channel.queue_bind(queue.into(), exchange.into(), key.into(), options, more)).await?;
        }
        Ok(())
    }

    /// A durable queue. One that is there with other options stays as it is: it may be older than this program.
    async fn make_queue(&self, queue: &str, arguments: FieldTable) -> Result<(), Trouble> {
        let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        let channel = self.another_channel().await?;
        match in_time(channel.queue_declare(queue.into(), options, arguments)).await {
            Err(Trouble::Amqp(error)) if code(&error) == Some(PRECONDITION_FAILED) => {
                let options = QueueDeclareOptions { passive: true, ..options };
                let channel = self.another_channel().await?;
                in_time(channel.queue_declare(queue.into(), options, FieldTable::default())).await?;
                tracing::warn!(queue, %error, "the queue is there with other options; it is used as it is");
                Ok(())
            }
            made => made.map(|_| ()),
        }
    }

    /// What fails closes its channel.
    async fn another_channel(&self) -> Result<Channel, Trouble> {
        in_time(self.connection.create_channel()).await
    }

    /// Publishes all of these together, and waits until it is known what became of each.
    pub(super) async fn publish(&self, exchange: &str, messages: &[Message]) -> Result<Vec<Fate>, Trouble> {
        let publishing = join_all(messages.iter().map(|message| self.publish_one(exchange, message)));
        let answers = self.while_patient(publishing).await?;
        let mut confirmations = Vec::with_capacity(answers.len());
        let mut faults = Vec::new();
        for answer in answers {
            match answer {
                Ok(confirmation) => confirmations.push(confirmation),
                Err(error) => faults.push(error),
            }
        }
        if let Some(trouble) = worst(faults) {
            return Err(trouble);
        }
        // lapin hands a returned message over with whichever confirmation comes next, not always with its own. All
        // of them are here, so every returned one is, too.
        let nacked: Vec<bool> = confirmations.iter().map(|confirmation| !confirmation.is_ack()).collect();
        let returned: HashSet<Uuid> = confirmations
            .into_iter()
            .filter_map(Confirmation::take_message)
            .filter_map(|returned| id_of(&returned))
            .collect();
        let fate = |message: &Message, nacked| match (returned.contains(&message.id), nacked) {
            (true, _) => Fate::Returned,
            (false, true) => Fate::Nacked,
            (false, false) => Fate::Confirmed,
        };
        Ok(messages.iter().zip(nacked).map(|(message, nacked)| fate(message, nacked)).collect())
    }

    async fn publish_one(&self, exchange: &str, message: &Message) -> lapin::Result<Confirmation> {
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let (key, properties) = (message.key.clone(), message.properties.clone());
        self.channel.basic_publish(exchange.into(), key, options, &message.body, properties).await?.await
    }

    /// A broker that has stopped us with `connection.blocked` is waited for without end: it will say when to go on.
    async fn while_patient<T>(&self, work: impl Future<Output = T>) -> Result<T, Trouble> {
        let mut work = std::pin::pin!(work);
        let mut waited = Duration::ZERO;
        loop {
            if let Ok(done) = timeout(LOOK, &mut work).await {
                return Ok(done);
            }
            if self.connection.status().blocked() {
                self.outage.begin(Part::Publisher, &Trouble::Blocked);
                continue;
            }
            waited += LOOK;
            if waited >= CONFIRMATION || !self.connection.status().connected() {
                return Err(Trouble::Silent);
            }
        }
    }
}

async fn in_time<T>(work: impl Future<Output = lapin::Result<T>>) -> Result<T, Trouble> {
    Ok(timeout(PATIENCE, work).await.map_err(|_| Trouble::Late)??)
}

/// Of all faults of one connection the one that says most: the others follow from it.
fn worst(faults: Vec<lapin::Error>) -> Option<Trouble> {
    let refused = faults.iter().find(|error| code(error).is_some_and(|code| REFUSALS.contains(&code)));
    if let Some(error) = refused {
        return Some(Trouble::Refused(error.to_string()));
    }
    let telling = faults.iter().position(|error| code(error).is_some()).unwrap_or(0);
    faults.into_iter().nth(telling).map(Trouble::Amqp)
}

/// What the broker's reason is called in the protocol (AMQP 0-9-1, 1.2).
fn code(error: &lapin::Error) -> Option<u16> {
    let ErrorKind::ProtocolError(error) = error.kind() else { return None };
    Some(match error.kind() {
        AMQPErrorKind::Soft(soft) => soft.get_id(),
        AMQPErrorKind::Hard(hard) => hard.get_id(),
    })
}

fn id_of(returned: &BasicReturnMessage) -> Option<Uuid> {
    returned.properties.message_id().as_ref()?.as_str().parse().ok()
}

pub(super) fn text(text: &str) -> lapin::types::AMQPValue {
    lapin::types::AMQPValue::LongString(text.into())
}

async fn connect(address: &BrokerAddress, part: &str, socket: Socket) -> lapin::Result<Connection> {
    let name = format!("gatehouse {part}");
    let properties = ConnectionProperties::default().with_connection_name(name.as_str().into());
    let runtime = runtime::default_runtime()?;
    let here = runtime.clone();
    let connecting = async move |uri: AMQPUri, _| {
        let opening = async {
            let host = (uri.authority.host.clone(), uri.authority.port);
            let stream = AsyncTcpStream::connect(&here, here.to_socket_addrs(host)).await?;
            if let AsyncTcpStream::Plain(plain) = &stream {
                socket.is(TcpStream::from(plain.get_ref().as_fd().try_clone_to_owned()?))?;
            }
            match uri.scheme {
                AMQPScheme::AMQP => Ok(stream),
                AMQPScheme::AMQPS => stream.into_tls(&uri.authority.host, TLSConfig::default()).await,
            }
        };
        let opened = timeout(PATIENCE, opening).await;
        Ok(opened.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?)
    };
    Connection::connector(address.uri(), runtime, connecting, properties).await
}

/// Cuts a connection when it is dropped.
#[derive(Default)]
struct Cut(Socket);

impl Cut {
    fn socket(&self) -> Socket {
        self.0.clone()
    }
}

impl Drop for Cut {
    fn drop(&mut self) {
        self.0.cut();
    }
}

/// The socket of a connection, once there is one.
#[derive(Clone, Default)]
struct Socket(Arc<Mutex<Wire>>);

#[derive(Default)]
enum Wire {
    #[default]
    None,
    Connected(TcpStream),
    Cut,
}

impl Socket {
    /// Small messages go at once.
    fn is(&self, socket: TcpStream) -> io::Result<()> {
        socket.set_nodelay(true)?;
        let mut wire = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*wire, Wire::Cut) {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        *wire = Wire::Connected(socket);
        Ok(())
    }

    fn cut(&self) {
        let mut wire = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Wire::Connected(socket) = std::mem::replace(&mut *wire, Wire::Cut)
            && let Err(error) = socket.shutdown(Shutdown::Both)
        {
            tracing::debug!(%error, "a connection to RabbitMQ was gone already");
        }
    }
}
