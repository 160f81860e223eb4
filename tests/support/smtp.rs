//! An SMTP server that does as it is told (RFC 5321), and remembers what it was given.

#![allow(dead_code, reason = "each of the test binaries needs some of it")]

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_util::sync::CancellationToken;

use crate::port::Port;

/// How long a busy machine may take until a mail comes.
const SOON: Duration = Duration::from_mins(1);

/// How the server treats those who come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Manner {
    /// It takes everything.
    #[default]
    Accept,
    /// It refuses the recipient with this code.
    RefuseRecipient(u16),
    /// It refuses the content with this code.
    RefuseContent(u16),
    /// It refuses the password.
    RefusePassword,
    /// It takes one content and hangs up without a word; then it accepts.
    DropAfterContent,
    /// It takes the content and says nothing.
    HangAfterContent,
    /// It says nothing at all.
    Hang,
}

/// How the server protects connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// Not at all.
    None,
    /// It offers STARTTLS.
    Offered,
    /// TLS from the first byte.
    Implicit,
}

/// What it was given.
#[derive(Clone, Debug)]
pub struct Received {
    /// `MAIL FROM`.
    pub from: String,
    /// `RCPT TO`, each.
    pub to: Vec<String>,
    /// The message.
    pub content: String,
}

impl Received {
    /// The value of a header.
    pub fn header(&self, name: &str) -> &str {
        let start = format!("{}: ", name.to_ascii_lowercase());
        let found = self.content.lines().find(|line| line.to_ascii_lowercase().starts_with(&start));
        found.map_or("", |line| line[start.len()..].trim())
    }

    /// Text and HTML, decoded.
    pub fn parts(&self) -> Vec<String> {
        let (_, after) = self.content.split_once("boundary=\"").expect("a multipart message");
        let boundary = format!("--{}", after.split_once('"').expect("a boundary").0);
        let parts = self.content.split(&boundary).skip(1).filter(|part| !part.starts_with("--"));
        parts.map(decoded).collect()
    }

    /// The text, decoded.
    pub fn text(&self) -> String {
        self.parts().swap_remove(0)
    }

    /// The HTML, decoded.
    pub fn html(&self) -> String {
        self.parts().swap_remove(1)
    }
}

/// A part of a message without its headers and transfer encoding.
fn decoded(part: &str) -> String {
    let (headers, body) = part.split_once("\r\n\r\n").expect("a part with headers");
    let bytes = if headers.contains("quoted-printable") {
        quoted_printable(body)
    } else if headers.contains("base64") {
        STANDARD.decode(body.replace("\r\n", "")).expect("base64")
    } else {
        body.as_bytes().to_vec()
    };
    String::from_utf8(bytes).expect("UTF-8").replace("\r\n", "\n")
}

fn quoted_printable(text: &str) -> Vec<u8> {
    let joined = text.replace("=\r\n", "");
    let (mut bytes, mut rest) = (Vec::new(), joined.as_bytes());
    while let Some((first, more)) = rest.split_first() {
        if *first == b'=' {
            let hex = std::str::from_utf8(&more[..2]).expect("hexadecimal");
            bytes.push(u8::from_str_radix(hex, 16).expect("hexadecimal"));
            rest = &more[2..];
        } else {
            bytes.push(*first);
            rest = more;
        }
    }
    bytes
}

/// Certificates of an authority of its own.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    /// A new one that nobody knows.
    pub fn new() -> Self {
        let mut parameters = CertificateParams::new(Vec::<String>::new()).expect("parameters");
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Self { issuer: CertifiedIssuer::self_signed(parameters, key).expect("a certificate") }
    }

    /// Its certificate in a file, for `SMTP_CA_FILE`.
    pub fn file(&self, folder: &std::path::Path) -> PathBuf {
        let path = folder.join("authority.pem");
        std::fs::write(&path, self.issuer.pem()).expect("written");
        path
    }

    fn acceptor(&self, name: &str) -> TlsAcceptor {
        let key = KeyPair::generate().expect("a key");
        let parameters = CertificateParams::new(vec![name.to_owned()]).expect("parameters");
        let certificate = parameters.signed_by(&key, &self.issuer).expect("a certificate");
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .expect("a certificate with its key");
        TlsAcceptor::from(Arc::new(config))
    }
}

