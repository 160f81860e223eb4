//! One try: what goes out, what came back, and when to try again.

use std::time::{Duration, Instant};

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue, USER_AGENT};
use reqwest::{Method, Request};
use url::Url;

use super::Webhooks;
use super::message::Message;
use super::secret::SigningSecret;
use super::store::webhook;
use crate::platform::clock::Timestamp;
use crate::platform::outgoing::{Bounds, Outgoing, Unanswered};
use crate::platform::response_headers::retry_after;
use crate::platform::web::TraceParent;

/// How long a receiver may take, and how much of what it says is read.
const BOUNDS: Bounds = Bounds { time: Duration::from_secs(15), bytes: 1024 };
/// Who asks.
const AGENT: &str = concat!("Gatehouse/", env!("CARGO_PKG_VERSION"), " (webhooks)");
/// The pauses after the first failures; the last one is repeated.
const PAUSES: [Duration; 7] = [
    Duration::from_secs(5),
    Duration::from_secs(30),
    Duration::from_mins(2),
    Duration::from_mins(10),
    Duration::from_mins(30),
    Duration::from_hours(1),
    Duration::from_hours(2),
];
/// A receiver may ask for so long a pause.
const LONGEST_WISH: Duration = Duration::from_hours(6);
/// A try that lies further ahead than any pause, and than the clocks of instances differ, was put off before the clock
/// was set back: it is due, or it would wait until the clock has caught up.
pub(super) const FURTHEST: Duration = LONGEST_WISH.saturating_add(Duration::from_mins(1));
/// A webhook that fails for so long is switched off.
const GIVE_UP: Duration = Duration::from_hours(72);

/// What came of a try.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    /// What the receiver answered.
    pub status: Option<u16>,
    /// Why there is no answer: `unreachable`, `timeout`, `not_public` or `sealed`.
    pub error: Option<&'static str>,
    /// How long it took.
    pub took: Duration,
    /// How long the receiver wants to be left alone.
    pub wish: Option<Duration>,
}

/// What a try means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The event was taken.
    Taken,
    /// There is no receiver any more.
    Gone,
    /// To be tried again.
    Failed,
}

impl Attempt {
    fn unanswered(error: &'static str, took: Duration) -> Self {
        Self { status: None, error: Some(error), took, wish: None }
    }

    /// What it means: only 2xx is a yes. A redirect is not followed, it would lead away from what the admin has named.
    pub(super) fn verdict(&self) -> Verdict {
        match self.status {
            Some(200..=299) => Verdict::Taken,
            Some(410) => Verdict::Gone,
            _ => Verdict::Failed,
        }
    }

    /// In milliseconds.
    pub(super) fn millis(&self) -> i64 {
        i64::try_from(self.took.as_millis()).unwrap_or(i64::MAX)
    }
}

impl Webhooks {
    /// Sends a message to a webhook, once.
    pub(super) async fn try_to_send(&self, webhook: &webhook::Model, message: Message) -> Attempt {
        let (begun, now) = (Instant::now(), self.0.clock.now());
        let outgoing = match self.outgoing() {
            Ok(outgoing) => outgoing,
            Err(error) => {
                tracing::error!(%error, "no webhook can be sent");
                return Attempt::unanswered("unreachable", begun.elapsed());
            }
        };
        let Some(request) = self.request(outgoing, webhook, message, now) else {
            tracing::error!(webhook = %webhook.id, "its secret can't be opened, or its address can't be read");
            return Attempt::unanswered("sealed", begun.elapsed());
        };
        let answer = outgoing.tell(request, BOUNDS).await;
        let took = begun.elapsed();
        match answer {
            Ok((status, headers)) => Attempt {
                status: Some(status.as_u16()),
                error: None,
                took,
                wish: if status.is_success() { None } else { wish(&headers, now) },
            },
            Err(Unanswered::NotPublic) => Attempt::unanswered("not_public", took),
            Err(_) if took >= BOUNDS.time => Attempt::unanswered("timeout", took),
            Err(_) => Attempt::unanswered("unreachable", took),
        }
    }

    fn request(
        &self,
        outgoing: &Outgoing,
        webhook: &webhook::Model,
        message: Message,
        now: Timestamp,
    ) -> Option<Request> {
        let signatures = self.signatures(webhook, &message, now)?;
        let Message { id, trace_id, body, .. } = message;
        let request = outgoing
            .request(Method::POST, Url::parse(&webhook.url).ok()?)
            .header(USER_AGENT, AGENT)
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", id.to_string())
            .header("webhook-timestamp", now.seconds())
            .header("webhook-signature", signatures);
        let traceparent = TraceParent::of_event(trace_id.as_deref(), id).to_string();
        let traced = [("x-trace-id", trace_id), ("traceparent", Some(traceparent))];
        // What is no header must not keep the event from going out.
        let traced =
            traced.into_iter().filter_map(|(name, text)| Some((name, HeaderValue::try_from(text?).ok()?)));
        let request = traced.fold(request, |request, (name, value)| request.header(name, value));
        request.body(body).build().ok()
    }

