//! The operations on webhooks.

use poem::Request;
use poem_openapi::param::Path;
use poem_openapi::{ApiResponse, Object, OpenApi, Tags};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Webhooks;
use super::delivery::{Attempt, Verdict};
use super::dispatch::{FAILING, GONE};
use super::rules::{
    BY_ADMIN, Change, ChangeRefusal, CreateRefusal, ReadRefusal, ReplayRefusal, WithSecret, etag,
};
use super::store::{Delivery, webhook};
use super::target::{self, EventTypes};
use crate::events::type_words;
use crate::permissions::{Allowed, System};
use crate::platform::clock::seconds;
use crate::platform::problem::{Breakage, Failure, FieldError};
use crate::platform::shape::{Shape, Shaped, Words};
use crate::platform::web::{ClientInfo, Json, Paging, Part, Whole, Within, if_match};
use crate::sessions::Caller;

/// The operations on webhooks.
pub struct WebhooksApi {
    /// The feature.
    pub webhooks: Webhooks,
    /// Where clients reach the API, without a slash at its end.
    pub api_url: String,
}

/// What the document says of webhooks beyond types.
#[must_use]
pub fn shapes() -> Vec<Shaped> {
    const ONE: &[&str] = &[
        "read_webhook",
        "update_webhook",
        "delete_webhook",
        "rotate_webhook_secret",
        "test_webhook",
        "read_webhook_deliveries",
        "replay_webhook",
    ];
    let types = || Shape::one_of(type_words());
    let mut shapes = crate::shapes! {
        NewWebhook {
            url: Shape::text(target::LONGEST_URL).like("https://example.com/hooks"),
            description: Shape::text(target::LONGEST_DESCRIPTION),
            event_types: types().and_at_most(target::MOST_TYPES),
        }
        WebhookChange {
            url: Shape::text(target::LONGEST_URL).like("https://example.com/hooks"),
            description: Shape::text(target::LONGEST_DESCRIPTION),
            event_types: types().and_at_most(target::MOST_TYPES),
        }
        Webhook { event_types: types(), disabled_reason: Shape::one_of(disabled_words()) }
        WebhookTest { error: Shape::one_of(error_words()) }
        WebhookDelivery { error: Shape::one_of(error_words()) }
    };
    shapes.push(Shaped::parameter(ONE, "id", Shape::uuid()));
    shapes
}

fn disabled_words() -> Words {
    let all = vec![BY_ADMIN, GONE, FAILING];
    Words { name: "WebhookDisabledReason", about: "Why a webhook is switched off.", all }
}

fn error_words() -> Words {
    let all = vec!["unreachable", "timeout", "not_public", "sealed"];
    Words { name: "WebhookError", about: "Why there is no answer to a webhook.", all }
}

#[derive(Tags)]
enum Section {
    /// Events for other systems over HTTP.
    Webhooks,
}

crate::permissions! {
    /// Read the webhooks and what came of their deliveries.
    ReadWebhooks: WebhooksRead on System;
    /// Make, change, test and remove webhooks.
    ManageWebhooks: WebhooksManage on System;
}

/// A new webhook.
#[derive(Debug, Deserialize, Object)]
#[serde(deny_unknown_fields)]
pub struct NewWebhook {
    /// Where events are sent: an https address, at most 2048 characters.
    pub url: String,
    /// What it is for, in words; at most 256 characters.
    #[serde(default)]
    #[oai(nullable)]
    pub description: Option<String>,
    /// The types of events that it is sent, as `user.created`; none: all.
    #[serde(default)]
    #[oai(nullable)]
    pub event_types: Option<Vec<String>>,
    /// Whether it is sent anything; true if not given.
    #[serde(default)]
    #[oai(nullable)]
    pub enabled: Option<bool>,
}

/// What is to be another than before; what is not given stays.
#[derive(Debug, Deserialize, Object)]
#[serde(deny_unknown_fields)]
pub struct WebhookChange {
    /// Where events are sent. Another address begins afresh: earlier failures count no more.
    #[serde(default)]
    #[oai(nullable)]
    pub url: Option<String>,
    /// What it is for, in words.
    #[serde(default)]
    #[oai(nullable)]
    pub description: Option<String>,
    /// The types of events that it is sent; an empty list: all.
    #[serde(default)]
    #[oai(nullable)]
    pub event_types: Option<Vec<String>>,
    /// Whether it is sent anything. Switched on, it goes on with the event after the last one that it took.
    #[serde(default)]
    #[oai(nullable)]
    pub enabled: Option<bool>,
}

