//! The webhook of WorkOS: a knock at the door.

use bytes::Bytes;
use poem::{FromRequest, Request, RequestBody};
use poem_openapi::{Object, OpenApi, Tags};
use serde::Serialize;

use super::{Workos, signature};
use crate::platform::clock::Clock;
use crate::platform::config::{Quota, Throttles};
use crate::platform::problem::Failure;
use crate::platform::web::{Json, read_body};
use crate::rate_limit::{Limit, RateLimited};

/// The header that the signature stands in.
const SIGNATURE: &str = "workos-signature";
/// How often one address may knock: WorkOS sends a webhook for every change, and comes again if it is refused.
const KNOCKS: Quota = Quota { limit: 600, window: std::time::Duration::from_mins(1) };

/// The operation of the webhook.
pub struct WorkosApi {
    /// The directory.
    pub workos: Workos,
    /// Time.
    pub clock: Clock,
}

#[derive(Tags)]
enum Section {
    /// The directory of users at WorkOS.
    #[oai(rename = "WorkOS")]
    Workos,
}

crate::refusals! {
    /// Why a webhook is not taken.
    pub enum WebhookRefusal {
        SwitchedOff = 404 "not_found" "No webhooks of WorkOS are taken here.",
        Signature = 400 "invalid_signature" "The signature is missing, wrong or too old.",
    }
}

/// Webhooks of WorkOS.
#[derive(Clone, Copy, Debug)]
pub struct Knocks;

impl Limit for Knocks {
    const NAME: &'static str = "workos";

    fn quota(_: &Throttles) -> Quota {
        KNOCKS
    }
}

/// A body as it came, letter for letter, and what is said to be its signature.
struct Signed {
    signature: Option<String>,
    body: Bytes,
}

impl<'a> FromRequest<'a> for Signed {
    async fn from_request(request: &'a Request, body: &mut RequestBody) -> poem::Result<Self> {
        let mut values = request.headers().get_all(SIGNATURE).iter();
        let one = values.next().filter(|_| values.next().is_none());
        let signature = one.and_then(|value| value.to_str().ok()).map(str::to_owned);
        Ok(Self { signature, body: read_body(request, body).await? })
    }
}

/// A webhook was taken.
#[derive(Debug, Serialize, Object)]
pub struct Taken {
    /// Always `true`.
    pub received: bool,
}

#[OpenApi(tag = "Section::Workos")]
impl WorkosApi {
    /// A webhook of WorkOS
    ///
    /// The body is an event as WorkOS sends it, signed in `WorkOS-Signature` with `WORKOS_WEBHOOK_SECRET`. Nothing is taken
    /// from it: it makes the list of events be read now. 404 where no secret is set.
    #[oai(path = "/workos/webhook", method = "post", operation_id = "workos_webhook")]
    async fn webhook(
        &self,
        _limit: RateLimited<Knocks>,
        signed: Signed,
    ) -> Result<Json<Taken>, Failure<WebhookRefusal>> {
        let secret = self.workos.settings.webhook_secret.as_ref().filter(|_| self.workos.is_on());
        let secret = secret.ok_or(WebhookRefusal::SwitchedOff)?;
        let header = signed.signature.ok_or(WebhookRefusal::Signature)?;
        if !signature::is_genuine(secret, &header, &signed.body, self.clock.now()) {
            return Err(WebhookRefusal::Signature.into());
        }
        self.workos.nudge();
        Ok(Json(Taken { received: true }))
    }
}