    /// By the present secret, and by the one before for as long as both count.
    fn signatures(&self, webhook: &webhook::Model, message: &Message, now: Timestamp) -> Option<String> {
        let previous = webhook.sealed_previous.as_ref();
        let previous = previous.filter(|_| webhook.previous_until.is_some_and(|until| now.millis() < until));
        let sealed = [Some(&webhook.sealed_secret), previous];
        let sign = |sealed: &Vec<u8>| {
            let secret = SigningSecret::open(&self.0.secrets, webhook.id, sealed).ok()?;
            Some(secret.sign(message.id, now, message.body.as_bytes()))
        };
        let signatures: Option<Vec<String>> = sealed.into_iter().flatten().map(sign).collect();
        Some(signatures?.join(" "))
    }
}

/// How long the receiver wants to be left alone, within reason.
fn wish(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    retry_after(headers, now).map(|wish| wish.min(LONGEST_WISH))
}

/// When to try again after this many failures since then; none when it has been too long. `chance` is from 0 to 255:
/// webhooks that failed together shall not come back together. The last try is at the very end.
pub(super) fn next_try(
    failures: i64,
    since: Timestamp,
    now: Timestamp,
    wish: Option<Duration>,
    chance: u8,
) -> Option<Timestamp> {
    let end = since.after(GIVE_UP);
    if now >= end {
        return None;
    }
    let place = usize::try_from(failures.saturating_sub(1)).unwrap_or(usize::MAX).min(PAUSES.len() - 1);
    let pause = PAUSES[place];
    let pause = pause + pause * u32::from(chance) / (5 * 255);
    Some(now.after(pause.max(wish.unwrap_or_default())).min(end))
}

#[cfg(test)]
mod tests {
    use reqwest::header::RETRY_AFTER;

    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_767_225_600);

    #[test]
    fn pauses_grow_to_two_hours_and_end_after_three_days() {
        let (mut now, mut tries) = (NOW, Vec::new());
        while let Some(next) = next_try(i64::try_from(tries.len()).unwrap() + 1, NOW, now, None, 0) {
            tries.push(next.since(now).as_secs());
            now = next;
        }
        assert_eq!(tries[..8], [5, 30, 120, 600, 1800, 3600, 7200, 7200]);
        assert_eq!(now, NOW.after(Duration::from_hours(72)));
        assert!((38..=45).contains(&tries.len()), "{}", tries.len());
    }

    #[test]
    fn a_pause_is_a_fifth_longer_at_most_and_as_long_as_the_receiver_wants() {
        let pause = |wish, chance| next_try(1, NOW, NOW, wish, chance).unwrap().since(NOW);
        assert_eq!(pause(None, 255), Duration::from_secs(6));
        assert_eq!(pause(Some(Duration::from_secs(1)), 0), Duration::from_secs(5));
        assert_eq!(pause(Some(Duration::from_mins(7)), 0), Duration::from_mins(7));
    }

    #[test]
    fn a_wish_is_in_seconds_or_a_date_and_bounded() {
        let wish = |text: &'static str| {
            wish(&HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static(text))]), NOW)
        };
        assert_eq!(wish("120"), Some(Duration::from_mins(2)));
        assert_eq!(wish("Thu, 01 Jan 2026 00:01:00 GMT"), Some(Duration::from_mins(1)));
        for long in ["99999999999999", "Fri, 02 Jan 2026 00:00:00 GMT"] {
            assert_eq!(wish(long), Some(LONGEST_WISH), "{long}");
        }
        assert_eq!(wish("soon"), None);
    }

    #[test]
    fn only_2xx_is_a_yes_and_410_is_the_end() {
        let verdict = |status| Attempt { status, error: None, took: Duration::ZERO, wish: None }.verdict();
        for (status, expected) in [
            (Some(200), Verdict::Taken),
            (Some(204), Verdict::Taken),
            (Some(299), Verdict::Taken),
            (Some(302), Verdict::Failed),
            (Some(400), Verdict::Failed),
            (Some(404), Verdict::Failed),
            (Some(410), Verdict::Gone),
            (Some(500), Verdict::Failed),
            (None, Verdict::Failed),
        ] {
            assert_eq!(verdict(status), expected, "{status:?}");
        }
    }
}