/// The server.
pub struct SmtpServer {
    port: Port,
    shared: Arc<Shared>,
    received: mpsc::UnboundedReceiver<Received>,
    refusals: mpsc::UnboundedReceiver<()>,
    running: Option<CancellationToken>,
}

struct Shared {
    manner: Mutex<Manner>,
    tls: Tls,
    acceptor: Option<TlsAcceptor>,
    connections: AtomicUsize,
    passwords: Mutex<Vec<String>>,
    receive: mpsc::UnboundedSender<Received>,
    refuse: mpsc::UnboundedSender<()>,
}

impl SmtpServer {
    /// A server without TLS, on a free port of loopback.
    pub async fn start() -> Self {
        Self::with(Tls::None, None).await
    }

    /// A server that shows a certificate of this authority for this name.
    pub async fn with(tls: Tls, certificate: Option<(&Authority, &str)>) -> Self {
        let port = Port::free();
        let listener = TcpListener::bind(port.address()).await.expect("a port of ours");
        let ((receive, received), (refuse, refusals)) =
            (mpsc::unbounded_channel(), mpsc::unbounded_channel());
        let shared = Arc::new(Shared {
            manner: Mutex::default(),
            tls,
            acceptor: certificate.map(|(authority, name)| authority.acceptor(name)),
            connections: AtomicUsize::new(0),
            passwords: Mutex::default(),
            receive,
            refuse,
        });
        let mut server = Self { port, shared, received, refusals, running: None };
        server.serve(listener);
        server
    }

    #[allow(clippy::disallowed_methods, reason = "it ends with the test")]
    fn serve(&mut self, listener: TcpListener) {
        let (shared, stop) = (Arc::clone(&self.shared), CancellationToken::new());
        self.running = Some(stop.clone());
        tokio::spawn(stop.run_until_cancelled_owned(async move {
            let mut conversations = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                shared.connections.fetch_add(1, Ordering::SeqCst);
                conversations.spawn(converse(Arc::clone(&shared), stream));
            }
        }));
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// Settings that send mails here, in the clear.
    pub fn settings(&self) -> Vec<(String, String)> {
        let port = self.port().to_string();
        let pairs = [
            ("EMAIL_METHOD", "smtp"),
            ("SMTP_HOST", "127.0.0.1"),
            ("SMTP_PORT", &port),
            ("SMTP_TLS", "none"),
            ("SMTP_SENDER_EMAIL", "gate@example.com"),
            ("CONTACT_EMAIL", "help@example.com"),
        ];
        pairs.map(|(name, text)| (name.to_owned(), text.to_owned())).to_vec()
    }

    /// From now on it behaves so.
    pub fn behave(&self, manner: Manner) {
        *self.shared.manner.lock().expect("no panic") = manner;
    }

    /// It is gone: connections are cut and refused.
    pub fn go_down(&mut self) {
        if let Some(running) = self.running.take() {
            running.cancel();
        }
    }

    /// It is back on the same port.
    pub async fn come_back(&mut self) {
        let listener = loop {
            match TcpListener::bind(self.port.address()).await {
                Ok(listener) => break listener,
                Err(_) => tokio::task::yield_now().await,
            }
        };
        self.serve(listener);
    }

    /// How many connections there were.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// The user and password of each sign-in.
    pub fn passwords(&self) -> Vec<String> {
        self.shared.passwords.lock().expect("no panic").clone()
    }

    /// The next message that it is given.
    pub async fn next(&mut self) -> Received {
        let next = tokio::time::timeout(SOON, self.received.recv()).await;
        next.expect("a mail comes").expect("the server runs")
    }

    /// What it was given and nobody has asked for.
    pub fn rest(&mut self) -> Vec<Received> {
        std::iter::from_fn(|| self.received.try_recv().ok()).collect()
    }

