//! What is measured of webhooks: what waits for each, and what became of the tries.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use sea_orm::DbErr;
use uuid::Uuid;

use super::Webhooks;
use super::delivery::{Attempt, Verdict};
use super::store::{self, Ahead};
use super::target::EventTypes;
use crate::platform::telemetry::metrics::{Family, Sample, number};

/// Events that are looked at before each webhook at most: what waits beyond them is not counted.
const MOST: u64 = 10_000;
/// What may become of a try.
const OUTCOMES: [&str; 7] = ["taken", "refused", "gone", "unreachable", "timeout", "not_public", "sealed"];

/// What this instance has tried since its start.
#[derive(Debug, Default)]
pub(super) struct Counts {
    outcomes: [AtomicU64; OUTCOMES.len()],
    /// By webhook: there are no more than may be made, and those that are gone are forgotten.
    failures: Mutex<BTreeMap<Uuid, u64>>,
}

impl Counts {
    /// Counts a try.
    pub(super) fn count(&self, webhook: Uuid, attempt: &Attempt) {
        let outcome = outcome(attempt);
        let counts = OUTCOMES.iter().zip(&self.outcomes);
        for (_, count) in counts.filter(|(known, _)| **known == outcome) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        if attempt.verdict() != Verdict::Taken {
            let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
            *failures.entry(webhook).or_default() += 1;
        }
    }

    /// How many tries failed of each of these webhooks; the others are forgotten.
    fn failures(&self, webhooks: &[Uuid]) -> Vec<(Uuid, u64)> {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.retain(|id, _| webhooks.contains(id));
        webhooks.iter().map(|id| (*id, failures.get(id).copied().unwrap_or(0))).collect()
    }

    fn outcomes(&self) -> Vec<Sample> {
        let counts = OUTCOMES.iter().zip(&self.outcomes);
        let sample = |(outcome, count): (&&str, &AtomicU64)| {
            Sample::labelled([("outcome", *outcome)], number(count.load(Ordering::Relaxed)))
        };
        counts.map(sample).collect()
    }
}

/// What became of a try, in a word.
fn outcome(attempt: &Attempt) -> &'static str {
    match attempt.verdict() {
        Verdict::Taken => "taken",
        Verdict::Gone => "gone",
        Verdict::Failed => attempt.error.unwrap_or("refused"),
    }
}

impl Webhooks {
    /// What waits, by whichever instance, and what this one has tried; none where the database does not say.
    pub async fn measures(&self) -> Option<Vec<Family>> {
        let webhooks = store::all(self.0.db.reader()).await.ok()?;
        let ids: Vec<Uuid> = webhooks.iter().map(|webhook| webhook.id).collect();
        let (mut pending, mut oldest) = (Vec::new(), Vec::new());
        for webhook in webhooks.iter().filter(|webhook| webhook.disabled.is_none()) {
            let Ahead { count, first } = self.ahead(webhook).await.ok()?;
            let age = first.map_or(0.0, |first| self.now().since(first).as_secs_f64());
            pending.push(of(webhook.id, number(count)));
            oldest.push(of(webhook.id, age));
        }
        let failures = self.0.counts.failures(&ids);
        let failures = failures.into_iter().map(|(id, count)| of(id, number(count))).collect();
        Some(vec![
            Family::gauge("gatehouse_webhook_pending", "Events that wait for a webhook.", pending),
            Family::gauge(
                "gatehouse_webhook_oldest_seconds",
                "How old the oldest event is that waits for a webhook.",
                oldest,
            ),
            Family::counter(
                "gatehouse_webhook_failures_total",
                "Tries of this instance that a webhook did not take.",
                failures,
            ),
            Family::counter(
                "gatehouse_webhook_attempts_total",
                "Tries of this instance, and what became of them.",
                self.0.counts.outcomes(),
            ),
        ])
    }

    async fn ahead(&self, webhook: &store::webhook::Model) -> Result<Ahead, DbErr> {
        let types = EventTypes::stored(&webhook.event_types);
        store::ahead(self.0.db.reader(), webhook.position, &types.names(), MOST).await
    }
}

/// A value of one webhook.
fn of(webhook: Uuid, value: f64) -> Sample {
    Sample::labelled([("webhook", &*webhook.to_string())], value)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn attempt(status: Option<u16>, error: Option<&'static str>) -> Attempt {
        Attempt { status, error, took: Duration::ZERO, wish: None }
    }

    #[test]
    fn tries_are_counted_by_outcome_and_failures_by_webhook() {
        let (counts, [here, gone]) = (Counts::default(), [Uuid::from_u128(1), Uuid::from_u128(2)]);
        for (status, error) in [
            (Some(204), None),
            (Some(500), None),
            (Some(302), None),
            (Some(410), None),
            (None, Some("unreachable")),
            (None, Some("timeout")),
            (None, Some("not_public")),
            (None, Some("sealed")),
        ] {
            counts.count(here, &attempt(status, error));
        }
        counts.count(gone, &attempt(Some(500), None));
        let counted = counts.outcomes.each_ref().map(|count| count.load(Ordering::Relaxed));
        assert_eq!(counted, [1, 3, 1, 1, 1, 1, 1]);
        assert_eq!(counts.failures(&[here]), [(here, 7)]);
        assert_eq!(counts.failures(&[here, gone]), [(here, 7), (gone, 0)], "it was forgotten");
    }
}
