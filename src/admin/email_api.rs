//! The operations of `/email`: writing to people, and looking at what is on its way.

use poem_openapi::param::Query;
use poem_openapi::payload::PlainText;
use poem_openapi::{ApiResponse, Object, OpenApi, Tags};
use serde::Serialize;
use uuid::Uuid;

use crate::mail::{BatchProgress, Circular, Letter, Mail, QueueCounts, QueuedMail, masked};
use crate::permissions::{Action, Allowed, Context, System};
use crate::platform::clock::{Clock, seconds};
use crate::platform::db::Order;
use crate::platform::problem::{Failure, FieldError, RetryAfter};
use crate::platform::random::Random;
use crate::platform::web::{ClientInfo, Json, Paging, Part, PartQuery, TextBody, Within};
use crate::sessions::OneTimeToken;
use crate::users::Email;

/// Recipients of one letter to several.
pub(super) const MOST_RECIPIENTS: usize = 100;
/// Characters of a subject.
pub(super) const LONGEST_SUBJECT: usize = 200;

/// The operations of `/email`.
pub struct EmailApi {
    /// What sends.
    pub mail: Mail,
    /// Time.
    pub clock: Clock,
    /// Chance, for the samples' codes and links.
    pub random: Random,
}

#[derive(Tags)]
enum Section {
    /// Mail: writing to people, and what is on its way.
    Email,
}

crate::permissions! {
    /// Write to one person, and look at the queue.
    WriteToOne: EmailSingle on System;
    /// Write to several people.
    WriteToSeveral: EmailMultiple on System;
    /// Write to everybody.
    WriteToAll: EmailAll on System;
    /// Send the mails of sign-in.
    SendSamples: EmailAuth on System;
    /// Send the test mail.
    SendTest: EmailTest on System;
}

crate::refusals! {
    /// Why a letter is not sent.
    pub enum SendRefusal {
        Unconfirmed = 400 "bad_request" "Add confirm=true to send it.",
        Invalid(Vec<FieldError>) = 422 "validation_failed" "Some fields are not as they must be.",
    }
}

crate::refusals! {
    /// Why a sample is not sent.
    pub enum SampleRefusal {
        Invalid(Vec<FieldError>) = 422 "validation_failed" "Some fields are not as they must be.",
        TooMany(RetryAfter) = 429 "rate_limited" "This address had as many such letters as an hour allows.",
    }
}

crate::refusals! {
    /// Why the queue is not shown.
    pub enum QueueRefusal {
        Invalid(Vec<FieldError>) = 422 "validation_failed" "Some fields are not as they must be.",
    }
}

/// Mails that were queued.
#[derive(Debug, Serialize, Object)]
pub struct QueuedMails {
    /// Their ids, in the order of the recipients.
    pub ids: Vec<Uuid>,
}

/// A letter to all that has begun.
#[derive(Debug, Serialize, Object)]
pub struct QueuedBatch {
    /// Its id; `GET /email/queue` shows how far it is.
    pub batch: Uuid,
}

/// What came of a letter.
#[derive(ApiResponse)]
enum Sent {
    /// `No Email Sent`: `EMAIL_METHOD` is none.
    #[oai(status = 200)]
    Off(PlainText<String>),
    /// The mails were queued.
    #[oai(status = 202)]
    Queued(Json<QueuedMails>),
}

/// What came of a letter to all.
#[derive(ApiResponse)]
enum SentToAll {
    /// `No Email Sent`: `EMAIL_METHOD` is none.
    #[oai(status = 200)]
    Off(PlainText<String>),
    /// The letter is being queued for everybody.
    #[oai(status = 202)]
    Begun(Json<QueuedBatch>),
}

/// How many mails stand where.
#[derive(Clone, Copy, Debug, Serialize, Object)]
pub struct MailCounts {
    /// To be sent, now or after a failed try.
    pub waiting: u64,
    /// Handed over.
    pub sent: u64,
    /// Not sent, because their code or link had expired.
    pub expired: u64,
    /// Given up.
    pub dead: u64,
}

/// How far a letter to many is.
#[derive(Debug, Serialize, Object)]
pub struct MailBatch {
    /// Its id.
    pub id: Uuid,
    /// `queueing`, `sending` or `done`.
    pub state: String,
    /// For how many people it was queued so far.
    pub recipients: i64,
    /// Where its mails stand.
    pub counts: MailCounts,
    /// Who sent it.
    pub created_by: Uuid,
    /// When, in seconds since the Unix epoch.
    pub created_at: i64,
    /// When the last of its mails ended, in seconds since the Unix epoch.
    #[oai(nullable)]
    pub finished_at: Option<i64>,
}