/// Where to go on.
#[derive(Debug, Deserialize, Object)]
#[serde(deny_unknown_fields)]
pub struct WebhookReplay {
    /// The id of an event: what came after it is sent.
    pub after: Uuid,
}

/// A webhook.
#[derive(Clone, Debug, Serialize, Object)]
pub struct Webhook {
    /// Its id.
    pub id: Uuid,
    /// Where events are sent.
    pub url: String,
    /// What it is for.
    pub description: String,
    /// The types of events that it is sent; none: all.
    pub event_types: Vec<String>,
    /// Whether it is sent anything.
    pub enabled: bool,
    /// Why it is switched off: by an `admin`, because its receiver is `gone` (410), or was `failing` for three days.
    #[oai(nullable)]
    pub disabled_reason: Option<String>,
    /// Since when, in seconds since the Unix epoch.
    #[oai(nullable)]
    pub disabled_at: Option<i64>,
    /// Since when every try has failed, in seconds since the Unix epoch.
    #[oai(nullable)]
    pub failing_since: Option<i64>,
    /// How often the event that comes next was tried in vain.
    pub attempts: i64,
    /// When it is tried again, in seconds since the Unix epoch.
    #[oai(nullable)]
    pub next_try_at: Option<i64>,
    /// Until when the secret before signs beside the present one, in seconds since the Unix epoch.
    #[oai(nullable)]
    pub previous_secret_until: Option<i64>,
    /// Who made it.
    pub created_by: Uuid,
    /// When, in seconds since the Unix epoch.
    pub created_at: i64,
    /// When an admin last changed it, in seconds since the Unix epoch.
    pub updated_at: i64,
}

/// A webhook with its secret. It is told only this once.
#[derive(Serialize, Object)]
pub struct WebhookWithSecret {
    /// The webhook.
    pub webhook: Webhook,
    /// What its messages are signed with: `whsec_` and base64, as the libraries of Standard Webhooks take it.
    pub secret: String,
}

/// What came of a test.
#[derive(Debug, Serialize, Object)]
pub struct WebhookTest {
    /// The id of the message, in its header `webhook-id`.
    pub event_id: Uuid,
    /// Whether the receiver has taken it.
    pub delivered: bool,
    /// The status that it answered.
    #[oai(nullable)]
    pub status: Option<u16>,
    /// Why there is no answer: `unreachable`, `timeout`, `not_public` or `sealed`.
    #[oai(nullable)]
    pub error: Option<String>,
    /// How long it took, in milliseconds.
    pub duration_ms: i64,
}

/// A try to deliver an event.
#[derive(Debug, Serialize, Object)]
pub struct WebhookDelivery {
    /// The event.
    pub event_id: Uuid,
    /// Its type.
    pub event_type: String,
    /// The how many-th try it was.
    pub attempt: i64,
    /// Whether the receiver has taken it.
    pub delivered: bool,
    /// The status that it answered.
    #[oai(nullable)]
    pub status: Option<i64>,
    /// Why there is no answer: `unreachable`, `timeout`, `not_public` or `sealed`.
    #[oai(nullable)]
    pub error: Option<String>,
    /// How long it took, in milliseconds.
    pub duration_ms: i64,
    /// When it began, in seconds since the Unix epoch.
    pub created_at: i64,
}

/// Tries to deliver.
#[derive(Debug, Serialize, Object)]
pub struct WebhookDeliveries {
    /// The tries.
    pub deliveries: Vec<WebhookDelivery>,
    /// For the parameter `cursor`, to see the tries before these.
    #[oai(nullable)]
    pub next: Option<String>,
}

