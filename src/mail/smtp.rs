//! Handing mails to an SMTP server (RFC 5321).
//!
//! Connections are kept for a while and used again. lettre's own pool is not: it would keep a connection that was
//! given up in the middle of a message, it gives no time limit to a command, and it doesn't tell a refused recipient
//! from a refused password, of which only the first is the end of a mail.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use lettre::message::Mailbox;
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::{ClientId, Extension, MailBodyParameter, MailParameter};
use lettre::{Address, Message};
use secrecy::ExposeSecret;

use super::delivery::{Outgoing, Undelivered, message, sender};
use crate::platform::causes::causes;
use crate::platform::config::{self, Protection};

/// How long reaching the server may take.
const CONNECT: Duration = Duration::from_secs(10);
/// After so long without work a connection is closed rather than used: servers close theirs after some minutes.
const RESTED: Duration = Duration::from_secs(30);
/// How long a farewell may take.
const FAREWELL: Duration = Duration::from_secs(1);
/// Replies that ask for a sign-in (RFC 4954, 6): a mistake in the settings, not in the mail.
const SIGN_IN_CODES: [u16; 4] = [530, 534, 535, 538];

/// An SMTP server.
pub(super) struct Smtp {
    host: String,
    port: u16,
    starts_encrypted: bool,
    tls: Option<TlsParameters>,
    credentials: Option<Credentials>,
    from: Mailbox,
    timeout: Duration,
    parked: Mutex<Vec<(AsyncSmtpConnection, Instant)>>,
}

/// How far a conversation had come when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Connection,
    Encryption,
    SignIn,
    Sender,
    Recipient,
    Data,
    Content,
}

impl Stage {
    const fn name(self) -> &'static str {
        match self {
            Self::Connection => "connecting",
            Self::Encryption => "encrypting",
            Self::SignIn => "signing in",
            Self::Sender => "MAIL FROM",
            Self::Recipient => "RCPT TO",
            Self::Data => "DATA",
            Self::Content => "the content",
        }
    }

    /// Refused for good here, the mail will be refused again. What is refused before is about us, and can be mended.
    const fn is_about_the_mail(self) -> bool {
        matches!(self, Self::Recipient | Self::Data | Self::Content)
    }

    fn failed(self, error: &Error) -> Undelivered {
        let code = error.status().map(u16::from);
        let lasting = error.is_permanent()
            && self.is_about_the_mail()
            && !code.is_some_and(|code| SIGN_IN_CODES.contains(&code));
        // What a server says about a content may repeat it.
        let words = match (self, code) {
            (Self::Content, Some(code)) => format!("{}: {code}", self.name()),
            (Self::Content, None) => format!("{}: no answer", self.name()),
            _ => format!("{}: {}", self.name(), chain(error)),
        };
        if lasting { Undelivered::lasting(words) } else { Undelivered::passing(words) }
    }
}

/// The error with its causes, each said once.
fn chain(error: &Error) -> String {
    let mut words = error.to_string();
    for more in causes(error).map(ToString::to_string) {
        if !words.contains(&more) {
            words.push_str(": ");
            words.push_str(&more);
        }
    }
    words
}

impl Smtp {
    pub(super) fn open(
        settings: &config::Smtp,
        project_name: &str,
        timeout: Duration,
    ) -> anyhow::Result<Self> {
        let tls = match settings.protection {
            Protection::None => None,
            Protection::StartTls | Protection::Implicit => Some(trusted(settings)?),
        };
        let credentials = settings.credentials.as_ref();
        Ok(Self {
            host: settings.host.clone(),
            port: settings.port,
            starts_encrypted: settings.protection == Protection::Implicit,
            tls,
            credentials: credentials
                .map(|(user, password)| Credentials::new(user.clone(), password.expose_secret().to_owned())),
            from: sender(project_name, &settings.sender)?,
            timeout,
            parked: Mutex::new(Vec::new()),
        })
    }

    /// Comes as far as every mail must: to the server, encrypted and signed in as set.
    pub(super) async fn check(&self) -> Result<String, Undelivered> {
        let connecting = tokio::time::timeout(self.timeout, self.connect()).await;
        self.park(connecting.unwrap_or_else(|_| Err(self.too_slow()))?);
        Ok(format!("{}:{} takes mails", self.host, self.port))
    }

    fn too_slow(&self) -> Undelivered {
        Undelivered::passing(format!("the server took longer than {} s", self.timeout.as_secs()))
    }