/// A mail on its way, or at its end; never what it says.
#[derive(Debug, Serialize, Object)]
pub struct MailInQueue {
    /// Its id, also in its `Message-ID`.
    pub id: Uuid,
    /// Whom it goes to; in full only for those who may write to all.
    pub to: String,
    /// Which letter.
    pub letter: String,
    /// In which language.
    pub language: String,
    /// `waiting`, `sent`, `expired` or `dead`.
    pub state: String,
    /// How often it was tried.
    pub attempts: i64,
    /// When it is tried next, in seconds since the Unix epoch; null while it is being handed over, and at its end.
    #[oai(nullable)]
    pub next_try_at: Option<i64>,
    /// When it was queued, in seconds since the Unix epoch.
    pub created_at: i64,
    /// When it ended, in seconds since the Unix epoch.
    #[oai(nullable)]
    pub finished_at: Option<i64>,
    /// Why the last try failed.
    #[oai(nullable)]
    pub last_error: Option<String>,
    /// The request that caused it.
    #[oai(nullable)]
    pub trace_id: Option<String>,
    /// The letter to many that it is of.
    #[oai(nullable)]
    pub batch: Option<Uuid>,
}

/// The queue.
#[derive(Debug, Serialize, Object)]
pub struct MailQueue {
    /// How many mails stand where.
    pub counts: MailCounts,
    /// The newest letters to many.
    pub batches: Vec<MailBatch>,
    /// Mails, newest first unless `order=asc` asks for the oldest.
    pub mails: Vec<MailInQueue>,
    /// For the parameter `cursor`, to see the mails before these.
    #[oai(nullable)]
    pub next: Option<String>,
}

#[OpenApi(prefix_path = "/email", tag = "Section::Email")]
impl EmailApi {
    /// Write to one person
    ///
    /// The body is the letter: a JSON string, `text/plain`, or `text/html`, of which all that could do harm is taken
    /// out; at most 1 MiB. It is sent as it stands: nothing in it is a template.
    #[oai(path = "/send-email", method = "post", operation_id = "send_email_single")]
    async fn send_single(
        &self,
        allowed: Allowed<WriteToOne>,
        client: ClientInfo,
        /// Must be `true`.
        confirm: Query<Option<bool>>,
        /// One line of at most 200 characters.
        subject: Query<Option<String>>,
        /// The address.
        recipient: Query<Option<String>>,
        body: TextBody,
    ) -> Result<Sent, Failure<SendRefusal>> {
        let letter = circular(confirm.0, subject.0.as_deref(), body, allowed.caller.user_id, &client)?;
        let recipients = addresses("recipient", recipient.0.as_slice()).map_err(SendRefusal::Invalid)?;
        Ok(self.send(letter, recipients).await?)
    }

    /// Write to several people
    ///
    /// As for one; everybody gets a mail of their own, and an address that is there twice gets one.
    #[oai(path = "/send-email-multiple", method = "post", operation_id = "send_email_multiple")]
    async fn send_multiple(
        &self,
        allowed: Allowed<WriteToSeveral>,
        client: ClientInfo,
        /// Must be `true`.
        confirm: Query<Option<bool>>,
        /// One line of at most 200 characters.
        subject: Query<Option<String>>,
        /// The addresses, one parameter each; at most 100.
        recipients: Query<Vec<String>>,
        body: TextBody,
    ) -> Result<Sent, Failure<SendRefusal>> {
        let letter = circular(confirm.0, subject.0.as_deref(), body, allowed.caller.user_id, &client)?;
        let recipients = addresses("recipients", &recipients.0).map_err(SendRefusal::Invalid)?;
        Ok(self.send(letter, recipients).await?)
    }

    /// Write to everybody
    ///
    /// To all who are active and have an address. Queued in steps that survive a restart; `GET /email/queue` shows
    /// how far it is. Mails that somebody waits for, such as codes, go before.
    #[oai(path = "/send-email-all", method = "post", operation_id = "send_email_all")]
    async fn send_all(
        &self,
        allowed: Allowed<WriteToAll>,
        client: ClientInfo,
        /// Must be `true`.
        confirm: Query<Option<bool>>,
        /// One line of at most 200 characters.
        subject: Query<Option<String>>,
        body: TextBody,
    ) -> Result<SentToAll, Failure<SendRefusal>> {
        let letter = circular(confirm.0, subject.0.as_deref(), body, allowed.caller.user_id, &client)?;
        if !self.mail.is_on() {
            return Ok(SentToAll::Off(off()));
        }
        tracing::info!(by = %letter.by, "a letter to all");
        let batch = self.mail.send_to_all(letter).await?;
        Ok(SentToAll::Begun(Json(QueuedBatch { batch })))
    }