/// A webhook, and what `If-Match` wants.
#[derive(ApiResponse)]
enum WebhookAnswer {
    /// The webhook.
    #[oai(status = 200)]
    Ok(Json<Webhook>, #[oai(header = "ETag")] String),
}

/// A new webhook.
#[derive(ApiResponse)]
enum CreatedAnswer {
    /// The webhook with its secret.
    #[oai(status = 201)]
    Created(Json<WebhookWithSecret>, #[oai(header = "ETag")] String, #[oai(header = "Location")] String),
}

/// A new secret.
#[derive(ApiResponse)]
enum RotatedAnswer {
    /// The webhook with its new secret.
    #[oai(status = 200)]
    Ok(Json<WebhookWithSecret>, #[oai(header = "ETag")] String),
}

/// Done, nothing to show.
#[derive(ApiResponse)]
enum Removed {
    /// The webhook is gone.
    #[oai(status = 204)]
    Done,
}

#[OpenApi(prefix_path = "/admin", tag = "Section::Webhooks")]
impl WebhooksApi {
    /// All webhooks
    ///
    /// The oldest first; there are at most fifty. Without their secrets.
    #[oai(path = "/webhooks", method = "get", operation_id = "read_webhooks")]
    async fn list(&self, _allowed: Allowed<ReadWebhooks>) -> poem::Result<Whole<Webhook>> {
        let webhooks = self.webhooks.all().await.map_err(|error| Breakage::from(error).problem())?;
        Ok(Whole(webhooks.into_iter().map(Webhook::from).collect()))
    }

    /// Make a webhook
    ///
    /// It is sent what happens from now on, signed after the Standard Webhooks specification. The answer is the only one that
    /// holds its secret. Needs a proof of who one is that is not older than ten minutes.
    #[oai(path = "/webhooks", method = "post", operation_id = "create_webhook")]
    async fn create(
        &self,
        allowed: Allowed<ManageWebhooks>,
        body: Json<NewWebhook>,
    ) -> Result<CreatedAnswer, Failure<CreateRefusal>> {
        let caller = self.proved(allowed, CreateRefusal::Unproved)?;
        let NewWebhook { url, description, event_types, enabled } = body.0;
        let change = WebhookChange { url: Some(url), description, event_types, enabled };
        let mut change = self.read(change).map_err(CreateRefusal::Invalid)?;
        let url = change
            .url
            .take()
            .ok_or_else(|| CreateRefusal::Invalid(vec![FieldError::new("url", "must be given")]))?;
        let WithSecret { webhook, secret } = self.webhooks.create(url, change, &caller).await?;
        tracing::info!(by = %caller.user_id, webhook = %webhook.id, "a webhook was made");
        let (etag, location) = (etag(&webhook), format!("{}/admin/webhooks/{}", self.api_url, webhook.id));
        Ok(CreatedAnswer::Created(Json(told(webhook, &secret)), etag, location))
    }

    /// One webhook
    ///
    /// `ETag` names its version, for `If-Match`.
    #[oai(path = "/webhooks/:id", method = "get", operation_id = "read_webhook")]
    async fn read_one(
        &self,
        _allowed: Allowed<ReadWebhooks>,
        /// The webhook's id.
        id: Path<String>,
    ) -> Result<WebhookAnswer, Failure<ReadRefusal>> {
        let id = id_of(&id.0).ok_or(ReadRefusal::NotFound)?;
        let webhook = self.webhooks.find(id).await?.ok_or(ReadRefusal::NotFound)?;
        Ok(answer(webhook))
    }

    /// Change a webhook
    ///
    /// What is not given stays. With `If-Match`, only the version that was read is changed. Needs a proof of who one is
    /// that is not older than ten minutes.
    #[oai(path = "/webhooks/:id", method = "patch", operation_id = "update_webhook")]
    async fn update(
        &self,
        allowed: Allowed<ManageWebhooks>,
        request: &Request,
        /// The webhook's id.
        id: Path<String>,
        body: Json<WebhookChange>,
    ) -> Result<WebhookAnswer, Failure<ChangeRefusal>> {
        let caller = self.proved(allowed, ChangeRefusal::Unproved)?;
        let id = id_of(&id.0).ok_or(ChangeRefusal::NotFound)?;
        let wanted = wanted_by(request)?;
        let change = self.read(body.0).map_err(ChangeRefusal::Invalid)?;
        let webhook = self.webhooks.change(id, change, wanted, &caller).await?;
        tracing::info!(by = %caller.user_id, webhook = %id, "a webhook was changed");
        Ok(answer(webhook))
    }