    pub(super) async fn hand_over(&self, mail: Outgoing) -> Result<(), Undelivered> {
        let message = message(mail, &self.from)?;
        let [to] = message.envelope().to() else {
            return Err(Undelivered::lasting("a mail has one recipient"));
        };
        let conversation = async {
            let mut connection = self.connection().await?;
            let said = self.converse(&mut connection, to.clone(), &message).await;
            Ok((connection, said))
        };
        // Given up in the middle, the connection is dropped: nobody may go on where it stopped.
        let ended = tokio::time::timeout(self.timeout, conversation).await;
        let (mut connection, said) = ended.unwrap_or_else(|_| Err(self.too_slow()))?;
        if said.is_ok() {
            self.park(connection);
        } else if tokio::time::timeout(FAREWELL, connection.abort()).await.is_err() {
            tracing::debug!("an SMTP server did not say farewell");
        }
        said
    }

    /// A connection over which nothing was said yet, or only whole messages.
    async fn connection(&self) -> Result<AsyncSmtpConnection, Undelivered> {
        while let Some(mut connection) = self.unpark() {
            if connection.test_connected().await {
                return Ok(connection);
            }
        }
        self.connect().await
    }

    fn unpark(&self) -> Option<AsyncSmtpConnection> {
        let mut parked = self.parked.lock().unwrap_or_else(PoisonError::into_inner);
        parked.retain(|(_, since)| since.elapsed() < RESTED);
        parked.pop().map(|(connection, _)| connection)
    }

    fn park(&self, connection: AsyncSmtpConnection) {
        self.parked.lock().unwrap_or_else(PoisonError::into_inner).push((connection, Instant::now()));
    }

    async fn connect(&self) -> Result<AsyncSmtpConnection, Undelivered> {
        let hello = ClientId::default();
        let server = (self.host.as_str(), self.port);
        let implicit = self.tls.clone().filter(|_| self.starts_encrypted);
        let connecting = AsyncSmtpConnection::connect_tokio1(server, Some(CONNECT), &hello, implicit, None);
        let mut connection = connecting.await.map_err(|error| Stage::Connection.failed(&error))?;
        if let Some(tls) = self.tls.clone().filter(|_| !self.starts_encrypted) {
            connection.starttls(tls, &hello).await.map_err(|error| Stage::Encryption.failed(&error))?;
        }
        if let Some(credentials) = &self.credentials {
            let signed_in = connection.auth(DEFAULT_MECHANISMS, credentials).await;
            signed_in.map_err(|error| Stage::SignIn.failed(&error))?;
        }
        Ok(connection)
    }

    /// One message to one recipient.
    async fn converse(
        &self,
        connection: &mut AsyncSmtpConnection,
        to: Address,
        message: &Message,
    ) -> Result<(), Undelivered> {
        let content = message.formatted();
        let mut parameters = Vec::new();
        let from = self.from.email.clone();
        let plain_addresses = AsRef::<str>::as_ref(&to).is_ascii() && AsRef::<str>::as_ref(&from).is_ascii();
        if !plain_addresses {
            if !connection.server_info().supports_feature(Extension::SmtpUtfEight) {
                return Err(Undelivered::lasting("the server takes no addresses beyond ASCII (SMTPUTF8)"));
            }
            parameters.push(MailParameter::SmtpUtfEight);
        }
        if !content.is_ascii() && connection.server_info().supports_feature(Extension::EightBitMime) {
            parameters.push(MailParameter::Body(MailBodyParameter::EightBitMime));
        }
        let failed = |stage: Stage| move |error: Error| stage.failed(&error);
        connection.command(Mail::new(Some(from), parameters)).await.map_err(failed(Stage::Sender))?;
        connection.command(Rcpt::new(to, Vec::new())).await.map_err(failed(Stage::Recipient))?;
        connection.command(Data).await.map_err(failed(Stage::Data))?;
        connection.message(&content).await.map_err(failed(Stage::Content))?;
        Ok(())
    }
}

/// TLS whose certificates are verified, by the public authorities and those of `SMTP_CA_FILE`.
fn trusted(settings: &config::Smtp) -> anyhow::Result<TlsParameters> {
    let mut tls = TlsParameters::builder(settings.host.clone());
    if let Some(path) = &settings.ca_file {
        let wrong = |reason: String| anyhow::anyhow!("SMTP_CA_FILE {}: {reason}", path.display());
        let pem = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
        if !pem.windows(27).any(|part| part == b"-----BEGIN CERTIFICATE-----") {
            return Err(wrong("there is no certificate in it".to_owned()));
        }
        tls =
            tls.add_root_certificate(Certificate::from_pem(&pem).map_err(|error| wrong(error.to_string()))?);
    }
    Ok(tls.build()?)
}