    /// Send the test mail
    ///
    /// To see whether mails arrive.
    #[oai(path = "/send-test-email", method = "post", operation_id = "test_email")]
    async fn test(
        &self,
        allowed: Allowed<SendTest>,
        client: ClientInfo,
        /// The address; `CONTACT_EMAIL` if not given.
        recipient: Query<Option<String>>,
    ) -> Result<Sent, Failure<SampleRefusal>> {
        self.sample(recipient.0, Letter::Test {}, allowed.caller.user_id, &client).await
    }

    /// Send a sample of the mail with a sign-in code
    ///
    /// As people get it. The code in it is made up and works nowhere.
    #[oai(path = "/send-otp-email", method = "post", operation_id = "otp_email")]
    async fn otp(
        &self,
        allowed: Allowed<SendSamples>,
        client: ClientInfo,
        /// The address; `CONTACT_EMAIL` if not given.
        recipient: Query<Option<String>>,
    ) -> Result<Sent, Failure<SampleRefusal>> {
        let letter = Letter::Code { username: sample_name(), code: "00000000".into(), minutes: 10 };
        self.sample(recipient.0, letter, allowed.caller.user_id, &client).await
    }

    /// Send a sample of the mail with a link to a new password
    ///
    /// As people get it. The link in it was never issued and works nowhere.
    #[oai(path = "/send-reset-password-email", method = "post", operation_id = "reset_password_email")]
    async fn reset(
        &self,
        allowed: Allowed<SendSamples>,
        client: ClientInfo,
        /// The address; `CONTACT_EMAIL` if not given.
        recipient: Query<Option<String>>,
    ) -> Result<Sent, Failure<SampleRefusal>> {
        let token = OneTimeToken::new(&self.random).text();
        let letter = Letter::Reset { username: sample_name(), token, minutes: 15 };
        self.sample(recipient.0, letter, allowed.caller.user_id, &client).await
    }

    /// Send a sample of the mail that proves an address
    ///
    /// As people get it. The link in it was never issued and works nowhere.
    #[oai(path = "/send-validation-email", method = "post", operation_id = "validation_email")]
    async fn validation(
        &self,
        allowed: Allowed<SendSamples>,
        client: ClientInfo,
        /// The address; `CONTACT_EMAIL` if not given.
        recipient: Query<Option<String>>,
    ) -> Result<Sent, Failure<SampleRefusal>> {
        let token = OneTimeToken::new(&self.random).text();
        let letter = Letter::Verification { username: sample_name(), token, hours: 24 };
        self.sample(recipient.0, letter, allowed.caller.user_id, &client).await
    }

    /// What is on its way
    ///
    /// How many mails stand where, how far letters to many are, and the mails themselves, without what they say.
    #[oai(path = "/queue", method = "get", operation_id = "email_queue")]
    async fn queue(
        &self,
        allowed: Allowed<WriteToOne>,
        paging: Paging,
    ) -> Result<Within<MailQueue>, Failure<QueueRefusal>> {
        let key = self.mail.cursor_key().bytes();
        let asked = PartQuery::of(&paging, key, Order::Desc).map_err(QueueRefusal::Invalid)?;
        let mails = self.mail.queue(&asked.span).await?;
        let counts = self.mail.counts().await?;
        let Part { rows, total, next, links } = asked.part(mails, counts.total(), |mail| mail.id);
        let in_full = allowed.may(Action::EmailAll, Context::default());
        let body = MailQueue {
            counts: counts.into(),
            batches: self.mail.batches().await?.into_iter().map(MailBatch::from).collect(),
            mails: rows.into_iter().map(|mail| shown(mail, in_full)).collect(),
            next,
        };
        Ok(Within { body, total, links })
    }
}