    /// Remove a webhook
    ///
    /// With its deliveries. With `If-Match`, only the version that was read is removed. Needs a proof of who one is that
    /// is not older than ten minutes.
    #[oai(path = "/webhooks/:id", method = "delete", operation_id = "delete_webhook")]
    async fn remove(
        &self,
        allowed: Allowed<ManageWebhooks>,
        request: &Request,
        /// The webhook's id.
        id: Path<String>,
    ) -> Result<Removed, Failure<ChangeRefusal>> {
        let caller = self.proved(allowed, ChangeRefusal::Unproved)?;
        let id = id_of(&id.0).ok_or(ChangeRefusal::NotFound)?;
        self.webhooks.remove(id, wanted_by(request)?, &caller).await?;
        tracing::info!(by = %caller.user_id, webhook = %id, "a webhook was removed");
        Ok(Removed::Done)
    }

    /// Give a webhook a new secret
    ///
    /// For 24 hours each message bears two signatures: by the new secret, and by the one before. The answer is the only
    /// one that holds the new secret. With `If-Match`, only the version that was read is given one. Needs a proof of who
    /// one is that is not older than ten minutes.
    #[oai(path = "/webhooks/:id/rotate-secret", method = "post", operation_id = "rotate_webhook_secret")]
    async fn rotate(
        &self,
        allowed: Allowed<ManageWebhooks>,
        request: &Request,
        /// The webhook's id.
        id: Path<String>,
    ) -> Result<RotatedAnswer, Failure<ChangeRefusal>> {
        let caller = self.proved(allowed, ChangeRefusal::Unproved)?;
        let id = id_of(&id.0).ok_or(ChangeRefusal::NotFound)?;
        let WithSecret { webhook, secret } = self.webhooks.rotate(id, wanted_by(request)?, &caller).await?;
        tracing::info!(by = %caller.user_id, webhook = %id, "a webhook was given a new secret");
        let etag = etag(&webhook);
        Ok(RotatedAnswer::Ok(Json(told(webhook, &secret)), etag))
    }

    /// Test a webhook
    ///
    /// Sends a message of the type `webhook.test` now, also to a webhook that is switched off, and answers what came back.
    #[oai(path = "/webhooks/:id/test", method = "post", operation_id = "test_webhook")]
    async fn test(
        &self,
        allowed: Allowed<ManageWebhooks>,
        client: ClientInfo,
        /// The webhook's id.
        id: Path<String>,
    ) -> Result<Json<WebhookTest>, Failure<ReadRefusal>> {
        let id = id_of(&id.0).ok_or(ReadRefusal::NotFound)?;
        let tested = self.webhooks.test(id, allowed.caller.user_id, client.trace_id.to_string()).await?;
        let (event_id, attempt) = tested.ok_or(ReadRefusal::NotFound)?;
        let delivered = attempt.verdict() == Verdict::Taken;
        let duration_ms = attempt.millis();
        let Attempt { status, error, .. } = attempt;
        Ok(Json(WebhookTest { event_id, delivered, status, error: error.map(str::to_owned), duration_ms }))
    }

    /// What was delivered
    ///
    /// Each try, the newest first unless `order=asc` asks for the oldest: the newest thousand, for thirty days. What
    /// receivers say besides a status is not kept.
    #[oai(path = "/webhooks/:id/deliveries", method = "get", operation_id = "read_webhook_deliveries")]
    async fn deliveries(
        &self,
        _allowed: Allowed<ReadWebhooks>,
        /// The webhook's id.
        id: Path<String>,
        paging: Paging,
    ) -> Result<Within<WebhookDeliveries>, Failure<ReadRefusal>> {
        let id = id_of(&id.0).ok_or(ReadRefusal::NotFound)?;
        let Part { rows, total, next, links } = self.webhooks.log(id, &paging).await?;
        let deliveries = rows.into_iter().map(WebhookDelivery::from).collect();
        Ok(Within { body: WebhookDeliveries { deliveries, next }, total, links })
    }