    /// The next time that it refuses something.
    pub async fn refusal(&mut self) {
        let next = tokio::time::timeout(SOON, self.refusals.recv()).await;
        next.expect("somebody comes").expect("the server runs");
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

async fn converse(shared: Arc<Shared>, stream: TcpStream) {
    if *shared.manner.lock().expect("no panic") == Manner::Hang {
        return std::future::pending().await;
    }
    let mut stream: Box<dyn Stream> = Box::new(stream);
    let mut encrypted = false;
    if shared.tls == Tls::Implicit {
        let acceptor = shared.acceptor.as_ref().expect("a certificate");
        let Ok(tls) = acceptor.accept(stream).await else { return shared.refuse() };
        (stream, encrypted) = (Box::new(tls), true);
    }
    let mut greet = true;
    // After STARTTLS the conversation begins anew.
    while let Some(plain) = talk(&shared, stream, encrypted, greet).await {
        let acceptor = shared.acceptor.as_ref().expect("a certificate");
        let Ok(tls) = acceptor.accept(plain).await else { return shared.refuse() };
        (stream, encrypted, greet) = (Box::new(tls), true, false);
    }
}

impl Shared {
    fn refuse(&self) {
        self.refuse.send(()).expect("the server lives");
    }
}

/// Talks until the end, or until STARTTLS: then the bare stream.
async fn talk(
    shared: &Shared,
    stream: Box<dyn Stream>,
    encrypted: bool,
    greet: bool,
) -> Option<Box<dyn Stream>> {
    let mut stream = BufReader::new(stream);
    if greet {
        say(&mut stream, "220 smtp.test ready").await?;
    }
    let (mut from, mut to) = (String::new(), Vec::new());
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        let manner = *shared.manner.lock().expect("no panic");
        let command = line.trim_end();
        let verb = command.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
        match (verb.as_str(), manner) {
            ("EHLO", _) => {
                let offers = if shared.tls == Tls::Offered && !encrypted { "250-STARTTLS\r\n" } else { "" };
                say(&mut stream, &format!("250-smtp.test\r\n{offers}250-8BITMIME\r\n250 AUTH PLAIN")).await?;
            }
            ("STARTTLS", _) => {
                say(&mut stream, "220 go ahead").await?;
                return Some(stream.into_inner());
            }
            ("AUTH", Manner::RefusePassword) => {
                say(&mut stream, "535 5.7.8 wrong password").await?;
                shared.refuse();
            }
            ("AUTH", _) => {
                let given = command.rsplit(' ').next().and_then(|text| STANDARD.decode(text).ok());
                let given = String::from_utf8(given.expect("base64")).expect("UTF-8");
                shared.passwords.lock().expect("no panic").push(given);
                say(&mut stream, "235 welcome").await?;
            }
            ("MAIL", _) => {
                from = between(command);
                to.clear();
                say(&mut stream, "250 ok").await?;
            }
            ("RCPT", Manner::RefuseRecipient(code)) => {
                say(&mut stream, &format!("{code} not this one")).await?;
                shared.refuse();
            }
            ("RCPT", _) => {
                to.push(between(command));
                say(&mut stream, "250 ok").await?;
            }
            ("DATA", _) => {
                say(&mut stream, "354 go ahead").await?;
                let content = content(&mut stream).await?;
                if let Manner::RefuseContent(code) = manner {
                    // A server may repeat what it does not like.
                    let liked = content.lines().find(|line| line.contains("token=")).unwrap_or_default();
                    say(&mut stream, &format!("{code} I don't like {liked}")).await?;
                    shared.refuse();
                    continue;
                }
                shared.receive.send(Received { from: from.clone(), to: to.clone(), content }).ok()?;
                match manner {
                    Manner::DropAfterContent => {
                        *shared.manner.lock().expect("no panic") = Manner::Accept;
                        return None;
                    }
                    Manner::HangAfterContent => return std::future::pending().await,
                    _ => say(&mut stream, "250 taken").await?,
                }
            }
            ("QUIT", _) => {
                say(&mut stream, "221 bye").await?;
                return None;
            }
            ("NOOP" | "RSET", _) => say(&mut stream, "250 ok").await?,
            _ => say(&mut stream, "500 what?").await?,
        }
    }
}

async fn say(stream: &mut BufReader<Box<dyn Stream>>, words: &str) -> Option<()> {
    stream.write_all(format!("{words}\r\n").as_bytes()).await.ok()?;
    stream.flush().await.ok()
}

/// Lines up to the one with a dot, without the dots that were doubled (RFC 5321, 4.5.2).
async fn content(stream: &mut BufReader<Box<dyn Stream>>) -> Option<String> {
    let mut content = String::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        if line == ".\r\n" {
            return Some(content);
        }
        content.push_str(line.strip_prefix('.').unwrap_or(&line));
    }
}

fn between(command: &str) -> String {
    let (_, after) = command.split_once('<').expect("an address in brackets");
    after.split_once('>').expect("an address in brackets").0.to_owned()
}