impl EmailApi {
    async fn send(&self, letter: Circular, recipients: Vec<String>) -> Result<Sent, sea_orm::DbErr> {
        if !self.mail.is_on() {
            return Ok(Sent::Off(off()));
        }
        tracing::info!(by = %letter.by, recipients = recipients.len(), "a letter of staff");
        let ids = self.mail.send_to(letter, recipients).await?;
        Ok(Sent::Queued(Json(QueuedMails { ids })))
    }

    async fn sample(
        &self,
        recipient: Option<String>,
        letter: Letter,
        by: Uuid,
        client: &ClientInfo,
    ) -> Result<Sent, Failure<SampleRefusal>> {
        let recipient = recipient.or_else(|| self.mail.contact().map(str::to_owned));
        // Where no mail is sent nobody has to be named; who is named must have an address all the same.
        if recipient.is_none() && !self.mail.is_on() {
            return Ok(Sent::Off(off()));
        }
        let recipients = addresses("recipient", recipient.as_slice()).map_err(SampleRefusal::Invalid)?;
        let Some(to) = recipients.into_iter().next().filter(|_| self.mail.is_on()) else {
            return Ok(Sent::Off(off()));
        };
        tracing::info!(%by, letter = letter.name(), "a sample mail");
        let posted = self.mail.post_sample(to, letter, client, self.clock.now()).await?;
        let id = posted.ok_or(SampleRefusal::TooMany(RetryAfter(3600)))?;
        Ok(Sent::Queued(Json(QueuedMails { ids: vec![id] })))
    }
}

fn off() -> PlainText<String> {
    PlainText("No Email Sent".to_owned())
}

fn sample_name() -> String {
    "sample".to_owned()
}

/// What staff wrote, if it may be sent.
fn circular(
    confirmed: Option<bool>,
    subject: Option<&str>,
    body: TextBody,
    by: Uuid,
    client: &ClientInfo,
) -> Result<Circular, SendRefusal> {
    if confirmed != Some(true) {
        return Err(SendRefusal::Unconfirmed);
    }
    let subject = subject.map(str::trim).unwrap_or_default();
    let fits =
        (1..=LONGEST_SUBJECT).contains(&subject.chars().count()) && !subject.contains(char::is_control);
    if !fits {
        let words = "must be one line of 1 to 200 characters, without control characters";
        return Err(SendRefusal::Invalid(vec![FieldError::new("subject", words)]));
    }
    let (text, html) = match body {
        TextBody::Plain(text) => (text, None),
        TextBody::Html(html) => (String::new(), Some(html)),
    };
    Ok(Circular { subject: subject.to_owned(), text, html, by, trace_id: Some(client.trace_id.to_string()) })
}

/// The addresses in their normal form, each once; at least one.
fn addresses(field: &str, given: &[String]) -> Result<Vec<String>, Vec<FieldError>> {
    let wrong = |words: String| vec![FieldError::new(field, words)];
    if given.is_empty() {
        return Err(wrong("is required".to_owned()));
    }
    if given.len() > MOST_RECIPIENTS {
        return Err(wrong(format!("must be at most {MOST_RECIPIENTS} addresses")));
    }
    let mut addresses: Vec<String> = Vec::with_capacity(given.len());
    for address in given {
        let address = Email::parse(address).map_err(|invalid| wrong(invalid.to_string()))?.to_string();
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    Ok(addresses)
}

fn shown(mail: QueuedMail, in_full: bool) -> MailInQueue {
    MailInQueue {
        id: mail.id,
        to: if in_full { mail.recipient } else { masked(&mail.recipient) },
        letter: mail.letter,
        language: mail.language,
        state: mail.state,
        attempts: mail.attempts,
        next_try_at: mail.next_try_at.map(seconds),
        created_at: seconds(mail.created_at),
        finished_at: mail.finished_at.map(seconds),
        // A server's words about a recipient name it.
        last_error: mail.last_error.filter(|_| in_full),
        trace_id: mail.trace_id,
        batch: mail.batch,
    }
}

impl From<QueueCounts> for MailCounts {
    fn from(counts: QueueCounts) -> Self {
        let QueueCounts { waiting, sent, expired, dead } = counts;
        Self { waiting, sent, expired, dead }
    }
}

impl From<BatchProgress> for MailBatch {
    fn from(batch: BatchProgress) -> Self {
        Self {
            id: batch.id,
            state: batch.state.name().to_owned(),
            recipients: batch.recipients,
            counts: batch.counts.into(),
            created_by: batch.created_by,
            created_at: seconds(batch.created_at),
            finished_at: batch.finished_at.map(seconds),
        }
    }
}