    /// Send events again
    ///
    /// Puts the webhook's place behind an event: what came after it is sent, again or for the first time, under the same
    /// ids. An event that lies ahead leaves out what is before it. Needs a proof of who one is that is not older than ten
    /// minutes.
    #[oai(path = "/webhooks/:id/replay", method = "post", operation_id = "replay_webhook")]
    async fn replay(
        &self,
        allowed: Allowed<ManageWebhooks>,
        /// The webhook's id.
        id: Path<String>,
        body: Json<WebhookReplay>,
    ) -> Result<WebhookAnswer, Failure<ReplayRefusal>> {
        let caller = self.proved(allowed, ReplayRefusal::Unproved)?;
        let id = id_of(&id.0).ok_or(ReplayRefusal::NotFound)?;
        let webhook = self.webhooks.replay(id, body.0.after, &caller).await?;
        tracing::info!(by = %caller.user_id, webhook = %id, after = %body.0.after, "a webhook was set to another place");
        Ok(answer(webhook))
    }
}

impl WebhooksApi {
    /// Who is at work, if they have just proved who they are.
    fn proved<R>(&self, allowed: Allowed<ManageWebhooks>, refusal: R) -> Result<Caller, R> {
        allowed.caller.require_proof_or(self.webhooks.now(), refusal)?;
        Ok(allowed.caller)
    }

    /// Reads a change; everything that is wrong with it.
    fn read(&self, given: WebhookChange) -> Result<Change, Vec<FieldError>> {
        let mut errors = Vec::new();
        let mut note = |field: &str, words: &str| errors.push(FieldError::new(field, words));
        let WebhookChange { url, description, event_types, enabled } = given;
        let url = url.map(|text| target::url(&text, self.webhooks.reach()));
        let url = url.and_then(|url| url.map_err(|words| note("url", words)).ok());
        let description = description.map(|text| target::description(&text));
        let description = description.and_then(|text| text.map_err(|words| note("description", words)).ok());
        let event_types = event_types.map(|names| EventTypes::read(&names));
        let event_types =
            event_types.and_then(|types| types.map_err(|words| note("event_types", words)).ok());
        if errors.is_empty() { Ok(Change { url, description, event_types, enabled }) } else { Err(errors) }
    }
}

/// What is no id is no webhook's.
fn id_of(text: &str) -> Option<Uuid> {
    Uuid::try_parse(text).ok()
}

/// The versions that the client wants, if it cares.
fn wanted_by(request: &Request) -> Result<Option<String>, ChangeRefusal> {
    let wanted = if_match(request).map_err(|problem| ChangeRefusal::Invalid(problem.errors))?;
    Ok(wanted.map(str::to_owned))
}

fn answer(webhook: webhook::Model) -> WebhookAnswer {
    let etag = etag(&webhook);
    WebhookAnswer::Ok(Json(webhook.into()), etag)
}

fn told(webhook: webhook::Model, secret: &SecretString) -> WebhookWithSecret {
    WebhookWithSecret { webhook: webhook.into(), secret: secret.expose_secret().to_owned() }
}

impl From<webhook::Model> for Webhook {
    fn from(row: webhook::Model) -> Self {
        Self {
            id: row.id,
            url: row.url,
            description: row.description,
            event_types: EventTypes::stored(&row.event_types).names(),
            enabled: row.disabled.is_none(),
            disabled_reason: row.disabled,
            disabled_at: row.disabled_at.map(seconds),
            failing_since: row.failing_since.map(seconds),
            attempts: row.attempts,
            next_try_at: row.next_try_at.map(seconds),
            previous_secret_until: row.previous_until.map(seconds),
            created_by: row.created_by,
            created_at: seconds(row.created_at),
            updated_at: seconds(row.updated_at),
        }
    }
}

impl From<Delivery> for WebhookDelivery {
    fn from(delivery: Delivery) -> Self {
        let Delivery { number: _, event_id, event_type, attempt, status, error, duration, created_at } =
            delivery;
        Self {
            event_id,
            event_type,
            attempt,
            delivered: status.is_some_and(|status| (200..300).contains(&status)),
            status,
            error,
            duration_ms: duration,
            created_at: seconds(created_at),
        }
    }
}
